//! How the program is linked in a release: smaller, where the linker is the one that Rust brings along.

use std::env;
use std::path::Path;
use std::process::Command;

/// The first version of glibc whose loader reads relocations in the compact form.
const COMPACT_RELOCATIONS: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let is_linked_by_rust = is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && !env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("link"));
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        // As the profile says: it does not reach a program whose package has settings of its own. A quarter of the program.
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
    if !is("PROFILE", "release") || !is_linked_by_rust || !has_linker() {
        return;
    }
    // Functions that are the same, as generic ones often are, are there once: 4 % of the program.
    println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    // Addresses that the loader has to fill in take a bit, not 24 bytes: 5 % of the program.
    let is_native = env::var("HOST").ok() == env::var("TARGET").ok();
    if is_native && glibc().is_some_and(|version| version >= COMPACT_RELOCATIONS) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether this compiler has a linker of its own, which is then what it links with; distributions leave it out.
fn has_linker() -> bool {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok();
    let sysroot = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    Path::new(sysroot.trim()).join("lib/rustlib/x86_64-unknown-linux-gnu/bin/gcc-ld/ld.lld").exists()
}

/// The version of the C library here.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
