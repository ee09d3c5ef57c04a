//! Functions that turn values into others, and those of versions, patterns and the run.

use super::{Function, Returns, Run, Takes, function, takes};
use crate::library::{data, pattern, version};
use crate::ty::Type;

pub(super) const CONVERSIONS: &[Function] = &[
    function(
        "bool",
        &[takes(&[("value", Takes::Text)], Returns::Bool), takes(&[("value", Takes::Bool)], Returns::Bool)],
        Run::Cel,
    )
    .says("The boolean that a text is.", "bool('true')", "true"),
    function(
        "bytes",
        &[
            takes(&[("value", Takes::Text)], Returns::Bytes),
            takes(&[("value", Takes::Bytes)], Returns::Bytes),
        ],
        Run::Cel,
    )
    .says("The text as bytes, in UTF-8; as a result they are base64 text.", "bytes('abc')", r#""YWJj""#),
    function(
        "double",
        &[
            takes(&[("value", Takes::Text)], Returns::Double),
            takes(&[("value", Takes::Number)], Returns::Double),
        ],
        Run::Cel,
    )
    .says("The number with a fraction, also of a text.", "double(7) / 2", "3.5"),
    function("dyn", &[takes(&[("value", Takes::Any)], Returns::Any)], Run::Cel).says(
        "The value itself, without its type being checked.",
        "dyn('a')",
        r#""a""#,
    ),
    function(
        "int",
        &[
            takes(&[("value", Takes::Text)], Returns::Int),
            takes(&[("value", Takes::Number)], Returns::Int),
            takes(&[("value", Takes::Timestamp)], Returns::Int),
        ],
        Run::Cel,
    )
    .says(
        "The whole number of a text, of a number without its fraction, of a time in seconds since 1970.",
        "int('42') + int(1.9)",
        "43",
    ),
    function("json", &[takes(&[("value", Takes::Json)], Returns::Text)], Run::Own(data::json)).says(
        "The value as JSON text.",
        "json({'a': [1, true]})",
        r#""{\"a\":[1,true]}""#,
    ),
    function("parse_json", &[takes(&[("text", Takes::Text)], Returns::Any)], Run::Own(data::parse_json))
        .says("The value of a JSON text.", r#"parse_json('{"a": [1, 2]}').a[1]"#, "2"),
    function(
        "sha256",
        &[takes(&[("value", Takes::Text)], Returns::Text), takes(&[("value", Takes::Bytes)], Returns::Text)],
        Run::Own(data::sha256),
    )
    .says(
        "The SHA-256 of a text or of bytes, as 64 hexadecimal digits.",
        "sha256('abc').substring(0, 12)",
        r#""ba7816bf8f01""#,
    ),
    function(
        "string",
        &[
            takes(&[("value", Takes::Text)], Returns::Text),
            takes(&[("value", Takes::Bool)], Returns::Text),
            takes(&[("value", Takes::Number)], Returns::Text),
            takes(&[("value", Takes::Bytes)], Returns::Text),
            takes(&[("value", Takes::Timestamp)], Returns::Text),
            takes(&[("value", Takes::Duration)], Returns::Text),
        ],
        Run::Cel,
    )
    .says("The value as text; of lists and maps see `json`.", "'build-' + string(12)", r#""build-12""#),
    function("type", &[takes(&[("value", Takes::Any)], Returns::Class)], Run::Cel).says(
        "The type of a value, to be compared with `bool`, `int`, `uint`, `double`, `string`, `list`, `map`.",
        "type('a') == string",
        "true",
    ),
    function(
        "uint",
        &[takes(&[("value", Takes::Text)], Returns::Int), takes(&[("value", Takes::Number)], Returns::Int)],
        Run::Cel,
    )
    .says("The whole number, not below 0.", "uint('7')", "7"),
];

fn parts_of_a_version(_: &[Type]) -> Type {
    Type::object([
        ("major", Type::Int),
        ("minor", Type::Int),
        ("patch", Type::Int),
        ("pre", Type::Text),
        ("build", Type::Text),
    ])
}

pub(super) const OTHERS: &[Function] = &[
    function("always", &[takes(&[], Returns::Bool)], Run::Status).says(
        "In `if`: run whatever became of the needed stages, also when the run is cancelled.",
        "always()",
        "true",
    ),
    function("cancelled", &[takes(&[], Returns::Bool)], Run::Status)
        .says("In `if`: whether the run is being cancelled.", "cancelled()", "false"),
    function("failure", &[takes(&[], Returns::Bool)], Run::Status)
        .says("In `if`: whether a needed stage has failed.", "failure()", "false"),
    function(
        "glob_matches",
        &[takes(&[("path", Takes::Text), ("pattern", Takes::Text)], Returns::Bool)],
        Run::Own(pattern::glob_matches),
    )
    .says(
        "Whether a path matches a pattern of the shell: `*` inside a folder, `**` over folders, `?`, `[a-z]`, `{a,b}`.",
        "glob_matches('docs/guide/a.md', 'docs/**/*.md')",
        "true",
    ),
    function(
        "semver",
        &[takes(&[("version", Takes::Text)], Returns::Of(parts_of_a_version))],
        Run::Own(version::semver),
    )
    .says("The parts of a version: `major`, `minor`, `patch`, `pre`, `build`.", "semver('v1.4.2').minor + 1", "5"),
    function(
        "semver_compare",
        &[takes(&[("a", Takes::Text), ("b", Takes::Text)], Returns::Int)],
        Run::Own(version::semver_compare),
    )
    .says("-1, 0 or 1: whether the first version is older, as new, newer.", "semver_compare('1.10.0', '1.9.3')", "1"),
    function(
        "semver_matches",
        &[takes(&[("version", Takes::Text), ("range", Takes::Text)], Returns::Bool)],
        Run::Own(version::semver_matches),
    )
    .says("Whether a version lies in a range.", "semver_matches('1.4.2', '>=1.2, <2')", "true"),
    function("success", &[takes(&[], Returns::Bool)], Run::Status)
        .says("In `if`: whether all needed stages have succeeded; what holds without an `if`.", "success()", "true"),
];
