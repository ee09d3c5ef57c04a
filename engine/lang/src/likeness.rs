//! Whether a YAML file that nobody named is one of ours: folders hold those of other programs too.

use yuanli_expr::nearest;

use crate::compile::MAX_TEXT;
use crate::diagnostic::Diagnostics;
use crate::node::Kind;
use crate::yaml;

/// Whether a text looks like a workflow or an app: it has `stages` or `app` at its top, or a slip of `stages`. A text
/// that is no YAML counts when one of its lines begins with such a key, so that whoever reads it then says what is
/// wrong.
#[must_use]
pub fn is_like_ours(text: &str) -> bool {
    let root = if text.len() > MAX_TEXT { None } else { yaml::parse(&mut Diagnostics::new(text)) };
    match root.map(|root| root.kind) {
        Some(Kind::Map(entries)) => entries.iter().any(|entry| is_key_of_ours(&entry.key)),
        Some(_) => false,
        None => text.lines().filter_map(|line| line.split_once(':')).any(|(key, _)| is_key_of_ours(key)),
    }
}

/// A slip keeps the first letter: `images` is two letters away from `stages`, and the key of many others.
fn is_key_of_ours(key: &str) -> bool {
    key == "app" || (key.starts_with(['s', 'S']) && nearest(key, ["stages"]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_programs_are_told_from_ours() {
        for (text, expect) in [
            ("name: w\nstages: {}\n", true),
            ("app: shop\n", true),
            ("name: w\nstage: { a: { uses: b } }\n", true),
            ("name: w\nstages: { a: [\n", true),
            ("app: [\n", true),
            ("services: { db: { image: x } }\n", false),
            ("apiVersion: v1\nkind: Service\n", false),
            ("images: [{ name: x }]\n", false),
            ("on: push\njobs: {}\n", false),
            ("{{ if x }}\nkind: y\n", false),
            ("- a\n- stages\n", false),
            ("", false),
        ] {
            assert_eq!(is_like_ours(text), expect, "{text}");
        }
    }
}
