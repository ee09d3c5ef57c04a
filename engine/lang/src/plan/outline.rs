//! What a plan is made of, read from the model: the one place of the plan that knows what a workflow looks like.

use std::sync::Arc;
use std::time::Duration;

use yuanli_model::stage::FanOut;
use yuanli_model::{
    Capability, Expression, PluginDescription, PluginReference, Section, StageName, Template, Workflow,
    WorkflowName,
};

/// A workflow, as far as a plan is about it.
#[derive(Debug, Clone)]
pub struct Outline<'a> {
    /// Its name.
    pub name: &'a WorkflowName,
    /// Its stages, in the order of the document.
    pub stages: Vec<OutlineStage<'a>>,
}

/// A stage, as far as a plan is about it.
#[derive(Debug, Clone)]
pub struct OutlineStage<'a> {
    /// Its name.
    pub name: &'a StageName,
    /// The part of the run that it belongs to.
    pub part: Part,
    /// What it does.
    pub work: Work<'a>,
    /// What has to end before it starts.
    pub needs: &'a [StageName],
    /// Whether it runs when its needs have succeeded, or, when it asks how they ended, once they have.
    pub condition: Option<&'a Expression>,
    /// The list of what it runs for, each in an instance of its own.
    pub items: Option<&'a Template>,
    /// What a person is asked before it starts; empty when no words were given.
    pub approval: Option<&'a str>,
    /// Most attempts.
    pub attempts: u32,
    /// How long an attempt may take.
    pub timeout: Option<Duration>,
    /// Rights granted to a plugin that did not come with the engine.
    pub grants: &'a [Capability],
}

/// A part of a run. They come one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// `stages`
    Main,
    /// `on_failure`: when a stage of the main part failed.
    OnFailure,
    /// `finally`: last, however the run went.
    Finally,
}

/// What a stage does.
#[derive(Debug, Clone)]
pub enum Work<'a> {
    /// Runs a plugin.
    Plugin {
        /// What the document calls it.
        uses: &'a PluginReference,
        /// Which one that is.
        plugin: Arc<PluginDescription>,
        /// Its config, expressions still in it.
        with: &'a Template,
    },
    /// Runs another workflow.
    Workflow {
        /// What the document calls it.
        uses: String,
        /// Its inputs, expressions still in them.
        with: &'a Template,
    },
    /// Nothing but waiting for its approval.
    Gate,
}

impl<'a> Outline<'a> {
    /// The outline of a workflow; `None` when a plugin of it is not known, which no compiled workflow has.
    pub fn of(
        workflow: &'a Workflow,
        plugin: impl Fn(&PluginReference) -> Option<Arc<PluginDescription>>,
    ) -> Option<Self> {
        let stage = |stage: &'a yuanli_model::Stage| {
            Some(OutlineStage {
                name: &stage.name,
                part: Part::of(stage.section),
                work: match &stage.work {
                    yuanli_model::Work::Plugin { uses, with } => {
                        Work::Plugin { uses, plugin: plugin(uses)?, with }
                    }
                    yuanli_model::Work::Workflow { uses, with } => {
                        Work::Workflow { uses: uses.to_string(), with }
                    }
                    yuanli_model::Work::Gate => Work::Gate,
                },
                needs: &stage.needs,
                condition: stage.condition.as_ref(),
                items: match &stage.fan_out {
                    Some(FanOut::ForEach(items)) => Some(items),
                    // How its values are combined is decided where it runs.
                    Some(FanOut::Matrix(_)) | None => None,
                },
                approval: stage.approval.as_ref().map(|approval| match &approval.message {
                    Some(Template::Text(text)) => text.as_str(),
                    _ => "",
                }),
                attempts: stage.retry.attempts.get(),
                timeout: stage.timeout,
                grants: &stage.grants,
            })
        };
        let stages = workflow.stages().iter().map(stage).collect::<Option<Vec<_>>>()?;
        Some(Self { name: workflow.name(), stages })
    }
}

impl Part {
    fn of(section: Section) -> Self {
        match section {
            Section::Main => Self::Main,
            Section::OnFailure => Self::OnFailure,
            Section::Finally => Self::Finally,
        }
    }

    /// The key in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "stages",
            Self::OnFailure => "on_failure",
            Self::Finally => "finally",
        }
    }

    /// When its turn comes, for a person; nothing for the part that always comes first.
    #[must_use]
    pub const fn when(self) -> Option<&'static str> {
        match self {
            Self::Main => None,
            Self::OnFailure => Some("only when a stage has failed"),
            Self::Finally => Some("last, however the run went"),
        }
    }
}
