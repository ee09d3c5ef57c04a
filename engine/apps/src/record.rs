//! How apps are stored: one row each, a byte of version and JSON. Documents are kept in the form in which they are
//! written, so that what an older engine stored is read as what its author declared.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use yuanli_model::app::{App, Release, ReleaseNumber};
use yuanli_model::{AppName, Timestamp, VolumeName};
use yuanli_ports::apps::{Asker, Deployed, Happening, RolloutOutcome, Verdict};
use yuanli_ports::store::Key;
use yuanli_release::gray::{Gray as GrayState, Stage, Step};
use yuanli_release::judge::{Evidence, Judge};
use yuanli_release::replica::Phase;
use yuanli_scaling::stabilise::History;

use crate::app::{Answer, AppState, Declared, Replica, Rollout};
use crate::autoscale::{Decided, Scaling};
use crate::gray::Gray;

/// The first byte of the keys of apps; those of runs are below it.
pub(crate) const APPS: [u8; 1] = [32];
/// The first byte of the keys of restores that have begun and not ended.
const RESTORES: [u8; 1] = [33];
const VERSION: u8 = 1;

/// A stored app that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Written by a newer engine.
    #[error("a stored app has version {0}; this engine reads up to {VERSION}: use the newer one")]
    Newer(u8),
    /// Not what was written.
    #[error("a stored app cannot be read: {0}")]
    Damaged(String),
}

/// The key of an app.
pub(crate) fn key(app: &AppName) -> Key {
    Key::new([APPS.as_slice(), app.as_str().as_bytes()].concat())
}

/// The key that says that a volume holds a part of what is to be restored into it. What is there is for people only.
pub(crate) fn restore(volume: &VolumeName) -> Key {
    Key::new([RESTORES.as_slice(), volume.as_str().as_bytes()].concat())
}

/// An app as it is stored.
pub(crate) fn seal(state: &AppState) -> Bytes {
    let mut bytes = vec![VERSION];
    // Texts, numbers and lists of them are always JSON.
    serde_json::to_writer(&mut bytes, &Row::of(state)).expect("an app can be encoded");
    bytes.into()
}

/// An app as it was stored.
pub(crate) fn open(bytes: &[u8]) -> Result<AppState, Broken> {
    match bytes.split_first() {
        Some((&VERSION, body)) => {
            let row: Row = serde_json::from_slice(body).map_err(|e| Broken::Damaged(e.to_string()))?;
            row.into_state()
        }
        Some((&version, _)) if version > VERSION => Err(Broken::Newer(version)),
        _ => Err(Broken::Damaged("it has no version".to_owned())),
    }
}

#[derive(Serialize, Deserialize)]
struct Row {
    app: Value,
    releases: Vec<ReleaseRow>,
    next_release: u32,
    next_replica: u64,
    stable: Option<u32>,
    target: u32,
    rollout: RolloutRow,
    wish: Option<u32>,
    replicas: Vec<ReplicaRow>,
    gray: Option<GrayRow>,
    /// The volume that its replicas are paused for, and until when.
    pause: Option<(String, u64)>,
    answers: Vec<(String, AnswerRow)>,
    scaling: ScalingRow,
    is_deleted: bool,
}

#[derive(Serialize, Deserialize)]
struct ReleaseRow {
    number: u32,
    image_id: String,
    document: Value,
}

#[derive(Serialize, Deserialize)]
struct RolloutRow {
    release: u32,
    previous: Option<u32>,
    began_ms: u64,
    ended: Option<(u64, OutcomeRow, String)>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum OutcomeRow {
    Healthy,
    Failed,
    Superseded,
    TimedOut,
}

#[derive(Serialize, Deserialize)]
struct ReplicaRow {
    number: u64,
    release: u32,
    address: Ipv4Addr,
    phase: PhaseRow,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PhaseRow {
    Planned,
    Starting { since_ms: u64 },
    Serving { since_ms: u64 },
    Failing,
    Draining { since_ms: u64 },
    Stopping,
}

#[derive(Serialize, Deserialize)]
struct GrayRow {
    release: u32,
    /// Weight in percent and duration in milliseconds.
    steps: Vec<(u32, u64)>,
    has_analysis: bool,
    stage: StageRow,
    errors: EvidenceRow,
    slow: EvidenceRow,
    requests: u64,
    slow_us: Option<u64>,
    happenings: Vec<HappeningRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StageRow {
    Growing { index: usize },
    Step { index: usize, since_ms: u64, is_held: bool },
    Promoted,
    Aborted,
}

#[derive(Serialize, Deserialize)]
struct EvidenceRow {
    stakes: [f64; 6],
    canary: u64,
    stable: u64,
}

#[derive(Serialize, Deserialize)]
struct HappeningRow {
    time_ms: u64,
    weight: u32,
    message: String,
    end: Option<VerdictRow>,
}

#[derive(Serialize, Deserialize)]
struct VerdictRow {
    is_promoted: bool,
    reason: String,
    evidence: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AnswerRow {
    Deployed { release: u32, previous: Option<u32> },
    Release(u32),
    Count(u32),
    Done,
}

#[derive(Serialize, Deserialize)]
struct ScalingRow {
    desired: u32,
    reasons: Vec<String>,
    decided_ms: u64,
    decisions: Vec<(u64, u32, Vec<String>)>,
    proposals: Vec<(u64, u32)>,
    added: Vec<(u64, u32)>,
}

impl Row {
    fn of(state: &AppState) -> Self {
        let release = |(number, kept): (&ReleaseNumber, &Declared)| ReleaseRow {
            number: number.0,
            image_id: kept.release.image_id.clone(),
            document: yuanli_lang::app_to_json(&kept.document),
        };
        let replica = |(number, replica): (&u64, &Replica)| ReplicaRow {
            number: *number,
            release: replica.release.0,
            address: replica.address,
            phase: PhaseRow::of(replica.phase),
        };
        let answer = |(asker, answer): &(Asker, Answer)| (asker.0.clone(), AnswerRow::of(answer));
        Self {
            app: yuanli_lang::app_to_json(&state.app),
            releases: state.releases.iter().map(release).collect(),
            next_release: state.next_release,
            next_replica: state.next_replica,
            stable: state.stable.map(|number| number.0),
            target: state.target.0,
            rollout: RolloutRow::of(&state.rollout),
            wish: state.wish,
            replicas: state.replicas.iter().map(replica).collect(),
            gray: state.gray.as_ref().map(GrayRow::of),
            pause: state.pause.as_ref().map(|pause| (pause.volume.to_string(), pause.until.as_millis())),
            answers: state.answers.iter().map(answer).collect(),
            scaling: ScalingRow::of(&state.scaling),
            is_deleted: state.is_deleted,
        }
    }

    fn into_state(self) -> Result<AppState, Broken> {
        let app = document(&self.app)?;
        let mut releases = BTreeMap::new();
        for row in self.releases {
            let number = ReleaseNumber(row.number);
            let document = document(&row.document)?;
            let (image, spec) = (document.image.clone(), document.spec.clone());
            let release = Release { number, image_id: row.image_id, image, spec };
            releases.insert(number, Declared { release, document });
        }
        let replica = |row: ReplicaRow| {
            let replica = Replica {
                release: ReleaseNumber(row.release),
                address: row.address,
                phase: row.phase.phase(),
            };
            (row.number, replica)
        };
        let pause = match self.pause {
            Some((volume, until)) => {
                let volume = volume.parse().map_err(|e| Broken::Damaged(format!("{e}")))?;
                Some(crate::app::Pause { volume, until: at(until) })
            }
            None => None,
        };
        let answer = |(asker, answer): (String, AnswerRow)| (Asker(asker), answer.answer(&app.name));
        let answers: VecDeque<_> = self.answers.into_iter().map(answer).collect();
        Ok(AppState {
            releases,
            next_release: self.next_release,
            next_replica: self.next_replica,
            stable: self.stable.map(ReleaseNumber),
            target: ReleaseNumber(self.target),
            rollout: self.rollout.rollout(),
            wish: self.wish,
            replicas: self.replicas.into_iter().map(replica).collect(),
            gray: self.gray.map(GrayRow::gray),
            pause,
            answers,
            scaling: self.scaling.scaling(),
            is_deleted: self.is_deleted,
            failures: HashMap::new(),
            is_changed: false,
            app,
        })
    }
}

impl RolloutRow {
    fn of(rollout: &Rollout) -> Self {
        let outcome = |outcome| match outcome {
            RolloutOutcome::Healthy => OutcomeRow::Healthy,
            RolloutOutcome::Failed => OutcomeRow::Failed,
            RolloutOutcome::Superseded => OutcomeRow::Superseded,
            RolloutOutcome::TimedOut => OutcomeRow::TimedOut,
        };
        let ended = rollout.ended.as_ref();
        Self {
            release: rollout.release.0,
            previous: rollout.previous.map(|number| number.0),
            began_ms: rollout.began.as_millis(),
            ended: ended.map(|(at, ended, message)| (at.as_millis(), outcome(*ended), message.clone())),
        }
    }

    fn rollout(self) -> Rollout {
        let outcome = |outcome| match outcome {
            OutcomeRow::Healthy => RolloutOutcome::Healthy,
            OutcomeRow::Failed => RolloutOutcome::Failed,
            OutcomeRow::Superseded => RolloutOutcome::Superseded,
            OutcomeRow::TimedOut => RolloutOutcome::TimedOut,
        };
        Rollout {
            release: ReleaseNumber(self.release),
            previous: self.previous.map(ReleaseNumber),
            began: at(self.began_ms),
            ended: self.ended.map(|(millis, ended, message)| (at(millis), outcome(ended), message)),
        }
    }
}

impl PhaseRow {
    fn of(phase: Phase) -> Self {
        match phase {
            Phase::Planned => Self::Planned,
            Phase::Starting { since, .. } => Self::Starting { since_ms: since.as_millis() },
            Phase::Serving { since, .. } => Self::Serving { since_ms: since.as_millis() },
            Phase::Failing { .. } => Self::Failing,
            Phase::Draining { since } => Self::Draining { since_ms: since.as_millis() },
            Phase::Stopping => Self::Stopping,
        }
    }

    /// Answers in a row are counted anew.
    fn phase(self) -> Phase {
        match self {
            Self::Planned => Phase::Planned,
            Self::Starting { since_ms } => Phase::Starting { since: at(since_ms), good: 0 },
            Self::Serving { since_ms } => Phase::Serving { since: at(since_ms), bad: 0 },
            Self::Failing => Phase::Failing { good: 0 },
            Self::Draining { since_ms } => Phase::Draining { since: at(since_ms) },
            Self::Stopping => Phase::Stopping,
        }
    }
}

impl GrayRow {
    fn of(gray: &Gray) -> Self {
        let evidence = |evidence: &Evidence| EvidenceRow {
            stakes: evidence.stakes,
            canary: evidence.canary,
            stable: evidence.stable,
        };
        let state = &gray.state;
        Self {
            release: gray.release.0,
            steps: state.steps.iter().map(|step| (step.weight, millis(step.duration))).collect(),
            has_analysis: state.has_analysis,
            stage: match state.stage {
                Stage::Growing(index) => StageRow::Growing { index },
                Stage::Step { index, since, is_held } => {
                    StageRow::Step { index, since_ms: since.as_millis(), is_held }
                }
                Stage::Promoted => StageRow::Promoted,
                Stage::Aborted => StageRow::Aborted,
            },
            errors: evidence(&state.judge.errors),
            slow: evidence(&state.judge.slow),
            requests: state.judge.requests,
            slow_us: gray.slow.map(|slow| u64::try_from(slow.as_micros()).unwrap_or(u64::MAX)),
            happenings: gray.happenings.iter().map(HappeningRow::of).collect(),
        }
    }

    fn gray(self) -> Gray {
        let evidence =
            |row: EvidenceRow| Evidence { stakes: row.stakes, canary: row.canary, stable: row.stable };
        let steps =
            self.steps.into_iter().map(|(weight, ms)| Step { weight, duration: Duration::from_millis(ms) });
        let stage = match self.stage {
            StageRow::Growing { index } => Stage::Growing(index),
            StageRow::Step { index, since_ms, is_held } => {
                Stage::Step { index, since: at(since_ms), is_held }
            }
            StageRow::Promoted => Stage::Promoted,
            StageRow::Aborted => Stage::Aborted,
        };
        let judge =
            Judge { errors: evidence(self.errors), slow: evidence(self.slow), requests: self.requests };
        Gray {
            release: ReleaseNumber(self.release),
            state: GrayState { steps: steps.collect(), has_analysis: self.has_analysis, stage, judge },
            slow: self.slow_us.map(Duration::from_micros),
            happenings: self.happenings.into_iter().map(HappeningRow::happening).collect(),
        }
    }
}

impl HappeningRow {
    fn of(happening: &Happening) -> Self {
        let verdict = |verdict: &Verdict| VerdictRow {
            is_promoted: verdict.is_promoted,
            reason: verdict.reason.clone(),
            evidence: verdict.evidence.clone(),
        };
        Self {
            time_ms: happening.time.as_millis(),
            weight: happening.weight,
            message: happening.message.clone(),
            end: happening.end.as_ref().map(verdict),
        }
    }

    fn happening(self) -> Happening {
        let verdict = |row: VerdictRow| Verdict {
            is_promoted: row.is_promoted,
            reason: row.reason,
            evidence: row.evidence,
        };
        Happening {
            time: at(self.time_ms),
            weight: self.weight,
            message: self.message,
            end: self.end.map(verdict),
        }
    }
}

impl AnswerRow {
    fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Deployed(deployed) => Self::Deployed {
                release: deployed.release.0,
                previous: deployed.previous.map(|number| number.0),
            },
            Answer::Release(release) => Self::Release(release.0),
            Answer::Count(count) => Self::Count(*count),
            Answer::Done => Self::Done,
        }
    }

    fn answer(self, app: &AppName) -> Answer {
        match self {
            Self::Deployed { release, previous } => Answer::Deployed(Deployed {
                app: app.clone(),
                release: ReleaseNumber(release),
                previous: previous.map(ReleaseNumber),
            }),
            Self::Release(release) => Answer::Release(ReleaseNumber(release)),
            Self::Count(count) => Answer::Count(count),
            Self::Done => Answer::Done,
        }
    }
}

impl ScalingRow {
    fn of(scaling: &Scaling) -> Self {
        let times = |times: &VecDeque<(Timestamp, u32)>| {
            times.iter().map(|(time, count)| (time.as_millis(), *count)).collect()
        };
        let decision = |decided: &Decided| (decided.at.as_millis(), decided.desired, decided.reasons.clone());
        Self {
            desired: scaling.desired,
            reasons: scaling.reasons.clone(),
            decided_ms: scaling.decided.as_millis(),
            decisions: scaling.decisions.iter().map(decision).collect(),
            proposals: times(&scaling.history.proposals),
            added: times(&scaling.history.added),
        }
    }

    fn scaling(self) -> Scaling {
        let times = |rows: Vec<(u64, u32)>| rows.into_iter().map(|(ms, count)| (at(ms), count)).collect();
        let decision = |(ms, desired, reasons)| Decided { at: at(ms), desired, reasons };
        Scaling {
            desired: self.desired,
            reasons: self.reasons,
            decided: at(self.decided_ms),
            decisions: self.decisions.into_iter().map(decision).collect(),
            history: History { proposals: times(self.proposals), added: times(self.added) },
            ..Scaling::default()
        }
    }
}

fn document(value: &Value) -> Result<App, Broken> {
    yuanli_lang::app_from_json(value).map_err(|mistakes| Broken::Damaged(mistakes.join("; ")))
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
