//! `wit/` beside every version of it that was published: what a guest was built against is there, and the same.
//!
//! `tests/contract/published` holds each package as it was published, in a folder `NAME@VERSION`. Within a track (the
//! major version, below 1.0 the minor one) a later version may add functions and types and nothing else: a guest lays
//! out records, variants and enums by what it was built against. The rules are in docs/contract.md.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wit_parser::{Function, Handle, Resolve, Type, TypeDefKind, WorldItem};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = std::fs::read_dir(of).unwrap().map(|folder| folder.unwrap().path()).collect();
    folders.sort();
    folders
}

/// A version and the track it is on.
type Version = (u64, u64, u64);

const fn track((major, minor, _): Version) -> (u64, u64) {
    if major == 0 { (0, minor) } else { (major, 0) }
}

/// What a package gives: each function that a guest may call, and each that it has to have, with all that its types
/// are made of.
type Functions = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Package {
    version: Version,
    called_by_guests: Functions,
    called_by_hosts: Functions,
}

/// The packages of a `Resolve`, with their names.
fn packages(resolve: &Resolve) -> Vec<(String, Package)> {
    let package = |package: &wit_parser::Package| {
        let version = package.name.version.as_ref().expect("every package has a version");
        let version = (version.major, version.minor, version.patch);
        let mut called_by_guests = Functions::new();
        for (name, id) in &package.interfaces {
            for (function, what) in &resolve.interfaces[*id].functions {
                called_by_guests.insert(format!("{name}.{function}"), signature(resolve, what));
            }
        }
        let mut called_by_hosts = Functions::new();
        for (name, id) in &package.worlds {
            for (key, item) in &resolve.worlds[*id].exports {
                let WorldItem::Function(what) = item else { panic!("{name} exports more than functions") };
                called_by_hosts
                    .insert(format!("{name}.{}", String::from(key.clone())), signature(resolve, what));
            }
        }
        let name = format!("{}:{}", package.name.namespace, package.name.name);
        (name, Package { version, called_by_guests, called_by_hosts })
    };
    resolve.packages.iter().map(|(_, found)| package(found)).collect()
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters: Vec<String> =
        function.params.iter().map(|each| format!("{}: {}", each.name, shape(resolve, each.ty))).collect();
    let result = function.result.map_or_else(|| "_".to_owned(), |result| shape(resolve, result));
    format!("({}) -> {result}", parameters.join(", "))
}

/// A type with all that it is made of, whatever it is called.
fn shape(resolve: &Resolve, ty: Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
    let of = |ty: Type| shape(resolve, ty);
    let maybe = |ty: Option<Type>| ty.map_or_else(|| "_".to_owned(), of);
    let list = |parts: Vec<String>| parts.join(", ");
    let definition = &resolve.types[id];
    match &definition.kind {
        TypeDefKind::Type(other) => of(*other),
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|field| format!("{}: {}", field.name, of(field.ty)));
            format!("record {{ {} }}", list(fields.collect()))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| format!("{}({})", case.name, maybe(case.ty)));
            format!("variant {{ {} }}", list(cases.collect()))
        }
        TypeDefKind::Enum(cases) => {
            format!("enum {{ {} }}", list(cases.cases.iter().map(|case| case.name.clone()).collect()))
        }
        TypeDefKind::Flags(flags) => {
            format!("flags {{ {} }}", list(flags.flags.iter().map(|flag| flag.name.clone()).collect()))
        }
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", list(tuple.types.iter().map(|ty| of(*ty)).collect()))
        }
        TypeDefKind::Option(ty) => format!("option<{}>", of(*ty)),
        TypeDefKind::List(ty) => format!("list<{}>", of(*ty)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", maybe(result.ok), maybe(result.err)),
        TypeDefKind::Resource => format!("resource {}", definition.name.as_deref().unwrap_or_default()),
        TypeDefKind::Handle(Handle::Own(resource)) => format!("own<{}>", of(Type::Id(*resource))),
        TypeDefKind::Handle(Handle::Borrow(resource)) => format!("borrow<{}>", of(Type::Id(*resource))),
        other => panic!("the contract has no {}", other.as_str()),
    }
}

/// What a guest that was built against `published` would miss in `now`.
fn breaks(published: &Package, now: &Package) -> Vec<String> {
    if track(published.version) != track(now.version) {
        // Another track is another interface to a guest: both may be offered beside each other.
        return Vec::new();
    }
    if now.version < published.version {
        return vec!["the version went back".to_owned()];
    }
    let mut broken = Vec::new();
    for (name, was) in &published.called_by_guests {
        match now.called_by_guests.get(name) {
            None => broken.push(format!("`{name}` is gone")),
            Some(is) if is != was => broken.push(format!("`{name}` was {was} and is {is}")),
            Some(_) => {}
        }
    }
    if now.version == published.version
        && let Some(name) =
            now.called_by_guests.keys().find(|name| !published.called_by_guests.contains_key(*name))
    {
        broken.push(format!("`{name}` is new, and the version is not"));
    }
    if now.called_by_hosts != published.called_by_hosts {
        let (was, is) = (&published.called_by_hosts, &now.called_by_hosts);
        broken.push(format!("what a guest has to have was {was:?} and is {is:?}"));
    }
    broken
}

/// The packages of some folders, which may need each other in any order.
fn read(mut folders: Vec<PathBuf>) -> Vec<(String, Package)> {
    let mut resolve = Resolve::default();
    while !folders.is_empty() {
        let (known, mut error) = (folders.len(), None);
        folders.retain(|folder| {
            let mut with = resolve.clone();
            let read = with.push_dir(folder).map(|_| resolve = with);
            read.map_err(|e| error = Some(e)).is_err()
        });
        assert!(folders.len() < known, "{:#}", error.expect("none could be read"));
    }
    packages(&resolve)
}

fn now() -> BTreeMap<String, Package> {
    read(folders(&root().join("wit"))).into_iter().collect()
}

/// Each published package, of the versions that there were.
fn published() -> Vec<(String, Package)> {
    read(folders(&root().join("tests/contract/published")))
}

#[test]
fn what_was_published_still_holds() {
    let now = now();
    for (name, published) in published() {
        let version = published.version;
        let now = now.get(&name).unwrap_or_else(|| panic!("{name} {version:?} was published and is gone"));
        let broken = breaks(&published, now);
        assert!(broken.is_empty(), "{name}: a guest of {version:?} would break: {broken:#?}");
    }
}

#[test]
fn what_is_offered_is_published() {
    let published = published();
    for (name, now) in now() {
        let is_published = published.iter().any(|(other, old)| *other == name && old.version == now.version);
        let (major, minor, patch) = now.version;
        let package = name.trim_start_matches("yuanli:");
        assert!(
            is_published,
            "publish {name} {major}.{minor}.{patch}: copy wit/{package} to \
             tests/contract/published/{package}@{major}.{minor}.{patch}"
        );
    }
}

#[test]
fn what_breaks_a_guest_is_found() {
    const OLD: &str = "
        package yuanli:sample@0.1.0;
        interface sample {
            enum kind { one, two }
            variant error { gone, other(string) }
            record entry { path: string, kind: kind }
            resource thing { wait: func() -> result<entry, error>; }
            %list: func(folder: string) -> result<list<entry>, error>;
        }
        world guest { export run: func(config: string) -> string; }
    ";
    let package = |text: &str| {
        let mut resolve = Resolve::default();
        resolve.push_str("sample.wit", text).unwrap();
        packages(&resolve).remove(0).1
    };
    let check = |changes: &[(&str, &str)], expected: &[&str]| {
        let mut text = OLD.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let broken = breaks(&package(OLD), &package(&text));
        assert_eq!(broken.len(), expected.len(), "{changes:?}: {broken:#?}");
        for (found, expected) in broken.iter().zip(expected) {
            assert!(found.contains(expected), "{changes:?}: {broken:#?}");
        }
    };
    let (later, another) = (("@0.1.0", "@0.1.1"), ("@0.1.0", "@0.2.0"));
    check(&[], &[]);
    check(&[later], &[]);
    check(&[("one, two", "one, two, three"), another], &[]);
    check(&[("@0.1.0", "@0.0.9")], &[]);
    let more = ("%list: func", "more: func(); %list: func");
    check(&[more], &["`sample.more` is new, and the version is not"]);
    check(&[more, later], &[]);
    let wait = "`sample.[method]thing.wait` was";
    let list = "`sample.list` was";
    check(&[("one, two", "one, two, three"), later], &[wait, list]);
    check(&[("one, two", "two, one"), later], &[wait, list]);
    check(&[("gone, other", "gone, full, other"), later], &[wait, list]);
    check(&[("path: string,", "path: string, size: u64,"), later], &[wait, list]);
    check(&[("path: string", "path: list<u8>"), later], &[wait, list]);
    check(&[("folder: string", "folder: string, depth: u32"), later], &[list]);
    check(&[("list<entry>", "option<entry>"), later], &[list]);
    check(&[("%list: func", "lists: func"), later], &["`sample.list` is gone"]);
    check(&[("config: string", "config: list<u8>"), later], &["what a guest has to have was"]);
    let export = "export run: func(config: string) -> string;";
    check(
        &[(export, "export run: func(config: string) -> string; export stop: func();"), later],
        &["has to have"],
    );
    // A type that nothing is called with harms nobody.
    check(&[("enum kind", "enum other { one } enum kind"), later], &[]);
}
