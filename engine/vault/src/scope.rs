//! Which workflows may have a secret.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use yuanli_model::WorkflowName;

/// A workflow by name, or all whose names begin alike: `shop`, `shop-*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope {
    name: String,
    /// Whether more may follow.
    is_prefix: bool,
}

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no workflow: give its name, such as `shop`, or how the names of several begin, such as `shop-*`"
)]
pub struct InvalidScope(String);

impl Scope {
    /// Whether it is meant.
    #[must_use]
    pub fn matches(&self, workflow: &WorkflowName) -> bool {
        let workflow = workflow.as_str();
        if self.is_prefix { workflow.starts_with(&self.name) } else { workflow == self.name }
    }
}

/// Whether a workflow is one of these, or they say nothing.
pub(crate) fn are_for(scopes: &[Scope], workflow: &WorkflowName) -> bool {
    scopes.is_empty() || scopes.iter().any(|scope| scope.matches(workflow))
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        // A name may end with what comes before the rest of others: `shop-`.
        let whole = if is_prefix { format!("{name}x") } else { name.to_owned() };
        match whole.parse::<WorkflowName>() {
            Ok(_) => Ok(Self { name: name.to_owned(), is_prefix }),
            Err(_) => Err(InvalidScope(text.to_owned())),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.is_prefix { "*" } else { "" })
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_prefixes_match() {
        let is = |scope: &str, workflow: &str| {
            scope.parse::<Scope>().expect(scope).matches(&workflow.parse().expect("a name"))
        };
        assert!(is("shop", "shop") && !is("shop", "shop-test") && !is("shop-*", "shop"));
        assert!(is("shop-*", "shop-test") && is("*", "anything") && is("sh*", "shop"));
        for bad in ["", "a b", "**", "Shop", "-"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }
}
