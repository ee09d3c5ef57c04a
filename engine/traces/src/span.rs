//! From the events of a run to its spans: one for the run, one below it for each stage, and, where a stage took several, one below
//! that for each attempt.
//!
//! Names of attributes are those of the [conventions for CI/CD](https://opentelemetry.io/docs/specs/semconv/cicd/cicd-spans/), and
//! below `yuanli.` where these have none.

use std::fmt;

use indexmap::IndexMap;
use yuanli_model::run::{AttemptOutcome, Failure, FailureClass};
use yuanli_model::run::{Cause, PinnedStage, Provenance, StageResult, Then, Verdict};
use yuanli_model::{AttemptId, Digest, Outcome, RunEvent, RunId, StageName, Timestamp};

/// Most bytes of a text that somebody wrote: spans are read in a table.
const MAX_TEXT: usize = 1 << 10;

/// Of a trace: the id of its run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

/// Of a span: a digest of what it is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(u64);

impl TraceId {
    /// That of a run.
    #[must_use]
    pub const fn of(run: RunId) -> Self {
        Self(run.as_u128())
    }
}

impl SpanId {
    /// That of a run.
    #[must_use]
    pub fn of_run(run: RunId) -> Self {
        Self::of(&run.to_string())
    }

    /// That of a stage of it.
    #[must_use]
    pub fn of_stage(run: RunId, stage: &StageName) -> Self {
        Self::of(&format!("{run}/{stage}"))
    }

    fn of_attempt(attempt: &AttemptId) -> Self {
        Self::of(&format!("attempt {attempt}"))
    }

    fn of(what: &str) -> Self {
        let digest = Digest::of(what.as_bytes());
        let id = digest.as_bytes().iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte));
        // None has zero.
        Self(id.max(1))
    }
}

/// In hexadecimal digits, as OTLP and `traceparent` have it.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a span is to those around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A part of something.
    Internal,
    /// It was asked for from outside.
    Server,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// Whether it is so.
    Flag(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(cut(text))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// Attributes, by name.
type Attributes = Vec<(String, Value)>;

/// Something that happened at one time within a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// What.
    pub name: &'static str,
    /// More of it.
    pub attributes: Attributes,
}

/// A span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// Its own.
    pub id: SpanId,
    /// The one that it is a part of.
    pub parent: Option<SpanId>,
    /// A span of another trace that it comes from.
    pub link: Option<(TraceId, SpanId)>,
    /// What it is called, as many others are.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What is known of it.
    pub attributes: Attributes,
    /// What happened within it.
    pub happened: Vec<Happening>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// How a part of a run ended.
#[derive(Debug, Clone)]
enum End {
    Succeeded,
    Failed(Failure),
    Rejected(&'static str),
    Cancelled,
    Skipped(String),
}

impl End {
    /// `cicd.pipeline.task.run.result`.
    fn result(&self) -> &'static str {
        match self {
            Self::Succeeded => "success",
            Self::Failed(failure) => result_of(failure),
            Self::Rejected(_) => "failure",
            Self::Cancelled => "cancellation",
            Self::Skipped(_) => "skip",
        }
    }
}

fn result_of(failure: &Failure) -> &'static str {
    match failure.class {
        FailureClass::Cancelled => "cancellation",
        FailureClass::Interrupted => "error",
        _ if failure.kind == "timeout" => "timeout",
        _ => "failure",
    }
}

struct Attempt {
    id: AttemptId,
    began: Timestamp,
    ended: Option<(Timestamp, End)>,
    is_hit: Option<RunId>,
}

/// What is found out about a stage.
struct Stage {
    plugin: String,
    began: Option<Timestamp>,
    ended: Option<Timestamp>,
    end: Option<End>,
    instances: Option<u32>,
    reused: Option<RunId>,
    is_allowed: bool,
    attempts: Vec<Attempt>,
    happened: Vec<Happening>,
}

impl Stage {
    fn of(pinned: &PinnedStage) -> Self {
        Self {
            plugin: pinned.plugin.clone(),
            began: None,
            ended: None,
            end: None,
            instances: None,
            reused: None,
            is_allowed: false,
            attempts: Vec::new(),
            happened: Vec::new(),
        }
    }

    fn begin(&mut self, at: Timestamp) {
        self.began.get_or_insert(at);
    }

    fn end(&mut self, at: Timestamp, end: End) {
        self.begin(at);
        self.ended = Some(at);
        // Of several instances the first failure is that of the stage.
        if !matches!(self.end, Some(End::Failed(_) | End::Rejected(_))) {
            self.end = Some(end);
        }
    }

    fn happened(&mut self, at: Timestamp, name: &'static str, attributes: Attributes) {
        self.happened.push(Happening { at, name, attributes });
    }
}

/// What is found out about a run.
struct Reading {
    run: RunId,
    root: Span,
    stages: IndexMap<StageName, Stage>,
    is_timed_out: bool,
    is_interrupted: bool,
    failure: Option<Failure>,
}

/// The spans of a run, its own first; none where its beginning is missing. What has not ended ends with the last event.
#[must_use]
pub fn spans_of<'e>(run: RunId, events: impl IntoIterator<Item = (Timestamp, &'e RunEvent)>) -> Vec<Span> {
    let mut events = events.into_iter();
    let Some((began, RunEvent::Created { workflow, stages, provenance, group, .. })) = events.next() else {
        return Vec::new();
    };
    let mut reading = Reading {
        run,
        root: root(run, began, workflow.as_str(), provenance),
        stages: stages.iter().map(|stage| (stage.name.clone(), Stage::of(stage))).collect(),
        is_timed_out: false,
        is_interrupted: false,
        failure: None,
    };
    if let Some(group) = group {
        let waits = vec![("yuanli.group".to_owned(), group.as_str().into())];
        reading.root.happened.push(Happening { at: began, name: "waits for its group", attributes: waits });
    }
    for (at, event) in events {
        reading.root.ended = at;
        reading.read(at, event);
    }
    reading.spans()
}

fn root(run: RunId, began: Timestamp, workflow: &str, provenance: &Provenance) -> Span {
    let mut attributes: Attributes = vec![
        ("cicd.pipeline.name".to_owned(), workflow.into()),
        ("cicd.pipeline.run.id".to_owned(), run.to_string().as_str().into()),
        ("cicd.pipeline.action.name".to_owned(), "RUN".into()),
        ("yuanli.cause".to_owned(), provenance.cause.name().into()),
    ];
    if let Some(again) = &provenance.again {
        attributes.push(("yuanli.retried_run.id".to_owned(), again.run.to_string().as_str().into()));
    }
    let labels = provenance.labels.iter();
    attributes.extend(labels.map(|(name, value)| (format!("yuanli.label.{name}"), value.as_str().into())));
    let link = match &provenance.cause {
        Cause::Stage(by) => Some((TraceId::of(by.run), SpanId::of_stage(by.run, &by.stage))),
        _ => provenance.again.as_ref().map(|again| (TraceId::of(again.run), SpanId::of_run(again.run))),
    };
    Span {
        trace: TraceId::of(run),
        id: SpanId::of_run(run),
        parent: None,
        link,
        name: format!("RUN {workflow}"),
        kind: Kind::Server,
        began,
        ended: began,
        attributes,
        happened: Vec::new(),
        failure: None,
    }
}

impl Reading {
    fn read(&mut self, at: Timestamp, event: &RunEvent) {
        match event {
            RunEvent::Admitted { .. } => self.happened(at, "begins", Vec::new()),
            RunEvent::CancelRequested { reason } => {
                self.happened(at, "is cancelled", vec![("yuanli.reason".to_owned(), reason.as_str().into())]);
            }
            RunEvent::TimedOut => {
                self.is_timed_out = true;
                self.happened(at, "is out of time", Vec::new());
            }
            RunEvent::Interrupted => {
                self.is_interrupted = true;
                self.happened(at, "is not gone on with", Vec::new());
            }
            RunEvent::Finished { outcome, failure, .. } => self.finished(*outcome, failure.as_ref()),
            RunEvent::AttemptStarted { attempt, .. } => self.stage(&attempt.stage, |stage| {
                stage.begin(at);
                stage.attempts.push(Attempt { id: attempt.clone(), began: at, ended: None, is_hit: None });
            }),
            RunEvent::AttemptEnded { attempt, outcome, then } => {
                self.stage(&attempt.stage, |stage| attempt_ended(stage, at, attempt, outcome, *then));
            }
            RunEvent::CacheConsulted { attempt, finding } => self.stage(&attempt.stage, |stage| {
                let found = stage.attempts.iter_mut().rev().find(|known| known.id == *attempt);
                if let (Some(known), yuanli_model::run::CacheFinding::Hit { from }) = (found, finding) {
                    known.is_hit = Some(*from);
                }
            }),
            RunEvent::StageExpanded { stage, instances, .. } => self.stage(stage, |stage| {
                stage.begin(at);
                stage.instances = Some(u32::try_from(instances.len()).unwrap_or(u32::MAX));
                if instances.is_empty() {
                    stage.end(at, End::Succeeded);
                }
            }),
            RunEvent::StageSkipped { stage, reason } => {
                self.stage(stage, |stage| stage.end(at, End::Skipped(reason.to_string())));
            }
            RunEvent::StageReused { stage, from, result, .. } => self.stage(stage, |stage| {
                stage.reused = Some(*from);
                stage.is_allowed = matches!(result, StageResult::Allowed { .. });
                stage.end(
                    at,
                    match result {
                        StageResult::Succeeded { .. } => End::Succeeded,
                        StageResult::Allowed { failure, .. } | StageResult::Failed(failure) => {
                            End::Failed(failure.clone())
                        }
                        StageResult::Skipped(reason) => End::Skipped(reason.to_string()),
                    },
                );
            }),
            RunEvent::ApprovalRequested { stage, message, .. } => self.stage(stage, |stage| {
                stage.begin(at);
                let asked = message.iter().map(|asked| ("yuanli.message".to_owned(), asked.as_str().into()));
                stage.happened(at, "waits for people", asked.collect());
            }),
            RunEvent::ApprovalAnswered { stage, answer } => self.stage(stage, |stage| {
                let told = vec![
                    ("yuanli.by".to_owned(), answer.by.as_str().into()),
                    ("yuanli.approved".to_owned(), Value::Flag(answer.is_approved)),
                ];
                stage.happened(at, "is answered", told);
            }),
            RunEvent::ApprovalEnded { stage, verdict } => self.stage(stage, |stage| match verdict {
                Verdict::Approved | Verdict::ExpiredApproved => stage.end(at, End::Succeeded),
                Verdict::Rejected => stage.end(at, End::Rejected("rejected")),
                Verdict::ExpiredRejected => stage.end(at, End::Rejected("expired")),
            }),
            RunEvent::Created { .. } | RunEvent::InstancesReused { .. } | RunEvent::CacheBypassed => {}
        }
    }

    fn stage(&mut self, name: &StageName, change: impl FnOnce(&mut Stage)) {
        if let Some(stage) = self.stages.get_mut(name) {
            change(stage);
        }
    }

    fn happened(&mut self, at: Timestamp, name: &'static str, attributes: Attributes) {
        self.root.happened.push(Happening { at, name, attributes });
    }

    fn finished(&mut self, outcome: Outcome, failure: Option<&Failure>) {
        let of_stages = || {
            let failed = self.stages.values().filter(|stage| !stage.is_allowed);
            failed.filter_map(|stage| match &stage.end {
                Some(End::Failed(failure)) => Some(failure.clone()),
                Some(End::Rejected(why)) => Some(Failure {
                    class: FailureClass::Permanent,
                    kind: (*why).to_owned(),
                    message: "nobody approved of it".to_owned(),
                    details: Vec::new(),
                }),
                _ => None,
            })
        };
        let failure = failure.cloned().or_else(|| of_stages().next());
        let result = match outcome {
            Outcome::Succeeded => "success",
            Outcome::Cancelled => "cancellation",
            Outcome::Failed if self.is_interrupted => "error",
            Outcome::Failed if self.is_timed_out => "timeout",
            Outcome::Failed => failure.as_ref().map_or("failure", result_of),
        };
        self.root.attributes.push(("cicd.pipeline.result".to_owned(), result.into()));
        if outcome == Outcome::Failed {
            self.failure = failure;
            let kind = self.failure.as_ref().map_or(result, |failure| &failure.kind);
            self.root.attributes.push(("error.type".to_owned(), kind.into()));
            self.root.failure = Some(cut(self.failure.as_ref().map_or("", |failure| &failure.message)));
        }
    }

    fn spans(self) -> Vec<Span> {
        let Self { run, root, stages, .. } = self;
        let end_of_run = root.ended;
        let mut spans = vec![root];
        for (name, stage) in stages {
            let Some(began) = stage.began else { continue };
            let id = SpanId::of_stage(run, &name);
            let mut attributes: Attributes = vec![
                ("cicd.pipeline.task.name".to_owned(), name.as_str().into()),
                ("cicd.pipeline.task.run.id".to_owned(), format!("{run}/{name}").as_str().into()),
            ];
            if !stage.plugin.is_empty() {
                attributes.push(("yuanli.uses".to_owned(), stage.plugin.as_str().into()));
            }
            attributes.extend(stage.instances.map(|number| ("yuanli.instances".to_owned(), number.into())));
            let reused = stage
                .reused
                .map(|from| ("yuanli.reused_run.id".to_owned(), from.to_string().as_str().into()));
            attributes.extend(reused);
            if stage.is_allowed {
                attributes.push(("yuanli.failure_allowed".to_owned(), Value::Flag(true)));
            }
            let part = |id, parent, began| Span {
                trace: TraceId::of(run),
                id,
                parent: Some(parent),
                link: None,
                name: name.to_string(),
                kind: Kind::Internal,
                began,
                ended: end_of_run,
                attributes: Vec::new(),
                happened: Vec::new(),
                failure: None,
            };
            let mut span = part(id, SpanId::of_run(run), began);
            (span.attributes, span.happened) = (attributes, stage.happened);
            ended(&mut span, stage.ended.zip(stage.end));
            let has_several = stage.attempts.len() > 1 || stage.instances.is_some();
            if let (false, [only]) = (has_several, &stage.attempts[..]) {
                span.attributes.extend(cached(only));
            }
            spans.push(span);
            for attempt in stage.attempts.into_iter().filter(|_| has_several) {
                let mut span = part(SpanId::of_attempt(&attempt.id), id, attempt.began);
                span.attributes = vec![
                    ("yuanli.instance".to_owned(), attempt.id.instance.into()),
                    ("yuanli.attempt".to_owned(), attempt.id.attempt.into()),
                ];
                span.attributes.extend(cached(&attempt));
                ended(&mut span, attempt.ended);
                spans.push(span);
            }
        }
        spans
    }
}

fn attempt_ended(
    stage: &mut Stage,
    at: Timestamp,
    attempt: &AttemptId,
    outcome: &AttemptOutcome,
    then: Then,
) {
    let end = match outcome {
        AttemptOutcome::Succeeded { .. } => End::Succeeded,
        AttemptOutcome::Failed(failure) => End::Failed(failure.clone()),
        AttemptOutcome::Cancelled => End::Cancelled,
    };
    if let Some(known) = stage.attempts.iter_mut().rev().find(|known| known.id == *attempt) {
        known.ended = Some((at, end.clone()));
    }
    match then {
        Then::End => stage.end(at, end),
        Then::Allow => {
            stage.is_allowed = true;
            stage.end(at, end);
        }
        Then::Retry(next) => {
            let wait = i64::try_from(next.since(at).as_millis()).unwrap_or(i64::MAX);
            stage.happened(at, "is tried again", vec![("yuanli.wait_ms".to_owned(), Value::Number(wait))]);
        }
    }
}

/// The run whose result was taken instead.
fn cached(attempt: &Attempt) -> Option<(String, Value)> {
    attempt.is_hit.map(|from| ("yuanli.cached_run.id".to_owned(), from.to_string().as_str().into()))
}

/// Says how a part ended; one without an end was interrupted with its run.
fn ended(span: &mut Span, end: Option<(Timestamp, End)>) {
    let mut say = |name: &str, value: &str| span.attributes.push((name.to_owned(), value.into()));
    let Some((at, end)) = end else {
        say("cicd.pipeline.task.run.result", "error");
        say("error.type", "interrupted");
        span.failure = Some("it had not ended when its run did".to_owned());
        return;
    };
    say("cicd.pipeline.task.run.result", end.result());
    span.ended = at;
    match end {
        End::Failed(failure) if failure.class != FailureClass::Cancelled => {
            say("error.type", &failure.kind);
            say("yuanli.failure.class", failure.class.name());
            span.failure = Some(cut(&failure.message));
        }
        End::Rejected(why) => {
            say("error.type", why);
            span.failure = Some("nobody approved of it".to_owned());
        }
        End::Skipped(why) => say("yuanli.skipped", &why),
        End::Succeeded | End::Cancelled | End::Failed(_) => {}
    }
}

fn cut(text: &str) -> String {
    match text.len() <= MAX_TEXT {
        true => text.to_owned(),
        false => format!("{}…", &text[..text.floor_char_boundary(MAX_TEXT)]),
    }
}
