//! The options of a container: secrets for its environment, volumes, the network of the attempt, and what reaches the machine,
//! as far as that was granted. What bounds it is in `bound`.

mod bound;

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use yuanli_bindings::containers::Error;
use yuanli_model::container::ContainerScope;
use yuanli_model::{VolumeName, volume};
use yuanli_ports::containers::{ContainerOptions, Member, Mount, MountSource};

use crate::guest::State;
use crate::secret::Held;

/// The keys, as the contract says.
pub(crate) const SECRET_VARIABLE: &str = "secret-variable";
const VOLUME: &str = "volume";
const MOUNT: &str = "mount";
const NETWORK: &str = "network";
const PRIVILEGED: &str = "privileged";
pub(crate) const SERVICE: &str = "service";
const STOP_GRACE_MS: &str = "stop-grace-ms";
const FILE: &str = "file";

/// Longest grace time of a container, in milliseconds, as the contract says.
const MAX_STOP_GRACE_MS: u64 = 600_000;

/// What the options of a request ask for.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) variables: Vec<(String, String)>,
    pub(super) mounts: Vec<Mount>,
    pub(super) is_privileged: bool,
    pub(super) has_host_network: bool,
    pub(super) member: Option<Member>,
    pub(super) stop_grace: Option<Duration>,
    /// Paths of files that it hands over.
    pub(super) files: Vec<String>,
    pub(super) options: ContainerOptions,
}

/// Reads options, each as far as it was granted.
pub(super) async fn read(state: &State, options: Vec<(String, String)>) -> Result<Extras, Error> {
    let scope = &state.rights.containers;
    let mut extras = Extras::default();
    for (key, value) in options {
        match key.as_str() {
            SECRET_VARIABLE => extras.variables.push(secret_variable(state, &value)?),
            VOLUME => extras.mounts.push(volume_mount(state, &value)?),
            MOUNT => extras.mounts.push(host_mount(scope, &value).await?),
            NETWORK if value == "host" => {
                scope.check_host_network().map_err(denied)?;
                extras.has_host_network = true;
            }
            PRIVILEGED if value == "true" => {
                scope.check_privileged().map_err(denied)?;
                extras.is_privileged = true;
            }
            NETWORK if value == "attempt" => drop(extras.member.get_or_insert_default()),
            NETWORK => {
                return Err(Error::Invalid(format!("`{NETWORK}` takes `host` or `attempt`, not `{value}`")));
            }
            SERVICE => extras.member = Some(Member { name: Some(value) }),
            FILE => extras.files.push(value),
            STOP_GRACE_MS => extras.stop_grace = Some(stop_grace(&value)?),
            PRIVILEGED => return Err(Error::Invalid(format!("`{PRIVILEGED}` takes `true`, not `{value}`"))),
            _ => bound::read(&mut extras.options, &key, &value)?,
        }
    }
    Ok(extras)
}

fn stop_grace(option: &str) -> Result<Duration, Error> {
    let millis = option.parse().ok().filter(|millis| *millis <= MAX_STOP_GRACE_MS);
    millis.map(Duration::from_millis).ok_or_else(|| {
        Error::Invalid(format!(
            "`{STOP_GRACE_MS}` takes milliseconds, 0 to {MAX_STOP_GRACE_MS}, not `{option}`"
        ))
    })
}

/// The environment variable that `NAME=SECRET` asks for, with the value of that secret.
pub(super) fn secret_variable(state: &State, option: &str) -> Result<(String, String), Error> {
    let (variable, name) = option.split_once('=').ok_or_else(|| {
        Error::Invalid(format!("`{SECRET_VARIABLE}` takes `VARIABLE=SECRET`, not `{option}`"))
    })?;
    let (name, value) = state.held.get(name).ok_or_else(|| Error::Invalid(Held::denied(name)))?;
    let value = value.map_err(|error| Error::NotFound(error.to_string()))?;
    match std::str::from_utf8(value.expose()) {
        Ok(text) if !text.contains('\0') => Ok((variable.to_owned(), text.to_owned())),
        _ => Err(Error::Invalid(format!("the secret `{name}` is no text, so it cannot be a variable"))),
    }
}

/// The volume that `NAME:TARGET` asks for.
fn volume_mount(state: &State, option: &str) -> Result<Mount, Error> {
    let (name, target, mode) = parts(option).ok_or_else(|| {
        Error::Invalid(format!("`{VOLUME}` takes `NAME:TARGET` or `NAME:TARGET:ro`, not `{option}`"))
    })?;
    let name: VolumeName =
        name.parse().map_err(|e: yuanli_model::id::InvalidId| Error::Invalid(e.to_string()))?;
    volume::check(&state.rights.volumes, &name).map_err(|e| Error::Invalid(e.to_string()))?;
    let is_read_only = mode == Some("ro");
    Ok(Mount { source: MountSource::Volume(name), target: target.to_owned(), is_read_only })
}

/// The folder or file of the machine that `PATH:TARGET` asks for, where it really lies.
async fn host_mount(scope: &ContainerScope, option: &str) -> Result<Mount, Error> {
    let (path, target, mode) = parts(option).ok_or_else(|| {
        Error::Invalid(format!("`{MOUNT}` takes `PATH:TARGET` or `PATH:TARGET:rw`, not `{option}`"))
    })?;
    let is_read_only = mode != Some("rw");
    let plain = plain(path).ok_or_else(|| Error::Invalid(format!("`{path}` is no absolute path")))?;
    // Before anything is looked at: what is not granted is not told whether it is there.
    scope.check_mount(&plain, is_read_only).map_err(denied)?;
    let resolved = resolve(path).await?;
    let led = |denied: yuanli_model::container::Denied| match resolved == plain {
        true => self::denied(denied),
        false => Error::Invalid(format!("`{path}` leads to `{resolved}`: {denied}")),
    };
    scope.check_mount(&resolved, is_read_only).map_err(led)?;
    Ok(Mount { source: MountSource::Path(resolved.into()), target: target.to_owned(), is_read_only })
}

/// `WHAT:TARGET` and, if it is there, `:ro` or `:rw`.
fn parts(option: &str) -> Option<(&str, &str, Option<&str>)> {
    let parts: Vec<&str> = option.split(':').collect();
    match parts[..] {
        [what, target] => Some((what, target, None)),
        [what, target, mode @ ("ro" | "rw")] => Some((what, target, Some(mode))),
        _ => None,
    }
}

/// An absolute path without `.`, `..` and doubled signs, as if there were no links.
fn plain(path: &str) -> Option<String> {
    let mut plain = PathBuf::from("/");
    if !path.starts_with('/') || path.contains('\0') {
        return None;
    }
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::ParentDir => {
                plain.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain.into_os_string().into_string().ok()
}

/// Where a path leads, all links on the way followed.
async fn resolve(path: &str) -> Result<String, Error> {
    match tokio::fs::canonicalize(path).await {
        Ok(resolved) => resolved
            .into_os_string()
            .into_string()
            .map_err(|_| Error::Invalid(format!("`{path}` leads to a path that is no UTF-8"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NotFound(format!("`{path}` is not there on the machine of the engine")))
        }
        Err(error) => Err(Error::Invalid(format!("`{path}` of the machine cannot be looked at: {error}"))),
    }
}

fn denied(denied: yuanli_model::container::Denied) -> Error {
    Error::Invalid(denied.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(mounts: &[String]) -> ContainerScope {
        let mounts = mounts.iter().map(|text| text.parse().expect("a path")).collect();
        ContainerScope { mounts, ..ContainerScope::default() }
    }

    #[tokio::test]
    async fn what_leads_out_of_what_was_granted_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path").to_str().expect("UTF-8").to_owned();
        let at = |name: &str| format!("{root}/{name}");
        std::fs::create_dir_all(at("data/sub")).expect("a folder");
        std::fs::create_dir_all(at("secret")).expect("a folder");
        for (link, to) in
            [("data/out", "../secret"), ("data/etc", "/etc"), ("data/in", "sub"), ("way", "data")]
        {
            std::os::unix::fs::symlink(to, at(link)).expect("a link");
        }
        std::os::unix::fs::symlink("loop", at("data/loop")).expect("a link");
        let scope = scope(&[at("data"), format!("{}:rw", at("data/sub"))]);
        let ask = async |option: String| match host_mount(&scope, &option).await {
            Ok(Mount { source: MountSource::Path(path), is_read_only, .. }) => {
                Ok((path.display().to_string(), is_read_only))
            }
            Ok(other) => panic!("{other:?}"),
            Err(Error::Invalid(why)) => Err(why),
            Err(other) => Err(format!("{other:?}")),
        };
        let allowed = async |option: String, expect: &str, is_read_only: bool| {
            assert_eq!(ask(option).await, Ok((at(expect), is_read_only)));
        };
        allowed(format!("{root}/data:/x"), "data", true).await;
        allowed(format!("{root}/data:/x:ro"), "data", true).await;
        allowed(format!("{root}/data/sub/../sub//.:/x:rw"), "data/sub", false).await;
        allowed(format!("{root}/data/in:/x"), "data/sub", true).await;
        allowed(format!("{root}/secret/../data:/x"), "data", true).await;
        let refused = async |option: String, says: &str| {
            let why = ask(option.clone()).await.expect_err(&option);
            assert!(why.contains(says), "{option}: {why}");
        };
        refused(format!("{root}/data:/x:rw"), "to be written it would take `mounts:").await;
        refused(format!("{root}/secret:/x"), "no grant has").await;
        refused(format!("{root}/data/../secret:/x"), "no grant has").await;
        refused(format!("{root}/data/../../../../../../etc:/x"), "no grant has `/etc`").await;
        refused(format!("{root}/data/out:/x"), &format!("leads to `{root}/secret`: no grant has")).await;
        refused(format!("{root}/data/etc/passwd:/x"), "leads to `/etc/passwd`").await;
        refused(format!("{root}/data/in/../../secret:/x"), "no grant has").await;
        // A link from outside, whether or not it leads to what was granted.
        refused(format!("{root}/way:/x"), "no grant has").await;
        refused(format!("{root}/data/none:/x"), "is not there on the machine").await;
        refused(format!("{root}/none:/x"), "no grant has").await;
        refused(format!("{root}/data/loop:/x"), "cannot be looked at").await;
        for none in ["data:/x", "", "/a", "/a:/b:rx", "/a:/b:rw:rw", "/a\0:/x"] {
            assert!(ask(none.to_owned()).await.is_err(), "{none}");
        }
    }
}
