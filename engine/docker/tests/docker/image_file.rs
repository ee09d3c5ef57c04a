//! Files of images, and images that others are built from.

use std::time::Duration;

use yuanli_ports::containers::ContainerError;
use yuanli_ports::images::{BuildRequest, Builder, Image};
use yuanli_ports::{Containers, Images};

use crate::support::{BUSYBOX, Bench, build_request, context, fresh_engine, request, with_docker};

const MOST: u64 = 1 << 20;

async fn read(
    bench: &Bench,
    image: &str,
    paths: &[&str],
    most: u64,
) -> Result<Vec<Option<Vec<u8>>>, ContainerError> {
    let operation = request(bench.engine, image, &[]).operation;
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    bench.docker.read_files(&operation, image, &paths, most).await
}

#[tokio::test]
async fn files_are_read_of_an_image_that_nothing_of_runs() {
    with_docker(|bench| async move {
        // Nothing in it could run, and it says no command.
        let folder = context(&[
            ("Dockerfile", "FROM scratch\nCOPY files /\n"),
            ("files/a", "one"),
            ("files/sub/b", "two\n"),
        ]);
        std::os::unix::fs::symlink("/a", folder.path().join("files/link")).expect("a link");
        std::fs::write(folder.path().join("files/empty"), "").expect("a file");
        std::fs::write(folder.path().join("files/large"), vec![b'x'; 300_000]).expect("a file");
        let tag = format!("yuanli-test-files:{}", fresh_engine());
        bench.build(&build_request(folder.path(), Some(&tag))).await.0.expect("an image");
        let paths = ["/sub/b", "/nosuch", "/link", "/sub", "/a", "/empty", "/sub/../a", "/large/x"];
        let files = read(&bench, &tag, &paths, MOST).await.expect("they are read");
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let expected = [text("two\n"), None, None, None, text("one"), text(""), text("one"), None];
        assert_eq!(files, expected);
        // All of them together are bounded.
        let error = read(&bench, &tag, &["/large", "/large"], 400_000).await.expect_err("too much");
        assert!(
            matches!(&error, ContainerError::Invalid(why) if why.contains("has 300000 bytes")),
            "{error}"
        );
        let files = read(&bench, &tag, &["/large"], 300_000).await.expect("it is read");
        assert_eq!(files[0].as_ref().map(Vec::len), Some(300_000));
        let error = read(&bench, "yuanli-test-nosuch:1", &["/a"], MOST).await.expect_err("there is none");
        assert!(matches!(error, ContainerError::NotFound(_)), "{error:?}");
        assert_eq!(bench.docker.leftovers(bench.engine).await.expect("a list"), [], "no container is left");
        Images::remove(&bench.docker, &tag).await.expect("removed");
    })
    .await;
}

#[tokio::test]
async fn what_a_killed_engine_was_reading_is_found_as_its_own() {
    with_docker(|bench| async move {
        let read = read(&bench, BUSYBOX, &["/bin/busybox"], MOST * 16);
        let is_seen = async {
            while bench.docker.leftovers(bench.engine).await.is_ok_and(|left| left.is_empty()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = is_seen => {}
            // It was done before anybody could look; then nothing is left either.
            _ = read => {}
        }
        // Docker may still be making what is seen already, and then does not remove it: an engine that starts comes later.
        let is_gone = async {
            loop {
                Containers::remove_all(&bench.docker, bench.engine, None).await.expect("removed");
                if bench.docker.leftovers(bench.engine).await.expect("a list").is_empty() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), is_gone).await.expect("it goes");
    })
    .await;
}

/// Builds, and says whether the step was taken over.
async fn cached(bench: &Bench, request: &BuildRequest) -> (Image, bool) {
    let (built, lines) = bench.build(request).await;
    let built = built.unwrap_or_else(|error| panic!("{error}: {lines:?}"));
    (built, lines.iter().any(|line| line.contains("Using cache")))
}

#[tokio::test]
async fn another_image_may_be_the_cache_and_only_what_is_named_is() {
    with_docker(|bench| async move {
        let mark = fresh_engine().to_string();
        let dockerfile = format!("FROM {BUSYBOX}\nRUN echo {mark} >/mark\n");
        let folder = context(&[("Dockerfile", &dockerfile)]);
        let tag = format!("yuanli-test-cache:{mark}");
        let by = |builder, request: BuildRequest| BuildRequest { builder, ..request };
        let request = build_request(folder.path(), Some(&tag));

        let (first, _) = cached(&bench, &by(Builder::Classic, request.clone())).await;
        let from = BuildRequest { cache_from: vec![tag.clone()], ..build_request(folder.path(), None) };
        let (again, is_cached) = cached(&bench, &by(Builder::Classic, from)).await;
        assert_eq!((again.id == first.id, is_cached), (true, true));
        // With a cache that is named, Docker looks at no other.
        let nowhere =
            BuildRequest { cache_from: vec![BUSYBOX.to_owned()], ..build_request(folder.path(), None) };
        let (anew, is_cached) = cached(&bench, &by(Builder::Classic, nowhere)).await;
        assert_eq!((anew.id == first.id, is_cached), (false, false));

        let inline = BuildRequest { has_inline_cache: true, ..request.clone() };
        let refused = bench.build(&by(Builder::Classic, inline.clone())).await.0.expect_err("it cannot");
        assert!(matches!(&refused, ContainerError::Invalid(why) if why.contains("BuildKit")), "{refused}");
        let with = cached(&bench, &by(Builder::BuildKit, inline)).await.0;
        let without = cached(&bench, &by(Builder::BuildKit, request)).await.0;
        assert_ne!(with.id, without.id, "it has a cache in it");
        Images::remove(&bench.docker, &tag).await.expect("removed");
    })
    .await;
}
