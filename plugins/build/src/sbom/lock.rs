//! What lock files of a context pin. That it is in the image too is not known: the context is what the image was built from.

use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::{self, Value};

use super::{Package, Packages};

type Read = fn(&str) -> Vec<Package>;

/// What each file is read by, wherever it lies in the context.
const FILES: [(&str, Read); 6] = [
    ("Cargo.lock", |text| of_toml("cargo", text)),
    ("poetry.lock", |text| of_toml("pypi", text)),
    ("uv.lock", |text| of_toml("pypi", text)),
    ("package-lock.json", of_npm),
    ("go.mod", of_go),
    ("requirements.txt", of_pip),
];

/// Most lock files that are read: a context with more has those of what it installed in it.
const MOST_FILES: usize = 100;

/// The packages of the lock files below a folder of the workspace.
pub(super) fn packages(context: &str) -> Result<Packages, Failure> {
    let mut packages = Packages::new();
    let folder = context.trim_start_matches("./").trim_matches('/');
    let below = if matches!(folder, "" | ".") { String::new() } else { format!("{folder}/") };
    for (name, read) in FILES {
        let found = workspace::glob(&format!("{below}**/{name}"))?;
        if found.len() > MOST_FILES {
            log::warn(format!("{} files are called {name}: the first {MOST_FILES} are read", found.len()));
        }
        for entry in found.into_iter().take(MOST_FILES) {
            let path = entry.path.strip_prefix(&below).unwrap_or(&entry.path);
            // One that cannot be read is worth a line and no failure: the image is there.
            match workspace::read_text(&entry.path) {
                Ok(text) => {
                    for package in read(&text) {
                        packages.entry(package).or_default().places.push(format!("context:{path}"));
                    }
                }
                Err(error) => {
                    log::warn(format!("{path} is not in the bill: {}", Failure::from(error).message))
                }
            }
        }
    }
    Ok(packages)
}

/// `[[package]]` with `name` and `version`, as Cargo, Poetry and uv write it. What has no `source` is of the context itself with
/// Cargo, and no package.
fn of_toml(kind: &'static str, text: &str) -> Vec<Package> {
    let package = |table: &str| {
        // Its own keys come before those of tables in it.
        let own = || table.lines().take_while(|line| !line.starts_with('['));
        let field = |key: &str| {
            own().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('=')).map(str::trim)
        };
        let text = |key: &str| field(key).map(|value| value.trim_matches('"').to_owned());
        let is_foreign = kind != "cargo" || field("source").is_some();
        is_foreign.then_some(Package::new(kind, text("name")?, text("version")?))
    };
    text.split("[[package]]").skip(1).filter_map(package).collect()
}

/// `packages` of the lock files of npm 7 and later: the path says the name, after the last `node_modules/`.
fn of_npm(text: &str) -> Vec<Package> {
    let Ok(lock) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let package = |(path, about): (&String, &Value)| {
        let (_, name) = path.rsplit_once("node_modules/")?;
        let (namespace, name) = match name.split_once('/') {
            Some((scope, name)) => (Some(scope.to_owned()), name),
            None => (None, name),
        };
        Some(Package { namespace, ..Package::new("npm", name, about["version"].as_str()?) })
    };
    lock["packages"].as_object().into_iter().flatten().filter_map(package).collect()
}

/// `require` of a module, in a block or alone.
fn of_go(text: &str) -> Vec<Package> {
    let mut is_block = false;
    let mut packages = Vec::new();
    for line in text.lines().map(|line| line.split("//").next().unwrap_or_default().trim()) {
        let required = match line {
            "require (" => {
                is_block = true;
                continue;
            }
            ")" => {
                is_block = false;
                continue;
            }
            line if is_block => line,
            line => match line.strip_prefix("require ") {
                Some(required) => required,
                None => continue,
            },
        };
        if let Some((module, version)) = required.split_once(' ') {
            let (namespace, name) = match module.rsplit_once('/') {
                Some((namespace, name)) => (Some(namespace.to_owned()), name),
                None => (None, module),
            };
            packages.push(Package { namespace, ..Package::new("golang", name, version.trim()) });
        }
    }
    packages
}

/// `name==version`; whatever is not pinned so is no version.
fn of_pip(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let line = line.split([';', '#']).next()?;
        let (name, version) = line.split_once("==")?;
        let name = name.split('[').next()?.trim();
        let version = version.split_whitespace().next()?.trim_matches('\\');
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let is_pinned = is_name(name) && !version.contains('*') && !version.starts_with('=');
        // Package URLs of Python have one spelling of what Python takes for the same name.
        is_pinned.then(|| Package::new("pypi", name.to_lowercase().replace('_', "-"), version))
    };
    text.lines().filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(packages: Vec<Package>) -> Vec<String> {
        packages.iter().map(Package::url).collect()
    }

    #[test]
    fn lock_files_are_read() {
        let cargo = "version = 4\n\n[[package]]\nname = \"shop\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\n\
                     source = \"registry\"\ndependencies = [\n \"x\",\n]\n";
        assert_eq!(shown(of_toml("cargo", cargo)), ["pkg:cargo/serde@1.0.1"]);
        let poetry = "[[package]]\nname = \"idna\"\nversion = \"3.4\"\n\n[package.extras]\nname = \"no\"\n";
        assert_eq!(shown(of_toml("pypi", poetry)), ["pkg:pypi/idna@3.4"]);
        let npm = r#"{"packages": {"": {"version": "1"}, "node_modules/a": {"version": "2.0.0"},
                      "node_modules/a/node_modules/@s/b": {"version": "3.0.0"}, "packages/own": {"version": "4"}}}"#;
        assert_eq!(shown(of_npm(npm)), ["pkg:npm/a@2.0.0", "pkg:npm/%40s/b@3.0.0"]);
        assert_eq!(of_npm("{"), []);
        let go = "module x\n\nrequire github.com/a/b v1.0.0\nrequire (\n\tgolang.org/x/net v0.1.0 // indirect\n)\nreplace y => ../y\n";
        assert_eq!(
            shown(of_go(go)),
            ["pkg:golang/github.com/a/b@v1.0.0", "pkg:golang/golang.org/x/net@v0.1.0"]
        );
        let pip = "Foo_Bar[extra]==1.2 \\\n    --hash=sha256:00\nloose>=1\n# a==1\nb==2.*\nc == 3 ; python_version<'4'\n";
        assert_eq!(shown(of_pip(pip)), ["pkg:pypi/foo-bar@1.2", "pkg:pypi/c@3"]);
    }
}
