//! A template as it is declared: `{description, version, parameters, stage}`.

use std::collections::{HashMap, HashSet};

use yuanli_expr::{Piece, nearest};
use yuanli_model::WorkflowName;
use yuanli_model::plugin::Requirement;

use super::PREFIX;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::input::{self, Inputs};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::stage;

/// A template. One that is wrong is reported, and there all the same: what uses it is not wrong.
pub(super) struct Template {
    pub(super) key_span: Span,
    pub(super) version: Option<String>,
    pub(super) parameters: Inputs,
    /// The entries of its stage, when it is right.
    pub(super) stage: Option<Vec<Entry>>,
    pub(super) is_used: bool,
}

pub(super) fn read(node: Node, span: Span, diagnostics: &mut Diagnostics<'_>) -> HashMap<String, Template> {
    let mut templates = HashMap::new();
    let entries = match node.kind {
        Kind::Null => Vec::new(),
        Kind::Map(entries) => entries,
        _ => {
            let message = format!("`templates` must be a map, not {}", node.what());
            diagnostics.error(Code::WrongKind, span, message);
            Vec::new()
        }
    };
    for entry in entries {
        if entry.key.parse::<WorkflowName>().is_err() {
            let message = format!(
                "`{}` is no valid name of a template: use 1 to 63 lower-case letters, digits, `-` and `_`, beginning with a letter",
                entry.key
            );
            diagnostics.error_with(Code::InvalidName, entry.key_span, message, || stage::proper(&entry.key));
        }
        let (key, key_span) = (entry.key.clone(), entry.key_span);
        let template = read_one(entry, diagnostics).unwrap_or_else(|| Template {
            key_span,
            version: None,
            parameters: Inputs::default(),
            stage: None,
            is_used: true,
        });
        templates.insert(key, template);
    }
    templates
}

fn read_one(entry: Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Template> {
    let what = format!("template `{}`", entry.key);
    let entries = key::entries_of(&entry.value, entry.value_span(), &what, diagnostics)?;
    key::check(entries, &key::TEMPLATE, diagnostics);
    if let Some(description) = key::given(entries, "description") {
        key::text_of(description, diagnostics);
    }
    let version = key::given(entries, "version").and_then(|version| read_version(version, diagnostics));
    let parameters = key::given(entries, "parameters")
        .map(|parameters| input::read(parameters, "parameter", diagnostics))
        .unwrap_or_default();
    let Some(body) = key::given(entries, "stage") else {
        let message = format!("template `{}` has no stage", entry.key);
        diagnostics.error_with(Code::MissingKey, entry.key_span, message, || {
            Some("add `stage:` with what a stage has, such as `stage: { uses: build }`".to_owned())
        });
        return None;
    };
    let is_right = check_body(&entry.key, body, &parameters, diagnostics);
    let stage = match &body.value.kind {
        Kind::Map(entries) if is_right => Some(entries.clone()),
        _ => None,
    };
    Some(Template { key_span: entry.key_span, version, parameters, stage, is_used: false })
}

fn read_version(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<String> {
    let text = key::text_of(entry, diagnostics)?;
    // The requirement that any version meets is met by what is a version.
    let is_version = "*".parse::<Requirement>().is_ok_and(|any| any.accepts(text) || text.contains('-'))
        && format!("={text}").parse::<Requirement>().is_ok_and(|exact| exact.accepts(text));
    if !is_version {
        let message = format!("`{text}` is no version");
        diagnostics.error_with(Code::WrongVersion, entry.value_span(), message, || {
            Some("a version has three numbers, such as `1.2.0`".to_owned())
        });
    }
    is_version.then(|| text.to_owned())
}

/// Whether the template has the version that is asked for; reports when not.
pub(super) fn check_version(
    name: &str,
    template: &Template,
    wanted: &str,
    span: Span,
    diagnostics: &mut Diagnostics<'_>,
) -> bool {
    let Ok(requirement) = wanted.parse::<Requirement>() else {
        let message = format!("`{wanted}` says no version");
        diagnostics.error_with(Code::WrongVersion, span, message, || {
            Some("write which versions fit, such as `^1.2` or `>=1.2, <2`".to_owned())
        });
        return false;
    };
    let message = match &template.version {
        Some(version) if requirement.accepts(version) => return true,
        Some(version) => {
            format!("the template `{name}` is of version {version}, which is not `{requirement}`")
        }
        None => format!("the template `{name}` has no version"),
    };
    diagnostics.error_with(Code::WrongVersion, span, message, || match template.version {
        Some(_) => None,
        None => Some("add `version:` to it, or leave the `@` and what follows out".to_owned()),
    });
    false
}

/// Checks what does not depend on the arguments: that it is a stage, and its parameters.
fn check_body(name: &str, body: &Entry, parameters: &Inputs, diagnostics: &mut Diagnostics<'_>) -> bool {
    let Some(entries) = key::entries_of(&body.value, body.value_span(), "`stage`", diagnostics) else {
        return false;
    };
    if let Some(uses) = key::find(entries, "uses")
        && let Kind::Text(text) = &uses.value.kind
        && text.starts_with(PREFIX)
    {
        let message = "a template cannot use a template";
        diagnostics.error_with(Code::Contradiction, uses.value_span(), message, || {
            Some("write out what the other one says, or share it with an anchor".to_owned())
        });
        return false;
    }
    let mut checker = Checker { name, parameters, used: HashSet::new(), is_right: true, diagnostics };
    entries.iter().for_each(|entry| checker.visit_entry(entry));
    let Checker { used, is_right, diagnostics, .. } = checker;
    if is_right && !used.contains("") {
        for (parameter, span) in
            parameters.names.iter().filter(|(parameter, _)| !used.contains(parameter.as_str()))
        {
            let message = format!("the template `{name}` does not use its parameter `{parameter}`");
            diagnostics.hint(Code::Unused, *span, message, Some("remove it".to_owned()));
        }
    }
    is_right
}

/// Looks for parameters in the stage of a template.
struct Checker<'a, 'd, 't> {
    name: &'a str,
    parameters: &'a Inputs,
    /// The parameters that are used; the empty name for all of them.
    used: HashSet<String>,
    is_right: bool,
    diagnostics: &'d mut Diagnostics<'t>,
}

impl Checker<'_, '_, '_> {
    fn visit_entry(&mut self, entry: &Entry) {
        match &entry.value.kind {
            Kind::Text(text) if entry.key == "if" && !text.contains("${{") => {
                self.visit_expression(text, entry.value.span);
            }
            _ => self.visit(&entry.value),
        }
    }

    fn visit(&mut self, node: &Node) {
        match &node.kind {
            Kind::Text(text) if text.contains("parameters") => {
                for piece in yuanli_expr::split(text).unwrap_or_default() {
                    if let Piece::Expression { source, .. } = piece {
                        self.visit_expression(&source, node.span);
                    }
                }
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
            Kind::List(items) => items.iter().for_each(|item| self.visit(item)),
            Kind::Map(entries) => entries.iter().for_each(|entry| self.visit(&entry.value)),
        }
    }

    /// An expression that cannot be read is reported where it is used.
    fn visit_expression(&mut self, source: &str, span: Span) {
        let Ok(program) = yuanli_expr::parse(source) else { return };
        for reference in program.references().iter().filter(|reference| reference.path[0] == "parameters") {
            let name = reference.path.get(1).cloned().unwrap_or_default();
            if !name.is_empty() && !self.parameters.names.contains_key(&name) {
                self.is_right = false;
                self.report_unknown(&name, reference, span);
            }
            self.used.insert(name);
        }
    }

    fn report_unknown(&mut self, name: &str, reference: &yuanli_expr::Reference, span: Span) {
        let message = format!("the template `{}` has no parameter `{name}`", self.name);
        let declared = self.parameters.names();
        self.diagnostics.error_with(Code::UnknownInput, span, message, || {
            let dashed =
                reference.dashed.as_deref().filter(|dashed| self.parameters.names.contains_key(*dashed));
            Some(match (dashed, nearest(name, declared)) {
                (Some(dashed), _) => format!("a name with a dash is written `parameters[\"{dashed}\"]`"),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("declare it: `parameters: {{ {name}: {{ type: string }} }}`"),
            })
        });
    }
}
