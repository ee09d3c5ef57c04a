//! The labels that everything carries which this engine makes on Docker.
//!
//! They are how containers are found again after a crash; another engine's things have another engine id and are
//! never touched. Their names are stored outside of this program: changing one loses what older versions left.

use std::collections::HashMap;

use yuanli_model::{AttemptId, EngineId, OperationId, ReleaseNumber, ReplicaId, VolumeName, WorkflowName};

/// The id of the engine that made it.
pub const ENGINE: &str = "yuanli.engine";
/// The run it belongs to.
pub const RUN: &str = "yuanli.run";
/// The stage of the run.
pub const STAGE: &str = "yuanli.stage";
/// The instance of the stage.
pub const INSTANCE: &str = "yuanli.instance";
/// Which try of the instance.
pub const ATTEMPT: &str = "yuanli.attempt";
/// The position of the effect in its attempt.
pub const POSITION: &str = "yuanli.position";
/// What a container is for that runs nothing and was made to look at something: `read-files` or `marker`.
pub const HELPER: &str = "yuanli.helper";
/// The app that a replica serves.
pub const APP: &str = "yuanli.app";
/// The number of a replica's release.
pub const RELEASE: &str = "yuanli.release";
/// The number of a replica; what has it is a replica and no container of a run.
pub const REPLICA: &str = "yuanli.replica";
/// The name of a volume on its engine.
pub const VOLUME: &str = "yuanli.volume";
/// The workflow whose stage made a volume. It has no label of the run: what has one goes with it.
pub const WORKFLOW: &str = "yuanli.workflow";

/// All labels of what an operation makes.
pub(crate) fn of(operation: &OperationId) -> HashMap<String, String> {
    let mut labels = of_attempt(operation.engine, &operation.attempt);
    labels.insert(POSITION.to_owned(), operation.position.to_string());
    labels
}

/// All labels of a container of an operation that runs nothing.
pub(crate) fn of_helper(operation: &OperationId, what_for: &str) -> HashMap<String, String> {
    let mut labels = of(operation);
    labels.insert(HELPER.to_owned(), what_for.to_owned());
    labels
}

/// Whether these are the labels of a container that runs nothing.
pub(crate) fn is_helper(labels: &HashMap<String, String>) -> bool {
    labels.contains_key(HELPER)
}

/// All labels of what an attempt has once.
pub(crate) fn of_attempt(engine: EngineId, attempt: &AttemptId) -> HashMap<String, String> {
    pairs(engine, Some(attempt)).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// All labels of a replica.
pub(crate) fn of_replica(engine: EngineId, replica: &ReplicaId) -> HashMap<String, String> {
    let ReplicaId { app, release, number } = replica;
    labels([
        (ENGINE, engine.to_string()),
        (APP, app.to_string()),
        (RELEASE, release.0.to_string()),
        (REPLICA, number.to_string()),
    ])
}

/// All labels of a volume.
pub(crate) fn of_volume(
    engine: EngineId,
    volume: &VolumeName,
    maker: Option<&WorkflowName>,
) -> HashMap<String, String> {
    let mut labels = labels([(ENGINE, engine.to_string()), (VOLUME, volume.to_string())]);
    labels.extend(maker.map(|maker| (WORKFLOW.to_owned(), maker.to_string())));
    labels
}

/// All labels of what an engine has once.
pub(crate) fn of_engine(engine: EngineId) -> HashMap<String, String> {
    labels([(ENGINE, engine.to_string())])
}

/// Which replica has these labels; `None` for what is none.
pub(crate) fn replica(labels: &HashMap<String, String>) -> Option<ReplicaId> {
    Some(ReplicaId {
        app: labels.get(APP)?.parse().ok()?,
        release: ReleaseNumber(labels.get(RELEASE)?.parse().ok()?),
        number: labels.get(REPLICA)?.parse().ok()?,
    })
}

/// Which attempt these labels are of; `None` where they are of none.
pub(crate) fn attempt(labels: &HashMap<String, String>) -> Option<AttemptId> {
    Some(AttemptId {
        run: labels.get(RUN)?.parse().ok()?,
        stage: labels.get(STAGE)?.parse().ok()?,
        instance: labels.get(INSTANCE)?.parse().ok()?,
        attempt: labels.get(ATTEMPT)?.parse().ok()?,
    })
}

/// The filter of Docker's lists that finds the containers of an engine's runs, for one attempt or for all. Replicas
/// belong to no run, so that it never finds one.
pub(crate) fn run_filter(engine: EngineId, attempt: Option<&AttemptId>) -> HashMap<String, Vec<String>> {
    let labels = pairs(engine, attempt).map(|(key, value)| format!("{key}={value}"));
    filter(labels.chain([RUN.to_owned()]))
}

/// The filter that finds what an engine made and has a label, whatever that says.
pub(crate) fn kind_filter(engine: EngineId, key: &str) -> HashMap<String, Vec<String>> {
    filter([format!("{ENGINE}={engine}"), key.to_owned()])
}

/// The filter that finds everything of an engine.
pub(crate) fn engine_filter(engine: EngineId) -> HashMap<String, Vec<String>> {
    filter([format!("{ENGINE}={engine}")])
}

fn filter(labels: impl IntoIterator<Item = String>) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), labels.into_iter().collect())])
}

fn labels<const N: usize>(pairs: [(&str, String); N]) -> HashMap<String, String> {
    HashMap::from(pairs.map(|(key, value)| (key.to_owned(), value)))
}

fn pairs(
    engine: EngineId,
    attempt: Option<&AttemptId>,
) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let of_attempt = attempt.map(|AttemptId { run, stage, instance, attempt }| {
        [
            (RUN, run.to_string()),
            (STAGE, stage.to_string()),
            (INSTANCE, instance.to_string()),
            (ATTEMPT, attempt.to_string()),
        ]
    });
    std::iter::once((ENGINE, engine.to_string())).chain(of_attempt.into_iter().flatten())
}
