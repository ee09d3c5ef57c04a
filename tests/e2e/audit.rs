//! The audit log: who did what over the API, from where, and what came of it.

use serde_json::{Value, json};

use crate::served::{Served, request};

const SHOP: &str =
    "name: shop\non: { webhook: { secret: hook } }\nstages:\n  a: { uses: script, with: { print: [one] } }\n";

/// The entries, oldest first, as who, what, about, status.
fn entries(served: &Served, arguments: &[&str]) -> Vec<(String, String, String, u64)> {
    let told = served.yuanli(&[&["audit", "--json"], arguments].concat()).expect(0, &[]);
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let entry = |entry: &Value| {
        let what = format!("{} {}", text(entry, "method"), text(entry, "path"));
        (text(entry, "by"), what, text(entry, "about"), entry["status"].as_u64().unwrap())
    };
    told.lines().iter().rev().map(entry).collect()
}

#[test]
fn who_did_what_is_known_also_after_a_crash_and_no_secret_is_in_it() {
    let mut served = Served::without_image();
    let ask = |served: &Served, token: &str, method: &str, path: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        request(served.api, method, path, &headers, body)
    };
    served.apply("shop.yaml", SHOP);
    let made =
        served.yuanli(&["token", "create", "ci", "--role", "operator", "--for", "shop"]).expect(0, &[]);
    let token = made.out.trim().to_owned();
    let (status, started) = ask(&served, &token, "POST", "/api/v1/runs", r#"{"workflow":"shop"}"#);
    assert_eq!(status, 201, "{started}");
    let run: Value = serde_json::from_str(&started).unwrap();
    let value = json!({ "value": "the-value-itself" }).to_string();
    assert_eq!(ask(&served, &token, "PUT", "/api/v1/secrets/hook?value=in-the-query", &value).0, 403);
    assert_eq!(ask(&served, &token, "POST", "/api/v1/workflows/bank/pause", "").0, 404);
    // What only looks, and who is nobody, write nothing.
    assert_eq!(ask(&served, &token, "GET", "/api/v1/runs", "").0, 200);
    assert_eq!(ask(&served, "wrong", "POST", "/api/v1/runs", "{}").0, 401);
    assert_eq!(ask(&served, "wrong", "POST", "/hooks/shop", "{}").0, 401);
    served.kill();
    served.start();
    served.yuanli(&["workflow", "pause", "shop"]).expect(0, &[]);

    let all = entries(&served, &["--all"]);
    let about = format!("workflow shop, run {}", run["id"].as_str().unwrap());
    let version = all[0].2.clone();
    assert!(version.starts_with("applied workflow shop, version sha256:"), "{version}");
    let told = |by: &str, what: &str, about: &str, status| {
        (by.to_owned(), what.to_owned(), about.to_owned(), status)
    };
    let expected = [
        told("owner", "POST /api/v1/workflows", &version, 200),
        told("owner", "POST /api/v1/tokens", "token ci, operator", 201),
        told("ci", "POST /api/v1/runs", &about, 201),
        told("ci", "PUT /api/v1/secrets/hook", "", 403),
        told("ci", "POST /api/v1/workflows/bank/pause", "", 404),
        told("owner", "POST /api/v1/workflows/shop/pause", "", 200),
    ];
    assert_eq!(all, expected);
    assert_eq!(entries(&served, &["--by", "ci", "--limit", "2"]), expected[3..5]);

    let raw = served.yuanli(&["audit", "--all", "--json"]).out;
    for secret in [token.as_str(), "the-value-itself", "in-the-query"] {
        assert!(!raw.contains(secret), "{raw}");
    }
    let from: Vec<Value> =
        raw.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["from"].take()).collect();
    assert!(from[0].as_str().unwrap().starts_with("socket (user "), "{from:?}");
    assert!(from[1].as_str().unwrap().starts_with("127.0.0.1:"), "{from:?}");
    let table = served.yuanli(&["audit"]).expect(0, &[]).out;
    assert!(table.starts_with("TIME (UTC)") && table.contains("/api/v1/secrets/hook"), "{table}");
    // It is read by admins only, and changed by nobody.
    assert_eq!(ask(&served, &token, "GET", "/api/v1/audit", "").0, 403);
    assert_eq!(ask(&served, &token, "DELETE", "/api/v1/audit", "").0, 405);
    // What a check of the data directory makes of it.
    assert_eq!(served.stop(), 0);
    served.yuanli(&["admin", "check"]).expect(0, &[]);
}
