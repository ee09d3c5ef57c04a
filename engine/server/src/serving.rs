//! What `yuanli serve` is told, by file, environment and flags: the later goes before the earlier, and of each value it is
//! known where it came from.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::Locations;
use crate::http::{Rate, TlsFiles};
use crate::login::LoginOptions;
use crate::settings::{self, InvalidConfiguration};
use crate::traces::TraceOptions;

/// What an engine serves by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Where its API listens beside the socket in the data directory; `None` only there.
    pub listen: Option<SocketAddr>,
    /// Whether it asks nobody for a token there.
    pub is_open: bool,
    /// Where the gateway listens.
    pub gateway: Vec<SocketAddr>,
    /// What its API proves itself with over TCP; without them there is no TLS.
    pub tls: Option<TlsFiles>,
    /// How long a proposal to scale down has to stand before it is followed.
    pub scale_down_window: Duration,
    /// How many requests each token may send.
    pub token_rate: Option<Rate>,
    /// How many each address may whose requests have no token that is taken.
    pub address_rate: Option<Rate>,
    /// How long a client may take nothing of its answer.
    pub write_timeout: Duration,
    /// How people log in, if anybody says who they are.
    pub login: Option<LoginOptions>,
    /// Where the traces of runs go, if anywhere.
    pub traces: Option<TraceOptions>,
}

/// A value, as text, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// Its value; several are separated by commas. That of `oidc` is a map, as JSON.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// This configuration.
    File(PathBuf),
    /// This variable of the environment.
    Variable(String),
    /// This flag.
    Flag(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file) => write!(f, "file {}", file.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A key with what it is when nobody says anything; one without is absent then.
const DEFAULTS: [(&str, &str); 11] = [
    ("listen", "127.0.0.1:7100"),
    ("open", "false"),
    ("gateway", "127.0.0.1:8080"),
    ("tls_certificate", ""),
    ("tls_key", ""),
    ("scale_down_window", "300s"),
    ("token_rate", "10000/s"),
    ("address_rate", "100/s"),
    ("write_timeout", "60s"),
    ("otlp_endpoint", ""),
    ("otlp_headers", ""),
];
/// What is a map, which only the file can have: its value is JSON.
const OIDC: &str = "oidc";
/// What stands for no address, and for no bound.
const NONE: &str = "none";
const OFF: &str = "off";
const SEPARATOR: &str = ",";

/// Puts together what file, environment and flags say.
///
/// # Errors
/// [`InvalidConfiguration`] of the file, and [`InvalidConfiguration::Serving`] of what cannot be used.
pub fn serving(
    locations: &Locations,
    variable: impl Fn(&str) -> Option<String>,
    flag: impl Fn(&str) -> Option<(String, String)>,
) -> Result<(Serving, Vec<Setting>), InvalidConfiguration> {
    let (file, configuration) = (settings::file(locations), settings::configuration(locations)?);
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    let settings = DEFAULTS.map(|(key, default)| {
        let name = format!("YUANLI_{}", key.to_uppercase());
        if let Some((flag, value)) = flag(key) {
            return Setting { key, value, source: Source::Flag(flag) };
        }
        if let Some(value) = variable(&name).filter(|value| !value.is_empty()) {
            return Setting { key, value, source: Source::Variable(name) };
        }
        let found = configuration.serve.iter().find(|(found, _)| found == key);
        match found {
            Some((_, values)) => {
                let value = of_file(key, values.join(SEPARATOR), &folder);
                Setting { key, value, source: Source::File(file.clone()) }
            }
            None => Setting { key, value: default.to_owned(), source: Source::Default },
        }
    });
    let (mut read, mut settings) = (read(&settings)?, settings.to_vec());
    if let Some(mut login) = configuration.login {
        login.secret = login.secret.map(|secret| folder.join(secret));
        let (value, source) = (login.to_json().to_string(), Source::File(file));
        let wrong =
            |why| InvalidConfiguration::Serving { key: OIDC.to_owned(), told_by: source.to_string(), why };
        read.login = Some(LoginOptions::of(login).map_err(wrong)?);
        settings.push(Setting { key: OIDC, value, source });
    }
    Ok((read, settings))
}

/// The paths of files in a configuration begin where it lies.
fn of_file(key: &str, value: String, folder: &Path) -> String {
    match key {
        "tls_certificate" | "tls_key" | "otlp_headers" => folder.join(value).display().to_string(),
        _ => value,
    }
}

fn read(settings: &[Setting]) -> Result<Serving, InvalidConfiguration> {
    let text = |key: &str| {
        let found = settings.iter().find(|setting| setting.key == key);
        found.map(|setting| setting.value.trim()).unwrap_or_default()
    };
    let wrong = |key: &str, why: String| {
        let found = settings.iter().find(|setting| setting.key == key);
        let told_by = found.map(|setting| setting.source.to_string()).unwrap_or_default();
        InvalidConfiguration::Serving { key: key.to_owned(), told_by, why }
    };
    let address = |key: &str, text: &str| {
        text.parse::<SocketAddr>().map_err(|_| {
            wrong(key, format!("`{text}` is no address with a port, such as {}:7100", Ipv4Addr::LOCALHOST))
        })
    };
    let duration = |key: &str| seconds(text(key)).map_err(|why| wrong(key, why));
    let rate = |key: &str| match text(key) {
        OFF => Ok(None),
        text => text.parse().map(Some).map_err(|why| wrong(key, why)),
    };
    let listen = match text("listen") {
        NONE => None,
        text => Some(address("listen", text)?),
    };
    let is_open = match text("open") {
        "true" => true,
        "false" => false,
        other => return Err(wrong("open", format!("`{other}` is neither `true` nor `false`"))),
    };
    let gateways = text("gateway").split(SEPARATOR).map(str::trim).filter(|text| !text.is_empty());
    let gateway = gateways.map(|text| address("gateway", text)).collect::<Result<_, _>>()?;
    let tls = match (text("tls_certificate"), text("tls_key")) {
        ("", "") => None,
        (certificate, "") if !certificate.is_empty() => {
            return Err(wrong("tls_certificate", "there is no `tls_key` to it".to_owned()));
        }
        ("", _) => return Err(wrong("tls_key", "there is no `tls_certificate` to it".to_owned())),
        (certificate, key) => Some(TlsFiles { certificate: certificate.into(), key: key.into() }),
    };
    let traces = match (text("otlp_endpoint"), text("otlp_headers")) {
        ("", "") => None,
        ("", _) => return Err(wrong("otlp_headers", "there is no `otlp_endpoint` to it".to_owned())),
        (endpoint, headers) => {
            let headers = (!headers.is_empty()).then(|| headers.into());
            Some(TraceOptions::new(endpoint, headers).map_err(|why| wrong("otlp_endpoint", why))?)
        }
    };
    Ok(Serving {
        listen,
        is_open,
        gateway,
        tls,
        scale_down_window: duration("scale_down_window")?,
        token_rate: rate("token_rate")?,
        address_rate: rate("address_rate")?,
        write_timeout: duration("write_timeout")?,
        login: None,
        traces,
    })
}

/// A number of seconds, or one with `s`, `m` or `h` behind it.
fn seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('h') => (number, 3_600),
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) => (number, 1),
        None => (text, 1),
    };
    let number = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match number {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("`{text}` is no duration: write a number with a unit, such as `90s` or `10m`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Put = Result<(Serving, Vec<Setting>), InvalidConfiguration>;

    fn put(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> (tempfile::TempDir, Put) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.yaml"), file).expect("a file");
        let of = |all: &[(&str, &str)], key: &str| {
            all.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
        };
        let put = serving(
            &Locations::new(folder.path()),
            |name| of(variables, name),
            |key| of(flags, key).map(|value| (format!("--{key}"), value)),
        );
        (folder, put)
    }

    fn told(put: &Put, key: &str) -> (String, String) {
        let (_, settings) = put.as_ref().expect("settings");
        let setting = settings.iter().find(|setting| setting.key == key).expect("a setting");
        (setting.value.clone(), setting.source.to_string().split(' ').next().unwrap_or_default().to_owned())
    }

    #[test]
    fn every_key_of_the_file_is_known_here() {
        assert_eq!(DEFAULTS.map(|(key, _)| key), yuanli_lang::SERVE_KEYS);
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_file() {
        let file = "serve: { listen: '127.0.0.1:1', gateway: ['127.0.0.1:2', '127.0.0.1:3'], token_rate: 5/m, tls_key: k, \
                    tls_certificate: /c }";
        let variables = [("YUANLI_LISTEN", "127.0.0.1:4"), ("YUANLI_TOKEN_RATE", "off"), ("YUANLI_OPEN", "")];
        let (folder, put) = put(file, &variables, &[("listen", "none")]);
        let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
        assert_eq!(told(&put, "listen"), pair("none", "flag"));
        assert_eq!(told(&put, "token_rate"), pair("off", "variable"));
        assert_eq!(told(&put, "gateway"), pair("127.0.0.1:2,127.0.0.1:3", "file"));
        assert_eq!(told(&put, "open"), pair("false", "default"), "an empty variable says nothing");
        let (serving, _) = put.expect("settings");
        assert_eq!((serving.listen, serving.token_rate, serving.gateway.len()), (None, None, 2));
        let tls = serving.tls.expect("both files");
        assert_eq!((tls.certificate, tls.key), ("/c".into(), folder.path().join("k")));
        assert_eq!(serving.write_timeout, Duration::from_secs(60));
    }

    #[test]
    fn what_cannot_be_used_is_told_with_where_it_came_from() {
        for (flag, value, says) in [
            ("listen", "7100", "flag --listen"),
            ("gateway", "127.0.0.1:1,x", "`x` is no address"),
            ("open", "yes", "neither `true` nor `false`"),
            ("tls_key", "k", "there is no `tls_certificate`"),
            ("tls_certificate", "c", "there is no `tls_key`"),
            ("write_timeout", "0s", "is no duration"),
            ("scale_down_window", "1d", "is no duration"),
            ("token_rate", "1000", "is no rate"),
            ("address_rate", "0/s", "is no rate"),
        ] {
            let told = put("", &[], &[(flag, value)]).1.expect_err("it is refused").to_string();
            assert!(told.contains(says) && told.contains(flag), "{told}");
        }
    }
}
