//! Running the commands.

use yuanli_sdk::prelude::*;

use crate::config::Config;

/// A command that has ended.
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) exit: containers::Exit,
    /// What it said last.
    last: Option<String>,
}

/// Runs all of them at the same time.
pub(crate) fn run(config: &Config) -> Result<Vec<Suite>, Failure> {
    let mut started = Vec::new();
    for (name, command) in config.suites() {
        started.push((name, containers::start(&config.request(command))?));
    }
    let mut ended = Vec::new();
    for (name, container) in started {
        let exit = container.wait()?;
        let last = container.tail(1).pop().filter(|line| !line.trim().is_empty());
        let suite = Suite { name, exit, last };
        match suite.why() {
            None => log::info(format!("{}: passed in {} ms", suite.name, exit.duration_ms)),
            Some(why) => log::error(format!("{}: {why}", suite.name)),
        }
        ended.push(suite);
    }
    Ok(ended)
}

impl Suite {
    /// Why it has failed, if it has.
    pub(crate) fn why(&self) -> Option<String> {
        match (&self.last, self.exit) {
            (_, containers::Exit { code: 0, .. }) => None,
            (_, exit) if exit.out_of_memory => Some("out of memory".to_owned()),
            (Some(line), exit) => Some(format!("exit code {}: {}", exit.code, line.trim())),
            (None, exit) => Some(format!("exit code {}", exit.code)),
        }
    }

    /// Whether it ended by itself: then failed tests are what its exit code means.
    pub(crate) fn has_ended_itself(&self) -> bool {
        const SIGNALS: i64 = 128;
        !self.exit.out_of_memory && self.exit.code < SIGNALS
    }
}
