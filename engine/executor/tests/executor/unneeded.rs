//! Large values of runs and the texts of their workflows: kept once, for as long as a run needs them.

use serde_json::{Value, json};
use yuanli_executor::Retention;
use yuanli_model::{AttemptOutcome, Digest, Outcome, RunEvent, RunId};
use yuanli_ports::store::StoreError;
use yuanli_ports::{Archive, Blobs, Store};
use yuanli_store::{FileBlobs, disk};

use crate::support::{Act, Bench, end, failure, outcome};

/// Outputs of about so many bytes, which are the same for the same name.
fn large(name: &str, bytes: usize) -> Value {
    json!({ "text": format!("{name} ").repeat(bytes / (name.len() + 1)) })
}

fn blobs(bench: &Bench) -> FileBlobs {
    FileBlobs::open(&bench.folder.path().join("blobs"), std::sync::Arc::new(disk::Local)).unwrap()
}

async fn count(bench: &Bench) -> usize {
    blobs(bench).list().await.unwrap().len()
}

async fn outputs(bench: &Bench, run: RunId, stage: &str) -> Value {
    let events = bench.executor.history().events(run, 0).await.unwrap();
    let ended =
        events.into_iter().find_map(|recorded| match recorded.event {
            RunEvent::AttemptEnded {
                attempt, outcome: AttemptOutcome::Succeeded { outputs, .. }, ..
            } if attempt.stage.as_str() == stage => Some(outputs),
            _ => None,
        });
    ended.expect("it succeeded")
}

/// What `check` finds.
async fn findings(bench: &Bench) -> Vec<String> {
    bench.executor.check(false).await.unwrap().findings
}

#[tokio::test]
async fn long_outputs_are_beside_the_store_and_read_as_if_they_were_in_it() {
    let long = large("long", 100_000);
    let bench = Bench::new(&[("a", Act::Give(long.clone())), ("c", Act::Give(long.clone()))]);
    // The config of `b` is as long, the outputs of `c` are those of `a`.
    let (run, updates) = bench.run(&["a", "b: a = stages.a.outputs.text", "c: b"]).await;
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    assert!(matches!(end(&updates, "a"), AttemptOutcome::Succeeded { outputs, .. } if *outputs == long));
    assert_eq!(count(&bench).await, 2, "the outputs of two stages, and a config");
    let rows = bench.store.scan(yuanli_ports::store::Range::prefix(&[], 1000)).await.unwrap();
    assert!(rows.iter().all(|(_, entry)| entry.value.len() < 1000), "nothing long is in the store");
    let before = bench.executor.history().events(run, 0).await.unwrap();
    assert_eq!(findings(&bench).await, [""; 0]);
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(bench.executor.history().events(run, 0).await.unwrap(), before);
    assert_eq!(outputs(&bench, run, "c").await, long);
    assert_eq!(findings(&bench).await, [""; 0]);
}

#[tokio::test]
async fn a_blob_goes_with_the_last_run_that_needs_it() {
    let acts = [("a", Act::Give(large("shared", 20_000))), ("b", Act::Give(large("own", 20_000)))];
    let bench = Bench::keeping(&acts, Retention { runs: Some(1), ..Retention::forever() });
    let (first, _) = bench.run(&["a", "b"]).await;
    let (second, _) = bench.run(&["a"]).await;
    assert_eq!(count(&bench).await, 2);
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(bench.executor.history().summary(first).await.unwrap(), None);
    assert_eq!(count(&bench).await, 1, "the second needs what both had");
    assert_eq!(outputs(&bench, second, "a").await, large("shared", 20_000));
    bench.run(&["other"]).await;
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(count(&bench).await, 0);
    assert_eq!(findings(&bench).await, [""; 0]);
}

#[tokio::test]
async fn what_a_commit_that_failed_has_left_is_removed_later() {
    let bench = Bench::new(&[("a", Act::Wait), ("b", Act::Give(large("lost", 20_000)))]);
    let run = bench.start(&["a", "b: a"]).await.unwrap();
    bench.called(1).await;
    *bench.store.failure.lock().unwrap() = Some(StoreError::Refused("it is too large".to_owned()));
    bench.plugins.is_gate_open.send_replace(true);
    bench.executor.close().await;
    *bench.store.failure.lock().unwrap() = None;
    let left = blobs(&bench);
    left.keep(vec![b'x'; 20_000].into()).await.unwrap();
    assert_eq!(findings(&bench).await.len(), 1, "nobody needs it");
    bench.executor.interrupt(run).await.unwrap();
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(count(&bench).await, 0);
    assert_eq!(findings(&bench).await, [""; 0]);
}

#[tokio::test]
async fn what_a_commit_names_of_which_nobody_knows_stays_until_the_engine_ends() {
    let bench = Bench::new(&[("a", Act::Give(large("unsure", 20_000)))]);
    bench.start(&["a"]).await.unwrap();
    *bench.store.failure.lock().unwrap() = Some(StoreError::Closed);
    bench.called(1).await;
    bench.executor.close().await;
    *bench.store.failure.lock().unwrap() = None;
    bench.executor.tidy_history().await.unwrap();
    let left = blobs(&bench).list().await.unwrap();
    assert_eq!(left.len(), 1, "the next start may find the commit, and needs what it names");
    assert!(blobs(&bench).condemn(left[0].digest), "the next engine can remove it");
}

#[tokio::test]
async fn a_run_whose_large_value_is_damaged_is_found_and_no_other() {
    let bench = Bench::new(&[("a", Act::Give(large("a", 20_000)))]);
    let (bad, _) = bench.run(&["a"]).await;
    let (good, _) = bench.run(&["b"]).await;
    let blob = blobs(&bench).list().await.unwrap()[0].digest;
    let file = bench.folder.path().join("blobs").join(format!("{}.zst", blob.hex()));
    std::fs::write(&file, b"something else").unwrap();
    let error = bench.executor.history().events(bad, 0).await.unwrap_err();
    assert!(error.to_string().contains(&blob.hex()), "{error}");
    let found = findings(&bench).await;
    assert!(!found.is_empty() && found.iter().all(|f| f.contains(&bad.to_string())), "{found:?}");
    assert!(bench.executor.history().run(good).await.unwrap().is_some());
}

#[tokio::test]
async fn a_run_too_long_for_a_record_goes_to_the_archive_in_parts() {
    // A message that cannot be packed away, in the events of many stages.
    let long: String =
        (0..7_000_u32).map(|number| format!("{:x}", number.wrapping_mul(2_654_435_761))).collect();
    let names: Vec<String> = (0..120).map(|number| format!("s{number}")).collect();
    let act = Act::Refuse(long.clone());
    let acts: Vec<(&str, Act)> = names.iter().map(|name| (name.as_str(), act.clone())).collect();
    let bench = Bench::keeping(&acts, Retention { runs: Some(1), ..Retention::forever() });
    let lines: Vec<&str> = names.iter().map(String::as_str).collect();
    let (run, updates) = bench.run(&lines).await;
    assert_eq!(failure(&updates, "s7").message, long);
    let before = bench.executor.history().events(run, 0).await.unwrap();
    bench.executor.tidy_history().await.unwrap();
    assert!(bench.store.scan(yuanli_ports::store::Range::prefix(&[3], 10)).await.unwrap().is_empty());
    assert!(bench.archive.segments().await.unwrap()[0].bytes < 10_000);
    assert_eq!(bench.executor.history().events(run, 0).await.unwrap(), before);
    assert_eq!(findings(&bench).await, [""; 0]);
    bench.run(&["other"]).await;
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(count(&bench).await, 0);
}

#[tokio::test]
async fn the_text_of_a_workflow_goes_with_the_last_run_of_it() {
    let bench = Bench::keeping(&[("w", Act::Wait)], Retention { runs: Some(1), ..Retention::forever() });
    let [old, new, open] = ["old", "new", "w"].map(|text| Digest::of(text.as_bytes()));
    bench.run(&["old"]).await;
    bench.run(&["old"]).await;
    let history = bench.executor.history();
    bench.executor.tidy_history().await.unwrap();
    assert!(history.workflow(&old).await.unwrap().is_some(), "one run of it is left");
    let active = bench.start(&["w"]).await.unwrap();
    bench.run(&["new"]).await;
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(history.workflow(&old).await.unwrap(), None);
    assert!(history.workflow(&new).await.unwrap().is_some());
    assert!(history.workflow(&open).await.unwrap().is_some(), "run {active} goes on");
    assert_eq!(findings(&bench).await, [""; 0]);
    // It is stored again with the next run, also by an engine that had stored it.
    let (again, _) = bench.run(&["old"]).await;
    bench.executor.tidy_history().await.unwrap();
    assert!(history.workflow(&old).await.unwrap().is_some());
    assert!(history.summary(again).await.unwrap().is_some());
    assert_eq!(findings(&bench).await, [""; 0]);
}

#[tokio::test]
async fn uses_of_texts_that_were_not_counted_are_counted() {
    let bench = Bench::new(&[]);
    bench.run(&["a"]).await;
    bench.executor.tidy_history().await.unwrap();
    let uses = bench.store.scan(yuanli_ports::store::Range::prefix(&[13], 10)).await.unwrap();
    assert_eq!(uses.len(), 1);
    // As an engine has left it that did not count.
    let mut batch = yuanli_ports::store::Batch::default();
    batch.delete(uses[0].0.clone());
    bench.store.commit(batch).await.unwrap();
    assert_eq!(findings(&bench).await.len(), 1);
    bench.executor.tidy_history().await.unwrap();
    assert!(bench.executor.history().workflow(&Digest::of(b"a")).await.unwrap().is_some());
    assert_eq!(findings(&bench).await, [""; 0]);
}
