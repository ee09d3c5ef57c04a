//! Damaged directories: nothing that was acknowledged is lost, or the start is refused with the file that is damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRng, TestRunner};
use tempfile::TempDir;
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Entry, Key, Range, Revision, StoreError};
use yuanli_store::{Embedded, Options, check, disk};

/// How long a start may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);
/// Cases per shape of a directory, for each kind of damage.
const SEEDS: u64 = 22;

/// What was acknowledged.
type Expected = BTreeMap<Key, Entry>;

/// A directory to be damaged.
struct Shape {
    name: &'static str,
    folder: TempDir,
    /// The same at an earlier moment.
    earlier: TempDir,
    options: fn() -> Options,
    expected: Expected,
    revision: Revision,
}

fn tiny() -> Options {
    // Never compared with the time: what is retried is not part of these tests.
    Options { segment_bytes: 4096, memory_bytes: 2048, journal_bytes: 16 * 1024, ..Options::default() }
}

/// Segments, and neither index nor export.
fn journal_only() -> Options {
    Options { segment_bytes: 8192, ..Options::default() }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The files of a directory, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

impl Shape {
    fn new(name: &'static str, options: fn() -> Options, is_compacted: bool) -> Self {
        let (folder, earlier) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (mut expected, mut last) = (Expected::new(), Revision(0));
        for round in 0..2_u8 {
            let store = Embedded::open(folder.path(), options()).unwrap();
            runtime().block_on(async {
                for number in 0..120_u8 {
                    let mut batch = Batch::default();
                    let value = vec![number ^ round; 40 + usize::from(number) * 3];
                    let key = Key::new(vec![number % 90, round]);
                    batch.put(key.clone(), value.clone());
                    last = store.commit(batch).await.unwrap();
                    expected.insert(key, Entry { value: value.into(), revision: last });
                }
                if is_compacted {
                    store.compact().await.unwrap();
                }
            });
            drop(store);
            if round == 0 {
                copy(folder.path(), earlier.path());
            }
        }
        Self { name, folder, earlier, options, expected, revision: last }
    }

    /// Damages a copy, opens it, and says whether anything was lost.
    fn damaged(&self, what: &str, damage: impl FnOnce(&Path, &Path)) -> Outcome {
        let folder = TempDir::new().unwrap();
        copy(self.folder.path(), folder.path());
        damage(folder.path(), self.earlier.path());
        let (answer, answered) = mpsc::channel();
        let (path, options) = (folder.path().to_owned(), self.options);
        std::thread::spawn(move || {
            let read = Embedded::open(&path, options()).and_then(|store| {
                runtime().block_on(async {
                    let rows = store.scan(Range::prefix(&[], 10_000)).await?;
                    let revision = store.revision().await?;
                    let mut more = Batch::default();
                    more.put(Key::new(vec![255]), vec![1]);
                    store.commit(more).await?;
                    Ok((rows.into_iter().collect::<Expected>(), revision))
                })
            });
            let _ = answer.send(read);
        });
        let outcome =
            answered.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{}: {what}: no answer", self.name));
        match outcome {
            Ok((rows, revision)) if rows == self.expected && revision == self.revision => Outcome::Whole,
            Ok((_, revision)) => Outcome::Lost(revision),
            Err(error @ (StoreError::Damaged(_) | StoreError::Unavailable(_))) => {
                let text = error.to_string();
                assert!(
                    text.contains(folder.path().to_str().unwrap()),
                    "{}: {what}: no file in `{text}`",
                    self.name
                );
                let findings = check(&disk::Local, folder.path()).unwrap().findings;
                assert!(!findings.is_empty(), "{}: {what}: a check does not explain `{text}`", self.name);
                Outcome::Refused
            }
            Err(error) => panic!("{}: {what}: {error}", self.name),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Whole,
    Refused,
    /// Without a word.
    Lost(Revision),
}

/// Numbers that are the same in every run of a seed.
struct Random(TestRng);

impl Random {
    fn new(seed: u64) -> Self {
        let config = Config {
            rng_algorithm: RngAlgorithm::ChaCha,
            rng_seed: RngSeed::Fixed(seed),
            failure_persistence: None,
            ..Config::default()
        };
        Self(TestRunner::new(config).new_rng())
    }

    fn below(&mut self, end: usize) -> usize {
        use proptest::prelude::Rng;
        (self.0.next_u64() % end.max(1) as u64) as usize
    }
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// One fault in one file; each is found, or harms nothing.
fn one_fault(kind: &str, folder: &Path, earlier: &Path, random: &mut Random) -> String {
    let all = files(folder);
    let path = all[random.below(all.len())].clone();
    let name = path.strip_prefix(folder).unwrap().display().to_string();
    match kind {
        "a flipped bit" => rewrite(&path, |bytes| {
            if !bytes.is_empty() {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }),
        "random bytes" => rewrite(&path, |bytes| {
            let (at, length) = (random.below(bytes.len()), 1 + random.below(64));
            for byte in bytes.iter_mut().skip(at).take(length) {
                *byte = random.below(256) as u8;
            }
        }),
        "a zeroed page" => rewrite(&path, |bytes| {
            let at = random.below(bytes.len()) / 4096 * 4096;
            bytes.iter_mut().skip(at).take(4096).for_each(|byte| *byte = 0);
        }),
        "a cut tail" => rewrite(&path, |bytes| bytes.truncate(random.below(bytes.len()))),
        "an empty file" => fs::write(&path, "").unwrap(),
        "a missing file" => fs::remove_file(&path).unwrap(),
        "an older file" => {
            let old = earlier.join(path.strip_prefix(folder).unwrap());
            if old.exists() {
                fs::copy(old, &path).unwrap();
            }
        }
        "two files swapped" => {
            let journal: Vec<&PathBuf> =
                all.iter().filter(|path| path.extension().is_some_and(|e| e == "journal")).collect();
            let (first, second) =
                (journal[random.below(journal.len())], journal[random.below(journal.len())]);
            let (a, b) = (fs::read(first).unwrap(), fs::read(second).unwrap());
            fs::write(first, b).unwrap();
            fs::write(second, a).unwrap();
        }
        other => panic!("{other}"),
    }
    name
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

#[test]
fn one_fault_loses_nothing_or_is_told_with_its_file() {
    let wanted = std::env::var("YUANLI_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let (mut cases, mut whole, mut refused) = (0, 0, 0);
    for shape in shapes() {
        for kind in KINDS {
            for seed in 0..SEEDS {
                if wanted.is_some_and(|wanted| wanted != seed) {
                    continue;
                }
                let mut name = String::new();
                let outcome = shape.damaged(kind, |folder, earlier| {
                    name = one_fault(kind, folder, earlier, &mut Random::new(seed));
                });
                let case = format!("{}: {kind} in {name} (YUANLI_SEED={seed})", shape.name);
                cases += 1;
                match outcome {
                    Outcome::Whole => whole += 1,
                    Outcome::Refused => refused += 1,
                    Outcome::Lost(revision) => panic!("{case}: ends at {revision:?} of {:?}", shape.revision),
                }
            }
        }
    }
    if wanted.is_none() {
        assert!(cases >= 500, "{cases} cases");
        assert!(whole > 50 && refused > 50, "of {cases} cases {whole} were whole and {refused} refused");
    }
}

#[test]
fn a_directory_that_was_copied_by_halves_is_refused_or_whole() {
    let shape = Shape::new("segments, exports and an index", tiny, false);
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let outcome = shape.damaged("half a copy", |folder, _| {
            // The mark is there: without it nothing says how much there was.
            for path in files(folder).into_iter().filter(|path| !path.ends_with("mark")) {
                match random.below(4) {
                    0 => fs::remove_file(path).unwrap(),
                    1 => rewrite(&path, |bytes| bytes.truncate(random.below(bytes.len()))),
                    _ => {}
                }
            }
        });
        assert!(!matches!(outcome, Outcome::Lost(_)), "{outcome:?} (seed {seed})");
    }
}

#[test]
fn a_cut_tail_without_its_mark_looks_torn_which_is_a_limit() {
    let shape = Shape::new("segments alone", journal_only, false);
    let outcome = shape.damaged("two faults", |folder, _| {
        fs::remove_file(folder.join("journal/mark")).unwrap();
        let mut journal = files(&folder.join("journal")).into_iter();
        let last = journal.rfind(|path| path.extension().is_some_and(|e| e == "journal")).unwrap();
        rewrite(&last, |bytes| {
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            bytes[end - 50..=end].fill(0);
        });
    });
    assert_eq!(outcome, Outcome::Lost(Revision(shape.revision.0 - 1)));
}
