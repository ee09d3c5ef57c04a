//! Containers that run nothing and were made to look at something: an engine that dies beside one leaves it, and the next one
//! removes it in every case.

use std::collections::HashSet;

use yuanli_docker::{Docker, label};
use yuanli_ports::containers::{ContainerRequest, Mount, MountSource};
use yuanli_ports::{Containers, Images};

use crate::proxy::{Faulty, Wrong};
use crate::support::{BUSYBOX, Bench, with_docker};

/// What containers of that kind there are of an engine.
async fn helpers(bench: &Bench, what_for: &str) -> usize {
    let filters = [format!("{}={}", label::ENGINE, bench.engine), format!("{}={what_for}", label::HELPER)];
    let options = bollard::query_parameters::ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), filters.to_vec())].into()),
        ..Default::default()
    };
    bench.client.list_containers(Some(options)).await.expect("a list").len()
}

/// Begins something, and gives it up where it would read: as an engine does that is killed there.
async fn die_beside<F: Future>(faulty: Faulty, work: F) {
    let dies = async {
        while !faulty.has_happened() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = work => panic!("it got its answer"),
        () = dies => {}
    }
    // Its connections end with it.
    drop(faulty);
}

/// The next engine goes on with the attempt, whose own container stays.
async fn check_next(bench: &Bench, request: &ContainerRequest, what_for: &str) {
    assert_eq!(helpers(bench, what_for).await, 1);
    let left = bench.docker.leftovers(bench.engine).await.expect("a list");
    assert_eq!(left.len(), 2, "a person who looks sees both: {left:?}");
    let attempt = request.operation.attempt.clone();
    let found = bench.docker.attempts(bench.engine).await.expect("a list");
    assert_eq!(found, HashSet::from([None, Some(attempt.clone())]), "one of them is nobody's");
    let removed = bench.docker.remove_others(bench.engine, &HashSet::from([attempt])).await;
    assert_eq!(removed, Ok(1));
    assert_eq!(helpers(bench, what_for).await, 0);
    assert_eq!(
        bench.docker.remove_all(bench.engine, None).await,
        Ok(1),
        "that of the attempt was left alone"
    );
}

#[tokio::test]
async fn one_that_files_of_an_image_were_read_with_goes_at_the_next_start() {
    with_docker(|bench| async move {
        let request = bench.script("sleep 600");
        bench.docker.start(&request).await.expect("it runs");
        let faulty = Faulty::new("GET", "/archive", Wrong::TooLate);
        let docker = Docker::lazy(faulty.options());
        let paths = ["/bin/busybox".to_owned()];
        die_beside(faulty, docker.read_files(&request.operation, BUSYBOX, &paths, 1 << 20)).await;
        check_next(&bench, &request, "read-files").await;
    })
    .await;
}

#[tokio::test]
async fn one_that_a_marker_was_looked_for_with_goes_at_the_next_start() {
    with_docker(|bench| async move {
        let request = bench.script("sleep 600");
        bench.docker.start(&request).await.expect("it runs");
        let folder = tempfile::tempdir().expect("a folder");
        // One on this machine is asked once it has refused a folder, and this one is not there.
        let source =
            MountSource::Carried { folder: folder.path().join("gone"), note: folder.path().join("note") };
        let mount = Mount { source, target: "/work".to_owned(), is_read_only: false };
        let other = ContainerRequest { mounts: vec![mount], ..bench.script("true") };
        let faulty = Faulty::new("GET", "/archive", Wrong::TooLate);
        let docker = Docker::lazy(faulty.options());
        die_beside(faulty, docker.start(&other)).await;
        check_next(&bench, &request, "marker").await;
    })
    .await;
}
