//! What would be found of earlier attempts, asked before a run begins: as far as what counts is known by then.

use yuanli_model::run::CacheFinding;
use yuanli_model::workspace::Manifest;
use yuanli_model::{RunId, WorkflowName};

use super::{Question, Standing, parts, standing};
use crate::executor::{Error, Executor};
use crate::record::Broken;

/// A stage that is cached, as far as it is known before its run.
#[derive(Debug, Clone)]
pub struct Prospect {
    /// The stage.
    pub stage: yuanli_model::StageName,
    /// The component of its plugin.
    pub component: yuanli_model::Digest,
    /// Its config; what is not known of it stands among [`Self::open`].
    pub config: serde_json::Value,
    /// What counts beside the config, likewise.
    pub values: serde_json::Value,
    /// The parts that are not known yet, by the names that findings have for them: `config.image`, `values`, `files`.
    pub open: Vec<String>,
    /// What the stage says of its cache.
    pub cache: yuanli_model::stage::Cache,
}

/// What would be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreseen {
    /// This, whatever becomes of the rest.
    Finding(CacheFinding),
    /// All that is known is as in that run; these parts are not known yet.
    Open {
        /// The run.
        from: RunId,
        /// The parts.
        parts: Vec<String>,
    },
}

impl Executor {
    /// What would be found for a stage of a workflow if it ran now. Whether all of what an earlier attempt gave is still there
    /// is found out when it is taken over.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn foresee(&self, workflow: &WorkflowName, prospect: &Prospect) -> Result<Foreseen, Error> {
        let Prospect { stage, component, config, values, open, cache } = prospect;
        // Files are those of the stages before: none, or not known.
        let parts = parts::parts(*component, config, values, &[], &Manifest::default())
            .map_err(|error| Broken::damaged("workflow", error))?;
        let entries = Question::entries(&self.shared, workflow, stage).await?;
        let finding = match standing(&self.shared, &parts, open, &entries).await? {
            Standing::Nothing => CacheFinding::Nothing,
            Standing::Differs { from, part } => CacheFinding::Differs { from, part },
            Standing::Entry(entry) => {
                let (from, now) = (entry.run(), self.shared.ports.clock.now());
                match cache.max_age.is_some_and(|age| entry.made().after(age) <= now) {
                    true => CacheFinding::TooOld { from },
                    false if open.is_empty() => CacheFinding::Hit { from },
                    false => return Ok(Foreseen::Open { from, parts: open.clone() }),
                }
            }
        };
        Ok(Foreseen::Finding(finding))
    }
}
