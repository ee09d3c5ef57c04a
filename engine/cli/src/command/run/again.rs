//! `yuanli run --watch`: a run after each change of what it comes from, until somebody ends it.
//!
//! A change ends the run that goes on: what would come of it is about files that are not there any more. What cannot be
//! run, such as a component that does not load, is told, and the next change is waited for.

use anyhow::bail;
use yuanli_server::GivenSecrets;

use super::super::interrupt::Interrupts;
use super::changes::Changes;
use super::{once, tried_files};
use crate::arguments::{Global, Run};
use crate::exit::{Exit, Misuse};
use crate::output;

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
    loop {
        match once(global, arguments, secrets.clone(), interrupts, Some(&mut changes)).await {
            Ok(run) if run.is_interrupted => return Ok(Exit::Interrupted),
            Ok(run) if run.was_changed => continue,
            Ok(_) => {}
            // What was named wrongly can be mended in the file that was named.
            Err(error) if error.is::<Misuse>() => output::note(format_args!("error: {error:#}")),
            Err(error) => return Err(error),
        }
        output::note("waiting for a change; Ctrl-C ends it");
        tokio::select! {
            what = changes.next() => output::note(what),
            _ = interrupts.next() => return Ok(Exit::Interrupted),
        }
    }
}
