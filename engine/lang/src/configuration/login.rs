//! `serve: oidc`: the provider that says who people are, and what they may.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::map_of;
use crate::diagnostic::{Code, Diagnostics};
use crate::key::{self, Keys};
use crate::node::{Entry, Kind};

const OIDC: Keys = Keys {
    of: "`oidc`",
    known: &["issuer", "client_id", "client_secret", "url", "scopes", "name", "session", "roles"],
    coming: &[],
};
const RULE: Keys = Keys { of: "a rule of `roles`", known: &["claim", "is", "role", "for"], coming: &[] };
const ROLES: [&str; 4] = ["viewer", "operator", "editor", "admin"];

/// Who says who people are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The provider, exactly as it calls itself.
    pub issuer: String,
    /// The engine, as it is registered there.
    pub client: String,
    /// The file of what the engine proves that with; a relative one begins where the configuration lies.
    pub secret: Option<PathBuf>,
    /// Where people reach the engine.
    pub url: String,
    /// What is asked for beside `openid`, if it is said.
    pub scopes: Option<Vec<String>>,
    /// The claim that somebody is called by, if it is said.
    pub name: Option<String>,
    /// How long a login lasts, if it is said.
    pub session: Option<Duration>,
    /// What somebody may: the first one that fits counts.
    pub roles: Vec<RoleRule>,
}

/// What those may of whom a claim says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// The claim.
    pub claim: String,
    /// What it says, one of these.
    pub values: Vec<String>,
    /// The name of their role.
    pub role: String,
    /// The workflows that they may it with; all, and the engine, where there are none.
    pub workflows: Vec<String>,
}

impl Login {
    /// The same, as it can be said again.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { issuer, client, secret, url, scopes, name, session, roles } = self;
        let rules = roles.iter().map(|RoleRule { claim, values, role, workflows }| {
            let mut rule = json!({ "claim": claim, "is": values, "role": role });
            if !workflows.is_empty() {
                rule["for"] = json!(workflows);
            }
            rule
        });
        let mut said =
            json!({ "issuer": issuer, "client_id": client, "url": url, "roles": Value::from_iter(rules) });
        let more = [
            ("client_secret", secret.as_ref().map(|secret| json!(secret.display().to_string()))),
            ("scopes", scopes.as_ref().map(|scopes| json!(scopes))),
            ("name", name.as_ref().map(|name| json!(name))),
            ("session", session.map(|session| json!(format!("{}ms", session.as_millis())))),
        ];
        for (key, value) in more {
            if let Some(value) = value {
                said[key] = value;
            }
        }
        said
    }
}

pub(super) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Login> {
    let entries = map_of(entry, diagnostics);
    key::check(entries, &OIDC, diagnostics);
    let [issuer, client, url] = ["issuer", "client_id", "url"].map(|name| {
        if key::given(entries, name).is_none() {
            let message = format!("`oidc` needs `{name}`");
            diagnostics.error(Code::MissingKey, entry.key_span, message);
        }
        text(entries, name, diagnostics)
    });
    let roles = match key::given(entries, "roles") {
        Some(roles) => rules(roles, diagnostics),
        None => {
            let message = "`oidc` needs `roles`: without one that fits nobody may do anything";
            diagnostics.error(Code::MissingKey, entry.key_span, message);
            Vec::new()
        }
    };
    let scopes = key::given(entries, "scopes").map(|scopes| texts(scopes, "a scope", diagnostics));
    let session = key::given(entries, "session").and_then(|session| key::duration_of(session, diagnostics));
    Some(Login {
        issuer: issuer?,
        client: client?,
        secret: text(entries, "client_secret", diagnostics).map(PathBuf::from),
        url: url?,
        scopes,
        name: text(entries, "name", diagnostics),
        session,
        roles,
    })
}

fn rules(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Vec<RoleRule> {
    let Kind::List(rules) = &entry.value.kind else {
        let message = format!("`roles` must be a list of rules, not {}", entry.value.what());
        diagnostics.error(Code::WrongKind, entry.value_span(), message);
        return Vec::new();
    };
    let mut read = Vec::new();
    for node in rules {
        let entries = key::entries_of(node, node.span, "a rule of `roles`", diagnostics).unwrap_or_default();
        key::check(entries, &RULE, diagnostics);
        let [claim, role] = ["claim", "role"].map(|name| text(entries, name, diagnostics));
        let listed = |name: &str, what: &str, diagnostics: &mut Diagnostics<'_>| {
            // Also where nothing stands behind it: without rights is not with all of them.
            let found = key::find(entries, name)?;
            let said = texts(found, what, diagnostics);
            if said.is_empty() {
                let message = format!("`{name}` names nothing");
                diagnostics.error_with(Code::WrongKind, found.key_span, message, || {
                    (name == "for").then(|| "without `for` it is all workflows and the engine".to_owned())
                });
            }
            Some(said)
        };
        let values = listed("is", "what the claim says", diagnostics).unwrap_or_default();
        let workflows = listed("for", "a workflow", diagnostics).unwrap_or_default();
        match (claim, role) {
            (Some(claim), Some(role)) if !values.is_empty() && ROLES.contains(&role.as_str()) => {
                read.push(RoleRule { claim, values, role, workflows });
            }
            _ => {
                let message = "a rule of `roles` says which `claim` `is` what, and which `role` that gives";
                diagnostics.error_with(Code::MissingKey, node.span, message, || {
                    Some(format!(
                        "write `{{ claim: groups, is: shop-team, role: operator }}`; roles are {}",
                        ROLES.join(", ")
                    ))
                });
            }
        }
    }
    read
}

fn text(entries: &[Entry], name: &str, diagnostics: &mut Diagnostics<'_>) -> Option<String> {
    key::given(entries, name).and_then(|found| Some(key::text_of(found, diagnostics)?.to_owned()))
}

fn texts(entry: &Entry, what: &str, diagnostics: &mut Diagnostics<'_>) -> Vec<String> {
    key::texts_of(entry, what, diagnostics).into_iter().map(|(text, _)| text.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use crate::read_configuration;

    #[test]
    fn what_is_said_of_logins_is_read_and_can_be_said_again() {
        let text = "serve: { oidc: { issuer: 'https://id.example.com', client_id: ci, client_secret: s, url: 'https://ci.example.com', scopes: [groups], name: sub, session: 1h, roles: [{ claim: groups, is: [a, b], role: operator, for: 'shop-*' }, { claim: sub, is: '7', role: admin }] } }";
        let (read, found) = read_configuration(text);
        let login = read.and_then(|read| read.login).unwrap_or_else(|| panic!("{found:?}"));
        assert_eq!(
            (login.roles[0].values.len(), login.roles[0].workflows.as_slice()),
            (2, ["shop-*".to_owned()].as_slice())
        );
        assert_eq!(login.session, Some(std::time::Duration::from_secs(3_600)));
        let again =
            read_configuration(&serde_json::json!({ "serve": { "oidc": login.to_json() } }).to_string()).0;
        assert_eq!(again.and_then(|again| again.login), Some(login));
    }

    #[test]
    fn a_rule_that_gives_nothing_and_what_is_missing_are_told() {
        for (text, says) in [
            ("{ issuer: a, client_id: b, url: c }", "needs `roles`"),
            ("{ issuer: a, client_id: b, roles: [] }", "needs `url`"),
            ("{ issuer: a, client_id: b, url: c, roles: { a: b } }", "must be a list"),
            ("{ issuer: a, client_id: b, url: c, roles: [{ claim: a, is: b, role: root }] }", "which `role`"),
            ("{ issuer: a, client_id: b, url: c, roles: [{ claim: a, role: admin }] }", "which `role`"),
            ("{ issuer: a, client_id: b, url: c, rolls: [] }", "rolls"),
            (
                "{ issuer: a, client_id: b, url: c, roles: [{ claim: a, is: b, role: viewer, for: [] }] }",
                "`for` names nothing",
            ),
            ("{ issuer: a, client_id: b, url: c, roles: [{ claim: a, is: b, role: viewer, for: }] }", "for"),
        ] {
            let (_, found) = read_configuration(&format!("serve: {{ oidc: {text} }}"));
            assert!(found.iter().any(|found| found.message.contains(says)), "{text}: {found:?}");
        }
    }
}
