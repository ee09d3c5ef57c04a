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
        let (text, value) = match total {
            Some(total) => (format!("{done} of {total} {unit}"), format!("{done}/{total}")),
            None => (format!("{done} {unit}"), done.to_string()),
        };
        write(Level::Info, &text, &[("yuanli.progress".to_owned(), value)]);
    }
}

/// `yuanli:context`
pub mod context {
    pub use crate::bindings::yuanli::context::context::Attempt;
    use crate::mock::{BEGIN, TIMEOUT, WORKFLOW, with};

    pub fn current() -> Attempt {
        Attempt {
            run: "01m80000000000000000000000".to_owned(),
            workflow: WORKFLOW.to_owned(),
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
    use crate::mock::{effect, with};

    pub fn read(path: &str) -> Result<Vec<u8>, Error> {
        with(|mock| mock.files.read(path))
    }

    pub fn write(path: &str, content: &[u8]) -> Result<(), Error> {
        effect(|mock| mock.files.write(path, content))
    }

    pub fn remove(path: &str) -> Result<(), Error> {
        effect(|mock| mock.files.remove(path))
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
    pub use crate::bindings::yuanli::containers::containers::{
        Command, Ending, Error, Executed, Exit, Probe, Readiness, Request, WorkspaceMount,
    };
    use crate::mock::{Ran, effect, run_command, run_container};

    /// A container that has ended already, or serves.
    #[derive(Debug)]
    pub struct Container {
        image: String,
        ran: Ran,
        /// The files that it was asked to hand over.
        handed: Vec<String>,
    }

    /// A command that was prepared.
    #[derive(Debug)]
    pub struct Execution {
        image: String,
        command: Command,
    }

    pub fn start(request: &Request) -> Result<Container, Error> {
        let files = request.options.iter().filter(|(key, _)| key == "file");
        let handed = files.map(|(_, path)| path.clone()).collect();
        run_container(request).map(|ran| Container { image: request.image.clone(), ran, handed })
    }

    /// Containers that serve never end.
    pub fn wait_any(containers: &[&Container]) -> Result<u32, Error> {
        let place = containers.iter().position(|container| container.ran.serves.is_none());
        let place = place.expect("the stage waits for ever: all these containers serve");
        Ok(u32::try_from(place).unwrap_or(u32::MAX))
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
            effect(|_| Ok(()))
        }

        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn read_file(&self, path: &str, most_bytes: u32) -> Result<Vec<u8>, Error> {
            let content = self.ran.files.get(path).map(Vec::as_slice);
            let is_handed = || self.handed.iter().any(|handed| handed == path).then_some(&[][..]);
            match content.or_else(is_handed) {
                Some(content) if content.len() <= most_bytes as usize => Ok(content.to_vec()),
                Some(_) => Err(Error::Invalid(format!("`{path}` has more than {most_bytes} bytes"))),
                None => Err(Error::Invalid(format!("the container hands over no file `{path}`"))),
            }
        }

        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn wait_ready(&self, _: &Probe, _: u32, _: u32) -> Result<Readiness, Error> {
            Ok(self.ran.serves.clone().unwrap_or(Readiness::Ended(self.ran.exit)))
        }

        /// Only what serves goes on.
        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn prepare(&self, command: &Command) -> Result<Execution, Error> {
            effect(|mock| mock.check_command(command))?;
            match self.ran.serves {
                Some(_) => Ok(Execution { image: self.image.clone(), command: command.clone() }),
                None => Err(Error::Invalid("the container does not run".to_owned())),
            }
        }
    }

    impl Execution {
        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn run(&self) -> Result<Ending, Error> {
            run_command(&self.image, &self.command)
        }
    }
}

/// `yuanli:volumes`
pub mod volumes {
    pub use crate::bindings::yuanli::volumes::volumes::{Error, Usage, Volume};
    use crate::mock::{WORKFLOW, effect, with};

    pub fn create(name: &str) -> Result<bool, Error> {
        let name = checked(name)?;
        effect(|mock| {
            let is_new = !mock.volumes.contains_key(name);
            mock.volumes.entry(name.to_owned()).or_insert_with(|| Some(WORKFLOW.to_owned()));
            Ok(is_new)
        })
    }

    pub fn inspect(name: &str) -> Result<Option<Volume>, Error> {
        let name = checked(name)?;
        Ok(with(|mock| mock.volumes.get_key_value(name).map(told)))
    }

    pub fn list() -> Result<Vec<Volume>, Error> {
        Ok(with(|mock| mock.volumes.iter().map(told).collect()))
    }

    /// Nothing is in the volumes of a mock, and its containers have ended.
    pub fn measure(name: &str) -> Result<Usage, Error> {
        match inspect(name)? {
            Some(_) => Ok(Usage { size_bytes: Some(0), containers: 0, details: Vec::new() }),
            None => Err(Error::NotFound(format!("the mock has no volume `{name}`"))),
        }
    }

    pub fn remove(name: &str) -> Result<(), Error> {
        let name = checked(name)?;
        effect(|mock| match mock.volumes.get(name) {
            Some(None) => Err(Error::InUse(format!("volume `{name}` was made by an app, not by a stage"))),
            Some(Some(_)) | None => {
                mock.volumes.remove(name);
                Ok(())
            }
        })
    }

    fn told((name, maker): (&String, &Option<String>)) -> Volume {
        Volume { name: name.clone(), workflow: maker.clone(), details: Vec::new() }
    }

    fn checked(name: &str) -> Result<&str, Error> {
        let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let begins_well = name.starts_with(|first: char| first.is_ascii_lowercase());
        if begins_well && name.len() <= 63 && name.bytes().all(is_known) {
            Ok(name)
        } else {
            Err(Error::Invalid(format!("`{name}` is no name of a volume")))
        }
    }
}

/// `yuanli:images`
pub mod images {
    pub use crate::bindings::yuanli::images::images::{BuildRequest, Error, Image};
    use crate::mock::{ask, effect};

    /// A build that has ended already.
    #[derive(Debug)]
    pub struct Build {
        outcome: Result<Image, Error>,
    }

    pub fn start_build(request: &BuildRequest) -> Result<Build, Error> {
        effect(|_| ());
        Ok(Build { outcome: ask(|test| test.build(request)) })
    }

    impl Build {
        #[expect(clippy::missing_errors_doc, reason = "as the host's")]
        pub fn wait(&self) -> Result<Image, Error> {
            self.outcome.clone()
        }
    }

    pub fn inspect(image: &str) -> Result<Image, Error> {
        ask(|test| test.inspect_image(image))
    }

    pub fn read_files(image: &str, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        ask(|test| test.read_image_files(image, paths))
    }

    pub fn save(images: &[String], path: &str) -> Result<u64, Error> {
        let archive = ask(|test| test.save_images(images))?;
        effect(|mock| mock.files.write(path, &archive))
            .map_err(|error| Error::Invalid(format!("{error:?}")))?;
        Ok(archive.len() as u64)
    }

    pub fn load(path: &str) -> Result<Vec<Image>, Error> {
        let archive = effect(|mock| mock.files.read(path));
        let archive = archive.map_err(|error| Error::NotFound(format!("{error:?}")))?;
        ask(|test| test.load_images(&archive))
    }

    pub fn tag(image: &str, name: &str) -> Result<(), Error> {
        effect(|_| ());
        ask(|test| test.tag(image, name))
    }

    pub fn remove(image: &str) -> Result<(), Error> {
        effect(|_| ());
        ask(|test| test.remove_image(image))
    }
}

/// `yuanli:registries`
pub mod registries {
    use super::secrets::Secret;
    pub use crate::bindings::yuanli::registries::registries::{Error, Published, Pulled, Throttling};
    use crate::mock::{ask, effect, with};

    type Options = [(String, String)];

    fn check(username: Option<&str>, password: Option<&Secret>) -> Result<(), Error> {
        let is_whole = username.is_some() == password.is_some();
        is_whole.then_some(()).ok_or_else(|| Error::Invalid("a login is a user and a secret".to_owned()))
    }

    pub fn push(
        image: &str,
        username: Option<&str>,
        password: Option<&Secret>,
        options: &Options,
    ) -> Result<Published, Error> {
        check(username, password)?;
        effect(|_| ());
        match options.iter().find(|(key, _)| key == "image") {
            Some((_, source)) => ask(|test| test.push_as(source, image, username)),
            None => ask(|test| test.push(image, username)),
        }
    }

    pub fn pull(
        image: &str,
        username: Option<&str>,
        password: Option<&Secret>,
        options: &Options,
    ) -> Result<Pulled, Error> {
        check(username, password)?;
        effect(|_| ());
        let option = |wanted| options.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
        let platform = option("platform");
        if option("when").is_some() {
            if with(|mock| mock.has_image(image)) {
                return Ok(Pulled { id: image.to_owned(), digest: None, is_new: false, details: Vec::new() });
            }
            if with(|mock| !mock.has_answers()) {
                return Err(Error::NotFound(format!("the mock has no image `{image}`, and no registry")));
            }
        }
        ask(|test| test.pull(image, platform, username))
    }

    pub fn find(
        image: &str,
        username: Option<&str>,
        password: Option<&Secret>,
        _: &Options,
    ) -> Result<Published, Error> {
        check(username, password)?;
        ask(|test| test.find_published(image, username))
    }
}

/// `yuanli:source`
pub mod source {
    use super::secrets::Secret;
    pub use crate::bindings::yuanli::source::source::{Checkout, Error, Fetched, GitRequest};
    use crate::mock::{ask, effect};

    pub fn fetch(
        request: &GitRequest,
        into: &str,
        username: Option<&str>,
        password: Option<&Secret>,
        options: &[(String, String)],
    ) -> Result<Fetched, Error> {
        if username.is_some() != password.is_some() {
            return Err(Error::Invalid("a login is a user and a secret".to_owned()));
        }
        effect(|_| ());
        ask(|test| test.fetch(request, into, username, options))
    }

    pub fn copy(path: &str, into: &str) -> Result<Fetched, Error> {
        effect(|_| ());
        ask(|test| test.copy(path, into))
    }

    pub fn git(request: &GitRequest, into: &str) -> Result<Checkout, Error> {
        effect(|_| ());
        ask(|test| test.git(request, into))
    }

    pub fn folder(path: &str, into: &str) -> Result<Checkout, Error> {
        effect(|_| ());
        ask(|test| test.folder(path, into))
    }
}

/// `yuanli:apps`
pub mod apps {
    pub use crate::bindings::yuanli::apps::apps::{Error, Outcome, Settled, Status, Wish};
    use crate::mock::{ask, effect};

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
        effect(|_| ());
        ask(|test| test.deploy(document))
    }

    pub fn scale(app: &str, wish: Wish) -> Result<u32, Error> {
        effect(|_| ());
        ask(|test| test.scale(app, wish))
    }

    pub fn wait_scaled(app: &str, timeout_ms: u64) -> Result<u32, Error> {
        ask(|test| test.wait_scaled(app, timeout_ms))
    }

    pub fn inspect(app: &str) -> Result<Status, Error> {
        ask(|test| test.inspect_app(app))
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
            effect(|_| ());
            ask(|test| test.undo(self.release, reason))
        }
    }
}

/// `yuanli:traffic`
pub mod traffic {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    pub use crate::bindings::yuanli::traffic::traffic::{Error, Happening, Plan, Step, Verdict};
    use crate::mock::{ask, effect};

    /// A gray release that a test made up.
    #[derive(Debug)]
    pub struct GrayRelease {
        release: u32,
        happenings: RefCell<VecDeque<Happening>>,
    }

    pub fn begin(document: &str, plan: &Plan) -> Result<GrayRelease, Error> {
        let document = serde_json::from_str(document).map_err(|e| Error::Invalid(e.to_string()))?;
        effect(|_| ());
        ask(|test| test.begin(document, plan))
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
            effect(|_| ());
            ask(|test| test.abort(self.release, reason))
        }
    }
}

/// `yuanli:metrics`
pub mod metrics {
    pub use crate::bindings::yuanli::metrics::metrics::{AppMetrics, Error, ReleaseCounts};
    use crate::mock::ask;

    pub fn query(app: &str) -> Result<AppMetrics, Error> {
        ask(|test| test.query(app))
    }
}

/// `yuanli:backups`
pub mod backups {
    pub use crate::bindings::yuanli::backups::backups::{Error, Extent, Snapshot};
    use crate::mock::{ask, effect};

    pub fn create(volume: &str, repository: &str, pause_ms: u64) -> Result<Snapshot, Error> {
        effect(|_| ());
        ask(|test| test.back_up(volume, repository, pause_ms))
    }

    pub fn snapshots(repository: &str, volume: &str) -> Result<Vec<Snapshot>, Error> {
        ask(|test| test.snapshots(repository, volume))
    }

    pub fn verify(repository: &str, snapshot: &str) -> Result<Extent, Error> {
        ask(|test| test.verify(repository, snapshot))
    }

    pub fn restore(repository: &str, snapshot: &str, volume: &str) -> Result<Extent, Error> {
        effect(|_| ());
        ask(|test| test.restore(repository, snapshot, volume))
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
        let (is_own, is_there) = with(|mock| (mock.handles.contains(name), mock.secrets.contains_key(name)));
        match (is_own, is_there) {
            (true, true) => Ok(Secret { name: name.to_owned() }),
            (true, false) => Err(Error::NotFound(format!("the mock has no secret `{name}`"))),
            (false, _) => Err(Error::Denied(format!("the config has no handle of the secret `{name}`"))),
        }
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
    use crate::mock::{ask, effect};

    pub fn send(request: &Request, secrets: &[&Secret]) -> Result<Response, Error> {
        for (key, value) in &request.options {
            let is_place = value.parse().is_ok_and(|place: usize| place < secrets.len());
            if !["sign-with", "url-secret"].contains(&key.as_str()) || !is_place {
                return Err(Error::Invalid(format!(
                    "no request has the option `{key}` like this: `{value}`"
                )));
            }
        }
        effect(|_| ());
        ask(|test| test.send(request))
    }
}

/// `yuanli:state`
pub mod state {
    pub use crate::bindings::yuanli::state::state::{Entry, Error};
    use crate::mock::{effect, with};

    pub fn get(key: &str) -> Result<Option<Entry>, Error> {
        with(|mock| mock.kept.get(key))
    }

    pub fn set(key: &str, value: &[u8]) -> Result<u64, Error> {
        effect(|mock| mock.kept.set(key, None, value))
    }

    pub fn compare_and_set(key: &str, expected: Option<u64>, value: &[u8]) -> Result<u64, Error> {
        effect(|mock| mock.kept.set(key, Some(expected), value))
    }

    pub fn delete(key: &str) -> Result<bool, Error> {
        effect(|mock| mock.kept.delete(key))
    }

    pub fn list(prefix: &str, after: Option<&str>) -> Result<Vec<Entry>, Error> {
        Ok(with(|mock| mock.kept.page(prefix, after)))
    }
}

/// `yuanli:artifacts`
pub mod artifacts {
    pub use crate::bindings::yuanli::artifacts::artifacts::{Artifact, Error};
    use crate::mock::{effect, with};

    pub fn put(name: &str, media_type: &str, content: &[u8]) -> Result<Artifact, Error> {
        effect(|mock| mock.kept.put(name, media_type, content))
    }

    pub fn put_file(name: &str, media_type: &str, path: &str) -> Result<Artifact, Error> {
        effect(|mock| {
            let content = mock.files.read(path).map_err(of_workspace)?;
            mock.kept.put(name, media_type, &content)
        })
    }

    pub fn list() -> Result<Vec<Artifact>, Error> {
        Ok(with(|mock| mock.kept.before()))
    }

    pub fn read(stage: &str, instance: u32, name: &str, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        with(|mock| mock.kept.read((stage, instance, name), offset, length))
    }

    pub fn read_to_file(stage: &str, instance: u32, name: &str, path: &str) -> Result<u64, Error> {
        effect(|mock| {
            let content = mock.kept.content(stage, instance, name)?.to_vec();
            mock.files.write(path, &content).map_err(of_workspace)?;
            Ok(content.len() as u64)
        })
    }

    fn of_workspace(error: crate::workspace::Error) -> Error {
        match error {
            crate::workspace::Error::NotFound(message) => Error::NotFound(message),
            other => Error::Invalid(format!("{other:?}")),
        }
    }
}

/// `yuanli:events`
pub mod events {
    pub use crate::bindings::yuanli::events::events::Error;
    use crate::mock::effect;

    pub fn emit(kind: &str, data: &str, subject: Option<&str>) -> Result<String, Error> {
        effect(|mock| mock.kept.emit(kind, data, subject))
    }
}
