//! `yuanli run --watch`: a run after each change of what it comes from, until somebody ends it.
//!
//! A change ends the run that goes on: what would come of it is about files that are not there any more. What cannot be
//! run, such as a component that does not load, is told, and the next change is waited for.

use std::time::Duration;

use anyhow::bail;
use yuanli_server::{GivenSecrets, is_in_use};

use super::super::interrupt::Interrupts;
use super::changes::Changes;
use super::{once, tried_files};
use crate::arguments::{Global, Run};
use crate::exit::{Exit, Misuse};
use crate::output;

/// How long is waited between looks at a data directory that another command has.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

pub(super) async fn watch(
    global: &Global,
    arguments: &Run,
    secrets: &GivenSecrets,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    if arguments.file == "-" {
        bail!(Misuse("standard input cannot be watched: name the workflow's file".to_owned()));
    }
    let mut changes = Changes::of(tried_files(arguments).chain([arguments.file.clone().into()]).collect())?;
    let (mut has_run, mut is_waiting) = (false, false);
    loop {
        match once(global, arguments, secrets.clone(), interrupts, Some(&mut changes)).await {
            Ok(run) if run.is_interrupted => return Ok(Exit::Interrupted),
            Ok(run) => {
                (has_run, is_waiting) = (true, false);
                if run.was_changed {
                    continue;
                }
            }
            // What was named wrongly can be mended in the file that was named.
            Err(error) if error.is::<Misuse>() => output::note(format_args!("error: {error:#}")),
            // Another command has become the engine since the run before.
            Err(error) if has_run && is_in_use(&error) => {
                if !std::mem::replace(&mut is_waiting, true) {
                    output::note(format_args!("waiting: {error:#}"));
                }
                tokio::select! {
                    () = tokio::time::sleep(BETWEEN_LOOKS) => continue,
                    _ = interrupts.next() => return Ok(Exit::Interrupted),
                }
            }
            Err(error) => return Err(error),
        }
        output::note("waiting for a change; Ctrl-C ends it");
        tokio::select! {
            what = changes.next() => output::note(what),
            _ = interrupts.next() => return Ok(Exit::Interrupted),
        }
    }
}
