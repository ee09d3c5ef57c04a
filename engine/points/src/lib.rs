//! The named points on the way of commits and effects, in one place: the moments at which tests kill an engine from inside.
//!
//! A program that is built without the feature `failpoints`, as every release is, has nothing of it: [`pass`] is empty. With
//! it, `YUANLI_DIES_AT=effect-done:2` has the process killed when it passes that point for the second time, as `kill -9`
//! would. `tests/e2e/points.rs` does it at every one, and fails for one that is never passed.

macro_rules! points {
    ($($(#[$meta:meta])+ $point:ident = $name:literal,)+) => {
        /// A moment at which an engine may be killed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Point {
            $($(#[$meta])+ $point,)+
        }

        impl Point {
            /// All of them: the life of a run, what starts runs, what stages do, and then the next engine, which finds a run in the
            /// middle when the one before it was killed at the point before.
            pub const ALL: &'static [Self] = &[$(Self::$point,)+];

            /// What it is called in the environment and in tests.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// A run is about to be admitted.
    RunStarting = "run-starting",
    /// It was, and nobody was told.
    RunStarted = "run-started",
    /// The start of an attempt is about to be durable.
    AttemptStarting = "attempt-starting",
    /// It is, and nothing was done.
    AttemptStarted = "attempt-started",
    /// The task of an attempt has begun.
    AttemptBegun = "attempt-begun",
    /// Its workspace is there, and its plugin was not called.
    WorkspaceMade = "workspace-made",
    /// Its plugin has returned.
    PluginDone = "plugin-done",
    /// What it has left in its workspace is kept.
    WorkspaceKept = "workspace-kept",
    /// Its log is whole, and its end not durable.
    LogFinished = "log-finished",
    /// The end of an attempt is about to be durable.
    AttemptEnding = "attempt-ending",
    /// It is, and nobody was told.
    AttemptEnded = "attempt-ended",
    /// What an attempt left outside is about to be removed.
    CleaningUp = "cleaning-up",
    /// It was.
    CleanedUp = "cleaned-up",
    /// The run of a stage was started, and is not waited for.
    ChildStarted = "child-started",
    /// The end of a run is about to be durable.
    RunEnding = "run-ending",
    /// It is, and nobody was told.
    RunEnded = "run-ended",
    /// Its workspaces have gone to where they are kept.
    RunRetired = "run-retired",
    /// The run of a due time was started, and that is not noted.
    ScheduleStarted = "schedule-started",
    /// It is.
    ScheduleNoted = "schedule-noted",
    /// The run that follows from an event was started, and the event is still there.
    EventStarted = "event-started",
    /// The event is gone.
    EventRemoved = "event-removed",
    /// It is durable that an alarm is raised, and its run was not started.
    AlarmRaised = "alarm-raised",
    /// It was, and that is not durable.
    AlarmStarted = "alarm-started",
    /// It is.
    AlarmNoted = "alarm-noted",
    /// That an effect is to be made is about to be durable.
    EffectIntending = "effect-intending",
    /// It is, and the effect is not made.
    EffectIntended = "effect-intended",
    /// The effect is made, and what came of it is not durable.
    EffectDone = "effect-done",
    /// It is, and the plugin was not told.
    EffectRecorded = "effect-recorded",
    /// A change of what the engine keeps is decided on, and not durable.
    ChangeDecided = "change-decided",
    /// It is, and the plugin was not told.
    ChangeRecorded = "change-recorded",
    /// A container is there that was not started.
    ContainerCreated = "container-created",
    /// It was, and nobody was told.
    ContainerStarted = "container-started",
    /// An image is built that has no name yet.
    ImageBuilt = "image-built",
    /// It is known which runs were left, and nothing was done about them.
    TakingOver = "taking-over",
    /// A run that was left is about to go on.
    RunTaken = "run-taken",
    /// It goes on; others may be left.
    RunResumed = "run-resumed",
    /// All that were left go on, and groups are open to new ones.
    TakenOver = "taken-over",
}

/// What is set for an engine that is to be killed: the name of a point, and the how manieth time counts.
pub const VARIABLE: &str = "YUANLI_DIES_AT";

/// Kills the process if that is what it is to do here.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn pass(_: Point) {}

/// Kills the process if that is what it is to do here.
#[cfg(feature = "failpoints")]
pub fn pass(point: Point) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ARMED: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let armed = std::env::var(VARIABLE).ok()?;
        let (name, time) = armed.split_once(':').unwrap_or((&armed, "1"));
        Some((name.to_owned(), AtomicU32::new(time.parse().unwrap_or(1))))
    });

    let Some((name, left)) = &*ARMED else { return };
    if name == point.name() && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        // Nothing runs after it, no destructor and no other thread: as if the system had done it.
        let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        unreachable!("it lives on: {killed:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_point_has_a_name_of_its_own() {
        let names: HashSet<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
        assert!(names.iter().all(|name| !name.contains(':')));
    }
}
