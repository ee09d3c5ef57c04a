//! The labels that everything carries which this engine makes on Docker.
//!
//! They are how containers are found again after a crash; another engine's things have another engine id and are
//! never touched. Their names are stored outside of this program: changing one loses what older versions left.

use std::collections::HashMap;

use yuanli_model::{AttemptId, EngineId, OperationId};

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

/// All labels of what an operation makes.
pub(crate) fn of(operation: &OperationId) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = pairs(operation.engine, Some(&operation.attempt))
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    labels.insert(POSITION.to_owned(), operation.position.to_string());
    labels
}

/// The filter of Docker's lists that finds what an engine made, for one attempt or for all.
pub(crate) fn filter(engine: EngineId, attempt: Option<&AttemptId>) -> HashMap<String, Vec<String>> {
    let labels = pairs(engine, attempt).map(|(key, value)| format!("{key}={value}")).collect();
    HashMap::from([("label".to_owned(), labels)])
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
