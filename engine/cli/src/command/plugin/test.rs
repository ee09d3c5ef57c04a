//! `yuanli plugin test`.

use std::path::PathBuf;

use anyhow::Context;
use yuanli_api_types::{PluginTest as Report, TestCase, TestOutcome};
use yuanli_server::{Trial, printable_line};

use crate::arguments::{Global, PluginTest};
use crate::author::build;
use crate::exit::{Exit, Misuse};
use crate::{junit, output};

/// The folder, beside a component, that has the cases of its author.
const CASES: &str = "tests";

pub(super) async fn test(global: &Global, arguments: PluginTest) -> anyhow::Result<Exit> {
    let PluginTest { component, cases, only, junit: to, .. } = arguments;
    let component = match component.is_dir() {
        true => build::only_component(&component)?,
        false => component,
    };
    let cases = if cases.is_empty() { beside(&component) } else { cases };
    let has_general = only.is_none();
    let trial = Trial { component, cases, only, has_general };
    let is_json = global.json;
    // What was read of the output so far is enough for whoever stops reading: the exit code says the rest.
    let mut tell = |case: &TestCase| {
        if !is_json {
            let _ = output::unless_closed(told(case));
        }
    };
    let report = trial.run(&super::super::data(global)?, &mut tell).await.map_err(super::super::unread)?;
    if report.cases.is_empty() {
        return Err(Misuse("no case has that in its name".to_owned()).into());
    }
    if let Some(to) = to {
        let cannot = || format!("the report cannot be written to {}", to.display());
        std::fs::write(&to, junit::report(&report)).with_context(cannot)?;
    }
    let printed = if is_json { output::json(&report) } else { summary(&report) };
    output::unless_closed(printed)?;
    Ok(if report.passed { Exit::Done } else { Exit::Failed })
}

/// The folder of cases beside a component, when there is one.
fn beside(component: &std::path::Path) -> Vec<PathBuf> {
    let folder = component.parent().map(|folder| folder.join(CASES));
    folder.into_iter().filter(|folder| folder.is_dir()).collect()
}

/// A line for a case, and more for one that fails.
pub(crate) fn told(case: &TestCase) -> anyhow::Result<()> {
    let TestCase { name, file, outcome, differences, log, reason, duration_ms, run_ms: _ } = case;
    let word = match outcome {
        TestOutcome::Passed => "passed ",
        TestOutcome::Failed => "FAILED ",
        TestOutcome::Skipped => "skipped",
    };
    let place = file.as_ref().map_or_else(String::new, |file| format!("{file}: "));
    let reason = reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let line = format!("{word} {place}{name}{reason}, {duration_ms} ms");
    output::line(printable_line(&line))?;
    for difference in differences {
        output::line(format_args!("          {}", printable_line(difference)))?;
    }
    for line in log {
        output::line(format_args!("          log: {}", printable_line(line)))?;
    }
    Ok(())
}

fn summary(report: &Report) -> anyhow::Result<()> {
    let count = |outcome| report.cases.iter().filter(|case| case.outcome == outcome).count();
    let [passed, failed, skipped] =
        [TestOutcome::Passed, TestOutcome::Failed, TestOutcome::Skipped].map(count);
    let plugin = match (&report.name, &report.version) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        _ => report.component.clone(),
    };
    output::line(format_args!("{plugin}: {passed} passed, {failed} failed, {skipped} skipped"))
}
