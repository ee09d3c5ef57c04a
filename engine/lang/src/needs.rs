//! Who needs whom: names to indexes, circles found and reported.

use std::cell::OnceCell;
use std::collections::HashMap;

use yuanli_expr::nearest;
use yuanli_model::graph::Cycle;
use yuanli_model::{Graph, Section};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::stage::Draft;

/// Most circles reported; each found one is cut open to find the next.
const MAX_CYCLES: usize = 10;

/// The needs of all stages, by index.
#[derive(Debug)]
pub(crate) struct Needs<'a> {
    index: HashMap<&'a str, usize>,
    direct: Vec<Vec<usize>>,
    sections: Vec<Section>,
    /// `None` when there is a circle.
    graph: Option<Graph>,
    ancestors: OnceCell<Ancestors>,
}

/// Looks up all needs; what is wrong is reported.
pub(crate) fn resolve<'a>(stages: &[Draft<'a>], diagnostics: &mut Diagnostics<'_>) -> Needs<'a> {
    let index = index(stages, diagnostics);
    let mut direct = Vec::with_capacity(stages.len());
    for (at, stage) in stages.iter().enumerate() {
        let mut needs = Vec::with_capacity(stage.needs.len());
        for (name, span) in &stage.needs {
            match index.get(name) {
                Some(need) if *need == at => {
                    let message = format!("stage `{name}` needs itself: {name} -> {name}");
                    diagnostics.error(Code::Cycle, *span, message);
                }
                Some(need) if stages[*need].section != stage.section => {
                    report_across(stage, &stages[*need], *span, diagnostics);
                }
                Some(need) => needs.push(*need),
                None => report_unknown(name, *span, stage, stages, diagnostics),
            }
        }
        direct.push(needs);
    }
    let graph = without_cycles(&direct, stages, diagnostics);
    let sections = stages.iter().map(|stage| stage.section).collect();
    Needs { index, direct, sections, graph, ancestors: OnceCell::new() }
}

/// The first stage of each name; a second one in another part is reported.
fn index<'a>(stages: &[Draft<'a>], diagnostics: &mut Diagnostics<'_>) -> HashMap<&'a str, usize> {
    let mut index: HashMap<&str, usize> = HashMap::with_capacity(stages.len());
    for (at, stage) in stages.iter().enumerate() {
        let first = *index.entry(stage.key).or_insert(at);
        if first != at {
            let message =
                format!("there is a stage `{}` under `{}` already", stage.key, stages[first].section.name());
            diagnostics.error_with(Code::DuplicateStage, stage.key_span, message, || {
                Some(
                    "a name stands for one stage in all parts of a run: give this one another name"
                        .to_owned(),
                )
            });
        }
    }
    index
}

fn report_across(stage: &Draft<'_>, need: &Draft<'_>, span: Span, diagnostics: &mut Diagnostics<'_>) {
    let (own, other) = (stage.section, need.section);
    let message = format!(
        "stage `{}` is under `{}` and needs `{}`, which is under `{}`",
        stage.key,
        own.name(),
        need.key,
        other.name()
    );
    diagnostics.error_with(Code::NeedAcross, span, message, || {
        Some(if other < own {
            format!("leave it out: all of `{}` has ended before `{}` begins", other.name(), own.name())
        } else {
            format!(
                "`{}` begins after all of `{}` has ended: put both into one part",
                other.name(),
                own.name()
            )
        })
    });
}

fn report_unknown(
    name: &str,
    span: Span,
    stage: &Draft<'_>,
    stages: &[Draft<'_>],
    diagnostics: &mut Diagnostics<'_>,
) {
    let message = format!("stage `{}` needs `{name}`, which does not exist", stage.key);
    diagnostics.error_with(Code::UnknownNeed, span, message, || {
        let others = stages.iter().map(|other| other.key).filter(|other| *other != stage.key);
        nearest(name, others).map(|near| format!("did you mean `{near}`?"))
    });
}

/// The graph, when there is no circle; each circle that there is is reported.
fn without_cycles(
    direct: &[Vec<usize>],
    stages: &[Draft<'_>],
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Graph> {
    let mut needs = direct.to_vec();
    for _ in 0..MAX_CYCLES {
        match Graph::new(needs.clone()) {
            Ok(graph) => return (needs == direct).then_some(graph),
            Err(Cycle(nodes)) => {
                let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return None };
                report_cycle(&nodes, stages, diagnostics);
                needs[*last].retain(|need| need != first);
            }
        }
    }
    None
}

fn report_cycle(nodes: &[usize], stages: &[Draft<'_>], diagnostics: &mut Diagnostics<'_>) {
    /// Most stages of a circle that are printed.
    const SHOWN: usize = 20;
    let mut names: Vec<&str> = nodes.iter().map(|node| stages[*node].key).collect();
    let last = names.last().copied().unwrap_or_default();
    let first = names.first().copied().unwrap_or_default();
    // Point at the need that closes the circle.
    let closing = nodes.last().map(|node| &stages[*node]);
    let span = closing
        .and_then(|stage| stage.needs.iter().find(|(name, _)| *name == first).map(|(_, span)| *span))
        .unwrap_or_default();
    if names.len() > SHOWN {
        names.splice(SHOWN / 2..names.len() - SHOWN / 2, ["…"]);
    }
    let circle = names.into_iter().chain([first]).collect::<Vec<_>>().join(" -> ");
    diagnostics.error_with(Code::Cycle, span, format!("stages need each other in a circle: {circle}"), || {
        Some(format!("if `{last}` can do without `{first}`, remove the need here; else remove another one of the circle"))
    });
}

impl Needs<'_> {
    /// The index of the stage of that name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Whether `later` begins after the end of `earlier`: is in a later part, or needs it, directly or through others; with a circle somewhere, whether it may.
    pub(crate) fn is_after(&self, later: usize, earlier: usize) -> bool {
        if self.sections[later] != self.sections[earlier] {
            return self.sections[later] > self.sections[earlier];
        }
        if self.direct[later].contains(&earlier) {
            return true;
        }
        let Some(graph) = &self.graph else { return later != earlier };
        self.ancestors.get_or_init(|| Ancestors::of(graph)).has(later, earlier)
    }
}

/// For each stage the set of those before it, as bits. Made only when some expression reaches past the direct needs:
/// for 10,000 stages that is 12.5 MB and one pass over all needs, where asking the graph each time would be quadratic.
#[derive(Debug)]
struct Ancestors {
    words: usize,
    bits: Vec<u64>,
}

impl Ancestors {
    fn of(graph: &Graph) -> Self {
        let words = graph.len().div_ceil(64);
        let mut bits = vec![0; words * graph.len()];
        for &node in graph.order() {
            for &need in graph.needs(node) {
                for word in 0..words {
                    bits[node * words + word] |= bits[need * words + word];
                }
                bits[node * words + need / 64] |= 1 << (need % 64);
            }
        }
        Self { words, bits }
    }

    fn has(&self, node: usize, ancestor: usize) -> bool {
        self.bits[node * self.words + ancestor / 64] & (1 << (ancestor % 64)) != 0
    }
}
