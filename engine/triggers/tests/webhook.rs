//! Which requests start something, and which are the same request again.

use std::collections::HashSet;

use proptest::prelude::*;
use yuanli_model::{Schedule, Timestamp, WorkflowName};
use yuanli_triggers::{DELIVERY_HEADERS, Refused, StartId, delivery, verify};

/// GitHub's own example, from its page on validating deliveries.
const SECRET: &[u8] = b"It's a Secret to Everybody";
const BODY: &[u8] = b"Hello, World!";
const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

fn name(name: &str) -> WorkflowName {
    name.parse().expect("a name")
}

#[test]
fn a_body_signed_with_the_secret_is_believed_and_nothing_else_is() {
    let digits = &SIGNATURE["sha256=".len()..];
    let upper = format!("sha256={}", digits.to_uppercase());
    let sha1 = format!("sha1={digits}");
    let other = format!("sha256={}", digits.replace('7', "8"));
    let check = |secret: &[u8], body: &[u8], signature: Option<&str>, expect: Result<(), Refused>| {
        assert_eq!(verify(secret, body, signature), expect, "{signature:?}");
    };
    check(SECRET, BODY, Some(SIGNATURE), Ok(()));
    check(SECRET, BODY, Some(&upper), Ok(()));
    check(SECRET, b"Hello, World?", Some(SIGNATURE), Err(Refused::WrongSignature));
    check(SECRET, b"", Some(SIGNATURE), Err(Refused::WrongSignature));
    check(b"It's a secret to Everybody", BODY, Some(SIGNATURE), Err(Refused::WrongSignature));
    check(SECRET, BODY, Some(&other), Err(Refused::WrongSignature));
    check(SECRET, BODY, None, Err(Refused::Unsigned));
    check(SECRET, BODY, Some(""), Err(Refused::Malformed));
    check(SECRET, BODY, Some(digits), Err(Refused::Malformed));
    check(SECRET, BODY, Some(&sha1), Err(Refused::Malformed));
    check(SECRET, BODY, Some("sha256=75"), Err(Refused::Malformed));
    check(b"", BODY, Some(SIGNATURE), Err(Refused::NoSecret));
}

#[test]
fn a_delivery_has_the_name_that_its_sender_gives_it() {
    let long = "x".repeat(256);
    for (headers, expect) in [
        (vec![("x-github-delivery", "72d3162e-cc78")], Some("72d3162e-cc78")),
        (vec![("idempotency-key", " a "), ("webhook-id", "b")], Some("b")),
        (vec![("idempotency-key", " a ")], Some("a")),
        (vec![("x-request-id", "a")], None),
        (vec![("webhook-id", "")], None),
        (vec![("webhook-id", "a\u{7}b")], None),
        (vec![("webhook-id", "ä")], None),
        (vec![("webhook-id", long.as_str())], None),
        (vec![], None),
    ] {
        let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let found = delivery(header);
        assert_eq!(found.as_ref().map(yuanli_triggers::Delivery::as_str), expect, "{headers:?}");
    }
}

#[test]
fn each_cause_has_an_id_of_its_own_and_the_same_one_again() {
    let sent =
        |id: &'static str| delivery(|name| (name == DELIVERY_HEADERS[0]).then_some(id)).expect("an id");
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
        prop_assert_eq!(verify(SECRET, &body, Some(&signature)), Ok(()));
        let mut changed = body.clone();
        changed[bit / 8 % body.len()] ^= 1 << (bit % 8);
        prop_assert_eq!(verify(SECRET, &changed, Some(&signature)), Err(Refused::WrongSignature));
    }

    #[test]
    fn no_header_makes_it_panic(header in "\\PC{0,80}|sha256=[0-9a-fg]{0,70}", id in "\\PC{0,20}") {
        let _ = verify(SECRET, BODY, Some(&header));
        let _ = delivery(|_| Some(&id));
    }
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
