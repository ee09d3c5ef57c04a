//! Seeds, one after the other on each processor: `YUANLI_SEED=7` runs one, `YUANLI_SOAK_SECONDS=600` as many as there is time for.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use yuanli_simulator::{Report, simulate};

/// How many seeds there are without anything said.
const SEEDS: u64 = 2_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn tell(seed: u64, report: &Report) -> String {
    let Report { problems, lives, .. } = report;
    let problems = problems.iter().map(|problem| format!("  {problem}\n")).collect::<String>();
    format!(
        "seed {seed}, after {lives} lives of the engine:\n{problems}repeat it with: YUANLI_SEED={seed} cargo test -p yuanli-simulator --test simulator\n"
    )
}

#[test]
fn whatever_happens_to_the_engine_its_runs_end_as_they_should() {
    if let Some(seed) = variable("YUANLI_SEED") {
        let report = simulate(seed);
        report.lines.iter().for_each(|line| println!("{line}"));
        assert!(report.problems.is_empty(), "{}", tell(seed, &report));
        return;
    }
    let began = tokio::time::Instant::now();
    let first = variable("YUANLI_FIRST_SEED").unwrap_or(0);
    let seconds = variable("YUANLI_SOAK_SECONDS").map(Duration::from_secs);
    let (next, attempts, lives) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let [interrupted, hits, retries, evictions] = [(); 4].map(|()| AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    let goes_on = |seed: u64| match seconds {
        Some(seconds) => began.elapsed() < seconds,
        None => seed < first + SEEDS,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let has_failed = !failed.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
                    if !goes_on(seed) || has_failed {
                        return;
                    }
                    let report = simulate(seed);
                    attempts.fetch_add(report.attempts, Ordering::Relaxed);
                    lives.fetch_add(report.lives, Ordering::Relaxed);
                    interrupted.fetch_add(report.interrupted, Ordering::Relaxed);
                    hits.fetch_add(report.hits, Ordering::Relaxed);
                    retries.fetch_add(report.retries, Ordering::Relaxed);
                    evictions.fetch_add(report.evictions, Ordering::Relaxed);
                    if !report.problems.is_empty() {
                        let told = tell(seed, &report);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push((seed, told));
                    }
                }
            });
        }
    });
    let [seeds, attempts, lives, interrupted, hits, retries, evictions] =
        [next, attempts, lives, interrupted, hits, retries, evictions]
            .map(|counter| counter.load(Ordering::Relaxed));
    println!(
        "{} seeds, {lives} lives, {attempts} attempts, {interrupted} interrupted, {hits} taken from earlier ones, \
         {retries} runs that take over, {evictions} evictions, {:.1} s",
        seeds - first,
        began.elapsed().as_secs_f64()
    );
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort();
    let told = failed.into_iter().map(|(_, told)| told).collect::<String>();
    assert!(told.is_empty(), "{told}");
    assert!(seconds.is_some() || lives > 2 * SEEDS && attempts > SEEDS, "{lives} lives, {attempts} attempts");
}

#[test]
fn a_seed_gives_the_same_each_time() {
    for seed in 0..60 {
        let first = simulate(seed);
        let second = simulate(seed);
        let differs = first.lines.iter().zip(&second.lines).position(|(one, other)| one != other);
        let around = differs.map(|at| (&first.lines[at], &second.lines[at]));
        assert_eq!(first.trace, second.trace, "seed {seed} goes another way at {around:?}");
    }
}
