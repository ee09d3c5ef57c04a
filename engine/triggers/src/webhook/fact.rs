//! What a request says has happened, by where its sender says it.

use serde_json::Value;
use yuanli_model::trigger::Provider;

use super::signature::Delivery;

/// What happened. What a request does not say is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What its sender calls it; several where one request tells of several things.
    pub events: Vec<String>,
    /// The branch that it happened to; of a pull request that which it goes into.
    pub branch: Option<String>,
    /// The tags that it happened to.
    pub tags: Vec<String>,
    /// The files that were changed, as far as the request lists them.
    pub paths: Vec<String>,
    /// Whether its sender only asks whether anybody is there.
    pub is_ping: bool,
    /// The delivery that it is, where the body names it.
    pub delivery: Option<Delivery>,
}

impl Facts {
    /// Reads a request: its headers by their names in lower case, and its body as JSON.
    pub fn of<'a>(
        provider: Provider,
        header: impl Fn(&'static str) -> Option<&'a str>,
        body: &Value,
    ) -> Self {
        match provider {
            Provider::Generic => Self::default(),
            Provider::Github => Self::of_git(header("x-github-event"), body),
            Provider::Gitea => {
                let names = ["x-gitea-event", "x-forgejo-event", "x-github-event"];
                Self::of_git(names.into_iter().find_map(header), body)
            }
            Provider::Gitlab => Self::of_gitlab(body),
            Provider::Registry => Self::of_registry(body),
            Provider::Standard => {
                Self { events: text(body, "/type").into_iter().collect(), ..Self::default() }
            }
        }
    }

    /// As GitHub tells it, and Gitea after it.
    fn of_git(event: Option<&str>, body: &Value) -> Self {
        let mut facts = Self::default().at(text(body, "/ref").as_deref());
        match text(body, "/ref_type").as_deref() {
            // Of a branch or a tag that was made or removed, `ref` is the name alone.
            Some("branch") => facts.branch = text(body, "/ref"),
            Some("tag") => facts.tags = text(body, "/ref").into_iter().collect(),
            _ => {}
        }
        if let Some(base) = text(body, "/pull_request/base/ref") {
            facts.branch = Some(base);
        }
        facts.tags.extend(text(body, "/release/tag_name"));
        facts.is_ping = event == Some("ping");
        facts.events = event.map(str::to_owned).into_iter().collect();
        facts.paths = paths(body);
        facts
    }

    fn of_gitlab(body: &Value) -> Self {
        let event = text(body, "/object_kind").or_else(|| text(body, "/event_name"));
        let mut facts = Self::default().at(text(body, "/ref").as_deref());
        if let Some(target) = text(body, "/object_attributes/target_branch") {
            facts.branch = Some(target);
        }
        // Of a pipeline, `ref` is the name alone.
        if let Some(of) = text(body, "/object_attributes/ref") {
            match body.pointer("/object_attributes/tag") {
                Some(Value::Bool(true)) => facts.tags = vec![of],
                _ => facts.branch = Some(of),
            }
        }
        facts.events = event.into_iter().collect();
        facts.paths = paths(body);
        facts
    }

    /// A list of what happened to repositories of the registry.
    fn of_registry(body: &Value) -> Self {
        let events = body.get("events").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let all = |pointer: &str| -> Vec<String> {
            events.iter().filter_map(|event| text(event, pointer)).collect()
        };
        Self {
            events: all("/action"),
            tags: all("/target/tag"),
            delivery: all("/id").first().and_then(|id| Delivery::parse(id)),
            ..Self::default()
        }
    }

    /// At a full name of git: `refs/heads/main`, `refs/tags/v1`.
    fn at(mut self, reference: Option<&str>) -> Self {
        let Some(reference) = reference else { return self };
        self.branch = reference.strip_prefix("refs/heads/").map(str::to_owned);
        self.tags = reference.strip_prefix("refs/tags/").map(str::to_owned).into_iter().collect();
        self
    }
}

fn text(body: &Value, pointer: &str) -> Option<String> {
    body.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// The files of the commits of a push; none where the sender says that it has left some out.
fn paths(body: &Value) -> Vec<String> {
    let commits = body.get("commits").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let total = ["/total_commits_count", "/total_commits"].iter().find_map(|at| body.pointer(at)?.as_u64());
    if total.is_some_and(|total| total > commits.len() as u64) {
        return Vec::new();
    }
    let mut found: Vec<String> = commits
        .iter()
        .flat_map(|commit| ["added", "modified", "removed"].map(|kind| commit.get(kind)))
        .filter_map(|list| list?.as_array())
        .flatten()
        .filter_map(|path| path.as_str().map(str::to_owned))
        .collect();
    found.sort();
    found.dedup();
    found
}
