//! `source`: fetches the source of an application into the workspace, from git or from a folder.

use yuanli_sdk::prelude::*;

struct Source;

/// Where the source is: give `git` or `path`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["git"]}, {"required": ["path"]}]))]
struct Config {
    /// The URL of a git repository: https, ssh or file.
    git: Option<String>,
    /// Branch, tag or commit; the default branch when absent. Only with `git`.
    #[serde(rename = "ref")]
    reference: Option<String>,
    /// The folder of the repository to take; all of it when absent. Only with `git`.
    subfolder: Option<String>,
    /// Who to be at the server: `{ username: ci, password: ${{ inputs.token }} }`, with an input of type `secret`; told to the
    /// server of the URL and to nobody else. By https. Without, git's own credentials of the engine's user count. Only with `git`.
    login: Option<registries::LoginConfig>,
    /// Whether the submodules are fetched too, and theirs. Only with `git`.
    #[serde(default)]
    submodules: bool,
    /// Files and folders, below `subfolder`: only these are written. Only with `git`.
    #[serde(default)]
    sparse: Vec<String>,
    /// What becomes of files whose content is in Git LFS, which is not fetched. Only with `git`.
    #[serde(default)]
    lfs: Lfs,
    /// A folder, relative to the workflow's file.
    path: Option<String>,
    /// The folder of the workspace to put it into; the workspace itself when absent.
    #[serde(default)]
    into: String,
}

/// What becomes of pointers of Git LFS.
#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Lfs {
    /// The stage fails, and names one: whatever is built from pointers would be wrong.
    #[default]
    Refuse,
    /// They are taken as they are, and the log tells of them.
    Pointers,
}

/// What was fetched.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// The commit, in hexadecimal; empty for a folder that is in no git repository, or in one without a commit.
    commit: String,
    /// The branch or tag that it was; empty when unknown.
    #[serde(rename = "ref")]
    reference: String,
    /// Whether the folder differs from its commit.
    dirty: bool,
    /// How many files there are.
    files: u64,
    /// How many bytes they hold.
    bytes: u64,
    /// Who made the commit, `Name <address>`; empty without one.
    author: String,
    /// When it was committed, by RFC 3339; empty without one.
    committed: String,
    /// Its message; empty without one.
    message: String,
}

impl Stage for Source {
    const NAME: &str = "source";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Fetches the source of an application from git or a folder";
    const CAPABILITIES: &[(&str, &str)] =
        &[("secrets", "to log in where it is"), ("source", "to fetch the source into the workspace")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let source::Fetched { checkout, details } = fetch(&config)?;
        let detail = |wanted: &str| {
            details.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let outputs = Outputs {
            commit: checkout.commit.unwrap_or_default(),
            reference: checkout.reference.unwrap_or_default(),
            dirty: checkout.is_dirty,
            files: checkout.files,
            bytes: checkout.bytes,
            author: detail("author"),
            committed: detail("committed"),
            message: detail("message"),
        };
        log::info(in_words(&outputs));
        Ok(outputs)
    }
}

fn fetch(config: &Config) -> Result<source::Fetched, Failure> {
    let wrong = |message: &str| Err(Failure::permanent("invalid-config", message));
    match (&config.git, &config.path) {
        (Some(url), None) => {
            let request = source::GitRequest {
                url: url.clone(),
                reference: config.reference.clone(),
                subfolder: config.subfolder.clone(),
            };
            let extras = source::Extras {
                submodules: config.submodules,
                sparse: config.sparse.clone(),
                refuses_pointers: config.lfs == Lfs::Refuse,
            };
            let login = config.login.as_ref().map(registries::LoginConfig::get).transpose()?;
            Ok(source::fetch(&request, &config.into, login.as_ref(), &extras)?)
        }
        (None, Some(_)) if config.is_about_git() => wrong(
            "`ref`, `subfolder`, `login`, `submodules`, `sparse` and `lfs` go with `git`, not with `path`",
        ),
        (None, Some(path)) => Ok(source::copy(path, &config.into)?),
        _ => wrong("give either `git` or `path`"),
    }
}

impl Config {
    /// Whether it says anything that only git knows.
    fn is_about_git(&self) -> bool {
        self.reference.is_some()
            || self.subfolder.is_some()
            || self.login.is_some()
            || self.submodules
            || !self.sparse.is_empty()
            || self.lfs != Lfs::Refuse
    }
}

fn in_words(outputs: &Outputs) -> String {
    let Outputs { commit, reference, files, bytes, .. } = outputs;
    let origin = match commit.get(..12) {
        None if reference.is_empty() => "not in git".to_owned(),
        None => "in git, without a commit yet".to_owned(),
        Some(short) if outputs.dirty => format!("commit {short} with changes"),
        Some(short) => format!("commit {short}"),
    };
    format!("{files} files, {bytes} bytes, {origin}")
}

yuanli_sdk::export!(Source);

#[cfg(test)]
mod tests {
    use yuanli_sdk::mock::{Answers, Mock};
    use yuanli_sdk::serde_json::{Value, json};

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// Gives what is asked for, and says what that was.
    struct Git;

    impl Answers for Git {
        fn fetch(
            &mut self,
            request: &source::GitRequest,
            into: &str,
            username: Option<&str>,
            options: &[(String, String)],
        ) -> Result<source::Fetched, source::Error> {
            let options: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let message = format!("{} into {into:?} as {username:?}: {}", request.url, options.join(" "));
            let details = vec![("author".to_owned(), "A <a@b>".to_owned()), ("message".to_owned(), message)];
            Ok(source::Fetched { checkout: checkout(false), details })
        }

        fn copy(&mut self, path: &str, _: &str) -> Result<source::Fetched, source::Error> {
            let details = vec![("message".to_owned(), format!("of {path}"))];
            Ok(source::Fetched { checkout: checkout(true), details })
        }
    }

    fn checkout(is_dirty: bool) -> source::Checkout {
        let (commit, reference) = (Some(COMMIT.to_owned()), Some("main".to_owned()));
        source::Checkout { commit, reference, is_dirty, files: 2, bytes: 10 }
    }

    fn run(config: Value) -> Result<Value, Failure> {
        Mock::new().secret("token", "t0p").answering(Git).run::<Source>(config)
    }

    #[test]
    fn all_that_is_asked_of_git_reaches_it() {
        let login = json!({ "username": "ci", "password": { "secret": "token" } });
        let outputs = run(json!({
            "git": "https://example.com/a", "login": login, "submodules": true, "sparse": ["a", "b/c"], "into": "src",
        }));
        let message = "https://example.com/a into \"src\" as Some(\"ci\"): sparse=a sparse=b/c submodules=true lfs=refuse";
        assert_eq!(
            outputs.expect("it succeeds"),
            json!({
                "commit": COMMIT, "ref": "main", "dirty": false, "files": 2, "bytes": 10,
                "author": "A <a@b>", "committed": "", "message": message,
            })
        );
        let outputs = run(json!({ "git": "https://example.com/a", "lfs": "pointers" })).expect("it succeeds");
        assert_eq!(outputs["message"], "https://example.com/a into \"\" as None: ");
    }

    #[test]
    fn a_folder_has_nothing_that_only_git_has() {
        let outputs = run(json!({ "path": "app" })).expect("it succeeds");
        assert_eq!((&outputs["message"], &outputs["dirty"]), (&json!("of app"), &json!(true)));
        for more in [json!({ "ref": "x" }), json!({ "submodules": true }), json!({ "lfs": "pointers" })] {
            let mut config = json!({ "path": "app" });
            config.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
            assert_eq!(run(config).expect_err("refused").kind, "invalid-config");
        }
    }
}
