//! What can run and should be written otherwise: inputs that nothing uses, secrets where others can read them, names
//! that stand for something else tomorrow, text from outside in commands.

use yuanli_model::{InputType, Template};

use crate::diagnostic::{Code, Diagnostics};
use crate::document::Document;
use crate::expression::Used;
use crate::input;
use crate::node::Kind;
use crate::run;
use crate::stage::{Draft, Variable};
use crate::value::Use;

/// Reports all of them, once the document is known to be right.
pub(crate) fn check(document: &Document<'_>, used: Used, diagnostics: &mut Diagnostics<'_>) {
    check_inputs(document, &used, diagnostics);
    check_secrets(document, diagnostics);
    let shared = document.env.iter().chain(&document.defaults.env);
    let variables = shared.chain(document.stages.iter().flat_map(|stage| &stage.env));
    variables.for_each(|variable| check_variable(variable, diagnostics));
    for stage in &document.stages {
        check_tag(stage, diagnostics);
        if stage.has_run {
            check_commands(document, stage, diagnostics);
        }
    }
}

fn check_inputs(document: &Document<'_>, used: &Used, diagnostics: &mut Diagnostics<'_>) {
    if used.all {
        return;
    }
    for (name, span) in document.inputs.names.iter().filter(|(name, _)| !used.names.contains(*name)) {
        let message = format!("nothing uses the input `{name}`");
        diagnostics.hint(Code::Unused, *span, message, Some("remove it".to_owned()));
    }
}

/// Secrets in places that are stored or shown as they are. Where a text is needed they are of the wrong type already.
fn check_secrets(document: &Document<'_>, diagnostics: &mut Diagnostics<'_>) {
    let outputs = document.outputs.iter().flat_map(|output| &output.config.uses);
    report_secrets("the outputs of a run", outputs, document, diagnostics);
    for stage in &document.stages {
        let lists = stage.fan_out.iter().flat_map(|fan_out| fan_out.lists());
        let lists = lists.flat_map(|(_, list)| &list.config.uses);
        report_secrets("what an instance runs for", lists, document, diagnostics);
    }
}

fn report_secrets<'a>(
    place: &str,
    uses: impl Iterator<Item = &'a Use>,
    document: &Document<'_>,
    diagnostics: &mut Diagnostics<'_>,
) {
    for found in uses {
        for reference in found.program.references().iter().filter(|found| found.path[0] == "inputs") {
            let Some(name) = reference.path.get(1) else { continue };
            if document.inputs.get(name).is_some_and(|input| input::is_secret(&input.kind)) {
                let message =
                    format!("the secret `{name}` does not belong into {place}: others can read that");
                let help = "give it to a plugin that takes a secret, or to a variable of `env`".to_owned();
                diagnostics.hint(Code::Leak, found.span(&reference.range), message, Some(help));
            }
        }
    }
}

/// A variable with the name of a secret and a value that anybody can read in the document.
fn check_variable(variable: &Variable, diagnostics: &mut Diagnostics<'_>) {
    const SECRET: [&str; 5] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "PRIVATE_KEY"];
    /// What says where a secret is, and is none.
    const ELSEWHERE: [&str; 4] = ["_FILE", "_PATH", "_URL", "_NAME"];
    let name = variable.name.to_uppercase();
    let is_secret = SECRET.iter().any(|word| name.ends_with(word) || name.contains(&format!("{word}_")))
        || name.ends_with("API_KEY")
        || name.ends_with("ACCESS_KEY");
    let is_elsewhere = ELSEWHERE.iter().any(|end| name.ends_with(end));
    let has_value = matches!(&variable.value, Template::Text(text) if !text.trim().is_empty());
    if is_secret && !is_elsewhere && has_value {
        let message =
            format!("`{}` reads like a secret, and its value stands in the document", variable.name);
        let help =
            format!("declare an input of type `secret` and write `{}: ${{{{ inputs.… }}}}`", variable.name);
        diagnostics.hint(Code::Leak, variable.span, message, Some(help));
    }
}

/// An image by the tag `latest`.
fn check_tag(stage: &Draft<'_>, diagnostics: &mut Diagnostics<'_>) {
    let Some(Kind::Map(entries)) = stage.with.map(|with| &with.value.kind) else { return };
    for entry in entries.iter().filter(|entry| entry.key == "image") {
        let Kind::Text(image) = &entry.value.kind else { continue };
        if image.ends_with(":latest") {
            let message = format!("`{image}` is another image tomorrow");
            let help = "use a tag that says which one, such as a version, or a digest".to_owned();
            diagnostics.hint(Code::MovingName, entry.value_span(), message, Some(help));
        }
    }
}

/// Texts from outside in the commands of a shell, which takes whatever is in them for commands.
fn check_commands(document: &Document<'_>, stage: &Draft<'_>, diagnostics: &mut Diagnostics<'_>) {
    for found in stage.config.uses.iter().filter(|found| found.pointer == run::POINTER) {
        let from_outside = found.program.references().iter().find(|reference| {
            let name = reference.path.get(1).map(String::as_str);
            match (reference.path[0].as_str(), name) {
                ("trigger", _) => true,
                ("inputs", Some(name)) => document.inputs.get(name).is_some_and(|input| is_free(&input.kind)),
                _ => false,
            }
        });
        if let Some(reference) = from_outside {
            let message = format!(
                "whoever gives `{}` can have commands of their own run here",
                yuanli_expr::written(&reference.path)
            );
            let help = "put it into `env`, and write `\"$NAME\"` in the command".to_owned();
            diagnostics.hint(Code::Injection, found.span(&reference.range), message, Some(help));
        }
    }
}

/// Whether a value of the type can hold signs that mean something to a shell.
fn is_free(kind: &InputType) -> bool {
    match kind {
        InputType::String { pattern } => pattern.is_none(),
        InputType::List(of) => is_free(of),
        InputType::Object => true,
        InputType::Number { .. } | InputType::Boolean | InputType::Choice(_) | InputType::Secret => false,
    }
}
