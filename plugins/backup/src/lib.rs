//! `backup`: takes a snapshot of a volume into an encrypted, deduplicated repository, and reads it back.

use yuanli_sdk::prelude::*;

struct Backup;

/// What to back up, and where to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The volume's name.
    volume: String,
    /// The repository: the absolute path of a folder on the engine's machine. Made when it is not there.
    #[schemars(regex(pattern = "^/"))]
    repository: String,
    /// How long the replicas that use the volume may be paused while its files are read; a backup that takes longer
    /// fails. `0s` reads while they write. Default 60s.
    #[serde(default = "a_minute")]
    pause: Timespan,
    /// Whether every byte of the snapshot is read back. Default true.
    #[serde(default = "yes")]
    verify: bool,
}

/// The snapshot.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// Its id, 64 hexadecimal digits.
    snapshot: String,
    /// How many files it holds.
    files: u64,
    /// How many bytes they have.
    bytes: u64,
    /// How many bytes of the repository are new because of it.
    added_bytes: u64,
    /// How long the replicas were paused, in milliseconds.
    paused_ms: u64,
}

const fn a_minute() -> Timespan {
    Timespan::minutes(1)
}

const fn yes() -> bool {
    true
}

impl Stage for Backup {
    const NAME: &str = "backup";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Backs up a volume into an encrypted repository";
    const CAPABILITIES: &[(&str, &str)] = &[("backups", "to read the volume and write the repository")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let taken = backups::create(&config.volume, &config.repository, config.pause.as_millis())?;
        log::info(format!(
            "snapshot {} of `{}`: {} files, {} bytes, {} of them new; paused for {} ms",
            short(&taken.id),
            config.volume,
            taken.files,
            taken.bytes,
            taken.added_bytes,
            taken.paused_ms,
        ));
        if config.verify {
            let read = backups::verify(&config.repository, &taken.id)?;
            log::info(format!("read back: {} files, {} bytes", read.files, read.bytes));
        }
        Ok(Outputs {
            snapshot: taken.id,
            files: taken.files,
            bytes: taken.bytes,
            added_bytes: taken.added_bytes,
            paused_ms: taken.paused_ms,
        })
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

yuanli_sdk::export!(Backup);
