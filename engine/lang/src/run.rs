//! The short form `run:` with `image:`, which is the plugin `command` with a shell.
//!
//! Like templates it is done away with before the document is read: what is said of `uses` and `with` holds.

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::template::SECTIONS;

/// The plugin that it stands for.
const PLUGIN: &str = "command";

/// What runs the commands: each that fails ends them all.
const SHELL: [&str; 2] = ["sh", "-ec"];

/// Where in the config the commands stand.
pub(crate) const POINTER: &str = "/command/2";

/// Puts `uses` and `with` in the place of `run` and `image`, in all stages.
pub(crate) fn expand(root: &mut Node, diagnostics: &mut Diagnostics<'_>) {
    let Kind::Map(entries) = &mut root.kind else { return };
    for entry in entries.iter_mut().filter(|entry| SECTIONS.contains(&entry.key.as_str())) {
        let Kind::Map(stages) = &mut entry.value.kind else { continue };
        for stage in stages {
            if let Kind::Map(entries) = &mut stage.value.kind {
                expand_stage(&stage.key, entries, diagnostics);
            }
        }
    }
}

fn expand_stage(name: &str, entries: &mut Vec<Entry>, diagnostics: &mut Diagnostics<'_>) {
    let Some(run) = key::find(entries, "run") else {
        if let Some(image) = key::find(entries, "image") {
            let message = "`image` belongs to `run`, and the stage has none";
            diagnostics.error_with(Code::Contradiction, image.key_span, message, || {
                Some("a plugin takes its image under `with`".to_owned())
            });
        }
        return;
    };
    let (run_span, place) = (run.key_span, run.value_span());
    if let Some(uses) = key::find(entries, "uses") {
        let message = format!("stage `{name}` has both `uses` and `run`");
        diagnostics.error_with(Code::Contradiction, uses.key_span, message, || {
            Some("`run` is short for `uses: command`: leave one of them out".to_owned())
        });
        return;
    }
    let commands = commands(run, diagnostics);
    let with = key::given(entries, "with").map_or(Some(&[][..]), |with| match &with.value.kind {
        Kind::Map(entries) => Some(entries.as_slice()),
        // Told where `with` is read.
        _ => None,
    });
    let Some(with) = with else { return };
    let mut config = Vec::with_capacity(with.len() + 2);
    match (key::given(entries, "image"), key::find(with, "image")) {
        (Some(image), None) => config.push(image.clone()),
        (Some(image), Some(_)) => {
            let message = "the image is said twice, here and under `with`";
            diagnostics.error(Code::Contradiction, image.key_span, message);
        }
        (None, Some(_)) => {}
        (None, None) => {
            let message = format!("stage `{name}` does not say in which image its commands run");
            diagnostics.error_with(Code::MissingKey, run_span, message, || {
                Some("add `image:`, such as `image: alpine:3.20`".to_owned())
            });
            // One that nobody complains of.
            config.push(text_entry("image", run_span, "x", place));
        }
    }
    if let Some(command) = key::find(with, "command") {
        let message = "the command is said twice, here and by `run`";
        diagnostics.error(Code::Contradiction, command.key_span, message);
    }
    let mut command: Vec<Node> = SHELL.map(|word| text_node(word, place)).to_vec();
    command.push(commands.unwrap_or_else(|| text_node(":", place)));
    let list = Node { span: place, kind: Kind::List(command) };
    config.push(Entry { key: "command".to_owned(), key_span: run_span, value: list });
    config.extend(with.iter().filter(|entry| entry.key != "image" && entry.key != "command").cloned());
    if let Some(image) = key::find(with, "image") {
        config.push(image.clone());
    }
    let key_span = key::find(entries, "with").map_or(run_span, |with| with.key_span);
    let config = Node { span: place, kind: Kind::Map(config) };
    entries.retain(|entry| entry.key != "with" && entry.key != "image");
    entries.push(text_entry("uses", run_span, PLUGIN, run_span));
    entries.push(Entry { key: "with".to_owned(), key_span, value: config });
}

/// The commands in one text, a line for each.
fn commands(run: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Node> {
    let texts = key::texts_of(run, "a command", diagnostics);
    let nodes: &[Node] = match &run.value.kind {
        Kind::List(items) => items,
        _ => std::slice::from_ref(&run.value),
    };
    if texts.iter().all(|(text, _)| text.trim().is_empty()) {
        if texts.len() == nodes.len() {
            diagnostics.error_with(Code::MissingKey, run.key_span, "`run` has no command", || {
                Some("write at least one, such as `run: [make test]`".to_owned())
            });
        }
        return None;
    }
    let text = texts.iter().map(|(text, _)| *text).collect::<Vec<_>>().join("\n");
    // From the first to the last: an expression is found again in what lies between.
    let (first, last) = (nodes.first()?.span, nodes.last()?.span);
    let length = last.end().checked_sub(first.offset).unwrap_or(first.length);
    Some(text_node(&text, Span { offset: first.offset, length }))
}

fn text_node(text: &str, span: Span) -> Node {
    Node { span, kind: Kind::Text(text.to_owned()) }
}

fn text_entry(key: &str, key_span: Span, text: &str, span: Span) -> Entry {
    Entry { key: key.to_owned(), key_span, value: text_node(text, span) }
}
