//! One app: what is declared, its releases and replicas, and how requests change them. No I/O.
//!
//! Every change marks the app as changed; the reconciler commits it before anything follows from it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use yuanli_model::app::{App, MAX_REPLICAS, Release, ReleaseNumber, VolumeMode};
use yuanli_model::trigger::AppState as Progress;
use yuanli_model::{ReplicaId, Timestamp, VolumeName};
use yuanli_ports::apps::{AppError, Asker, Deployed, Happening, RolloutOutcome, Wish};
use yuanli_release::replica::{Event, Phase};
use yuanli_release::rollout::{self, MAX_FAILURES, Plan, Seen, Wanted};

use crate::autoscale::Scaling;
use crate::gray::Gray;

/// Releases that are kept when they serve no more, so that one can go back to them.
const KEPT_RELEASES: usize = 10;
/// Answers that are remembered for askers who ask again.
const KEPT_ANSWERS: usize = 64;
/// A replica that served so long has not failed because of its release.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// An app as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct AppState {
    /// As it was declared last, by a roll-out; a gray release has its own document until it is promoted.
    pub(crate) app: App,
    /// Its releases with the documents that they came from.
    pub(crate) releases: BTreeMap<ReleaseNumber, Declared>,
    /// The number that the next release gets.
    pub(crate) next_release: u32,
    /// The number that the next replica gets.
    pub(crate) next_replica: u64,
    /// The release that was served by all replicas last.
    pub(crate) stable: Option<ReleaseNumber>,
    /// The release that the app is brought to.
    pub(crate) target: ReleaseNumber,
    /// The last roll-out.
    pub(crate) rollout: Rollout,
    /// How many replicas somebody wants.
    pub(crate) wish: Option<u32>,
    /// By number.
    pub(crate) replicas: BTreeMap<u64, Replica>,
    /// The gray release that is going on, or the last one.
    pub(crate) gray: Option<Gray>,
    /// Replicas that are paused for a backup.
    pub(crate) pause: Option<Pause>,
    /// What was answered to whom.
    pub(crate) answers: VecDeque<(Asker, Answer)>,
    /// What scales it.
    pub(crate) scaling: Scaling,
    /// Whether it is to go, with all its replicas.
    pub(crate) is_deleted: bool,
    /// Failures in a row of each release; forgotten when the engine ends.
    pub(crate) failures: HashMap<ReleaseNumber, Failures>,
    /// Whether it differs from what is stored.
    pub(crate) is_changed: bool,
}

/// A release and the document that it was made from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declared {
    pub(crate) release: Release,
    pub(crate) document: App,
}

/// A replica as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) release: ReleaseNumber,
    pub(crate) address: Ipv4Addr,
    pub(crate) phase: Phase,
}

/// A roll-out, on its way or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollout {
    pub(crate) release: ReleaseNumber,
    pub(crate) previous: Option<ReleaseNumber>,
    pub(crate) began: Timestamp,
    pub(crate) ended: Option<(Timestamp, RolloutOutcome, String)>,
}

/// A pause of the replicas that use a volume, and until when it may last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) volume: VolumeName,
    pub(crate) until: Timestamp,
}

/// What was answered to an asker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Deployed(Deployed),
    Release(ReleaseNumber),
    Count(u32),
    Done,
}

/// Refuses what an app may not share with another one.
pub(crate) fn require_unshared<'a>(app: &App, all: impl Iterator<Item = &'a App>) -> Result<(), AppError> {
    for other in all.filter(|other| other.name != app.name) {
        if let Some(route) = app.route.as_ref().filter(|route| other.route.as_ref() == Some(route)) {
            return Err(AppError::Invalid(format!("app `{}` has the route `{route}` already", other.name)));
        }
        for mount in &app.spec.volumes {
            let theirs = other.spec.volumes.iter().find(|theirs| theirs.volume == mount.volume);
            let is_exclusive = |mode| mode == VolumeMode::Exclusive;
            if theirs.is_some_and(|theirs| is_exclusive(theirs.mode) || is_exclusive(mount.mode)) {
                return Err(AppError::Invalid(format!(
                    "volume `{}` is used by app `{}`, and one of the two wants it for itself",
                    mount.volume, other.name
                )));
            }
        }
    }
    Ok(())
}

/// Failures of a release in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) count: u32,
    pub(crate) last: Option<Timestamp>,
    pub(crate) words: String,
}

impl AppState {
    /// An app that is declared for the first time.
    pub(crate) fn new(asker: &Asker, app: App, image_id: String, now: Timestamp) -> Self {
        let number = ReleaseNumber(1);
        let mut state = Self {
            releases: BTreeMap::new(),
            next_release: 2,
            next_replica: 1,
            stable: None,
            target: number,
            rollout: Rollout { release: number, previous: None, began: now, ended: None },
            wish: None,
            replicas: BTreeMap::new(),
            gray: None,
            pause: None,
            answers: VecDeque::new(),
            scaling: Scaling::default(),
            is_deleted: false,
            failures: HashMap::new(),
            is_changed: true,
            app,
        };
        state.declare(number, image_id, state.app.clone());
        let deployed = Deployed { app: state.app.name.clone(), release: number, previous: None };
        state.remember(asker, Answer::Deployed(deployed));
        state
    }

    /// Brings it to what a document says. The same image and configuration are the same release.
    pub(crate) fn deploy(
        &mut self,
        asker: &Asker,
        app: App,
        image_id: String,
        now: Timestamp,
    ) -> Result<Deployed, AppError> {
        if let Some(Answer::Deployed(deployed)) = self.answer(asker) {
            return Ok(deployed.clone());
        }
        self.require_no_gray("deployed")?;
        let previous = self.stable.or(Some(self.target));
        self.is_deleted = false;
        let release = if self.is_same(self.target, &image_id, &app) {
            self.document(self.target).document.clone_from(&app);
            // How an earlier roll-out of it ended says nothing about this one: how many replicas there are to be may be
            // new, those that were there may have died, and what kept it from serving may be mended.
            if self.rollout.ended.is_some() {
                self.begin_rollout(self.target, self.rollout.previous, now);
            }
            self.target
        } else {
            let number = self.new_release(image_id, app.clone());
            self.begin_rollout(number, previous, now);
            number
        };
        self.app = app;
        let deployed = Deployed {
            app: self.app.name.clone(),
            release,
            previous: self.rollout.previous.filter(|previous| *previous != release),
        };
        self.remember(asker, Answer::Deployed(deployed.clone()));
        Ok(deployed)
    }

    /// Goes back to the release before a roll-out.
    pub(crate) fn undo(
        &mut self,
        asker: &Asker,
        deployed: &Deployed,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), AppError> {
        if self.answer(asker).is_some() || self.target != deployed.release {
            return Ok(());
        }
        let previous =
            deployed.previous.and_then(|number| Some((number, self.releases.get(&number)?.clone())));
        let Some((number, declared)) = previous else {
            return Err(AppError::Invalid(format!(
                "app `{}` has no release before {}, so it cannot go back",
                self.app.name, deployed.release
            )));
        };
        self.app = declared.document;
        self.begin_rollout(number, Some(deployed.release), now);
        tracing::info!(app = %self.app.name, from = %deployed.release, to = %number, reason, "goes back");
        self.remember(asker, Answer::Done);
        Ok(())
    }

    /// Notes how many replicas somebody wants.
    pub(crate) fn scale(&mut self, asker: &Asker, wish: Wish, now: Timestamp) -> Result<u32, AppError> {
        if let Some(Answer::Count(count)) = self.answer(asker) {
            return Ok(*count);
        }
        let before = self.wish.unwrap_or(self.app.replicas);
        let wish = match wish {
            Wish::Set(count) => Some(count),
            Wish::Add(more) => Some(before.saturating_add_signed(more)),
            Wish::Clear => None,
        };
        if wish.is_some_and(|wish| wish > MAX_REPLICAS) {
            return Err(AppError::Invalid(format!("an app has at most {MAX_REPLICAS} replicas")));
        }
        if wish.is_some_and(|wish| wish > 1) && self.app.is_exclusive() {
            return Err(AppError::Invalid(format!(
                "app `{}` has an exclusive volume, so it has one replica at most",
                self.app.name
            )));
        }
        self.wish = wish;
        self.is_changed = true;
        let desired = self.decide_count(now);
        self.remember(asker, Answer::Count(desired));
        Ok(desired)
    }

    /// Begins to bring all replicas to a release.
    pub(crate) fn begin_rollout(
        &mut self,
        release: ReleaseNumber,
        previous: Option<ReleaseNumber>,
        now: Timestamp,
    ) {
        self.target = release;
        self.failures.remove(&release);
        self.rollout = Rollout { release, previous, began: now, ended: None };
        self.is_changed = true;
    }

    /// Makes a release of an image and a document.
    pub(crate) fn new_release(&mut self, image_id: String, document: App) -> ReleaseNumber {
        let number = ReleaseNumber(self.next_release);
        self.next_release += 1;
        self.declare(number, image_id, document);
        number
    }

    fn declare(&mut self, number: ReleaseNumber, image_id: String, document: App) {
        let (image, spec) = (document.image.clone(), document.spec.clone());
        let release = Release { number, image_id, image, spec };
        self.releases.insert(number, Declared { release, document });
        self.is_changed = true;
    }

    fn document(&mut self, number: ReleaseNumber) -> &mut Declared {
        // The target's release is kept as long as it is the target.
        self.releases.get_mut(&number).expect("a kept release")
    }

    fn is_same(&self, number: ReleaseNumber, image_id: &str, app: &App) -> bool {
        let kept = self.releases.get(&number);
        kept.is_some_and(|kept| kept.release.image_id == image_id && kept.release.spec == app.spec)
    }

    pub(crate) fn require_no_gray(&self, what: &str) -> Result<(), AppError> {
        match &self.gray {
            Some(gray) if !gray.has_ended() => Err(AppError::Busy(format!(
                "release {} of app `{}` is being tried on a part of the traffic; nothing can be {what} before that has \
                 ended",
                gray.release, self.app.name
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) fn answer(&self, asker: &Asker) -> Option<&Answer> {
        self.answers.iter().find(|(known, _)| known == asker).map(|(_, answer)| answer)
    }

    pub(crate) fn remember(&mut self, asker: &Asker, answer: Answer) {
        self.answers.push_back((asker.clone(), answer));
        while self.answers.len() > KEPT_ANSWERS {
            self.answers.pop_front();
        }
        self.is_changed = true;
    }

    /// How far the release is that is to run; `None` for a moment, when another one has taken its place.
    pub(crate) fn progress(&self) -> Option<(ReleaseNumber, Progress)> {
        let ended = self.rollout.ended.as_ref().map(|(_, outcome, _)| *outcome);
        let progress = match ended {
            _ if self.is_deleted => Progress::Deleted,
            None => Progress::RollingOut,
            Some(RolloutOutcome::Healthy) => Progress::Healthy,
            Some(RolloutOutcome::Failed) => Progress::Failed,
            Some(RolloutOutcome::TimedOut) => Progress::TimedOut,
            Some(RolloutOutcome::Superseded) => return None,
        };
        Some((self.rollout.release, progress))
    }

    /// What there is to be of replicas.
    pub(crate) fn wanted(&self) -> Wanted {
        let count = if self.is_deleted { 0 } else { self.scaling.desired };
        let canary = self.gray.as_ref().filter(|_| !self.is_deleted).and_then(|gray| gray.canary(count));
        Wanted { release: self.target, count, canary, is_exclusive: self.app.is_exclusive() }
    }

    /// The replicas as a plan sees them.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = |(number, replica): (&u64, &Replica)| Seen {
            number: *number,
            release: replica.release,
            phase: replica.phase,
        };
        self.replicas.iter().map(seen).collect()
    }

    /// What to do about the replicas now.
    pub(crate) fn plan(&self, now: Timestamp) -> Plan {
        if self.pause.is_some() {
            return Plan::default();
        }
        let may_start = |release: ReleaseNumber| {
            let failures = self.failures.get(&release);
            failures.is_none_or(|failures| rollout::may_start(failures.count, failures.last, now))
        };
        rollout::plan(&self.wanted(), &self.seen(), may_start)
    }

    /// Records a replica that is to be started; its address was free.
    pub(crate) fn add_replica(&mut self, release: ReleaseNumber, address: Ipv4Addr) {
        let replica = Replica { release, address, phase: Phase::Planned };
        self.replicas.insert(self.next_replica, replica);
        self.next_replica += 1;
        self.is_changed = true;
    }

    /// Something happened to a replica.
    pub(crate) fn observe(&mut self, number: u64, event: Event, now: Timestamp) {
        let Some(replica) = self.replicas.get(&number) else { return };
        let (release, before) = (replica.release, replica.phase);
        let Some(declared) = self.releases.get(&release) else { return };
        let after = before.next(event, &declared.release.spec.health, now);
        if after == before {
            return;
        }
        if let Some(replica) = self.replicas.get_mut(&number) {
            replica.phase = after;
        }
        self.count_failure(release, before, after, event, now);
        // Answers in a row are not worth a commit: after a crash they are counted anew.
        self.is_changed |= std::mem::discriminant(&before) != std::mem::discriminant(&after);
    }

    fn count_failure(
        &mut self,
        release: ReleaseNumber,
        before: Phase,
        after: Phase,
        event: Event,
        now: Timestamp,
    ) {
        match (before, after) {
            (Phase::Serving { since, .. }, _) if now.since(since) >= LONG_ENOUGH => {
                self.failures.remove(&release);
            }
            _ => {}
        }
        let has_failed = after == Phase::Stopping && matches!(event, Event::Ended | Event::Bad);
        if has_failed && !matches!(before, Phase::Draining { .. }) {
            let failures = self.failures.entry(release).or_default();
            failures.count += 1;
            failures.last = Some(now);
        }
    }

    /// What a failed replica said last.
    pub(crate) fn last_words(&mut self, release: ReleaseNumber, words: String) {
        if let Some(failures) = self.failures.get_mut(&release).filter(|_| !words.is_empty()) {
            failures.words = words;
        }
    }

    /// Whether the roll-out has come to its end, well or badly; notes it. It has not ended well before the gateway knows.
    pub(crate) fn settle(&mut self, gateway_knows: bool, now: Timestamp) {
        let wanted = self.wanted();
        if rollout::is_settled(&wanted, &self.seen()) {
            if !gateway_knows {
                return;
            }
            if self.stable != Some(self.target) {
                self.stable = Some(self.target);
                self.is_changed = true;
            }
            if self.rollout.ended.as_ref().is_none_or(|(_, outcome, _)| *outcome == RolloutOutcome::Failed) {
                let message = format!("{} replicas of release {} serve", wanted.count, self.target);
                self.rollout.ended = Some((now, RolloutOutcome::Healthy, message));
                self.is_changed = true;
            }
            return;
        }
        let failures = self.failures.get(&self.target).filter(|failures| failures.count >= MAX_FAILURES);
        if let (Some(failures), None) = (failures, &self.rollout.ended) {
            let words = if failures.words.is_empty() {
                "it said nothing".to_owned()
            } else {
                format!("it said last:\n{}", failures.words)
            };
            let message = format!(
                "{} replicas of release {} in a row ended or did not serve within {:?}; {words}",
                failures.count,
                self.target,
                self.releases.get(&self.target).map_or(Duration::ZERO, |d| d.release.spec.health.start),
            );
            self.rollout.ended = Some((now, RolloutOutcome::Failed, message));
            self.is_changed = true;
        }
    }

    /// What went wrong with replicas while the roll-out goes on.
    pub(crate) fn trouble(&self) -> Option<String> {
        let failures = self.failures.get(&self.target).filter(|_| self.rollout.ended.is_none())?;
        let words = if failures.words.is_empty() { "" } else { "; the last one said:\n" };
        let (count, release) = (failures.count, self.target);
        Some(format!("{count} replicas of release {release} ended or did not serve{words}{}", failures.words))
    }

    /// Forgets releases that nobody needs any more.
    pub(crate) fn forget_releases(&mut self) {
        let is_needed = |number: &ReleaseNumber| {
            Some(*number) == self.stable
                || *number == self.target
                || Some(*number) == self.rollout.previous
                || self.gray.as_ref().is_some_and(|gray| gray.release == *number)
                || self.replicas.values().any(|replica| replica.release == *number)
        };
        let spare: Vec<ReleaseNumber> = self.releases.keys().copied().filter(|n| !is_needed(n)).collect();
        let excess = spare.len().saturating_sub(KEPT_RELEASES);
        for number in spare.into_iter().take(excess) {
            self.releases.remove(&number);
            self.is_changed = true;
        }
    }

    /// The identity of a replica.
    pub(crate) fn replica_id(&self, number: u64) -> Option<ReplicaId> {
        let replica = self.replicas.get(&number)?;
        Some(ReplicaId { app: self.app.name.clone(), release: replica.release, number })
    }

    /// What happened to a gray release after the first `seen` things; the inner `None` when nothing more will.
    pub(crate) fn happening(&self, release: ReleaseNumber, seen: u32) -> Option<Option<Happening>> {
        let gray = self.gray.as_ref().filter(|gray| gray.release == release)?;
        match gray.happenings.get(seen as usize) {
            Some(happening) => Some(Some(happening.clone())),
            None if gray.has_ended() => Some(None),
            None => None,
        }
    }
}
