//! What bounds a container on the real engine, and what one that behaves badly can do.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use yuanli_model::Stream;
use yuanli_ports::Containers;
use yuanli_ports::containers::{ContainerOptions, ContainerRequest, Tmpfs, Ulimit};

use crate::support::{Bench, with_docker};

fn with(bench: &Bench, script: &str, options: ContainerOptions) -> ContainerRequest {
    ContainerRequest { options, ..bench.script(script) }
}

/// What a script says that has to end with this code.
async fn said(bench: &Bench, request: &ContainerRequest, code: i64) -> Vec<String> {
    let (lines, exit) = bench.run(request).await.expect("a run");
    assert_eq!(exit.code, code, "{lines:?}");
    lines.into_iter().map(|(_, text)| text).collect()
}

/// The numbers of the capabilities that a process of the container has.
async fn capabilities(bench: &Bench, options: ContainerOptions) -> BTreeSet<u32> {
    let lines = said(bench, &with(bench, "cat /proc/self/status", options), 0).await;
    let bits = lines.iter().find_map(|line| line.strip_prefix("CapEff:")).expect("capabilities");
    let bits = u64::from_str_radix(bits.trim(), 16).expect("bits");
    (0..64).filter(|bit| bits & 1 << bit != 0).collect()
}

/// Their numbers, after `linux/capability.h`.
const CHOWN: u32 = 0;
const NET_RAW: u32 = 13;
const MKNOD: u32 = 27;
const AUDIT_WRITE: u32 = 29;

#[tokio::test]
async fn capabilities_are_few_and_can_be_fewer() {
    with_docker(|bench| async move {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let ordinary = capabilities(&bench, ContainerOptions::default()).await;
        assert!(ordinary.contains(&CHOWN), "{ordinary:?}");
        assert!([NET_RAW, MKNOD, AUDIT_WRITE].iter().all(|bit| !ordinary.contains(bit)), "{ordinary:?}");
        let added =
            ContainerOptions { added_capabilities: names(&["NET_RAW"]), ..ContainerOptions::default() };
        let found = capabilities(&bench, added).await;
        assert!(found.contains(&NET_RAW) && !found.contains(&MKNOD), "{found:?}");
        let none = ContainerOptions { dropped_capabilities: names(&["ALL"]), ..ContainerOptions::default() };
        assert_eq!(capabilities(&bench, none.clone()).await, BTreeSet::new());
        let one = ContainerOptions { added_capabilities: names(&["CHOWN"]), ..none };
        assert_eq!(capabilities(&bench, one).await, BTreeSet::from([CHOWN]));
    })
    .await;
}

#[tokio::test]
async fn what_is_bounded_is() {
    with_docker(|bench| async move {
        let tmpfs = |target: &str, size_bytes| Tmpfs { target: target.to_owned(), size_bytes };
        let options = ContainerOptions {
            has_read_only_root: true,
            tmpfs: vec![tmpfs("/work", Some(64 << 10)), tmpfs("/free", None)],
            shm_bytes: Some(1 << 20),
            ulimits: vec![Ulimit { name: "nofile".to_owned(), soft: 77, hard: 99 }],
            has_no_new_privileges: true,
            ..ContainerOptions::default()
        };
        let script = "echo x >/tmp/x; echo y >/work/y && { head -c 200000 /dev/zero >/work/large || echo full; }; echo z >/free/z && \
                      ulimit -Sn; ulimit -Hn; while read -r line; do case $line in NoNewPrivs:*1) echo none;; esac; done \
                      </proc/self/status; while read -r _ at _ how; do case $at in /dev/shm) echo $how;; esac; done \
                      </proc/mounts";
        let lines = said(&bench, &with(&bench, script, options), 0).await;
        let has = |text: &str| lines.iter().any(|line| line.contains(text));
        assert!(has("/tmp/x: Read-only file system"), "{lines:?}");
        assert!(lines.iter().any(|line| line == "full"), "{lines:?}");
        assert!(lines.iter().any(|line| line == "77") && lines.iter().any(|line| line == "99"), "{lines:?}");
        assert!(lines.iter().any(|line| line == "none"), "{lines:?}");
        assert!(has("size=1024k"), "{lines:?}");
    })
    .await;
}

#[tokio::test]
async fn an_init_is_the_first_process_where_one_is_wanted() {
    with_docker(|bench| async move {
        let options = |has_init| ContainerOptions { has_init, ..ContainerOptions::default() };
        assert_eq!(said(&bench, &with(&bench, "echo $$", options(false)), 0).await, ["1"]);
        assert_ne!(said(&bench, &with(&bench, "echo $$", options(true)), 0).await, ["1"]);
    })
    .await;
}

#[tokio::test]
async fn a_stop_signal_of_ones_own_is_the_one_that_is_sent() {
    with_docker(|bench| async move {
        let options =
            ContainerOptions { stop_signal: Some("SIGINT".to_owned()), ..ContainerOptions::default() };
        let script = "trap 'exit 7' INT; trap 'exit 8' TERM; echo up; while :; do sleep 0.1; done";
        let container = bench.docker.start(&with(&bench, script, options)).await.expect("a container");
        let up = tokio::sync::Notify::new();
        let on_line = |_, _| up.notify_one();
        let stop = async {
            up.notified().await;
            bench.docker.stop(&container, Duration::from_secs(30)).await
        };
        let (exit, stopped) = tokio::join!(bench.docker.follow(&container, &on_line), stop);
        stopped.expect("stopped");
        bench.docker.remove(&container).await.expect("removed");
        assert_eq!(exit.expect("a run").code, 7);
    })
    .await;
}

#[tokio::test]
async fn a_fork_bomb_ends() {
    with_docker(|bench| async move {
        let options = |max_processes| ContainerOptions { max_processes, ..ContainerOptions::default() };
        let bomb = "bomb() { bomb | bomb & }; bomb; sleep 1; echo here";
        let began = Instant::now();
        let (lines, _) = bench.run(&with(&bench, bomb, options(Some(50)))).await.expect("a run");
        let refused = lines.iter().filter(|(_, text)| text.contains("can't fork")).count();
        assert!(refused > 0, "{lines:?}");
        assert!(began.elapsed() < Duration::from_secs(60));
        // There is a bound where nobody says one.
        let container =
            bench.docker.start(&with(&bench, "sleep 600", options(None))).await.expect("a container");
        let found = bench.look(&container).await.host_config.expect("a configuration").pids_limit;
        bench.docker.remove(&container).await.expect("removed");
        assert_eq!(found, Some(4096));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_text_is_shown_as_well_as_it_can_be() {
    with_docker(|bench| async move {
        let script = r"printf 'a\377b\n\303'; printf '\0c\n\033[31mred\n'";
        let lines = said(&bench, &bench.script(script), 0).await;
        assert_eq!(lines, ["a\u{fffd}b", "\u{fffd}\0c", "\u{1b}[31mred"]);
    })
    .await;
}

#[tokio::test]
async fn a_container_without_output_or_time_ends_all_the_same() {
    with_docker(|bench| async move {
        assert_eq!(
            said(&bench, &bench.script("exec >&- 2>&-; sleep 0.3; exit 4"), 4).await,
            Vec::<String>::new()
        );
        for _ in 0..10 {
            assert_eq!(said(&bench, &bench.script("exit 5"), 5).await, Vec::<String>::new());
        }
    })
    .await;
}

/// How much memory this process has, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Runs the test below by itself: memory is that of a process, and other tests take some.
#[test]
fn a_log_of_a_gigabyte_takes_no_memory() {
    let program = std::env::current_exe().expect("this program");
    let arguments = ["--exact", "--ignored", "bound::a_log_of_a_gigabyte_alone"];
    let output = std::process::Command::new(program).args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "a test of its own runs it, in a process of its own"]
async fn a_log_of_a_gigabyte_alone() {
    const LINE: usize = 8191;
    const BYTES: u64 = 1 << 30;
    with_docker(|bench| async move {
        let line = "x".repeat(LINE);
        let script = format!("yes {line} | head -c {BYTES}");
        let container = bench.docker.start(&bench.script(&script)).await.expect("a container");
        let (bytes, before, most) = (AtomicU64::new(0), resident(), Mutex::new(0));
        let on_line = |_: Stream, text: String| {
            let so_far = bytes.fetch_add(text.len() as u64 + 1, Ordering::Relaxed);
            // Each 16 MiB.
            if so_far >> 24 != (so_far + text.len() as u64 + 1) >> 24 {
                let mut most = most.lock().expect("no panic");
                *most = resident().max(*most);
            }
        };
        let exit = bench.docker.follow(&container, &on_line).await.expect("an end");
        bench.docker.remove(&container).await.expect("removed");
        assert_eq!((exit.code, bytes.into_inner()), (0, BYTES));
        let grown = most.into_inner().expect("no panic").saturating_sub(before);
        assert!(grown < 100 << 20, "it grew by {grown} bytes");
    })
    .await;
}
