//! Functions of texts, after CEL's extension for strings: positions are counted in characters, from 0.

use cel::common::types::{CelInt, CelList, CelString};
use cel::common::value::{CowVal, Val};

use crate::budget;
use crate::library::argument::{failed, items, made, make, refused, text, whole};
use crate::library::{Arguments, Result};

/// What a list takes for each item, beside the item.
const ITEM: usize = 48;

pub(crate) fn lower<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let text = text("lowerAscii", &arguments[0])?;
    make(text.len(), || text.to_ascii_lowercase())
}

pub(crate) fn upper<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let text = text("upperAscii", &arguments[0])?;
    make(text.len(), || text.to_ascii_uppercase())
}

pub(crate) fn trim<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let text = text("trim", &arguments[0])?.trim();
    make(text.len(), || text.to_owned())
}

pub(crate) fn index_of<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let (text, part) = (text("indexOf", &arguments[0])?, text("indexOf", &arguments[1])?);
    let index = text.find(part).map(|at| text[..at].chars().count());
    let index = index.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1);
    Ok(CowVal::owned(CelInt::from(index)))
}

pub(crate) fn substring<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    const NAME: &str = "substring";
    let text = text(NAME, &arguments[0])?;
    let position = |index: usize| arguments.get(index).map(|value| whole(NAME, value)).transpose();
    let begin = position(1)?.unwrap_or(0);
    let end = position(2)?;
    // The byte of a character's position; the end of the text is one, too.
    let byte = |position: i64| {
        let past = text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len()));
        usize::try_from(position).ok().and_then(|position| past.into_iter().nth(position))
    };
    let outside = |position: i64| {
        let count = text.chars().count();
        failed(NAME, format!("there is no position {position} in a text of {count} characters"))
    };
    let from = byte(begin).ok_or_else(|| outside(begin))?;
    let to = match end {
        Some(end) if end < begin => return Err(failed(NAME, format!("{end} comes before {begin}"))),
        Some(end) => byte(end).ok_or_else(|| outside(end))?,
        None => text.len(),
    };
    make(to - from, || text[from..to].to_owned())
}

pub(crate) fn replace<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    const NAME: &str = "replace";
    let (text, from, to) =
        (text(NAME, &arguments[0])?, text(NAME, &arguments[1])?, text(NAME, &arguments[2])?);
    let most = match arguments.get(3) {
        Some(most) => usize::try_from(whole(NAME, most)?).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let count = text.matches(from).take(most).count();
    let length = text.len() + count.saturating_mul(to.len());
    make(length, || text.replacen(from, to, most))
}

pub(crate) fn split<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    const NAME: &str = "split";
    let (text, separator) = (text(NAME, &arguments[0])?, text(NAME, &arguments[1])?);
    let most = match arguments.get(2) {
        Some(most) => usize::try_from(whole(NAME, most)?).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let parts: Vec<&str> = if most == 0 {
        Vec::new()
    } else if separator.is_empty() {
        budget::spend_bytes(text.len() * size_of::<&str>())?;
        characters(text, most)
    } else {
        let count = text.matches(separator).take(most).count();
        budget::spend_bytes(count * size_of::<&str>())?;
        text.splitn(most, separator).collect()
    };
    budget::spend_bytes(parts.len() * ITEM + text.len())?;
    let parts = parts.into_iter().map(|part| Box::new(CelString::from(part.to_owned())) as Box<dyn Val + 'v>);
    Ok(CowVal::owned(CelList::from(parts.collect::<Vec<_>>())))
}

/// Each character of a text, and what is left of it as the last one of `most`.
fn characters(text: &str, most: usize) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split("").filter(|part| !part.is_empty()).take(most - 1).collect();
    let taken: usize = parts.iter().map(|part| part.len()).sum();
    if taken < text.len() {
        parts.push(&text[taken..]);
    }
    parts
}

pub(crate) fn join<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    const NAME: &str = "join";
    let separator = arguments.get(1).map(|separator| text(NAME, separator)).transpose()?.unwrap_or("");
    let mut length = 0_usize;
    let mut parts = Vec::new();
    for item in items(NAME, &arguments[0])? {
        let Some(part) = item.downcast_ref::<CelString>() else {
            let kind = item.get_type().name();
            return Err(match crate::library::argument::is_secret(item.as_ref()) {
                true => refused(NAME, &[CowVal::Borrowed(item.as_ref())]),
                false => cel::ExecutionError::no_such_overload(NAME, vec![format!("list of {kind}")]),
            });
        };
        length = length.saturating_add(part.inner().len() + separator.len());
        parts.push(part.inner());
    }
    budget::spend_bytes(length)?;
    Ok(made(parts.join(separator)))
}
