//! Being somebody at a server of git, for one command: by a helper of git's that knows one server and gives what is in two
//! variables. Nothing of it is in an argument or a file, no other helper hears of it, and no other server.

use tokio::process::Command;
use yuanli_ports::registries::Login;
use yuanli_ports::source::SourceError;

use crate::request::Url;

const USERNAME: &str = "YUANLI_GIT_USERNAME";
const PASSWORD: &str = "YUANLI_GIT_PASSWORD";

/// What git runs when it wants to know who is asking.
const HELPER: &str = r#"!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$YUANLI_GIT_USERNAME" "$YUANLI_GIT_PASSWORD"; }; f"#;

/// Who to be at which server.
#[derive(Debug)]
pub(crate) struct Identity<'a> {
    origin: String,
    username: &'a str,
    password: &'a str,
}

impl<'a> Identity<'a> {
    /// A login at the server of a URL.
    pub(crate) fn new(login: &'a Login, url: &Url) -> Result<Self, SourceError> {
        let invalid = |message: String| Err(SourceError::Invalid(message));
        let Some(origin) = url.origin() else {
            return invalid(format!(
                "a login goes with `https`, and `{url}` is none: ssh has keys of its own"
            ));
        };
        if url.has_credentials() {
            return invalid(format!("`{url}` has credentials in it, beside the login: give one of them"));
        }
        let Ok(password) = std::str::from_utf8(login.password.expose()) else {
            return invalid("the password of the login is no text".to_owned());
        };
        // A line end would end what git reads, and begin something else.
        if [login.username.as_str(), password].iter().any(|text| text.contains(['\n', '\r', '\0'])) {
            return invalid("the login has a line end in it".to_owned());
        }
        Ok(Self { origin, username: &login.username, password })
    }

    /// The settings that come before git's command: whatever helpers the user has are told nothing, so that none keeps it.
    pub(crate) fn settings(&self) -> [String; 4] {
        let helper = format!("credential.{}.helper={HELPER}", self.origin);
        ["-c".to_owned(), "credential.helper=".to_owned(), "-c".to_owned(), helper]
    }

    pub(crate) fn tell(&self, command: &mut Command) {
        command.env(USERNAME, self.username).env(PASSWORD, self.password);
    }
}
