//! What the checker finds, and what it leaves alone.

use serde_json::json;
use yuanli_expr::{Checked, Environment, Error, Field, Fit, Kind, Members, Rest, Type, parse};

/// The stages of a document: asked for one by one.
struct Stages;

impl Members for Stages {
    fn of(&self, name: &str) -> Option<Type> {
        let outputs = Type::of_schema(&json!({
            "type": "object",
            "properties": {
                "image": { "type": "string" },
                "layers": { "type": "array", "items": { "type": "object", "properties": { "size": { "type": "integer" } }, "required": ["size"] } },
                "digest": { "type": "string" },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            },
            "required": ["image", "layers", "labels"],
        }));
        match name {
            "build" => Some(Type::of_stage(outputs, true)),
            "tests-image" => Some(Type::of_stage(outputs, false)),
            "open" => Some(Type::Any),
            _ => None,
        }
    }

    fn names(&self) -> Vec<&str> {
        vec!["build", "tests-image", "open"]
    }
}

fn environment() -> Environment<'static> {
    let inputs = Type::of_fields(
        [
            ("tag", Field::required(Type::Text)),
            ("count", Field::required(Type::Int)),
            ("ratio", Field::required(Type::Number)),
            ("fast", Field::required(Type::Bool)),
            ("mode", Field::required(Type::choice(["fast", "slow"]))),
            ("hosts", Field::required(Type::list(Type::Text))),
            ("note", Field::required(Type::Text.or_null())),
            ("extra", Field::optional(Type::Text)),
            ("any", Field::required(Type::Any)),
            ("token", Field::required(Type::Secret)),
            ("deep", Field::required(Type::object([("a", Type::object([("b", Type::Int)]))]))),
            ("mixed", Field::required(Type::Text.join(&Type::Int))),
        ]
        .map(|(name, field)| (name.to_owned(), field))
        .into(),
        Rest::Closed,
    );
    static STAGES: Stages = Stages;
    Environment::new()
        .with("inputs", inputs)
        .with_members("stages", &STAGES)
        .with("run", Type::object([("id", Type::Text), ("started", Type::Text)]))
        .with("host", Type::Text)
        .elsewhere("matrix", "`matrix` is known in stages that have one")
}

fn checked(source: &str) -> Checked {
    parse(source).unwrap_or_else(|error| panic!("{source}: {error}")).check(&environment())
}

/// Each error as it is told, with the part of the text that it is about in front.
fn shown(source: &str, errors: &[Error]) -> Vec<String> {
    let show = |error: &Error| {
        let at = error.at.clone().unwrap_or_else(|| panic!("{source}: {error} is nowhere"));
        let help = error.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{} | {}{help}", &source[at], error.message)
    };
    errors.iter().map(show).collect()
}

#[track_caller]
fn check(source: &str, expect: &str) {
    let found = checked(source);
    assert_eq!(shown(source, &found.mistakes), [""; 0], "{source}");
    assert_eq!(shown(source, &found.warnings), [""; 0], "{source}");
    assert_eq!(found.ty.to_string(), expect, "{source}");
}

#[track_caller]
fn check_mistakes(source: &str, expect: &[&str]) {
    let found = checked(source);
    assert_eq!(shown(source, &found.mistakes), expect, "{source}");
    assert_eq!(shown(source, &found.warnings), [""; 0], "{source}");
    assert_eq!(found.ty, Type::Any, "{source}");
}

#[track_caller]
fn check_warnings(source: &str, expect: &[&str]) {
    let found = checked(source);
    assert_eq!(shown(source, &found.mistakes), [""; 0], "{source}");
    assert_eq!(shown(source, &found.warnings), expect, "{source}");
}

#[test]
fn what_is_right_has_its_type() {
    for (source, expect) in [
        ("inputs.tag", "a text"),
        ("'v' + inputs.tag", "a text"),
        ("inputs.count + 1", "a whole number"),
        ("inputs.count * 1.5", "a decimal number"),
        ("inputs.ratio * 2", "a number"),
        ("-inputs.ratio", "a number"),
        ("inputs.ratio % 2", "a whole number"),
        ("7u + 1", "a whole number"),
        ("inputs.fast && !inputs.fast || inputs.count > 1", "a boolean"),
        ("inputs.count < inputs.ratio", "a boolean"),
        ("inputs.fast ? 1 : 'a'", "a whole number or a text"),
        ("inputs.fast ? inputs.tag : null", "a text or null"),
        ("[1, 2.5]", "a list of numbers"),
        ("['a'] + inputs.hosts", "a list of texts"),
        ("[] + [1]", "a list of whole numbers"),
        ("[]", "a list"),
        ("inputs.hosts[0]", "a text"),
        ("{'a': 1, 'b': 'x'}.b", "a text"),
        ("{1: 'a'}[1]", "a text"),
        ("{inputs.tag: 1}", "a map of whole numbers"),
        ("inputs['tag']", "a text"),
        ("inputs.deep.a.b", "a whole number"),
        ("stages.build.outputs.image", "a text"),
        ("stages['tests-image'].result == 'failed'", "a boolean"),
        ("stages.build.outputs.layers.map(l, l.size)", "a list of whole numbers"),
        ("stages.build.outputs.layers.filter(l, l.size > 3)[0].size", "a whole number"),
        ("stages.open.anything.at.all", "anything"),
        ("stages", "a map"),
        ("inputs.hosts.all(h, h.startsWith('a'))", "a boolean"),
        ("inputs.hosts.exists(h, h == 'a') && inputs.hosts.exists_one(h, h == 'b')", "a boolean"),
        ("inputs.hosts.map(h, h != '', size(h))", "a list of whole numbers"),
        ("inputs.deep.map(k, k + '!')", "a list of texts"),
        ("'a' in inputs.hosts && 'a' in inputs.deep", "a boolean"),
        ("inputs.tag == null", "a boolean"),
        ("inputs.mode == 'fast'", "a boolean"),
        ("inputs.any.x[0] + 1", "a number"),
        ("inputs.any + 'x'", "a text"),
        ("inputs.any - timestamp(run.started)", "a duration"),
        ("inputs.any.map(x, x.y)", "a list"),
        ("duration('1h') + duration('1m')", "a duration"),
        ("timestamp(run.started) + duration('1h')", "a time"),
        ("timestamp(run.started) - timestamp(0) > duration('1h')", "a boolean"),
        ("timestamp(run.started).getHours('UTC')", "a whole number"),
        ("type(inputs.tag) == string", "a boolean"),
        ("type(timestamp(0)) == google.protobuf.Timestamp", "a boolean"),
        ("size(inputs.hosts) + inputs.tag.size() + size({})", "a whole number"),
        ("string(inputs.count) + string(inputs.ratio)", "a text"),
        ("int('1') + int(inputs.ratio)", "a whole number"),
        ("inputs.tag.split(',').map(p, p.trim()).join('-')", "a text"),
        ("'%s:%d'.format([inputs.tag, inputs.count])", "a text"),
        ("inputs.?extra", "an optional text"),
        ("inputs.?extra.orValue('x')", "a text"),
        ("inputs.?extra.hasValue()", "a boolean"),
        ("inputs[?'extra'].orValue('x')", "a text"),
        ("inputs.hosts[?3].orValue('x')", "a text"),
        ("inputs.?extra.or(optional.of('y')).value()", "a text"),
        ("inputs.?extra.optMap(x, size(x)).orValue(0)", "a whole number"),
        ("[1, ?inputs.any.?x]", "a list"),
        ("{?'a': inputs.?extra, 'b': 'c'}.b", "a text"),
        ("default(inputs.extra, 'x')", "a text"),
        ("default(inputs.note, 'x') + '!'", "a text"),
        ("default(inputs.extra, null)", "a text or null"),
        ("default(inputs.any.a.b, 1)", "anything"),
        ("default(stages.build.outputs.labels.team, 'none')", "a text"),
        ("has(inputs.extra) ? inputs.extra : 'x'", "a text"),
        ("has(inputs.extra) && inputs.extra == 'x'", "a boolean"),
        ("!has(inputs.extra) || inputs.extra.size() > 1", "a boolean"),
        ("inputs.note != null ? inputs.note + 'x' : ''", "a text"),
        ("inputs.note == null ? '' : inputs.note", "a text"),
        ("inputs.note == null || inputs.note == 'x'", "a boolean"),
        ("'team' in stages.build.outputs.labels ? stages.build.outputs.labels.team : ''", "a text"),
        ("parse_json(inputs.tag).a.b", "anything"),
        ("semver(inputs.tag).minor + 1", "a whole number"),
        ("[{'tag': 1}].map(inputs, inputs.tag)", "a list of whole numbers"),
        ("inputs.hosts.map(h, [h].map(h, size(h)))", "a list of lists"),
        ("inputs.token", "a secret"),
        ("inputs.fast ? inputs.token : null", "a secret or null"),
        ("{'a': [inputs.token]}", "a map"),
        ("dyn(inputs.tag) + 1", "a number"),
        ("string(inputs.mixed)", "a text"),
        ("host.matches('^a') || matches(host, 'b')", "a boolean"),
        (".inputs.tag", "a text"),
        ("b'a' + bytes('b')", "bytes"),
    ] {
        check(source, expect);
    }
}

#[test]
fn names_that_stand_for_nothing() {
    check_mistakes("input.tag", &["input | there is no variable `input`; did you mean `inputs`?"]);
    check_mistakes("hots + 'x'", &["hots | there is no variable `hots`; did you mean `host`?"]);
    check_mistakes(
        "zzzzzzz",
        &[
            "zzzzzzz | there is no variable `zzzzzzz`; there is `inputs`, `stages`, `run`, `host`; a text stands in quotes",
        ],
    );
    check_mistakes(
        "matrix.os",
        &["matrix | `matrix` is not known here; `matrix` is known in stages that have one"],
    );
    check_mistakes("inputs.tga + 'x'", &["tga | there is no input `tga`; did you mean `tag`?"]);
    check_mistakes("inputs['tga']", &["['tga'] | there is no input `tga`; did you mean `tag`?"]);
    check_mistakes("stages.biuld.outputs", &["biuld | there is no stage `biuld`; did you mean `build`?"]);
    check_mistakes(
        "stages.build.output.image",
        &["output | `stages.build` has no `output`; did you mean `outputs`?"],
    );
    check_mistakes(
        "stages.build.outputs.imgae",
        &["imgae | `stages.build.outputs` has no `imgae`; did you mean `image`?"],
    );
    check_mistakes("inputs.deep.a.x", &["x | `inputs.deep.a` has no `x`; there is `b`"]);
    check_mistakes("run.flow", &["flow | `run` has no `flow`; there is `id`, `started`"]);
    check_mistakes("{'abc': 1}.abd", &["abd | there is no `abd` in it; did you mean `abc`?"]);
    check_mistakes(
        "stages.build.outputs.layers.map(l, l.sise)",
        &["sise | `l` has no `sise`; did you mean `size`?"],
    );
    check_mistakes(
        "[1].map(host_name, host_nam)",
        &["host_nam | there is no variable `host_nam`; did you mean `host_name`?"],
    );
    // A name with a dash is one mistake, though it reads as two names.
    check_mistakes(
        "stages.tests-image.outputs.image + 1",
        &["tests | there is no stage `tests`; a name with a dash is written `stages[\"tests-image\"]`"],
    );
    // To ask for an input that was never declared is a slip; for an output it may be foresight.
    check_mistakes("has(inputs.tga)", &["tga | there is no input `tga`; did you mean `tag`?"]);
    check_mistakes("default(inputs.tga, 1)", &["tga | there is no input `tga`; did you mean `tag`?"]);
    check("has(stages.build.outputs.later)", "a boolean");
    check("default(stages.build.outputs.later, 'x')", "anything");
    check_mistakes(
        "google.protobuf.Timestamp{}",
        &["{ | there is no type `google.protobuf.Timestamp` that can be made"],
    );
}

#[test]
fn operators_with_what_they_do_not_take() {
    const CONVERT: &str = "convert one of them, with `string(…)`, `int(…)` or `double(…)`";
    let convert = |text: &str| format!("{text}; {CONVERT}");
    for (source, message) in [
        ("1 + 'a'", "+ | `+` does not take a whole number and a text"),
        ("inputs.tag * 2", "* | `*` does not take a text and a whole number"),
        ("inputs.hosts + 'x'", "+ | `+` does not take a list of texts and a text"),
        ("[1] + {'a': 1}", "+ | `+` does not take a list of whole numbers and a map"),
        ("inputs.tag < 1", "< | `<` does not take a text and a whole number"),
        ("inputs.any - 'x'", "- | `-` does not take anything and a text"),
        ("duration('1s') * 2", "* | `*` does not take a duration and a whole number"),
        ("inputs.tag == 1", "== | `==` compares a text with a whole number, which are never the same"),
        ("inputs.fast != 'true'", "!= | `!=` compares a boolean with a text, which are never the same"),
        ("1 in inputs.hosts", "in | `in` looks for a whole number among a text, which are never the same"),
    ] {
        check_mistakes(source, &[&convert(message)]);
    }
    for (source, message) in [
        ("inputs.tag ? 1 : 2", "inputs.tag | before `?` stands a condition, a boolean, and this is a text"),
        ("inputs.count && true", "inputs.count | `&&` takes booleans, and this is a whole number"),
        ("true || inputs.hosts[0]", "inputs.hosts[0] | `||` takes booleans, and this is a text"),
        ("!inputs.tag", "inputs.tag | `!` takes a boolean, and this is a text"),
        ("-inputs.tag", "inputs.tag | `-` takes a number, and this is a text"),
        ("'a' in inputs.tag", "inputs.tag | after `in` stands a list or a map, and this is a text"),
        ("1 in inputs.deep", "1 | the keys of this map are texts, and this is a whole number"),
        ("inputs.tag[0]", "inputs.tag | `[…]` is for a list or a map, and this is a text"),
        ("inputs.tag.x", "inputs.tag | `.x` is for a map, and this is a text"),
        ("inputs.hosts.x", "inputs.hosts | `.x` is for a map, and this is a list of texts"),
        ("inputs.hosts['x']", "'x' | an item of a list is named by its number, from 0, and this is a text"),
        ("inputs.deep[1]", "1 | the keys of this map are texts, and this is a whole number"),
        ("has(inputs.tag.x)", "inputs.tag | `.x` is for a map, and this is a text"),
        ("null + 1", "+ | `+` does not take null and a whole number"),
        ("inputs.tag.map(x, x)", "inputs.tag | only a list or a map has items, and this is a text"),
        ("inputs.hosts.filter(x, x)", "x | here stands a condition, a boolean, and this is a text"),
        (
            "inputs.hosts.all(x, size(x))",
            "size(x) | here stands a condition, a boolean, and this is a whole number",
        ),
        (
            "{[1]: 2}",
            "[1] | a key of a map is a text, a whole number or a boolean, and this is a list of whole numbers",
        ),
        ("{'a': 1, 'a': 2}", "'a' | `a` is there twice"),
        (
            "inputs.mode == 'fats'",
            "== | this is one of `fast`, `slow`, and never `fats`; did you mean `fast`?",
        ),
        (
            "timestamp(0) == '2026'",
            "== | `==` compares a time with a text, which are never the same; make a time of the text, with `timestamp(…)`",
        ),
        (
            "type(1) == 'int'",
            "== | `==` compares a type with a text, which are never the same; types are named without quotes: `type(x) == string`",
        ),
        (
            "inputs.?extra == 'x'",
            "== | `==` compares an optional text with a text, which are never the same; say what it is otherwise, with `.orValue(…)`",
        ),
        (
            "inputs.?extra + 'x'",
            "+ | `+` does not take an optional text and a text; say what it is otherwise, with `.orValue(…)`",
        ),
    ] {
        check_mistakes(source, &[message]);
    }
}

#[test]
fn functions_with_what_they_do_not_take() {
    for (source, message) in [
        ("shout('a')", "shout | there is no function `shout`"),
        ("inputs.tag.trimm()", "trimm | there is no function `trimm`; did you mean `trim`?"),
        ("trim(inputs.tag)", "trim | there is no function `trim`; it is written `x.trim(…)`"),
        ("inputs.tag.json()", "json | there is no function `json`; it is written `json(x)`"),
        ("toJSON(inputs)", "toJSON | there is no function `toJSON`; here it is `json(x)`"),
        ("inputs.count.trim()", "inputs.count | `.trim(…)` is for a text, and this is a whole number"),
        ("inputs.tag.split(1)", "1 | `split` takes a text, and this is a whole number"),
        (
            "inputs.tag.split(',', 'x')",
            "'x' | `split` takes a whole number as its `most`, and this is a text",
        ),
        (
            "inputs.tag.split()",
            "inputs.tag.split() | `split` takes 1 to 2 values, not 0; as in `'a,b,c'.split(',', 2)`",
        ),
        ("size(1)", "1 | `size` takes a text, a list, a map or bytes, and this is a whole number"),
        ("size('a', 'b')", "size('a', 'b') | `size` takes one value, not 2; as in `size(['a', 'b'])`"),
        (
            "int(inputs.hosts)",
            "inputs.hosts | `int` takes a text, a number or a time, and this is a list of texts",
        ),
        (
            "[1, 2].join(',')",
            "[1, 2] | `.join(…)` is for a list of texts, and this is a list of whole numbers",
        ),
        ("inputs.tag.matches(1)", "1 | `matches` takes a text as its `pattern`, and this is a whole number"),
        ("inputs.tag.hasValue()", "inputs.tag | `.hasValue(…)` is for an optional value, and this is a text"),
        (
            "inputs.tag.orValue('x')",
            "inputs.tag | `.orValue(…)` is for an optional value, and this is a text",
        ),
        ("optional.off(1)", "off | there is no function `off`"),
        (
            "default(1)",
            "default(1) | `default` takes 2 values, not 1; as in `default(parse_json('{\"a\": {}}').a.b.c, 'none')`",
        ),
        (
            "inputs.hosts.map(x)",
            "inputs.hosts.map(x) | `map` takes 2 to 3 values, not 1; as in `['a', 'b'].map(x, x + '.local')`",
        ),
        (
            "success()",
            "success() | `success()` cannot be asked here; only an `if` can ask what became of the needed stages",
        ),
        ("'%d'.format(['a'])", "'a' | `%d` takes a whole number, and this is a text"),
        ("'%s %s'.format([inputs.tag])", "[inputs.tag] | the text has 2 places and is given 1 value"),
        ("'%y'.format([1])", "'%y' | `%y` means nothing; a percent sign is written `%%`"),
        ("'%d'.format(inputs.hosts)", "inputs.hosts | `%d` takes a whole number, and this is a text"),
    ] {
        let found = checked(source);
        let [error] =
            shown(source, &found.mistakes).try_into().unwrap_or_else(|all| panic!("{source}: {all:?}"));
        let error: String = error;
        assert!(error.starts_with(message), "{source}: {error}");
    }
}

#[test]
fn what_may_fail_is_a_warning() {
    check_warnings(
        "inputs.extra",
        &["inputs.extra | `extra` may be missing; say what it is otherwise, with `default(inputs.extra, …)`"],
    );
    check_warnings(
        "stages.build.outputs.digest + 'x'",
        &[
            "stages.build.outputs.digest | `digest` may be missing; say what it is otherwise, with `default(stages.build.outputs.digest, …)`",
        ],
    );
    check_warnings(
        "stages['tests-image'].outputs.image",
        &[
            "stages['tests-image'].outputs | `outputs` may be missing; say what it is otherwise, with `default(stages[\"tests-image\"].outputs, …)`",
        ],
    );
    check_warnings(
        "stages.build.outputs.labels.team",
        &[
            "stages.build.outputs.labels.team | `team` may be missing; say what it is otherwise, with `default(stages.build.outputs.labels.team, …)`",
        ],
    );
    check_warnings(
        "inputs.note + 'x'",
        &[
            "inputs.note + 'x' | `+` does not take null, and one of its sides can be null; say what it is otherwise, with `default(…, …)`",
        ],
    );
    check_warnings(
        "inputs.note.size()",
        &[
            "inputs.note | `.size(…)` is for a text, a list, a map or bytes, and this can be null; say what it is otherwise, with `default(…, …)`",
        ],
    );
    check_warnings(
        "inputs.mixed + 'x'",
        &[
            "inputs.mixed + 'x' | `+` may get a text or a whole number and a text, which it does not always take; convert one of them, with `string(…)`, `int(…)` or `double(…)`",
        ],
    );
    check_warnings(
        "inputs.mixed.trim()",
        &["inputs.mixed | `.trim(…)` is for a text, and this can be a text or a whole number"],
    );
    // What a condition says of one variable, it does not say of another of its name.
    check_warnings(
        "has(inputs.extra) && [{'extra': 1}, {}].all(inputs, inputs.extra > 0)",
        &["inputs.extra | `extra` may be missing; say what it is otherwise, with `default(inputs.extra, …)`"],
    );
}

#[test]
fn nothing_is_done_with_secrets() {
    let help = "a secret is only handed on, as a whole value: what is made of it could be shown and stored";
    for (source, message) in [
        ("inputs.token + 'x'", "+ | `+` does not take a secret and a text"),
        ("inputs.token == 'x'", "== | `==` does not take a secret"),
        ("inputs.token in ['x']", "in | `in` does not take a secret"),
        ("string(inputs.token)", "inputs.token | `string` does not take a secret"),
        ("json(inputs.token)", "inputs.token | `json` does not take a secret"),
        ("inputs.token.secret", "inputs.token | `.secret` is for a map, and this is a secret"),
        ("inputs.token.size()", "inputs.token | `size` does not take a secret"),
        ("'%s'.format([inputs.token])", "inputs.token | `%s` takes what can be a text, and this is a secret"),
        ("inputs.token < 'x'", "< | `<` does not take a secret and a text"),
        (
            "inputs.token ? 1 : 2",
            "inputs.token | before `?` stands a condition, a boolean, and this is a secret",
        ),
    ] {
        check_mistakes(source, &[&format!("{message}; {help}")]);
    }
    assert!(matches!(Type::Secret.fits_in_text(), Fit::No(_)));
}

#[test]
fn all_mistakes_of_an_expression_are_told_in_order() {
    check_mistakes(
        "inputs.a + inputs.b.c + shout(1) + (1 + 'x')",
        &[
            "a | there is no input `a`; there is `tag`, `count`, `ratio`, `fast`, `mode`, `hosts`, `note`, `extra` and 4 more",
            "b | there is no input `b`; there is `tag`, `count`, `ratio`, `fast`, `mode`, `hosts`, `note`, `extra` and 4 more",
            "shout | there is no function `shout`; there is `always`, `bool`, `bytes`, `cancelled`, `default`, `double`, `duration`, `dyn` and 21 more",
            "+ | `+` does not take a whole number and a text; convert one of them, with `string(…)`, `int(…)` or `double(…)`",
        ],
    );
    // One that is everywhere is told some times only.
    let many = vec!["nope"; 200].join(" || ");
    assert_eq!(checked(&many).mistakes.len(), 20);
    assert!(checked(&many).mistakes.iter().all(|error| error.kind == Kind::Unknown));
}

#[test]
fn schemas_are_read_as_types() {
    for (schema, expect) in [
        (json!(true), "anything"),
        (json!({ "type": "string", "format": "date-time" }), "a text"),
        (json!({ "type": "integer" }), "a whole number"),
        (json!({ "type": ["string", "null"] }), "a text or null"),
        (json!({ "anyOf": [{ "type": "number" }, { "type": "null" }] }), "a number or null"),
        (json!({ "enum": ["a", "b", null] }), "null or a text"),
        (json!({ "const": 1 }), "a whole number"),
        (json!({ "type": "array", "items": { "type": "boolean" } }), "a list of booleans"),
        (json!({ "type": "array" }), "a list"),
        (json!({ "type": "object", "additionalProperties": { "type": "string" } }), "a map of texts"),
        (json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "string" } } }), "a text"),
        (json!({ "$ref": "#" }), "anything"),
        (json!({ "$ref": "https://example.com/other" }), "anything"),
        (json!({ "allOf": [{ "$ref": "#/$defs/a" }], "$defs": { "a": { "type": "string" } } }), "a text"),
        (
            json!({ "type": "object", "properties": { "secret": { "type": "string" } }, "required": ["secret"], "additionalProperties": false }),
            "a secret",
        ),
    ] {
        assert_eq!(Type::of_schema(&schema).to_string(), expect, "{schema}");
    }
    // One that grows by the power of two at each step is not read to its end.
    let mut definitions = serde_json::Map::new();
    for index in 0..60 {
        let next = json!({ "$ref": format!("#/$defs/d{}", index + 1) });
        definitions
            .insert(format!("d{index}"), json!({ "type": "object", "properties": { "a": next, "b": next } }));
    }
    let schema = json!({ "$ref": "#/$defs/d0", "$defs": definitions });
    assert_eq!(Type::of_schema(&schema).to_string(), "a map");
}

#[test]
fn a_value_can_stand_where_its_type_fits() {
    let no = |reason: &str| Fit::No(reason.to_owned());
    let count = json!({ "type": "integer" });
    let config = json!({
        "type": "object",
        "properties": { "name": { "type": "string" }, "count": { "type": "integer" } },
        "required": ["name"],
        "additionalProperties": false,
    });
    for (schema, source, expect) in [
        (&count, "inputs.count", Fit::Yes),
        (&count, "inputs.ratio", Fit::Unknown),
        (&count, "inputs.any", Fit::Unknown),
        (&count, "inputs.tag", no("it is a text, and a whole number is needed")),
        (&count, "inputs.note", no("it is a text or null, and a whole number is needed")),
        (&count, "inputs.mixed", Fit::Unknown),
        (
            &count,
            "inputs.?count",
            no("it is an optional whole number: say what it is otherwise, with `.orValue(…)`"),
        ),
        (
            &json!(true),
            "inputs.?count",
            no("it is an optional whole number: say what it is otherwise, with `.orValue(…)`"),
        ),
        (&json!(true), "inputs.token", Fit::Yes),
        (&json!({ "type": "string" }), "inputs.token", no("it is a secret, and a text is needed")),
        (&json!({ "type": "string" }), "timestamp(0)", Fit::Yes),
        (&json!({ "type": "number" }), "inputs.count", Fit::Yes),
        (&json!({ "type": ["string", "null"] }), "inputs.note", Fit::Yes),
        (&json!({ "enum": ["fast", "slow"] }), "inputs.mode", Fit::Yes),
        (&json!({ "enum": ["fast", "slow"] }), "inputs.tag", Fit::Unknown),
        (&json!({ "enum": ["fast", "slow"] }), "inputs.fast ? 'fast' : 'slwo'", Fit::Unknown),
        (
            &json!({ "enum": ["fast", "slow"] }),
            "'slwo'",
            no("it is `slwo`, and one of `fast`, `slow` is needed"),
        ),
        (
            &json!({ "enum": ["fast", "slow"] }),
            "1",
            no("it is a whole number, and one of `fast`, `slow` is needed"),
        ),
        (&json!({ "type": "array", "items": { "type": "integer" } }), "[1, 2]", Fit::Yes),
        (&json!({ "type": "array", "items": { "type": "integer" } }), "[]", Fit::Yes),
        (
            &json!({ "type": "array", "items": { "type": "integer" } }),
            "inputs.hosts",
            no("it is a list of texts, and a list of whole numbers is needed"),
        ),
        (&config, "{'name': 'x'}", Fit::Yes),
        (&config, "{'name': 'x', 'count': 1}", Fit::Yes),
        (&config, "{'name': 1}", no("its `name` is a whole number, and a text is needed")),
        (&config, "{'count': 1}", no("it has no `name`")),
        (&config, "{'name': 'x', 'extra': 1}", no("it has `extra`, which is not known there")),
        (&config, "inputs.any", Fit::Unknown),
        (&config, "{inputs.tag: 'x'}", Fit::Unknown),
        (&json!({ "type": "object", "additionalProperties": { "type": "string" } }), "{'a': 'x'}", Fit::Yes),
        (
            &json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            "{'a': 1}",
            no("a value of it is a whole number, and a text is needed"),
        ),
    ] {
        let given = checked(source);
        assert_eq!(given.mistakes, [], "{source}");
        assert_eq!(Type::of_schema(schema).accepts(&given.ty), expect, "{source} as {schema}");
    }
    assert_eq!(Type::Bool.accepts(&checked("inputs.tag").ty), no("it is a text, and a boolean is needed"));
    for (source, fits) in
        [("inputs.tag", true), ("inputs.ratio", true), ("timestamp(0)", true), ("inputs.hosts", false)]
    {
        assert_eq!(checked(source).ty.fits_in_text() == Fit::Yes, fits, "{source}");
    }
}
