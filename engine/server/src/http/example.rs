//! Bodies as the API takes and gives them, for its description. A test reads each as what it stands for.

pub(super) const APP: &str = r#"{"name":"shop","status":"healthy","image":"shop:v2","release":2,"desired":2,"ready":2,"route":"/","document":{"app":"shop","image":"shop:v2","port":8080},"replicas":[{"number":3,"release":2,"address":"172.18.0.4","phase":"serving"}],"releases":[{"release":2,"image_id":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","weight":100}]}"#;
pub(super) const APP_WHY: &str = r#"{"app":"shop","now":{"at":"2026-11-30T15:04:05.678Z","desired":2,"reasons":["at least 2"]},"decisions":[]}"#;
pub(super) const CACHE_QUESTION: &str = r#"{"stages":[{"stage":"test","plugin":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","config":{"image":"shop:v2"},"values":null,"open":["files"]}]}"#;
pub(super) const CACHE_OUTLOOK: &str =
    r#"{"items":[{"stage":"test","finding":"open","run":"01kbab2m3n4p5q6r7s8t9v0w1x","parts":["files"]}]}"#;
pub(super) const AUDIT: &str = r#"{"items":[{"number":7,"at":"2026-11-30T15:04:05.678Z","by":"ci","from":"10.0.0.7:40122","method":"POST","path":"/api/v1/runs","about":"workflow shop, run 01kbab2m3n4p5q6r7s8t9v0w1x","status":201}]}"#;
pub(super) const DELIVERIES: &str = r#"{"items":[{"number":12,"at":"2026-11-30T15:04:05.678Z","id":"72d3162e-cc78","events":["push"],"run":"01kbab2m3n4p5q6r7s8t9v0w1x","is_new":true,"is_kept":true}],"refused":[]}"#;
pub(super) const HOOK_PASSED: &str =
    r#"{"is_new":false,"reason":"it is about the branch next, and not about main"}"#;
pub(super) const APPROVAL: &str = r#"{"approved":true,"by":"eva","comment":"go","inputs":{}}"#;
pub(super) const TOKEN_REQUEST: &str =
    r#"{"name":"ci","role":"operator","workflows":["shop-*"],"expires_in_seconds":7776000}"#;
pub(super) const WORKFLOW_CHANGE: &str = r#"{"name":"shop","version":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","applied_at":"2026-11-30T15:04:05.678Z","folder":"/srv/shop","schedules":[],"is_new":true,"diff":""}"#;
pub(super) const WORKFLOW_DOCUMENT: &str =
    r#"{"file":"shop.yaml","text":"name: shop\nstages:\n  a: { uses: script }\n"}"#;
pub(super) const DOCUMENT_RUN: &str =
    r#"{"document":{"file":"shop.yaml","text":"name: shop\nstages:\n  a: { uses: script }\n"},"inputs":{}}"#;
pub(super) const RUNS: &str = r#"{"items":[{"id":"01kbab2m3n4p5q6r7s8t9v0w1x","workflow":"shop","version":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","status":"succeeded","created_at":"2026-11-30T15:04:05.678Z"}]}"#;
pub(super) const RUN: &str = r#"{"id":"01kbab2m3n4p5q6r7s8t9v0w1x","workflow":"shop","version":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","status":"succeeded","created_at":"2026-11-30T15:04:05.678Z","inputs":{},"stages":[]}"#;
pub(super) const ARTIFACTS: &str = r#"{"items":[{"stage":"test","instance":0,"attempt":1,"name":"report.txt","media_type":"text/plain","size_bytes":13,"digest":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","created_at":"2026-11-30T15:04:05.678Z"}]}"#;
pub(super) const EMITTED: &str = r#"{"items":[{"number":1,"id":"1","source":"/workflows/shop/stages/test","type":"shop.tested","time":"2026-11-30T15:04:05.678Z","datacontenttype":"application/json","data":{},"run":"01kbab2m3n4p5q6r7s8t9v0w1x","workflow":"shop","stage":"test","instance":0,"attempt":1}]}"#;
pub(super) const EVENTS: &str = r#"{"items":[{"run":"01kbab2m3n4p5q6r7s8t9v0w1x","number":1,"at":"2026-11-30T15:04:05.678Z","event":"admitted"}]}"#;
pub(super) const UPDATES: &str = "id: 2.1-1\nevent: log\ndata: {\"stage\":\"a\",\"attempt\":1,\"at\":\"2026-11-30T15:04:05.678Z\",\"stream\":\"plugin\",\"level\":\"info\",\"text\":\"hello\"}\n\n";
pub(super) const RUN_STARTED: &str = r#"{"id":"01kbab2m3n4p5q6r7s8t9v0w1x","is_new":true}"#;
pub(super) const RUN_WHY: &str = r#"{"run":"01kbab2m3n4p5q6r7s8t9v0w1x","workflow":"shop","stage":"deploy","status":"skipped","reasons":[{"at":"2026-11-30T15:04:05.678Z","kind":"needs","text":"`test` did not succeed"}]}"#;
pub(super) const REPLAY: &str = r#"{"run":"01kbab2m3n4p5q6r7s8t9v0w1x","stage":"deploy","attempt":1,"plugin":"script","component":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","changed":false,"steps":[{"type":"call","index":1,"at":"2026-11-30T15:04:05.678Z","function":"yuanli:clock/clock@0.1.0#now","arguments":"","answer":1764515045678},{"type":"line","stream":"plugin","level":"info","text":"hello"}],"ending":{"type":"succeeded","outputs":{}},"recorded":{"type":"succeeded","outputs":{}},"same":true}"#;
pub(super) const SCHEDULE: &str = r#"{"workflow":"shop","schedule":"5d2f31c4","cron":"0 3 * * *","timezone":"UTC","missed":"once","overlap":"queue-one","pause_after_failures":3,"failures":0,"next":["2026-12-01T03:00:00.000Z"],"last":{"due_at":"2026-11-30T03:00:00.000Z","became":"started","run":"01kbab2m3n4p5q6r7s8t9v0w1x"}}"#;
pub(super) const SCHEDULES: &str = r#"{"items":[{"workflow":"shop","schedule":"5d2f31c4","cron":"0 3 * * *","timezone":"UTC","missed":"once","overlap":"allow","failures":0,"next":["2026-12-01T03:00:00.000Z"]}]}"#;
pub(super) const SCHEDULE_RUN: &str = r#"{"due_at":"2026-11-30T15:04:05.000Z","became":"started","run":"01kbab2m3n4p5q6r7s8t9v0w1x","is_new":true}"#;
pub(super) const BACKFILL: &str =
    r#"{"times":["2026-11-28T03:00:00.000Z","2026-11-29T03:00:00.000Z"],"done":1}"#;
pub(super) const SECRETS: &str =
    r#"{"items":[{"name":"hook-key","workflows":["shop-*"],"changed_at":"2026-11-30T15:04:05.678Z"}]}"#;
pub(super) const STATE: &str =
    r#"{"items":[{"workflow":"shop","plugin":"word-count","keys":1,"size_bytes":20}]}"#;
pub(super) const STATE_VALUES: &str = r#"{"items":[{"key":"runs","text":"3","size_bytes":1,"revision":3,"changed_at":"2026-11-30T15:04:05.678Z"}]}"#;
pub(super) const LOGIN_BEGUN: &str = r#"{"url":"https://id.example.com/authorize?client_id=yuanli","phrase":"7K3M-9QXA","expires_in_seconds":600}"#;
pub(super) const TOKENS: &str = r#"{"items":[{"name":"ci","role":"operator","workflows":["shop-*"],"created_at":"2026-11-30T15:04:05.678Z","created_by":"owner"}]}"#;
pub(super) const TOKEN_MADE: &str = r#"{"secret":"yuanli_2cfed0227859_52952905…","name":"ci","role":"operator","workflows":["shop-*"],"created_at":"2026-11-30T15:04:05.678Z","created_by":"owner"}"#;
pub(super) const WORKFLOW: &str = r#"{"name":"shop","version":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","applied_at":"2026-11-30T15:04:05.678Z","folder":"/srv/shop","schedules":[],"text":"name: shop\n"}"#;
pub(super) const WORKFLOWS: &str = r#"{"items":[{"name":"shop","version":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","applied_at":"2026-11-30T15:04:05.678Z","folder":"/srv/shop","schedules":[]}]}"#;
pub(super) const HISTORY: &str = r#"{"items":[{"version":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","applied_at":"2026-11-30T15:04:05.678Z","text":"name: shop\n"}]}"#;
