//! Stages that are cached: what stands for them, what does not, and what is told of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use yuanli_executor::{Foreseen, Manner, Prospect, Retention, Submission, Update};
use yuanli_model::run::CacheFinding;
use yuanli_model::stage::Cache;
use yuanli_model::workflow::Settings;
use yuanli_model::{AttemptOutcome, Digest, Outcome, PluginReference, RunEvent, RunId, Stage, Template};
use yuanli_ports::Store as _;
use yuanli_ports::store::Range;

use crate::support::{Act, Bench, Then, end, outcome, soon, to_the_end};

/// The first byte of the keys of what is cached.
const CACHED: [u8; 1] = [26];

/// `source` and `notes` write a file each; `build`, which needs both, is cached, and `after` needs it.
fn acts(build: Act) -> [(&'static str, Act); 4] {
    [
        ("source", Act::Write("a.txt", "one")),
        ("notes", Act::Write("n.txt", "notes")),
        ("build", build),
        ("after", Act::Write("z.txt", "z")),
    ]
}

fn built() -> Act {
    Act::Write("out.txt", "built")
}

fn stage(name: &str, needs: &[&str]) -> Stage {
    let needs = needs.iter().map(|need| need.parse().unwrap()).collect();
    Stage::new(name.parse().unwrap(), PluginReference::Named("p".to_owned())).after(needs)
}

/// What counts for `build`.
struct Counts {
    config: Value,
    values: Value,
    component: &'static str,
    max_age: Option<Duration>,
}

impl Default for Counts {
    fn default() -> Self {
        let (config, values) = (json!({ "image": "alpine", "run": "make" }), json!({ "tag": 1 }));
        Self { config, values, component: "component", max_age: None }
    }
}

/// A map of texts, numbers and maps.
fn template(value: &Value) -> Template {
    let part = |value: &Value| match value {
        Value::String(text) => Template::Text(text.clone()),
        Value::Number(number) => Template::Number(number.clone()),
        nested => template(nested),
    };
    let entries = value.as_object().unwrap().iter();
    Template::Map(entries.map(|(key, value)| (key.clone(), part(value))).collect())
}

fn submission(bench: &Bench, counts: &Counts) -> Submission {
    let mut build = stage("build", &["source", "notes"]).with(template(&counts.config));
    build.cache = Some(Cache {
        files: vec!["a.*".to_owned()],
        values: Some(template(&counts.values)),
        max_age: counts.max_age,
    });
    let stages = vec![stage("source", &[]), stage("notes", &[]), build, stage("after", &["build"])];
    let mut submission = bench.submission_of("w", stages, Settings::default(), "cached");
    submission.definition.components[2] = Digest::of(counts.component.as_bytes());
    Submission { is_kept: true, ..submission }
}

async fn run_of(bench: &Bench, submission: Submission) -> (RunId, Vec<Update>) {
    bench.clock.pass(Duration::from_secs(1));
    let run = bench.executor.start(submission).await.unwrap().run;
    (run, soon(to_the_end(bench.executor.follow(run))).await.unwrap())
}

async fn run(bench: &Bench) -> (RunId, Vec<Update>) {
    run_of(bench, submission(bench, &Counts::default())).await
}

fn findings(updates: &[Update]) -> Vec<CacheFinding> {
    let finding = |update: &Update| match update {
        Update::Event(recorded) => match &recorded.event {
            RunEvent::CacheConsulted { finding, .. } => Some(finding.clone()),
            _ => None,
        },
        Update::Line { .. } => None,
    };
    updates.iter().filter_map(finding).collect()
}

fn files(updates: &[Update], stage: &str) -> Value {
    match end(updates, stage) {
        AttemptOutcome::Succeeded { outputs, .. } => outputs["files"].clone(),
        other => panic!("{stage}: {other:?}"),
    }
}

/// How often the plugin of `build` was called.
fn builds(bench: &Bench) -> usize {
    bench.plugins.called.borrow().iter().filter(|stage| *stage == "build").count()
}

async fn entries(bench: &Bench) -> usize {
    bench.store.scan(Range::prefix(&CACHED, 100)).await.unwrap().len()
}

#[tokio::test]
async fn what_an_earlier_run_gave_stands_for_a_stage_with_its_outputs_and_files() {
    let bench = Bench::new(&acts(built()));
    let (first, updates) = run(&bench).await;
    assert_eq!(findings(&updates), [CacheFinding::Nothing]);
    // It does not count, and what it leaves is there all the same.
    bench.plugins.does("notes", Act::Write("m.txt", "others"));
    let (second, updates) = run(&bench).await;
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    assert_eq!(findings(&updates), [CacheFinding::Hit { from: first }]);
    assert_eq!(builds(&bench), 1);
    assert_eq!(files(&updates, "build"), json!(["a.txt", "n.txt", "out.txt"]));
    assert_eq!(files(&updates, "after"), json!(["a.txt", "m.txt", "out.txt", "z.txt"]));
    // From an archived run, which has taken it over itself.
    bench.executor.tidy_history().await.unwrap();
    let (_, updates) = run(&bench).await;
    assert_eq!(findings(&updates), [CacheFinding::Hit { from: second }]);
    assert_eq!(builds(&bench), 1);
}

#[tokio::test]
async fn each_part_of_the_key_counts_and_is_named() {
    let bench = Bench::new(&acts(built()));
    run(&bench).await;
    let others = [
        (Counts { component: "other", ..Counts::default() }, "plugin"),
        (Counts { config: json!({ "image": "debian", "run": "make" }), ..Counts::default() }, "config.image"),
        (Counts { config: json!({ "run": "make" }), ..Counts::default() }, "config.image"),
        (Counts { values: json!({ "tag": 2 }), ..Counts::default() }, "values.tag"),
    ];
    for (number, (counts, expected)) in others.iter().enumerate() {
        // So that it is the latest.
        let (latest, _) = run(&bench).await;
        let (_, updates) = run_of(&bench, submission(&bench, counts)).await;
        let part = (*expected).to_owned();
        assert_eq!(findings(&updates), [CacheFinding::Differs { from: latest, part }]);
        assert_eq!(builds(&bench), number + 2);
    }
    let (latest, _) = run(&bench).await;
    bench.plugins.does("source", Act::Write("a.txt", "two"));
    let (_, updates) = run(&bench).await;
    let part = "files.a.txt".to_owned();
    assert_eq!(findings(&updates), [CacheFinding::Differs { from: latest, part }]);
    // What was before stands again.
    bench.plugins.does("source", Act::Write("a.txt", "one"));
    let (_, updates) = run(&bench).await;
    assert_eq!(findings(&updates), [CacheFinding::Hit { from: latest }]);
}

#[tokio::test]
async fn an_image_counts_by_what_its_name_stands_for_now() {
    let bench = Bench::new(&acts(built()));
    let stands_for = |id: Option<&str>| {
        bench.plugins.images.lock().unwrap().insert("tool:1".to_owned(), id.map(ToOwned::to_owned));
    };
    let differs = |from| [CacheFinding::Differs { from, part: "images.tool:1".to_owned() }];
    stands_for(Some("sha256:one"));
    let (first, _) = run(&bench).await;
    let (second, updates) = run(&bench).await;
    assert_eq!(findings(&updates), [CacheFinding::Hit { from: first }]);
    // Somebody gives the name to another image.
    stands_for(Some("sha256:two"));
    let (third, updates) = run(&bench).await;
    assert_eq!(findings(&updates), differs(second));
    // And takes it back: what was made with it stands again.
    stands_for(Some("sha256:one"));
    let (fourth, updates) = run(&bench).await;
    assert_eq!(findings(&updates), [CacheFinding::Hit { from: second }]);
    // It stands for nothing, so that nobody knows what is used.
    stands_for(None);
    let (_, updates) = run(&bench).await;
    assert_eq!(findings(&updates), differs(fourth));
    assert_eq!(builds(&bench), 3);
    stands_for(Some("sha256:two"));
    let (_, updates) = run(&bench).await;
    assert_eq!(findings(&updates), [CacheFinding::Hit { from: third }]);
}

#[tokio::test]
async fn what_would_be_found_is_known_before_a_run_as_far_as_what_counts_is() {
    let bench = Bench::new(&acts(built()));
    let tool =
        |id: &str| bench.plugins.images.lock().unwrap().insert("tool:1".to_owned(), Some(id.to_owned()));
    let foreseen = async |config: &Value, open: &[&str]| {
        let prospect = Prospect {
            stage: "build".parse().unwrap(),
            component: Digest::of(b"component"),
            config: config.clone(),
            values: Counts::default().values,
            open: open.iter().map(|part| (*part).to_owned()).collect(),
            cache: Cache::default(),
        };
        bench.executor.foresee(&"w".parse().unwrap(), &prospect).await.unwrap()
    };
    let differs = |from, part: &str| Foreseen::Finding(CacheFinding::Differs { from, part: part.to_owned() });
    tool("sha256:one");
    let (same, other) = (Counts::default().config, json!({ "image": "debian", "run": "make" }));
    assert_eq!(foreseen(&same, &["files"]).await, Foreseen::Finding(CacheFinding::Nothing));
    let (from, _) = run(&bench).await;
    let open = |parts: &[&str]| Foreseen::Open {
        from,
        parts: parts.iter().map(|part| (*part).to_owned()).collect(),
    };
    assert_eq!(foreseen(&same, &["files"]).await, open(&["files"]));
    assert_eq!(foreseen(&same, &[]).await, differs(from, "files.a.txt"));
    assert_eq!(foreseen(&other, &["files"]).await, differs(from, "config.image"));
    assert_eq!(foreseen(&other, &["config.image", "files"]).await, open(&["config.image", "files"]));
    tool("sha256:two");
    assert_eq!(foreseen(&same, &["files"]).await, differs(from, "images.tool:1"));
}

#[tokio::test]
async fn the_order_of_a_config_does_not_count() {
    let bench = Bench::new(&acts(built()));
    let config = json!({ "image": "alpine", "env": { "a": 1, "b": 2 } });
    let (first, _) = run_of(&bench, submission(&bench, &Counts { config, ..Counts::default() })).await;
    let config = json!({ "env": { "b": 2, "a": 1 }, "image": "alpine" });
    let (_, updates) = run_of(&bench, submission(&bench, &Counts { config, ..Counts::default() })).await;
    assert_eq!(findings(&updates), [CacheFinding::Hit { from: first }]);
}

#[tokio::test]
async fn age_counts_from_when_it_was_made_however_often_it_was_used() {
    let bench = Bench::new(&acts(built()));
    let aged = || submission(&bench, &Counts { max_age: Some(Duration::from_secs(60)), ..Counts::default() });
    run_of(&bench, aged()).await;
    bench.clock.pass(Duration::from_secs(40));
    let (second, updates) = run_of(&bench, aged()).await;
    assert!(matches!(*findings(&updates), [CacheFinding::Hit { .. }]));
    bench.clock.pass(Duration::from_secs(40));
    let (_, updates) = run_of(&bench, aged()).await;
    assert_eq!(findings(&updates), [CacheFinding::TooOld { from: second }]);
    assert_eq!(builds(&bench), 2);
}

#[tokio::test]
async fn a_failure_is_never_cached() {
    let bench = Bench::new(&acts(Act::Fail));
    run(&bench).await;
    assert_eq!(entries(&bench).await, 0);
    bench.plugins.does("build", built());
    let (_, updates) = run(&bench).await;
    assert_eq!(findings(&updates), [CacheFinding::Nothing]);
}

#[tokio::test]
async fn what_is_not_whole_any_more_does_not_stand() {
    let bench = Bench::new(&acts(built()));
    let (first, _) = run(&bench).await;
    std::fs::remove_dir_all(bench.folder.path().join("work").join(first.to_string())).unwrap();
    let (_, updates) = run(&bench).await;
    assert_eq!(findings(&updates), [CacheFinding::Gone { from: first }]);
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    assert_eq!(builds(&bench), 2);
    let (_, updates) = run(&bench).await;
    assert!(matches!(*findings(&updates), [CacheFinding::Hit { .. }]));
}

#[tokio::test]
async fn a_run_may_ask_for_none_and_renews_what_is_kept() {
    let bench = Bench::new(&acts(built()));
    run(&bench).await;
    let bypassing = Submission {
        manner: Manner { bypasses_cache: true, ..Manner::default() },
        ..submission(&bench, &Counts::default())
    };
    let (second, updates) = run_of(&bench, bypassing).await;
    assert_eq!(findings(&updates), []);
    assert_eq!(builds(&bench), 2);
    let (_, updates) = run(&bench).await;
    assert_eq!(findings(&updates), [CacheFinding::Hit { from: second }]);
}

#[tokio::test]
async fn entries_go_with_their_runs() {
    let bench = Bench::new(&acts(built()));
    run(&bench).await;
    assert_eq!(entries(&bench).await, 1);
    let retention = Retention { runs: Some(0), ..Retention::forever() };
    let next = Bench::keeping_beside(&bench, retention);
    next.executor.tidy_history().await.unwrap();
    assert_eq!(entries(&next).await, 0);
}

#[tokio::test]
async fn artifacts_are_taken_over_once_also_after_a_crash_before_the_end() {
    let bench = Bench::new(&acts(Act::Keep(Then::End)));
    let (first, _) = run(&bench).await;
    let own = |run| {
        let records = bench.executor.records().clone();
        async move {
            let found = records.artifacts_of(run).await.unwrap();
            let name =
                |found: yuanli_ports::records::Artifact| format!("{}/{}", found.stage, found.content.name);
            found.into_iter().map(name).collect::<Vec<_>>()
        }
    };
    let expected = own(first).await;
    assert!(!expected.is_empty());
    // Where every commit may be the last one.
    let mut crashes = 0;
    for most in 1.. {
        let engine = Bench::beside(&bench, &acts(Act::Keep(Then::End)));
        engine.clock.pass(Duration::from_secs(100 * most));
        let started = engine.executor.start(submission(&engine, &Counts::default())).await.unwrap().run;
        engine.store.most.store(engine.store.commits.load(Ordering::SeqCst) + most, Ordering::SeqCst);
        let crashed = soon(async {
            loop {
                if !engine.executor.is_driving(started) {
                    return engine
                        .executor
                        .history()
                        .summary(started)
                        .await
                        .unwrap()
                        .unwrap()
                        .ended
                        .is_none();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        engine.store.most.store(0, Ordering::SeqCst);
        if !crashed {
            break;
        }
        crashes += 1;
        engine.executor.suspend().await;
        let next = Bench::beside(&bench, &acts(Act::Keep(Then::End)));
        next.clock.pass(Duration::from_secs(100 * most + 50));
        let definition = submission(&next, &Counts::default()).definition;
        next.executor.resume(started, definition, std::sync::Arc::default()).await.unwrap();
        let updates = soon(to_the_end(next.executor.follow(started))).await.unwrap();
        assert_eq!(outcome(&updates), Outcome::Succeeded);
        assert!(matches!(*findings(&updates), [CacheFinding::Hit { .. }]), "{most}");
        assert_eq!(own(started).await, expected, "{most}");
        assert_eq!(next.executor.check(false).await.unwrap().findings, Vec::<String>::new());
        assert_eq!(builds(&engine) + builds(&next), 0, "{most}");
    }
    assert!(crashes >= 2);
}
