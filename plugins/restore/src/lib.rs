//! `restore`: writes a snapshot into a new volume, and compares it afterwards.

use yuanli_sdk::prelude::*;

struct Restore;

/// What to restore, and where to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The repository: the absolute path of a folder on the engine's machine.
    #[schemars(regex(pattern = "^/"))]
    repository: String,
    /// The volume that was backed up.
    volume: String,
    /// The snapshot's id, or `latest`. Default `latest`.
    #[serde(default = "latest")]
    snapshot: String,
    /// The volume to restore into; it must not exist, or be empty and unused.
    into: String,
}

/// What was restored.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// The snapshot's id.
    snapshot: String,
    /// The volume that holds it now.
    volume: String,
    /// How many files.
    files: u64,
    /// How many bytes they have.
    bytes: u64,
}

fn latest() -> String {
    "latest".to_owned()
}

impl Stage for Restore {
    const NAME: &str = "restore";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Restores a backup into a new volume";
    const CAPABILITIES: &[(&str, &str)] = &[("backups", "to read the repository and write the volume")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let snapshot = if config.snapshot == latest() {
            let newest = backups::snapshots(&config.repository, &config.volume)?.pop();
            newest.map(|snapshot| snapshot.id).ok_or_else(|| none(&config))?
        } else {
            config.snapshot
        };
        log::info(format!("restoring snapshot {snapshot} of `{}` into `{}`", config.volume, config.into));
        let restored = backups::restore(&config.repository, &snapshot, &config.into)?;
        log::info(format!("restored and compared: {} files, {} bytes", restored.files, restored.bytes));
        Ok(Outputs { snapshot, volume: config.into, files: restored.files, bytes: restored.bytes })
    }
}

fn none(config: &Config) -> Failure {
    let message =
        format!("the repository `{}` has no snapshot of volume `{}`", config.repository, config.volume);
    Failure::permanent("not-found", message)
}

yuanli_sdk::export!(Restore);
