//! What a run would do, said without running anything.

use std::process::Command;

use serde_json::json;

use crate::support::{Place, examples};

const SHOP: &str = "\
name: shop
inputs:
  tag: { type: string }
  fast: { type: boolean, default: false }
stages:
  image:
    uses: build
    timeout: 5m
    with:
      image: \"shop:${{ inputs.tag }}\"
      no_cache: \"${{ !inputs.fast }}\"
  report:
    uses: script
    needs: image
    with:
      outputs: { id: \"${{ stages.image.outputs.id }}\", in: \"${{ run.workflow }}/${{ run.id }}\" }
      print: [\"${{ string(1 / 0) }}\"]
";

#[test]
fn a_dry_run_says_what_would_run_and_runs_nothing() {
    let place = Place::new();
    let file = place.write("shop.yaml", SHOP);
    let ended = place.yuanli(&["run", &file, "--dry", "--input", "tag=v2"]).expect(0, &[]);
    let digest = place.json(&["plugin", "list"])["items"].as_array().unwrap().iter().find_map(|plugin| {
        (plugin["name"] == "build").then(|| plugin["digest"].as_str().unwrap()[7..19].to_owned())
    });
    for line in [
        "shop (2 stages)",
        "│  ├─ tag = \"v2\"",
        "│  └─ fast = false",
        "├─ step 1",
        &format!("│  └─ image: build 0.1.0 (sha256:{})", digest.unwrap()),
        "│     ├─ at most 5m",
        "│     ├─ may reach workspace, images, artifacts",
        "│        ├─ image: \"shop:v2\"",
        "│        └─ no_cache: true",
        "└─ step 2",
        "      ├─ after image",
        "         │  ├─ id: … (waits for stages.image.outputs.id)",
        "         │  └─ in: \"shop/…\" (waits for run.id)",
        "         └─ print",
    ] {
        assert!(ended.out.lines().any(|found| found == line), "`{line}` is not in\n{}", ended.out);
    }
    assert!(ended.out.contains("[0]: … (fails: "), "{}", ended.out);
    assert_eq!(place.json(&["runs", "list"])["items"], json!([]), "nothing was run");
    place.yuanli(&["run", &file, "--dry"]).expect(2, &["input `tag` has no default"]);
    place.yuanli(&["run", &file, "--dry", "-i", "tag=1", "-i", "tag=2"]).expect(2, &["given twice"]);
    let wrong = place.write("wrong.yaml", "name: w\nstages:\n  a: { uses: scirpt }\n");
    for arguments in [["run", &wrong, "--dry"], ["workflow", "plan", &wrong]] {
        place.yuanli(&arguments).expect(2, &["did you mean `script`?"]);
    }
}

#[test]
fn a_plan_may_lack_inputs_and_says_so() {
    let place = Place::new();
    let file = place.write("shop.yaml", SHOP);
    let ended = place.yuanli(&["workflow", "plan", &file]).expect(0, &["has to be given `tag`"]);
    assert!(ended.out.contains("image: \"shop:…\" (waits for inputs.tag)\n"), "{}", ended.out);
    place.yuanli(&["workflow", "plan", &file, "-i", "gat=1"]).expect(2, &["no input `gat`"]);
    place.yuanli(&["workflow", "plan", &file, "-i", "fast=1"]).expect(2, &["`fast` takes `true` or `false`"]);
    let plan = place.json(&["workflow", "plan", &file]);
    assert_eq!(plan["missing_inputs"], json!(["tag"]));
    assert_eq!(plan["inputs"], json!({ "fast": false }));
    assert!(!place.path("data/engine.json").exists(), "no engine was needed");
}

#[test]
fn a_plan_is_data() {
    let place = Place::new();
    let file = place.write("shop.yaml", SHOP);
    let plan = place.json(&["run", &file, "--dry", "-i", "tag=v2"]);
    assert_eq!(plan["version"].as_str().unwrap().len(), 71);
    let [image, report] = [&plan["steps"][0]["stages"][0], &plan["steps"][1]["stages"][0]];
    assert_eq!(image["with"], json!({ "image": "shop:v2", "no_cache": true }));
    assert_eq!((&image["outlook"], &image["timeout_ms"]), (&"runs".into(), &300_000.into()));
    assert_eq!(image["plugin"]["rights"], json!(["log", "workspace", "images", "artifacts"]));
    assert!(image["plugin"]["digest"].as_str().unwrap().starts_with("sha256:"), "{image}");
    assert_eq!(report["needs"], json!(["image"]));
    assert_eq!(
        report["open"][0],
        json!({ "pointer": "/outputs/id", "expression": "stages.image.outputs.id",
                "waits_for": ["stages.image.outputs.id"] })
    );
    assert_eq!(report["open"][2]["pointer"], "/print/0");
    assert!(report["open"][2]["fails"].is_string(), "{report}");
}

#[test]
fn a_plan_is_drawn_by_others() {
    let place = Place::new();
    let file = examples().join("shop/shop.yaml");
    let draw = |format: &str| place.yuanli(&["workflow", "plan", file.to_str().unwrap(), "--format", format]);
    let dot = draw("dot").expect(0, &[]).out;
    assert!(dot.starts_with("digraph \"shop\" {\n") && dot.ends_with("}\n"), "{dot}");
    assert!(dot.contains("\"tests-image\" -> \"tests\";"), "{dot}");
    let mermaid = draw("mermaid").expect(0, &[]).out;
    assert!(
        mermaid.starts_with("flowchart LR\n") && mermaid.contains("s0[\"source<br/>source 0.1.0\"]"),
        "{mermaid}"
    );
    place.yuanli(&["workflow", "plan", "x.yaml", "--json", "--format", "dot"]).expect(2, &["not both"]);
    place.yuanli(&["workflow", "plan", "x.yaml"]).expect(2, &["`x.yaml` cannot be read"]);
}

/// `script` gives a command a terminal of its own, here of 50 columns.
#[test]
fn a_plan_fits_into_a_narrow_terminal() {
    let place = Place::new();
    let file = place.write("shop.yaml", SHOP);
    let yuanli = env!("CARGO_BIN_EXE_yuanli");
    let command = format!("stty rows 24 cols 50; {yuanli} run {file} --dry -i tag=v2");
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("YUANLI_DATA", place.data()).env("TERM", "xterm");
    let output = script.output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}");
    assert!(out.contains("step 2") && out.lines().all(|line| line.chars().count() <= 51), "{out}");
    assert!(!out.contains('\u{1b}'), "a plan has no colours: {out:?}");
}
