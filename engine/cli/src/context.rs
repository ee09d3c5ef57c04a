//! Named contexts: the engines that somebody asks often, each with its URL, its token and who vouches for it.
//!
//! They are in one file of the user's, for its owner alone. Which engine is meant is decided by a flag before the
//! environment before the context that is in use; a token of a context goes to the engine of that context only.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::exit::Misuse;

const VERSION: u32 = 1;
/// The folder for its owner alone.
const OWN_FOLDER: u32 = 0o700;

/// All contexts of a user, as they are in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    version: u32,
    /// The one that is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    pub(crate) contexts: BTreeMap<String, Named>,
}

/// An engine that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    pub(crate) url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<TokenPlace>,
    /// The file of those who vouch for it, beside those whom the machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
}

/// Where the token of a context is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TokenPlace {
    /// Here.
    Text(String),
    /// Here, and `yuanli login` can have another one.
    Login(String),
    /// In this file.
    File(PathBuf),
    /// In this variable of the environment.
    Variable(String),
}

impl TokenPlace {
    /// The token.
    pub(crate) fn read(&self) -> anyhow::Result<String> {
        match self {
            Self::Text(token) | Self::Login(token) => Ok(token.clone()),
            Self::File(file) => {
                let text = std::fs::read_to_string(file);
                let text =
                    text.map_err(|error| Misuse(format!("the token in `{}`: {error}", file.display())))?;
                Ok(text.trim().to_owned())
            }
            Self::Variable(name) => Ok(std::env::var(name).map_err(|_| {
                Misuse(format!("the context takes its token from the variable `{name}`, which is not set"))
            })?),
        }
    }

    /// What is told of it.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Text(_) => "kept".to_owned(),
            Self::Login(_) => "a login".to_owned(),
            Self::File(file) => format!("file {}", file.display()),
            Self::Variable(name) => format!("variable {name}"),
        }
    }
}

impl Default for Contexts {
    fn default() -> Self {
        Self { version: VERSION, current: None, contexts: BTreeMap::new() }
    }
}

impl Contexts {
    /// Those of the user; none where there is no file.
    pub(crate) fn read() -> anyhow::Result<Self> {
        match place() {
            Some(file) => Self::read_from(&file),
            None => Ok(Self::default()),
        }
    }

    fn read_from(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("the contexts in `{shown}`")),
        };
        let mode = std::fs::metadata(file).with_context(|| format!("`{shown}`"))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Misuse(format!(
                "`{shown}` has tokens and can be read by others than its owner: `chmod 600 {shown}`, and consider them known"
            ))
            .into());
        }
        let read: Self = serde_json::from_slice(&text)
            .map_err(|error| Misuse(format!("`{shown}` is no file of contexts: {error}")))?;
        match read.version {
            VERSION => Ok(read),
            newer => Err(Misuse(format!(
                "`{shown}` has version {newer}, and this program reads {VERSION}: use the newer one"
            ))
            .into()),
        }
    }

    /// Keeps them in place of those that there were.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let file = place().context("neither HOME nor XDG_CONFIG_HOME is set, so contexts have no place")?;
        self.write_to(&file)
    }

    fn write_to(&self, file: &Path) -> anyhow::Result<()> {
        let write = || -> io::Result<()> {
            if let Some(folder) = file.parent() {
                std::fs::DirBuilder::new().recursive(true).mode(OWN_FOLDER).create(folder)?;
            }
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            yuanli_server::write_own(file, &text)
        };
        write().with_context(|| format!("the contexts cannot be written to `{}`", file.display()))
    }

    /// The one of this name.
    pub(crate) fn find(&self, name: &str) -> anyhow::Result<&Named> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let others = match &known[..] {
                [] => "there is none; `yuanli context add NAME --url URL` makes one".to_owned(),
                known => format!("there are: {}", known.join(", ")),
            };
            Misuse(format!("there is no context `{name}`; {others}")).into()
        })
    }
}

/// The file; `None` where the user has no home.
fn place() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(folder.join("yuanli/contexts.json"))
}
