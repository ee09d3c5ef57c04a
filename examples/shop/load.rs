//! Asks a URL again and again, and counts: `load URL CLIENTS [SECONDS]`. Build it with `rustc -O load.rs`.
//!
//! Each client keeps its connection, as browsers do. Ends after SECONDS, or when standard input is closed or
//! interrupted, and prints one line: requests, failures (answers 500 and above, and none), and who answered how often.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Counts {
    requests: u64,
    failures: BTreeMap<String, u64>,
    answers: BTreeMap<String, u64>,
    slowest: Duration,
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: load http://HOST:PORT/PATH CLIENTS [SECONDS]";
    let (Some(url), Some(clients)) = (arguments.first(), arguments.get(1)) else { return Err(usage.to_owned()) };
    let rest = url.strip_prefix("http://").ok_or(usage)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let clients: usize = clients.parse().map_err(|_| usage)?;
    let stop = Arc::new(AtomicBool::new(false));
    match arguments.get(2) {
        Some(seconds) => {
            let limit = Duration::from_secs(seconds.parse().map_err(|_| usage)?);
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                thread::sleep(limit);
                stop.store(true, Ordering::Relaxed);
            });
        }
        None => {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let _ = io::stdin().read_to_end(&mut Vec::new());
                stop.store(true, Ordering::Relaxed);
            });
        }
    }
    let counts = Arc::new(Mutex::new(Counts::default()));
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let (host, request) = (host.to_owned(), request.clone());
            let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
            thread::spawn(move || ask(&host, &request, &stop, &counts))
        })
        .collect();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    let counts = counts.lock().map_err(|e| e.to_string())?;
    let list = |map: &BTreeMap<String, u64>| {
        map.iter().map(|(what, count)| format!("{what}={count}")).collect::<Vec<_>>().join(" ")
    };
    let failed: u64 = counts.failures.values().sum();
    println!(
        "requests={} failed={failed} slowest_ms={} {} {}",
        counts.requests,
        counts.slowest.as_millis(),
        list(&counts.answers),
        list(&counts.failures),
    );
    Ok(())
}

fn ask(host: &str, request: &str, stop: &AtomicBool, counts: &Mutex<Counts>) {
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = once(&mut connection, host, request);
        let mut counts = counts.lock().expect("counting does not panic");
        counts.requests += 1;
        counts.slowest = counts.slowest.max(began.elapsed());
        match answer {
            Ok((status, text)) if status < 500 => {
                *counts.answers.entry(text.replace([' ', '='], "_")).or_default() += 1;
            }
            Ok((status, _)) => *counts.failures.entry(format!("status_{status}")).or_default() += 1,
            Err(error) => {
                *counts.failures.entry(format!("{:?}", error.kind())).or_default() += 1;
                connection = None;
            }
        }
        drop(counts);
        thread::sleep(Duration::from_millis(5));
    }
}

/// One request: the status, and the first two words of the answer.
fn once(connection: &mut Option<BufReader<TcpStream>>, host: &str, request: &str) -> io::Result<(u16, String)> {
    if connection.is_none() {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(40)))?;
        *connection = Some(BufReader::new(stream));
    }
    let reader = connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
    reader.get_mut().write_all(request.as_bytes())?;
    let (mut line, mut status, mut length, mut closes) = (String::new(), 0, 0, false);
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = text.strip_prefix("http/1.1 ") {
            status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
        } else if let Some(value) = text.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        } else if text == "connection: close" {
            closes = true;
        } else if text.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if closes {
        *connection = None;
    }
    let text = String::from_utf8_lossy(&body);
    Ok((status, text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")))
}
