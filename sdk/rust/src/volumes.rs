//! Volumes: folders that outlive containers and runs, one by its name for all workflows and apps of an engine.
//!
//! [`crate::containers::Extras::volume`] mounts one in a container.

use crate::failure::Failure;
use crate::host::volumes as host;

pub use host::{Error, Usage, Volume};

/// Makes sure that a volume is there; says whether it was made now.
///
/// # Errors
/// See [`Error`].
pub fn create(name: &str) -> Result<bool, Error> {
    host::create(name)
}

/// What is known of a volume; `None` when there is none.
///
/// # Errors
/// See [`Error`].
pub fn inspect(name: &str) -> Result<Option<Volume>, Error> {
    host::inspect(name)
}

/// The volumes that the stage may use, sorted by name.
///
/// # Errors
/// See [`Error`].
pub fn list() -> Result<Vec<Volume>, Error> {
    host::list()
}

/// How much a volume takes. Its files are counted for that, which takes as long as there are many.
///
/// # Errors
/// See [`Error`].
pub fn measure(name: &str) -> Result<Usage, Error> {
    host::measure(name)
}

/// Removes a volume that a stage made, with all that is in it. No error when there is none.
///
/// # Errors
/// See [`Error`].
pub fn remove(name: &str) -> Result<(), Error> {
    host::remove(name)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable(message) => Self::transient("unreachable", message),
            Error::Denied(message) => Self::permanent("denied", message),
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Invalid(message) => Self::permanent("invalid-volume", message),
            Error::InUse(message) => Self::permanent("volume-in-use", message),
            Error::Engine(message) => Self::transient("engine", message),
            Error::Other(message) => Self::permanent("volumes", message),
        }
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::Stage;
    use crate::containers::{self, Access, Extras};
    use crate::mock::{Mock, Ran};

    /// Uses a volume as a stage would.
    struct Keeper;

    #[derive(Deserialize, JsonSchema)]
    struct Config {
        name: String,
        is_removed: bool,
    }

    #[derive(Serialize, JsonSchema)]
    struct Outputs {
        is_new: bool,
        maker: Option<String>,
    }

    impl Stage for Keeper {
        const NAME: &str = "keeper";
        const VERSION: &str = "1.0.0";
        const SUMMARY: &str = "Uses a volume";
        type Config = Config;
        type Outputs = Outputs;

        fn run(Config { name, is_removed }: Config) -> Result<Outputs, Failure> {
            let is_new = create(&name)?;
            let maker = inspect(&name)?.and_then(|volume| volume.workflow);
            let request = Extras::default().volume(&name, "/cache", Access::Read);
            containers::start(&request.of(containers::request("tool:1", Vec::new())))?.wait()?;
            if is_removed {
                remove(&name)?;
            }
            Ok(Outputs { is_new, maker })
        }
    }

    #[test]
    fn a_mock_keeps_volumes_as_an_engine_does() {
        let mut mock = Mock::new();
        mock.container("tool:1", |_| Ok(Ran::with_code(0))).volume("data");
        let mut run = |name: &str, is_removed: bool| {
            let ran = mock.run::<Keeper>(json!({ "name": name, "is_removed": is_removed }));
            (ran.map_err(|failure| failure.kind), mock.volumes().join(" "))
        };
        let made = |is_new: bool| Ok(json!({ "is_new": is_new, "maker": "mock" }));
        assert_eq!(run("cache", false), (made(true), "cache data".to_owned()));
        assert_eq!(run("cache", true), (made(false), "data".to_owned()));
        assert_eq!(run("data", false).0, Ok(json!({ "is_new": false, "maker": null })));
        assert_eq!(run("data", true), (Err("volume-in-use".to_owned()), "data".to_owned()));
        assert_eq!(run("../x", false).0, Err("invalid-volume".to_owned()));
        assert_eq!(mock.started()[0].options, [("volume".to_owned(), "cache:/cache:ro".to_owned())]);
    }

    #[test]
    fn a_volume_that_is_not_there_is_not_mounted() {
        struct Blind;
        impl Stage for Blind {
            const NAME: &str = "blind";
            const VERSION: &str = "1.0.0";
            const SUMMARY: &str = "Mounts what it did not make";
            type Config = serde_json::Value;
            type Outputs = serde_json::Value;

            fn run(_: serde_json::Value) -> Result<serde_json::Value, Failure> {
                let extras = Extras::default().volume("none", "/cache", Access::Write);
                containers::start(&extras.of(containers::request("tool:1", Vec::new())))?;
                Ok(json!({}))
            }
        }
        let mut mock = Mock::new();
        mock.container("tool:1", |_| Ok(Ran::with_code(0)));
        assert_eq!(mock.run::<Blind>(json!({})).expect_err("it is not there").kind, "not-found");
    }
}
