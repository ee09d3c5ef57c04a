//! What of earlier attempts would stand for the stages of a run that is only planned.

use std::time::Duration;

use yuanli_api_types as api;
use yuanli_executor::{Foreseen, Prospect};
use yuanli_lang::plan::{Open, PlannedStage, PlannedWork};
use yuanli_model::run::CacheFinding;
use yuanli_model::stage::Cache;
use yuanli_model::{Digest, StageName, WorkflowName};

use crate::engine::Engine;

impl Engine {
    /// What of earlier attempts would stand for stages of a workflow if they ran now.
    ///
    /// # Errors
    /// The outer one when that cannot be read, the inner one when it is asked for what cannot be.
    pub async fn foresee(
        &self,
        workflow: &str,
        question: api::CacheQuestion,
    ) -> anyhow::Result<Result<Vec<api::CacheOutlook>, String>> {
        let read = |stage| prospect(stage).map_err(|error| format!("a stage that is asked for: {error}"));
        let prospects = question.stages.into_iter().map(read).collect::<Result<Vec<_>, _>>();
        let (workflow, prospects) = match (workflow.parse::<WorkflowName>(), prospects) {
            (Ok(workflow), Ok(prospects)) => (workflow, prospects),
            (Err(error), _) => return Ok(Err(error.to_string())),
            (_, Err(error)) => return Ok(Err(error)),
        };
        let mut outlooks = Vec::with_capacity(prospects.len());
        for prospect in prospects {
            let foreseen = self.executor().foresee(&workflow, &prospect).await?;
            outlooks.push(outlook(&prospect.stage, foreseen));
        }
        Ok(Ok(outlooks))
    }
}

fn prospect(asked: api::CacheProspect) -> anyhow::Result<Prospect> {
    Ok(Prospect {
        stage: asked.stage.parse()?,
        component: asked.plugin.parse()?,
        config: asked.config,
        values: asked.values,
        open: asked.open,
        cache: Cache { max_age: asked.max_age_ms.map(Duration::from_millis), ..Cache::default() },
    })
}

fn outlook(stage: &StageName, foreseen: Foreseen) -> api::CacheOutlook {
    use api::CacheForeseen as Found;
    let (finding, run, parts) = match foreseen {
        Foreseen::Open { from, parts } => (Found::Open, Some(from), parts),
        Foreseen::Finding(finding) => match finding {
            CacheFinding::Hit { from } | CacheFinding::Gone { from } => (Found::Hit, Some(from), Vec::new()),
            CacheFinding::Nothing => (Found::Nothing, None, Vec::new()),
            CacheFinding::Differs { from, part } => (Found::Differs, Some(from), vec![part]),
            CacheFinding::TooOld { from } => (Found::TooOld, Some(from), Vec::new()),
        },
    };
    api::CacheOutlook { stage: stage.to_string(), finding, run: run.map(|run| run.to_string()), parts }
}

/// What is to be asked of a stage that is planned; `None` where it is not cached.
pub(crate) fn asked(stage: &PlannedStage) -> Option<api::CacheProspect> {
    let cache = stage.cache.as_ref()?;
    let PlannedWork::Plugin { digest, with, .. } = &stage.work else { return None };
    let mut open = open_parts("config", &with.open);
    open.extend(open_parts("values", &cache.values.open));
    if !cache.cache.files.is_empty() && !stage.needs.is_empty() {
        open.push("files".to_owned());
    }
    let max_age_ms = cache.cache.max_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    Some(api::CacheProspect {
        stage: stage.name.to_string(),
        plugin: Digest::to_string(digest),
        config: with.value.clone(),
        values: cache.values.value.clone(),
        open,
        max_age_ms,
    })
}

/// The parts of a value that have something open in them, each once.
fn open_parts(name: &str, open: &[Open]) -> Vec<String> {
    let part = |open: &Open| match open.pointer.split('/').nth(1) {
        Some(key) => format!("{name}.{}", key.replace("~1", "/").replace("~0", "~")),
        None => name.to_owned(),
    };
    let mut parts: Vec<String> = open.iter().map(part).collect();
    parts.dedup();
    parts
}

/// In words.
pub(crate) fn told(outlook: &api::CacheOutlook) -> String {
    let api::CacheOutlook { finding, run, parts, .. } = outlook;
    let (run, parts) = (run.as_deref().unwrap_or_default(), parts.join("`, `"));
    match finding {
        api::CacheForeseen::Hit => format!("taken over from run {run}"),
        api::CacheForeseen::Open => format!("as in run {run} so far; not known yet: `{parts}`"),
        api::CacheForeseen::Differs => format!("runs, as `{parts}` is not as in run {run}"),
        api::CacheForeseen::TooOld => format!("runs, as what run {run} gave is too old"),
        api::CacheForeseen::Nothing => "runs, as nothing is kept".to_owned(),
    }
}
