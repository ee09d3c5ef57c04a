//! What a stage does, step by step: the steps of the guest `probe`.

use indexmap::IndexMap;
use yuanli_model::Template;

use crate::chance::Chance;

/// The image that containers are of.
const IMAGE: &str = "tool";
/// The secret that is sent.
const SECRET: &str = "key";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Say,
    Now,
    Random,
    Sleep { ms: u64 },
    Start,
    Wait { container: u64 },
    Stop { container: u64 },
    Build { image: String },
    Tag { image: String, name: String },
    Push { image: String },
    Append { key: String },
    Emit,
    Put,
    Send { is_keyed: bool },
    Ask,
    Fail { attempts: u32, class: &'static str },
}

/// A script of a few steps that make sense one after the other.
pub(crate) fn draw(chance: &Chance, stage: &str) -> Vec<Step> {
    let (mut steps, mut containers, mut is_built) = (Vec::new(), 0, false);
    for _ in 0..chance.of(0..=7) {
        let image = format!("made-{stage}:1");
        match chance.of(0..=17) {
            0 | 1 => steps.push(Step::Say),
            2 | 3 => steps.push(Step::Now),
            4 => steps.push(Step::Random),
            5 => steps.push(Step::Sleep { ms: chance.of(0..=5_000) }),
            6..=8 => {
                steps.push(Step::Start);
                containers += 1;
                if !chance.one_in(3) {
                    steps.push(Step::Wait { container: containers - 1 });
                }
            }
            9 if containers > 0 => steps.push(Step::Stop { container: chance.of(0..=containers - 1) }),
            10 if is_built => {
                let name = format!("other-{stage}:1");
                steps.push(Step::Tag { image: image.clone(), name });
                steps.push(Step::Push { image });
            }
            9 | 10 => {
                is_built = true;
                steps.push(Step::Build { image });
            }
            11 => steps.push(Step::Append { key: "shared".to_owned() }),
            12 => steps.push(Step::Append { key: format!("own/{stage}") }),
            13 => steps.push(Step::Emit),
            14 => steps.push(Step::Put),
            15 => steps.push(Step::Ask),
            _ => steps.push(Step::Send { is_keyed: !chance.one_in(3) }),
        }
    }
    if chance.one_in(4) {
        let class = *chance.pick(&["transient", "permanent"]);
        steps.push(Step::Fail { attempts: chance.of(1..=3) as u32, class });
    }
    steps
}

impl Step {
    /// As the guest reads it.
    pub(crate) fn template(&self) -> Template {
        let text = |text: &str| Template::Text(text.to_owned());
        let number = |number: u64| Template::Number(number.into());
        let image = |image: &str| ("image", text(image));
        let (name, rest) = match self {
            Self::Say => ("say", vec![]),
            Self::Now => ("now", vec![]),
            Self::Random => ("random", vec![]),
            Self::Sleep { ms } => ("sleep", vec![("ms", number(*ms))]),
            Self::Start => ("start", vec![image(IMAGE)]),
            Self::Wait { container } => ("wait", vec![("container", number(*container))]),
            Self::Stop { container } => {
                ("stop", vec![("container", number(*container)), ("grace_ms", number(1_000))])
            }
            Self::Build { image: built } => ("build", vec![image(built)]),
            Self::Tag { image: tagged, name } => ("tag", vec![image(tagged), ("name", text(name))]),
            Self::Push { image: pushed } => ("push", vec![image(pushed)]),
            Self::Append { key } => ("append", vec![("key", text(key))]),
            Self::Emit => ("emit", vec![]),
            Self::Put => ("put", vec![]),
            Self::Send { is_keyed } => {
                ("send", vec![("url", text("http://server/")), ("key", Template::Bool(*is_keyed))])
            }
            Self::Ask => {
                let key = IndexMap::from([("secret".to_owned(), text(SECRET))]);
                ("ask", vec![("url", text("http://server/")), ("key", Template::Map(key))])
            }
            Self::Fail { attempts, class } => {
                ("fail", vec![("attempts", number((*attempts).into())), ("class", text(class))])
            }
        };
        let step = [("step", text(name))].into_iter().chain(rest);
        Template::Map(step.map(|(key, value)| (key.to_owned(), value)).collect::<IndexMap<_, _>>())
    }
}
