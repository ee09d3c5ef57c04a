//! Lock files: which component each plugin of the workflows of a folder is. They lie beside the workflows as
//! [`Lock::FILE`], are written by `yuanli plugin lock`, and read before a workflow is compiled.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use yuanli_model::plugin::NamedVersion;
use yuanli_model::{Digest, PluginReference};

use crate::diagnostic::{Diagnostics, Severity, Span};
use crate::node::{Entry, Kind, Node};
use crate::yaml;

/// The version of the format.
const VERSION: u64 = 1;

/// Names that YAML reads as something else than a text.
const NO_TEXTS: [&str; 3] = ["null", "true", "false"];

/// Which component each plugin is, by name and version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    plugins: BTreeMap<NamedVersion, Digest>,
}

/// A plugin that is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPlugin {
    /// Its name and version.
    pub key: NamedVersion,
    /// The digest of its component.
    pub digest: Digest,
}

/// That a lock has a name, and nothing that fits what is asked for. A sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlocked(String);

impl fmt::Display for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Lock {
    /// What the file is called.
    pub const FILE: &str = "yuanli.lock";

    /// Reads the text of a lock file.
    ///
    /// # Errors
    /// What is wrong with it, for a person, with the line.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut diagnostics = Diagnostics::new(text);
        let mut root = yaml::parse(&mut diagnostics);
        if let Some(root) = &mut root {
            yaml::deduplicate(root, &mut diagnostics);
        }
        let reader = Reader { diagnostics: &diagnostics };
        let lock = root.as_ref().map(|root| reader.lock(root));
        let first = diagnostics.finish().into_iter().find(|found| found.severity == Severity::Error);
        match (first, lock) {
            (Some(first), _) => Err(format!("line {}: {}", first.line, first.message)),
            (None, Some(lock)) => lock,
            (None, None) => Err("it is no YAML".to_owned()),
        }
    }

    /// Adds a plugin.
    pub fn insert(&mut self, plugin: LockedPlugin) {
        self.plugins.insert(plugin.key, plugin.digest);
    }

    /// Forgets all versions of a name.
    pub fn forget(&mut self, name: &str) {
        self.plugins.retain(|key, _| key.name.as_str() != name);
    }

    /// Whether it has nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// What it has, sorted.
    pub fn plugins(&self) -> impl Iterator<Item = LockedPlugin> {
        self.plugins.iter().map(|(key, digest)| LockedPlugin { key: key.clone(), digest: *digest })
    }

    /// The component that a reference is locked to: of those with its name that fit the one with the highest version.
    /// `None` when it has nothing of that name.
    ///
    /// # Errors
    /// When it has the name, and nothing that fits.
    pub fn find(&self, reference: &PluginReference) -> Result<Option<LockedPlugin>, Unlocked> {
        let Some(name) = reference.name() else { return Ok(None) };
        let of_name: Vec<NamedVersion> =
            self.plugins.keys().filter(|key| key.name.as_str() == name).cloned().collect();
        let found = match reference {
            PluginReference::Pinned(_, digest) => {
                of_name.iter().find(|key| self.plugins.get(*key) == Some(digest))
            }
            other => other.choose(&of_name),
        };
        let locked = |key: &NamedVersion| {
            self.plugins.get(key).map(|digest| LockedPlugin { key: key.clone(), digest: *digest })
        };
        match (found.and_then(locked), of_name.last().and_then(locked)) {
            (Some(locked), _) => Ok(Some(locked)),
            (None, None) => Ok(None),
            (None, Some(other)) => Err(Unlocked(format!(
                "`{}` locks `{name}` to {} ({}), which is not `{reference}`: lock again with `yuanli plugin lock`",
                Self::FILE,
                other.key.version,
                other.digest,
            ))),
        }
    }
}

impl fmt::Display for Lock {
    /// The text of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# Which components the plugins are that workflows in this folder use.\n")?;
        f.write_str("# Written by `yuanli plugin lock`; to be kept with the workflows.\n")?;
        writeln!(f, "version: {VERSION}")?;
        if self.is_empty() {
            return f.write_str("plugins: []\n");
        }
        f.write_str("plugins:\n")?;
        for LockedPlugin { key, digest } in self.plugins() {
            let name = key.name.as_str();
            let quote = if NO_TEXTS.contains(&name) { "\"" } else { "" };
            writeln!(f, "  - name: {quote}{name}{quote}")?;
            writeln!(f, "    version: {}", key.version)?;
            writeln!(f, "    digest: {digest}")?;
        }
        Ok(())
    }
}

/// Reads the tree of a lock file; every error is of one line.
struct Reader<'a> {
    diagnostics: &'a Diagnostics<'a>,
}

impl Reader<'_> {
    fn lock(&self, root: &Node) -> Result<Lock, String> {
        let [version, plugins] = self.fields(root, ["version", "plugins"])?;
        match &version.value.kind {
            Kind::Number(number) if number.as_u64() == Some(VERSION) => {}
            Kind::Number(number) if number.as_u64().is_some_and(|number| number > VERSION) => {
                return Err(format!(
                    "it has version {number}, and this yuanli reads version {VERSION}: use the newer one"
                ));
            }
            _ => return Err(self.at(version.value_span(), "`version` is no number of a version")),
        }
        let Kind::List(items) = &plugins.value.kind else {
            return Err(self.at(plugins.value_span(), "`plugins` is no list"));
        };
        let mut lock = Lock::default();
        for item in items {
            let LockedPlugin { key, digest } = self.plugin(item)?;
            if lock.plugins.insert(key.clone(), digest).is_some() {
                return Err(self.at(item.place(), &format!("`{key}` is there twice")));
            }
        }
        Ok(lock)
    }

    fn plugin(&self, item: &Node) -> Result<LockedPlugin, String> {
        let [name, version, digest] = self.fields(item, ["name", "version", "digest"])?;
        let key = NamedVersion { name: self.parsed(name)?, version: self.parsed(version)? };
        Ok(LockedPlugin { key, digest: self.parsed(digest)? })
    }

    /// The fields of a map, which has these and no others.
    fn fields<'n, const N: usize>(&self, node: &'n Node, names: [&str; N]) -> Result<[&'n Entry; N], String> {
        let Kind::Map(entries) = &node.kind else {
            return Err(self.at(node.place(), &format!("there is {} instead of a map", node.what())));
        };
        if let Some(other) = entries.iter().find(|entry| !names.contains(&entry.key.as_str())) {
            return Err(self.at(other.key_span, &format!("there is no key `{}`", other.key)));
        }
        let mut found = Vec::with_capacity(N);
        for name in names {
            let missing = || self.at(node.place(), &format!("`{name}` is missing"));
            found.push(crate::key::find(entries, name).ok_or_else(missing)?);
        }
        found.try_into().map_err(|_| "it cannot be read".to_owned())
    }

    fn parsed<T: FromStr<Err: fmt::Display>>(&self, entry: &Entry) -> Result<T, String> {
        let Kind::Text(text) = &entry.value.kind else {
            return Err(self.at(entry.value_span(), &format!("`{}` is no text", entry.key)));
        };
        text.parse().map_err(|error: T::Err| self.at(entry.value_span(), &error.to_string()))
    }

    fn at(&self, span: Span, what: &str) -> String {
        format!("line {}: {what}", self.diagnostics.line(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(key: &str, component: &str) -> LockedPlugin {
        LockedPlugin { key: key.parse().expect(key), digest: Digest::of(component.as_bytes()) }
    }

    fn lock() -> Lock {
        let mut lock = Lock::default();
        for (key, component) in
            [("probe@1.10.0", "c"), ("null@0.1.0", "n"), ("probe@1.9.0", "b"), ("probe@2.0.0-rc.1", "d")]
        {
            lock.insert(locked(key, component));
        }
        lock
    }

    #[test]
    fn a_lock_is_sorted_and_says_again_what_it_said() {
        let text = lock().to_string();
        assert_eq!(Lock::read(&text), Ok(lock()));
        let names: Vec<&str> = text.lines().filter(|line| line.contains("name:")).collect();
        assert_eq!(names, ["  - name: \"null\"", "  - name: probe", "  - name: probe", "  - name: probe"]);
        let order: Vec<String> = lock().plugins().map(|locked| locked.key.to_string()).collect();
        assert_eq!(order, ["null@0.1.0", "probe@1.9.0", "probe@1.10.0", "probe@2.0.0-rc.1"]);
        assert_eq!(Lock::read(&Lock::default().to_string()), Ok(Lock::default()));
    }

    #[test]
    fn a_reference_is_locked_to_the_highest_version_that_fits() {
        let check = |text: &str, expect: &str| {
            let found = match lock().find(&text.parse().expect(text)) {
                Ok(Some(locked)) => locked.key.to_string(),
                Ok(None) => "not locked".to_owned(),
                Err(unlocked) => unlocked.to_string(),
            };
            assert!(found.starts_with(expect), "{text}: {found}");
        };
        check("probe", "probe@1.10.0");
        check("probe@2.0.0-rc.1", "probe@2.0.0-rc.1");
        check("probe@^1", "probe@1.10.0");
        check("probe@~1.9", "probe@1.9.0");
        check(&format!("probe@{}", Digest::of(b"b")), "probe@1.9.0");
        check("build", "not locked");
        check("./probe.wasm", "not locked");
        check("probe@^3", "`yuanli.lock` locks `probe` to 2.0.0-rc.1 (sha256:");
        check(&format!("probe@{}", Digest::of(b"x")), "`yuanli.lock` locks `probe` to 2.0.0-rc.1 (sha256:");
        let mut lock = lock();
        lock.forget("probe");
        assert_eq!(lock.plugins().count(), 1);
    }

    #[test]
    fn what_is_no_lock_is_told_with_its_line() {
        let digest = Digest::of(b"a");
        let plugin = format!("plugins:\n- name: a\n  version: 1.0.0\n  digest: {digest}\n");
        let check = |text: &str, expect: &str| {
            let told = Lock::read(text).expect_err(text);
            assert!(told.contains(expect), "{text}: {told}");
        };
        check("", "there is nothing instead of a map");
        check("[", "line");
        check("- a\n", "line 1: there is a list instead of a map");
        check("version: 1\n", "`plugins` is missing");
        check(&format!("version: 2\n{plugin}"), "it has version 2, and this yuanli reads version 1");
        check(&format!("version: one\n{plugin}"), "line 1: `version` is no number");
        check("version: 1\nplugins: {}\n", "line 2: `plugins` is no list");
        check("version: 1\nplugins: []\nmore: 1\n", "line 3: there is no key `more`");
        check("version: 1\nversion: 1\nplugins: []\n", "line 2: `version` is there twice");
        check(&format!("version: 1\n{}", plugin.replace("1.0.0", "1.0")), "line 4: `version` is no text");
        check(&format!("version: 1\n{}", plugin.replace("1.0.0", "one")), "line 4: `one` is no version");
        check(&format!("version: 1\n{}", plugin.replace("name: a", "name: A")), "line 3: `A` is no name");
        check(&format!("version: 1\n{}", plugin.replace("sha256", "md5")), "line 5: `md5:");
        check(
            &format!("version: 1\n{plugin}{}", plugin.replace("plugins:\n", "")),
            "line 6: `a@1.0.0` is there twice",
        );
    }
}
