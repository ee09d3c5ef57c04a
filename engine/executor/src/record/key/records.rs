//! The keys of what plugins keep.

use yuanli_model::{AttemptId, Digest, RunId, WorkflowName};
use yuanli_ports::store::Key;

use super::super::envelope::Broken;
use super::{ID_BYTES, Space, of_run, parse_log_in_run, terminated};

/// A call that an attempt has made.
pub(crate) fn call(attempt: &AttemptId, index: u32) -> Key {
    of_attempt(Space::Call, attempt, &index.to_be_bytes())
}

/// All calls of an attempt.
pub(crate) fn calls(attempt: &AttemptId) -> Key {
    of_attempt(Space::Call, attempt, &[])
}

/// All calls of the attempts of a run.
pub(crate) fn calls_of_run(run: RunId) -> Key {
    of_run(Space::Call, run, &[])
}

/// All calls of all attempts.
pub(crate) const CALLS: [u8; 1] = Space::Call.prefix();

/// The attempt and the number of a key of [`call`].
pub(crate) fn parse_call(key: &Key) -> Result<(AttemptId, u32), Broken> {
    let parsed = parse_attempt(key).and_then(|(attempt, rest)| {
        let index = <[u8; 4]>::try_from(rest).ok()?;
        Some((attempt, u32::from_be_bytes(index)))
    });
    parsed.ok_or_else(|| Broken::damaged("key", "it names no call of an attempt"))
}

/// That the calls of an attempt are kept which has ended.
pub(crate) fn kept_journal(attempt: &AttemptId) -> Key {
    of_attempt(Space::KeptJournal, attempt, &[])
}

/// All of those of a run.
pub(crate) fn kept_journals(run: RunId) -> Key {
    of_run(Space::KeptJournal, run, &[])
}

/// All of those of all runs, oldest run first.
pub(crate) const KEPT_JOURNALS: [u8; 1] = Space::KeptJournal.prefix();

/// The attempt of a key of [`kept_journal`].
pub(crate) fn parse_kept_journal(key: &Key) -> Result<AttemptId, Broken> {
    let parsed = parse_attempt(key).and_then(|(attempt, rest)| rest.is_empty().then_some(attempt));
    parsed.ok_or_else(|| Broken::damaged("key", "it names no attempt whose calls are kept"))
}

/// That a blob is needed by the calls of an attempt.
pub(crate) fn call_need(attempt: &AttemptId, blob: &Digest) -> Key {
    of_attempt(Space::CallNeed, attempt, blob.as_bytes())
}

/// The blobs that the calls of an attempt need.
pub(crate) fn call_needs(attempt: &AttemptId) -> Key {
    of_attempt(Space::CallNeed, attempt, &[])
}

/// Those of all attempts of a run.
pub(crate) fn call_needs_of_run(run: RunId) -> Key {
    of_run(Space::CallNeed, run, &[])
}

/// Those of all attempts.
pub(crate) const CALL_NEEDS: [u8; 1] = Space::CallNeed.prefix();

/// The attempt and the blob of a key of [`call_need`].
pub(crate) fn parse_call_need(key: &Key) -> Result<(AttemptId, Digest), Broken> {
    let parsed = parse_attempt(key)
        .and_then(|(attempt, blob)| Some((attempt, Digest::from_bytes(blob.try_into().ok()?))));
    parsed.ok_or_else(|| Broken::damaged("key", "it names no blob that calls need"))
}

/// An artifact of an attempt.
pub(crate) fn artifact(attempt: &AttemptId, name: &str) -> Key {
    of_attempt(Space::Artifact, attempt, name.as_bytes())
}

/// All artifacts of a run.
pub(crate) fn artifacts(run: RunId) -> Key {
    of_run(Space::Artifact, run, &[])
}

/// All artifacts of all runs.
pub(crate) const ARTIFACTS: [u8; 1] = Space::Artifact.prefix();

/// The attempt and the name of a key of [`artifact`].
pub(crate) fn parse_artifact(key: &Key) -> Result<(AttemptId, String), Broken> {
    let parsed = parse_attempt(key).and_then(|(attempt, rest)| {
        let name = std::str::from_utf8(rest).ok().filter(|name| !name.is_empty())?;
        Some((attempt, name.to_owned()))
    });
    parsed.ok_or_else(|| Broken::damaged("key", "it names no artifact"))
}

/// What the attempts of a run have put and emitted.
pub(crate) fn gathered(run: RunId) -> Key {
    of_run(Space::Gathered, run, &[])
}

/// The same of all runs.
pub(crate) const GATHERED: [u8; 1] = Space::Gathered.prefix();

/// The run of a key of [`gathered`].
pub(crate) fn parse_gathered(key: &Key) -> Result<RunId, Broken> {
    super::parse_run(key)
}

/// What an attempt has put.
pub(crate) fn put(attempt: &AttemptId) -> Key {
    of_attempt(Space::Put, attempt, &[])
}

/// The same of all attempts of a run.
pub(crate) fn puts_of_run(run: RunId) -> Key {
    of_run(Space::Put, run, &[])
}

/// The same of all attempts of all runs.
pub(crate) const PUTS: [u8; 1] = Space::Put.prefix();

/// The attempt of a key of [`put`].
pub(crate) fn parse_put(key: &Key) -> Result<AttemptId, Broken> {
    let parsed = parse_attempt(key).filter(|(_, rest)| rest.is_empty());
    parsed.map(|(attempt, _)| attempt).ok_or_else(|| Broken::damaged("key", "it names no attempt"))
}

/// An event that a plugin has emitted, in the order of all of them.
pub(crate) fn emitted(number: u64) -> Key {
    Key::new([&Space::Emitted.prefix()[..], &number.to_be_bytes()].concat())
}

/// All events.
pub(crate) const EMITTED: [u8; 1] = Space::Emitted.prefix();

/// The number of a key of [`emitted`].
pub(crate) fn parse_emitted(key: &Key) -> Result<u64, Broken> {
    let number = key.as_bytes().get(1..).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    number.map(u64::from_be_bytes).ok_or_else(|| Broken::damaged("key", "it names no event"))
}

/// The number of the next event.
pub(crate) fn next_emitted() -> Key {
    Key::new(Space::NextEmitted.prefix().to_vec())
}

/// That an attempt has emitted an event.
pub(crate) fn emitted_by(attempt: &AttemptId, number: u64) -> Key {
    of_attempt(Space::EmittedBy, attempt, &number.to_be_bytes())
}

/// All events that an attempt has emitted.
pub(crate) fn emitted_by_attempt(attempt: &AttemptId) -> Key {
    of_attempt(Space::EmittedBy, attempt, &[])
}

/// All events that a run has emitted.
pub(crate) fn emitted_by_run(run: RunId) -> Key {
    of_run(Space::EmittedBy, run, &[])
}

/// The events of all runs, by run.
pub(crate) const EMITTED_BY: [u8; 1] = Space::EmittedBy.prefix();

/// The attempt and the event of a key of [`emitted_by`].
pub(crate) fn parse_emitted_by(key: &Key) -> Result<(AttemptId, u64), Broken> {
    let parsed = parse_attempt(key).and_then(|(attempt, rest)| {
        let number = <[u8; 8]>::try_from(rest).ok()?;
        Some((attempt, u64::from_be_bytes(number)))
    });
    parsed.ok_or_else(|| Broken::damaged("key", "it names no event of an attempt"))
}

/// A value that a plugin keeps in a workflow.
pub(crate) fn state(workflow: &WorkflowName, plugin: &str, key: &str) -> Key {
    Key::new([&states(workflow, plugin, ""), key.as_bytes()].concat())
}

/// All values that a plugin keeps in a workflow whose keys begin so.
pub(crate) fn states(workflow: &WorkflowName, plugin: &str, prefix: &str) -> Vec<u8> {
    [
        &Space::State.prefix()[..],
        workflow.as_str().as_bytes(),
        b"\0",
        plugin.as_bytes(),
        b"\0",
        prefix.as_bytes(),
    ]
    .concat()
}

/// All values of all plugins.
pub(crate) const STATES: [u8; 1] = Space::State.prefix();

/// Workflow, plugin and key of a key of [`state`].
pub(crate) fn parse_state(key: &Key) -> Result<(WorkflowName, String, String), Broken> {
    let parsed = key.as_bytes().get(1..).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| {
        let (workflow, rest) = text.split_once('\0')?;
        let (plugin, key) = rest.split_once('\0')?;
        Some((workflow.parse().ok()?, plugin.to_owned(), key.to_owned()))
    });
    parsed.ok_or_else(|| Broken::damaged("key", "it names no state of a plugin"))
}

/// What a plugin keeps in a workflow, all keys together.
pub(crate) fn scope(workflow: &WorkflowName, plugin: &str) -> Key {
    let workflow = workflow.as_str().as_bytes();
    Key::new([&Space::Scope.prefix()[..], workflow, b"\0", plugin.as_bytes()].concat())
}

/// The same of all plugins.
pub(crate) const SCOPES: [u8; 1] = Space::Scope.prefix();

/// Workflow and plugin of a key of [`scope`].
pub(crate) fn parse_scope(key: &Key) -> Result<(WorkflowName, String), Broken> {
    let parsed = key.as_bytes().get(1..).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| {
        let (workflow, plugin) = text.split_once('\0')?;
        Some((workflow.parse().ok()?, plugin.to_owned()))
    });
    parsed.ok_or_else(|| Broken::damaged("key", "it names no state of a plugin"))
}

fn of_attempt(space: Space, attempt: &AttemptId, rest: &[u8]) -> Key {
    let mut bytes = terminated(&attempt.stage);
    bytes.extend(attempt.instance.to_be_bytes());
    bytes.extend(attempt.attempt.to_be_bytes());
    bytes.extend(rest);
    of_run(space, attempt.run, &bytes)
}

/// The attempt of a key of [`of_attempt`], and what comes after it.
fn parse_attempt(key: &Key) -> Option<(AttemptId, &[u8])> {
    let (run, rest) = key.as_bytes().get(1..)?.split_first_chunk::<ID_BYTES>()?;
    let run = RunId::from_u128(u128::from_be_bytes(*run));
    // The name of the stage, the zero byte behind it, and two numbers.
    let length = rest.iter().position(|byte| *byte == 0)? + 1 + 8;
    let attempt = parse_log_in_run(run, rest.get(..length)?)?;
    Some((attempt, &rest[length..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::attempt;
    use super::*;

    proptest! {
        #[test]
        fn keys_of_attempts_round_trip(id in attempt(), number in any::<u64>(), name in "[a-z/]{1,9}") {
            let index = number as u32;
            prop_assert_eq!(parse_call(&call(&id, index)), Ok((id.clone(), index)));
            prop_assert_eq!(parse_artifact(&artifact(&id, &name)), Ok((id.clone(), name)));
            prop_assert_eq!(parse_put(&put(&id)), Ok(id.clone()));
            prop_assert!(put(&id).as_bytes().starts_with(puts_of_run(id.run).as_bytes()));
            prop_assert_eq!(parse_emitted_by(&emitted_by(&id, number)), Ok((id.clone(), number)));
            prop_assert_eq!(parse_emitted(&emitted(number)), Ok(number));
            prop_assert_eq!(parse_gathered(&gathered(id.run)), Ok(id.run));
            prop_assert!(call(&id, index).as_bytes().starts_with(calls(&id).as_bytes()));
            prop_assert!(call(&id, index).as_bytes().starts_with(calls_of_run(id.run).as_bytes()));
        }

        #[test]
        fn keys_of_attempts_are_ordered_like_what_they_name(a in attempt(), b in attempt(), m in any::<u32>(), n in any::<u32>()) {
            prop_assert_eq!((&a, m).cmp(&(&b, n)), call(&a, m).cmp(&call(&b, n)));
            prop_assert_eq!(m.cmp(&n), call(&a, m).cmp(&call(&a, n)));
            prop_assert_eq!(a.cmp(&b), artifact(&a, "x").cmp(&artifact(&b, "x")));
        }

        #[test]
        fn keys_of_state_round_trip(workflow in "[a-z]{1,6}", plugin in "[a-z]{1,6}", name in "[^\0]{1,9}") {
            let workflow: WorkflowName = workflow.parse().expect("a name");
            let key = state(&workflow, &plugin, &name);
            prop_assert_eq!(parse_state(&key), Ok((workflow.clone(), plugin.clone(), name)));
            prop_assert_eq!(parse_scope(&scope(&workflow, &plugin)), Ok((workflow, plugin)));
        }
    }
}
