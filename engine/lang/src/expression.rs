//! The names in expressions: variables, inputs, stages, outputs, what is known of the run, functions.

use std::cell::RefCell;
use std::collections::HashSet;

use yuanli_expr::{RUN, RUN_AT_END, Reference, TRIGGER, nearest, written};
use yuanli_model::Section;

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::document::Document;
use crate::environment::{Environment, Stages, Variables};
use crate::key;
use crate::needs::Needs;
use crate::stage::{Draft, FanOut, Variable};
use crate::target::Target;
use crate::typing::{Types, Want};
use crate::value::Use;

/// What can be read of a stage that has ended.
const STAGE: [&str; 2] = ["outputs", "result"];

/// The names of types, which an expression compares with what `type(x)` gives.
const CLASSES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What names stand for in the expressions of a document.
pub(crate) struct Names<'a> {
    document: &'a Document<'a>,
    needs: &'a Needs<'a>,
    /// What each stage runs, as far as it is known.
    targets: &'a [Target],
    inputs: HashSet<&'a str>,
    types: Types<'a>,
    used: RefCell<Used>,
}

/// The inputs that are used.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) names: HashSet<String>,
    /// Whether an expression uses `inputs` as a whole, so that all may be.
    pub(crate) all: bool,
}

impl<'a> Names<'a> {
    pub(crate) fn new(document: &'a Document<'a>, needs: &'a Needs<'a>, targets: &'a [Target]) -> Self {
        let inputs = document.inputs.names().collect();
        let types = Types::new(document, needs, targets);
        Self { document, needs, targets, inputs, types, used: RefCell::default() }
    }

    /// The inputs that were found to be used, once all was checked.
    pub(crate) fn used(self) -> Used {
        self.used.into_inner()
    }

    /// Reports every name in the expressions of the document that stands for nothing there.
    pub(crate) fn check(&self, diagnostics: &mut Diagnostics<'_>) {
        let document = self.document;
        let mut check = |found: &Use, environment: &Environment, want: &Want| {
            // What has no meaning has no type.
            if self.check_use(found, environment, diagnostics) {
                self.types.check(found, environment, want, diagnostics);
            }
        };
        let shared = document.env.iter().chain(&document.defaults.env).flat_map(|variable| &variable.uses);
        shared.for_each(|found| check(found, &Environment::SHARED, &Want::Variable));
        let group = document.concurrency.iter().flat_map(|concurrency| &concurrency.group.uses);
        group.for_each(|found| check(found, &Environment::GROUP, &Want::Text("the group")));
        let priorities = document.concurrency.iter().filter_map(|concurrency| concurrency.priority.as_ref());
        let priorities = priorities.flat_map(|priority| &priority.uses);
        priorities.for_each(|found| check(found, &Environment::GROUP, &Want::Whole("the priority")));
        let condition = document.triggers.condition().into_iter();
        condition.for_each(|found| check(found, &Environment::HOOK, &Want::Condition));
        document.triggers.uses().for_each(|found| check(found, &Environment::TRIGGER, &Want::Inputs));
        for (at, stage) in document.stages.iter().enumerate() {
            check_stage(at, stage, &mut check);
        }
        let outputs = document.outputs.iter().flat_map(|output| &output.config.uses);
        outputs.for_each(|found| check(found, &Environment::OUTPUTS, &Want::Value));
    }

    /// Whether all names in it stand for something; reports those that do not.
    fn check_use(
        &self,
        expression: &Use,
        environment: &Environment,
        diagnostics: &mut Diagnostics<'_>,
    ) -> bool {
        let mut are_right = check_functions(expression, diagnostics);
        let mut before: Option<&Reference> = None;
        let mut skips_rest = false;
        for reference in expression.program.references() {
            if reference.is_rest_of_dashed && skips_rest {
                continue;
            }
            let head = before.filter(|_| reference.is_rest_of_dashed);
            let place = Place { names: self, environment, expression, reference, head };
            let is_right = place.check(diagnostics);
            are_right &= is_right;
            if !reference.is_rest_of_dashed {
                before = Some(reference);
            }
            // `stages.my-stage` is one mistake, also where `my` and `stage` are both unknown.
            skips_rest = !is_right && (reference.dashed.is_some() || head.is_some());
        }
        are_right
    }
}

/// Each expression of a stage, with what it can see.
fn check_stage(at: usize, stage: &Draft<'_>, check: &mut impl FnMut(&Use, &Environment, &Want)) {
    stage.condition.iter().for_each(|found| check(found, &Environment::condition(at), &Want::Condition));
    for (place, list) in stage.fan_out.iter().flat_map(FanOut::lists) {
        list.config
            .uses
            .iter()
            .for_each(|found| check(found, &Environment::once(place, at), &Want::List(place)));
    }
    let message = stage.approval.iter().filter_map(|approval| approval.message.as_ref());
    let message = message.flat_map(|message| &message.uses);
    message.for_each(|found| check(found, &Environment::once("`approval`", at), &Want::Text("the message")));
    let with = Environment::each("`with`", at, stage);
    stage.config.uses.iter().for_each(|found| check(found, &with, &Want::Config(at)));
    let values = stage.cache.iter().filter_map(|cache| cache.values.as_ref()).flat_map(|values| &values.uses);
    let cache = Environment::each("`cache`", at, stage);
    values.for_each(|found| check(found, &cache, &Want::Value));
    let env = Environment::variables(at, stage);
    stage
        .env
        .iter()
        .flat_map(|variable| &variable.uses)
        .for_each(|found| check(found, &env, &Want::Variable));
}

/// One reference in one place.
struct Place<'a> {
    names: &'a Names<'a>,
    environment: &'a Environment,
    expression: &'a Use,
    reference: &'a Reference,
    /// The reference with the dash, when this one begins in what follows that.
    head: Option<&'a Reference>,
}

impl<'a> Place<'a> {
    fn span(&self, part: usize) -> Span {
        self.expression.span(&self.reference.parts[part])
    }

    /// Whether the reference stands for something; reports when not.
    fn check(&self, diagnostics: &mut Diagnostics<'_>) -> bool {
        let root = self.reference.path[0].as_str();
        if self.reference.path.len() == 1 && CLASSES.contains(&root) {
            return true;
        }
        if !self.environment.roots().any(|known| known == root) {
            self.report_root(root, diagnostics);
            return false;
        }
        let name = self.reference.path.get(1).map(String::as_str);
        match (root, name) {
            ("inputs", name) => self.check_input(name, diagnostics),
            ("stages", Some(name)) => self.check_stage(name, diagnostics),
            ("env", Some(name)) => self.check_variable(name, diagnostics),
            ("matrix", Some(name)) => self.check_axis(name, diagnostics),
            ("run", Some(name)) if RUN_AT_END.contains(&name) => self.check_at_end(name, diagnostics),
            ("run", Some(name)) => self.check_among(name, "run", &RUN, diagnostics),
            ("trigger", Some(name)) => self.check_among(name, "trigger", &TRIGGER, diagnostics),
            _ => true,
        }
    }

    fn report_root(&self, root: &str, diagnostics: &mut Diagnostics<'_>) {
        let hidden = self.environment.hidden(root, self.names.document);
        let (code, message) = match hidden {
            Some(_) => (Code::NotHere, format!("`{root}` cannot be used in {}", self.environment.place)),
            None => (Code::UnknownVariable, format!("there is no variable `{root}`")),
        };
        diagnostics.error_with(code, self.span(0), message, || {
            if let Some(help) = self.head.and_then(quoted) {
                return Some(help);
            }
            if hidden.is_some() {
                return hidden;
            }
            let roots = self.environment.roots();
            Some(match nearest(root, roots.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if root == "secrets" => {
                    "declare an input of type `secret`, and use that: `inputs: { key: { type: secret } }`"
                        .to_owned()
                }
                None => format!("an expression here can use {}; a text stands in quotes", key::listed(roots)),
            })
        });
    }

    fn check_input(&self, name: Option<&str>, diagnostics: &mut Diagnostics<'_>) -> bool {
        let Some(name) = name else {
            self.names.used.borrow_mut().all = true;
            return true;
        };
        if self.names.inputs.contains(name) {
            self.names.used.borrow_mut().names.insert(name.to_owned());
            return true;
        }
        let names = || self.names.document.inputs.names();
        diagnostics.error_with(
            Code::UnknownInput,
            self.span(1),
            format!("there is no input `{name}`"),
            || {
                Some(match (dashed(self.reference, names()), nearest(name, names())) {
                    (Some(help), _) => help,
                    (None, Some(near)) => format!("did you mean `{near}`?"),
                    (None, None) => format!("declare it: `inputs: {{ {name}: {{ type: string }} }}`"),
                })
            },
        );
        false
    }

    /// What is known of the run where it ends only.
    fn check_at_end(&self, name: &str, diagnostics: &mut Diagnostics<'_>) -> bool {
        let stages = &self.names.document.stages;
        let section = self.environment.stage.map_or(Section::Main, |stage| stages[stage].section);
        if section != Section::Main || self.reference.is_optional {
            return true;
        }
        let message = format!("`run.{name}` cannot be used in {}", self.environment.place);
        diagnostics.error_with(Code::NotHere, self.span(1), message, || {
            Some("how the run ends is known in stages of `on_failure` and `finally` only".to_owned())
        });
        false
    }

    fn check_among(&self, name: &str, root: &str, known: &[&str], diagnostics: &mut Diagnostics<'_>) -> bool {
        if known.contains(&name) || self.reference.is_optional {
            return true;
        }
        let message = format!("`{root}` has no `{name}`");
        diagnostics.error_with(Code::UnknownVariable, self.span(1), message, || {
            Some(match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if root == "trigger" => "it has `body`, which tells what happened".to_owned(),
                None => format!("it has {}", key::listed(known.iter().copied())),
            })
        });
        false
    }

    /// The environment variables that can be seen here, and those that can only be seen where an instance is known.
    fn variables(&self) -> (Vec<&'a str>, Vec<&'a str>) {
        let document = self.names.document;
        let shared = document.env.iter().chain(&document.defaults.env);
        let own = |stage: usize| document.stages[stage].env.iter();
        let name = |variable: &'a Variable| variable.name.as_str();
        match self.environment.variables {
            Variables::None => (Vec::new(), Vec::new()),
            // The defaults are put into stages, and nowhere else.
            Variables::Shared => (document.env.iter().map(name).collect(), Vec::new()),
            Variables::OfInstance(stage) => (shared.chain(own(stage)).map(name).collect(), Vec::new()),
            Variables::OfStage(stage) => {
                let (hidden, seen): (Vec<_>, Vec<_>) =
                    own(stage).partition(|variable| variable.is_of_instance());
                let hidden: Vec<_> = hidden.into_iter().map(name).collect();
                let seen = shared.chain(seen).map(name).filter(|name| !hidden.contains(name)).collect();
                (seen, hidden)
            }
        }
    }

    fn check_variable(&self, name: &str, diagnostics: &mut Diagnostics<'_>) -> bool {
        let (seen, hidden) = self.variables();
        if seen.contains(&name) || self.reference.is_optional {
            return true;
        }
        if hidden.contains(&name) {
            let place = self.environment.place;
            let message =
                format!("`env.{name}` cannot be used in {place}: it differs from instance to instance");
            diagnostics.error_with(Code::NotHere, self.span(1), message, || {
                Some(format!("{place} is evaluated once for the whole stage, before there are instances"))
            });
            return false;
        }
        let message = format!("there is no environment variable `{name}`");
        diagnostics.error_with(Code::UnknownEnvironment, self.span(1), message, || {
            Some(match nearest(name, seen.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "`env` has what the document says, and nothing of the machine: declare it, `env: {{ {name}: … }}`"
                ),
            })
        });
        false
    }

    fn check_axis(&self, name: &str, diagnostics: &mut Diagnostics<'_>) -> bool {
        let fan_out =
            self.environment.stage.and_then(|stage| self.names.document.stages[stage].fan_out.as_ref());
        let Some(FanOut::Matrix(matrix)) = fan_out.filter(|_| !self.reference.is_optional) else {
            return true;
        };
        let Some(names) = matrix.names().filter(|names| !names.contains(&name)) else { return true };
        let message = format!("the matrix has no axis `{name}`");
        diagnostics.error_with(Code::UnknownVariable, self.span(1), message, || {
            dashed(self.reference, names.iter().copied()).or_else(|| {
                Some(match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it has {}", key::listed(names.into_iter())),
                })
            })
        });
        false
    }

    fn check_stage(&self, name: &str, diagnostics: &mut Diagnostics<'_>) -> bool {
        match self.names.needs.find(name) {
            None => {
                self.report_unknown_stage(name, diagnostics);
                false
            }
            Some(found) => self.check_order(found, diagnostics) && self.check_outputs(found, diagnostics),
        }
    }

    fn report_unknown_stage(&self, name: &str, diagnostics: &mut Diagnostics<'_>) {
        diagnostics.error_with(
            Code::UnknownStage,
            self.span(1),
            format!("there is no stage `{name}`"),
            || {
                let stages = &self.names.document.stages;
                let own = self.environment.stage.map(|stage| stages[stage].key);
                let others = || stages.iter().map(|other| other.key).filter(|key| Some(*key) != own);
                dashed(self.reference, others())
                    .or_else(|| nearest(name, others()).map(|near| format!("did you mean `{near}`?")))
            },
        );
    }

    /// Whether a stage has ended when this is evaluated.
    fn check_order(&self, other: usize, diagnostics: &mut Diagnostics<'_>) -> bool {
        let stages = &self.names.document.stages;
        let span = self.expression.span(&self.reference.range);
        let name = stages[other].key;
        let Stages::Before(stage) = self.environment.stages else {
            if stages[other].section != Section::OnFailure {
                return true;
            }
            let message =
                format!("`{name}` runs only when the run failed, and a run that failed has no outputs");
            diagnostics.error(Code::NotNeeded, span, message);
            return false;
        };
        let needs = self.names.needs;
        if needs.is_after(stage, other) {
            return true;
        }
        let own = &stages[stage];
        if stage == other {
            let message = format!("stage `{name}` cannot use its own outputs: it has none before it has run");
            diagnostics.error(Code::NotNeeded, span, message);
            return false;
        }
        if stages[other].section > own.section {
            let message = format!("stage `{}` uses `{name}`, which begins after it has ended", own.key);
            diagnostics.error_with(Code::NotNeeded, span, message, || {
                Some(format!("`{name}` is under `{}`, a later part of the run", stages[other].section.name()))
            });
            return false;
        }
        let message = format!(
            "stage `{}` uses `{name}` and does not need it, so `{name}` may not have run by then",
            own.key
        );
        diagnostics.error_with(Code::NotNeeded, span, message, || {
            if needs.is_after(other, stage) {
                return Some(format!(
                    "`{name}` runs after `{}`: turn the need round, or do without the value",
                    own.key
                ));
            }
            let mut needed: Vec<&str> = own.needs.iter().map(|(need, _)| *need).collect();
            needed.push(name);
            Some(match needed.as_slice() {
                [one] => format!("add `needs: {one}` to stage `{}`", own.key),
                several => format!("let stage `{}` have `needs: [{}]`", own.key, several.join(", ")),
            })
        });
        false
    }

    fn check_outputs(&self, other: usize, diagnostics: &mut Diagnostics<'_>) -> bool {
        let path = &self.reference.path;
        let Some(field) = path.get(2) else { return true };
        let before = || written(&path[..2]);
        if !STAGE.contains(&field.as_str()) {
            let message = format!("`{}` has no `{field}`", before());
            diagnostics.error_with(Code::UnknownOutput, self.span(2), message, || {
                Some(match nearest(field, STAGE) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        format!("its outputs are in `{}.outputs`, how it ended in `{0}.result`", before())
                    }
                })
            });
            return false;
        }
        let stage = &self.names.document.stages[other];
        if path.len() == 3 || field == "result" || self.reference.is_optional {
            return true;
        }
        if stage.fan_out.is_some() {
            let name = &path[3];
            let message =
                format!("`{}.outputs` is a list: stage `{}` has several instances", before(), stage.key);
            diagnostics.error_with(Code::UnknownOutput, self.span(3), message, || {
                Some(format!(
                    "write `{0}.outputs[0].{name}` for one of them, `{0}.outputs.map(o, o.{name})` for all",
                    before()
                ))
            });
            return false;
        }
        self.check_output(other, stage, diagnostics)
    }

    fn check_output(&self, other: usize, stage: &Draft<'_>, diagnostics: &mut Diagnostics<'_>) -> bool {
        let path = &self.reference.path;
        let target = &self.names.targets[other];
        let Some((at, there)) = target.missing(stage, &path[3..]) else { return true };
        let at = at + 3;
        let name = &path[at];
        let message = if at == 3 {
            format!("{} has no output `{name}`", target.giver())
        } else {
            format!("`{}` has no `{name}`", written(&path[..at]))
        };
        diagnostics.error_with(Code::UnknownOutput, self.span(at), message, || {
            let near = || nearest(name, there.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            let all =
                || (!there.is_empty()).then(|| format!("it has {}", key::listed(there.iter().copied())));
            dashed(self.reference, there.iter().copied()).or_else(near).or_else(all)
        });
        false
    }
}

/// Whether all functions exist; reports those that do not.
fn check_functions(expression: &Use, diagnostics: &mut Diagnostics<'_>) -> bool {
    for unknown in expression.program.unknown_functions() {
        let message = format!("there is no function `{}`", unknown.name);
        let help = || Some(unknown.help());
        diagnostics.error_with(Code::UnknownFunction, expression.span(&unknown.range), message, help);
    }
    expression.program.unknown_functions().is_empty()
}

/// The help for a name with a dash, when that name exists.
fn dashed<'a>(reference: &Reference, mut there: impl Iterator<Item = &'a str>) -> Option<String> {
    let name = reference.dashed.as_deref()?;
    there.any(|known| known == name).then(|| quoted(reference))?
}

/// How a name with a dash is written.
fn quoted(reference: &Reference) -> Option<String> {
    let name = reference.dashed.as_deref()?;
    let before = &reference.path[..reference.path.len() - 1];
    Some(format!("a name with a dash is written `{}[\"{name}\"]`", written(before)))
}
