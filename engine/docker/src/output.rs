//! A container's output: frames of Docker's log in, whole lines out, each exactly once.
//!
//! Docker's log is a file of entries in order; a frame is one entry of one stream, headed by its time. The frames
//! that were accepted are therefore always a beginning of that file, and the [`Cursor`] of each stream says where it
//! ends: the time of the last frame and how many frames had it (the 16 KiB parts of one long line share their time).
//! [`Output::resume`] goes on from there in a second reading of the log, [`Output::reread`] in one that follows it.

use bollard::container::LogOutput;
use yuanli_model::Stream;
use yuanli_ports::containers::OnLine;

/// Longest line that is handed on whole, in bytes; a longer one comes in pieces. Bounds what a container that never
/// ends its line can make this engine hold.
pub(crate) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// Collects frames and hands on lines.
pub(crate) struct Output<'a> {
    on_line: OnLine<'a>,
    stdout: Channel,
    stderr: Channel,
    /// The stream of the last frame.
    last: Option<Stream>,
    /// In a second reading: where the first one ended.
    known: Option<Known>,
}

/// Where a reading ended, by stream, and how many frames of that time were seen in the next one.
type Known = [(Cursor, u64); 2];

/// How long after its time a frame may be written into the log: Docker looks at the clock first, and both streams have one
/// file. Far more than that takes.
const LATE_SECONDS: i64 = 5;

/// One stream of a container.
struct Channel {
    stream: Stream,
    cursor: Cursor,
    /// What came since the last line end.
    line: Vec<u8>,
    /// Whether a piece of this line was handed on already.
    is_cut: bool,
}

/// How far a stream was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cursor {
    /// The time of the last frame as Docker writes it: 30 characters of fixed width in UTC, so that it sorts.
    at: Vec<u8>,
    /// How many frames had it.
    frames: u64,
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    stream: Stream,
    message: bytes::Bytes,
    /// Where the time ends in `message`.
    space: usize,
}

impl Frame {
    /// The entry in what bollard read, unless it is none: bollard hands on as `Console` what has no header, which is
    /// the rest of a stream that was cut off, or an error of Docker's log reader.
    pub(crate) fn new(output: LogOutput) -> Option<Self> {
        let (stream, message) = match output {
            LogOutput::StdOut { message } => (Stream::Stdout, message),
            LogOutput::StdErr { message } => (Stream::Stderr, message),
            LogOutput::StdIn { .. } | LogOutput::Console { .. } => return None,
        };
        let space = message.iter().position(|byte| *byte == b' ')?;
        Some(Self { stream, message, space })
    }

    fn at(&self) -> &[u8] {
        &self.message[..self.space]
    }

    fn text(&self) -> &[u8] {
        &self.message[self.space + 1..]
    }
}

impl<'a> Output<'a> {
    /// Output of which nothing was read yet.
    pub(crate) fn new(on_line: OnLine<'a>) -> Self {
        Self {
            on_line,
            stdout: Channel::new(Stream::Stdout),
            stderr: Channel::new(Stream::Stderr),
            last: None,
            known: None,
        }
    }

    /// Takes the next frame of the log.
    pub(crate) fn accept(&mut self, frame: &Frame) {
        self.last = Some(frame.stream);
        let on_line = self.on_line;
        let channel = self.channel(frame.stream);
        channel.cursor.advance(frame.at());
        channel.append(frame.text(), on_line);
    }

    /// Begins a second reading. From when on the log has to be read for it, in seconds: all that was not accepted is later.
    pub(crate) fn reread(&mut self) -> i64 {
        self.known = Some([(self.stdout.cursor.clone(), 0), (self.stderr.cursor.clone(), 0)]);
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(|channel| channel.cursor.seconds());
        // One that says nothing does not have the other read from the beginning.
        stdout.min(stderr).max(stdout.max(stderr) - LATE_SECONDS).max(0)
    }

    /// Takes the next frame of a second reading, unless it was accepted in the first.
    pub(crate) fn take(&mut self, frame: &Frame) {
        let Some(known) = &mut self.known else { return self.accept(frame) };
        let (Cursor { at, frames }, seen) = &mut known[usize::from(frame.stream == Stream::Stderr)];
        *seen += u64::from(frame.at() == at.as_slice());
        let is_known = frame.at() < at.as_slice() || (frame.at() == at.as_slice() && *seen <= *frames);
        if !is_known {
            self.accept(frame);
        }
    }

    /// Takes the frames of `tail` (the last ones of the log, in order) that were not accepted yet. `false`, and
    /// nothing taken, when they do not reach back to the last one that was.
    pub(crate) fn resume(&mut self, tail: &[Frame], is_whole_log: bool) -> bool {
        if !is_whole_log && !self.is_covered_by(tail) {
            return false;
        }
        self.reread();
        tail.iter().for_each(|frame| self.take(frame));
        true
    }

    /// Hands on what is left: a last line without a line end is a line.
    pub(crate) fn finish(mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let on_line = self.on_line;
            self.channel(stream).finish(on_line);
        }
    }

    /// Whether `tail` begins at or before the last accepted frame, so that nothing lies between. A stream that shows
    /// its cursor's time must show an older one too: else frames of that time may be missing at the beginning.
    fn is_covered_by(&self, tail: &[Frame]) -> bool {
        let Some(last) = self.last else { return false };
        [&self.stdout, &self.stderr].into_iter().all(|channel| {
            let at = channel.cursor.at.as_slice();
            let mut frames = tail.iter().filter(|frame| frame.stream == channel.stream);
            let is_needed = channel.stream == last || frames.clone().any(|frame| frame.at() == at);
            !is_needed || frames.any(|frame| frame.at() < at)
        })
    }

    fn channel(&mut self, stream: Stream) -> &mut Channel {
        if stream == Stream::Stderr { &mut self.stderr } else { &mut self.stdout }
    }
}

/// Lines of output that has no times: that of a command in a container, which comes once.
pub(crate) struct Pieces<'a> {
    on_line: OnLine<'a>,
    channels: [Channel; 2],
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(on_line: OnLine<'a>) -> Self {
        Self { on_line, channels: [Stream::Stdout, Stream::Stderr].map(Channel::new) }
    }

    pub(crate) fn take(&mut self, stream: Stream, piece: &[u8]) {
        let on_line = self.on_line;
        self.channels[usize::from(stream == Stream::Stderr)].append(piece, on_line);
    }

    /// Hands on what is left: a last line without a line end is a line.
    pub(crate) fn finish(mut self) {
        let on_line = self.on_line;
        self.channels.iter_mut().for_each(|channel| channel.finish(on_line));
    }
}

impl Cursor {
    /// The time in whole seconds since 1970; 0 where nothing was read.
    fn seconds(&self) -> i64 {
        let text = std::str::from_utf8(&self.at).unwrap_or_default();
        chrono::DateTime::parse_from_rfc3339(text).map_or(0, |at| at.timestamp())
    }

    fn advance(&mut self, at: &[u8]) {
        if self.at == at {
            self.frames += 1;
        } else {
            self.at.clear();
            self.at.extend_from_slice(at);
            self.frames = 1;
        }
    }
}

impl Channel {
    fn new(stream: Stream) -> Self {
        Self { stream, cursor: Cursor::default(), line: Vec::new(), is_cut: false }
    }

    fn finish(&mut self, on_line: OnLine<'_>) {
        if !self.line.is_empty() {
            self.emit(on_line);
        }
    }

    fn append(&mut self, text: &[u8], on_line: OnLine<'_>) {
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.last() == Some(&b'\n') {
                self.line.pop();
                if self.line.last() == Some(&b'\r') {
                    self.line.pop();
                }
                // The end of a line that was handed on to its last byte is no line of its own.
                if !(self.is_cut && self.line.is_empty()) {
                    self.emit(on_line);
                }
                self.is_cut = false;
            } else if self.line.len() >= MAX_LINE_BYTES {
                let rest = self.line.split_off(character_boundary(&self.line));
                self.emit(on_line);
                self.line = rest;
                self.is_cut = true;
            }
        }
    }

    fn emit(&mut self, on_line: OnLine<'_>) {
        on_line(self.stream, String::from_utf8_lossy(&self.line).into_owned());
        self.line.clear();
    }
}

/// The longest beginning of `text` that does not cut a UTF-8 character in two.
fn character_boundary(text: &[u8]) -> usize {
    let is_continuation = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let start = text.iter().rposition(|byte| !is_continuation(byte)).unwrap_or(0);
    let is_cut = start > 0 && text.len() - start < 4 && std::str::from_utf8(&text[start..]).is_err();
    if is_cut { start } else { text.len() }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn frame(stream: Stream, at: u32, text: &str) -> Frame {
        let message = Bytes::from(format!("2026-11-23T10:00:00.{at:09}Z {text}"));
        let output = match stream {
            Stream::Stderr => LogOutput::StdErr { message },
            _ => LogOutput::StdOut { message },
        };
        Frame::new(output).expect("a frame")
    }

    /// Runs `feed` over an output and returns the lines, those of stderr marked with `!`.
    fn lines(feed: impl FnOnce(&mut Output<'_>)) -> Vec<String> {
        let lines = Mutex::new(Vec::new());
        let on_line = |stream, text: String| {
            let mark = if stream == Stream::Stderr { "!" } else { "" };
            lines.lock().expect("no panic").push(format!("{mark}{text}"));
        };
        let mut output = Output::new(&on_line);
        feed(&mut output);
        output.finish();
        lines.into_inner().expect("no panic")
    }

    fn check(frames: &[(Stream, &str)], expected: &[&str]) {
        let found = lines(|output| {
            for (at, (stream, text)) in frames.iter().enumerate() {
                output.accept(&frame(*stream, u32::try_from(at).expect("few"), text));
            }
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_are_joined_and_split_per_stream() {
        use Stream::{Stderr, Stdout};
        check(&[], &[]);
        check(&[(Stdout, "one\n"), (Stderr, "two\n"), (Stdout, "\n")], &["one", "!two", ""]);
        check(&[(Stdout, "be"), (Stderr, "x\n"), (Stdout, "gin\n")], &["!x", "begin"]);
        check(&[(Stdout, "a\r\n"), (Stdout, "b\rc\n")], &["a", "b\rc"]);
        check(&[(Stdout, "a\n"), (Stderr, "no end")], &["a", "!no end"]);
        check(&[(Stdout, "a\nb\nc")], &["a", "b", "c"]);
    }

    #[test]
    fn a_line_over_the_cap_comes_in_pieces_that_cut_no_character() {
        let long = "ä".repeat(MAX_LINE_BYTES);
        let parts: Vec<Bytes> = long.as_bytes().chunks(16 * 1024 - 1).map(Bytes::copy_from_slice).collect();
        let found = lines(|output| {
            for part in parts {
                let mut message = b"2026-11-23T10:00:00.000000000Z ".to_vec();
                message.extend_from_slice(&part);
                let frame = Frame::new(LogOutput::StdOut { message: message.into() }).expect("a frame");
                output.accept(&frame);
            }
        });
        assert_eq!(found.len(), 2);
        assert_eq!(found.concat(), long);
    }

    #[test]
    fn a_line_of_exactly_the_cap_is_one_line() {
        let long = "x".repeat(MAX_LINE_BYTES);
        let found = lines(|output| {
            output.accept(&frame(Stream::Stdout, 0, &long));
            output.accept(&frame(Stream::Stdout, 0, "\n"));
            output.accept(&frame(Stream::Stdout, 1, "\n"));
        });
        assert_eq!(found, [long.as_str(), ""]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let message = Bytes::from_static(b"2026-11-23T10:00:00.000000000Z \xff\xfe!\n");
        let frame = Frame::new(LogOutput::StdOut { message }).expect("a frame");
        assert_eq!(lines(|output| output.accept(&frame)), ["\u{fffd}\u{fffd}!"]);
    }

    #[test]
    fn what_has_no_header_is_no_frame() {
        assert!(Frame::new(LogOutput::Console { message: Bytes::from_static(b"x y") }).is_none());
        assert!(Frame::new(LogOutput::StdOut { message: Bytes::from_static(b"cut") }).is_none());
    }

    #[test]
    fn a_tail_that_does_not_reach_back_is_refused() {
        use Stream::{Stderr, Stdout};
        let log: Vec<Frame> = (0..9).map(|at| frame(Stdout, at, "x\n")).collect();
        let found = lines(|output| {
            output.accept(&log[0]);
            output.accept(&log[1]);
            assert!(!output.resume(&log[1..], false), "frames of the cursor's time may be missing");
            assert!(!output.resume(&[frame(Stderr, 0, "e\n")], false));
            assert!(output.resume(&log, false));
        });
        assert_eq!(found.len(), log.len());
        let nothing_read = lines(|output| {
            assert!(!output.resume(&log, false));
            assert!(output.resume(&log, true));
        });
        assert_eq!(nothing_read.len(), log.len());
    }

    #[test]
    fn a_second_reading_begins_before_what_is_missing() {
        use Stream::{Stderr, Stdout};
        const AT: i64 = 1_795_428_000;
        let since = |frames: &[Frame]| {
            let mut since = None;
            lines(|output| {
                frames.iter().for_each(|frame| output.accept(frame));
                since = Some(output.reread());
            });
            since.expect("it was asked")
        };
        let later = |stream, text: &str| {
            let message = Bytes::from(format!("2026-11-23T11:00:00.5Z {text}"));
            Frame::new(if stream == Stderr {
                LogOutput::StdErr { message }
            } else {
                LogOutput::StdOut { message }
            })
            .expect("a frame")
        };
        assert_eq!(since(&[]), 0);
        assert_eq!(
            since(&[frame(Stdout, 5, "x\n")]),
            AT - LATE_SECONDS,
            "stderr may have said something before"
        );
        assert_eq!(since(&[frame(Stdout, 5, "x\n"), frame(Stderr, 9, "x\n")]), AT);
        assert_eq!(since(&[frame(Stdout, 5, "x\n"), later(Stderr, "x\n")]), AT + 3600 - LATE_SECONDS);
    }

    /// A log as Docker writes it: each stream's times never go back, parts of one line share theirs.
    fn log() -> impl Strategy<Value = Vec<(bool, u32)>> {
        prop::collection::vec((any::<bool>(), 0_u32..2), 1..40).prop_map(|steps| {
            let mut clocks = [10_u32, 10];
            let step = |(is_stderr, step)| {
                let clock = &mut clocks[usize::from(is_stderr)];
                *clock += step;
                (is_stderr, *clock)
            };
            steps.into_iter().map(step).collect()
        })
    }

    proptest! {
        #[test]
        fn every_frame_comes_once_wherever_the_first_reading_broke_off(
            log in log(), read in 0_usize..40, tail in 1_usize..40,
        ) {
            let frames: Vec<Frame> = log.iter().enumerate().map(|(index, (is_stderr, at))| {
                let stream = if *is_stderr { Stream::Stderr } else { Stream::Stdout };
                frame(stream, *at, &format!("{index}\n"))
            }).collect();
            let read = read.min(frames.len());
            let tail = tail.min(frames.len());
            let found = lines(|output| {
                frames[..read].iter().for_each(|frame| output.accept(frame));
                if !output.resume(&frames[frames.len() - tail..], tail == frames.len()) {
                    assert!(output.resume(&frames, true));
                }
            });
            let mut numbers: Vec<usize> =
                found.iter().map(|line| line.trim_start_matches('!').parse().expect("a number")).collect();
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (0..frames.len()).collect::<Vec<_>>());
        }

        #[test]
        fn every_frame_comes_once_however_often_the_reading_breaks_off(
            log in log(), reads in prop::collection::vec((0_usize..40, 0_usize..40), 1..6),
        ) {
            let frames: Vec<Frame> = log.iter().enumerate().map(|(index, (is_stderr, at))| {
                let stream = if *is_stderr { Stream::Stderr } else { Stream::Stdout };
                frame(stream, *at, &format!("{index}\n"))
            }).collect();
            let found = lines(|output| {
                let mut read = 0;
                for (back, on) in reads.into_iter().chain([(0, usize::MAX)]) {
                    output.reread();
                    // Docker gives what is not older than a time, so of a second all.
                    let first = read.min(frames.len()).saturating_sub(back);
                    let from = frames.iter().position(|frame| {
                        frames[first..].iter().any(|later| later.at() <= frame.at())
                    });
                    read = read.max(first.saturating_add(on).min(frames.len()));
                    frames[from.unwrap_or(0)..read].iter().for_each(|frame| output.take(frame));
                }
            });
            let mut numbers: Vec<usize> =
                found.iter().map(|line| line.trim_start_matches('!').parse().expect("a number")).collect();
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (0..frames.len()).collect::<Vec<_>>());
        }
    }
}
