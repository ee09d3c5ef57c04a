//! `yuanli:log`: lines, groups and progress of the attempt's log.

use std::time::Duration;

use wasmtime::component::Linker;
use yuanli_bindings::log::Level as WitLevel;
use yuanli_model::Level;

use crate::call::{Function, Interface};
use crate::guest::{Guest, State, locked};

/// Shortest time between two lines of progress, as the contract says.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// The field of a line that begins or ends a group, or tells the progress. Readers fold and draw by it.
const GROUP: &str = "yuanli.group";
const PROGRESS: &str = "yuanli.progress";

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:log/log@0.1.0", declared)?
        .silent("write", write)?
        .silent("begin-group", begin_group)?
        .silent("end-group", end_group)?
        .silent("progress", progress)?;
    Ok(())
}

type Fields = Vec<(String, String)>;

fn write(state: &mut State, (level, message, fields): (WitLevel, String, Fields)) {
    let level = match level {
        WitLevel::Debug => Level::Debug,
        WitLevel::Info => Level::Info,
        WitLevel::Warn => Level::Warn,
        WitLevel::Error => Level::Error,
    };
    state.lines.write(level, &message, fields);
}

fn begin_group(state: &mut State, (title,): (String,)) {
    group(state, &title, "begin");
}

fn end_group(state: &mut State, (): ()) {
    group(state, "", "end");
}

fn group(state: &mut State, title: &str, edge: &str) {
    state.lines.write(Level::Info, title, vec![(GROUP.to_owned(), edge.to_owned())]);
}

fn progress(state: &mut State, (done, total, unit): (u64, Option<u64>, String)) {
    if state.lines.is_muted() {
        return;
    }
    let now = state.outside.clock.now();
    let mut progress = locked(&state.begun.progress);
    let is_due = progress.written.is_none_or(|last| now.since(last) >= PROGRESS_INTERVAL);
    if is_due || total == Some(done) {
        progress.written = Some(now);
        progress.held_back = None;
        write_progress(state, done, total, &unit);
    } else {
        progress.held_back = Some((done, total, unit));
    }
}

/// Writes the last progress when it came too soon after the one before it.
pub(crate) fn finish_progress(state: &mut State) {
    let held_back = locked(&state.begun.progress).held_back.take();
    if let Some((done, total, unit)) = held_back {
        write_progress(state, done, total, &unit);
    }
}

fn write_progress(state: &State, done: u64, total: Option<u64>, unit: &str) {
    let (text, value) = match total {
        Some(total) => (format!("{done} of {total} {unit}"), format!("{done}/{total}")),
        None => (format!("{done} {unit}"), done.to_string()),
    };
    state.lines.write(Level::Info, &text, vec![(PROGRESS.to_owned(), value)]);
}
