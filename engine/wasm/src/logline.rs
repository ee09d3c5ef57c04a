//! Lines for the attempt's log.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use yuanli_model::{Level, LogLine, Stream, Timestamp};
use yuanli_ports::{AttemptLog, Clock};

use crate::annotation::{self, Annotation};
use crate::limits::{Bound, Exceeded};
use crate::mask::{Edges, Mask};

/// Longest line of a plugin, in bytes, as the contract says; the rest is cut off.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// A line of this length may be a piece of a longer one, in bytes: no adapter hands on shorter pieces.
const MAY_BE_CUT_BYTES: usize = 16 * 1024;

/// What a line is counted with beside its text: its time, its stream, its end.
const LINE_BYTES: u64 = 64;

/// Writes lines to the attempt's log with the time of writing, and without the values of secrets.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    log: Arc<dyn AttemptLog>,
    clock: Arc<dyn Clock>,
    mask: Arc<Mask>,
    /// What the guest itself may write. Containers and builds are bounded by the log as a whole.
    allowance: Arc<Allowance>,
    /// The time of what is written, in milliseconds, while an attempt makes again what it has made before; else 0.
    past: Arc<AtomicU64>,
    /// Whether the guest only says again what is in this log.
    is_muted: Arc<AtomicBool>,
}

/// What effects have said in the log, to be said again by whoever is told their outcomes again. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    lines: Vec<(Stream, String)>,
    bytes: usize,
    left_out: u64,
}

/// Most bytes of lines that are kept with the outcome of an effect. The log itself has all of them.
const MAX_SAID_BYTES: usize = 1024 * 1024;

impl Said {
    fn add(&self, stream: Stream, line: &str) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.bytes + line.len() > MAX_SAID_BYTES {
            heard.left_out += 1;
            return;
        }
        heard.bytes += line.len();
        heard.lines.push((stream, line.to_owned()));
    }

    /// What was said so far.
    pub(crate) fn take(&self) -> Vec<(Stream, String)> {
        let heard = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut lines = heard.lines;
        if heard.left_out > 0 {
            let text = format!(
                "{} more lines of this are not kept: the engine was started again after them",
                heard.left_out
            );
            lines.push((Stream::Engine, text));
        }
        lines
    }

    /// Adds what others have said.
    pub(crate) fn append(&self, other: &Self) {
        for (stream, line) in other.take() {
            self.add(stream, &line);
        }
    }
}

#[derive(Debug)]
struct Allowance {
    limit: Bound<u64>,
    used: AtomicU64,
}

impl Allowance {
    /// Counts a line of the guest; it is written only within the limit.
    fn take(&self, bytes: usize) -> bool {
        let bytes = bytes as u64 + LINE_BYTES;
        self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit.most
    }
}

impl Lines {
    pub(crate) fn new(
        log: Arc<dyn AttemptLog>,
        clock: Arc<dyn Clock>,
        mask: Arc<Mask>,
        limit: Bound<u64>,
    ) -> Self {
        let allowance = Arc::new(Allowance { limit, used: AtomicU64::new(0) });
        Self { log, clock, mask, allowance, past: Arc::default(), is_muted: Arc::default() }
    }

    /// The same with the times of what is made again.
    pub(crate) fn since(self, past: Arc<AtomicU64>) -> Self {
        Self { past, ..self }
    }

    /// The same without what the guest says while this is so.
    pub(crate) fn unless(self, is_muted: Arc<AtomicBool>) -> Self {
        Self { is_muted, ..self }
    }

    /// Whether what the guest says is in the log already.
    pub(crate) fn is_muted(&self) -> bool {
        self.is_muted.load(Ordering::Relaxed)
    }

    fn now(&self) -> Timestamp {
        match self.past.load(Ordering::Relaxed) {
            0 => self.clock.now(),
            past => Timestamp::from_millis(past),
        }
    }

    /// Writes what was written before, and is masked.
    pub(crate) fn say_again(&self, lines: Vec<(Stream, String)>) {
        if self.is_muted() {
            return;
        }
        for (stream, text) in lines {
            self.log.append(LogLine { at: self.now(), stream, level: Level::Info, text, fields: Vec::new() });
        }
    }

    /// Whether the guest has written more than it may. What goes beyond is not in the log.
    pub(crate) fn check(&self) -> Result<(), Exceeded> {
        let Allowance { limit, used } = &*self.allowance;
        if used.load(Ordering::Relaxed) > limit.most {
            return Err(Exceeded::Log { limit: limit.clone() });
        }
        Ok(())
    }

    /// One entry of the guest; a text of several lines becomes several.
    pub(crate) fn write(&self, level: Level, text: &str, fields: Vec<(String, String)>) {
        if self.is_muted() {
            return;
        }
        let at = self.now();
        // Before anything is cut off: half a value is not found any more.
        let (text, fields) = (self.mask.text(text), self.mask.pairs(fields));
        let mut fields = Some(fields);
        // An empty text is an empty line.
        let empty = text.is_empty().then_some("");
        for line in text.lines().chain(empty).map(cut) {
            // Fields belong to the entry: its first line carries them.
            let fields = fields.take().unwrap_or_default();
            let beside: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
            if !self.allowance.take(line.len() + beside) {
                return;
            }
            self.log.append(LogLine { at, stream: Stream::Plugin, level, text: line.to_owned(), fields });
        }
    }

    /// What the engine has to say.
    pub(crate) fn warn(&self, text: &str) {
        let (at, stream, level, text) =
            (self.clock.now(), Stream::Engine, Level::Warn, self.mask.text(text).into_owned());
        self.log.append(LogLine { at, stream, level, text, fields: Vec::new() });
    }

    /// Where a container or a build writes the lines of one stream.
    pub(crate) fn channel(&self, stream: Stream) -> Channel {
        self.channel_of(stream, None)
    }

    /// The same for one of several, whose name its lines begin with.
    pub(crate) fn channel_of(&self, stream: Stream, name: Option<&str>) -> Channel {
        let prefix = name.map(|name| format!("{name} | ")).unwrap_or_default();
        Channel { lines: self.clone(), stream, prefix, is_cut: AtomicBool::new(false), said: None }
    }

    /// The same for an effect, whose outcome is kept together with what it says.
    pub(crate) fn channel_of_effect(&self, stream: Stream, name: Option<&str>, said: &Said) -> Channel {
        Channel { said: Some(said.clone()), ..self.channel_of(stream, name) }
    }
}

fn cut(line: &str) -> &str {
    let mut end = line.len().min(MAX_LINE_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// Lines of one stream without fields, in order. A line that is too long comes in pieces.
#[derive(Debug)]
pub(crate) struct Channel {
    lines: Lines,
    stream: Stream,
    /// What each line begins with in the log.
    prefix: String,
    /// Whether the last line may have been the beginning of a longer one.
    is_cut: AtomicBool,
    said: Option<Said>,
}

impl Channel {
    /// Writes a line, and returns what was written after the prefix.
    pub(crate) fn line(&self, text: &str) -> String {
        self.piece(text.as_bytes(), text.len() >= MAY_BE_CUT_BYTES)
    }

    fn piece(&self, bytes: &[u8], is_cut: bool) -> String {
        let edges = Edges { is_continued: self.is_cut.swap(is_cut, Ordering::Relaxed), is_cut };
        let text = String::from_utf8_lossy(&self.lines.mask.piece(bytes, edges)).into_owned();
        if let Some(said) = &self.said {
            said.add(self.stream, &format!("{}{text}", self.prefix));
        }
        // After the mask: what stands for other signs must not hide a value.
        let is_whole = !edges.is_continued && !edges.is_cut && self.has_annotations();
        let said = is_whole.then(|| annotation::read(&text)).flatten();
        let Annotation { level, text: said, fields } =
            said.unwrap_or_else(|| Annotation { level: Level::Info, text: text.clone(), fields: Vec::new() });
        self.lines.log.append(LogLine {
            at: self.lines.now(),
            stream: self.stream,
            level,
            text: format!("{}{}", self.prefix, self.lines.mask.text(&said)),
            fields: self.lines.mask.pairs(fields),
        });
        text
    }

    /// Whether lines of it may say more than text: those of containers.
    fn has_annotations(&self) -> bool {
        matches!(self.stream, Stream::Stdout | Stream::Stderr)
    }
}

/// Makes lines out of the bytes that a guest writes to its standard output or error.
#[derive(Debug, Clone)]
pub(crate) struct ByteLines {
    channel: Arc<Channel>,
    partial: Arc<Mutex<Vec<u8>>>,
}

impl ByteLines {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel: Arc::new(channel), partial: Arc::default() }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The guest has written more than it may.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Exceeded> {
        if self.channel.lines.is_muted() {
            return Ok(());
        }
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || partial.len() >= MAX_LINE_BYTES {
                self.emit(&mut partial);
            }
        }
        self.channel.lines.check()
    }

    /// Writes what came after the last line end.
    pub(crate) fn finish(&self) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        if !partial.is_empty() {
            self.emit(&mut partial);
        }
    }

    fn emit(&self, partial: &mut Vec<u8>) {
        let end = partial.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        if self.channel.lines.allowance.take(end) {
            self.channel.piece(&partial[..end], !partial.ends_with(b"\n") && partial.len() >= MAX_LINE_BYTES);
        }
        partial.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use async_trait::async_trait;
    use yuanli_model::{RunId, Timestamp};
    use yuanli_ports::logs::{LogError, StoredLog};

    use super::*;
    use crate::limits::By;

    fn most(bytes: u64) -> Bound<u64> {
        Bound { most: bytes, by: By::Default }
    }

    #[derive(Debug, Default)]
    struct Log(Mutex<Vec<String>>);

    #[async_trait]
    impl AttemptLog for Log {
        fn append(&self, line: LogLine) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.text);
        }

        async fn grown(&self, _: u64) -> u64 {
            0
        }

        async fn finish(&self) -> Result<StoredLog, LogError> {
            Ok(StoredLog::Inline(bytes::Bytes::new()))
        }
    }

    #[derive(Debug)]
    struct NoTime;

    impl Clock for NoTime {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }

        fn new_run_id(&self) -> RunId {
            RunId::from_u128(0)
        }

        fn wait_until(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::ready(()))
        }
    }

    fn lines_of(values: &[&str], write: impl FnOnce(&Lines)) -> Vec<String> {
        let log = Arc::new(Log::default());
        let mask = Mask::new(values.iter().map(|value| value.as_bytes())).expect("a mask");
        write(&Lines::new(log.clone(), Arc::new(NoTime), Arc::new(mask), most(u64::MAX)));
        std::mem::take(&mut log.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[test]
    fn values_are_masked_however_the_bytes_come() {
        let secret = "first-half-second-half";
        for at in 0..secret.len() {
            let shown = lines_of(&[secret], |lines| {
                let output = ByteLines::new(lines.channel(Stream::Stdout));
                output.write(format!("a {}", &secret[..at]).as_bytes()).expect("it may");
                output.write(format!("{} b\r\nrest", &secret[at..]).as_bytes()).expect("it may");
                output.finish();
            });
            assert_eq!(shown, ["a *** b", "rest"]);
        }
    }

    #[test]
    fn a_line_that_is_too_long_does_not_show_a_part_of_a_value_where_it_is_cut() {
        let secret = "first-half-second-half";
        for at in 0..=secret.len() {
            let shown = lines_of(&[secret], |lines| {
                let output = ByteLines::new(lines.channel(Stream::Stdout));
                output.write(&vec![b'.'; MAX_LINE_BYTES - at]).expect("it may");
                output.write(&secret.as_bytes()[..at]).expect("it may");
                output.write(&secret.as_bytes()[at..]).expect("it may");
                output.write(b"\n").expect("it may");
            });
            let left: String = shown.concat().replace(['.', '*'], "");
            assert_eq!(left, "", "cut after {at}");
            let shown = lines_of(&[secret], |lines| {
                let text = format!("{}{secret}", ".".repeat(MAX_LINE_BYTES - at));
                lines.write(Level::Info, &text, vec![("key".to_owned(), secret.to_owned())]);
            });
            assert_eq!(shown[0].replace(['.', '*'], ""), "", "cut off after {at}");
        }
    }

    #[test]
    fn fields_are_counted_too() {
        let log = Arc::new(Log::default());
        let lines = Lines::new(log.clone(), Arc::new(NoTime), Arc::new(Mask::default()), most(1000));
        let write = |bytes| lines.write(Level::Info, "", vec![("key".to_owned(), "v".repeat(bytes))]);
        write(500);
        assert_eq!(lines.check(), Ok(()));
        write(500);
        assert_eq!(lines.check(), Err(Exceeded::Log { limit: most(1000) }));
        assert_eq!(
            log.0.lock().unwrap_or_else(PoisonError::into_inner).len(),
            1,
            "what is beyond is left out"
        );
    }

    #[test]
    fn pieces_of_a_line_from_outside_are_masked_as_one() {
        let secret = "first-half-second-half";
        let shown = lines_of(&[secret], |lines| {
            let channel = lines.channel(Stream::Stdout);
            channel.line(&format!("{}first-half", ".".repeat(MAY_BE_CUT_BYTES)));
            channel.line("-second-half and more");
            channel.line("-second-half is no part of it here");
        });
        assert!(shown[0].ends_with(".***"));
        assert_eq!(shown[1..], ["*** and more", "-second-half is no part of it here"]);
    }
}
