//! Runs that were open in a data directory when it was imported, or adopted as a copy: what they are of may go on elsewhere, or
//! have ended there. Nobody goes on with them but people, one by one. What starts its workflows may do so elsewhere as well: the
//! first service that opens the directory pauses them, for people to let them go on.
//!
//! That a directory is one of those is noted in a file before it can be opened by an engine; the first one that is fills in
//! which runs were open.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use yuanli_model::RunId;

use crate::whole;

const FILE: &str = "restored.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Noted {
    /// `None` until an engine has looked which there are.
    runs: Option<BTreeSet<String>>,
    /// Whether workflows were paused. `None`: an engine before this one has noted it, which paused none.
    #[serde(default)]
    is_paused: Option<bool>,
}

impl Noted {
    fn is_settled(&self) -> bool {
        self.runs.as_ref().is_some_and(BTreeSet::is_empty) && self.is_paused != Some(false)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Restored {
    path: PathBuf,
    /// `None`: the directory is its engine's own.
    noted: Mutex<Option<Noted>>,
}

/// Notes that all runs which are open in a data directory are restored.
pub(crate) fn note(data: &Path) -> io::Result<()> {
    let (name, content) = noted()?;
    whole::write_own(&data.join(name), &content)
}

/// The file that says so: its name, and what is in it.
pub(crate) fn noted() -> io::Result<(&'static str, Vec<u8>)> {
    Ok((FILE, serde_json::to_vec(&Noted { runs: None, is_paused: Some(false) })?))
}

impl Restored {
    /// What is noted in a data directory.
    pub(crate) fn open(data: &Path) -> anyhow::Result<Self> {
        let path = data.join(FILE);
        let noted = match std::fs::read(&path) {
            Ok(text) => Some(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path, noted: Mutex::new(noted) })
    }

    /// Fills in which runs are open, if nobody has done so yet. Before any other is started.
    pub(crate) fn settle(&self, open: &[RunId]) -> io::Result<()> {
        let mut noted = self.lock();
        let Some(Noted { runs: runs @ None, .. }) = &mut *noted else { return Ok(()) };
        *runs = Some(open.iter().map(RunId::to_string).collect());
        self.keep(&mut noted)
    }

    /// Whether a run that is open is restored.
    pub(crate) fn contains(&self, run: &str) -> bool {
        match &*self.lock() {
            None => false,
            Some(Noted { runs: None, .. }) => true,
            Some(Noted { runs: Some(runs), .. }) => runs.contains(run),
        }
    }

    /// That a person has decided on runs, on all of them at once.
    pub(crate) fn forget(&self, decided: &[RunId]) -> io::Result<()> {
        let mut noted = self.lock();
        let Some(Noted { runs: Some(runs), .. }) = &mut *noted else { return Ok(()) };
        let before = runs.len();
        runs.retain(|run| !decided.iter().any(|decided| decided.to_string() == *run));
        if runs.len() == before { Ok(()) } else { self.keep(&mut noted) }
    }

    /// Whether its workflows are to be paused.
    pub(crate) fn awaits_pause(&self) -> bool {
        self.lock().as_ref().is_some_and(|noted| noted.is_paused == Some(false))
    }

    /// That they are.
    pub(crate) fn note_paused(&self) -> io::Result<()> {
        let mut noted = self.lock();
        let Some(own) = &mut *noted else { return Ok(()) };
        own.is_paused = Some(true);
        self.keep(&mut noted)
    }

    fn keep(&self, noted: &mut Option<Noted>) -> io::Result<()> {
        if noted.as_ref().is_some_and(Noted::is_settled) {
            *noted = None;
            return std::fs::remove_file(&self.path);
        }
        whole::write_own(&self.path, &serde_json::to_vec(noted)?)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_open_are_restored_until_somebody_decides() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = RunId::from_u128;
        let contains = |restored: &Restored, id| restored.contains(&run(id).to_string());
        let own = Restored::open(folder.path()).expect("nothing");
        own.settle(&[run(1)]).expect("nothing to do");
        assert!(!contains(&own, 1));
        note(folder.path()).expect("it is noted");
        let first = Restored::open(folder.path()).expect("a note");
        assert!(contains(&first, 1), "nobody has looked yet");
        first.settle(&[run(1), run(2)]).expect("they are noted");
        let second = Restored::open(folder.path()).expect("a list");
        second.settle(&[run(3)]).expect("nothing to do");
        assert_eq!([1, 2, 3].map(|id| contains(&second, id)), [true, true, false]);
        second.forget(&[run(1)]).expect("it is noted");
        assert_eq!([1, 2].map(|id| contains(&second, id)), [false, true]);
        second.forget(&[run(2)]).expect("it is noted");
        assert!(second.awaits_pause() && Restored::open(folder.path()).expect("a note").awaits_pause());
        second.note_paused().expect("it is noted");
        assert!(!second.awaits_pause());
        assert!(!folder.path().join(FILE).exists(), "nothing is left to be decided");
    }
}
