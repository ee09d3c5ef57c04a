//! Documents: those that are kept, and runs that are started of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Map, Value};
use yuanli_api_types as api;
use yuanli_executor::{Manner, Started};
use yuanli_expr::Scope;
use yuanli_model::run::Cause;
use yuanli_model::trigger::EventTrigger;
use yuanli_model::{RunId, Template, WorkflowName};
use yuanli_ports::plugins::Origin;
use yuanli_triggers::{Query, RuleId};

use super::Shared;
use crate::document::{Document, Given};
use crate::figures::{Came, Trigger};
use crate::file::{File, Pins};
use crate::identity::Caller;
use crate::kept::{Expected, Kept};
use crate::manner::manner;
use crate::refusal::Refusal;
use crate::retry::Unretried;
use crate::workflows::Source;

/// The folder of the data directory where the paths of workflows begin that have no folder: nothing is in it.
const NO_FOLDER: &str = "no-folder";

impl Shared {
    /// Starts a run of a document; not before the engine has cleared up.
    pub(crate) async fn start_document(
        &self,
        document: Document,
        inputs: Given,
        cause: Option<String>,
        by: Cause,
    ) -> Result<Started, Refusal> {
        self.start_document_with(document, inputs, cause, by, Manner::default()).await
    }

    /// The same, with what else was said of it.
    async fn start_document_with(
        &self,
        document: Document,
        inputs: Given,
        cause: Option<String>,
        by: Cause,
        manner: Manner,
    ) -> Result<Started, Refusal> {
        self.recovered.wait().await;
        if !document.is_valid() {
            return Err(Refusal::Document(Box::new(document)));
        }
        Ok(self.engine.submit_with(document, inputs, cause, by, manner).await??)
    }

    /// Starts a run because somebody asks for it. Of one key there is one run.
    pub(crate) async fn start_by_name(
        &self,
        request: api::RunRequest,
        key: Option<&str>,
    ) -> Result<Started, Refusal> {
        let api::RunRequest { workflow: name, inputs, no_cache, labels, priority } = request;
        let manner = manner(no_cache, labels, priority).map_err(Refusal::Invalid)?;
        let kept = self.find(&name)?;
        let cause = key.map(|key| format!("key\0{name}\0{key}"));
        let document = self.compile(kept.as_file()).await?;
        let inputs = Given::Texts(inputs.into_iter().collect());
        let started = self.start_document_with(document, inputs, cause, Cause::Request, manner).await;
        self.figures.came(Trigger::Request, Came::of(&started));
        started
    }

    /// Starts a run that takes over from another one; not before the engine has cleared up.
    pub(crate) async fn retry(
        &self,
        run: RunId,
        request: api::RetryRequest,
        key: Option<&str>,
    ) -> Result<Started, Refusal> {
        self.recovered.wait().await;
        match self.engine.retry(run, request, (Cause::Request, key), Some(&self.registry)).await? {
            Ok(started) => Ok(started),
            Err(Unretried::NotNow(why)) => Err(Refusal::Conflict(why)),
            Err(Unretried::Wrong(why)) => Err(Refusal::Invalid(why)),
            Err(Unretried::Document(document)) => Err(Refusal::Document(document)),
        }
    }

    /// Compiles a document; the workflows that it runs are those that are kept.
    pub(crate) async fn compile(&self, file: File) -> anyhow::Result<Document> {
        self.engine.library().compile(file, Source::Kept(&self.registry, None)).await
    }

    /// Starts a run of a workflow that is not kept; of one key there is one. What would start it by itself does not count. Where it lies in a folder of
    /// this machine, that is where the workflows are looked for that it runs, as `yuanli run` does.
    pub(crate) async fn run_document(
        &self,
        request: api::DocumentRun,
        caller: &Caller,
        key: Option<&str>,
    ) -> Result<(WorkflowName, Started), Refusal> {
        let api::DocumentRun { document, inputs, no_cache, labels, priority } = request;
        let manner = manner(no_cache, labels, priority).map_err(Refusal::Invalid)?;
        if document.dry_run {
            let why = "`dry_run` says what applying would change, and this starts a run; leave it out";
            return Err(Refusal::Invalid(why.to_owned()));
        }
        let source = match document.folder.is_empty() {
            true => Source::Kept(&self.registry, Some(caller)),
            false => Source::Beside,
        };
        let document = self.read_from(document, caller, source).await?;
        let name = document.workflow().map(|workflow| workflow.name().clone());
        let name = name.ok_or_else(|| Refusal::Invalid("the workflow has errors".to_owned()))?;
        self.recovered.wait().await;
        let inputs = Given::Texts(inputs.into_iter().collect());
        let cause = key.map(|key| format!("document\0{name}\0{key}"));
        let submitted = self.engine.submit_with(document, inputs, cause, Cause::Request, manner).await?;
        Ok((name, submitted?))
    }

    /// Reads a workflow that is to be kept, if it and those that it runs are the caller's.
    pub(crate) async fn read(
        &self,
        document: api::WorkflowDocument,
        caller: &Caller,
    ) -> Result<Document, Refusal> {
        let source = Source::Kept(&self.registry, Some(caller));
        let document = self.read_from(document, caller, source).await?;
        self.refuse_triggers(&document, caller)?;
        Ok(document)
    }

    /// Reads a workflow, if it and those that it runs are the caller's.
    async fn read_from(
        &self,
        document: api::WorkflowDocument,
        caller: &Caller,
        source: Source<'_>,
    ) -> Result<Document, Refusal> {
        let origin = self.origin(&document, caller)?;
        let file = File { name: document.file, text: document.text, origin, pins: Pins::new() };
        let document = self.engine.library().compile(file, source).await?;
        if !document.is_valid() {
            return Err(Refusal::Document(Box::new(document)));
        }
        let names = document.workflow().map(|workflow| workflow.name().clone()).into_iter();
        for name in names.chain(document.uses()).chain(document.follows()) {
            if !caller.has(&name) {
                return Err(Refusal::Forbidden(format!(
                    "the token `{}` is not for the workflow `{name}`",
                    caller.name
                )));
            }
        }
        Ok(document)
    }

    /// Keeps a workflow that was read.
    pub(crate) async fn apply(&self, document: &Document, expected: &Expected) -> Result<Arc<Kept>, Refusal> {
        Ok(self.registry.apply(document, expected, self.clock.now()).await?)
    }

    /// Where the paths in a document begin. What lies on the engine's machine is not for everybody who may change workflows.
    fn origin(&self, document: &api::WorkflowDocument, caller: &Caller) -> Result<Origin, Refusal> {
        if document.folder.is_empty() && document.root.is_empty() {
            let folder = self.engine.data().join(NO_FOLDER);
            std::fs::create_dir_all(&folder).with_context(|| format!("`{}`", folder.display()))?;
            return Ok(Origin { folder: folder.clone(), root: folder });
        }
        if caller.role < api::Role::Admin {
            return Err(Refusal::Forbidden(
                "only an admin may name a folder of the engine's machine: leave `folder` and `root` out"
                    .to_owned(),
            ));
        }
        let (folder, root) = (PathBuf::from(&document.folder), PathBuf::from(&document.root));
        if !folder.is_absolute() || !root.is_absolute() {
            return Err(Refusal::Invalid("`folder` and `root` have to be absolute paths".to_owned()));
        }
        Ok(Origin { folder, root })
    }

    /// Refuses what a workflow would be started by, where that can be known to be wrong here only.
    fn refuse_triggers(&self, document: &Document, caller: &Caller) -> Result<(), Refusal> {
        let Some(workflow) = document.workflow() else { return Ok(()) };
        let triggers = workflow.triggers();
        let of_engine = |event: &EventTrigger| event.event.ends().is_none();
        if !caller.workflows.is_empty() && triggers.events.iter().any(of_engine) {
            return Err(Refusal::Forbidden(format!(
                "the token `{}` is for some workflows, and images and apps are the engine's",
                caller.name
            )));
        }
        let mut rules = BTreeSet::new();
        for rule in &triggers.metrics {
            if !rules.insert(RuleId::of(rule)) {
                return Err(Refusal::Invalid(format!(
                    "two rules measure `{}` with the same threshold, so that they are one: put them together",
                    rule.query
                )));
            }
            if rule.source.is_none() {
                Query::parse(&rule.query)
                    .map_err(|error| Refusal::Invalid(format!("the query `{}`: {error}", rule.query)))?;
            } else if caller.role < api::Role::Admin {
                return Err(Refusal::Forbidden(
                    "only an admin may have the engine ask a `source` of metrics, which can be any server that it reaches"
                        .to_owned(),
                ));
            }
        }
        let Some(cycle) = self.registry.cycle(document) else { return Ok(()) };
        let names: Vec<String> = cycle.iter().map(|name| format!("`{name}`")).collect();
        Err(Refusal::Invalid(format!(
            "runs would follow each other for ever: {}; one of these must not start by the end of the one before",
            names.join(", then ")
        )))
    }

    /// A workflow that is kept.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Kept>, Refusal> {
        let kept = name.parse::<WorkflowName>().ok().and_then(|name| self.registry.get(&name));
        kept.ok_or_else(|| Refusal::no_workflow(name))
    }
}

/// The inputs that a trigger gives, with what it has told as `trigger.body`; none where it says nothing of them.
pub(crate) fn inputs_from(template: Option<&Template>, body: Value) -> Result<Map<String, Value>, Refusal> {
    let Some(template) = template else { return Ok(Map::new()) };
    let trigger = Map::from_iter([("body".to_owned(), body)]);
    let scope = Scope { trigger: Some(&trigger), ..Scope::default() };
    match yuanli_expr::render(template, &scope) {
        Ok(Value::Object(inputs)) => Ok(inputs),
        Ok(_) => Err(Refusal::Invalid("the inputs of the trigger are no map".to_owned())),
        Err(error) => Err(Refusal::Invalid(format!("the inputs of the trigger cannot be read: {error}"))),
    }
}
