//! Engines behind ssh, by the ssh program: with the user's settings, keys and known hosts, and `docker system dial-stdio` on
//! the other side, as the `docker` program does it.
//!
//! The program never asks anybody anything. Its connection stays for a minute after the last request, so that not each of them
//! has to prove again who asks.

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::Sleep;
use yuanli_ports::containers::ContainerError;

/// Options of the program: it asks nothing, gives up in time, and notices when the other machine is gone.
const OPTIONS: [&str; 5] = [
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=30",
    "ControlMaster=auto",
    "ControlPersist=60",
];
/// Longest path of a folder for sockets: they have at most 104 bytes on some systems, of which ssh takes 58.
const MAX_FOLDER: usize = 45;
/// How long what the program says may take to come once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How much of that is kept.
const MAX_WORDS: usize = 4096;

/// A machine that is reached by ssh.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// The socket of the engine there, where it is not the usual one.
    socket: Option<String>,
}

impl Destination {
    /// Of `ssh://[USER@]HOST[:PORT][/SOCKET]`.
    pub(crate) fn parse(address: &str) -> Result<Self, ContainerError> {
        let invalid = |why: &str| {
            ContainerError::Invalid(format!(
                "the address of Docker is `{address}`, {why}: use `ssh://user@host`, or `ssh://user@host:port`"
            ))
        };
        let rest = address.strip_prefix("ssh://").unwrap_or(address);
        let (authority, socket) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (user, place) =
            authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        if user.is_some_and(|user| user.contains(':')) {
            return Err(invalid("which has a password in it; ssh takes keys"));
        }
        let (host, port) = match place.rsplit_once(':') {
            // The colons of an address in brackets.
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| invalid("whose port is none"))?))
            }
            _ => (place, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_word = |text: &str| {
            let is_known = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
            !text.is_empty() && !text.starts_with('-') && text.chars().all(is_known)
        };
        if !is_word(host) || user.is_some_and(|user| !is_word(user)) {
            return Err(invalid("which names no machine"));
        }
        let socket = Some(socket.to_owned()).filter(|socket| !matches!(socket.as_str(), "" | "/"));
        if socket
            .as_deref()
            .is_some_and(|path| !path.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c)))
        {
            return Err(invalid("whose socket has signs that a shell there would read"));
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port, socket })
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["-T".to_owned()];
        let shared = folder().map(|folder| format!("ControlPath={}/%C", folder.display()));
        let options = OPTIONS.iter().map(|&option| option.to_owned());
        // Without a place for it, each request connects anew.
        let options = options.filter(|option| shared.is_some() || !option.starts_with("Control"));
        for option in options.chain(shared.clone()) {
            arguments.extend(["-o".to_owned(), option]);
        }
        arguments.extend(self.user.iter().flat_map(|user| ["-l".to_owned(), user.clone()]));
        arguments.extend(self.port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
        arguments.extend(["--".to_owned(), self.host.clone(), "docker".to_owned()]);
        arguments.extend(self.socket.iter().map(|socket| format!("--host=unix://{socket}")));
        arguments.extend(["system", "dial-stdio"].map(str::to_owned));
        arguments
    }
}

/// Where connections are shared: a folder of this user alone, with a short name, as the path of a socket has to be.
fn folder() -> Option<PathBuf> {
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
    let folder = session.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("yuanli-ssh");
    if folder.as_os_str().len() > MAX_FOLDER {
        return None;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    Some(folder)
}

/// Begins a session.
pub(crate) fn open(destination: &Destination) -> io::Result<Session> {
    let mut child = Command::new("ssh")
        .args(destination.arguments())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // An interrupt at the terminal is the engine's; it ends its requests itself.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("the program `ssh` cannot be run: {error}")))?;
    let missing = || io::Error::other("a process without its streams");
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let words = Words { stderr, text: Vec::new(), rest: None };
    Ok(Session { stdin: child.stdin.take(), stdout, words, has_answered: false, _child: child })
}

/// A session with `docker system dial-stdio` on the other side.
pub(crate) struct Session {
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    words: Words,
    has_answered: bool,
    /// Killed when this goes.
    _child: Child,
}

/// What the program says when it ends without an answer.
struct Words {
    stderr: ChildStderr,
    text: Vec<u8>,
    rest: Option<Pin<Box<Sleep>>>,
}

impl Words {
    /// Waits for them a while: the connection that stays may keep the stream open.
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let mut space = [0; 512];
            let mut buffer = ReadBuf::new(&mut space);
            let is_over = match Pin::new(&mut self.stderr).poll_read(cx, &mut buffer) {
                Poll::Ready(read) => {
                    read.is_err() || buffer.filled().is_empty() || self.text.len() > MAX_WORDS
                }
                Poll::Pending => {
                    let rest = self.rest.get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_WORDS)));
                    ready!(rest.as_mut().poll(cx));
                    true
                }
            };
            self.text.extend_from_slice(buffer.filled());
            if is_over {
                let mut message = "ssh ended without an answer".to_owned();
                let text = String::from_utf8_lossy(&self.text);
                let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                if !lines.is_empty() {
                    // Writing to a text does not fail.
                    let _ = write!(message, ": {}", lines.join("; "));
                }
                return Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, message));
            }
        }
    }
}

impl AsyncRead for Session {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stdout).poll_read(cx, buffer))?;
        if buffer.filled().len() > before || self.has_answered {
            self.has_answered = true;
            return Poll::Ready(Ok(()));
        }
        self.words.poll_last(cx).map(Err)
    }
}

impl AsyncWrite for Session {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(stdin) = &mut self.stdin else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        match ready!(Pin::new(stdin).poll_write(cx, bytes)) {
            // It has ended; why, the reading side says.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !self.has_answered => {
                Poll::Ready(Ok(bytes.len()))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The other side hears of it by the end of the stream.
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(address: &str) -> String {
        match Destination::parse(address) {
            Ok(Destination { user, host, port, socket }) => format!("{user:?} {host} {port:?} {socket:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn machines_are_named_as_the_docker_program_takes_them() {
        for (address, expected) in [
            ("ssh://far", "None far None None"),
            ("ssh://me@far:2222", r#"Some("me") far Some(2222) None"#),
            (
                "ssh://me@far/run/user/1000/docker.sock",
                r#"Some("me") far None Some("/run/user/1000/docker.sock")"#,
            ),
            ("ssh://[fe80::1]:22", "None fe80::1 Some(22) None"),
            ("ssh://[fe80::1]", "None fe80::1 None None"),
        ] {
            assert_eq!(parsed(address), expected, "{address}");
        }
        for (address, says) in [
            ("ssh://", "names no machine"),
            ("ssh://-oProxyCommand=x", "names no machine"),
            ("ssh://-l@far", "names no machine"),
            ("ssh://me:secret@far", "a password"),
            ("ssh://far:x", "port"),
            ("ssh://far/a b;c", "a shell there would read"),
        ] {
            assert!(parsed(address).contains(says), "{address}: {}", parsed(address));
        }
    }

    #[test]
    fn what_is_run_is_what_the_docker_program_runs() {
        let destination = Destination::parse("ssh://me@far:2222/run/docker.sock").expect("an address");
        let line = destination.arguments().join(" ");
        assert!(line.starts_with("-T -o BatchMode=yes"), "{line}");
        let end = "-l me -p 2222 -- far docker --host=unix:///run/docker.sock system dial-stdio";
        assert!(line.ends_with(end), "{line}");
    }
}
