//! Takes in what is asked for, and answers it once what was decided is durable.

use std::time::Duration;

use yuanli_model::{AppName, Timestamp, VolumeName};
use yuanli_ports::apps::AppError;
use yuanli_release::replica::Phase;

use super::Reconciler;
use crate::app::{AppState, Pause, require_unshared};
use crate::message::{Reply, Request};

/// An answer that waits for the commit, and is another one when there is none.
pub(super) struct Answer(pub(super) Box<dyn FnOnce(Result<(), AppError>) + Send>);

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl Reconciler {
    /// Answers once what was decided is durable.
    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, AppError>) {
        self.answers.push(Answer(Box::new(move |stored| {
            // Whoever asked may be gone.
            let _ = reply.send(answer.and_then(|answer| stored.map(|()| answer)));
        })));
    }

    pub(super) fn request(&mut self, request: Request) {
        let now = self.ports.clock.now();
        match request {
            Request::Deploy { asker, app, image_id, reply } => {
                let answer = self.check(&app).and_then(|()| match self.apps.get_mut(&app.name) {
                    Some(state) => state.deploy(&asker, *app, image_id, now),
                    None => Ok(self.add(AppState::new(&asker, *app, image_id, now))),
                });
                self.answer(reply, answer);
            }
            Request::Undo { asker, deployed, reason, reply } => {
                let answer =
                    self.find(&deployed.app).and_then(|state| state.undo(&asker, &deployed, &reason, now));
                self.answer(reply, answer);
            }
            Request::Scale { asker, app, wish, reply } => {
                let answer = self.find(&app).and_then(|state| state.scale(&asker, wish, now));
                self.answer(reply, answer);
            }
            Request::Release { asker, app, image_id, plan, reply } => {
                let answer = self.check(&app).and_then(|()| {
                    self.find(&app.name.clone())?.begin_gray(&asker, *app, image_id, plan, now)
                });
                self.answer(reply, answer);
            }
            Request::Abort { app, release, reason, reply } => {
                let answer = self.find(&app).and_then(|state| state.abort_gray(release, &reason, now));
                self.answer(reply, answer);
            }
            Request::Delete { app, reply } => {
                let answer = self.find(&app).map(|state| {
                    state.is_deleted = true;
                    state.is_changed = true;
                });
                self.answer(reply, answer);
            }
            Request::Pause { volume, at_most, reply } => self.pause(volume, at_most, now, reply),
            Request::Resume { volume, reply } => {
                self.resume(&volume);
                self.answer(reply, Ok(()));
            }
        }
    }

    fn add(&mut self, state: AppState) -> yuanli_ports::apps::Deployed {
        let deployed = yuanli_ports::apps::Deployed {
            app: state.app.name.clone(),
            release: state.target,
            previous: None,
        };
        self.apps.insert(state.app.name.clone(), state);
        self.docker.list_due = None;
        deployed
    }

    fn find(&mut self, app: &AppName) -> Result<&mut AppState, AppError> {
        self.apps.get_mut(app).ok_or_else(|| AppError::NotFound(format!("there is no app `{app}`")))
    }

    fn check(&self, app: &yuanli_model::App) -> Result<(), AppError> {
        require_unshared(app, self.apps.values().map(|state| &state.app))
    }

    fn pause(&mut self, volume: VolumeName, at_most: Duration, now: Timestamp, reply: Reply<()>) {
        let uses = |state: &&mut AppState| {
            state.replicas.values().any(|replica| {
                let kept = state.releases.get(&replica.release);
                kept.is_some_and(|kept| kept.release.spec.volumes.iter().any(|mount| mount.volume == volume))
            })
        };
        if self.apps.values().any(|state| state.pause.is_some()) {
            let busy =
                AppError::Busy("another backup has paused replicas; try again when it is done".to_owned());
            return self.answer(reply, Err(busy));
        }
        let until = Timestamp::from_millis(
            now.as_millis().saturating_add(u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX)),
        );
        for state in self.apps.values_mut().filter(uses) {
            state.pause = Some(Pause { volume: volume.clone(), until });
            state.is_changed = true;
        }
        self.quieting.insert(volume, reply);
    }

    fn resume(&mut self, volume: &VolumeName) {
        for state in self.apps.values_mut() {
            if state.pause.as_ref().is_some_and(|pause| pause.volume == *volume) {
                state.pause = None;
                state.is_changed = true;
            }
        }
    }

    /// Answers those who wait for quiet: when every replica concerned is, or when it was over before it was.
    pub(super) fn answer_quieted(&mut self) {
        let mut ready = Vec::new();
        for volume in self.quieting.keys() {
            let mut concerned = self
                .apps
                .values()
                .filter(|state| state.pause.as_ref().is_some_and(|pause| pause.volume == *volume))
                .flat_map(|state| {
                    let running =
                        state.replicas.iter().filter(|(_, replica)| replica.phase != Phase::Stopping);
                    running.filter_map(|(number, _)| state.replica_id(*number))
                });
            if concerned.all(|id| self.docker.quiet.contains(&id)) {
                ready.push(volume.clone());
            }
        }
        for volume in ready {
            if let Some(reply) = self.quieting.remove(&volume) {
                self.answer(reply, Ok(()));
            }
        }
    }
}
