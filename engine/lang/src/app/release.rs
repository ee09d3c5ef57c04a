//! What a release of an app is made of: image, command, environment, health, volumes, limits.

use std::time::Duration;

use indexmap::IndexMap;
use yuanli_expr::nearest;
use yuanli_model::VolumeName;
use yuanli_model::app::{Health, MAX_REPLICAS, Probe, ReleaseSpec, VolumeMode, VolumeMount};

use super::{Fields, route};
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind};
use crate::quantity;
use crate::stage;

/// How long a replica may take to finish, when the document does not say.
const DRAIN: Duration = Duration::from_secs(10);

const MODES: [VolumeMode; 3] = [VolumeMode::Exclusive, VolumeMode::Shared, VolumeMode::ReadOnly];

/// Longest name of an image, in bytes: 255 for the repository, 128 for the tag, and a digest.
const MAX_IMAGE: usize = 512;

pub(super) fn read_image(fields: &Fields<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<String> {
    let entry = fields.required("image", "the app has no image", "`image: shop:dev`", diagnostics)?;
    let text = key::text_of(entry, diagnostics)?;
    let begins_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    let reads_well = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte));
    if begins_well && reads_well && text.len() <= MAX_IMAGE {
        return Some(text.to_owned());
    }
    let message = format!("`{text}` is no name of an image");
    diagnostics.error_with(Code::InvalidImage, entry.value_span(), message, || {
        Some(match text.contains("${{") {
            true => "an app has no expressions: let the stage that deploys it give its image".to_owned(),
            false => "write a name with a tag, such as `shop:dev` or `registry:5000/team/shop:1`".to_owned(),
        })
    });
    None
}

pub(super) fn read_replicas(fields: &Fields<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<u32> {
    key::number_of(fields.find("replicas")?, 0..=MAX_REPLICAS, diagnostics)
}

/// The spec; with a value that stands for none where one was wrong and reported.
pub(super) fn read(fields: &Fields<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<ReleaseSpec> {
    let port = fields
        .required(
            "port",
            "the app has no port",
            "the port on which it serves HTTP, such as `port: 8080`",
            diagnostics,
        )
        .and_then(|entry| key::number_of(entry, 1..=u32::from(u16::MAX), diagnostics))
        .and_then(|port| u16::try_from(port).ok());
    let command = fields.find("command").map(|entry| read_command(entry, diagnostics));
    let environment = fields.find("env").map(|entry| read_environment(entry, diagnostics));
    let health = fields.find("health").map(|entry| read_health(entry, diagnostics));
    let volumes = fields.find("volumes").map(|entry| read_volumes(entry, diagnostics));
    let drain = fields.find("drain").map(|entry| key::duration_of(entry, diagnostics));
    let cpu = fields.find("cpu").map(|entry| quantity::cpu_of(entry, diagnostics));
    let memory = fields.find("memory").map(|entry| quantity::memory_of(entry, diagnostics));
    Some(ReleaseSpec {
        command: command.unwrap_or_default(),
        environment: environment.unwrap_or_default(),
        port: port.unwrap_or_default(),
        health: health.flatten().unwrap_or_default(),
        volumes: volumes.unwrap_or_default(),
        drain: drain.flatten().unwrap_or(DRAIN),
        cpu_millis: cpu.flatten(),
        memory_bytes: memory.flatten(),
    })
}

fn read_command(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Vec<String> {
    let Kind::List(items) = &entry.value.kind else {
        let message = format!("`command` must be a list of texts, not {}", entry.value.what());
        diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || match &entry.value.kind {
            Kind::Text(text) => {
                let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
                Some(format!("write the program and its arguments: `[{}]`", words.join(", ")))
            }
            _ => None,
        });
        return Vec::new();
    };
    let mut command = Vec::with_capacity(items.len());
    for item in items {
        match &item.kind {
            Kind::Text(text) => {
                check_passable(text, item.span, diagnostics);
                command.push(text.clone());
            }
            _ => {
                let message = format!("an argument must be a text, not {}", item.what());
                diagnostics.error_with(Code::WrongKind, item.place(), message, || {
                    matches!(item.kind, Kind::Number(_) | Kind::Bool(_))
                        .then(|| "put it in quotes to make it a text".to_owned())
                });
            }
        }
    }
    command
}

fn read_environment(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> IndexMap<String, String> {
    let entries = key::entries_of(&entry.value, entry.value_span(), "`env`", diagnostics).unwrap_or_default();
    let mut environment = IndexMap::with_capacity(entries.len());
    for variable in entries {
        let is_name = |byte: u8| byte.is_ascii_graphic() && byte != b'=';
        if variable.key.is_empty() || !variable.key.bytes().all(is_name) {
            let message = format!("`{}` is no name of a variable", variable.key);
            diagnostics.error_with(Code::InvalidName, variable.key_span, message, || {
                Some("use letters, digits and `_`".to_owned())
            });
        }
        if let Some(text) = key::text_of(variable, diagnostics) {
            check_passable(text, variable.value_span(), diagnostics);
            environment.insert(variable.key.clone(), text.to_owned());
        }
    }
    environment
}

/// Reports a text that no process can be given: they end at the first NUL.
fn check_passable(text: &str, span: Span, diagnostics: &mut Diagnostics<'_>) {
    if text.contains('\0') {
        diagnostics.error(Code::WrongKind, span, "a text for a process cannot hold the character NUL");
    }
}

fn read_health(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Health> {
    let entries = key::entries_of(&entry.value, entry.value_span(), "`health`", diagnostics)?;
    key::check(entries, &key::HEALTH, diagnostics);
    let fields = Fields { entries, top: entry.key_span };
    let usual = Health::default();
    let mut duration = |key: &str, usual| match fields.find(key) {
        None => usual,
        Some(entry) => key::duration_of(entry, diagnostics).unwrap_or(usual),
    };
    let (interval, timeout, start) = (
        duration("interval", usual.interval),
        duration("timeout", usual.timeout),
        duration("start", usual.start),
    );
    let probe = match (fields.find("http"), fields.find("tcp")) {
        (Some(_), Some(tcp)) => {
            let help = || Some("leave `tcp` out".to_owned());
            let message = "a replica is asked by HTTP or TCP, not both";
            diagnostics.error_with(Code::Contradiction, tcp.key_span, message, help);
            usual.probe
        }
        (Some(http), None) => Probe::Http { path: route::read_target(http, diagnostics)? },
        (None, Some(tcp)) => {
            if !matches!(tcp.value.kind, Kind::Bool(true)) {
                let help = || Some("write `tcp: true`, or `http:` with a path".to_owned());
                diagnostics.error_with(Code::WrongKind, tcp.value_span(), "`tcp` can only be true", help);
            }
            Probe::Tcp
        }
        (None, None) => usual.probe,
    };
    Some(Health { probe, interval, timeout, start })
}

fn read_volumes(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Vec<VolumeMount> {
    let entries =
        key::entries_of(&entry.value, entry.value_span(), "`volumes`", diagnostics).unwrap_or_default();
    let mut volumes: Vec<VolumeMount> = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some(volume) = read_volume(entry, diagnostics) else { continue };
        if let Some(other) = volumes.iter().find(|other| other.target == volume.target) {
            let message = format!("volume `{}` is at `{}` already", other.volume, volume.target);
            diagnostics.error_with(Code::Contradiction, entry.key_span, message, || {
                Some("give each volume a path of its own".to_owned())
            });
        }
        volumes.push(volume);
    }
    volumes
}

fn read_volume(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<VolumeMount> {
    let name = entry.key.parse::<VolumeName>();
    if let Err(error) = &name {
        let help = || stage::proper(&entry.key);
        diagnostics.error_with(Code::InvalidName, entry.key_span, error.to_string(), help);
    }
    let what = format!("volume `{}`", entry.key);
    let entries = key::entries_of(&entry.value, entry.value_span(), &what, diagnostics)?;
    key::check(entries, &key::VOLUME, diagnostics);
    let fields = Fields { entries, top: entry.key_span };
    let message = format!("volume `{}` has no path", entry.key);
    let target = fields
        .required("path", &message, "where it appears in the container, such as `path: /data`", diagnostics)
        .and_then(|path| read_path(path, diagnostics));
    let mode = match fields.find("mode") {
        None => Some(VolumeMode::Exclusive),
        Some(mode) => read_mode(mode, diagnostics),
    };
    Some(VolumeMount { volume: name.ok()?, target: target?, mode: mode? })
}

/// An absolute path in a container, without the slash at its end.
fn read_path(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<String> {
    let text = key::text_of(entry, diagnostics)?;
    let path = text.trim_end_matches('/');
    let is_plain = path
        .strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
    if is_plain && !path.contains([':', '\0', '\n']) {
        return Some(path.to_owned());
    }
    let message = format!("`{text}` is no path in a container");
    diagnostics.error_with(Code::InvalidPath, entry.value_span(), message, || {
        Some("it is absolute and plain, such as `/data`".to_owned())
    });
    None
}

fn read_mode(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<VolumeMode> {
    let text = key::text_of(entry, diagnostics)?;
    let found = MODES.into_iter().find(|mode| mode.name() == text);
    if found.is_none() {
        let message = format!("`{text}` is no mode of a volume");
        diagnostics.error_with(Code::UnknownMode, entry.value_span(), message, || {
            let names = MODES.map(VolumeMode::name);
            // What Docker calls them.
            let usual = match text {
                "ro" | "readonly" | "read_only" => Some("read-only"),
                "rw" => Some("exclusive` or `shared"),
                _ => nearest(text, names),
            };
            Some(match usual {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it can be {}", key::listed(names.into_iter())),
            })
        });
    }
    found
}
