//! What a commit says of itself.

use std::path::Path;

use yuanli_ports::source::{About, SourceError};

use crate::command::Git;

/// Longest message that is kept, in bytes: some put whole documents there.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Author, time and message; they follow each other behind a byte that none of them has.
const FORMAT: &str = "--format=%an <%ae>%x00%cI%x00%B";

/// What a commit of the repository around a folder says. Where git cannot tell, nothing is known of it.
pub(crate) async fn of(git: &Git<'_>, folder: &Path, commit: &str) -> Result<Option<About>, SourceError> {
    let show =
        ["show", "--no-patch", "--no-show-signature", "--no-notes", FORMAT, "--end-of-options", commit];
    let output = git.run(git.command(folder, show), None).await?;
    Ok(output.is_success.then(|| read(&output.text())).flatten())
}

fn read(text: &str) -> Option<About> {
    let mut parts = text.splitn(3, '\0').map(str::trim);
    let mut next = || parts.next().map(str::to_owned);
    let (author, committed, mut message) = (next()?, next()?, next()?);
    if message.len() > MAX_MESSAGE_BYTES {
        let end = (0..=MAX_MESSAGE_BYTES).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    Some(About { author, committed, message })
}
