//! Names of images, checked before they become part of a request's path.
//!
//! bollard puts the name into the URL as it is and then resolves `..` in it: a name such as `../containers/x` would
//! reach another part of Docker's API. Only what the grammar of image references allows gets through.

use std::sync::LazyLock;

use regex::Regex;
use yuanli_ports::containers::ContainerError;

/// `[host[:port]/]path[:tag][@algorithm:digest]`, after github.com/distribution/reference.
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    let host = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?";
    let component = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*";
    let tag = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
    let digest = r"sha256:[0-9a-f]{64}";
    let name = format!(r"(?:{host}/)?{component}(?:/{component})*");
    Regex::new(&format!(r"^(?P<repository>{name})(?::(?P<tag>{tag}))?(?:@(?P<digest>{digest}))?$"))
        .expect("a pattern that is tested below")
});

/// The id of an image, whole or shortened.
static ID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(?:sha256:)?[0-9a-f]{12,64}$").expect("a pattern that is tested below"));

/// Longest name that Docker takes.
const MAX_LENGTH: usize = 255;

/// Refuses what is neither a name nor an id of an image.
pub(crate) fn check(image: &str) -> Result<(), ContainerError> {
    if image.len() <= MAX_LENGTH && (ID.is_match(image) || NAME.is_match(image)) {
        return Ok(());
    }
    Err(ContainerError::Invalid(format!(
        "`{image}` is no name of an image: use `name`, `name:tag`, `registry/name:tag` or an id; names are lower-case"
    )))
}

/// A name to give: repository and tag, `latest` when it has none.
pub(crate) fn parse_tag(name: &str) -> Result<(&str, &str), ContainerError> {
    let parts = NAME.captures(name).filter(|_| name.len() <= MAX_LENGTH && !name.contains('@'));
    let parts = parts.and_then(|parts| Some((parts.name("repository")?, parts.name("tag"))));
    let Some((repository, tag)) = parts else {
        return Err(ContainerError::Invalid(format!(
            "`{name}` cannot be given to an image: use `name`, `name:tag` or `registry/name:tag`, in lower case"
        )));
    };
    Ok((repository.as_str(), tag.map_or("latest", |tag| tag.as_str())))
}

/// The registry of names that do not say one.
pub(crate) const DOCKER_HUB: &str = "docker.io";

/// The name of an image at a registry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RegistryName<'a> {
    /// Host, and port where it says one.
    pub(crate) host: &'a str,
    /// The name without tag and digest, with the host where it says one.
    pub(crate) repository: &'a str,
    /// Its digest, or else its tag.
    pub(crate) version: &'a str,
}

/// What a name says of where the image is. A first part with a dot or a port in it, or `localhost`, is a host.
pub(crate) fn registry_name(name: &str) -> Result<RegistryName<'_>, ContainerError> {
    let parts = NAME.captures(name).filter(|_| name.len() <= MAX_LENGTH);
    let Some(repository) = parts.as_ref().and_then(|parts| parts.name("repository")) else {
        return Err(ContainerError::Invalid(format!(
            "`{name}` is no name of an image at a registry: use `name`, `name:tag`, `registry/name:tag` or \
             `registry/name@sha256:…`, in lower case"
        )));
    };
    if ID.is_match(name) && name.starts_with("sha256:") {
        return Err(ContainerError::Invalid(format!(
            "`{name}` is the id of an image, by which no registry knows it: build it in an earlier stage, bring it with `docker \
             load`, or give its name at a registry"
        )));
    }
    let version = ["digest", "tag"].into_iter().find_map(|part| parts.as_ref()?.name(part));
    let repository = repository.as_str();
    let first = repository.split_once('/').map(|(first, _)| first);
    let host =
        first.filter(|first| first.contains(['.', ':']) || *first == "localhost").unwrap_or(DOCKER_HUB);
    Ok(RegistryName { host, repository, version: version.map_or("latest", |version| version.as_str()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_ids_get_into_a_path() {
        let id = "a".repeat(64);
        for good in [
            "busybox",
            "shop:dev",
            "my/shop:1.0",
            "localhost:5000/a/b__c:T",
            "registry.example.com/x",
            "0123456789ab",
            &id,
            &format!("sha256:{id}"),
            &format!("shop@sha256:{id}"),
            "a--b",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "../containers/x",
            "a/../../containers/json",
            "shop?force=1",
            "shop#x",
            "Shop",
            "a b",
            "shop:",
            "-a",
            "a/",
            "/a",
            "a:b:c",
            "shop%2e%2e",
            "a\nb",
            &"a".repeat(256),
            "..",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_without_a_tag_is_the_latest() {
        assert_eq!(parse_tag("shop"), Ok(("shop", "latest")));
        assert_eq!(parse_tag("localhost:5000/shop:dev"), Ok(("localhost:5000/shop", "dev")));
        assert!(parse_tag(&format!("shop@sha256:{}", "a".repeat(64))).is_err());
        assert!(parse_tag("Shop:dev").is_err());
    }

    #[test]
    fn a_name_says_which_registry() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, host, repository, version) in [
            ("busybox", DOCKER_HUB, "busybox", "latest"),
            ("team/shop:1.4", DOCKER_HUB, "team/shop", "1.4"),
            ("localhost/shop:1", "localhost", "localhost/shop", "1"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "127.0.0.1:5000/a/b", "latest"),
            (&format!("r.example.com/x:1@{digest}"), "r.example.com", "r.example.com/x", &digest),
        ] {
            assert_eq!(registry_name(name), Ok(RegistryName { host, repository, version }), "{name}");
        }
        assert!(registry_name("Shop").is_err());
    }
}
