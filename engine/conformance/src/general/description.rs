//! What a component says of itself.

use serde_json::Value;
use yuanli_model::Capability;
use yuanli_wasm::Said;

use crate::report::Verdict;
use crate::sample;

/// The one draft of JSON Schema that the contract knows.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Its texts are for people, and its lists name what there is.
pub(crate) fn is_well_formed(said: &Said) -> Verdict {
    let mut found = Vec::new();
    if said.summary.trim().is_empty() {
        found.push("its summary says nothing: it is the line that people choose it by".to_owned());
    }
    for (name, why) in &said.capabilities {
        if name.parse::<Capability>().is_err() {
            found.push(format!("`capabilities` names `{name}`, which is no capability of this engine"));
        }
        if why.trim().is_empty() {
            found.push(format!("`capabilities` does not say what `{name}` is for"));
        }
    }
    for (name, why) in &said.secrets {
        if name.parse::<yuanli_model::SecretName>().is_err() {
            found.push(format!("`secrets` names `{name}`, which can be no name of a secret"));
        }
        if why.trim().is_empty() {
            found.push(format!("`secrets` does not say what `{name}` is for"));
        }
    }
    for list in [&said.capabilities, &said.secrets] {
        for (index, (name, _)) in list.iter().enumerate() {
            if list[..index].iter().any(|(before, _)| before == name) {
                found.push(format!("`{name}` is there twice"));
            }
        }
    }
    Verdict::of(found)
}

/// It says the same of itself each time.
pub(crate) fn is_repeatable(once: &Said, again: &Said) -> Verdict {
    if once == again {
        return Verdict::Passed;
    }
    let found =
        "two fresh instances describe themselves differently; it must depend on nothing but the component";
    Verdict::of(vec![found.to_owned()])
}

/// Its schemas are what the contract asks for.
pub(crate) fn has_valid_schemas(said: &Said) -> Verdict {
    let mut found = Vec::new();
    for (what, text) in [("config", &said.config_schema), ("outputs", &said.outputs_schema)] {
        let Ok(schema) = serde_json::from_str::<Value>(text) else {
            found.push(format!("its {what} schema is no JSON"));
            continue;
        };
        match schema.get("$schema").and_then(Value::as_str).map(|draft| draft.trim_end_matches('#')) {
            None | Some(DRAFT) => {}
            Some(other) => found.push(format!("its {what} schema is of `{other}`, and has to be of {DRAFT}")),
        }
        if let Err(error) = jsonschema::draft202012::meta::validate(&schema) {
            found.push(format!("its {what} schema is wrong at `{}`: {error}", error.instance_path()));
        } else if !allows_object(&schema) {
            found.push(format!("its {what} schema allows no map: `with:` and outputs are maps"));
        }
    }
    Verdict::of(found)
}

/// Whether a schema can be one of a map, as far as its top says.
fn allows_object(schema: &Value) -> bool {
    match schema.get("type") {
        None => true,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        Some(kind) => kind == "object",
    }
}

/// A misspelt key is a mistake that the author of a workflow is told.
pub(crate) fn is_closed(schema: &Value, config: Option<&Value>) -> Verdict {
    let Some(spoiled) = config.and_then(sample::with_unknown_key) else {
        return Verdict::Skipped(NO_CONFIG.to_owned());
    };
    let Some(validator) = sample::validator(schema) else {
        return Verdict::Skipped("its schema cannot be used".to_owned());
    };
    if !validator.is_valid(&spoiled) || sample::is_open_on_purpose(schema) {
        return Verdict::Passed;
    }
    let found = "its config schema takes any other key: with `\"additionalProperties\": false` a misspelt key is a \
                 mistake, and with `true` it says that it means it";
    Verdict::of(vec![found.to_owned()])
}

/// Whoever grants a right is told what for, and nothing is announced that is not asked for.
pub(crate) fn describes_its_rights(said: &Said, imported: &[Capability]) -> Verdict {
    let is_told = |right: &Capability| said.capabilities.iter().any(|(name, _)| name == right.name());
    let imports = |name: &str| imported.iter().any(|right| right.name() == name);
    let untold = imported.iter().filter(|right| !right.is_free() && !is_told(right)).map(|right| {
        format!("it imports `{}`, and `capabilities` of `describe` does not say what for", right.name())
    });
    let unused =
        said.capabilities.iter().filter(|(name, _)| !imports(name)).map(|(name, _)| {
            format!("`capabilities` of `describe` names `{name}`, which it does not import")
        });
    Verdict::of(untold.chain(unused).collect())
}

/// Why there is no config to try.
pub(crate) const NO_CONFIG: &str =
    "no config can be made of its schema: a case of its own in `tests/` has one";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said() -> Said {
        let schema = json!({ "type": "object" }).to_string();
        Said {
            name: "a".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "Does it".to_owned(),
            config_schema: schema.clone(),
            outputs_schema: schema,
            secrets: vec![],
            capabilities: vec![("workspace".to_owned(), "to read".to_owned())],
            details: vec![],
        }
    }

    #[track_caller]
    fn check(verdict: &Verdict, says: &str) {
        match verdict {
            Verdict::Passed => assert_eq!(says, ""),
            Verdict::Failed { differences, .. } => {
                assert!(!says.is_empty() && differences.join("\n").contains(says), "{differences:?}");
            }
            Verdict::Skipped(why) => assert_eq!(says, why),
        }
    }

    #[test]
    fn texts_and_lists_are_looked_at() {
        let pair = |name: &str, why: &str| vec![(name.to_owned(), why.to_owned())];
        check(&is_well_formed(&said()), "");
        check(&is_well_formed(&Said { summary: " ".to_owned(), ..said() }), "its summary says nothing");
        check(&is_well_formed(&Said { capabilities: pair("magic", "x"), ..said() }), "names `magic`");
        check(&is_well_formed(&Said { capabilities: pair("http", ""), ..said() }), "what `http` is for");
        check(&is_well_formed(&Said { secrets: pair("A b", "x"), ..said() }), "no name of a secret");
        let twice = [pair("http", "x"), pair("http", "y")].concat();
        check(&is_well_formed(&Said { capabilities: twice, ..said() }), "`http` is there twice");
        check(&is_repeatable(&said(), &said()), "");
        check(
            &is_repeatable(&said(), &Said { version: "1.0.1".to_owned(), ..said() }),
            "two fresh instances",
        );
    }

    #[test]
    fn schemas_are_of_one_draft_and_of_maps() {
        let with = |schema: Value| Said { config_schema: schema.to_string(), ..said() };
        check(&has_valid_schemas(&said()), "");
        check(&has_valid_schemas(&with(json!({ "$schema": DRAFT }))), "");
        let old = json!({ "$schema": "http://json-schema.org/draft-07/schema#" });
        check(
            &has_valid_schemas(&with(old)),
            "its config schema is of `http://json-schema.org/draft-07/schema`",
        );
        check(&has_valid_schemas(&with(json!({ "type": "map" }))), "its config schema is wrong at `/type`");
        check(&has_valid_schemas(&with(json!({ "type": "string" }))), "allows no map");
    }

    #[test]
    fn other_keys_are_refused_or_meant() {
        let config = json!({});
        check(&is_closed(&json!({ "additionalProperties": false }), Some(&config)), "");
        check(&is_closed(&json!({ "additionalProperties": true }), Some(&config)), "");
        check(&is_closed(&json!({ "type": "object" }), Some(&config)), "takes any other key");
        check(&is_closed(&json!({}), None), NO_CONFIG);
    }

    #[test]
    fn rights_and_what_is_said_of_them_are_the_same() {
        check(&describes_its_rights(&said(), &[Capability::Workspace, Capability::Log]), "");
        check(&describes_its_rights(&said(), &[]), "names `workspace`, which it does not import");
        let more = [Capability::Workspace, Capability::Containers];
        check(&describes_its_rights(&said(), &more), "it imports `containers`");
    }
}
