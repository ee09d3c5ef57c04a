//! What can be said of a container beyond what it runs.

/// What a container is beyond an ordinary one, or less than it. An ordinary one by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerOptions {
    /// Whether nothing of it can be written but what is mounted.
    pub has_read_only_root: bool,
    /// Folders in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// The size of `/dev/shm`; the engine's default when absent.
    pub shm_bytes: Option<u64>,
    /// How many processes and threads it may have; the engine has a bound where nothing is said.
    pub max_processes: Option<u32>,
    /// Bounds of its processes.
    pub ulimits: Vec<Ulimit>,
    /// Capabilities of the kernel that it has not, without `CAP_`; `ALL` for all.
    pub dropped_capabilities: Vec<String>,
    /// Capabilities that it has all the same. Whoever asks has checked that it may.
    pub added_capabilities: Vec<String>,
    /// Whether no program in it gets rights by its file.
    pub has_no_new_privileges: bool,
    /// Whether an init is its first process.
    pub has_init: bool,
    /// The signal that asks it to end, such as `SIGINT`; the image's own when absent.
    pub stop_signal: Option<String>,
}

/// A folder in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Where it appears in the container; absolute.
    pub target: String,
    /// How much may be in it; half of the machine's memory when absent.
    pub size_bytes: Option<u64>,
}

/// A bound of each process of a container, as `setrlimit(2)` has it; -1 is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Such as `nofile`.
    pub name: String,
    /// What counts.
    pub soft: i64,
    /// What a process may raise it to.
    pub hard: i64,
}

/// What a container is in the network of its attempt: a private one, without a way out, that is made for the first that is in
/// it and removed by [`crate::Containers::remove_all`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// The name by which others in it reach this one.
    pub name: Option<String>,
}
