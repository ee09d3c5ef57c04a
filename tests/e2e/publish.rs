//! Images are pushed to a registry, by whoever is named or by whoever uses Docker here.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::registry::Registry;
use crate::support::{Ended, Place, docker, examples};

const PASSWORD: &str = "let-me-in";

/// What the registry says at a path of its API, asked by curl.
fn ask(registry: &Registry, path: &str) -> String {
    let url = format!("http://{}/v2/{path}", registry.address);
    let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
    let user = format!("ci:{PASSWORD}");
    let output = Command::new("curl").args(["-sS", "-i", "-u", &user, "-H", accept, &url]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn publish_pushes_under_both_tags_and_names_the_image_by_digest() {
    let (place, registry) = (Place::new(), Registry::with_users());
    let to = format!("registry={}/team", registry.address);
    let file = examples().join("publish/publish.yaml");
    let arguments =
        ["run", file.to_str().unwrap(), "-i", &to, "-i", "username=ci", "-i", "token=hidden", "--secret"];
    let run = |password: &str| {
        let mut command = place.command(&[&arguments[..], &["hidden=env:E2E_TOKEN"]].concat());
        Ended::of(command.env("E2E_TOKEN", password).output().unwrap())
    };
    let ended = run(PASSWORD).expect(0, &["layer 1 of 1 pushed", "[push] succeeded"]);
    let shown = place.json(&["runs", "show", ended.out.trim()]);
    let stage = |name: &str| {
        shown["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap().clone()
    };
    let digest = stage("push")["outputs"]["digest"].as_str().unwrap().to_owned();
    let reference = format!("{}/team/publish@{digest}", registry.address);
    assert_eq!(stage("report")["outputs"]["reference"], reference);
    for tag in ["1.0", "latest", &digest] {
        let answer = ask(&registry, &format!("team/publish/manifests/{tag}"));
        assert!(answer.contains(&format!("Docker-Content-Digest: {digest}")), "{tag}: {answer}");
    }
    // Its own name is left, and none of the registry's.
    let names = docker::run(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(names.contains("publish:1.0") && !names.contains(&registry.address.to_string()), "{names}");

    let refused = run("a-guess").expect(1, &["(as `ci`)", "unauthorized"]);
    assert!(!refused.err.contains("a-guess") && !refused.out.contains("a-guess"), "{refused:?}");
    docker::run(&["image", "rm", "publish:1.0"]);
}

#[test]
fn without_a_login_it_is_whoever_uses_docker_here() {
    docker::make_image();
    let (place, registry) = (Place::new(), Registry::with_users());
    let name = registry.name("helped:1");
    let workflow = format!(
        "name: w\nstages:\n  push:\n    uses: push\n    with: {{ image: {}, to: \"{name}\", attempts: 1 }}\n",
        docker::IMAGE
    );
    let file = place.write("w.yaml", workflow);
    // A program that keeps logins, as desktops have one.
    let helper = place.write(
        "bin/docker-credential-e2e",
        format!("#!/bin/sh\nread server\necho '{{\"Username\": \"ci\", \"Secret\": \"{PASSWORD}\"}}'\n"),
    );
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let settings =
        place.write("docker/config.json", format!(r#"{{"credHelpers": {{"{}": "e2e"}}}}"#, registry.address));
    let folder = |path: &str| std::path::Path::new(path).parent().unwrap().to_owned();
    let path = format!("{}:{}", folder(&helper).display(), std::env::var("PATH").unwrap());
    let run = |path: &str| {
        let mut command = place.command(&["run", &file]);
        command.env("DOCKER_CONFIG", folder(&settings)).env("PATH", path);
        Ended::of(command.output().unwrap())
    };
    run(&std::env::var("PATH").unwrap()).expect(1, &["as nobody"]);
    run(&path).expect(0, &["[push] succeeded"]);
    assert!(ask(&registry, "helped/tags/list").contains(r#""tags":["1"]"#));
}

/// What a stage of this plugin, whose image is at a registry, does there.
#[test]
fn an_image_that_is_not_there_is_fetched_as_the_stage_says() {
    docker::make_image();
    let (place, mut registry) = (Place::new(), Registry::with_users());
    let name = registry.name("tool:1");
    let stage = |pull: &str| {
        format!(
            "name: w\ninputs:\n  token: {{ type: secret, default: hidden }}\nstages:\n  it:\n    uses: command\n    with: {{ image: \"{name}\", \
             command: [/bin/sh, -c, \":\"], {pull} }}\n"
        )
    };
    let login = "login: { username: ci, password: \"${{ inputs.token }}\" }";
    let push = format!(
        "name: p\nstages:\n  it:\n    uses: push\n    with: {{ image: {}, to: \"{name}\" }}\n",
        docker::IMAGE
    );
    let push = place.write("push.yaml", push);
    // Who pushes is whoever uses Docker here: `ci:let-me-in`.
    let auths = format!(r#"{{"auths": {{"{}": {{"auth": "Y2k6bGV0LW1lLWlu"}}}}}}"#, registry.address);
    let settings = place.write("docker/config.json", auths);
    let folder = std::path::Path::new(&settings).parent().unwrap().to_owned();
    let run = |file: &str| {
        let mut command = place.command(&["run", file, "--secret", "hidden=env:E2E_TOKEN"]);
        command.env("E2E_TOKEN", PASSWORD).env("DOCKER_CONFIG", place.path("nobody"));
        command
    };
    Ended::of(run(&push).env("DOCKER_CONFIG", &folder).output().unwrap()).expect(0, &[]);
    let pull = |pull: &str| Ended::of(run(&place.write("w.yaml", stage(pull))).output().unwrap());

    let is_there = || !docker::run(&["image", "ls", "-q", &name]).trim().is_empty();
    assert!(!is_there(), "who has pushed it has taken the name along");
    pull("pull: never").expect(1, &["is not on this engine"]);
    pull("pull: missing").expect(1, &["is not on the engine", "as nobody"]);
    pull(login).expect(0, &[&format!("fetched {name}"), "[it] succeeded"]);
    assert!(is_there());
    registry.kill();
    // One that is there needs no registry.
    pull(login).expect(0, &["[it] succeeded"]);
    pull("pull: never").expect(0, &["[it] succeeded"]);
    let refused = pull(&format!("pull: always, {login}")).expect(1, &["cannot be reached by Docker"]);
    assert!(!refused.err.contains(PASSWORD), "{refused:?}");
    docker::run(&["image", "rm", &name]);
    pull(login).expect(1, &["is not on the engine", "cannot be reached by Docker"]);
}

#[test]
fn a_push_that_takes_too_long_gives_the_name_back() {
    docker::make_image();
    let place = Place::new();
    // Takes connections, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let [name, own] = [format!("{address}/hangs:1"), format!("yuanli-e2e-hangs:{}", address.port())];
    let context = place.write("context/Dockerfile", format!("FROM scratch\nLABEL is={}\n", address.port()));
    let context = std::path::Path::new(&context).parent().unwrap().to_owned();
    docker::run(&["build", "-q", "-t", &own, context.to_str().unwrap()]);
    let id = |name: &str| docker::run(&["image", "inspect", "-f", "{{.Id}}", name]);
    docker::run(&["tag", docker::IMAGE, &name]);
    let workflow = format!(
        "name: w\nstages:\n  push:\n    uses: push\n    timeout: 2s\n    with: {{ image: \"{own}\", to: \"{name}\" }}\n"
    );
    place.yuanli(&["run", &place.write("w.yaml", workflow)]).expect(1, &["timeout"]);
    assert_eq!(id(&name), id(docker::IMAGE), "it is whose it was");
    let noted = std::fs::read_dir(place.data().join("lent")).unwrap().count();
    assert_eq!(noted, 0, "nothing is left to be given back");
    docker::run(&["image", "rm", &name, &own]);
}
