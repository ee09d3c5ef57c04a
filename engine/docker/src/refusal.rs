//! Why a container could not be created or started, with what was asked for.
//!
//! Docker tells most of it as a sentence under the statuses 400 and 500; what the asker can mend is found in there.

use yuanli_ports::containers::ContainerError;

use crate::fault::{BAD_REQUEST, Fault};

/// What the container was to be, as far as the sentence names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) image: &'a str,
    /// The program to run; `None` for the image's own.
    pub(crate) program: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
}

/// The error behind a refusal to create or start a container.
pub(crate) fn explain(fault: Fault, asked: &Asked<'_>) -> ContainerError {
    let Fault::Refused { status: status @ (BAD_REQUEST | 500), message, .. } = &fault else {
        return fault.into();
    };
    let image = asked.image;
    let program = asked.program.unwrap_or("(the image's own)");
    let has = |text: &str| message.contains(text);
    if has("executable file not found") || has("no such file or directory") && has("exec") {
        return ContainerError::Invalid(format!(
            "the command `{program}` cannot be run: the image `{image}` has no such program ({message})"
        ));
    }
    if has("permission denied") && has("exec") {
        return ContainerError::Invalid(format!(
            "the command `{program}` cannot be run: it is not executable in the image `{image}` ({message})"
        ));
    }
    if has("No command specified") {
        return ContainerError::Invalid(format!(
            "the image `{image}` says no command to run and none was given: give one"
        ));
    }
    if has("unable to find user") || has("unable to find group") {
        return ContainerError::Invalid(format!(
            "the user `{}` is not in the image `{image}`: give the number (`uid` or `uid:gid`) instead ({message})",
            asked.user.unwrap_or_default()
        ));
    }
    if *status == BAD_REQUEST {
        return ContainerError::Invalid(format!("a container of `{image}` cannot be made: {message}"));
    }
    fault.into()
}
