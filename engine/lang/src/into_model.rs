//! From a document without errors to the workflow of the model.

use indexmap::IndexMap;
use yuanli_model::stage::Work;
use yuanli_model::workflow::{Concurrency, Settings};
use yuanli_model::{Stage, Template, Workflow};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::document::{Defaults, Document};
use crate::schema;
use crate::stage::{Cache, Draft, Uses, Variable};
use crate::target::Target;

/// Most environment variables of all stages together, those counted that a stage has from the workflow: each stage
/// gets its own copy.
const MAX_VARIABLES: usize = 200_000;

/// Reports more environment variables than there can be.
pub(crate) fn check_size(document: &Document<'_>, diagnostics: &mut Diagnostics<'_>) {
    let shared = document.env.len() + document.defaults.env.len();
    let own: usize = document.stages.iter().map(|stage| stage.env.len()).sum();
    let all = shared.saturating_mul(document.stages.len()).saturating_add(own);
    if all > MAX_VARIABLES {
        let first = document.env.first().or(document.defaults.env.first());
        let span = first.map_or(Span::default(), |variable| variable.span);
        let message =
            format!("the stages have {all} environment variables together, the most is {MAX_VARIABLES}");
        diagnostics.error_with(Code::TooLarge, span, message, || {
            Some("give variables to the stages that use them, or split the workflow".to_owned())
        });
    }
}

pub(crate) fn workflow(
    document: Document<'_>,
    targets: &[Target],
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Workflow> {
    let Document { name, description, labels, inputs, env, triggers, concurrency, timeout, .. } = document;
    let shared = Shared { env: values(&env), defaults: document.defaults };
    let stages = document.stages.into_iter().zip(targets);
    let stages = stages.map(|(draft, target)| shared.stage(draft, target)).collect::<Option<Vec<_>>>()?;
    let concurrency = concurrency.map(|concurrency| Concurrency {
        group: concurrency.group.template,
        limit: concurrency.limit,
        older: concurrency.older,
        priority: concurrency.priority.map(|priority| priority.template),
    });
    let outputs = document.outputs.into_iter().map(|output| (output.name, output.config.template)).collect();
    let settings = Settings { labels, env: shared.env, concurrency, timeout, outputs };
    match Workflow::new(name?, description, inputs.valid, stages) {
        Ok(workflow) => Some(workflow.with_settings(settings).with_triggers(triggers.into_triggers())),
        Err(invalid) => {
            // Every reason has a diagnostic of its own, with a place; this one is for a reason that is new.
            diagnostics.error(Code::WrongKind, Span::default(), invalid.to_string());
            None
        }
    }
}

/// What all stages have in common.
struct Shared {
    env: IndexMap<String, Template>,
    defaults: Defaults,
}

impl Shared {
    fn stage(&self, draft: Draft<'_>, target: &Target) -> Option<Stage> {
        let needs = draft.needs.iter().map(|(need, _)| need.parse().ok()).collect::<Option<Vec<_>>>()?;
        let grants = if draft.has_grants { &draft.grants } else { &self.defaults.grants };
        let grants = grants.iter().map(|(grant, _)| grant.clone()).collect();
        let is_gate = draft.is_gate;
        let env = self.variables(&draft.env);
        let work = match draft.uses {
            None if is_gate => Work::Gate,
            None => return None,
            Some((Uses::Workflow(uses), _)) => Work::Workflow { uses, with: draft.config.template },
            Some((Uses::Plugin(uses), _)) => {
                Work::Plugin { uses, with: with_variables(draft.config.template, &env, target) }
            }
        };
        let defaults = (!is_gate).then_some(&self.defaults);
        Some(Stage {
            name: draft.name?,
            description: draft.description,
            section: draft.section,
            work,
            needs,
            condition: draft.condition.as_ref().map(|condition| condition.expression()),
            max_parallel: match draft.fan_out {
                Some(_) => draft.max_parallel.or(self.defaults.max_parallel),
                None => None,
            },
            fan_out: draft.fan_out.map(|fan_out| fan_out.into_model()),
            approval: draft.approval.map(|approval| approval.into_model()),
            retry: draft
                .retry
                .or_else(|| defaults.and_then(|defaults| defaults.retry.clone()))
                .unwrap_or_default(),
            allow_failure: draft.allow_failure,
            grants,
            timeout: draft.timeout.or_else(|| defaults.and_then(|defaults| defaults.timeout)),
            limits: match defaults {
                Some(defaults) => draft.limits.over(defaults.limits),
                None => draft.limits,
            },
            cache: draft.cache.map(Cache::into_model),
            env,
        })
    }

    /// The variables of a stage: those of the workflow, over them those of the defaults, over them its own.
    fn variables(&self, own: &[Variable]) -> IndexMap<String, Template> {
        let mut env = self.env.clone();
        env.extend(values(&self.defaults.env));
        env.extend(values(own));
        env
    }
}

fn values(variables: &[Variable]) -> IndexMap<String, Template> {
    variables.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect()
}

/// The config with the variables of the stage in it, below those that it has itself, when the plugin takes some.
fn with_variables(config: Template, env: &IndexMap<String, Template>, target: &Target) -> Template {
    let takes_variables = || matches!(target, Target::Plugin(plugin) if schema::takes_variables(&plugin.description.config_schema));
    let Template::Map(mut entries) = config else { return config };
    if env.is_empty() || !takes_variables() {
        return Template::Map(entries);
    }
    let own = entries.get_mut("env");
    match own {
        None | Some(Template::Null) => {
            entries.insert("env".to_owned(), Template::Map(env.clone()));
        }
        Some(Template::Map(own)) => {
            let mut merged = env.clone();
            merged.extend(std::mem::take(own));
            *own = merged;
        }
        // An expression says all of it.
        Some(_) => {}
    }
    Template::Map(entries)
}
