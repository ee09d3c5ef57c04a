//! What a component does, whatever it is for.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jsonschema::Validator;
use yuanli_model::{Digest, Failure};
use yuanli_wasm::HostCall;

use crate::bench::{Bench, Ended, Variation};
use crate::case::Case;
use crate::expectation::in_words;
use crate::hostile;
use crate::report::Verdict;

/// How long an attempt has whose time is to run out: enough to begin in, also on a slow machine.
const SHORT: Duration = Duration::from_millis(300);
/// How long an attempt has with a hostile config, when its case does not give it less.
const HOSTILE: Duration = Duration::from_secs(30);
/// Failures of one check that are told.
const MAX_TOLD: usize = 5;

/// The ends that are the plugin's fault whatever its config is, by their kinds.
const FAULTS: [&str; 7] =
    ["trap", "memory-limit", "cpu-limit", "log-limit", "output-limit", "invalid-outputs", "timeout"];

/// A component and the case that it is tried with.
pub(crate) struct Subject<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) component: Digest,
    pub(crate) case: &'a Case,
    /// The folder of the case.
    pub(crate) beside: &'a Path,
}

impl Subject<'_> {
    async fn run(&self, case: &Case, variation: Variation) -> Result<Ended, String> {
        self.bench.run(self.component, case, self.beside, variation).await
    }

    /// It has what it needs: neither folders, environment nor sockets of WASI, which there are none of.
    pub(crate) async fn runs_without_wasi(&self) -> Verdict {
        match self.run(self.case, Variation::default()).await {
            Err(why) => Verdict::of(vec![why]),
            Ok(ended) => match fault(&ended) {
                None => Verdict::Passed,
                Some(why) => Verdict::Failed { differences: vec![why], log: ended.last_lines() },
            },
        }
    }

    /// It does the same with the same input: what a replay relies on.
    pub(crate) async fn does_the_same_twice(&self) -> Verdict {
        let once = self.run(self.case, Variation::default()).await;
        let again = self.run(self.case, Variation::default()).await;
        match (once, again) {
            (Ok(once), Ok(again)) => Verdict::of(between(&once, &again).into_iter().collect()),
            (Err(why), _) | (_, Err(why)) => Verdict::of(vec![why]),
        }
    }

    /// It does not trap, whatever its config has in it.
    pub(crate) async fn bears_hostile_config(&self, schema: &Validator) -> Verdict {
        let configs = match hostile::configs(&self.case.config, schema) {
            Ok(configs) if configs.is_empty() => {
                return Verdict::Skipped("its config has nothing in it that could be spoiled".to_owned());
            }
            Ok(configs) => configs,
            Err(why) => return Verdict::of(vec![why]),
        };
        let (mut differences, mut log) = (Vec::new(), Vec::new());
        for spoiled in configs {
            let case = Case { config: spoiled.config, cancel_at_call: None, ..self.case.clone() };
            let timeout = HOSTILE.min(Duration::from_millis(case.timeout_ms));
            let variation = Variation { timeout: Some(timeout), ..Variation::default() };
            let why = match self.run(&case, variation).await {
                Err(why) => why,
                Ok(ended) => {
                    let Some(why) = fault(&ended) else { continue };
                    log = ended.last_lines();
                    why
                }
            };
            differences.push(format!("with {}: {why}", spoiled.what));
            if differences.len() == MAX_TOLD {
                differences.push("and maybe with more: it is tried no further".to_owned());
                break;
            }
        }
        if differences.is_empty() { Verdict::Passed } else { Verdict::Failed { differences, log } }
    }

    /// It ends when it is cancelled, wherever that meets it, and leaves nothing behind.
    pub(crate) async fn ends_when_cancelled(&self) -> Verdict {
        let plain = match self.run(self.case, Variation::default()).await {
            Ok(ended) => ended,
            Err(why) => return Verdict::of(vec![why]),
        };
        let calls = plain.seen.count;
        let mut differences = Vec::new();
        for at in BTreeSet::from([0, 1, calls / 2, calls]) {
            let variation = Variation { cancel_at: Some(at), is_endless: true, ..Variation::default() };
            let ended = match self.run(self.case, variation).await {
                Ok(ended) => ended,
                Err(why) => {
                    differences.push(format!("cancelled at call {at}: {why}"));
                    continue;
                }
            };
            if let Some(why) = left(&ended) {
                differences.push(format!("cancelled at call {at}: {why}"));
            }
            if at == 0 && ended.outcome.is_ok() {
                differences.push("it ran although it was cancelled before it began".to_owned());
            }
        }
        Verdict::of(differences)
    }

    /// It ends when its time is over, also while it waits for a container, and leaves nothing behind.
    pub(crate) async fn ends_when_time_is_over(&self) -> Verdict {
        let variation = Variation { timeout: Some(SHORT), is_endless: true, ..Variation::default() };
        match self.run(self.case, variation).await {
            Ok(ended) => Verdict::of(left(&ended).into_iter().collect()),
            Err(why) => Verdict::of(vec![why]),
        }
    }
}

/// How two attempts differ with the same input; the first difference.
pub(crate) fn between(once: &Ended, again: &Ended) -> Option<String> {
    let why = "what a stage does must follow from its config and from what capabilities told it";
    for (index, (first, second)) in once.seen.calls.iter().zip(&again.seen.calls).enumerate() {
        if first != second {
            let (first, second) = (call(first), call(second));
            return Some(format!("call {} was `{first}`, and then `{second}`: {why}", index + 1));
        }
    }
    let counts = [&once.seen.calls, &again.seen.calls].map(Vec::len);
    if counts[0] != counts[1] {
        return Some(format!("it called the host {} times, and then {} times: {why}", counts[0], counts[1]));
    }
    let [first, second] = [&once.outcome, &again.outcome].map(|outcome| match outcome {
        Ok(outputs) => outputs.to_string(),
        Err(failure) => in_words(failure),
    });
    (once.outcome != again.outcome).then(|| format!("it gave {first}, and then {second}: {why}"))
}

fn call(call: &HostCall) -> String {
    let arguments: String = call.arguments.chars().take(200).collect();
    format!("{} {}{arguments}", call.interface, call.function)
}

/// What an attempt ended with that is the plugin's own fault.
fn fault(ended: &Ended) -> Option<String> {
    let is_fault = |failure: &&Failure| FAULTS.contains(&failure.kind.as_str());
    let failure = ended.outcome.as_ref().err().filter(is_fault);
    failure.map(in_words).or_else(|| left(ended))
}

fn left(ended: &Ended) -> Option<String> {
    let left = &ended.seen.left;
    (!left.is_empty()).then(|| format!("{} containers were left", left.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use yuanli_wasm::Class;

    use super::*;
    use crate::world::Seen;

    fn ended(outputs: Value, arguments: &[&str]) -> Ended {
        let call = |arguments: &&str| HostCall {
            interface: "yuanli:workspace/workspace@0.1.0",
            function: "write",
            class: Class::Effect,
            arguments: (*arguments).to_owned(),
        };
        let seen = Seen { calls: arguments.iter().map(call).collect(), ..Seen::default() };
        let workspace = std::path::PathBuf::new();
        let (artifacts, left) = (workspace.clone(), Default::default());
        Ended { outcome: Ok(outputs), lines: Vec::new(), seen, workspace, artifacts, left }
    }

    #[test]
    fn the_first_difference_of_two_attempts_is_told() {
        let check = |once: Ended, again: Ended, says: &str| match between(&once, &again) {
            None => assert_eq!(says, ""),
            Some(why) => assert!(!says.is_empty() && why.contains(says), "{why}"),
        };
        let one = || ended(json!({ "a": 1 }), &["(\"a\",)", "(\"b\",)"]);
        check(one(), one(), "");
        check(
            one(),
            ended(json!({ "a": 1 }), &["(\"a\",)", "(\"c\",)"]),
            "call 2 was `yuanli:workspace/workspace@0.1.0 write(\"b\",)`",
        );
        check(one(), ended(json!({ "a": 1 }), &["(\"a\",)"]), "called the host 2 times, and then 1 times");
        check(
            one(),
            ended(json!({ "a": 2 }), &["(\"a\",)", "(\"b\",)"]),
            "it gave {\"a\":1}, and then {\"a\":2}",
        );
    }
}
