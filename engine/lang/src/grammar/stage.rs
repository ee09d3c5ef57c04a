//! The keys of a stage.

use super::workflow::INPUT_FORMS;
use super::{Map, Shape, all, optional, required};
use crate::key;

/// Environment variables; each may have expressions in it.
pub(super) const VARIABLES: Shape = Shape::Texts(&Shape::Text);

/// Rights.
pub(super) const RIGHTS: Shape = Shape::Either(&[Shape::List(&RIGHT), Shape::Right, Shape::Map(&GRANT)]);

/// A right, by its name or with what it holds for.
const RIGHT: Shape = Shape::Either(&[Shape::Right, Shape::Map(&GRANT)]);

/// A number of attempts, or more than that.
pub(super) const RETRY_SHORT: Shape = Shape::Either(&[Shape::Whole(1, 100), Shape::Map(&RETRY)]);

const TEXTS: Shape = Shape::Either(&[Shape::Text, Shape::List(&Shape::Text)]);

/// A list, or an expression that gives one.
const ITEMS: Shape = Shape::OrExpression(&Shape::List(&Shape::Any));

/// A stage.
pub(super) static STAGE: Map = Map {
    name: "stage",
    about: "A stage: runs one plugin, after those that it needs.",
    keys: Some(&key::STAGE),
    fields: &[
        optional("description", Shape::Text, "Builds the image", "What the stage is for, for people."),
        optional(
            "uses",
            Shape::Uses,
            "build",
            "What it runs: a plugin of the engine by its name, or a component file beside the workflow, such as \
             `./my-stage.wasm`.",
        ),
        optional(
            "with",
            Shape::With,
            "{ image: \"shop:${{ inputs.tag }}\" }",
            "The plugin's config. Expressions in `${{ }}` may stand in any value; one that is the whole value keeps \
             its type.",
        ),
        optional(
            "run",
            TEXTS,
            "[make test]",
            "Commands of a shell, in a container of `image`; short for the plugin `command`. One that fails ends them.",
        ),
        optional("image", Shape::Text, "alpine:3.20", "The image in which the commands of `run` run."),
        optional(
            "needs",
            Shape::Either(&[Shape::List(&Shape::Name), Shape::Name]),
            "[source, image]",
            "The stages that have to end before it starts; one name, or a list. Without an `if` all of them have to \
             succeed. Their files are in its workspace.",
        ),
        optional(
            "if",
            Shape::Either(&[Shape::Text, Shape::Boolean]),
            "inputs.target == 'prod'",
            "An expression that says whether it runs, once its needs have ended; else it is skipped.",
        ),
        optional(
            "for_each",
            ITEMS,
            "[amd64, arm64]",
            "A list: the stage runs once for each item, at the same time. Expressions see it as `item`.",
        ),
        optional(
            "matrix",
            Shape::Map(&MATRIX),
            "{ os: [debian, alpine], version: [1, 2] }",
            "Lists by name: the stage runs once for each combination of their values. Expressions see one as \
             `matrix.NAME`.",
        ),
        optional("max_parallel", Shape::Whole(1, 100_000), "4", "Most instances that run at the same time."),
        optional(
            "retry",
            RETRY_SHORT,
            "3",
            "Whether and when an attempt that failed is followed by another.",
        ),
        optional(
            "timeout",
            Shape::Duration,
            "10m",
            "How long an attempt may take, wall clock; the engine's default when absent.",
        ),
        optional(
            "allow_failure",
            Shape::Boolean,
            "true",
            "Whether its failure leaves the run, and what needs it, as if it had succeeded.",
        ),
        optional(
            "approval",
            Shape::Either(&[Shape::Map(&APPROVAL), Shape::Text, Shape::Boolean]),
            "Deploy to production?",
            "What a person has to agree to before it starts: a question, or more than that.",
        ),
        optional(
            "grants",
            RIGHTS,
            "[containers]",
            "The rights that a component file is trusted with. Plugins that came with the engine have theirs.",
        ),
        optional(
            "limits",
            Shape::Map(&LIMITS),
            "{ memory: 512MiB }",
            "What its plugin may use, containers not counted.",
        ),
        optional(
            "cache",
            Shape::Either(&[Shape::Map(&CACHE), Shape::Boolean]),
            "{ files: [\"src/**\"] }",
            "When the outputs of an earlier run may stand for its own. Does not act in this version.",
        ),
        optional(
            "env",
            VARIABLES,
            "{ CI: \"true\" }",
            "Environment variables: those of the workflow, with these over them. Expressions see them as `env.NAME`.",
        ),
    ],
    one_of: &["uses", "run", "approval"],
    others: None,
};

/// Rights that have bounds.
static GRANT: Map = Map {
    name: "grant",
    about: "Rights with what they hold for.",
    keys: Some(&key::GRANT),
    fields: &[
        optional(
            "http",
            Shape::Map(&HTTP_GRANT),
            "{ hosts: [api.example.com] }",
            "Send HTTP requests, to these hosts.",
        ),
        optional(
            "workspace",
            Shape::Map(&WORKSPACE_GRANT),
            "{ access: read }",
            "Read the files of its workspace, and write them or not.",
        ),
        optional(
            "containers",
            Shape::Map(&CONTAINERS_GRANT),
            "{ mounts: [/srv/data] }",
            "Run containers, and such as can reach the machine. The engine has to allow that too.",
        ),
        optional(
            "volumes",
            Shape::Map(&VOLUMES_GRANT),
            "{ names: [cache] }",
            "Make, see and mount volumes, and remove them or not.",
        ),
    ],
    one_of: &["http", "workspace", "containers", "volumes"],
    others: None,
};

static WORKSPACE_GRANT: Map = Map {
    name: "workspace-grant",
    about: "What a plugin may do in its workspace.",
    keys: Some(&key::WORKSPACE_GRANT),
    fields: &[optional(
        "access",
        Shape::Words(
            &[("read", "It reads files."), ("read-write", "It reads, writes and removes files.")],
            super::all,
        ),
        "read",
        "What it may do there. Default `read-write`.",
    )],
    one_of: &[],
    others: None,
};

static CONTAINERS_GRANT: Map = Map {
    name: "containers-grant",
    about: "What the containers of a plugin may be beyond ordinary ones.",
    keys: Some(&key::CONTAINERS_GRANT),
    fields: &[
        optional(
            "privileged",
            Shape::Boolean,
            "true",
            "Whether they may have all rights on the machine. Default `false`.",
        ),
        optional(
            "network",
            Shape::Words(&[("host", "That of the machine.")], super::all),
            "host",
            "The network that they may be in beside one of their own. Default none.",
        ),
        optional(
            "mounts",
            TEXTS,
            "[/srv/data, \"/srv/out:rw\"]",
            "Folders and files of the machine that they may have, with all that is below them; to be written with `:rw`. \
             Default none.",
        ),
    ],
    one_of: &[],
    others: None,
};

static VOLUMES_GRANT: Map = Map {
    name: "volumes-grant",
    about: "The volumes that a plugin may use.",
    keys: Some(&key::VOLUMES_GRANT),
    fields: &[
        optional(
            "names",
            TEXTS,
            "[data, \"cache-*\"]",
            "Their names; `*` at the end stands for any text. Default all.",
        ),
        optional(
            "remove",
            Shape::Boolean,
            "true",
            "Whether it may remove those that workflows made. Default `false`.",
        ),
    ],
    one_of: &[],
    others: None,
};

static HTTP_GRANT: Map = Map {
    name: "http-grant",
    about: "The HTTP requests that a plugin may send.",
    keys: Some(&key::HTTP_GRANT),
    fields: &[
        required(
            "hosts",
            TEXTS,
            "[api.example.com, \"*.example.org\", \"127.0.0.1:8080\"]",
            "The hosts, with a port where it is not the usual one. `*.` stands for one or more labels.",
        ),
        optional(
            "methods",
            Shape::Either(&[Shape::List(&METHOD), METHOD]),
            "[GET, POST]",
            "The methods. Default `GET` and `HEAD`.",
        ),
        optional(
            "paths",
            TEXTS,
            "[\"/v1/**\"]",
            "The paths: `*` stands for any text without `/`, `**` for any number of parts. Default all.",
        ),
        optional(
            "private",
            Shape::Boolean,
            "true",
            "Whether the names may stand for addresses of this machine and of private networks. Default `false`.",
        ),
    ],
    one_of: &[],
    others: None,
};

const METHOD: Shape = Shape::Words(
    &[
        ("GET", "Read."),
        ("HEAD", "Read the headers."),
        ("OPTIONS", "Ask what can be done."),
        ("POST", "Do or add something."),
        ("PUT", "Put something in the place of what is there."),
        ("PATCH", "Change a part."),
        ("DELETE", "Remove."),
    ],
    |_| true,
);

pub(super) static LIMITS: Map = Map {
    name: "limits",
    about: "What the plugin of a stage may use, containers not counted.",
    keys: Some(&key::LIMITS),
    fields: &[
        optional("memory", Shape::Memory, "512MiB", "Memory, from 1MiB to 2GiB. Default `256MiB`."),
        optional(
            "cpu",
            Shape::Duration,
            "5m",
            "Processor time, at most an hour; waiting for what it calls does not count. Default a minute.",
        ),
        optional(
            "log",
            Shape::Memory,
            "256MiB",
            "What it writes to the log itself, from 1KiB to 1GiB. Default `64MiB`.",
        ),
        optional("outputs", Shape::Memory, "64KiB", "Its outputs as JSON, from 64B to 1MiB. Default `1MiB`."),
        optional(
            "handles",
            Shape::Whole(0, 1024),
            "100",
            "Containers, builds and the like that it begins, and secrets that it has open. Default 1024.",
        ),
        optional(
            "artifacts",
            Shape::Memory,
            "50MiB",
            "The artifacts that it puts, replaced ones counted, from 1KiB to 1GiB. Default `1GiB`, all that a run may have.",
        ),
    ],
    one_of: &[],
    others: None,
};

static CACHE: Map = Map {
    name: "cache",
    about: "When the outputs of an earlier run may stand for those of the stage: when its plugin, its config and these are \
            the same.",
    keys: Some(&key::CACHE),
    fields: &[
        optional(
            "files",
            TEXTS,
            "[\"src/**\", Cargo.lock]",
            "Patterns of files of the workspace whose contents count.",
        ),
        optional(
            "values",
            Shape::Any,
            "[\"${{ inputs.tag }}\"]",
            "A value that counts, with expressions in it.",
        ),
        optional("max_age", Shape::Duration, "7d", "How old the outputs may be; any age when absent."),
    ],
    one_of: &[],
    others: None,
};

static MATRIX: Map = Map {
    name: "matrix",
    about: "Combinations of values: each key but `include` and `exclude` is a variable with its values.",
    keys: None,
    fields: &[
        optional(
            "include",
            ITEMS,
            "[{ os: debian, version: 3 }]",
            "More combinations. One whose variables are those of a combination adds to that one.",
        ),
        optional(
            "exclude",
            ITEMS,
            "[{ os: alpine, version: 1 }]",
            "Combinations that are left out: all that have these values.",
        ),
    ],
    one_of: &[],
    others: Some(&ITEMS),
};

static RETRY: Map = Map {
    name: "retry",
    about: "Whether and when an attempt that failed is followed by another.",
    keys: Some(&key::RETRY),
    fields: &[
        required("attempts", Shape::Whole(1, 100), "3", "Most attempts, the first one included."),
        optional(
            "backoff",
            Shape::Either(&[Shape::Duration, Shape::Map(&BACKOFF)]),
            "2s",
            "How long to wait before the second attempt; each further wait is twice as long.",
        ),
        optional(
            "jitter",
            Shape::Either(&[Shape::Boolean, Shape::Percent]),
            "50%",
            "The share of a wait that is left to chance: it is shorter by up to so much. Default `50%`.",
        ),
        optional("cap", Shape::Duration, "1m", "The longest wait. Default a minute."),
        optional(
            "on",
            TEXTS,
            "[transient, timeout]",
            "The classes (`transient`, `throttled`, `permanent`, `interrupted`) and kinds of failures after which there \
             is another attempt; when absent, all that may change.",
        ),
        optional(
            "exit_codes",
            Shape::Either(&[Shape::List(&Shape::Whole(1, 255)), Shape::Whole(1, 255)]),
            "[137]",
            "Exit codes after which there is another attempt.",
        ),
    ],
    one_of: &[],
    others: None,
};

static BACKOFF: Map = Map {
    name: "backoff",
    about: "How long to wait between attempts.",
    keys: Some(&key::BACKOFF),
    fields: &[
        optional("initial", Shape::Duration, "2s", "Before the second attempt. Default a second."),
        optional(
            "growth",
            Shape::Words(
                &[
                    ("fixed", "All waits are the same."),
                    ("exponential", "Each is twice the one before. The default."),
                ],
                all,
            ),
            "exponential",
            "How waits grow.",
        ),
        optional("cap", Shape::Duration, "1m", "The longest wait."),
    ],
    one_of: &[],
    others: None,
};

static APPROVAL: Map = Map {
    name: "approval",
    about: "What a person has to agree to before the stage starts.",
    keys: Some(&key::APPROVAL),
    fields: &[
        optional(
            "message",
            Shape::Text,
            "Deploy to production?",
            "What is asked; may have expressions in it.",
        ),
        optional(
            "by",
            TEXTS,
            "[ops]",
            "Who may answer: names of people or roles. Anybody who may operate it when absent.",
        ),
        optional(
            "count",
            Shape::Whole(1, 100),
            "2",
            "How many have to agree. One who does not is enough to refuse.",
        ),
        optional("deadline", Shape::Duration, "1d", "How long to wait for the answer; for ever when absent."),
        optional(
            "on_expiry",
            Shape::Words(&[("reject", "No. The default."), ("approve", "Yes.")], all),
            "reject",
            "What the answer is when nobody gave one in time.",
        ),
        optional(
            "inputs",
            Shape::Names(&Shape::Either(&INPUT_FORMS)),
            "{ reason: { type: string } }",
            "What is asked for with the answer.",
        ),
    ],
    one_of: &[],
    others: None,
};
