//! What a run of a document would do, drawn and as a body of `api-types`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use yuanli_api_types as api;
use yuanli_lang::plan::{Instances, Open, Outlook, Plan, PlannedStage, PlannedWork, Step, Why};
use yuanli_model::container::ContainerScope;
use yuanli_model::http::HttpScope;
use yuanli_model::input::InvalidInput;
use yuanli_model::volume::VolumeScope;
use yuanli_model::{Access, Digest, InputName, Rights, SecretHandle};

use crate::document::{Document, Given, Refused};
use crate::engine::Locations;
use crate::foresight;
use crate::secret::{GivenSecrets, kept_for};

/// The plan of a run of a document.
#[derive(Debug)]
pub struct PlannedRun {
    plan: Plan,
    version: Digest,
    missing: Vec<InputName>,
    /// What would stand for stages that are cached, by their names.
    cached: BTreeMap<String, api::CacheOutlook>,
}

impl Document {
    /// What a run with these inputs would do. Inputs that are missing are refused, as a run does, or left open.
    ///
    /// # Errors
    /// When it could not be run.
    pub fn plan(&self, inputs: Vec<(String, String)>, is_lenient: bool) -> Result<PlannedRun, Refused> {
        let workflow = self.workflow().ok_or(Refused::Invalid)?;
        let given = Given::Texts(inputs).into_values(workflow);
        let mut missing = Vec::new();
        let bound = match workflow.bind(given.clone()) {
            Ok(bound) => bound,
            Err(wrong) => {
                for mistake in &wrong {
                    match mistake {
                        InvalidInput::Missing(name) if is_lenient => missing.push(name.clone()),
                        _ => return Err(Refused::Inputs(wrong)),
                    }
                }
                let inputs = workflow.inputs().iter();
                let known = inputs.filter_map(|(name, input)| {
                    let value = given.get(name.as_str()).or(input.default.as_ref())?;
                    Some((name.clone(), value.clone()))
                });
                known.collect()
            }
        };
        let plan = Plan::new(workflow, |plugin| self.plugin(plugin), |uses| self.version_of(uses), &bound)
            .ok_or(Refused::Invalid)?;
        let version = Digest::of(self.text().as_bytes());
        Ok(PlannedRun { plan, version, missing, cached: BTreeMap::new() })
    }
}

impl PlannedRun {
    /// As a tree for people; lines are broken to `width` columns, if there is one.
    #[must_use]
    pub fn tree(&self, width: Option<usize>) -> String {
        self.plan.tree(width)
    }

    /// As a graph in the language of Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        self.plan.dot()
    }

    /// As a flow chart of Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        self.plan.mermaid()
    }

    /// The inputs that a run would have to be given.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.missing.iter().map(ToString::to_string).collect()
    }

    /// Why a run would be refused that is given these secrets and those that the data directory keeps: a sentence for each
    /// that is missing.
    #[must_use]
    pub fn missing_secrets(&self, given: &GivenSecrets, locations: &Locations) -> Vec<String> {
        let named: BTreeSet<_> = self.plan.inputs.values().flat_map(SecretHandle::names_in).collect();
        let kept = kept_for(&locations.data, &self.plan.workflow);
        let missing = named.iter().filter(|name| !given.has(name) && !kept.contains(name));
        missing.map(GivenSecrets::missing).collect()
    }

    /// The name of the workflow.
    #[must_use]
    pub fn workflow(&self) -> String {
        self.plan.workflow.to_string()
    }

    /// What is to be asked of earlier runs; `None` where no stage is cached.
    #[must_use]
    pub fn cache_question(&self) -> Option<api::CacheQuestion> {
        let stages: Vec<_> = self.plan.stages().filter_map(foresight::asked).collect();
        (!stages.is_empty()).then_some(api::CacheQuestion { stages })
    }

    /// What was answered.
    pub fn foresee(&mut self, outlooks: Vec<api::CacheOutlook>) {
        for outlook in outlooks {
            if let Ok(stage) = outlook.stage.parse() {
                self.plan.foresee(&stage, foresight::told(&outlook));
            }
            self.cached.insert(outlook.stage.clone(), outlook);
        }
    }

    /// As data.
    #[must_use]
    pub fn body(&self) -> api::Plan {
        let inputs = self.plan.inputs.iter().map(|(name, value)| (name.to_string(), value.clone()));
        api::Plan {
            workflow: self.plan.workflow.to_string(),
            version: self.version.to_string(),
            inputs: inputs.collect(),
            missing_inputs: self.missing(),
            steps: self.plan.steps.iter().map(|found| step(found, &self.cached)).collect(),
        }
    }
}

fn step(step: &Step, cached: &BTreeMap<String, api::CacheOutlook>) -> api::PlannedStep {
    let outlook = |found: &PlannedStage| cached.get(found.name.as_str()).cloned();
    let stages =
        step.stages.iter().map(|found| api::PlannedStage { cache: outlook(found), ..stage(found) }).collect();
    api::PlannedStep { part: step.section.name().to_owned(), stages }
}

fn stage(stage: &PlannedStage) -> api::PlannedStage {
    let (outlook, why, condition, waits_for) = match stage.outlook.clone() {
        Outlook::Runs => (api::Outlook::Runs, None, None, Vec::new()),
        Outlook::Skipped(why) => (api::Outlook::Skipped, Some(why), None, Vec::new()),
        Outlook::Fails(why) => (api::Outlook::Fails, Some(why), None, Vec::new()),
        Outlook::Depends { condition, waits_for } => {
            (api::Outlook::Depends, None, Some(condition), waits_for)
        }
    };
    let (plugin, workflow, with) = match &stage.work {
        PlannedWork::Plugin { uses, name, version, digest, rights, grants, with } => {
            let all = Rights::new(&[], false, grants);
            let plugin = api::PlannedPlugin {
                uses: uses.clone(),
                name: name.clone(),
                version: version.clone(),
                digest: digest.to_string(),
                rights: rights.iter().map(ToString::to_string).collect(),
                http: all.http.iter().map(http).collect(),
                workspace_read_only: all.workspace == Some(Access::Read),
                containers: containers(&all.containers),
                volumes: all.volumes.iter().map(volumes).collect(),
            };
            (Some(plugin), None, Some(with))
        }
        PlannedWork::Workflow { uses, version, with } => {
            let version = version.map(|version| version.to_string());
            (None, Some(api::PlannedWorkflow { uses: uses.clone(), version }), Some(with))
        }
        PlannedWork::Gate => (None, None, None),
    };
    let (instances, instances_open) = match &stage.instances {
        Instances::One => (None, Vec::new()),
        Instances::Known(items) => (Some(items.clone()), Vec::new()),
        Instances::Open(open) => (None, open.iter().map(open_value).collect()),
    };
    api::PlannedStage {
        name: stage.name.to_string(),
        needs: stage.needs.iter().map(ToString::to_string).collect(),
        outlook,
        why,
        condition,
        waits_for,
        plugin,
        workflow,
        with: with.map_or_else(|| Value::Object(Map::new()), |with| with.value.clone()),
        open: with.into_iter().flat_map(|with| &with.open).map(open_value).collect(),
        instances,
        instances_open,
        approval: stage.approval.clone(),
        attempts: stage.attempts,
        timeout_ms: stage.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        cache: None,
    }
}

fn http(scope: &HttpScope) -> api::HttpGrant {
    api::HttpGrant {
        hosts: scope.hosts.iter().map(ToString::to_string).collect(),
        methods: scope.methods.iter().map(|method| (*method).to_owned()).collect(),
        paths: scope.paths.iter().map(|path| path.as_str().to_owned()).collect(),
        private: scope.is_private,
    }
}

fn containers(scope: &ContainerScope) -> Option<api::ContainerGrant> {
    (!scope.is_empty()).then(|| api::ContainerGrant {
        privileged: scope.is_privileged,
        host_network: scope.has_host_network,
        mounts: scope.mounts.iter().map(ToString::to_string).collect(),
    })
}

fn volumes(scope: &VolumeScope) -> api::VolumeGrant {
    api::VolumeGrant {
        names: scope.names.iter().map(ToString::to_string).collect(),
        remove: scope.may_remove,
    }
}

fn open_value(open: &Open) -> api::OpenValue {
    let (waits_for, fails) = match open.why.clone() {
        Why::WaitsFor(names) => (names, None),
        Why::Fails(why) => (Vec::new(), Some(why)),
    };
    api::OpenValue { pointer: open.pointer.clone(), expression: open.expression.clone(), waits_for, fails }
}
