//! `yuanli explain`.

use yuanli_api_types::{Explanation, List};
use yuanli_server::{explanation, explanations, nearest_code};

use crate::arguments::{Explain, Global};
use crate::exit::{Exit, Misuse};
use crate::output;

pub(crate) fn explain(global: &Global, arguments: &Explain) -> anyhow::Result<Exit> {
    match &arguments.code {
        None => list(global)?,
        Some(code) => match explanation(code) {
            Some(explanation) if global.json => output::json(&explanation)?,
            Some(explanation) => output::line(in_full(&explanation).trim_end())?,
            None => return Err(unknown(code).into()),
        },
    }
    Ok(Exit::Done)
}

fn list(global: &Global) -> anyhow::Result<()> {
    let items = explanations();
    if global.json {
        return output::json(&List { items, next: None });
    }
    output::table(&["CODE", "WHAT IT MEANS"], items.into_iter().map(|item| vec![item.code, item.title]))
}

fn unknown(code: &str) -> Misuse {
    let help = match nearest_code(code) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`yuanli explain` lists them".to_owned(),
    };
    Misuse(format!("there is no code `{code}`; {help}"))
}

/// The code with its text, and its documents as they stand in a file.
fn in_full(explanation: &Explanation) -> String {
    let Explanation { code, title, text, wrong, right } = explanation;
    let mut full = format!("{code}: {title}\n\n{}\n", output::wrapped(text));
    for (what, document) in [("Wrong", wrong), ("Right", right)] {
        if let Some(document) = document {
            let lines = document.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n");
            full += &format!("\n{what}:\n\n{}", lines.collect::<String>());
        }
    }
    full
}
