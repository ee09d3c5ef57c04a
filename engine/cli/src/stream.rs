//! What happens in a run that an engine drives, each thing once, over connections that break and engines that are started
//! again.

use std::time::Duration;

use anyhow::Context;
use hyper::Method;
use yuanli_api_types::Update;

use crate::access::escaped;
use crate::client::{Client, Lines};
use crate::exit::Misuse;
use crate::succession::Succession;

/// How often an engine that went away is looked for, and how long is waited in between: half a minute in all.
const LOOKS: u32 = 60;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// The updates of a run.
pub(crate) struct Updates<'a> {
    engine: &'a Client,
    /// Who goes on where the engine is a command's.
    succession: Option<&'a Succession>,
    run: String,
    lines: Option<Lines>,
    /// The id of the last one.
    last: Option<String>,
    /// Whether the engine has answered.
    is_known: bool,
    is_over: bool,
}

/// A server-sent event, as far as it matters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    id: Option<String>,
    kind: String,
    data: String,
}

impl Told {
    /// Takes in a line; whether that was the empty one at its end.
    fn take(&mut self, line: &str) -> bool {
        let line = line.trim_end_matches('\r');
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // A comment keeps the connection.
            _ => {}
        }
        line.is_empty()
    }
}

impl<'a> Updates<'a> {
    pub(crate) fn of(engine: &'a Client, run: &str) -> Self {
        let run = escaped(run);
        Self { engine, succession: None, run, lines: None, last: None, is_known: false, is_over: false }
    }

    /// The same, also when the command ends or is killed whose engine it is.
    pub(crate) fn with(engine: &'a Client, succession: Option<&'a Succession>, run: &str) -> Self {
        Self { succession, is_known: succession.is_some(), ..Self::of(engine, run) }
    }

    /// The next one; `None` after the end of the run. Says when it waits for the engine.
    pub(crate) async fn next(&mut self, mut say: impl FnMut(&str)) -> anyhow::Result<Option<Update>> {
        let mut looks = 0;
        loop {
            if self.is_over {
                return Ok(None);
            }
            let why = match self.try_next().await {
                Ok(Some(update)) => return Ok(Some(update)),
                Ok(None) if self.is_over => return Ok(None),
                Ok(None) => anyhow::anyhow!("the stream broke off"),
                Err(error) => error,
            };
            // What the engine refuses it will not do later either.
            if !self.is_known || why.is::<Misuse>() || looks == LOOKS {
                return Err(why);
            }
            self.lines = None;
            if looks > 0 || self.succession.is_none() {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            match self.succession {
                Some(succession) => self.succeed(succession, &mut say).await?,
                None if looks == 0 => say(&format!("waiting for the engine: {why:#}")),
                None => {}
            }
            looks += 1;
        }
    }

    /// Finds the engine that goes on with the run, or becomes it.
    async fn succeed(&self, succession: &Succession, say: &mut impl FnMut(&str)) -> anyhow::Result<()> {
        if succession.settle().await? {
            say("the command has ended in whose engine the run was; it goes on in this one");
        }
        let path = format!("/api/v1/runs/{}/resume", self.run);
        match self.engine.tell(Method::POST, &path, None::<&()>).await {
            // Somebody does already, or it has ended; what else is wrong is met where it is followed.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn try_next(&mut self) -> anyhow::Result<Option<Update>> {
        if self.lines.is_none() {
            self.lines = self
                .engine
                .stream(&format!("/api/v1/runs/{}/updates", self.run), self.last.as_deref())
                .await?;
            self.is_known = true;
            self.is_over = self.lines.is_none();
        }
        let mut told = Told::default();
        let Some(lines) = &mut self.lines else { return Ok(None) };
        while let Some(line) = lines.next_line().await? {
            if !told.take(&String::from_utf8_lossy(&line)) {
                continue;
            }
            let Told { id, kind, data } = std::mem::take(&mut told);
            if kind == "end" {
                self.is_over = true;
                return Ok(None);
            }
            if !data.is_empty() {
                let update = serde_json::from_str(&data);
                let update = update.context("the engine said what this command does not know")?;
                self.last = id.or(self.last.take());
                return Ok(Some(update));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_the_standard_has_them() {
        let mut told = Told::default();
        let text = ": comment\nid: 3.1-2\nevent:log\r\ndata: {\"a\":\ndata: 1}\nretry: 5\n";
        assert!(text.lines().all(|line| !told.take(line)));
        assert!(told.take("\r"));
        let expected =
            Told { id: Some("3.1-2".to_owned()), kind: "log".to_owned(), data: "{\"a\":\n1}".to_owned() };
        assert_eq!(told, expected);
    }
}
