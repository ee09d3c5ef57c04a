//! From the scope to the variables of `cel`: copies the values that an expression reads, and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value as Cel;
use cel::objects::{Key, Map as CelMap};

use crate::json;
use crate::reference::Reference;
use crate::scope::{Found, Scope};

/// The variables that the references need, and nothing else of the scope.
pub(crate) fn variables<'a>(
    references: &[Reference],
    scope: &Scope<'a>,
    bytes: &mut u64,
) -> Vec<(&'a str, Cel)> {
    let roots = scope.roots().into_iter();
    roots
        .filter_map(|root| {
            let mut wanted = Tree::default();
            let mut own = references.iter().filter(|reference| reference.path[0] == root).peekable();
            own.peek()?;
            own.for_each(|reference| wanted.add(&reference.path, scope, bytes));
            Some((root, wanted.into_root()))
        })
        .collect()
}

/// A part of the scope that is being copied.
enum Tree {
    Branch(HashMap<String, Tree>),
    /// Copied as a whole.
    Leaf(Cel),
}

impl Default for Tree {
    fn default() -> Self {
        Self::Branch(HashMap::new())
    }
}

impl Tree {
    fn add(&mut self, path: &[String], scope: &Scope<'_>, bytes: &mut u64) {
        match scope.find(path) {
            // Not put in: the evaluator then says so, or does not, when it is asked for with `has`. The maps on the
            // way are put in, so that what is missing is the last of them and not the first.
            Found::Missing(index, _) => {
                if index > 0 {
                    self.branch(&path[1..index]);
                }
            }
            Found::Value(value, taken) => {
                let value = json::to_cel(value, bytes);
                self.put(&path[1..taken], value);
            }
            Found::Text(text, taken) => self.put(&path[1..taken], Cel::from(text)),
            Found::Whole => self.put(&path[1..], whole(path, scope, bytes)),
        }
    }

    /// The branch at `path`; `None` when something on the way is copied as a whole already.
    fn branch(&mut self, path: &[String]) -> Option<&mut HashMap<String, Tree>> {
        let mut tree = self;
        for name in path {
            let Self::Branch(branch) = tree else { return None };
            tree = branch.entry(name.clone()).or_default();
        }
        match tree {
            Self::Branch(branch) => Some(branch),
            Self::Leaf(_) => None,
        }
    }

    fn put(&mut self, path: &[String], value: Cel) {
        match path.split_last() {
            None => *self = Self::Leaf(value),
            Some((last, before)) => {
                if let Some(branch) = self.branch(before) {
                    branch.insert(last.clone(), Self::Leaf(value));
                }
            }
        }
    }

    fn into_root(self) -> Cel {
        match self {
            Self::Leaf(value) => value,
            Self::Branch(branch) => Cel::Map(CelMap {
                map: Arc::new(
                    branch.into_iter().map(|(key, tree)| (Key::from(key), tree.into_root())).collect(),
                ),
            }),
        }
    }
}

/// The value of a path that leads to a map made of several values.
fn whole(path: &[String], scope: &Scope<'_>, bytes: &mut u64) -> Cel {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["inputs"] => {
            let inputs = scope.inputs.into_iter().flatten();
            json::map_of(inputs.map(|(name, value)| (name.as_str(), json::to_cel(value, bytes))))
        }
        ["stages"] => {
            let stages = scope.stages.map(|stages| stages.stages()).unwrap_or_default().into_iter();
            json::map_of(stages.map(|name| (name, stage(name, scope, bytes))))
        }
        ["stages", name] => stage(name, scope, bytes),
        [name] => match scope.map(name) {
            Some(map) => {
                json::map_of(map.iter().map(|(key, value)| (key.as_str(), json::to_cel(value, bytes))))
            }
            None => Cel::Null,
        },
        // `Scope::find` calls nothing else whole.
        _ => Cel::Null,
    }
}

fn stage(name: &str, scope: &Scope<'_>, bytes: &mut u64) -> Cel {
    let outputs = scope.stages.and_then(|stages| stages.of(name)).map(|value| json::to_cel(value, bytes));
    let result = scope.stages.and_then(|stages| stages.result(name)).map(|result| Cel::from(result.as_str()));
    let fields = [("outputs", outputs), ("result", result)];
    json::map_of(fields.into_iter().filter_map(|(name, value)| Some((name, value?))))
}
