//! `templates:` and the stages that use one.
//!
//! A template is done away with before the document is read: each stage that says `uses: template/NAME` becomes the
//! stage of the template, its parameters put in, with the keys that the using stage says itself over it. So all that is
//! said of a stage elsewhere holds for these too, and a mistake points into the template or at the argument, wherever
//! it is.

mod argument;
mod definition;
mod substitute;

use std::collections::HashMap;

use yuanli_expr::nearest;

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind, Node};
pub(crate) use argument::may_be;
use definition::Template;
use substitute::{Arguments, Budget};

/// How `uses` names a template.
pub(crate) const PREFIX: &str = "template/";

/// The keys that hold stages.
pub(crate) const SECTIONS: [&str; 3] = ["stages", "on_failure", "finally"];

/// Puts the stages of templates where they are used.
pub(crate) fn expand(root: &mut Node, diagnostics: &mut Diagnostics<'_>) {
    let end = diagnostics.text().len();
    let Kind::Map(entries) = &mut root.kind else { return };
    let mut templates = HashMap::new();
    if let Some(at) = entries.iter().position(|entry| entry.key == "templates") {
        // To the next key in the text: the place of a block is only where it begins.
        let begin = entries[at].key_span.offset;
        let after = entries.iter().map(|entry| entry.key_span.offset).filter(|offset| *offset > begin);
        diagnostics.share(begin..after.min().unwrap_or(end));
        let taken = std::mem::replace(&mut entries[at].value.kind, Kind::Null);
        let node = Node { span: entries[at].value.span, kind: taken };
        templates = definition::read(node, entries[at].key_span, diagnostics);
    }
    let mut expander = Expander { templates, budget: Budget::default(), diagnostics };
    for entry in entries.iter_mut().filter(|entry| SECTIONS.contains(&entry.key.as_str())) {
        if let Kind::Map(stages) = &mut entry.value.kind {
            stages.iter_mut().for_each(|stage| expander.expand(stage));
        }
    }
    expander.report_unused();
}

struct Expander<'d, 't> {
    templates: HashMap<String, Template>,
    budget: Budget,
    diagnostics: &'d mut Diagnostics<'t>,
}

impl Expander<'_, '_> {
    /// Replaces a stage that uses a template. One that cannot be replaced stays, and is known by its `uses`.
    fn expand(&mut self, stage: &mut Entry) {
        let Some(entries) = entries_of(stage) else { return };
        let Some((reference, span)) = reference(entries) else { return };
        let Some(name) = self.find(reference, span) else { return };
        let with = key::given(entries, "with");
        let Some(template) = self.templates.get(&name) else { return };
        let Some(body) = &template.stage else { return };
        let arguments = argument::read(&name, &template.parameters, with, span, self.diagnostics);
        let Some(arguments) = arguments.map(Arguments::new) else { return };
        let Some(mut made) = self.budget.instantiate(body, &arguments) else {
            if !self.budget.is_told {
                self.budget.is_told = true;
                let message = "the templates make the document too large, or nest it too deep";
                self.diagnostics.error_with(Code::TooLarge, span, message, || {
                    Some("split it into several workflows, and keep data in files of its own".to_owned())
                });
            }
            return;
        };
        override_with(&mut made, entries);
        stage.value.kind = Kind::Map(made);
    }

    /// The name of the template that is meant, when there is it in the right version.
    fn find(&mut self, reference: &str, span: Span) -> Option<String> {
        let (name, version) = match reference.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (reference, None),
        };
        let Some(template) = self.templates.get_mut(name) else {
            let names = self.templates.keys().map(String::as_str);
            let message = format!("there is no template `{name}`");
            self.diagnostics.error_with(Code::UnknownTemplate, span, message, || {
                Some(match nearest(name, names.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if names.len() == 0 => {
                        format!("declare it: `templates: {{ {name}: {{ stage: … }} }}`")
                    }
                    None => {
                        let mut names: Vec<&str> = names.collect();
                        names.sort_unstable();
                        format!("there is {}", key::listed(names.into_iter()))
                    }
                })
            });
            return None;
        };
        template.is_used = true;
        match version {
            Some(version) => definition::check_version(name, template, version, span, self.diagnostics)
                .then(|| name.to_owned()),
            None => Some(name.to_owned()),
        }
    }

    fn report_unused(self) {
        for (name, template) in self.templates.iter().filter(|(_, template)| !template.is_used) {
            let message = format!("the template `{name}` is not used");
            self.diagnostics.hint(Code::Unused, template.key_span, message, Some("remove it".to_owned()));
        }
    }
}

fn entries_of(stage: &Entry) -> Option<&[Entry]> {
    match &stage.value.kind {
        Kind::Map(entries) => Some(entries),
        _ => None,
    }
}

/// The template that a stage uses, `NAME` or `NAME@VERSION`.
fn reference(entries: &[Entry]) -> Option<(&str, Span)> {
    let uses = key::find(entries, "uses")?;
    match &uses.value.kind {
        Kind::Text(text) => Some((text.strip_prefix(PREFIX)?, uses.value_span())),
        _ => None,
    }
}

/// Puts what the using stage says over what the template says; variables of `env` one by one.
fn override_with(made: &mut Vec<Entry>, own: &[Entry]) {
    for entry in own.iter().filter(|entry| entry.key != "uses" && entry.key != "with") {
        let place = made.iter_mut().find(|made| made.key == entry.key);
        match (place, &entry.value.kind) {
            (Some(Entry { value: Node { kind: Kind::Map(below), .. }, .. }), Kind::Map(above))
                if entry.key == "env" =>
            {
                let above_has = |name: &str| above.iter().any(|variable| variable.key == name);
                below.retain(|variable| !above_has(&variable.key));
                below.extend(above.iter().cloned());
            }
            (Some(place), _) => *place = entry.clone(),
            (None, _) => made.push(entry.clone()),
        }
    }
}
