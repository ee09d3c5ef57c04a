//! The routes, one by one: what each needs of who asks, what it takes and gives with an example, and who answers.

use axum::extract::State;
use yuanli_api_types as api;
use yuanli_api_types::Role::{Admin, Editor, Operator, Viewer};

use super::gate::Needs::{Nothing, Role};
use super::gate::Within::{Engine, Handler as Own, Run, Workflow};
use super::table::{Served, delete, get, post, put};
use super::{
    apps, audit, example, hooks, identity, login, metrics, openapi, records, runs, schedules, secrets,
    streams, workflows,
};
use crate::refusal::Refusal;

const STREAM: &str = "text/event-stream";
const LAST_ID: &str = "The id of the last event that is known: what comes after it is told";

pub(super) fn all() -> Vec<Served> {
    let all = [
        of_identity(),
        of_workflows(),
        of_schedules(),
        of_documents(),
        of_runs(),
        of_run(),
        of_apps(),
        of_kept(),
        of_nobody(),
    ];
    all.into_iter().flatten().collect()
}

fn of_schedules() -> Vec<Served> {
    const TIMES: (&str, &str) = ("times", "How many of the next due times; 1 in lists, at most 100");
    vec![
        get("/api/v1/schedules", Role(Viewer, Own), "The schedules of all workflows", schedules::list)
            .query(&[
                ("limit", "The most schedules; 50, at most 1,000"),
                ("after", "The `next` of the page before"),
                ("workflow", "Only those of this workflow"),
                ("paused", "Only those that are paused, by `true`, or that are not, by `false`"),
                TIMES,
            ])
            .gives::<api::List<api::ScheduleState>>(200, example::SCHEDULES),
        get(
            "/api/v1/workflows/{name}/schedules/{schedule}",
            Role(Viewer, Workflow),
            "A schedule with its next due times, and what became of the last one",
            schedules::show,
        )
        .query(&[TIMES])
        .gives::<api::ScheduleState>(200, example::SCHEDULE),
        post(
            "/api/v1/workflows/{name}/schedules/{schedule}/pause",
            Role(Operator, Workflow),
            "Let a schedule start nothing; a backfill of it ends",
            schedules::pause,
        )
        .gives::<api::ScheduleState>(200, example::SCHEDULE),
        post(
            "/api/v1/workflows/{name}/schedules/{schedule}/resume",
            Role(Operator, Workflow),
            "Let a paused schedule start what is due from now on",
            schedules::resume,
        )
        .gives::<api::ScheduleState>(200, example::SCHEDULE),
        post(
            "/api/v1/workflows/{name}/schedules/{schedule}/run",
            Role(Operator, Workflow),
            "Treat a schedule as due at a time, by its `overlap`; of one time there is one run",
            schedules::run,
        )
        .takes::<api::ScheduleRunRequest>(r#"{"due_at":"2026-11-30T15:04:05Z"}"#)
        .gives::<api::ScheduleRun>(201, example::SCHEDULE_RUN)
        .gives::<api::ScheduleRun>(
            202,
            r#"{"due_at":"2026-11-30T15:04:05.000Z","became":"waits","is_new":false}"#,
        )
        .gives::<api::ScheduleRun>(200, example::SCHEDULE_RUN),
        post(
            "/api/v1/workflows/{name}/schedules/{schedule}/backfill",
            Role(Operator, Workflow),
            "Have the due times of a stretch of time done that have had no run",
            schedules::backfill,
        )
        .takes::<api::BackfillRequest>(
            r#"{"from":"2026-11-01","until":"2026-11-30T15:04:05Z","missed_only":true}"#,
        )
        .gives::<api::Backfill>(202, example::BACKFILL)
        .gives::<api::Backfill>(200, example::BACKFILL),
    ]
}

fn of_identity() -> Vec<Served> {
    vec![
        get("/api/v1/identity", Role(Viewer, Own), "Who the engine takes the caller for", identity::show)
            .gives::<api::Identity>(200, r#"{"name":"ci","role":"operator","workflows":["shop-*"]}"#),
        delete("/api/v1/identity", Role(Viewer, Own), "End the login of the caller", login::end)
            .gives_nothing(204),
        get("/api/v1/audit", Role(Admin, Engine), "Who did what, the newest first", audit::list)
            .query(&[
                ("limit", "The most entries; 50, at most 1,000"),
                ("after", "The `next` of the page before"),
                ("by", "Only what they did"),
            ])
            .gives::<api::List<api::AuditEntry>>(200, example::AUDIT),
        get("/api/v1/tokens", Role(Admin, Engine), "The tokens, without their texts", identity::list)
            .gives::<api::List<api::Token>>(200, example::TOKENS),
        post("/api/v1/tokens", Role(Admin, Engine), "Make a token; its text is told once", identity::create)
            .takes::<api::TokenRequest>(example::TOKEN_REQUEST)
            .gives::<api::TokenMade>(201, example::TOKEN_MADE),
        delete("/api/v1/tokens/{name}", Role(Admin, Engine), "Take a token away", identity::revoke)
            .gives_nothing(204),
        post(
            "/api/v1/tokens/{name}/rotate",
            Role(Admin, Engine),
            "Give a token a new text",
            identity::rotate,
        )
        .takes::<api::TokenRotation>(r#"{"grace_seconds":3600}"#)
        .gives::<api::TokenMade>(200, example::TOKEN_MADE),
    ]
}

fn of_workflows() -> Vec<Served> {
    vec![
        get("/api/v1/workflows", Role(Viewer, Own), "The workflows that are kept", workflows::list)
            .gives::<api::List<api::Workflow>>(200, example::WORKFLOWS),
        post(
            "/api/v1/workflows",
            Role(Editor, Own),
            "Keep a workflow, in place of the one of its name",
            workflows::apply,
        )
        .conditional()
        .takes::<api::WorkflowDocument>(example::WORKFLOW_DOCUMENT)
        .gives::<api::WorkflowChange>(200, example::WORKFLOW_CHANGE),
        get("/api/v1/workflows/{name}", Role(Viewer, Workflow), "A workflow with its text", workflows::show)
            .gives::<api::Workflow>(200, example::WORKFLOW),
        get(
            "/api/v1/workflows/{name}/history",
            Role(Viewer, Workflow),
            "The texts that a workflow has had, the newest first",
            workflows::history,
        )
        .gives::<api::List<api::WorkflowVersion>>(200, example::HISTORY),
        delete(
            "/api/v1/workflows/{name}",
            Role(Editor, Workflow),
            "Forget a workflow; its runs stay",
            workflows::delete,
        )
        .conditional()
        .gives_nothing(204),
        post(
            "/api/v1/workflows/{name}/pause",
            Role(Operator, Workflow),
            "Let schedules and webhooks start nothing of a workflow",
            workflows::pause,
        )
        .conditional()
        .gives::<api::Workflow>(200, example::WORKFLOW),
        post(
            "/api/v1/workflows/{name}/resume",
            Role(Operator, Workflow),
            "Let what starts a paused workflow start it again",
            workflows::resume,
        )
        .conditional()
        .gives::<api::Workflow>(200, example::WORKFLOW),
        get(
            "/api/v1/workflows/{name}/deliveries",
            Role(Operator, Workflow),
            "What came to the webhook of a workflow, and what became of it",
            hooks::deliveries,
        )
        .gives::<api::Deliveries>(200, example::DELIVERIES),
        post(
            "/api/v1/workflows/{name}/deliveries/{number}/redeliver",
            Role(Operator, Workflow),
            "Do again what a request to the webhook asked for",
            hooks::redeliver,
        )
        .gives::<api::HookAnswer>(202, example::RUN_STARTED)
        .gives::<api::HookAnswer>(200, example::HOOK_PASSED),
    ]
}

fn of_documents() -> Vec<Served> {
    vec![
        post(
            "/api/v1/document-runs",
            Role(Editor, Own),
            "Start a run of a workflow without keeping it; of one `Idempotency-Key` there is one",
            runs::start_document,
        )
        .header("idempotency-key", "Of one key and workflow there is one run")
        .takes::<api::DocumentRun>(example::DOCUMENT_RUN)
        .gives::<api::RunStarted>(201, example::RUN_STARTED)
        .gives::<api::RunStarted>(200, example::RUN_STARTED),
    ]
}

fn of_runs() -> Vec<Served> {
    vec![
        get("/api/v1/runs", Role(Viewer, Own), "Runs, newest first", runs::list)
            .query(&[
                ("limit", "The most runs; 20, at most 1,000"),
                ("label", "Only those with this label, `NAME=TEXT`, or `NAME` for any text; may be given several times"),
                ("after", "The `next` of the page before"),
                ("workflow", "Only those of this workflow"),
                ("status", "Only those that stand so: running, succeeded, failed, cancelled"),
            ])
            .gives::<api::List<api::RunSummary>>(200, example::RUNS),
        post(
            "/api/v1/runs",
            Role(Operator, Own),
            "Start a run; of one `Idempotency-Key` there is one",
            runs::start,
        )
        .header("idempotency-key", "Of one key and workflow there is one run")
        .takes::<api::RunRequest>(r#"{"workflow":"shop","inputs":{"tag":"v2"}}"#)
        .gives::<api::RunStarted>(201, example::RUN_STARTED)
        .gives::<api::RunStarted>(200, example::RUN_STARTED),
        get("/api/v1/runs/{run}", Role(Viewer, Run), "A run with its stages", runs::show)
            .gives::<api::Run>(200, example::RUN),
        get(
            "/api/v1/runs/{run}/updates",
            Role(Viewer, Run),
            "Events and log lines of a run, as they come",
            streams::updates,
        )
        .header("last-event-id", LAST_ID)
        .gives_text(200, STREAM, example::UPDATES)
        .gives_nothing(204),
        get("/api/v1/runs/{run}/logs", Role(Viewer, Run), "What the stages of a run wrote", streams::logs)
            .header("last-event-id", LAST_ID)
            .query(&[("stage", "Only this stage")])
            .gives_text(200, STREAM, example::UPDATES)
            .gives_nothing(204),
        get("/api/v1/runs/{run}/artifacts", Role(Viewer, Run), "The artifacts of a run", records::artifacts)
            .gives::<api::List<api::Artifact>>(200, example::ARTIFACTS),
        get(
            "/api/v1/runs/{run}/artifacts/content",
            Role(Viewer, Run),
            "The content of an artifact",
            records::artifact,
        )
        .query(&[
            ("name", "Its name"),
            ("stage", "The stage that put it"),
            ("instance", "Which instance of the stage, from 0"),
            ("attempt", "Which attempt, from 1"),
        ])
        .header("range", "The bytes that are wanted, such as `bytes=0-99`")
        .gives_text(200, "application/octet-stream", "counted to 1\n")
        .gives_nothing(206)
        .gives_nothing(304),
        get("/api/v1/runs/{run}/events", Role(Viewer, Run), "The events of a run", streams::events)
            .header("last-event-id", LAST_ID)
            .query(&[
                ("after", "The number of the last event that is known"),
                ("limit", "The most events; 1,000"),
            ])
            .gives::<api::List<api::Event>>(200, example::EVENTS)
            .gives_nothing(204),
        get(
            "/api/v1/runs/{run}/emitted",
            Role(Viewer, Run),
            "What the plugins of a run have told",
            records::emitted,
        )
        .gives::<api::List<api::Emitted>>(200, example::EMITTED),
        get(
            "/api/v1/runs/{run}/why",
            Role(Viewer, Run),
            "Why a run, or a stage of it, is as it is",
            runs::why,
        )
        .query(&[("stage", "The stage, as STAGE or STAGE[INSTANCE]")])
        .gives::<api::RunWhy>(200, example::RUN_WHY),
    ]
}

/// What is asked of a run that is there.
fn of_run() -> Vec<Served> {
    vec![
        post(
            "/api/v1/runs/{run}/retry",
            Role(Operator, Run),
            "Start a run that takes over from this one what does not run again",
            runs::retry,
        )
        .header("idempotency-key", "Of one key and run there is one retry")
        .takes::<api::RetryRequest>(r#"{"from":["deploy"]}"#)
        .gives::<api::RunStarted>(201, example::RUN_STARTED)
        .gives::<api::RunStarted>(200, example::RUN_STARTED),
        post("/api/v1/runs/{run}/cancel", Role(Operator, Run), "Ask for the end of a run", runs::cancel)
            .gives_nothing(202),
        post(
            "/api/v1/runs/{run}/resume",
            Role(Operator, Run),
            "Go on with a run that came with a copy or an import",
            runs::resume,
        )
        .gives_nothing(202),
        post(
            "/api/v1/runs/{run}/stages/{stage}/replay",
            Role(Operator, Run),
            "Tell an attempt that has ended once more what it was told, without anything being done",
            runs::replay,
        )
        .takes::<api::ReplayRequest>(r#"{"attempt":1}"#)
        .gives::<api::Replay>(200, example::REPLAY),
        post(
            "/api/v1/runs/{run}/stages/{stage}/answer",
            Role(Operator, Run),
            "Answer a stage that asks for an approval",
            runs::answer,
        )
        .takes::<api::ApprovalAnswer>(example::APPROVAL)
        .gives_nothing(204),
    ]
}

fn of_apps() -> Vec<Served> {
    vec![
        get("/api/v1/apps", Role(Viewer, Engine), "The apps", apps::list)
            .gives::<api::List<api::AppSummary>>(200, r#"{"items":[]}"#),
        post("/api/v1/apps", Role(Editor, Engine), "Declare an app or a change of one", apps::apply)
            .header("idempotency-key", "Of one key there is one answer")
            .takes::<api::AppDocument>(
                r#"{"file":"shop.app.yaml","text":"app: shop\nimage: shop:v2\nport: 8080\n","dry_run":true}"#,
            )
            .gives::<api::AppChange>(200, r#"{"app":"shop","is_new":false,"changes":[]}"#),
        get("/api/v1/apps/{name}", Role(Viewer, Engine), "An app with its releases and replicas", apps::show)
            .gives::<api::App>(200, example::APP),
        delete(
            "/api/v1/apps/{name}",
            Role(Editor, Engine),
            "Take an app away; its volumes stay",
            apps::delete,
        )
        .gives_nothing(204)
        .gives_nothing(202),
        get(
            "/api/v1/apps/{name}/why",
            Role(Viewer, Engine),
            "Why an app has as many replicas as it has",
            apps::why,
        )
        .gives::<api::Why>(200, example::APP_WHY),
    ]
}

fn of_kept() -> Vec<Served> {
    vec![
        get(
            "/api/v1/state",
            Role(Viewer, Own),
            "Which plugins keep values in which workflows",
            records::owners,
        )
        .gives::<api::List<api::StateOwner>>(200, example::STATE),
        get(
            "/api/v1/state/{workflow}/{plugin}",
            Role(Viewer, Workflow),
            "What a plugin keeps in a workflow",
            records::values,
        )
        .gives::<api::List<api::StateValue>>(200, example::STATE_VALUES),
        delete(
            "/api/v1/state/{workflow}/{plugin}",
            Role(Editor, Workflow),
            "Remove what a plugin keeps in a workflow",
            records::clear,
        )
        .gives::<api::StateCleared>(200, r#"{"keys":1}"#),
        get("/api/v1/cache", Role(Viewer, Own), "What is cached of the stages of workflows", records::cached)
            .gives::<api::List<api::CachedStages>>(
                200,
                r#"{"items":[{"workflow":"shop","entries":2,"size_bytes":700}]}"#,
            ),
        post(
            "/api/v1/cache/{workflow}/outlook",
            Role(Viewer, Workflow),
            "What of earlier attempts would stand for stages of a run that has not begun",
            records::foresee,
        )
        .takes::<api::CacheQuestion>(example::CACHE_QUESTION)
        .gives::<api::List<api::CacheOutlook>>(200, example::CACHE_OUTLOOK),
        delete(
            "/api/v1/cache/{workflow}",
            Role(Operator, Workflow),
            "Remove what is cached of the stages of a workflow, so that they run the next time",
            records::clear_cache,
        )
        .gives::<api::CacheCleared>(200, r#"{"entries":2}"#),
        get("/api/v1/secrets", Role(Editor, Engine), "The secrets, without their values", secrets::list)
            .gives::<api::List<api::Secret>>(200, example::SECRETS),
        post("/api/v1/secrets-key", Role(Admin, Engine), "Seal all secrets by a new key", secrets::rotate)
            .takes::<api::SecretsKey>("{}")
            .gives::<api::SecretsSealed>(200, r#"{"sealed":3}"#),
        put("/api/v1/secrets/{name}", Role(Editor, Engine), "Keep a secret", secrets::set)
            .takes::<api::SecretValue>(r#"{"value":"s3cret","workflows":["shop-*"]}"#)
            .gives_nothing(204),
        delete("/api/v1/secrets/{name}", Role(Editor, Engine), "Forget a secret", secrets::delete)
            .gives_nothing(204),
    ]
}

fn of_nobody() -> Vec<Served> {
    vec![
        get("/api/openapi.json", Nothing, "This description", openapi::show).gives_text(
            200,
            "application/json",
            "{\"openapi\":\"3.1.0\"}",
        ),
        get("/api/v1/login", Nothing, "Begin a login: where a browser is to go", login::begin)
            .query(&[
                ("challenge", "The SHA-256 of a text that the caller keeps, in hexadecimal digits"),
                ("port", "Where on the machine of the browser the caller waits; without, the browser shows the code"),
            ])
            .gives::<api::LoginBegun>(200, example::LOGIN_BEGUN),
        post("/api/v1/login", Nothing, "Have a token for the code of a login", login::redeem)
            .takes::<api::LoginRequest>(r#"{"code":"q3Ck…","verifier":"Zl8t…"}"#)
            .gives::<api::TokenMade>(201, example::TOKEN_MADE),
        get("/login/callback", Nothing, "Where a browser comes back to from the provider", login::callback)
            .query(&[
                ("state", "As it was given along"),
                ("code", "What the provider gives an ID token for"),
                ("iss", "Who the provider is"),
                ("error", "Why there is no code"),
                ("error_description", "The same in words"),
            ])
            .gives_text(200, "text/html", "<h1>Logged in</h1>")
            .gives_nothing(303),
        get("/healthz", Nothing, "Whether the engine answers", async || "ok\n").gives_text(
            200,
            "text/plain",
            "ok\n",
        ),
        get("/readyz", Nothing, "Whether the engine starts runs", ready).gives_text(
            200,
            "text/plain",
            "ok\n",
        ),
        get("/metrics", Nothing, "What the engine and its apps do, for Prometheus", metrics::show)
            .gives_text(200, "text/plain", "yuanli_runs_active 0\n"),
        post("/hooks/{name}", Nothing, "Start a run by a signed request", hooks::receive)
            .gives::<api::HookAnswer>(202, example::RUN_STARTED)
            .gives::<api::HookAnswer>(200, example::HOOK_PASSED),
    ]
}

/// An engine that does not know yet what the one before it has left starts nothing.
async fn ready(State(shared): super::Engine) -> super::Answer<&'static str> {
    match shared.recovered.get() {
        Some(()) => Ok("ok\n"),
        None => Err(Refusal::Unavailable("the engine looks for what the one before it has left".to_owned())),
    }
}
