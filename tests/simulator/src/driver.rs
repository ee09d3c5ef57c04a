//! One seed: life after life of an engine until all runs have ended, then the reckoning.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use yuanli_wasm::Host;

use crate::check;
use crate::engine::Engine;
use crate::plan::{Plan, PlannedRun};
use crate::port::Place;
use crate::world::World;

/// How long the world may take, by its own time: longer than anything in it.
const PATIENCE: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// How often it is looked whether all has ended.
const LOOK: Duration = Duration::from_secs(1);
/// How often a run is seen that nobody drives before it has been given up.
const LOOKS: u32 = 5;
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
    let (attempts, interrupted) = (figures.attempts, figures.interrupted);
    Report { problems, trace: trace.digest(), lines: trace.lines(), lives, attempts, interrupted }
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
    if let Err(error) = engine.recover(plan).await {
        world.note(&format!("cannot begin: {error}"));
        return End::NotBegun;
    }
    let mut answers = Vec::new();
    for number in 0..plan.runs.len() {
        answers.push(ask(engine, world, plan, number));
    }
    for answer in answers {
        // One that is not answered has died with the engine.
        let _ = answer.await;
    }
    let mut given_up = 0;
    loop {
        given_up = match look(engine, world).await {
            Some(End::Finished) => return End::Finished,
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
    let is_left = engine.executor.left().await.is_ok_and(|left| !left.is_empty());
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
    sleep_until(world, run.at).await;
    let started = loop {
        match engine.executor.start(plan.submission(run)).await {
            Ok(started) => break started,
            Err(error) => world.note(&format!("not begun: {error}")),
        }
        tokio::time::sleep(LOOK).await;
    };
    world.note(&format!("{} is {}", run.cause, started.run));
    let before = world.ledger().begun.insert(run.cause.clone(), started.run);
    if before.is_some_and(|before| before != started.run) {
        world.accuse(format!("{} has begun two runs", run.cause));
    }
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
