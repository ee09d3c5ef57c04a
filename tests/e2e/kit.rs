//! Images that BuildKit builds, as a workflow asks for it.

use crate::support::{Place, docker};

#[test]
fn a_stage_may_have_its_image_built_by_buildkit() {
    docker::make_image();
    let place = Place::new();
    let name = format!("yuanli-e2e-kit-{}:1", std::process::id());
    let mount = "RUN --mount=type=cache,target=/cache [\"/bin/sh\", \"-c\", \"echo from the kit\"]";
    place.write("app/Dockerfile", format!("FROM {}\n{mount}\n", docker::IMAGE));
    let workflow = |builder: &str| {
        let text = format!(
            "name: w\nstages:\n  source:\n    uses: source\n    with: {{ path: app }}\n  image:\n    needs: source\n    uses: build\n    \
             with: {{ image: \"{name}\", {builder} }}\n"
        );
        place.write("w.yaml", text)
    };
    let run = |builder: &str| place.yuanli(&["run", &workflow(builder)]);
    run("builder: buildkit")
        .expect(0, &["Step 2/2 : RUN --mount=type=cache", "from the kit", "[image] succeeded"]);
    run("builder: classic").expect(1, &["--mount"]);
    run("builder: frob").expect(2, &["frob"]);
    docker::run(&["image", "rm", &name]);
}
