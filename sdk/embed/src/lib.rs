//! For build scripts: compiles guest crates of this workspace to components and writes a list of them to include.
//!
//! The guests are compiled by a cargo of their own, in a target folder of their own, as the outer cargo holds the
//! lock of the usual one. All profiles of the host share that folder: guests do not depend on them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use sha2::{Digest, Sha256};

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "plugin";

/// Settings of the outer cargo for the host's code, which must not reach the guests'.
const OUTER: [&str; 7] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
];

/// A guest crate: its package, the name of its library, its folder relative to the workspace.
#[derive(Debug, Clone, Copy)]
pub struct Guest<'a> {
    /// The package's name.
    pub package: &'a str,
    /// The library's name; also the name under which it is embedded.
    pub name: &'a str,
    /// Its folder, relative to the workspace.
    pub folder: &'a str,
}

/// Compiles `guests` and writes `$OUT_DIR/embedded.rs`: an expression, a slice of `Embedded { name, digest,
/// component }`, in the order of `guests`. `root` is the workspace, relative to the crate whose build script calls.
///
/// # Panics
/// When the guests cannot be compiled: a build script has no better way to end a build.
pub fn embed(root: &str, guests: &[Guest<'_>]) {
    let variable = |name: &str| PathBuf::from(env::var_os(name).expect("cargo sets it for build scripts"));
    let root = variable("CARGO_MANIFEST_DIR").join(root);
    let out = variable("OUT_DIR");
    for watched in
        ["sdk/rust", "wit", "Cargo.lock", "Cargo.toml"].into_iter().chain(guests.iter().map(|g| g.folder))
    {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    let target = out.ancestors().nth(4).expect("cargo lays OUT_DIR out like this").join("guests");
    compile(&root, &target, guests);
    let mut list = String::from("&[\n");
    for guest in guests {
        let component =
            target.join(TARGET).join(PROFILE).join(format!("{}.wasm", guest.name.replace('-', "_")));
        let digest: [u8; 32] =
            Sha256::digest(fs::read(&component).expect("cargo has just written it")).into();
        let name = guest.name;
        list += &format!(
            "    Embedded {{ name: {name:?}, digest: {digest:?}, component: include_bytes!({component:?}) }},\n"
        );
    }
    list.push(']');
    fs::write(out.join("embedded.rs"), list).expect("OUT_DIR can be written");
}

fn compile(root: &Path, target: &Path, guests: &[Guest<'_>]) {
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it for build scripts"));
    cargo.current_dir(root).args(["build", "--locked", "--profile", PROFILE, "--target", TARGET]);
    for guest in guests {
        cargo.args(["--package", guest.package]);
    }
    cargo.arg("--target-dir").arg(target);
    OUTER.iter().for_each(|variable| {
        cargo.env_remove(variable);
    });
    let status = cargo.status().expect("cargo can be started");
    assert!(
        status.success(),
        "guests could not be compiled; if the target is missing: rustup target add {TARGET}"
    );
}
