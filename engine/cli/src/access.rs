//! Runs of a data directory: asked of the engine that owns it, or read here when none does.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use yuanli_api_types::{
    Artifact, Emitted, List, LogLine, Run, RunSummary, RunWhy, StateCleared, StateOwner, StateValue,
};
use yuanli_server::{Engine, Owner, RunFilter, RunId, Selected, WantedArtifact, is_in_use};

use crate::arguments::Global;
use crate::client::Client;
use crate::command::{data, locations};
use crate::context::{Contexts, Named};
use crate::exit::Misuse;

/// How often a data directory is looked at that another command has, and how long is waited in between: two seconds in all.
/// It answers soon, or has done what it was for.
const LOOKS: u32 = 40;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Where the runs are.
pub(crate) enum Access {
    /// In a data directory that nobody else owns.
    Here(Box<Engine>),
    /// With an engine.
    There(Client),
}

/// The engine that is meant and serves; an error when none does.
pub(crate) async fn engine(global: &Global) -> anyhow::Result<Client> {
    match owner(global).await? {
        Some((Owner::Service, client)) => Ok(client),
        Some((Owner::Command, _)) => {
            let data = data(global)?;
            anyhow::bail!(
                "no engine serves {}, a command drives a run in it: once that has ended, start one with `yuanli serve`",
                data.display()
            )
        }
        None => {
            let data = data(global)?;
            anyhow::bail!("no engine serves {}: start one with `yuanli serve`", data.display())
        }
    }
}

/// The engine that is meant, if that is not the one of the data directory: as a flag says, else the environment, else the
/// context that is in use.
fn elsewhere(global: &Global) -> anyhow::Result<Option<Client>> {
    let Global { data, url, context, typed, .. } = global;
    let named = |name: &str| of_context(global, name).map(Some);
    match (url, context) {
        (Some(_), Some(_)) if typed.url && typed.context => {
            Err(Misuse("`--url` and `--context` each name an engine: give one".to_owned()).into())
        }
        (_, Some(name)) if typed.context => named(name),
        (Some(_), _) if !typed.url && typed.data => Ok(None),
        (Some(url), _) => Client::at(url, global.token.clone(), global.ca.as_deref()).map(Some),
        (None, Some(name)) if !typed.data => named(name),
        (None, _) if data.is_some() => Ok(None),
        (None, _) => match Contexts::read()?.current {
            Some(name) => named(&name),
            None => Ok(None),
        },
    }
}

/// The engine of a context. Its token goes nowhere else, and one that the environment has for another engine does not go there.
fn of_context(global: &Global, name: &str) -> anyhow::Result<Client> {
    let contexts = Contexts::read()?;
    let Named { url, token, ca } = contexts.find(name)?;
    let Global { typed, .. } = global;
    let is_of_environment = global.context.is_some() && !typed.context;
    let token = match token {
        _ if typed.token => global.token.clone(),
        Some(place) => Some(place.read()?),
        None => global.token.clone().filter(|_| is_of_environment),
    };
    let own = if typed.ca { None } else { ca.as_deref() };
    Client::at(url, token, own.or(global.ca.as_deref()))
}

/// The engine that is meant, if it is there.
pub(crate) async fn client(global: &Global) -> anyhow::Result<Option<Client>> {
    Ok(owner(global).await?.map(|(_, client)| client))
}

/// The same, and whether it stays.
pub(crate) async fn owner(global: &Global) -> anyhow::Result<Option<(Owner, Client)>> {
    if let Some(client) = elsewhere(global)? {
        return Ok(Some((Owner::Service, client)));
    }
    let data = data(global)?;
    let connected = yuanli_server::connect(&data).await;
    let connected =
        connected.with_context(|| format!("the engine of {} cannot be reached", data.display()))?;
    Ok(connected.map(|(owner, _)| (owner, Client::Socket(data))))
}

/// Does something with the engine of a data directory, which `attempt` looks for and else becomes; again while there is none yet
/// and it cannot be had: whoever owns it is about to answer, or to end.
pub(crate) async fn patiently<T>(mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut looks = 0;
    loop {
        match attempt().await {
            Err(error) if is_in_use(&error) && looks < LOOKS => {
                looks += 1;
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            done => return done,
        }
    }
}

impl Access {
    pub(crate) async fn of(global: &Global) -> anyhow::Result<Self> {
        patiently(async || {
            Ok(match client(global).await? {
                Some(client) => Self::There(client),
                None => Self::Here(Box::new(Engine::open(&locations(global)?).await?)),
            })
        })
        .await
    }

    /// A page of the runs that are meant. One that is not full is the last.
    pub(crate) async fn list(
        &self,
        filter: &RunFilter,
        after: Option<&str>,
        limit: u16,
    ) -> anyhow::Result<List<RunSummary>> {
        let mut page = self.part(filter, after, limit).await?;
        while page.items.len() < usize::from(limit) && page.next.is_some() {
            let left = limit - u16::try_from(page.items.len()).unwrap_or(limit);
            let more = self.part(filter, page.next.as_deref(), left).await?;
            page.items.extend(more.items);
            page.next = more.next;
        }
        Ok(page)
    }

    /// What is found by looking at some of the runs.
    async fn part(
        &self,
        filter: &RunFilter,
        after: Option<&str>,
        limit: u16,
    ) -> anyhow::Result<List<RunSummary>> {
        match self {
            Self::Here(engine) => {
                let page = engine.list(filter, after, limit.into()).await;
                page.map_err(|e| if after.is_some() { Misuse(format!("{e:#}")).into() } else { e })
            }
            Self::There(client) => {
                let after = after.map(|after| format!("&after={}", escaped(after))).unwrap_or_default();
                let workflow =
                    filter.workflow.iter().map(|workflow| format!("&workflow={}", escaped(workflow)));
                let status = filter.status.iter().map(|status| format!("&status={}", status.name()));
                let labels = filter.labels.iter().map(|(name, text)| match text {
                    Some(text) => format!("&label={}", escaped(&format!("{name}={text}"))),
                    None => format!("&label={}", escaped(name)),
                });
                let filter: String = workflow.chain(status).chain(labels).collect();
                client.get(&format!("/api/v1/runs?limit={limit}{after}{filter}")).await
            }
        }
    }

    pub(crate) async fn show(&self, run: &str) -> anyhow::Result<Run> {
        match self {
            Self::Here(engine) => {
                let run = select(engine, run).await?;
                let shown = engine.show(run).await?;
                shown.ok_or_else(|| anyhow::Error::from(Misuse(format!("run {run} has no events"))))
            }
            Self::There(client) => client.get(&format!("/api/v1/runs/{}", escaped(run))).await,
        }
    }

    pub(crate) async fn why(&self, run: &str, stage: Option<&str>) -> anyhow::Result<RunWhy> {
        match self {
            Self::Here(engine) => {
                let run = select(engine, run).await?;
                Ok(engine.why(run, stage).await?.map_err(Misuse)?)
            }
            Self::There(client) => {
                let stage = stage.map(|stage| format!("?stage={}", escaped(stage))).unwrap_or_default();
                client.get(&format!("/api/v1/runs/{}/why{stage}", escaped(run))).await
            }
        }
    }

    pub(crate) async fn logs(
        &self,
        run: &str,
        stage: Option<&str>,
        mut tell: impl FnMut(LogLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Here(engine) => engine.logs(select(engine, run).await?, stage, tell).await,
            Self::There(client) => {
                let stage = stage.map(|stage| format!("?stage={}", escaped(stage))).unwrap_or_default();
                let mut lines = client.lines(&format!("/api/v1/runs/{}/logs{stage}", escaped(run))).await?;
                while let Some(line) = lines.next().await? {
                    tell(line)?;
                }
                Ok(())
            }
        }
    }
}

/// What plugins keep.
impl Access {
    pub(crate) async fn artifacts(&self, run: &str) -> anyhow::Result<Vec<Artifact>> {
        match self {
            Self::Here(engine) => engine.artifacts(select(engine, run).await?).await,
            Self::There(client) => {
                let listed: List<Artifact> =
                    client.get(&format!("/api/v1/runs/{}/artifacts", escaped(run))).await?;
                Ok(listed.items)
            }
        }
    }

    /// Writes the content of an artifact. Says which one it was.
    pub(crate) async fn artifact(
        &self,
        run: &str,
        wanted: &WantedArtifact,
        out: &mut impl Write,
    ) -> anyhow::Result<Artifact> {
        let mut write = |bytes: &[u8]| out.write_all(bytes).context("the artifact cannot be written");
        match self {
            Self::Here(engine) => {
                let run = select(engine, run).await?;
                let mut content = engine.artifact(run, wanted).await?.map_err(Misuse)?;
                while let Some(bytes) = content.next().await? {
                    write(&bytes)?;
                }
                Ok(content.artifact)
            }
            Self::There(client) => {
                // The run and the attempt first, so that `last` means the same one for both questions.
                let run: Run = client.get(&format!("/api/v1/runs/{}", escaped(run))).await?;
                let mut query = format!("name={}", escaped(&wanted.name));
                let stage = wanted.stage.as_deref().map(escaped);
                let numbers = [("instance", wanted.instance), ("attempt", wanted.attempt)];
                query.extend(stage.map(|stage| format!("&stage={stage}")));
                query.extend(numbers.iter().filter_map(|(key, value)| Some(format!("&{key}={}", (*value)?))));
                let path = format!("/api/v1/runs/{}/artifacts/content?{query}", run.summary.id);
                let mut content = client.content(&path).await?;
                let mut size = 0;
                while let Some(bytes) = content.next().await? {
                    size += bytes.len() as u64;
                    write(&bytes)?;
                }
                let is_it = |artifact: &&Artifact| {
                    artifact.name == wanted.name
                        && artifact.size_bytes == size
                        && wanted.stage.as_ref().is_none_or(|stage| artifact.stage == *stage)
                        && wanted.instance.is_none_or(|instance| artifact.instance == instance)
                        && wanted.attempt.is_none_or(|attempt| artifact.attempt == attempt)
                };
                // Sorted by attempt, of which the last is meant.
                let artifact = run.artifacts.iter().rfind(is_it).cloned();
                artifact.context("the artifact was replaced while it was fetched: fetch it again")
            }
        }
    }

    pub(crate) async fn emitted(&self, run: &str) -> anyhow::Result<Vec<Emitted>> {
        match self {
            Self::Here(engine) => engine.emitted(select(engine, run).await?).await,
            Self::There(client) => {
                let listed: List<Emitted> =
                    client.get(&format!("/api/v1/runs/{}/emitted", escaped(run))).await?;
                Ok(listed.items)
            }
        }
    }

    pub(crate) async fn state_owners(&self) -> anyhow::Result<Vec<StateOwner>> {
        match self {
            Self::Here(engine) => engine.state_owners().await,
            Self::There(client) => Ok(client.get::<List<StateOwner>>("/api/v1/state").await?.items),
        }
    }

    pub(crate) async fn state_values(&self, workflow: &str, plugin: &str) -> anyhow::Result<Vec<StateValue>> {
        match self {
            Self::Here(engine) => Ok(engine.state_values(workflow, plugin).await?.map_err(Misuse)?),
            Self::There(client) => {
                let path = format!("/api/v1/state/{}/{}", escaped(workflow), escaped(plugin));
                Ok(client.get::<List<StateValue>>(&path).await?.items)
            }
        }
    }

    pub(crate) async fn clear_state(&self, workflow: &str, plugin: &str) -> anyhow::Result<StateCleared> {
        match self {
            Self::Here(engine) => Ok(engine.clear_state(workflow, plugin).await?.map_err(Misuse)?),
            Self::There(client) => {
                client.delete(&format!("/api/v1/state/{}/{}", escaped(workflow), escaped(plugin))).await
            }
        }
    }
}

/// A text as a part of a URL.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

pub(crate) async fn select(engine: &Engine, text: &str) -> anyhow::Result<RunId> {
    match engine.select(text).await? {
        Selected::One(run) => Ok(run),
        Selected::None if text == "last" => Err(Misuse("there is no run yet".to_owned()).into()),
        Selected::None => {
            Err(Misuse(format!("there is no run `{text}`; `yuanli runs list` shows what there is")).into())
        }
        Selected::Several => {
            Err(Misuse(format!("several runs begin with `{text}`: give more of the id")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_for_urls() {
        assert_eq!(escaped("last-1_~.Z"), "last-1_~.Z");
        assert_eq!(escaped("a/b ?ä"), "a%2Fb%20%3F%C3%A4");
    }
}
