//! The types of expressions: what each place knows, and what it needs.
//!
//! Names were looked up before, each with a code of its own: an expression with an unknown name is not typed.

mod known;
mod want;

use yuanli_expr::{Checked, Environment as Scope, Error, Fit, Kind, Members, Type};
use yuanli_model::{Section, Template};

use crate::diagnostic::{Code, Diagnostics};
use crate::document::Document;
use crate::environment::{Environment, Instance, Stages, Variables};
use crate::needs::Needs;
use crate::stage::{FanOut, Variable};
use crate::target::Target;
use crate::value::{Config, Use, unescaped};

pub(crate) use want::Want;

/// What is known of the values in a document.
pub(crate) struct Types<'a> {
    document: &'a Document<'a>,
    needs: &'a Needs<'a>,
    inputs: Type,
    run: Type,
    trigger: Type,
    /// What each stage gives, the items of one with several instances joined to a list.
    outputs: Vec<Type>,
    /// What each stage takes under `with`.
    configs: Vec<Type>,
    /// What instances of each stage see as `item` or `matrix`.
    instances: Vec<Type>,
}

impl<'a> Types<'a> {
    pub(crate) fn new(document: &'a Document<'a>, needs: &'a Needs<'a>, targets: &'a [Target]) -> Self {
        let mut types = Self {
            document,
            needs,
            inputs: known::inputs(&document.inputs),
            // That some of them are known at the end only was looked at before.
            run: Type::object([
                ("id", Type::Text),
                ("workflow", Type::Text),
                ("outcome", Type::Text),
                ("failed", Type::list(Type::Text)),
            ]),
            trigger: Type::object([("body", Type::Any)]),
            outputs: known::outputs(document, targets),
            configs: known::configs(targets),
            instances: Vec::new(),
        };
        types.instances = (0..document.stages.len()).map(|stage| types.instance(stage)).collect();
        types
    }

    /// Reports what is wrong with the type of an expression in its place.
    pub(crate) fn check(
        &self,
        found: &Use,
        environment: &Environment,
        want: &Want,
        diagnostics: &mut Diagnostics<'_>,
    ) {
        let checked = self.typed(found, environment);
        for error in &checked.mistakes {
            report(found, error, diagnostics);
        }
        for error in checked.warnings {
            let span = found.span(error.at.as_ref().unwrap_or(&(0..found.program.source().len())));
            diagnostics.hint(Code::WrongType, span, error.message, error.help);
        }
        if !checked.mistakes.is_empty() {
            return;
        }
        let fit = if found.is_whole {
            self.wanted(want, found).fit(&checked.ty)
        } else {
            checked.ty.fits_in_text()
        };
        if let Fit::No(reason) = fit {
            let subject = want.subject().map(str::to_owned).or_else(|| path(&found.pointer));
            let message = match subject {
                Some(subject) if found.is_whole => format!("{subject}: {reason}"),
                _ => format!("the expression cannot stand here: {reason}"),
            };
            diagnostics.error_with(Code::WrongType, found.whole_span(), message, || want.help(&checked.ty));
        }
    }

    fn typed(&self, found: &Use, environment: &Environment) -> Checked {
        let stages = StageFields { types: self, environment };
        let variables = VariableFields { types: self, environment };
        let mut scope = Scope::new().with("trigger", self.trigger.clone());
        if environment.has_run {
            scope = scope.with("inputs", self.inputs.clone()).with("run", self.run.clone());
        }
        if environment.stages != Stages::None {
            scope = scope.with_members("stages", &stages);
        }
        if environment.variables != Variables::None {
            scope = scope.with_members("env", &variables);
        }
        match (environment.instance, environment.stage) {
            (Instance::Item, Some(stage)) => scope = scope.with("item", self.instances[stage].clone()),
            (Instance::Matrix, Some(stage)) => scope = scope.with("matrix", self.instances[stage].clone()),
            _ => {}
        }
        if environment.is_condition {
            scope = scope.with_status();
        }
        found.program.check(&scope)
    }

    /// What is wanted where an expression stands.
    fn wanted(&self, want: &Want, found: &Use) -> want::Wanted {
        match want {
            Want::Config(stage) => want::Wanted::One(known::within(&self.configs[*stage], &found.pointer)),
            Want::Inputs => want::Wanted::One(known::within(&self.inputs, &found.pointer)),
            other => other.fixed(&found.pointer),
        }
    }

    /// What the instances of a stage see of themselves.
    fn instance(&self, stage: usize) -> Type {
        match &self.document.stages[stage].fan_out {
            None => Type::Any,
            Some(FanOut::ForEach(list)) => self.item(stage, &list.config),
            Some(FanOut::Matrix(matrix)) => {
                let axes = matrix.axes.iter();
                let item = |config| match matrix.include {
                    // It may give an axis any value.
                    Some(_) => Type::Any,
                    None => self.item(stage, config),
                };
                known::matrix(axes.map(|(name, list)| (name.clone(), item(&list.config))), matrix)
            }
        }
    }

    /// What a list is a list of.
    fn item(&self, stage: usize, config: &Config) -> Type {
        match (&config.template, config.uses.as_slice()) {
            (Template::List(_), []) => known::items(&config.instance),
            (Template::Expression(_), [only]) => {
                let environment = Environment::once("", stage);
                match self.typed(only, &environment).ty {
                    Type::List(item) => (*item).clone(),
                    _ => Type::Any,
                }
            }
            _ => Type::Any,
        }
    }
}

/// What a JSON pointer leads to, as people write it: `ports[0].host`.
fn path(pointer: &str) -> Option<String> {
    let mut path = String::new();
    for token in pointer.split('/').skip(1) {
        if token.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{token}]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(&unescaped(token));
        }
    }
    (!path.is_empty()).then(|| format!("`{path}`"))
}

fn report(found: &Use, error: &Error, diagnostics: &mut Diagnostics<'_>) {
    let span = found.span(error.at.as_ref().unwrap_or(&(0..found.program.source().len())));
    let reads_stages = || found.program.references().iter().any(|reference| reference.path[0] == "stages");
    let code = match error.kind {
        Kind::Syntax | Kind::Limit => Code::ExpressionSyntax,
        Kind::Unknown if error.message.ends_with("cannot be asked here") => Code::NotHere,
        Kind::Unknown if reads_stages() => Code::UnknownOutput,
        Kind::Unknown => Code::UnknownVariable,
        Kind::Type | Kind::Value | Kind::Result | Kind::Internal => Code::WrongType,
    };
    diagnostics.error_with(code, span, error.message.clone(), || error.help.clone());
}

/// `stages` in one place.
struct StageFields<'a> {
    types: &'a Types<'a>,
    environment: &'a Environment,
}

impl Members for StageFields<'_> {
    fn of(&self, name: &str) -> Option<Type> {
        // Whether it exists, and has ended by then, was looked up with the names.
        let Some(other) = self.types.needs.find(name) else { return Some(Type::Any) };
        let draft = &self.types.document.stages[other];
        let has_succeeded = !draft.allow_failure
            && match self.environment.stages {
                Stages::None => false,
                Stages::All => draft.section == Section::Main && draft.condition.is_none(),
                Stages::Before(stage) => self.is_certain(stage, other),
            };
        Some(Type::of_stage(self.types.outputs[other].clone(), has_succeeded))
    }

    fn names(&self) -> Vec<&str> {
        self.types.document.stages.iter().map(|stage| stage.key).collect()
    }
}

impl StageFields<'_> {
    /// Whether a stage only goes on when the other one has succeeded: it is needed, and the condition does not ask
    /// what became of it.
    fn is_certain(&self, stage: usize, other: usize) -> bool {
        let draft = &self.types.document.stages[stage];
        let is_asked = draft.condition.as_ref().is_some_and(|condition| condition.program.asks_for_status());
        !is_asked && draft.section == self.types.document.stages[other].section
    }
}

/// `env` in one place.
struct VariableFields<'a> {
    types: &'a Types<'a>,
    environment: &'a Environment,
}

impl Members for VariableFields<'_> {
    fn of(&self, name: &str) -> Option<Type> {
        let document = self.types.document;
        let own = match self.environment.variables {
            Variables::OfStage(stage) | Variables::OfInstance(stage) => document.stages[stage].env.as_slice(),
            Variables::None | Variables::Shared => &[],
        };
        let all = own.iter().chain(&document.defaults.env).chain(&document.env);
        let mut found = all.filter(|variable| variable.name == name);
        Some(found.next().map_or(Type::Any, |variable| self.type_of(variable)))
    }

    fn names(&self) -> Vec<&str> {
        self.types.document.env.iter().map(|variable| variable.name.as_str()).collect()
    }
}

impl VariableFields<'_> {
    /// A text, or the handle of a secret.
    fn type_of(&self, variable: &Variable) -> Type {
        let inputs = &self.types.document.inputs;
        let is_secret = variable.uses.iter().filter(|found| found.is_whole).any(|found| {
            found.program.references().iter().any(|reference| {
                let name = reference.path.get(1).filter(|_| reference.path[0] == "inputs");
                name.and_then(|name| inputs.get(name))
                    .is_some_and(|input| crate::input::is_secret(&input.kind))
            })
        });
        if is_secret { Type::Secret } else { Type::Text }
    }
}
