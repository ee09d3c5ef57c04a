//! Damaged directories: nothing that was acknowledged is lost, or the start is refused with the file that is damaged, or
//! what cannot be read any more says so when it is read.
//!
//! Each case is one fault in one file of a whole data directory. `YUANLI_SOAK` runs more of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use yuanli_ports::Logs;
use yuanli_ports::store::{Entry, Key, Revision};
use yuanli_store::simulation::Random;
use yuanli_store::{Check, Options, check, disk, repair};

use support::at_length;
use support::data::{Content, Data, KINDS as THINGS, Kind, attempt, thing};
use support::files::{copy, files, rewrite, scratch};

/// How long a start may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);
/// Things of each kind beside a store.
const THINGS_OF_A_KIND: u64 = 6;

/// A data directory to be damaged.
struct Shape {
    name: &'static str,
    folder: TempDir,
    /// The same at an earlier moment.
    earlier: TempDir,
    options: fn() -> Options,
    expected: Content,
    /// The entries after each commit, from none on.
    history: Vec<BTreeMap<Key, Entry>>,
}

fn tiny() -> Options {
    // Never compared with the time: what is retried is not part of these tests.
    Options { segment_bytes: 4096, memory_bytes: 2048, journal_bytes: 16 * 1024, ..Options::default() }
}

/// Segments, and neither index nor export.
fn journal_only() -> Options {
    Options { segment_bytes: 8192, ..Options::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

impl Shape {
    fn new(name: &'static str, options: fn() -> Options, is_compacted: bool) -> Self {
        let (folder, earlier) = (scratch(), scratch());
        let mut history = vec![BTreeMap::new()];
        let mut expected = None;
        for round in 0..2_u8 {
            let data = Data::open(folder.path(), options()).unwrap();
            runtime().block_on(async {
                for number in 0..120_u8 {
                    let value = vec![number ^ round; 40 + usize::from(number) * 3];
                    data.put(Key::new(vec![number % 90, round]), value).await;
                    history.push(data.entries().await.unwrap());
                }
                for number in 0..THINGS_OF_A_KIND / 2 {
                    for kind in THINGS {
                        data.keep(kind, number + u64::from(round) * THINGS_OF_A_KIND / 2).await;
                        history.push(data.entries().await.unwrap());
                    }
                }
                // Some logs are packed, some are not.
                data.logs.pack(attempt(u64::from(round)).run).await.unwrap();
                if is_compacted {
                    data.store.compact().await.unwrap();
                }
                expected = Some(data.content().await.unwrap());
            });
            drop(data);
            if round == 0 {
                copy(folder.path(), earlier.path());
            }
        }
        let expected = expected.unwrap();
        assert!(expected.things.iter().all(|(key, found)| *found == Ok(thing(key).unwrap())));
        assert_eq!(expected.things.len() as u64, THINGS_OF_A_KIND * 3);
        assert_eq!(expected.revision, Revision(history.len() as u64 - 1));
        Self { name, folder, earlier, options, expected, history }
    }

    /// Damages a copy, opens it, reads all there is, and says whether anything was lost.
    fn damaged(&self, what: &str, damage: impl FnOnce(&Path, &Path)) -> Outcome {
        let folder = scratch();
        copy(self.folder.path(), folder.path());
        damage(folder.path(), self.earlier.path());
        match self.opened(folder.path(), what) {
            Ok(found) => self.compared(found),
            Err(refusal) => {
                let has_file = refusal.contains(folder.path().to_str().unwrap());
                assert!(has_file, "{}: {what}: no file in `{refusal}`", self.name);
                self.explained(folder.path(), &refusal, what)
            }
        }
    }

    /// Opens a directory as an engine does, reads all and commits something; on a thread of its own, which may not hang.
    fn opened(&self, folder: &Path, what: &str) -> Result<Content, String> {
        let (answer, answered) = mpsc::channel();
        let (path, options) = (folder.to_owned(), self.options);
        std::thread::spawn(move || {
            let read = Data::open(&path, options()).and_then(|data| {
                runtime().block_on(async {
                    let content = data.content().await?;
                    data.put(Key::new(vec![255]), vec![1]).await;
                    Ok(content)
                })
            });
            let _ = answer.send(read);
        });
        answered.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{}: {what}: no answer", self.name))
    }

    fn compared(&self, found: Content) -> Outcome {
        let Content { engine, revision, entries, things } = &self.expected;
        if found.engine != *engine || found.revision != *revision || found.entries != *entries {
            return Outcome::Lost(found.revision);
        }
        let other = found.things.iter().find(|(key, found)| found.is_ok() && **found != things[*key]);
        match other {
            Some((key, _)) => Outcome::Altered(key.clone()),
            None if found.things == *things => Outcome::Whole,
            None => Outcome::Told,
        }
    }

    /// A check says why the start is refused, and what it proposes is what it does.
    fn explained(&self, folder: &Path, refusal: &str, what: &str) -> Outcome {
        let store = folder.join("store");
        if refusal.contains("engine.json")
            || refusal.contains("history")
            || refusal.starts_with("the data directory")
        {
            // Of the directory itself, or beside the store; a check of the store has nothing to say.
            assert_eq!(Data::open(folder, (self.options)()).err().as_deref(), Some(refusal), "{what}");
            return Outcome::Refused;
        }
        let Check { findings, repair: proposed, .. } = check(&disk::Local, &store).unwrap();
        assert!(!findings.is_empty(), "{}: {what}: a check does not explain `{refusal}`", self.name);
        if let Some(proposed) = proposed {
            let kept = usize::try_from(proposed.kept).unwrap();
            repair(&disk::Local, &store, &proposed).unwrap();
            let checked = check(&disk::Local, &store).unwrap();
            assert_eq!(
                (checked.findings, checked.revision),
                (vec![], proposed.kept),
                "{}: {what}",
                self.name
            );
            let found = self.opened(folder, what).unwrap();
            assert_eq!(found.revision, Revision(proposed.kept), "{}: {what}: {proposed:?}", self.name);
            assert!(found.entries == self.history[kept], "{}: {what}: not the state after {kept}", self.name);
        }
        Outcome::Refused
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Whole,
    /// The start is refused.
    Refused,
    /// The start is not, and what cannot be read says so.
    Told,
    /// Without a word.
    Lost(Revision),
    /// Something is read that is not what was written.
    Altered(Key),
}

/// The parts of a data directory. Each is damaged as often as the others, however many files it has.
const PARTS: [&str; 8] =
    ["engine.json", "lock", "store/journal", "store/exports", "store/index", "history", "blobs", "logs"];

fn part_of(folder: &Path, part: &str) -> Vec<PathBuf> {
    let begins = |path: &PathBuf| path.strip_prefix(folder).unwrap().to_str().unwrap().starts_with(part);
    files(folder).into_iter().filter(begins).collect()
}

/// A file, of one of the parts that there are.
fn any_file(folder: &Path, random: &mut Random) -> PathBuf {
    let mut parts: Vec<Vec<PathBuf>> = PARTS.iter().map(|part| part_of(folder, part)).collect();
    parts.retain(|files| !files.is_empty());
    let part = &parts[random.below(parts.len())];
    part[random.below(part.len())].clone()
}

/// One fault in one file; each is found, or harms nothing.
fn one_fault(kind: &str, folder: &Path, earlier: &Path, random: &mut Random) -> PathBuf {
    let path = any_file(folder, random);
    let length = fs::metadata(&path).unwrap().len() as usize;
    let at = random.below(length.max(1));
    match kind {
        "a flipped bit" => rewrite(&path, |bytes| {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }),
        "random bytes" => rewrite(&path, |bytes| {
            let length = 1 + random.below(64);
            bytes.iter_mut().skip(at).take(length).for_each(|byte| *byte = random.number() as u8);
        }),
        "a zeroed page" => rewrite(&path, |bytes| {
            bytes.iter_mut().skip(at / 4096 * 4096).take(4096).for_each(|byte| *byte = 0);
        }),
        "a cut tail" => rewrite(&path, |bytes| bytes.truncate(at)),
        "an empty file" => fs::write(&path, "").unwrap(),
        "a missing file" => fs::remove_file(&path).unwrap(),
        "an older file" => {
            let old = earlier.join(path.strip_prefix(folder).unwrap());
            if old.exists() {
                fs::copy(old, &path).unwrap();
            }
        }
        "two files swapped" => return swap(folder, random),
        other => panic!("{other}"),
    }
    path
}

/// Swaps two segments, of the journal or of the archive, or two blobs.
fn swap(folder: &Path, random: &mut Random) -> PathBuf {
    let part = ["store/journal", "history", "blobs"][random.below(3)];
    let mut files = part_of(folder, part);
    files.retain(|path| path.extension().is_some());
    let (first, second) = (&files[random.below(files.len())], &files[random.below(files.len())]);
    let (a, b) = (fs::read(first).unwrap(), fs::read(second).unwrap());
    fs::write(first, b).unwrap();
    fs::write(second, a).unwrap();
    first.clone()
}

const KINDS: [&str; 8] = [
    "a flipped bit",
    "random bytes",
    "a zeroed page",
    "a cut tail",
    "an empty file",
    "a missing file",
    "an older file",
    "two files swapped",
];

fn shapes() -> [Shape; 3] {
    [
        Shape::new("segments, exports and an index", tiny, false),
        Shape::new("segments alone", journal_only, false),
        Shape::new("as small as it can be", Options::default, true),
    ]
}

/// What became of all cases.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    whole: usize,
    refused: usize,
    told: usize,
    altered: usize,
}

impl Tally {
    fn count(&mut self, outcome: Outcome, file: &Path, case: &str) {
        self.cases += 1;
        match outcome {
            Outcome::Whole => self.whole += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Told => self.told += 1,
            // A long log has no checksum until it is packed: see `docs/durability.md`.
            Outcome::Altered(_) if file.extension().is_some_and(|e| e == "jsonl") => self.altered += 1,
            bad => panic!("{case}: {bad:?}"),
        }
    }
}

#[test]
fn one_fault_loses_nothing_or_is_told_with_its_file() {
    let wanted = std::env::var("YUANLI_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let mut tally = Tally::default();
    for shape in shapes() {
        for kind in KINDS {
            for seed in (0..at_length(22, 200)).filter(|seed| wanted.is_none_or(|wanted| wanted == *seed)) {
                let mut file = PathBuf::new();
                let outcome = shape.damaged(kind, |folder, earlier| {
                    let path = one_fault(kind, folder, earlier, &mut Random::new(seed));
                    file = path.strip_prefix(folder).unwrap().to_owned();
                });
                let case = format!("{}: {kind} in {} (YUANLI_SEED={seed})", shape.name, file.display());
                tally.count(outcome, &file, &case);
            }
        }
    }
    if wanted.is_none() {
        let Tally { cases, whole, refused, told, .. } = tally;
        assert!(cases >= 500 && whole > 50 && refused > 50 && told > 50, "{tally:?}");
    }
}

#[test]
fn a_flipped_bit_in_any_file_loses_nothing_or_is_told() {
    let mut tally = Tally::default();
    for shape in shapes() {
        for path in files(shape.folder.path()) {
            let file = path.strip_prefix(shape.folder.path()).unwrap();
            let length = fs::metadata(&path).unwrap().len() as usize;
            for seed in 0..at_length(2, 20).min(length) {
                let mut random = Random::new(seed as u64);
                let (at, bit) = (random.below(length), random.below(8));
                let what = format!("bit {bit} of byte {at} of {}", file.display());
                let outcome = shape.damaged(&what, |folder, _| {
                    rewrite(&folder.join(file), |bytes| bytes[at] ^= 1 << bit);
                });
                tally.count(outcome, file, &format!("{}: {what}", shape.name));
            }
        }
    }
    assert!(tally.whole > 0 && tally.refused > 0 && tally.told > 0, "{tally:?}");
}

#[test]
fn every_bit_of_what_says_whose_a_directory_is_is_looked_at() {
    let shape = Shape::new("segments alone", journal_only, false);
    let length = fs::read(shape.folder.path().join("engine.json")).unwrap().len();
    for (at, bit) in (0..length).map(|at| (at, at % 8)) {
        let outcome = shape.damaged("engine.json", |folder, _| {
            rewrite(&folder.join("engine.json"), |bytes| bytes[at] ^= 1 << bit);
        });
        assert!(matches!(outcome, Outcome::Whole | Outcome::Refused), "bit {bit} of byte {at}: {outcome:?}");
    }
}

#[test]
fn a_directory_that_was_copied_by_halves_is_refused_or_whole_or_told() {
    let shape = Shape::new("segments, exports and an index", tiny, false);
    let mut tally = Tally::default();
    for seed in 0..at_length(40, 400) {
        let mut random = Random::new(seed);
        let outcome = shape.damaged("half a copy", |folder, _| {
            // The mark is there: without it nothing says how much there was.
            for path in files(folder).into_iter().filter(|path| !path.ends_with("mark")) {
                match random.below(if seed % 2 == 0 { 4 } else { 20 }) {
                    0 => fs::remove_file(path).unwrap(),
                    1 => rewrite(&path, |bytes| bytes.truncate(random.below(bytes.len().max(1)))),
                    _ => {}
                }
            }
        });
        tally.count(outcome, Path::new(""), &format!("seed {seed}"));
    }
    assert!(tally.refused > 0 && tally.told > 0, "{tally:?}");
}

#[test]
fn a_cut_tail_without_its_mark_looks_torn_which_is_a_limit() {
    let shape = Shape::new("segments alone", journal_only, false);
    let outcome = shape.damaged("two faults", |folder, _| {
        fs::remove_file(folder.join("store/journal/mark")).unwrap();
        let mut journal = part_of(folder, "store/journal").into_iter();
        let last = journal.rfind(|path| path.extension().is_some_and(|e| e == "journal")).unwrap();
        rewrite(&last, |bytes| {
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            bytes[end - 20..=end].fill(0);
        });
    });
    assert_eq!(outcome, Outcome::Lost(Revision(shape.expected.revision.0 - 1)));
}

#[test]
fn a_flipped_bit_in_a_log_that_is_not_packed_may_pass_which_is_a_limit() {
    let shape = Shape::new("segments alone", journal_only, false);
    let outcome = shape.damaged("a flipped bit", |folder, _| {
        let mut logs = part_of(folder, "logs").into_iter();
        let plain = logs.find(|path| path.extension().is_some_and(|e| e == "jsonl")).unwrap();
        rewrite(&plain, |bytes| {
            let at = bytes.windows(3).position(|text| text == b"xxx").unwrap();
            bytes[at] ^= 1;
        });
    });
    let Outcome::Altered(key) = outcome else { panic!("{outcome:?}") };
    assert_eq!(key.as_bytes()[1], Kind::Log as u8);
}
