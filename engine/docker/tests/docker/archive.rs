//! Images as files, on the real engine and on the fake.

use std::fs::File;
use std::io::Write as _;

use yuanli_docker::Docker;
use yuanli_docker::fake::FakeDocker;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::{Cancellation, Images};

use crate::proxy::{Faulty, Wrong};
use crate::support::{build_request, context, fresh_engine, with_docker};

/// An image of this test alone, with a file of a megabyte that no other has; its name and id.
async fn make(docker: &dyn Images) -> (String, String) {
    let name = format!("yuanli-test-archive:{}", fresh_engine());
    let folder = context(&[("Dockerfile", "FROM scratch\nCOPY large /\n")]);
    let large: Vec<u8> = name.bytes().cycle().take(1 << 20).collect();
    std::fs::write(folder.path().join("large"), large).expect("a file");
    let request = build_request(folder.path(), Some(&name));
    let built = docker.build(&request, &|_| (), &Cancellation::new()).await.expect("an image");
    (name, built.id)
}

/// What every engine does with archives.
async fn check(docker: &dyn Images, docker_is_real: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, (name, id)) = (folder.path().join("a.tar"), make(docker).await);
    let write = || File::create(&path).expect("a file");
    let size = docker.save(std::slice::from_ref(&name), write()).await.expect("it is saved");
    assert_eq!(std::fs::metadata(&path).expect("a file").len(), size);
    docker.remove(&name).await.expect("removed");
    if docker_is_real {
        assert!(matches!(docker.inspect(&id).await, Err(ContainerError::NotFound(_))), "it is gone");
    }
    for _ in 0..2 {
        let loaded = docker.load(File::open(&path).expect("it is there")).await.expect("it is loaded");
        let [image] = loaded.as_slice() else { panic!("{loaded:?}") };
        assert_eq!((&image.id, &image.tags), (&id, &vec![name.clone()]), "the very same, with its name");
    }
    // By its id it has no name in the archive.
    docker.save(std::slice::from_ref(&id), write()).await.expect("it is saved");
    docker.remove(&name).await.expect("removed");
    let loaded = docker.load(File::open(&path).expect("it is there")).await.expect("it is loaded");
    assert_eq!(loaded.iter().map(|image| &image.id).collect::<Vec<_>>(), [&id]);
    docker.remove(&id).await.expect("removed");
    let missing = docker.save(&["yuanli-test-nosuch:1".to_owned()], write()).await;
    assert!(matches!(missing, Err(ContainerError::NotFound(_))), "{missing:?}");
    write().write_all(b"no archive at all").expect("written");
    let wrong = docker.load(File::open(&path).expect("it is there")).await;
    assert!(matches!(wrong, Err(ContainerError::Invalid(_))), "{wrong:?}");
}

#[tokio::test]
async fn an_image_is_the_same_when_it_comes_back_from_a_file() {
    with_docker(|bench| async move { check(&bench.docker, true).await }).await;
    check(&FakeDocker::new(), false).await;
}

#[tokio::test]
async fn an_archive_that_is_cut_off_is_no_success() {
    with_docker(|bench| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, (name, id)) = (folder.path().join("a.tar"), make(&bench.docker).await);
        for wrong in [Wrong::CutBefore, Wrong::CutAfter, Wrong::Truncated, Wrong::Fails] {
            let faulty = Faulty::new("GET", "/images/get", wrong);
            let docker = Docker::lazy(faulty.options());
            let saved = docker.save(std::slice::from_ref(&name), File::create(&path).expect("a file")).await;
            assert!(saved.is_err() && faulty.has_happened(), "{wrong:?}: {saved:?}");
        }
        bench
            .docker
            .save(std::slice::from_ref(&name), File::create(&path).expect("a file"))
            .await
            .expect("saved");
        for wrong in [Wrong::CutBefore, Wrong::CutAfter, Wrong::Fails] {
            let faulty = Faulty::new("POST", "/images/load", wrong);
            let docker = Docker::lazy(faulty.options());
            let loaded = docker.load(File::open(&path).expect("a file")).await;
            assert!(loaded.is_err() && faulty.has_happened(), "{wrong:?}: {loaded:?}");
        }
        // One of which half is missing is refused, and the half is not there.
        let file = File::options().write(true).open(&path).expect("a file");
        file.set_len(file.metadata().expect("a size").len() / 2).expect("cut");
        Images::remove(&bench.docker, &name).await.expect("removed");
        let loaded = bench.docker.load(File::open(&path).expect("a file")).await;
        assert!(matches!(loaded, Err(ContainerError::Invalid(_))), "{loaded:?}");
        assert!(bench.docker.inspect(&id).await.is_err(), "nothing of it is there");
    })
    .await;
}
