//! What bounds a container, or gives it back what it has not by default. None of it reaches the machine.

use yuanli_bindings::containers::Error;
use yuanli_ports::containers::{ContainerOptions, Tmpfs, Ulimit};

/// Most processes of a container, as the contract says: Linux counts them in 15 bits by default.
const MAX_PROCESSES: u32 = 32_768;

/// The capabilities that Docker gives by default, but `MKNOD`: a device in a folder of the engine is one for the engine.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// What takes away all of them, and all others.
const ALL: &str = "ALL";
const MKNOD: &str = "MKNOD";

/// The names of bounds that Docker knows, after `setrlimit(2)`.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads one option.
pub(super) fn read(options: &mut ContainerOptions, key: &str, value: &str) -> Result<(), Error> {
    match key {
        "read-only-root" => options.has_read_only_root = is_true(key, value)?,
        "tmpfs" => options.tmpfs.push(tmpfs(value)?),
        "shm-bytes" => options.shm_bytes = Some(bytes(key, value)?),
        "pids" => {
            let most = value.parse().ok().filter(|most| (1..=MAX_PROCESSES).contains(most));
            options.max_processes = Some(most.ok_or_else(|| takes(key, "a number from 1 to 32768", value))?);
        }
        "ulimit" => options.ulimits.push(ulimit(value)?),
        "drop-capability" => options.dropped_capabilities.push(dropped(value)?),
        "add-capability" => options.added_capabilities.push(added(value)?),
        "no-new-privileges" => options.has_no_new_privileges = is_true(key, value)?,
        "init" => options.has_init = is_true(key, value)?,
        "stop-signal" => options.stop_signal = Some(signal(value)?),
        _ => return Err(Error::Invalid(format!("this engine knows no container option `{key}`"))),
    }
    Ok(())
}

fn takes(key: &str, what: &str, value: &str) -> Error {
    Error::Invalid(format!("`{key}` takes {what}, not `{value}`"))
}

fn is_true(key: &str, value: &str) -> Result<bool, Error> {
    if value == "true" { Ok(true) } else { Err(takes(key, "`true`", value)) }
}

fn bytes(key: &str, value: &str) -> Result<u64, Error> {
    let is_some = |bytes: &u64| *bytes > 0;
    value.parse().ok().filter(is_some).ok_or_else(|| takes(key, "a number of bytes", value))
}

/// `TARGET` or `TARGET:BYTES`.
fn tmpfs(value: &str) -> Result<Tmpfs, Error> {
    let (target, size) = value.split_once(':').map_or((value, None), |(target, size)| (target, Some(size)));
    let size_bytes = size.map(|size| bytes("tmpfs", size)).transpose()?;
    Ok(Tmpfs { target: target.to_owned(), size_bytes })
}

/// `NAME=SOFT` or `NAME=SOFT:HARD`.
fn ulimit(value: &str) -> Result<Ulimit, Error> {
    let wrong = || takes("ulimit", "`NAME=SOFT` or `NAME=SOFT:HARD`, such as `nofile=1024:4096`", value);
    let (name, bounds) = value.split_once('=').ok_or_else(wrong)?;
    if !ULIMITS.contains(&name) {
        return Err(Error::Invalid(format!("there is no ulimit `{name}`; there are {}", ULIMITS.join(", "))));
    }
    let (soft, hard) = bounds.split_once(':').unwrap_or((bounds, bounds));
    let number = |text: &str| text.parse().ok().filter(|bound| *bound >= -1).ok_or_else(wrong);
    let (soft, hard): (i64, i64) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(Error::Invalid(format!("the ulimit `{value}` is above its own hard bound")));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// The name of a capability as the contract has it.
fn capability(value: &str) -> String {
    let name = value.to_ascii_uppercase();
    name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name)
}

fn dropped(value: &str) -> Result<String, Error> {
    let name = capability(value);
    match [ALL, MKNOD].contains(&&*name) || CAPABILITIES.contains(&&*name) {
        true => Ok(name),
        false => Err(unknown(value)),
    }
}

fn added(value: &str) -> Result<String, Error> {
    let name = capability(value);
    if CAPABILITIES.contains(&&*name) { Ok(name) } else { Err(unknown(value)) }
}

fn unknown(value: &str) -> Error {
    Error::Invalid(format!(
        "`{value}` is no capability that an ordinary container can have; these are {}",
        CAPABILITIES.join(", ")
    ))
}

fn signal(value: &str) -> Result<String, Error> {
    let is_known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if !value.is_empty() && value.len() <= 12 && value.bytes().all(is_known) {
        return Ok(value.to_owned());
    }
    Err(takes("stop-signal", "a signal, such as `SIGINT`", value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, value: &str) -> Result<ContainerOptions, String> {
        let mut options = ContainerOptions::default();
        match read(&mut options, key, value) {
            Ok(()) => Ok(options),
            Err(Error::Invalid(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_are_read_as_the_contract_says() {
        let none = ContainerOptions::default;
        let tmpfs = |target: &str, size_bytes| vec![Tmpfs { target: target.to_owned(), size_bytes }];
        let ulimit = |soft, hard| vec![Ulimit { name: "nofile".to_owned(), soft, hard }];
        for (key, value, expected) in [
            ("read-only-root", "true", ContainerOptions { has_read_only_root: true, ..none() }),
            ("tmpfs", "/tmp", ContainerOptions { tmpfs: tmpfs("/tmp", None), ..none() }),
            ("tmpfs", "/tmp:1024", ContainerOptions { tmpfs: tmpfs("/tmp", Some(1024)), ..none() }),
            ("shm-bytes", "1024", ContainerOptions { shm_bytes: Some(1024), ..none() }),
            ("pids", "32768", ContainerOptions { max_processes: Some(32_768), ..none() }),
            ("ulimit", "nofile=7", ContainerOptions { ulimits: ulimit(7, 7), ..none() }),
            ("ulimit", "nofile=7:-1", ContainerOptions { ulimits: ulimit(7, -1), ..none() }),
            (
                "drop-capability",
                "all",
                ContainerOptions { dropped_capabilities: vec!["ALL".to_owned()], ..none() },
            ),
            (
                "add-capability",
                "CAP_NET_RAW",
                ContainerOptions { added_capabilities: vec!["NET_RAW".to_owned()], ..none() },
            ),
            ("stop-signal", "SIGINT", ContainerOptions { stop_signal: Some("SIGINT".to_owned()), ..none() }),
        ] {
            assert_eq!(of(key, value), Ok(expected), "{key}={value}");
        }
    }

    #[test]
    fn what_is_no_option_or_too_much_is_refused() {
        for (key, value, why) in [
            ("read-only-root", "yes", "takes `true`"),
            ("tmpfs", "/tmp:1g", "a number of bytes"),
            ("shm-bytes", "0", "a number of bytes"),
            ("pids", "0", "1 to 32768"),
            ("pids", "32769", "1 to 32768"),
            ("ulimit", "nofile", "`NAME=SOFT`"),
            ("ulimit", "files=1", "there is no ulimit `files`"),
            ("ulimit", "nofile=2:1", "above its own hard bound"),
            ("ulimit", "nofile=-1:1", "above its own hard bound"),
            ("ulimit", "nofile=-2", "`NAME=SOFT`"),
            ("drop-capability", "SYS_ADMIN", "no capability that an ordinary container"),
            ("add-capability", "MKNOD", "no capability that an ordinary container"),
            ("add-capability", "ALL", "no capability that an ordinary container"),
            ("stop-signal", "", "a signal"),
            ("gpus", "all", "knows no container option `gpus`"),
        ] {
            let found = of(key, value).expect_err(value);
            assert!(found.contains(why), "{key}={value}: {found}");
        }
    }
}
