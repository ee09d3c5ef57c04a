//! A container that somebody works in: its input and output are his, and it is there no longer than he is.
//!
//! It is made as any container of a run, with the same labels, so that it is found and removed by them when whoever opened it
//! is gone.

use std::pin::Pin;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::query_parameters::{AttachContainerOptions, ResizeContainerTTYOptions};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::io::AsyncWrite;
use yuanli_ports::containers::{ContainerError, ContainerId, ContainerRequest};

use crate::connection::Docker;
use crate::container::Created;
use crate::request;

/// A container, attached to before it was started: nothing that it says is missed.
pub struct Shell {
    /// The container.
    pub container: ContainerId,
    /// What it writes, until it ends; with a terminal all of it is [`Said::Out`].
    pub output: BoxStream<'static, Result<Said, ContainerError>>,
    /// Where it reads from.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

/// What a container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// To its standard output, or its terminal.
    Out(Bytes),
    /// To its standard error.
    Err(Bytes),
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("container", &self.container).finish_non_exhaustive()
    }
}

impl Docker {
    /// Starts a container that somebody works in, with a terminal or with pipes.
    ///
    /// # Errors
    /// Why there is none; nothing is left of it then.
    pub async fn open_shell(
        &self,
        request: &ContainerRequest,
        has_terminal: bool,
    ) -> Result<Shell, ContainerError> {
        let mut body = request::create_body(request)?;
        body.tty = Some(has_terminal);
        body.open_stdin = Some(true);
        body.stdin_once = Some(true);
        body.attach_stdin = Some(true);
        body.attach_stdout = Some(true);
        body.attach_stderr = Some(true);
        let created = Box::pin(self.create_as(request, body)).await?;
        match self.attach(request, &created).await {
            Ok(shell) => Ok(shell),
            Err(error) => Err(self.remove_refused(&created.id, error).await),
        }
    }

    async fn attach(&self, request: &ContainerRequest, created: &Created) -> Result<Shell, ContainerError> {
        let container = &created.id;
        let client = self.streaming().await?;
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = client.attach_container(&container.0, Some(options));
        let AttachContainerResults { output, input } = self.call("attach to the container", attached).await?;
        self.start_created(request, created).await?;
        let said = |frame| match frame {
            Ok(LogOutput::StdErr { message }) => Ok(Said::Err(message)),
            Ok(
                LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message },
            ) => Ok(Said::Out(message)),
            Err(error) => Err(ContainerError::Unreachable(format!("the shell broke off: {error}"))),
        };
        Ok(Shell { container: container.clone(), output: output.map(said).boxed(), input })
    }

    /// Tells the terminal of such a container how large it is.
    ///
    /// # Errors
    /// When it has ended meanwhile, or Docker does not answer.
    pub async fn resize_shell(
        &self,
        container: &ContainerId,
        (columns, rows): (u16, u16),
    ) -> Result<(), ContainerError> {
        let options = ResizeContainerTTYOptions { w: i32::from(columns), h: i32::from(rows) };
        let client = self.client().await?;
        Ok(self.call("resize the terminal", client.resize_container_tty(&container.0, options)).await?)
    }

    /// The exit code of such a container, once it has ended.
    ///
    /// # Errors
    /// When it cannot be known.
    pub async fn shell_exit(&self, container: &ContainerId) -> Result<i64, ContainerError> {
        self.ended(container).await?;
        Ok(self.exit(container).await?.code)
    }
}
