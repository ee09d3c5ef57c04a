//! The container that an attempt which has ended had started last, as it would be started again.
//!
//! The attempt is told once more what it was told (`replay.rs`): so it asks for the same containers, whatever plugin it is,
//! and nothing but the last request is looked at.

use std::sync::Arc;

use yuanli_bindings::containers::Error;
use yuanli_model::{Grant, Rights};
use yuanli_ports::AttemptWorkspace;
use yuanli_ports::containers::ContainerRequest;
use yuanli_ports::journal::Recorded;

use crate::host::Host;
use crate::interface::containers::{self, SECRET_VARIABLE, SERVICE};
use crate::replay::{Replay, Transcript};

/// Where the container is to stand.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What the workflow grants to the stage.
    pub grants: Vec<Grant>,
    /// The files that it finds.
    pub workspace: Arc<dyn AttemptWorkspace>,
    /// Whether its environment has the secrets that the attempt put there.
    pub has_secrets: bool,
}

impl Host {
    /// What Docker is to be asked for a container like the last one that an attempt has started, services beside it left out.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub async fn last_container(
        &self,
        replay: Replay,
        calls: Vec<Recorded>,
        standing: Standing,
    ) -> Result<ContainerRequest, String> {
        let Standing { grants, workspace, has_secrets } = standing;
        let stage = replay.id.stage.clone();
        let code = self.catalog.code(&replay.component).await.map_err(|error| error.to_string())?;
        let description = &code.description;
        let rights = Rights::new(&description.capabilities, description.is_builtin, &grants);
        let transcript = Arc::new(Transcript::default());
        let mut attempt = replay.attempt(transcript.clone());
        (attempt.grants, attempt.workspace) = (grants, workspace);
        let told = self.told(attempt, &code, rights, calls, &transcript).await;
        let (session, _) = told.map_err(|failure| failure.message)?;
        let is_service = |options: &[(String, String)]| options.iter().any(|(key, _)| key == SERVICE);
        let Some(mut request) = transcript.last_request(|request| !is_service(&request.options)) else {
            return Err(format!("the plugin of stage `{stage}` has started no container in that attempt"));
        };
        if !has_secrets {
            request.options.retain(|(key, _)| key != SECRET_VARIABLE);
        }
        let guest = session.guest();
        let Some(state) = &guest.attempt else {
            unreachable!("the store of an attempt has its state");
        };
        let translated = containers::translate(state, request).await;
        translated.map(|(request, _, _)| request).map_err(|error| match error {
            Error::Unreachable(why)
            | Error::NotFound(why)
            | Error::Invalid(why)
            | Error::Engine(why)
            | Error::Other(why) => why,
        })
    }
}
