//! What the containers of a plugin may be beyond ordinary ones: privileged, in the network of the machine, with folders of
//! the machine in them. The one rule, asked for each container before it is started.
//!
//! Folders are granted by the beginning of their path. What counts is where a path leads: whoever asks resolves `..` and
//! links before, and a granted path is compared letter by letter, so that a link below it gives nothing beyond it.

use std::fmt;
use std::str::FromStr;

use crate::http::InvalidPattern;

/// Longest path of a scope, in bytes: what Linux takes.
pub const MAX_PATH_BYTES: usize = 4096;

/// What a grant of containers has beyond ordinary ones. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerScope {
    /// Whether they may have all rights of the machine's kernel and all its devices.
    pub is_privileged: bool,
    /// Whether they may be in the network of the machine, and not in one of their own.
    pub has_host_network: bool,
    /// The folders and files of the machine that may be mounted in them.
    pub mounts: Vec<MountScope>,
}

/// A folder or file of the machine with all that is below it: `/srv/data`, `/srv/data:rw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountScope {
    path: String,
    /// Whether containers may write there.
    pub is_writable: bool,
}

/// Why a container may not be started, and what grant would allow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is to be privileged.
    #[error(
        "no grant lets containers be privileged; it would take `grants: [{{ containers: {{ privileged: true }} }}]`"
    )]
    Privileged,
    /// It is to be in the network of the machine.
    #[error(
        "no grant lets containers be in the network of the machine; it would take `grants: [{{ containers: {{ network: \
         host }} }}]`"
    )]
    HostNetwork,
    /// No scope has the path.
    #[error(
        "no grant has `{0}` of the machine; it would take `grants: [{{ containers: {{ mounts: [\"{0}\"] }} }}]`"
    )]
    Mount(String),
    /// The scopes that have the path do not let it be written.
    #[error("`{0}` of the machine is granted to be read; to be written it would take `mounts: [\"{0}:rw\"]`")]
    Writing(String),
}

impl ContainerScope {
    /// What either of both has.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        self.is_privileged |= other.is_privileged;
        self.has_host_network |= other.has_host_network;
        self.mounts.extend(other.mounts.iter().cloned());
        self
    }

    /// Whether it has nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a container may be privileged.
    ///
    /// # Errors
    /// [`Denied::Privileged`].
    pub const fn check_privileged(&self) -> Result<(), Denied> {
        if self.is_privileged { Ok(()) } else { Err(Denied::Privileged) }
    }

    /// Whether a container may be in the network of the machine.
    ///
    /// # Errors
    /// [`Denied::HostNetwork`].
    pub const fn check_host_network(&self) -> Result<(), Denied> {
        if self.has_host_network { Ok(()) } else { Err(Denied::HostNetwork) }
    }

    /// Whether a path of the machine may be mounted. It has to be absolute, without `.`, `..` and links in it.
    ///
    /// # Errors
    /// [`Denied::Mount`], [`Denied::Writing`].
    pub fn check_mount(&self, resolved: &str, is_read_only: bool) -> Result<(), Denied> {
        let mut having = self.mounts.iter().filter(|scope| scope.has(resolved)).peekable();
        if having.peek().is_none() {
            return Err(Denied::Mount(resolved.to_owned()));
        }
        if is_read_only || having.any(|scope| scope.is_writable) {
            Ok(())
        } else {
            Err(Denied::Writing(resolved.to_owned()))
        }
    }

    /// The first part of what is granted that this does not have, as a document has it.
    #[must_use]
    pub fn excess(&self, granted: &Self) -> Option<String> {
        if granted.is_privileged && !self.is_privileged {
            return Some("privileged: true".to_owned());
        }
        if granted.has_host_network && !self.has_host_network {
            return Some("network: host".to_owned());
        }
        let is_over = |scope: &&MountScope| self.check_mount(&scope.path, !scope.is_writable).is_err();
        granted.mounts.iter().find(is_over).map(|scope| format!("mounts: [\"{scope}\"]"))
    }
}

impl MountScope {
    /// The path that it begins with.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    fn has(&self, path: &str) -> bool {
        match path.strip_prefix(self.path.as_str()) {
            // The root ends with the sign that others are followed by.
            Some(rest) => rest.is_empty() || rest.starts_with('/') || self.path == "/",
            None => false,
        }
    }
}

impl FromStr for MountScope {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        const EXAMPLE: &str =
            "write an absolute path, such as `/srv/data`, or `/srv/data:rw` where it may be written";
        let invalid = |message: String| InvalidPattern { message, help: EXAMPLE.to_owned() };
        if text.len() > MAX_PATH_BYTES {
            return Err(invalid("the path is too long to be one".to_owned()));
        }
        let (path, is_writable) = match text.rsplit_once(':') {
            None => (text, false),
            Some((path, "ro")) => (path, false),
            Some((path, "rw")) => (path, true),
            Some(_) => return Err(invalid(format!("`{text}` has a `:` that neither `ro` nor `rw` follows"))),
        };
        if !path.starts_with('/') {
            return Err(invalid(format!("`{path}` does not begin with `/`")));
        }
        let is_doubtful = |part: &str| matches!(part, "" | "." | "..");
        if path != "/" && path[1..].split('/').any(is_doubtful) {
            let message = format!(
                "`{path}` can be written more plainly, and what is granted is compared letter by letter"
            );
            let help = "write it without `.`, `..`, and without a `/` that nothing follows".to_owned();
            return Err(InvalidPattern { message, help });
        }
        if path.contains(':') || path.contains(char::is_control) {
            return Err(invalid(format!("`{}` has a sign that cannot be granted", path.escape_debug())));
        }
        Ok(Self { path: path.to_owned(), is_writable })
    }
}

impl fmt::Display for MountScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, if self.is_writable { ":rw" } else { "" })
    }
}

impl fmt::Display for ContainerScope {
    /// As a document has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.is_privileged {
            parts.push("privileged: true".to_owned());
        }
        if self.has_host_network {
            parts.push("network: host".to_owned());
        }
        if !self.mounts.is_empty() {
            let mounts: Vec<String> = self.mounts.iter().map(|scope| format!("\"{scope}\"")).collect();
            parts.push(format!("mounts: [{}]", mounts.join(", ")));
        }
        write!(f, "{{ {} }}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(mounts: &[&str]) -> ContainerScope {
        let mounts = mounts.iter().map(|text| text.parse().expect("a path")).collect();
        ContainerScope { mounts, ..ContainerScope::default() }
    }

    #[test]
    fn an_ordinary_container_is_all_that_nothing_gives() {
        let none = ContainerScope::default();
        assert!(none.is_empty());
        for denied in [none.check_privileged(), none.check_host_network(), none.check_mount("/srv", true)] {
            assert!(denied.unwrap_err().to_string().contains("it would take `grants: [{ containers: {"));
        }
        let all = ContainerScope { is_privileged: true, has_host_network: true, ..none };
        assert_eq!((all.check_privileged(), all.check_host_network()), (Ok(()), Ok(())));
    }

    #[test]
    fn folders_are_granted_by_the_beginning_of_their_path() {
        let granted = scope(&["/srv/data", "/srv/data/out:rw", "/var/x:ro"]);
        let check = |path: &str, is_read_only: bool, expect: Result<(), Denied>| {
            assert_eq!(granted.check_mount(path, is_read_only), expect, "{path}");
        };
        let (none, writing) = (
            |path: &str| Err(Denied::Mount(path.to_owned())),
            |path: &str| Err(Denied::Writing(path.to_owned())),
        );
        check("/srv/data", true, Ok(()));
        check("/srv/data/a/b", true, Ok(()));
        check("/srv/data/a", false, writing("/srv/data/a"));
        check("/srv/data/out", false, Ok(()));
        check("/srv/data/out/x", false, Ok(()));
        check("/srv/data/output", false, writing("/srv/data/output"));
        check("/srv/database", true, none("/srv/database"));
        check("/srv", true, none("/srv"));
        check("/", true, none("/"));
        check("/etc", true, none("/etc"));
        assert_eq!(scope(&["/"]).check_mount("/etc", true), Ok(()));
        assert_eq!(scope(&["/"]).check_mount("/", false), Err(Denied::Writing("/".to_owned())));
    }

    #[test]
    fn a_path_is_written_in_one_way() {
        let check = |text: &str, expect: Result<&str, &str>| {
            let read = text.parse::<MountScope>();
            match (&read, expect) {
                (Ok(scope), Ok(expect)) => assert_eq!(scope.to_string(), expect),
                (Err(error), Err(expect)) => assert!(error.message.contains(expect), "{text}: {error:?}"),
                _ => panic!("{text}: {read:?}"),
            }
        };
        check("/srv", Ok("/srv"));
        check("/srv:ro", Ok("/srv"));
        check("/srv:rw", Ok("/srv:rw"));
        check("/:rw", Ok("/:rw"));
        for plainly in ["/srv/", "/srv/../etc", "/srv/./x", "//srv", "/.."] {
            check(plainly, Err("can be written more plainly"));
        }
        check("srv", Err("does not begin with `/`"));
        check("", Err("does not begin with `/`"));
        check("/srv:wr", Err("has a `:` that neither"));
        check("/a:b:rw", Err("has a sign that cannot be granted"));
        check("/a\0b", Err("has a sign that cannot be granted"));
        check(&format!("/{}", "a".repeat(MAX_PATH_BYTES)), Err("too long"));
    }

    #[test]
    fn what_is_granted_beyond_a_ceiling_is_named() {
        let check = |ceiling: &ContainerScope, granted: &ContainerScope, expect: Option<&str>| {
            assert_eq!(ceiling.excess(granted).as_deref(), expect, "{granted}");
        };
        let none = ContainerScope::default();
        let privileged = ContainerScope { is_privileged: true, ..none.clone() };
        let network = ContainerScope { has_host_network: true, ..none.clone() };
        check(&none, &none, None);
        check(&none, &privileged, Some("privileged: true"));
        check(&privileged, &privileged, None);
        check(&privileged, &network, Some("network: host"));
        check(&scope(&["/srv"]), &scope(&["/srv/a", "/srv"]), None);
        check(&scope(&["/srv"]), &scope(&["/srv/a:rw"]), Some("mounts: [\"/srv/a:rw\"]"));
        check(&scope(&["/srv/a:rw"]), &scope(&["/srv"]), Some("mounts: [\"/srv\"]"));
        check(&privileged.or(&network).or(&scope(&["/a"])), &scope(&["/a"]), None);
    }

    proptest! {
        /// Whatever is granted below a ceiling is nothing that the ceiling itself would not allow.
        #[test]
        fn a_grant_within_a_ceiling_allows_nothing_beyond_it(
            ceiling in "(/[ab]{1,2}){1,3}(:rw)?", granted in "(/[ab]{1,2}){1,4}(:rw)?",
            path in "(/[ab]{1,2}){1,5}", is_read_only: bool,
        ) {
            let (ceiling, granted) = (scope(&[&ceiling]), scope(&[&granted]));
            if ceiling.excess(&granted).is_none() && granted.check_mount(&path, is_read_only).is_ok() {
                prop_assert_eq!(ceiling.check_mount(&path, is_read_only), Ok(()));
            }
        }
    }
}
