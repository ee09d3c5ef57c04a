//! What is to be done in a seed: workflows, and when which of them is started and stopped.

mod script;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use yuanli_executor::{Definition, Definitions, Manner, Submission};
use yuanli_model::input::{Input, InputType};
use yuanli_model::run::StartingPoint;
use yuanli_model::stage::{Backoff, Cache, FanOut, Growth, Retry, WorkflowReference};
use yuanli_model::workflow::{Concurrency, Older, Priority, Settings};
use yuanli_model::{
    Capability, Digest, Expression, Grant, InputName, PluginReference, Section, Stage, StageName, Template,
    Work, Workflow,
};
use yuanli_ports::plugins::Origin;

use crate::chance::Chance;
use crate::host::component;

pub(crate) use script::Step;

/// The workflow that stages of others run.
const CHILD: &str = "child";
/// The input that workflows have, and that some of their stages give back.
pub(crate) const INPUT: &str = "number";

/// See the module.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) runs: Vec<PlannedRun>,
    workflows: Vec<Planned>,
}

/// A run that is to be started.
#[derive(Debug)]
pub(crate) struct PlannedRun {
    pub(crate) cause: String,
    /// Which workflow.
    workflow: usize,
    /// When it is started, after the beginning of the world.
    pub(crate) at: Duration,
    /// When somebody stops it, if somebody does.
    pub(crate) cancels: Vec<Duration>,
    /// The value of its input.
    number: u64,
    /// Whether nothing stands for its stages.
    bypasses_cache: bool,
    /// How early it begins among those of its group that wait.
    pub(crate) priority: i64,
    /// The runs that take over from it, each from the one before.
    pub(crate) retries: Vec<PlannedRetry>,
}

/// A run that takes over from another one.
#[derive(Debug)]
pub(crate) struct PlannedRetry {
    pub(crate) cause: String,
    /// When, after the end of the other one.
    pub(crate) after: Duration,
    /// Where it begins; with what did not succeed when empty.
    pub(crate) from: Vec<StartingPoint>,
    /// The value of its input.
    number: u64,
}

/// A workflow, and what its stages do.
#[derive(Debug)]
struct Planned {
    definition: Definition,
    scripts: BTreeMap<String, Vec<Step>>,
}

impl Plan {
    pub(crate) fn draw(chance: &Chance) -> Self {
        let child = Planned::draw(chance, CHILD, None);
        let count = chance.of(1..=2);
        let mut workflows: Vec<Planned> = (0..count)
            .map(|number| Planned::draw(chance, &format!("w{number}"), Some(&child.definition)))
            .collect();
        let run = |number: u64| draw_run(chance, &workflows, number);
        let runs = (0..chance.of(1..=3)).map(run).collect();
        workflows.push(child);
        Self { runs, workflows }
    }

    /// All of it in words.
    pub(crate) fn describe(&self) -> String {
        let mut told = format!("{:?}", self.runs);
        for Planned { definition: Definition { workflow, .. }, scripts } in &self.workflows {
            let _ = write!(told, "\n  workflow {}: {:?}", workflow.name(), workflow.settings());
            for Stage { name, needs, condition, fan_out, retry, allow_failure, timeout, cache, .. } in
                workflow.stages()
            {
                let steps = scripts.get(name.as_str());
                let _ = write!(
                    told,
                    "\n    {name}: {steps:?} {needs:?} {condition:?} {fan_out:?} {} attempts {allow_failure} {timeout:?} {cache:?}",
                    retry.attempts
                );
            }
        }
        told
    }

    /// The workflows that stages may run.
    pub(crate) fn callable(&self) -> Arc<Definitions> {
        let child = self.workflows.last().map(|child| (reference(), child.definition.clone()));
        Arc::new(child.into_iter().collect())
    }

    pub(crate) fn submission(&self, run: &PlannedRun) -> Submission {
        Submission {
            definition: self.workflows[run.workflow].definition.clone(),
            inputs: IndexMap::from([(name(INPUT), run.number.into())]),
            workflows: self.callable(),
            cause: Some(run.cause.clone()),
            is_kept: true,
            manner: Manner {
                bypasses_cache: run.bypasses_cache,
                priority: Priority::new(run.priority),
                ..Manner::default()
            },
        }
    }

    /// What takes over from a run.
    pub(crate) fn submission_again(&self, run: &PlannedRun, again: &PlannedRetry) -> Submission {
        Submission {
            inputs: IndexMap::from([(name(INPUT), again.number.into())]),
            cause: Some(again.cause.clone()),
            ..self.submission(run)
        }
    }

    pub(crate) fn definition(&self, version: &Digest) -> Option<&Definition> {
        self.found(version).map(|planned| &planned.definition)
    }

    /// The steps of a stage; `None` for one that runs a workflow.
    pub(crate) fn script(&self, version: &Digest, stage: &StageName) -> Option<&[Step]> {
        self.found(version)?.scripts.get(stage.as_str()).map(Vec::as_slice)
    }

    fn found(&self, version: &Digest) -> Option<&Planned> {
        self.workflows.iter().find(|planned| planned.definition.version() == *version)
    }
}

/// A run, and those that take over from it.
fn draw_run(chance: &Chance, workflows: &[Planned], number: u64) -> PlannedRun {
    let workflow = chance.of(0..=workflows.len() as u64 - 1) as usize;
    let stages = workflows[workflow].definition.workflow.stages();
    let value = chance.of(0..=2);
    let retry = |again: u64| {
        let point = |()| StartingPoint {
            stage: chance.pick(stages).name.clone(),
            instance: chance.one_in(3).then(|| chance.of(0..=1) as u32),
        };
        PlannedRetry {
            cause: format!("run {number} again {again}"),
            after: chance.millis(0..=20_000),
            from: chance.one_in(2).then_some(()).map(point).into_iter().collect(),
            number: if chance.one_in(3) { chance.of(0..=2) } else { value },
        }
    };
    PlannedRun {
        cause: format!("run {number}"),
        workflow,
        at: chance.millis(0..=*chance.pick(&[5_000, 5_000, 60_000])),
        cancels: (0..*chance.pick(&[0, 0, 0, 1, 2])).map(|_| chance.millis(0..=60_000)).collect(),
        number: value,
        bypasses_cache: chance.one_in(8),
        priority: if chance.one_in(4) { *chance.pick(&[-1, 5]) } else { 0 },
        retries: (0..*chance.pick(&[0, 0, 1, 2])).map(retry).collect(),
    }
}

fn inputs() -> IndexMap<InputName, Input> {
    let kind = InputType::Number { minimum: None, maximum: None, is_whole: true };
    IndexMap::from([(
        name(INPUT),
        Input { kind, default: Some(0.into()), is_optional: false, description: None },
    )])
}

/// Whether what a stage gives back is the input of its run.
pub(crate) fn gives_input(stage: &Stage) -> bool {
    let Work::Plugin { with: Template::Map(with), .. } = &stage.work else { return false };
    matches!(with.get("item"), Some(Template::Expression(found)) if *found == input())
}

fn input() -> Expression {
    Expression::new(format!("inputs.{INPUT}"))
}

fn reference() -> WorkflowReference {
    WorkflowReference { name: name(CHILD), version: None }
}

fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a name")
}

impl Planned {
    fn draw(chance: &Chance, called: &str, child: Option<&Definition>) -> Self {
        let (mut stages, mut scripts, mut components) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut add = |section: Section, number: u64| {
            let stage_name = format!("{}{number}", section.name().trim_start_matches("on_"));
            let mut stage = Stage::new(name(&stage_name), PluginReference::Named("probe".to_owned()));
            stage.section = section;
            draw_frame(chance, &mut stage, &stages);
            match child.filter(|_| section == Section::Main && chance.one_in(6)) {
                Some(child) => {
                    let with = Template::Map(IndexMap::new());
                    stage.work = Work::Workflow { uses: reference(), with };
                    components.push(child.version());
                }
                None => {
                    let steps = script::draw(chance, &stage_name);
                    let item = match stage.fan_out {
                        Some(_) => Some(Expression::new("item")),
                        None => chance.one_in(3).then(input),
                    };
                    let config = config(&steps, item);
                    stage = stage.with(config);
                    scripts.insert(stage_name, steps);
                    components.push(component());
                }
            }
            stages.push(stage);
        };
        let most = if child.is_some() { 4 } else { 2 };
        (0..chance.of(1..=most)).for_each(|number| add(Section::Main, number));
        if chance.one_in(3) {
            add(Section::Finally, 0);
        }
        let workflow = Workflow::new(name(called), None, inputs(), stages).expect("a workflow");
        let workflow = workflow.with_settings(settings(chance, child.is_some()));
        // A text has one digest, and a plan one of each name.
        let text = Bytes::from(format!("{called} {}", chance.next()));
        let folder = PathBuf::from("/nonexistent");
        let origin = Origin { folder: folder.clone(), root: folder };
        let definition = Definition { workflow: Arc::new(workflow), text, components, origin };
        Self { definition, scripts }
    }
}

/// What there is around the work of a stage.
fn draw_frame(chance: &Chance, stage: &mut Stage, before: &[Stage]) {
    let of_section = before.iter().filter(|other| other.section == stage.section);
    stage.needs = of_section.filter(|_| chance.one_in(2)).map(|other| other.name.clone()).collect();
    stage.grants = Capability::ALL.map(Grant::Whole).to_vec();
    if chance.one_in(3) {
        let backoff = Backoff {
            initial: chance.millis(1..=3_000),
            growth: Growth::Exponential,
            cap: Duration::from_secs(10),
            jitter: 0.5,
        };
        let attempts = NonZeroU32::new(chance.of(2..=3) as u32).unwrap_or(NonZeroU32::MIN);
        stage.retry = Retry { attempts, backoff, on: Vec::new() };
    }
    if chance.one_in(6) {
        stage.timeout = Some(chance.millis(1_000..=30_000));
    }
    if chance.one_in(5) {
        let items = (0..chance.of(0..=3)).map(|item| Template::Number(item.into())).collect();
        stage.fan_out = Some(FanOut::ForEach(Template::List(items)));
    }
    if chance.one_in(8) {
        stage.condition = Some(Expression::new("always()"));
    }
    stage.allow_failure = chance.one_in(6);
    if chance.one_in(4) {
        let max_age = chance.one_in(4).then(|| chance.millis(0..=60_000));
        stage.cache = Some(Cache { files: Vec::new(), values: None, max_age });
    }
}

fn settings(chance: &Chance, is_outer: bool) -> Settings {
    let concurrency = (is_outer && chance.one_in(4)).then(|| Concurrency {
        group: Template::Text("group".to_owned()),
        limit: NonZeroU32::MIN,
        older: *chance.pick(&[Older::Finish, Older::CancelWaiting, Older::Cancel]),
        priority: None,
    });
    let timeout = chance.one_in(8).then(|| chance.millis(5_000..=60_000));
    Settings { concurrency, timeout, ..Settings::default() }
}

fn config(steps: &[Step], item: Option<Expression>) -> Template {
    let steps = steps.iter().map(Step::template).collect();
    let mut config = IndexMap::from([
        ("do".to_owned(), Template::Text("script".to_owned())),
        ("steps".to_owned(), Template::List(steps)),
    ]);
    if let Some(item) = item {
        config.insert("item".to_owned(), Template::Expression(item));
    }
    Template::Map(config)
}
