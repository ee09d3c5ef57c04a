//! The engine's side of the private socket: finds the gateway, or starts it, and asks it.

use std::ffi::OsString;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use yuanli_model::AppName;
use yuanli_ports::traffic::{Measurement, Table, TrafficError};
use yuanli_ports::{Cancellation, Traffic};

use crate::folder::Folder;
use crate::wire::{Ask, Frames, PROTOCOL, Reply, TableFrame};

/// How long a gateway may take to answer a question.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a gateway may take to be there after it was started.
const START: Duration = Duration::from_secs(10);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(10);
/// How long one that was told to end may take: longer than requests may take to finish.
const END: Duration = Duration::from_secs(15);
/// Wait before the next try to start one.
const RETRY: Duration = Duration::from_secs(1);
/// Questions that may wait.
const QUESTIONS: usize = 16;

/// How the gateway is started when it is not there.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub program: PathBuf,
    /// Its arguments: they have to make it serve from the folder and on the addresses that the link is given.
    pub arguments: Vec<OsString>,
}

/// The gateway, as the engine reaches it.
#[derive(Debug)]
pub struct Gateway {
    questions: mpsc::Sender<Question>,
    restarted: Arc<Notify>,
    wanted: Mutex<mpsc::Receiver<AppName>>,
}

/// Keeps in touch with the gateway; [`Self::run`] is to be driven as long as the engine lives.
#[derive(Debug)]
pub struct Link {
    folder: Folder,
    listen: Vec<SocketAddr>,
    program: Program,
    questions: mpsc::Receiver<Question>,
    restarted: Arc<Notify>,
    wanted: mpsc::Sender<AppName>,
    /// Whether there is something to serve, so that a gateway has to be there.
    is_needed: bool,
}

#[derive(Debug)]
struct Question {
    ask: Ask,
    is_need: bool,
    reply: oneshot::Sender<Result<Reply, TrafficError>>,
}

impl Gateway {
    /// The gateway of a folder, on these addresses. Nothing happens before [`Link::run`]; one that runs already is taken
    /// over, and none is started before there is a table with an app.
    #[must_use]
    pub fn new(folder: PathBuf, listen: Vec<SocketAddr>, program: Program) -> (Self, Link) {
        let (sender, questions) = mpsc::channel(QUESTIONS);
        let (tell, wanted) = mpsc::channel(QUESTIONS);
        let restarted = Arc::new(Notify::new());
        let link = Link {
            folder: Folder::new(folder),
            listen,
            program,
            questions,
            restarted: Arc::clone(&restarted),
            wanted: tell,
            is_needed: false,
        };
        (Self { questions: sender, restarted, wanted: Mutex::new(wanted) }, link)
    }

    async fn ask(&self, ask: Ask, is_need: bool) -> Result<Reply, TrafficError> {
        let (reply, answer) = oneshot::channel();
        let closed = || TrafficError::Unreachable("the engine is shutting down".to_owned());
        self.questions.send(Question { ask, is_need, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

#[async_trait]
impl Traffic for Gateway {
    async fn apply(&self, table: Table) -> Result<(), TrafficError> {
        match self.ask(Ask::Apply(TableFrame::from(&table)), !table.apps.is_empty()).await? {
            Reply::Applied => Ok(()),
            Reply::Outdated(version) => Err(TrafficError::Outdated(version)),
            other => Err(unexpected(&other)),
        }
    }

    async fn measure(&self) -> Result<Measurement, TrafficError> {
        match self.ask(Ask::Measure, false).await? {
            Reply::Measured(frame) => {
                Measurement::try_from(frame).map_err(|error| TrafficError::Unreachable(error.to_string()))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn restarted(&self) {
        self.restarted.notified().await;
    }

    async fn wanted(&self) -> AppName {
        match self.wanted.lock().await.recv().await {
            Some(app) => app,
            None => std::future::pending().await,
        }
    }
}

impl Link {
    /// Keeps in touch until `stop` fires. The gateway goes on serving after it.
    pub async fn run(mut self, stop: Cancellation) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_in_touch() => {}
        }
    }

    async fn keep_in_touch(&mut self) {
        let mut waiting: Option<Question> = None;
        let mut told = String::new();
        loop {
            match self.connect().await {
                Ok(frames) => {
                    self.restarted.notify_one();
                    told.clear();
                    let Err(error) = self.converse(frames, waiting.take()).await else { return };
                    tracing::warn!(%error, "the gateway is gone");
                    continue;
                }
                Err(reason) => {
                    if self.is_needed && told != reason {
                        tracing::warn!(reason, "the gateway does not serve; it is tried again");
                        told.clone_from(&reason);
                    }
                    if let Some(question) = waiting.take() {
                        let _ = question.reply.send(Err(TrafficError::Unreachable(reason)));
                    }
                }
            }
            let pause =
                async { if self.is_needed { sleep(RETRY).await } else { std::future::pending().await } };
            tokio::select! {
                () = pause => {}
                question = self.questions.recv() => match question {
                    None => return,
                    Some(question) => {
                        self.is_needed |= question.is_need;
                        waiting = Some(question);
                    }
                },
            }
        }
    }

    /// Asks what there is to ask. Returns when the engine has no more questions, or the gateway no more answers.
    async fn converse(&mut self, mut frames: Frames, first: Option<Question>) -> io::Result<()> {
        if let Some(question) = first {
            self.put(&mut frames, question).await?;
        }
        loop {
            tokio::select! {
                question = self.questions.recv() => match question {
                    Some(question) => self.put(&mut frames, question).await?,
                    None => return Ok(()),
                },
                said = frames.next() => match said? {
                    Some(said) => self.listen_to(&said),
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                },
            }
        }
    }

    /// Puts a question; one that gets no answer is answered so.
    async fn put(&mut self, frames: &mut Frames, question: Question) -> io::Result<()> {
        if let Ask::Apply(_) = question.ask {
            self.is_needed = question.is_need;
        }
        let answer = self.exchange(frames, &question.ask).await;
        let told = match &answer {
            Ok(_) => None,
            Err(error) => Some(io::Error::new(error.kind(), error.to_string())),
        };
        // Whoever asked may be gone.
        let _ = question.reply.send(answer.map_err(|error| TrafficError::Unreachable(error.to_string())));
        told.map_or(Ok(()), Err)
    }

    async fn exchange(&self, frames: &mut Frames, ask: &Ask) -> io::Result<Reply> {
        let exchanged = async {
            frames.send(ask).await?;
            loop {
                match frames.next().await? {
                    Some(said @ Reply::Wanted(_)) => self.listen_to(&said),
                    Some(reply) => return Ok(reply),
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        };
        timeout(ANSWER, exchanged).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    fn listen_to(&self, said: &Reply) {
        match said {
            // One that is told of too late is wanted again.
            Reply::Wanted(app) => drop(app.parse().map(|app| self.wanted.try_send(app))),
            other => tracing::warn!(?other, "the gateway answered what nobody asked"),
        }
    }

    /// The gateway that is there, or a new one when one is needed. An error is a reason for a person.
    async fn connect(&mut self) -> Result<Frames, String> {
        if let Ok(frames) = self.reach().await {
            match self.greet(frames).await {
                Ok(frames) => return Ok(frames),
                Err(reason) => tracing::info!(reason, "the gateway that is there is exchanged"),
            }
            self.wait_for_end().await?;
        }
        if !self.is_needed {
            return Err("it does not run".to_owned());
        }
        let mut child = self.start().map_err(|error| format!("it cannot be started: {error}"))?;
        let deadline = Instant::now() + START;
        loop {
            if let Ok(frames) = self.reach().await {
                return self.greet(frames).await;
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("it ended at once ({status}): {}", self.last_words()));
            }
            if Instant::now() >= deadline {
                return Err(format!("it was started and does not answer: {}", self.last_words()));
            }
            sleep(LOOK).await;
        }
    }

    async fn reach(&self) -> io::Result<Frames> {
        let socket = self.folder.socket()?;
        UnixStream::connect(socket.path()).await.map(Frames::new)
    }

    /// Makes sure that it is one that this engine can talk to, on the addresses that are asked for; one that is not is
    /// told to end.
    async fn greet(&self, mut frames: Frames) -> Result<Frames, String> {
        let hello = self.exchange(&mut frames, &Ask::Hello { protocol: PROTOCOL }).await;
        let Reply::Hello { protocol, pid, listen, .. } = hello.map_err(|error| error.to_string())? else {
            return Err("it does not say who it is".to_owned());
        };
        let is_same = |(wanted, has): (&SocketAddr, &SocketAddr)| {
            wanted.ip() == has.ip() && (wanted.port() == 0 || wanted.port() == has.port())
        };
        let reason = if protocol != PROTOCOL {
            format!("it speaks version {protocol} of the protocol, this engine version {PROTOCOL}")
        } else if listen.len() != self.listen.len() || !self.listen.iter().zip(&listen).all(is_same) {
            format!("it listens on {listen:?}, and is to listen on {:?}", self.listen)
        } else {
            tracing::info!(pid, ?listen, "the gateway is there");
            return Ok(frames);
        };
        // One that does not understand this is ended by its process id.
        if self.exchange(&mut frames, &Ask::Stop).await.is_err()
            && let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        Err(reason)
    }

    async fn wait_for_end(&self) -> Result<(), String> {
        let deadline = Instant::now() + END;
        loop {
            match self.folder.lock() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) if Instant::now() < deadline => sleep(LOOK).await,
                Ok(None) => return Err("it was told to end and does not".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        self.folder.make()?;
        let log = self.folder.log()?;
        Command::new(&self.program.program)
            .args(&self.program.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(false)
            .spawn()
    }

    /// The last line of the gateway's log.
    fn last_words(&self) -> String {
        const TAIL: u64 = 4096;
        let read = || -> io::Result<String> {
            let mut log = std::fs::File::open(self.folder.log_path())?;
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).lines().last().unwrap_or_default().to_owned())
        };
        read().unwrap_or_else(|error| format!("its log cannot be read: {error}"))
    }
}

fn unexpected(reply: &Reply) -> TrafficError {
    match reply {
        Reply::Refused(reason) => TrafficError::Unreachable(format!("it refused: {reason}")),
        other => TrafficError::Unreachable(format!("it answered something else: {other:?}")),
    }
}
