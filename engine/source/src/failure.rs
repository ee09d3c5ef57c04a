//! What git's words mean. They are the only thing it gives: its exit code is 128 for everything.

use yuanli_ports::source::SourceError;

/// What a failed command was to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Doing {
    /// Speaking to the other side.
    Fetching,
    /// Working on what was fetched.
    Unpacking,
}

type Class = fn(String) -> SourceError;

/// Pieces of git's (and ssh's and curl's) messages, in lower case; the first that is found decides. Names that do not
/// resolve and closed doors come first: ssh follows them with words that fit other classes as well.
const PHRASES: &[(&str, Class, &str)] = &[
    (
        "dubious ownership",
        SourceError::Local,
        "the repository belongs to another user; git says above how to allow it",
    ),
    ("could not resolve", SourceError::Unreachable, "check the host's name and this machine's DNS"),
    (
        "host key verification failed",
        SourceError::Unauthorized,
        "add the host to ~/.ssh/known_hosts (`ssh-keyscan HOST`)",
    ),
    ("authentication failed", SourceError::Unauthorized, CREDENTIALS),
    ("could not read username", SourceError::Unauthorized, CREDENTIALS),
    ("could not read password", SourceError::Unauthorized, CREDENTIALS),
    ("permission denied (", SourceError::Unauthorized, "add a key that the host knows, or start ssh-agent"),
    ("returned error: 401", SourceError::Unauthorized, CREDENTIALS),
    ("returned error: 403", SourceError::Unauthorized, CREDENTIALS),
    ("no space left", SourceError::Local, "make room on this machine"),
    ("read-only file system", SourceError::Local, "choose a folder that can be written to"),
    ("unable to create", SourceError::Local, "check the permissions of the folder"),
    ("permission denied", SourceError::Local, "check the permissions of the folder"),
    ("connection refused", SourceError::Unreachable, RETRY),
    ("timed out", SourceError::Unreachable, RETRY),
    ("unreachable", SourceError::Unreachable, RETRY),
    ("no route to host", SourceError::Unreachable, RETRY),
    ("connection reset", SourceError::Unreachable, RETRY),
    ("connect to", SourceError::Unreachable, RETRY),
    ("connection closed", SourceError::Unreachable, RETRY),
    ("too slow", SourceError::Unreachable, RETRY),
    ("early eof", SourceError::Unreachable, RETRY),
    ("rpc failed", SourceError::Unreachable, RETRY),
    ("returned error: 5", SourceError::Unreachable, RETRY),
    ("returned error: 429", SourceError::Unreachable, RETRY),
    ("certificate", SourceError::Unreachable, "check the host's certificate, or git's http.sslCAInfo"),
    ("not found", SourceError::Invalid, EXISTS),
    ("returned error: 404", SourceError::Invalid, EXISTS),
    ("does not exist", SourceError::Invalid, EXISTS),
    ("does not appear to be a git repository", SourceError::Invalid, EXISTS),
    ("not a git repository", SourceError::Invalid, EXISTS),
    ("no such remote ref", SourceError::Invalid, "check the revision's name"),
    ("couldn't find remote ref", SourceError::Invalid, "check the revision's name"),
    ("hung up", SourceError::Unreachable, RETRY),
];

const CREDENTIALS: &str = "set up credentials for this host (`git credential`), git never asks here";
const RETRY: &str = "check the network and try again";
const EXISTS: &str = "check the URL, and whether these credentials may see the repository";

/// The error behind what git said. Neither `url` nor `stderr` may hold credentials.
pub(crate) fn classify(doing: Doing, url: &str, stderr: &str) -> SourceError {
    let (what, other): (String, Class) = match doing {
        Doing::Fetching => (format!("git could not fetch from `{url}`"), SourceError::Unreachable),
        Doing::Unpacking => {
            (format!("git could not unpack what it fetched from `{url}`"), SourceError::Local)
        }
    };
    let said = reasons(stderr);
    let lower = stderr.to_lowercase();
    match PHRASES.iter().find(|(phrase, ..)| lower.contains(phrase)) {
        Some((_, class, remedy)) => class(format!("{what}: {said}; {remedy}")),
        None => other(format!("{what}: {said}")),
    }
}

/// The lines that say why, on one line; progress is left out.
fn reasons(stderr: &str) -> String {
    let is_reason = |line: &&str| {
        ["fatal:", "error:", "remote:", "ERROR:", "ssh:"].iter().any(|start| line.starts_with(start))
            || line.contains("denied")
            || line.contains("verification failed")
    };
    let reasons: Vec<&str> = stderr.lines().filter(is_reason).map(str::trim).collect();
    if reasons.is_empty() {
        stderr.lines().last().unwrap_or("it did not say why").trim().to_owned()
    } else {
        reasons.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_decides_who_is_to_blame() {
        let cases: &[(&str, Class)] = &[
            ("fatal: unable to access 'https://x/': Could not resolve host: x", SourceError::Unreachable),
            (
                "ssh: Could not resolve hostname x: Name or service not known\nfatal: Could not read from remote repository.",
                SourceError::Unreachable,
            ),
            ("ssh: connect to host x port 22: Connection refused", SourceError::Unreachable),
            ("fatal: unable to access 'http://x/': Failed to connect to x port 80", SourceError::Unreachable),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 503",
                SourceError::Unreachable,
            ),
            ("fatal: the remote end hung up unexpectedly", SourceError::Unreachable),
            ("something new", SourceError::Unreachable),
            ("fatal: Authentication failed for 'https://x/'", SourceError::Unauthorized),
            (
                "fatal: could not read Username for 'https://x': terminal prompts disabled",
                SourceError::Unauthorized,
            ),
            (
                "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                SourceError::Unauthorized,
            ),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                SourceError::Unauthorized,
            ),
            ("fatal: repository 'https://x/' not found", SourceError::Invalid),
            ("fatal: '/x' does not appear to be a git repository", SourceError::Invalid),
            ("fatal: write error: No space left on device", SourceError::Local),
            ("fatal: detected dubious ownership in repository at '/x'", SourceError::Local),
        ];
        for (said, class) in cases {
            let found = classify(Doing::Fetching, "u", said);
            let same = std::mem::discriminant(&found) == std::mem::discriminant(&class(String::new()));
            assert!(same, "{said}: {found:?}");
            assert!(found.to_string().starts_with("git could not fetch from `u`: "), "{found}");
        }
        assert!(matches!(classify(Doing::Unpacking, "u", "something new"), SourceError::Local(_)));
    }

    #[test]
    fn progress_is_no_reason() {
        let said = "Receiving objects: 10%\nremote: no\nfatal: broken\n";
        assert_eq!(reasons(said), "remote: no, fatal: broken");
    }
}
