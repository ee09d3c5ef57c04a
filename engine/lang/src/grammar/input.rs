//! The keys of an input.

use super::{Map, Shape, optional};
use crate::{input, key};

/// An input in its long form.
pub(super) static INPUT: Map = Map {
    name: "input",
    about: "An input of a workflow. Without a default it must be given.",
    keys: Some(&key::INPUT),
    fields: &[
        optional(
            "type",
            Shape::Words(&TYPES, input::is_type),
            "string",
            "Which values it takes; when absent, those of the type that its default has.",
        ),
        optional("default", Shape::Any, "dev", "The value when none is given, of the input's type."),
        optional(
            "required",
            Shape::Boolean,
            "true",
            "Whether a value must be given; so it is without a default.",
        ),
        optional(
            "description",
            Shape::Text,
            "The tag of the image",
            "What it is for, for who fills in a form.",
        ),
        optional(
            "pattern",
            Shape::Text,
            "\"v[0-9]+\"",
            "For `string`: the regular expression that the whole text must match.",
        ),
        optional("minimum", Shape::Number, "1", "For `number`: the least."),
        optional("maximum", Shape::Number, "10", "For `number`: the most."),
        optional(
            "range",
            Shape::Pattern(r"^.+\.\..+$"),
            "1..10",
            "For `number`: the least and the most, both in it.",
        ),
        optional("whole", Shape::Boolean, "true", "For `number`: whether it has no fraction."),
        optional(
            "options",
            Shape::List(&Shape::Text),
            "[dev, prod]",
            "For `choice`: the texts to choose from.",
        ),
        optional(
            "of",
            Shape::Words(&TYPES, |word| input::is_type(word) && word != "list" && word != "choice"),
            "number",
            "For `list`: the type of its items. Default `string`.",
        ),
    ],
    one_of: &["type", "default"],
    others: None,
};

const TYPES: [(&str, &str); 7] = [
    ("string", "Any text."),
    ("number", "A number, whole or not."),
    ("boolean", "`true` or `false`."),
    ("choice", "One of the texts under `options`."),
    ("list", "A list of values of the type under `of`."),
    ("object", "Any map."),
    ("secret", "The name of a secret; its value is seen by nobody who reads the run."),
];
