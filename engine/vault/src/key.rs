//! The key: where it comes from, and how the file that it seals says which one it was.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::Generate;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::VaultError;
use crate::file::{parent, write_whole};

const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;
const SALT_BYTES: usize = 16;
/// Most bytes of a file of keys.
const MOST_FILE_BYTES: u64 = 64 * 1024;
/// What the mode of a file allows those who do not own it, and what of that is to read, for its group.
const OF_OTHERS: u32 = 0o077;
const OF_GROUP: u32 = 0o040;
/// Where a service manager puts the credentials of a service.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// What Argon2id costs: the second of the parameter choices that RFC 9106 recommends, for where memory is limited.
const MEMORY_KIB: u32 = 64 * 1024;
const ITERATIONS: u32 = 3;
const LANES: u32 = 4;
/// More than this is no parameter of ours, and would take the memory of the machine.
const MOST_MEMORY_KIB: u32 = 1024 * 1024;

/// A passphrase, cleared from memory when it is dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// These bytes. A line end at their end is no part of it.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut bytes = Zeroizing::new(bytes);
        let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
        bytes.truncate(end.map_or(0, |last| last + 1));
        Self(bytes)
    }
}

/// Where the key comes from.
#[derive(Clone)]
pub enum KeyPlace {
    /// A file, for its owner alone; made when it is needed and not there.
    File(PathBuf),
    /// It is made of a passphrase.
    Passphrase(Passphrase),
}

/// Which key it was, as the sealed file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub(crate) enum Origin {
    File { id: String },
    Passphrase { salt: String, memory_kib: u32, iterations: u32, lanes: u32 },
}

/// A key.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// A new key. One for a file is in it when this returns, after those that are there.
    pub(crate) fn make(place: &KeyPlace) -> Result<(Self, Origin), VaultError> {
        match place {
            KeyPlace::File(path) => {
                let _alone = alone(path)?;
                let key = Self(Zeroizing::new(<[u8; KEY_BYTES]>::generate()));
                let id = hex(&<[u8; ID_BYTES]>::generate());
                let mut lines = read(path)?.unwrap_or_default();
                // Somebody may have brought it back without its last line end.
                if !lines.is_empty() && !lines.ends_with('\n') {
                    lines.push('\n');
                }
                lines.push_str(&id);
                lines.push(' ');
                lines.push_str(&Zeroizing::new(hex(key.bytes())));
                lines.push('\n');
                write(path, &lines)?;
                // Nothing is sealed by a key that could not be found again.
                if in_file(path, &id)?.bytes() != key.bytes() {
                    return Err(damaged(&format!(
                        "`{}` does not hold what was written to it",
                        path.display()
                    )));
                }
                Ok((key, Origin::File { id }))
            }
            KeyPlace::Passphrase(passphrase) => {
                let salt = <[u8; SALT_BYTES]>::generate();
                let origin = Origin::Passphrase {
                    salt: STANDARD.encode(salt),
                    memory_kib: MEMORY_KIB,
                    iterations: ITERATIONS,
                    lanes: LANES,
                };
                Ok((derive(passphrase, &salt, MEMORY_KIB, ITERATIONS, LANES)?, origin))
            }
        }
    }

    /// The key that something was sealed by.
    pub(crate) fn find(place: &KeyPlace, origin: &Origin) -> Result<Self, VaultError> {
        match (place, origin) {
            (KeyPlace::File(path), Origin::File { id }) => in_file(path, id),
            (
                KeyPlace::Passphrase(passphrase),
                Origin::Passphrase { salt, memory_kib, iterations, lanes },
            ) => {
                let salt = STANDARD.decode(salt).map_err(|_| damaged("its salt is no base64"))?;
                derive(passphrase, &salt, *memory_kib, *iterations, *lanes)
            }
            (KeyPlace::File(_), Origin::Passphrase { .. }) => Err(VaultError::WrongKey(
                "the secrets were sealed by a passphrase: give the file that has it".to_owned(),
            )),
            (KeyPlace::Passphrase(_), Origin::File { id }) => Err(VaultError::WrongKey(format!(
                "the secrets were sealed by the key {id} of a file, not by a passphrase"
            ))),
        }
    }
}

impl KeyPlace {
    /// That what it gives does not open the file.
    pub(crate) fn refused(&self, sealed: &Path) -> VaultError {
        let sealed = sealed.display();
        VaultError::WrongKey(match self {
            Self::File(path) => format!("the key in `{}` does not open `{sealed}`", path.display()),
            Self::Passphrase(_) => format!("the passphrase is not the one that `{sealed}` was sealed with"),
        })
    }

    /// Removes a key from its file.
    pub(crate) fn forget(&self, id: &str) -> Result<(), VaultError> {
        let Self::File(path) = self else { return Ok(()) };
        let _alone = alone(path)?;
        let Some(lines) = read(path)? else { return Ok(()) };
        let rest = lines.lines().filter(|line| line.split(' ').next() != Some(id));
        let rest: Zeroizing<String> = Zeroizing::new(rest.map(|line| format!("{line}\n")).collect());
        if rest.is_empty() {
            return std::fs::remove_file(path).map_err(|error| io_error(path, "removed", error));
        }
        write(path, &rest)
    }
}

fn in_file(path: &Path, id: &str) -> Result<Key, VaultError> {
    let Some(lines) = read(path)? else {
        return Err(VaultError::WrongKey(format!(
            "there is no `{}`, and the secrets were sealed by the key {id} in it: bring it back from where you keep it, or \
             remove the sealed file and set the secrets anew",
            path.display()
        )));
    };
    let line = lines.lines().find_map(|line| line.strip_prefix(id)?.strip_prefix(' '));
    let line = line.ok_or_else(|| {
        VaultError::WrongKey(format!(
            "`{}` has no key {id}, which the secrets were sealed by",
            path.display()
        ))
    })?;
    let bytes =
        unhex(line.trim()).ok_or_else(|| damaged(&format!("the key {id} in `{}` is cut", path.display())))?;
    Ok(Key(bytes))
}

fn derive(
    passphrase: &Passphrase,
    salt: &[u8],
    memory: u32,
    iterations: u32,
    lanes: u32,
) -> Result<Key, VaultError> {
    if passphrase.0.is_empty() {
        return Err(VaultError::WrongKey("the passphrase is empty".to_owned()));
    }
    let within = |memory: u32| (memory <= MOST_MEMORY_KIB).then_some(memory);
    let memory = within(memory).ok_or_else(|| damaged("it asks for more memory than a passphrase takes"))?;
    let params =
        Params::new(memory, iterations, lanes, Some(KEY_BYTES)).map_err(|e| damaged(&e.to_string()))?;
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(&passphrase.0, salt, &mut *bytes).map_err(|e| damaged(&e.to_string()))?;
    Ok(Key(bytes))
}

/// Keeps others from changing the file of keys meanwhile: several engines may have one.
fn alone(path: &Path) -> Result<File, VaultError> {
    let folder = parent(path);
    let locked = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
    locked.map_err(|error| io_error(folder, "locked", error))
}

/// The file of keys, a line for each; `None` when it is not there.
fn read(path: &Path) -> Result<Option<Zeroizing<String>>, VaultError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path, "read", error)),
    };
    let mode = file.metadata().map_err(|error| io_error(path, "read", error))?.permissions().mode();
    if mode & OF_OTHERS != 0 && !is_credential(path, mode) {
        return Err(VaultError::Open(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    let read = file.take(MOST_FILE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| io_error(path, "read", error))?;
    if text.len() as u64 > MOST_FILE_BYTES {
        let path = path.display();
        return Err(damaged(&format!(
            "`{path}` has more than {MOST_FILE_BYTES} bytes, which is no file of keys"
        )));
    }
    Ok(Some(text))
}

/// Whether a service manager gave us the file and bounds who gets there: its folder is ours alone, and that the group may read
/// is how the mode shows that one user more may.
fn is_credential(path: &Path, mode: u32) -> bool {
    let folder = std::env::var_os(CREDENTIALS_VARIABLE).filter(|folder| !folder.is_empty());
    folder.is_some_and(|folder| parent(path) == Path::new(&folder)) && mode & OF_OTHERS == OF_GROUP
}

fn write(path: &Path, lines: &str) -> Result<(), VaultError> {
    write_whole(path, lines.as_bytes()).map_err(|error| io_error(path, "written", error))
}

fn io_error(path: &Path, doing: &'static str, error: io::Error) -> VaultError {
    VaultError::Io { path: path.to_owned(), doing, error }
}

fn damaged(what: &str) -> VaultError {
    VaultError::Damaged(format!("what seals the secrets is damaged: {what}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
