//! `load`: takes container images from an archive of the workspace, as `docker save` and the stage `build` make it.

use yuanli_sdk::prelude::*;

struct Load;

/// Where the images are.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The archive: a file of the workspace.
    archive: String,
    /// A name to give the image, such as `shop:dev`; the archive has to have one image then. Without, those that it has in the
    /// archive.
    image: Option<String>,
}

/// What the engine has now.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// The name of the first image, as in the config; its id where it has none.
    image: String,
    /// `sha256:…` of the first image, names this very image for good.
    id: String,
    /// All images of the archive.
    images: Vec<Loaded>,
}

/// An image.
#[derive(Serialize, JsonSchema)]
struct Loaded {
    /// `sha256:…`
    id: String,
    /// The names that it goes by now.
    names: Vec<String>,
    /// Its size in bytes.
    size: u64,
}

impl Stage for Load {
    const NAME: &str = "load";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Takes container images from an archive";
    const CAPABILITIES: &[(&str, &str)] =
        &[("images", "to load them"), ("workspace", "to read the archive: that it may be read is enough")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        // Also what makes the workspace one of its rights.
        if workspace::inspect(&config.archive)?.is_none() {
            let missing = format!("there is no file `{}` in the workspace", config.archive);
            return Err(Failure::permanent("not-found", missing));
        }
        let mut found = images::load(&config.archive).map_err(|error| match error {
            images::Error::Invalid(why) => {
                Failure::permanent("invalid-archive", format!("{}: {why}", config.archive))
            }
            error => error.into(),
        })?;
        if let Some(name) = &config.image {
            let [image] = found.as_mut_slice() else {
                return Err(Failure::permanent(
                    "several-images",
                    format!(
                        "{} has {} images, and `image` names one: leave it out, or save one alone",
                        config.archive,
                        found.len()
                    ),
                ));
            };
            images::tag(&image.id, name)?;
            if !image.tags.contains(name) {
                image.tags.push(name.clone());
            }
        }
        for image in &found {
            log::info(format!("{} is {}, {} bytes", image.tags.join(", "), image.id, image.size));
        }
        let first = found.first();
        let first = first.ok_or_else(|| Failure::permanent("invalid-archive", "there is no image in it"))?;
        let id = first.id.clone();
        let image = config.image.or_else(|| first.tags.first().cloned()).unwrap_or_else(|| id.clone());
        let loaded = |image: images::Image| Loaded { id: image.id, names: image.tags, size: image.size };
        Ok(Outputs { image, id, images: found.into_iter().map(loaded).collect() })
    }
}

yuanli_sdk::export!(Load);

#[cfg(test)]
mod tests {
    use yuanli_sdk::mock::{Answers, Mock};
    use yuanli_sdk::serde_json::{Value, json};

    use super::*;

    /// An engine that finds an image for each word of an archive, and takes names.
    struct Engine;

    impl Answers for Engine {
        fn load_images(&mut self, archive: &[u8]) -> Result<Vec<images::Image>, images::Error> {
            let text = String::from_utf8_lossy(archive).into_owned();
            if text.contains('!') {
                return Err(images::Error::Invalid("it is no archive".to_owned()));
            }
            let image = |word: &str| images::Image {
                id: format!("sha256:{word}"),
                tags: if word == "bare" { Vec::new() } else { vec![format!("{word}:1")] },
                size: 7,
                labels: Vec::new(),
            };
            Ok(text.split_whitespace().map(image).collect())
        }

        fn tag(&mut self, image: &str, name: &str) -> Result<(), images::Error> {
            assert_eq!((image, name), ("sha256:bare", "shop:dev"));
            Ok(())
        }
    }

    fn load(archive: &str, config: Value) -> Result<Value, Failure> {
        Mock::new().file("shop.tar", archive).answering(Engine).run::<Load>(config)
    }

    #[test]
    fn what_is_in_it_is_there_by_its_names() {
        let outputs = load("shop tools", json!({ "archive": "shop.tar" })).expect("it succeeds");
        assert_eq!((&outputs["image"], &outputs["id"]), (&json!("shop:1"), &json!("sha256:shop")));
        assert_eq!(outputs["images"][1], json!({ "id": "sha256:tools", "names": ["tools:1"], "size": 7 }));
    }

    #[test]
    fn one_without_a_name_is_named() {
        let outputs =
            load("bare", json!({ "archive": "shop.tar", "image": "shop:dev" })).expect("it succeeds");
        assert_eq!(
            (&outputs["image"], &outputs["images"][0]["names"]),
            (&json!("shop:dev"), &json!(["shop:dev"]))
        );
        let outputs = load("bare", json!({ "archive": "shop.tar" })).expect("it succeeds");
        assert_eq!(outputs["image"], "sha256:bare");
    }

    #[test]
    fn what_cannot_be_loaded_is_told_apart() {
        for (archive, config, kind) in [
            ("shop tools", json!({ "archive": "shop.tar", "image": "shop:dev" }), "several-images"),
            ("!", json!({ "archive": "shop.tar" }), "invalid-archive"),
            ("shop", json!({ "archive": "none.tar" }), "not-found"),
        ] {
            assert_eq!(load(archive, config).expect_err(archive).kind, kind);
        }
    }
}
