//! The keys of documents of tests.

use super::{Map, Shape, all, optional, required};
use crate::key;

/// A moment, with its offset.
const MOMENT: Shape = Shape::Pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}");
/// The names of stages, one or several.
const STAGES: Shape = Shape::Either(&[Shape::Name, Shape::List(&Shape::Name)]);
const OUTCOMES: Shape = Shape::Words(
    &[
        ("succeeded", "Every stage succeeded."),
        ("failed", "At least one stage failed."),
        ("cancelled", "It was cancelled."),
    ],
    all,
);
const RESULTS: Shape = Shape::Words(
    &[
        ("succeeded", "It ended well."),
        ("failed", "It ended badly."),
        ("allowed", "It ended badly, which it may."),
        ("skipped", "It did not run."),
        ("cancelled", "It was stopped."),
    ],
    all,
);

/// A document of tests.
pub(crate) static SUITE: Map = Map {
    name: "suite",
    about: "Tests of a workflow: `yuanli test` runs them without Docker, on a clock of their own.",
    keys: Some(&key::SUITE),
    fields: &[
        optional(
            "workflow",
            Shape::Text,
            "shop.yaml",
            "The file of the workflow; the one beside this that is called the same, without `.test`, when absent.",
        ),
        required("cases", Shape::List(&Shape::Map(&CASE)), "[{ name: it greets }]", "The cases."),
    ],
    one_of: &[],
    others: None,
};

static CASE: Map = Map {
    name: "case",
    about: "One run, what it is given, and what is to come of it.",
    keys: Some(&key::CASE),
    fields: &[
        required("name", Shape::Text, "a push to main is built", "What it shows, as a statement."),
        optional("now", MOMENT, "2026-12-01T08:00:00Z", "What the clock shows when the run starts."),
        optional("inputs", Shape::Texts(&Shape::Any), "{ tag: v1 }", "The inputs of the run."),
        optional(
            "trigger",
            Shape::Map(&TRIGGER),
            "{ schedule: \"2026-12-01T03:00:00Z\" }",
            "What starts the run instead: what a trigger of the workflow brings.",
        ),
        optional(
            "stages",
            Shape::Texts(&Shape::Map(&FAKE)),
            "{ build: { outputs: { image: \"shop:1\" } } }",
            "What the stages do, by name; those of a workflow that is run are written `WORKFLOW/STAGE`.",
        ),
        optional(
            "approvals",
            Shape::Names(&Shape::Either(&[Shape::Map(&ANSWER), Shape::List(&Shape::Map(&ANSWER))])),
            "{ ship: { answer: approve } }",
            "What people answer, by stage; an approval that nobody answers waits until its deadline.",
        ),
        optional("cancel", Shape::Duration, "90s", "When the run is cancelled, after its start."),
        optional("expect", Shape::Map(&EXPECT), "{ ran: [build] }", "What is to come of it."),
    ],
    one_of: &[],
    others: None,
};

static TRIGGER: Map = Map {
    name: "fake-trigger",
    about: "What a trigger of the workflow brings. Whether it starts a run is decided as the engine does.",
    keys: Some(&key::FAKE_TRIGGER),
    fields: &[
        optional(
            "webhook",
            Shape::Map(&WEBHOOK),
            "{ headers: { X-GitHub-Event: push }, body: { ref: refs/heads/main } }",
            "A request to the webhook, rightly signed.",
        ),
        optional(
            "schedule",
            Shape::Either(&[MOMENT, Shape::Map(&SCHEDULE)]),
            "\"2026-12-01T03:00:00Z\"",
            "A time that has come.",
        ),
        optional("metric", Shape::Map(&METRIC), "{ value: 93 }", "A value that has crossed its threshold."),
        optional("event", Shape::Map(&EVENT), "{ workflow: build }", "Something that has happened."),
    ],
    one_of: &[],
    others: None,
};

static WEBHOOK: Map = Map {
    name: "fake-webhook",
    about: "A request to the webhook.",
    keys: Some(&key::FAKE_WEBHOOK),
    fields: &[
        optional("headers", Shape::Texts(&Shape::Any), "{ X-GitHub-Event: push }", "Its headers."),
        optional("body", Shape::Any, "{ ref: refs/heads/main }", "Its body."),
    ],
    one_of: &[],
    others: None,
};

static SCHEDULE: Map = Map {
    name: "fake-schedule",
    about: "A time that has come.",
    keys: Some(&key::FAKE_SCHEDULE),
    fields: &[required("due", MOMENT, "2026-12-01T03:00:00Z", "The time.")],
    one_of: &[],
    others: None,
};

static METRIC: Map = Map {
    name: "fake-metric",
    about: "A value that has crossed its threshold.",
    keys: Some(&key::FAKE_METRIC),
    fields: &[
        required("value", Shape::Number, "93", "The value."),
        optional("query", Shape::Text, "load", "What is measured, where the workflow has several rules."),
    ],
    one_of: &[],
    others: None,
};

static EVENT: Map = Map {
    name: "fake-event",
    about: "Something that has happened: a run ended, an image was pushed, an app changed.",
    keys: Some(&key::FAKE_EVENT),
    fields: &[
        optional("workflow", Shape::Name, "build", "The workflow of which a run ended."),
        optional("outcome", OUTCOMES, "succeeded", "How that ended; `succeeded` when absent."),
        optional("outputs", Shape::Texts(&Shape::Any), "{ image: \"shop:1\" }", "What it gave."),
        optional("image", Shape::Text, "shop:1", "The image that was pushed."),
        optional("digest", Shape::Text, "\"sha256:0\"", "Its digest."),
        optional("app", Shape::Name, "shop", "The app that changed."),
        optional("release", Shape::Whole(1, u32::MAX as u64), "2", "The number of its release."),
        optional(
            "state",
            Shape::Words(
                &[
                    ("rolling-out", "Its replicas are being started."),
                    ("healthy", "Every replica serves."),
                    ("failed", "It cannot be brought to serve."),
                    ("timed-out", "It did not get there in time."),
                    ("deleted", "It is on its way out."),
                ],
                all,
            ),
            "healthy",
            "How far that is.",
        ),
    ],
    one_of: &["workflow", "image", "app"],
    others: None,
};

static FAKE: Map = Map {
    name: "fake",
    about: "What a stage does, instead of what its plugin would. Nothing said: it succeeds, without outputs.",
    keys: Some(&key::FAKE),
    fields: &[
        optional(
            "outputs",
            Shape::Texts(&Shape::Any),
            "{ image: \"shop:1\" }",
            "What it gives; not all that its plugin would have to be there.",
        ),
        optional(
            "fails",
            Shape::Either(&[Shape::Text, Shape::Map(&FAILURE)]),
            "{ class: transient, message: the registry is away }",
            "It fails: a message, or more.",
        ),
        optional("exit", Shape::Whole(0, 255), "3", "The exit code of its container."),
        optional(
            "takes",
            Shape::Duration,
            "10m",
            "How long it takes; longer than its `timeout` and it fails.",
        ),
        optional("log", Shape::List(&Shape::Text), "[building]", "The lines that it writes."),
        optional(
            "artifacts",
            Shape::Texts(&Shape::Text),
            "{ report.txt: fine }",
            "The artifacts that it puts.",
        ),
        optional(
            "attempts",
            Shape::List(&Shape::Map(&FAKE)),
            "[{ fails: not yet }, { outputs: {} }]",
            "What its attempts do, one after the other; the last one stands for all that come after it.",
        ),
        optional(
            "instances",
            Shape::Texts(&Shape::Map(&FAKE)),
            "{ \"1\": { fails: this one } }",
            "What instances do that do something else, by number, from 0.",
        ),
    ],
    one_of: &[],
    others: None,
};

static FAILURE: Map = Map {
    name: "fake-failure",
    about: "A failure of a stage.",
    keys: Some(&key::FAKE_FAILURE),
    fields: &[
        optional(
            "class",
            Shape::Words(
                &[
                    ("permanent", "Trying again gives the same."),
                    ("transient", "Trying again may help."),
                    ("throttled", "Trying again may help after a while."),
                    ("interrupted", "Whether an effect happened cannot be known."),
                ],
                all,
            ),
            "transient",
            "Its class; `permanent` when absent.",
        ),
        optional("kind", Shape::Text, "timeout", "Its kind; `failed` when absent."),
        optional("message", Shape::Text, "the registry is away", "What is said of it."),
        optional("details", Shape::Texts(&Shape::Any), "{ exit-code: 3 }", "More of it."),
        optional("retry_after", Shape::Duration, "30s", "How long to wait, of one that is `throttled`."),
    ],
    one_of: &[],
    others: None,
};

static ANSWER: Map = Map {
    name: "fake-answer",
    about: "What a person answers to an approval.",
    keys: Some(&key::ANSWER),
    fields: &[
        required(
            "answer",
            Shape::Words(&[("approve", "They agree."), ("reject", "They do not.")], all),
            "approve",
            "Yes or no.",
        ),
        optional("after", Shape::Duration, "10m", "How long after it was asked; at once when absent."),
        optional("by", Shape::Text, "mia", "Who; `tester` when absent."),
        optional("comment", Shape::Text, "looks good", "Why."),
        optional("inputs", Shape::Texts(&Shape::Any), "{ version: 2 }", "What the approval asks for."),
    ],
    one_of: &[],
    others: None,
};

static EXPECT: Map = Map {
    name: "expect",
    about: "What is to come of a run. What is not named may be anything, but the outcome.",
    keys: Some(&key::EXPECT),
    fields: &[
        optional(
            "starts",
            Shape::Boolean,
            "false",
            "Whether there is to be a run at all; `true` when absent.",
        ),
        optional("because", Shape::Text, "branch", "What the reason has in it why there is none."),
        optional("outcome", OUTCOMES, "failed", "How the run ends; `succeeded` when absent."),
        optional("outputs", Shape::Texts(&Shape::Any), "{ image: \"shop:1\" }", "The outputs, all of them."),
        optional(
            "failure",
            Shape::Map(&EXPECTED_FAILURE),
            "{ kind: timeout }",
            "Why the first stage that failed did.",
        ),
        optional("took", Shape::Duration, "1m30s", "How long the run takes."),
        optional(
            "ran",
            Shape::Either(&[Shape::Name, Shape::List(&STAGES)]),
            "[source, [lint, build], ship]",
            "The stages that run, all in the order in which they begin; those of an inner list in any order.",
        ),
        optional("skipped", STAGES, "[ship]", "The stages that are skipped, all of them in any order."),
        optional(
            "stages",
            Shape::Texts(&Shape::Either(&[RESULTS, Shape::Map(&EXPECTED_STAGE)])),
            "{ ship: skipped }",
            "What is expected of stages, and of instances, written `STAGE[NUMBER]`.",
        ),
    ],
    one_of: &[],
    others: None,
};

static EXPECTED_STAGE: Map = Map {
    name: "expected-stage",
    about: "What is expected of a stage.",
    keys: Some(&key::EXPECTED_STAGE),
    fields: &[
        optional("result", RESULTS, "failed", "How it ends."),
        optional("because", Shape::Text, "is false", "What the reason has in it why it is skipped."),
        optional(
            "with",
            Shape::Texts(&Shape::Any),
            "{ image: \"shop:1\" }",
            "What its config has among other things.",
        ),
        optional(
            "outputs",
            Shape::Any,
            "{ image: \"shop:1\" }",
            "Its outputs, all of them; a list for several instances.",
        ),
        optional("failure", Shape::Map(&EXPECTED_FAILURE), "{ kind: timeout }", "Why it fails."),
        optional("attempts", Shape::Whole(0, u32::MAX as u64), "3", "How many attempts it takes."),
        optional("instances", Shape::Whole(0, u32::MAX as u64), "2", "How many instances it has."),
        optional("began", Shape::Duration, "10m", "When it begins, after the start of the run."),
        optional("took", Shape::Duration, "30s", "How long it takes, with the waits between attempts."),
        optional("asked", Shape::Text, "Ship v1?", "What the question of its approval has in it."),
    ],
    one_of: &[],
    others: None,
};

static EXPECTED_FAILURE: Map = Map {
    name: "expected-failure",
    about: "A failure, as far as it matters.",
    keys: Some(&key::EXPECTED_FAILURE),
    fields: &[
        optional("class", Shape::Text, "transient", "Its class."),
        optional("kind", Shape::Text, "timeout", "Its kind."),
        optional("message", Shape::Text, "is away", "What its message has in it."),
    ],
    one_of: &[],
    others: None,
};
