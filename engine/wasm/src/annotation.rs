//! Lines of containers that say more than text: groups, and what is wrong at which place of which file.
//!
//! The syntax is that of GitHub's workflow commands, which compilers and linters print when they are asked to; the words are
//! those of `yuanli:log`. A line that only looks like one stays as it is.

use yuanli_model::Level;

/// The fields that readers know: the edge of a group, and what kind of annotation a line is.
const GROUP: &str = "yuanli.group";
const ANNOTATION: &str = "yuanli.annotation";

/// What each such line begins with, and what divides it.
const MARK: &str = "::";

/// The properties that become fields, as they are written and as the field is called.
const PROPERTIES: [(&str, &str); 6] = [
    ("file", "file"),
    ("line", "line"),
    ("col", "column"),
    ("endLine", "end-line"),
    ("endColumn", "end-column"),
    ("title", "title"),
];

/// A line that says more than text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Annotation {
    pub(crate) level: Level,
    pub(crate) text: String,
    pub(crate) fields: Vec<(String, String)>,
}

/// What a line says; `None` for one that is just text.
pub(crate) fn read(line: &str) -> Option<Annotation> {
    let (head, text) = line.strip_prefix(MARK)?.split_once(MARK)?;
    let (word, properties) = head.split_once(' ').unwrap_or((head, ""));
    let field = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let (level, first) = match word {
        "group" => (Level::Info, field(GROUP, "begin")),
        "endgroup" => (Level::Info, field(GROUP, "end")),
        "debug" => (Level::Debug, field(ANNOTATION, "debug")),
        "notice" => (Level::Info, field(ANNOTATION, "notice")),
        "warning" => (Level::Warn, field(ANNOTATION, "warning")),
        "error" => (Level::Error, field(ANNOTATION, "error")),
        _ => return None,
    };
    let known = properties.split(',').filter_map(property);
    Some(Annotation { level, text: decoded(text), fields: std::iter::once(first).chain(known).collect() })
}

fn property(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let (_, field) = PROPERTIES.iter().find(|(known, _)| *known == key.trim())?;
    Some(((*field).to_owned(), decoded(value)))
}

/// The signs that stand for others, since a line has no line ends and properties have no `,` and `:`. A line end becomes a
/// space: what is written is one line.
fn decoded(text: &str) -> String {
    const SIGNS: [(&str, &str); 4] = [("%0D", ""), ("%0A", " "), ("%3A", ":"), ("%2C", ",")];
    let text = SIGNS.iter().fold(text.to_owned(), |text, (code, sign)| text.replace(code, sign));
    text.replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_say_more_are_read() {
        let check = |line: &str, level: Level, text: &str, fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(read(line), Some(Annotation { level, text: text.to_owned(), fields }), "{line}");
        };
        check("::group::Compile it", Level::Info, "Compile it", &[(GROUP, "begin")]);
        check("::endgroup::", Level::Info, "", &[(GROUP, "end")]);
        check("::debug::x", Level::Debug, "x", &[(ANNOTATION, "debug")]);
        check("::notice::a::b", Level::Info, "a::b", &[(ANNOTATION, "notice")]);
        check(
            "::warning file=src/a%2Cb.rs,line=3,col=7,endLine=4,what=else::unused%0Aimport",
            Level::Warn,
            "unused import",
            &[
                (ANNOTATION, "warning"),
                ("file", "src/a,b.rs"),
                ("line", "3"),
                ("column", "7"),
                ("end-line", "4"),
            ],
        );
        check("::error title=E1::50%25", Level::Error, "50%", &[(ANNOTATION, "error"), ("title", "E1")]);
        check("::error::%250A", Level::Error, "%0A", &[(ANNOTATION, "error")]);
    }

    #[test]
    fn others_stay_as_they_are() {
        for line in
            ["", "::", "::group", "std::vec::Vec", "::set-output name=a::b", " ::group::x", "::Group::x"]
        {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
