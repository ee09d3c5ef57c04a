//! A server that counts what is posted to it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;
use yuanli_model::http::HttpScope;
use yuanli_ports::Http;
use yuanli_ports::http::{HttpError, HttpRequest, HttpResponse};

use super::Place;

#[derive(Debug)]
pub(crate) struct Server(pub(crate) Place);

#[async_trait]
impl Http for Server {
    async fn send(&self, request: HttpRequest, _: &[HttpScope]) -> Result<HttpResponse, HttpError> {
        let (world, life) = self.0.now();
        let body = String::from_utf8_lossy(&request.body).into_owned();
        life.pass(&world, &format!("before the request {body}")).await;
        let (answer, answered) = oneshot::channel();
        let (sender, outside) = (Arc::clone(&life), Arc::clone(&world));
        let strikes = || world.faults.strikes(&world.chance, world.faults.http);
        let (is_lost, is_unanswered) = (strikes(), strikes());
        let asked = body.clone();
        world.spawn(async move {
            let chance = &outside.chance;
            tokio::time::sleep(chance.millis(0..=200)).await;
            if is_lost || sender.is_over() && chance.one_in(2) {
                let _ = answer.send(Err(HttpError::Connect("the server does not answer".to_owned())));
                return;
            }
            let header = |name: &str| {
                let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.map(|header| String::from_utf8_lossy(&header.value).into_owned())
            };
            outside.note(&format!("arrived: {asked}"));
            let arrivals = {
                let mut ledger = outside.ledger();
                let sent = ledger.sent.entry(asked).or_default();
                sent.arrivals += 1;
                sent.keys.extend(header("idempotency-key"));
                sent.seen.extend(header("x-seen"));
                sent.arrivals
            };
            tokio::time::sleep(chance.millis(0..=200)).await;
            // Who comes with a secret is told it.
            let told = header("authorization").unwrap_or_else(|| arrivals.to_string());
            let _ = answer.send(match is_unanswered {
                true => Err(HttpError::TimedOut("no answer came".to_owned())),
                false => Ok(HttpResponse {
                    status: 200,
                    headers: Vec::new(),
                    body: told.into_bytes(),
                    url: request.url,
                }),
            });
        });
        let Ok(outcome) = answered.await else { return std::future::pending().await };
        life.pass(&world, &format!("after the request {body}: {}", outcome.is_ok())).await;
        outcome
    }
}
