//! Whoever started this process and looks after it, such as systemd: told when it serves, that it is well, and when it stops.
//!
//! The protocol is that of `sd_notify(3)`: datagrams to the socket that `NOTIFY_SOCKET` names. Without it nobody is told.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::Context;

/// Where it wants to be told, and how often it wants to hear that all is well before it takes us for stuck.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// As the environment says.
    ///
    /// # Errors
    /// When it names a socket that can be none: who is never told that we serve ends us.
    pub(crate) fn of_environment() -> anyhow::Result<Self> {
        Self::of(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let socket = match variable("NOTIFY_SOCKET") {
            Some(name) => {
                let open = || -> io::Result<_> { Ok((UnixDatagram::unbound()?, address(&name)?)) };
                Some(open().with_context(|| format!("`NOTIFY_SOCKET` is `{name}`, which is no socket"))?)
            }
            None => None,
        };
        let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| is_ours).and_then(|micros| micros.parse().ok());
        let watchdog = micros.filter(|micros| *micros > 0).map(Duration::from_micros);
        Ok(Self { socket, watchdog })
    }

    /// How often it is to be told that all is well: twice in the time that it waits for that.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|watchdog| watchdog / 2)
    }

    /// The engine answers.
    pub(crate) fn is_ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The engine still does.
    pub(crate) fn is_well(&self) {
        self.tell("WATCHDOG=1");
    }

    /// The engine was asked to end.
    pub(crate) fn is_stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            // One that does not listen any more cannot be told so either.
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

/// A path, or, with `@` in front, a name that lies in no file system.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Supervisor {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
        Supervisor::of(|name| find(name).map(|(_, value)| (*value).to_owned())).expect("a supervisor")
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn it_is_told_by_a_path_and_by_a_name_that_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let name = format!("yuanli-test-{}", std::process::id());
        let named = SocketAddr::from_abstract_name(&name).expect("a name");
        for (socket, variable) in [
            (UnixDatagram::bind(&path), path.display().to_string()),
            (UnixDatagram::bind_addr(&named), format!("@{name}")),
        ] {
            let (socket, supervisor) = (socket.expect("a socket"), of(&[("NOTIFY_SOCKET", &variable)]));
            supervisor.is_ready("serves");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=serves");
            supervisor.is_well();
            assert_eq!(heard(&socket), "WATCHDOG=1");
            supervisor.is_stopping("ends");
            assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=ends");
        }
    }

    #[test]
    fn a_watchdog_is_minded_if_it_is_for_this_process() {
        let own = std::process::id().to_string();
        let interval = |more: &[(&str, &str)]| {
            let socket = ("NOTIFY_SOCKET", "@nobody");
            of(&[&[socket], more].concat()).interval()
        };
        let seconds = Some(Duration::from_secs(5));
        assert_eq!(interval(&[("WATCHDOG_USEC", "10000000")]), seconds);
        assert_eq!(interval(&[("WATCHDOG_USEC", "10000000"), ("WATCHDOG_PID", &own)]), seconds);
        for more in [&[][..], &[("WATCHDOG_USEC", "0")], &[("WATCHDOG_USEC", "10"), ("WATCHDOG_PID", "1")]] {
            assert_eq!(interval(more), None, "{more:?}");
        }
        assert_eq!(of(&[("WATCHDOG_USEC", "10000000")]).interval(), None, "nobody is there to be told");
        of(&[]).is_ready("nobody minds");
    }
}
