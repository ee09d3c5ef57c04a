//! `yuanli workflow deliveries` and `redeliver`: what came to webhooks.

use yuanli_api_types::{Deliveries, HookAnswer};

use crate::access::{engine, escaped};
use crate::arguments::{Global, Redeliver};
use crate::exit::Exit;
use crate::output;

pub(super) async fn list(global: &Global, name: &str) -> anyhow::Result<Exit> {
    let path = format!("/api/v1/workflows/{}/deliveries", escaped(name));
    let deliveries: Deliveries = engine(global).await?.get(&path).await?;
    if global.json {
        output::json(&deliveries)?;
        return Ok(Exit::Done);
    }
    let rows = deliveries.items.into_iter().map(|delivery| {
        let became = match (delivery.run, delivery.reason) {
            (Some(run), _) if delivery.is_new => format!("run {run}"),
            (Some(run), _) => format!("run {run}, started before"),
            (None, reason) => reason.unwrap_or_default(),
        };
        let id = match delivery.repeats {
            Some(number) => format!("repeats {number}"),
            None => delivery.id.unwrap_or_default(),
        };
        vec![delivery.number.to_string(), output::time(&delivery.at), delivery.events.join(", "), id, became]
    });
    output::table(&["NUMBER", "CAME (UTC)", "EVENT", "DELIVERY", "BECAME"], rows)?;
    for refused in deliveries.refused {
        output::note(format_args!("refused at {} UTC: {}", output::time(&refused.at), refused.reason));
    }
    Ok(Exit::Done)
}

pub(super) async fn redeliver(global: &Global, arguments: &Redeliver) -> anyhow::Result<Exit> {
    let Redeliver { name, number } = arguments;
    let path = format!("/api/v1/workflows/{}/deliveries/{number}/redeliver", escaped(name));
    let answer: HookAnswer = engine(global).await?.post(&path, &serde_json::json!({}), None).await?;
    if global.json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    match (answer.id, answer.reason) {
        (Some(run), _) => output::line(&run)?,
        (None, reason) => output::note(format_args!(
            "delivery {number} starts no run: {}",
            reason.unwrap_or_else(|| "it does not count".to_owned())
        )),
    }
    Ok(Exit::Done)
}
