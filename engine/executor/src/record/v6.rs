//! The stored types that version 6 brought: events of runs that take over from others, and where runs come from.
//!
//! Never changed once published: a new version is a new module, and this one goes on being read.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use yuanli_model::run::{self as of_run, PinnedStage, Provenance, ReusedInstance, StartingPoint};
use yuanli_model::stage::WorkflowReference;
use yuanli_model::workflow::Priority;
use yuanli_model::{self as model, Digest, RunId, Timestamp};

use super::envelope::{Broken, Stored};
use super::long::{Long, Text};
use super::v1::{Attempt, parse};
use super::v2::{self, Failure, Pinned, Reason, json};

const WHAT: &str = "event";

/// The events of one transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transition {
    pub(super) at_ms: u64,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Event {
    /// What version 2 has as well.
    Plain(v2::Event),
    Created(Box<Created>),
    StageReused {
        stage: String,
        from: [u8; 16],
        result: Became,
        workspaces: Vec<[u8; 32]>,
    },
    InstancesReused {
        stage: String,
        from: [u8; 16],
        instances: Vec<Instance>,
    },
    StageExpanded {
        stage: String,
        instances: Text,
        parallel: NonZeroU32,
        reused: Vec<u32>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Created {
    workflow: String,
    version: [u8; 32],
    inputs: Vec<(String, Text)>,
    stages: Vec<Pinned>,
    group: Option<String>,
    deadline_ms: Option<u64>,
    cause: Cause,
    origin: Option<Origin>,
    workflows: Vec<PinnedWorkflow>,
    again: Option<Again>,
}

/// A folder, and the work tree around it where that is another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Origin {
    folder: String,
    root: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Cause {
    Unknown,
    Command,
    Request,
    Schedule { due_ms: u64 },
    Webhook,
    Stage { run: [u8; 16], attempt: Attempt },
    Event,
    Metric,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PinnedWorkflow {
    name: String,
    asked_version: Option<String>,
    version: [u8; 32],
    origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Again {
    run: [u8; 16],
    from: Vec<(String, Option<u32>)>,
    changed: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Became {
    Succeeded { outputs: Text },
    Allowed { failure: Failure, outputs: Option<Text> },
    Failed(Failure),
    Skipped(Reason),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Instance {
    instance: u32,
    item: Text,
    outputs: Text,
    workspace: Option<[u8; 32]>,
}

impl Stored for Transition {
    const WHAT: &'static str = WHAT;
    const VERSION: u8 = 3;

    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        v2::Transition::read(version, body).map(|read| read.map(Self::from))
    }
}

/// The versions of the workflows that stages of a run may run: a run that takes over from it needs their texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PinnedVersions(pub(crate) Vec<[u8; 32]>);

impl Stored for PinnedVersions {
    const WHAT: &'static str = "list of workflow versions";
}

impl From<v2::Transition> for Transition {
    fn from(v2::Transition { at_ms, events }: v2::Transition) -> Self {
        Self { at_ms, events: events.into_iter().map(Event::Plain).collect() }
    }
}

impl Event {
    pub(super) fn of(event: &model::RunEvent, long: &mut Long) -> Self {
        match event {
            model::RunEvent::Created {
                workflow,
                version,
                inputs,
                stages,
                group,
                deadline,
                provenance,
                ..
            } => {
                let Provenance { cause, origin, workflows, again, .. } = &**provenance;
                let mut input = |(name, value): (&model::InputName, &Value)| {
                    (name.to_string(), long.take(value.to_string()))
                };
                Self::Created(Box::new(Created {
                    workflow: workflow.to_string(),
                    version: *version.as_bytes(),
                    inputs: inputs.iter().map(&mut input).collect(),
                    stages: stages.iter().map(Pinned::of).collect(),
                    group: group.clone(),
                    deadline_ms: deadline.map(Timestamp::as_millis),
                    cause: Cause::of(cause),
                    origin: origin.as_ref().map(Origin::of),
                    workflows: workflows.iter().map(PinnedWorkflow::of).collect(),
                    again: again.as_ref().map(Again::of),
                }))
            }
            model::RunEvent::StageReused { stage, from, result, workspaces } => Self::StageReused {
                stage: stage.to_string(),
                from: id(*from),
                result: Became::of(result, long),
                workspaces: workspaces.iter().map(|digest| *digest.as_bytes()).collect(),
            },
            model::RunEvent::InstancesReused { stage, from, instances } => Self::InstancesReused {
                stage: stage.to_string(),
                from: id(*from),
                instances: instances.iter().map(|instance| Instance::of(instance, long)).collect(),
            },
            model::RunEvent::StageExpanded { stage, instances, parallel, reused } => Self::StageExpanded {
                stage: stage.to_string(),
                instances: long.take(Value::Array(instances.clone()).to_string()),
                parallel: *parallel,
                reused: reused.clone(),
            },
            plain => match v2::Event::of(plain, long) {
                Some(plain) => Self::Plain(plain),
                // Those that version 2 does not have, or has with less in them, are above.
                None => unreachable!("{plain:?} is not stored"),
            },
        }
    }

    pub(super) fn texts(&self) -> Vec<&Text> {
        match self {
            Self::Plain(plain) => plain.texts(),
            Self::Created(created) => created.inputs.iter().map(|(_, text)| text).collect(),
            Self::StageReused { result, .. } => match result {
                Became::Succeeded { outputs } => vec![outputs],
                Became::Allowed { outputs, .. } => outputs.iter().collect(),
                Became::Failed(_) | Became::Skipped(_) => Vec::new(),
            },
            Self::InstancesReused { instances, .. } => {
                instances.iter().flat_map(|instance| [&instance.item, &instance.outputs]).collect()
            }
            Self::StageExpanded { instances, .. } => vec![instances],
        }
    }

    pub(super) fn into_model(self, run: RunId, long: &Long) -> Result<model::RunEvent, Broken> {
        Ok(match self {
            Self::Plain(plain) => plain.into_model(run, long)?,
            Self::Created(created) => created.into_model(long)?,
            Self::StageReused { stage, from, result, workspaces } => model::RunEvent::StageReused {
                stage: parse(WHAT, &stage)?,
                from: run_id(from),
                result: result.into_model(long)?,
                workspaces: workspaces.into_iter().map(Digest::from_bytes).collect(),
            },
            Self::InstancesReused { stage, from, instances } => model::RunEvent::InstancesReused {
                stage: parse(WHAT, &stage)?,
                from: run_id(from),
                instances: instances
                    .into_iter()
                    .map(|instance| instance.into_model(long))
                    .collect::<Result<_, _>>()?,
            },
            Self::StageExpanded { stage, instances, parallel, reused } => model::RunEvent::StageExpanded {
                stage: parse(WHAT, &stage)?,
                instances: match json(&long.text(instances)?)? {
                    Value::Array(instances) => instances,
                    _ => return Err(Broken::damaged(WHAT, "its instances are no list")),
                },
                parallel,
                reused,
            },
        })
    }
}

impl Created {
    fn into_model(self, long: &Long) -> Result<model::RunEvent, Broken> {
        let input = |(name, value): (String, Text)| {
            Ok((parse::<model::InputName>(WHAT, &name)?, json(&long.text(value)?)?))
        };
        let provenance = Provenance {
            cause: self.cause.into_model()?,
            origin: self.origin.map(Origin::into_model),
            workflows: self
                .workflows
                .into_iter()
                .map(PinnedWorkflow::into_model)
                .collect::<Result<_, _>>()?,
            again: self.again.map(Again::into_model).transpose()?,
            labels: BTreeMap::new(),
        };
        Ok(model::RunEvent::Created {
            workflow: parse(WHAT, &self.workflow)?,
            version: Digest::from_bytes(self.version),
            inputs: self.inputs.into_iter().map(input).collect::<Result<_, Broken>>()?,
            stages: self
                .stages
                .into_iter()
                .map(Pinned::into_model)
                .collect::<Result<Vec<PinnedStage>, _>>()?,
            group: self.group,
            priority: Priority::default(),
            deadline: self.deadline_ms.map(Timestamp::from_millis),
            provenance: Box::new(provenance),
        })
    }
}

impl Origin {
    fn of((folder, root): &(String, String)) -> Self {
        Self { folder: folder.clone(), root: (root != folder).then(|| root.clone()) }
    }

    fn into_model(self) -> (String, String) {
        let root = self.root.unwrap_or_else(|| self.folder.clone());
        (self.folder, root)
    }
}

impl Cause {
    fn of(cause: &of_run::Cause) -> Self {
        match cause {
            of_run::Cause::Unknown => Self::Unknown,
            of_run::Cause::Command => Self::Command,
            of_run::Cause::Request => Self::Request,
            of_run::Cause::Schedule { due } => Self::Schedule { due_ms: due.as_millis() },
            of_run::Cause::Webhook => Self::Webhook,
            of_run::Cause::Event => Self::Event,
            of_run::Cause::Metric => Self::Metric,
            of_run::Cause::Stage(attempt) => {
                Self::Stage { run: id(attempt.run), attempt: Attempt::of(attempt) }
            }
        }
    }

    fn into_model(self) -> Result<of_run::Cause, Broken> {
        Ok(match self {
            Self::Unknown => of_run::Cause::Unknown,
            Self::Command => of_run::Cause::Command,
            Self::Request => of_run::Cause::Request,
            Self::Schedule { due_ms } => of_run::Cause::Schedule { due: Timestamp::from_millis(due_ms) },
            Self::Webhook => of_run::Cause::Webhook,
            Self::Event => of_run::Cause::Event,
            Self::Metric => of_run::Cause::Metric,
            Self::Stage { run, attempt } => of_run::Cause::Stage(attempt.into_model(run_id(run))?),
        })
    }
}

impl PinnedWorkflow {
    fn of(pinned: &of_run::PinnedWorkflow) -> Self {
        Self {
            name: pinned.uses.name.to_string(),
            asked_version: pinned.uses.version.clone(),
            version: *pinned.version.as_bytes(),
            origin: Origin::of(&pinned.origin),
        }
    }

    fn into_model(self) -> Result<of_run::PinnedWorkflow, Broken> {
        let name = parse(WHAT, &self.name)?;
        Ok(of_run::PinnedWorkflow {
            uses: WorkflowReference { name, version: self.asked_version },
            version: Digest::from_bytes(self.version),
            origin: self.origin.into_model(),
        })
    }
}

impl Again {
    fn of(again: &of_run::Again) -> Self {
        let point = |point: &StartingPoint| (point.stage.to_string(), point.instance);
        Self {
            run: id(again.run),
            from: again.from.iter().map(point).collect(),
            changed: again.changed.iter().map(ToString::to_string).collect(),
        }
    }

    fn into_model(self) -> Result<of_run::Again, Broken> {
        let point =
            |(stage, instance): (String, _)| Ok(StartingPoint { stage: parse(WHAT, &stage)?, instance });
        Ok(of_run::Again {
            run: run_id(self.run),
            from: self.from.into_iter().map(point).collect::<Result<_, Broken>>()?,
            changed: self.changed.iter().map(|name| parse(WHAT, name)).collect::<Result<_, _>>()?,
        })
    }
}

impl Became {
    fn of(result: &of_run::StageResult, long: &mut Long) -> Self {
        match result {
            of_run::StageResult::Succeeded { outputs } => {
                Self::Succeeded { outputs: long.take(outputs.to_string()) }
            }
            of_run::StageResult::Allowed { failure, outputs } => Self::Allowed {
                failure: Failure::of(failure),
                outputs: outputs.as_ref().map(|outputs| long.take(outputs.to_string())),
            },
            of_run::StageResult::Failed(failure) => Self::Failed(Failure::of(failure)),
            of_run::StageResult::Skipped(reason) => Self::Skipped(Reason::of(reason)),
        }
    }

    fn into_model(self, long: &Long) -> Result<of_run::StageResult, Broken> {
        Ok(match self {
            Self::Succeeded { outputs } => {
                of_run::StageResult::Succeeded { outputs: json(&long.text(outputs)?)? }
            }
            Self::Allowed { failure, outputs } => of_run::StageResult::Allowed {
                failure: failure.into_model(),
                outputs: outputs.map(|outputs| json(&long.text(outputs)?)).transpose()?,
            },
            Self::Failed(failure) => of_run::StageResult::Failed(failure.into_model()),
            Self::Skipped(reason) => of_run::StageResult::Skipped(reason.into_model()?),
        })
    }
}

impl Instance {
    fn of(reused: &ReusedInstance, long: &mut Long) -> Self {
        Self {
            instance: reused.instance,
            item: long.take(reused.item.to_string()),
            outputs: long.take(reused.outputs.to_string()),
            workspace: reused.workspace.map(|digest| *digest.as_bytes()),
        }
    }

    fn into_model(self, long: &Long) -> Result<ReusedInstance, Broken> {
        Ok(ReusedInstance {
            instance: self.instance,
            item: json(&long.text(self.item)?)?,
            outputs: json(&long.text(self.outputs)?)?,
            workspace: self.workspace.map(Digest::from_bytes),
        })
    }
}

pub(super) fn id(run: RunId) -> [u8; 16] {
    run.as_u128().to_be_bytes()
}

pub(super) fn run_id(bytes: [u8; 16]) -> RunId {
    RunId::from_u128(u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use yuanli_model::{RunEvent, SkipReason};

    use super::*;
    use crate::record::{envelope, v8};

    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
        name.parse().expect("a name")
    }

    fn events() -> Vec<RunEvent> {
        let run = RunId::from_u128(7);
        let attempt = model::AttemptId { run, stage: name("call"), instance: 1, attempt: 2 };
        let provenance = Provenance {
            cause: of_run::Cause::Stage(attempt),
            origin: Some(("/shop/ci".to_owned(), "/shop".to_owned())),
            workflows: vec![of_run::PinnedWorkflow {
                uses: WorkflowReference { name: name("deploy"), version: Some("c0ffee".to_owned()) },
                version: Digest::from_bytes([3; 32]),
                origin: ("/shop".to_owned(), "/shop".to_owned()),
            }],
            again: Some(of_run::Again {
                run,
                from: vec![StartingPoint { stage: name("test"), instance: Some(2) }],
                changed: vec![name("tag")],
            }),
            labels: BTreeMap::new(),
        };
        let reused = |result| RunEvent::StageReused {
            stage: name("a"),
            from: run,
            result,
            workspaces: vec![Digest::from_bytes([4; 32])],
        };
        let failure = || model::Failure::permanent("exit-code", "it ended with 1");
        vec![
            RunEvent::Created {
                workflow: name("shop"),
                version: Digest::from_bytes([5; 32]),
                inputs: [(name("tag"), json!("dev"))].into_iter().collect(),
                stages: Vec::new(),
                group: None,
                priority: Priority::default(),
                deadline: None,
                provenance: Box::new(provenance),
            },
            reused(of_run::StageResult::Succeeded { outputs: json!({ "n": 1 }) }),
            reused(of_run::StageResult::Allowed { failure: failure(), outputs: Some(json!([null])) }),
            reused(of_run::StageResult::Failed(failure())),
            reused(of_run::StageResult::Skipped(SkipReason::NeedNotMet(name("b")))),
            RunEvent::InstancesReused {
                stage: name("s"),
                from: run,
                instances: vec![ReusedInstance {
                    instance: 1,
                    item: json!("b"),
                    outputs: json!({}),
                    workspace: Some(Digest::from_bytes([6; 32])),
                }],
            },
            RunEvent::StageExpanded {
                stage: name("s"),
                instances: vec![json!("a"), json!("b")],
                parallel: NonZeroU32::MIN,
                reused: vec![1],
            },
            RunEvent::TimedOut,
        ]
    }

    /// What version 3 wrote, kept as it was.
    #[test]
    fn what_was_written_is_still_read() {
        let bytes = hex::decode(EVENTS).expect("a fixture");
        let read: v8::Transition = envelope::open(&bytes).expect("it is read");
        let read = read.into_events(RunId::from_u128(7), 0, &Long::default()).expect("it is whole");
        assert_eq!(read.into_iter().map(|recorded| recorded.event).collect::<Vec<_>>(), events());
    }

    /// What version 2 wrote of a stage that was taken over and of one with two instances, kept as it was.
    #[test]
    fn events_of_version_2_are_still_read() {
        let bytes = hex::decode(EVENTS_OF_VERSION_2).expect("a fixture");
        let read: v8::Transition = envelope::open(&bytes).expect("it is read");
        let read = read.into_events(RunId::from_u128(7), 0, &Long::default()).expect("it is whole");
        let expect = [
            RunEvent::StageReused {
                stage: name("a"),
                from: RunId::from_u128(7),
                result: of_run::StageResult::Succeeded { outputs: json!({}) },
                workspaces: Vec::new(),
            },
            RunEvent::StageExpanded {
                stage: name("s"),
                instances: vec![json!(1)],
                parallel: NonZeroU32::MIN,
                reused: Vec::new(),
            },
        ];
        assert_eq!(read.into_iter().map(|recorded| recorded.event).collect::<Vec<_>>(), expect);
    }

    const EVENTS_OF_VERSION_2: &str =
        "0280d095ffbc31020201610000000000000000000000000000000700027b7d0003017300035b315d01";

    const EVENTS: &str = "0380d095ffbc3108010473686f70050505050505050505050505050505050505050505050505050505050505\
                           050501037461670005226465762200000005000000000000000000000000000000070463616c6c010201082f\
                           73686f702f636901052f73686f7001066465706c6f7901066330666665650303030303030303030303030303\
                           030303030303030303030303030303030303052f73686f700001000000000000000000000000000000070104\
                           7465737401020103746167020161000000000000000000000000000000070000077b226e223a317d01040404\
                           0404040404040404040404040404040404040404040404040404040404020161000000000000000000000000\
                           00000007010009657869742d636f64650f697420656e64656420776974682031000100065b6e756c6c5d0104\
                           0404040404040404040404040404040404040404040404040404040404040402016100000000000000000000\
                           000000000007020009657869742d636f64650f697420656e6465642077697468203100010404040404040404\
                           0404040404040404040404040404040404040404040404040201610000000000000000000000000000000703\
                           0001620104040404040404040404040404040404040404040404040404040404040404040301730000000000\
                           00000000000000000000070101000322622200027b7d01060606060606060606060606060606060606060606\
                           060606060606060606060604017300095b2261222c2262225d010101000b";
}
