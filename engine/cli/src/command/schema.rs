//! `yuanli schema`.

use yuanli_api_types::DocumentKind;

use crate::arguments::{Global, Schema, SchemaKind};
use crate::exit::Exit;
use crate::output;

/// Prints the schema: in lines for who keeps it in a repository, in one line with `--json`.
pub(crate) async fn schema(global: &Global, arguments: &Schema) -> anyhow::Result<Exit> {
    let kind = match arguments.kind {
        SchemaKind::Workflow => DocumentKind::Workflow,
        SchemaKind::App => DocumentKind::App,
        SchemaKind::Tests => DocumentKind::Tests,
    };
    let schema = super::library(global)?.json_schema(kind).await?;
    if global.json {
        output::json(&schema)?;
    } else {
        output::line(serde_json::to_string_pretty(&schema)?)?;
    }
    Ok(Exit::Done)
}
