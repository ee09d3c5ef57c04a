//! Plans of stages that are written by hand.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Value, json};
use yuanli_model::stage::{FanOut, Matrix};
use yuanli_model::{
    Capability, Digest, Expression, InputName, PluginDescription, Section, Stage, StageName, Template,
    Workflow,
};

use super::*;

fn name(text: &str) -> StageName {
    text.parse().expect("a name")
}

fn expression(source: &str) -> Expression {
    Expression::new(source)
}

fn plugin() -> Arc<PluginDescription> {
    Arc::new(PluginDescription {
        name: "build".to_owned(),
        version: "1.2.0".to_owned(),
        summary: String::new(),
        digest: Digest::of(b"component"),
        config_schema: Value::Null,
        outputs_schema: Value::Null,
        capabilities: vec![Capability::Log, Capability::Images],
        is_builtin: true,
        bounds: yuanli_model::Bounds::default(),
    })
}

/// A stage that is made step by step.
trait Sample {
    fn sample(name: &str, needs: &[&str]) -> Self;
    fn when(self, condition: &str) -> Self;
    fn each(self, items: &str) -> Self;
    fn has(self, entries: &[(&str, Template)]) -> Self;
    fn part(self, section: Section) -> Self;
}

impl Sample for Stage {
    fn sample(own: &str, needs: &[&str]) -> Self {
        let uses = "build".parse().expect("a plugin");
        Self::new(name(own), uses).after(needs.iter().map(|need| name(need)).collect())
    }

    fn when(self, condition: &str) -> Self {
        Self { condition: Some(expression(condition)), ..self }
    }

    fn each(self, items: &str) -> Self {
        Self { fan_out: Some(FanOut::ForEach(Template::Expression(expression(items)))), ..self }
    }

    fn has(self, entries: &[(&str, Template)]) -> Self {
        self.with(Template::Map(
            entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        ))
    }

    fn part(self, section: Section) -> Self {
        Self { section, ..self }
    }
}

/// The plan of these stages, for the inputs `tag = dev`, `fast = false`, `hosts = [a, b]`.
fn plan(stages: &[Stage]) -> Plan {
    let mut stages = stages.to_vec();
    stages.sort_by_key(|stage| stage.section);
    let name = "shop".parse().expect("a name");
    let workflow = Workflow::new(name, None, IndexMap::new(), stages).expect("a workflow");
    let inputs: IndexMap<InputName, Value> =
        [("tag", json!("dev")), ("fast", json!(false)), ("hosts", json!(["a", "b"]))]
            .map(|(name, value)| (name.parse().expect("a name"), value))
            .into();
    Plan::new(&workflow, |_| Some(plugin()), |_| None, &inputs).expect("every plugin is known")
}

fn outlook(plan: &Plan, stage: &str) -> Outlook {
    plan.stages().find(|planned| planned.name.as_str() == stage).expect("it is planned").outlook.clone()
}

#[test]
fn a_stage_is_in_the_step_after_the_last_that_it_needs() {
    let last = Stage::sample("clean", &[]).part(Section::Finally);
    let rescue = Stage::sample("tell", &[]).part(Section::OnFailure);
    let plan = plan(&[
        last,
        Stage::sample("d", &["c", "a"]),
        Stage::sample("a", &[]),
        Stage::sample("c", &["b"]),
        Stage::sample("b", &[]),
        rescue,
    ]);
    let steps: Vec<(Section, Vec<&str>)> = plan
        .steps
        .iter()
        .map(|step| (step.section, step.stages.iter().map(|stage| stage.name.as_str()).collect()))
        .collect();
    let expect = [
        (Section::Main, vec!["a", "b"]),
        (Section::Main, vec!["c"]),
        (Section::Main, vec!["d"]),
        (Section::OnFailure, vec!["tell"]),
        (Section::Finally, vec!["clean"]),
    ];
    assert_eq!(steps, expect);
}

#[test]
fn a_condition_decides_as_far_as_it_is_known_and_who_needs_what_is_skipped_is_skipped() {
    let plan = plan(&[
        Stage::sample("no", &[]).when("inputs.fast"),
        Stage::sample("yes", &[]).when("inputs.tag == 'dev'"),
        Stage::sample("after", &["no", "yes"]),
        Stage::sample("later", &["after"]),
        Stage::sample("open", &["yes"]).when("inputs.fast || stages.yes.outputs.x > 1"),
        Stage::sample("always", &["no"]).when("always()"),
        Stage::sample("beside", &["no"]).when("inputs.tag == 'dev'"),
        Stage::sample("text", &[]).when("inputs.tag"),
        Stage::sample("broken", &[]).when("inputs.hosts[7] == 'a'"),
    ]);
    assert_eq!(outlook(&plan, "no"), Outlook::Skipped("`inputs.fast` is false".to_owned()));
    assert_eq!(outlook(&plan, "yes"), Outlook::Runs);
    assert_eq!(outlook(&plan, "after"), Outlook::Skipped("it needs `no`, which is skipped".to_owned()));
    assert_eq!(outlook(&plan, "later"), Outlook::Skipped("it needs `after`, which is skipped".to_owned()));
    let Outlook::Depends { waits_for, .. } = outlook(&plan, "open") else { panic!("it is open") };
    assert_eq!(waits_for, ["stages.yes.outputs.x"]);
    let Outlook::Depends { waits_for, .. } = outlook(&plan, "always") else { panic!("it is open") };
    assert_eq!(waits_for, ["how its needs end"]);
    assert_eq!(outlook(&plan, "beside"), Outlook::Skipped("it needs `no`, which is skipped".to_owned()));
    assert_eq!(
        outlook(&plan, "text"),
        Outlook::Fails("`inputs.tag` is \"dev\", not true or false".to_owned())
    );
    assert!(matches!(outlook(&plan, "broken"), Outlook::Fails(_)));
}

#[test]
fn values_are_resolved_as_far_as_they_are_known() {
    let mixed = yuanli_expr::template(
        yuanli_expr::split("${{ run.workflow }}:${{ inputs.tag }}-${{ run.id }}").expect("a text"),
    );
    let whole = |source| Template::Expression(expression(source));
    let plan = plan(&[Stage::sample("a", &[]).has(&[
        ("image", mixed),
        ("known", whole("inputs.hosts.map(host, host + '!')")),
        ("nested", Template::List(vec![whole("stages.b.outputs"), whole("inputs.gone + inputs.gone")])),
        ("a/b", whole("1 / 0")),
    ])]);
    let PlannedWork::Plugin { with, rights, .. } = &plan.steps[0].stages[0].work else { panic!("a plugin") };
    let expect = json!({ "image": "shop:dev-…", "known": ["a!", "b!"], "nested": ["…", "…"], "a/b": "…" });
    assert_eq!(with.value, expect);
    let open: Vec<(&str, Option<&[String]>)> = with
        .open
        .iter()
        .map(|open| match &open.why {
            Why::WaitsFor(names) => (open.pointer.as_str(), Some(names.as_slice())),
            Why::Fails(_) => (open.pointer.as_str(), None),
        })
        .collect();
    let names = |name: &str| [name.to_owned()];
    let expect: [(&str, Option<&[String]>); 4] = [
        ("/image", Some(&names("run.id"))),
        ("/nested/0", Some(&names("stages.b.outputs"))),
        ("/nested/1", Some(&names("inputs.gone"))),
        ("/a~1b", None),
    ];
    assert_eq!(open, expect);
    assert_eq!(rights, &[Capability::Log, Capability::Images]);
}

#[test]
fn a_tree_says_everything_and_fits_into_a_narrow_terminal() {
    let mut plan = plan(&[
        Stage::sample("source", &[]),
        Stage::sample("image", &["source"]).has(&[
            ("image", Template::Text("shop:dev".to_owned())),
            (
                "labels",
                Template::Map(
                    [("commit".to_owned(), Template::Expression(expression("stages.source.outputs.commit")))]
                        .into(),
                ),
            ),
        ]),
        Stage::sample("fan", &["source"]).each("inputs.hosts"),
        Stage::sample("later", &["source"]).each("stages.source.outputs.list"),
        Stage::sample("slow", &["source"]).when("inputs.fast"),
    ]);
    plan.steps[0].stages[0].timeout = Some(Duration::from_secs(90));
    plan.steps[0].stages[0].attempts = 3;
    plan.steps[0].stages[0].approval = Some("Really?".to_owned());
    insta::assert_snapshot!("wide", plan.tree(None));
    let narrow = plan.tree(Some(40));
    assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    insta::assert_snapshot!("narrow", narrow);
}

#[test]
fn what_a_stage_runs_for_is_told_as_far_as_it_is_known() {
    let matrix = |values: &str| {
        let axes = [("host", "inputs.hosts"), ("v", values)];
        let axes = axes.map(|(axis, values)| (axis.to_owned(), Template::Expression(expression(values))));
        let exclude = Some(Template::Expression(expression("[{'host': 'a', 'v': 2}]")));
        let matrix = Matrix { axes: axes.into_iter().collect(), include: None, exclude };
        Stage { fan_out: Some(FanOut::Matrix(matrix)), ..Stage::sample("grid", &["one"]) }
    };
    let instances = |stage: Stage| {
        let plan = plan(&[Stage::sample("one", &[]), stage]);
        plan.steps[1].stages[0].instances.clone()
    };
    let known = json!([{"host": "a", "v": 1}, {"host": "b", "v": 1}, {"host": "b", "v": 2}]);
    assert_eq!(
        json!(match instances(matrix("[1, 2]")) {
            Instances::Known(found) => found,
            other => panic!("{other:?}"),
        }),
        known
    );
    let Instances::Open(open) = instances(matrix("stages.one.outputs.list")) else { panic!("it is open") };
    assert_eq!(open[0].why, Why::WaitsFor(vec!["stages.one.outputs.list".to_owned()]));
    assert_eq!(instances(Stage::sample("two", &["one"])), Instances::One);
}

#[test]
fn graphs_have_every_stage_and_every_need() {
    let last = Stage::sample("end", &[]).part(Section::Finally);
    let mut plan = plan(&[
        Stage::sample("a", &[]),
        Stage::sample("b", &["a"]).each("inputs.hosts"),
        Stage::sample("c", &["a", "b"]).when("inputs.fast"),
        last,
    ]);
    let PlannedWork::Plugin { name, .. } = &mut plan.steps[0].stages[0].work else { panic!("a plugin") };
    *name = "\"]; x --> \\y\n<b>".to_owned();
    insta::assert_snapshot!("dot", plan.dot());
    insta::assert_snapshot!("mermaid", plan.mermaid());
}

/// Ten thousand stages, each needing the one before: linear in time, and no stack of that depth.
#[test]
fn a_long_chain_is_planned() {
    let stages: Vec<Stage> = (0..10_000)
        .map(|number| match number {
            0 => Stage::sample("s0", &[]),
            number => Stage::sample(&format!("s{number}"), &[&format!("s{}", number - 1)]),
        })
        .collect();
    let plan = plan(&stages);
    assert_eq!(plan.steps.len(), 10_000);
    assert_eq!(plan.dot().matches(" -> ").count(), 9_999);
    assert!(plan.tree(Some(80)).contains("step 10000\n"));
}

#[test]
fn a_cached_stage_says_so_and_what_would_be_found_once_somebody_has_looked() {
    let mut stage = Stage::sample("a", &[]);
    let values = Template::Expression(expression("inputs.tag"));
    stage.cache = Some(Cache { files: vec!["*.c".to_owned()], values: Some(values), max_age: None });
    let workflow =
        Workflow::new("w".parse().expect("a name"), None, IndexMap::new(), vec![stage]).expect("a workflow");
    let mut plan = Plan::new(&workflow, |_| Some(plugin()), |_| None, &IndexMap::new()).expect("a plan");
    let planned = plan.stages().next().and_then(|stage| stage.cache.clone()).expect("it is cached");
    assert_eq!((planned.values.open.len(), planned.cache.files.len()), (1, 1));
    assert!(plan.tree(None).lines().any(|line| line.ends_with(" cached")), "{}", plan.tree(None));
    plan.foresee(&name("a"), "runs, as nothing is kept".to_owned());
    assert!(plan.tree(None).contains("cached: runs, as nothing is kept"), "{}", plan.tree(None));
}
