//! People log in by a browser, at the certified `oidc-provider` of npm, which `scripts/setup` gets. Where there is no npm, the tests
//! say so and pass.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use yuanli_server::Digest;

use crate::served::{Served, request};
use crate::support::{Ended, Place, root};

const PACKAGE: &str = "oidc-provider-8.8.1";

/// A provider that runs.
struct Provider {
    place: Place,
    port: u16,
    child: Child,
    _said: BufReader<ChildStdout>,
}

impl Provider {
    /// Starts one whose only client comes back to this engine; `None` where it cannot be had.
    fn of(served: &Served) -> Option<Self> {
        let modules = root().join("target/guest-tools").join(PACKAGE).join("node_modules");
        if !modules.join("oidc-provider").exists() {
            if Command::new("npm").arg("--version").output().is_err() {
                println!("skipped: there is no npm, which brings {PACKAGE}");
                return None;
            }
            panic!("{PACKAGE} is not in target/guest-tools: `scripts/setup` gets it");
        }
        let place = Place::new();
        place.write("provider.mjs", include_bytes!("provider.mjs"));
        symlink(modules, place.path("node_modules")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (child, said) = run(&place, port, served);
        Some(Self { place, port, child, _said: said })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Who logs in from now on.
    fn be(&self, who: &str) {
        let told = browse(&self.place, &format!("{}/be?who={who}", self.url()));
        assert_eq!(told.1, who);
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts it again: its keys are others.
    fn start(&mut self, served: &Served) {
        (self.child, self._said) = run(&self.place, self.port, served);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(place: &Place, port: u16, served: &Served) -> (Child, BufReader<ChildStdout>) {
    let mut node = Command::new("node");
    node.arg(place.path("provider.mjs"))
        .args([port.to_string(), format!("http://{}/login/callback", served.api)]);
    node.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = node.spawn().expect("npm comes with node");
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("listens at") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "the provider ended");
    }
    (child, said)
}

/// What a browser is shown in the end, where it is then, and the status. It keeps its cookies in the place.
fn browse(place: &Place, url: &str) -> (u16, String, String) {
    let mut curl = Command::new("curl");
    let jar = place.path("cookies");
    curl.args(["-sS", "-L", "--max-time", "60", "-w", "\n%{http_code} %{url_effective}", "-b"]).arg(&jar);
    let output = curl.arg("-c").arg(&jar).arg(url).output().expect("curl is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, end) = text.rsplit_once('\n').unwrap();
    let (status, place) = end.split_once(' ').unwrap();
    (status.parse().unwrap(), body.to_owned(), place.to_owned())
}

/// An engine where people of the provider log in, if that can be had.
fn engine() -> Option<(Served, Provider)> {
    let mut served = Served::without_image();
    let provider = Provider::of(&served)?;
    assert_eq!(served.stop(), 0);
    served.place.write("data/provider.secret", "of the engine\n");
    served.place.write(
        "data/config.yaml",
        format!(
            "serve:\n  oidc:\n    issuer: {}\n    client_id: yuanli\n    client_secret: provider.secret\n    url: http://{}\n    \
             scopes: [email, groups]\n    roles:\n      - {{ claim: groups, is: admins, role: admin }}\n      \
             - {{ claim: email, is: root@example.com, role: admin }}\n      \
             - {{ claim: groups, is: [shop-team], role: operator, for: 'shop-*' }}\n",
            provider.url(),
            served.api
        ),
    );
    served.start();
    Some((served, provider))
}

/// A command of somebody whose contexts are in the place.
fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.env_remove("YUANLI_DATA").env("XDG_CONFIG_HOME", place.path("config"));
    command.env("XDG_DATA_HOME", place.path("home"));
    command
}

fn yuanli(place: &Place, arguments: &[&str]) -> Ended {
    Ended::of(command(place, arguments).output().unwrap())
}

/// A command that waits for a browser, for as long as the test goes on.
struct Begun(Child);

impl Drop for Begun {
    fn drop(&mut self) {
        // It has ended, where all is well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A login that has begun: where the browser is to go, what it is to show there, and what more the command says.
fn begin(place: &Place, arguments: &[&str]) -> (Begun, [String; 2], BufReader<ChildStderr>) {
    let mut login = command(place, &[&["login"], arguments].concat()).stdin(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(login.stderr.take().unwrap());
    let told = ["log in with a browser: ", "is to show: "].map(|before| {
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        line.split_once(before).unwrap_or_else(|| panic!("{line}")).1.trim().to_owned()
    });
    (Begun(login), told, said)
}

/// What lies between two texts of a page.
fn between<'p>(page: &'p str, before: &str, after: &str) -> &'p str {
    let found = page.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.unwrap_or_else(|| panic!("no `{before}` … `{after}` in {page}")).0
}

fn end(mut login: Begun, mut said: BufReader<ChildStderr>) -> (i32, String) {
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    (login.0.wait().unwrap().code().unwrap_or(-1), text)
}

/// The token of the context in use.
fn token(place: &Place) -> String {
    let contexts = std::fs::read(place.path("config/yuanli/contexts.json")).unwrap();
    let contexts: Value = serde_json::from_slice(&contexts).unwrap();
    let current = contexts["current"].as_str().unwrap();
    contexts["contexts"][current]["token"]["login"].as_str().unwrap().to_owned()
}

fn audited(served: &Served, by: &str) -> Vec<Value> {
    let told = served.yuanli(&["audit", "--json", "--by", by]).expect(0, &[]).out;
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_person_logs_in_by_a_browser_and_out_again() {
    let Some((mut served, mut provider)) = engine() else { return };
    let place = Place::new();
    let url = format!("http://{}", served.api);
    let log_in = |provider: &Provider| {
        provider.be("eva");
        let (login, [there, phrase], said) = begin(&place, &[&url]);
        let (status, page, stands_at) = browse(&place, &there);
        // It asks first, and shows what the terminal shows.
        assert!(status == 200 && stands_at.contains("/login/callback?"), "{status} {stands_at} {page}");
        assert!(
            page.contains("<b>eva@example.com</b>") && page.contains("<b>operator of shop-*</b>"),
            "{page}"
        );
        assert_eq!(between(&page, "<strong>", "</strong>"), phrase);
        let waiting = between(&page, "href=\"", "\"");
        // Others of this machine come to the port as well: they are slow, bring nothing, or what is no good.
        let port = between(waiting, "http://127.0.0.1:", "/");
        let slow = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let elsewhere = browse(&place, &format!("http://127.0.0.1:{port}/favicon.ico"));
        assert_eq!(elsewhere.0, 404);
        let made_up = browse(&place, &format!("http://127.0.0.1:{port}/?code={}", "x".repeat(43)));
        assert!(made_up.0 == 403 && made_up.1.contains("does not take"), "{made_up:?}");
        let (status, page, _) = browse(&place, waiting);
        assert!(status == 200 && page.contains("can be closed"), "{status} {page}");
        drop(slow);
        let (code, said) = end(login, said);
        assert!(
            code == 0 && said.contains("you are eva@example.com: operator of shop-*, until "),
            "{code} {said}"
        );
    };
    log_in(&provider);
    let who = yuanli(&place, &["token", "whoami"]).expect(0, &[]).out;
    assert_eq!(who.trim(), "eva@example.com: operator of shop-*");
    let mode =
        Command::new("stat").args(["-c", "%a"]).arg(place.path("config/yuanli/contexts.json")).output();
    assert_eq!(String::from_utf8(mode.unwrap().stdout).unwrap().trim(), "600");

    // It is a token as others are, but for its text, which nobody rotates.
    let list = served.place.json(&["token", "list"]);
    let listed = list["items"].as_array().unwrap().iter().find(|token| token["person"] == "eva@example.com");
    let name = listed.unwrap_or_else(|| panic!("{list}"))["name"].as_str().unwrap().to_owned();
    served.yuanli(&["token", "rotate", &name]).expect(2, &["is a login"]);
    let (token, entries) = (token(&place), audited(&served, "eva@example.com"));
    assert!(
        entries.iter().any(|entry| entry["path"] == "/api/v1/login" && entry["status"] == 201),
        "{entries:?}"
    );
    assert!(!format!("{entries:?}").contains(&token));

    let headers = [("authorization", &*format!("Bearer {token}"))];
    let ask = || request(served.api, "GET", "/api/v1/runs", &headers, "").0;
    assert_eq!(ask(), 200);
    yuanli(&place, &["logout"]).expect(0, &["is not taken any more"]);
    assert_eq!(ask(), 401);
    yuanli(&place, &["token", "whoami"]).expect(3, &["Bearer"]);
    let contexts = yuanli(&place, &["context", "list"]).expect(0, &[]).out;
    assert!(contexts.contains(&served.api.to_string()) && !contexts.contains("a login"), "{contexts}");

    // Its keys are others after a start, and people are let in again.
    provider.stop();
    provider.start(&served);
    log_in(&provider);
    // A login that has ended is left as well, and who has a token of another kind there keeps it.
    let list = served.place.json(&["token", "list"]);
    let listed = list["items"].as_array().unwrap().iter().find(|token| token["person"] == "eva@example.com");
    let (name, subject) = (listed.unwrap()["name"].as_str().unwrap(), &listed.unwrap()["subject"]);
    assert_eq!(subject, "eva");
    served.yuanli(&["token", "revoke", name]).expect(0, &[]);
    yuanli(&place, &["logout"]).expect(0, &["had ended already"]);
    let mut add = command(&place, &["context", "add", "ci", "--url", &url, "--token-stdin"]);
    let mut add = add.stdin(Stdio::piped()).spawn().unwrap();
    add.stdin.take().unwrap().write_all(b"yuanli_of_ci").unwrap();
    assert!(add.wait().unwrap().success());
    yuanli(&place, &["login", &url, "--name", "ci"]).expect(2, &["has a token that is no login", "--name"]);
    yuanli(&place, &["login", "https://ci.example.com", "--name", "ci"]).expect(2, &["is for http://"]);
    yuanli(&place, &["login", "http://ci.example.com"]).expect(2, &["in clear"]);

    // An engine that has not heard of it yet says that it is away.
    provider.stop();
    assert_eq!(served.stop(), 0);
    served.start();
    yuanli(&place, &["login", &url]).expect(3, &["cannot be asked"]);
}

#[test]
fn nobody_is_let_in_without_a_rule_or_by_what_somebody_else_began() {
    let Some((served, provider)) = engine() else { return };
    let place = Place::new();
    let url = format!("http://{}", served.api);
    let challenge = Digest::of(b"a text").hex();
    let began = || {
        let path = format!("/api/v1/login?challenge={challenge}");
        let (status, begun) = request(served.api, "GET", &path, &[], "");
        assert_eq!(status, 200, "{begun}");
        serde_json::from_str::<Value>(&begun).unwrap()["url"].as_str().unwrap().to_owned()
    };
    assert_eq!(request(served.api, "GET", "/api/v1/login?challenge=7", &[], "").0, 422);

    // The address that she gives is an admin's, and is not hers.
    provider.be("mallory");
    let (status, page, came) = browse(&place, &began());
    assert!(
        status == 403 && page.contains("`mallory-") && page.contains("no rule gives a role"),
        "{status} {page}"
    );
    let mallory = between(&page, "`", "`");
    assert_eq!(audited(&served, mallory)[0]["status"], 403);
    let (status, page, _) = browse(&place, &came);
    assert!(status == 422 && page.contains("was not begun here"), "a second time: {status} {page}");

    // Nobody is told under the name that the engine's own doings are told under.
    provider.be("engine");
    let (status, page, _) = browse(&Place::new(), &began());
    assert!(status == 403 && page.contains("`engine-"), "{status} {page}");

    let nobody = Place::new();
    provider.be("nobody");
    let (status, page, _) = browse(&nobody, &began());
    assert!(status == 401 && page.contains("she &lt;b&gt;closed&lt;/b&gt; the window"), "{status} {page}");

    // Who sees a code can do nothing with it, and then nobody can.
    provider.be("root");
    let admin = Place::new();
    let code_of = |there: &str| {
        let (status, page, _) = browse(&admin, there);
        assert!(status == 200 && page.contains("<b>root@example.com</b>"), "{status} {page}");
        between(&page, "<code>", "</code>").to_owned()
    };
    let redeem = |code: &str, verifier: &str| {
        let body = json!({ "code": code, "verifier": verifier }).to_string();
        request(served.api, "POST", "/api/v1/login", &[("content-type", "application/json")], &body)
    };
    let code = code_of(&began());
    assert_eq!(redeem(&code, "another text").0, 401);
    assert_eq!(redeem(&code, "a text").0, 401);
    let (status, made) = redeem(&code_of(&began()), "a text");
    assert!(status == 201 && made.contains(r#""role":"admin""#), "{status} {made}");

    // A browser on another machine shows the code, which is typed.
    let (mut login, [there, _], said) = begin(&admin, &[&url, "--no-browser", "--name", "ci"]);
    let code = code_of(&there);
    login.0.stdin.take().unwrap().write_all(format!("{code}\n").as_bytes()).unwrap();
    let (code, said) = end(login, said);
    assert!(code == 0 && said.contains("you are root@example.com: admin of the engine"), "{code} {said}");
    assert!(!token(&admin).is_empty());
}

#[test]
fn what_cannot_be_logged_in_by_is_told_before_anything_begins() {
    let place = Place::new();
    let serve = |oidc: &str| {
        place.write("data/config.yaml", format!("serve: {{ oidc: {oidc} }}\n"));
        yuanli_serve(&place, &["serve", "--print-config"])
    };
    let rest = "issuer: 'https://id.example.com', client_id: ci";
    serve("{ issuer: a }").expect(2, &["needs `client_id`", "needs `roles`"]);
    let rule = "roles: [{ claim: groups, is: a, role: viewer }]";
    serve(&format!("{{ {rest}, url: 'http://ci.example.com', {rule} }}")).expect(2, &["by TLS"]);
    let admins = "roles: [{ claim: groups, is: a, role: admin, for: shop }]";
    serve(&format!("{{ {rest}, url: 'https://ci.example.com', {admins} }}")).expect(2, &["whole engine"]);
    let told = serve(&format!("{{ {rest}, url: 'https://ci.example.com', client_secret: s, {rule} }}"))
        .expect(0, &[])
        .out;
    assert!(
        told.contains("oidc: {\"issuer\":\"https://id.example.com\"") && told.contains("data/s\""),
        "{told}"
    );
    // What is printed is a configuration itself.
    place.write("again.yaml", &told);
    let again =
        yuanli_serve(&place, &["serve", "--print-config", "--config", "again.yaml"]).expect(0, &[]).out;
    let oidc = |text: &str| {
        text.lines()
            .find(|line| line.contains("oidc:"))
            .and_then(|line| Some(line.split_once('#')?.0.trim().to_owned()))
    };
    assert_eq!(oidc(&again), oidc(&told));
    assert!(!Path::new(&place.path("data/engine.json")).exists(), "nothing was begun");
}

fn yuanli_serve(place: &Place, arguments: &[&str]) -> Ended {
    Ended::of(place.command(arguments).output().unwrap())
}
