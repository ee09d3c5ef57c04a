//! Which HTTP requests a plugin may send: the one rule, asked for each request, each redirect and each address.
//!
//! [`decide`] is asked before a name is looked up, [`Permit::check`] for every address that the name has.

mod address;
mod pattern;

use std::fmt;
use std::net::IpAddr;

pub use address::{Closed, closed};
pub use pattern::{HostPattern, InvalidPattern, MAX_PATTERN_BYTES, PathPattern};

/// The methods that a scope can have: those of RFC 9110 and `PATCH`, without `CONNECT` and `TRACE`, which reach through
/// servers.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// The methods of a scope that says none: they only read.
pub const USUAL_METHODS: [&str; 2] = ["GET", "HEAD"];

/// Requests that a plugin may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpScope {
    /// To these hosts; never empty.
    pub hosts: Vec<HostPattern>,
    /// With these methods, each of [`METHODS`].
    pub methods: Vec<&'static str>,
    /// To these paths; all when empty.
    pub paths: Vec<PathPattern>,
    /// Whether the names of its hosts may stand for addresses that are not everybody's.
    pub is_private: bool,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Encrypted.
    Https,
}

/// The host of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, in small letters, without a dot at its end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// What a request is to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// How it is sent.
    pub scheme: Scheme,
    /// The host.
    pub host: &'a Host,
    /// The port.
    pub port: u16,
    /// The method.
    pub method: &'a str,
    /// The path, as it is sent, without the query.
    pub path: &'a str,
}

/// A request that may be sent, as far as its addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    /// The grant names the host by its address.
    pub is_named: bool,
    /// The grant allows addresses that are not everybody's.
    pub is_private: bool,
}

/// Why a request may not be sent, and what grant would allow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No scope has the host.
    #[error(
        "no grant has the host `{authority}`; it would take `grants: [{{ http: {{ hosts: [{quoted}] }} }}]`"
    )]
    Host {
        /// Host, and port where it is not the usual one.
        authority: String,
        /// The same as YAML.
        quoted: String,
    },
    /// The scopes that have the host do not have the method.
    #[error("the grant for `{authority}` has no method `{method}`; it would take `methods: [{method}]`")]
    Method {
        /// Host, and port where it is not the usual one.
        authority: String,
        /// The method.
        method: String,
    },
    /// A method that no scope can have.
    #[error("the method `{0}` cannot be granted; these can: {methods}", methods = METHODS.join(", "))]
    NoMethod(String),
    /// The scopes that have host and method do not have the path.
    #[error(
        "the grant for `{authority}` does not have the path `{path}`; it would take `paths: [\"{path}\"]`"
    )]
    Path {
        /// Host, and port where it is not the usual one.
        authority: String,
        /// The path.
        path: String,
    },
    /// The path could mean another one to the server, and the scopes allow only some.
    #[error(
        "the path `{path}` has an encoded `/`, `\\`, `.` or `;`, or a `;` behind dots, which servers read differently; the \
         grant for `{authority}` allows only some paths, so it is refused"
    )]
    Ambiguous {
        /// Host, and port where it is not the usual one.
        authority: String,
        /// The path.
        path: String,
    },
    /// The name stands for an address that is not everybody's.
    #[error(
        "`{host}` has the address {address}, which is {what}; it would take the address itself under `hosts`, or \
         `private: true` in the grant"
    )]
    Address {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What kind it is of.
        what: Closed,
    },
}

/// Whether these scopes together allow a request.
///
/// # Errors
/// Why none of them does: the rule that the one that comes nearest fails.
pub fn decide(scopes: &[HttpScope], target: &Target<'_>) -> Result<Permit, Denied> {
    let authority = || authority(target);
    if !METHODS.contains(&target.method) {
        return Err(Denied::NoMethod(target.method.to_owned()));
    }
    let has_host = |scope: &&HttpScope| scope.hosts.iter().any(|host| host.matches(target));
    let of_host: Vec<&HttpScope> = scopes.iter().filter(has_host).collect();
    if of_host.is_empty() {
        let authority = authority();
        // YAML takes a bracket for a list.
        let quoted = if authority.starts_with('[') { format!("\"{authority}\"") } else { authority.clone() };
        return Err(Denied::Host { authority, quoted });
    }
    let mut of_method = of_host.into_iter().filter(|scope| scope.methods.contains(&target.method)).peekable();
    if of_method.peek().is_none() {
        return Err(Denied::Method { authority: authority(), method: target.method.to_owned() });
    }
    let is_ambiguous = pattern::is_ambiguous(target.path);
    let has_path = |scope: &&HttpScope| {
        scope.paths.is_empty() || !is_ambiguous && scope.paths.iter().any(|path| path.matches(target.path))
    };
    let allowing = of_method.filter(has_path).map(|scope| Permit {
        is_named: scope.hosts.iter().any(|host| host.is_address() && host.matches(target)),
        is_private: scope.is_private,
    });
    let either = |one: Permit, other: Permit| Permit {
        is_named: one.is_named || other.is_named,
        is_private: one.is_private || other.is_private,
    };
    allowing.reduce(either).ok_or_else(|| {
        let (authority, path) = (authority(), target.path.to_owned());
        if is_ambiguous { Denied::Ambiguous { authority, path } } else { Denied::Path { authority, path } }
    })
}

impl HttpScope {
    /// Requests by one method to one host, by whatever address that has: those of the engine itself.
    ///
    /// # Errors
    /// When it is no host.
    pub fn at(method: &'static str, host: &str, port: Option<u16>) -> Result<Self, InvalidPattern> {
        let authority = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let host = authority.parse()?;
        Ok(Self { hosts: vec![host], methods: vec![method], paths: Vec::new(), is_private: true })
    }

    /// The first part of what is granted that this does not have, as a document has it. Patterns are compared by what they
    /// are made of: where that does not show that all is within, it counts as beyond.
    #[must_use]
    pub fn excess(&self, granted: &Self) -> Option<String> {
        if granted.is_private && !self.is_private {
            return Some("private: true".to_owned());
        }
        let is_over = |host: &&HostPattern| !self.hosts.iter().any(|ceiling| ceiling.covers(host));
        if let Some(host) = granted.hosts.iter().find(is_over) {
            return Some(format!("hosts: [{}]", quoted(host.to_string())));
        }
        if let Some(method) = granted.methods.iter().find(|method| !self.methods.contains(method)) {
            return Some(format!("methods: [{method}]"));
        }
        if self.paths.is_empty() {
            return None;
        }
        if granted.paths.is_empty() {
            return Some("all paths".to_owned());
        }
        let is_over = |path: &&PathPattern| !self.paths.iter().any(|ceiling| ceiling.covers(path));
        granted.paths.iter().find(is_over).map(|path| format!("paths: [{:?}]", path.as_str()))
    }
}

/// A host as YAML has it, which takes some of its signs for its own.
fn quoted(host: String) -> String {
    if host.contains(['*', '[', ':']) { format!("{host:?}") } else { host }
}

impl Permit {
    /// Whether an address of the host may be connected to.
    ///
    /// # Errors
    /// [`Denied::Address`].
    pub fn check(self, host: &Host, address: IpAddr) -> Result<(), Denied> {
        match closed(address) {
            Some(what) if !self.is_named && !self.is_private => {
                Err(Denied::Address { host: host.to_string(), address, what })
            }
            _ => Ok(()),
        }
    }
}

impl Scheme {
    /// Its name in URLs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a URL that has none.
    #[must_use]
    pub const fn usual_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The host with its port, where that is not the usual one.
fn authority(target: &Target<'_>) -> String {
    let Target { host, port, scheme, .. } = target;
    if *port == scheme.usual_port() { host.to_string() } else { format!("{host}:{port}") }
}

impl fmt::Display for Host {
    /// As a URL has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for HttpScope {
    /// As a document has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(|host| quoted(host.to_string())).collect();
        write!(f, "{{ hosts: [{}], methods: [{}]", hosts.join(", "), self.methods.join(", "))?;
        if !self.paths.is_empty() {
            let paths: Vec<String> = self.paths.iter().map(|path| format!("{:?}", path.as_str())).collect();
            write!(f, ", paths: [{}]", paths.join(", "))?;
        }
        f.write_str(if self.is_private { ", private: true }" } else { " }" })
    }
}

#[cfg(test)]
mod tests;
