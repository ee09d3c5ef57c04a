//! Whether a container is ready: asked from inside of it, so that it works on every engine, however far away; from outside
//! where nothing inside can ask.
//!
//! A port is looked for in the kernel's table of sockets, which takes a shell and nothing else. An image without a shell is
//! asked over the bridge, which only an engine of the same machine can reach.

use std::net::IpAddr;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ContainerInspectResponse;
use futures::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use yuanli_ports::containers::{ContainerError, ContainerId, Exit, Probe, Probed};

use crate::connection::Docker;
use crate::fault::{CONFLICT, Fault};

/// How long one probe may take. What needs longer to say that it is ready is not.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// The same for the programs inside, in whole seconds, so that they end by themselves.
const INSIDE_SECONDS: &str = "4";
/// How long an answer over the bridge may take to begin: it does not leave the machine.
const BRIDGE_DEADLINE: Duration = Duration::from_secs(2);

/// Most bytes of what a command says that are kept, and of the first line of an answer.
const MAX_SAID_BYTES: usize = 4096;

/// What the scripts below say with their exit codes; a shell and Docker say 126 and 127 for a program that is not there.
const READY: i64 = 0;
const NOTHING_TO_ASK_WITH: i64 = 3;
const NO_PROGRAM: [i64; 2] = [126, 127];

/// Looks for a listening socket (state `0A`) with the port in hexadecimal digits, `$1`, not at a loopback address: those
/// of IPv4 end with 7F, as the kernel writes the lowest byte last.
const LISTENS: &str = r#"
for table in /proc/net/tcp /proc/net/tcp6; do
    [ -r "$table" ] || continue
    while read -r _ address _ state _; do
        case "$state $address" in
            "0A "??????7F:"$1") ;;
            "0A 0000000000000000FFFF0000"??????7F:"$1") ;;
            "0A 00000000000000000000000001000000:$1") ;;
            "0A "*:"$1") exit 0 ;;
        esac
    done <"$table"
done
exit 1"#;

/// Asks for the page at host `$1`, port `$2`, path `$3`, within `$4` seconds, and says the status of the answer.
const ASKS: &str = r#"
url="http://$1:$2$3"
if command -v curl >/dev/null 2>&1; then
    status=$(curl -s -o /dev/null -w '%{http_code}' --max-time "$4" "$url")
elif command -v bash >/dev/null 2>&1; then
    status=$(bash -c 'exec 3<>"/dev/tcp/$1/$2" && printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$3" "$1" >&3 &&
        read -r -t "$4" _ code _ <&3 && echo "$code"' bash "$@" 2>/dev/null)
elif command -v nc >/dev/null 2>&1; then
    status=$(printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$3" "$1" | nc -w "$4" "$1" "$2" 2>/dev/null |
        { read -r _ code _ && echo "$code"; })
elif command -v wget >/dev/null 2>&1; then
    wget -q -O /dev/null "$url" && exit 0
    exit 1
else
    exit 3
fi
case "$status" in
    [23]??) exit 0 ;;
    '' | 000) echo "nothing answers"; exit 1 ;;
    *) echo "status $status"; exit 1 ;;
esac"#;

/// What came of a command in a container.
pub(crate) enum Executed {
    /// It ended with this code, and said this.
    Ended(i64, String),
    /// It did not end in time, and goes on.
    Late,
    /// The container does not run.
    Stopped,
}

impl Docker {
    pub(crate) async fn probe_once(
        &self,
        container: &ContainerId,
        probe: &Probe,
    ) -> Result<Probed, ContainerError> {
        let client = self.client().await?;
        let found = self.call("inspect the container", client.inspect_container(&container.0, None)).await?;
        if let Some(exit) = ended(&found) {
            return Ok(Probed::Ended(exit));
        }
        let address = address(&found);
        let executed = match probe {
            Probe::Command(command) => {
                let executed = self.execute(container, command.clone()).await?;
                return Ok(of_command(command, executed));
            }
            Probe::Tcp(port) => self.execute(container, shell(LISTENS, &[&format!("{port:04X}")])).await?,
            Probe::Http { port, path } => {
                let host = address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
                self.execute(container, shell(ASKS, &[&host, &port.to_string(), path, INSIDE_SECONDS]))
                    .await?
            }
        };
        match executed {
            Executed::Ended(code, _) if NO_PROGRAM.contains(&code) || code == NOTHING_TO_ASK_WITH => {
                self.probe_outside(probe, address).await
            }
            Executed::Ended(READY, _) => Ok(Probed::Ready),
            Executed::Ended(_, said) => Ok(Probed::NotYet(in_words(probe, &said))),
            Executed::Late => Ok(Probed::NotYet(in_words(probe, "no answer in time"))),
            Executed::Stopped => Ok(Probed::NotYet("the container does not run".to_owned())),
        }
    }

    /// Runs a command in a container, as its user.
    async fn execute(
        &self,
        container: &ContainerId,
        command: Vec<String>,
    ) -> Result<Executed, ContainerError> {
        match tokio::time::timeout(PROBE_DEADLINE, self.run_inside(container, command, None)).await {
            Ok(executed) => executed,
            Err(_) => Ok(Executed::Late),
        }
    }

    /// Runs a command to its end, as its user or as that of the container.
    pub(crate) async fn run_inside(
        &self,
        container: &ContainerId,
        command: Vec<String>,
        user: Option<String>,
    ) -> Result<Executed, ContainerError> {
        let doing = "run a command in the container";
        let client = self.client().await?;
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command),
            user,
            ..CreateExecOptions::default()
        };
        let made = match self.call(doing, client.create_exec(&container.0, options)).await {
            Ok(made) => made,
            // It is no more, or not yet.
            Err(fault) if fault.status() == Some(CONFLICT) => return Ok(Executed::Stopped),
            Err(fault) => return Err(fault.into()),
        };
        let started = self.call(doing, client.start_exec(&made.id, None::<StartExecOptions>)).await;
        let said = match started {
            Ok(StartExecResults::Attached { output, .. }) => said(output).await,
            Ok(StartExecResults::Detached) => String::new(),
            // Some engines answer so where the program is not there; the code says it below.
            Err(Fault::Refused { message, .. }) => message,
            Err(fault) => return Err(fault.into()),
        };
        let ended = self.call(doing, client.inspect_exec(&made.id)).await?;
        match ended.exit_code {
            Some(code) => Ok(Executed::Ended(code, said)),
            None => Ok(Executed::Stopped),
        }
    }

    /// Asks over the bridge.
    async fn probe_outside(&self, probe: &Probe, address: Option<IpAddr>) -> Result<Probed, ContainerError> {
        let no_way = |why: &str| {
            Err(ContainerError::Invalid(format!(
                "whether it is ready cannot be asked: its image has no shell, or none of curl, bash, nc and wget, to ask from \
                 inside, and {why}; give a command that the image has (`exec`)"
            )))
        };
        let Some(address) = address.filter(|_| self.is_local()) else {
            return no_way("the engine is on another machine or the container has no network");
        };
        let (port, path) = match probe {
            Probe::Tcp(port) => (*port, None),
            Probe::Http { port, path } => (*port, Some(path.as_str())),
            Probe::Command(_) => return no_way("a command runs only inside"),
        };
        match tokio::time::timeout(BRIDGE_DEADLINE, ask(address, port, path)).await {
            Ok(Ok(None)) => Ok(Probed::Ready),
            Ok(Ok(Some(status))) if (200..400).contains(&status) => Ok(Probed::Ready),
            Ok(Ok(Some(status))) => Ok(Probed::NotYet(in_words(probe, &format!("status {status}")))),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Ok(Probed::NotYet(in_words(probe, "")))
            }
            Ok(Err(error)) => no_way(&format!("the engine cannot reach it at {address}: {error}")),
            Err(_) => Ok(Probed::NotYet(in_words(probe, "no answer in time"))),
        }
    }
}

/// How a container ended; `None` while it runs, or is about to.
fn ended(found: &ContainerInspectResponse) -> Option<Exit> {
    use bollard::models::ContainerStateStatusEnum::{DEAD, EXITED};
    let state = found.state.as_ref().filter(|state| matches!(state.status, Some(EXITED | DEAD)))?;
    Some(Exit { code: state.exit_code.unwrap_or(-1), is_out_of_memory: state.oom_killed.unwrap_or(false) })
}

/// An address of a container in whatever network it is in.
fn address(found: &ContainerInspectResponse) -> Option<IpAddr> {
    let networks = found.network_settings.as_ref()?.networks.as_ref()?;
    networks.values().find_map(|network| network.ip_address.as_ref()?.to_string().parse().ok())
}

pub(crate) fn shell(script: &str, arguments: &[&str]) -> Vec<String> {
    ["sh", "-c", script, "sh"].iter().chain(arguments).map(|&part| part.to_owned()).collect()
}

/// The beginning of what a command says.
async fn said(mut output: impl futures::Stream<Item = Result<LogOutput, Error>> + Unpin) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = output.next().await {
        let room = MAX_SAID_BYTES.saturating_sub(bytes.len());
        let piece = piece.into_bytes();
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn of_command(command: &[String], executed: Executed) -> Probed {
    let program = command.first().map_or("", String::as_str);
    match executed {
        Executed::Ended(READY, _) => Probed::Ready,
        Executed::Ended(code, said) => {
            let last = said.lines().last().map(|line| format!(": {}", line.trim())).unwrap_or_default();
            Probed::NotYet(format!("`{program}` ended with exit code {code}{last}"))
        }
        Executed::Late => {
            Probed::NotYet(format!("`{program}` did not end within {} s", PROBE_DEADLINE.as_secs()))
        }
        Executed::Stopped => Probed::NotYet("the container does not run".to_owned()),
    }
}

fn in_words(probe: &Probe, said: &str) -> String {
    match probe {
        Probe::Tcp(port) => format!("nothing listens at port {port}"),
        Probe::Http { port, path } if said.is_empty() => {
            format!("nothing answers at port {port}, path `{path}`")
        }
        Probe::Http { port, path } => format!("port {port}, path `{path}`: {said}"),
        Probe::Command(_) => said.to_owned(),
    }
}

/// Connects to a port, and asks for a page where there is a path; gives the status of the answer.
async fn ask(address: IpAddr, port: u16, path: Option<&str>) -> std::io::Result<Option<u16>> {
    let mut stream = TcpStream::connect((address, port)).await?;
    let Some(path) = path else { return Ok(None) };
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream).take(MAX_SAID_BYTES as u64).read_line(&mut line).await?;
    // Anything else is no answer of HTTP.
    Ok(Some(line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()))
}
