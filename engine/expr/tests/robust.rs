//! Whatever somebody writes: an answer or an error, never a panic, an overflow or an endless walk.

use indexmap::IndexMap;
use proptest::prelude::*;
use serde_json::{Map, json};
use yuanli_expr::{Environment, Piece, Scope, Type, parse, split};

/// Pieces of the language; random rows of them are more often nearly right than random letters.
fn source() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "inputs",
        "stages",
        "run",
        "x",
        ".a",
        ".b",
        "[0]",
        "[\"a\"]",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        ":",
        "?",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "&&",
        "||",
        "==",
        "<",
        " in ",
        "1",
        "-1",
        "1.5",
        "9223372036854775807",
        "7u",
        "'s'",
        "\"",
        "'''",
        "b'x'",
        "r'\\",
        "true",
        "null",
        ".map(x, ",
        ".filter(y, ",
        ".all(z, ",
        "has(",
        "size(",
        "int(",
        "duration('1h')",
        "timestamp('2026-01-01T00:00:00Z')",
        ".matches('",
        ".?",
        "[?",
        "ä",
        "\n",
        "//",
        "`a-b`",
        "-b",
        "type(",
        "dyn(",
        ".orValue(",
        "optional.of(",
        "google.protobuf.Timestamp{}",
        ".getFullYear('x')",
        "default(",
        "success()",
        "json(",
        ".split(",
        ".join(",
        ".replace('', ",
        "'%s %d'.format([",
        ".optMap(y, ",
    ]);
    prop::collection::vec(word, 0..16).prop_map(|words| words.concat())
}

/// Places of which nothing, little and much is known.
fn environments() -> [Environment<'static>; 3] {
    let a = Type::of_schema(&json!({
        "properties": { "a": { "type": ["array", "null"] }, "b": { "type": "number" } },
        "required": ["a"],
    }));
    [
        Environment::new(),
        Environment::new()
            .with("inputs", Type::Any)
            .with("stages", Type::Any)
            .with("run", Type::Any)
            .with_status(),
        Environment::new()
            .with("inputs", Type::object([("a", a.clone())]))
            .with("stages", Type::object([("a", Type::of_stage(a, false))]))
            .with("x", Type::Secret)
            .elsewhere("run", "not here"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_expression_gives_a_value_or_an_error(source in source()) {
        let inputs = IndexMap::from([("a".parse().expect("a name"), json!({ "a": [1, "x", null], "b": 1.5 }))]);
        let outputs = IndexMap::from([("a".parse().expect("a name"), json!({ "b": 1 }))]);
        let run = Map::new();
        let scope = Scope::of(&inputs, &outputs, &run);
        match parse(&source) {
            Err(error) => prop_assert!(error.at.is_none_or(|at| source.get(at).is_some())),
            Ok(program) => {
                for reference in program.references() {
                    prop_assert!(source.get(reference.range.clone()).is_some());
                    prop_assert_eq!(reference.parts.len(), reference.path.len());
                    prop_assert!(reference.parts.iter().all(|part| source.get(part.clone()).is_some()));
                }
                for environment in environments() {
                    let checked = program.check(&environment);
                    for error in checked.mistakes.iter().chain(&checked.warnings) {
                        prop_assert!(error.at.clone().is_some_and(|at| source.get(at).is_some()), "{source}");
                        prop_assert!(!error.message.contains('\n') && error.message.len() < 2000);
                        prop_assert!(error.kind != yuanli_expr::Kind::Internal, "{source}: {error}");
                    }
                    // What has a value may be doubted, and is no mistake but for comparisons that never hold.
                    prop_assert!(checked.mistakes.is_empty() || checked.ty == Type::Any);
                }
                if let Err(error) = program.evaluate(&scope) {
                    prop_assert!(!error.message.contains('\n') && error.message.len() < 2000);
                    prop_assert!(error.kind != yuanli_expr::Kind::Internal, "{source}: {error}");
                }
            }
        }
    }

    #[test]
    fn the_parts_of_a_text_are_the_text(source in "[a$ {}'\"ä]{0,24}") {
        if let Ok(pieces) = split(&source) {
            let joined: String = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => text.replace("${{", "$${{"),
                Piece::Expression { outer, .. } => source[outer.clone()].to_owned(),
            }).collect();
            prop_assert_eq!(joined, source);
        }
    }
}
