//! Secrets that whoever starts a run gives along: read once, before anything runs, and known only to that engine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use async_trait::async_trait;
use yuanli_model::{SecretName, WorkflowName};
use yuanli_ports::secrets::{MAX_SECRET_BYTES, SecretError, SecretValue, Secrets};

/// Where a secret is: `NAME=env:VARIABLE` or `NAME=file:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlace {
    name: SecretName,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Variable(String),
    File(PathBuf),
}

/// The values of these places.
#[derive(Debug, Clone, Default)]
pub struct GivenSecrets(BTreeMap<SecretName, SecretValue>);

impl FromStr for SecretPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected NAME=env:VARIABLE or NAME=file:PATH, such as token=env:TOKEN".to_owned();
        let (name, place) = text.split_once('=').ok_or_else(expected)?;
        let name = name.parse().map_err(|e: yuanli_model::id::InvalidId| e.to_string())?;
        let kind = match place.split_once(':') {
            Some(("env", variable)) if !variable.is_empty() => Kind::Variable(variable.to_owned()),
            Some(("file", path)) if !path.is_empty() => Kind::File(path.into()),
            // What was given there may be the secret itself, so it is not repeated.
            _ => return Err(expected()),
        };
        Ok(Self { name, kind })
    }
}

impl GivenSecrets {
    /// Reads the values. The line end that a file ends with is not part of its secret.
    ///
    /// # Errors
    /// What cannot be read, or is given twice, for a person.
    pub fn read(places: Vec<SecretPlace>) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for SecretPlace { name, kind } in places {
            let bytes = kind.read().map_err(|why| format!("the secret `{name}` cannot be read: {why}"))?;
            let value = SecretValue::new(&name, bytes).map_err(|e| e.to_string())?;
            if values.contains_key(&name) {
                return Err(format!("the secret `{name}` was given twice: give it once"));
            }
            values.insert(name, value);
        }
        Ok(Self(values))
    }

    /// Why a run that names these secrets cannot begin, if it cannot.
    pub(crate) fn missing(name: &SecretName) -> String {
        format!(
            "the secret `{name}` was not given: add `--secret {name}=env:VARIABLE` or `--secret {name}=file:PATH`"
        )
    }

    /// Whether it has a secret of that name.
    pub(crate) fn has(&self, name: &SecretName) -> bool {
        self.0.contains_key(name)
    }
}

impl Kind {
    fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Variable(variable) => match std::env::var_os(variable) {
                Some(value) => Ok(value.into_vec()),
                None => Err(format!("there is no environment variable `{variable}`")),
            },
            Self::File(path) => {
                let cannot = |e: std::io::Error| format!("`{}`: {e}", path.display());
                let mut bytes = Vec::new();
                // With the line end, and one more, which is too long.
                let most = MAX_SECRET_BYTES as u64 + 3;
                File::open(path).map_err(cannot)?.take(most).read_to_end(&mut bytes).map_err(cannot)?;
                let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
                bytes.truncate(end.map_or(0, |last| last + 1));
                Ok(bytes)
            }
        }
    }
}

#[async_trait]
impl Secrets for GivenSecrets {
    async fn resolve(&self, name: &SecretName, _: &WorkflowName) -> Result<SecretValue, SecretError> {
        self.0.get(name).cloned().ok_or_else(|| SecretError::Unknown(Self::missing(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(places: &[&str]) -> Result<GivenSecrets, String> {
        GivenSecrets::read(places.iter().map(|place| place.parse()).collect::<Result<_, _>>()?)
    }

    #[test]
    fn places_are_read_or_refused_with_a_sentence() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("a file");
            format!("key=file:{}", path.display())
        };
        let value = |place: &str| {
            let given = read(&[place]).expect("given");
            given.0.values().map(|value| value.expose().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(value(&file("a", b"one\ntwo\r\n")), [b"one\ntwo"]);
        assert_eq!(value(&file("b", &[b'x'; MAX_SECRET_BYTES])), [[b'x'; MAX_SECRET_BYTES]]);
        assert_eq!(value("path=env:PATH"), [std::env::var("PATH").expect("a path").into_bytes()]);
        let check = |places: &[&str], says: &str| {
            let why = read(places).expect_err("it is refused");
            assert!(why.contains(says), "{why}");
        };
        check(&[&file("c", &[b'x'; MAX_SECRET_BYTES + 1])], "at most 16384 are allowed");
        check(&[&file("d", b"\n")], "the secret `key` is empty");
        check(&["key=file:/none"], "`/none`: No such file");
        check(&["key=env:YUANLI_NO_SUCH_VARIABLE"], "no environment variable `YUANLI_NO_SUCH_VARIABLE`");
        check(&["key=hunter2"], "expected NAME=env:VARIABLE");
        check(&["Key=env:PATH"], "`Key` is no valid");
        check(&["key=env:PATH", "key=env:HOME"], "was given twice");
    }
}
