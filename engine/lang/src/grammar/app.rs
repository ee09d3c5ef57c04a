//! The keys of an app.

use super::{Map, Shape, all, optional, required};
use crate::key;

/// Most replicas, as `model` has it.
const REPLICAS: Shape = Shape::Whole(0, yuanli_model::app::MAX_REPLICAS as u64);
const SOME_REPLICAS: Shape = Shape::Whole(1, yuanli_model::app::MAX_REPLICAS as u64);

/// A path of a request.
const PATH: Shape = Shape::Pattern("^/");

/// An app.
pub(crate) static APP: Map = Map {
    name: "app",
    about: "An app: a long-running service behind the gateway.",
    keys: Some(&key::APP),
    fields: &[
        required("app", Shape::Name, "shop", "The name of the app, unique on an engine."),
        required(
            "image",
            Shape::Pattern("^[A-Za-z0-9][A-Za-z0-9._/:@-]*$"),
            "shop:v1",
            "The image, by name or id. What the name stands for is found out once, when a release is made of it.",
        ),
        optional(
            "command",
            Shape::List(&Shape::Text),
            "[/shop, --verbose]",
            "The command with its arguments; the image's own when absent.",
        ),
        optional("env", Shape::Texts(&Shape::Text), "{ DATA: /data }", "Environment variables."),
        required("port", Shape::Whole(1, 65_535), "8080", "The TCP port on which it serves HTTP."),
        optional(
            "replicas",
            REPLICAS,
            "2",
            "How many replicas, when nothing else asks for more or fewer. Default 1, or the minimum of `scaling`.",
        ),
        optional(
            "route",
            Shape::Either(&[Shape::Text, Shape::Map(&ROUTE)]),
            "shop.example/cart",
            "Where the gateway finds it: a host, a path, or both. Without one it is reached by nobody outside.",
        ),
        optional(
            "health",
            Shape::Map(&HEALTH),
            "{ http: /healthz }",
            "How the engine finds out, from outside, whether a replica serves. Default: a connection to its port.",
        ),
        optional(
            "volumes",
            Shape::Names(&Shape::Map(&VOLUME)),
            "{ shop-data: { path: /data, mode: shared } }",
            "Its volumes, by their names on the engine.",
        ),
        optional(
            "drain",
            Shape::Duration,
            "5s",
            "How long a replica may take to finish its requests, and then to stop. Default 10s.",
        ),
        optional(
            "cpu",
            Shape::Cpu,
            "500m",
            "What a replica is given of the processors: thousandths of one, or a number.",
        ),
        optional("memory", Shape::Memory, "64MiB", "The most memory of a replica."),
        optional(
            "scaling",
            Shape::Map(&SCALING),
            "{ maximum: 5, metric: { in-flight: 10 } }",
            "How the number of replicas follows time and load.",
        ),
    ],
    one_of: &[],
    others: None,
};

static ROUTE: Map = Map {
    name: "route",
    about: "What the gateway sends to an app.",
    keys: Some(&key::ROUTE),
    fields: &[
        optional(
            "host",
            Shape::Text,
            "shop.example",
            "A host name in lower case, without a port; any when absent.",
        ),
        optional("path", PATH, "/cart", "A prefix of paths, on the boundary of a `/`. Default `/`."),
    ],
    one_of: &[],
    others: None,
};

static HEALTH: Map = Map {
    name: "health",
    about: "How the engine finds out whether a replica serves.",
    keys: Some(&key::HEALTH),
    fields: &[
        optional("http", PATH, "/healthz", "The path that is asked for; answers 200 to 399 are good."),
        optional("tcp", Shape::Boolean, "true", "Only whether the port takes connections."),
        optional("interval", Shape::Duration, "5s", "How often a replica that serves is asked. Default 5s."),
        optional("timeout", Shape::Duration, "1s", "How long an answer may take. Default 1s."),
        optional(
            "start",
            Shape::Duration,
            "60s",
            "How long a replica may take to its first good answers. Default 60s.",
        ),
    ],
    one_of: &[],
    others: None,
};

static VOLUME: Map = Map {
    name: "volume",
    about: "A volume in the containers of an app.",
    keys: Some(&key::VOLUME),
    fields: &[
        required("path", PATH, "/data", "Where it appears in the container."),
        optional(
            "mode",
            Shape::Words(
                &[
                    (
                        "exclusive",
                        "One replica at a time: the old one stops before a new one starts, and requests wait. The \
                         default.",
                    ),
                    ("shared", "Any number of replicas at once, of several releases too."),
                    ("read-only", "Any number, none of which writes."),
                ],
                all,
            ),
            "shared",
            "Who may use it at once.",
        ),
    ],
    one_of: &[],
    others: None,
};

static SCALING: Map = Map {
    name: "scaling",
    about: "How the number of replicas follows time and load.",
    keys: Some(&key::SCALING),
    fields: &[
        optional("minimum", SOME_REPLICAS, "2", "Never fewer. Default 1."),
        required("maximum", SOME_REPLICAS, "5", "Never more."),
        optional(
            "metric",
            Shape::Map(&METRIC),
            "{ in-flight: 10 }",
            "What load is measured by, and what it is to be.",
        ),
        optional(
            "windows",
            Shape::List(&Shape::Map(&WINDOW)),
            "[{ start: \"0 8 * * 1-5\", end: \"0 20 * * 1-5\", replicas: 4 }]",
            "When there are to be at least so many.",
        ),
    ],
    one_of: &[],
    others: None,
};

static METRIC: Map = Map {
    name: "metric",
    about: "What load is measured by: one of these.",
    keys: Some(&key::METRIC),
    fields: &[
        optional(
            "cpu",
            Shape::Percent,
            "60%",
            "Processor time in percent of what the replicas are given by `cpu`, one processor when that is absent.",
        ),
        optional("in-flight", Shape::Number, "10", "Requests in flight that a replica takes well."),
    ],
    one_of: &["cpu", "in-flight"],
    others: None,
};

static WINDOW: Map = Map {
    name: "window",
    about: "A time in which there are to be at least so many replicas.",
    keys: Some(&key::WINDOW),
    fields: &[
        required("start", Shape::Text, "\"0 8 * * 1-5\"", "When it opens: a cron expression of five fields."),
        required("end", Shape::Text, "\"0 20 * * 1-5\"", "When it closes: at the next of these times."),
        optional("timezone", Shape::Text, "Europe/Berlin", "The time zone of both. Default UTC."),
        required("replicas", SOME_REPLICAS, "4", "The least number of replicas while it is open."),
    ],
    one_of: &[],
    others: None,
};
