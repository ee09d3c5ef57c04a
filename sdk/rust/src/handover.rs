//! What a container hands over in files: outputs in `$YUANLI_OUTPUT`, a summary for people in `$YUANLI_SUMMARY`.
//!
//! Outputs are lines `KEY=VALUE`; a value of several lines begins with `KEY<<END` and ends with the line `END`, whatever word
//! that is. A summary is Markdown; it becomes the artifact [`SUMMARY_NAME`], which `yuanli runs show` shows, also of a stage that
//! has failed.

use std::collections::BTreeMap;

use crate::artifacts;
use crate::containers::{Container, Request};
use crate::failure::Failure;

/// The name of the artifact that a summary becomes.
pub const SUMMARY_NAME: &str = "summary.md";
const SUMMARY_TYPE: &str = "text/markdown";

/// Where the files are in the container, and the variables that say so.
const OUTPUT: &str = "/yuanli/output";
const SUMMARY: &str = "/yuanli/summary";
const OUTPUT_VARIABLE: &str = "YUANLI_OUTPUT";
const SUMMARY_VARIABLE: &str = "YUANLI_SUMMARY";

/// Most bytes of the outputs and of a summary: outputs stand in the history of the run, a summary is read by people.
const MAX_OUTPUT_BYTES: u32 = 256 * 1024;
const MAX_SUMMARY_BYTES: u32 = 128 * 1024;

/// The request of a container that has these files.
#[must_use]
pub fn of(mut request: Request) -> Request {
    for (path, variable) in [(OUTPUT, OUTPUT_VARIABLE), (SUMMARY, SUMMARY_VARIABLE)] {
        request.options.push(("file".to_owned(), path.to_owned()));
        request.environment.push((variable.to_owned(), path.to_owned()));
    }
    request
}

/// The outputs of a container that [`of`] has asked for, once it has ended.
///
/// # Errors
/// They cannot be read, or are no outputs, with the line that is wrong.
pub fn outputs(container: &Container) -> Result<BTreeMap<String, String>, Failure> {
    let wrong = |why: String| Failure::permanent("invalid-outputs", format!("${OUTPUT_VARIABLE}: {why}"));
    let content =
        container.read_file(OUTPUT, MAX_OUTPUT_BYTES).map_err(|error| wrong(Failure::from(error).message))?;
    let text = String::from_utf8(content).map_err(|_| wrong("it is no UTF-8".to_owned()))?;
    parse(&text).map_err(wrong)
}

/// Keeps what containers have written for people, those that are not empty, one after the other. What cannot be kept is worth a
/// line.
pub fn keep_summary<'a>(containers: impl IntoIterator<Item = &'a Container>) {
    keep_summary_after(String::new(), containers);
}

/// The same after what the plugin itself says in Markdown, which may be empty.
pub fn keep_summary_after<'a>(own: String, containers: impl IntoIterator<Item = &'a Container>) {
    let mut summary = own;
    for container in containers {
        match container.read_file(SUMMARY, MAX_SUMMARY_BYTES) {
            Ok(content) => {
                let text = String::from_utf8_lossy(&content);
                if !text.trim().is_empty() {
                    summary.push_str(text.trim_end());
                    summary.push_str("\n\n");
                }
            }
            Err(error) => warn(&Failure::from(error)),
        }
    }
    if summary.is_empty() {
        return;
    }
    if let Err(error) = artifacts::put(SUMMARY_NAME, SUMMARY_TYPE, summary.trim_end()) {
        warn(&Failure::from(error));
    }
}

fn warn(failure: &Failure) {
    crate::log::warn(format!("${SUMMARY_VARIABLE} is not kept: {}", failure.message));
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut outputs = BTreeMap::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        let number = index + 1;
        // The sign that comes first decides: a value may have the other.
        let (key, value) = match (line.find('='), line.find("<<")) {
            (equals, Some(several)) if equals.is_none_or(|equals| several < equals) => {
                let (key, end) = (&line[..several], line[several + 2..].trim());
                if end.is_empty() {
                    return Err(format!(
                        "line {number}: a word has to follow `<<`, the one that ends the value"
                    ));
                }
                if !text.lines().skip(number).any(|line| line == end) {
                    return Err(format!("line {number}: the value of `{key}` has no end, a line `{end}`"));
                }
                let value = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != end);
                (key, value.collect::<Vec<_>>().join("\n"))
            }
            (Some(equals), _) => (&line[..equals], line[equals + 1..].to_owned()),
            (None, None | Some(_)) => {
                return Err(format!("line {number}: `{line}` is neither `KEY=VALUE` nor `KEY<<END`"));
            }
        };
        if !is_key(key) {
            return Err(format!(
                "line {number}: `{key}` is no name of an output: use letters, digits, `_` and `-`, and begin with a letter"
            ));
        }
        outputs.insert(key.to_owned(), value);
    }
    Ok(outputs)
}

fn is_key(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_lines_or_several() {
        let check = |text: &str, expect: &[(&str, &str)]| {
            let expect = expect.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(parse(text), Ok(expect), "{text}");
        };
        check("", &[]);
        check("a=1\n\nb=x=y\r\nc=\n", &[("a", "1"), ("b", "x=y"), ("c", "")]);
        check("a=1\na=2", &[("a", "2")]);
        check("notes<<END\none\n\ntwo=2\nEND\nb=1", &[("notes", "one\n\ntwo=2"), ("b", "1")]);
        check("a=x<<y", &[("a", "x<<y")]);
        check("a<<E\nE\n", &[("a", "")]);
        check("a-b_1= spaces stay ", &[("a-b_1", " spaces stay ")]);
    }

    #[test]
    fn what_is_no_output_is_told_with_its_line() {
        for (text, why) in [
            ("a=1\nnothing", "line 2: `nothing` is neither"),
            ("a<<\nx", "line 1: a word has to follow"),
            ("a<<END\nx\n", "line 1: the value of `a` has no end, a line `END`"),
            ("=1", "line 1: `` is no name"),
            ("1a=1", "line 1: `1a` is no name"),
            ("a b=1", "line 1: `a b` is no name"),
        ] {
            assert!(parse(text).is_err_and(|error| error.contains(why)), "{text}: {:?}", parse(text));
        }
    }
}
