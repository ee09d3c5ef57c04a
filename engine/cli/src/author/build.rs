//! From a plugin's folder to a component: which language it is in, and what its tools are asked.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use super::tool::{Call, Tool};
use crate::arguments::Language;
use crate::exit::Misuse;

/// Where a component lies until it is known to be one, and what its name is.
const UNNAMED: &str = ".unnamed.wasm";

const TARGET: &str = "wasm32-wasip2";

const CARGO: Tool = Tool {
    program: "cargo",
    beside: None,
    get: "curl https://sh.rustup.rs -sSf | sh    # see https://rustup.rs",
};
const RUSTC: Tool = Tool { program: "rustc", ..CARGO };
const COMPONENTIZE_PY: Tool = Tool {
    program: "componentize-py",
    beside: Some(".venv/bin"),
    get: "python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1",
};
const JCO: Tool = Tool {
    program: "jco",
    beside: Some("node_modules/.bin"),
    get: "npm install --save-dev @bytecodealliance/jco@1.35.0 componentize-qjs@0.4.5",
};
const NODE: Tool = Tool { program: "node", beside: None, get: "apt-get install nodejs npm" };

/// The plugin, not this machine, is why there is no component.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failed(pub(crate) String);

/// What was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The component, not named yet.
    pub(crate) component: PathBuf,
    /// The commands that made it.
    pub(crate) commands: Vec<String>,
}

/// What lies in the folder of a plugin in a language: the manifest of its packages, and its own first file.
const fn marks(language: Language) -> (&'static str, &'static str) {
    match language {
        Language::Rust => ("Cargo.toml", "src/lib.rs"),
        Language::Python => ("pyproject.toml", "plugin.py"),
        Language::JavaScript => ("package.json", "plugin.js"),
    }
}

/// The language of the plugin in a folder: the one that was said, or the only one that it can be.
pub(crate) fn language(folder: &Path, said: Option<Language>) -> anyhow::Result<Language> {
    let place = folder.display();
    if !folder.is_dir() {
        return Err(Misuse(format!("there is no folder {place}")).into());
    }
    let is_there = |language: &Language| {
        let (manifest, first) = marks(*language);
        folder.join(manifest).is_file() && folder.join(first).is_file()
    };
    let all = [Language::Rust, Language::Python, Language::JavaScript];
    let found: Vec<Language> = all.into_iter().filter(is_there).collect();
    match (said, found.as_slice()) {
        (Some(said), found) if found.contains(&said) => Ok(said),
        (None, [only]) => Ok(*only),
        (None, [_, _, ..]) => {
            Err(Misuse(format!("{place} has plugins in several languages: say which with --lang")).into())
        }
        (said, _) => {
            let wanted = all.into_iter().filter(|language| said.is_none_or(|said| said == *language));
            let wanted = wanted.map(|language| {
                let (manifest, first) = marks(language);
                format!("{manifest} and {first}")
            });
            let wanted: Vec<String> = wanted.collect();
            Err(Misuse(format!(
                "{place} has no plugin, which is {}; `yuanli plugin new` writes one",
                wanted.join(", or ")
            ))
            .into())
        }
    }
}

/// Compiles the plugin in a folder. The component is in there afterwards, for [`keep`] or [`discard`].
pub(crate) fn component(folder: &Path, language: Language) -> anyhow::Result<Built> {
    let component = folder.join(UNNAMED);
    let made = match language {
        Language::Rust => rust(folder, &component),
        Language::Python => python(folder),
        Language::JavaScript => javascript(folder),
    };
    let command = made.inspect_err(|_| discard(&component))?;
    Ok(Built { component, commands: vec![command] })
}

/// The components that lie in a folder, sorted.
pub(crate) fn components_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("the folder {} cannot be read", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension() == Some("wasm".as_ref()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The one component in the folder of a plugin.
pub(crate) fn only_component(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut found = components_in(folder)?;
    match (found.pop(), found.as_slice()) {
        (Some(only), []) => Ok(only),
        (Some(_), _) => {
            let why = format!("{} has several components: name the file of one", folder.display());
            Err(Misuse(why).into())
        }
        (None, _) => {
            must_be_built(folder)?;
            Err(Misuse(format!("{} has no component, no file `*.wasm`", folder.display())).into())
        }
    }
}

/// Refuses the folder of a plugin that is not built; of another folder it says nothing.
pub(crate) fn must_be_built(folder: &Path) -> anyhow::Result<()> {
    match language(folder, None) {
        Ok(_) => {
            let place = folder.display();
            Err(Misuse(format!("the plugin in {place} is not built yet: `yuanli plugin build {place}`"))
                .into())
        }
        Err(_) => Ok(()),
    }
}

/// Names a component after its plugin.
pub(crate) fn keep(component: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let named = component.with_file_name(format!("{name}.wasm"));
    std::fs::rename(component, &named)
        .with_context(|| format!("the component cannot be put at {}", named.display()))?;
    Ok(named)
}

/// Removes a component that is no plugin.
pub(crate) fn discard(component: &Path) {
    // It may not be there yet; what cannot be removed is replaced by the next build.
    let _ = std::fs::remove_file(component);
}

fn rust(folder: &Path, component: &Path) -> anyhow::Result<String> {
    let cargo = CARGO.find(folder)?;
    if !has_target(folder)? {
        bail!("Rust cannot compile for {TARGET} yet. This gets it:\n  rustup target add {TARGET}");
    }
    let arguments = ["build", "--target", TARGET, "--release", "--message-format", "json-render-diagnostics"];
    let (words, messages) = Call::new(&cargo, folder, arguments).read()?;
    let manifest = folder.join("Cargo.toml").canonicalize().context("Cargo.toml cannot be read")?;
    let Some(made) = artifact(&messages, &manifest) else {
        let why =
            "the package makes no component: Cargo.toml has to say\n  [lib]\n  crate-type = [\"cdylib\"]";
        return Err(Failed(why.to_owned()).into());
    };
    std::fs::copy(&made, component)
        .with_context(|| format!("{} cannot be copied into the plugin's folder", made.display()))?;
    Ok(words)
}

/// Whether the standard library is there for the target.
fn has_target(folder: &Path) -> anyhow::Result<bool> {
    let arguments = ["--print", "target-libdir", "--target", TARGET];
    let mut rustc = std::process::Command::new(RUSTC.find(folder)?);
    let output = rustc.args(arguments).current_dir(folder).output().context("rustc cannot be started")?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(std::fs::read_dir(libraries).is_ok_and(|mut files| files.next().is_some()))
}

/// The component of a package among what cargo says it has made.
fn artifact(messages: &[u8], manifest: &Path) -> Option<PathBuf> {
    let messages = messages.split(|byte| *byte == b'\n');
    let messages = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let ours = messages.filter(|message| {
        message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().map(Path::new) == Some(manifest)
    });
    let files = ours.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    files
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension() == Some("wasm".as_ref()))
}

fn python(folder: &Path) -> anyhow::Result<String> {
    let componentize = COMPONENTIZE_PY.find(folder)?;
    Call::new(&componentize, folder, ["--wit-path", "wit", "componentize", "plugin", "--output", UNNAMED])
        .run()
}

/// QuickJS instead of jco's default, StarlingMonkey: a seventh of the size, a tenth of the time to compile. Its own
/// runtime for synchronous code is enough, as the contract is synchronous.
fn javascript(folder: &Path) -> anyhow::Result<String> {
    NODE.find(folder)?;
    let jco = JCO.find(folder)?;
    let arguments = ["componentize", "plugin.js", "--wit", "wit", "--backend", "quickjs"];
    let arguments = arguments.into_iter().chain(["--backend-qjs-disable-async", "--out", UNNAMED]);
    Call::new(&jco, folder, arguments).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_known_by_what_lies_there() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        let told = |said| language(folder.path(), said).map_err(|error| error.to_string());
        assert!(
            told(None).unwrap_err().contains("Cargo.toml and src/lib.rs, or pyproject.toml and plugin.py")
        );
        put("pyproject.toml");
        put("plugin.py");
        assert_eq!(told(None), Ok(Language::Python));
        // A manifest alone is no plugin: Python projects have a package.json for their tools as well.
        put("package.json");
        assert_eq!(told(None), Ok(Language::Python));
        assert!(told(Some(Language::Rust)).unwrap_err().contains("which is Cargo.toml and src/lib.rs;"));
        put("plugin.js");
        assert!(told(None).unwrap_err().contains("--lang"));
        assert_eq!(told(Some(Language::JavaScript)), Ok(Language::JavaScript));
    }

    #[test]
    fn of_what_cargo_made_the_component_of_the_package_is_taken() {
        let message = |reason: &str, manifest: &str, file: &str| {
            serde_json::json!({ "reason": reason, "manifest_path": manifest, "filenames": [file] })
                .to_string()
        };
        let messages = [
            message("compiler-artifact", "/other/Cargo.toml", "/t/other.wasm"),
            "no JSON".to_owned(),
            message("build-script-executed", "/a/Cargo.toml", "/t/script.wasm"),
            message("compiler-artifact", "/a/Cargo.toml", "/t/liba.rlib"),
            message("compiler-artifact", "/a/Cargo.toml", "/t/a.wasm"),
        ]
        .join("\n");
        let made = |manifest: &str| artifact(messages.as_bytes(), Path::new(manifest));
        assert_eq!(made("/a/Cargo.toml"), Some("/t/a.wasm".into()));
        assert_eq!(made("/b/Cargo.toml"), None);
    }

    #[test]
    fn a_tool_that_is_not_there_is_missed_with_the_command_that_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let tool = Tool { program: "no-such-tool", beside: Some("bin"), get: "get it" };
        let why = tool.find(folder.path()).unwrap_err().to_string();
        assert!(why.starts_with("no-such-tool is not there.") && why.ends_with("get it"), "{why}");
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        std::fs::write(folder.path().join("bin/no-such-tool"), "").unwrap();
        assert!(tool.find(folder.path()).unwrap().ends_with("bin/no-such-tool"));
    }
}
