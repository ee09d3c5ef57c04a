//! Compiles the guest crates beside this one to components, with a cargo of its own in a target folder of its own
//! (the outer cargo holds the lock of the usual one), and writes the list that `src/lib.rs` includes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const PLUGINS: [&str; 5] = ["build", "command", "script", "source", "test"];
const TARGET: &str = "wasm32-wasip2";

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = here.join("../..");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for watched in ["sdk/rust", "wit", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    for plugin in PLUGINS {
        println!("cargo::rerun-if-changed={}", root.join("plugins").join(plugin).display());
    }
    let target = out.join("guests");
    compile(&root, &target);
    let mut list = String::from("&[\n");
    for plugin in PLUGINS {
        let component = target.join(TARGET).join("plugin").join(format!("{plugin}.wasm"));
        list += &format!("    Embedded {{ name: {plugin:?}, component: include_bytes!({component:?}) }},\n");
    }
    list.push(']');
    fs::write(out.join("embedded.rs"), list).expect("OUT_DIR can be written");
}

fn compile(root: &Path, target: &Path) {
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    cargo.current_dir(root).args(["build", "--locked", "--profile", "plugin", "--target", TARGET]);
    for plugin in PLUGINS {
        cargo.args(["--package", &format!("yuanli-plugin-{plugin}")]);
    }
    cargo.arg("--target-dir").arg(target);
    // What the outer cargo says of the host's compilation must not reach the guests'.
    for variable in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR"] {
        cargo.env_remove(variable);
    }
    let status = cargo.status().expect("cargo can be started");
    assert!(
        status.success(),
        "the built-in plugins could not be compiled; if the target is missing: rustup target add {TARGET}"
    );
}
