//! The hosts and paths of a scope: texts with stars in them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{Host, Target};

/// Longest host or path of a scope, in bytes: a name has at most 253, and matching is quadratic in a path.
pub const MAX_PATTERN_BYTES: usize = 512;

/// Longest label of a name, in bytes, as DNS has it.
const MAX_LABEL_BYTES: usize = 63;

/// Hosts of a scope: `api.example.com`, `*.example.org`, `127.0.0.1:8080`, `[::1]`.
///
/// Without a port the usual one of the scheme is meant. `*.` stands for one or more labels, so not for the name after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    kind: Kind,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Host(Host),
    /// The names that end with this, which begins with a dot.
    Below(String),
}

/// Paths of a scope: `/v1/**`. `*` stands for any text without `/`, `**` for any number of parts of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(String);

/// Why a text is no pattern: what is wrong, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPattern {
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

fn invalid(message: impl Into<String>, help: impl Into<String>) -> InvalidPattern {
    InvalidPattern { message: message.into(), help: help.into() }
}

impl HostPattern {
    /// Whether a request is to such a host.
    #[must_use]
    pub fn matches(&self, target: &Target<'_>) -> bool {
        if target.port != self.port.unwrap_or(target.scheme.usual_port()) {
            return false;
        }
        match (&self.kind, target.host) {
            (Kind::Host(host), asked) => host == asked,
            (Kind::Below(end), Host::Name(name)) => name.len() > end.len() && name.ends_with(end.as_str()),
            (Kind::Below(_), Host::Address(_)) => false,
        }
    }

    /// Whether it matches whatever the other one does.
    pub(super) fn covers(&self, other: &Self) -> bool {
        // Without a port it depends on the scheme, so that none is as good as one.
        self.port == other.port
            && match (&self.kind, &other.kind) {
                (Kind::Host(host), Kind::Host(other)) => host == other,
                (Kind::Below(end), Kind::Host(Host::Name(name))) => {
                    name.len() > end.len() && name.ends_with(end.as_str())
                }
                (Kind::Below(end), Kind::Below(other)) => other.ends_with(end.as_str()),
                (Kind::Host(_), Kind::Below(_)) | (Kind::Below(_), Kind::Host(Host::Address(_))) => false,
            }
    }

    /// Whether it names one address.
    #[must_use]
    pub const fn is_address(&self) -> bool {
        matches!(self.kind, Kind::Host(Host::Address(_)))
    }
}

impl FromStr for HostPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        const EXAMPLE: &str = "write a name such as `api.example.com`, `*.example.org` or `127.0.0.1:8080`";
        let refused = |why: &str| invalid(format!("`{text}` is no host: {why}"), EXAMPLE);
        if text.len() > MAX_PATTERN_BYTES {
            return Err(invalid("the host is too long to be one", EXAMPLE));
        }
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            return Err(invalid(
                format!("`{text}` is an address, not a host"),
                format!("write `{host}`; paths are said with `paths`"),
            ));
        }
        if text.contains(['/', '@', ' ', '?', '#']) {
            return Err(refused("it has a part that no host has"));
        }
        let (host, port) =
            split_port(text).ok_or_else(|| refused("its port is no number from 1 to 65535"))?;
        let host = host.to_lowercase();
        if host == "*" {
            return Err(refused("it would be all of them"));
        }
        if let Some(address) = address_of(&host) {
            return Ok(Self { kind: Kind::Host(Host::Address(address)), port });
        }
        let name = host.strip_prefix("*.").unwrap_or(&host);
        if !name.is_ascii() {
            return Err(invalid(
                format!("`{text}` has letters that DNS does not know"),
                "write it as DNS has it, beginning with `xn--`",
            ));
        }
        // A last label of digits is an address, however it is written; which one, programs disagree on.
        let is_number = |label: &str| label.starts_with("0x") || label.bytes().all(|b| b.is_ascii_digit());
        let labels = || name.trim_end_matches('.').split('.');
        if !labels().all(is_label) || labels().next_back().is_some_and(is_number) {
            return Err(refused("it is neither a name nor an address"));
        }
        let name = name.trim_end_matches('.');
        let kind = match host.starts_with("*.") {
            true => Kind::Below(format!(".{name}")),
            false => Kind::Host(Host::Name(name.to_owned())),
        };
        Ok(Self { kind, port })
    }
}

/// Host and port; `None` when there is a port that is none.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    // The colons of an address of version 6 are in brackets, or there is no port.
    let end = text.rfind(']').map_or(0, |bracket| bracket + 1);
    match text[end..].rsplit_once(':') {
        None => Some((text, None)),
        Some((before, _)) if end == 0 && before.contains(':') => Some((text, None)),
        Some((before, port)) => {
            let port = port.parse().ok().filter(|port| *port != 0)?;
            Some((&text[..end + before.len()], Some(port)))
        }
    }
}

fn address_of(host: &str) -> Option<IpAddr> {
    let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match in_brackets {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().map(IpAddr::V4).or_else(|_| host.parse().map(IpAddr::V6)).ok(),
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Host(host) => host.fmt(f)?,
            Kind::Below(end) => write!(f, "*{end}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl PathPattern {
    /// Whether all of a path matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let (pattern, path): (Vec<&str>, Vec<&str>) =
            (self.0.split('/').collect(), path.split('/').collect());
        matches(&pattern, &path, |part| *part == "**", |part, found| matches_part(part, found))
    }

    /// Whether it is plain to see that it matches whatever the other one does: they are the same, or the other one begins
    /// with all that is before `**` at the end of this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let begins = other.0.split('*').next().unwrap_or_default();
        let below = self.0.strip_suffix("**").filter(|below| !below.contains('*'));
        self == other || below.is_some_and(|below| begins.starts_with(below))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PathPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        const EXAMPLE: &str = "write it as a request has it, such as `/v1/**` or `/items/*`";
        if text.len() > MAX_PATTERN_BYTES {
            return Err(invalid("the path is too long to be matched", EXAMPLE));
        }
        if !text.starts_with('/') {
            return Err(invalid(format!("`{text}` does not begin with `/`"), EXAMPLE));
        }
        if text.contains(['?', '#', ' ']) || !text.is_ascii() {
            return Err(invalid(format!("`{text}` has a sign that no path has"), EXAMPLE));
        }
        if is_ambiguous(text) || text.split('/').any(|part| part == "." || part == "..") {
            return Err(invalid(
                format!("`{text}` can be read in more than one way"),
                "write the path that is meant, without `.`, `..`, `\\` and without encoding them",
            ));
        }
        if text.split('/').any(|part| part.contains("**") && part != "**") {
            return Err(invalid(
                format!("`**` in `{text}` is not a whole part of the path"),
                "write `/**/` for any parts, and `*` inside of one",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Whether a path has signs that some servers take for others when they look for what it means.
pub(super) fn is_ambiguous(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.contains('\\')
        || ["%2f", "%5c", "%2e", "%25", "%3b"].iter().any(|encoded| path.contains(encoded))
        // Some leave out what comes after `;` before they look for `..`.
        || path.split('/').any(|part| matches!(part.split_once(';'), Some(("." | "..", _))))
}

fn matches_part(pattern: &str, part: &str) -> bool {
    matches(pattern.as_bytes(), part.as_bytes(), |byte| *byte == b'*', |byte, found| byte == found)
}

/// Whether a pattern matches all of a sequence. Goes back to the last star only, which is enough, and bounded by the product
/// of both lengths.
fn matches<P, T>(
    pattern: &[P],
    found: &[T],
    is_star: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut next) = (0, 0);
    // After the last star, and what it stands for until now.
    let mut star = None;
    while next < found.len() {
        match pattern.get(at) {
            Some(part) if is_star(part) => {
                at += 1;
                star = Some((at, next));
            }
            Some(part) if fits(part, &found[next]) => {
                at += 1;
                next += 1;
            }
            _ => match star {
                Some((after, until)) => {
                    at = after;
                    next = until + 1;
                    star = Some((after, next));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(is_star)
}
