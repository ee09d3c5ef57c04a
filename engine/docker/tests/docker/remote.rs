//! Engines that are reached over TLS, with certificates and contexts as the docker program has them.

#[path = "../../../../tests/dockerd.rs"]
pub(crate) mod dockerd;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use yuanli_docker::{Docker, Options, Place, Tls};
use yuanli_model::Digest;
use yuanli_ports::Images;
use yuanli_ports::containers::ContainerError;

use self::dockerd::Dockerd;

/// An authority with a certificate of a server at 127.0.0.1 and one of a client, as Docker's manual makes them.
fn make_certificates(folder: &Path) {
    let script = "set -e
        key() { openssl ecparam -name prime256v1 -genkey -noout -out $1; }
        key ca-key.pem; key server-key.pem; key key.pem; key other-key.pem
        openssl req -new -x509 -days 2 -key ca-key.pem -subj /CN=tests -out ca.pem
        openssl req -new -x509 -days 2 -key other-key.pem -subj /CN=somebody -out other-ca.pem
        openssl req -new -key server-key.pem -subj /CN=server -out server.csr
        printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >server.cnf
        openssl x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -extfile server.cnf -out server-cert.pem
        openssl req -new -key key.pem -subj /CN=client -out client.csr
        printf 'extendedKeyUsage=clientAuth\n' >client.cnf
        openssl x509 -req -days 2 -in client.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -extfile client.cnf -out cert.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().expect("sh");
    assert!(made.status.success(), "{made:?}");
}

/// An engine that speaks TLS on a port, and where.
fn engine() -> (Dockerd, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = format!("tcp://{}", listener.local_addr().expect("an address"));
    let engine = Dockerd::at(listener, |folder| {
        make_certificates(folder);
        let file = |name: &str| folder.join(name).display().to_string();
        vec![
            "--tlsverify".to_owned(),
            format!("--tlscacert={}", file("ca.pem")),
            format!("--tlscert={}", file("server-cert.pem")),
            format!("--tlskey={}", file("server-key.pem")),
        ]
    });
    (engine, host)
}

fn files(folder: &Path, [authority, certificate, key]: [Option<&str>; 3]) -> Tls {
    let file = |name: Option<&str>| name.map(|name| folder.join(name));
    Tls { authority: file(authority), certificate: file(certificate), key: file(key) }
}

async fn connect(host: &str, tls: Option<Tls>) -> Result<Docker, ContainerError> {
    let place = Place::At { host: host.to_owned(), tls };
    Docker::connect(Options { place, ..Options::default() }).await
}

/// Settings of the docker program with a context, written by itself.
fn context(folder: &Path, host: &str) -> PathBuf {
    let settings = folder.join("settings");
    let file = |name: &str| folder.join(name).display().to_string();
    let endpoint =
        format!("host={host},ca={},cert={},key={}", file("ca.pem"), file("cert.pem"), file("key.pem"));
    let made = Command::new("docker")
        .args(["context", "create", "far", "--docker", &endpoint])
        .env("DOCKER_CONFIG", &settings)
        .output()
        .expect("the docker program");
    assert!(made.status.success(), "{made:?}");
    settings
}

#[tokio::test]
async fn an_engine_is_reached_over_tls_by_who_can_prove_it() {
    let (engine, host) = engine();
    let folder = engine.folder().to_owned();
    let right = files(&folder, [Some("ca.pem"), Some("cert.pem"), Some("key.pem")]);
    let docker = connect(&host, Some(right)).await.expect("it is reached");
    assert!(matches!(docker.inspect("nosuch").await, Err(ContainerError::NotFound(_))), "and answers");

    for (tls, says) in [
        (
            Some(files(&folder, [Some("ca.pem"), None, None])),
            "It wants to know who asks: give `cert.pem` and `key.pem`",
        ),
        (
            Some(files(&folder, [Some("other-ca.pem"), Some("cert.pem"), Some("key.pem")])),
            "its authority as `ca.pem`",
        ),
        (Some(files(&folder, [None, Some("cert.pem"), Some("key.pem")])), "its authority as `ca.pem`"),
        (
            Some(files(&folder, [Some("nosuch.pem"), None, None])),
            "nosuch.pem, which the connection to Docker needs",
        ),
        (Some(files(&folder, [Some("key.pem"), None, None])), "there is no certificate in it"),
        (
            Some(files(&folder, [Some("ca.pem"), Some("cert.pem"), Some("ca-key.pem")])),
            "ca-key.pem, which the connection",
        ),
        (None, "set DOCKER_TLS_VERIFY=1 to speak TLS"),
    ] {
        let error = connect(&host, tls.clone()).await.expect_err("refused").to_string();
        assert!(error.contains(says), "{tls:?}: {error}");
    }
    let by_name = host.replace("127.0.0.1", "localhost");
    let right = files(&folder, [Some("ca.pem"), Some("cert.pem"), Some("key.pem")]);
    let error = connect(&by_name, Some(right)).await.expect_err("another name").to_string();
    assert!(error.contains("Use a name that stands in its certificate"), "{error}");
}

#[tokio::test]
async fn a_context_of_the_docker_program_says_where_and_who() {
    let (engine, host) = engine();
    let settings = context(engine.folder(), &host);
    let meta = settings.join("contexts/meta").join(Digest::of(b"far").hex()).join("meta.json");
    assert!(meta.exists(), "as the docker program writes it");
    let at = |name: &str| Options {
        place: Place::Context(name.to_owned()),
        settings: Some(settings.clone()),
        ..Options::default()
    };
    let docker = Docker::connect(at("far")).await.expect("it is reached");
    assert!(matches!(docker.inspect("nosuch").await, Err(ContainerError::NotFound(_))));
    let error = Docker::connect(at("near")).await.expect_err("there is none").to_string();
    assert!(error.contains("the docker context `near` does not exist"), "{error}");
}

#[tokio::test]
async fn who_speaks_tls_to_who_does_not_is_told() {
    let far = crate::proxy::Far::new().await;
    let Place::At { host, .. } = far.options().place else { panic!("an address") };
    let error = connect(&host, Some(Tls::default())).await.expect_err("no TLS").to_string();
    assert!(error.contains("What answers there does not speak TLS"), "{error}");
}
