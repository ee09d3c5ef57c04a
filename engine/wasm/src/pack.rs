//! What a component says of itself, written into it: the custom section `yuanli:describe`, which can be read without
//! compiling anything. It is a claim: what is relied on is what `describe` gives, and one that differs is refused when the
//! component is inspected or added.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};
use yuanli_bindings::stage::Description;
use yuanli_model::Digest;
use yuanli_ports::plugins::PluginError;

use crate::catalog::on_thread;
use crate::component::{self, Unusable};
use crate::description::MAX_SCHEMA_BYTES;
use crate::host::Host;

/// The name of the section.
const SECTION: &str = "yuanli:describe";
/// The version of what stands in it.
const FORMAT: u32 = 1;
/// Most bytes of the section: two schemas of the most that is allowed, of which every byte has one before it as JSON in
/// JSON, and as much as one of them for what stands around them.
const MAX_SECTION_BYTES: usize = 5 * MAX_SCHEMA_BYTES;

/// All that a component says of itself, as it says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in one line.
    pub summary: String,
    /// JSON Schema of its config, as text.
    pub config_schema: String,
    /// JSON Schema of its outputs, as text.
    pub outputs_schema: String,
    /// Secrets that it needs, each with what for.
    pub secrets: Vec<(String, String)>,
    /// Capabilities that it needs, each with what for.
    pub capabilities: Vec<(String, String)>,
    /// Whatever else, as key and value.
    pub details: Vec<(String, String)>,
}

/// A component with the section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The component.
    pub component: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// What stands in the section.
    pub said: Said,
}

/// The section's content.
#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
    #[serde(flatten)]
    said: Said,
}

impl From<Description> for Said {
    fn from(said: Description) -> Self {
        let Description { name, version, summary, config_schema, outputs_schema, .. } = said;
        let Description { secrets, capabilities, details, .. } = said;
        Self { name, version, summary, config_schema, outputs_schema, secrets, capabilities, details }
    }
}

impl Said {
    /// What differs between two, by the names of the fields.
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let Self { name, version, summary, config_schema, outputs_schema, .. } = self;
        let fields = [
            ("name", *name == other.name),
            ("version", *version == other.version),
            ("summary", *summary == other.summary),
            ("config schema", *config_schema == other.config_schema),
            ("outputs schema", *outputs_schema == other.outputs_schema),
            ("secrets", self.secrets == other.secrets),
            ("capabilities", self.capabilities == other.capabilities),
            ("details", self.details == other.details),
        ];
        fields.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect()
    }
}

/// What a component claims of itself in its section; `None` when it has none. Nothing of it is compiled or run.
///
/// # Errors
/// When it is no component, or the section cannot be read: a sentence about it.
pub fn claim(binary: &[u8]) -> Result<Option<Said>, String> {
    let sections = sections(binary).map_err(|e| e.to_string())?;
    let content = match sections.as_slice() {
        [] => return Ok(None),
        [only] => &binary[only.content.clone()],
        _ => return Err(format!("it has more than one section `{SECTION}`")),
    };
    if content.len() > MAX_SECTION_BYTES {
        return Err(format!("its section `{SECTION}` has more than {MAX_SECTION_BYTES} bytes"));
    }
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |e: serde_json::Error| format!("its section `{SECTION}` cannot be read: {e}");
    match serde_json::from_slice::<Format>(content).map_err(damaged)?.format {
        FORMAT => Ok(Some(serde_json::from_slice::<Content>(content).map_err(damaged)?.said)),
        other => Err(format!("its section `{SECTION}` has format {other}, and this engine reads {FORMAT}")),
    }
}

/// A component with what it says of itself, in place of any section that it had. What could not be read again is not written.
fn write(binary: &[u8], said: &Said) -> Result<Vec<u8>, String> {
    // Texts and lists of texts are always JSON.
    let content = serde_json::to_vec(&Content { format: FORMAT, said: said.clone() }).unwrap_or_default();
    if content.len() > MAX_SECTION_BYTES {
        let length = content.len();
        return Err(format!(
            "what it says of itself has {length} bytes as a section of it, and may have {MAX_SECTION_BYTES}: say less in its \
             `secrets`, `capabilities` and `details`"
        ));
    }
    let mut packed = Vec::with_capacity(binary.len());
    let mut at = 0;
    for section in sections(binary).map_err(|e| e.to_string())? {
        packed.extend_from_slice(&binary[at..section.whole.start]);
        at = section.whole.end;
    }
    packed.extend_from_slice(&binary[at..]);
    let mut body = leb128(SECTION.len());
    body.extend_from_slice(SECTION.as_bytes());
    body.extend(content);
    packed.push(0);
    packed.extend(leb128(body.len()));
    packed.extend(body);
    Ok(packed)
}

/// A number as WebAssembly writes it.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Where a section lies in a binary.
struct Section {
    /// With its id and its size.
    whole: Range<usize>,
    /// What stands behind its name.
    content: Range<usize>,
}

/// The sections of our name at the top level of a component.
fn sections(binary: &[u8]) -> Result<Vec<Section>, Unusable> {
    let mut found = Vec::new();
    let (mut depth, mut end) = (0_usize, 0);
    for payload in Parser::new(0).parse_all(binary) {
        let payload = payload.map_err(component::malformed)?;
        if let Payload::End(_) = payload {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 {
            let before = end;
            end = match &payload {
                Payload::Version { range, .. } => range.end,
                other => other.as_section().map_or(end, |(_, range)| range.end),
            };
            if let Payload::CustomSection(section) = &payload
                && section.name() == SECTION
            {
                let content = section.data_offset()..section.range().end;
                found.push(Section { whole: before..end, content });
            }
        }
        if matches!(payload, Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) {
            depth += 1;
        }
    }
    Ok(found)
}

/// That a component claims of itself what it says, when it claims anything.
pub(crate) fn check(binary: &[u8], said: &Said) -> Result<(), PluginError> {
    let again = "; `yuanli plugin pack` writes it anew, for whoever made it";
    match claim(binary) {
        Ok(None) => Ok(()),
        Ok(Some(claimed)) => match claimed.differences(said).as_slice() {
            [] => Ok(()),
            fields => Err(PluginError::Invalid(format!(
                "its section `{SECTION}` claims another {} than it says itself{again}",
                fields.join(", ")
            ))),
        },
        Err(why) => Err(PluginError::Invalid(format!("{why}{again}"))),
    }
}

impl Host {
    /// Writes into a component what it says of itself, in place of what it may have claimed. What was compiled for that is
    /// kept for the packed one, which is the one that is run.
    ///
    /// # Errors
    /// When it is no component that this engine can run, or cannot describe itself.
    pub async fn pack(&self, binary: bytes::Bytes) -> Result<Packed, PluginError> {
        let unusable = |e: Unusable| PluginError::Invalid(e.to_string());
        component::inspect(&binary).map_err(unusable)?;
        let digest = Digest::of(&binary);
        let said = self.catalog.said(&digest, Some(&binary)).await?;
        let written = said.clone();
        let component = on_thread(move || write(&binary, &written).map_err(PluginError::Invalid)).await?;
        let packed = Packed { digest: Digest::of(&component), component, said };
        self.catalog.same_code(&digest, &packed.digest);
        Ok(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn said(summary: &str) -> Said {
        let schema = r#"{"type":"object"}"#.to_owned();
        Said {
            name: "a".to_owned(),
            version: "1.0.0".to_owned(),
            summary: summary.to_owned(),
            config_schema: schema.clone(),
            outputs_schema: schema,
            secrets: vec![("token".to_owned(), "to log in".to_owned())],
            capabilities: Vec::new(),
            details: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_claimed_and_takes_the_place_of_what_was() {
        assert_eq!(claim(EMPTY), Ok(None));
        let once = write(EMPTY, &said("one")).expect("it is packed");
        assert_eq!(claim(&once), Ok(Some(said("one"))));
        // Longer than a size of one byte.
        let long = "x".repeat(20_000);
        let twice = write(&once, &said(&long)).expect("it is packed again");
        assert_eq!(claim(&twice), Ok(Some(said(&long))));
        assert_eq!(write(&twice, &said("one")).expect("and again"), once);
    }

    #[test]
    fn only_the_top_level_counts_and_one_section_at_most() {
        let packed = write(EMPTY, &said("inner")).expect("it is packed");
        let mut outer = EMPTY.to_vec();
        outer.push(4);
        outer.extend(leb128(packed.len()));
        outer.extend(&packed);
        assert_eq!(claim(&outer), Ok(None));
        let outer = write(&outer, &said("outer")).expect("it is packed");
        assert_eq!(claim(&outer), Ok(Some(said("outer"))));
        let mut doubled = packed.clone();
        doubled.extend(&packed[EMPTY.len()..]);
        assert!(claim(&doubled).expect_err("it is refused").contains("more than one"));
        assert_eq!(claim(&write(&doubled, &said("new")).expect("it is packed")), Ok(Some(said("new"))));
    }

    #[test]
    fn what_is_no_claim_is_told() {
        let with = |content: &[u8]| {
            let body = [&leb128(SECTION.len())[..], SECTION.as_bytes(), content].concat();
            let binary = [EMPTY, &[0], &leb128(body.len()), &body].concat();
            claim(&binary).expect_err("it is refused")
        };
        assert!(with(b"").contains("cannot be read"));
        assert!(with(b"{\"format\":1}").contains("missing field `name`"));
        assert!(with(b"{\"format\":2}").contains("has format 2"));
        assert!(with(&vec![b' '; MAX_SECTION_BYTES + 1]).contains("more than 1310720 bytes"));
        assert!(claim(b"nothing").expect_err("it is refused").contains("no WebAssembly"));
    }

    #[test]
    fn what_is_written_can_be_read_and_what_could_not_is_not_written() {
        let widest = format!("{{\"title\":\"{}\"}}", "\\\\".repeat(MAX_SCHEMA_BYTES / 2 - 6));
        assert_eq!(widest.len(), MAX_SCHEMA_BYTES);
        let wide = Said { config_schema: widest.clone(), outputs_schema: widest, ..said("wide") };
        let packed = write(EMPTY, &wide).expect("all that a schema may have fits");
        assert_eq!(claim(&packed), Ok(Some(wide.clone())));
        let details = vec![("note".to_owned(), "x".repeat(MAX_SCHEMA_BYTES))];
        let Err(why) = write(EMPTY, &Said { details, ..wide }) else { panic!("it is too much") };
        assert!(why.contains("may have 1310720: say less"), "{why}");
    }

    #[test]
    fn each_field_that_differs_is_named() {
        let claimed = write(EMPTY, &said("one")).expect("it is packed");
        assert_eq!(check(&claimed, &said("one")), Ok(()));
        assert_eq!(check(EMPTY, &said("one")), Ok(()));
        let other = Said { version: "2.0.0".to_owned(), ..said("two") };
        let why = check(&claimed, &other).expect_err("it is refused").to_string();
        assert!(why.contains("claims another version, summary than it says itself"), "{why}");
    }
}
