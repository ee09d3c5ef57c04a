//! A shell where a stage has failed: in a container like the one that it had started last, with the files that it began with.

use std::sync::Arc;

use futures::StreamExt as _;
use yuanli_docker::Said;
use yuanli_executor::KeptCalls;
use yuanli_model::AttemptId;
use yuanli_model::run::StartingPoint;
use yuanli_ports::containers::ContainerNetwork;
use yuanli_ports::{AttemptWorkspace, Containers as _};
use yuanli_wasm::Standing;

use crate::engine::Engine;

/// What is run where nothing else is said.
const SHELL: &str = "/bin/sh";

/// What is wanted of a shell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShellRequest {
    /// Which attempt, from 1; the last one whose calls are kept when absent.
    pub attempt: Option<u32>,
    /// What is run; a shell when empty.
    pub command: Vec<String>,
    /// Whether its environment has the secrets that the stage had put there.
    pub has_secrets: bool,
    /// The kind of the terminal that it has; `None` for pipes.
    pub terminal: Option<String>,
}

/// A shell that is open. [`Engine::close_shell`] takes away what is there of it.
#[derive(Debug)]
pub struct Shell {
    attempt: AttemptId,
    workspace: Arc<dyn AttemptWorkspace>,
    shell: yuanli_docker::Shell,
    /// The image that it is of.
    pub image: String,
}

/// What it writes next.
#[derive(Debug)]
pub enum Written {
    /// To standard output, or to the terminal.
    Out(bytes::Bytes),
    /// To standard error.
    Err(bytes::Bytes),
}

impl Shell {
    /// What it writes next; `None` once it has ended.
    pub async fn next(&mut self) -> Option<anyhow::Result<Written>> {
        let said = self.shell.output.next().await?;
        Some(match said {
            Ok(Said::Out(bytes)) => Ok(Written::Out(bytes)),
            Ok(Said::Err(bytes)) => Ok(Written::Err(bytes)),
            Err(error) => Err(error.into()),
        })
    }

    /// Where it reads from; there is one.
    pub fn input(&mut self) -> impl tokio::io::AsyncWrite + Send + 'static + use<> {
        std::mem::replace(&mut self.shell.input, Box::pin(tokio::io::sink()))
    }
}

impl Engine {
    /// Opens a shell where an attempt of a stage ended. Nobody else works in the data directory meanwhile.
    ///
    /// # Errors
    /// The outer one when this machine fails; the inner one says why there is none.
    pub async fn open_shell(
        &self,
        run: yuanli_model::RunId,
        stage: &str,
        request: ShellRequest,
    ) -> anyhow::Result<Result<Shell, String>> {
        let of = match stage.parse::<StartingPoint>() {
            Ok(of) => of,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let kept = match self.kept_calls(run, &of, request.attempt).await? {
            Ok(kept) => kept,
            Err(why) => return Ok(Err(why)),
        };
        // What others of its attempts go on with lies beside.
        if let Some(why) = self.refuse_open(run).await? {
            return Ok(Err(why));
        }
        self.refuse_to_change()?;
        let attempt = kept.attempt.clone();
        let workspace = match self.executor().begin_workspace_again(&attempt).await? {
            Some(workspace) => workspace,
            None => return Ok(Err(format!("run {run} is not stored any more"))),
        };
        let opened = self.open_in(kept, request, &workspace).await;
        match opened {
            Ok(Ok((shell, image))) => Ok(Ok(Shell { attempt, workspace, shell, image })),
            refused => {
                self.executor().end_workspace(run, &*workspace).await?;
                refused.map(|refused| refused.map(|_| unreachable!("it is opened above")))
            }
        }
    }

    async fn open_in(
        &self,
        kept: KeptCalls,
        wanted: ShellRequest,
        workspace: &Arc<dyn AttemptWorkspace>,
    ) -> anyhow::Result<Result<(yuanli_docker::Shell, String), String>> {
        let id = kept.attempt.clone();
        let Some((replay, grants)) = self.replay_of(kept).await? else {
            return Ok(Err(format!("run {} has no events of attempt {id}", id.run)));
        };
        let calls = self.executor().records().calls(&id).await?;
        let (workspace, has_secrets) = (Arc::clone(workspace), wanted.has_secrets);
        let standing = Standing { grants, workspace, has_secrets };
        let mut request = match self.library().plugins.last_container(replay, calls, standing).await {
            Ok(request) => request,
            Err(why) => return Ok(Err(why)),
        };
        request.entrypoint = Some(Vec::new());
        request.command = match wanted.command.is_empty() {
            true => vec![SHELL.to_owned()],
            false => wanted.command,
        };
        request.environment.extend(wanted.terminal.iter().map(|kind| ("TERM".to_owned(), kind.clone())));
        // The network of the attempt has gone with the services in it.
        if request.member.take().is_some() && request.network == ContainerNetwork::None {
            request.network = ContainerNetwork::Own;
        }
        self.note_containers()?;
        let image = request.image.clone();
        let opened = self.docker().open_shell(&request, wanted.terminal.is_some()).await;
        Ok(opened.map(|shell| (shell, image)).map_err(|error| error.to_string()))
    }

    /// Tells the terminal of a shell how large it is.
    pub async fn resize_shell(&self, shell: &Shell, size: (u16, u16)) {
        if let Err(error) = self.docker().resize_shell(&shell.shell.container, size).await {
            tracing::debug!(%error, "the terminal of the shell is not resized");
        }
    }

    /// The exit code of a shell that has ended.
    ///
    /// # Errors
    /// When it cannot be known.
    pub async fn shell_exit(&self, shell: &Shell) -> anyhow::Result<i64> {
        Ok(self.docker().shell_exit(&shell.shell.container).await?)
    }

    /// Takes a shell away, whether it has ended or not.
    ///
    /// # Errors
    /// What is left, which the next start removes.
    pub async fn close_shell(&self, shell: Shell) -> anyhow::Result<()> {
        let removed = self.docker().remove(&shell.shell.container).await;
        if removed.is_err() {
            self.keep_note_of_containers()?;
        }
        self.executor().end_workspace(shell.attempt.run, &*shell.workspace).await?;
        tracing::debug!(attempt = %shell.attempt, "a shell is closed");
        Ok(removed?)
    }
}
