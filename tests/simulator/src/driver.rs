//! One seed: life after life of an engine until all runs have ended, then the reckoning.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use yuanli_executor::{Error, Retry, Started};
use yuanli_model::RunId;
use yuanli_model::run::Cause;
use yuanli_wasm::Host;

use crate::check;
use crate::engine::Engine;
use crate::plan::{Plan, PlannedRetry, PlannedRun};
use crate::port::Place;
use crate::world::World;

/// How long the world may take, by its own time: longer than anything in it.
const PATIENCE: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// How often it is looked whether all has ended.
const LOOK: Duration = Duration::from_secs(1);
/// How often a run is seen that nobody drives before it has been given up: longer than a commit may take that begins one.
const LOOKS: u32 = 30;
/// Until all requests of the dead have arrived.
const LATE: Duration = Duration::from_secs(200);
/// How long the disk may take for what is on its way to it.
const CLOSING: Duration = Duration::from_secs(60);
/// More lives than there are reasons to die.
const MOST_LIVES: u64 = 40;

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, if anything is.
    pub problems: Vec<String>,
    /// The digest of all that happened.
    pub trace: u64,
    /// The last of it, in words.
    pub lines: Vec<String>,
    /// How many lives the engine had.
    pub lives: u64,
    /// How many attempts there were.
    pub attempts: u64,
    /// How many of them ended as interrupted.
    pub interrupted: u64,
    /// How many of them an earlier one stood for.
    pub hits: u64,
    /// How many runs took over from others.
    pub retries: u64,
    /// How often an attempt lost its instance while it waited, and came back.
    pub evictions: u64,
}

thread_local! {
    static HOST: RefCell<Option<(Arc<Host>, Place)>> = const { RefCell::new(None) };
}

/// Runs a seed.
///
/// # Panics
/// When this machine gives no runtime or no component host.
#[must_use]
pub fn simulate(seed: u64) -> Report {
    let host = HOST.with_borrow_mut(|host| {
        let open = || runtime(false).block_on(crate::host::open());
        host.get_or_insert_with(open).clone()
    });
    runtime(true).block_on(async {
        let world = Arc::new(World::new(seed));
        live(&world, &host).await
    })
}

fn runtime(is_paused: bool) -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_time().start_paused(is_paused).build().expect("a runtime")
}

/// Why a life has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All runs have ended.
    Finished,
    /// It was killed.
    Killed,
    /// It could not begin, and whoever watches over it starts it again.
    NotBegun,
    /// Nobody drives a run that has not ended. It may not come to that.
    GivenUp,
}

async fn live(world: &Arc<World>, host: &(Arc<Host>, Place)) -> Report {
    let plan = Arc::new(Plan::draw(&world.chance));
    world.note(&format!("{:?} {}", world.faults, plan.describe()));
    if world.faults.jumps {
        set_clock(world);
    }
    let mut lives = 0;
    loop {
        lives += 1;
        let engine = Engine::open(world, host);
        engine.life.may_end_later(world);
        let end = tokio::select! {
            biased;
            () = engine.life.death() => End::Killed,
            end = work(&engine, world, &plan) => end,
        };
        world.note(&format!("life {lives}: {end:?}"));
        if end == End::Finished {
            close(&engine, world).await;
            if !engine.life.is_ending() {
                check::outside::check_last_life(world);
                engine.life.end();
                break;
            }
        }
        let is_late = world.clock.age() > PATIENCE;
        put_down(engine).await;
        if is_late || lives > MOST_LIVES {
            world.accuse(format!("not all runs have ended after {lives} lives and {:?}", world.clock.age()));
            break;
        }
    }
    world.faults.end();
    // Requests of the dead arrive, and one more engine finds what was left.
    tokio::time::sleep(LATE).await;
    let last = Engine::open(world, host);
    if let Err(error) = last.recover(&plan).await {
        world.accuse(format!("the last engine cannot begin: {error}"));
    }
    close(&last, world).await;
    let figures = check::check(world, &plan, &last.executor).await;
    let problems = world.ledger().problems.clone();
    let trace = world.trace();
    Report {
        problems,
        trace: trace.digest(),
        lines: trace.lines(),
        lives,
        attempts: figures.attempts,
        interrupted: figures.interrupted,
        hits: figures.hits,
        retries: figures.retries,
        evictions: world.ledger().evictions,
    }
}

/// Sets the clock, some time.
fn set_clock(world: &Arc<World>) {
    let (set, chance) = (Arc::clone(world), world.chance.fork());
    world.spawn(async move {
        for _ in 0..chance.of(1..=3) {
            tokio::time::sleep(chance.millis(0..=60_000)).await;
            let by = chance.of(0..=1_200_000) as i64 - 600_000;
            set.note(&format!("the clock is set by {by} ms"));
            set.clock.jump(by);
        }
    });
}

/// The engine at work: everything that is planned is asked for, until all of it has ended.
async fn work(engine: &Engine, world: &Arc<World>, plan: &Arc<Plan>) -> End {
    let mut answers = Vec::new();
    let begun = async {
        let groups = engine.prepare().await?;
        // From here on it is asked for new runs, while it reads those that were left.
        answers.extend((0..plan.runs.len()).map(|number| ask(engine, world, plan, number)));
        engine.go_on_with_left(plan, groups).await
    };
    if let Err(error) = begun.await {
        world.note(&format!("cannot begin: {error}"));
        return End::NotBegun;
    }
    let mut given_up = 0;
    loop {
        answers.retain_mut(|answer| matches!(answer.try_recv(), Err(TryRecvError::Empty)));
        given_up = match look(engine, world).await {
            Some(End::Finished) if answers.is_empty() => return End::Finished,
            Some(End::Finished) => 0,
            Some(_) => given_up + 1,
            None => 0,
        };
        if given_up > LOOKS {
            world.accuse("an engine that lives has given a run up".to_owned());
        }
        if given_up > LOOKS || world.clock.age() > PATIENCE {
            return End::GivenUp;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether all runs have ended, or somebody has given one up.
async fn look(engine: &Engine, world: &World) -> Option<End> {
    let open = match world.history().open().await {
        Ok(open) => open,
        Err(error) => {
            world.accuse(format!("the store cannot be read: {error}"));
            return Some(End::GivenUp);
        }
    };
    if open.is_empty() {
        return Some(End::Finished);
    }
    let is_left = open.iter().any(|run| !engine.executor.is_driving(*run));
    is_left.then_some(End::GivenUp)
}

/// Somebody starts a run, and stops it. What was refused he asks again, and what he was not answered when there is another
/// engine; an answer that was on its way when the engine died he has heard.
fn ask(engine: &Engine, world: &Arc<World>, plan: &Arc<Plan>, number: usize) -> oneshot::Receiver<()> {
    let (answer, answered) = oneshot::channel();
    let (engine, world, plan) = (engine.clone(), Arc::clone(world), Arc::clone(plan));
    let life = Arc::clone(&engine.life);
    life.spawn_heard(&Arc::clone(&world), async move {
        ask_for(&engine, &world, &plan, &plan.runs[number]).await;
        let _ = answer.send(());
    });
    answered
}

async fn ask_for(engine: &Engine, world: &World, plan: &Plan, run: &PlannedRun) {
    if !world.faults.is_slowly_read || !world.has_died() {
        sleep_until(world, run.at).await;
    }
    let started = loop {
        match engine.executor.start(plan.submission(run)).await {
            Ok(started) => break started,
            Err(error) => world.note(&format!("not begun: {error}")),
        }
        tokio::time::sleep(LOOK).await;
    };
    note_begun(world, &run.cause, started.run);
    if started.is_new {
        engine.follow(started.run);
    }
    for at in &run.cancels {
        sleep_until(world, run.at + *at).await;
        let is_answered = world.ledger().cancelled.contains(&(started.run, *at));
        if !is_answered && engine.executor.cancel_durably(started.run, "somebody").await.is_ok() {
            world.note(&format!("{} is to end", started.run));
            world.ledger().cancelled.insert((started.run, *at));
        }
    }
    let mut old = started.run;
    for again in &run.retries {
        match retry(engine, world, plan, run, again, old).await {
            Some(new) => old = new,
            None => return,
        }
    }
}

/// The engine has said which run a cause has begun.
fn note_begun(world: &World, cause: &str, run: RunId) {
    world.note(&format!("{cause} is {run}"));
    let before = world.ledger().begun.insert(cause.to_owned(), run);
    if before.is_some_and(|before| before != run) {
        world.accuse(format!("{cause} has begun two runs"));
    }
}

/// Somebody has a run taken over from, once it has ended. Gives the run that does, if there is one.
async fn retry(
    engine: &Engine,
    world: &World,
    plan: &Plan,
    run: &PlannedRun,
    again: &PlannedRetry,
    old: RunId,
) -> Option<RunId> {
    while world
        .history()
        .summary(old)
        .await
        .is_ok_and(|found| found.is_none_or(|found| found.ended.is_none()))
    {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(again.after).await;
    while !world.ledger().refused.contains(&again.cause) {
        let submission = plan.submission_again(run, again);
        let retry = Retry { submission, run: old, from: again.from.clone() };
        match engine.executor.retry(retry, Cause::Unknown).await {
            Ok(Started { run: new, .. }) => {
                note_begun(world, &again.cause, new);
                world.ledger().retried.insert(new, (old, again.from.clone()));
                engine.follow(new);
                return Some(new);
            }
            Err(error @ Error::Store(_)) => world.note(&format!("not begun: {error}")),
            Err(refused) => {
                world.note(&format!("refused: {refused}"));
                world.ledger().refused.insert(again.cause.clone());
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    None
}

async fn sleep_until(world: &World, age: Duration) {
    tokio::time::sleep(age.saturating_sub(world.clock.age())).await;
}

/// Lets everything come to its end, unless it is killed meanwhile.
async fn close(engine: &Engine, world: &World) {
    let closed = async {
        if tokio::time::timeout(PATIENCE, engine.executor.close()).await.is_err() {
            world.accuse("what runs have left is not cleaned up".to_owned());
        }
    };
    tokio::select! {
        biased;
        () = engine.life.death() => {}
        () = closed => {}
    }
}

/// The process is gone. One that is asked to end writes what is on its way to the disk.
async fn put_down(engine: Engine) {
    if !engine.life.is_over() {
        engine.executor.suspend().await;
        tokio::time::sleep(CLOSING).await;
    }
    engine.life.end();
    engine.executor.suspend().await;
    engine.store.settle().await;
}
