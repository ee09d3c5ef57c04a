//! TLS of the API, and engines that have names.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::served::Served;
use crate::support::{Ended, Place, wait_until};

fn pem(kind: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}

/// Somebody who vouches for servers on this machine.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = pem("CERTIFICATE", authority.self_signed(&key).unwrap().der());
        Self { issuer: Issuer::new(authority, key), pem }
    }

    /// A certificate for this machine with its key, as PEM.
    fn certificate(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der()))
    }
}

/// An engine with TLS by a certificate of this authority.
fn served(authority: &Authority) -> Served {
    let mut served = Served::without_image();
    assert_eq!(served.stop(), 0);
    let (certificate, key) = authority.certificate();
    let certificate = served.place.write("api.pem", certificate);
    let key = served.place.write("api.key", key);
    served.start_with(&[("YUANLI_TLS_CERTIFICATE", &certificate), ("YUANLI_TLS_KEY", &key)]);
    served
}

/// Whether a client that trusts this authority alone is answered.
fn is_trusted(served: &Served, ca: &str) -> bool {
    let url = format!("https://{}/healthz", served.api);
    let output = Command::new("curl").args(["-sS", "--cacert", ca, &url]).output().unwrap();
    output.stdout == b"ok\n"
}

#[test]
fn the_api_proves_itself_and_takes_a_new_certificate_without_dropping_connections() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let served = served(&first);
    let ca = served.place.write("first.pem", &first.pem);
    let other = served.place.write("second.pem", &second.pem);
    let token = served.yuanli(&["token", "create", "t", "--role", "operator"]).expect(0, &[]).out;
    let (url, plain) = (format!("https://{}", served.api), format!("http://{}", served.api));
    let ask =
        |url: &str, more: &[&str]| served.yuanli(&[&["--url", url, "--token", token.trim()], more].concat());
    assert_eq!(
        ask(&url, &["--ca", &ca, "token", "whoami"]).expect(0, &[]).out,
        "t: operator of the engine\n"
    );
    ask(&url, &["token", "whoami"]).expect(3, &["vouches for it", "--ca FILE"]);
    ask(&url, &["--ca", &other, "token", "whoami"]).expect(3, &["vouches for it"]);
    ask(&plain, &["token", "whoami"]).expect(3, &[]);
    ask(&url, &["--ca", "none.pem", "token", "whoami"]).expect(2, &["none.pem"]);
    assert!(is_trusted(&served, &ca) && !is_trusted(&served, &other));

    // Somebody follows a run while the certificate changes.
    served.apply("ask.yaml", "name: ask\nstages: { a: { approval: true } }\n");
    let localhost = url.replace("127.0.0.1", "localhost");
    let mut follow = served.place.command(&[
        "--url",
        &localhost,
        "--token",
        token.trim(),
        "--ca",
        &ca,
        "trigger",
        "ask",
        "--follow",
    ]);
    let follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    wait_until("it runs", || served.place.json(&["runs", "list"])["items"][0]["status"] == "running");

    // A key that is not that of the certificate changes nothing.
    let (certificate, key) = second.certificate();
    served.place.write("api.pem", &certificate);
    let log = || std::fs::read_to_string(served.place.path("log")).unwrap();
    wait_until("it says so", || log().contains("the new certificate is not taken"));
    assert!(is_trusted(&served, &ca));
    served.place.write("api.key", &key);
    wait_until("it has the new one", || is_trusted(&served, &other));
    assert!(!is_trusted(&served, &ca));
    assert_eq!(log().matches("the new certificate is not taken").count(), 1, "it is said once");

    served.yuanli(&["runs", "approve", "last", "a"]).expect(0, &[]);
    let ended = Ended::of(follow.wait_with_output().unwrap()).expect(0, &[]);
    assert!(!ended.err.contains("waiting for the engine"), "its connection was kept: {}", ended.err);
}

#[test]
fn what_cannot_be_a_certificate_keeps_an_engine_from_starting() {
    let place = Place::new();
    let (certificate, _) = Authority::new("one").certificate();
    let (_, key) = Authority::new("one").certificate();
    let (certificate, key) = (place.write("c.pem", certificate), place.write("k.pem", key));
    let start = |certificate: &str, key: &str| {
        place.yuanli(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--tls-certificate",
            certificate,
            "--tls-key",
            key,
        ])
    };
    start(&certificate, &key).expect(3, &["c.pem", "k.pem"]);
    start(&key, &key).expect(3, &["has no certificate"]);
    start("none.pem", &key).expect(3, &["none.pem"]);
    let one = ["serve", "--tls-key", &key];
    place.yuanli(&one).expect(2, &["`tls_key` (flag --tls-key)", "no `tls_certificate`"]);
    place.yuanli(&["serve", "--open", "--listen", "0.0.0.0:0"]).expect(3, &["can be reached from others"]);
}

#[test]
fn what_an_engine_serves_by_is_told_with_where_it_comes_from() {
    let place = Place::new();
    place.write(
        "data/config.yaml",
        "serve: { listen: '127.0.0.1:1', token_rate: 5/m, tls_certificate: c.pem }\n",
    );
    let print = |more: &[&str]| {
        let mut command = place.command(&[&["serve", "--print-config"], more].concat());
        Ended::of(command.env("YUANLI_TOKEN_RATE", "7/m").env("YUANLI_TLS_KEY", "k.pem").output().unwrap())
    };
    let told = print(&["--listen", "127.0.0.1:9"]).expect(0, &[]).out;
    let line = |key: &str| {
        let found = told.lines().find(|line| line.trim_start().starts_with(&format!("{key}:")));
        found.unwrap_or_else(|| panic!("{key} in {told}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("listen"), "listen: \"127.0.0.1:9\" # flag --listen");
    assert_eq!(line("token_rate"), "token_rate: \"7/m\" # variable YUANLI_TOKEN_RATE");
    assert_eq!(line("write_timeout"), "write_timeout: \"60s\" # default");
    let certificate = place.path("data/c.pem");
    assert!(line("tls_certificate").contains(&format!("\"{}\" # file ", certificate.display())), "{told}");
    // What is printed is a configuration itself.
    place.write("again.yaml", &told);
    let again = print(&["--config", "again.yaml"]).expect(0, &[]).out;
    assert!(again.contains("127.0.0.1:9\"") && again.contains("# file again.yaml"), "{again}");
    let json = print(&["--json"]).expect(0, &[]);
    assert_eq!(json.lines()[0]["items"][0]["source"].as_str().map(|source| &source[..5]), Some("file "));
    place.write("data/config.yaml", "serve: { token_rate: many }\n");
    let wrong = Ended::of(place.command(&["serve"]).output().unwrap());
    wrong.expect(2, &["`token_rate` (file ", "`many` is no rate"]);
    assert!(!place.path("data/engine.json").exists(), "nothing was begun");
}

#[test]
fn engines_have_names_and_a_flag_goes_before_the_environment_before_the_name_in_use() {
    let (first, second) = (Served::without_image(), Served::without_image());
    let token = |served: &Served, name: &str| {
        served.yuanli(&["token", "create", name, "--role", "viewer"]).expect(0, &[]).out
    };
    let place = Place::new();
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = place.command(arguments);
        command.env_remove("YUANLI_DATA").env("XDG_CONFIG_HOME", place.path("config"));
        command.env("XDG_DATA_HOME", place.path("home")).envs(environment.iter().copied());
        command
    };
    let yuanli = |arguments: &[&str], environment: &[(&str, &str)]| {
        Ended::of(run(arguments, environment).output().unwrap())
    };
    let whoami = |arguments: &[&str], environment: &[(&str, &str)]| {
        yuanli(&[arguments, &["token", "whoami"]].concat(), environment).expect(0, &[]).out
    };
    let (one, two) = (token(&first, "one"), token(&second, "two"));
    let of = |served: &Served| format!("http://{}", served.api);
    let (first_url, second_url) = (of(&first), of(&second));

    yuanli(&["context", "add", "a", "--url", "ftp://x"], &[]).expect(2, &["is no URL of an engine"]);
    yuanli(&["context", "add", "a"], &[]).expect(2, &["--url"]);
    yuanli(&["context", "use", "a"], &[]).expect(2, &["there is no context `a`"]);
    let file = place.write("one.token", &one);
    yuanli(&["context", "add", "a", "--url", &first_url, "--token-file", &file], &[]).expect(0, &["is kept"]);
    let mut add = run(&["context", "add", "b", "--url", &second_url, "--token-stdin"], &[]);
    let stdin = std::fs::File::open(place.write("two.token", &two)).unwrap();
    assert!(add.stdin(stdin).status().unwrap().success());
    let contexts = place.path("config/yuanli/contexts.json");
    assert_eq!(std::fs::metadata(&contexts).unwrap().permissions().mode() & 0o777, 0o600);

    // Nothing is in use yet: the engine of the data directory, which is not there.
    yuanli(&["token", "whoami"], &[]).expect(3, &["no engine serves"]);
    yuanli(&["context", "use", "a"], &[]).expect(0, &[]);
    assert_eq!(whoami(&[], &[]), "one: viewer of the engine\n");
    let (said, named) = ([("YUANLI_CONTEXT", "b")], ["--context", "a"]);
    assert_eq!(
        whoami(&[], &said),
        "two: viewer of the engine\n",
        "the environment goes before what is in use"
    );
    assert_eq!(whoami(&named, &said), "one: viewer of the engine\n", "and a flag before that");
    let url = [("YUANLI_URL", second_url.as_str()), ("YUANLI_TOKEN", two.trim())];
    assert_eq!(whoami(&[], &url), "two: viewer of the engine\n");
    assert_eq!(whoami(&named, &url[..1]), "one: viewer of the engine\n", "a name that was typed too");
    yuanli(&["--url", &second_url, "token", "whoami"], &[]).expect(3, &["Bearer"]);
    let data = first.place.data();
    assert_eq!(whoami(&["--data", data.to_str().unwrap()], &url), "owner: admin of the engine\n");
    assert_eq!(whoami(&[], &[("YUANLI_DATA", data.to_str().unwrap())]), "owner: admin of the engine\n");
    yuanli(&["--url", "http://x", "--context", "a", "runs", "list"], &[]).expect(2, &["give one"]);

    let listed = yuanli(&["context", "list"], &[]).expect(0, &[]).out;
    assert!(listed.contains(&second_url) && !listed.contains(two.trim()), "{listed}");
    yuanli(&["context", "remove", "a"], &[]).expect(0, &["was in use", "is forgotten"]);
    yuanli(&["token", "whoami"], &[]).expect(3, &["no engine serves"]);
    std::fs::set_permissions(&contexts, std::fs::Permissions::from_mode(0o640)).unwrap();
    yuanli(&["--context", "b", "token", "whoami"], &[]).expect(2, &["chmod 600"]);
}
