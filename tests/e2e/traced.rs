//! Images that can be traced: what is in them and how they came to be is kept, and the image is the same for it.

use serde_json::Value;

use crate::support::{Place, docker};

/// Builds an image with packages and lock files, with what else is asked for.
fn workflow(name: &str, more: &str) -> String {
    format!(
        "name: w\nstages:\n  source:\n    uses: source\n    with: {{ path: app }}\n  image:\n    needs: source\n    uses: build\n    \
         with: {{ image: \"{name}\"{more} }}\n"
    )
}

fn outputs(place: &Place, run: &str) -> Value {
    let run = place.json(&["runs", "show", run.trim()]);
    run["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == "image").unwrap()["outputs"]
        .clone()
}

fn artifact(place: &Place, run: &str, name: &str) -> Value {
    let content = place.yuanli(&["runs", "artifacts", run.trim(), name, "--output", "-"]).expect(0, &[]).out;
    serde_json::from_str(&content).unwrap()
}

#[test]
fn what_is_in_an_image_and_how_it_came_to_be_is_kept() {
    let place = Place::new();
    let name = format!("yuanli-e2e-traced-{}:1", std::process::id());
    let status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n\n\
                  Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
    place.write("app/root/var/lib/dpkg/status", status);
    place.write("app/root/etc/os-release", "ID=debian\n");
    let copyright = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: LGPL-2.1\n";
    place.write("app/root/usr/share/doc/libc6/copyright", copyright);
    place.write("app/root/requirements.txt", "idna==3.4\n");
    place.write("app/Cargo.lock", "[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\nsource = \"r\"\n");
    place.write("app/Dockerfile", "FROM scratch\nCOPY root /\n");
    let run = |more: &str| {
        let file = place.write("w.yaml", workflow(&name, more));
        place.yuanli(&["run", &file]).expect(0, &[]).out
    };
    let plain = outputs(&place, &run(""));
    let traced = run(", sbom: true, provenance: true");
    assert_eq!(outputs(&place, &traced)["id"], plain["id"], "the image is the same for it");
    assert_eq!(outputs(&place, &traced)["packages"], 3);
    let bill = artifact(&place, &traced, "sbom.cdx.json");
    let urls: Vec<_> =
        bill["components"].as_array().unwrap().iter().map(|found| found["purl"].clone()).collect();
    assert_eq!(
        urls,
        ["pkg:cargo/serde@1.0.1", "pkg:deb/debian/libc6@2.36-9?arch=amd64", "pkg:pypi/idna@3.4"]
    );
    assert_eq!(bill["components"][1]["licenses"][0]["license"]["name"], "LGPL-2.1");
    let statement = artifact(&place, &traced, "provenance.intoto.json");
    let digest = statement["subject"][0]["digest"]["sha256"].as_str().unwrap();
    assert_eq!(plain["id"], format!("sha256:{digest}"));
    // The same again, byte for byte, in another run.
    let again = run(", sbom: true, provenance: true");
    assert_eq!(artifact(&place, &again, "provenance.intoto.json"), statement);
    assert_eq!(artifact(&place, &again, "sbom.cdx.json"), bill);
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());
    docker::run(&["image", "rm", &name]);
}
