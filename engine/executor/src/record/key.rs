//! Typed keys: big-endian, so that their order is that of what they name. `key/records.rs` has those of what plugins keep.

mod records;

use yuanli_model::{AttemptId, Digest, RunId, StageName, WorkflowName};
use yuanli_ports::store::Key;

use super::envelope::Broken;
pub(crate) use records::*;

/// The first byte of a key says what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Space {
    Run = 1,
    Open = 2,
    Event = 3,
    Log = 4,
    Workflow = 5,
    Ended = 6,
    Kept = 7,
    Tally = 8,
    Segment = 9,
    Start = 10,
    Need = 11,
    Needed = 12,
    Uses = 13,
    Call = 14,
    Artifact = 15,
    Gathered = 16,
    Emitted = 17,
    EmittedBy = 18,
    NextEmitted = 19,
    State = 20,
    Scope = 21,
    Put = 22,
    KeptArtifacts = 23,
    ArtifactTally = 24,
    Pinned = 25,
    Cached = 26,
    KeptJournal = 27,
    CallNeed = 28,
}

impl Space {
    const fn prefix(self) -> [u8; 1] {
        [self as u8]
    }
}

const ID_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

pub(crate) fn run(run: RunId) -> Key {
    of_run(Space::Run, run, &[])
}

/// All runs.
pub(crate) const RUNS: [u8; 1] = Space::Run.prefix();

/// The run of a key of [`run`] or [`open`].
pub(crate) fn parse_run(key: &Key) -> Result<RunId, Broken> {
    let id = key.as_bytes().get(1..).and_then(|bytes| <[u8; ID_BYTES]>::try_from(bytes).ok());
    let id = id.ok_or_else(|| Broken::damaged("key", "it names no run"))?;
    Ok(RunId::from_u128(u128::from_be_bytes(id)))
}

pub(crate) fn open(run: RunId) -> Key {
    of_run(Space::Open, run, &[])
}

/// All runs that have not ended.
pub(crate) const OPEN: [u8; 1] = Space::Open.prefix();

/// The events of a run from this number on.
pub(crate) fn event(run: RunId, number: u32) -> Key {
    of_run(Space::Event, run, &number.to_be_bytes())
}

/// The number of a key of [`event`].
pub(crate) fn parse_event(key: &Key) -> Result<u32, Broken> {
    let number = key.as_bytes().get(1 + ID_BYTES..).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    number.map(u32::from_be_bytes).ok_or_else(|| Broken::damaged("key", "it names no event"))
}

/// All events of a run.
pub(crate) fn events(run: RunId) -> Key {
    of_run(Space::Event, run, &[])
}

pub(crate) fn log(attempt: &AttemptId) -> Key {
    let AttemptId { run, stage, instance, attempt } = attempt;
    let mut rest = terminated(stage);
    rest.extend(instance.to_be_bytes());
    rest.extend(attempt.to_be_bytes());
    of_run(Space::Log, *run, &rest)
}

/// All logs of a run.
pub(crate) fn logs(run: RunId) -> Key {
    of_run(Space::Log, run, &[])
}

/// What follows the run in a key of [`log`] or [`event`].
pub(crate) fn in_run(key: &Key) -> &[u8] {
    key.as_bytes().get(1 + ID_BYTES..).unwrap_or_default()
}

/// The log of an attempt as a key within its run: see [`in_run`].
pub(crate) fn log_in_run(attempt: &AttemptId) -> Vec<u8> {
    in_run(&log(attempt)).to_vec()
}

/// The attempt of what [`in_run`] gives of a key of [`log`].
pub(crate) fn parse_log_in_run(run: RunId, bytes: &[u8]) -> Option<AttemptId> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let stage = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
    let (instance, attempt) = bytes.get(end + 1..)?.split_first_chunk::<4>()?;
    let attempt = <[u8; 4]>::try_from(attempt).ok()?;
    Some(AttemptId {
        run,
        stage,
        instance: u32::from_be_bytes(*instance),
        attempt: u32::from_be_bytes(attempt),
    })
}

pub(crate) fn ended(run: RunId) -> Key {
    of_run(Space::Ended, run, &[])
}

/// All runs that have ended and are not in the archive.
pub(crate) const ENDED: [u8; 1] = Space::Ended.prefix();

pub(crate) fn kept(workflow: &WorkflowName, run: RunId) -> Key {
    let mut bytes = kept_of(workflow);
    bytes.extend(run.as_u128().to_be_bytes());
    Key::new(bytes)
}

/// All runs that are in the archive.
pub(crate) const KEPT: [u8; 1] = Space::Kept.prefix();

/// The workflow of a key of [`kept`].
pub(crate) fn parse_kept_workflow(key: &Key) -> Result<WorkflowName, Broken> {
    let bytes = key.as_bytes();
    let name = bytes
        .get(1..bytes.len().saturating_sub(1 + ID_BYTES))
        .and_then(|name| std::str::from_utf8(name).ok());
    let name = name.and_then(|name| name.parse().ok());
    name.ok_or_else(|| Broken::damaged("key", "it names no workflow"))
}

/// All runs of a workflow that are in the archive, oldest first.
pub(crate) fn kept_of(workflow: &WorkflowName) -> Vec<u8> {
    let mut bytes = Space::Kept.prefix().to_vec();
    bytes.extend(workflow.as_str().as_bytes());
    // Names hold no zero byte, so one behind a name keeps the order of names of different length.
    bytes.push(0);
    bytes
}

/// The run of a key of [`kept`].
pub(crate) fn parse_kept(key: &Key) -> Result<RunId, Broken> {
    let id = key.as_bytes().last_chunk::<ID_BYTES>();
    let id = id.ok_or_else(|| Broken::damaged("key", "it names no run"))?;
    Ok(RunId::from_u128(u128::from_be_bytes(*id)))
}

pub(crate) fn tally(workflow: &WorkflowName) -> Key {
    let mut bytes = Space::Tally.prefix().to_vec();
    bytes.extend(workflow.as_str().as_bytes());
    Key::new(bytes)
}

/// That a run in the archive has artifacts.
pub(crate) fn kept_artifacts(workflow: &WorkflowName, run: RunId) -> Key {
    let mut bytes = kept_artifacts_of(workflow);
    bytes.extend(run.as_u128().to_be_bytes());
    Key::new(bytes)
}

/// All runs in the archive that have artifacts. Workflow and run are read from its keys as from those of [`kept`].
pub(crate) const KEPT_ARTIFACTS: [u8; 1] = Space::KeptArtifacts.prefix();

/// Those of a workflow, oldest first.
pub(crate) fn kept_artifacts_of(workflow: &WorkflowName) -> Vec<u8> {
    [&KEPT_ARTIFACTS[..], workflow.as_str().as_bytes(), b"\0"].concat()
}

/// How many runs of a workflow in the archive have artifacts, and the bytes of these.
pub(crate) fn artifact_tally(workflow: &WorkflowName) -> Key {
    Key::new([&ARTIFACT_TALLIES[..], workflow.as_str().as_bytes()].concat())
}

/// All workflows of which runs in the archive have artifacts. The workflow is read from its keys as from those of [`tally`].
pub(crate) const ARTIFACT_TALLIES: [u8; 1] = Space::ArtifactTally.prefix();

/// All workflows that have runs in the archive.
pub(crate) const TALLIES: [u8; 1] = Space::Tally.prefix();

/// The workflow of a key of [`tally`].
pub(crate) fn parse_tally(key: &Key) -> Result<WorkflowName, Broken> {
    let name = key.as_bytes().get(1..).and_then(|name| std::str::from_utf8(name).ok());
    let name = name.and_then(|name| name.parse().ok());
    name.ok_or_else(|| Broken::damaged("key", "it names no workflow"))
}

pub(crate) fn segment(number: u64) -> Key {
    Key::new([&Space::Segment.prefix()[..], &number.to_be_bytes()].concat())
}

/// A start that is not to happen twice.
pub(crate) fn start(id: &str) -> Key {
    Key::new([&Space::Start.prefix()[..], id.as_bytes()].concat())
}

/// All starts that are not to happen twice.
pub(crate) const STARTS: [u8; 1] = Space::Start.prefix();

/// That a run needs a blob.
pub(crate) fn need(run: RunId, blob: &Digest) -> Key {
    of_run(Space::Need, run, blob.as_bytes())
}

/// The blobs that a run needs.
pub(crate) fn needs(run: RunId) -> Key {
    of_run(Space::Need, run, &[])
}

/// The needs of all runs.
pub(crate) const NEEDS: [u8; 1] = Space::Need.prefix();

/// The run and the blob of a key of [`need`].
pub(crate) fn parse_need(key: &Key) -> Result<(RunId, Digest), Broken> {
    let parsed = key.as_bytes().get(1..).and_then(|bytes| {
        let (run, blob) = bytes.split_first_chunk::<ID_BYTES>()?;
        Some((RunId::from_u128(u128::from_be_bytes(*run)), Digest::from_bytes(blob.try_into().ok()?)))
    });
    parsed.ok_or_else(|| Broken::damaged("key", "it names no need of a blob"))
}

/// That a blob is needed by a run.
pub(crate) fn needed(blob: &Digest, run: RunId) -> Key {
    let mut bytes = needed_by(blob);
    bytes.extend(run.as_u128().to_be_bytes());
    Key::new(bytes)
}

/// That a blob is needed by the calls of an attempt.
pub(crate) fn needed_by_calls(blob: &Digest, attempt: &AttemptId) -> Key {
    let own = call_needs(attempt);
    Key::new([&*needed_by(blob), &own.as_bytes()[1..]].concat())
}

/// Who needs a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needer {
    Run(RunId),
    Calls(AttemptId),
}

/// Those that need a blob.
pub(crate) fn needed_by(blob: &Digest) -> Vec<u8> {
    [&Space::Needed.prefix()[..], blob.as_bytes()].concat()
}

/// All blobs that are needed.
pub(crate) const NEEDED: [u8; 1] = Space::Needed.prefix();

/// Who needs which blob: a key of [`needed`] or [`needed_by_calls`].
pub(crate) fn parse_needed(key: &Key) -> Result<(Needer, Digest), Broken> {
    let parsed = key.as_bytes().get(1..).and_then(|bytes| {
        let (blob, needer) = bytes.split_first_chunk::<DIGEST_BYTES>()?;
        let (run, in_run) = needer.split_first_chunk::<ID_BYTES>()?;
        let run = RunId::from_u128(u128::from_be_bytes(*run));
        let needer = match in_run {
            [] => Needer::Run(run),
            _ => Needer::Calls(parse_log_in_run(run, in_run)?),
        };
        Some((needer, Digest::from_bytes(*blob)))
    });
    parsed.ok_or_else(|| Broken::damaged("key", "it names no needed blob"))
}

/// How many archived runs there are of a workflow version.
pub(crate) fn uses(version: &Digest) -> Key {
    Key::new([&Space::Uses.prefix()[..], version.as_bytes()].concat())
}

/// All workflow versions that archived runs are of.
pub(crate) const USES: [u8; 1] = Space::Uses.prefix();

/// The workflow version of a key of [`uses`] or [`workflow`].
pub(crate) fn parse_version(key: &Key) -> Result<Digest, Broken> {
    let version = key.as_bytes().get(1..).and_then(|bytes| bytes.first_chunk::<32>());
    version
        .map(|bytes| Digest::from_bytes(*bytes))
        .ok_or_else(|| Broken::damaged("key", "it names no version"))
}

/// The versions of the workflows that stages of a run may run, where there are any.
pub(crate) fn pinned(run: RunId) -> Key {
    of_run(Space::Pinned, run, &[])
}

/// What an attempt of a stage of a workflow gave whose key this is.
pub(crate) fn cached(workflow: &WorkflowName, stage: &StageName, key: &Digest) -> Key {
    let mut bytes = cached_of_stage(workflow, stage);
    bytes.extend(key.as_bytes());
    Key::new(bytes)
}

/// All of a stage of a workflow.
pub(crate) fn cached_of_stage(workflow: &WorkflowName, stage: &StageName) -> Vec<u8> {
    [&*cached_of(workflow), stage.as_str().as_bytes(), b"\0"].concat()
}

/// All of a workflow.
pub(crate) fn cached_of(workflow: &WorkflowName) -> Vec<u8> {
    [&CACHED[..], workflow.as_str().as_bytes(), b"\0"].concat()
}

/// All of all workflows.
pub(crate) const CACHED: [u8; 1] = Space::Cached.prefix();

/// The workflow of a key of [`cached`].
pub(crate) fn parse_cached(key: &Key) -> Result<WorkflowName, Broken> {
    let name = key.as_bytes().get(1..).and_then(|bytes| bytes.split(|byte| *byte == 0).next());
    let name = name.and_then(|name| std::str::from_utf8(name).ok()?.parse().ok());
    name.ok_or_else(|| Broken::damaged("key", "it names nothing that is cached"))
}

/// Those of all runs.
pub(crate) const PINNED: [u8; 1] = Space::Pinned.prefix();

/// The texts of all workflow versions.
pub(crate) const WORKFLOWS: [u8; 1] = Space::Workflow.prefix();

/// One part of the text of a workflow version.
pub(crate) fn workflow(version: &Digest, part: u32) -> Key {
    let mut bytes = workflow_parts(version);
    bytes.extend(part.to_be_bytes());
    Key::new(bytes)
}

/// All parts of the text of a workflow version.
pub(crate) fn workflow_parts(version: &Digest) -> Vec<u8> {
    let mut bytes = Space::Workflow.prefix().to_vec();
    bytes.extend(version.as_bytes());
    bytes
}

fn of_run(space: Space, run: RunId, rest: &[u8]) -> Key {
    let mut bytes = Vec::with_capacity(1 + ID_BYTES + rest.len());
    bytes.extend(space.prefix());
    bytes.extend(run.as_u128().to_be_bytes());
    bytes.extend(rest);
    Key::new(bytes)
}

/// Names hold no zero byte, so one behind a name keeps the order of names of different length.
fn terminated(stage: &StageName) -> Vec<u8> {
    let mut bytes = stage.as_str().as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn attempt() -> impl Strategy<Value = AttemptId> {
        (any::<u128>(), "[a-z][a-z0-9_-]{0,5}", any::<u32>(), any::<u32>()).prop_map(
            |(run, stage, instance, attempt)| AttemptId {
                run: RunId::from_u128(run),
                stage: stage.parse().expect("a name"),
                instance,
                attempt,
            },
        )
    }

    proptest! {
        #[test]
        fn keys_are_ordered_like_what_they_name(a in attempt(), b in attempt(), m in any::<u32>(), n in any::<u32>()) {
            prop_assert_eq!(a.cmp(&b), log(&a).cmp(&log(&b)));
            prop_assert_eq!(a.run.cmp(&b.run), run(a.run).cmp(&run(b.run)));
            prop_assert_eq!((a.run, m).cmp(&(b.run, n)), event(a.run, m).cmp(&event(b.run, n)));
        }

        #[test]
        fn the_attempt_of_a_log_is_read_again(id in attempt()) {
            prop_assert_eq!(parse_log_in_run(id.run, in_run(&log(&id))), Some(id.clone()));
        }

        #[test]
        fn keys_round_trip(id in any::<u128>(), number in any::<u32>()) {
            let id = RunId::from_u128(id);
            prop_assert_eq!(parse_run(&run(id)), Ok(id));
            prop_assert_eq!(parse_run(&open(id)), Ok(id));
            prop_assert_eq!(parse_run(&ended(id)), Ok(id));
            let workflow: WorkflowName = "shop".parse().expect("a name");
            prop_assert_eq!(parse_kept(&kept(&workflow, id)), Ok(id));
            prop_assert_eq!(parse_kept_workflow(&kept(&workflow, id)), Ok(workflow.clone()));
            prop_assert_eq!(parse_tally(&tally(&workflow)), Ok(workflow));
            prop_assert_eq!(parse_event(&event(id, number)), Ok(number));
            prop_assert!(event(id, number).as_bytes().starts_with(events(id).as_bytes()));
        }
    }
}
