//! How an engine goes on with what one before it left: runs, containers, names that were lent.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use yuanli_executor::{Definition, Definitions, Left};
use yuanli_model::{AttemptId, Digest, RunId};
use yuanli_ports::Containers as _;
use yuanli_ports::containers::ContainerError;

use super::{Engine, refuse_copy};
use crate::file::File;
use crate::library::Library;
use crate::workflows::Source;

/// How often Docker is looked for before runs go on that may have containers, and how long is waited in between: half a minute
/// in all. Then they go on without, and fail if they need it.
const DOCKER_LOOKS: u32 = 30;
const BETWEEN_DOCKER_LOOKS: Duration = Duration::from_secs(1);

impl Engine {
    /// Looks at what an engine before this one left: removes the containers that belong to nothing, ends runs that cannot
    /// be gone on with, and begins to keep the history. Returns the runs that wait to be gone on with, oldest first,
    /// without those that stages of them have started.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn recover(&self) -> anyhow::Result<Vec<RunId>> {
        let left = self.take_stock().await?;
        let children: HashSet<RunId> = left.iter().flat_map(|left| left.children.iter().copied()).collect();
        Ok(left.iter().map(|left| left.run).filter(|run| !children.contains(run)).collect())
    }

    /// The same; gives all of them, as they were read.
    async fn take_stock(&self) -> anyhow::Result<Vec<Left>> {
        refuse_copy(&self.directory)?;
        let are_open = !self.executor.history().open().await?.is_empty();
        if are_open {
            // Before any is closed: whoever finds it closed does not look for its containers.
            self.directory.containers().set(true)?;
        }
        for run in self.executor.end_left().await? {
            tracing::warn!(%run, "was left by an engine that did not keep what it takes to go on; it is closed as failed");
        }
        self.executor.keep_history();
        let left = if are_open { self.executor.left().await? } else { Vec::new() };
        if self.directory.containers().is_set() {
            self.remove_containers(&left).await?;
        }
        self.take_names_back().await;
        Ok(left)
    }

    /// Goes on with one of the runs that were left, and with those that its stages have started.
    ///
    /// # Errors
    /// Why it cannot be gone on with; it is as it was.
    pub async fn resume_run(&self, run: RunId) -> anyhow::Result<()> {
        let mut left: HashMap<RunId, Left> =
            self.left_once_docker_answers().await?.into_iter().map(|left| (left.run, left)).collect();
        let (mut next, mut compiled) = (vec![run], HashMap::new());
        while let Some(run) = next.pop() {
            if let Some(left) = left.remove(&run) {
                next.extend(&left.children);
                self.go_on(left, &mut compiled).await?;
            }
        }
        Ok(())
    }

    /// Goes on with the runs that were left, after what [`Self::recover`] does. Returns how many go on.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub(crate) async fn resume(&self) -> anyhow::Result<usize> {
        let left = self.take_stock().await?;
        if self.wait_for_docker(&left).await {
            self.remove_containers(&left).await?;
            self.take_names_back().await;
        }
        let (mut resumed, mut compiled) = (0, HashMap::new());
        // Runs that were started by one that is closed. They are younger, so they come after it.
        let (mut orphans, mut lost) = (HashSet::new(), Vec::new());
        for left in left {
            let (run, attempts) = (left.run, left.attempts.clone());
            let gone_on = match orphans.contains(&run) {
                true => Err(anyhow::anyhow!("the run whose stage started it is closed")),
                false => self.go_on(left, &mut compiled).await,
            };
            match gone_on {
                Ok(()) => resumed += 1,
                Err(error) => {
                    tracing::error!(%run, error = format!("{error:#}"), "cannot be gone on with; it is closed as failed");
                    orphans.extend(self.executor.interrupt(run).await?);
                    lost.extend(attempts);
                }
            }
        }
        for attempt in lost {
            // What cannot be removed now is by the next engine.
            if let Err(error) = self.docker.remove_all(self.directory.engine(), Some(&attempt)).await {
                tracing::warn!(%attempt, %error, "containers of an interrupted attempt may still be there");
                self.directory.containers().keep()?;
            }
        }
        Ok(resumed)
    }

    /// Takes back what an engine before this one lent. Pushes that go on lend anew what cannot be had now.
    async fn take_names_back(&self) {
        if self.docker.has_lent_names().await
            && let Err(error) = self.docker.take_names_back().await
        {
            tracing::warn!(%error, "names of images that were pushed may still be those of others");
        }
    }

    async fn left_once_docker_answers(&self) -> anyhow::Result<Vec<Left>> {
        let left = self.executor.left().await?;
        if self.wait_for_docker(&left).await {
            self.take_names_back().await;
        }
        Ok(left)
    }

    /// Waits for Docker where attempts that go on may have containers: on a machine that has just started it is often the later
    /// one. What they are told of their containers counts for good. Returns whether it was away.
    async fn wait_for_docker(&self, left: &[Left]) -> bool {
        let may_have = left.iter().any(|left| !left.attempts.is_empty());
        if !may_have || !self.directory.containers().is_set() {
            return false;
        }
        for look in 0..DOCKER_LOOKS {
            // Only asked: of those that go on here already nobody speaks in `left`.
            let answer = self.docker.leftovers(self.directory.engine()).await;
            let Err(error @ ContainerError::Unreachable(_)) = answer else { return look > 0 };
            if look == 0 {
                tracing::warn!(%error, "runs that may have containers wait for Docker");
            }
            tokio::time::sleep(BETWEEN_DOCKER_LOOKS).await;
        }
        true
    }

    /// Goes on with a run. Runs of one workflow, of which there may be many, share what is compiled.
    async fn go_on(&self, left: Left, compiled: &mut HashMap<Digest, Compiled>) -> anyhow::Result<()> {
        let run = left.run;
        let (definition, workflows) = match compiled.entry(fingerprint(&left)) {
            Entry::Occupied(found) => found.get().clone(),
            Entry::Vacant(place) => place.insert(self.compile_left(left).await?).clone(),
        };
        self.executor.resume(run, definition, workflows).await?;
        Ok(())
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

    /// Removes the containers of attempts that do not go on; when that fails, it is done by the next engine.
    async fn remove_containers(&self, left: &[Left]) -> anyhow::Result<()> {
        let kept: HashSet<AttemptId> = left.iter().flat_map(|left| left.attempts.iter().cloned()).collect();
        match self.docker.remove_others(self.directory.engine(), &kept).await {
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

/// What a run is gone on with: its workflow and those that it runs.
type Compiled = (Definition, Arc<Definitions>);

/// What is the same for runs that are gone on with by the same compiled workflow.
fn fingerprint(left: &Left) -> Digest {
    let Left { workflow, text, origin, plugins, workflows, .. } = left;
    Digest::of(format!("{:?}", (workflow, text, origin, plugins, workflows)).as_bytes())
}
