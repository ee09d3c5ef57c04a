//! The configuration of an engine: what workflows may grant on it, and the most that attempts may use.
//!
//! ```yaml
//! grants:
//!   secrets-reveal: false
//!   http: { hosts: ["*.example.org"] }
//! plugins:
//!   deploy: { grants: { containers: { mounts: ["/srv/data:rw"] } } }
//! limits: { memory: 1GiB, timeout: 2h }
//! authorities: [company-ca.pem]
//! workspaces: { size: 10GiB, age: 7d }
//! journals: { keep: failed, size: 256MiB, age: 7d }
//! instances: { evict_after: 10s }
//! serve: { listen: "0.0.0.0:7100", tls_certificate: api.pem, tls_key: api.key }
//! ```

mod login;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use yuanli_model::ceiling::{Allowances, PluginKey};
use yuanli_model::{Bounds, Capability, Ceiling, Grant};

use crate::compile::MAX_TEXT;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::key::{self, Keys};
use crate::node::{Entry, Kind, Node};
use crate::quantity;
use crate::stage;
use crate::yaml;

pub use self::login::{Login, RoleRule};

const CONFIGURATION: Keys = Keys {
    of: "the configuration",
    known: &["grants", "plugins", "limits", "authorities", "workspaces", "journals", "instances", "serve"],
    coming: &[],
};

const PLUGIN: Keys = Keys { of: "a plugin here", known: &["grants"], coming: &[] };

const LIMITS: Keys = Keys {
    of: "`limits`",
    known: &["timeout", "memory", "cpu", "log", "outputs", "handles", "artifacts"],
    coming: &[],
};

const WORKSPACES: Keys = Keys { of: "`workspaces`", known: &["size", "age"], coming: &[] };

const JOURNALS: Keys = Keys { of: "`journals`", known: &["keep", "size", "age"], coming: &[] };

/// Of which attempts journals are kept.
const KEEPS: [(&str, KeepJournals); 3] =
    [("none", KeepJournals::None), ("failed", KeepJournals::Failed), ("all", KeepJournals::All)];

/// What `yuanli serve` can be told here.
pub const SERVE_KEYS: [&str; 11] = [
    "listen",
    "open",
    "gateway",
    "tls_certificate",
    "tls_key",
    "scale_down_window",
    "token_rate",
    "address_rate",
    "write_timeout",
    "otlp_endpoint",
    "otlp_headers",
];
/// What of it is no text: it is said here only.
const OIDC: &str = "oidc";
/// All of it.
const SERVE_KNOWN: [&str; SERVE_KEYS.len() + 1] = {
    let mut known = [OIDC; SERVE_KEYS.len() + 1];
    let mut position = 0;
    while position < SERVE_KEYS.len() {
        known[position] = SERVE_KEYS[position];
        position += 1;
    }
    known
};
const SERVE: Keys = Keys { of: "`serve`", known: &SERVE_KNOWN, coming: &[] };

const INSTANCES: Keys = Keys { of: "`instances`", known: &["evict_after"], coming: &[] };

/// The least time that an attempt can keep its instance while it waits: in less it would come back for each answer.
const LEAST_WAIT: Duration = Duration::from_millis(100);

/// Nothing, to as much as any disk has.
const WORKSPACE_BYTES: RangeInclusive<u64> = 0..=1 << 50;

/// The least time that an engine can leave to attempts: what takes longer to begin would never be done.
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);

/// What the configuration of an engine says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// What may be granted and used. The file is for whoever read it to say.
    pub ceiling: Ceiling,
    /// How much is kept of the workspaces of runs that have ended, as far as it is said.
    pub workspaces: KeptWorkspaces,
    /// Which journals of attempts that have ended are kept, as far as it is said.
    pub journals: KeptJournals,
    /// How attempts have their instances.
    pub instances: Instances,
    /// The files with the certificates of those who vouch for servers, beside those whom everybody trusts; relative ones begin
    /// where the configuration lies.
    pub authorities: Vec<PathBuf>,
    /// What `serve` says, by key, as text: the same can be said by the environment and by flags, and is read in one place.
    pub serve: Vec<(String, Vec<String>)>,
    /// Who says who people are, if anybody does.
    pub login: Option<Login>,
}

/// How much is kept of the workspaces of runs that have ended, as far as it is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptWorkspaces {
    /// The most bytes of all of them.
    pub bytes: Option<u64>,
    /// How long, from the end of a run.
    pub age: Option<Duration>,
}

/// Which journals of attempts that have ended are kept, as far as it is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptJournals {
    /// Of which attempts.
    pub keep: Option<KeepJournals>,
    /// The most bytes of all of them.
    pub bytes: Option<u64>,
    /// How long, from the end of an attempt.
    pub age: Option<Duration>,
}

/// Of which attempts journals are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepJournals {
    /// Of none.
    None,
    /// Of those that failed.
    Failed,
    /// Of all.
    All,
}

/// How attempts have their instances, as far as it is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Instances {
    /// How long one that waits for something outside keeps its own when nobody asks for it.
    pub evict_after: Option<Duration>,
}

/// Reads the text of a configuration: it, when there is no error, and all that was found, in the order of the text. An
/// empty text says nothing, which is no mistake.
#[must_use]
pub fn read_configuration(text: &str) -> (Option<Configuration>, Vec<Diagnostic>) {
    let mut diagnostics = Diagnostics::new(text);
    let read = parse(&mut diagnostics).map(|root| configuration(&root, &mut diagnostics));
    let read = read.filter(|_| !diagnostics.has_errors());
    (read, diagnostics.finish())
}

fn parse(diagnostics: &mut Diagnostics<'_>) -> Option<Node> {
    if diagnostics.text().len() > MAX_TEXT {
        let message = format!("the configuration has more than {MAX_TEXT} bytes");
        diagnostics.error(Code::TooLarge, Span::default(), message);
        return None;
    }
    let mut root = yaml::parse(diagnostics)?;
    yaml::deduplicate(&mut root, diagnostics);
    Some(root)
}

fn configuration(root: &Node, diagnostics: &mut Diagnostics<'_>) -> Configuration {
    if matches!(root.kind, Kind::Null) {
        return Configuration::default();
    }
    let entries = key::entries_of(root, root.span, "the configuration", diagnostics).unwrap_or_default();
    key::check(entries, &CONFIGURATION, diagnostics);
    let given = |key| key::given(entries, key);
    let ceiling = Ceiling {
        file: String::new(),
        grants: given("grants").map(|entry| allowances(entry, diagnostics)).unwrap_or_default(),
        plugins: given("plugins").map(|entry| plugins(entry, diagnostics)).unwrap_or_default(),
        bounds: given("limits").map(|entry| bounds(entry, diagnostics)).unwrap_or_default(),
    };
    let named = given("authorities").map(|entry| key::texts_of(entry, "the path of a file", diagnostics));
    let authorities = named.unwrap_or_default().into_iter().map(|(path, _)| path.into()).collect();
    let workspaces = given("workspaces").map(|entry| workspaces(entry, diagnostics)).unwrap_or_default();
    let journals = given("journals").map(|entry| journals(entry, diagnostics)).unwrap_or_default();
    let (serve, login) = given("serve").map(|entry| serve(entry, diagnostics)).unwrap_or_default();
    let instances = given("instances").map(|entry| instances(entry, diagnostics)).unwrap_or_default();
    Configuration { ceiling, workspaces, journals, instances, authorities, serve, login }
}

fn instances(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Instances {
    let entries = map_of(entry, diagnostics);
    key::check(entries, &INSTANCES, diagnostics);
    let evict_after = key::given(entries, "evict_after").and_then(|after| {
        let found = key::duration_of(after, diagnostics)?;
        if found < LEAST_WAIT {
            let message = "an attempt that waits has to keep its instance for 100 ms at least";
            diagnostics.error(Code::WrongNumber, after.value_span(), message);
            return None;
        }
        Some(found)
    });
    Instances { evict_after }
}

fn journals(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> KeptJournals {
    let entries = map_of(entry, diagnostics);
    key::check(entries, &JOURNALS, diagnostics);
    KeptJournals {
        keep: key::given(entries, "keep").and_then(|keep| keep_of(keep, diagnostics)),
        bytes: key::given(entries, "size").and_then(|size| {
            quantity::bytes_within(size, "size", "what is kept", WORKSPACE_BYTES, diagnostics)
        }),
        age: key::given(entries, "age").and_then(|age| key::duration_of(age, diagnostics)),
    }
}

fn keep_of(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<KeepJournals> {
    let said = match &entry.value.kind {
        Kind::Text(text) => KEEPS.iter().find(|(name, _)| name == text),
        _ => None,
    };
    if said.is_none() {
        let message = "`keep` says of which attempts journals are kept";
        diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || {
            Some("write `failed`, `all` or `none`".to_owned())
        });
    }
    said.map(|(_, keep)| *keep)
}

/// What is text, and who people are.
type Served = (Vec<(String, Vec<String>)>, Option<Login>);

fn serve(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Served {
    let entries = map_of(entry, diagnostics);
    key::check(entries, &SERVE, diagnostics);
    let login = key::given(entries, OIDC).and_then(|entry| login::read(entry, diagnostics));
    let given = entries.iter().filter(|entry| entry.key != OIDC && !matches!(entry.value.kind, Kind::Null));
    let read = |entry: &Entry| {
        let texts = match &entry.value.kind {
            Kind::Bool(flag) => vec![flag.to_string()],
            Kind::Number(number) => vec![number.to_string()],
            _ => key::texts_of(entry, "a text", diagnostics)
                .into_iter()
                .map(|(text, _)| text.to_owned())
                .collect(),
        };
        (entry.key.clone(), texts)
    };
    (given.map(read).collect(), login)
}

fn workspaces(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> KeptWorkspaces {
    let entries = map_of(entry, diagnostics);
    key::check(entries, &WORKSPACES, diagnostics);
    KeptWorkspaces {
        bytes: key::given(entries, "size").and_then(|size| {
            quantity::bytes_within(size, "size", "what is kept", WORKSPACE_BYTES, diagnostics)
        }),
        age: key::given(entries, "age").and_then(|age| key::duration_of(age, diagnostics)),
    }
}

/// What plugins may be granted, each by its name or digest.
fn plugins(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Vec<(PluginKey, Allowances)> {
    let entries = map_of(entry, diagnostics);
    let read = |entry: &Entry| {
        let key = plugin_key(entry, diagnostics);
        let settings = map_of(entry, diagnostics);
        key::check(settings, &PLUGIN, diagnostics);
        let grants = key::given(settings, "grants");
        Some((key?, grants.map(|grants| allowances(grants, diagnostics)).unwrap_or_default()))
    };
    entries.iter().filter_map(read).collect()
}

fn plugin_key(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<PluginKey> {
    let text = &entry.key;
    if let Ok(digest) = text.parse() {
        return Some(PluginKey::Digest(digest));
    }
    if text.parse::<yuanli_model::plugin::Name>().is_ok() {
        return Some(PluginKey::Name(text.clone()));
    }
    let message = format!("`{text}` is neither the name of a plugin nor the digest of one");
    diagnostics.error_with(Code::InvalidName, entry.key_span, message, || {
        Some(
            "write the name that it is added by, or `\"sha256:…\"`, as `yuanli plugin inspect` shows it"
                .to_owned(),
        )
    });
    None
}

/// What may be granted of each right that is named: `true` for what may be by default, `false`, or bounds.
fn allowances(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Allowances {
    let mut allowances = Allowances::new();
    for entry in map_of(entry, diagnostics) {
        let Some(right) = stage::capability(&entry.key, entry.key_span, diagnostics) else { continue };
        if right.is_free() {
            let message =
                format!("every plugin has `{right}` without being granted it, as it reaches nothing outside");
            let help = || Some("leave it out".to_owned());
            diagnostics.error_with(Code::WrongKind, entry.key_span, message, help);
            continue;
        }
        if let Some(allowed) = allowed(right, entry, diagnostics) {
            allowances.insert(right, allowed);
        }
    }
    allowances
}

fn allowed(right: Capability, entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Vec<Grant>> {
    match &entry.value.kind {
        Kind::Bool(true) => Some(vec![Grant::Whole(right)]),
        Kind::Bool(false) => Some(Vec::new()),
        Kind::Map(_) => Some(vec![stage::bounded_grant(right, entry, diagnostics)?]),
        _ => {
            let message = format!("`{right}` must be `true`, `false` or a map, not {}", entry.value.what());
            diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || {
                Some(format!("write `{right}: false` where nobody may grant it"))
            });
            None
        }
    }
}

fn bounds(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Bounds {
    let entries = map_of(entry, diagnostics);
    key::check(entries, &LIMITS, diagnostics);
    let timeout = key::given(entries, "timeout").and_then(|timeout| {
        let found = key::duration_of(timeout, diagnostics)?;
        if found < LEAST_TIMEOUT {
            let message = "an engine has to leave a second to attempts at least";
            diagnostics.error(Code::WrongNumber, timeout.value_span(), message);
            return None;
        }
        Some(found)
    });
    Bounds { timeout, limits: stage::known_limits(entries, diagnostics) }
}

fn map_of<'a>(entry: &'a Entry, diagnostics: &mut Diagnostics<'_>) -> &'a [Entry] {
    if matches!(entry.value.kind, Kind::Null) {
        return &[];
    }
    let what = format!("`{}`", entry.key);
    key::entries_of(&entry.value, entry.value_span(), &what, diagnostics).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Ceiling {
        let (read, found) = read_configuration(text);
        assert!(found.is_empty(), "{text}: {found:?}");
        read.expect("a configuration").ceiling
    }

    #[test]
    fn what_is_not_said_is_as_by_default() {
        for text in ["", "# nothing\n", "{}", "grants:\nplugins:\nlimits:\n", "plugins: { a: }"] {
            let Ceiling { grants, bounds, .. } = good(text);
            assert!(grants.is_empty() && bounds == Bounds::default(), "{text}");
        }
    }

    #[test]
    fn rights_are_allowed_forbidden_and_bounded() {
        let digest = yuanli_model::Digest::of(b"x");
        let ceiling = good(&format!(
            "grants: {{ http: {{ hosts: [a.b] }}, secrets-reveal: false, containers: true }}\nplugins:\n  \
             deploy: {{ grants: {{ containers: {{ privileged: true, mounts: ['/srv:rw'] }} }} }}\n  \"{digest}\": {{ grants: \
             {{ volumes: {{ remove: true }}, workspace: {{ access: read }} }} }}\nlimits: {{ memory: 64MiB, cpu: 5s, timeout: \
             1h, log: 1MiB, outputs: 1KiB, handles: 3, artifacts: 10MiB }}\n"
        ));
        let shown = |allowances: &Allowances| -> Vec<String> {
            let one = |(right, allowed): (&Capability, &Vec<Grant>)| {
                let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                format!("{right}: {}", allowed.join(" "))
            };
            allowances.iter().map(one).collect()
        };
        assert_eq!(
            shown(&ceiling.grants),
            [
                "secrets-reveal: ",
                "http: { http: { hosts: [a.b], methods: [GET, HEAD] } }",
                "containers: containers"
            ]
        );
        assert_eq!(ceiling.plugins.len(), 2);
        assert_eq!(ceiling.plugins[0].0, PluginKey::Name("deploy".to_owned()));
        assert_eq!(
            shown(&ceiling.plugins[0].1),
            ["containers: { containers: { privileged: true, mounts: [\"/srv:rw\"] } }"]
        );
        assert_eq!(ceiling.plugins[1].0, PluginKey::Digest(digest));
        assert_eq!(
            shown(&ceiling.plugins[1].1),
            ["workspace: { workspace: { access: read } }", "volumes: { volumes: { remove: true } }"]
        );
        let Bounds { timeout, limits } = ceiling.bounds;
        assert_eq!((timeout, limits.cpu), (Some(Duration::from_secs(3600)), Some(Duration::from_secs(5))));
        assert_eq!((limits.memory_bytes, limits.log_bytes), (Some(64 << 20), Some(1 << 20)));
        assert_eq!((limits.output_bytes, limits.handles), (Some(1 << 10), Some(3)));
        assert_eq!(limits.artifact_bytes, Some(10 << 20));
    }

    #[test]
    fn what_is_kept_of_workspaces_is_bounded() {
        let kept = |text| read_configuration(text).0.expect("a configuration").workspaces;
        assert_eq!(kept(""), KeptWorkspaces::default());
        let both = KeptWorkspaces { bytes: Some(2 << 30), age: Some(Duration::from_secs(36 * 3600)) };
        assert_eq!(kept("workspaces: { size: 2GiB, age: 36h }"), both);
        let (read, found) = read_configuration("workspaces: { sise: 2GiB }");
        assert!(read.is_none() && found[0].help.as_deref() == Some("did you mean `size`?"), "{found:?}");
    }

    #[test]
    fn journals_are_kept_of_those_attempts_that_it_says() {
        let kept = |text| read_configuration(text).0.expect("a configuration").journals;
        assert_eq!(kept(""), KeptJournals::default());
        let all = KeptJournals {
            keep: Some(KeepJournals::All),
            bytes: Some(1 << 20),
            age: Some(Duration::from_secs(3600)),
        };
        assert_eq!(kept("journals: { keep: all, size: 1MiB, age: 1h }"), all);
        let (read, found) = read_configuration("journals: { keep: some }");
        assert!(
            read.is_none() && found[0].help.as_deref() == Some("write `failed`, `all` or `none`"),
            "{found:?}"
        );
    }

    #[test]
    fn what_an_engine_serves_by_is_read_as_text() {
        let (read, found) = read_configuration(
            "serve: { listen: 'none', open: true, gateway: ['127.0.0.1:1', '[::1]:2'], write_timeout: 30s, tls_key: }",
        );
        assert!(found.is_empty(), "{found:?}");
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let expected = [
            ("listen".to_owned(), texts(&["none"])),
            ("open".to_owned(), texts(&["true"])),
            ("gateway".to_owned(), texts(&["127.0.0.1:1", "[::1]:2"])),
            ("write_timeout".to_owned(), texts(&["30s"])),
        ];
        assert_eq!(read.expect("a configuration").serve, expected);
        let (read, found) = read_configuration("serve: { lisen: 'none' }");
        assert!(read.is_none() && found[0].help.as_deref() == Some("did you mean `listen`?"), "{found:?}");
    }

    #[test]
    fn how_long_an_instance_is_kept_is_said() {
        let said = |text| read_configuration(text).0.map(|read| read.instances.evict_after);
        assert_eq!(said(""), Some(None));
        assert_eq!(said("instances: { evict_after: 2m }"), Some(Some(Duration::from_secs(120))));
        assert_eq!(said("instances: { evict_after: 10ms }"), None);
        let (_, found) = read_configuration("instances: { evict: 10s }");
        assert_eq!(found[0].help.as_deref(), Some("it can have `evict_after`"), "{found:?}");
    }

    #[test]
    fn each_mistake_is_told_with_its_place_and_the_way_to_mend_it() {
        let check = |text: &str, expect: &[(usize, usize, &str, &str)]| {
            let (read, found) = read_configuration(text);
            let told: Vec<_> = found
                .iter()
                .map(|found| {
                    (
                        found.line,
                        found.column,
                        found.message.as_str(),
                        found.help.as_deref().unwrap_or_default(),
                    )
                })
                .collect();
            assert_eq!(told, expect, "{text}");
            assert!(read.is_none(), "{text}");
        };
        check("- a", &[(1, 1, "the configuration must be a map, not a list", "")]);
        check("grant: {}", &[(1, 1, "the configuration has no key `grant`", "did you mean `grants`?")]);
        check("grants: [http]", &[(1, 1, "`grants` must be a map, not a list", "")]);
        check("grants:\n  htpp: true", &[(2, 3, "`htpp` is no capability", "did you mean `http`?")]);
        check(
            "grants: { log: false, apps: { x: 1 }, images: some }",
            &[
                (
                    1,
                    11,
                    "every plugin has `log` without being granted it, as it reaches nothing outside",
                    "leave it out",
                ),
                (1, 23, "`apps` is granted as a whole", "write its name alone: `grants: [apps]`"),
                (
                    1,
                    47,
                    "`images` must be `true`, `false` or a map, not a text",
                    "write `images: false` where nobody may grant it",
                ),
            ],
        );
        check(
            "plugins: { 'A B': {}, a: { limits: {} } }",
            &[
                (
                    1,
                    12,
                    "`A B` is neither the name of a plugin nor the digest of one",
                    "write the name that it is added by, or `\"sha256:…\"`, as `yuanli plugin inspect` shows it",
                ),
                (1, 28, "a plugin here has no key `limits`", "it can have `grants`"),
            ],
        );
        check(
            "limits: { timeout: 5ms, memory: 1, handles: 5000 }",
            &[
                (1, 20, "an engine has to leave a second to attempts at least", ""),
                (
                    1,
                    33,
                    "`1` is no amount of memory",
                    "write a number with a unit, such as `64MiB` or `2GiB`",
                ),
                (1, 45, "`handles` cannot be 5000", "it is a whole number from 0 to 1024"),
            ],
        );
        let (read, found) = read_configuration("grants: {\n");
        assert!(read.is_none() && found[0].code == Code::Syntax);
    }
}
