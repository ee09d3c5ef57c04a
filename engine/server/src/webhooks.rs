//! Starts runs by requests to `/hooks/NAME`: who sent it, what it says, whether it counts, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use yuanli_api_types as api;
use yuanli_executor::Started;
use yuanli_expr::Scope;
use yuanli_model::run::Cause;
use yuanli_model::trigger::Webhook;
use yuanli_model::{RunEvent, RunId};
use yuanli_triggers::{Facts, Passed, StartId};

use crate::audit;
use crate::body;
use crate::document::Given;
use crate::figures::{Came, Trigger};
use crate::kept::{self, Delivery, Kept};
use crate::refusal::Refusal;
use crate::service::{Shared, inputs_from};

/// The headers in which senders say what has happened; kept with a delivery.
const EVENT_HEADERS: [&str; 4] = ["x-github-event", "x-gitea-event", "x-forgejo-event", "x-gitlab-event"];

/// How long it takes at least until a request is refused: nobody is to see by the time whether there is a webhook of that name.
const REFUSED_AFTER: Duration = Duration::from_millis(100);

/// A request that its sender has signed.
struct Signed {
    headers: Vec<(String, String)>,
    body: Bytes,
    /// What its sender calls it.
    id: Option<yuanli_triggers::Delivery>,
    /// The number of the delivery that it repeats.
    repeats: Option<u64>,
}

/// What became of it.
enum Outcome {
    Started(Started),
    /// It does not count, in words.
    Passed(String),
}

impl Shared {
    /// Starts a run by a signed request. What is answered is durable; that it was signed is marked before anything is done.
    pub(crate) async fn receive<'a>(
        self: &Arc<Self>,
        name: &str,
        header: impl Fn(&'static str) -> Option<&'a str>,
        body: Bytes,
        mark: &audit::Signed,
    ) -> Result<api::HookAnswer, Refusal> {
        let refused_after = tokio::time::sleep(REFUSED_AFTER);
        let (kept, signed) = match self.verify(name, header, body) {
            Ok(verified) => verified,
            Err(refusal) => {
                self.figures.came(Trigger::Webhook, Came::Signature);
                refused_after.await;
                return Err(refusal);
            }
        };
        mark.set("its sender did not wait for what came of it".to_owned());
        // Told to those who may know, and kept: its sender will hardly send it again.
        if kept.paused.is_some() {
            self.figures.came(Trigger::Webhook, Came::Paused);
            let why = format!("workflow `{name}` is paused");
            self.note(&kept, &signed, &Facts::default(), &Err(Refusal::Conflict(why.clone()))).await;
            return Err(Refusal::Conflict(why));
        }
        self.deliver(kept, signed, mark.clone()).await
    }

    /// Whether a request is signed. Of a webhook that is not there nobody is told that it is not.
    fn verify<'a>(
        &self,
        name: &str,
        header: impl Fn(&'static str) -> Option<&'a str>,
        body: Bytes,
    ) -> Result<(Arc<Kept>, Signed), Refusal> {
        let unsigned = || Refusal::Unauthorized("the request is not signed as it has to be".to_owned());
        let kept = self.find(name).map_err(|_| unsigned())?;
        let hook = kept.hook.as_ref().ok_or_else(unsigned)?;
        let refuse = |why: &dyn std::fmt::Display| {
            tracing::warn!(workflow = name, %why, "a request is refused");
            self.registry.note_refused(&kept.name, self.clock.now(), why.to_string());
            unsigned()
        };
        let key = self.secrets()?.get(&hook.secret, &kept.name).map_err(|why| refuse(&why))?;
        yuanli_triggers::verify(hook.provider, key.expose(), &header, &body, self.clock.now())
            .map_err(|why| refuse(&why))?;
        let headers =
            EVENT_HEADERS.iter().filter_map(|name| Some(((*name).to_owned(), header(name)?.to_owned())));
        let signed = Signed {
            headers: headers.collect(),
            body,
            id: yuanli_triggers::delivery(hook.provider, &header),
            repeats: None,
        };
        Ok((Arc::clone(&kept), signed))
    }

    /// Does again what a delivery asked for, by the workflow as it is now.
    pub(crate) async fn redeliver(
        self: &Arc<Self>,
        name: &str,
        number: u64,
    ) -> Result<api::HookAnswer, Refusal> {
        let kept = self.find(name)?;
        let found = self.registry.delivery(&kept.name, number).await?;
        let found = found.ok_or_else(|| {
            Refusal::NotFound(format!(
                "there is no delivery {number} of `{name}`; `yuanli workflow deliveries {name}` shows them"
            ))
        })?;
        let (found, Some(body)) = found else {
            return Err(Refusal::Conflict(format!(
                "the body of delivery {number} was not kept, as it is too long; its sender can send it again"
            )));
        };
        let signed = Signed { headers: found.headers, body, id: None, repeats: Some(number) };
        self.deliver(kept, signed, audit::Signed::default()).await
    }

    /// Does what a request asks for, and answers it. Who hangs up keeps nothing from being done and noted.
    async fn deliver(
        self: &Arc<Self>,
        kept: Arc<Kept>,
        signed: Signed,
        mark: audit::Signed,
    ) -> Result<api::HookAnswer, Refusal> {
        let shared = Arc::clone(self);
        let work = async move {
            let settled = shared.settle(&kept, &signed, &mark).await;
            shared.figures.came(Trigger::Webhook, came(&settled));
            settled
        };
        let done = self.work.finish(work).await;
        match done.unwrap_or_else(|| Err(Refusal::Unavailable("the engine ends".to_owned())))? {
            (Outcome::Passed(reason), _) => Ok(api::HookAnswer {
                id: None,
                is_new: false,
                reason: Some(reason),
                status: None,
                outputs: None,
            }),
            (Outcome::Started(started), wait) => self.answer_of(started, wait).await,
        }
    }

    /// Decides, starts, and notes what became of it; for how long its sender waits for the end of the run.
    async fn settle(
        &self,
        kept: &Kept,
        signed: &Signed,
        mark: &audit::Signed,
    ) -> Result<(Outcome, Option<Duration>), Refusal> {
        let document = self.compile(kept.as_file()).await?;
        let Some(workflow) = document.workflow() else { return Err(Refusal::Document(Box::new(document))) };
        let Some(webhook) = workflow.triggers().webhook.clone() else {
            return Err(Refusal::NotFound(format!("workflow `{}` has no webhook", kept.name)));
        };
        let read = serde_json::from_slice::<Value>(&signed.body);
        let header = |name: &'static str| {
            let found = signed.headers.iter().find(|(header, _)| header == name);
            found.map(|(_, value)| value.as_str())
        };
        let facts = Facts::of(webhook.provider, header, read.as_ref().unwrap_or(&Value::Null));
        let decided = match decide(&webhook, &facts, read) {
            Ok(Ok(inputs)) => {
                let id = signed.id.as_ref().or(facts.delivery.as_ref());
                let id = id.filter(|_| signed.repeats.is_none());
                let cause = id.map(|id| StartId::of_delivery(&kept.name, id).to_string());
                self.start_document(document, Given::Values(inputs), cause, Cause::Webhook)
                    .await
                    .map(Outcome::Started)
            }
            Ok(Err(why)) => Ok(Outcome::Passed(why)),
            Err(refusal) => Err(refusal),
        };
        if let Ok(Outcome::Started(started)) = &decided {
            mark.set(format!("run {}", started.run));
        }
        self.note(kept, signed, &facts, &decided).await;
        decided.map(|outcome| (outcome, webhook.wait))
    }

    /// Keeps what became of a request. The run is durable already, so that this may fail.
    async fn note(&self, kept: &Kept, signed: &Signed, facts: &Facts, decided: &Result<Outcome, Refusal>) {
        let (run, is_new, reason) = match decided {
            Ok(Outcome::Started(started)) => (Some(started.run.to_string()), started.is_new, None),
            Ok(Outcome::Passed(why)) => (None, false, Some(why.clone())),
            Err(refusal) => (None, false, Some(refusal.told())),
        };
        let id = signed.id.as_ref().or(facts.delivery.as_ref());
        let delivery = Delivery {
            at_ms: self.clock.now().as_millis(),
            id: id.map(|id| id.as_str().to_owned()),
            events: facts.events.clone(),
            repeats: signed.repeats,
            run,
            is_new,
            reason,
            headers: signed.headers.clone(),
            is_kept: kept::is_kept(&signed.body),
        };
        if let Err(error) = self.registry.note_delivery(&kept.name, &delivery, &signed.body).await {
            tracing::warn!(workflow = %kept.name, error = format!("{error:#}"), "a delivery is not noted");
        }
    }

    /// What is answered of a run: after its end, if that comes in time.
    async fn answer_of(&self, started: Started, wait: Option<Duration>) -> Result<api::HookAnswer, Refusal> {
        let run = started.run;
        let (mut status, mut outputs) = (None, None);
        if let Some(wait) = wait
            && tokio::select! {
                ended = tokio::time::timeout(wait, self.end_of(run)) => ended.is_ok(),
                () = self.stop.cancelled() => false,
            }
        {
            (status, outputs) = self.end_in_bodies(run).await?;
        }
        Ok(api::HookAnswer {
            id: Some(run.to_string()),
            is_new: started.is_new,
            reason: None,
            status,
            outputs,
        })
    }

    async fn end_in_bodies(&self, run: RunId) -> anyhow::Result<(Option<api::RunStatus>, Option<Value>)> {
        let events = self.engine.executor().history().events(run, 0).await?;
        let finished = events.into_iter().rev().find_map(|recorded| match recorded.event {
            RunEvent::Finished { outcome, outputs, .. } => Some((body::status(outcome), outputs)),
            _ => None,
        });
        Ok(finished.map_or((None, None), |(status, outputs)| (Some(status), outputs)))
    }
}

fn came(settled: &Result<(Outcome, Option<Duration>), Refusal>) -> Came {
    match settled {
        Ok((Outcome::Started(started), _)) if started.is_new => Came::Started,
        Ok((Outcome::Started(_), _)) => Came::Known,
        Ok((Outcome::Passed(_), _)) => Came::Filter,
        Err(refusal) => Came::from(refusal),
    }
}

/// The inputs that a request gives, or why it does not count.
pub(crate) fn decide(
    webhook: &Webhook,
    facts: &Facts,
    body: serde_json::Result<Value>,
) -> Result<Result<Map<String, Value>, String>, Refusal> {
    let passed = yuanli_triggers::passes(&webhook.filter, facts);
    if let Passed::No(why) = passed.map_err(|error| Refusal::Invalid(error.to_string()))? {
        return Ok(Err(why));
    }
    if webhook.filter.condition.is_none() && webhook.inputs.is_none() {
        return Ok(Ok(Map::new()));
    }
    let body = body.map_err(|error| {
        Refusal::Invalid(format!("the body is no JSON, and inputs are read from it: {error}"))
    })?;
    if let Some(condition) = &webhook.filter.condition {
        let trigger = Map::from_iter([("body".to_owned(), body.clone())]);
        let scope = Scope { trigger: Some(&trigger), ..Scope::default() };
        match yuanli_expr::evaluate(condition, &scope) {
            Ok(Value::Bool(true)) => {}
            Ok(_) => return Ok(Err(format!("`{}` is false", condition.source()))),
            Err(error) => return Ok(Err(format!("`{}` cannot be told: {error}", condition.source()))),
        }
    }
    inputs_from(webhook.inputs.as_ref(), body).map(Ok)
}
