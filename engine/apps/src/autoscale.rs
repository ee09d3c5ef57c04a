//! How many replicas there are to be: what is measured for it, and how the decision is taken and kept.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use yuanli_calendar::Calendar;
use yuanli_model::app::{ReleaseNumber, Target, Window};
use yuanli_model::{AppName, ReplicaId, Timestamp};
use yuanli_ports::apps::{AppMeasure, ReleaseMeasure};
use yuanli_ports::replicas::Usage;
use yuanli_ports::traffic::{LATENCY_BOUNDS_MICROS, Measurement, ReleaseCounts, TrafficError};
use yuanli_release::judge::{Counts, Interval};
use yuanli_release::replica::Phase;
use yuanli_scaling::join::Load;
use yuanli_scaling::metric::{Sample, propose};
use yuanli_scaling::stabilise::{Behaviour, History};
use yuanli_scaling::window::Upcoming;
use yuanli_scaling::{Inputs, decide};

use crate::app::AppState;
use crate::reconciler::{GatewayState, Reconciler};
use crate::table;

/// Decisions that are kept for whoever asks why.
const KEPT_DECISIONS: usize = 50;
/// How often the gateway is asked while replicas finish their requests.
const DRAINING_INTERVAL: Duration = Duration::from_millis(100);
/// How often while a release is judged or load decides.
const WATCHING_INTERVAL: Duration = Duration::from_secs(1);
/// How often else.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);
/// What a replica requests of the processors when its document does not say: one.
const DEFAULT_CPU_MILLIS: u32 = 1_000;

/// What scales an app.
#[derive(Debug, Clone)]
pub(crate) struct Scaling {
    /// How many replicas there are to be.
    pub(crate) desired: u32,
    /// Why, in words.
    pub(crate) reasons: Vec<String>,
    /// When the number changed last.
    pub(crate) decided: Timestamp,
    /// The last decisions that changed it, oldest first.
    pub(crate) decisions: VecDeque<Decided>,
    /// What load asked for.
    pub(crate) history: History,
    /// What was measured and not yet decided on; forgotten when the engine ends.
    pub(crate) load: Option<Load>,
    /// The windows with their next times, as long as these lie ahead.
    pub(crate) upcoming: Option<(Vec<Window>, Vec<Upcoming>)>,
    /// How long load has to have asked for fewer.
    pub(crate) behaviour: Behaviour,
}

/// A decision that changed the number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) at: Timestamp,
    pub(crate) desired: u32,
    pub(crate) reasons: Vec<String>,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            desired: 0,
            reasons: Vec::new(),
            decided: Timestamp::from_millis(0),
            decisions: VecDeque::new(),
            history: History::default(),
            load: None,
            upcoming: None,
            behaviour: Behaviour::default(),
        }
    }
}

impl Scaling {
    /// The windows with their next times; computed anew when one of these has come.
    fn upcoming(&mut self, windows: &[Window], now: Timestamp) -> Vec<Upcoming> {
        let lies_ahead = |at: Option<Timestamp>| at.is_none_or(|at| at > now);
        if let Some((known, upcoming)) = &self.upcoming
            && known == windows
            && upcoming.iter().all(|window| lies_ahead(window.start) && lies_ahead(window.end))
        {
            return upcoming.clone();
        }
        let next = |schedule| Calendar::parse(schedule).ok().and_then(|calendar| calendar.next_after(now));
        let upcoming: Vec<Upcoming> = windows
            .iter()
            .map(|window| Upcoming {
                start: next(&window.start),
                end: next(&window.end),
                replicas: window.replicas,
            })
            .collect();
        self.upcoming = Some((windows.to_vec(), upcoming.clone()));
        upcoming
    }
}

impl AppState {
    /// Decides how many replicas there are to be.
    pub(crate) fn decide_count(&mut self, now: Timestamp) -> u32 {
        let policy = self.app.scaling.as_ref();
        let windows = policy.map(|policy| policy.windows.clone()).unwrap_or_default();
        let windows = self.scaling.upcoming(&windows, now);
        let is_scaled_by_load = self.app.scaling.as_ref().is_some_and(|policy| policy.metric.is_some());
        let load = match self.scaling.load.take() {
            _ if !is_scaled_by_load => Load::None,
            Some(load) => load,
            None => Load::Waiting,
        };
        let inputs = Inputs {
            now,
            app: &self.app,
            wish: self.wish,
            current: self.scaling.desired,
            load,
            windows: &windows,
            is_held: self.pause.is_some(),
        };
        let decision = decide(&inputs, self.scaling.behaviour, &mut self.scaling.history);
        let is_new = decision.desired != self.scaling.desired;
        // Between two measurements the last one is still the reason.
        if is_new || load != Load::Waiting || self.scaling.reasons.is_empty() {
            self.scaling.reasons = decision.reasons.iter().map(ToString::to_string).collect();
        }
        if is_new {
            tracing::info!(app = %self.app.name, from = self.scaling.desired, to = decision.desired, "replicas");
            self.scaling.desired = decision.desired;
            self.scaling.decided = now;
            let reasons = self.scaling.reasons.clone();
            self.scaling.decisions.push_back(Decided { at: now, desired: decision.desired, reasons });
            while self.scaling.decisions.len() > KEPT_DECISIONS {
                self.scaling.decisions.pop_front();
            }
            self.is_changed = true;
        }
        decision.desired
    }

    fn take_load(&mut self, target: Target, samples: &[Sample]) {
        let request = self.app.spec.cpu_millis.unwrap_or(DEFAULT_CPU_MILLIS);
        let proposal = propose(target, f64::from(request), self.scaling.desired, samples);
        self.scaling.load = Some(proposal.map_or(Load::Unknown, Load::Proposal));
    }
}

/// What was measured last.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    measure_due: Option<Timestamp>,
    sample_due: Option<Timestamp>,
    is_measuring: bool,
    /// The last measurement with the round in which it was asked for, and when it came.
    last: Option<(u64, Timestamp, Measurement)>,
    /// Requests in flight of each replica, summed up since the last sample, and how often.
    in_flight: HashMap<ReplicaId, (u64, u32)>,
    /// What replicas had used, and when.
    usage: HashMap<ReplicaId, (Timestamp, Usage)>,
    /// Processor time in percent of the request, of each app.
    cpu_percent: HashMap<AppName, u32>,
}

impl Meter {
    /// Whether to ask the gateway now, and when again.
    pub(crate) fn measures<'a>(
        &self,
        apps: impl Iterator<Item = &'a AppState>,
        now: Timestamp,
    ) -> Option<Duration> {
        if self.is_measuring {
            return None;
        }
        let interval = |state: &AppState| {
            let is_draining = state.replicas.values().any(|r| matches!(r.phase, Phase::Draining { .. }));
            let is_judged = state.gray.as_ref().is_some_and(|gray| !gray.has_ended());
            let by_flight = matches!(metric(state), Some(Target::InFlight { .. }));
            if is_draining {
                DRAINING_INTERVAL
            } else if is_judged || by_flight {
                WATCHING_INTERVAL
            } else {
                IDLE_INTERVAL
            }
        };
        let every = apps.filter(|state| state.app.route.is_some()).map(interval).min()?;
        let is_due = self.measure_due.is_none_or(|due| now >= due) || every == DRAINING_INTERVAL;
        is_due.then_some(every)
    }

    pub(crate) fn begin_measure(&mut self, due: Timestamp) {
        self.is_measuring = true;
        self.measure_due = Some(due);
    }

    pub(crate) fn samples(&self, now: Timestamp) -> bool {
        self.sample_due.is_none_or(|due| now >= due)
    }

    pub(crate) fn begin_sample(&mut self, due: Timestamp) {
        self.sample_due = Some(due);
    }

    /// Whether a replica that gets no new requests has none any more: the gateway was asked after it had acknowledged
    /// that.
    pub(crate) fn is_idle(&self, id: &ReplicaId, gateway: &GatewayState) -> bool {
        let (Some((asked, _, measurement)), Some((acknowledged, table))) =
            (&self.last, &gateway.acknowledged)
        else {
            return false;
        };
        let mut routed =
            table.apps.iter().flat_map(|app| &app.releases).flat_map(|release| &release.replicas);
        let gets_new = routed.any(|routed| routed.replica == *id && !routed.is_draining);
        let in_flight = measurement.replicas.iter().find(|counts| counts.replica == *id);
        asked > acknowledged && !gets_new && in_flight.is_none_or(|counts| counts.in_flight == 0)
    }

    /// What 95 of 100 answers of a release took at most, since the gateway started.
    pub(crate) fn p95(&self, app: &AppName, release: ReleaseNumber) -> Option<Duration> {
        percentiles(&self.counts(app, release)?.latency).map(|found| found[1])
    }

    fn counts(&self, app: &AppName, release: ReleaseNumber) -> Option<&ReleaseCounts> {
        let (_, _, measurement) = self.last.as_ref()?;
        measurement.releases.iter().find(|counts| counts.app == *app && counts.release == release)
    }

    /// What an app does, as far as it was measured.
    pub(crate) fn measure(&self, state: &AppState) -> Option<AppMeasure> {
        let (_, at, measurement) = self.last.as_ref()?;
        let of_app = |id: &ReplicaId| id.app == state.app.name;
        let in_flight = measurement.replicas.iter().filter(|counts| of_app(&counts.replica));
        let releases = state.releases.keys().filter_map(|&release| {
            let ready = table::serving(state, release);
            let weight = table::percent(state, release);
            let counts = self.counts(&state.app.name, release);
            (ready > 0 || weight > 0 || counts.is_some()).then(|| ReleaseMeasure {
                release,
                weight,
                ready,
                requests: counts.map_or(0, |counts| counts.requests),
                errors: counts.map_or(0, |counts| counts.errors),
                percentiles: counts.and_then(|counts| percentiles(&counts.latency)),
            })
        });
        Some(AppMeasure {
            time: *at,
            incarnation: measurement.incarnation,
            in_flight: in_flight.map(|counts| u64::from(counts.in_flight)).sum(),
            cpu_percent: self.cpu_percent.get(&state.app.name).copied(),
            releases: releases.collect(),
        })
    }
}

impl Reconciler {
    /// What 95 of 100 answers took at most, of the release that each app serves.
    pub(crate) fn p95s(&self) -> HashMap<AppName, Duration> {
        let of =
            |(name, state): (&AppName, &AppState)| Some((name.clone(), self.meter.p95(name, state.target)?));
        self.apps.iter().filter_map(of).collect()
    }

    pub(crate) fn measured(&mut self, round: u64, result: Result<Measurement, TrafficError>, now: Timestamp) {
        self.meter.is_measuring = false;
        let measurement = match result {
            Ok(measurement) => measurement,
            Err(error) => return tracing::debug!(%error, "not measured"),
        };
        self.gateway.heard = Some(now);
        for counts in &measurement.replicas {
            let (sum, times) = self.meter.in_flight.entry(counts.replica.clone()).or_default();
            *sum += u64::from(counts.in_flight);
            *times += 1;
        }
        let before = self.meter.last.replace((round, now, measurement));
        let (Some((_, _, before)), Some((_, _, after))) = (before, &self.meter.last) else { return };
        if before.incarnation != after.incarnation {
            return;
        }
        for (name, state) in &mut self.apps {
            let Some(gray) = state.gray.as_ref().filter(|gray| !gray.has_ended()) else { continue };
            let of = |release| counted(&before, after, name, release);
            let interval = Interval { canary: of(gray.release), stable: of(state.target) };
            state.judge_gray(interval, now);
        }
    }

    /// What the replicas that are scaled by load have done since the last sample.
    pub(crate) fn sample_in_flight(&mut self) {
        let sums = std::mem::take(&mut self.meter.in_flight);
        for state in self.apps.values_mut() {
            let Some(target @ Target::InFlight { .. }) = metric(state) else { continue };
            let samples =
                samples(state, |id| sums.get(id).map(|(sum, times)| *sum as f64 / f64::from(*times)));
            state.take_load(target, &samples);
        }
    }

    /// What replicas have used of the processors since they were asked last.
    pub(crate) fn used(&mut self, at: Timestamp, usage: HashMap<ReplicaId, Usage>) {
        let mut millis: HashMap<ReplicaId, f64> = HashMap::new();
        for (id, used) in &usage {
            let Some((before, earlier)) = self.meter.usage.get(id) else { continue };
            let (wall, cpu) = (at.since(*before), used.cpu.saturating_sub(earlier.cpu));
            if !wall.is_zero() {
                millis.insert(id.clone(), 1_000.0 * cpu.as_secs_f64() / wall.as_secs_f64());
            }
        }
        self.meter.usage = usage.into_iter().map(|(id, used)| (id, (at, used))).collect();
        for (name, state) in &mut self.apps {
            let Some(target @ Target::Cpu { .. }) = metric(state) else { continue };
            let samples = samples(state, |id| millis.get(id).copied());
            let known: Vec<f64> = samples.iter().filter_map(|sample| sample.used).collect();
            if !known.is_empty() {
                let request = f64::from(state.app.spec.cpu_millis.unwrap_or(DEFAULT_CPU_MILLIS));
                let percent = 100.0 * known.iter().sum::<f64>() / (request * known.len() as f64);
                self.meter.cpu_percent.insert(name.clone(), percent as u32);
            }
            state.take_load(target, &samples);
        }
    }
}

fn metric(state: &AppState) -> Option<Target> {
    state.app.scaling.as_ref().and_then(|policy| policy.metric)
}

/// A sample of each replica that is or will be serving, of the release that the app is brought to.
fn samples(state: &AppState, used: impl Fn(&ReplicaId) -> Option<f64>) -> Vec<Sample> {
    let counts = |(number, replica): (&u64, &crate::app::Replica)| {
        let is_counted = replica.phase.is_alive() && replica.release == state.target;
        let id = state.replica_id(*number).filter(|_| is_counted)?;
        Some(Sample { used: used(&id), is_ready: replica.phase.is_serving() })
    };
    state.replicas.iter().filter_map(counts).collect()
}

/// What was counted of a release between two measurements of one gateway.
fn counted(before: &Measurement, after: &Measurement, app: &AppName, release: ReleaseNumber) -> Counts {
    let of = |measurement: &Measurement| {
        let found =
            measurement.releases.iter().find(|counts| counts.app == *app && counts.release == release);
        found.map_or((0, 0, 0), |counts| (counts.requests, counts.client_errors, counts.client_slow))
    };
    let (earlier, later) = (of(before), of(after));
    Counts {
        requests: later.0.saturating_sub(earlier.0),
        errors: later.1.saturating_sub(earlier.1),
        slow: later.2.saturating_sub(earlier.2),
    }
}

/// Within which time 50, 95 and 99 of 100 answers came: the upper bounds of their classes.
fn percentiles(latency: &[u64]) -> Option<[Duration; 3]> {
    let all: u64 = latency.iter().sum();
    if all == 0 {
        return None;
    }
    let bound = |class: usize| {
        let longest = LATENCY_BOUNDS_MICROS.last().copied().unwrap_or(u64::MAX);
        Duration::from_micros(LATENCY_BOUNDS_MICROS.get(class).copied().unwrap_or(longest))
    };
    Some([50u64, 95, 99].map(|percent| {
        let wanted = (all * percent).div_ceil(100);
        let mut seen = 0;
        let class = latency.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        bound(class.unwrap_or(usize::MAX))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_bounds_of_their_classes() {
        let mut latency = vec![0; LATENCY_BOUNDS_MICROS.len() + 1];
        assert_eq!(percentiles(&latency), None);
        (latency[0], latency[4], latency[34]) = (50, 46, 4);
        let expected = [100, 500, 60_000_000].map(Duration::from_micros);
        assert_eq!(percentiles(&latency), Some(expected));
    }
}
