//! The names in expressions: variables, inputs, stages, outputs, what is known of the run, functions.

use std::rc::Rc;

use yuanli_expr::{ROOTS, RUN, Reference, TRIGGER, TRIGGER_ROOTS, nearest, written};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::input::Inputs;
use crate::key;
use crate::needs::Needs;
use crate::plugin::Plugin;
use crate::schema;
use crate::stage::Draft;
use crate::value::Use;

/// What names stand for in the expressions of a document.
pub(crate) struct Names<'a> {
    pub(crate) inputs: &'a Inputs,
    pub(crate) stages: &'a [Draft<'a>],
    pub(crate) needs: &'a Needs<'a>,
    /// The plugin of each stage, as far as it is known.
    pub(crate) plugins: &'a [Option<Rc<Plugin>>],
}

impl Names<'_> {
    /// Reports every name in the expressions of a stage that stands for nothing there.
    pub(crate) fn check(&self, stage: usize, diagnostics: &mut Diagnostics<'_>) {
        for expression in &self.stages[stage].config.uses {
            check_functions(expression, diagnostics);
            let mut before: Option<&Reference> = None;
            let mut skips_rest = false;
            for reference in expression.program.references() {
                if reference.is_rest_of_dashed && skips_rest {
                    continue;
                }
                let head = before.filter(|_| reference.is_rest_of_dashed);
                let is_right = self.check_one(stage, expression, reference, head, diagnostics);
                if !reference.is_rest_of_dashed {
                    before = Some(reference);
                }
                // `stages.my-stage` is one mistake, also where `my` and `stage` are both unknown.
                skips_rest = !is_right && (reference.dashed.is_some() || head.is_some());
            }
        }
    }

    /// `head` is the reference with the dash, when this one begins in what follows that.
    fn check_one(
        &self,
        stage: usize,
        expression: &Use,
        reference: &Reference,
        head: Option<&Reference>,
        diagnostics: &mut Diagnostics<'_>,
    ) -> bool {
        let span = |part: usize| expression.span(&reference.parts[part]);
        match (reference.path[0].as_str(), reference.path.get(1)) {
            ("inputs", Some(name)) => self.check_input(name, reference, span(1), diagnostics),
            ("stages", Some(name)) => match self.needs.find(name) {
                None => self.report_unknown_stage(stage, reference, span(1), diagnostics),
                Some(found) => {
                    self.check_order(stage, found, expression.span(&reference.range), diagnostics)
                        && self.check_outputs(found, reference, span, diagnostics)
                }
            },
            ("run", Some(name)) => check_run(name, reference, span(1), diagnostics),
            (root, _) if ROOTS.contains(&root) => true,
            (root, _) => {
                let message = format!("there is no variable `{root}`");
                diagnostics.error_with(Code::UnknownVariable, span(0), message, || {
                    if let Some(help) = head.and_then(quoted) {
                        return Some(help);
                    }
                    if TRIGGER_ROOTS.contains(&root) {
                        let help = "`trigger` is known in `on.webhook.inputs` only: let it give an input";
                        return Some(format!("{help}, and use that"));
                    }
                    Some(match nearest(root, ROOTS) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!(
                            "an expression can use {}; a text stands in quotes",
                            key::listed(ROOTS.into_iter())
                        ),
                    })
                });
                false
            }
        }
    }

    fn check_input(
        &self,
        name: &str,
        reference: &Reference,
        span: Span,
        diagnostics: &mut Diagnostics<'_>,
    ) -> bool {
        let names = || self.inputs.names.iter().map(String::as_str);
        if names().any(|declared| declared == name) {
            return true;
        }
        diagnostics.error_with(Code::UnknownInput, span, format!("there is no input `{name}`"), || {
            Some(match (dashed(reference, names()), nearest(name, names())) {
                (Some(help), _) => help,
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("declare it: `inputs: {{ {name}: {{ type: string }} }}`"),
            })
        });
        false
    }

    fn report_unknown_stage(
        &self,
        stage: usize,
        reference: &Reference,
        span: Span,
        diagnostics: &mut Diagnostics<'_>,
    ) -> bool {
        let name = &reference.path[1];
        diagnostics.error_with(Code::UnknownStage, span, format!("there is no stage `{name}`"), || {
            let others =
                || self.stages.iter().map(|other| other.key).filter(|key| *key != self.stages[stage].key);
            dashed(reference, others())
                .or_else(|| nearest(name, others()).map(|near| format!("did you mean `{near}`?")))
        });
        false
    }

    /// Whether `other` has ended when `stage` begins.
    fn check_order(&self, stage: usize, other: usize, span: Span, diagnostics: &mut Diagnostics<'_>) -> bool {
        if self.needs.is_after(stage, other) {
            return true;
        }
        let (own, name) = (&self.stages[stage], self.stages[other].key);
        if stage == other {
            let message = format!("stage `{name}` cannot use its own outputs: it has none before it has run");
            diagnostics.error(Code::NotNeeded, span, message);
            return false;
        }
        let message = format!(
            "stage `{}` uses `{name}` and does not need it, so `{name}` may not have run by then",
            own.key
        );
        diagnostics.error_with(Code::NotNeeded, span, message, || {
            if self.needs.is_after(other, stage) {
                return Some(format!(
                    "`{name}` runs after `{}`: turn the need round, or do without the value",
                    own.key
                ));
            }
            let mut needs: Vec<&str> = own.needs.iter().map(|(need, _)| *need).collect();
            needs.push(name);
            Some(match needs.as_slice() {
                [one] => format!("add `needs: {one}` to stage `{}`", own.key),
                several => format!("let stage `{}` have `needs: [{}]`", own.key, several.join(", ")),
            })
        });
        false
    }

    fn check_outputs(
        &self,
        other: usize,
        reference: &Reference,
        span: impl Fn(usize) -> Span,
        diagnostics: &mut Diagnostics<'_>,
    ) -> bool {
        let Some(field) = reference.path.get(2) else { return true };
        if field != "outputs" {
            let message = format!("`{}` has no `{field}`", written(&reference.path[..2]));
            diagnostics.error_with(Code::UnknownOutput, span(2), message, || {
                Some(format!("its outputs are in `{}.outputs`", written(&reference.path[..2])))
            });
            return false;
        }
        let Some(plugin) = self.plugins[other].as_ref().filter(|_| !reference.is_optional) else {
            return true;
        };
        let Some((at, there)) = schema::missing(&plugin.description.outputs_schema, &reference.path[3..])
        else {
            return true;
        };
        let at = at + 3;
        let name = &reference.path[at];
        let message = if at == 3 {
            format!("plugin `{}` has no output `{name}`", plugin.description.name)
        } else {
            format!("`{}` has no `{name}`", written(&reference.path[..at]))
        };
        diagnostics.error_with(Code::UnknownOutput, span(at), message, || {
            dashed(reference, there.iter().copied()).or_else(|| match nearest(name, there.iter().copied()) {
                Some(near) => Some(format!("did you mean `{near}`?")),
                None if there.is_empty() => None,
                None => Some(format!("it has {}", key::listed(there.iter().copied()))),
            })
        });
        false
    }
}

/// Reports every name in an expression of a trigger that stands for nothing there.
pub(crate) fn check_trigger(expression: &Use, diagnostics: &mut Diagnostics<'_>) {
    check_functions(expression, diagnostics);
    for reference in expression.program.references().iter().filter(|found| !found.is_rest_of_dashed) {
        let span = |part: usize| expression.span(&reference.parts[part]);
        let root = reference.path[0].as_str();
        if !TRIGGER_ROOTS.contains(&root) {
            let message = format!("there is no variable `{root}` before a run");
            diagnostics.error_with(Code::UnknownVariable, span(0), message, || {
                Some("a webhook can use `trigger.body`, the JSON of its request".to_owned())
            });
        } else if let Some(name) = reference.path.get(1).filter(|name| !TRIGGER.contains(&name.as_str())) {
            let message = format!("`trigger` has no `{name}`");
            diagnostics.error_with(Code::UnknownVariable, span(1), message, || {
                Some("it has `body`, the JSON of the request".to_owned())
            });
        }
    }
}

/// Reports every function that does not exist.
fn check_functions(expression: &Use, diagnostics: &mut Diagnostics<'_>) {
    for unknown in expression.program.unknown_functions() {
        let message = format!("there is no function `{}`", unknown.name);
        let help = || Some(unknown.help());
        diagnostics.error_with(Code::UnknownFunction, expression.span(&unknown.range), message, help);
    }
}

fn check_run(name: &str, reference: &Reference, span: Span, diagnostics: &mut Diagnostics<'_>) -> bool {
    if RUN.contains(&name) || reference.is_optional {
        return true;
    }
    diagnostics.error_with(Code::UnknownVariable, span, format!("`run` has no `{name}`"), || {
        Some(match nearest(name, RUN) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}", key::listed(RUN.into_iter())),
        })
    });
    false
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
