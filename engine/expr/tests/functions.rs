//! The table of functions: every example, and every bound.

use serde_json::{Map, Value, json};
use yuanli_expr::{Environment, Error, Kind, Scope, Status, Takes, functions, markdown, parse};

fn status() -> Status {
    Status { has_succeeded: true, ..Status::default() }
}

fn evaluate(source: &str) -> Result<Value, Error> {
    parse(source)?.evaluate(&Scope { status: Some(status()), ..Scope::default() })
}

#[track_caller]
fn check(source: &str, expect: Value) {
    match evaluate(source) {
        Ok(value) => assert_eq!(value, expect, "{source}"),
        Err(error) => panic!("{source}: {error}"),
    }
}

#[track_caller]
fn check_error(source: &str, expect: &str) {
    match evaluate(source) {
        Ok(value) => panic!("{source} gave {value}"),
        Err(error) => assert_eq!(error.message, expect, "{source}"),
    }
}

#[test]
fn every_example_gives_what_it_says_and_is_of_its_type() {
    for function in functions() {
        let (source, says) = (function.example, function.gives);
        let expect: Value = serde_json::from_str(says).unwrap_or_else(|error| panic!("{source}: {error}"));
        check(source, expect);
        let plain = function.name.rsplit('.').next().unwrap_or(function.name);
        let call = if function.is_method { format!(".{plain}(") } else { format!("{}(", function.name) };
        assert!(source.contains(&call), "{source} calls {call}");
        let program = parse(source).expect(source);
        assert_eq!(program.unknown_functions(), [], "{source}");
        let checked = program.check(&Environment::new().with_status());
        assert_eq!((checked.mistakes, checked.warnings), (vec![], vec![]), "{source}");
        assert!(function.summary.ends_with('.') && !function.summary.contains('\n'), "{source}");
        assert!(function.signatures.iter().all(|signature| {
            !function.is_method || signature.parameters.first().is_some_and(|(name, _)| !name.is_empty())
        }));
    }
}

/// A name that is in the table twice would hide the second one.
#[test]
fn each_function_is_there_once() {
    let mut names: Vec<_> = functions().map(|function| (function.name, function.is_method)).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(
        functions().any(|function| function.signatures[0]
            .parameters
            .iter()
            .any(|(_, takes)| *takes == Takes::Texts))
    );
}

#[test]
fn the_table_is_printed_as_markdown() {
    let page = markdown();
    let row = "| `text.split(separator)`<br>`text.split(separator, most)` | a list of texts | The parts of a text; with \
               `most` the last of them has the rest. | `'a,b,c'.split(',', 2)` → `[\"a\",\"b,c\"]` |";
    assert!(page.lines().any(|line| line == row), "{page}");
    assert!(page.starts_with("### Texts\n\n| call | gives |"));
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, functions().count());
    assert!(
        page.lines()
            .filter(|line| line.starts_with("| `"))
            .all(|line| { line.replace("\\|", "").matches('|').count() == 5 }),
        "{page}"
    );
}

#[test]
fn texts_are_cut_and_joined_by_characters() {
    check("'äöü'.substring(1)", json!("öü"));
    check("'äöü'.substring(3)", json!(""));
    check("'äöü'.substring(0.0, 2.0)", json!("äö"));
    check_error("'äöü'.substring(4)", "`substring` failed: there is no position 4 in a text of 3 characters");
    check_error("'abc'.substring(2, 1)", "`substring` failed: 1 comes before 2");
    check_error(
        "'abc'.substring(-1)",
        "`substring` failed: there is no position -1 in a text of 3 characters",
    );
    check_error("'abc'.substring(0.5)", "`substring` failed: it takes a whole number");
    check("'aXbXc'.split('X')", json!(["a", "b", "c"]));
    check("'aXbXc'.split('X', 0)", json!([]));
    check("'äöü'.split('')", json!(["ä", "ö", "ü"]));
    check("'äöü'.split('', 2)", json!(["ä", "öü"]));
    check("''.split(',')", json!([""]));
    check("'aaa'.replace('a', 'b', 2)", json!("bba"));
    check("'aaa'.replace('a', 'b', -1)", json!("bbb"));
    check("'ab'.replace('', '-')", json!("-a-b-"));
    check("[].join(',')", json!(""));
    check_error("[1].join(',')", "`join` does not take list of int");
    check("'öffnen'.indexOf('f')", json!(1));
    check("'ä'.upperAscii() + 'É'.lowerAscii()", json!("äÉ"));
}

#[test]
fn format_writes_as_cel_does() {
    check("'%s %s %s %s'.format(['a', 1, [true, null], {'k': 1.5}])", json!("a 1 [true,null] {\"k\":1.5}"));
    check("'%s/%s'.format([duration('90s'), timestamp(0)])", json!("90s/1970-01-01T00:00:00Z"));
    check("'%d %d %d'.format([3, 3u, 3.0])", json!("3 3 3"));
    check("'%.3f %f %.0f'.format([1.23456, 2, 1.5])", json!("1.235 2.000000 2"));
    check("'%e %.2e'.format([1234.5, 0.00012])", json!("1.234500e+03 1.20e-04"));
    check("'%x %X %o %b %x %b'.format([255, 255, 8, 5, 'hi', true])", json!("ff FF 10 101 6869 1"));
    check("'100 %%'.format([])", json!("100 %"));
    check_error("'%s'.format([])", "`format` failed: the text has 1 place and is given 0 values");
    check_error("'%d'.format(['a'])", "`format` failed: `%d` does not take a text");
    check_error("'%d'.format([1.5])", "`format` failed: `%d` does not take a decimal number");
    check_error("'%y'.format([1])", "`format` failed: `%y` means nothing; a percent sign is written `%%`");
    check_error("'%'.format([1])", "`format` failed: a percent sign is written `%%`");
    check_error("'%.101f'.format([1])", "`format` failed: after `%.` comes a number up to 100, as in `%.2f`");
}

#[test]
fn values_turn_into_text_and_back() {
    check("parse_json(json({'b': [1, 1.5, null], 'a': 'ä\\n'}))", json!({ "a": "ä\n", "b": [1, 1.5, null] }));
    check("json(7u) + json('x')", json!("7\"x\""));
    check_error(
        "parse_json('{')",
        "`parse_json` failed: this is no JSON: EOF while parsing an object at line 1 column 1",
    );
    check_error("json(1.0 / 0.0)", "`json` failed: the result is the number inf, which no document can hold");
    check("sha256(b'abc') == sha256('abc')", json!(true));
    check("sha256('').size()", json!(64));
}

#[test]
fn default_stands_in_for_what_is_missing_or_null() {
    check("default({'a': 1}.a, 2)", json!(1));
    check("default({'a': null}.a, 2)", json!(2));
    check("default({'a': 1}.b, 2)", json!(2));
    check("default({'a': {'b': [1]}}.a.b[0], 2)", json!(1));
    check("default({'a': {'b': [1]}}.a.b[7], 2)", json!(2));
    check("default({'a': {}}['a']['b'].c, 2)", json!(2));
    check("default({}.?a, 2)", json!(2));
    check("default(null, default({}.a, 3))", json!(3));
    check("default(false, true)", json!(false));
    check("default('', 'x')", json!(""));
    // The other value is only asked for when it is needed.
    check("default(1, 1 / 0)", json!(1));
    check("[1, 2, 3].map(x, default({'a': x}.a, 0))", json!([1, 2, 3]));
    check("[{'a': 1}, {}].map(x, default(x.a, 0))", json!([1, 0]));
    check_error("default({}.a, 1 / 0)", "a division by zero");
    check_error("default(unknown.a, 1)", "there is no variable `unknown`");
    check_error("default(1)", "there is no variable or function `default`");
}

#[test]
fn numbers_of_all_kinds_go_together() {
    for (source, expect) in [
        ("1 + 1.5", json!(2.5)),
        ("1.5 * 2", json!(3.0)),
        ("2 / 4.0", json!(0.5)),
        ("7 / 2", json!(3)),
        ("7u - 8", json!(-1)),
        ("1 + 1u", json!(2)),
        ("18446744073709551615u - 1", json!(u64::MAX - 1)),
        ("-(7u)", json!(-7)),
        ("-1.5", json!(-1.5)),
        ("7.0 % 4", json!(3)),
        ("9223372036854775807 + 1", json!(9_223_372_036_854_775_808_u64)),
        ("1 == 1.0 && 1u == 1 && 1 != 1.5", json!(true)),
        ("1 < 1.5 && 2u > 1", json!(true)),
        ("[1, 2][1.0]", json!(2)),
        ("2.0 in [1, 2]", json!(true)),
        ("timestamp(60.0)", json!("1970-01-01T00:01:00Z")),
    ] {
        check(source, expect);
    }
    check_error("7.5 % 2", "`%` failed: it takes whole numbers");
    check_error("0.0 / 0.0 < 1", "`<` compares with what is no number, as `0.0 / 0.0`");
    check_error("[1] + {'a': 1}", "`+` does not take a list and a map");
}

#[test]
fn times_are_written_and_versions_compared() {
    check("format_time(timestamp('2026-01-02T03:04:05+08:00'), '%F %T')", json!("2026-01-01 19:04:05"));
    check_error(
        "format_time(timestamp(0), '%Q')",
        "`format_time` failed: `%Q` is no format such as `%Y-%m-%d`",
    );
    check("['1.0.0-rc.1', '1.0.0', '1.0.1'].map(v, semver_compare(v, 'v1.0.0'))", json!([-1, 0, 1]));
    check("semver_matches('1.0.0-rc.1', '>=0.9')", json!(false));
    check_error(
        "semver('1.2')",
        "`semver` failed: `1.2` is no version such as `1.2.3`: unexpected end of input while parsing minor version number",
    );
    check("['a/b.rs', 'a.rs', 'a/b/c.rs'].map(p, glob_matches(p, 'a/*.rs'))", json!([true, false, false]));
    check_error(
        "glob_matches('a', '[')",
        "`glob_matches` failed: `[` is no pattern: unclosed character class; missing ']'",
    );
}

#[test]
fn the_status_is_what_the_scope_says() {
    let of = |status: Option<Status>| {
        let scope = Scope { status, ..Scope::default() };
        parse("[always(), success(), failure(), cancelled()]").expect("calls").evaluate(&scope)
    };
    let failed = Status { has_failed: true, ..Status::default() };
    let cancelled = Status { is_cancelled: true, ..Status::default() };
    assert_eq!(of(Some(status())), Ok(json!([true, true, false, false])));
    assert_eq!(of(Some(failed)), Ok(json!([true, false, true, false])));
    assert_eq!(of(Some(cancelled)), Ok(json!([true, false, false, true])));
    let error = of(None).expect_err("it cannot be asked");
    assert_eq!((error.kind, error.message.as_str()), (Kind::Unknown, "`always()` cannot be asked here"));
    for (source, asks) in [("1 == 1", false), ("!success()", true), ("[1].all(x, failure())", true)] {
        assert_eq!(parse(source).expect(source).asks_for_status(), asks, "{source}");
    }
}

/// Each of these would make gigabytes, or take minutes.
#[test]
fn what_functions_make_is_bounded() {
    let long = json!("x".repeat(1024 * 1024));
    let item = Scope { item: Some(("long", &long)), ..Scope::default() };
    let replace = "long".to_owned() + &".replace('x', 'xx')".repeat(20);
    let lists = "[1]".to_owned() + &".map(x, [x, x])".repeat(40);
    let texts = "['aaaaaaaa']".to_owned() + &".map(x, x + x)".repeat(40);
    let too_long = "the lists are too long to walk them in an expression";
    let too_large = "the expression makes more than 16 MiB of text and lists";
    for (source, message) in [
        (replace.as_str(), too_large),
        ("long.replace('', long)", too_large),
        ("[long, long, long, long, long, long, long, long, long].join(long)", too_large),
        ("long.split('')", too_large),
        ("'%s%s'.format([long, long]).replace('x', 'xxxxxxxxxxxxxxxxxxxxx')", too_large),
        ("json([long, long, long])", too_large),
        ("parse_json(long)", too_large),
        (lists.as_str(), too_long),
        (texts.as_str(), too_large),
        ("long.substring(0, 3000).split('').map(x, 'a'.matches(x)).size()", ""),
    ] {
        match parse(source).expect(source).evaluate(&item) {
            Ok(value) => assert!(message.is_empty(), "{source} gave {} bytes", value.to_string().len()),
            Err(error) if message.is_empty() => panic!("{source}: {error}"),
            Err(error) => {
                assert_eq!((error.kind, error.message.as_str()), (Kind::Limit, message), "{source}")
            }
        }
    }
    let many = json!((0..3000).collect::<Vec<i32>>());
    let scope = Scope { item: Some(("many", &many)), ..Scope::default() };
    let source = "many.map(x, 'a'.matches('[a-z]{' + string(x % 100) + '}')).size()";
    let error = parse(source).expect(source).evaluate(&scope).expect_err("each is another pattern");
    assert_eq!(error.message, too_long);
}

#[test]
fn secrets_are_handed_on_whole_and_nothing_else() {
    let token = json!({ "secret": "registry-token" });
    let scope = Scope { item: Some(("token", &token)), status: Some(status()), ..Scope::default() };
    let evaluate = |source: &str| parse(source).expect(source).evaluate(&scope);
    for (source, expect) in [
        ("token", token.clone()),
        ("[token]", json!([token])),
        ("{'password': token}", json!({ "password": token })),
        ("success() ? token : null", token.clone()),
        ("default(token, '')", token.clone()),
    ] {
        assert_eq!(evaluate(source), Ok(expect), "{source}");
    }
    for source in [
        "token + 'x'",
        "'x' + token",
        "token == token",
        "token != 'x'",
        "token < 'x'",
        "token in ['x']",
        "token.secret",
        "token['secret']",
        "string(token)",
        "size(token)",
        "json([token])",
        "json(token)",
        "'%s'.format([token])",
        "[token].join()",
        "sha256(token)",
        "token.matches('x')",
        "token.contains('x')",
        "has(token.secret)",
        "token.map(x, x)",
        "token ? 1 : 2",
    ] {
        let error = evaluate(source).expect_err(source);
        assert_eq!(error.kind, Kind::Type, "{source}: {error}");
        assert!(error.message.contains("secret"), "{source}: {error}");
    }
    let template = yuanli_expr::template(yuanli_expr::split("x ${{ token }}").expect("a text"));
    let error = yuanli_expr::render(&template, &scope).expect_err("a text");
    assert_eq!(
        error.to_string(),
        "a secret cannot stand inside a text, which may be shown and stored, in `token`; let it be the whole value, so \
         that it is handed on without being read"
    );
    let map = Map::from_iter([("secret".to_owned(), json!("a")), ("more".to_owned(), json!(1))]);
    let other = Value::Object(map);
    let scope = Scope { item: Some(("other", &other)), ..Scope::default() };
    assert_eq!(parse("other.secret").expect("a path").evaluate(&scope), Ok(json!("a")));
}
