//! Logs of attempts through their port.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use yuanli_model::{AttemptId, Level, LogLine, RunId, Stream, Timestamp};
use yuanli_ports::Logs;
use yuanli_ports::logs::{LogPage, MAX_INLINE_BYTES, StoredLog};
use yuanli_store::FileLogs;

fn attempt() -> AttemptId {
    AttemptId { run: RunId::from_u128(1), stage: "s".parse().unwrap(), instance: 0, attempt: 1 }
}

fn line(text: &str) -> LogLine {
    let (stream, level) = (Stream::Stderr, Level::Warn);
    let fields = vec![("key".to_owned(), "\"value\"\n".to_owned())];
    LogLine { at: Timestamp::from_millis(7), stream, level, text: text.to_owned(), fields }
}

async fn read_all(logs: &FileLogs, stored: Option<&StoredLog>, page_bytes: usize) -> Vec<LogLine> {
    let mut lines = Vec::new();
    let mut offset = 0;
    loop {
        let LogPage { lines: page, next } = logs.read(&attempt(), stored, offset, page_bytes).await.unwrap();
        if page.is_empty() {
            return lines;
        }
        lines.extend(page);
        offset = next;
    }
}

/// Writes lines, and reads them while the log is open and after it has ended, in pages of several sizes.
async fn check(lines: &[LogLine], is_inline: bool) {
    let folder = TempDir::new().unwrap();
    let logs = FileLogs::new(folder.path().join("logs"));
    let log = logs.open(&attempt());
    lines.iter().for_each(|line| log.append(line.clone()));
    assert_eq!(read_all(&logs, None, 1000).await, lines);
    let stored = log.finish().await.unwrap();
    assert_eq!(matches!(stored, StoredLog::Inline(_)), is_inline);
    assert_eq!(read_all(&logs, None, 1000).await, lines, "a handle is held, so it is still open");
    log.append(line("too late"));
    drop(log);
    for page_bytes in [1, 100, 1_000_000] {
        assert_eq!(read_all(&logs, Some(&stored), page_bytes).await, lines);
    }
    assert_eq!(read_all(&logs, None, 100).await, []);
}

#[tokio::test]
async fn a_short_log_is_kept_inline_and_a_long_one_in_a_file() {
    check(&[], true).await;
    check(&[line("one"), line(""), line("ünï \u{1F600} \0 \u{1b}[31m")], true).await;
    let many: Vec<LogLine> = (0..5000).map(|number| line(&format!("line {number}"))).collect();
    check(&many, false).await;
    check(&[line("a"), line(&"x".repeat(MAX_INLINE_BYTES * 30)), line("b")], false).await;
}

#[tokio::test]
async fn followers_wake_for_every_line_and_for_the_end() {
    let folder = TempDir::new().unwrap();
    let logs = FileLogs::new(folder.path().join("logs"));
    let log = logs.open(&attempt());
    let writer = Arc::clone(&log);
    let follow = async {
        let mut seen = Vec::new();
        let mut offset = 0;
        while log.grown(offset).await > offset {
            let page = logs.read(&attempt(), None, offset, 500).await.unwrap();
            seen.extend(page.lines);
            offset = page.next;
        }
        seen
    };
    let write = async {
        for number in 0..1000 {
            writer.append(line(&format!("line {number}")));
            if number % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        writer.finish().await.unwrap()
    };
    let both = async { tokio::join!(follow, write) };
    let (seen, _) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("no wake-up is lost");
    assert_eq!(seen.len(), 1000);
    assert!(seen.iter().enumerate().all(|(number, seen)| seen.text == format!("line {number}")));
}

#[tokio::test]
async fn a_packed_log_reads_the_same_from_any_offset_and_any_line() {
    let folder = TempDir::new().unwrap();
    let logs = FileLogs::new(folder.path().to_owned());
    let log = logs.open(&attempt());
    let count = 20_000;
    for number in 0..count {
        log.append(line(&format!("line {number} {}", "x".repeat(number % 100))));
    }
    let stored = log.finish().await.unwrap();
    drop(log);
    let before = read_all(&logs, Some(&stored), 10_000).await;
    assert_eq!(before.len(), count);
    let wanted = [0, 1, 2_500, 10_000, 19_999];
    let mut offsets = Vec::new();
    for line in wanted {
        offsets.push(logs.line(&attempt(), &stored, line).await.unwrap());
    }
    let size = || {
        let files = std::fs::read_dir(folder.path().join(attempt().run.to_string())).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let plain = size();
    logs.pack(attempt().run).await.unwrap();
    assert!(size() * 5 < plain, "{} of {plain}", size());
    logs.pack(attempt().run).await.unwrap();
    for page in [1, 10_000, 10_000_000] {
        assert_eq!(read_all(&logs, Some(&stored), page).await, before);
    }
    for (line, offset) in wanted.into_iter().zip(offsets) {
        assert_eq!(logs.line(&attempt(), &stored, line).await.unwrap(), offset);
        let page = logs.read(&attempt(), Some(&stored), offset, 1).await.unwrap();
        assert_eq!(page.lines[0], before[usize::try_from(line).unwrap()]);
    }
    let StoredLog::File { bytes } = stored else { panic!("it is long") };
    assert_eq!(logs.line(&attempt(), &stored, 1_000_000).await.unwrap(), bytes);
    logs.check(&attempt(), &stored, bytes - 1).await.unwrap();
    logs.check(&attempt(), &stored, bytes).await.unwrap_err();
}

#[tokio::test]
async fn a_log_that_cannot_be_written_says_so_at_its_end() {
    let folder = TempDir::new().unwrap();
    let in_the_way = folder.path().join("logs");
    std::fs::write(&in_the_way, "a file").unwrap();
    let logs = FileLogs::new(in_the_way);
    let log = logs.open(&attempt());
    log.append(line(&"x".repeat(MAX_INLINE_BYTES - 500)));
    log.append(line("what was in memory when it failed"));
    log.append(line(&"y".repeat(400)));
    log.append(line("more"));
    let stored = log.finish().await.unwrap();
    let page = logs.read(&attempt(), Some(&stored), 0, MAX_INLINE_BYTES).await.unwrap();
    let texts: Vec<&str> = page.lines.iter().map(|line| line.text.as_str()).collect();
    assert!(texts[0].contains("the log could not be written") && texts[0].contains("directory"), "{texts:?}");
    assert!(texts[1..].contains(&"what was in memory when it failed"), "{texts:?}");
    let StoredLog::Inline(bytes) = stored else { panic!("it cannot be in a file") };
    assert!(bytes.len() <= MAX_INLINE_BYTES);
}
