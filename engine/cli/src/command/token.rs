//! `yuanli token`: who may do what.

use hyper::Method;
use yuanli_api_types::{Identity, List, Token, TokenMade, TokenRequest, TokenRotation};

use crate::access::{engine, escaped};
use crate::arguments::{Global, Named, TokenCommand, TokenCreate, TokenRotate};
use crate::exit::Exit;
use crate::output;

pub(crate) async fn perform(global: &Global, command: TokenCommand) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    match command {
        TokenCommand::Create(TokenCreate { name, role, workflows, expires_in }) => {
            let request = TokenRequest { name, role, workflows, expires_in_seconds: expires_in };
            told(global, &engine.post("/api/v1/tokens", &request, None).await?)?;
        }
        TokenCommand::Rotate(TokenRotate { name, grace }) => {
            let path = format!("/api/v1/tokens/{}/rotate", escaped(&name));
            let rotation = TokenRotation { grace_seconds: grace };
            told(global, &engine.post(&path, &rotation, None).await?)?;
        }
        TokenCommand::List => {
            let page: List<Token> = engine.get("/api/v1/tokens").await?;
            match global.json {
                true => output::json(&page)?,
                false => output::table(
                    &["NAME", "ROLE", "FOR", "MADE (UTC)", "EXPIRES (UTC)", "USED (UTC)"],
                    page.items.into_iter().map(row),
                )?,
            }
        }
        TokenCommand::Revoke(Named { name }) => {
            engine.tell(Method::DELETE, &format!("/api/v1/tokens/{}", escaped(&name)), None::<&()>).await?;
            output::note(format_args!("token {name} is revoked"));
        }
        TokenCommand::Whoami => {
            let identity: Identity = engine.get("/api/v1/identity").await?;
            match global.json {
                true => output::json(&identity)?,
                false => output::line(format_args!(
                    "{}: {} of {}",
                    identity.name,
                    identity.role.name(),
                    all_or(&identity.workflows, "the engine")
                ))?,
            }
        }
    }
    Ok(Exit::Done)
}

/// The text alone goes where others can take it from.
fn told(global: &Global, made: &TokenMade) -> anyhow::Result<()> {
    if global.json {
        return output::json(made);
    }
    let token = &made.token;
    output::note(format_args!(
        "token {}: {} of {}; its text is told this once",
        token.name,
        token.role.name(),
        all_or(&token.workflows, "the engine")
    ));
    output::line(&made.secret)
}

fn row(token: Token) -> Vec<String> {
    let time = |at: Option<String>| at.as_deref().map(output::time).unwrap_or_default();
    let workflows = all_or(&token.workflows, "all");
    let made = output::time(&token.created_at);
    vec![
        token.name,
        token.role.name().to_owned(),
        workflows,
        made,
        time(token.expires_at),
        time(token.last_used_at),
    ]
}

fn all_or(workflows: &[String], all: &str) -> String {
    if workflows.is_empty() { all.to_owned() } else { workflows.join(", ") }
}
