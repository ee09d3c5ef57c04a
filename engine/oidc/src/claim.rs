//! What an ID token says of somebody, once it is known who signed it (OpenID Connect Core 1.0, section 3.1.3.7).

use serde_json::{Map, Value};
use yuanli_model::Timestamp;

use crate::error::{LEEWAY, Untaken};

/// Somebody, as the provider says who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What the provider knows them by, for good; unique at that provider.
    pub subject: String,
    claims: Map<String, Value>,
}

/// What a token has to say.
pub(crate) struct Expected<'e> {
    pub(crate) issuer: &'e str,
    pub(crate) client: &'e str,
    pub(crate) nonce: &'e str,
    pub(crate) now: Timestamp,
}

/// Claims that count only where the provider says that it has looked whether they are so.
const VERIFIED: [(&str, &str); 2] = [("email", "email_verified"), ("phone_number", "phone_number_verified")];

impl Person {
    /// Reads the content of a token that was signed by the provider.
    pub(crate) fn read(content: &[u8], expected: &Expected<'_>) -> Result<Self, Untaken> {
        let claims: Map<String, Value> = serde_json::from_slice(content).map_err(|_| Untaken::Malformed)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        match text("iss") {
            Some(issuer) if issuer == expected.issuer => {}
            other => return Err(Untaken::Issuer(other.unwrap_or_default().to_owned())),
        }
        if !is_for(&claims, expected.client) {
            return Err(Untaken::Audience);
        }
        is_now(&claims, expected.now)?;
        if text("nonce") != Some(expected.nonce) {
            return Err(Untaken::Nonce);
        }
        let subject = text("sub").filter(|subject| !subject.is_empty()).ok_or(Untaken::Subject)?.to_owned();
        Ok(Self { subject, claims })
    }

    /// What the provider tells of somebody who has a token; what the ID token says itself stays as it is.
    pub(crate) fn add(&mut self, told: &[u8]) -> Result<(), Untaken> {
        let told: Map<String, Value> = serde_json::from_slice(told).map_err(|_| Untaken::Malformed)?;
        // As the standard has it: it could be about somebody else.
        if told.get("sub").and_then(Value::as_str) != Some(&self.subject) {
            return Err(Untaken::Subject);
        }
        let known: Vec<String> = self.claims.keys().cloned().collect();
        let is_known = |claim: &str| known.iter().any(|known| known == claim);
        for (name, value) in told {
            // Whether a claim is verified says whoever says the claim.
            let of =
                VERIFIED.iter().find(|(_, verified)| *verified == name).map_or(&*name, |(claim, _)| claim);
            if !is_known(&name) && !is_known(of) {
                self.claims.insert(name, value);
            }
        }
        Ok(())
    }

    /// What a claim says, as texts: one, or those of a list. Dots lead into maps: `realm_access.roles`. An address that the
    /// provider has not verified says nothing.
    #[must_use]
    pub fn claim(&self, name: &str) -> Vec<&str> {
        let is_unverified = VERIFIED.iter().any(|(claim, verified)| {
            *claim == name && self.claims.get(*verified) != Some(&Value::Bool(true))
        });
        if is_unverified {
            return Vec::new();
        }
        // Names of claims may have dots themselves, as `https://example.com/groups` has.
        let whole = self.claims.get(name);
        let found = whole.or_else(|| {
            let mut parts = name.split('.');
            let first = self.claims.get(parts.next()?)?;
            parts.try_fold(first, |value, part| value.get(part))
        });
        match found {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// Whether it is for this client, and, where it is for others as well, was given to this one.
fn is_for(claims: &Map<String, Value>, client: &str) -> bool {
    let (is_meant, is_shared) = match claims.get("aud") {
        Some(Value::String(audience)) => (audience == client, false),
        Some(Value::Array(audiences)) => (audiences.iter().any(|one| one == client), audiences.len() > 1),
        _ => (false, false),
    };
    let is_given = match claims.get("azp") {
        Some(party) => party == client,
        None => !is_shared,
    };
    is_meant && is_given
}

/// Whether it is taken at this time, as far as the clocks can be apart.
fn is_now(claims: &Map<String, Value>, now: Timestamp) -> Result<(), Untaken> {
    let (now, leeway) = (now.as_millis() as f64 / 1000.0, LEEWAY.as_secs_f64());
    let time = |name: &str| claims.get(name).map(|time| time.as_f64().unwrap_or(f64::NAN));
    // What is no number compares with nothing, and so is refused.
    match time("exp") {
        Some(expires) if now < expires + leeway => {}
        Some(_) => return Err(Untaken::Expired),
        None => return Err(Untaken::Malformed),
    }
    for from in ["iat", "nbf"] {
        match time(from) {
            Some(from) if from - leeway <= now => {}
            Some(_) => return Err(Untaken::Early),
            None if from == "iat" => return Err(Untaken::Malformed),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXPECTED: Expected<'_> = Expected {
        issuer: "https://id.example.com",
        client: "yuanli",
        nonce: "n",
        now: Timestamp::from_millis(1_000_000),
    };

    fn read(change: impl FnOnce(&mut Value)) -> Result<Person, Untaken> {
        let mut claims = json!({
            "iss": "https://id.example.com", "aud": "yuanli", "sub": "1", "nonce": "n", "iat": 1000, "exp": 1600,
        });
        change(&mut claims);
        Person::read(claims.to_string().as_bytes(), &EXPECTED)
    }

    #[test]
    fn each_claim_has_to_be_as_it_was_asked_for() {
        assert_eq!(read(|_| ()).expect("it is taken").subject, "1");
        let wrong = |name: &str, value: Value| {
            read(|claims| match value {
                Value::Null => drop(claims.as_object_mut().and_then(|claims| claims.remove(name))),
                value => claims[name] = value,
            })
        };
        for (name, value, why) in [
            ("iss", json!("https://id.example.com/"), Untaken::Issuer("https://id.example.com/".to_owned())),
            ("iss", json!(null), Untaken::Issuer(String::new())),
            ("aud", json!("other"), Untaken::Audience),
            ("aud", json!(["other"]), Untaken::Audience),
            ("aud", json!(["yuanli", "other"]), Untaken::Audience),
            ("aud", json!(null), Untaken::Audience),
            ("azp", json!("other"), Untaken::Audience),
            ("exp", json!(940), Untaken::Expired),
            ("exp", json!("2000"), Untaken::Expired),
            ("exp", json!(null), Untaken::Malformed),
            ("iat", json!(1061), Untaken::Early),
            ("iat", json!(null), Untaken::Malformed),
            ("nbf", json!(1061), Untaken::Early),
            ("nonce", json!("m"), Untaken::Nonce),
            ("nonce", json!(null), Untaken::Nonce),
            ("sub", json!(""), Untaken::Subject),
            ("sub", json!(7), Untaken::Subject),
        ] {
            assert_eq!(wrong(name, value.clone()), Err(why), "{name}: {value}");
        }
        for (name, value) in
            [("exp", json!(941)), ("iat", json!(1060)), ("nbf", json!(1060)), ("azp", json!("yuanli"))]
        {
            assert!(wrong(name, value.clone()).is_ok(), "{name}: {value}");
        }
        let shared = read(|claims| {
            claims["aud"] = json!(["other", "yuanli"]);
            claims["azp"] = json!("yuanli");
        });
        assert!(shared.is_ok(), "for several, and given to this one");
        assert_eq!(Person::read(b"[]", &EXPECTED), Err(Untaken::Malformed));
    }

    #[test]
    fn what_is_told_beside_the_token_is_of_the_same_person_and_changes_nothing_in_it() {
        let mut person = read(|claims| claims["email"] = json!("eva@example.com")).expect("it is taken");
        let told = json!({"sub": "1", "email": "x@example.com", "email_verified": true, "groups": ["a"]});
        person.add(told.to_string().as_bytes()).expect("it is the same");
        assert_eq!(person.claim("groups"), ["a"]);
        assert!(person.claim("email").is_empty(), "that another address is verified is nothing to this one");
        for (told, why) in [(json!({"sub": "2"}), Untaken::Subject), (json!([]), Untaken::Malformed)] {
            assert_eq!(person.add(told.to_string().as_bytes()), Err(why));
        }
    }

    #[test]
    fn claims_are_texts_lists_of_them_and_within_maps() {
        let person = read(|claims| {
            claims["groups"] = json!(["a", 7, "b"]);
            claims["realm_access"] = json!({ "roles": ["c"] });
            claims["https://example.com/role"] = json!("d");
            claims["email"] = json!("eva@example.com");
        });
        let person = person.expect("it is taken");
        assert_eq!(person.claim("groups"), ["a", "b"]);
        assert_eq!(person.claim("realm_access.roles"), ["c"]);
        assert_eq!(person.claim("https://example.com/role"), ["d"]);
        assert!(
            person.claim("email").is_empty() && person.claim("none").is_empty(),
            "nobody has verified it"
        );
        for (verified, is_taken) in [(json!(true), true), (json!(false), false), (json!("true"), false)] {
            let person = read(|claims| {
                claims["email"] = json!("eva@example.com");
                claims["email_verified"] = verified;
            });
            assert_eq!(!person.expect("it is taken").claim("email").is_empty(), is_taken);
        }
    }
}
