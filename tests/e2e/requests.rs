//! HTTP requests of plugins: what a document grants is what they reach.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use yuanli_test_guests::PROBE;

use crate::support::Place;

/// A server that answers this many requests with what it was sent, each on a connection of its own.
fn echo(requests: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = vec![0; 64 * 1024];
            let read = stream.read(&mut head).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {read}\r\n\r\n").unwrap();
            stream.write_all(&head[..read]).unwrap();
        }
    });
    address
}

fn workflow(grant: &str, with: &str) -> String {
    let others = "secrets, secrets-reveal, workspace, source, images, registries, containers, volumes, apps, traffic, metrics, backups, artifacts, state, events";
    format!(
        "name: w\ninputs: {{ key: {{ type: secret, default: hidden }} }}\nstages:\n  ask:\n    uses: ./probe.wasm\n    grants: [{others}, {grant}]\n    \
         with: {{ do: request, method: GET, {with} }}\n"
    )
}

fn place() -> Place {
    let place = Place::new();
    place.write("probe.wasm", PROBE.component);
    place.write("key", "s3cret-t0ken\n");
    place
}

#[test]
fn a_stage_asks_what_it_was_granted_with_a_secret_that_it_does_not_see() {
    let place = place();
    let server = echo(1);
    let with = format!("url: \"http://{server}/v1/x\", key: \"${{{{ inputs.key }}}}\"");
    let grant = format!("{{ http: {{ hosts: [\"{server}\"], paths: [\"/v1/**\"] }} }}");
    let file = place.write("w.yaml", workflow(&grant, &with));
    let planned = place.yuanli(&["run", &file, "--dry", "--secret", "hidden=file:key"]).expect(0, &[]);
    let line = format!(
        "only within {{ http: {{ hosts: [\"{server}\"], methods: [GET, HEAD], paths: [\"/v1/**\"] }} }}"
    );
    assert!(planned.out.contains(&line), "{}", planned.out);
    let body = place.json(&["workflow", "plan", &file]);
    let http = &body["steps"][0]["stages"][0]["plugin"]["http"][0];
    assert_eq!(
        (http["hosts"][0].as_str(), &http["private"]),
        (Some(server.to_string().as_str()), &false.into())
    );

    let ended = place.yuanli(&["run", &file, "--secret", "hidden=file:key"]).expect(0, &[]);
    let outputs = &place.json(&["runs", "show", ended.out.trim()])["stages"][0]["outputs"];
    let sent = outputs["body"].as_str().unwrap();
    assert!(
        sent.starts_with("GET /v1/x HTTP/1.1\r\n") && sent.contains("authorization: Bearer ***\r\n"),
        "{sent}"
    );
}

#[test]
fn what_was_not_granted_is_refused_with_what_would_grant_it() {
    let place = place();
    let check = |grant: &str, url: &str, says: &str| {
        let file = place.write("w.yaml", workflow(grant, &format!("url: \"{url}\"")));
        place.yuanli(&["run", &file, "--secret", "hidden=file:key"]).expect(1, &[says]);
    };
    check("{ http: { hosts: [a.example] } }", "https://b.example/", "hosts: [b.example]");
    check("{ http: { hosts: [a.example], paths: [/x] } }", "https://a.example/y", "paths: [\"/y\"]");
    check("{ http: { hosts: [localhost] } }", "http://localhost/", "which is this machine; it would take");
    let file = place.write("w.yaml", workflow("http", "url: \"https://b.example/\""));
    place
        .yuanli(&["validate", &file])
        .expect(2, &["`http` does not say which hosts it is for", "{ http: { hosts: [api.example.com] } }"]);
}
