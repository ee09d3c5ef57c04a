//! `for_each` and `matrix`: what a stage runs for, each in an instance of its own.

use std::collections::HashSet;

use indexmap::IndexMap;
use yuanli_model::stage::{self, MAX_INSTANCES};
use yuanli_model::{StageName, Template};

use crate::diagnostic::{Code, Diagnostics};
use crate::environment::Instance;
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::value::{self, Config};

/// What a stage runs for.
#[derive(Debug)]
pub(crate) enum FanOut {
    ForEach(Box<List>),
    Matrix(Box<Matrix>),
}

/// A list, or an expression that gives one.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) config: Config,
}

/// Combinations of values.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub(crate) axes: IndexMap<String, List>,
    pub(crate) include: Option<List>,
    pub(crate) exclude: Option<List>,
    /// The names that `include` adds to the axes; `None` when they are not known.
    added: Option<HashSet<String>>,
}

impl FanOut {
    /// What an instance knows of itself.
    pub(crate) fn instance(&self) -> Instance {
        match self {
            Self::ForEach(_) => Instance::Item,
            Self::Matrix(_) => Instance::Matrix,
        }
    }

    /// All lists in it, each with the key it stands under.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (&'static str, &List)> {
        let (single, matrix) = match self {
            Self::ForEach(list) => (Some(&**list), None),
            Self::Matrix(matrix) => (None, Some(&**matrix)),
        };
        let parts = matrix
            .into_iter()
            .flat_map(|matrix| matrix.axes.values().chain(&matrix.include).chain(&matrix.exclude));
        single.into_iter().map(|list| ("`for_each`", list)).chain(parts.map(|list| ("`matrix`", list)))
    }

    pub(crate) fn into_model(self) -> stage::FanOut {
        match self {
            Self::ForEach(list) => stage::FanOut::ForEach(list.config.template),
            Self::Matrix(matrix) => stage::FanOut::Matrix(stage::Matrix {
                axes: matrix.axes.into_iter().map(|(name, list)| (name, list.config.template)).collect(),
                include: matrix.include.map(|list| list.config.template),
                exclude: matrix.exclude.map(|list| list.config.template),
            }),
        }
    }
}

impl Matrix {
    /// The names that `matrix` has; `None` when they are not all known.
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        let added = self.added.as_ref()?;
        Some(self.axes.keys().map(String::as_str).chain(added.iter().map(String::as_str)).collect())
    }
}

pub(super) fn read(
    for_each: Option<&Entry>,
    matrix: Option<&Entry>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<FanOut> {
    match (for_each, matrix) {
        (None, None) => None,
        (Some(entry), None) => read_list(entry, diagnostics).map(Box::new).map(FanOut::ForEach),
        (None, Some(entry)) => read_matrix(entry, diagnostics).map(Box::new).map(FanOut::Matrix),
        (Some(_), Some(matrix)) => {
            let message = "a stage has `for_each` or `matrix`, not both";
            diagnostics.error_with(Code::Contradiction, matrix.key_span, message, || {
                Some("make the list an axis: `matrix: { item: […], … }`".to_owned())
            });
            None
        }
    }
}

/// A list, or a text that is one expression.
fn read_list(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<List> {
    let span = entry.value_span();
    let what = match &entry.value.kind {
        Kind::List(items) => {
            check_size(items, entry, diagnostics)?;
            None
        }
        Kind::Text(text) if text.contains("${{") => {
            let config = value::config(&entry.value, diagnostics);
            let is_wrong = config.uses.iter().any(|found| !found.is_whole);
            if !is_wrong {
                return Some(List { config });
            }
            Some("a text with expressions in it".to_owned())
        }
        Kind::Text(_) => Some("a text".to_owned()),
        _ => Some(entry.value.what().to_owned()),
    };
    if let Some(what) = what {
        let message = format!("`{}` must be a list, or an expression that gives one, not {what}", entry.key);
        diagnostics.error_with(Code::WrongKind, span, message, || {
            Some("write `[a, b]`, or `${{ inputs.hosts }}`".to_owned())
        });
        return None;
    }
    Some(List { config: value::config(&entry.value, diagnostics) })
}

fn check_size(items: &[Node], entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<()> {
    if items.is_empty() {
        let message = format!("`{}` is empty: the stage runs for nothing", entry.key);
        let help = "write what it runs for, or leave the stage out".to_owned();
        diagnostics.warning(Code::Idle, entry.value_span(), message, Some(help));
    }
    if items.len() > MAX_INSTANCES {
        let message = format!("`{}` makes {} instances, the most is {MAX_INSTANCES}", entry.key, items.len());
        diagnostics.error(Code::TooManyStages, entry.value_span(), message);
        return None;
    }
    Some(())
}

fn read_matrix(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Matrix> {
    let entries = key::entries_of(&entry.value, entry.value_span(), "`matrix`", diagnostics)?;
    let mut matrix = Matrix { axes: IndexMap::new(), include: None, exclude: None, added: None };
    let mut is_right = true;
    for axis in entries {
        match axis.key.as_str() {
            "include" => matrix.include = read_maps(axis, diagnostics),
            "exclude" => matrix.exclude = read_maps(axis, diagnostics),
            name => match read_axis(name, axis, diagnostics) {
                Some(list) => {
                    matrix.axes.insert(name.to_owned(), list);
                }
                None => is_right = false,
            },
        }
    }
    if entries.is_empty() {
        diagnostics.error_with(Code::MissingKey, entry.key_span, "the matrix has no axis", || {
            Some("write each with its values, such as `matrix: { os: [linux, windows] }`".to_owned())
        });
        return None;
    }
    if !is_right {
        return None;
    }
    matrix.added = added(key::given(entries, "include"), &matrix);
    check_product(&matrix, entry, diagnostics)?;
    if let Some(exclude) = key::given(entries, "exclude") {
        check_excluded(exclude, &matrix, diagnostics);
    }
    Some(matrix)
}

fn read_axis(name: &str, axis: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<List> {
    if let Err(error) = name.parse::<StageName>() {
        let message = error.to_string().replace("stage name", "name of an axis");
        diagnostics.error_with(Code::InvalidName, axis.key_span, message, || super::proper(name));
    }
    read_list(axis, diagnostics)
}

/// A list of maps, or an expression that gives one.
fn read_maps(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<List> {
    if let Kind::List(items) = &entry.value.kind {
        for item in items.iter().filter(|item| !matches!(item.kind, Kind::Map(_))) {
            let message = format!("`{}` must be a list of maps, not of {}", entry.key, item.what());
            diagnostics.error_with(Code::WrongKind, item.place(), message, || {
                Some("write a value for each axis, such as `{ os: linux }`".to_owned())
            });
        }
    }
    read_list(entry, diagnostics)
}

/// The names that `include` adds.
fn added(include: Option<&Entry>, matrix: &Matrix) -> Option<HashSet<String>> {
    let Some(include) = include else { return Some(HashSet::new()) };
    let Kind::List(items) = &include.value.kind else { return None };
    let keys = items.iter().filter_map(|item| match &item.kind {
        Kind::Map(entries) => Some(entries.iter().map(|entry| &entry.key)),
        _ => None,
    });
    Some(keys.flatten().filter(|key| !matrix.axes.contains_key(*key)).cloned().collect())
}

/// Reports more combinations than there can be, as far as they are known.
fn check_product(matrix: &Matrix, entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<()> {
    let size = |list: &List| match &list.config.template {
        Template::List(items) => items.len(),
        _ => 1,
    };
    let product = matrix.axes.values().map(size).fold(1_usize, usize::saturating_mul);
    if product > MAX_INSTANCES {
        let message = format!("the matrix makes {product} instances, the most is {MAX_INSTANCES}");
        diagnostics.error_with(Code::TooManyStages, entry.key_span, message, || {
            Some("use fewer values, or split the stage".to_owned())
        });
        return None;
    }
    Some(())
}

/// Reports what `exclude` says of an axis that does not exist, or of a value that it does not have.
fn check_excluded(exclude: &Entry, matrix: &Matrix, diagnostics: &mut Diagnostics<'_>) {
    let Kind::List(items) = &exclude.value.kind else { return };
    for item in items {
        let Kind::Map(entries) = &item.kind else { continue };
        for entry in entries {
            let Some(axis) = matrix.axes.get(&entry.key) else {
                let names = matrix.axes.keys().map(String::as_str);
                let message = format!("the matrix has no axis `{}`", entry.key);
                diagnostics.error_with(Code::UnknownKey, entry.key_span, message, || {
                    Some(match yuanli_expr::nearest(&entry.key, names.clone()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("it has {}", key::listed(names)),
                    })
                });
                continue;
            };
            let serde_json::Value::Array(values) = &axis.config.instance else { continue };
            let value = value::plain(&entry.value);
            let is_open = !axis.config.open.is_empty() || value.to_string().contains("${{");
            if !is_open && !values.contains(&value) {
                let message = format!("`{}` is never {}", entry.key, entry.value.shown());
                let help = "it leaves nothing out: remove it, or write a value that the axis has".to_owned();
                diagnostics.warning(Code::Idle, entry.value_span(), message, Some(help));
            }
        }
    }
}
