//! What expressions come out as, and what people are told when they do not.

#![allow(clippy::disallowed_methods, reason = "tests and measurements meet the real clock and runtime")]

use std::time::{Duration, Instant};

use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use yuanli_expr::{Environment, Error, Scope, Type, parse, render, split, template};
use yuanli_model::{InputName, StageName};

struct World {
    inputs: IndexMap<InputName, Value>,
    stages: IndexMap<StageName, Value>,
    run: Map<String, Value>,
}

impl World {
    fn new() -> Self {
        let name = |name: &str| name.parse().expect("an input name");
        Self {
            inputs: IndexMap::from([
                (name("tag"), json!("dev")),
                (name("count"), json!(3)),
                (name("ratio"), json!(1.5)),
                (name("fast"), json!(true)),
                (name("hosts"), json!(["a", "b"])),
                (name("none"), json!(null)),
                (name("deep"), json!({ "a": { "b": [1, { "c": "x" }] } })),
                (name("huge"), json!(u64::MAX)),
            ]),
            stages: IndexMap::from([
                ("build".parse().expect("a stage name"), json!({ "image": "shop:dev", "id": 7 })),
                ("tests-image".parse().expect("a stage name"), json!({ "id": "sha256:1" })),
            ]),
            run: Map::from_iter([("id".to_owned(), json!("01abc")), ("workflow".to_owned(), json!("shop"))]),
        }
    }

    fn render(&self, text: &str) -> Result<Value, Error> {
        render(&template(split(text)?), &self.scope())
    }

    fn scope(&self) -> Scope<'_> {
        Scope::of(&self.inputs, &self.stages, &self.run)
    }
}

#[track_caller]
fn check(text: &str, expect: Value) {
    match World::new().render(text) {
        Ok(value) => assert_eq!(value, expect, "{text}"),
        Err(error) => panic!("{text}: {error}"),
    }
}

#[track_caller]
fn check_error(text: &str, expect: &str) {
    match World::new().render(text) {
        Ok(value) => panic!("{text} gave {value}"),
        Err(error) => assert_eq!(error.to_string(), expect, "{text}"),
    }
}

#[test]
fn what_starts_a_run_is_all_that_its_trigger_can_use() {
    let trigger = Map::from_iter([("body".to_owned(), json!({ "ref": "main", "commits": [{ "id": "1" }] }))]);
    let scope = Scope { trigger: Some(&trigger), ..Scope::default() };
    let render = |text: &str| render(&template(split(text)?), &scope);
    for (text, expect) in [
        ("${{ trigger.body.ref }}", json!("main")),
        ("${{ trigger.body.commits[0].id + '!' }}", json!("1!")),
        ("${{ trigger.body.commits.map(c, c.id) }}", json!(["1"])),
        ("${{ has(trigger.body.tag) ? trigger.body.tag : 'none' }}", json!("none")),
        ("${{ size(trigger) }}", json!(1)),
    ] {
        assert_eq!(render(text).unwrap(), expect, "{text}");
    }
    for (text, expect) in [
        ("${{ trigger.body.rfe }}", "`trigger.body` has no `rfe`"),
        ("${{ inputs.tag }}", "there is no variable `inputs`"),
        ("${{ run.id }}", "there is no variable `run`"),
    ] {
        assert_eq!(render(text).expect_err(text).message, expect, "{text}");
    }
    check_error(
        "${{ trigger.body }}",
        "there is no variable `trigger`, in `trigger.body`; there is `inputs`, `stages`, `run`",
    );
}

#[test]
fn a_whole_value_expression_keeps_its_type() {
    check("${{ inputs.tag }}", json!("dev"));
    check("${{ inputs.count }}", json!(3));
    check("${{ inputs.count + 1 }}", json!(4));
    check("${{ inputs.ratio }}", json!(1.5));
    check("${{ inputs.huge }}", json!(u64::MAX));
    check("${{ inputs.fast && !inputs.fast }}", json!(false));
    check("${{ inputs.none }}", json!(null));
    check("${{ inputs.hosts }}", json!(["a", "b"]));
    check("${{ inputs.deep }}", json!({ "a": { "b": [1, { "c": "x" }] } }));
    check("${{ inputs.deep.a.b[1].c }}", json!("x"));
    check("${{ stages.build.outputs }}", json!({ "image": "shop:dev", "id": 7 }));
    check("${{ stages.build.outputs.id * 6 }}", json!(42));
    check(r#"${{ stages["tests-image"].outputs.id }}"#, json!("sha256:1"));
    check("${{ run.workflow }}", json!("shop"));
}

#[test]
fn in_a_text_values_stand_as_text() {
    check("shop:${{ inputs.tag }}", json!("shop:dev"));
    check("${{ inputs.count }}/${{ inputs.ratio }}/${{ inputs.fast }}", json!("3/1.5/true"));
    check("$${{ inputs.tag }} is ${{ inputs.tag }}", json!("${{ inputs.tag }} is dev"));
    for (text, what) in [("hosts", "a list"), ("deep", "a map"), ("none", "null")] {
        check_error(
            &format!("x ${{{{ inputs.{text} }}}}"),
            &format!(
                "the result is {what}, which cannot stand inside a text, in `inputs.{text}`; let the expression be \
                 the whole value, without text around it, or make a text of it"
            ),
        );
    }
}

#[test]
fn the_standard_functions_of_cel_are_there() {
    check("${{ size(inputs.hosts) + size('abc') }}", json!(5));
    check("${{ inputs.hosts.map(h, h + '.local') }}", json!(["a.local", "b.local"]));
    check("${{ inputs.hosts.filter(h, h != 'a') }}", json!(["b"]));
    check("${{ inputs.hosts.exists(h, h == 'b') && 'a' in inputs.hosts }}", json!(true));
    check("${{ inputs.tag.startsWith('d') ? 'yes' : 'no' }}", json!("yes"));
    check("${{ inputs.tag.matches('^d.v$') }}", json!(true));
    check("${{ has(inputs.tag) && !has(inputs.other) }}", json!(true));
    check("${{ inputs.?other.orValue('x') }}", json!("x"));
    check("${{ string(inputs.count) + string(inputs.ratio) }}", json!("31.5"));
    check("${{ size(inputs) }}", json!(8));
    check("${{ size(stages) }}", json!(2));
    check("${{ stages.map(name, name).size() }}", json!(2));
    check("${{ {'b': 1, 'a': {'c': [1, 2]}} }}", json!({ "a": { "c": [1, 2] }, "b": 1 }));
    check("${{ inputs.fast ? 1 : inputs.other }}", json!(1));
    // A name that a comprehension binds hides the variable.
    check("${{ [{'tag': 'x'}].map(inputs, inputs.tag) }}", json!(["x"]));
    // Part and whole of one variable in one expression.
    check("${{ inputs.deep.a.b[0] + size(inputs.deep) + size(inputs) }}", json!(10));
}

#[test]
fn what_json_lacks_has_a_form_of_its_own() {
    check("${{ b'abc' }}", json!("YWJj"));
    check("${{ duration('90s') }}", json!("90s"));
    check("${{ duration('-1500ms') }}", json!("-1.5s"));
    check("${{ timestamp('2026-01-02T03:04:05Z') }}", json!("2026-01-02T03:04:05Z"));
    check("${{ 7u }}", json!(7));
    check_error(
        "${{ 1.0 / 0.0 }}",
        "the result is the number inf, which no document can hold, in `1.0 / 0.0`",
    );
    check_error(
        "${{ {1: 2} }}",
        "the result is a map with the key 1, which is no text, in `{1: 2}`; write keys as text, such as `string(1)`",
    );
    check_error(
        "${{ inputs.?tag }}",
        "the result is an optional value, in `inputs.?tag`; say what it is otherwise: `.orValue(…)`",
    );
}

/// `cel` keeps maps in an order that differs from process to process; a config must not.
#[test]
fn the_keys_of_a_map_are_sorted() {
    let value = World::new().render("${{ {'c': 1, 'a': 2, 'e': 3, 'b': 4, 'd': 5} }}").expect("a map");
    assert_eq!(value.to_string(), r#"{"a":2,"b":4,"c":1,"d":5,"e":3}"#);
}

#[test]
fn a_result_is_no_deeper_than_a_document_that_can_be_read_back() {
    let nested = |levels: usize| format!("${{{{ {}1{} }}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(World::new().render(&nested(100)).is_ok());
    let error = World::new().render(&nested(101)).expect_err("too deep");
    assert_eq!(error.message, "the result is nested deeper than 100 levels");
    let (world, mut deep) = (World::new(), template(split(&nested(60)).expect("an expression")));
    for _ in 0..41 {
        deep = yuanli_model::Template::List(vec![deep]);
    }
    let scope = Scope::of(&world.inputs, &world.stages, &world.run);
    assert_eq!(
        render(&deep, &scope).expect_err("too deep").message,
        "the result is nested deeper than 100 levels"
    );
}

#[test]
fn an_unknown_name_names_the_nearest_one() {
    for (text, expect) in [
        ("inputs.tga", "there is no input `tga`, in `inputs.tga`; did you mean `tag`?"),
        ("input.tag", "there is no variable `input`, in `input.tag`; did you mean `inputs`?"),
        (
            "stages.biuld.outputs.id",
            "there are no outputs of a stage `biuld`, in `stages.biuld.outputs.id`; did you mean `build`?",
        ),
        (
            "stages.build.output.id",
            "`stages.build` has no `output`, in `stages.build.output.id`; did you mean `outputs`?",
        ),
        (
            "stages.build.outputs.imgae",
            "`stages.build.outputs` has no `imgae`, in `stages.build.outputs.imgae`; did you mean `image`?",
        ),
        (
            "stages.build.outputs.zzzzzz",
            "`stages.build.outputs` has no `zzzzzz`, in `stages.build.outputs.zzzzzz`; there is `image`, `id`",
        ),
        (
            "stages.tests-image.outputs.id",
            "there are no outputs of a stage `tests`, in `stages.tests-image.outputs.id`; a name with a dash is written `stages[\"tests-image\"]`",
        ),
        ("inputs.deep.x", "`inputs.deep` has no `x`, in `inputs.deep.x`; there is `a`"),
        ("run.flow", "`run` has no `flow`, in `run.flow`; there is `id`, `workflow`"),
        (
            "{'a': 1}.b",
            "there is no key `b`, in `{'a': 1}.b`; ask with `has(…)` first, or read it with `.?` and `.orValue(…)`",
        ),
        ("shout('a')", "there is no variable or function `shout`, in `shout('a')`"),
    ] {
        check_error(&format!("${{{{ {text} }}}}"), expect);
    }
}

#[test]
fn what_cannot_be_computed_says_why() {
    for (text, expect) in [
        (
            "1 + 'a'",
            "`+` does not take a whole number and a text, in `1 + 'a'`; convert one of them, with `string(…)`, `int(…)` or `double(…)`",
        ),
        (
            "1 < 'a'",
            "`<` does not take a whole number and a text, in `1 < 'a'`; convert one of them, with `string(…)`, `int(…)` or `double(…)`",
        ),
        ("1 / 0", "a division by zero, in `1 / 0`"),
        ("1 % 0", "a division by zero, in `1 % 0`"),
        (
            "18446744073709551615u + 1",
            "the result of `+` is too large for a whole number, in `18446744073709551615u + 1`",
        ),
        ("inputs.hosts[2]", "the list has no item 2; the first one is 0, in `inputs.hosts[2]`"),
        (
            "inputs.tag.matches('(')",
            "`matches` failed: `(` is no pattern: unclosed group, in `inputs.tag.matches('(')`",
        ),
        (
            "inputs.count ? 1 : 2",
            "a whole number was found where a boolean is needed, in `inputs.count ? 1 : 2`",
        ),
        ("int('x')", "`int` failed: string parse error: invalid digit found in string, in `int('x')`"),
        ("timestamp('x')", "`timestamp` failed: premature end of input, in `timestamp('x')`"),
    ] {
        check_error(&format!("${{{{ {text} }}}}"), expect);
    }
}

#[test]
fn what_is_no_expression_says_where() {
    for (source, message, at) in [
        ("a +", "the expression ends where something is missing", 3..3),
        ("(a", "the expression ends where something is missing", 2..2),
        ("a b", "`b` was not expected here", 2..3),
        ("a ? b", "the expression ends where something is missing", 5..5),
        ("'abc", "a string has no closing quote", 0..1),
        ("a # b", "`#` means nothing in an expression", 2..3),
        ("for", "`for` is a reserved word of the expression language", 0..1),
        ("ä", "`ä` means nothing in an expression", 0..2),
        ("'ä' + # b", "`#` means nothing in an expression", 7..8),
    ] {
        let error = parse(source).expect_err(source);
        assert_eq!((error.message.as_str(), error.at), (message, Some(at)), "{source}");
    }
}

#[test]
fn the_size_is_limited_before_parsing() {
    let refused = |source: &str| parse(source).expect_err("too large").message;
    assert!(refused(&"a".repeat(4097)).contains("4097 bytes"));
    assert!(refused(&"!".repeat(501)).contains("501 operators"));
    assert!(parse(&format!("a{}", ".a".repeat(500))).is_ok());
}

/// Every construct that nests, as deep as the limit allows, where the parser alone would need far more stack than there
/// is. Without the stack of its own this test does not fail, it ends the process.
#[test]
fn what_is_500_deep_does_not_overflow_a_stack_of_2_mib() {
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let work = || {
        let world = World::new();
        let scope = Scope::of(&world.inputs, &world.stages, &world.run);
        for (open, inner, close, times) in [
            ("(", "1", ")", 500),
            ("[", "1", "]", 500),
            ("{'a':", "1", "}", 500),
            ("size([", "1", "])", 240),
            ("!(", "true", ")", 250),
            ("-(", "1", ")", 250),
            ("true?1:", "1", "", 500),
            ("", "1", "+1", 500),
            ("1+(", "1", ")", 250),
            ("", "inputs", ".a", 500),
            ("", "inputs", "[0]", 500),
            ("default(", "inputs.a", ",1)", 240),
            ("'%s'.format([", "1", "])", 150),
            ("[", "1", "].map(x,x)", 100),
        ] {
            let source = open.repeat(times) + inner + &close.repeat(times);
            let program = parse(&source).unwrap_or_else(|error| panic!("{open}…{close}: {error}"));
            let _ = program.evaluate(&scope);
            let _ = program.check(&Environment::new().with("inputs", Type::Any));
        }
    };
    thread.spawn(work).expect("a thread").join().expect("no panic");
}

#[test]
fn comprehensions_are_bounded() {
    let mut world = World::new();
    let name = |name: &str| name.parse::<InputName>().expect("a name");
    world.inputs.insert(name("many"), Value::from((0..2000).collect::<Vec<i64>>()));
    world.inputs.insert(name("long"), Value::from("x".repeat(1_000_000)));
    let once = world.render("${{ inputs.many.map(x, x + 1).filter(x, x % 2 == 0).size() }}");
    assert_eq!(once.expect("a walk after the other"), json!(1000));
    let begin = Instant::now();
    for source in [
        "inputs.many.map(x, inputs.many.map(y, x + y)).size()",
        "inputs.many.all(x, inputs.many.all(y, x + y >= 0))",
        "inputs.many.map(x, inputs.long + inputs.long).size()",
    ] {
        let error = world.render(&format!("${{{{ {source} }}}}")).expect_err(source);
        assert_eq!(error.message, "the lists are too long to walk them in an expression", "{source}");
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "a refused walk must not be walked");
    let three = "inputs.many.map(x, inputs.many.map(y, inputs.many.map(z, x + y + z)))";
    let error = world.render(&format!("${{{{ {three} }}}}")).expect_err("three");
    assert_eq!(error.message, "3 comprehensions stand inside each other, the most is 2");
}

#[test]
fn references_are_the_static_paths() {
    let show = |source: &str| -> Vec<String> {
        let program = parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let shown = program.references().iter().map(|reference| {
            let parts: Vec<&str> = reference.parts.iter().map(|part| &source[part.clone()]).collect();
            let mut shown = format!("{} = {}", reference.path.join("/"), parts.join(" "));
            assert!(source[reference.range.clone()].starts_with(reference.path[0].as_str()), "{source}");
            if reference.is_optional {
                shown.push_str(" optional");
            }
            if let Some(dashed) = &reference.dashed {
                shown.push_str(&format!(" dashed {dashed}"));
            }
            if reference.is_rest_of_dashed {
                shown.push_str(" rest");
            }
            shown
        });
        shown.collect()
    };
    for (source, expect) in [
        ("1 + 2", &[] as &[&str]),
        ("inputs.tag", &["inputs/tag = inputs tag"]),
        (
            r#"stages["tests-image"].outputs.id"#,
            &[r#"stages/tests-image/outputs/id = stages ["tests-image"] outputs id"#],
        ),
        ("'ö' + inputs . tag", &["inputs/tag = inputs tag"]),
        ("f(inputs.a[0].b, run.id)", &["inputs/a = inputs a", "run/id = run id"]),
        ("inputs.list.map(x, x.name + inputs.b)", &["inputs/list = inputs list", "inputs/b = inputs b"]),
        ("[1].map(inputs, inputs.a) + inputs.b", &["inputs/b = inputs b"]),
        ("has(inputs.a)", &["inputs/a = inputs a optional"]),
        ("inputs.?a", &["inputs/a = inputs a optional"]),
        ("inputs.tag.startsWith(run.id)", &["inputs/tag = inputs tag", "run/id = run id"]),
        ("inputs[run.id].x", &["inputs = inputs", "run/id = run id"]),
        (
            "stages.my-stage.outputs",
            &["stages/my = stages my dashed my-stage", "stage/outputs = stage outputs rest"],
        ),
        (
            "stages.a-b-c.outputs.d",
            &["stages/a = stages a dashed a-b-c", "b = b rest", "c/outputs/d = c outputs d rest"],
        ),
        ("inputs.a-1", &["inputs/a = inputs a dashed a-1"]),
        ("inputs.a - inputs.b", &["inputs/a = inputs a", "inputs/b = inputs b"]),
    ] {
        assert_eq!(show(source), expect, "{source}");
    }
}

#[test]
fn functions_that_are_not_there_are_told_and_fail() {
    // What CEL has elsewhere, and other slips.
    for (call, name) in [
        ("min(1, 2)", "min"),
        ("inputs.tag.reverse()", "reverse"),
        ("inputs.tag.string()", "string"),
        ("contains('x')", "contains"),
        ("1 + foo (2)", "foo"),
        (".foo(2)", "foo"),
        ("optional.off(2)", "off"),
        ("[1].mapp(x, x)", "mapp"),
    ] {
        let program = parse(call).expect("a call");
        assert!(World::new().render(&format!("${{{{ {call} }}}}")).is_err(), "{call}");
        let [unknown] = program.unknown_functions() else { panic!("{call}: {program:?}") };
        assert_eq!((unknown.name.as_str(), &call[unknown.range.clone()]), (name, name), "{call}");
    }
}
