//! The contract in `wit/`: documented in full, and offered in full.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeSet;
use std::path::Path;

use wit_parser::{Docs, Function, Interface, Resolve, TypeDef, TypeDefKind};

/// Packages in the order of what they need of each other.
fn resolve() -> Resolve {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let mut folders: Vec<_> = std::fs::read_dir(wit).unwrap().map(|folder| folder.unwrap().path()).collect();
    // Others use its handles.
    folders.sort_by_key(|folder| (!folder.ends_with("secrets"), folder.clone()));
    for folder in folders {
        resolve.push_dir(folder).unwrap();
    }
    resolve
}

fn says_nothing(docs: &Docs) -> bool {
    docs.contents.as_deref().unwrap_or_default().trim().is_empty()
}

fn undocumented_type(definition: &TypeDef) -> Vec<String> {
    let name = definition.name.clone().unwrap_or_default();
    let part = |part: &str, docs: &Docs| says_nothing(docs).then(|| format!("{name}.{part}"));
    let mut missing: Vec<String> = match &definition.kind {
        TypeDefKind::Record(record) => record.fields.iter().filter_map(|f| part(&f.name, &f.docs)).collect(),
        TypeDefKind::Variant(variant) => {
            variant.cases.iter().filter_map(|c| part(&c.name, &c.docs)).collect()
        }
        TypeDefKind::Enum(kind) => kind.cases.iter().filter_map(|c| part(&c.name, &c.docs)).collect(),
        // A name for a type of another interface, documented there.
        TypeDefKind::Type(_) => return Vec::new(),
        _ => Vec::new(),
    };
    if says_nothing(&definition.docs) {
        missing.push(name);
    }
    missing
}

fn undocumented_functions<'a>(functions: impl Iterator<Item = &'a Function>) -> Vec<String> {
    functions.filter(|function| says_nothing(&function.docs)).map(|function| function.name.clone()).collect()
}

fn undocumented(resolve: &Resolve, interface: &Interface) -> Vec<String> {
    let mut missing = undocumented_functions(interface.functions.values());
    for id in interface.types.values() {
        missing.extend(undocumented_type(&resolve.types[*id]));
    }
    if says_nothing(&interface.docs) {
        missing.push("the interface itself".to_owned());
    }
    let name = interface.name.clone().unwrap_or_default();
    missing.into_iter().map(|part| format!("{name}: {part}")).collect()
}

#[test]
fn everything_in_the_contract_is_documented() {
    let resolve = resolve();
    let mut missing: Vec<String> =
        resolve.interfaces.iter().flat_map(|(_, i)| undocumented(&resolve, i)).collect();
    for (_, world) in &resolve.worlds {
        if says_nothing(&world.docs) {
            missing.push(format!("world {}", world.name));
        }
        let exported = world.exports.values().filter_map(|item| match item {
            wit_parser::WorldItem::Function(function) => Some(function),
            _ => None,
        });
        missing.extend(undocumented_functions(exported));
    }
    assert!(missing.is_empty(), "without documentation: {missing:#?}");
}

#[test]
fn every_capability_of_the_contract_is_offered() {
    let resolve = resolve();
    let with_functions = resolve.interfaces.iter().filter(|(_, interface)| !interface.functions.is_empty());
    let in_wit: BTreeSet<String> = with_functions.map(|(id, _)| resolve.id_of(id).unwrap()).collect();
    let offered: BTreeSet<String> = yuanli_bindings::INTERFACES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(in_wit, offered);
}
