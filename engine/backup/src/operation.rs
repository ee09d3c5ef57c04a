//! One call of the port, as all threads that work for it see it: may it go on, and what was its first failure.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustic_core::{ErrorKind, RusticError};
use yuanli_ports::Cancellation;
use yuanli_ports::backups::{BackupError, Repository};

/// See the module.
#[derive(Debug)]
pub(crate) struct Operation {
    repository: Repository,
    cancel: Cancellation,
    failure: Mutex<Option<BackupError>>,
}

impl Operation {
    pub(crate) fn new(repository: Repository, cancel: Cancellation) -> Self {
        Self { repository, cancel, failure: Mutex::default() }
    }

    /// The folder of the repository.
    pub(crate) fn path(&self) -> &Path {
        &self.repository.path
    }

    /// What the repository is encrypted with.
    pub(crate) fn password(&self) -> &str {
        &self.repository.password
    }

    /// Whether there is any use in going on: the first failure, if there was one, or the wish to stop.
    pub(crate) fn go_on(&self) -> Result<(), BackupError> {
        match &*self.failure() {
            Some(failure) => Err(failure.clone()),
            None if self.cancel.is_cancelled() => Err(BackupError::Cancelled),
            None => Ok(()),
        }
    }

    /// Notes a failure, unless there was one before, and gives it to the library, which takes no errors of ours.
    pub(crate) fn fail(&self, failure: BackupError) -> Box<RusticError> {
        let told = RusticError::new(ErrorKind::Backend, failure.to_string());
        self.failure().get_or_insert(failure);
        told
    }

    /// What an error of the library means: our own failure below it if there was one.
    pub(crate) fn explain(&self, error: &RusticError) -> BackupError {
        if let Err(failure) = self.go_on() {
            return failure;
        }
        let repository = self.path().display();
        if error.is_incorrect_password() {
            return BackupError::WrongPassword(format!(
                "the password does not open the repository {repository}: give the one that it was made with"
            ));
        }
        BackupError::Damaged(format!("the repository {repository} cannot be read: {}", plain(error)))
    }

    fn failure(&self) -> MutexGuard<'_, Option<BackupError>> {
        // No code that can panic runs under the lock.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The library's words for its log, without their head and on one line.
fn plain(error: &RusticError) -> String {
    let text = error.display_log();
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
