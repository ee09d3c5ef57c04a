//! Rights with bounds, what an engine allows of them, and limits: a document says what, the engine how much of that.

use std::fs;

use serde_json::{Value, json};
use yuanli_test_guests::{NOOP, PROBE};

use crate::served::Served;
use crate::support::{Ended, Place, docker};

/// What the probe has to be granted, with these in place of what is granted of their rights otherwise.
fn grants(own: &str) -> String {
    let others = [
        "secrets",
        "secrets-reveal",
        "{http: {hosts: '127.0.0.1:1'}}",
        "workspace",
        "source",
        "images",
        "containers",
        "volumes",
        "apps",
        "registries",
        "artifacts",
        "state",
        "events",
        "traffic",
        "metrics",
        "backups",
    ];
    let is_own = |right: &&&str| {
        own.contains(&format!("{}:", right.trim_start_matches('{').split(':').next().unwrap()))
    };
    let others: Vec<&str> = others.iter().filter(|right| !is_own(right)).copied().collect();
    format!("[{}, {own}]", others.join(", "))
}

fn workflow(own: &str, config: &Value) -> String {
    format!(
        "name: w\nstages:\n  a:\n    uses: ./probe.wasm\n    grants: {}\n    with: {config}\n",
        grants(own)
    )
}

/// A folder with the probe, and a configuration.
fn place(configuration: &str) -> Place {
    let place = Place::new();
    place.write("probe.wasm", PROBE.component);
    place.write("data/config.yaml", configuration);
    place
}

fn run(place: &Place, own: &str, config: &Value) -> Ended {
    let file = place.write("w.yaml", workflow(own, config));
    place.yuanli(&["run", &file])
}

fn outputs(place: &Place, run: &Ended) -> Value {
    place.json(&["runs", "show", run.out.trim()])["stages"][0]["outputs"].clone()
}

fn special(script: &str, options: &[(&str, &str)]) -> Value {
    json!({ "do": "special", "image": docker::IMAGE, "command": ["sh", "-c", script], "options": options })
}

#[test]
fn a_workspace_that_is_granted_to_be_read_is_not_written() {
    docker::make_image();
    let place = place("");
    let read = "{workspace: {access: read}}";
    let says = ["the stage may read its workspace, not change it; that would take `grants: [workspace]`"];
    run(&place, read, &json!({ "do": "write", "path": "a", "text": "x" })).expect(1, &says);
    let writes = json!({ "do": "container", "image": docker::IMAGE, "command": ["sh", "-c", "echo x > /workspace/a"], "wait": true });
    run(&place, read, &writes).expect(1, &says);
    run(&place, "{workspace: {access: read-write}}", &writes).expect(0, &[]);
    // Also a plugin of the engine has what is granted in place of what it has by itself.
    let command = |grants: &str, with: &str| {
        let text = format!(
            "name: w\nstages:\n  a:\n    uses: command\n    grants: {grants}\n    with: {{ image: {}, command: [sh, -c, \"echo > \
             /workspace/a\"]{with} }}\n",
            docker::IMAGE
        );
        place.yuanli(&["run", &place.write("w.yaml", text)])
    };
    command("[]", "").expect(0, &[]);
    command("[{workspace: {access: read}}]", "").expect(1, &says);
    command("[{workspace: {access: read}}]", ", read_only: true").expect(1, &["Read-only file system"]);
}

#[test]
fn artifacts_are_bounded_by_the_stage_and_by_the_engine() {
    let place = place("limits: { artifacts: 2KiB }");
    let put = |name: &str, bytes: u64| json!({ "call": "put-bytes", "name": name, "bytes": bytes });
    let calls = json!({ "do": "calls", "calls": [put("a", 1_000), put("b", 1_000), put("c", 1_000)] });
    let told = |limits: &str| {
        let text = workflow("containers", &calls).replace("    with:", &format!("{limits}    with:"));
        let run = place.yuanli(&["run", &place.write("w.yaml", text)]).expect(0, &[]);
        let names = place.json(&["runs", "artifacts", run.out.trim()]);
        (outputs(&place, &run)["told"].clone(), names["items"].as_array().unwrap().len())
    };
    let (engine, kept) = told("");
    assert_eq!((&engine[0], &engine[1], kept), (&json!(1_000), &json!(1_000), 2));
    let says =
        "together it may put 2048, which is the most that the engine gives; whoever keeps it can change";
    assert!(engine[2].to_string().contains(says), "{engine}");
    let (stage, kept) = told("    limits: { artifacts: 1KiB }\n");
    assert_eq!((&stage[0], kept), (&json!(1_000), 1));
    assert!(stage[1].to_string().contains("may put 1024, as its stage says"), "{stage}");
}

#[test]
fn a_component_that_is_tried_has_none_of_the_rights_of_the_plugin_in_whose_place_it_is() {
    let place = place("plugins: { command: { grants: { containers: { privileged: true } } } }");
    let file = place.write(
        "w.yaml",
        "name: w\nstages:\n  a:\n    uses: command\n    grants: [{containers: {privileged: true}}]\n    with: { image: tool, \
         command: [x], privileged: true }\n",
    );
    place.yuanli(&["validate", &file]).expect(0, &[]);
    let says = ["WF058", "plugin `probe` cannot have `containers` with `privileged: true`", "\"sha256:"];
    place.yuanli(&["run", &file, "--plugin", "command=./probe.wasm"]).expect(2, &says);
}

#[test]
fn what_reaches_the_machine_takes_the_workflow_and_the_engine() {
    docker::make_image();
    let place = place("");
    let folder = place.path("shared").canonicalize().unwrap_or_else(|_| {
        fs::create_dir(place.path("shared")).unwrap();
        place.path("shared").canonicalize().unwrap()
    });
    let shared = folder.to_str().unwrap().to_owned();
    fs::write(folder.join("in"), "from the machine\n").unwrap();
    let mount = format!("{shared}:/data");
    let reads = special("cat /data/in; touch /data/out && echo written; true", &[("mount", &mount)]);
    let granted = format!("{{containers: {{mounts: [\"{shared}\"]}}}}");

    // Not granted, and granted where the engine does not allow it: line, column, who decides.
    let missing = format!("`grants: [{{ containers: {{ mounts: [\"{shared}\"] }} }}]`");
    run(&place, "{containers: {}}", &reads).expect(1, &["no grant has", &missing]);
    run(&place, &granted, &reads).expect(2, &["WF058", "`probe` cannot have `containers` with `mounts:"]);
    let body = place.command(&["validate", "w.yaml", "--json"]).output().unwrap().stdout;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let found = &body["items"][0]["diagnostics"][0];
    assert_eq!((&found["code"], &found["line"]), (&json!("WF058"), &json!(5)), "{body}");
    let (column, help) = (found["column"].as_u64().unwrap(), found["help"].as_str().unwrap());
    assert!(column > 100 && help.contains("`plugins: { \"sha256:"), "{found}");
    assert!(help.contains(place.path("data/config.yaml").to_str().unwrap()), "{found}");
    let digest = place.json(&["plugin", "inspect", "./probe.wasm"])["digest"].as_str().unwrap().to_owned();

    // The engine allows it to that component.
    place.write(
        "data/config.yaml",
        format!("plugins: {{ \"{digest}\": {{ grants: {{ containers: {{ mounts: [\"{shared}\"] }} }} }} }}"),
    );
    let read = outputs(&place, &run(&place, &granted, &reads).expect(0, &[]));
    let tail: Vec<&str> =
        read["tail"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(tail.contains(&"from the machine") && !tail.contains(&"written"), "{read}");
    assert!(!folder.join("out").exists());
    let writable = format!("{{containers: {{mounts: [\"{shared}:rw\"]}}}}");
    run(&place, &writable, &reads).expect(2, &["with `mounts: ["]);

    // Out of it leads neither `..` nor a link.
    std::os::unix::fs::symlink("/etc", folder.join("etc")).unwrap();
    for (path, says) in [
        (format!("{shared}/../../../../etc:/data"), "no grant has"),
        (format!("{shared}/etc:/data"), "leads to `/etc`: no grant has `/etc` of the machine"),
        (format!("{shared}/etc/passwd:/data"), "leads to `/etc/passwd`"),
    ] {
        run(&place, &granted, &special("true", &[("mount", &path)])).expect(1, &[says]);
    }
}

#[test]
fn privileges_and_the_network_of_the_machine_are_granted_for_themselves() {
    docker::make_image();
    let place = place("grants: { containers: { privileged: true, network: host } }");
    let network = special("busybox ls /sys/class/net", &[("network", "host")]);
    let says = ["`grants: [{ containers: { network: host } }]`"];
    run(&place, "{containers: {privileged: true}}", &network).expect(1, &says);
    let seen = outputs(&place, &run(&place, "{containers: {network: host}}", &network).expect(0, &[]));
    assert!(seen["tail"].as_array().unwrap().len() > 1, "{seen}");

    let privileged = special("true", &[("privileged", "true")]);
    let says = ["no grant lets containers be privileged", "`grants: [{ containers: { privileged: true } }]`"];
    run(&place, "{containers: {network: host}}", &privileged).expect(1, &says);
    let ended = run(&place, "{containers: {privileged: true}}", &privileged);
    let plan = place.json(&["workflow", "plan", "w.yaml"]);
    let planned = &plan["steps"][0]["stages"][0]["plugin"];
    let expected = json!({ "privileged": true, "host_network": false, "mounts": [] });
    assert_eq!(planned["containers"], expected, "{planned}");
    let drawn = place.yuanli(&["workflow", "plan", "w.yaml"]).out;
    assert!(drawn.contains("with { containers: { privileged: true } }"), "{drawn}");
    // A machine inside of another may not have all rights itself: Docker was asked for them all the same.
    assert!(ended.code == 0 || ended.err.contains("unable to apply caps"), "{ended:?}");
}

#[test]
fn the_plugin_command_asks_for_what_its_stage_was_granted() {
    docker::make_image();
    let place = place("plugins: { command: { grants: { containers: { mounts: [/usr/share] } } } }");
    let stage = |grants: &str, with: &str| {
        let text = format!(
            "name: w\nstages:\n  a:\n    uses: command\n    grants: {grants}\n    with: {{ image: {}, command: [sh, -c, \
             \"busybox ls /data | busybox wc -l\"], {with} }}\n",
            docker::IMAGE
        );
        place.yuanli(&["run", &place.write("w.yaml", text)])
    };
    let mounts = "mounts: [\"/usr/share:/data\"]";
    stage("[]", mounts).expect(1, &["no grant has `/usr/share`"]);
    stage("[{containers: {mounts: [/usr/share]}}]", mounts).expect(0, &[]);
    stage("[{containers: {mounts: [/usr]}}]", mounts).expect(2, &["plugins.command.grants.containers"]);
    stage("[]", "privileged: true").expect(1, &["containers: { privileged: true }"]);
    stage("[]", "network: host").expect(1, &["containers: { network: host }"]);
    stage("[]", "network: hots").expect(2, &["network"]);
}

#[test]
fn volumes_are_kept_by_name_and_removed_by_who_may() {
    docker::make_image();
    let place = place("");
    let used = json!({ "do": "volume", "name": "cache-e2e", "image": docker::IMAGE });
    let seen = outputs(&place, &run(&place, "{volumes: {names: [\"cache-*\"]}}", &used).expect(0, &[]));
    assert_eq!(
        (&seen["made"], &seen["tail"], &seen["size"]),
        (&json!([true, false]), &json!(["kept"]), &json!(5)),
        "{seen}"
    );
    let plan = place.json(&["workflow", "plan", "w.yaml"]);
    let planned = &plan["steps"][0]["stages"][0]["plugin"];
    assert_eq!(planned["volumes"], json!([{ "names": ["cache-*"], "remove": false }]), "{planned}");
    let drawn = place.yuanli(&["workflow", "plan", "w.yaml"]).out;
    assert!(drawn.contains("only within { volumes: { names: [\"cache-*\"] } }"), "{drawn}");
    let engine = place.engine();
    let volumes =
        || docker::run(&["volume", "ls", "-q", "--filter", &format!("label=yuanli.engine={engine}")]);
    assert_eq!(volumes().trim(), format!("yuanli-{engine}-cache-e2e"), "it outlives its run");

    let remove = json!({ "do": "volume", "name": "cache-e2e", "only": "remove" });
    run(&place, "{volumes: {names: [\"cache-*\"]}}", &remove).expect(1, &["remove: true"]);
    run(&place, "{volumes: {names: [other], remove: true}}", &remove)
        .expect(1, &["no grant has the volume `cache-e2e`"]);

    // The plugin of the engine finds it.
    let text = format!(
        "name: w\nstages:\n  a:\n    uses: command\n    with: {{ image: {}, volumes: [\"cache-e2e:/cache:ro\"], command: [sh, -c, \
         \"busybox cat /cache/x\"] }}\n",
        docker::IMAGE
    );
    let ended = place.yuanli(&["run", &place.write("w.yaml", text)]).expect(0, &[]);
    assert!(place.yuanli(&["runs", "logs", ended.out.trim()]).out.contains("kept"));
    place.write("data/config.yaml", "grants: { volumes: { names: [\"cache-*\"] } }");
    run(&place, "{volumes: {remove: true}}", &remove).expect(2, &["with `remove: true`", "`grants.volumes`"]);
    place.write("data/config.yaml", "");
    run(&place, "{volumes: {names: [\"cache-*\"], remove: true}}", &remove).expect(0, &[]);
    assert_eq!(volumes().trim(), "");
}

#[test]
fn the_engine_gives_no_more_than_its_configuration_says() {
    let place = place("limits: { memory: 32MiB, timeout: 1s, handles: 5 }");
    let hoard = workflow("workspace", &json!({ "do": "memory" })) + "    limits: { memory: 1GiB }\n";
    let file = place.write("w.yaml", hoard);
    let says = ["may have 33554432, which is the most that the engine gives", "`limits: { memory: … }` in `"];
    place.yuanli(&["run", &file]).expect(1, &says);
    run(&place, "workspace", &json!({ "do": "loop" }))
        .expect(1, &["it took longer than 1s, which is the most that the engine"]);
    // What a plugin says of itself is told before it runs, too.
    place.write("noop.wasm", NOOP.component);
    let said = place.json(&["plugin", "inspect", "./noop.wasm"]);
    assert_eq!(said["limits"], json!({ "memory_bytes": 64 << 20, "handles": 0 }), "{said}");
    let told = place.yuanli(&["plugin", "inspect", "./noop.wasm"]).out;
    assert!(told.contains("at most memory 64.0 MiB, 0 handles"), "{told}");
}

#[test]
fn a_configuration_is_named_by_flag_before_environment_before_the_data_directory() {
    let place = place("grants: { volumes: false }");
    place.write("none.yaml", "");
    place.write("apps.yaml", "grants: { apps: false }");
    let file = place.write("w.yaml", workflow("workspace", &json!({ "do": "talk" })));
    let validate = |arguments: &[&str], environment: Option<&str>| {
        let mut command = place.command(&[&["validate", file.as_str()], arguments].concat());
        environment.map(|file| command.env("YUANLI_CONFIG", file));
        Ended::of(command.output().unwrap())
    };
    validate(&[], None).expect(2, &["cannot have `volumes`"]);
    validate(&[], Some("apps.yaml")).expect(2, &["cannot have `apps`", "apps.yaml"]);
    validate(&["--config", "none.yaml"], Some("apps.yaml")).expect(0, &[]);
    validate(&["--config", "missing.yaml"], None)
        .expect(2, &["the configuration `missing.yaml` cannot be read"]);
    place.write("wrong.yaml", "grants:\n  volumse: false\n");
    let says = ["wrong.yaml:2:3", "`volumse` is no capability", "did you mean `volumes`?"];
    validate(&["--config", "wrong.yaml"], None).expect(2, &says);
    place.yuanli(&["run", &file, "--config", "wrong.yaml"]).expect(2, &says);
    assert!(!place.path("data/engine.json").exists(), "nothing was begun");
}

#[test]
fn what_is_applied_to_an_engine_is_granted_as_far_as_that_engine_allows() {
    let served = Served::new();
    served.place.write("probe.wasm", PROBE.component);
    let privileged = workflow("{containers: {privileged: true}}", &json!({ "do": "give", "outputs": {} }));
    let file = served.place.write("w.yaml", privileged);
    // Whoever applies it does not decide it: the configuration of the client is of no account.
    served.place.write("mine.yaml", "grants: { containers: { privileged: true } }");
    let applied = served.place.yuanli(&["workflow", "apply", &file, "--config", "mine.yaml"]);
    applied.expect(
        2,
        &["WF058", "cannot have `containers` with `privileged: true` on this engine", "data/config.yaml"],
    );
    served.apply("w.yaml", &workflow("{containers: {}}", &json!({ "do": "give", "outputs": {} })));
}
