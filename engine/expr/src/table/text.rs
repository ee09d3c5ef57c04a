//! Functions of texts.

use super::{Function, Returns, Run, Takes, function, method, takes};
use crate::library::{format, text};

pub(super) const TEXTS: &[Function] = &[
    method("contains", &[takes(&[("text", Takes::Text), ("part", Takes::Text)], Returns::Bool)], Run::Cel)
        .says("Whether a part is somewhere in the text.", "'shop-api'.contains('api')", "true"),
    method("endsWith", &[takes(&[("text", Takes::Text), ("end", Takes::Text)], Returns::Bool)], Run::Cel)
        .says("Whether the text ends so.", "'v1.0-rc1'.endsWith('-rc1')", "true"),
    method(
        "format",
        &[takes(&[("text", Takes::Text), ("values", Takes::List)], Returns::Text)],
        Run::Own(format::format),
    )
    .says(
        "The text with a value in each place: `%s` anything, `%d` a whole number, `%.2f` digits after the point, \
         `%e` `%x` `%o` `%b` other forms, `%%` a percent sign.",
        "'%s:%d took %.1f s'.format(['shop', 3, 1.25])",
        r#""shop:3 took 1.2 s""#,
    ),
    method(
        "indexOf",
        &[takes(&[("text", Takes::Text), ("part", Takes::Text)], Returns::Int)],
        Run::Own(text::index_of),
    )
    .says("Where a part first stands, counted in characters from 0; -1 where it does not.", "'shop'.indexOf('op')", "2"),
    method(
        "join",
        &[
            takes(&[("texts", Takes::Texts)], Returns::Text),
            takes(&[("texts", Takes::Texts), ("separator", Takes::Text)], Returns::Text),
        ],
        Run::Own(text::join),
    )
    .says("One text of several.", "['a', 'b'].join(', ')", r#""a, b""#),
    method("lowerAscii", &[takes(&[("text", Takes::Text)], Returns::Text)], Run::Own(text::lower)).says(
        "The text with small letters; letters outside of ASCII stay.",
        "'Release/1'.lowerAscii()",
        r#""release/1""#,
    ),
    method(
        "matches",
        &[takes(&[("text", Takes::Text), ("pattern", Takes::Text)], Returns::Bool)],
        Run::Cel,
    )
    .says(
        "Whether a regular expression is found in the text; `^…$` makes it the whole text.",
        "'v1.2'.matches('^v[0-9.]+$')",
        "true",
    ),
    function(
        "matches",
        &[takes(&[("text", Takes::Text), ("pattern", Takes::Text)], Returns::Bool)],
        Run::Cel,
    )
    .says("The same.", "matches('v1.2', '[0-9]')", "true"),
    method(
        "replace",
        &[
            takes(&[("text", Takes::Text), ("from", Takes::Text), ("to", Takes::Text)], Returns::Text),
            takes(
                &[("text", Takes::Text), ("from", Takes::Text), ("to", Takes::Text), ("most", Takes::Whole)],
                Returns::Text,
            ),
        ],
        Run::Own(text::replace),
    )
    .says("The text with one part in the place of another, each time it stands there.", "'a/b/c'.replace('/', '-')", r#""a-b-c""#),
    method(
        "split",
        &[
            takes(&[("text", Takes::Text), ("separator", Takes::Text)], Returns::Texts),
            takes(&[("text", Takes::Text), ("separator", Takes::Text), ("most", Takes::Whole)], Returns::Texts),
        ],
        Run::Own(text::split),
    )
    .says("The parts of a text; with `most` the last of them has the rest.", "'a,b,c'.split(',', 2)", r#"["a","b,c"]"#),
    method("startsWith", &[takes(&[("text", Takes::Text), ("begin", Takes::Text)], Returns::Bool)], Run::Cel)
        .says("Whether the text begins so.", "'refs/tags/v1'.startsWith('refs/tags/')", "true"),
    method(
        "substring",
        &[
            takes(&[("text", Takes::Text), ("from", Takes::Whole)], Returns::Text),
            takes(&[("text", Takes::Text), ("from", Takes::Whole), ("to", Takes::Whole)], Returns::Text),
        ],
        Run::Own(text::substring),
    )
    .says("The characters from one position up to another, or to the end.", "'4f704fad2c'.substring(0, 7)", r#""4f704fa""#),
    method("trim", &[takes(&[("text", Takes::Text)], Returns::Text)], Run::Own(text::trim)).says(
        "The text without blanks and line ends around it.",
        r"' 1.2\n'.trim()",
        r#""1.2""#,
    ),
    method("upperAscii", &[takes(&[("text", Takes::Text)], Returns::Text)], Run::Own(text::upper))
        .says("The text with capital letters; letters outside of ASCII stay.", "'eu'.upperAscii()", r#""EU""#),
];
