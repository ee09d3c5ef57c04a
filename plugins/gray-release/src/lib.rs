//! `gray-release`: gives a new version of an app a growing part of the traffic, and promotes it or turns it back.

use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::{self, Map, Value};

struct Gray;

/// What to release, and how.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The app in its new version, as a document of one declares it: `app`, `image`, `port` and so on.
    app: Map<String, Value>,
    /// The steps, in order; after the last it is promoted.
    #[schemars(length(min = 1, max = 100))]
    steps: Vec<Step>,
    /// Whether errors and slow answers are judged, and the release is turned back when it is worse. Default true.
    #[serde(default = "yes")]
    analysis: bool,
}

/// A part of the traffic for a while.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Step {
    /// The new release's part of the requests, in percent.
    #[schemars(range(max = 100))]
    weight: u32,
    /// How long at most; the judge may be sure before.
    duration: Timespan,
}

/// How it ended: a release that is turned back fails the stage.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// The app's name.
    app: String,
    /// The number of the release that serves everything now.
    release: u32,
    /// Why it was promoted.
    reason: String,
    /// The judge's numbers.
    evidence: Value,
}

const fn yes() -> bool {
    true
}

impl Stage for Gray {
    const NAME: &str = "gray-release";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Releases a new version of an app gradually, and turns it back when it is worse";
    const CAPABILITIES: &[(&str, &str)] = &[("traffic", "to shift the traffic")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let document = Value::Object(config.app);
        let app = document.get("app").and_then(Value::as_str).unwrap_or_default().to_owned();
        let step =
            |step: &Step| traffic::Step { weight: step.weight, duration_ms: step.duration.as_millis() };
        let plan = traffic::Plan {
            steps: config.steps.iter().map(step).collect(),
            analysis: config.analysis,
            options: Vec::new(),
        };
        let gray = traffic::begin(&document, &plan)?;
        while let Some(happening) = gray.next()? {
            log::write(
                if happening.end.as_ref().is_some_and(|end| !end.promoted) {
                    log::Level::Warn
                } else {
                    log::Level::Info
                },
                &happening.message,
                &[("weight", &happening.weight.to_string())],
            );
            if let Some(verdict) = happening.end {
                return conclude(app, gray.release(), verdict);
            }
        }
        Err(Failure::transient("unavailable", "the engine stopped telling what happens to the release"))
    }
}

fn conclude(app: String, release: u32, verdict: traffic::Verdict) -> Result<Outputs, Failure> {
    if !verdict.promoted {
        let message = format!("release #{release} of `{app}` was turned back: {}", verdict.reason);
        return Err(Failure::permanent("turned-back", message)
            .with("release", release.to_string())
            .with("evidence", verdict.evidence));
    }
    let evidence = serde_json::from_str(&verdict.evidence).unwrap_or(Value::Null);
    Ok(Outputs { app, release, reason: verdict.reason, evidence })
}

yuanli_sdk::export!(Gray);

#[cfg(test)]
mod tests {
    use yuanli_sdk::mock::{Answers, GrayRelease, Mock};
    use yuanli_sdk::serde_json::json;

    use super::*;

    /// Begins release 7, which ends like this.
    struct Engine {
        promoted: bool,
    }

    impl Answers for Engine {
        fn begin(&mut self, document: Value, plan: &traffic::Plan) -> Result<GrayRelease, traffic::Error> {
            if document.get("image").is_none() {
                return Err(traffic::Error::Invalid("`image` is missing".to_owned()));
            }
            let happening = |weight, message: &str, end| traffic::Happening {
                time_ms: 0,
                weight,
                message: message.to_owned(),
                end,
            };
            let mut told: Vec<_> =
                plan.steps.iter().map(|step| happening(step.weight, "a step", None)).collect();
            let verdict = traffic::Verdict {
                promoted: self.promoted,
                reason: "as good as before".to_owned(),
                evidence: r#"{"requests": 9}"#.to_owned(),
            };
            told.push(happening(if self.promoted { 100 } else { 0 }, "the end", Some(verdict)));
            Ok(GrayRelease::new(7, told))
        }
    }

    fn config() -> Value {
        let steps = json!([{ "weight": 10, "duration": "5m" }, { "weight": 50, "duration": "1h" }]);
        json!({ "app": { "app": "shop", "image": "shop:2" }, "steps": steps })
    }

    #[test]
    fn a_release_that_is_promoted_gives_its_number_and_the_evidence() {
        let mut mock = Mock::new();
        let outputs = mock.answering(Engine { promoted: true }).run::<Gray>(config()).unwrap();
        let expected = json!({ "app": "shop", "release": 7, "reason": "as good as before", "evidence": { "requests": 9 } });
        assert_eq!(outputs, expected);
        let told: Vec<_> =
            mock.log().iter().map(|line| (line.text.as_str(), line.fields[0].1.as_str())).collect();
        assert_eq!(told, [("a step", "10"), ("a step", "50"), ("the end", "100")]);
    }

    #[test]
    fn one_that_is_turned_back_fails_the_stage() {
        let mut mock = Mock::new();
        let failure = mock.answering(Engine { promoted: false }).run::<Gray>(config()).unwrap_err();
        assert_eq!(failure.kind, "turned-back");
        assert!(failure.message.contains("release #7 of `shop`"), "{}", failure.message);
        assert_eq!(mock.log().last().unwrap().level, log::Level::Warn);
        let mut wrong = config();
        wrong["app"].as_object_mut().unwrap().remove("image");
        let failure = mock.run::<Gray>(wrong).unwrap_err();
        assert_eq!(
            (failure.kind.as_str(), failure.message.as_str()),
            ("invalid-release", "`image` is missing")
        );
    }
}
