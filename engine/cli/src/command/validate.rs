//! `yuanli validate`.

use std::io::{self, Write};

use crate::arguments::{Global, Validate};
use crate::exit::Exit;
use crate::{output, view};

pub(crate) async fn validate(global: &Global, arguments: Validate) -> anyhow::Result<Exit> {
    let library = super::library(global)?;
    let mut exit = Exit::Done;
    for file in &arguments.files {
        let document = library.read(file).await.map_err(super::run::unreadable)?;
        if !document.is_valid() {
            exit = Exit::Usage;
        }
        if global.json {
            output::json(&document.validation())?;
        } else if document.has_diagnostics() {
            write!(io::stderr(), "{}", document.render(view::has_color(), view::width()))?;
        }
        if !global.json && document.is_valid() {
            writeln!(io::stderr(), "{file} is valid")?;
        }
    }
    Ok(exit)
}
