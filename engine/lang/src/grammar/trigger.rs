//! The keys under `on`.

use super::{Map, Shape, optional, required};
use crate::key;
use crate::trigger::{MAX_FAILURES, MAX_MISSED};

const TEXTS: Shape = Shape::Either(&[Shape::Text, Shape::List(&Shape::Text)]);
const GIVEN: Shape = Shape::Names(&Shape::Any);

/// What starts a run without a person.
pub(super) static TRIGGERS: Map = Map {
    name: "triggers",
    about: "What starts a run without a person.",
    keys: Some(&key::TRIGGERS),
    fields: &[
        optional(
            "schedule",
            Shape::Either(&[Shape::Map(&SCHEDULE), Shape::List(&Shape::Map(&SCHEDULE))]),
            "{ cron: \"0 3 * * *\", timezone: Europe/Berlin }",
            "At these times; one schedule, or a list.",
        ),
        optional(
            "webhook",
            Shape::Map(&WEBHOOK),
            "{ secret: hook-key }",
            "By a signed POST to `/hooks/NAME`, where NAME is the workflow's.",
        ),
        optional(
            "metric",
            Shape::Either(&[Shape::Map(&METRIC), Shape::List(&Shape::Map(&METRIC))]),
            "{ query: queue_length, above: 100 }",
            "When something that is measured crosses a threshold, once for each time.",
        ),
        optional(
            "event",
            Shape::Either(&[Shape::Map(&EVENT), Shape::List(&Shape::Map(&EVENT))]),
            "{ workflow: build, outcome: succeeded }",
            "When something happens in the engine.",
        ),
        optional(
            "pause_after_failures",
            Shape::Whole(1, MAX_FAILURES as u64),
            "5",
            "So many runs in a row that failed, whatever started them, pause the workflow until somebody resumes it.",
        ),
    ],
    one_of: &[],
    others: None,
};

const OVERLAPS: &[(&str, &str)] = &[
    ("allow", "Another one starts beside it. The default."),
    ("skip", "The time is skipped."),
    ("queue-one", "The next one waits for its end; of several that wait the latest stays."),
    ("queue", "Each waits for the end of the one before, at most 100."),
    ("cancel-running", "It is cancelled, and the next one starts when it has ended, with its `finally`."),
    ("terminate-running", "It is cancelled with its `finally`, and the next one starts when it has ended."),
];

const DIALECTS: &[(&str, &str)] = &[
    ("cron", "As crontab(5) has it: five fields, or six with seconds before them."),
    (
        "quartz",
        "As Quartz has it: six fields with seconds, or seven with years; `?` for the day that does not count; days of the week \
         from 1, Sunday.",
    ),
];

static SCHEDULE: Map = Map {
    name: "schedule",
    about: "Times at which a run starts.",
    keys: Some(&key::SCHEDULE),
    fields: &[
        required(
            "cron",
            Shape::Text,
            "\"0 3 * * *\"",
            "Five fields: minute, hour, day of the month, month, day of the week; seconds may come before them.",
        ),
        optional(
            "dialect",
            Shape::Words(DIALECTS, super::all),
            "quartz",
            "How `cron` is to be read. Default `cron`.",
        ),
        optional(
            "timezone",
            Shape::Text,
            "Europe/Berlin",
            "The time zone of the fields, by its name in the tz database. Default UTC.",
        ),
        optional(
            "from",
            Shape::Text,
            "2026-12-01",
            "The first moment that counts: a date, a date with a time of day (`2026-12-01T08:00`), or with an offset (RFC 3339).",
        ),
        optional("until", Shape::Text, "2027-02-01", "The last moment that counts."),
        optional(
            "jitter",
            Shape::Duration,
            "10m",
            "A run starts up to this much later; always the same for the same due time.",
        ),
        optional(
            "missed",
            Shape::Words(
                &[
                    ("skip", "Nothing."),
                    ("once", "One run starts, for the latest of them. The default."),
                    ("all", "A run starts for each of them, at most `missed_limit`."),
                ],
                super::all,
            ),
            "skip",
            "What becomes of times that went by while no engine ran.",
        ),
        optional(
            "missed_limit",
            Shape::Whole(1, MAX_MISSED as u64),
            "24",
            "Most times that `missed: all` makes up for: the latest ones. Default 100.",
        ),
        optional(
            "overlap",
            Shape::Words(OVERLAPS, super::all),
            "skip",
            "What happens at a due time when a run that the same schedule has started has not ended.",
        ),
        optional(
            "pause_after_failures",
            Shape::Whole(1, MAX_FAILURES as u64),
            "3",
            "So many of its runs in a row that failed pause the schedule until somebody resumes it.",
        ),
        optional(
            "inputs",
            GIVEN,
            "{ day: \"${{ trigger.body.due }}\" }",
            "Inputs of the run; `trigger.body` is `{due}`, the due time as RFC 3339 in UTC.",
        ),
    ],
    one_of: &[],
    others: None,
};

static WEBHOOK: Map = Map {
    name: "webhook",
    about: "A signed request that starts a run.",
    keys: Some(&key::WEBHOOK),
    fields: &[
        required(
            "secret",
            Shape::Name,
            "hook-key",
            "The name of the secret that the sender signs with, or shows; `yuanli secret set` keeps it.",
        ),
        optional(
            "provider",
            Shape::Words(
                &[
                    ("generic", "Whoever signs as GitHub does. The default."),
                    ("github", "GitHub."),
                    ("gitlab", "GitLab, by its token or by its signature."),
                    ("gitea", "Gitea and Forgejo."),
                    ("registry", "Notifications of a container registry."),
                    ("standard", "Standard Webhooks."),
                ],
                super::all,
            ),
            "github",
            "Who sends: how requests are signed, and where they say what happened.",
        ),
        optional("events", TEXTS, "[push]", "What has to have happened, as the sender calls it."),
        optional(
            "branches",
            TEXTS,
            "[main, \"release/*\"]",
            "Patterns of the branch; of a pull request that which it goes into.",
        ),
        optional("tags", TEXTS, "\"v*\"", "Patterns of the tag; with `branches` one of the two is enough."),
        optional("paths", TEXTS, "[\"src/**\"]", "Patterns of files of which one has to be changed."),
        optional(
            "if",
            Shape::Either(&[Shape::Text, Shape::Boolean]),
            "trigger.body.sender.login != 'bot'",
            "What has to be true of the request; it sees `trigger.body`.",
        ),
        optional(
            "wait",
            Shape::Duration,
            "30s",
            "How long a request waits for the end of its run; without it the answer comes once the run is durable.",
        ),
        optional(
            "inputs",
            GIVEN,
            "{ tag: \"${{ trigger.body.tag }}\" }",
            "Inputs of the run; `trigger.body` is the JSON of the request.",
        ),
    ],
    one_of: &[],
    others: None,
};

static METRIC: Map = Map {
    name: "metric-trigger",
    about: "A measured value that crosses a threshold, and stays there.",
    keys: Some(&key::METRIC_TRIGGER),
    fields: &[
        required(
            "query",
            Shape::Text,
            "queue_length",
            "What is measured: a query in PromQL that gives one number.",
        ),
        optional(
            "source",
            Shape::Pattern("^https?://"),
            "http://prometheus:9090",
            "The base URL of the Prometheus that is asked; the engine's own metrics when absent.",
        ),
        optional("above", Shape::Number, "100", "It has to be greater than this."),
        optional("below", Shape::Number, "0.5", "It has to be less than this."),
        optional(
            "clear",
            Shape::Number,
            "50",
            "Until where it has to come back before it can start another run; the threshold when absent.",
        ),
        optional("for", Shape::Duration, "5m", "How long it has to be there before a run starts."),
        optional("cooldown", Shape::Duration, "30m", "The least time between two starts."),
        optional("inputs", GIVEN, "{ load: \"${{ trigger.body.value }}\" }", "Inputs of the run."),
    ],
    one_of: &["above", "below"],
    others: None,
};

static EVENT: Map = Map {
    name: "event",
    about: "Something that happens in the engine: one of `workflow`, `image` and `app`.",
    keys: Some(&key::EVENT),
    fields: &[
        optional("workflow", Shape::Name, "build", "A run of this workflow ended."),
        optional(
            "outcome",
            Shape::Either(&[OUTCOME, Shape::List(&OUTCOME)]),
            "succeeded",
            "How that run has to have ended; however when absent.",
        ),
        optional(
            "image",
            Shape::Text,
            "registry.example.com/shop",
            "An image was pushed to this repository.",
        ),
        optional("app", Shape::Name, "shop", "This app got a new release, or another state."),
        optional("inputs", GIVEN, "{ image: \"${{ trigger.body.image }}\" }", "Inputs of the run."),
    ],
    one_of: &["workflow", "image", "app"],
    others: None,
};

const OUTCOME: Shape = Shape::Words(
    &[("succeeded", "It succeeded."), ("failed", "It failed."), ("cancelled", "It was cancelled.")],
    super::all,
);
