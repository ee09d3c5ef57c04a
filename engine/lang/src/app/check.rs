//! What several places of an app's document have to agree on.

use yuanli_model::app::{ReleaseSpec, ScalingPolicy, VolumeMode};

use super::Fields;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind};

/// Reports numbers of replicas that leave each other no room.
pub(super) fn numbers(
    fields: &Fields<'_>,
    replicas: Option<u32>,
    scaling: Option<&ScalingPolicy>,
    diagnostics: &mut Diagnostics<'_>,
) {
    let (Some(policy), Some(entries)) = (scaling, inside(fields, "scaling")) else { return };
    let (minimum, maximum) = (policy.minimum, policy.maximum);
    let span = |key: &str| key::find(entries, key).map_or(fields.top, Entry::value_span);
    if minimum > maximum {
        let message = format!("at least {minimum} replicas and at most {maximum} cannot both be");
        let key = if key::find(entries, "minimum").is_some() { "minimum" } else { "maximum" };
        diagnostics.error(Code::Contradiction, span(key), message);
        return;
    }
    if let (Some(replicas), Some(entry)) = (replicas, fields.find("replicas"))
        && !(minimum..=maximum).contains(&replicas)
    {
        let message =
            format!("{replicas} replicas are not between the minimum {minimum} and the maximum {maximum}");
        diagnostics.error_with(Code::Contradiction, entry.value_span(), message, || {
            Some("leave `replicas` out to begin with the minimum".to_owned())
        });
    }
    let Some(Kind::List(items)) = key::find(entries, "windows").map(|windows| &windows.value.kind) else {
        return;
    };
    for item in items {
        let Kind::Map(window) = &item.kind else { continue };
        let Some(entry) = key::find(window, "replicas") else { continue };
        if let Kind::Number(number) = &entry.value.kind
            && let Some(replicas) = number.as_u64().filter(|replicas| *replicas > u64::from(maximum))
        {
            let message = format!("the window asks for {replicas} replicas, and the maximum is {maximum}");
            diagnostics.error_with(Code::Contradiction, entry.value_span(), message, || {
                Some("raise `maximum`, or ask for fewer".to_owned())
            });
        }
    }
}

/// Reports volumes that only one replica may use, when there may be several.
pub(super) fn volumes(
    fields: &Fields<'_>,
    spec: &ReleaseSpec,
    replicas: Option<u32>,
    scaling: Option<&ScalingPolicy>,
    diagnostics: &mut Diagnostics<'_>,
) {
    let several = [("maximum", scaling.map(|policy| policy.maximum)), ("replicas", replicas)];
    let several = several.into_iter().find_map(|(key, count)| Some((key, count.filter(|count| *count > 1)?)));
    let Some((key, count)) = several else { return };
    let span = |name: &str| -> Span {
        let entries = inside(fields, "volumes").unwrap_or_default();
        key::find(entries, name).map_or(fields.top, |entry| entry.key_span)
    };
    for volume in spec.volumes.iter().filter(|volume| volume.mode == VolumeMode::Exclusive) {
        let name = &volume.volume;
        let message = format!("volume `{name}` is for one replica at a time, and there may be {count}");
        diagnostics.error_with(Code::Contradiction, span(name.as_str()), message, || {
            Some(format!("write `{key}: 1`, or `mode: shared` when several replicas may write to it at once"))
        });
    }
}

/// The entries of the map under a key.
fn inside<'a>(fields: &Fields<'a>, key: &str) -> Option<&'a [Entry]> {
    match &fields.find(key)?.value.kind {
        Kind::Map(entries) => Some(entries),
        _ => None,
    }
}
