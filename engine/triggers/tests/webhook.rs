//! Which requests start something, and which are the same request again.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::json;
use yuanli_model::trigger::{HookFilter, Provider};
use yuanli_model::{Schedule, Timestamp, WorkflowName};
use yuanli_triggers::{
    Delivery, Facts, Passed, Refused, SIGNATURE_HEADER, StartId, delivery, passes, verify,
};

/// GitHub's own example, from its page on validating deliveries.
const SECRET: &[u8] = b"It's a Secret to Everybody";
const BODY: &[u8] = b"Hello, World!";
const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

fn name(name: &str) -> WorkflowName {
    name.parse().expect("a name")
}

/// The value of a header among these.
fn header<'a>(headers: &'a [(&'a str, &'a str)]) -> impl Fn(&'static str) -> Option<&'a str> {
    |name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
}

const NOW: Timestamp = Timestamp::from_millis(1_614_265_330_000);

#[test]
fn a_body_signed_with_the_secret_is_believed_and_nothing_else_is() {
    let digits = &SIGNATURE["sha256=".len()..];
    let upper = format!("sha256={}", digits.to_uppercase());
    let sha1 = format!("sha1={digits}");
    let other = format!("sha256={}", digits.replace('7', "8"));
    let check = |secret: &[u8], body: &[u8], signature: Option<&str>, expect: Result<(), &str>| {
        let headers: Vec<(&str, &str)> =
            signature.map(|value| (SIGNATURE_HEADER, value)).into_iter().collect();
        for provider in [Provider::Generic, Provider::Github] {
            let found =
                verify(provider, secret, header(&headers), body, NOW).map_err(|refused| refused.to_string());
            assert_eq!(found, expect.map_err(str::to_owned), "{signature:?}");
        }
    };
    let wrong = Err("the signature does not belong to this body and this secret");
    let malformed = Err("the header `x-hub-signature-256` is not `sha256=` and 64 hexadecimal digits");
    check(SECRET, BODY, Some(SIGNATURE), Ok(()));
    check(SECRET, BODY, Some(&upper), Ok(()));
    check(SECRET, b"Hello, World?", Some(SIGNATURE), wrong);
    check(SECRET, b"", Some(SIGNATURE), wrong);
    check(b"It's a secret to Everybody", BODY, Some(SIGNATURE), wrong);
    check(SECRET, BODY, Some(&other), wrong);
    check(SECRET, BODY, None, Err("the request has no header `x-hub-signature-256`"));
    check(SECRET, BODY, Some(""), malformed);
    check(SECRET, BODY, Some(digits), malformed);
    check(SECRET, BODY, Some(&sha1), malformed);
    check(SECRET, BODY, Some("sha256=75"), malformed);
    check(b"", BODY, Some(SIGNATURE), Err("the secret is empty, so that anybody could sign"));
}

#[test]
fn each_provider_shows_in_its_own_way_that_it_knows_the_secret() {
    let digits = &SIGNATURE["sha256=".len()..];
    let secret = std::str::from_utf8(SECRET).expect("a text");
    let bearer = format!("Bearer {secret}");
    for (provider, headers, expect) in [
        (Provider::Gitea, [("x-gitea-signature", digits)], Ok(())),
        (Provider::Gitea, [(SIGNATURE_HEADER, SIGNATURE)], Ok(())),
        (Provider::Gitea, [("x-gitea-signature", "75")], Err(())),
        (Provider::Gitlab, [("x-gitlab-token", secret)], Ok(())),
        (Provider::Gitlab, [("x-gitlab-token", "It's a Secret to Nobody")], Err(())),
        (Provider::Gitlab, [("x-gitlab-token", "")], Err(())),
        (Provider::Gitlab, [(SIGNATURE_HEADER, SIGNATURE)], Err(())),
        (Provider::Registry, [("authorization", bearer.as_str())], Ok(())),
        (Provider::Registry, [("authorization", secret)], Err(())),
        (Provider::Registry, [("authorization", "Bearer It")], Err(())),
        (Provider::Github, [("x-gitlab-token", secret)], Err(())),
        (Provider::Standard, [(SIGNATURE_HEADER, SIGNATURE)], Err(())),
    ] {
        let found = verify(provider, SECRET, header(&headers), BODY, NOW);
        assert_eq!(found.map_err(|_| ()), expect, "{provider:?} {headers:?}");
    }
}

#[test]
fn a_standard_webhook_is_believed_for_five_minutes() {
    // The example of the specification's own libraries.
    let secret = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = br#"{"test": 2432232314}"#;
    let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let check = |id: &str, time: &str, signature: &str, seconds_later: i64| {
        let headers = [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)];
        let now = Timestamp::from_millis(NOW.as_millis().saturating_add_signed(seconds_later * 1_000));
        verify(Provider::Standard, secret, header(&headers), body, now)
    };
    let (id, time) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
    assert_eq!(check(id, time, good, 0), Ok(()));
    assert_eq!(check(id, time, &format!("v1,AAAA v2,x {good}"), 300), Ok(()), "one of several, in time");
    assert_eq!(check(id, time, good, 301), Err(Refused::WrongTime));
    assert_eq!(check(id, time, good, -301), Err(Refused::WrongTime), "a clock that is ahead");
    assert_eq!(check("msg_other", time, good, 0), Err(Refused::WrongSignature), "the id is signed");
    assert_eq!(check(id, "1614265331", good, 0), Err(Refused::WrongSignature), "the time is signed");
    assert!(matches!(check(id, "yesterday", good, 0), Err(Refused::Malformed { .. })));
    assert!(matches!(check(id, time, "v2,x", 0), Err(Refused::Malformed { .. })));
}

#[test]
fn a_delivery_has_the_name_that_its_sender_gives_it() {
    let long = "x".repeat(256);
    for (provider, headers, expect) in [
        (Provider::Generic, vec![("x-github-delivery", "72d3162e-cc78")], Some("72d3162e-cc78")),
        (Provider::Generic, vec![("idempotency-key", " a "), ("webhook-id", "b")], Some("b")),
        (Provider::Generic, vec![("idempotency-key", " a ")], Some("a")),
        (Provider::Generic, vec![("x-request-id", "a")], None),
        (Provider::Generic, vec![("webhook-id", "")], None),
        (Provider::Generic, vec![("webhook-id", "a\u{7}b")], None),
        (Provider::Generic, vec![("webhook-id", "ä")], None),
        (Provider::Generic, vec![("webhook-id", long.as_str())], None),
        (Provider::Generic, vec![], None),
        (Provider::Github, vec![("x-github-delivery", "a"), ("webhook-id", "b")], Some("a")),
        (Provider::Gitea, vec![("x-gitea-delivery", "a")], Some("a")),
        (Provider::Gitlab, vec![("x-gitlab-event-uuid", "a"), ("idempotency-key", "b")], Some("b")),
        (Provider::Standard, vec![("webhook-id", "a")], Some("a")),
        (Provider::Registry, vec![("webhook-id", "a")], None),
    ] {
        let found = delivery(provider, header(&headers));
        assert_eq!(found.as_ref().map(Delivery::as_str), expect, "{headers:?}");
    }
}

/// What a filter says of a request; empty when it counts.
fn ask(provider: Provider, event: &str, body: serde_json::Value, filter: &HookFilter) -> String {
    let headers = [("x-github-event", event), ("x-gitea-event", event)];
    let facts = Facts::of(provider, header(&headers), &body);
    match passes(filter, &facts).expect("a filter") {
        Passed::Yes => String::new(),
        Passed::No(why) => why,
    }
}

fn filter(events: &[&str], branches: &[&str], tags: &[&str], paths: &[&str]) -> HookFilter {
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    HookFilter {
        events: owned(events),
        branches: owned(branches),
        tags: owned(tags),
        paths: owned(paths),
        condition: None,
    }
}

#[test]
fn a_request_counts_by_event_branch_tag_and_files() {
    let push = |reference: &str| {
        json!({ "ref": reference, "commits": [
            { "added": ["src/new.rs"], "removed": [], "modified": ["docs/a.md"] },
            { "added": [], "removed": ["old.txt"], "modified": ["src/new.rs"] },
        ] })
    };
    let (main, tag) = ("refs/heads/main", "refs/tags/v1.2");
    let pull = json!({ "action": "opened", "ref": null, "pull_request": { "base": { "ref": "main" } } });
    let all = filter(&[], &[], &[], &[]);
    let github = Provider::Github;
    for (event, body, filter, expect) in [
        ("push", push(main), all.clone(), ""),
        ("ping", json!({ "zen": "…" }), all.clone(), "it only asks whether anybody is there"),
        ("push", push(main), filter(&["push"], &["main"], &[], &["src/**"]), ""),
        (
            "push",
            push(main),
            filter(&["pull_request", "release"], &[], &[], &[]),
            "it is push, and not pull_request or release",
        ),
        (
            "push",
            push("refs/heads/feature/a"),
            filter(&[], &["main", "release/*"], &[], &[]),
            "it is about the branch feature/a, and not about main or release/*",
        ),
        (
            "push",
            push("refs/heads/release/1/2"),
            filter(&[], &["release/*"], &[], &[]),
            "it is about the branch release/1/2, and not about release/*",
        ),
        ("push", push("refs/heads/release/1/2"), filter(&[], &["release/**"], &[], &[]), ""),
        ("push", push(tag), filter(&[], &["main"], &[], &[]), "it is about the tag v1.2, and not about main"),
        ("push", push(tag), filter(&[], &["main"], &["v*"], &[]), ""),
        ("push", push(main), filter(&[], &["main"], &["v*"], &[]), ""),
        ("push", push(main), filter(&[], &[], &[], &["*.txt"]), ""),
        (
            "push",
            push(main),
            filter(&[], &[], &[], &["*.rs", "engine/**"]),
            "none of its 3 files fits *.rs or engine/**",
        ),
        ("pull_request", pull.clone(), filter(&["pull_request"], &["main"], &[], &["src/**"]), ""),
        (
            "pull_request",
            pull,
            filter(&[], &["next"], &[], &[]),
            "it is about the branch main, and not about next",
        ),
        ("release", json!({ "release": { "tag_name": "v2" } }), filter(&["release"], &[], &["v*"], &[]), ""),
        ("create", json!({ "ref": "v2", "ref_type": "tag" }), filter(&[], &[], &["v*"], &[]), ""),
        (
            "issues",
            json!({}),
            filter(&[], &["main"], &[], &[]),
            "it is about no branch and no tag, and not about main",
        ),
    ] {
        assert_eq!(ask(github, event, body.clone(), &filter), expect, "{event} {body}");
        assert_eq!(ask(Provider::Gitea, event, body, &filter), expect, "{event}");
    }
    let many = json!({ "ref": main, "total_commits": 30, "commits": [{ "added": ["a"] }] });
    assert_eq!(
        ask(Provider::Gitea, "push", many, &filter(&[], &[], &[], &["b"])),
        "",
        "not all files are told"
    );
}

#[test]
fn gitlab_registries_and_standard_webhooks_tell_it_in_the_body() {
    let gitlab = Provider::Gitlab;
    let merge = json!({ "object_kind": "merge_request", "object_attributes": { "target_branch": "main" } });
    let pipeline = json!({ "object_kind": "pipeline", "object_attributes": { "ref": "v1", "tag": true } });
    let pushed = json!({ "object_kind": "push", "ref": "refs/heads/main", "total_commits_count": 1, "commits": [{ "modified": ["a/b"] }] });
    let tagged = json!({ "object_kind": "tag_push", "ref": "refs/tags/v1" });
    assert_eq!(ask(gitlab, "", merge, &filter(&["merge_request"], &["main"], &[], &[])), "");
    assert_eq!(ask(gitlab, "", pipeline, &filter(&["pipeline"], &[], &["v*"], &[])), "");
    assert_eq!(ask(gitlab, "", pushed.clone(), &filter(&["push"], &["main"], &[], &["a/*"])), "");
    assert_eq!(ask(gitlab, "", pushed, &filter(&[], &[], &[], &["b/*"])), "none of its 1 files fits b/*");
    assert_eq!(ask(gitlab, "", tagged, &filter(&["tag_push"], &[], &["v*"], &[])), "");

    let events = json!({ "events": [
        { "id": "320678d8", "action": "pull", "target": { "repository": "team/it" } },
        { "id": "other", "action": "push", "target": { "repository": "team/it", "tag": "1.0", "digest": "sha256:0" } },
    ] });
    let registry = Provider::Registry;
    assert_eq!(ask(registry, "", events.clone(), &filter(&["push"], &[], &["1.*"], &[])), "");
    assert_eq!(
        ask(registry, "", events.clone(), &filter(&["delete"], &[], &[], &[])),
        "it is pull, push, and not delete"
    );
    let facts = Facts::of(registry, |_| None, &events);
    assert_eq!(facts.delivery.as_ref().map(Delivery::as_str), Some("320678d8"));
    let typed = json!({ "type": "invoice.paid", "data": {} });
    assert_eq!(ask(Provider::Standard, "", typed, &filter(&["invoice.paid"], &[], &[], &[])), "");
}

#[test]
fn each_cause_has_an_id_of_its_own_and_the_same_one_again() {
    let sent = |id: &'static str| {
        delivery(Provider::Generic, |name| (name == "webhook-id").then_some(id)).expect("an id")
    };
    let schedule = |cron: &str, zone: &str| Schedule { cron: cron.to_owned(), timezone: zone.to_owned() };
    let at = Timestamp::from_millis;
    let all = || {
        [
            StartId::of_delivery(&name("shop"), &sent("1")),
            StartId::of_delivery(&name("shop"), &sent("2")),
            StartId::of_delivery(&name("shop1"), &sent("2")),
            StartId::of_schedule(&name("shop"), &schedule("0 3 * * *", "UTC"), at(0)),
            StartId::of_schedule(&name("shop"), &schedule("0 3 * * *", "UTC"), at(1)),
            StartId::of_schedule(&name("shop"), &schedule("0 4 * * *", "UTC"), at(0)),
            StartId::of_schedule(&name("shop"), &schedule("0 3 * * *", "Asia/Shanghai"), at(0)),
            StartId::of_schedule(&name("other"), &schedule("0 3 * * *", "UTC"), at(0)),
        ]
    };
    assert_eq!(all(), all());
    assert_eq!(HashSet::from(all()).len(), all().len());
    // Stored, so that it may never change: another version would start again what this one has started.
    let first = StartId::of_schedule(&name("shop"), &schedule("0 3 * * *", "UTC"), at(0)).to_string();
    assert_eq!(first, "ceacc66e68623691e00c3f22d03196842428b358a71e580658c00683c8e85e93");
}

proptest! {
    #[test]
    fn no_change_of_one_bit_is_believed(body in prop::collection::vec(any::<u8>(), 1..200), bit in any::<usize>()) {
        let signature = format!("sha256={}", hex(&body));
        let headers = [(SIGNATURE_HEADER, signature.as_str())];
        let check = |body: &[u8]| verify(Provider::Github, SECRET, header(&headers), body, NOW);
        prop_assert_eq!(check(&body), Ok(()));
        let mut changed = body.clone();
        changed[bit / 8 % body.len()] ^= 1 << (bit % 8);
        prop_assert_eq!(check(&changed), Err(Refused::WrongSignature));
    }

    #[test]
    fn no_request_makes_it_panic(header in "\\PC{0,80}|sha256=[0-9a-fg]{0,70}|v1,[A-Za-z0-9+/=]{0,50}", body in json_text()) {
        for provider in Provider::ALL {
            let _ = verify(provider, SECRET, |_| Some(&header), BODY, NOW);
            let _ = delivery(provider, |_| Some(&header));
            let body = serde_json::from_str(&body).unwrap_or_default();
            let facts = Facts::of(provider, |_| Some(&header), &body);
            let _ = passes(&filter(&["push"], &["main"], &["v*"], &["src/**"]), &facts);
        }
    }
}

/// Bodies that have the keys which are looked for, with anything in them.
fn json_text() -> impl Strategy<Value = String> {
    let keys = [
        "ref",
        "ref_type",
        "commits",
        "added",
        "pull_request",
        "base",
        "events",
        "action",
        "target",
        "object_attributes",
    ];
    let leaf = prop_oneof![Just(json!(null)), Just(json!(7)), "[a-z/]{0,20}".prop_map(|text| json!(text))];
    let value = leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!(list)),
            prop::collection::hash_map(prop::sample::select(keys.to_vec()), inner, 0..5)
                .prop_map(|map| json!(map)),
        ]
    });
    value.prop_map(|value| value.to_string())
}

/// The signature by the definition of RFC 2104, from the hash alone.
fn hex(body: &[u8]) -> String {
    use yuanli_model::Digest;
    let pad = |byte: u8| {
        let mut key = [0_u8; 64];
        key[..SECRET.len()].copy_from_slice(SECRET);
        key.map(|part| part ^ byte)
    };
    let inner = Digest::of(&[pad(0x36).as_slice(), body].concat());
    Digest::of(&[pad(0x5c).as_slice(), inner.as_bytes().as_slice()].concat()).hex()
}
