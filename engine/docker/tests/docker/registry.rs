//! Pushing and pulling, with Debian's `docker-registry` on an address of this machine.

#[path = "../../../../tests/registry.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use yuanli_docker::{Docker, Options};
use yuanli_ports::registries::{Login, Push, RegistryError};
use yuanli_ports::secrets::SecretValue;
use yuanli_ports::{Cancellation, Images, Registries};

use self::server::{LOOPBACK, Registry, until};
use crate::support::{BUSYBOX, build_request, context, fresh_engine, with_docker};

fn login(password: &str) -> Login {
    let name = "registry-token".parse().expect("a name");
    let password = SecretValue::new(&name, password.as_bytes().to_vec()).expect("a value");
    Login { username: "ci".to_owned(), password }
}

/// Pushes, and returns what came of it and what was said.
async fn push(
    docker: &Docker,
    image: &str,
    login: Option<&Login>,
) -> (Result<String, RegistryError>, Vec<String>) {
    let lines = Mutex::new(Vec::new());
    let progress = |line| lines.lock().expect("no panic").push(line);
    let push = Push { name: image, image: None, login };
    let pushed = docker.push(push, &progress, &Cancellation::new()).await;
    (pushed, lines.into_inner().expect("no panic"))
}

async fn pull(docker: &Docker, image: &str) -> Result<yuanli_ports::registries::Pulled, RegistryError> {
    docker.pull(image, None, None, &|_| (), &Cancellation::new()).await
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled_by_its_digest() {
    with_docker(|bench| async move {
        let registry = Registry::open();
        let name = registry.name("team/shop:1.4");
        let folder =
            context(&[("Dockerfile", "FROM scratch\nCOPY what /\n"), ("what", &fresh_engine().to_string())]);
        let (built, _) = bench.build(&build_request(folder.path(), Some(&name))).await;
        let built = built.expect("an image");
        let (digest, lines) = push(&bench.docker, &name, None).await;
        let digest = digest.expect("it is pushed");
        assert!(lines.iter().any(|line| line == "layer 1 of 1 pushed"), "{lines:?}");
        let (again, lines) = push(&bench.docker, &name, None).await;
        assert_eq!(again.expect("it is there"), digest);
        assert!(lines.iter().any(|line| line == "layer 1 of 1 is there already"), "{lines:?}");
        assert_eq!(bench.docker.find(&name, None).await, Ok(digest.clone()));

        bench.docker.remove(&name).await.expect("removed");
        assert!(bench.docker.inspect(&built.id).await.is_err(), "it is gone with its only name");
        let by_digest = format!("{}@{digest}", registry.name("team/shop"));
        let pulled = pull(&bench.docker, &by_digest).await.expect("it is pulled");
        assert_eq!(
            (pulled.id, pulled.digest.as_deref(), pulled.is_new),
            (built.id, Some(digest.as_str()), true)
        );
        let again = pull(&bench.docker, &by_digest).await.expect("it is there");
        assert!(!again.is_new);
        bench.docker.remove(&by_digest).await.expect("removed");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_told_with_who_has_not_got_it() {
    with_docker(|bench| async move {
        let registry = Registry::open();
        let name = registry.name("nosuch:1");
        for error in [
            pull(&bench.docker, &name).await.expect_err("there is none"),
            bench.docker.find(&name, None).await.expect_err("there is none"),
        ] {
            let RegistryError::NotFound(message) = &error else { panic!("{error:?}") };
            assert!(
                message.contains(&registry.address.to_string()) && message.contains("nosuch"),
                "{message}"
            );
        }
        let (pushed, _) = push(&bench.docker, &name, None).await;
        assert!(matches!(pushed, Err(RegistryError::NotFound(_))), "{pushed:?}");
        let bad = pull(&bench.docker, "../containers/json").await;
        assert!(matches!(bad, Err(RegistryError::Invalid(_))), "{bad:?}");
    })
    .await;
}

#[tokio::test]
async fn a_registry_wants_to_know_who_asks() {
    with_docker(|bench| async move {
        let registry = Registry::with_users();
        let name = registry.name("shop:1");
        bench.docker.tag(BUSYBOX, &name).await.expect("it is named");
        for (login, says) in [(None, "as nobody"), (Some(login("guess")), "as `ci`")] {
            let (refused, _) = push(&bench.docker, &name, login.as_ref()).await;
            let Err(RegistryError::Denied(message)) = &refused else { panic!("{refused:?}") };
            assert!(message.contains(says) && !message.contains("guess"), "{message}");
        }
        let (pushed, _) = push(&bench.docker, &name, Some(&login("let-me-in"))).await;
        let digest = pushed.expect("it is pushed");
        // By the settings of the docker program: `ci:let-me-in`.
        let auths = format!(r#"{{"auths": {{"{}": {{"auth": "Y2k6bGV0LW1lLWlu"}}}}}}"#, registry.address);
        let settings = context(&[("config.json", &auths)]);
        let options = Options { settings: Some(settings.path().to_owned()), ..Options::from_environment() };
        let of_user = Docker::lazy(options);
        assert_eq!(of_user.find(&name, None).await, Ok(digest.clone()));
        assert_eq!(pull(&of_user, &name).await.expect("it is pulled").digest, Some(digest));
        bench.docker.remove(&name).await.expect("removed");
    })
    .await;
}

/// An address of this machine that is not the loopback one, which Docker takes any certificate from.
fn address_of_this_machine() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Sends nothing: it only chooses the address that it would send from.
    socket.connect("192.0.2.1:9").expect("a route");
    socket.local_addr().expect("an address").ip()
}

#[tokio::test]
async fn a_certificate_has_to_be_trusted_by_docker() {
    with_docker(|bench| async move {
        let ip = address_of_this_machine();
        let registry = Registry::start(ip, |folder| {
            let [certificate, key] =
                ["certificate.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
            let made = Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
                .args(["-days", "2", "-subj", "/CN=tests", "-addext", &format!("subjectAltName=IP:{ip}")])
                .args(["-keyout", &key, "-out", &certificate])
                .output()
                .expect("openssl");
            assert!(made.status.success(), "{made:?}");
            format!("http: {{ tls: {{ certificate: {certificate}, key: {key} }} }}")
        });
        let name = registry.name("shop:1");
        bench.docker.tag(BUSYBOX, &name).await.expect("it is named");
        let (refused, _) = push(&bench.docker, &name, None).await;
        let Err(RegistryError::Invalid(message)) = &refused else { panic!("{refused:?}") };
        let trusted = PathBuf::from(format!("/etc/docker/certs.d/{}", registry.address));
        assert!(message.contains(&format!("{}/ca.crt", trusted.display())), "{message}");
        // As the message says. Docker reads it for each push.
        if std::fs::create_dir_all(&trusted).is_ok() {
            let certificate = registry.folder.path().join("certificate.pem");
            std::fs::copy(certificate, trusted.join("ca.crt")).expect("a file");
            let (pushed, _) = push(&bench.docker, &name, None).await;
            std::fs::remove_dir_all(&trusted).expect("removed");
            pushed.expect("it is pushed");
        }
        bench.docker.remove(&name).await.expect("removed");
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_goes_and_comes_back_has_the_whole_image() {
    with_docker(|bench| async move {
        let registry = Registry::open();
        let name = registry.name("large:1");
        let folder = context(&[("Dockerfile", "FROM scratch\nCOPY noise /\n")]);
        let mut noise = Vec::new();
        std::fs::File::open("/dev/urandom")
            .expect("noise")
            .take(64 << 20)
            .read_to_end(&mut noise)
            .expect("noise");
        std::fs::write(folder.path().join("noise"), noise).expect("a file");
        let (built, _) = bench.build(&build_request(folder.path(), Some(&name))).await;
        let id = built.expect("an image").id;
        let uploads = registry.folder.path().join("images/docker/registry/v2/repositories/large/_uploads");
        let is_begun = move || std::fs::read_dir(&uploads).is_ok_and(|mut found| found.next().is_some());
        let killing = tokio::task::spawn_blocking(move || {
            let mut registry = registry;
            until(is_begun);
            registry.kill();
            registry.start_again();
            registry
        });
        let (pushed, _) = push(&bench.docker, &name, None).await;
        let digest = pushed.expect("Docker tries again by itself");
        let mut registry = killing.await.expect("no panic");
        bench.docker.remove(&name).await.expect("removed");
        let by_digest = format!("{}@{digest}", registry.name("large"));
        assert_eq!(pull(&bench.docker, &by_digest).await.expect("it is pulled").id, id);
        bench.docker.remove(&by_digest).await.expect("removed");

        registry.kill();
        bench.docker.tag(BUSYBOX, &name).await.expect("it is named");
        let (refused, _) = push(&bench.docker, &name, None).await;
        assert!(matches!(refused, Err(RegistryError::Unreachable(_))), "{refused:?}");
        bench.docker.remove(&name).await.expect("removed");
        registry.start_again();
    })
    .await;
}

/// Answers as a registry would that has had enough: with this status, and this body.
fn answer_all(listener: &TcpListener, status: &'static str, body: &'static str) {
    for connection in listener.incoming() {
        let Ok(mut connection) = connection else { return };
        let mut request = [0; 4096];
        let Ok(length) = connection.read(&mut request) else { continue };
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        // Docker speaks TLS first.
        if !text.contains("HTTP/1.1") {
            continue;
        }
        let is_ping = text.split(' ').nth(1) == Some("/v2/");
        let (status, body) = if is_ping { ("200 OK", "{}") } else { (status, body) };
        let length = body.len();
        let _ = write!(
            connection,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    }
}

#[tokio::test]
async fn a_registry_that_has_had_enough_is_told_apart() {
    with_docker(|bench| async move {
        let listener = TcpListener::bind((LOOPBACK, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let body = r#"{"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit."}]}"#;
        // Ends with the tests.
        std::thread::spawn(move || answer_all(&listener, "429 Too Many Requests", body));
        let name = format!("{address}/shop:1");
        for refused in
            [pull(&bench.docker, &name).await.map(drop), bench.docker.find(&name, None).await.map(drop)]
        {
            let Err(RegistryError::Throttled { message, .. }) = &refused else { panic!("{refused:?}") };
            assert!(message.contains("pull rate limit"), "{message}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_push_that_hangs_is_given_up_when_it_is_cancelled() {
    with_docker(|bench| async move {
        // Takes connections, and says nothing.
        let listener = TcpListener::bind((LOOPBACK, 0)).expect("a port");
        let name = format!("{}/shop:1", listener.local_addr().expect("an address"));
        bench.docker.tag(BUSYBOX, &name).await.expect("it is named");
        let cancel = Cancellation::new();
        let canceller = cancel.clone();
        std::thread::spawn(move || {
            let connection = listener.accept();
            canceller.cancel();
            drop(connection);
        });
        let push = Push { name: &name, image: None, login: None };
        let ended = tokio::time::timeout(Duration::from_secs(20), bench.docker.push(push, &|_| (), &cancel));
        assert_eq!(ended.await.expect("it ends"), Err(RegistryError::Cancelled));
        bench.docker.remove(&name).await.expect("removed");
    })
    .await;
}

#[tokio::test]
async fn two_that_push_under_one_name_do_not_take_it_from_each_other() {
    with_docker(|bench| async move {
        let registry = Registry::open();
        let name = registry.name("shop:1");
        let made = async |what: &str| {
            let file = format!("{what} {}", fresh_engine());
            let folder = context(&[("Dockerfile", "FROM scratch\nCOPY what /\n"), ("what", &file)]);
            bench.build(&build_request(folder.path(), None)).await.0.expect("an image").id
        };
        let (one, other) = (made("one").await, made("other").await);
        bench.docker.tag(BUSYBOX, &name).await.expect("it is somebody's");
        let push = async |image: &str| {
            let push = Push { name: &name, image: Some(image), login: None };
            let said = Mutex::new(Vec::new());
            let progress = |line| said.lock().expect("no panic").push(line);
            bench.docker.push(push, &progress, &Cancellation::new()).await.expect("it is pushed")
        };
        // What each gives alone is what it gives beside the other.
        let alone = (push(&one).await, push(&other).await);
        assert_ne!(alone.0, alone.1);
        for _ in 0..5 {
            assert_eq!(tokio::join!(push(&one), push(&other)), alone);
        }
        let busybox = bench.docker.inspect(BUSYBOX).await.expect("an image").id;
        assert_eq!(bench.docker.inspect(&name).await.expect("an image").id, busybox, "it is whose it was");
        bench.docker.remove(&name).await.expect("removed");
        // A name that nobody had goes, the only one of an image stays.
        bench.docker.tag(&one, "yuanli-test-lent:1").await.expect("a name of its own");
        push(&one).await;
        assert!(bench.docker.inspect(&name).await.is_err());
        push(&other).await;
        assert_eq!(bench.docker.inspect(&name).await.expect("an image").id, other);
        for name in [&name, "yuanli-test-lent:1"] {
            bench.docker.remove(name).await.expect("removed");
        }
    })
    .await;
}

#[tokio::test]
async fn a_name_that_somebody_gives_away_during_a_push_is_left_to_whom_it_has() {
    with_docker(|bench| async move {
        let registry = Registry::open();
        let made = async |what: &str| {
            let file = format!("{what} {}", fresh_engine());
            let folder = context(&[("Dockerfile", "FROM scratch\nCOPY what /\n"), ("what", &file)]);
            bench.build(&build_request(folder.path(), None)).await.0.expect("an image").id
        };
        let (pushed, other) = (made("pushed").await, made("other").await);
        let [own, others] = [(); 2].map(|()| format!("yuanli-test-lent:{}", fresh_engine()));
        bench.docker.tag(&pushed, &own).await.expect("a name of its own");
        bench.docker.tag(&other, &others).await.expect("a name of its own");
        for has_before in [true, false] {
            let name = registry.name(if has_before { "shop:1" } else { "shop:2" });
            if has_before {
                bench.docker.tag(BUSYBOX, &name).await.expect("it is somebody's");
            }
            let taken = std::sync::Once::new();
            let progress = |_: String| {
                taken.call_once(|| {
                    let docker = std::process::Command::new("docker").args(["tag", &other, &name]).status();
                    assert!(docker.expect("the docker program").success());
                });
            };
            let push = Push { name: &name, image: Some(&pushed), login: None };
            bench.docker.push(push, &progress, &Cancellation::new()).await.expect("it is pushed");
            assert!(taken.is_completed());
            assert_eq!(bench.docker.inspect(&name).await.expect("it is there").id, other, "{has_before}");
            bench.docker.remove(&name).await.expect("removed");
        }
        for name in [&own, &others] {
            bench.docker.remove(name).await.expect("removed");
        }
    })
    .await;
}

/// Pushes to where nobody answers, and lets it go as a killed engine would.
async fn push_and_vanish(docker: &Docker, image: &str, name: &str) {
    let (cancel, said) = (Cancellation::new(), Mutex::new(Vec::new()));
    let progress = |line: String| said.lock().expect("no panic").push(line);
    let push = docker.push(Push { name, image: Some(image), login: None }, &progress, &cancel);
    let is_lent = async {
        while docker.inspect(name).await.ok().map(|found| found.id) != Some(image.to_owned()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        pushed = push => panic!("{pushed:?}"),
        () = is_lent => {}
    }
}

#[tokio::test]
async fn a_name_that_a_killed_engine_lent_is_given_back_by_the_next() {
    with_docker(|bench| async move {
        let listener = TcpListener::bind((LOOPBACK, 0)).expect("a port");
        let at = |rest: &str| format!("{}/{rest}", listener.local_addr().expect("an address"));
        let made = async |name: &str| {
            let folder = context(&[("Dockerfile", "FROM scratch\nCOPY what /\n"), ("what", name)]);
            bench.build(&build_request(folder.path(), Some(name))).await.0.expect("an image").id
        };
        let [own, another] = [(); 2].map(|()| format!("yuanli-test-lent:{}", fresh_engine()));
        let (image, other) = (made(&own).await, made(&another).await);
        let data = tempfile::tempdir().expect("a folder");
        let notes = Some(data.path().join("lent"));
        let engine = || Docker::lazy(Options { notes: notes.clone(), ..Options::from_environment() });
        let id = async |name: &str| bench.docker.inspect(name).await.ok().map(|found| found.id);
        let busybox = id(BUSYBOX).await;
        let [somebodys, nobodys, taken] = [at("somebodys:1"), at("nobodys:1"), at("taken:1")];
        bench.docker.tag(BUSYBOX, &somebodys).await.expect("it is somebody's");

        assert!(!engine().has_lent_names().await);
        for name in [&somebodys, &nobodys, &taken] {
            push_and_vanish(&engine(), &image, name).await;
        }
        // Somebody gives it away while no engine is there.
        bench.docker.tag(BUSYBOX, &taken).await.expect("it is somebody's now");
        // One that pushes something else by it, and is killed as well, does not take what was lent for whose it is.
        push_and_vanish(&engine(), &other, &somebodys).await;
        assert!(engine().has_lent_names().await);
        engine().take_names_back().await.expect("they are given back");
        assert_eq!(id(&somebodys).await, busybox);
        assert_eq!(id(&nobodys).await, None);
        assert_eq!(id(&taken).await, busybox);
        assert!(!engine().has_lent_names().await);

        // What was lent is the last name that the image has, or the image it goes back to is gone.
        push_and_vanish(&engine(), &image, &nobodys).await;
        bench.docker.remove(&own).await.expect("removed");
        engine().take_names_back().await.expect("nothing to be done");
        assert_eq!(id(&nobodys).await, Some(image));
        for name in [&somebodys, &nobodys, &taken, &another] {
            bench.docker.remove(name).await.expect("removed");
        }
    })
    .await;
}
