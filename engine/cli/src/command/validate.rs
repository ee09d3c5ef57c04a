//! `yuanli validate`.

use yuanli_api_types::Validation;
use yuanli_server::{Library, Unread};

use crate::arguments::{Global, Validate};
use crate::exit::Exit;
use crate::{output, view};

/// Checks every file, whatever is wrong with those before it.
pub(crate) async fn validate(global: &Global, arguments: Validate) -> anyhow::Result<Exit> {
    let library = super::library(global)?;
    let mut exit = Exit::Done;
    for file in &arguments.files {
        let one = validate_one(global, &library, file).await?;
        // That this machine failed is more than that a file is wrong.
        if one != Exit::Done && exit != Exit::Unreachable {
            exit = one;
        }
    }
    Ok(exit)
}

async fn validate_one(global: &Global, library: &Library, file: &str) -> anyhow::Result<Exit> {
    let document = match library.read(file).await {
        Ok(document) => document,
        Err(unread) => return tell_unread(global, file, unread),
    };
    if global.json {
        output::unless_closed(output::json(&document.validation()))?;
    } else {
        if document.has_diagnostics() {
            output::drawn(&document.render(view::has_color(), view::width()));
        }
        if document.is_valid() {
            output::note(format_args!("{} is valid", document.name()));
        }
    }
    Ok(if document.is_valid() { Exit::Done } else { Exit::Usage })
}

fn tell_unread(global: &Global, file: &str, unread: Unread) -> anyhow::Result<Exit> {
    let (exit, why) = match unread {
        Unread::File(why) => (Exit::Usage, why),
        Unread::Machine(error) => (Exit::Unreachable, format!("{error:#}")),
    };
    if global.json {
        let validation =
            Validation { file: file.to_owned(), valid: false, error: Some(why), diagnostics: Vec::new() };
        output::unless_closed(output::json(&validation))?;
    } else {
        output::note(format_args!("error: {why}"));
    }
    Ok(exit)
}
