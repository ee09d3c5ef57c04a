//! Plugins that are fetched, from servers of the test, and what goes from one data directory to another.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use yuanli_test_guests::{NOOP, noop};

use crate::served::Served;
use crate::support::{Place, wait_until};

/// A server that answers each path with what `answer` gives; it goes with the test.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> SocketAddr {
    serve_with(answer, Some)
}

/// The same over what `wrap` makes of a connection.
fn serve_with<S: Read + Write>(
    answer: impl Fn(&str) -> Vec<u8> + Send + 'static,
    wrap: impl Fn(TcpStream) -> Option<S> + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Some(mut stream) = stream.ok().and_then(&wrap) else { continue };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = stream.write_all(&answer(&path));
            let _ = stream.flush();
        }
    });
    address
}

/// An authority of one's own, as PEM, and what a server for `localhost` with a certificate of it does with connections.
fn authority() -> (String, impl Fn(TcpStream) -> Option<StreamOwned<ServerConnection, TcpStream>> + Send) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        );
    let server = Arc::new(server.unwrap());
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        base64::engine::general_purpose::STANDARD.encode(root.der())
    );
    let wrap = move |stream| Some(StreamOwned::new(ServerConnection::new(Arc::clone(&server)).ok()?, stream));
    (pem, wrap)
}

fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

fn hex(component: &[u8]) -> String {
    Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_component_is_added_from_where_it_is_served_once_its_digest_is_agreed_to() {
    let component = noop("0.3.0");
    let digest = hex(&component);
    let address = serve(move |path| match path {
        "/noop.wasm" => ok(&noop("0.3.0")),
        "/latest" => redirect("/noop.wasm"),
        "/text" => ok(b"no wasm"),
        "/far" => redirect("http://example.invalid/noop.wasm"),
        "/short" => b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\nhalf of it".to_vec(),
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
    });
    let url = |path: &str| format!("http://{address}{path}");
    let place = Place::new();
    let add = |path: &str, more: &[&str]| place.yuanli(&[&["plugin", "add", &url(path)][..], more].concat());
    // Nobody can be asked: it is told what would have been asked.
    add("/latest", &[])
        .expect(2, &["fetched http://", "nobody can be asked here", &format!("--sha256 {digest}")]);
    assert_eq!(
        place.json(&["plugin", "list"])["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|p| p["name"] == "noop")
            .count(),
        0
    );
    add("/latest", &["--sha256", &hex(b"other")]).expect(2, &["was asked for", "another component"]);
    let ended = add("/latest", &["--sha256", &digest]).expect(0, &["added noop 0.3.0"]);
    assert_eq!(ended.out, "noop@0.3.0\n");
    let file = place.write("w.yaml", "name: w\nstages:\n  a: { uses: noop@0.3.0, with: {} }\n");
    place.yuanli(&["run", &file]).expect(0, &[]);
    let again = place.json(&[
        "plugin",
        "add",
        &url("/noop.wasm"),
        "--sha256",
        &format!("sha256:{}", digest.to_uppercase()),
    ]);
    assert_eq!(
        (&again["outcome"], &again["digest"]),
        (&json!("present"), &json!(format!("sha256:{digest}")))
    );
    add("/text", &["--sha256", &hex(b"no wasm")]).expect(2, &["no WebAssembly component"]);
    add("/none", &[]).expect(2, &["answered with status 404"]);
    add("/far", &[]).expect(2, &["http://example.invalid/noop.wasm` is not encrypted", "--sha256"]);
    add("/short", &[]).expect(2, &["/short` cannot be fetched", "broke off"]);
    add("/latest", &["--sha256", "abc"]).expect(2, &["`abc` is no SHA-256"]);
    place.write("noop.wasm", NOOP.component);
    place
        .yuanli(&["plugin", "add", "noop.wasm", "--sha256", &digest])
        .expect(2, &["`--sha256` is for what is fetched"]);
    place.yuanli(&["plugin", "add", "http://example.invalid/x.wasm"]).expect(2, &["not encrypted"]);
}

#[test]
fn a_server_of_an_own_authority_is_trusted_once_that_is_named() {
    let (pem, wrap) = authority();
    let address = serve_with(|_| ok(&noop("0.4.0")), wrap);
    let url = format!("https://localhost:{}/noop.wasm", address.port());
    let digest = hex(&noop("0.4.0"));
    let place = Place::new();
    place.write("ca.pem", pem);
    place.write("other.pem", authority().0);
    place.write("text.pem", "none");
    let add =
        |more: &[&str]| place.yuanli(&[&["plugin", "add", &url, "--sha256", &digest][..], more].concat());
    add(&[]).expect(2, &["no secure connection to `localhost`", "`--ca FILE`", "`authorities`"]);
    add(&["--ca", "other.pem"]).expect(2, &["no secure connection to `localhost`"]);
    add(&["--ca", "text.pem"]).expect(2, &["the authorities in `text.pem`: it has no certificate"]);
    add(&["--ca", "none.pem"]).expect(2, &["the authorities in `none.pem`: No such file"]);
    add(&["--ca", "ca.pem"]).expect(0, &["added noop 0.4.0"]);
    // Or for all that the engine asks, from where its configuration lies.
    place.write("data/config.yaml", "authorities: ../ca.pem\n");
    add(&[]).expect(0, &["noop 0.4.0", "was there already"]);
    place.write("data/config.yaml", "authorities: [../text.pem]\n");
    place.yuanli(&["validate", "w.yaml"]).expect(2, &["names the authorities in", "it has no certificate"]);
    place.write("data/config.yaml", "");
    place.write("noop.wasm", NOOP.component);
    place
        .yuanli(&["plugin", "add", "noop.wasm", "--ca", "ca.pem"])
        .expect(2, &["`--ca` is for what is fetched"]);
}

#[test]
fn a_redirect_leads_to_no_private_address_that_nobody_has_typed() {
    let inner = serve(|_| ok(&noop("0.5.0")));
    let digest = hex(&noop("0.5.0"));
    // From one name of this machine to another: whoever typed `localhost` has not said 127.0.0.1.
    let outer = serve(move |path| match path {
        "/there" => redirect(&format!("http://127.0.0.1:{}/noop.wasm", inner.port())),
        "/v6" => redirect(&format!("http://[::ffff:127.0.0.1]:{}/noop.wasm", inner.port())),
        "/meta" => redirect("http://169.254.169.254/latest/meta-data"),
        "/here" => redirect("/noop.wasm"),
        _ => ok(&noop("0.5.0")),
    });
    let place = Place::new();
    let add = |path: &str| {
        let url = format!("http://localhost:{}{path}", outer.port());
        place.yuanli(&["plugin", "add", &url, "--sha256", &digest])
    };
    for path in ["/there", "/v6", "/meta"] {
        add(path).expect(2, &["which is not fetched: it is ", "name that URL yourself"]);
    }
    add("/here").expect(0, &["added noop 0.5.0"]);
}

#[test]
fn a_folder_of_a_plugin_is_added_once_it_was_built() {
    let place = Place::new();
    place.write("mine/pyproject.toml", "");
    place.write("mine/plugin.py", "");
    let add = ["plugin", "add", "mine"];
    place.yuanli(&add).expect(2, &["the plugin in mine is not built yet: `yuanli plugin build mine`"]);
    place.write("mine/noop.wasm", NOOP.component);
    place.yuanli(&add).expect(0, &["added noop 0.1.0"]);
}

/// The copy of a component in a data directory.
fn copy_of(place: &Place, data: &str, component: &[u8]) -> PathBuf {
    place.path(data).join(format!("plugins/{}.wasm", hex(component)))
}

#[test]
fn an_export_has_the_plugins_and_a_check_looks_at_them() {
    let place = Place::new();
    place.write("one.wasm", NOOP.component);
    place.write("two.wasm", noop("0.2.0"));
    let file = place.write("w.yaml", "name: w\nstages:\n  a: { uses: noop, with: {} }\n");
    place.yuanli(&["plugin", "add", "one.wasm"]).expect(0, &[]);
    place.yuanli(&["plugin", "add", "two.wasm"]).expect(0, &[]);
    place.yuanli(&["run", &file]).expect(0, &[]);
    place.yuanli(&["admin", "export", "backup.yuanli"]).expect(0, &["exported"]);
    let there = ["--data", "there"];
    place.yuanli(&[&["admin", "import", "backup.yuanli"][..], &there].concat()).expect(0, &["imported"]);
    // Nothing is fetched or added there, and the plugin runs by name and by version.
    place.yuanli(&[&["run", &file][..], &there].concat()).expect(0, &[]);
    let listed = place.json(&[&["plugin", "list"][..], &there].concat());
    let versions = listed["items"].as_array().unwrap().iter().filter(|plugin| plugin["name"] == "noop");
    let versions: Vec<&str> = versions.map(|plugin| plugin["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["0.1.0", "0.2.0"]);
    let check = place.json(&[&["admin", "check"][..], &there].concat());
    assert_eq!((&check["is_sound"], &check["plugins"]), (&json!(true), &json!(2)), "{check}");
    let usage = place.json(&[&["admin", "usage"][..], &there].concat());
    assert_eq!(usage["plugins"], json!({ "added": 2, "components": 2 }));
    assert!(
        usage["parts"]
            .as_array()
            .unwrap()
            .iter()
            .any(|part| part["name"] == "plugins" && part["size_bytes"].as_u64() > Some(1000))
    );
    std::fs::remove_file(copy_of(&place, "there", NOOP.component)).unwrap();
    std::fs::write(copy_of(&place, "there", &noop("0.2.0")), "damaged").unwrap();
    let check = place.yuanli(&[&["admin", "check"][..], &there].concat());
    assert_eq!(check.code, 1, "{check:?}");
    for says in
        ["`noop@0.1.0` has no component", "component of the plugin `noop@0.2.0` is damaged: add it again"]
    {
        assert!(check.out.contains(says) || check.err.contains(says), "{says}: {check:?}");
    }
    // What the check says helps.
    for file in ["one.wasm", "two.wasm"] {
        place.yuanli(&[&["plugin", "add", file][..], &there].concat()).expect(0, &[]);
    }
    place.yuanli(&[&["admin", "check"][..], &there].concat()).expect(0, &[]);
}

#[test]
fn an_engine_that_stays_has_the_plugins_of_kept_workflows_ready() {
    let mut served = Served::new();
    served.place.write("noop.wasm", noop("0.7.0"));
    served.yuanli(&["plugin", "add", "noop.wasm"]).expect(0, &[]);
    served.apply("w.yaml", "name: w\nstages:\n  a: { uses: noop, with: {} }\n");
    assert_eq!(served.stop(), 0);
    std::fs::remove_dir_all(served.place.path("data/cache")).unwrap();
    std::fs::remove_file(served.place.path("log")).unwrap();
    served.start();
    let log = served.place.path("log");
    wait_until("it is ready", || {
        std::fs::read_to_string(&log).unwrap().contains("the plugins of kept workflows are ready")
    });
    let versions = std::fs::read_dir(served.place.path("data/cache")).unwrap();
    let compiled = format!("{}.cwasm", hex(&noop("0.7.0")));
    assert!(
        versions.into_iter().any(|version| version.unwrap().path().join(&compiled).is_file()),
        "nobody ran it"
    );
}
