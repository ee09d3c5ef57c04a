//! Metrics in Prometheus' text format, version 0.0.4, as this engine writes it.

use crate::query::Sample;

/// The values in a text. What is no line of a value, such as a comment, gives none.
#[must_use]
pub fn samples_of(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample_of).collect()
}

fn sample_of(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels_of(rest)?,
        None => (Vec::new(), rest),
    };
    // A time may follow.
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The labels up to the brace that ends them, and what follows it.
fn labels_of(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = value_of(after)?;
        labels.push((name.trim_start_matches(',').to_owned(), value));
        rest = after;
    }
}

/// A value up to the quote that ends it, without its escapes, and what follows.
fn value_of(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (place, '"') => return Some((value, &text[place + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => value.push(other),
        }
    }
}
