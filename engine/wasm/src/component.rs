//! Reads what a component imports from its binary, without compiling or running it. The list of imports is the list
//! of rights.

use wasmparser::{ComponentTypeRef, Encoding, Parser, Payload};
use yuanli_bindings::INTERFACES;
use yuanli_model::Capability;

/// WASI packages that language runtimes bring along. They are linked to harmless implementations and count as no
/// right.
const HARMLESS_WASI: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// The one interface of the contract that holds types only.
const TYPES_ONLY: &str = "yuanli:stage/types@";

/// How every WebAssembly binary begins.
const MAGIC: &[u8] = b"\0asm";

/// Why a binary is no component for this engine. Each sentence ends a line that names the file or plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not WebAssembly.
    #[error("it is no WebAssembly component: it does not begin like one")]
    NotWasm,
    /// A damaged file.
    #[error("it is no WebAssembly component: {0}")]
    Malformed(String),
    /// A core module.
    #[error("it is a core WebAssembly module, not a component: build it for wasm32-wasip2")]
    CoreModule,
    /// It imports what no version of this engine offers.
    #[error("it imports `{0}`, which this engine does not offer")]
    UnknownImport(String),
    /// It asks for a later version of an interface than this engine has.
    #[error("it was built for a newer engine: it imports `{wanted}`, this engine has `{offered}`")]
    Newer {
        /// What it imports.
        wanted: String,
        /// What there is.
        offered: &'static str,
    },
    /// It imports `wasi:http`.
    #[error("it imports `{0}`; outgoing requests through wasi:http are refused")]
    Http(String),
}

/// The capabilities that a component imports, sorted, free ones included.
///
/// # Errors
/// See [`Unusable`].
pub fn inspect(binary: &[u8]) -> Result<Vec<Capability>, Unusable> {
    capabilities_of(&imports(binary)?)
}

/// The capabilities that these imports are, sorted, free ones included.
pub(crate) fn capabilities_of(imports: &[String]) -> Result<Vec<Capability>, Unusable> {
    let mut capabilities = Vec::new();
    for import in imports {
        if let Some(capability) = capability_of(import)? {
            capabilities.push(capability);
        }
    }
    capabilities.sort_unstable();
    capabilities.dedup();
    Ok(capabilities)
}

/// Whether an import is of WASI; of those that are offered none is a right.
pub(crate) fn is_wasi(import: &str) -> bool {
    import.starts_with("wasi:")
}

/// The names of the imports at the top level of a component.
pub(crate) fn imports(binary: &[u8]) -> Result<Vec<String>, Unusable> {
    if !binary.starts_with(MAGIC) {
        return Err(Unusable::NotWasm);
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(binary) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(Unusable::CoreModule);
            }
            // Modules and components inside have imports of their own, which the outer one fills.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(malformed)?;
                    // A type gives nothing to call; the world's own types come in like this.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        names.push(import.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// What is wrong with a binary, in one line.
pub(crate) fn malformed(error: wasmparser::BinaryReaderError) -> Unusable {
    // Some messages go on with a dump of the bytes.
    let message = error.message().lines().next().unwrap_or_default();
    Unusable::Malformed(format!("{message} (at byte {})", error.offset()))
}

fn capability_of(import: &str) -> Result<Option<Capability>, Unusable> {
    if import.starts_with("wasi:http/") {
        return Err(Unusable::Http(import.to_owned()));
    }
    if import.starts_with(TYPES_ONLY) || HARMLESS_WASI.iter().any(|prefix| import.starts_with(prefix)) {
        return Ok(None);
    }
    let unknown = || Unusable::UnknownImport(import.to_owned());
    let (path, wanted) = split_version(import).ok_or_else(unknown)?;
    let same_path = |offered: &&&str| split_version(offered).is_some_and(|(offered, _)| offered == path);
    let offered = INTERFACES.iter().find(same_path).ok_or_else(unknown)?;
    let has = split_version(offered).map(|(_, version)| version);
    match has {
        Some(has) if track(has) != track(wanted) && wanted < has => return Err(unknown()),
        Some(has) if wanted > has => return Err(Unusable::Newer { wanted: import.to_owned(), offered }),
        _ => {}
    }
    let package = path.strip_prefix("yuanli:").and_then(|path| path.split('/').next()).ok_or_else(unknown)?;
    package.parse().map(Some).map_err(|_| unknown())
}

type Version = (u64, u64, u64);

/// `yuanli:log/log@0.1.2` -> (`yuanli:log/log`, (0, 1, 2)).
fn split_version(name: &str) -> Option<(&str, Version)> {
    let (path, version) = name.split_once('@')?;
    let mut parts = version.splitn(3, '.').map(str::parse);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Some((path, (major, minor, patch))),
        _ => None,
    }
}

/// Versions of one track are compatible: the major version, or below 1.0 the minor one.
const fn track((major, minor, _): Version) -> (u64, u64) {
    if major == 0 { (0, minor) } else { (major, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_map_to_capabilities() {
        let check = |import: &str, expected: &str| {
            let outcome = match capability_of(import) {
                Ok(None) => "none".to_owned(),
                Ok(Some(capability)) => capability.to_string(),
                Err(e) => e.to_string(),
            };
            assert_eq!(outcome, expected, "{import}");
        };
        check("yuanli:log/log@0.1.0", "log");
        check("yuanli:containers/containers@0.1.0", "containers");
        check("yuanli:containers/containers@0.1.3", "containers");
        check("yuanli:stage/types@0.1.0", "none");
        check("wasi:cli/stdout@0.2.6", "none");
        check(
            "wasi:http/types@0.2.0",
            "it imports `wasi:http/types@0.2.0`; outgoing requests through wasi:http are refused",
        );
        check(
            "yuanli:log/other@0.1.0",
            "it imports `yuanli:log/other@0.1.0`, which this engine does not offer",
        );
        check("yuanli:log/log@0.0.9", "it imports `yuanli:log/log@0.0.9`, which this engine does not offer");
        check("env", "it imports `env`, which this engine does not offer");
        check(
            "yuanli:log/log@0.1.1",
            "it was built for a newer engine: it imports `yuanli:log/log@0.1.1`, this engine has `yuanli:log/log@0.1.0`",
        );
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert_eq!(inspect(b"hello"), Err(Unusable::NotWasm));
        assert_eq!(inspect(b""), Err(Unusable::NotWasm));
        for damaged in [&b"\0asm"[..], b"\0asm\x63\0\x63\0", b"\0asm\x0d\0\x01\0\xff\xff\xff"] {
            let Err(Unusable::Malformed(why)) = inspect(damaged) else { panic!("{damaged:?}") };
            assert!(!why.contains('\n') && why.contains("at byte"), "{why}");
        }
        assert_eq!(inspect(b"\0asm\x01\0\0\0"), Err(Unusable::CoreModule));
        assert_eq!(inspect(b"\0asm\x0d\0\x01\0"), Ok(vec![]));
    }
}
