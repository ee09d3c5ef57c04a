//! What walks lists and maps, and what deals with values that may be missing.

use super::{Function, Returns, Run, Signature, Takes, function, method, takes};
use crate::ty::Type;

/// What walks a list, or the keys of a map, with a name for the item and an expression for each.
const WALK: &[Signature] =
    &[takes(&[("list", Takes::Any), ("name", Takes::Any), ("condition", Takes::Bool)], Returns::Bool)];

const FILTER: &[Signature] =
    &[takes(&[("list", Takes::Any), ("name", Takes::Any), ("condition", Takes::Bool)], A_LIST)];

const A_LIST: Returns = Returns::Of(|_| Type::list(Type::Any));

const SIZE: &[Signature] = &[
    takes(&[("value", Takes::Text)], Returns::Int),
    takes(&[("value", Takes::List)], Returns::Int),
    takes(&[("value", Takes::Map)], Returns::Int),
    takes(&[("value", Takes::Bytes)], Returns::Int),
];

pub(super) const WALKS: &[Function] = &[
    function("size", SIZE, Run::Cel).says(
        "How many items a list has, keys a map, characters a text, bytes.",
        "size(['a', 'b'])",
        "2",
    ),
    method("size", SIZE, Run::Cel).says("The same.", "'abc'.size()", "3"),
    method("all", WALK, Run::Macro).says(
        "Whether the condition holds for each item.",
        "[1, 2].all(x, x > 0)",
        "true",
    ),
    method("exists", WALK, Run::Macro).says(
        "Whether it holds for some item.",
        "['a', 'b'].exists(x, x == 'b')",
        "true",
    ),
    method("exists_one", WALK, Run::Macro).says(
        "Whether it holds for just one item.",
        "[1, 2, 3].exists_one(x, x > 2)",
        "true",
    ),
    method("existsOne", WALK, Run::Macro).says("The same.", "[1, 2].existsOne(x, x > 0)", "false"),
    method("filter", FILTER, Run::Macro).says(
        "The items for which it holds.",
        "['a-x', 'b'].filter(x, x.endsWith('-x'))",
        r#"["a-x"]"#,
    ),
    method(
        "map",
        &[
            takes(&[("list", Takes::Any), ("name", Takes::Any), ("value", Takes::Any)], A_LIST),
            takes(
                &[
                    ("list", Takes::Any),
                    ("name", Takes::Any),
                    ("condition", Takes::Bool),
                    ("value", Takes::Any),
                ],
                A_LIST,
            ),
        ],
        Run::Macro,
    )
    .says(
        "A value for each item, with a condition for each item for which it holds; of a map for each key.",
        "['a', 'b'].map(x, x + '.local')",
        r#"["a.local","b.local"]"#,
    ),
];

fn inner(ty: &Type) -> Type {
    match ty {
        Type::Optional(inner) => (**inner).clone(),
        _ => Type::Any,
    }
}

fn optional_of(arguments: &[Type]) -> Type {
    Type::optional(arguments.first().cloned().unwrap_or(Type::Any))
}

fn value_of(arguments: &[Type]) -> Type {
    arguments.first().map_or(Type::Any, inner)
}

fn or_value(arguments: &[Type]) -> Type {
    match arguments {
        [optional, otherwise] => inner(optional).join(otherwise),
        _ => Type::Any,
    }
}

fn or(arguments: &[Type]) -> Type {
    match arguments {
        [one, other] => Type::optional(inner(one).join(&inner(other))),
        _ => Type::Any,
    }
}

pub(super) const OPTIONALS: &[Function] = &[
    function(
        "default",
        &[takes(&[("value", Takes::Any), ("otherwise", Takes::Any)], Returns::Any)],
        Run::Macro,
    )
    .says(
        "The value, or another when it is missing or null, whichever part of its path that is.",
        "default(parse_json('{\"a\": {}}').a.b.c, 'none')",
        r#""none""#,
    ),
    function("has", &[takes(&[("field", Takes::Any)], Returns::Bool)], Run::Macro).says(
        "Whether a map has a field.",
        r#"has(parse_json('{"a": 1}').b)"#,
        "false",
    ),
    method("hasValue", &[takes(&[("optional", Takes::Optional)], Returns::Bool)], Run::Cel).says(
        "Whether there is a value, after `.?` or `[?…]`.",
        r#"parse_json('{"a": 1}').?b.hasValue()"#,
        "false",
    ),
    method(
        "or",
        &[takes(&[("optional", Takes::Optional), ("otherwise", Takes::Optional)], Returns::Of(or))],
        Run::Cel,
    )
    .says(
        "It, or another optional value.",
        r#"parse_json('{"a": 1}').?b.or(optional.of(2)).value()"#,
        "2",
    ),
    method(
        "orValue",
        &[takes(&[("optional", Takes::Optional), ("otherwise", Takes::Any)], Returns::Of(or_value))],
        Run::Cel,
    )
    .says("The value, or another.", r#"parse_json('{"a": 1}').?b.orValue(2)"#, "2"),
    method("value", &[takes(&[("optional", Takes::Optional)], Returns::Of(value_of))], Run::Cel).says(
        "The value; an error when there is none.",
        "{'a': 1}.?a.value()",
        "1",
    ),
    method(
        "optMap",
        &[takes(&[("optional", Takes::Any), ("name", Takes::Any), ("value", Takes::Any)], Returns::Any)],
        Run::Macro,
    )
    .says(
        "Another value of the value, when there is one.",
        "{'a': 1}.?a.optMap(x, x + 1).orValue(0)",
        "2",
    ),
    method(
        "optFlatMap",
        &[takes(&[("optional", Takes::Any), ("name", Takes::Any), ("value", Takes::Any)], Returns::Any)],
        Run::Macro,
    )
    .says("The same with an optional value.", "{'a': {'b': 1}}.?a.optFlatMap(x, x.?b).orValue(0)", "1"),
    function("optional.none", &[takes(&[], Returns::Of(|_| Type::optional(Type::never())))], Run::Cel).says(
        "No value.",
        "optional.none().orValue(1)",
        "1",
    ),
    function("optional.of", &[takes(&[("value", Takes::Any)], Returns::Of(optional_of))], Run::Cel).says(
        "The value, as an optional one.",
        "optional.of(1).value()",
        "1",
    ),
    function(
        "optional.ofNonZeroValue",
        &[takes(&[("value", Takes::Any)], Returns::Of(optional_of))],
        Run::Cel,
    )
    .says(
        "The same, or none for 0, false, an empty text, list or map.",
        "optional.ofNonZeroValue('').orValue('x')",
        r#""x""#,
    ),
];
