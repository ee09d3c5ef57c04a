//! What stages at the end of a run are told of how it ends.

use serde_json::{Value, json};
use yuanli_flow::Command;
use yuanli_model::{AttemptOutcome, RunEvent};

use crate::support::{Story, attempt, failed, succeeded, workflow};

/// What the stage `tell` of `finally` is told when `a` and `b` end like this.
fn told(a: AttemptOutcome, b: AttemptOutcome, is_cancelled: bool) -> Value {
    let tell = "tell |finally = {'outcome': run.outcome, 'failed': run.failed, 'of': run.workflow}";
    let (mut story, _) = Story::begin(workflow(&["a", "b |allow", "c", tell]));
    if is_cancelled {
        story.tell(Command::Cancel { reason: "enough".to_owned() }).unwrap();
    }
    for (stage, outcome) in [("a", a), ("b", b), ("c", succeeded(json!({})))] {
        let outcome = if is_cancelled { AttemptOutcome::Cancelled } else { outcome };
        story.tell(Command::EndAttempt { attempt: attempt(stage), outcome }).unwrap();
    }
    let begun = story.events.iter().find_map(|event| match event {
        RunEvent::AttemptStarted { attempt, config } if attempt.stage.as_str() == "tell" => Some(config),
        _ => None,
    });
    begun.expect("it is begun, whatever happened")["value"].clone()
}

#[test]
fn how_a_run_ends_and_what_failed_is_known_where_it_ends() {
    let good = || succeeded(json!({}));
    let of = |outcome: &str, failed: &[&str]| json!({ "outcome": outcome, "failed": failed, "of": "w" });
    assert_eq!(told(good(), good(), false), of("succeeded", &[]));
    assert_eq!(told(failed(), good(), false), of("failed", &["a"]));
    // That one may fail.
    assert_eq!(told(good(), failed(), false), of("succeeded", &[]));
    assert_eq!(told(failed(), failed(), true), of("cancelled", &[]));
}

#[test]
fn a_stage_before_the_end_is_not_told() {
    let (story, words) = Story::begin(workflow(&["a = run.outcome"]));
    assert!(words.iter().any(|word| word.contains("a failed")), "{words:?}");
    assert!(story.run.outcome().is_some());
}
