//! Which volumes a plugin may use, and whether it may remove them.

use std::fmt;
use std::str::FromStr;

use crate::VolumeName;
use crate::http::InvalidPattern;

/// Volumes that a plugin may make, see and mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeScope {
    /// Those with such a name; all when empty.
    pub names: Vec<VolumePattern>,
    /// Whether it may remove them as well.
    pub may_remove: bool,
}

/// Names of volumes: `cache`, or all that begin with `cache-`: `cache-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePattern {
    /// Without the star.
    text: String,
    is_beginning: bool,
}

/// Why a volume may not be used, and what grant would allow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The stage has no right to volumes.
    #[error("the stage may use no volumes; it would take `grants: [{{ volumes: {{ names: [{0}] }} }}]`")]
    NoVolumes(VolumeName),
    /// No scope has the name.
    #[error("no grant has the volume `{0}`; it would take `grants: [{{ volumes: {{ names: [{0}] }} }}]`")]
    Name(VolumeName),
    /// The scopes that have the name do not allow removing.
    #[error(
        "no grant allows removing the volume `{0}`; it would take `grants: [{{ volumes: {{ names: [{0}], remove: true }} }}]`"
    )]
    Removing(VolumeName),
}

/// Whether these scopes together allow using a volume. No scope is no right.
///
/// # Errors
/// Why none of them does.
pub fn check(scopes: &[VolumeScope], volume: &VolumeName) -> Result<(), Denied> {
    match scopes {
        [] => Err(Denied::NoVolumes(volume.clone())),
        some if some.iter().any(|scope| scope.has(volume)) => Ok(()),
        _ => Err(Denied::Name(volume.clone())),
    }
}

/// Whether these scopes together allow removing a volume.
///
/// # Errors
/// Why none of them does.
pub fn check_removal(scopes: &[VolumeScope], volume: &VolumeName) -> Result<(), Denied> {
    check(scopes, volume)?;
    match scopes.iter().any(|scope| scope.may_remove && scope.has(volume)) {
        true => Ok(()),
        false => Err(Denied::Removing(volume.clone())),
    }
}

impl VolumeScope {
    /// Whether it has a volume.
    #[must_use]
    pub fn has(&self, volume: &VolumeName) -> bool {
        self.names.is_empty() || self.names.iter().any(|pattern| pattern.matches(volume.as_str()))
    }

    /// The first part of what is granted that this does not have, as a document has it.
    #[must_use]
    pub fn excess(&self, granted: &Self) -> Option<String> {
        if granted.may_remove && !self.may_remove {
            return Some("remove: true".to_owned());
        }
        if self.names.is_empty() {
            return None;
        }
        if granted.names.is_empty() {
            return Some("all names".to_owned());
        }
        let is_over = |name: &&VolumePattern| !self.names.iter().any(|pattern| pattern.covers(name));
        granted.names.iter().find(is_over).map(|name| format!("names: [{name}]"))
    }
}

impl VolumePattern {
    fn matches(&self, name: &str) -> bool {
        if self.is_beginning { name.starts_with(&self.text) } else { name == self.text }
    }

    /// Whether it matches whatever the other one does.
    fn covers(&self, other: &Self) -> bool {
        match other.is_beginning {
            true => self.is_beginning && other.text.starts_with(&self.text),
            false => self.matches(&other.text),
        }
    }
}

impl FromStr for VolumePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let (name, is_beginning) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (text, false),
        };
        // What a name can begin with is a name, or becomes one with a letter.
        let completed = if is_beginning { format!("{name}x") } else { name.to_owned() };
        match completed.parse::<VolumeName>() {
            Ok(_) => Ok(Self { text: name.to_owned(), is_beginning }),
            Err(_) => Err(InvalidPattern {
                message: format!("`{text}` can be no name of a volume"),
                help: "write a name such as `cache`, or how names begin, such as `cache-*`".to_owned(),
            }),
        }
    }
}

impl fmt::Display for VolumePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.is_beginning { "*" } else { "" })
    }
}

impl fmt::Display for VolumeScope {
    /// As a document has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.names.is_empty() {
            let quoted = |name: &VolumePattern| match name.is_beginning {
                true => format!("\"{name}\""),
                false => name.to_string(),
            };
            let names: Vec<String> = self.names.iter().map(quoted).collect();
            parts.push(format!("names: [{}]", names.join(", ")));
        }
        if self.may_remove {
            parts.push("remove: true".to_owned());
        }
        write!(f, "{{ {} }}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(names: &[&str], may_remove: bool) -> VolumeScope {
        VolumeScope { names: names.iter().map(|name| name.parse().expect("a pattern")).collect(), may_remove }
    }

    fn name(text: &str) -> VolumeName {
        text.parse().expect("a name")
    }

    #[test]
    fn volumes_are_granted_by_name_and_removing_for_itself() {
        let scopes = [scope(&["cache-*", "data"], false), scope(&["tmp-*"], true)];
        let of =
            |text: &str| (check(&scopes, &name(text)).is_ok(), check_removal(&scopes, &name(text)).is_ok());
        assert_eq!(of("cache-a"), (true, false));
        assert_eq!(of("cache"), (false, false));
        assert_eq!(of("data"), (true, false));
        assert_eq!(of("data-2"), (false, false));
        assert_eq!(of("tmp-1"), (true, true));
        assert_eq!(check(&[], &name("a")), Err(Denied::NoVolumes(name("a"))));
        assert_eq!(check(&[scope(&[], false)], &name("any")), Ok(()));
        let denied = check_removal(&scopes, &name("data")).unwrap_err().to_string();
        assert!(denied.ends_with("`grants: [{ volumes: { names: [data], remove: true } }]`"), "{denied}");
    }

    #[test]
    fn patterns_are_names_or_how_they_begin() {
        for text in ["cache", "cache-*", "*", "a1"] {
            assert_eq!(text.parse::<VolumePattern>().expect(text).to_string(), text);
        }
        for text in ["", "../x", "a*b", "**", "UPPER CASE", "-*"] {
            assert!(text.parse::<VolumePattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_granted_beyond_a_ceiling_is_named() {
        let excess = |ceiling: &VolumeScope, granted: &VolumeScope| ceiling.excess(granted);
        let all = scope(&[], true);
        assert_eq!(excess(&all, &all), None);
        assert_eq!(excess(&scope(&[], false), &all).as_deref(), Some("remove: true"));
        let some = scope(&["cache-*"], false);
        assert_eq!(excess(&some, &scope(&["cache-a", "cache-b-*"], false)), None);
        assert_eq!(excess(&some, &scope(&["ca*"], false)).as_deref(), Some("names: [ca*]"));
        assert_eq!(excess(&some, &scope(&["cache"], false)).as_deref(), Some("names: [cache]"));
        assert_eq!(excess(&some, &scope(&[], false)).as_deref(), Some("all names"));
    }
}
