//! The stage on the SDK's mock: an engine that has built an image with these files.

use std::cell::RefCell;
use std::rc::Rc;

use yuanli_sdk::mock::{Answers, Mock};
use yuanli_sdk::serde_json::{self, Value, json};

use super::*;

const ID: &str = "sha256:0123";

#[derive(Default)]
struct Engine(Rc<RefCell<Vec<images::BuildRequest>>>);

impl Answers for Engine {
    fn build(&mut self, request: &images::BuildRequest) -> Result<images::Image, images::Error> {
        self.0.borrow_mut().push(request.clone());
        Ok(images::Image { id: ID.to_owned(), tags: request.tags.clone(), size: 7, labels: Vec::new() })
    }

    fn inspect_image(&mut self, image: &str) -> Result<images::Image, images::Error> {
        let id = match image {
            "base:2" => "sha256:beef",
            "shop:dev" => ID,
            "shop:taken" => "sha256:another",
            other => return Err(images::Error::NotFound(format!("no {other}"))),
        };
        Ok(images::Image { id: id.to_owned(), tags: Vec::new(), size: 1, labels: Vec::new() })
    }

    fn save_images(&mut self, images: &[String]) -> Result<Vec<u8>, images::Error> {
        assert!(images[0].starts_with("shop:"), "by its name, which is in the archive then");
        Ok(b"an archive".to_vec())
    }

    fn read_image_files(
        &mut self,
        image: &str,
        paths: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, images::Error> {
        assert_eq!(image, ID, "what was built, whoever has its name by now");
        let file = |path: &String| match path.as_str() {
            "/var/lib/dpkg/status" => {
                Some("Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n")
            }
            "/usr/lib/os-release" => Some("ID=debian\n"),
            "/usr/share/doc/libc6/copyright" => Some("Format: x\n\nFiles: *\nLicense: LGPL-2.1\n"),
            _ => None,
        };
        Ok(paths.iter().map(|path| file(path).map(|text| text.as_bytes().to_vec())).collect())
    }
}

fn mock() -> (Mock, Rc<RefCell<Vec<images::BuildRequest>>>) {
    let (mut mock, engine) = (Mock::new(), Engine::default());
    let builds = Rc::clone(&engine.0);
    mock.file(
        "app/Dockerfile",
        "ARG BASE=base:1\nFROM --platform=x $BASE AS one\nFROM one\nFROM scratch\nCOPY a /\n",
    );
    mock.file("app/Cargo.lock", "[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\nsource = \"r\"\n");
    mock.file("elsewhere/Cargo.lock", "[[package]]\nname = \"no\"\nversion = \"1.0.1\"\nsource = \"r\"\n");
    mock.answering(engine);
    (mock, builds)
}

fn artifact(mock: &Mock, name: &str) -> Value {
    serde_json::from_slice(mock.put(name).expect("it is kept")).expect("JSON")
}

#[test]
fn what_is_asked_for_reaches_the_builder() {
    let (mut mock, builds) = mock();
    let config = json!({
        "image": "shop:dev", "context": "app", "builder": "buildkit", "platform": "linux/arm64",
        "cache_from": ["shop:1", "shop:2"], "inline_cache": true,
    });
    let outputs = mock.run::<Build>(config).expect("it succeeds");
    assert_eq!(outputs, json!({ "image": "shop:dev", "id": ID, "size": 7 }));
    let options =
        builds.borrow()[0].options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
    assert_eq!(
        options,
        [
            "builder=buildkit",
            "platform=linux/arm64",
            "cache-from=shop:1",
            "cache-from=shop:2",
            "inline-cache=true"
        ]
    );
    assert!(
        mock.put("sbom.cdx.json").is_none() && mock.put("provenance.intoto.json").is_none(),
        "nobody asked"
    );
}

#[test]
fn an_archive_is_left_in_the_workspace() {
    let (mut mock, _) = mock();
    let config = json!({ "image": "shop:dev", "context": "app", "archive": "out/shop.tar" });
    assert_eq!(mock.run::<Build>(config).expect("it succeeds")["archive_bytes"], 10);
    assert_eq!(mock.read("out/shop.tar").as_deref(), Some("an archive"));
    let taken = json!({ "image": "shop:taken", "context": "app", "archive": "out/shop.tar" });
    let failure = mock.run::<Build>(taken).expect_err("its name is somebody else's");
    assert_eq!((&*failure.kind, failure.class), ("name-taken", FailureClass::Transient));
}

#[test]
fn a_bill_of_materials_has_what_was_found_and_where() {
    let (mut mock, _) = mock();
    let config = json!({ "image": "shop:dev", "context": "./app/", "sbom": true });
    assert_eq!(mock.run::<Build>(config).expect("it succeeds")["packages"], 2);
    let bill = artifact(&mock, "sbom.cdx.json");
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&json!("CycloneDX"), &json!("1.5")));
    let urls: Vec<_> =
        bill["components"].as_array().expect("a list").iter().map(|found| &found["purl"]).collect();
    assert_eq!(urls, ["pkg:cargo/serde@1.0.1", "pkg:deb/debian/libc6@2.36-9?arch=amd64"]);
    let place = |index: usize| &bill["components"][index]["properties"][0]["value"];
    assert_eq!((place(0), place(1)), (&json!("context:Cargo.lock"), &json!("/var/lib/dpkg/status")));
    assert_eq!(bill["components"][1]["licenses"], json!([{ "license": { "name": "LGPL-2.1" } }]));
    assert!(bill["components"][0].get("licenses").is_none(), "nobody has said one");
    assert_eq!(bill["metadata"]["component"]["version"], ID);
    let said = bill["metadata"]["properties"][0]["value"].as_str().expect("a text");
    assert!(said.contains("RPM"), "what was not looked at is said: {said}");
}

#[test]
fn provenance_names_what_was_used_and_is_the_same_each_time() {
    let run = || {
        let (mut mock, _) = mock();
        let config = json!({
            "image": "shop:dev", "context": "app", "args": { "BASE": "base:2" }, "provenance": true,
            "labels": { "org.opencontainers.image.revision": "c0ffee", "org.opencontainers.image.source": "https://example.com/shop" },
        });
        mock.run::<Build>(config).expect("it succeeds");
        mock.put("provenance.intoto.json").expect("it is kept").to_vec()
    };
    let bytes = run();
    assert_eq!(bytes, run());
    let statement: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], "0123");
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["args"], json!({ "BASE": "base:2" }));
    let used = definition["resolvedDependencies"].as_array().expect("a list");
    // `sha256sum` of the Dockerfile above.
    let dockerfile = "5e94eec54276a9cc77a2db7fb5270059b14f3b7b7e9c92ed7fc8a6323739008b";
    assert_eq!(used[0], json!({ "name": "Dockerfile", "digest": { "sha256": dockerfile } }));
    assert_eq!(
        used[1],
        json!({ "uri": "git+https://example.com/shop", "digest": { "gitCommit": "c0ffee" } })
    );
    assert_eq!(
        (&used[2]["name"], &used[2]["digest"]["sha256"], used.len()),
        (&json!("base:2"), &json!("beef"), 3)
    );
}
