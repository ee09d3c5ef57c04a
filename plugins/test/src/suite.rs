//! Running the commands.

use std::collections::BTreeMap;

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
    /// Where it ran.
    container: containers::Container,
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
        let suite = Suite { name, exit, last, container };
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

    /// Keeps what suites of this config have written for people, after what their reports say.
    pub(crate) fn keep_summary(config: &Config, own: String, suites: &[Self]) {
        let suites = suites.iter().filter(|_| config.hands_over());
        handover::keep_summary_after(own, suites.map(|suite| &suite.container));
    }

    /// What they have written as outputs; of two that have the same name the later one's.
    pub(crate) fn values(config: &Config, suites: &[Self]) -> Result<BTreeMap<String, String>, Failure> {
        let mut values = BTreeMap::new();
        for suite in suites.iter().filter(|_| config.hands_over()) {
            values.extend(handover::outputs(&suite.container)?);
        }
        Ok(values)
    }

    /// Whether it ended by itself: then failed tests are what its exit code means.
    pub(crate) fn has_ended_itself(&self) -> bool {
        matches!(containers::ending(&self.exit), Ending::Code(_))
    }
}
