//! What clients see of the gateway, with real servers behind it.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{Empty, Full};
use support::{Bench, Replica, get, send, wait_for};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use yuanli_ports::Traffic as _;
use yuanli_ports::traffic::{Table, TrafficError};

const HOLD: Duration = Duration::from_secs(10);

#[tokio::test]
async fn releases_get_exactly_their_weights_and_replicas_share_alike() {
    let mut bench = Bench::new().await;
    let (one, two, canary) = (Replica::new(1).await, Replica::new(2).await, Replica::new(3).await);
    bench.apply(HOLD, &[(90, &[&one, &two]), (10, &[&canary])]).await;
    for _ in 0..200 {
        assert_eq!(bench.get("/").await.status, StatusCode::OK);
    }
    let counts = [&one, &two, &canary].map(|replica| replica.requests.load(Ordering::Relaxed));
    assert_eq!(counts, [90, 90, 20]);

    let measured = bench.gateway.measure().await.expect("measured");
    let mut releases: Vec<_> = measured
        .releases
        .iter()
        .map(|release| (release.release.0, release.requests, release.errors))
        .collect();
    releases.sort_unstable();
    assert_eq!(releases, [(1, 180, 0), (2, 20, 0)]);
    assert!(measured.releases.iter().all(|release| release.latency.iter().sum::<u64>() == release.requests));
}

#[tokio::test]
async fn the_least_busy_replica_gets_the_next_request() {
    let mut bench = Bench::new().await;
    let (one, two) = (Replica::new(1).await, Replica::new(2).await);
    bench.apply(HOLD, &[(1, &[&one, &two])]).await;
    let slow = bench.get("/slow");
    let quick = async {
        wait_for("the slow request", async || one.requests.load(Ordering::Relaxed) == 1).await;
        for _ in 0..10 {
            assert_eq!(bench.get("/").await.text, "2");
        }
    };
    let (slow, ()) = tokio::join!(slow, quick);
    assert_eq!(slow.text, "1");
}

#[tokio::test]
async fn a_replica_that_is_not_there_costs_no_request() {
    let mut bench = Bench::new().await;
    let (one, absent) = (Replica::new(1).await, Replica::absent(2).await);
    bench.apply(HOLD, &[(1, &[&one, &absent])]).await;
    for _ in 0..20 {
        assert_eq!(bench.get("/").await.text, "1");
    }
    // Also with a body, of which nothing was read.
    let post = Request::post("/length").header("host", "shop").body(Full::from("12345")).expect("a request");
    assert_eq!(send(bench.address, post).await.text, "5");
}

#[tokio::test]
async fn requests_outlive_the_replica_that_had_them() {
    let mut bench = Bench::new().await;
    let (one, two) = (Replica::new(1).await, Replica::new(2).await);
    bench.apply(HOLD, &[(1, &[&one])]).await;
    let address = bench.address;
    let (slow, quick, ()) = tokio::join!(
        get(address, "/slow"),
        async {
            wait_for("the end of the first replica", async || TcpStream::connect(one.address).await.is_err())
                .await;
            // Nobody is there, and the gateway has not been told.
            get(address, "/").await
        },
        async {
            wait_for("the slow request", async || one.requests.load(Ordering::Relaxed) == 1).await;
            one.kill();
            tokio::time::sleep(Duration::from_millis(300)).await;
            bench.apply(HOLD, &[(1, &[&two])]).await;
        }
    );
    assert_eq!((slow.text.as_str(), quick.text.as_str()), ("2", "2"));
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_not_sent_twice() {
    let mut bench = Bench::new().await;
    let (one, two) = (Replica::new(1).await, Replica::new(2).await);
    bench.apply(HOLD, &[(1, &[&one])]).await;
    let post = Request::post("/slow").header("host", "shop").body(Full::from("1")).expect("a request");
    let (answer, ()) = tokio::join!(send(bench.address, post), async {
        wait_for("the request", async || one.requests.load(Ordering::Relaxed) == 1).await;
        one.kill();
    });
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    bench.apply(HOLD, &[(1, &[&two])]).await;
    let measured = bench.gateway.measure().await.expect("measured");
    assert_eq!(measured.releases[0].errors, 1);
}

#[tokio::test]
async fn a_request_waits_for_a_replica_and_no_longer_than_it_may() {
    let mut bench = Bench::new().await;
    let one = Replica::new(1).await;
    bench.apply(HOLD, &[]).await;
    let address = bench.address;
    let (answer, app) = tokio::join!(get(address, "/"), async {
        let app = bench.gateway.wanted().await;
        bench.apply(HOLD, &[(1, &[&one])]).await;
        app
    });
    assert_eq!((answer.text.as_str(), app.as_str()), ("1", "shop"));

    bench.apply(Duration::from_millis(200), &[]).await;
    let began = Instant::now();
    assert_eq!(bench.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(began.elapsed() >= Duration::from_millis(200));
    bench.apply(Duration::ZERO, &[]).await;
    assert_eq!(bench.get("/").await.text, "yuanli: no replica of the app serves at the moment\n");
}

#[tokio::test]
async fn a_draining_replica_finishes_what_it_has_and_gets_nothing_new() {
    let mut bench = Bench::new().await;
    let (one, two) = (Replica::new(1).await, Replica::new(2).await);
    bench.apply(HOLD, &[(1, &[&one])]).await;
    let address = bench.address;
    let (slow, ()) = tokio::join!(get(address, "/slow"), async {
        wait_for("the slow request", async || one.requests.load(Ordering::Relaxed) == 1).await;
        bench.apply_draining(HOLD, &[(1, &[&one, &two])], &[&one]).await;
        for _ in 0..5 {
            assert_eq!(get(address, "/").await.text, "2");
        }
        let in_flight = in_flight(&bench, &one).await;
        assert_eq!(in_flight, Some(1));
    });
    assert_eq!(slow.text, "1");
    wait_for("the end of its requests", async || in_flight(&bench, &one).await == Some(0)).await;
}

async fn in_flight(bench: &Bench, replica: &Replica) -> Option<u32> {
    let measured = bench.gateway.measure().await.expect("measured");
    measured.replicas.iter().find(|counts| counts.replica == replica.id).map(|counts| counts.in_flight)
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let mut bench = Bench::new().await;
    let one = Replica::new(1).await;
    bench.apply(HOLD, &[(1, &[&one])]).await;
    // The first piece comes before the last was made.
    let mut stream = TcpStream::connect(bench.address).await.expect("connected");
    stream.write_all(b"GET /stream HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await.expect("sent");
    let began = Instant::now();
    let mut seen = Vec::new();
    let mut first = None;
    while stream.read_buf(&mut seen).await.expect("read") > 0 {
        if first.is_none() && String::from_utf8_lossy(&seen).contains("0\n") {
            first = Some(began.elapsed());
        }
    }
    assert!(first.expect("a first piece") < Duration::from_millis(400), "{first:?}");
    assert!(String::from_utf8_lossy(&seen).contains("4\n"));

    let large = Request::post("/length")
        .header("host", "shop")
        .body(Full::from(vec![7; 8 << 20]))
        .expect("a request");
    assert_eq!(send(bench.address, large).await.text, (8 << 20).to_string());
}

#[tokio::test]
async fn upgraded_connections_carry_both_ways() {
    let mut bench = Bench::new().await;
    let one = Replica::new(1).await;
    bench.apply(HOLD, &[(1, &[&one])]).await;
    let mut stream = TcpStream::connect(bench.address).await.expect("connected");
    stream
        .write_all(b"GET /upgrade HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await
        .expect("sent");
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut seen).await.expect("read") > 0, "{}", String::from_utf8_lossy(&seen));
    }
    assert!(seen.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&seen));
    stream.write_all(b"hello").await.expect("sent");
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.expect("an echo");
    assert_eq!(&echo, b"hello");
    // It counts as busy for as long as it lasts.
    assert_eq!(in_flight(&bench, &one).await, Some(1));
    drop(stream);
    wait_for("its end", async || in_flight(&bench, &one).await == Some(0)).await;
}

#[tokio::test]
async fn the_replica_is_told_who_asks_and_ambiguous_lengths_are_refused() {
    let mut bench = Bench::new().await;
    let one = Replica::new(1).await;
    bench.apply(HOLD, &[(1, &[&one])]).await;
    let headers = Request::get("/headers")
        .header("host", "shop.example:8080")
        .header("connection", "x-private")
        .header("x-private", "1")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    assert_eq!(
        send(bench.address, headers).await.text,
        "host: shop.example:8080\nx-forwarded-for: 127.0.0.1\nx-forwarded-host: shop.example:8080\nx-forwarded-proto: http"
    );
    // The chunks hold (RFC 9112, 6.3), and the length beside them goes no further.
    let both = "POST /headers HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 3\r\n\
                transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let mut stream = TcpStream::connect(bench.address).await.expect("connected");
    stream.write_all(both.as_bytes()).await.expect("sent");
    let mut seen = String::new();
    stream.read_to_string(&mut seen).await.expect("read");
    assert!(
        seen.starts_with("HTTP/1.1 200") && seen.contains("chunked") && !seen.contains("length: 3"),
        "{seen}"
    );

    for head in [
        "POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "POST / HTTP/1.0\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(bench.address).await.expect("connected");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") && stream.read_buf(&mut seen).await.expect("read") > 0 {}
        assert!(seen.starts_with(b"HTTP/1.1 400") || seen.starts_with(b"HTTP/1.0 400"), "{head}");
    }
    assert_eq!(one.requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_new_process_serves_the_last_table_at_once_and_refuses_an_older_one() {
    let mut bench = Bench::new().await;
    let one = Replica::new(1).await;
    bench.apply(HOLD, &[]).await;
    bench.apply(HOLD, &[(1, &[&one])]).await;
    bench.end().await;
    let mut again = Bench::of(bench.folder).await;
    assert_eq!(again.get("/").await.text, "1");
    let old = again.gateway.apply(Table { version: 1, apps: Vec::new() }).await;
    assert_eq!(old, Err(TrafficError::Outdated(2)));
    again.end().await;
}

#[tokio::test]
async fn nothing_fails_while_replicas_come_and_go_under_load() {
    let mut bench = Bench::new().await;
    let address = bench.address;
    let mut replica = Replica::new(1).await;
    bench.apply(HOLD, &[(1, &[&replica])]).await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let clients = futures::future::join_all((0..8).map(|_| async {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(get(address, "/").await.status, StatusCode::OK);
            count += 1;
        }
        count
    }));
    let changes = async {
        for number in 2..30 {
            let next = Replica::new(number).await;
            bench.apply_draining(HOLD, &[(1, &[&replica, &next])], &[&replica]).await;
            wait_for("the end of its requests", async || in_flight(&bench, &replica).await == Some(0)).await;
            bench.apply(HOLD, &[(1, &[&next])]).await;
            replica.kill();
            replica = next;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (counts, ()) = tokio::join!(clients, changes);
    assert!(counts.iter().sum::<u32>() > 100);
}
