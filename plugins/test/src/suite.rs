//! Running the commands.

use yuanli_sdk::containers::Ending;
use yuanli_sdk::prelude::*;
use yuanli_sdk::services::Services;

use crate::config::Config;

/// A command that has ended.
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) exit: containers::Exit,
    /// What it said last.
    last: Option<String>,
}

/// Runs all of them at the same time, beside services that none of them may outlive.
pub(crate) fn run(config: &Config, services: &Services) -> Result<Vec<Suite>, Failure> {
    let mut started = Vec::new();
    for (name, command) in config.suites() {
        started.push((name, containers::start(&services.beside(config.request(command)))?));
    }
    let mut ended = Vec::new();
    for (name, container) in started {
        let exit = services.wait(&container)?;
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
        let why = match containers::ending(&self.exit) {
            Ending::Code(0) => return None,
            Ending::OutOfMemory => return Some("out of memory".to_owned()),
            Ending::Code(code) => format!("exit code {code}"),
            signal @ Ending::Signal(_) => signal.to_string(),
        };
        Some(self.last.as_ref().map_or_else(|| why.clone(), |line| format!("{why}: {}", line.trim())))
    }

    /// Whether it ended by itself: then failed tests are what its exit code means.
    pub(crate) fn has_ended_itself(&self) -> bool {
        matches!(containers::ending(&self.exit), Ending::Code(_))
    }
}
