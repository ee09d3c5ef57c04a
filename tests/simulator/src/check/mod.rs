//! What has to be true of every seed, in the end.

mod attempt;
mod history;
pub(crate) mod outside;
mod reuse;

use yuanli_executor::Executor;

use crate::plan::Plan;
use crate::world::World;

/// How much there was to check.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) attempts: u64,
    pub(crate) interrupted: u64,
    pub(crate) hits: u64,
    pub(crate) retries: u64,
}

/// Checks everything; what is wrong is in the ledger.
pub(crate) async fn check(world: &World, plan: &Plan, executor: &Executor) -> Figures {
    let mut figures = Figures::default();
    let runs = match executor.history().list(None, 1_000).await {
        Ok(runs) => runs,
        Err(error) => {
            world.accuse(format!("the runs cannot be listed: {error}"));
            return figures;
        }
    };
    for (cause, run) in world.ledger().begun.clone() {
        if !runs.iter().any(|found| found.id == run) {
            world.accuse(format!("{cause} was begun as {run}, which is not there"));
        }
    }
    let mut callers = 0;
    for summary in &runs {
        figures.retries += u64::from(reuse::check_run(world, plan, executor, summary).await);
        if let Some(ended) = history::check(world, plan, executor, summary).await {
            for ended in ended {
                figures.attempts += 1;
                callers += usize::from(plan.script(&summary.version, ended.stage()).is_none());
                figures.interrupted += u64::from(ended.is_interrupted());
                if let Some(from) = ended.hit {
                    figures.hits += 1;
                    reuse::check_hit(world, executor, &ended, from).await;
                }
                attempt::check(world, plan, executor, summary, &ended).await;
            }
        }
    }
    let begun = world.ledger().begun.len();
    if runs.len() > begun + callers {
        world.accuse(format!(
            "there are {} runs, of {begun} that were asked for and {callers} attempts",
            runs.len()
        ));
    }
    outside::check(world);
    match executor.check(false).await {
        Ok(found) => {
            found
                .findings
                .into_iter()
                .chain(found.mended)
                .for_each(|what| world.accuse(format!("left: {what}")));
        }
        Err(error) => world.accuse(format!("the store cannot be checked: {error}")),
    }
    figures
}
