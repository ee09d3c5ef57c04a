//! `yuanli workflow plan` and `yuanli run --dry`.

use std::io::{self, IsTerminal};

use yuanli_server::Refused;

use super::run::{refuse_doubles, tell};
use crate::arguments::{Global, Plan, PlanFormat};
use crate::exit::{Exit, Misuse};
use crate::{output, view};

/// Prints what a run would do. Nothing is run, and no data directory is needed. `is_lenient`: an input may be missing.
pub(crate) async fn plan(global: &Global, arguments: Plan, is_lenient: bool) -> anyhow::Result<Exit> {
    let format = match (global.json, arguments.format) {
        (false, format) => format.unwrap_or(PlanFormat::Tree),
        (true, None | Some(PlanFormat::Json)) => PlanFormat::Json,
        (true, Some(_)) => {
            return Err(Misuse("give `--json` or another `--format`, not both".to_owned()).into());
        }
    };
    refuse_doubles(&arguments.inputs)?;
    let document = super::library(global)?.read(&arguments.file).await.map_err(super::unread)?;
    if let Some(exit) = tell(format == PlanFormat::Json, &document)? {
        return Ok(exit);
    }
    let planned = match document.plan(arguments.inputs, is_lenient) {
        Ok(planned) => planned,
        Err(Refused::Invalid) => return Ok(Exit::Usage),
        Err(Refused::Inputs(wrong)) => {
            wrong.iter().for_each(|mistake| output::note(format_args!("error: {mistake}")));
            return Ok(Exit::Usage);
        }
    };
    match format {
        PlanFormat::Json => output::json(&planned.body())?,
        PlanFormat::Dot => output::line(planned.dot().trim_end())?,
        PlanFormat::Mermaid => output::line(planned.mermaid().trim_end())?,
        PlanFormat::Tree => {
            let width = io::stdout().is_terminal().then(|| view::width_of(io::stdout()));
            output::line(planned.tree(width).trim_end())?;
        }
    }
    for input in planned.missing() {
        output::note(format_args!("a run has to be given `{input}`: add `--input {input}=…`"));
    }
    Ok(Exit::Done)
}
