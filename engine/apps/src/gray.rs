//! Gray releases of an app: how the pure decisions of `yuanli-release` become weights, roll-outs and words.

use std::time::Duration;

use serde_json::{Value, json};
use yuanli_model::Timestamp;
use yuanli_model::app::{App, ReleaseNumber};
use yuanli_ports::apps::{AppError, Asker, GrayPlan, Happening, Verdict};
use yuanli_release::gray::{Event, Input, Stage, Step};
use yuanli_release::judge::{Evidence, Interval};
use yuanli_release::rollout::{MAX_FAILURES, canary_count};

use crate::app::{Answer, AppState};
use crate::table;

/// How much longer than the stable release's p95 an answer may take without counting as slow: what nobody notices, and
/// what a cold cache or a busy machine makes of answers that take less than a millisecond.
const UNNOTICED: Duration = Duration::from_millis(2);
/// Most steps of a plan.
const MAX_STEPS: usize = 100;

/// A gray release of an app.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gray {
    /// The release that is tried.
    pub(crate) release: ReleaseNumber,
    /// How it stands.
    pub(crate) state: yuanli_release::gray::Gray,
    /// Answers that take longer count as slow: what 95 of 100 of the stable release took at most when the step began.
    pub(crate) slow: Option<Duration>,
    /// What happened, from the beginning on.
    pub(crate) happenings: Vec<Happening>,
}

impl Gray {
    pub(crate) fn has_ended(&self) -> bool {
        self.state.has_ended()
    }

    /// Whether it decides who gets what part of the requests.
    pub(crate) fn is_sharing(&self) -> bool {
        !self.has_ended()
    }

    pub(crate) fn weight(&self) -> u32 {
        self.state.weight()
    }

    /// The release with the replicas that it is to have, beside so many stable ones.
    pub(crate) fn canary(&self, stable: u32) -> Option<(ReleaseNumber, u32)> {
        let count = canary_count(stable, self.state.wanted_weight());
        (!self.has_ended()).then_some((self.release, count))
    }

    fn happened(&mut self, time: Timestamp, message: String, end: Option<Verdict>) {
        let weight = self.weight();
        self.happenings.push(Happening { time, weight, message, end });
    }

    fn evidence(&self) -> Value {
        let of = |evidence: &Evidence| {
            // Numbers beyond what JSON's readers take are told as that.
            let odds = |log: f64| log.clamp(-700.0, 700.0).exp();
            json!({
                "canary": evidence.canary,
                "stable": evidence.stable,
                "worse_odds": odds(evidence.bad()),
                "as_good_odds": odds(evidence.good()),
            })
        };
        let judge = &self.state.judge;
        json!({ "canary_requests": judge.requests, "errors": of(&judge.errors), "slow": of(&judge.slow) })
    }
}

impl AppState {
    pub(crate) fn begin_gray(
        &mut self,
        asker: &Asker,
        app: App,
        image_id: String,
        plan: GrayPlan,
        now: Timestamp,
    ) -> Result<ReleaseNumber, AppError> {
        if let Some(Answer::Release(release)) = self.answer(asker) {
            return Ok(*release);
        }
        self.require_no_gray("released")?;
        self.require_releasable(&app, &image_id, &plan)?;
        let steps = plan.steps.iter().map(|step| Step { weight: step.weight, duration: step.duration });
        let release = self.new_release(image_id, app);
        let mut gray = Gray {
            release,
            state: yuanli_release::gray::Gray::new(steps.collect(), plan.has_analysis),
            slow: None,
            happenings: Vec::new(),
        };
        gray.happened(now, format!("replicas of release {release} are started"), None);
        self.gray = Some(gray);
        self.failures.remove(&release);
        self.remember(asker, Answer::Release(release));
        Ok(release)
    }

    fn require_releasable(&self, app: &App, image_id: &str, plan: &GrayPlan) -> Result<(), AppError> {
        let name = &app.name;
        let invalid = |message: String| Err(AppError::Invalid(message));
        if self.stable != Some(self.target) {
            return Err(AppError::Busy(format!(
                "app `{name}` is being rolled out; try again when all of it serves"
            )));
        }
        if app.is_exclusive() || self.app.is_exclusive() {
            return invalid(format!(
                "app `{name}` has an exclusive volume: two releases of it cannot serve beside each other; use `deploy`"
            ));
        }
        if app.route.is_none() || app.route != self.app.route {
            return invalid(format!("a gray release of app `{name}` needs the route that the app has"));
        }
        if plan.steps.is_empty() || plan.steps.len() > MAX_STEPS {
            return invalid(format!("a plan has 1 to {MAX_STEPS} steps"));
        }
        if let Some(step) = plan.steps.iter().find(|step| step.weight > 100) {
            return invalid(format!("a weight is 0 to 100 percent, not {}", step.weight));
        }
        let stable = self.releases.get(&self.target).map(|kept| &kept.release);
        if stable.is_some_and(|stable| stable.image_id == image_id && stable.spec == app.spec) {
            return invalid(format!(
                "this is the release that app `{name}` serves already: same image, same configuration"
            ));
        }
        Ok(())
    }

    /// Turns a gray release back; nothing happens when it has ended.
    pub(crate) fn abort_gray(
        &mut self,
        release: ReleaseNumber,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), AppError> {
        let name = &self.app.name;
        if self.gray.as_ref().is_none_or(|gray| gray.release != release) {
            return Err(AppError::NotFound(format!("app `{name}` has no gray release {release}")));
        }
        self.step_gray(&Input::Abort(reason.to_owned()), None, now);
        Ok(())
    }

    /// What follows for a gray release from how its replicas stand and what time it is. `p95` is what 95 of 100 answers of
    /// the stable release took at most.
    pub(crate) fn advance_gray(&mut self, p95: Option<Duration>, now: Timestamp) {
        let Some(gray) = self.gray.as_ref().filter(|gray| !gray.has_ended()) else { return };
        let release = gray.release;
        let failures = self.failures.get(&release).filter(|failures| failures.count >= MAX_FAILURES);
        let input = if self.is_deleted {
            Input::Abort("the app is deleted".to_owned())
        } else if let Some(failures) = failures {
            Input::Lost(format!("its replicas do not come to serve; the last one said:\n{}", failures.words))
        } else if matches!(gray.state.stage, Stage::Growing(_)) && self.has_canary_enough() {
            Input::Ready
        } else {
            Input::Tick
        };
        self.step_gray(&input, p95, now);
    }

    /// Takes in what the gateway counted.
    pub(crate) fn judge_gray(&mut self, interval: Interval, now: Timestamp) {
        self.step_gray(&Input::Measured(interval), None, now);
    }

    fn has_canary_enough(&self) -> bool {
        let wanted = self.gray.as_ref().and_then(|gray| gray.canary(self.scaling.desired));
        wanted.is_some_and(|(release, count)| table::serving(self, release) >= count)
    }

    fn step_gray(&mut self, input: &Input, p95: Option<Duration>, now: Timestamp) {
        let Some(gray) = &mut self.gray else { return };
        let before = gray.state.clone();
        let events = gray.state.next(input, now);
        self.is_changed |= before != gray.state;
        for event in events {
            self.happened(event, p95, now);
        }
    }

    fn happened(&mut self, event: Event, p95: Option<Duration>, now: Timestamp) {
        let Some(gray) = &mut self.gray else { return };
        let release = gray.release;
        match event {
            Event::Began { index, weight } => {
                gray.slow = p95.map(|p95| p95 + UNNOTICED).or(gray.slow);
                let steps = gray.state.steps.len();
                let message = format!("step {} of {steps}: release {release} gets {weight} %", index + 1);
                gray.happened(now, message, None);
            }
            Event::Held => gray.happened(
                now,
                "the step's time is over and nothing can be said yet; it is held for as long again"
                    .to_owned(),
                None,
            ),
            Event::Promoted { reason } => {
                let verdict = Verdict { is_promoted: true, reason, evidence: gray.evidence() };
                let message = format!("release {release} is promoted: {}", verdict.reason);
                gray.happened(now, message, Some(verdict));
                gray.slow = None;
                self.promote(release, now);
            }
            Event::Aborted { reason } => {
                let verdict = Verdict { is_promoted: false, reason, evidence: gray.evidence() };
                let message = format!("release {release} is turned back: {}", verdict.reason);
                gray.happened(now, message, Some(verdict));
                gray.slow = None;
            }
        }
    }

    /// The release takes the place of the one before it; nothing of it is copied.
    fn promote(&mut self, release: ReleaseNumber, now: Timestamp) {
        if let Some(kept) = self.releases.get(&release) {
            self.app = kept.document.clone();
        }
        let previous = Some(self.target);
        self.begin_rollout(release, previous, now);
    }
}
