//! A log that is cut off and whose container ends then: a Docker of the test's own, which says how much it has sent, so that what
//! is held of it in memory is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use yuanli_docker::{Docker, Options};
use yuanli_ports::Containers;
use yuanli_ports::containers::ContainerId;

/// How long the log is: far longer than what may be held of it.
const LINES: u64 = 65_536;
const LINE_BYTES: usize = 1024;
/// How much of it comes before the connection is cut.
const BEFORE_CUT: u64 = 10;
/// What may be under way: the buffers of a socket, of HTTP and of one line.
const MOST_HELD: u64 = 4 << 20;

#[derive(Default)]
struct Served {
    is_cut: AtomicBool,
    bytes: AtomicU64,
}

/// An entry of the log as Docker sends it.
fn entry(number: u64) -> Vec<u8> {
    let line = format!("2026-11-23T10:00:00.{number:09}Z {number:0>width$}\n", width = LINE_BYTES - 1);
    let length = u32::try_from(line.len()).expect("short").to_be_bytes();
    [&[1, 0, 0, 0], length.as_slice(), line.as_bytes()].concat()
}

/// Sends entries; whether it is the end is for the caller to say.
async fn send(to: &mut UnixStream, numbers: std::ops::Range<u64>, sent: &AtomicU64) -> std::io::Result<()> {
    for number in numbers {
        let entry = entry(number);
        to.write_all(format!("{:x}\r\n", entry.len()).as_bytes()).await?;
        to.write_all(&entry).await?;
        to.write_all(b"\r\n").await?;
        sent.fetch_add(LINE_BYTES as u64, Ordering::SeqCst);
    }
    Ok(())
}

async fn answer(mut stream: UnixStream, served: &Served) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    if line.contains("/logs") {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        let elsewhere = AtomicU64::new(0);
        if line.contains("follow=true") {
            send(&mut stream, 0..BEFORE_CUT, &elsewhere).await?;
            served.is_cut.store(true, Ordering::SeqCst);
            return Ok(());
        }
        match line.contains("tail=all") {
            true => send(&mut stream, 0..LINES, &served.bytes).await?,
            false => send(&mut stream, LINES - 1_000..LINES, &elsewhere).await?,
        }
        return stream.write_all(b"0\r\n\r\n").await;
    }
    let body = match line.as_str() {
        _ if line.contains("/version") => r#"{"ApiVersion":"1.41"}"#,
        _ if line.contains("/wait") => {
            while !served.is_cut.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            r#"{"StatusCode":0}"#
        }
        _ => r#"{"Id":"it","State":{"Status":"exited","ExitCode":0,"OOMKilled":false}}"#,
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
    stream.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
}

#[tokio::test]
async fn a_long_log_whose_end_is_missing_is_handed_on_as_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let served = Arc::new(Served::default());
    let serving = Arc::clone(&served);
    let mut serves = JoinSet::new();
    serves.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let served = Arc::clone(&serving);
            connections.spawn(async move { answer(stream, &served).await });
        }
    });
    let docker = Docker::lazy(Options::at(format!("unix://{}", socket.display())));
    let (next, held) = (AtomicU64::new(0), AtomicU64::new(0));
    let on_line = |_, line: String| {
        let number = next.fetch_add(1, Ordering::SeqCst);
        assert_eq!(line.parse(), Ok(number), "each line once and in order");
        let sent = served.bytes.load(Ordering::SeqCst);
        held.fetch_max(sent.saturating_sub(number * LINE_BYTES as u64), Ordering::SeqCst);
    };
    let exit = docker.follow(&ContainerId("it".to_owned()), &on_line).await.expect("it has ended");
    assert_eq!((exit.code, next.into_inner()), (0, LINES));
    assert!(served.bytes.load(Ordering::SeqCst) >= LINES * LINE_BYTES as u64, "all of it was sent once more");
    let held = held.into_inner();
    assert!(held < MOST_HELD, "{held} bytes of the log were held at once");
}
