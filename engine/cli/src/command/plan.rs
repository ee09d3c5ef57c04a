//! `yuanli workflow plan` and `yuanli run --dry`.

use std::io::{self, IsTerminal};

use yuanli_server::{GivenSecrets, Refused};

use super::cache;
use super::run::{refuse_doubles, tell};
use crate::arguments::{Global, Plan, PlanFormat};
use crate::exit::{Exit, Misuse};
use crate::{output, view};

/// Prints what a run would do. Nothing is run, and no data directory is made. With the secrets that a run is given, all
/// that it needs has to be there; without, inputs may be missing, and of secrets nothing is known.
pub(crate) async fn plan(
    global: &Global,
    arguments: Plan,
    secrets: Option<&GivenSecrets>,
) -> anyhow::Result<Exit> {
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
    let mut planned = match document.plan(arguments.inputs, secrets.is_none()) {
        Ok(planned) => planned,
        Err(Refused::Invalid) => return Ok(Exit::Usage),
        Err(Refused::Inputs(wrong)) => {
            wrong.iter().for_each(|mistake| output::note(format_args!("error: {mistake}")));
            return Ok(Exit::Usage);
        }
        Err(Refused::Secrets(missing)) => return Ok(refuse(&missing)),
        Err(Refused::Uncreatable(why)) => return Ok(refuse(&[why])),
    };
    let locations = super::locations(global)?;
    let missing = secrets.map(|given| planned.missing_secrets(given, &locations)).unwrap_or_default();
    if !missing.is_empty() {
        return Ok(refuse(&missing));
    }
    if let Some(question) = planned.cache_question() {
        match cache::outlook(global, &planned.workflow(), question).await {
            Ok(outlooks) => planned.foresee(outlooks),
            // A plan does without: the documents alone say the rest.
            Err(error) => output::note(format_args!(
                "what would be taken over from earlier runs is not known: {error:#}"
            )),
        }
    }
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

fn refuse(mistakes: &[String]) -> Exit {
    mistakes.iter().for_each(|mistake| output::note(format_args!("error: {mistake}")));
    Exit::Usage
}
