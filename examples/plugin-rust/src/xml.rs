//! The tags of an XML text: as much of XML as a JUnit report has.

use std::collections::BTreeMap;

/// What is passed over whole: how it begins, and how it ends.
const PASSED_OVER: [(&str, &str); 4] = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">")];

/// `<name key="value">`, `</name>` or `<name/>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub is_end: bool,
    pub is_empty: bool,
}

/// The tags of a text, in its order; in words where it is no XML.
pub fn tags(text: &str) -> Result<Vec<Tag>, String> {
    let mut tags = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        let over = PASSED_OVER.iter().find(|(begin, _)| rest.starts_with(begin));
        if let Some((begin, end)) = over {
            let length = rest.find(end).ok_or_else(|| format!("it is no XML: `{begin}` does not end"))?;
            rest = &rest[length + end.len()..];
        } else {
            let end = end_of_tag(rest).ok_or("it is no XML: a tag does not end")?;
            tags.push(tag(&rest[1..end]));
            rest = &rest[end + 1..];
        }
    }
    if tags.is_empty() { Err("it is no XML: there is no tag in it".to_owned()) } else { Ok(tags) }
}

/// Where the `>` of a tag is, which values may contain.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    for (position, character) in text.char_indices() {
        match (quote, character) {
            (None, '>') => return Some(position),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    None
}

/// A tag of what stands between `<` and `>`.
fn tag(inner: &str) -> Tag {
    let is_end = inner.starts_with('/');
    let is_empty = inner.ends_with('/');
    let inner = inner.trim_matches('/').trim();
    let (name, mut rest) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
    let mut attributes = BTreeMap::new();
    while let Some((key, value, after)) = attribute(rest) {
        attributes.insert(key.to_owned(), plain(value));
        rest = after;
    }
    Tag { name: name.to_owned(), attributes, is_end, is_empty }
}

/// The first attribute with its value, and what follows.
fn attribute(text: &str) -> Option<(&str, &str, &str)> {
    let (key, rest) = text.split_once('=')?;
    let rest = rest.trim_start();
    let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let (value, after) = rest[1..].split_once(quote)?;
    Some((key.trim(), value, after))
}

/// A value with what stands for characters replaced by them.
fn plain(value: &str) -> String {
    let mut plain = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let named = after.split_once(';').and_then(|(name, after)| Some((character(name)?, after)));
        let (found, after) = named.unwrap_or(('&', after));
        plain.push(found);
        rest = after;
    }
    plain + rest
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let tags = tags("<?xml?><a b='1 > 2' c = \"&lt;&#65;&#x42;&none;\"/>").expect("it is XML");
        let values: Vec<&str> = tags[0].attributes.values().map(String::as_str).collect();
        assert_eq!((tags[0].name.as_str(), tags[0].is_empty), ("a", true));
        assert_eq!(values, ["1 > 2", "<AB&none;"]);
    }
}
