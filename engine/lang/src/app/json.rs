//! Apps as JSON: into the tree that texts become, and out in the canonical long form.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use yuanli_model::App;
use yuanli_model::app::{Health, Probe, ScalingPolicy, Target, VolumeMount};

use crate::diagnostic::{Diagnostic, Span};
use crate::duration;
use crate::node::{Entry, Kind, Node};
use crate::quantity;

/// Deepest nesting. What a stage gives was read by readers that stop at 128 levels.
const MAX_DEPTH: usize = 120;

/// Most values. A document of an app has some dozens.
const MAX_VALUES: usize = 100_000;

/// The tree of a JSON value, and the text that its places are in: the path of each value and key, one a line.
pub(super) fn tree(document: &Value) -> Result<(String, Node), String> {
    let mut grower = Grower { paths: String::new(), path: String::new(), values: 0 };
    let root = grower.grow(document, 0)?;
    Ok((grower.paths, root))
}

/// A mistake with the path that its place stands for.
pub(super) fn in_one_line(found: &Diagnostic, paths: &str) -> String {
    let path = paths.get(found.span.offset..found.span.end()).unwrap_or_default();
    let mut line = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
    line.push_str(&found.message);
    if let Some(help) = &found.help {
        let _ = write!(line, " ({help})");
    }
    line
}

/// Most bytes of paths: deep values under long keys have long ones.
const MAX_PATHS: usize = 8 << 20;

type Grown<T> = Result<T, String>;

struct Grower {
    paths: String,
    path: String,
    values: usize,
}

impl Grower {
    fn grow(&mut self, value: &Value, depth: usize) -> Grown<Node> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES || self.paths.len() > MAX_PATHS {
            return Err("the app's document is too large or too deep".to_owned());
        }
        let span = self.here();
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(flag) => Kind::Bool(*flag),
            Value::Number(number) => Kind::Number(number.clone()),
            Value::String(text) => Kind::Text(text.clone()),
            Value::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    list.push(self.within(&format!("[{index}]"), |grower| grower.grow(item, depth + 1))?);
                }
                Kind::List(list)
            }
            Value::Object(map) => {
                let mut entries = Vec::with_capacity(map.len());
                for (key, value) in map {
                    let step = if self.path.is_empty() { key.clone() } else { format!(".{key}") };
                    entries.push(self.within(&step, |grower| {
                        let key_span = grower.here();
                        Ok(Entry { key: key.clone(), key_span, value: grower.grow(value, depth + 1)? })
                    })?);
                }
                Kind::Map(entries)
            }
        };
        Ok(Node { span, kind })
    }

    fn within<T>(&mut self, step: &str, grow: impl FnOnce(&mut Self) -> Grown<T>) -> Grown<T> {
        let outer = self.path.len();
        self.path.push_str(step);
        let grown = grow(self);
        self.path.truncate(outer);
        grown
    }

    /// A place of its own for the path.
    fn here(&mut self) -> Span {
        let span = Span { offset: self.paths.len(), length: self.path.len() };
        self.paths.push_str(&self.path);
        self.paths.push('\n');
        span
    }
}

/// The document of an app in its one canonical form: long forms, defaults written out, what is absent left out.
/// [`super::app_from_json`] gives the same app again.
#[must_use]
pub fn app_to_json(app: &App) -> Value {
    let spec = &app.spec;
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
    put("app", json!(app.name.as_str()));
    put("image", json!(app.image));
    if !spec.command.is_empty() {
        put("command", json!(spec.command));
    }
    if !spec.environment.is_empty() {
        put("env", json!(spec.environment));
    }
    put("port", json!(spec.port));
    put("replicas", json!(app.replicas));
    if let Some(route) = &app.route {
        put(
            "route",
            match &route.host {
                Some(host) => json!({ "host": host, "path": route.path }),
                None => json!({ "path": route.path }),
            },
        );
    }
    put("health", health(&spec.health));
    if !spec.volumes.is_empty() {
        put("volumes", volumes(&spec.volumes));
    }
    put("drain", json!(duration::written(spec.drain)));
    if let Some(millis) = spec.cpu_millis {
        put("cpu", json!(quantity::cpu_written(millis)));
    }
    if let Some(bytes) = spec.memory_bytes {
        put("memory", json!(quantity::memory_written(bytes)));
    }
    if let Some(policy) = &app.scaling {
        put("scaling", scaling(policy));
    }
    Value::Object(document)
}

fn health(health: &Health) -> Value {
    let mut document = match &health.probe {
        Probe::Http { path } => json!({ "http": path }),
        Probe::Tcp => json!({ "tcp": true }),
    };
    let times = [("interval", health.interval), ("timeout", health.timeout), ("start", health.start)];
    for (key, time) in times {
        document[key] = json!(duration::written(time));
    }
    document
}

fn volumes(volumes: &[VolumeMount]) -> Value {
    let entry = |volume: &VolumeMount| {
        let value = json!({ "path": volume.target, "mode": volume.mode.name() });
        (volume.volume.to_string(), value)
    };
    Value::Object(volumes.iter().map(entry).collect())
}

fn scaling(policy: &ScalingPolicy) -> Value {
    let mut document = json!({ "minimum": policy.minimum, "maximum": policy.maximum });
    match policy.metric {
        None => {}
        Some(Target::Cpu { percent }) => document["metric"] = json!({ "cpu": format!("{percent}%") }),
        Some(Target::InFlight { per_replica }) => {
            document["metric"] = json!({ "in-flight": number(per_replica) });
        }
    }
    if !policy.windows.is_empty() {
        let windows = policy.windows.iter().map(|window| {
            let (start, end) = (&window.start, &window.end);
            json!({ "start": start.cron, "end": end.cron, "timezone": start.timezone, "replicas": window.replicas })
        });
        document["windows"] = windows.collect();
    }
    document
}

/// A number above 0 as people write it: `10`, not `10.0`.
fn number(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() != 0.0 || number >= EXACT {
        return json!(number);
    }
    format!("{number}").parse::<u64>().map_or_else(|_| json!(number), |whole| json!(whole))
}
