//! What is stored of runs.

use yuanli_model::{Digest, Outcome};

use crate::support::{Act, Bench};

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages() {
    let bench = Bench::new(&[("bad", Act::Fail)]);
    let mut runs = Vec::new();
    for stage in ["a", "bad", "b"] {
        runs.push(bench.run(&[stage]).await.0);
    }
    let history = bench.executor.history();
    let first = history.list(None, 2).await.unwrap();
    assert_eq!(first.iter().map(|run| run.id).collect::<Vec<_>>(), [runs[2], runs[1]]);
    assert_eq!(first[1].ended.unwrap().1, Outcome::Failed);
    let rest = history.list(Some(runs[1]), 2).await.unwrap();
    assert_eq!(rest.iter().map(|run| run.id).collect::<Vec<_>>(), [runs[0]]);
}

#[tokio::test]
async fn a_run_is_found_by_the_beginning_of_its_id() {
    let bench = Bench::new(&[]);
    let runs = [bench.run(&["a"]).await.0, bench.run(&["a"]).await.0];
    let history = bench.executor.history();
    assert_eq!(history.find(&runs[1].to_string()).await.unwrap(), [runs[1]]);
    assert_eq!(history.find(&runs[1].to_string()[..10]).await.unwrap(), [runs[1]]);
    assert_eq!(history.find("0").await.unwrap(), runs);
    assert_eq!(history.find("").await.unwrap(), runs);
    assert_eq!(history.find("7").await.unwrap(), []);
    assert_eq!(history.find("no id").await.unwrap(), []);
}

#[tokio::test]
async fn the_state_and_the_text_of_a_run_are_read_again() {
    let bench = Bench::new(&[]);
    let (id, _) = bench.run(&["a", "b: a"]).await;
    let history = bench.executor.history();
    let (run, events) = history.run(id).await.unwrap().unwrap();
    assert_eq!((run.outcome(), events.len()), (Some(Outcome::Succeeded), 6));
    let text = history.workflow(&Digest::of(b"a\nb: a")).await.unwrap();
    assert_eq!(text.as_deref(), Some("a\nb: a"));
}
