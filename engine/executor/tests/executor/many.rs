//! A stage that has very many instances, whose list another stage gives.

use serde_json::{Value, json};
use yuanli_executor::Update;
use yuanli_model::stage::FanOut;
use yuanli_model::workflow::Settings;
use yuanli_model::{Expression, Outcome, PluginReference, RunEvent, Stage, Template};

use crate::support::{Act, Bench, outcome, soon, to_the_end};

/// As many as a nightly job over all customers has.
const MANY: usize = 10_000;
/// What the process may grow by for each instance, in KiB: its events, its config, its outputs, and what they are kept in. A run
/// that held a task, a folder or a copy of the list for each of them would take many times as much.
const MOST_KIB_EACH: usize = 24;

fn stage(name: &str) -> Stage {
    Stage::new(name.parse().unwrap(), PluginReference::Named("p".to_owned()))
        .with(Template::Map([].into_iter().collect()))
}

/// The memory of this process, in KiB.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_list_of_ten_thousand_items_that_a_stage_gives_is_gone_through() {
    let items: Vec<Value> = (0..MANY).map(|number| json!(number)).collect();
    let bench = Bench::new(&[("list", Act::Give(json!({ "items": items })))]);
    let before = resident_kib();
    let each = Template::Expression(Expression::new("stages.list.outputs.items"));
    let config = Template::Map(
        [("n".to_owned(), Template::Expression(Expression::new("item")))].into_iter().collect(),
    );
    let each = Stage { fan_out: Some(FanOut::ForEach(each)), ..stage("each").with(config) }
        .after(vec!["list".parse().unwrap()]);
    let after = stage("after").after(vec!["each".parse().unwrap()]);
    let submission = bench.submission_of("w", vec![stage("list"), each, after], Settings::default(), "many");
    let run = bench.executor.start(submission).await.unwrap().run;
    // Nobody watches while it goes on.
    soon(bench.executor.close()).await;
    let grown = resident_kib().saturating_sub(before);
    let updates = soon(to_the_end(bench.executor.follow(run))).await.unwrap();
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    let begun = updates.iter().filter(|update| match update {
        Update::Event(recorded) => match &recorded.event {
            RunEvent::AttemptStarted { attempt, config } if attempt.stage.as_str() == "each" => {
                assert_eq!(config["n"], json!(attempt.instance), "each has its own item");
                true
            }
            _ => false,
        },
        Update::Line { .. } => false,
    });
    assert_eq!(begun.count(), MANY);
    let (state, _) = bench.executor.history().run(run).await.unwrap().unwrap();
    assert_eq!(state.outputs(1).and_then(Value::as_array).map(Vec::len), Some(MANY));
    assert!(grown < MANY * MOST_KIB_EACH, "{grown} KiB for {MANY} instances");
    println!(
        "{MANY} instances: {} commits, {grown} KiB",
        bench.store.commits.load(std::sync::atomic::Ordering::SeqCst)
    );
}
