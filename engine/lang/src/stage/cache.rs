//! `cache`: `true`, or `{files, values, max_age}`.

use std::time::Duration;

use yuanli_model::stage;

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind};
use crate::value::{self, Config};

/// When the outputs of an earlier run may stand for those of the stage.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    files: Vec<String>,
    pub(crate) values: Option<Config>,
    max_age: Option<Duration>,
}

impl Cache {
    pub(crate) fn into_model(self) -> stage::Cache {
        let values = self.values.map(|values| values.template);
        stage::Cache { files: self.files, values, max_age: self.max_age }
    }
}

/// `None` for `false`, and when it cannot be read at all.
pub(super) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Cache> {
    let cache = match &entry.value.kind {
        Kind::Bool(false) => return None,
        Kind::Bool(true) => Cache::default(),
        Kind::Map(entries) => read_long(entries, diagnostics),
        _ => {
            let message = format!("`cache` must be `true` or a map, not {}", entry.value.what());
            diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || {
                Some("write `cache: { files: [\"src/**\"] }`".to_owned())
            });
            return None;
        }
    };
    Some(cache)
}

fn read_long(entries: &[Entry], diagnostics: &mut Diagnostics<'_>) -> Cache {
    key::check(entries, &key::CACHE, diagnostics);
    let given = |key| key::given(entries, key);
    let files = given("files").map(|files| key::texts_of(files, "a pattern of files", diagnostics));
    let files = files.unwrap_or_default();
    for (pattern, span) in &files {
        check_pattern(pattern, *span, diagnostics);
    }
    Cache {
        files: files.into_iter().map(|(pattern, _)| pattern.to_owned()).collect(),
        values: given("values").map(|values| value::config(&values.value, diagnostics)),
        max_age: given("max_age").and_then(|age| key::duration_of(age, diagnostics)),
    }
}

fn check_pattern(pattern: &str, span: Span, diagnostics: &mut Diagnostics<'_>) {
    if pattern.contains("${{") {
        let message = "which files count must be known before the stage runs: no expression can stand here";
        diagnostics.error_with(Code::WrongKind, span, message, || {
            Some("put what differs from run to run under `values`".to_owned())
        });
        return;
    }
    if pattern.is_empty() || pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") {
        let message = format!("`{pattern}` names no files of the workspace");
        diagnostics.error_with(Code::InvalidPath, span, message, || {
            Some("write it relative to the workspace, such as `src/**`".to_owned())
        });
        return;
    }
    if let Err(error) = globset::GlobBuilder::new(pattern).literal_separator(true).build() {
        let message = format!("`{pattern}` is no pattern of files: {}", error.kind());
        diagnostics.error(Code::InvalidPattern, span, message);
    }
}
