//! The engine's own log, for whoever runs or debugs it: `YUANLI_LOG=debug`, or by crate, such as `yuanli_wasm=trace`; as text, or with
//! `YUANLI_LOG_FORMAT=json` a JSON object in each line. What concerns a run or a stage says which in `run` and `stage`, whoever wrote it.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use yuanli_server::SystemClock;

use crate::view;

/// What says of which run and stage something is.
const IDS: [&str; 2] = ["run", "stage"];
/// What has both in it: `RUN/STAGE.0.1`.
const ATTEMPT: &str = "attempt";

/// Begins to write the log.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("YUANLI_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let format = std::env::var("YUANLI_LOG_FORMAT").unwrap_or_default();
    if format == "json" {
        let lines =
            tracing_subscriber::fmt::layer().event_format(Json::default()).with_writer(|| view::Beside);
        return tracing_subscriber::registry().with(filter).with(Ids).with(lines).init();
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| view::Beside);
    lines.with_ansi(view::has_color()).without_time().init();
    if !["", "text"].contains(&format.as_str()) {
        tracing::warn!(format, "YUANLI_LOG_FORMAT is `text` or `json`; the log is text");
    }
}

/// Keeps with each span what it says of run and stage.
struct Ids;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ids {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }
}

/// Names and values of what was written.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    /// What it says of run and stage, also by an attempt.
    fn id(&self, name: &str) -> Option<Value> {
        if let Some(said) = self.0.get(name) {
            return Some(said.clone());
        }
        let (run, rest) = self.0.get(ATTEMPT)?.as_str()?.split_once('/')?;
        let stage = rest.split('.').next()?;
        Some(Value::from(if name == IDS[0] { run } else { stage }))
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

/// One JSON object in each line.
#[derive(Default)]
struct Json {
    clock: SystemClock,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("time".to_owned(), self.clock.shown().into());
        line.insert("level".to_owned(), metadata.level().as_str().to_lowercase().into());
        line.insert("target".to_owned(), metadata.target().into());
        for (name, id) in IDS.into_iter().zip(ids(context, &fields)) {
            line.extend(id.map(|id| (name.to_owned(), id)));
        }
        for (name, value) in fields.0 {
            line.entry(name).or_insert(value);
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Of which run and stage a line is: what it says itself counts before where it was written, and that from the inside. A stage is
/// one of the same run.
fn ids<S, N>(context: &FmtContext<'_, S, N>, fields: &Fields) -> [Option<Value>; 2]
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut found = IDS.map(|name| fields.id(name));
    for span in context.event_scope().into_iter().flatten() {
        let extensions = span.extensions();
        let Some(around) = extensions.get::<Fields>() else { continue };
        let [run, stage] = IDS.map(|name| around.id(name));
        let is_same = found[0].is_none() || found[0] == run;
        if is_same {
            let [known_run, known_stage] = found;
            found = [known_run.or(run), known_stage.or(stage)];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics meanwhile").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written meanwhile.
    fn lines(write: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Json::default())
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(Ids).with(layer);
        tracing::subscriber::with_default(subscriber, write);
        let bytes = written.0.lock().expect("no test panics meanwhile").clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn each_line_says_of_which_run_and_stage_it_is() {
        let told = lines(|| {
            tracing::warn!(attempt = %"01r/build.0.1", left = 2, "a");
            tracing::error_span!("attempt", run = %"01r", stage = %"test", instance = 0).in_scope(|| {
                tracing::info_span!("task", name = "x")
                    .in_scope(|| tracing::info!(is_late = true, "b \"quoted\"\nline"));
                tracing::error!(run = %"02r", "c");
            });
            tracing::info!("d");
        });
        let ids: Vec<_> = told.iter().map(|line| (line["run"].as_str(), line["stage"].as_str())).collect();
        let expected =
            [(Some("01r"), Some("build")), (Some("01r"), Some("test")), (Some("02r"), None), (None, None)];
        assert_eq!(ids, expected);
        assert_eq!((&told[0]["level"], &told[0]["left"]), (&Value::from("warn"), &Value::from(2)));
        assert_eq!((&told[1]["message"], &told[1]["is_late"]), (&"b \"quoted\"\nline".into(), &true.into()));
        assert!(told[3]["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{told:?}");
    }
}
