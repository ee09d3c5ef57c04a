//! Plans of outlines that are written by hand: also of what documents cannot say yet.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Value, json};
use yuanli_model::{
    Capability, Digest, Expression, InputName, PluginDescription, PluginReference, StageName, Template,
    WorkflowName,
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
    })
}

/// What a stage in these tests is made of.
struct Sample {
    name: StageName,
    needs: Vec<StageName>,
    part: Part,
    condition: Option<Expression>,
    items: Option<Template>,
    with: Template,
}

impl Sample {
    fn new(own: &str, needs: &[&str]) -> Self {
        let needs = needs.iter().map(|need| name(need)).collect();
        let with = Template::Map(IndexMap::new());
        Self { name: name(own), needs, part: Part::Main, condition: None, items: None, with }
    }

    fn when(self, condition: &str) -> Self {
        Self { condition: Some(expression(condition)), ..self }
    }

    fn each(self, items: &str) -> Self {
        Self { items: Some(Template::Expression(expression(items))), ..self }
    }

    fn with(self, entries: &[(&str, Template)]) -> Self {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Self { with: Template::Map(entries), ..self }
    }
}

/// The plan of these stages, for the inputs `tag = dev`, `fast = false`, `hosts = [a, b]`.
fn plan(samples: &[Sample]) -> Plan {
    let workflow: WorkflowName = "shop".parse().expect("a name");
    let uses: PluginReference = "build".parse().expect("a plugin");
    let stage = |sample: &'_ Sample| -> OutlineStage<'static> {
        // Leaked: tests end soon.
        let sample: &'static Sample = Box::leak(Box::new(Sample {
            name: sample.name.clone(),
            needs: sample.needs.clone(),
            part: sample.part,
            condition: sample.condition.clone(),
            items: sample.items.clone(),
            with: sample.with.clone(),
        }));
        let uses: &'static PluginReference = Box::leak(Box::new(uses.clone()));
        OutlineStage {
            name: &sample.name,
            part: sample.part,
            work: Work::Plugin { uses, plugin: plugin(), with: &sample.with },
            needs: &sample.needs,
            condition: sample.condition.as_ref(),
            items: sample.items.as_ref(),
            approval: None,
            attempts: 1,
            timeout: None,
            grants: &[],
        }
    };
    let stages = samples.iter().map(stage).collect();
    let inputs: IndexMap<InputName, Value> =
        [("tag", json!("dev")), ("fast", json!(false)), ("hosts", json!(["a", "b"]))]
            .map(|(name, value)| (name.parse().expect("a name"), value))
            .into();
    Plan::new(&Outline { name: &workflow, stages }, &inputs)
}

fn outlook(plan: &Plan, stage: &str) -> Outlook {
    plan.stages().find(|planned| planned.name.as_str() == stage).expect("it is planned").outlook.clone()
}

#[test]
fn a_stage_is_in_the_step_after_the_last_that_it_needs() {
    let last = Sample { part: Part::Finally, ..Sample::new("clean", &[]) };
    let rescue = Sample { part: Part::OnFailure, ..Sample::new("tell", &[]) };
    let plan = plan(&[
        last,
        Sample::new("d", &["c", "a"]),
        Sample::new("a", &[]),
        Sample::new("c", &["b"]),
        Sample::new("b", &[]),
        rescue,
    ]);
    let steps: Vec<(Part, Vec<&str>)> = plan
        .steps
        .iter()
        .map(|step| (step.part, step.stages.iter().map(|stage| stage.name.as_str()).collect()))
        .collect();
    let expect = [
        (Part::Main, vec!["a", "b"]),
        (Part::Main, vec!["c"]),
        (Part::Main, vec!["d"]),
        (Part::OnFailure, vec!["tell"]),
        (Part::Finally, vec!["clean"]),
    ];
    assert_eq!(steps, expect);
}

#[test]
fn a_condition_decides_as_far_as_it_is_known_and_who_needs_what_is_skipped_is_skipped() {
    let plan = plan(&[
        Sample::new("no", &[]).when("inputs.fast"),
        Sample::new("yes", &[]).when("inputs.tag == 'dev'"),
        Sample::new("after", &["no", "yes"]),
        Sample::new("later", &["after"]),
        Sample::new("open", &["yes"]).when("inputs.fast || stages.yes.outputs.x > 1"),
        Sample::new("always", &["no"]).when("always()"),
        Sample::new("beside", &["no"]).when("inputs.tag == 'dev'"),
        Sample::new("text", &[]).when("inputs.tag"),
        Sample::new("broken", &[]).when("inputs.hosts[7] == 'a'"),
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
    let plan = plan(&[Sample::new("a", &[]).with(&[
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
        Sample::new("source", &[]),
        Sample::new("image", &["source"]).with(&[
            ("image", Template::Text("shop:dev".to_owned())),
            (
                "labels",
                Template::Map(
                    [("commit".to_owned(), Template::Expression(expression("stages.source.outputs.commit")))]
                        .into(),
                ),
            ),
        ]),
        Sample::new("fan", &["source"]).each("inputs.hosts"),
        Sample::new("later", &["source"]).each("stages.source.outputs.list"),
        Sample::new("slow", &["source"]).when("inputs.fast"),
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
fn graphs_have_every_stage_and_every_need() {
    let last = Sample { part: Part::Finally, ..Sample::new("end", &[]) };
    let mut plan = plan(&[
        Sample::new("a", &[]),
        Sample::new("b", &["a"]).each("inputs.hosts"),
        Sample::new("c", &["a", "b"]).when("inputs.fast"),
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
    let stages: Vec<Sample> = (0..10_000)
        .map(|number| match number {
            0 => Sample::new("s0", &[]),
            number => Sample::new(&format!("s{number}"), &[&format!("s{}", number - 1)]),
        })
        .collect();
    let plan = plan(&stages);
    assert_eq!(plan.steps.len(), 10_000);
    assert_eq!(plan.dot().matches(" -> ").count(), 9_999);
    assert!(plan.tree(Some(80)).contains("step 10000\n"));
}
