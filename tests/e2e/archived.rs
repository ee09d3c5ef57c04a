//! Images as files: one stage leaves one in its workspace, another one takes it from there.

use serde_json::{Value, json};

use crate::support::{Place, docker};

fn outputs(place: &Place, run: &str, stage: &str) -> Value {
    let run = place.json(&["runs", "show", run.trim()]);
    run["stages"].as_array().unwrap().iter().find(|found| found["name"] == stage).unwrap()["outputs"].clone()
}

#[test]
fn an_image_goes_from_stage_to_stage_and_from_machine_to_machine_as_a_file() {
    let place = Place::new();
    let [name, other] =
        ["one", "two"].map(|name| format!("yuanli-e2e-archived-{}:{name}", std::process::id()));
    place.write("app/Dockerfile", "FROM scratch\nCOPY large /\n");
    place.write("app/large", name.repeat(100_000));
    let build = format!(
        "name: w\nstages:\n  source:\n    uses: source\n    with: {{ path: app }}\n  image:\n    needs: source\n    uses: build\n    \
         with: {{ image: \"{name}\", archive: out/app.tar }}\n  load:\n    needs: image\n    uses: load\n    \
         with: {{ archive: out/app.tar, image: \"{other}\" }}\n"
    );
    let file = place.write("w.yaml", build);
    let run = place.yuanli(&["run", &file]).expect(0, &[]).out;
    let (built, loaded) = (outputs(&place, &run, "image"), outputs(&place, &run, "load"));
    assert!(built["archive_bytes"].as_u64().unwrap() > 1_000_000, "{built}");
    assert_eq!((&loaded["id"], &loaded["image"]), (&built["id"], &json!(other)));
    assert!(loaded["images"][0]["names"].as_array().unwrap().contains(&json!(name)), "{loaded}");

    // What the docker program has saved elsewhere comes here as well.
    place.write("saved/README", "an image");
    let archive = place.path("saved/app.tar");
    docker::run(&["save", "--output", archive.to_str().unwrap(), &name]);
    docker::run(&["image", "rm", &name, &other]);
    let load = "name: w\nstages:\n  source:\n    uses: source\n    with: { path: saved }\n  load:\n    needs: source\n    uses: load\n    \
                with: { archive: app.tar }\n";
    let file = place.write("load.yaml", load);
    let run = place.yuanli(&["run", &file]).expect(0, &[]).out;
    let loaded = outputs(&place, &run, "load");
    assert_eq!((&loaded["id"], &loaded["image"]), (&built["id"], &json!(name)));
    docker::run(&["image", "rm", &name]);

    // What is none is told with its name, and nothing is tried again.
    place.write("saved/app.tar", "no archive");
    place.yuanli(&["run", &file]).expect(1, &["app.tar: it is no archive of images"]);
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());
}
