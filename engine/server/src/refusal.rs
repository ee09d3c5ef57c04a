//! Why what was asked of an engine is not done, whoever asked: a request, a schedule, an event, another command.

use yuanli_model::input::InvalidInput;

use crate::document::{Document, Refused, WIDTH, render};
use crate::kept::Changed;

/// Why a request is not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no such thing.
    NotFound(String),
    /// The request is wrong.
    Invalid(String),
    /// The document is.
    Document(Box<Document>),
    /// The document of an app is.
    App {
        /// What it is called.
        file: String,
        /// Its text.
        text: String,
        /// What is wrong with it.
        diagnostics: Vec<yuanli_lang::Diagnostic>,
    },
    /// It does not fit what happens now.
    Conflict(String),
    /// Nobody knows who asks.
    Unauthorized(String),
    /// Whoever asks may not.
    Forbidden(String),
    /// It is not as whoever wants to change it believes.
    Changed(String),
    /// There is no such part of it.
    NotSatisfiable(String),
    /// The body is.
    TooLarge(String),
    /// The body comes so.
    TooSlow(String),
    /// So many requests came, and the next one may in so many seconds.
    TooMany(String, u64),
    /// It cannot be done for now.
    Unavailable(String),
    /// This machine failed.
    Internal(anyhow::Error),
}

impl Refusal {
    /// There is no workflow of this name.
    pub(crate) fn no_workflow(name: &str) -> Self {
        Self::NotFound(format!("there is no workflow `{name}`; `yuanli workflow list` shows them"))
    }

    /// The sentence of it, for whoever looks at what became of a request.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::NotFound(why)
            | Self::Invalid(why)
            | Self::Conflict(why)
            | Self::Unauthorized(why)
            | Self::Forbidden(why)
            | Self::Changed(why)
            | Self::NotSatisfiable(why)
            | Self::TooLarge(why)
            | Self::TooSlow(why)
            | Self::TooMany(why, _)
            | Self::Unavailable(why) => why.clone(),
            Self::Document(_) | Self::App { .. } => "the workflow has errors".to_owned(),
            Self::Internal(error) => format!("{error:#}"),
        }
    }

    /// For the log: what is wrong with a document in full.
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Document(document) => document.render(false, WIDTH),
            Self::App { file, text, diagnostics } => render(&file, &text, &diagnostics, false, WIDTH),
            other => other.told(),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::Invalid(match refused {
            Refused::Inputs(wrong) => InvalidInput::in_words(&wrong),
            Refused::Secrets(missing) => missing.join("; "),
            Refused::Invalid => "the workflow has errors".to_owned(),
            Refused::Uncreatable(why) => why,
        })
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Changed>() {
            Ok(changed) => Self::Changed(changed.to_string()),
            Err(error) => Self::Internal(error),
        }
    }
}
