//! What a config says of the form of a container: what it may use, and what it may not.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Request;
use crate::size::Size;
use crate::timespan::Timespan;

/// What a container may use, and what it is not given.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// The most memory, such as `512MiB`; no limit without it.
    memory: Option<Size>,
    /// How many processors, such as `1.5`; no limit without it.
    #[schemars(range(min = 0.01, max = 1024))]
    cpus: Option<f64>,
    /// How many processes and threads; 4,096 without it.
    #[schemars(range(min = 1, max = 32_768))]
    pids: Option<u32>,
    /// Whether nothing can be written but the workspace, volumes, mounts and `tmpfs`.
    #[serde(default)]
    read_only_root: bool,
    /// Folders in memory by their paths, with the most that may be in each: `{ /tmp: 64MiB }`.
    #[serde(default)]
    tmpfs: BTreeMap<String, Size>,
    /// The size of `/dev/shm`; 64 MiB without it.
    shm: Option<Size>,
    /// Bounds of each process as `ulimit` has them, such as `{ nofile: 4096 }`; -1 is none.
    #[serde(default)]
    ulimits: BTreeMap<String, Ulimit>,
    /// Capabilities of the kernel that it has not, such as `CHOWN`; `ALL` for all.
    #[serde(default)]
    drop: Vec<String>,
    /// Capabilities that it has all the same: of those that Docker gives by default.
    #[serde(default)]
    add: Vec<String>,
    /// Whether no program gets rights by its file, as `sudo` does.
    #[serde(default)]
    no_new_privileges: bool,
    /// Whether an init is the first process, which hands on signals and buries the dead.
    #[serde(default)]
    init: bool,
    /// The signal that asks it to end, such as `SIGINT`; the image's own without it.
    stop_signal: Option<String>,
    /// How long it has from that signal to its end by force, when the stage is ended; `10s` without it.
    stop_grace: Option<Timespan>,
}

/// A bound of each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Ulimit {
    /// What counts, and cannot be raised.
    Both(i64),
    /// What counts, and what a process may raise it to.
    Each {
        /// What counts.
        soft: i64,
        /// What it may be raised to.
        hard: i64,
    },
}

impl Form {
    /// The request of a container of this form.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the schema")]
    pub fn of(&self, mut request: Request) -> Request {
        request.memory_bytes = self.memory.map(|Size(bytes)| bytes).or(request.memory_bytes);
        request.cpu_millis = self.cpus.map(|cpus| (cpus * 1000.0) as u32).or(request.cpu_millis);
        request.options.extend(self.options().map(|(key, value)| (key.to_owned(), value)));
        request
    }

    fn options(&self) -> impl Iterator<Item = (&'static str, String)> {
        let flag = |key, is_set: bool| is_set.then(|| (key, "true".to_owned()));
        let single = [
            self.pids.map(|most| ("pids", most.to_string())),
            flag("read-only-root", self.read_only_root),
            self.shm.map(|Size(bytes)| ("shm-bytes", bytes.to_string())),
            flag("no-new-privileges", self.no_new_privileges),
            flag("init", self.init),
            self.stop_signal.clone().map(|signal| ("stop-signal", signal)),
            self.stop_grace.map(|grace| ("stop-grace-ms", grace.as_millis().to_string())),
        ];
        let tmpfs = self.tmpfs.iter().map(|(target, Size(bytes))| ("tmpfs", format!("{target}:{bytes}")));
        let ulimits = self.ulimits.iter().map(|(name, bound)| match bound {
            Ulimit::Both(bound) => ("ulimit", format!("{name}={bound}")),
            Ulimit::Each { soft, hard } => ("ulimit", format!("{name}={soft}:{hard}")),
        });
        let dropped = self.drop.iter().map(|name| ("drop-capability", name.clone()));
        let added = self.add.iter().map(|name| ("add-capability", name.clone()));
        single.into_iter().flatten().chain(tmpfs).chain(ulimits).chain(dropped).chain(added)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::containers::request;

    #[test]
    fn a_form_is_said_in_options() {
        let form: Form = serde_json::from_value(json!({
            "memory": "64MiB", "cpus": 1.5, "pids": 9, "read_only_root": true, "tmpfs": { "/tmp": "1KiB" },
            "shm": "1MiB", "ulimits": { "core": 0, "nofile": { "soft": 1, "hard": 2 } }, "drop": ["ALL"],
            "add": ["CHOWN"], "no_new_privileges": true, "init": true, "stop_signal": "SIGINT", "stop_grace": "1s",
        }))
        .expect("a form");
        let request = form.of(request("x", Vec::new()));
        assert_eq!((request.memory_bytes, request.cpu_millis), (Some(64 << 20), Some(1500)));
        let options: Vec<String> =
            request.options.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let expected = [
            "pids 9",
            "read-only-root true",
            "shm-bytes 1048576",
            "no-new-privileges true",
            "init true",
            "stop-signal SIGINT",
            "stop-grace-ms 1000",
            "tmpfs /tmp:1024",
            "ulimit core=0",
            "ulimit nofile=1:2",
            "drop-capability ALL",
            "add-capability CHOWN",
        ];
        assert_eq!(options, expected);
        assert!(Form::default().of(super::super::request("x", Vec::new())).options.is_empty());
    }
}
