//! What may be asked of git, checked before any of it becomes an argument.
//!
//! git takes an argument that begins with `-` for an option and a URL such as `ext::sh -c …` for a command to run.
//! Both are refused here with a sentence, whatever git itself would say.

use std::fmt;
use std::net::IpAddr;

use yuanli_ports::source::SourceError;

/// Longest URL or revision; nothing real comes near.
const MAX_LENGTH: usize = 2048;

/// Least number of digits of a shortened commit id, as git takes them.
const MIN_COMMIT_DIGITS: usize = 7;

/// Digits of a whole commit id, in repositories of SHA-1 and of SHA-256.
const COMMIT_DIGITS: [usize; 2] = [40, 64];

/// A URL that may be given to git. Shown without its credentials.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    text: String,
    /// `user:password` as it stands in the URL, when it holds a password or a token.
    credentials: Option<String>,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, SourceError> {
        let url = Self { text: text.to_owned(), credentials: credentials(text) };
        match reason_to_refuse(text) {
            None => Ok(url),
            Some(reason) => Err(SourceError::Invalid(format!(
                "the git URL `{url}` {reason}: use https://host/path, ssh://host/path, git@host:path or file:///path"
            ))),
        }
    }

    /// The URL with its credentials, for git only.
    pub(crate) fn as_argument(&self) -> &str {
        &self.text
    }

    /// A text of git's without the credentials.
    pub(crate) fn mask(&self, text: &str) -> String {
        let Some(credentials) = &self.credentials else { return text.to_owned() };
        let masked = text.replace(credentials.as_str(), "***");
        // git also prints the password alone, or the user alone when that is the token.
        credentials
            .split(':')
            .filter(|part| part.len() >= MIN_SECRET_LENGTH)
            .fold(masked, |text, part| text.replace(part, "***"))
    }

    /// Scheme and host of a server that can be told who asks; `None` for others.
    pub(crate) fn origin(&self) -> Option<String> {
        let (scheme, rest) = self.text.split_once("://").filter(|(scheme, _)| scheme.starts_with("http"))?;
        let authority = rest.split(['/', '?', '#']).next()?;
        Some(format!("{scheme}://{}", authority.rsplit('@').next()?))
    }

    pub(crate) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// Where a submodule of this repository is, whose URL may be relative to it. One elsewhere cannot lead to this machine.
    pub(crate) fn submodule(&self, text: &str) -> Result<Self, SourceError> {
        let url = Self::parse(&self.joined(text))?;
        let is_near = |url: &Self| url.text.starts_with("file:") || url.text.starts_with("http:");
        let is_same = |scheme: &str| self.text.starts_with(scheme) && url.text.starts_with(scheme);
        let leads_here = is_near(&url) && !is_same("file:") && !is_same("http:");
        if leads_here || url.is_loopback() && self.host() != url.host() {
            return Err(SourceError::Invalid(format!(
                "a submodule of `{self}` is at `{url}`, which is on this machine: it is not fetched"
            )));
        }
        if url.is_ssh() && !self.is_ssh() {
            return Err(SourceError::Invalid(format!(
                "a submodule of `{self}` is at `{url}`, which would be fetched with the keys of whoever runs the engine: it is not"
            )));
        }
        Ok(url)
    }

    /// The host, in small letters; `None` for a file.
    fn host(&self) -> Option<String> {
        let authority = match self.text.split_once("://") {
            Some(("file", _)) => return None,
            Some((_, rest)) => rest.split(['/', '?', '#']).next()?,
            None => self.text.split_once(':')?.0,
        };
        let host = authority.rsplit('@').next()?;
        let host = match host.strip_prefix('[') {
            Some(address) => address.split(']').next()?,
            None => host.split(':').next()?,
        };
        Some(host.to_ascii_lowercase())
    }

    /// Whether it is on this machine by its name; what a name stands for elsewhere is not looked up.
    fn is_loopback(&self) -> bool {
        self.host().is_some_and(|host| {
            let address = host.parse::<IpAddr>();
            host == "localhost"
                || host.ends_with(".localhost")
                || address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
        })
    }

    fn joined(&self, text: &str) -> String {
        if !(text.starts_with("./") || text.starts_with("../")) {
            return text.to_owned();
        }
        let (mut base, mut rest) = (self.text.trim_end_matches('/').to_owned(), text);
        loop {
            if let Some(after) = rest.strip_prefix("./") {
                rest = after;
            } else if let Some(after) = rest.strip_prefix("../") {
                rest = after;
                // As git does it: the last part goes, and what divides it from the rest decides what stays.
                let end = base.rfind(['/', ':']).unwrap_or(0);
                let is_path = base[end..].starts_with('/');
                base.truncate(if is_path { end } else { end + 1 });
            } else {
                let divider = if base.ends_with(':') { "" } else { "/" };
                return format!("{base}{divider}{rest}");
            }
        }
    }

    pub(crate) fn is_ssh(&self) -> bool {
        !self.text.contains("://") || self.text.starts_with("ssh://")
    }
}

/// Shortest part of credentials that is masked wherever it stands; a shorter one would blacken ordinary words.
const MIN_SECRET_LENGTH: usize = 5;

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mask(&self.text))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn credentials(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    // `ssh://git@host` names a user and is no secret.
    (scheme != "ssh" || user.contains(':')).then(|| user.to_owned())
}

fn reason_to_refuse(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.len() > MAX_LENGTH {
        return Some("is too long");
    }
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Some("holds spaces or control characters");
    }
    let Some((scheme, rest)) = text.split_once("://") else { return refuse_short_form(text) };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match scheme {
        _ if rest.starts_with('-') || host.starts_with('-') => Some("has a host that begins with `-`"),
        "https" | "ssh" if host.is_empty() => Some("has no host"),
        "https" | "ssh" => None,
        "file" if rest.starts_with('/') => None,
        "file" => Some("is no absolute path"),
        // Without encryption only where nothing leaves this machine: a server that a test started.
        "http" if is_loopback(host) => None,
        "http" => Some("is not encrypted"),
        _ => Some("has a scheme that is not allowed"),
    }
}

/// `user@host:path`. Everything else without a scheme is a path, or one of git's `helper::address`.
fn refuse_short_form(text: &str) -> Option<&'static str> {
    let Some((host, path)) = text.split_once(':') else { return Some("has no scheme") };
    let host_name = host.rsplit('@').next().unwrap_or_default();
    let is_host = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if path.starts_with(':') || path.starts_with("//") {
        return Some("has a scheme that is not allowed");
    }
    if host.starts_with('-') || host_name.starts_with('-') || path.starts_with('-') {
        return Some("has a part that begins with `-`");
    }
    let is_good =
        host.contains('@') && !path.is_empty() && !host_name.is_empty() && host_name.chars().all(is_host);
    (!is_good).then_some("has no scheme")
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Which commit is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revision {
    /// What the server's `HEAD` says.
    Default,
    /// A branch or tag, or a commit where the name could be one.
    Named(String),
}

impl Revision {
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, SourceError> {
        let Some(text) = text.filter(|text| *text != "HEAD") else { return Ok(Self::Default) };
        let is_bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
        let is_refused = text.is_empty()
            || text.len() > MAX_LENGTH
            || text.starts_with(['-', '/', '.'])
            || text.ends_with(['/', '.'])
            || ["..", "@{", "//"].iter().any(|part| text.contains(part))
            || text.contains(is_bad);
        if is_refused {
            return Err(SourceError::Invalid(format!(
                "`{}` is no git revision: give the name of a branch or tag, or the id of a commit",
                text.escape_debug()
            )));
        }
        Ok(Self::Named(text.to_owned()))
    }
}

/// Whether a name may be the id of a commit, whole or shortened.
pub(crate) fn is_commit(name: &str) -> bool {
    name.len() >= MIN_COMMIT_DIGITS
        && name.len() <= COMMIT_DIGITS[1]
        && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a name is the whole id of a commit, which a server can be asked for.
pub(crate) fn is_whole_commit(name: &str) -> bool {
    is_commit(name) && COMMIT_DIGITS.contains(&name.len())
}

/// A folder inside of a repository, with `/` between its parts; empty for all of it.
pub(crate) fn parse_subfolder(text: Option<&str>) -> Result<String, SourceError> {
    let Some(text) = text else { return Ok(String::new()) };
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                return Err(SourceError::Invalid(format!(
                    "the subfolder `{text}` leads upwards: name a folder inside of the repository"
                )));
            }
            part if part.contains(['\0', '\n']) => {
                return Err(SourceError::Invalid("the subfolder holds control characters".to_owned()));
            }
            part => parts.push(part),
        }
    }
    if text.starts_with('/') {
        return Err(SourceError::Invalid(format!(
            "the subfolder `{text}` is absolute: name it relative to the root of the repository"
        )));
    }
    Ok(parts.join("/"))
}

/// Files and folders of a tree, as [`parse_subfolder`] reads each.
pub(crate) fn parse_sparse(paths: &[String]) -> Result<Vec<String>, SourceError> {
    let parse = |path: &String| match parse_subfolder(Some(path))? {
        path if path.is_empty() => {
            Err(SourceError::Invalid("a path of `sparse` is empty: name a file or a folder".to_owned()))
        }
        path => Ok(path),
    };
    paths.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_name_a_repository_reach_git() {
        for good in [
            "https://example.com/a/b.git",
            "https://user:token@example.com/a",
            "ssh://git@example.com:22/a",
            "git@example.com:a/b.git",
            "file:///srv/git/a",
            "http://127.0.0.1:8080/a",
            "http://localhost/a",
        ] {
            assert!(Url::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-u",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c touch% /tmp/x",
            "ext::x",
            "fd::17",
            "/srv/git/a",
            "a",
            "./a",
            "../a",
            "ssh://-oProxyCommand=x/a",
            "ssh://me@-oProxyCommand=x/a",
            "-oProxyCommand=x:a",
            "host:-a",
            "git@-x:a",
            "http://example.com/a",
            "git://example.com/a",
            "ftp://example.com/a",
            "file://a",
            "https:///a",
            "https://example.com/a\nb",
            "https://example.com/a b",
            "transport::https://example.com/a",
            "git@:a",
            "http://127.0.0.1.example.com/a",
            "host:path",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_submodule_is_beside_its_repository_and_never_on_this_machine_unless_that_is() {
        let check = |base: &str, text: &str, expected: Option<&str>| {
            let found = Url::parse(base).expect("a URL").submodule(text);
            assert_eq!(found.as_ref().ok().map(Url::as_argument), expected, "{base} {text}: {found:?}");
        };
        check("https://example.com/a/b.git", "../c.git", Some("https://example.com/a/c.git"));
        check("https://example.com/a/b/", "../../c", Some("https://example.com/c"));
        check("https://example.com/a", "./c", Some("https://example.com/a/c"));
        check("git@example.com:a/b.git", "../c.git", Some("git@example.com:a/c.git"));
        check("git@example.com:b.git", "../c.git", Some("git@example.com:c.git"));
        check("https://example.com/a", "https://example.org/c", Some("https://example.org/c"));
        check("git@example.com:b.git", "ssh://git@example.org/c", Some("ssh://git@example.org/c"));
        check("https://example.com/a", "ssh://git@example.com/c", None);
        check("https://example.com/a", "git@example.com:c.git", None);
        check("git@example.com:b.git", "git@127.0.0.1:c.git", None);
        check("git@localhost:b.git", "../c.git", Some("git@localhost:c.git"));
        for here in
            ["https://localhost/c", "https://u@127.0.0.1:8443/c", "https://[::1]/c", "ssh://LOCALHOST/c"]
        {
            check("https://example.com/a", here, None);
        }
        check("file:///srv/a", "file:///srv/b", Some("file:///srv/b"));
        check("https://example.com/a", "file:///etc", None);
        check("https://example.com/a", "http://127.0.0.1/c", None);
        check("http://127.0.0.1:1/a", "file:///etc", None);
        check("http://127.0.0.1:1/a", "../c", Some("http://127.0.0.1:1/c"));
        check("https://example.com/a", "/etc", None);
        check("https://example.com/a", "../../../../..", None);
        check("https://example.com/a", "ext::sh -c x", None);
    }

    #[test]
    fn credentials_are_in_no_message() {
        let url = Url::parse("https://me:s3cr3t@example.com/a").expect("a URL");
        assert_eq!(url.to_string(), "https://***@example.com/a");
        assert_eq!(
            url.mask("fatal: https://me:s3cr3t@example.com/a, s3cr3t"),
            "fatal: https://***@example.com/a, ***"
        );
        let token = Url::parse("https://ghp_token@example.com/a").expect("a URL");
        assert_eq!(format!("{token:?}"), "https://***@example.com/a");
        let refused = Url::parse("ftp://me:s3cr3t@example.com/a").expect_err("refused").to_string();
        assert!(!refused.contains("s3cr3t"), "{refused}");
        assert_eq!(
            Url::parse("ssh://git@example.com/a").expect("a URL").to_string(),
            "ssh://git@example.com/a"
        );
    }

    #[test]
    fn a_revision_is_never_an_option_or_an_expression() {
        for good in ["main", "feature/a-b", "v1.0", "refs/pull/1/head", "0123abc", "a@b"] {
            assert!(Revision::parse(Some(good)).is_ok(), "{good}");
        }
        for bad in
            ["", "-x", "--upload-pack=x", "a..b", "a~1", "a^", "a:b", "@{-1}", "a b", "a\n", "*", "/a", "a/"]
        {
            assert!(Revision::parse(Some(bad)).is_err(), "{bad}");
        }
        assert_eq!(Revision::parse(None), Ok(Revision::Default));
        assert_eq!(Revision::parse(Some("HEAD")), Ok(Revision::Default));
    }

    #[test]
    fn a_subfolder_stays_inside() {
        assert_eq!(parse_subfolder(Some("./a//b/")), Ok("a/b".to_owned()));
        assert_eq!(parse_subfolder(None), Ok(String::new()));
        for bad in ["..", "a/../b", "/a", "a/.."] {
            assert!(parse_subfolder(Some(bad)).is_err(), "{bad}");
        }
    }
}
