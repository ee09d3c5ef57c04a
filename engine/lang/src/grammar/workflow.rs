//! The keys of a workflow as a whole.

use yuanli_model::workflow::Priority;

use super::input::INPUT;
use super::stage::{LIMITS, RETRY_SHORT, STAGE, VARIABLES};
use super::trigger::TRIGGERS;
use super::{Map, Shape, all, optional, required};
use crate::{input, key};

const STAGES: Shape = Shape::Names(&Shape::Map(&STAGE));

/// A workflow.
pub(crate) static WORKFLOW: Map = Map {
    name: "workflow",
    about: "A workflow: stages that run as far at the same time as their needs allow.",
    keys: Some(&key::WORKFLOW),
    fields: &[
        required("name", Shape::Name, "shop", "The name of the workflow, unique on an engine."),
        optional(
            "description",
            Shape::Text,
            "Builds and tests the shop",
            "What the workflow is for, for people.",
        ),
        optional(
            "labels",
            Shape::Texts(&Shape::Text),
            "{ team: shop }",
            "Words to find the workflow by. They are the same for all of its runs.",
        ),
        optional(
            "inputs",
            Shape::Names(&Shape::Either(&INPUT_FORMS)),
            "{ tag: dev, count: { type: number } }",
            "What a run can be given: each with a type, or short with a default. Expressions see them as \
             `inputs.NAME`.",
        ),
        optional(
            "env",
            VARIABLES,
            "{ TARGET: \"${{ inputs.tag }}\" }",
            "Environment variables of all stages; a stage's own come over them.",
        ),
        optional(
            "on",
            Shape::Map(&TRIGGERS),
            "{ schedule: { cron: \"0 3 * * *\" } }",
            "What starts a run without a person, once the engine keeps the workflow (`yuanli workflow apply`).",
        ),
        optional(
            "concurrency",
            Shape::Either(&[Shape::Text, Shape::Map(&CONCURRENCY)]),
            "deploy",
            "Which runs may go on at the same time: those of one group count together, of all workflows.",
        ),
        optional(
            "timeout",
            Shape::Duration,
            "1h",
            "How long a run may take before its `finally` part begins; for ever when absent.",
        ),
        optional(
            "defaults",
            Shape::Map(&DEFAULTS),
            "{ timeout: 10m, retry: 2 }",
            "What holds for every stage that does not say otherwise.",
        ),
        optional(
            "templates",
            Shape::Names(&Shape::Map(&TEMPLATE)),
            "{ image: { parameters: { name: { type: string } }, stage: { uses: build } } }",
            "Stages with parameters, for several places: a stage has `uses: template/NAME` and gives them under \
             `with`.",
        ),
        required(
            "stages",
            STAGES,
            "{ hello: { uses: script } }",
            "What is done. Stages run at the same time, unless one `needs` another.",
        ),
        optional(
            "on_failure",
            STAGES,
            "{ tell: { uses: script } }",
            "Stages that run after the others, when one of those failed.",
        ),
        optional(
            "finally",
            STAGES,
            "{ clean: { uses: script } }",
            "Stages that run last, however the run went, also when it was cancelled.",
        ),
        optional(
            "outputs",
            Shape::Names(&Shape::Any),
            "{ image: \"${{ stages.image.outputs.id }}\" }",
            "What a run gives to who started it, or to the stage that runs this workflow.",
        ),
    ],
    one_of: &[],
    others: None,
};

/// An input in full, or its default alone.
pub(super) const INPUT_FORMS: [Shape; 5] = [
    Shape::Map(&INPUT),
    Shape::Text,
    Shape::Number,
    Shape::Boolean,
    Shape::When(|| input::is_type("list"), &Shape::List(&Shape::Any)),
];

static CONCURRENCY: Map = Map {
    name: "concurrency",
    about: "Which runs may go on at the same time.",
    keys: Some(&key::CONCURRENCY),
    fields: &[
        required(
            "group",
            Shape::Text,
            "\"deploy-${{ inputs.target }}\"",
            "The group that a run belongs to. Runs of all workflows with the same one count together.",
        ),
        optional(
            "limit",
            Shape::Whole(1, 10_000),
            "2",
            "Most runs of the group at the same time. Default 1.",
        ),
        optional(
            "older",
            Shape::Words(
                &[
                    ("finish", "A new run waits until there is a place. The default."),
                    (
                        "cancel-waiting",
                        "Older runs that wait are cancelled; those that go on are waited for.",
                    ),
                    ("cancel", "All older runs of the group are cancelled."),
                ],
                all,
            ),
            "finish",
            "What a new run does to older ones of its group, when there is no place for it.",
        ),
        optional(
            "priority",
            Shape::OrExpression(&Shape::Integer(Priority::LOWEST, Priority::HIGHEST)),
            "\"${{ inputs.urgent ? 10 : 0 }}\"",
            "How early a run begins among those that wait: the highest first. Default 0.",
        ),
    ],
    one_of: &[],
    others: None,
};

static DEFAULTS: Map = Map {
    name: "defaults",
    about: "What holds for every stage that does not say otherwise.",
    keys: Some(&key::DEFAULTS),
    fields: &[
        optional("timeout", Shape::Duration, "10m", "How long an attempt may take."),
        optional(
            "retry",
            RETRY_SHORT,
            "2",
            "Whether and when an attempt that failed is followed by another.",
        ),
        optional("env", VARIABLES, "{ CI: \"true\" }", "Environment variables."),
        optional(
            "grants",
            super::stage::RIGHTS,
            "[containers]",
            "Rights of plugins that did not come with the engine.",
        ),
        optional("limits", Shape::Map(&LIMITS), "{ memory: 512MiB }", "What the plugins may use."),
        optional(
            "max_parallel",
            Shape::Whole(1, 100_000),
            "4",
            "Most instances of a stage at the same time.",
        ),
    ],
    one_of: &[],
    others: None,
};

static TEMPLATE: Map = Map {
    name: "template",
    about: "A stage with parameters, used by `uses: template/NAME`.",
    keys: Some(&key::TEMPLATE),
    fields: &[
        optional("description", Shape::Text, "Builds an image", "What the template is for, for people."),
        optional(
            "version",
            Shape::Text,
            "1.2.0",
            "Its version, for stages that ask for one: `uses: template/NAME@^1.2`.",
        ),
        optional(
            "parameters",
            Shape::Names(&Shape::Either(&INPUT_FORMS)),
            "{ name: { type: string } }",
            "What the stage that uses it gives under `with`; here they are `parameters.NAME`.",
        ),
        required(
            "stage",
            Shape::Draft(&STAGE),
            "{ uses: build, with: { image: \"${{ parameters.name }}\" } }",
            "The stage. Parameters may stand in place of any value of it.",
        ),
    ],
    one_of: &[],
    others: None,
};
