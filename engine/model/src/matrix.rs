//! The combinations that a matrix stands for, once its values are known.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::stage::MAX_INSTANCES;

/// One combination: a value for each variable.
pub type Combination = Map<String, Value>;

/// A matrix has more combinations than a stage can have instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the matrix has more than {MAX_INSTANCES} combinations")]
pub struct TooMany;

/// All combinations of the axes, the last one changing first, without those that hold all values of one that is left
/// out, with those that are put in.
///
/// One that is put in and names values of axes adds to the combinations that have these values; when there is none, or
/// it names no axis, it is a combination of its own.
///
/// # Errors
/// [`TooMany`].
pub fn combine(
    axes: &IndexMap<String, Vec<Value>>,
    include: Vec<Combination>,
    exclude: &[Combination],
) -> Result<Vec<Combination>, TooMany> {
    let size = axes.values().try_fold(1_usize, |size, values| size.checked_mul(values.len()));
    if size.is_none_or(|size| size > MAX_INSTANCES) {
        return Err(TooMany);
    }
    let mut found = product(axes);
    found.retain(|combination| !exclude.iter().any(|part| holds(combination, part)));
    let combinations = found.len();
    for more in include {
        let of_axes: Combination = more
            .iter()
            .filter(|(name, _)| axes.contains_key(*name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let mut is_added = false;
        if !of_axes.is_empty() {
            for combination in found[..combinations].iter_mut().filter(|one| holds(one, &of_axes)) {
                combination.extend(more.clone());
                is_added = true;
            }
        }
        if !is_added {
            found.push(more);
        }
    }
    if found.len() > MAX_INSTANCES { Err(TooMany) } else { Ok(found) }
}

/// None without axes: a matrix may be a list of what it includes.
fn product(axes: &IndexMap<String, Vec<Value>>) -> Vec<Combination> {
    if axes.is_empty() {
        return Vec::new();
    }
    let mut found = vec![Map::new()];
    for (name, values) in axes {
        let with = |combination: &Combination, value: &Value| {
            let mut combination = combination.clone();
            combination.insert(name.clone(), value.clone());
            combination
        };
        found = found.iter().flat_map(|one| values.iter().map(move |value| with(one, value))).collect();
    }
    found
}

fn holds(combination: &Combination, part: &Combination) -> bool {
    part.iter().all(|(name, value)| combination.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn maps(value: Value) -> Vec<Combination> {
        let Value::Array(items) = value else { panic!("a list") };
        items.iter().map(|item| item.as_object().expect("a map").clone()).collect()
    }

    fn check(axes: Value, include: Value, exclude: Value, expect: Value) {
        let lists =
            |(name, values): (&String, &Value)| (name.clone(), values.as_array().expect("a list").clone());
        let axes = axes.as_object().expect("a map").iter().map(lists).collect();
        assert_eq!(combine(&axes, maps(include), &maps(exclude)), Ok(maps(expect)));
    }

    #[test]
    fn combinations_are_left_out_added_to_and_put_in() {
        let axes = || json!({"os": ["a", "b"], "v": [1, 2]});
        let all = json!([{"os": "a", "v": 1}, {"os": "a", "v": 2}, {"os": "b", "v": 1}, {"os": "b", "v": 2}]);
        check(axes(), json!([]), json!([]), all);
        let left = json!([{"os": "a", "v": 1}, {"os": "a", "v": 2}]);
        check(axes(), json!([]), json!([{"os": "b"}]), left);
        check(
            axes(),
            json!([{"os": "a", "fast": true}, {"os": "c"}, {"note": "alone"}]),
            json!([{"os": "b"}, {"os": "a", "v": 2}]),
            json!([{"os": "a", "v": 1, "fast": true}, {"os": "c"}, {"note": "alone"}]),
        );
        check(json!({}), json!([{"os": "a"}]), json!([]), json!([{"os": "a"}]));
        check(json!({"os": []}), json!([]), json!([]), json!([]));
    }

    #[test]
    fn there_are_not_more_than_a_stage_can_have() {
        let axis = |count: usize| vec![Value::Null; count];
        let axes = |a, b| IndexMap::from([("a".to_owned(), axis(a)), ("b".to_owned(), axis(b))]);
        assert_eq!(combine(&axes(1_000, 101), Vec::new(), &[]), Err(TooMany));
        let one = IndexMap::from([("a".to_owned(), axis(MAX_INSTANCES))]);
        assert_eq!(combine(&one, vec![Map::new()], &[]), Err(TooMany));
    }
}
