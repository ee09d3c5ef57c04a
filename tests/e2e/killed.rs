//! The engine is killed again and again at moments that follow from a seed, and once in a while one of its containers: the real
//! binary, real Docker, looked at from outside. What was acknowledged is there once, each container was started once, every
//! line is there once, nothing is left.
//!
//! `YUANLI_SEED=7` repeats the moments, as far as a machine can; `YUANLI_SOAK` kills for longer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::served::Served;
use crate::support::{Ended, docker, wait_until};

/// How often the engine is killed, and in a soak.
const KILLS: usize = 12;
const SOAK_KILLS: usize = 300;
/// Runs that are asked for meanwhile; further ones when these have ended.
const RUNS: usize = 3;
/// Most milliseconds that an engine lives.
const LIFE_MS: u64 = 1_500;
/// Lines that each container writes.
const LINES: usize = 30;

/// Random numbers that follow from a seed (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The one that is given, or another one each time.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("YUANLI_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1)
}

/// Files, parallel containers, an image, a container that may be killed and is tried again, and what needs all of them.
fn workflow() -> String {
    let image = docker::IMAGE;
    let count = |word: &str| {
        format!(
            "echo {word} >> {word}-marks; i=0; while [ $i -lt {LINES} ]; do echo {word} $i; i=$((i+1)); busybox usleep 40000; done"
        )
    };
    let step = |name: &str, more: &str, script: &str| {
        let command = Value::from(script);
        format!(
            "  {name}:\n{more}    uses: command\n    with: {{ image: {image}, command: [/bin/sh, -c, {command}] }}\n"
        )
    };
    format!(
        "name: loop\nstages:\n{}{}{}{}{}",
        step("one", "", &count("one")),
        step("two", "    needs: one\n", &count("two")),
        step("beside", "    needs: one\n", &count("beside")),
        step("mortal", "    retry: { attempts: 20, backoff: 100ms }\n", &count("mortal")),
        step("show", "    needs: [two, beside, mortal]\n", "busybox cat one-marks two-marks beside-marks"),
    )
}

fn lines(served: &Served, run: &str, stage: &str) -> Vec<(u64, String)> {
    let told = served.yuanli(&["runs", "logs", run, "--stage", stage, "--json"]).expect(0, &[]).lines();
    let of_stream = told.iter().filter(|line| line["stream"] == "stdout");
    of_stream
        .map(|line| (line["attempt"].as_u64().unwrap(), line["text"].as_str().unwrap().to_owned()))
        .collect()
}

/// The run of a key.
fn trigger(served: &Served, key: &str) -> String {
    served.yuanli(&["trigger", "loop", "--key", key]).expect(0, &[]).out.trim().to_owned()
}

fn is_over(served: &Served, run: &str) -> bool {
    let told = served.yuanli(&["runs", "show", run, "--json"]);
    let shown: Value = serde_json::from_str(&told.out).unwrap_or_default();
    told.code == 0 && shown["status"] != "running"
}

/// Kills a container of the engine that may be killed, if one runs.
fn kill_mortal(engine: &str) -> bool {
    let filters = [format!("label=yuanli.engine={engine}"), "label=yuanli.stage=mortal".to_owned()];
    let running = docker::run(&["ps", "-q", "--filter", &filters[0], "--filter", &filters[1]]);
    // It may be gone by now.
    running.lines().next().is_some_and(|id| {
        std::process::Command::new("docker").args(["kill", id]).output().unwrap().status.success()
    })
}

#[test]
#[allow(clippy::disallowed_methods, reason = "other processes live by the real clock")]
fn whoever_is_killed_at_random_goes_on_and_does_nothing_twice() {
    let seed = seed();
    eprintln!("YUANLI_SEED={seed} repeats it");
    let mut random = Random(seed.max(1));
    let kills = if std::env::var_os("YUANLI_SOAK").is_some() { SOAK_KILLS } else { KILLS };
    docker::make_image();
    let mut served = Served::without_image();
    served.apply("loop.yaml", &workflow());
    let engine = served.place.engine();
    let (mut keys, mut acknowledged, mut containers_killed) = (Vec::new(), BTreeMap::new(), 0);
    for kill in 0..kills {
        let wanted = RUNS * (1 + kill / KILLS);
        let asking = (keys.len() < wanted).then(|| {
            keys.push(format!("key-{}", keys.len()));
            let key = keys.last().unwrap();
            (key.clone(), served.place.start(&["trigger", "loop", "--key", key]))
        });
        let life = Duration::from_millis(random.below(LIFE_MS));
        if random.below(3) == 0 {
            std::thread::sleep(life / 2);
            containers_killed += usize::from(kill_mortal(&engine));
            std::thread::sleep(life / 2);
        } else {
            std::thread::sleep(life);
        }
        served.kill();
        if let Some((key, child)) = asking {
            let told = Ended::of(child.wait_with_output().unwrap());
            // Whoever got no answer asks again below.
            if told.code == 0 {
                acknowledged.insert(key, told.out.trim().to_owned());
            }
        }
        served.start();
    }
    eprintln!(
        "{} runs, {} of them acknowledged; {kills} engines and {containers_killed} containers killed",
        keys.len(),
        acknowledged.len()
    );
    for key in &keys {
        let run = trigger(&served, key);
        assert!(acknowledged.get(key).is_none_or(|known| *known == run), "of one key there is one run");
        wait_until(&format!("run {run} has ended"), || is_over(&served, &run));
        check_run(&served, &run);
    }
    let listed = served.place.json(&["runs", "list", "--limit", "1000"]);
    assert_eq!(
        listed["items"].as_array().unwrap().len(),
        acknowledged.len(),
        "none was started twice: {listed}"
    );
    wait_until("containers are removed", || docker::left(&engine).is_empty());
    served.stop();
    assert_eq!(served.place.json(&["admin", "check"])["findings"], json!([]));
}

/// Each container was started once for each attempt, and each line is there once.
fn check_run(served: &Served, run: &str) {
    let shown = served.place.json(&["runs", "show", run]);
    assert_eq!(shown["status"], "succeeded", "{shown}");
    let numbered = |word: &str| (0..LINES).map(|number| format!("{word} {number}")).collect::<Vec<_>>();
    for word in ["one", "two", "beside"] {
        let told: Vec<String> = lines(served, run, word).into_iter().map(|(_, text)| text).collect();
        assert_eq!(
            told,
            numbered(word),
            "run {run}: a crash of the engine is no attempt, each line is there once"
        );
    }
    let mortal = lines(served, run, "mortal");
    let attempts =
        shown["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == "mortal").unwrap();
    let last = attempts["attempts"].as_array().unwrap().len() as u64;
    for attempt in 1..=last {
        let of_attempt = mortal.iter().filter(|(of, _)| *of == attempt).map(|(_, text)| text.clone());
        let told: Vec<String> = of_attempt.collect();
        // One that was killed said a beginning of it.
        let expect = numbered("mortal");
        assert_eq!(told, expect[..told.len().min(LINES)], "run {run}, attempt {attempt}");
        assert!(attempt < last || told.len() == LINES, "run {run}: the last attempt is whole: {told:?}");
    }
    let marks: Vec<String> = lines(served, run, "show").into_iter().map(|(_, text)| text).collect();
    assert_eq!(marks, ["one", "two", "beside"], "run {run}: no container was started twice");
}
