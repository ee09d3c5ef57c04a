//! A stage as the document has it: each field read for itself, before any name in it is looked up.

mod approval;
mod cache;
mod fan_out;
mod grant;
mod limit;
mod retry;
mod uses;
mod variable;

use std::num::NonZeroU32;
use std::time::Duration;

use yuanli_model::stage::Limits;
use yuanli_model::{Grant, Section, StageName};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind};
use crate::value::{self, Config, Use};

pub(crate) use approval::Approval;
pub(crate) use cache::Cache;
pub(crate) use fan_out::{FanOut, Matrix};
pub(crate) use grant::{bounded as bounded_grant, capability, read as read_grants};
pub(crate) use limit::{read as read_limits, read_known as known_limits};
pub(crate) use retry::read as read_retry;
pub(crate) use uses::Uses;
pub(crate) use variable::{Variable, read as read_variables};

/// Most instances that may run at the same time.
const MAX_PARALLEL: u32 = 10_000;

/// A stage of the document. What could not be read is reported, and missing here.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    /// As written, valid or not: others may refer to it.
    pub(crate) key: &'a str,
    pub(crate) key_span: Span,
    pub(crate) section: Section,
    pub(crate) name: Option<StageName>,
    pub(crate) description: Option<String>,
    pub(crate) uses: Option<(Uses, Span)>,
    /// Whether it only waits for a person.
    pub(crate) is_gate: bool,
    /// Whether it is written in the short form.
    pub(crate) has_run: bool,
    /// The entry of `with`, if there is one.
    pub(crate) with: Option<&'a Entry>,
    pub(crate) config: Config,
    /// Whether `with` could be read as a map.
    pub(crate) has_config: bool,
    pub(crate) needs: Vec<(&'a str, Span)>,
    pub(crate) condition: Option<Use>,
    pub(crate) fan_out: Option<FanOut>,
    pub(crate) max_parallel: Option<NonZeroU32>,
    pub(crate) approval: Option<Approval>,
    pub(crate) retry: Option<yuanli_model::stage::Retry>,
    pub(crate) allow_failure: bool,
    pub(crate) grants: Vec<(Grant, Span)>,
    /// Whether it says itself what it grants.
    pub(crate) has_grants: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) limits: Limits,
    pub(crate) cache: Option<Cache>,
    pub(crate) env: Vec<Variable>,
}

/// Reads a stage. One that is no map is a stage all the same: others may need it, and they are not wrong.
pub(crate) fn read<'a>(entry: &'a Entry, section: Section, diagnostics: &mut Diagnostics<'_>) -> Draft<'a> {
    let name = match entry.key.parse::<StageName>() {
        Ok(name) => Some(name),
        Err(error) => {
            diagnostics
                .error_with(Code::InvalidName, entry.key_span, error.to_string(), || proper(&entry.key));
            None
        }
    };
    let what = format!("stage `{}`", entry.key);
    let entries = key::entries_of(&entry.value, entry.value_span(), &what, diagnostics);
    let is_map = entries.is_some();
    let entries = entries.unwrap_or_default();
    key::check(entries, &key::STAGE, diagnostics);
    let given = |key| key::given(entries, key);
    let uses = key::find(entries, "uses").map(|uses| uses::read(uses, diagnostics));
    let approval = given("approval").and_then(|approval| approval::read(approval, diagnostics));
    let is_gate = uses.is_none() && key::find(entries, "run").is_none() && approval.is_some();
    // An approval that cannot be read has been told, and may have been meant for all that the stage does.
    let asks = given("approval").is_some_and(|approval| !matches!(approval.value.kind, Kind::Bool(false)));
    if is_map && uses.is_none() && key::find(entries, "run").is_none() && !asks {
        report_no_plugin(entry, diagnostics);
    }
    let runs_workflow = matches!(uses, Some(Some((Uses::Workflow(_), _))));
    check_together(entry, entries, is_gate, runs_workflow, approval.as_ref(), diagnostics);
    let with = given("with");
    let config = with.map(|with| read_with(with, diagnostics));
    Draft {
        key: &entry.key,
        key_span: entry.key_span,
        section,
        name,
        description: given("description").and_then(|text| key::text_of(text, diagnostics)).map(str::to_owned),
        uses: uses.flatten(),
        is_gate,
        has_run: key::find(entries, "run").is_some(),
        with,
        has_config: !matches!(config, Some(None)),
        config: config.flatten().unwrap_or_default(),
        needs: given("needs")
            .map(|needs| key::texts_of(needs, "the name of a stage", diagnostics))
            .unwrap_or_default(),
        condition: given("if").and_then(|condition| value::expression(condition, diagnostics)),
        fan_out: fan_out::read(given("for_each"), given("matrix"), diagnostics),
        max_parallel: given("max_parallel").and_then(|most| read_max_parallel(most, diagnostics)),
        approval,
        retry: given("retry").and_then(|retry| retry::read(retry, diagnostics)),
        allow_failure: given("allow_failure")
            .and_then(|flag| key::boolean_of(flag, diagnostics))
            .unwrap_or_default(),
        grants: given("grants").map(|grants| grant::read(grants, diagnostics)).unwrap_or_default(),
        has_grants: key::find(entries, "grants").is_some(),
        timeout: given("timeout").and_then(|timeout| key::duration_of(timeout, diagnostics)),
        limits: given("limits").map(|limits| limit::read(limits, diagnostics)).unwrap_or_default(),
        cache: given("cache").and_then(|cache| cache::read(cache, diagnostics)),
        env: given("env").map(|env| variable::read(env, diagnostics)).unwrap_or_default(),
    }
}

/// What a stage uses, when that can be read.
pub(crate) fn uses_of(entry: &Entry) -> Option<Uses> {
    let Kind::Map(entries) = &entry.value.kind else { return None };
    uses::parse(key::find(entries, "uses")?)
}

fn report_no_plugin(entry: &Entry, diagnostics: &mut Diagnostics<'_>) {
    let message = format!("stage `{}` does not say which plugin it uses", entry.key);
    diagnostics.error_with(Code::MissingKey, entry.key_span, message, || {
        Some(
            "add `uses:` with the name of a plugin, such as `uses: build`, or `run:` with commands"
                .to_owned(),
        )
    });
}

/// Reports keys that cannot stand together, or that do nothing without another.
fn check_together(
    stage: &Entry,
    entries: &[Entry],
    is_gate: bool,
    runs_workflow: bool,
    approval: Option<&Approval>,
    diagnostics: &mut Diagnostics<'_>,
) {
    let find = |key| key::given(entries, key);
    if is_gate {
        for key in ["with", "for_each", "matrix"] {
            let Some(entry) = find(key) else { continue };
            let message =
                format!("stage `{}` only waits for a person, so `{key}` has nothing to act on", stage.key);
            diagnostics.error_with(Code::Contradiction, entry.key_span, message, || {
                Some("add `uses:` or `run:`, or leave it out".to_owned())
            });
        }
        for key in ["retry", "timeout", "grants", "max_parallel", "limits", "cache"] {
            let Some(entry) = find(key) else { continue };
            let message = format!("`{key}` does nothing in a stage that only waits for a person");
            let help = if key == "timeout" {
                "the time to wait is the `deadline` of the approval"
            } else {
                "remove it"
            };
            diagnostics.warning(Code::Idle, entry.key_span, message, Some(help.to_owned()));
        }
    } else if let Some(span) = approval.and_then(|approval| approval.inputs_span) {
        let message = "only a stage that does nothing else can ask for inputs: what it gets are its outputs";
        diagnostics.error_with(Code::Contradiction, span, message, || {
            Some(
                "put the approval into a stage of its own, without `uses` and `run`, and need that"
                    .to_owned(),
            )
        });
    }
    if runs_workflow {
        for key in ["limits", "cache"] {
            let Some(entry) = find(key) else { continue };
            let message = format!("`{key}` does nothing in a stage that runs a workflow");
            let help = "say it in the stages of that workflow".to_owned();
            diagnostics.warning(Code::Idle, entry.key_span, message, Some(help));
        }
    }
    let fans_out = find("for_each").is_some() || find("matrix").is_some();
    if let Some(most) = find("max_parallel").filter(|_| !fans_out && !is_gate) {
        let message = "`max_parallel` does nothing in a stage without `for_each` or `matrix`";
        diagnostics.warning(Code::Idle, most.key_span, message, Some("remove it".to_owned()));
    }
}

pub(crate) fn read_max_parallel(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<NonZeroU32> {
    key::number_of(entry, 1..=MAX_PARALLEL, diagnostics).and_then(NonZeroU32::new)
}

fn read_with(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Config> {
    key::entries_of(&entry.value, entry.value_span(), "`with`", diagnostics)?;
    Some(value::config(&entry.value, diagnostics))
}

/// The valid name that is nearest to a wrong one.
pub(crate) fn proper(wrong: &str) -> Option<String> {
    let joined = wrong.trim().to_lowercase().replace([' ', '.', '/'], "-");
    joined.parse::<StageName>().ok().map(|name| format!("`{name}` would do"))
}
