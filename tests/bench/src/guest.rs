//! The guests that instances are measured with: nothing is done in each of them, in a language of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use yuanli_test_guests::NOOP;

use crate::Bench;

/// A guest, ready to be compiled by the engine.
pub(crate) struct Guest {
    pub(crate) language: &'static str,
    pub(crate) component: Vec<u8>,
}

/// A language whose tools may not be there.
struct Language {
    name: &'static str,
    /// The folder of the guest, below `tests/guests`.
    folder: &'static str,
    /// Its tool, below `target/guest-tools`, where `scripts/setup` puts it.
    tool: &'static str,
    arguments: &'static [&'static str],
    output: &'static str,
}

const LANGUAGES: [Language; 2] = [
    Language {
        name: "Python",
        folder: "python",
        tool: "componentize-py-0.25.1/bin/componentize-py",
        arguments: &["--wit-path", "wit", "componentize", "plugin"],
        output: "--output",
    },
    Language {
        name: "JavaScript",
        folder: "javascript",
        tool: "jco-1.35.0/node_modules/.bin/jco",
        arguments: &[
            "componentize",
            "plugin.js",
            "--wit",
            "wit",
            "--backend",
            "quickjs",
            "--backend-qjs-disable-async",
        ],
        output: "--out",
    },
];

/// All of them; those whose tools are not there are left out, which is said.
pub(crate) fn all(bench: &Bench) -> anyhow::Result<Vec<Guest>> {
    let mut guests = vec![Guest { language: "Rust", component: NOOP.component.to_vec() }];
    for language in LANGUAGES {
        let tool = root().join("target/guest-tools").join(language.tool);
        if tool.exists() {
            guests.push(build(&language, &tool, bench)?);
        } else {
            eprintln!("left out: {} (no {}; scripts/setup gets it)", language.name, tool.display());
        }
    }
    Ok(guests)
}

fn build(language: &Language, tool: &Path, bench: &Bench) -> anyhow::Result<Guest> {
    let component = bench.fresh(language.folder)?.join("guest.wasm");
    let mut command = Command::new(tool);
    command.args(language.arguments).arg(language.output).arg(&component);
    command.current_dir(root().join("tests/guests").join(language.folder)).stdout(Stdio::null());
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(Guest { language: language.name, component: std::fs::read(component)? })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
