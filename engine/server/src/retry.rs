//! Runs that take over from others: with the workflow and the plugins of those, or with what their names stand for now.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;
use yuanli_api_types as api;
use yuanli_executor::{
    Definition, Definitions, Error, LeftWorkflow, Manner, Recorded, Retry, Started, Submission,
};
use yuanli_flow::NotReusable;
use yuanli_model::input::InvalidInput;
use yuanli_model::run::{Cause, PinnedStage, Provenance, StartingPoint};
use yuanli_model::workflow::Priority;
use yuanli_model::{InputName, RunEvent, RunId, Workflow, WorkflowName};
use yuanli_ports::plugins::Origin;

use crate::document::{Document, Given, Refused};
use crate::engine::Engine;
use crate::file::{File, Pins};
use crate::kept::Registry;
use crate::library::Library;
use crate::workflows::Source;

/// Why a run is not retried.
#[derive(Debug)]
pub enum Unretried {
    /// It does not fit what happens now: a sentence.
    NotNow(String),
    /// What was asked for is wrong: a sentence.
    Wrong(String),
    /// The workflow has errors.
    Document(Box<Document>),
}

/// What a run was made of.
struct Old {
    workflow: WorkflowName,
    text: String,
    origin: Origin,
    stages: Vec<PinnedStage>,
    inputs: IndexMap<InputName, Value>,
    priority: Priority,
    provenance: Provenance,
}

impl Engine {
    /// Starts a run that takes over from another one. It is durable when this returns.
    ///
    /// # Errors
    /// The outer one when the store fails; the inner one says why it cannot be, or what is wrong.
    pub async fn retry_here(
        &self,
        run: RunId,
        request: api::RetryRequest,
    ) -> anyhow::Result<Result<RunId, Unretried>> {
        let started = self.retry(run, request, (Cause::Command, None), None).await?;
        Ok(started.map(|started| started.run))
    }

    /// The same, with the workflows that an engine keeps for what is to be the latest. Of one key and run there is one.
    pub(crate) async fn retry(
        &self,
        run: RunId,
        request: api::RetryRequest,
        (by, key): (Cause, Option<&str>),
        kept: Option<&Registry>,
    ) -> anyhow::Result<Result<Started, Unretried>> {
        let cause = key.map(|key| format!("retry\0{run}\0{key}"));
        // Whatever has become of the workflow since.
        if let Some(run) = self.executor().started(cause.as_deref()).await? {
            return Ok(Ok(Started { run, is_new: false }));
        }
        let submitted = self.submission_again(run, &request, kept).await?;
        let (from, submission) = match submitted {
            Ok((from, submission)) => (from, Submission { cause, ..submission }),
            Err(why) => return Ok(Err(why)),
        };
        match self.executor().retry(Retry { submission, run, from }, by).await {
            Ok(started) => Ok(Ok(started)),
            Err(error @ Error::NotReusable(NotReusable::GoesOn(_))) => {
                Ok(Err(Unretried::NotNow(error.to_string())))
            }
            Err(
                error @ (Error::NotReusable(_)
                | Error::Unkept { .. }
                | Error::NotStored(_)
                | Error::Group(_)
                | Error::TooLong(_)),
            ) => Ok(Err(Unretried::Wrong(error.to_string()))),
            Err(error) => Err(error.into()),
        }
    }

    async fn submission_again(
        &self,
        run: RunId,
        request: &api::RetryRequest,
        kept: Option<&Registry>,
    ) -> anyhow::Result<Result<(Vec<StartingPoint>, Submission), Unretried>> {
        let wrong = |why: String| Ok(Err(Unretried::Wrong(why)));
        let from = request.from.iter().map(|point| point.parse()).collect::<Result<Vec<StartingPoint>, _>>();
        let from = match from {
            Ok(from) => from,
            Err(error) => return wrong(error.to_string()),
        };
        if let Some(why) = self.refuse_open(run).await? {
            return Ok(Err(Unretried::NotNow(why)));
        }
        let old = match self.old(run).await? {
            Ok(old) => old,
            Err(why) => return wrong(why),
        };
        let document = self.document_again(&old, request.latest, kept).await?;
        let (definition, workflows) = match made_of(document) {
            Ok(made) => made,
            Err(document) => return Ok(Err(Unretried::Document(document))),
        };
        let inputs = match inputs(&definition.workflow, old.inputs, request) {
            Ok(inputs) => inputs,
            Err(why) => return wrong(why),
        };
        if let Some(Refused::Secrets(missing)) =
            self.refuse_secrets(definition.workflow.name(), &inputs).await?
        {
            return wrong(missing.join("; "));
        }
        let manner = Manner {
            bypasses_cache: request.no_cache,
            labels: old.provenance.labels,
            priority: Some(old.priority),
        };
        let workflows = Arc::new(workflows);
        Ok(Ok((from, Submission { definition, inputs, workflows, cause: None, is_kept: true, manner })))
    }

    /// Why a run that has not ended is not retried.
    pub(crate) async fn refuse_open(&self, run: RunId) -> anyhow::Result<Option<String>> {
        let summary = self.executor().history().summary(run).await?;
        let is_open = summary.is_some_and(|summary| summary.ended.is_none());
        Ok(match (is_open, self.executor().is_driving(run)) {
            (false, _) => None,
            (true, true) => Some(NotReusable::GoesOn(run).to_string()),
            (true, false) => Some(format!(
                "run {run} was interrupted when its engine stopped: `yuanli runs resume {run}` goes on with it"
            )),
        })
    }

    async fn old(&self, run: RunId) -> anyhow::Result<Result<Old, String>> {
        let history = self.executor().history();
        let events = history.events(run, 0).await?;
        let Some(Recorded {
            event: RunEvent::Created { workflow, version, inputs, stages, priority, provenance, .. },
            ..
        }) = events.into_iter().next()
        else {
            return Ok(Err(Error::NotStored(run).to_string()));
        };
        let Some((folder, root)) = provenance.origin.clone() else {
            return Ok(Err(format!(
                "run {run} was started by an engine that did not keep where the workflow's file lies: start it anew"
            )));
        };
        let Some(text) = history.workflow(&version).await? else {
            return Ok(Err(format!("the text of the workflow of run {run} is not stored any more")));
        };
        let origin = Origin { folder: folder.into(), root: root.into() };
        Ok(Ok(Old { workflow, text, origin, stages, inputs, priority, provenance: *provenance }))
    }

    /// What a run was made of, compiled anew from the same text; `None` when that cannot be.
    pub(crate) async fn definition_of(&self, run: RunId) -> anyhow::Result<Option<Definition>> {
        let Ok(old) = self.old(run).await? else { return Ok(None) };
        let document = self.document_again(&old, false, None).await?;
        Ok(made_of(document).ok().map(|(definition, _)| definition))
    }

    async fn document_again(
        &self,
        old: &Old,
        is_latest: bool,
        kept: Option<&Registry>,
    ) -> anyhow::Result<Document> {
        let file = |pins| File {
            name: old.workflow.to_string(),
            text: old.text.clone(),
            origin: old.origin.clone(),
            pins,
        };
        if !is_latest {
            let plugins: Vec<_> =
                old.stages.iter().map(|stage| (stage.plugin.clone(), stage.component)).collect();
            let workflows = self.workflows_of(&old.provenance).await?;
            return self.library().compile(file(Library::pins_of(&plugins)), Source::Left(&workflows)).await;
        }
        match kept {
            Some(registry) => {
                let now = registry.get(&old.workflow);
                let file = now.map_or_else(|| file(Pins::new()), |kept| kept.as_file());
                self.library().compile(file, Source::Kept(registry, None)).await
            }
            None => self.library().compile(file(Pins::new()), Source::Beside).await,
        }
    }

    /// The workflows that stages of a run may run, as they were.
    async fn workflows_of(&self, provenance: &Provenance) -> anyhow::Result<Vec<LeftWorkflow>> {
        let mut workflows = Vec::new();
        for pinned in &provenance.workflows {
            let text = self.executor().history().workflow(&pinned.version).await?;
            let (folder, root) = pinned.origin.clone();
            let origin = Origin { folder: folder.into(), root: root.into() };
            workflows.push(LeftWorkflow { uses: pinned.uses.clone(), text, origin });
        }
        Ok(workflows)
    }

    /// Adds to a run that takes over from another one what its inputs were there.
    pub(crate) async fn tell_what_differs(&self, shown: &mut api::Run) -> anyhow::Result<()> {
        let Some(retry_of) = &mut shown.retry_of else { return Ok(()) };
        let before = self.executor().history().run(retry_of.run.parse()?).await?;
        let Some((before, _)) = before else { return Ok(()) };
        for changed in &mut retry_of.changed {
            changed.before = before.inputs().get(&changed.name.parse::<InputName>()?).cloned();
        }
        Ok(())
    }
}

/// What runs of a document are made from; the document when it has errors.
fn made_of(document: Document) -> Result<(Definition, Definitions), Box<Document>> {
    if !document.is_valid() {
        return Err(Box::new(document));
    }
    let workflows = document.workflows();
    let Some(definition) = document.into_definition() else {
        // Where workflows are looked for, one that is not there is an error.
        unreachable!("a workflow without errors runs what is not known");
    };
    Ok((definition, workflows))
}

/// The inputs of the old run, as far as the workflow has them, with others in their place.
fn inputs(
    workflow: &Workflow,
    old: IndexMap<InputName, Value>,
    request: &api::RetryRequest,
) -> Result<IndexMap<InputName, Value>, String> {
    let known = old.into_iter().filter(|(name, _)| workflow.inputs().contains_key(name));
    let mut values: IndexMap<String, Value> = known.map(|(name, value)| (name.to_string(), value)).collect();
    let given = Given::Texts(request.inputs.clone().into_iter().collect());
    values.extend(given.into_values(workflow));
    workflow.bind(values).map_err(|wrong| InvalidInput::in_words(&wrong))
}
