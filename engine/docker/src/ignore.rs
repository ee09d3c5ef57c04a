//! `.dockerignore`, with Docker's rules.
//!
//! They are not those of `.gitignore`: a pattern is rooted at the context, `*` and `?` stop at `/`, `**` does not,
//! the last rule that matches decides, and a rule that matches a folder matches everything in it. Written after
//! github.com/moby/patternmatcher, whose translation to a regular expression is kept, odd corners included.

use std::fmt::Write;

use regex::Regex;

/// The name of the file, at the root of the context.
pub(crate) const FILE_NAME: &str = ".dockerignore";

/// Which files of a context are not sent.
#[derive(Debug, Default)]
pub(crate) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: Regex,
    /// The cleaned pattern up to its first special character.
    literal_start: String,
    /// `!pattern`: takes back what earlier rules left out.
    is_exception: bool,
}

impl Ignore {
    /// Reads the content of the file. The error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let rule = Rule::parse(line).map_err(|reason| {
                format!("line {} of {FILE_NAME}, `{}`: {reason}", index + 1, line.trim())
            })?;
            rules.extend(rule);
        }
        Ok(Self { rules })
    }

    /// Whether a path, relative to the context and with `/` between its parts, is left out.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let mut is_excluded = false;
        for rule in &self.rules {
            // Only a rule of the other kind can change the answer.
            if rule.is_exception == is_excluded && rule.matches(path) {
                is_excluded = !rule.is_exception;
            }
        }
        is_excluded
    }

    /// Whether anything inside of an excluded folder may be taken back by an exception, so that it has to be walked.
    pub(crate) fn may_include_below(&self, folder: &str) -> bool {
        let below = format!("{folder}/");
        self.rules
            .iter()
            .filter(|rule| rule.is_exception)
            .any(|rule| rule.literal_start.starts_with(&below) || below.starts_with(&rule.literal_start))
    }
}

impl Rule {
    /// The rule of a line; `None` for an empty one or a comment.
    fn parse(line: &str) -> Result<Option<Self>, String> {
        if line.starts_with('#') {
            return Ok(None);
        }
        let line = line.trim();
        let (is_exception, pattern) = match line.strip_prefix('!') {
            Some(pattern) => (true, pattern.trim()),
            None => (false, line),
        };
        if is_exception && pattern.is_empty() {
            return Err("an exception needs a pattern after the `!`".to_owned());
        }
        let cleaned = clean(pattern);
        if cleaned.is_empty() {
            return Ok(None);
        }
        let pattern = Regex::new(&translate(&cleaned)?).map_err(|_| "this is no valid pattern".to_owned())?;
        let special = cleaned.find(['*', '?', '[', '\\']).unwrap_or(cleaned.len());
        Ok(Some(Self { pattern, literal_start: cleaned[..special].to_owned(), is_exception }))
    }

    /// Whether the path or a folder above it fits the pattern.
    fn matches(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(end, _)| end).chain(std::iter::once(path.len()));
        ends.into_iter().any(|end| self.pattern.is_match(&path[..end]))
    }
}

/// The pattern without a leading or trailing `/`, without empty, `.` and resolvable `..` parts.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            // Above the root is the root, for a pattern that begins there.
            ".." if pattern.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The regular expression for a cleaned pattern.
fn translate(pattern: &str) -> Result<String, String> {
    let mut expression = "(?s)^".to_owned();
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' if rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                expression.push_str(if rest.peek().is_none() { ".*" } else { "(.*/)?" });
            }
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' => class(&mut rest, &mut expression)?,
            // A backslash at the very end stands for itself.
            '\\' => push_literal(&mut expression, rest.next().unwrap_or('\\')),
            other => push_literal(&mut expression, other),
        }
    }
    expression.push('$');
    Ok(expression)
}

/// A set of characters, such as `[a-z]` or `[^.]`; its `[` was read.
fn class(rest: &mut impl Iterator<Item = char>, expression: &mut String) -> Result<(), String> {
    expression.push('[');
    let mut is_first = true;
    while let Some(character) = rest.next() {
        match character {
            ']' if !is_first => {
                expression.push(']');
                return Ok(());
            }
            '^' if is_first => {
                expression.push('^');
                continue;
            }
            '-' => expression.push('-'),
            '\\' => push_literal(expression, rest.next().unwrap_or('\\')),
            other => push_literal(expression, other),
        }
        is_first = false;
    }
    Err("a `[` has no `]`".to_owned())
}

fn push_literal(expression: &mut String, character: char) {
    let mut buffer = [0; 4];
    // Writing to a string cannot fail.
    let _ = write!(expression, "{}", regex::escape(character.encode_utf8(&mut buffer)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `excluded` and `kept` under the rules of `file`.
    fn check(file: &str, excluded: &[&str], kept: &[&str]) {
        let ignore = Ignore::parse(file).expect(file);
        for path in excluded {
            assert!(ignore.excludes(path), "{file:?} should exclude {path}");
        }
        for path in kept {
            assert!(!ignore.excludes(path), "{file:?} should keep {path}");
        }
    }

    #[test]
    fn patterns_are_those_of_docker() {
        check("", &[], &["a"]);
        check("# a\n\n  \n", &[], &["a", "# a"]);
        check("\u{feff}a", &["a", "a/b"], &["b/a"]);
        check("a", &["a", "a/b", "a/b/c"], &["b", "b/a", "ab"]);
        check("/a/", &["a", "a/b"], &["b/a"]);
        check("a/b", &["a/b", "a/b/c"], &["a", "a/c"]);
        check("./a/../b", &["b"], &["a"]);
        check("../a", &[], &["a"]);
        check("*", &["a", "a/b", ".git"], &[]);
        check("*.o", &["x.o", ".o"], &["a/x.o", "xo"]);
        check("*/*.o", &["a/x.o"], &["x.o", "a/b/x.o"]);
        check("**/*.o", &["x.o", "a/x.o", "a/b/x.o"], &["x.c"]);
        check("**", &["a", "a/b"], &[]);
        check("a/**", &["a/b", "a/b/c"], &["a", "b"]);
        check("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["z", "a/bz"]);
        check("**/a/**", &["a/b", "x/a/b"], &["a", "x/a"]);
        check("a?c", &["abc"], &["a/c", "ac"]);
        check("[a-c]x", &["ax", "cx"], &["dx"]);
        check("[^a]x", &["bx"], &["ax"]);
        check("a.b", &["a.b"], &["axb"]);
        check("a+b(c){d}|$^", &["a+b(c){d}|$^"], &["aab"]);
        check(r"\*", &["*"], &["a"]);
        check(r"\!a", &["!a"], &["a"]);
        check("ä*", &["äö"], &["a"]);
        check("[a&&b]", &["a", "&", "b"], &["c"]);
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        check("*\n!a", &["b"], &["a", "a/b"]);
        check("*.md\n!README*.md\nREADME-secret.md", &["x.md", "README-secret.md"], &["README.md"]);
        check("*.md\nREADME-secret.md\n!README*.md", &["x.md"], &["README-secret.md"]);
        check("!a\na", &["a"], &[]);
        check("a\n! a/b ", &["a", "a/c"], &["a/b", "a/b/c"]);
        check("**\n!**/*.rs", &["a", "a/b.c"], &["x.rs", "a/b/x.rs"]);
    }

    #[test]
    fn folders_are_walked_only_when_something_in_them_may_come_back() {
        let may = |file: &str, folder| Ignore::parse(file).expect(file).may_include_below(folder);
        assert!(!may("a", "a"));
        assert!(may("a\n!a/b", "a"));
        assert!(!may("a\n!b", "a"));
        assert!(may("*\n!**/x", "a"));
        assert!(may("a\n!a/b/c", "a/b"));
        assert!(!may("a\n!ab/c", "a"));
        assert!(may("a\n!a*/c", "ab"));
    }

    #[test]
    fn a_bad_pattern_is_an_error_with_its_line() {
        for (file, line) in [("a\n[b", "line 2"), ("!", "line 1"), ("a\n\n[z-a]", "line 3")] {
            let error = Ignore::parse(file).expect_err(file);
            assert!(error.starts_with(line), "{error}");
        }
    }
}
