//! To whom a token is told: nobody learns one that was meant for another engine.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use crate::support::{Ended, Place};

/// A server of somebody's that refuses everything, and what it was sent in `authorization`.
fn listening() -> (String, mpsc::Receiver<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = vec![0; 64 * 1024];
            let read = stream.read(&mut head).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
            let given = head.lines().find_map(|line| line.strip_prefix("authorization: "));
            let _ = stream
                .write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            if tell.send(given.map(str::to_owned)).is_err() {
                return;
            }
        }
    });
    (url, told)
}

#[test]
fn the_token_of_the_environment_does_not_go_to_a_context_that_was_named() {
    let place = Place::new();
    let (url, told) = listening();
    let yuanli = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = place.command(arguments);
        command.env("XDG_CONFIG_HOME", place.path("config")).env_remove("YUANLI_DATA");
        Ended::of(command.envs(environment.iter().copied()).output().unwrap())
    };
    yuanli(&["context", "add", "other", "--url", &url], &[]).expect(0, &[]);
    let token = ("YUANLI_TOKEN", "meant-for-another");
    let sent = |arguments: &[&str], environment: &[(&str, &str)]| {
        let ended = yuanli(&[arguments, &["token", "whoami"]].concat(), environment);
        assert_ne!(ended.code, 0, "{ended:?}");
        told.recv().unwrap_or_else(|_| panic!("it was asked: {ended:?}"))
    };
    assert_eq!(sent(&["--context", "other"], &[token]), None, "a name that was typed");
    yuanli(&["context", "use", "other"], &[]).expect(0, &[]);
    assert_eq!(sent(&[], &[token]), None, "the one that is in use");
    // What the environment says together is meant together; and what is typed is meant.
    let both = sent(&[], &[token, ("YUANLI_CONTEXT", "other")]);
    assert_eq!(both.as_deref(), Some("bearer meant-for-another"));
    let typed = sent(&["--context", "other", "--token", "typed"], &[token]);
    assert_eq!(typed.as_deref(), Some("bearer typed"));
}
