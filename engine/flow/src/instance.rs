//! The instances of a stage: which have begun, which have ended, and what they gave.

use std::num::NonZeroU32;

use serde_json::Value;
use yuanli_model::{Digest, Failure, Timestamp};

use crate::stage::{InstanceEvent, InstanceStatus, StageStatus};

/// Most instances of a stage that run at the same time, when it does not say so itself: bounds what one list can start,
/// and what one commit holds.
pub const DEFAULT_PARALLEL: NonZeroU32 = NonZeroU32::new(256).expect("it is not 0");

/// The instances of a stage. None before they are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Instances {
    all: Vec<Instance>,
    /// What expressions see as `item` or `matrix`; empty for a stage that has one instance and no such value.
    items: Vec<Value>,
    /// Whether there can be several: the outputs are a list then, also of one.
    is_list: bool,
    most: u32,
    /// The first that waits; they begin in their order.
    begun: usize,
    /// How many run or rest.
    active: usize,
    ended: usize,
    failed: usize,
    allowed: usize,
    cancelled: usize,
    /// The first failure of those that have no further attempt.
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Instance {
    status: InstanceStatus,
    outputs: Option<Value>,
    workspace: Option<Digest>,
}

impl Instances {
    /// The one instance of a stage that runs for nothing in particular.
    pub(crate) fn one() -> Self {
        Self { all: vec![Instance::default()], most: 1, ..Self::default() }
    }

    /// One instance for each of these.
    pub(crate) fn several(items: Vec<Value>, parallel: NonZeroU32) -> Self {
        let all = vec![Instance::default(); items.len()];
        Self { all, items, is_list: true, most: parallel.get(), ..Self::default() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none, or they are not known yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether they were made from a list or a matrix.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.is_list
    }

    /// Where each is, in their order.
    pub fn statuses(&self) -> impl Iterator<Item = InstanceStatus> + '_ {
        self.all.iter().map(|instance| instance.status)
    }

    /// What an instance runs for.
    #[must_use]
    pub fn item(&self, instance: u32) -> Option<&Value> {
        self.items.get(instance as usize)
    }

    /// How many ended, and how many of those failed.
    #[must_use]
    pub fn ended(&self) -> (usize, usize) {
        (self.ended, self.failed + self.allowed)
    }

    /// Instances that run, each with its attempt.
    pub(crate) fn running(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..).zip(&self.all).filter_map(|(number, instance)| match instance.status {
            InstanceStatus::Running { attempt } => Some((number, attempt)),
            InstanceStatus::Waiting
            | InstanceStatus::Resting { .. }
            | InstanceStatus::Succeeded
            | InstanceStatus::Allowed
            | InstanceStatus::Failed
            | InstanceStatus::Cancelled => None,
        })
    }

    /// Whether there is one that has not begun, and a place for it.
    pub(crate) fn can_begin(&self) -> bool {
        self.begun < self.all.len() && self.active < self.most as usize
    }

    /// Those that begin now, in their order.
    pub(crate) fn next(&self) -> impl Iterator<Item = u32> + '_ {
        let places = (self.most as usize).saturating_sub(self.active);
        let rest = (self.begun as u32..).zip(&self.all[self.begun..]);
        let waiting = rest.filter(|(_, instance)| instance.status == InstanceStatus::Waiting);
        waiting.map(|(number, _)| number).take(places)
    }

    pub(crate) fn are_final(&self) -> bool {
        self.ended == self.all.len()
    }

    pub(crate) fn status(&self, instance: u32) -> Option<InstanceStatus> {
        self.all.get(instance as usize).map(|instance| instance.status)
    }

    /// Records an event of one; returns where it was before, or `None` when that cannot happen to it.
    pub(crate) fn apply(&mut self, instance: u32, event: InstanceEvent<'_>) -> Option<InstanceStatus> {
        let found = self.all.get_mut(instance as usize)?;
        let (before, after) = (found.status, found.status.next(event)?);
        if before == InstanceStatus::Waiting && after.is_begun() && instance as usize != self.begun {
            return None;
        }
        found.status = after;
        self.pass_begun();
        self.active += usize::from(before == InstanceStatus::Waiting && after.is_begun());
        self.active -= usize::from(before.is_begun() && after.is_final());
        self.ended += usize::from(after.is_final());
        self.failed += usize::from(after == InstanceStatus::Failed);
        self.allowed += usize::from(after == InstanceStatus::Allowed);
        self.cancelled += usize::from(after == InstanceStatus::Cancelled);
        Some(before)
    }

    /// Ends those that neither run nor have ended; returns those that rested, with their times.
    pub(crate) fn stop(&mut self) -> Vec<(Timestamp, u32)> {
        let mut rested = Vec::new();
        for number in 0..self.all.len() as u32 {
            if let Some(InstanceStatus::Resting { until, .. }) = self.apply(number, InstanceEvent::Stopped) {
                rested.push((until, number));
            }
        }
        rested
    }

    fn pass_begun(&mut self) {
        let is_begun = |instance: &Instance| instance.status != InstanceStatus::Waiting;
        while self.all.get(self.begun).is_some_and(is_begun) {
            self.begun += 1;
        }
    }

    pub(crate) fn keep(&mut self, instance: u32, outputs: Value, workspace: Option<Digest>) {
        if let Some(instance) = self.all.get_mut(instance as usize) {
            instance.outputs = Some(outputs);
            instance.workspace = workspace;
        }
    }

    /// Ends one that waits as it ended in another run, well.
    pub(crate) fn take_over(&mut self, instance: u32, outputs: Value, workspace: Option<Digest>) {
        if self.status(instance) == Some(InstanceStatus::Waiting) {
            self.all[instance as usize].status = InstanceStatus::Succeeded;
            self.ended += 1;
            self.pass_begun();
            self.keep(instance, outputs, workspace);
        }
    }

    /// What one that succeeded gave, while it is kept here, and what it left of its workspace.
    pub(crate) fn given(&self, instance: u32) -> Option<(Option<&Value>, Option<Digest>)> {
        let found = self.all.get(instance as usize)?;
        (found.status == InstanceStatus::Succeeded).then_some((found.outputs.as_ref(), found.workspace))
    }

    /// Remembers why an instance failed, unless another did before it.
    pub(crate) fn note(&mut self, failure: &Failure) {
        self.failure.get_or_insert_with(|| failure.clone());
    }

    /// What the stage ends as, once all have ended.
    pub(crate) fn verdict(&self) -> StageStatus {
        let failure = || self.failure.clone().unwrap_or_else(|| Failure::permanent("failed", "it failed"));
        if self.failed > 0 {
            StageStatus::Failed(self.in_a_list(failure()))
        } else if self.cancelled > 0 {
            StageStatus::Cancelled
        } else if self.allowed > 0 {
            StageStatus::Allowed(self.in_a_list(failure()))
        } else {
            StageStatus::Succeeded
        }
    }

    /// The failure of one of several, which says so.
    fn in_a_list(&self, failure: Failure) -> Failure {
        let failed = self.failed + self.allowed;
        if !self.is_list || self.all.len() == 1 {
            return failure;
        }
        let message =
            format!("{failed} of {} instances failed, the first one: {}", self.all.len(), failure.message);
        Failure { message, ..failure }
    }

    /// The outputs of the stage; not kept here any more.
    pub(crate) fn take_outputs(&mut self) -> Value {
        let mut outputs = self.all.iter_mut().map(|instance| instance.outputs.take().unwrap_or(Value::Null));
        if self.is_list { Value::Array(outputs.collect()) } else { outputs.next().unwrap_or(Value::Null) }
    }
}

impl InstanceStatus {
    fn is_begun(self) -> bool {
        match self {
            Self::Running { .. } | Self::Resting { .. } => true,
            Self::Waiting | Self::Succeeded | Self::Allowed | Self::Failed | Self::Cancelled => false,
        }
    }
}
