//! Waiting for a store that takes nothing for now, such as on a disk that is full.
//!
//! What was to be committed is committed again, the same, until the store answers otherwise. That is right also where
//! nobody can know whether a commit was made: while the store lives it was not, and should it be found by the next engine
//! after all, then before the one that was made, which says the same.

use std::fmt::Display;
use std::time::Duration;

use yuanli_ports::store::StoreError;

use crate::executor::Error;

/// How long it is waited before the store is asked again: at first, and at most. Many may wait, and all of them ask.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Asks until the store answers; `who` is held up meanwhile.
pub(crate) async fn patiently<T, F>(who: &(dyn Display + Sync), ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match ask().await {
            Err(error) if passes(&error) => error,
            Ok(answer) if pause > FIRST_PAUSE => {
                tracing::info!(%who, "goes on: the store takes commits again");
                return Ok(answer);
            }
            answer => return answer,
        };
        if pause == FIRST_PAUSE {
            tracing::error!(%who, %error, "waits until the store takes commits again");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether an error goes away by itself when its cause does.
fn passes(error: &Error) -> bool {
    matches!(error, Error::Store(StoreError::Exhausted(_) | StoreError::Unavailable(_)))
}
