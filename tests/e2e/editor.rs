//! What an editor makes of the schemas: a real YAML language server is asked to complete, to explain and to check.
//!
//! The server comes from npm, at one version, into the folder for temporary files of this target. Where there is no npm,
//! or nothing can be fetched, the tests say so and pass.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::support::{PATIENCE, Place, examples};

const SERVER: &str = "yaml-language-server@1.25.0";

/// The program of the language server, installed once for all tests; `None` where it cannot be had.
fn server() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SERVER.replace('@', "-"));
            let program = folder.join("node_modules/yaml-language-server/bin/yaml-language-server");
            if program.exists() {
                return Some(program);
            }
            std::fs::create_dir_all(&folder).unwrap();
            let mut npm = Command::new("npm");
            npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix"]);
            let installed = npm.arg(&folder).arg(SERVER).current_dir(&folder).output();
            match installed {
                Ok(output) if output.status.success() => Some(program),
                Ok(output) => {
                    println!(
                        "skipped: npm installs no {SERVER}: {}",
                        String::from_utf8_lossy(&output.stderr)
                    );
                    None
                }
                Err(error) => {
                    println!("skipped: there is no npm, which brings {SERVER}: {error}");
                    None
                }
            }
        })
        .as_deref()
}

/// The schemas, made once for all tests: all plugins are compiled for them.
fn schemas() -> &'static [(&'static str, String)] {
    static SCHEMAS: OnceLock<Vec<(&'static str, String)>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let place = Place::new();
        let schema = |kind| (kind, place.yuanli(&["schema", kind]).expect(0, &[]).out);
        ["workflow", "app", "tests"].map(schema).into()
    })
}

/// A language server, and the documents that are open in it.
struct Editor {
    place: Place,
    server: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    diagnostics: BTreeMap<String, Vec<String>>,
}

impl Editor {
    /// `None` where no server can be had.
    fn open() -> Option<Self> {
        let program = server()?;
        let place = Place::new();
        for (kind, schema) in schemas() {
            place.write(&format!("yuanli-{kind}.json"), schema);
        }
        let mut command = Command::new("node");
        command
            .arg(program)
            .arg("--stdio")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut server = command.spawn().expect("npm comes with node");
        let (input, output) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(message) = message(&mut output) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut editor = Self { place, server, input, messages, last_id: 0, diagnostics: BTreeMap::new() };
        let root = editor.uri("");
        let capabilities = json!({
            "workspace": { "configuration": true },
            "textDocument": {
                "completion": { "completionItem": { "documentationFormat": ["markdown"] } },
                "hover": { "contentFormat": ["markdown"] },
            },
        });
        editor.ask("initialize", json!({ "processId": null, "rootUri": root, "capabilities": capabilities }));
        editor.tell("initialized", json!({}));
        Some(editor)
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}", self.place.path(name).display())
    }

    /// Opens a document that names its schema as `yuanli schema --help` says, and gives what is marked in it.
    fn diagnostics(&mut self, name: &str, kind: &str, text: &str) -> Vec<String> {
        let uri = self.write(name, kind, text);
        self.diagnostics.remove(&uri);
        while !self.diagnostics.contains_key(&uri) {
            let message = self.receive();
            self.handle(message);
        }
        self.diagnostics[&uri].clone()
    }

    fn write(&mut self, name: &str, kind: &str, text: &str) -> String {
        let text = format!("# yaml-language-server: $schema=./yuanli-{kind}.json\n{text}");
        self.place.write(name, &text);
        let uri = self.uri(name);
        let document = json!({ "uri": uri, "languageId": "yaml", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
        uri
    }

    /// Asks about the place of the `|` in a text.
    fn at(&mut self, name: &str, method: &str, text: &str) -> Value {
        let (before, after) = text.split_once('|').unwrap();
        let uri = self.write(name, "workflow", &format!("{before}{after}"));
        // The first line is the one that names the schema.
        let line = before.matches('\n').count() + 1;
        let character = before.rsplit('\n').next().unwrap().len();
        let position = json!({ "line": line, "character": character });
        self.ask(method, json!({ "textDocument": { "uri": uri }, "position": position }))
    }

    /// What can be completed at the `|`: label and words about it.
    fn completions(&mut self, name: &str, text: &str) -> BTreeMap<String, String> {
        let answer = self.at(name, "textDocument/completion", text);
        let items = answer["items"].as_array().unwrap();
        let words = |item: &Value| match &item["documentation"] {
            Value::String(text) => text.clone(),
            other => other["value"].as_str().unwrap_or_default().to_owned(),
        };
        items.iter().map(|item| (item["label"].as_str().unwrap().to_owned(), words(item))).collect()
    }

    fn hover(&mut self, name: &str, text: &str) -> String {
        let answer = self.at(name, "textDocument/hover", text);
        answer["contents"]["value"].as_str().unwrap_or_default().to_owned()
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let message = self.receive();
            if message["id"] == id && message.get("method").is_none() {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.handle(message);
        }
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        self.input.flush().unwrap();
    }

    fn receive(&self) -> Value {
        self.messages.recv_timeout(PATIENCE).expect("the language server says something")
    }

    /// What the server asks for or tells: its settings, what it found.
    fn handle(&mut self, message: Value) {
        match message["method"].as_str() {
            Some("workspace/configuration") => {
                let items = message["params"]["items"].as_array().unwrap();
                let settings = items.iter().map(|item| match item["section"].as_str() {
                    // Nothing is fetched but the schema that the document names.
                    Some("yaml") => json!({ "validate": true, "hover": true, "completion": true,
                                            "schemaStore": { "enable": false } }),
                    _ => json!({}),
                });
                let settings: Vec<Value> = settings.collect();
                self.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": settings }));
            }
            Some("textDocument/publishDiagnostics") => {
                let params = &message["params"];
                let found = params["diagnostics"].as_array().unwrap().iter();
                let shown = found.map(|found| {
                    let line = found["range"]["start"]["line"].as_u64().unwrap();
                    format!("{line}: {}", found["message"].as_str().unwrap())
                });
                let uri = params["uri"].as_str().unwrap().to_owned();
                self.diagnostics.insert(uri, shown.collect());
            }
            Some(_) if !message["id"].is_null() => {
                self.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": null }));
            }
            _ => {}
        }
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The next message of the server; `None` when it has ended.
fn message(output: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(given) = line.strip_prefix("Content-Length:") {
            length = given.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    output.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

#[test]
fn an_editor_completes_keys_plugins_and_their_settings() {
    let Some(mut editor) = Editor::open() else { return };
    let keys = editor.completions("top.yaml", "name: w\n|\n");
    assert!(keys["stages"].contains("What is done"), "{keys:?}");
    assert!(keys.contains_key("inputs") && !keys.contains_key("name"), "{keys:?}");

    let keys = editor.completions("stage.yaml", "name: w\nstages:\n  a:\n    uses: build\n    |\n");
    assert!(keys["needs"].contains("The stages that have to end before it starts"), "{keys:?}");

    let plugins = editor.completions("uses.yaml", "name: w\nstages:\n  a:\n    uses: |\n");
    assert!(plugins["build"].contains("Builds a container image"), "{plugins:?}");
    assert!(plugins.contains_key("gray-release"), "{plugins:?}");

    let settings =
        editor.completions("with.yaml", "name: w\nstages:\n  a:\n    uses: build\n    with:\n      |\n");
    assert!(settings["dockerfile"].contains("relative to"), "{settings:?}");
    assert!(!settings.contains_key("volume"), "settings of `backup` are not those of `build`: {settings:?}");

    let app = "name: w\nstages:\n  a:\n    uses: deploy\n    with:\n      app:\n        |\n";
    let app = editor.completions("app.yaml", app);
    assert!(app["route"].contains("Where the gateway finds it"), "{app:?}");

    let types = editor.completions("type.yaml", "name: w\ninputs:\n  tag:\n    type: |\nstages: {}\n");
    assert!(types.contains_key("number"), "{types:?}");
}

#[test]
fn an_editor_says_what_keys_mean() {
    let Some(mut editor) = Editor::open() else { return };
    let text = "name: w\nstages:\n  a:\n    uses: script\n    ti|meout: 10m\n";
    let shown = editor.hover("timeout.yaml", text);
    assert!(shown.contains("How long an attempt may take") && shown.contains("10m"), "{shown}");
    let text = "name: w\nstages:\n  a:\n    uses: build\n    with:\n      no_ca|che: true\n";
    let shown = editor.hover("setting.yaml", text);
    assert!(shown.contains("Do not use cached steps"), "{shown}");
}

#[test]
fn an_editor_marks_what_is_wrong_and_nothing_else() {
    let Some(mut editor) = Editor::open() else { return };
    for (number, (kind, text, expect)) in [
        ("workflow", "name: w\nstages:\n  a:\n    uses: script\n    need: b\n", Some("5: ")),
        ("workflow", "name: w\nstages:\n  a:\n    uses: build\n    with:\n      imgae: x\n", Some("6: ")),
        (
            "workflow",
            "name: w\nstages:\n  a:\n    uses: scale\n    with: { app: a, replicas: two }\n",
            Some("5: "),
        ),
        ("workflow", "name: w\nstages:\n  a:\n    uses: script\n    timeout: 10\n", Some("5: ")),
        ("workflow", "name: w\n", Some("1: ")),
        ("app", "app: shop\nimage: a\nport: 80000\n", Some("3: ")),
        (
            "workflow",
            "name: w\nstages:\n  a:\n    uses: scale\n    with: { app: a, replicas: \"${{ inputs.n }}\" }\n",
            None,
        ),
        ("app", "app: shop\nimage: a\nport: 80\n", None),
    ]
    .into_iter()
    .enumerate()
    {
        let found = editor.diagnostics(&format!("{number}.yaml"), kind, text);
        match expect {
            None => assert_eq!(found, Vec::<String>::new(), "{text}"),
            Some(line) => assert!(found.iter().any(|found| found.starts_with(line)), "{text}: {found:?}"),
        }
    }
    for (number, file) in documents(&examples()).into_iter().enumerate() {
        let text = std::fs::read_to_string(&file).unwrap();
        let is_of_tests = file.display().to_string().ends_with(".test.yaml");
        let kind = match text.contains("\nstages:") {
            _ if is_of_tests => "tests",
            true => "workflow",
            false => "app",
        };
        let found = editor.diagnostics(&format!("example-{number}.yaml"), kind, &text);
        assert_eq!(found, Vec::<String>::new(), "{}", file.display());
    }
}

/// The documents in a folder and below, but what tools have put there, and the cases of plugins, which are none.
fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        if ["node_modules", "tests"].contains(&name.as_str()) || name.starts_with('.') {
            continue;
        }
        if entry.is_dir() {
            found.extend(documents(&entry));
        } else if entry.extension().is_some_and(|ending| ending == "yaml") {
            found.push(entry);
        }
    }
    found
}
