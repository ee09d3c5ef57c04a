//! `'…%s…'.format([…])`, after CEL's extension for strings.

use std::fmt::Write as _;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelBytes, CelString};
use cel::common::value::{CowVal, Val};

use crate::budget;
use crate::library::argument::{Number, failed, items, made, number, text, whole_of};
use crate::library::{Arguments, Result};
use crate::{error, json};

const NAME: &str = "format";

/// Most digits after the point.
const MAX_DIGITS: usize = 100;

/// A part of what `format` is called on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// Stands as it is.
    Text(&'a str),
    /// Stands for the next value: the letter that says how, and how many digits after the point.
    Value(char, Option<usize>),
}

/// The parts of a text with places for values.
pub(crate) fn parts(template: &str) -> std::result::Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        if at > 0 {
            parts.push(Part::Text(&rest[..at]));
        }
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            parts.push(Part::Text("%"));
            rest = after;
            continue;
        }
        let mut digits = None;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            let given = after[..end].parse().ok().filter(|digits| *digits <= MAX_DIGITS);
            digits = Some(
                given.ok_or_else(|| format!("after `%.` comes a number up to {MAX_DIGITS}, as in `%.2f`"))?,
            );
            rest = &after[end..];
        }
        match rest.chars().next() {
            Some(letter) if "sdfexXob".contains(letter) => {
                parts.push(Part::Value(letter, digits));
                rest = &rest[1..];
            }
            Some(letter) => return Err(format!("`%{letter}` means nothing; a percent sign is written `%%`")),
            None => return Err("a percent sign is written `%%`".to_owned()),
        }
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

pub(crate) fn format<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let parts = parts(text(NAME, &arguments[0])?).map_err(|message| failed(NAME, message))?;
    let values = items(NAME, &arguments[1])?;
    let places = parts.iter().filter(|part| matches!(part, Part::Value(..))).count();
    if places != values.len() {
        return Err(failed(NAME, counts(places, values.len())));
    }
    let mut values = values.iter();
    let mut written = String::new();
    for part in parts {
        let before = written.len();
        match (part, &mut values) {
            (Part::Text(text), _) => written.push_str(text),
            (Part::Value(letter, digits), values) => {
                if let Some(value) = values.next() {
                    write(&mut written, letter, digits, value.as_ref())?;
                }
            }
        }
        budget::spend_bytes(written.len() - before)?;
    }
    Ok(made(written))
}

/// What is wrong when places and values do not agree.
pub(crate) fn counts(places: usize, values: usize) -> String {
    let one = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!("the text has {} and is given {}", one(places, "place"), one(values, "value"))
}

fn write(
    written: &mut String,
    letter: char,
    digits: Option<usize>,
    value: &dyn Val,
) -> std::result::Result<(), ExecutionError> {
    let refuse = || Err(failed(NAME, format!("`%{letter}` does not take {}", kind(value))));
    // Writing into a text cannot fail.
    let _ = match (letter, number(value)) {
        ('s', _) => return write_text(written, value),
        ('d', Some(Number::Double(number))) if whole_of(number).is_none() => return refuse(),
        ('d', Some(Number::Double(number))) => write!(written, "{number:.0}"),
        ('d', Some(Number::Whole(number))) => write!(written, "{number}"),
        ('f', Some(number)) => write!(written, "{:.*}", digits.unwrap_or(6), number.as_f64()),
        ('e', Some(number)) => write_exponent(written, number.as_f64(), digits.unwrap_or(6)),
        ('x' | 'X' | 'o' | 'b', Some(Number::Whole(number))) => write_radix(written, letter, number),
        ('b', None) if value.downcast_ref::<CelBool>().is_some() => {
            written.push(if value.downcast_ref::<CelBool>().is_some_and(|flag| *flag.inner()) {
                '1'
            } else {
                '0'
            });
            Ok(())
        }
        ('x' | 'X', None) => {
            let text = value.downcast_ref::<CelString>().map(|text| text.inner().as_bytes());
            let bytes = text.or_else(|| value.downcast_ref::<CelBytes>().map(|bytes| bytes.inner()));
            let Some(bytes) = bytes else { return refuse() };
            budget::spend_bytes(bytes.len())?;
            bytes.iter().try_for_each(|byte| match letter {
                'x' => write!(written, "{byte:02x}"),
                _ => write!(written, "{byte:02X}"),
            })
        }
        _ => return refuse(),
    };
    Ok(())
}

fn write_radix(written: &mut String, letter: char, number: i128) -> std::fmt::Result {
    if number < 0 {
        written.push('-');
    }
    let number = number.unsigned_abs();
    match letter {
        'x' => write!(written, "{number:x}"),
        'X' => write!(written, "{number:X}"),
        'o' => write!(written, "{number:o}"),
        _ => write!(written, "{number:b}"),
    }
}

/// With at least two digits in the exponent, as C writes it.
fn write_exponent(written: &mut String, number: f64, digits: usize) -> std::fmt::Result {
    let short = format!("{number:.digits$e}");
    let Some((mantissa, exponent)) = short.split_once('e') else { return written.write_str(&short) };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    write!(written, "{mantissa}e{sign}{exponent:0>2}")
}

/// A text as it is, everything else as JSON.
fn write_text(written: &mut String, value: &dyn Val) -> std::result::Result<(), ExecutionError> {
    if let Some(text) = value.downcast_ref::<CelString>() {
        written.push_str(text.inner());
        return Ok(());
    }
    let value = super::data::to_json(NAME, &CowVal::Borrowed(value))?;
    match value {
        serde_json::Value::String(text) => written.push_str(&text),
        other => {
            budget::spend_bytes(json::length(&other))?;
            written.push_str(&other.to_string());
        }
    }
    Ok(())
}

fn kind(value: &dyn Val) -> String {
    error::shorten(crate::fault::kind(value.get_type().name()))
}
