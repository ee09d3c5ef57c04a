//! A git server on the loopback that wants to know who asks: `git http-backend` behind a few lines of HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// `ci:let-me-in`, as HTTP has it.
const AUTHORIZATION: &str = "Basic Y2k6bGV0LW1lLWlu";

pub(crate) struct Server {
    url: String,
    /// What each request said of who asks.
    asked: Arc<Mutex<Vec<Option<String>>>>,
}

impl Server {
    /// Serves the repositories below a folder, until the tests end.
    pub(crate) fn start(root: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (root, seen) = (root.to_owned(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (root, seen) = (root.clone(), Arc::clone(&seen));
                // A client that hangs up is its own matter.
                std::thread::spawn(move || answer(connection, &root, &seen));
            }
        });
        Self { url, asked }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    pub(crate) fn asked(&self) -> Vec<Option<String>> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn answer(connection: TcpStream, root: &Path, seen: &Mutex<Vec<Option<String>>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut writer = connection;
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let found = head.iter().skip(1).filter_map(|line| line.split_once(": "));
        found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let who = header("authorization");
    seen.lock().expect("no panic").push(who.clone());
    if who.as_deref() != Some(AUTHORIZATION) {
        return writer.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"tests\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    let mut parts = head[0].split(' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut command = Command::new("git");
    command.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped());
    command.envs([("GIT_PROJECT_ROOT", root.as_os_str()), ("GIT_HTTP_EXPORT_ALL", "1".as_ref())]);
    command.envs([("REQUEST_METHOD", method), ("PATH_INFO", path), ("QUERY_STRING", query)]);
    for (variable, name) in [
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        command.envs(header(name).map(|value| (variable, value)));
    }
    command.env("CONTENT_LENGTH", body.len().to_string());
    // The machine's own settings are not the test's.
    command.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")]);
    command.envs([
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "safe.directory"),
        ("GIT_CONFIG_VALUE_0", "*"),
    ]);
    let mut child = command.spawn()?;
    child.stdin.take().expect("a pipe").write_all(&body)?;
    let output = child.wait_with_output()?.stdout;
    writer.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")?;
    writer.write_all(&output)
}
