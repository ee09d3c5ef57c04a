//! `yuanli test`: tries workflows out by the files of tests beside them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context;
use yuanli_api_types::{TestCase, TestOutcome, TestedWorkflows};
use yuanli_server::{Tests, tests_at};

use super::interrupt::Interrupts;
use super::plugin::told;
use super::run::Changes;
use crate::arguments::{Global, Test};
use crate::exit::{Exit, Misuse};
use crate::{junit, output, view};

pub(crate) async fn test(global: &Global, arguments: Test) -> anyhow::Result<Exit> {
    if !arguments.watch {
        return Ok(once(global, &arguments).await?.0);
    }
    let mut interrupts = Interrupts::listen()?;
    let mut changes: Option<Changes> = None;
    loop {
        // What is wrong with a document now may be mended with the next change.
        let (_, files) = once(global, &arguments).await?;
        let changes = match &mut changes {
            // What has changed since it was last looked at is told at once.
            Some(changes) => {
                changes.look_at(files.into_iter().map(|file| (file, None)).collect());
                changes
            }
            none => none.insert(Changes::of(files)?),
        };
        tokio::select! {
            changed = changes.next() => output::note(format_args!("{changed}")),
            _ = interrupts.next() => return Ok(Exit::Interrupted),
        }
    }
}

/// Tries all once; returns the files that it depends on.
async fn once(global: &Global, arguments: &Test) -> anyhow::Result<(Exit, Vec<PathBuf>)> {
    let library = super::library(global)?;
    let mut all = Vec::new();
    for file in found(&arguments.paths).await? {
        match library.read_tests(&file).await.map_err(super::unread) {
            Ok(tests) => all.push(tests),
            // It may be there again with the next change.
            Err(error) if arguments.watch => output::note(format_args!("{error:#}")),
            Err(error) => return Err(error),
        }
    }
    let files = all.iter().flat_map(Tests::files).collect();
    let filter = arguments.filter.as_deref();
    let mut exit = Exit::Done;
    let mut tested = TestedWorkflows { passed: true, items: Vec::new() };
    for tests in &all {
        output::drawn(&tests.render(view::has_color(), view::width()));
        let mut tell = |case: &TestCase| {
            if !global.json {
                let _ = output::unless_closed(told(case));
            }
        };
        let item = tests.run(filter, &mut tell).await?;
        if !item.valid {
            exit = Exit::Usage;
        }
        tested.passed &= item.valid && item.cases.iter().all(|case| case.outcome == TestOutcome::Passed);
        tested.items.push(item);
    }
    if exit == Exit::Done && all.iter().all(|tests| tests.count(filter) == 0) && !arguments.watch {
        return Err(Misuse(match filter {
            Some(filter) => format!("no case has `{filter}` in its name"),
            None => "there are no tests: no file `NAME.test.yaml`".to_owned(),
        })
        .into());
    }
    if let Some(to) = &arguments.junit {
        let cannot = || format!("the report cannot be written to {}", to.display());
        std::fs::write(to, junit::workflows(&tested)).with_context(cannot)?;
    }
    let printed = if global.json { output::json(&tested) } else { summary(&tested) };
    output::unless_closed(printed)?;
    let exit = if exit == Exit::Done && !tested.passed { Exit::Failed } else { exit };
    Ok((exit, files))
}

/// The files that are meant, each once.
async fn found(paths: &[String]) -> anyhow::Result<Vec<String>> {
    let here = [".".to_owned()];
    let paths = if paths.is_empty() { &here[..] } else { paths };
    let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
    for path in paths {
        for file in tests_at(path).await.map_err(super::unread)? {
            if seen.insert(std::fs::canonicalize(&file).unwrap_or_else(|_| file.clone().into())) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

fn summary(tested: &TestedWorkflows) -> anyhow::Result<()> {
    let cases = || tested.items.iter().flat_map(|tests| &tests.cases);
    let failed = cases().filter(|case| case.outcome == TestOutcome::Failed).count();
    let invalid = tested.items.iter().filter(|tests| !tests.valid).count();
    let mut text = format!("{} passed, {failed} failed", cases().count() - failed);
    if invalid > 0 {
        text += &format!(", {} with errors", output::count(invalid, "file"));
    }
    output::line(text)
}
