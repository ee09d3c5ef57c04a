//! How an engine goes on with what one before it left: runs, containers, names that were lent.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use yuanli_executor::{Definition, Definitions, Error, Left};
use yuanli_model::{AttemptId, Digest, RunId, Timestamp};
use yuanli_points::{Point, pass};
use yuanli_ports::Containers as _;
use yuanli_ports::containers::ContainerError;

use super::{Engine, refuse_copy};
use crate::file::File;
use crate::kept::{Expected, Registry};
use crate::library::Library;
use crate::workflows::Source;

/// How long Docker is looked for before runs go on that may have containers, and how long is waited in between. Then they go on
/// without, and fail if they need it.
const DOCKER_PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_DOCKER_LOOKS: Duration = Duration::from_secs(1);
/// Why a run cannot be gone on with of which an engine has not kept enough.
const NOT_KEPT: &str =
    "it was left by an engine that did not keep what it takes to go on; it is closed as failed";
const UNREADABLE: &str = "cannot be read, and is left as it is; the others go on";

impl Engine {
    /// Looks at what an engine before this one left: removes the containers that belong to nothing, ends runs that cannot
    /// be gone on with, and begins to keep the history. Returns the runs that wait to be gone on with, oldest first,
    /// without those that stages of them have started.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn recover(&self) -> anyhow::Result<Vec<RunId>> {
        refuse_copy(&self.directory)?;
        let open = self.executor.left_open().await?;
        self.restored.settle(&open)?;
        if !open.is_empty() {
            // Before any is closed: whoever finds it closed does not look for its containers.
            self.directory.containers().set(true)?;
        }
        for run in self.executor.end_left().await? {
            tracing::warn!(%run, "{NOT_KEPT}");
        }
        self.executor.keep_history();
        let (mut runs, mut children, mut kept) = (Vec::new(), HashSet::new(), HashSet::new());
        let mut unreadable = HashSet::new();
        for run in open {
            match self.read_left(run).await? {
                Reading::Left(left) => {
                    runs.push(run);
                    children.extend(left.children);
                    kept.extend(left.attempts);
                }
                Reading::Over => {}
                Reading::Failed(error) => {
                    tracing::error!(%run, %error, "{UNREADABLE}");
                    unreadable.insert(run);
                }
            }
        }
        if self.directory.containers().is_set() {
            self.remove_containers(&kept, &unreadable).await?;
        }
        self.take_names_back().await;
        runs.retain(|run| !children.contains(run));
        Ok(runs)
    }

    /// Goes on with one of the runs that were left, and with those that its stages have started.
    ///
    /// # Errors
    /// Why it cannot be gone on with; it is as it was.
    pub async fn resume_run(&self, run: RunId) -> anyhow::Result<()> {
        let (mut next, mut family) = (vec![run], Vec::new());
        while let Some(run) = next.pop() {
            if let Some(left) = self.executor.left_run(run).await? {
                next.extend(&left.children);
                family.push(left);
            }
        }
        let may_have = family.iter().any(|left| !left.attempts.is_empty());
        if may_have && self.directory.containers().is_set() && self.wait_for_docker().await {
            self.take_names_back().await;
        }
        let (mut compiled, mut ready) = (HashMap::new(), Vec::new());
        for left in family {
            let (run, attempts) = (left.run, left.attempts.clone());
            ready.push((run, attempts, self.compiled(left, &mut compiled).await?));
        }
        for (_, attempts, _) in ready.iter().filter(|(run, ..)| self.is_restored(*run)) {
            // Its journals name containers of the engine that it came from, which are not this one's to follow and end.
            self.executor.forget_calls(attempts).await?;
        }
        // From here on it is decided, also for an engine after this one.
        self.restored.forget(&ready.iter().map(|(run, ..)| *run).collect::<Vec<_>>())?;
        for (run, _, (definition, workflows)) in ready {
            self.executor.resume(run, definition, workflows).await?;
        }
        Ok(())
    }

    /// Whether a run that is open came with a data directory that was imported or adopted, and nobody has decided on it yet.
    #[must_use]
    pub fn is_restored(&self, run: RunId) -> bool {
        self.restored.contains(&run.to_string())
    }

    /// Pauses the workflows of a data directory that was imported or adopted, once, before anything starts one of them. Returns
    /// how many.
    pub(crate) async fn pause_restored(&self, registry: &Registry, now: Timestamp) -> anyhow::Result<usize> {
        if !self.restored.awaits_pause() {
            return Ok(0);
        }
        let workflows = registry.list();
        for kept in &workflows {
            registry.pause(&kept.name, true, &Expected::Anything, now).await?;
        }
        self.restored.note_paused()?;
        Ok(workflows.len())
    }

    /// Whether a run is stored and has not ended, be it gone on with or not.
    pub(crate) async fn is_open(&self, run: RunId) -> anyhow::Result<bool> {
        let summary = self.executor.history().summary(run).await?;
        Ok(summary.is_some_and(|summary| summary.ended.is_none()))
    }

    /// The runs that are driven now, without those that stages of them have started.
    pub(crate) async fn going_on(&self) -> Vec<RunId> {
        let open = self.executor.history().open().await.unwrap_or_default();
        open.into_iter().filter(|run| self.executor.is_driving(*run)).collect()
    }

    /// Whether a run has not ended, and nobody goes on with it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_left(&self, run: RunId) -> anyhow::Result<bool> {
        Ok(!self.executor.is_driving(run) && self.is_open(run).await?)
    }

    /// Closes a run that is restored, with those that its stages have started, and goes on with none of them. Returns whether it
    /// is one.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn close_restored(&self, run: RunId) -> anyhow::Result<bool> {
        if !self.is_restored(run) {
            return Ok(false);
        }
        let mut next = vec![run];
        while let Some(run) = next.pop() {
            if let Some(left) = self.executor.left_run(run).await? {
                next.extend(left.children);
                self.executor.interrupt(run).await?;
            }
            self.restored.forget(&[run])?;
        }
        Ok(true)
    }

    /// Goes on with the runs that were left, one after the other as they are read, whatever their number: the first goes on
    /// before the last is looked at, and of none more is held than of any run that goes on. `ready` is called as soon as new
    /// runs can be begun beside them. Returns how many go on.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub(crate) async fn resume(&self, ready: impl FnOnce()) -> anyhow::Result<usize> {
        refuse_copy(&self.directory)?;
        let mut open = self.executor.left_open().await?;
        self.restored.settle(&open)?;
        // What it pushes or deploys may have been, or be about to be, by the engine that it came from.
        open.retain(|run| {
            let is_restored = self.is_restored(*run);
            if is_restored {
                tracing::warn!(%run, "was open when this data directory was imported or adopted; `yuanli runs resume RUN` goes on with it, `runs cancel RUN` ends it");
            }
            !is_restored
        });
        pass(Point::TakingOver);
        // Before anything new is in one of them.
        let groups = self.executor.hold_groups();
        let mut found = self.found_containers(&open).await?;
        self.take_names_back().await;
        self.executor.keep_history();
        ready();
        let (mut resumed, mut compiled) = (0, HashMap::new());
        // Runs that were started by one that is closed. They are younger, so they come after it.
        let mut orphans = HashSet::new();
        for run in open {
            let left = match self.read_left(run).await? {
                Reading::Left(left) => *left,
                Reading::Over => continue,
                Reading::Failed(error) => {
                    tracing::error!(%run, %error, "{UNREADABLE}");
                    found.remove(&run);
                    continue;
                }
            };
            let kept: HashSet<AttemptId> = left.attempts.iter().cloned().collect();
            let (own, ended): (Vec<_>, Vec<_>) = found
                .remove(&run)
                .unwrap_or_default()
                .into_iter()
                .partition(|attempt| kept.contains(attempt));
            // Before the run goes on: what follows them may not meet them.
            self.remove_containers_of(ended).await?;
            let gone_on = match left.origin {
                None => Err(anyhow::anyhow!(NOT_KEPT)),
                Some(_) if orphans.contains(&run) => {
                    Err(anyhow::anyhow!("the run whose stage started it is closed"))
                }
                Some(_) => self.go_on(left, &mut compiled).await,
            };
            match gone_on {
                Ok(()) => {
                    pass(Point::RunResumed);
                    resumed += 1;
                }
                Err(error) => {
                    tracing::error!(%run, error = format!("{error:#}"), "cannot be gone on with; it is closed as failed");
                    orphans.extend(self.executor.interrupt(run).await?);
                    self.remove_containers_of(own).await?;
                }
            }
        }
        groups.release();
        pass(Point::TakenOver);
        // Of runs that had ended when they were left.
        self.remove_containers_of(found.into_values().flatten()).await?;
        self.executor.clear_ended().await?;
        Ok(resumed)
    }

    /// The attempts that have containers now, by run, when some may be there: those that go on have them yet, and nothing
    /// that begins from now on is among them.
    async fn found_containers(&self, open: &[RunId]) -> anyhow::Result<HashMap<RunId, Vec<AttemptId>>> {
        let (mark, engine) = (self.directory.containers(), self.directory.engine());
        if open.is_empty() {
            if mark.is_set() {
                self.remove_containers(&HashSet::new(), &HashSet::new()).await?;
            }
            return Ok(HashMap::new());
        }
        // Before any is closed: whoever finds it closed does not look for its containers.
        mark.set(true)?;
        let mut found = self.docker.attempts(engine).await;
        if matches!(found, Err(ContainerError::Unreachable(_)))
            && self.may_have_containers(open).await?
            && self.wait_for_docker().await
        {
            found = self.docker.attempts(engine).await;
        }
        let mut by_run: HashMap<RunId, Vec<AttemptId>> = HashMap::new();
        match found {
            Ok(found) => {
                let (are_strange, known) = (found.contains(&None), found.into_iter().flatten());
                let known: HashSet<AttemptId> = known.collect();
                if are_strange {
                    // What names no attempt goes on with none.
                    self.remove_containers(&known, &HashSet::new()).await?;
                    mark.set(true)?;
                }
                known.into_iter().for_each(|attempt| by_run.entry(attempt.run).or_default().push(attempt));
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    "containers of interrupted runs may still be there; the next start removes them"
                );
                mark.keep()?;
            }
        }
        Ok(by_run)
    }

    /// Whether an attempt of these runs goes on.
    async fn may_have_containers(&self, open: &[RunId]) -> anyhow::Result<bool> {
        for run in open {
            if let Reading::Left(left) = self.read_left(*run).await?
                && !left.attempts.is_empty()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads what is left of a run. That one cannot be read keeps no other from going on; that the store cannot does.
    async fn read_left(&self, run: RunId) -> anyhow::Result<Reading> {
        Ok(match self.executor.left_run(run).await {
            Ok(Some(left)) => Reading::Left(Box::new(left)),
            Ok(None) => Reading::Over,
            Err(error @ Error::Store(_)) => return Err(error.into()),
            Err(error) => Reading::Failed(error),
        })
    }

    /// Removes the containers of attempts; what cannot be removed now is by the next engine.
    async fn remove_containers_of(
        &self,
        attempts: impl IntoIterator<Item = AttemptId>,
    ) -> anyhow::Result<()> {
        for attempt in attempts {
            if let Err(error) = self.docker.remove_all(self.directory.engine(), Some(&attempt)).await {
                tracing::warn!(%attempt, %error, "containers of an interrupted attempt may still be there");
                self.directory.containers().keep()?;
            }
        }
        Ok(())
    }

    /// Takes back what an engine before this one lent. Pushes that go on lend anew what cannot be had now.
    async fn take_names_back(&self) {
        if self.docker.has_lent_names().await
            && let Err(error) = self.docker.take_names_back().await
        {
            tracing::warn!(%error, "names of images that were pushed may still be those of others");
        }
    }

    /// Waits for Docker, when attempts go on that may have containers: on a machine that has just started it is often the
    /// later one. What they are told of their containers counts for good. Returns whether it was away.
    async fn wait_for_docker(&self) -> bool {
        let mut was_away = false;
        let looks = async {
            loop {
                // Only asked: nothing is removed here.
                let answer = self.docker.attempts(self.directory.engine()).await;
                let Err(error @ ContainerError::Unreachable(_)) = answer else { return };
                if !was_away {
                    tracing::warn!(%error, "runs that may have containers wait for Docker");
                }
                was_away = true;
                tokio::time::sleep(BETWEEN_DOCKER_LOOKS).await;
            }
        };
        // One that takes a connection and says nothing is as good as away.
        let answered = tokio::time::timeout(DOCKER_PATIENCE, looks).await;
        was_away || answered.is_err()
    }

    /// Goes on with a run. Runs of one workflow, of which there may be many, share what is compiled.
    async fn go_on(&self, left: Left, compiled: &mut HashMap<Digest, Compiled>) -> anyhow::Result<()> {
        let run = left.run;
        let (definition, workflows) = self.compiled(left, compiled).await?;
        self.executor.resume(run, definition, workflows).await?;
        Ok(())
    }

    /// What a run is gone on with; runs of one workflow share it.
    async fn compiled(
        &self,
        left: Left,
        compiled: &mut HashMap<Digest, Compiled>,
    ) -> anyhow::Result<Compiled> {
        Ok(match compiled.entry(fingerprint(&left)) {
            Entry::Occupied(found) => found.get().clone(),
            Entry::Vacant(place) => place.insert(self.compile_left(left).await?).clone(),
        })
    }

    async fn compile_left(&self, left: Left) -> anyhow::Result<Compiled> {
        let text = left.text.context("its workflow is not stored any more")?;
        let origin = left.origin.context("where its file lay is not known")?;
        let pins = Library::pins_of(&left.plugins);
        let file = File { name: left.workflow.to_string(), text, origin, pins };
        let document = self.library.compile(file, Source::Left(&left.workflows)).await?;
        let told = document.render(false, 100);
        let workflows = Arc::new(document.workflows());
        let definition = document.into_definition();
        let definition =
            definition.with_context(|| format!("its workflow is not valid any more:\n{told}"))?;
        Ok((definition, workflows))
    }

    /// Removes the containers of attempts that do not go on, but those of runs of which nobody knows; when that fails, it is done by
    /// the next engine.
    async fn remove_containers(
        &self,
        kept: &HashSet<AttemptId>,
        unreadable: &HashSet<RunId>,
    ) -> anyhow::Result<()> {
        let engine = self.directory.engine();
        let mut kept = kept.clone();
        let found = match unreadable.is_empty() {
            true => Ok(HashSet::new()),
            false => self.docker.attempts(engine).await,
        };
        let removed = match found {
            Ok(found) => {
                let of_them = found.into_iter().flatten().filter(|attempt| unreadable.contains(&attempt.run));
                kept.extend(of_them);
                self.docker.remove_others(engine, &kept).await
            }
            Err(error) => Err(error),
        };
        match removed {
            Ok(_) if kept.is_empty() => self.directory.containers().set(false)?,
            // Those of attempts that go on are there.
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(
                    %error,
                    "containers of interrupted runs may still be there; the next start removes them"
                );
                self.directory.containers().keep()?;
            }
        }
        Ok(())
    }
}

/// What was found of a run that may have been left.
enum Reading {
    Left(Box<Left>),
    /// It is driven, or has ended.
    Over,
    Failed(Error),
}

/// What a run is gone on with: its workflow and those that it runs.
type Compiled = (Definition, Arc<Definitions>);

/// What is the same for runs that are gone on with by the same compiled workflow.
fn fingerprint(left: &Left) -> Digest {
    let Left { workflow, text, origin, plugins, workflows, .. } = left;
    Digest::of(format!("{:?}", (workflow, text, origin, plugins, workflows)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use yuanli_ports::Store as _;
    use yuanli_ports::plugins::Origin;
    use yuanli_ports::store::{Batch, Range};

    use crate::engine::Locations;
    use crate::file::Pins;

    const GATE: &str = "name: gate\nstages:\n  ask: { approval: { message: go on? } }\n";

    async fn start(engine: &Engine) -> RunId {
        let origin = Origin { folder: ".".into(), root: ".".into() };
        let file = File { name: "gate.yaml".to_owned(), text: GATE.to_owned(), origin, pins: Pins::new() };
        let document = engine.library.compile(file, Source::BesideIfThere).await.expect("it can be read");
        engine
            .start(document, Vec::new(), crate::Manner::default())
            .await
            .expect("a store")
            .expect("it can be run")
    }

    #[tokio::test]
    async fn runs_go_on_as_they_are_read_and_new_ones_can_begin_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let locations = Locations::new(folder.path());
        let engine = Engine::open(&locations).await.expect("an engine");
        let mut runs = Vec::new();
        for _ in 0..3 {
            runs.push(start(&engine).await);
        }
        runs.sort();
        engine.suspend().await;
        drop(engine);
        let next = Engine::open(&locations).await.expect("another one");
        // Of the last one nothing can be read, which keeps no other up.
        let last = runs[2].as_u128().to_be_bytes();
        let mut batch = Batch::default();
        for (key, _) in next.store.scan(Range::prefix(b"", 1_000)).await.expect("all of it") {
            let bytes = key.as_bytes();
            // Its events, each under the run and a number.
            if bytes.len() > 1 + last.len() && bytes[1..].starts_with(&last) {
                batch.delete(key);
            }
        }
        assert!(!batch.writes.is_empty());
        next.store.commit(batch).await.expect("a commit");
        assert_eq!(next.recover().await.expect("a store"), runs[..2], "nor commands");
        let at_first = Cell::new(None);
        let resumed = next.resume(|| at_first.set(Some(next.executor.active()))).await.expect("a store");
        assert_eq!(resumed, 2);
        assert_eq!(at_first.get(), Some(0), "new ones wait for nothing");
        assert_eq!(runs.iter().filter(|run| next.executor.is_driving(**run)).count(), 2);
        next.suspend().await;
    }
}
