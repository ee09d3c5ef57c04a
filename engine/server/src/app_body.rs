//! Apps as bodies of `api-types`.

use serde_json::Value;
use yuanli_api_types as api;
use yuanli_apps::{AppView, Foreseen};
use yuanli_ports::apps::{Happening, RolloutOutcome};

use crate::body::rfc3339;

pub(crate) fn app_summary(app: &AppView) -> api::AppSummary {
    let status = &app.status;
    api::AppSummary {
        name: status.app.name.to_string(),
        status: state(app).to_owned(),
        image: status.app.image.clone(),
        release: status.stable.map(|number| number.0),
        desired: status.desired,
        ready: status.ready,
        route: status.route.as_ref().map(ToString::to_string),
    }
}

/// How an app stands, in a word.
fn state(app: &AppView) -> &'static str {
    let is_tried = |(_, happenings): &(_, Vec<Happening>)| {
        happenings.last().is_none_or(|happening| happening.end.is_none())
    };
    match &app.rollout {
        _ if app.is_deleted => "deleting",
        Some((RolloutOutcome::Failed, _)) => "failed",
        _ if app.gray.as_ref().is_some_and(is_tried) => "releasing",
        Some(_) if app.status.ready == app.status.desired => "healthy",
        _ => "changing",
    }
}

pub(crate) fn app(app: &AppView) -> api::App {
    let measure = app.measure.as_ref();
    let replica = |replica: &yuanli_apps::ReplicaView| api::Replica {
        number: replica.number,
        release: replica.release.0,
        address: replica.address.to_string(),
        phase: replica.phase.to_owned(),
    };
    let release = |(number, image_id): &(yuanli_model::app::ReleaseNumber, String)| {
        let measured =
            measure.and_then(|measure| measure.releases.iter().find(|release| release.release == *number));
        api::Release {
            release: number.0,
            image_id: image_id.clone(),
            weight: measured.map(|release| release.weight),
            requests: measured.map(|release| release.requests),
            errors: measured.map(|release| release.errors),
            p95_us: measured
                .and_then(|release| release.percentiles)
                .map(|[_, p95, _]| u64::try_from(p95.as_micros()).unwrap_or(u64::MAX)),
        }
    };
    let happening = |happening: &Happening| api::Happening {
        at: rfc3339(happening.time),
        weight: happening.weight,
        message: happening.message.clone(),
        promoted: happening.end.as_ref().map(|end| end.is_promoted),
        evidence: happening.end.as_ref().map(|end| end.evidence.clone()),
    };
    api::App {
        summary: app_summary(app),
        document: yuanli_lang::app_to_json(&app.status.app),
        replicas: app.replicas.iter().map(replica).collect(),
        releases: app.releases.iter().map(release).collect(),
        rollout: app.rollout.as_ref().map(|(_, message)| message.clone()),
        troubles: app.troubles.clone(),
        gray: app.gray.as_ref().map(|(number, happenings)| api::Gray {
            release: number.0,
            happenings: happenings.iter().map(happening).collect(),
        }),
        in_flight: measure.map(|measure| measure.in_flight),
        cpu_percent: measure.and_then(|measure| measure.cpu_percent),
    }
}

pub(crate) fn why(app: &AppView) -> api::Why {
    let decision = |(at, desired, reasons): &(yuanli_model::Timestamp, u32, Vec<String>)| api::Decision {
        at: rfc3339(*at),
        desired: *desired,
        reasons: reasons.clone(),
    };
    api::Why {
        app: app.status.app.name.to_string(),
        now: api::Decision {
            at: rfc3339(app.decided),
            desired: app.status.desired,
            reasons: app.reasons.clone(),
        },
        decisions: app.decisions.iter().map(decision).collect(),
    }
}

/// What is different between two documents, in the order of their keys; lists are compared as a whole.
pub(crate) fn changes(before: &Value, after: &Value) -> Vec<api::Change> {
    let mut changes = Vec::new();
    compare(String::new(), Some(before), Some(after), &mut changes);
    changes
}

/// That another image is meant, which a tag that was moved does not show.
pub(crate) fn moved_image(foreseen: Foreseen) -> Option<api::Change> {
    let before = foreseen.before.filter(|before| *before != foreseen.image_id)?;
    let path = "image.id".to_owned();
    Some(api::Change { path, before: Some(before.into()), after: Some(foreseen.image_id.into()) })
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<api::Change>) {
    let empty = serde_json::Map::new();
    let map = |value: Option<&Value>| match value {
        Some(Value::Object(map)) => Some(map.clone()),
        None | Some(Value::Null) => Some(empty.clone()),
        Some(_) => None,
    };
    let is_map = |value: Option<&Value>| matches!(value, Some(Value::Object(_)));
    match (map(before), map(after)) {
        (Some(old), Some(new)) if is_map(before) || is_map(after) => {
            let keys = new.keys().chain(old.keys().filter(|key| !new.contains_key(*key)));
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(path, old.get(key), new.get(key), changes);
            }
        }
        _ if before != after => {
            changes.push(api::Change { path, before: before.cloned(), after: after.cloned() });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_name_what_is_different_and_nothing_else() {
        let before = json!({ "a": 1, "b": { "c": [1], "d": 2 }, "gone": "x" });
        let after = json!({ "a": 1, "b": { "c": [1, 2], "d": 2 }, "new": { "e": true } });
        let told: Vec<String> = changes(&before, &after)
            .iter()
            .map(|change| format!("{} {:?} {:?}", change.path, change.before, change.after))
            .collect();
        assert_eq!(
            told,
            [
                "b.c Some(Array [Number(1)]) Some(Array [Number(1), Number(2)])",
                "new.e None Some(Bool(true))",
                "gone Some(String(\"x\")) None",
            ]
        );
        assert_eq!(changes(&before, &before), []);
    }
}
