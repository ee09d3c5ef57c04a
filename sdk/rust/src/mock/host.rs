//! The functions of `wit/`, as bindings have them, on the mock of this thread.
//!
//! Records and variants are those of the bindings; resources are not, as theirs call the host when they are dropped.

/// `yuanli:log`
pub mod log {
    pub use crate::bindings::yuanli::log::log::Level;
    use crate::mock::{Line, with};

    pub fn write(level: Level, message: &str, fields: &[(String, String)]) {
        with(|mock| mock.log.push(Line { level, text: message.to_owned(), fields: fields.to_vec() }));
    }

    pub fn begin_group(title: &str) {
        write(Level::Info, title, &[("yuanli.group".to_owned(), "begin".to_owned())]);
    }

    pub fn end_group() {
        write(Level::Info, "", &[("yuanli.group".to_owned(), "end".to_owned())]);
    }

    pub fn progress(done: u64, total: Option<u64>, unit: &str) {
        let text =
            total.map_or_else(|| format!("{done} {unit}"), |total| format!("{done} of {total} {unit}"));
        write(Level::Info, &text, &[("yuanli.progress".to_owned(), done.to_string())]);
    }
}

/// `yuanli:context`
pub mod context {
    pub use crate::bindings::yuanli::context::context::Attempt;
    use crate::mock::{BEGIN, TIMEOUT, with};

    pub fn current() -> Attempt {
        Attempt {
            run: "01m80000000000000000000000".to_owned(),
            workflow: "mock".to_owned(),
            stage: "mock".to_owned(),
            instance: 0,
            attempt: 1,
        }
    }

    pub fn deadline() -> u64 {
        (BEGIN + TIMEOUT).as_millis() as u64
    }

    pub fn is_cancelled() -> bool {
        with(|mock| mock.is_cancelled)
    }

    pub fn effect_key() -> String {
        with(|mock| format!("mock-{}", mock.effects + 1))
    }
}

/// `yuanli:clock`
pub mod clock {
    use std::time::Duration;

    use crate::mock::with;

    pub fn now() -> u64 {
        with(|mock| mock.now.as_millis() as u64)
    }

    /// The clock of a mock goes on when it is waited for, and only then.
    pub fn sleep(milliseconds: u64) {
        with(|mock| mock.now += Duration::from_millis(milliseconds));
    }
}

/// `yuanli:random`
pub mod random {
    pub use crate::bindings::yuanli::random::random::Error;
    use crate::mock::with;

    const MAX_BYTES: u32 = 65_536;

    /// The same ones in each test.
    pub fn bytes(length: u32) -> Result<Vec<u8>, Error> {
        if length > MAX_BYTES {
            return Err(Error::TooLarge(format!(
                "{length} bytes were asked for; at most {MAX_BYTES} are given"
            )));
        }
        let byte = |state: &mut u64| {
            // Knuth's generator, of which the high bits are good.
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 56) as u8
        };
        Ok(with(|mock| (0..length).map(|_| byte(&mut mock.random)).collect()))
    }
}

/// `yuanli:workspace`
pub mod workspace {
    pub use crate::bindings::yuanli::workspace::workspace::{Entry, Error, Kind};
    use crate::mock::with;

    pub fn read(path: &str) -> Result<Vec<u8>, Error> {
        with(|mock| mock.files.read(path))
    }

    pub fn write(path: &str, content: &[u8]) -> Result<(), Error> {
        with(|mock| mock.files.write(path, content))
    }

    pub fn remove(path: &str) -> Result<(), Error> {
        with(|mock| mock.files.remove(path))
    }

    pub fn inspect(path: &str) -> Result<Option<Entry>, Error> {
        with(|mock| mock.files.inspect(path))
    }

    pub fn list(folder: &str) -> Result<Vec<Entry>, Error> {
        with(|mock| mock.files.list(folder))
    }

    pub fn glob(pattern: &str) -> Result<Vec<Entry>, Error> {
        with(|mock| mock.files.glob(pattern))
    }
}

/// `yuanli:containers`
pub mod containers {
    pub use crate::bindings::yuanli::containers::containers::{Error, Exit, Request, WorkspaceMount};
    use crate::mock::{Ran, with};

    /// A container that has ended already.
    #[derive(Debug)]
    pub struct Container {
        ran: Ran,
    }

    pub fn start(request: &Request) -> Result<Container, Error> {
        with(|mock| {
            mock.effects += 1;
            mock.start(request).map(|ran| Container { ran })
        })
    }

    impl Container {
        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn wait(&self) -> Result<Exit, Error> {
            Ok(self.ran.exit)
        }

        #[must_use]
        pub fn tail(&self, lines: u32) -> Vec<String> {
            let output = &self.ran.output;
            output[output.len().saturating_sub(lines as usize)..].to_vec()
        }

        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn stop(&self, _: u32) -> Result<(), Error> {
            Ok(())
        }
    }
}

/// `yuanli:images`
pub mod images {
    pub use crate::bindings::yuanli::images::images::{BuildRequest, Error, Image};
    use crate::mock::with;

    /// A build that has ended already.
    #[derive(Debug)]
    pub struct Build {
        outcome: Result<Image, Error>,
    }

    pub fn start_build(request: &BuildRequest) -> Result<Build, Error> {
        with(|mock| {
            mock.effects += 1;
            Ok(Build { outcome: mock.answers.build(request) })
        })
    }

    impl Build {
        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn wait(&self) -> Result<Image, Error> {
            self.outcome.clone()
        }
    }

    pub fn inspect(image: &str) -> Result<Image, Error> {
        with(|mock| mock.answers.inspect_image(image))
    }

    pub fn tag(image: &str, name: &str) -> Result<(), Error> {
        with(|mock| mock.answers.tag(image, name))
    }

    pub fn remove(image: &str) -> Result<(), Error> {
        with(|mock| mock.answers.remove_image(image))
    }
}

/// `yuanli:source`
pub mod source {
    pub use crate::bindings::yuanli::source::source::{Checkout, Error, GitRequest};
    use crate::mock::with;

    pub fn git(request: &GitRequest, into: &str) -> Result<Checkout, Error> {
        with(|mock| mock.answers.git(request, into))
    }

    pub fn folder(path: &str, into: &str) -> Result<Checkout, Error> {
        with(|mock| mock.answers.folder(path, into))
    }
}

/// `yuanli:apps`
pub mod apps {
    pub use crate::bindings::yuanli::apps::apps::{Error, Outcome, Settled, Status, Wish};
    use crate::mock::with;

    /// A roll-out that a test made up.
    #[derive(Debug, Clone)]
    pub struct Rollout {
        /// The release that it brings.
        pub release: u32,
        /// The release before it.
        pub previous: Option<u32>,
        /// How it settles.
        pub settled: Result<Settled, Error>,
    }

    pub fn deploy(document: &str) -> Result<Rollout, Error> {
        let document = serde_json::from_str(document).map_err(|e| Error::Invalid(e.to_string()))?;
        with(|mock| mock.answers.deploy(document))
    }

    pub fn scale(app: &str, wish: Wish) -> Result<u32, Error> {
        with(|mock| mock.answers.scale(app, wish))
    }

    pub fn wait_scaled(app: &str, timeout_ms: u64) -> Result<u32, Error> {
        with(|mock| mock.answers.wait_scaled(app, timeout_ms))
    }

    pub fn inspect(app: &str) -> Result<Status, Error> {
        with(|mock| mock.answers.inspect_app(app))
    }

    impl Rollout {
        #[must_use]
        pub fn release(&self) -> u32 {
            self.release
        }

        #[must_use]
        pub fn previous(&self) -> Option<u32> {
            self.previous
        }

        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn wait(&self, _: u64) -> Result<Settled, Error> {
            self.settled.clone()
        }

        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn undo(&self, reason: &str) -> Result<(), Error> {
            with(|mock| mock.answers.undo(self.release, reason))
        }
    }
}

/// `yuanli:traffic`
pub mod traffic {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    pub use crate::bindings::yuanli::traffic::traffic::{Error, Happening, Plan, Step, Verdict};
    use crate::mock::with;

    /// A gray release that a test made up.
    #[derive(Debug)]
    pub struct GrayRelease {
        release: u32,
        happenings: RefCell<VecDeque<Happening>>,
    }

    pub fn begin(document: &str, plan: &Plan) -> Result<GrayRelease, Error> {
        let document = serde_json::from_str(document).map_err(|e| Error::Invalid(e.to_string()))?;
        with(|mock| mock.answers.begin(document, plan))
    }

    impl GrayRelease {
        /// One to which this happens, in this order.
        #[must_use]
        pub fn new(release: u32, happenings: impl IntoIterator<Item = Happening>) -> Self {
            Self { release, happenings: RefCell::new(happenings.into_iter().collect()) }
        }

        #[must_use]
        pub fn release(&self) -> u32 {
            self.release
        }

        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn next(&self) -> Result<Option<Happening>, Error> {
            Ok(self.happenings.borrow_mut().pop_front())
        }

        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn abort(&self, reason: &str) -> Result<(), Error> {
            with(|mock| mock.answers.abort(self.release, reason))
        }
    }
}

/// `yuanli:metrics`
pub mod metrics {
    pub use crate::bindings::yuanli::metrics::metrics::{AppMetrics, Error, ReleaseCounts};
    use crate::mock::with;

    pub fn query(app: &str) -> Result<AppMetrics, Error> {
        with(|mock| mock.answers.query(app))
    }
}

/// `yuanli:backups`
pub mod backups {
    pub use crate::bindings::yuanli::backups::backups::{Error, Extent, Snapshot};
    use crate::mock::with;

    pub fn create(volume: &str, repository: &str, pause_ms: u64) -> Result<Snapshot, Error> {
        with(|mock| mock.answers.back_up(volume, repository, pause_ms))
    }

    pub fn snapshots(repository: &str, volume: &str) -> Result<Vec<Snapshot>, Error> {
        with(|mock| mock.answers.snapshots(repository, volume))
    }

    pub fn verify(repository: &str, snapshot: &str) -> Result<Extent, Error> {
        with(|mock| mock.answers.verify(repository, snapshot))
    }

    pub fn restore(repository: &str, snapshot: &str, volume: &str) -> Result<Extent, Error> {
        with(|mock| mock.answers.restore(repository, snapshot, volume))
    }
}

/// `yuanli:secrets`
pub mod secrets {
    pub use crate::bindings::yuanli::secrets::secrets::Error;
    use crate::mock::with;

    /// A secret that a test gave a value.
    #[derive(Debug)]
    pub struct Secret {
        name: String,
    }

    pub fn get(name: &str) -> Result<Secret, Error> {
        let is_known = with(|mock| mock.secrets.contains_key(name));
        let secret = is_known.then(|| Secret { name: name.to_owned() });
        secret.ok_or_else(|| Error::NotFound(format!("the mock has no secret `{name}`")))
    }

    impl Secret {
        #[must_use]
        pub fn name(&self) -> String {
            self.name.clone()
        }
    }
}

/// `yuanli:secrets-reveal`
pub mod secrets_reveal {
    use super::secrets::Secret;
    pub use crate::bindings::yuanli::secrets_reveal::secrets_reveal::Error;
    use crate::mock::with;

    pub fn reveal(secret: &Secret) -> Result<Vec<u8>, Error> {
        let name = secret.name();
        let value = with(|mock| mock.secrets.get(&name).cloned());
        value.ok_or_else(|| Error::NotFound(format!("the mock has no secret `{name}`")))
    }
}

/// `yuanli:http`
pub mod http {
    use super::secrets::Secret;
    pub use crate::bindings::yuanli::http::http::{Error, HeaderValue, Part, Request, Response};
    use crate::mock::with;

    pub fn send(request: &Request, _: &[&Secret]) -> Result<Response, Error> {
        with(|mock| {
            mock.effects += 1;
            mock.answers.send(request)
        })
    }
}
