//! From the scope to the variables of `cel`: copies the values that an expression reads, and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value as Cel;
use cel::objects::{Key, Map as CelMap};
use serde_json::{Map, Value};

use crate::json;
use crate::reference::Reference;
use crate::scope::{Found, Scope};

/// The variables that the references need, and nothing else of the scope.
pub(crate) fn variables(
    references: &[Reference],
    scope: &Scope<'_>,
    bytes: &mut u64,
) -> Vec<(&'static str, Cel)> {
    let roots = scope.roots().iter().copied();
    roots
        .filter_map(|root| {
            let mut wanted = Tree::default();
            references
                .iter()
                .filter(|reference| reference.path[0] == root)
                .for_each(|reference| wanted.add(&reference.path, scope, bytes));
            references.iter().any(|reference| reference.path[0] == root).then(|| (root, wanted.into_root()))
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
    let stage = |name: &str, bytes: &mut u64| {
        let outputs = scope.stages.of(name).map_or(Cel::Null, |value| json::to_cel(value, bytes));
        json::map_of([("outputs", outputs)].into_iter())
    };
    let map = |map: &Map<String, Value>, bytes: &mut u64| {
        json::map_of(map.iter().map(|(key, value)| (key.as_str(), json::to_cel(value, bytes))))
    };
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["inputs"] => {
            json::map_of(scope.inputs.iter().map(|(name, value)| (name.as_str(), json::to_cel(value, bytes))))
        }
        ["stages"] => json::map_of(scope.stages.stages().into_iter().map(|name| (name, stage(name, bytes)))),
        ["stages", name] => stage(name, bytes),
        ["run"] => map(scope.run, bytes),
        ["trigger"] => scope.trigger.map_or(Cel::Null, |trigger| map(trigger, bytes)),
        // `Scope::find` calls nothing else whole.
        _ => Cel::Null,
    }
}
