//! A socket in front of Docker's where one call of a run goes wrong, once, and which knows what was asked.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The connection ends before Docker has heard of it.
    CutBefore,
    /// Docker hears all of it, and nobody hears the answer.
    CutAfter,
    /// The answer ends after some bytes.
    Truncated,
    /// Docker says that it failed, and does nothing.
    Fails,
    /// Docker hears of it so much later, whether or not somebody still waits.
    Late(Duration),
}

/// How much of an answer there is when it is truncated: its head, and a little of what follows.
const SOME_BYTES: u64 = 300;

/// Where Docker is.
const DOCKER: &str = "/var/run/docker.sock";

/// It goes with this value.
pub(crate) struct Faulty {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    meant: Option<(String, Wrong)>,
    has_happened: AtomicBool,
    is_over: AtomicBool,
    asked: Mutex<BTreeSet<String>>,
}

/// What a request asks for, without what is different each time: ids, names, the version.
pub(crate) fn kind(line: &str) -> String {
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default().trim_start_matches("http://docker");
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && !part.starts_with("v1.")).collect();
    let verbs = [
        "json", "start", "wait", "logs", "stop", "exec", "archive", "create", "connect", "push", "tag",
        "resize", "get", "history",
    ];
    let last = parts.last().copied().unwrap_or_default();
    match parts.as_slice() {
        [] => method.to_owned(),
        [first] => format!("{method} /{first}"),
        [first, ..] if verbs.contains(&last) => format!("{method} /{first}/{last}"),
        [first, ..] => format!("{method} /{first}/*"),
    }
}

impl Faulty {
    /// One where nothing goes wrong.
    pub(crate) fn watching() -> Self {
        Self::with(None)
    }

    /// The first call of this kind goes wrong.
    pub(crate) fn new(kind: &str, wrong: Wrong) -> Self {
        Self::with(Some((kind.to_owned(), wrong)))
    }

    fn with(meant: Option<(String, Wrong)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let shared = Arc::new(Shared {
            meant,
            has_happened: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            asked: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for from in listener.incoming() {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(from), shared) = (from, Arc::clone(&accepting)) else { return };
                // What becomes of a connection is seen at its other end.
                std::thread::spawn(move || pass(from, &shared));
            }
        });
        Self { folder, shared }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("socket").display())
    }

    /// Whether the call was made that was to go wrong.
    pub(crate) fn has_happened(&self) -> bool {
        self.shared.has_happened.load(Ordering::SeqCst)
    }

    /// The kinds of calls that were made.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes who accepts.
        drop(UnixStream::connect(self.folder.path().join("socket")));
    }
}

/// Passes on one connection, which has one request.
fn pass(mut from: UnixStream, shared: &Shared) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if from.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let kind = kind(String::from_utf8_lossy(&head).lines().next().unwrap_or_default());
    let wrong = shared.meant.as_ref().filter(|(meant, _)| *meant == kind).map(|(_, wrong)| *wrong);
    let wrong = wrong.filter(|_| !shared.has_happened.swap(true, Ordering::SeqCst));
    shared.asked.lock().unwrap().insert(kind);
    match wrong {
        Some(Wrong::CutBefore) => return Ok(()),
        Some(Wrong::Fails) => {
            let body = r#"{"message":"a wheel came off"}"#;
            let head =
                "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close";
            return write!(from, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
        Some(Wrong::Late(by)) => std::thread::sleep(by),
        _ => {}
    }
    let mut to = UnixStream::connect(DOCKER)?;
    to.write_all(&head)?;
    let (mut from_reading, mut to_writing) = (from.try_clone()?, to.try_clone()?);
    let sending = std::thread::spawn(move || {
        let _ = io::copy(&mut from_reading, &mut to_writing);
        let _ = to_writing.shutdown(Shutdown::Write);
    });
    let answered = match wrong {
        Some(Wrong::CutAfter) => to.read_exact(&mut byte),
        Some(Wrong::Truncated) => io::copy(&mut to.try_clone()?.take(SOME_BYTES), &mut from).map(drop),
        _ => io::copy(&mut to, &mut from).map(drop),
    };
    // What has been answered ends it, whether or not all was sent.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    let _ = sending.join();
    answered
}
