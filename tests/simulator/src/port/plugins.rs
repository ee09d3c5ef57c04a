//! The component host, and what is true when it is asked to run an attempt.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use yuanli_executor::History;
use yuanli_model::{AttemptId, Failure, PluginDescription, PluginReference, RunEvent, RunId};
use yuanli_ports::Plugins;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::plugins::{Attempt, Origin, PluginError};
use yuanli_wasm::Host;

use super::docker::attempt_name;
use crate::world::{Life, World};

#[derive(Debug)]
pub(crate) struct SimPlugins {
    pub(crate) host: Arc<Host>,
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
    /// What is durable, whatever the engine believes.
    pub(crate) durable: History,
}

/// That an attempt runs, until it is dropped.
struct Running {
    world: Arc<World>,
    who: (RunId, String, u32),
    /// The concurrency group of its run, which has one place.
    group: Option<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut ledger = self.world.ledger();
        ledger.running.remove(&self.who);
        let Some(group) = &self.group else { return };
        let runs = ledger.in_groups.entry(group.clone()).or_default();
        let count = runs.entry(self.who.0).or_default();
        *count = count.saturating_sub(1);
        runs.retain(|_, count| *count > 0);
    }
}

impl SimPlugins {
    /// One attempt of an instance runs at a time, and none that could be forgotten.
    async fn check(&self, attempt: &AttemptId) -> Running {
        let AttemptId { run, stage, instance, .. } = attempt;
        let who = (*run, stage.to_string(), *instance);
        if !self.world.ledger().running.insert(who.clone()) {
            self.world.accuse(format!("{attempt} runs beside another attempt of its instance"));
        }
        let events = self.durable.events(*run, 0).await.unwrap_or_default();
        let is_started = |event: &RunEvent| matches!(event, RunEvent::AttemptStarted { attempt: found, .. } if found == attempt);
        let is_ended = |event: &RunEvent| matches!(event, RunEvent::AttemptEnded { attempt: found, .. } if found == attempt);
        if !events.iter().any(|found| is_started(&found.event)) {
            self.world.accuse(format!("{attempt} runs, and that it was to is not durable"));
        }
        if events.iter().any(|found| is_ended(&found.event)) {
            self.world.accuse(format!("{attempt} runs, and has ended"));
        }
        self.check_clean(attempt);
        let group = match events.first().map(|first| &first.event) {
            Some(RunEvent::Created { group, .. }) => group.clone(),
            _ => None,
        };
        if let Some(group) = &group {
            self.check_group(attempt, group);
        }
        Running { world: Arc::clone(&self.world), who, group }
    }

    /// Of one concurrency group attempts of one run run at a time.
    fn check_group(&self, attempt: &AttemptId, group: &str) {
        let others = {
            let mut ledger = self.world.ledger();
            let runs = ledger.in_groups.entry(group.to_owned()).or_default();
            *runs.entry(attempt.run).or_default() += 1;
            runs.keys().filter(|run| **run != attempt.run).map(ToString::to_string).collect::<Vec<_>>()
        };
        if !others.is_empty() {
            self.world.accuse(format!("{attempt} runs, and beside it {others:?} of the same group"));
        }
    }

    /// Nothing runs any more that an earlier attempt of the instance has begun.
    fn check_clean(&self, attempt: &AttemptId) {
        let World { faults, docker, .. } = &*self.world;
        if faults.docker > 0 {
            return;
        }
        for number in 1..attempt.attempt {
            let earlier = AttemptId { attempt: number, ..attempt.clone() };
            let prefix = format!("{}-", attempt_name(&earlier));
            let running = docker.containers().into_iter().filter(|name| docker.is_running(name));
            for left in running.filter(|name| name.starts_with(&prefix)) {
                // Nobody has heard of one that a dead engine has asked for too late.
                if !self.world.ledger().containers.get(&left).is_some_and(|found| found.is_late) {
                    self.world.accuse(format!("{attempt} begins while {left} runs"));
                }
            }
        }
    }
}

#[async_trait]
impl Plugins for SimPlugins {
    async fn list(&self) -> Result<Vec<Arc<PluginDescription>>, PluginError> {
        self.host.list().await
    }

    fn names(&self) -> Vec<String> {
        self.host.names()
    }

    async fn resolve(
        &self,
        reference: &PluginReference,
        origin: &Origin,
    ) -> Result<Arc<PluginDescription>, PluginError> {
        self.host.resolve(reference, origin).await
    }

    async fn run(&self, attempt: Attempt) -> Result<Value, Failure> {
        let id = attempt.id.clone();
        let again = if attempt.is_again { " again" } else { "" };
        self.life.pass(&self.world, &format!("{id} begins{again}")).await;
        let running = self.check(&id).await;
        let ended = self.host.run(attempt).await;
        drop(running);
        self.life.pass(&self.world, &format!("{id} ends: {ended:?}")).await;
        ended
    }

    async fn image(&self, name: &str) -> Result<Option<String>, ContainerError> {
        self.host.image(name).await
    }
}
