//! Pushing to registries and pulling from them, by the engine that has the images.
//!
//! The engine says what a registry said as text alone, also where the registry gave a status; [`explain`] reads it.

use std::sync::LazyLock;

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::query_parameters::{CreateImageOptions, PushImageOptions};
use futures::StreamExt;
use regex::Regex;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::registries::{Login, Pulled, Push, RegistryError};
use yuanli_ports::{Cancellation, Registries};

use crate::connection::Docker;
use crate::credentials::{self, Credentials};
use crate::fault::Fault;
use crate::reference;

type Progress<'a> = &'a (dyn Fn(String) + Send + Sync);

/// The last line of a push: `1.4: digest: sha256:… size: 1234`.
static PUSHED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\S+: digest: (sha256:[0-9a-f]{64}) size: \d+$").expect("a pattern that is tested below")
});

/// The line of a pull that says what came: `Digest: sha256:…`.
const DIGEST: &str = "Digest: ";
/// The last line of a pull, where something was fetched.
const IS_NEW: &str = "Downloaded newer image";

#[async_trait]
impl Registries for Docker {
    async fn push(
        &self,
        push: Push<'_>,
        progress: Progress<'_>,
        cancel: &Cancellation,
    ) -> Result<String, RegistryError> {
        let Push { name, image, login } = push;
        let Some(image) = image else {
            return unless(cancel, self.push_image(name, login, progress)).await;
        };
        let _alone = unless(cancel, async { Ok(self.lent.alone(name).await) }).await?;
        let lent = self.lend(image, name).await?;
        let pushed = unless(cancel, self.push_image(name, login, progress)).await;
        self.take_back(lent, progress).await;
        pushed
    }

    async fn pull(
        &self,
        image: &str,
        platform: Option<&str>,
        login: Option<&Login>,
        progress: Progress<'_>,
        cancel: &Cancellation,
    ) -> Result<Pulled, RegistryError> {
        unless(cancel, self.pull_image(image, platform, login, progress)).await
    }

    async fn find(&self, image: &str, login: Option<&Login>) -> Result<String, RegistryError> {
        let name = reference::registry_name(image)?;
        let credentials = credentials::of(login, self.settings(), name.host).await?;
        let client = self.client().await?;
        let asked = client.inspect_registry_image(image, Some(credentials.for_docker(name.host)));
        match self.call("ask the registry", asked).await {
            Ok(found) => found.descriptor.digest.ok_or_else(|| {
                RegistryError::Failed(format!("{} named `{image}` and did not say its digest", name.host))
            }),
            Err(Fault::Refused { message, .. }) => {
                Err(explain(&message, &format!("find `{image}`"), name.host, &credentials))
            }
            Err(fault) => Err(ContainerError::from(fault).into()),
        }
    }
}

/// What comes first: the end of the work, or a wish that it end. The engine gives up what nobody reads the answer of.
async fn unless<T>(
    cancel: &Cancellation,
    work: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(RegistryError::Cancelled),
        outcome = work => outcome,
    }
}

impl Docker {
    async fn push_image(
        &self,
        image: &str,
        login: Option<&Login>,
        progress: Progress<'_>,
    ) -> Result<String, RegistryError> {
        let (repository, tag) = reference::parse_tag(image)?;
        let host = reference::registry_name(image)?.host;
        let credentials = credentials::of(login, self.settings(), host).await?;
        let client = self.streaming().await?;
        let options = PushImageOptions { tag: Some(tag.to_owned()), ..PushImageOptions::default() };
        let mut records = client.push_image(repository, Some(options), Some(credentials.for_docker(host)));
        let (mut layers, mut digest) = (Layers::default(), None);
        while let Some(record) = records.next().await {
            let record = record.map_err(|error| self.refused(error, "push", image, host, &credentials))?;
            let Some(status) = record.status else { continue };
            if let Some(found) = PUSHED.captures(&status) {
                digest = Some(found[1].to_owned());
            }
            layers.note(&status).into_iter().for_each(progress);
        }
        digest.ok_or_else(|| {
            RegistryError::Failed(format!("Docker pushed `{image}` to {host} and did not say its digest"))
        })
    }

    async fn pull_image(
        &self,
        image: &str,
        platform: Option<&str>,
        login: Option<&Login>,
        progress: Progress<'_>,
    ) -> Result<Pulled, RegistryError> {
        let name = reference::registry_name(image)?;
        let credentials = credentials::of(login, self.settings(), name.host).await?;
        let client = self.streaming().await?;
        let options = CreateImageOptions {
            from_image: Some(name.repository.to_owned()),
            tag: Some(name.version.to_owned()),
            platform: platform.unwrap_or_default().to_owned(),
            ..CreateImageOptions::default()
        };
        let mut records = client.create_image(Some(options), None, Some(credentials.for_docker(name.host)));
        let (mut digest, mut is_new) = (None, false);
        while let Some(record) = records.next().await {
            let record =
                record.map_err(|error| self.refused(error, "pull", image, name.host, &credentials))?;
            // The bars, which have a detail, are left out.
            let has_bar = record.progress_detail.is_some_and(|detail| detail.total.is_some());
            let (Some(status), false) = (record.status, has_bar) else { continue };
            digest = status.strip_prefix(DIGEST).map(str::to_owned).or(digest);
            is_new |= status.contains(IS_NEW);
            progress(record.id.map_or_else(|| status.clone(), |id| format!("{id}: {status}")));
        }
        let id = self.inspect_image(image).await?.id;
        Ok(Pulled { id, digest, is_new })
    }

    fn refused(
        &self,
        error: Error,
        verb: &str,
        image: &str,
        host: &str,
        credentials: &Credentials,
    ) -> RegistryError {
        let doing = format!("{verb} `{image}`");
        match error {
            Error::DockerStreamError { error } => explain(error.trim(), &doing, host, credentials),
            error => match Fault::new(error, &doing, &self.host()) {
                Fault::Refused { message, .. } => explain(&message, &doing, host, credentials),
                Fault::Other(error) => error.into(),
            },
        }
    }
}

/// How far a push is, in a line for each layer that is done.
#[derive(Debug, Default)]
struct Layers {
    all: usize,
    done: usize,
}

impl Layers {
    fn note(&mut self, status: &str) -> Option<String> {
        match status {
            "Preparing" => self.all += 1,
            "Waiting" | "Pushing" => {}
            "Pushed" | "Layer already exists" => {
                self.done += 1;
                let what = if status == "Pushed" { "pushed" } else { "is there already" };
                return Some(format!("layer {} of {} {what}", self.done, self.all));
            }
            other if other.starts_with("Mounted from ") => {
                self.done += 1;
                let from = other.trim_start_matches("Mounted from ");
                return Some(format!("layer {} of {} is there, in {from}", self.done, self.all));
            }
            other => return Some(other.to_owned()),
        }
        None
    }
}

/// What a registry's refusal means. The codes (`unauthorized`, `toomanyrequests`, …) are those of the distribution
/// specification of the Open Container Initiative, which the engine passes on in front of the message.
fn explain(message: &str, doing: &str, host: &str, credentials: &Credentials) -> RegistryError {
    let text = without_names(message, doing, host).to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let message = &credentials.hidden(message);
    let said = |more: &str| format!("cannot {doing}: {host} says: {message}{more}");
    if has(&["toomanyrequests", "too many requests", "status: 429"]) {
        return RegistryError::Throttled { message: said(""), after: None };
    }
    if has(&["unauthorized", "no basic auth credentials", "authentication required", "denied", "forbidden"]) {
        return RegistryError::Denied(said(&credentials.in_words(host)));
    }
    if has(&["x509", "certificate", "server gave http response to https client"]) {
        return RegistryError::Invalid(said(&format!(
            ". Docker has to trust it: put the certificate of its authority at /etc/docker/certs.d/{host}/ca.crt on the \
             machine of the engine"
        )));
    }
    if has(&["manifest unknown", "name unknown", "not found", "does not exist", "no such image"]) {
        return RegistryError::NotFound(said(""));
    }
    if has(&["invalid reference", "invalid repository", "no matching manifest", "unknown operating system"]) {
        return RegistryError::Invalid(said(""));
    }
    if has(&[
        "connection re",
        "no such host",
        "dial tcp",
        "timeout",
        "eof",
        "broken pipe",
        "server misbehaving",
    ]) {
        return RegistryError::Unreachable(format!(
            "cannot {doing}: {host} cannot be reached by Docker: {message}"
        ));
    }
    RegistryError::Failed(said(""))
}

/// The text without what somebody chose: the name of a host or an image may have any word in it.
fn without_names(message: &str, doing: &str, host: &str) -> String {
    static DIGESTS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("sha256:[0-9a-f]{64}").expect("a pattern that is tested below"));
    let image = doing.split('`').nth(1).unwrap_or_default();
    let path = image.strip_prefix(host).unwrap_or(image).trim_start_matches('/');
    let bare = path.split(['@', ':']).next().unwrap_or_default();
    let names = [image, path, host, bare].into_iter().filter(|name| !name.is_empty());
    let text = DIGESTS.replace_all(message, "").into_owned();
    names.fold(text, |text, name| {
        // As a word: an image may be called `x`.
        let word = Regex::new(&format!("(^|[^A-Za-z0-9]){}($|[^A-Za-z0-9])", regex::escape(name)));
        word.map_or_else(|_| text.clone(), |word| word.replace_all(&text, "$1$2").into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(message: &str) -> String {
        let why = explain(message, "push `r.example.com/x:1`", "r.example.com", &Credentials::Nobody(None));
        format!("{why:?}").split(['(', ' ']).next().expect("a name").to_owned()
    }

    #[test]
    fn what_registries_say_is_told_apart() {
        for (message, expected) in [
            ("unauthorized: authentication required", "Denied"),
            ("denied: requested access to the resource is denied", "Denied"),
            ("no basic auth credentials", "Denied"),
            ("toomanyrequests: You have reached your pull rate limit.", "Throttled"),
            ("received unexpected HTTP status: 429 Too Many Requests", "Throttled"),
            ("manifest for r.example.com/x:1 not found: manifest unknown: manifest unknown", "NotFound"),
            ("An image does not exist locally with the tag: r.example.com/x", "NotFound"),
            ("Get \"https://r.example.com/v2/\": x509: certificate signed by unknown authority", "Invalid"),
            ("Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client", "Invalid"),
            ("Get \"http://r/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused", "Unreachable"),
            ("Get \"https://r/v2/\": dial tcp: lookup r: no such host", "Unreachable"),
            ("unexpected EOF", "Unreachable"),
            ("received unexpected HTTP status: 500 Internal Server Error", "Failed"),
        ] {
            assert_eq!(kind(message), expected, "{message}");
        }
    }

    #[test]
    fn what_somebody_chose_is_not_what_a_registry_says() {
        let host = "geoffrey.example.com";
        let digest = format!("sha256:{}", "429".repeat(22)[..64].to_owned());
        for (name, message) in [
            ("denied-svc:1", format!("received unexpected HTTP status: 500 ({host}/denied-svc:1)")),
            ("x:1.429", format!("manifest {host}/x:1.429@{digest} failed")),
        ] {
            let doing = format!("push `{host}/{name}`");
            let why = explain(&message, &doing, host, &Credentials::Nobody(None));
            assert!(matches!(why, RegistryError::Failed(_)), "{why:?}");
        }
    }

    #[test]
    fn the_digest_of_a_push_stands_in_its_last_line() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let found =
            PUSHED.captures(&format!("1.4: digest: {digest} size: 528")).map(|found| found[1].to_owned());
        assert_eq!(found.as_deref(), Some(digest.as_str()));
        assert!(PUSHED.captures("1.4: digest: md5:ab size: 528").is_none());
    }

    #[test]
    fn a_push_tells_of_each_layer_that_is_done() {
        let mut layers = Layers::default();
        let said: Vec<String> =
            ["The push refers to repository [x]", "Preparing", "Preparing", "Pushing", "Pushed"]
                .into_iter()
                .chain(["Layer already exists", "Mounted from library/base"])
                .filter_map(|status| layers.note(status))
                .collect();
        assert_eq!(
            said,
            [
                "The push refers to repository [x]",
                "layer 1 of 2 pushed",
                "layer 2 of 2 is there already",
                "layer 3 of 2 is there, in library/base",
            ]
        );
    }
}
