//! The runs of a case as they go on: the one that is tested, and those that stages of these start.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt as _, StreamExt as _, stream};
use yuanli_executor::{Error, Executor, Recorded, Update};
use yuanli_lang::StageKey;
use yuanli_model::{AttemptId, RunEvent, RunId, StageName, Timestamp, WorkflowName};
use yuanli_ports::Store;

/// Something that was seen of one of them.
pub(crate) enum Seen {
    /// Of a stage, as the case names it: it waits for people since then.
    Asked(RunId, StageKey, Timestamp),
    /// A stage wrote a line.
    Line(StageKey, String),
    /// The run that is tested is over.
    Over,
}

/// What is known of a run.
struct Known {
    /// Where it is not the workflow that is tested.
    workflow: Option<WorkflowName>,
    /// Its stages that run a workflow.
    starting: HashSet<StageName>,
}

/// An update of a run; `None` once it is over.
type Told = (RunId, Result<Option<Update>, Error>);

pub(crate) struct Runs {
    executor: Executor,
    store: Arc<dyn Store>,
    tested: RunId,
    known: HashMap<RunId, Known>,
    told: SelectAll<BoxStream<'static, Told>>,
    /// Runs that are about to be started by attempts.
    starting: FuturesUnordered<BoxFuture<'static, Result<RunId, Error>>>,
    /// Those that wait for people.
    pub(crate) waiting: BTreeSet<String>,
}

impl Runs {
    pub(crate) fn new(executor: Executor, store: Arc<dyn Store>, tested: RunId) -> Self {
        let mut runs = Self {
            executor,
            store,
            tested,
            known: HashMap::new(),
            told: SelectAll::new(),
            starting: FuturesUnordered::new(),
            waiting: BTreeSet::new(),
        };
        runs.follow(tested);
        runs
    }

    fn follow(&mut self, run: RunId) {
        let follower = Some(self.executor.follow(run));
        let told = stream::unfold(follower, move |follower| async move {
            let mut follower = follower?;
            let update = follower.next().await;
            let goes_on = matches!(update, Ok(Some(_)));
            Some(((run, update), goes_on.then_some(follower)))
        });
        self.told.push(told.boxed());
    }

    /// What is seen next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Seen, Error> {
        loop {
            let (run, update) = tokio::select! {
                Some(told) = self.told.next() => told,
                Some(started) = self.starting.next() => {
                    self.follow(started?);
                    continue;
                }
            };
            match update? {
                None if run == self.tested => return Ok(Seen::Over),
                None => {}
                Some(Update::Line { attempt, line }) => {
                    return Ok(Seen::Line(self.key(run, &attempt.stage), line.text));
                }
                Some(Update::Event(recorded)) => {
                    if let Some(seen) = self.happened(run, &recorded) {
                        return Ok(seen);
                    }
                }
            }
        }
    }

    fn happened(&mut self, run: RunId, recorded: &Recorded) -> Option<Seen> {
        match &recorded.event {
            RunEvent::Created { workflow, stages, provenance, .. } => {
                let runs: HashSet<String> =
                    provenance.workflows.iter().map(|pinned| pinned.uses.to_string()).collect();
                let starting = stages.iter().filter(|stage| runs.contains(&stage.plugin));
                let starting = starting.map(|stage| stage.name.clone()).collect();
                let workflow = (run != self.tested).then(|| workflow.clone());
                self.known.insert(run, Known { workflow, starting });
            }
            RunEvent::AttemptStarted { attempt, .. }
                if self.known.get(&run).is_some_and(|known| known.starting.contains(&attempt.stage)) =>
            {
                let (executor, store) = (self.executor.clone(), Arc::clone(&self.store));
                self.starting.push(started_by(executor, store, attempt.clone()).boxed());
            }
            RunEvent::ApprovalRequested { stage, .. } => {
                let key = self.key(run, stage);
                self.waiting.insert(key.to_string());
                return Some(Seen::Asked(run, key, recorded.at));
            }
            RunEvent::ApprovalEnded { stage, .. } => {
                self.waiting.remove(&self.key(run, stage).to_string());
            }
            _ => {}
        }
        None
    }

    fn key(&self, run: RunId, stage: &StageName) -> StageKey {
        let workflow = self.known.get(&run).and_then(|known| known.workflow.clone());
        StageKey { workflow, stage: stage.clone() }
    }
}

/// The run of an attempt, once it is there; never, where the attempt ends before.
async fn started_by(executor: Executor, store: Arc<dyn Store>, attempt: AttemptId) -> Result<RunId, Error> {
    let seen = store.revision().await?;
    let mut changes = store.watch(&[], seen).await?;
    loop {
        if let Some(run) = executor.run_of(&attempt).await? {
            return Ok(run);
        }
        changes.next().await?;
    }
}
