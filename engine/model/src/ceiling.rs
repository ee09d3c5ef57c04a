//! What may be granted and used on an engine at all, whatever workflows say: its configuration decides.
//!
//! For each right there is what workflows may grant of it: by an entry for the plugin, else by one for all plugins, else by
//! default: everything, but of containers only ordinary ones. Limits are in [`Bounds`]; the smaller one counts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::container::ContainerScope;
use crate::grant::Access;
use crate::stage::Limits;
use crate::volume::VolumeScope;
use crate::{Capability, Digest, Grant, PluginDescription};

/// What workflows may grant of each right, for those that are named: nothing where there is none.
pub type Allowances = BTreeMap<Capability, Vec<Grant>>;

/// What bounds an attempt, as far as somebody said it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// How long it may take, wall clock.
    pub timeout: Option<Duration>,
    /// What else it may use.
    pub limits: Limits,
}

/// What an engine allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// The file that says it, or would say it, for whoever is refused.
    pub file: String,
    /// For plugins without an entry of their own.
    pub grants: Allowances,
    /// For plugins by themselves; each once.
    pub plugins: Vec<(PluginKey, Allowances)>,
    /// The most that an attempt may use.
    pub bounds: Bounds,
}

/// Which plugin an entry is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginKey {
    /// The one that the engine has or keeps by that name. What a file calls itself is no name: anybody can write it.
    Name(String),
    /// The component of that digest, wherever it comes from.
    Digest(Digest),
}

/// A plugin that something is granted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The name that it is known by on the engine; `None` for a component from a file.
    pub name: Option<&'a str>,
    /// Its digest.
    pub digest: Digest,
}

/// What may not be granted on an engine, and who decided that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beyond {
    right: Capability,
    /// The part of the grant that is too much, as a document has it; `None` for all of it.
    excess: Option<String>,
    by: Decided,
    /// The plugin, as a configuration would name it.
    key: PluginKey,
    file: String,
}

/// Who decided what may be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Decided {
    /// Nobody said anything.
    Default,
    /// The entry for all plugins.
    All,
    /// The entry of the plugin.
    Own(PluginKey),
}

impl Ceiling {
    /// Whether a stage may grant that to a plugin.
    ///
    /// # Errors
    /// What is too much of it, and who decided that.
    pub fn check(&self, plugin: Subject<'_>, grant: &Grant) -> Result<(), Box<Beyond>> {
        let right = grant.capability();
        let default = [Grant::Whole(right)];
        let (allowed, by) = match (self.own(plugin, right), self.grants.get(&right)) {
            (Some((key, allowed)), _) => (allowed, Decided::Own(key.clone())),
            (None, Some(allowed)) => (allowed.as_slice(), Decided::All),
            (None, None) => (&default[..], Decided::Default),
        };
        excess(allowed, grant).map_err(|excess| {
            let key =
                plugin.name.map_or(PluginKey::Digest(plugin.digest), |name| PluginKey::Name(name.to_owned()));
            Box::new(Beyond { right, excess, by, key, file: self.file.clone() })
        })
    }

    /// Whether a plugin that came with the engine may have a right that it imports, without being granted it: it may,
    /// unless an entry of its own says otherwise.
    ///
    /// # Errors
    /// What is too much of it, and who decided that.
    pub fn check_own(&self, plugin: Subject<'_>, right: Capability) -> Result<(), Box<Beyond>> {
        match self.own(plugin, right) {
            Some(_) => self.check(plugin, &Grant::Whole(right)),
            None => Ok(()),
        }
    }

    /// All that a plugin would have beyond what may be granted, with these grants of its stage: each with the position of the
    /// grant that is too much, `None` where it is what the plugin has or reaches without one.
    #[must_use]
    pub fn check_all(
        &self,
        subject: Subject<'_>,
        plugin: &PluginDescription,
        grants: &[Grant],
    ) -> Vec<(Option<usize>, Box<Beyond>)> {
        let granted = grants.iter().enumerate().filter(|(_, grant)| plugin.has_use_for(grant));
        let mut found: Vec<(Option<usize>, Box<Beyond>)> = granted
            .filter_map(|(position, grant)| Some((Some(position), self.check(subject, grant).err()?)))
            .collect();
        let mut own =
            |beyond: Result<(), Box<Beyond>>| found.extend(beyond.err().map(|beyond| (None, beyond)));
        let is_granted = |right: Capability| grants.iter().any(|grant| grant.capability() == right);
        let imports = |right: Capability| plugin.capabilities.contains(&right);
        // Whoever runs containers or fetches sources changes the workspace by way of them, unless a grant says otherwise.
        let reaches_files = imports(Capability::Containers) || imports(Capability::Source);
        if reaches_files && !imports(Capability::Workspace) && !is_granted(Capability::Workspace) {
            own(match plugin.is_builtin {
                true => self.check_own(subject, Capability::Workspace),
                false => self.check(subject, &Grant::Whole(Capability::Workspace)),
            });
        }
        if plugin.is_builtin {
            let by_itself = plugin.capabilities.iter().filter(|right| !is_granted(**right));
            by_itself.for_each(|right| own(self.check_own(subject, *right)));
        }
        found
    }

    /// Whether it says anything of a plugin of that name.
    #[must_use]
    pub fn names(&self, plugin: &str) -> bool {
        self.plugins.iter().any(|(key, _)| matches!(key, PluginKey::Name(name) if name == plugin))
    }

    /// What the entry of a plugin says of a right: that of its digest before that of its name.
    fn own(&self, plugin: Subject<'_>, right: Capability) -> Option<(&PluginKey, &[Grant])> {
        let is_it = |key: &PluginKey, by_digest: bool| match key {
            PluginKey::Digest(digest) => by_digest && *digest == plugin.digest,
            PluginKey::Name(name) => !by_digest && plugin.name == Some(name),
        };
        [true, false].into_iter().find_map(|by_digest| {
            let (key, entry) = self.plugins.iter().find(|(key, _)| is_it(key, by_digest))?;
            entry.get(&right).map(|allowed| (key, allowed.as_slice()))
        })
    }
}

/// The part of a grant that these do not allow: `Err(None)` when they allow nothing of the right.
fn excess(allowed: &[Grant], grant: &Grant) -> Result<(), Option<String>> {
    let right = grant.capability();
    if allowed.is_empty() {
        return Err(None);
    }
    let has_whole = allowed.contains(&Grant::Whole(right));
    let over = match grant {
        // It is not granted like that, and was reported where it was read.
        Grant::Whole(Capability::Http) => None,
        Grant::Http(scope) => {
            let within = |allowed: &Grant| match allowed {
                Grant::Http(ceiling) => Some(ceiling.excess(scope)),
                _ => None,
            };
            let mut over = allowed.iter().filter_map(within);
            match over.clone().any(|over| over.is_none()) || has_whole {
                true => None,
                false => over.next().flatten(),
            }
        }
        Grant::Whole(Capability::Workspace) | Grant::Workspace(Access::ReadWrite) => {
            let is_all = has_whole || allowed.contains(&Grant::Workspace(Access::ReadWrite));
            (!is_all).then(|| "access: read-write".to_owned())
        }
        Grant::Workspace(Access::Read) => None,
        Grant::Containers(scope) => {
            let add = |sum: ContainerScope, allowed: &Grant| match allowed {
                Grant::Containers(more) => sum.or(more),
                _ => sum,
            };
            allowed.iter().fold(ContainerScope::default(), add).excess(scope)
        }
        Grant::Volumes(scope) => volumes(allowed, scope),
        Grant::Whole(Capability::Volumes) => volumes(allowed, &VolumeScope::default()),
        Grant::Whole(_) => None,
    };
    over.map_or(Ok(()), |over| Err(Some(over)))
}

fn volumes(allowed: &[Grant], scope: &VolumeScope) -> Option<String> {
    let all = VolumeScope { may_remove: true, ..VolumeScope::default() };
    let mut over = allowed.iter().filter_map(|allowed| match allowed {
        Grant::Volumes(ceiling) => Some(ceiling.excess(scope)),
        Grant::Whole(_) => Some(all.excess(scope)),
        _ => None,
    });
    match over.clone().any(|over| over.is_none()) {
        true => None,
        false => over.next().flatten(),
    }
}

impl Beyond {
    /// Who decides that, and what would have to be said to allow it.
    #[must_use]
    pub fn help(&self) -> String {
        let Self { right, by, key, file, excess } = self;
        let file = if file.is_empty() { "config.yaml" } else { file };
        match by {
            Decided::Default => {
                let allowed =
                    excess.as_ref().map_or_else(|| "true".to_owned(), |excess| format!("{{ {excess} }}"));
                format!(
                    "the configuration of the engine decides that, and allows it to nobody by default: whoever keeps the \
                     engine can write `plugins: {{ {key}: {{ grants: {{ {right}: {allowed} }} }} }}` into `{file}`, or for \
                     all plugins `grants: {{ {right}: {allowed} }}`"
                )
            }
            Decided::All => {
                format!("`grants.{right}` in `{file}` decides that, for whoever keeps the engine to change")
            }
            Decided::Own(key) => {
                format!(
                    "`plugins.{key}.grants.{right}` in `{file}` decides that, for whoever keeps the engine to change"
                )
            }
        }
    }
}

impl fmt::Display for Beyond {
    /// As what somebody cannot have.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.right)?;
        self.excess.as_ref().map_or(Ok(()), |excess| write!(f, " with `{excess}`"))
    }
}

impl fmt::Display for PluginKey {
    /// As a configuration has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Digest(digest) => write!(f, "\"{digest}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::http::{HttpScope, USUAL_METHODS};

    fn privileged() -> Grant {
        Grant::Containers(ContainerScope { is_privileged: true, ..ContainerScope::default() })
    }

    fn http(host: &str) -> Grant {
        Grant::Http(HttpScope {
            hosts: vec![host.parse().expect("a host")],
            methods: USUAL_METHODS.to_vec(),
            paths: Vec::new(),
            is_private: false,
        })
    }

    fn volumes(names: &[&str], may_remove: bool) -> Grant {
        let names = names.iter().map(|name| name.parse().expect("a pattern")).collect();
        Grant::Volumes(VolumeScope { names, may_remove })
    }

    fn ceiling(all: &[(Capability, Vec<Grant>)], plugins: Vec<(PluginKey, Allowances)>) -> Ceiling {
        let grants = all.iter().cloned().collect();
        Ceiling { file: "/data/config.yaml".to_owned(), grants, plugins, bounds: Bounds::default() }
    }

    fn named(name: &str) -> Subject<'_> {
        Subject { name: Some(name), digest: Digest::of(name.as_bytes()) }
    }

    #[test]
    fn by_default_everything_may_be_granted_but_what_reaches_the_machine() {
        let default = ceiling(&[], Vec::new());
        for right in Capability::ALL {
            assert_eq!(default.check(named("x"), &Grant::Whole(right)), Ok(()));
            assert_eq!(default.check_own(named("x"), right), Ok(()));
        }
        for grant in [http("10.0.0.1"), volumes(&[], true), Grant::Workspace(Access::ReadWrite)] {
            assert_eq!(default.check(named("x"), &grant), Ok(()), "{grant}");
        }
        let beyond = default.check(named("x"), &privileged()).unwrap_err();
        assert_eq!(beyond.to_string(), "`containers` with `privileged: true`");
        let says =
            "`plugins: { x: { grants: { containers: { privileged: true } } } }` into `/data/config.yaml`";
        assert!(beyond.help().contains(says), "{}", beyond.help());
        let mounts =
            "/srv".parse().map(|mount| ContainerScope { mounts: vec![mount], ..ContainerScope::default() });
        let beyond = default.check(named("x"), &Grant::Containers(mounts.expect("a path"))).unwrap_err();
        assert!(beyond.to_string().contains("`mounts: [\"/srv\"]`"), "{beyond}");
    }

    #[test]
    fn the_entry_of_a_plugin_goes_before_that_of_all_and_its_digest_before_its_name() {
        let entry = |allowed: Vec<Grant>| Allowances::from([(Capability::Containers, allowed)]);
        let digest = Digest::of(b"x");
        let ceiling = ceiling(
            &[(Capability::Containers, vec![privileged()]), (Capability::Apps, vec![])],
            vec![
                (PluginKey::Name("x".to_owned()), entry(vec![Grant::Whole(Capability::Containers)])),
                (PluginKey::Name("none".to_owned()), entry(vec![])),
                (PluginKey::Digest(digest), entry(vec![privileged()])),
            ],
        );
        let check = |name, digest, grant: &Grant| ceiling.check(Subject { name, digest }, grant);
        assert_eq!(check(None, Digest::of(b"any"), &privileged()), Ok(()));
        assert!(check(Some("x"), Digest::of(b"another"), &privileged()).is_err());
        assert_eq!(check(Some("x"), digest, &privileged()), Ok(()));
        // A file may call itself as it likes; its name is none of its own.
        assert_eq!(check(None, Digest::of(b"none"), &Grant::Whole(Capability::Containers)), Ok(()));
        let beyond = ceiling.check_own(named("none"), Capability::Containers).unwrap_err();
        assert_eq!(beyond.to_string(), "`containers`");
        assert!(beyond.help().starts_with("`plugins.none.grants.containers` in"), "{}", beyond.help());
        let beyond = ceiling.check(named("other"), &Grant::Whole(Capability::Apps)).unwrap_err();
        assert!(beyond.help().starts_with("`grants.apps` in `/data/config.yaml`"), "{}", beyond.help());
        // What is for all binds what is granted, not what a plugin of the engine has by itself.
        assert_eq!(ceiling.check_own(named("other"), Capability::Apps), Ok(()));
    }

    fn plugin(capabilities: &[Capability], is_builtin: bool) -> PluginDescription {
        PluginDescription {
            name: "x".to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            digest: Digest::of(b"x"),
            config_schema: serde_json::json!({}),
            outputs_schema: serde_json::json!({}),
            capabilities: capabilities.to_vec(),
            is_builtin,
            bounds: Bounds::default(),
        }
    }

    #[test]
    fn whoever_only_runs_containers_changes_no_more_files_than_may_be_granted() {
        let read = || vec![(Capability::Workspace, vec![Grant::Workspace(Access::Read)])];
        let own = |allowed| vec![(PluginKey::Name("x".to_owned()), Allowances::from_iter(allowed))];
        let check = |ceiling: &Ceiling, plugin: &PluginDescription, grants: &[Grant], expect: &[&str]| {
            let found = ceiling.check_all(named("x"), plugin, grants);
            let found: Vec<String> =
                found.iter().map(|(position, beyond)| format!("{position:?} {beyond}")).collect();
            assert_eq!(found, expect);
        };
        let containers = [Grant::Whole(Capability::Containers)];
        let added = plugin(&[Capability::Containers], false);
        let beyond = "None `workspace` with `access: read-write`";
        check(&ceiling(&read(), Vec::new()), &added, &containers, &[beyond]);
        check(&ceiling(&[], own(read())), &added, &containers, &[beyond]);
        check(&ceiling(&[], Vec::new()), &added, &containers, &[]);
        let only_read = [Grant::Whole(Capability::Containers), Grant::Workspace(Access::Read)];
        check(&ceiling(&read(), Vec::new()), &added, &only_read, &[]);
        let sources = plugin(&[Capability::Source], false);
        check(&ceiling(&read(), Vec::new()), &sources, &[Grant::Whole(Capability::Source)], &[beyond]);
        // One that came with the engine is bound by an entry of its own.
        let builtin = plugin(&[Capability::Containers], true);
        check(&ceiling(&read(), Vec::new()), &builtin, &[], &[]);
        check(&ceiling(&[], own(read())), &builtin, &[], &[beyond]);
        // One that has files itself is asked for those.
        let files = plugin(&[Capability::Containers, Capability::Workspace], false);
        let granted = [Grant::Whole(Capability::Containers), Grant::Whole(Capability::Workspace)];
        check(
            &ceiling(&read(), Vec::new()),
            &files,
            &granted,
            &["Some(1) `workspace` with `access: read-write`"],
        );
        // What it has no use for is not its.
        check(
            &ceiling(&[(Capability::Apps, vec![])], Vec::new()),
            &added,
            &[Grant::Whole(Capability::Apps)],
            &[],
        );
    }

    #[test]
    fn bounds_of_rights_are_compared() {
        let check = |right, allowed: &[Grant], grant: Grant, expect: Result<(), &str>| {
            let beyond = ceiling(&[(right, allowed.to_vec())], Vec::new()).check(named("x"), &grant);
            let beyond = beyond.map_err(|beyond| beyond.excess.unwrap_or_default());
            assert_eq!(beyond, expect.map_err(str::to_owned), "{grant}");
        };
        let (workspace, whole) = (Capability::Workspace, Grant::Whole(Capability::Workspace));
        check(workspace, &[Grant::Workspace(Access::Read)], whole, Err("access: read-write"));
        check(workspace, &[Grant::Workspace(Access::Read)], Grant::Workspace(Access::Read), Ok(()));
        check(workspace, &[Grant::Workspace(Access::ReadWrite)], Grant::Whole(workspace), Ok(()));
        check(Capability::Http, &[http("*.a.b")], http("x.a.b"), Ok(()));
        check(Capability::Http, &[http("*.a.b"), http("c.d")], http("c.d"), Ok(()));
        check(Capability::Http, &[http("*.a.b")], http("a.b"), Err("hosts: [a.b]"));
        check(Capability::Http, &[Grant::Whole(Capability::Http)], http("a.b"), Ok(()));
        check(Capability::Volumes, &[volumes(&["a-*"], false)], volumes(&["a-b"], false), Ok(()));
        check(
            Capability::Volumes,
            &[volumes(&["a-*"], false)],
            Grant::Whole(Capability::Volumes),
            Err("all names"),
        );
        check(Capability::Volumes, &[volumes(&[], false)], volumes(&["a"], true), Err("remove: true"));
        check(Capability::Containers, &[privileged()], Grant::Whole(Capability::Containers), Ok(()));
    }
}
