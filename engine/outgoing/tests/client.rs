//! Requests over real connections: where they go, where they do not, and what comes of bad servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "servers of a test end with it")]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use support::{
    Act, Asked, HERE, Names, certificates, client, get, header, ok, private, redirect, scope, serve,
    serve_with,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use yuanli_model::http::{Closed, Denied, HttpScope};
use yuanli_ports::Http as _;
use yuanli_ports::http::{HttpError, HttpRequest};

/// What a request comes to where `shop.test` is this machine.
async fn send(
    request: HttpRequest,
    scopes: &[HttpScope],
) -> Result<yuanli_ports::http::HttpResponse, HttpError> {
    client(Names::with(&[("shop.test", &[&[HERE]])]), Vec::new()).send(request, scopes).await
}

#[tokio::test]
async fn a_request_and_its_response_come_over_whole() {
    let asked = Asked::default();
    let answer =
        Act::Answer(b"HTTP/1.1 404 No\r\nX-One: 1\r\nx-one: 2\r\ncontent-length: 4\r\n\r\ngone".to_vec());
    let server = serve(answer, &asked).await;
    let request = HttpRequest {
        method: "PUT".to_owned(),
        headers: vec![header("Content-Type", "text/plain", false)],
        body: b"hello".to_vec(),
        ..get(format!("http://{server}/a%20b/../c?x=1#part"))
    };
    let response = send(request, &[scope(&[&server.to_string()])]).await.unwrap();
    let name = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!((response.status, response.body.as_slice()), (404, b"gone".as_slice()));
    assert_eq!(response.headers, [name("x-one", "1"), name("x-one", "2"), name("content-length", "4")]);
    assert_eq!(response.url, format!("http://{server}/c?x=1"));
    let sent = asked.take().remove(0);
    let expected = format!(
        "PUT /c?x=1 HTTP/1.1\r\nhost: {server}\r\nuser-agent: yuanli/0.1.0\r\ncontent-type: text/plain\r\n\
         connection: close\r\ncontent-length: 5\r\n\r\nhello"
    );
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn what_is_no_request_is_refused_before_anything_is_connected_to() {
    let scopes = [private(&["shop.test"])];
    let check = async |request: HttpRequest, says: &str| {
        let error = send(request, &scopes).await.unwrap_err();
        assert!(matches!(error, HttpError::Invalid(_)), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    };
    check(get("shop.test"), "is no URL").await;
    check(get("ftp://shop.test/"), "neither `http` nor `https`").await;
    check(get("file:///etc/passwd"), "neither `http` nor `https`").await;
    check(get("http://user@shop.test/"), "a user or a password").await;
    check(get("http://:x@shop.test/"), "a user or a password").await;
    check(get(format!("http://shop.test/{}", "x".repeat(9000))), "more than 8192 bytes").await;
    let with = |name: &str, value: &str| HttpRequest {
        headers: vec![header(name, value, false)],
        ..get("http://shop.test/")
    };
    for name in ["Host", "content-length", "Transfer-Encoding", "CONNECTION", "te", "upgrade", "Expect"] {
        check(with(name, "x"), "is set by the engine").await;
    }
    check(with("transfer_encoding", "chunked"), "can be taken for one").await;
    check(with("a b", "x"), "no name of a header").await;
    check(with("x", "a\r\nhost: other"), "signs that no header has").await;
    check(with("x", &"y".repeat(40_000)), "at most 32768 are sent").await;
    let many = (0..101).map(|number| header(&format!("x-{number}"), "", false)).collect();
    check(HttpRequest { headers: many, ..get("http://shop.test/") }, "at most 100 are sent").await;
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_unless_that_was_granted() {
    let asked = Asked::default();
    let server = serve(ok("inside"), &asked).await;
    let url = format!("http://shop.test:{}/", server.port());
    let host = format!("shop.test:{}", server.port());
    let denied = send(get(url.clone()), &[scope(&[&host])]).await.unwrap_err();
    assert!(
        matches!(&denied, HttpError::Denied(Denied::Address { address, what: Closed::Loopback, .. }) if *address == HERE),
        "{denied:?}"
    );
    assert_eq!(asked.take(), Vec::<String>::new());
    assert_eq!(send(get(url), &[private(&[&host])]).await.unwrap().body, b"inside");
    assert_eq!(asked.take().len(), 1);
    // However an address is written, it is that address.
    let scopes = [scope(&["example.com"])];
    for address in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
    ] {
        let denied = send(get(format!("http://{address}:{}/", server.port())), &scopes).await.unwrap_err();
        assert!(matches!(&denied, HttpError::Denied(Denied::Host { .. })), "{address}: {denied:?}");
    }
    assert_eq!(asked.take(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_that_changes_after_it_was_looked_at_changes_nothing() {
    let asked = Asked::default();
    let server = serve(ok("inside"), &asked).await;
    let host = format!("shop.test:{}", server.port());
    // TEST-NET would be refused as well; this one is everybody's, and nobody answers there within the time.
    let public = "192.31.196.1".parse().unwrap();
    let names = Names::with(&[("shop.test", &[&[public], &[HERE]])]);
    let client = client(names, Vec::new());
    let request = HttpRequest { timeout: Duration::from_millis(300), ..get(format!("http://{host}/")) };
    let first = client.send(request.clone(), &[scope(&[&host])]).await.unwrap_err();
    assert!(matches!(first, HttpError::TimedOut(_) | HttpError::Connect(_)), "{first:?}");
    let second = client.send(request, &[scope(&[&host])]).await.unwrap_err();
    assert!(matches!(second, HttpError::Denied(Denied::Address { .. })), "{second:?}");
    // Of several addresses those that are not everybody's are left out.
    let names = Names::with(&[("shop.test", &[&[HERE, public]])]);
    let request = HttpRequest { timeout: Duration::from_millis(300), ..get(format!("http://{host}/")) };
    let both = support::client(names, Vec::new()).send(request, &[scope(&[&host])]).await.unwrap_err();
    assert!(matches!(both, HttpError::TimedOut(_) | HttpError::Connect(_)), "{both:?}");
    assert_eq!(asked.take(), Vec::<String>::new());
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_they_are_granted() {
    let (asked, other) = (Asked::default(), Asked::default());
    let end = serve(ok("here"), &other).await;
    let begin = serve(redirect(302, &format!("http://{end}/end")), &asked).await;
    let both = [scope(&[&begin.to_string(), &end.to_string()])];
    let response = send(get(format!("http://{begin}/")), &both).await.unwrap();
    assert_eq!((response.body.as_slice(), response.url), (b"here".as_slice(), format!("http://{end}/end")));
    let denied = send(get(format!("http://{begin}/")), &[scope(&[&begin.to_string()])]).await.unwrap_err();
    assert!(matches!(denied, HttpError::Denied(Denied::Host { .. })), "{denied:?}");
    assert_eq!(other.take().len(), 1, "only the one that was granted");
    let none = HttpRequest { max_redirects: 0, ..get(format!("http://{begin}/")) };
    assert_eq!(send(none, &both).await.unwrap().status, 302);

    let circle = serve(redirect(307, "/again"), &asked).await;
    asked.take();
    let request = HttpRequest { max_redirects: 3, ..get(format!("http://{circle}/")) };
    let error = send(request, &[scope(&[&circle.to_string()])]).await.unwrap_err();
    assert!(matches!(&error, HttpError::Redirects(why) if why.contains("more than 3 times")), "{error:?}");
    assert_eq!(asked.take().len(), 4);
    for to in ["ftp://x/", "http://a@b/", "http://[", "//"] {
        let wrong = serve(redirect(302, to), &asked).await;
        let error = send(get(format!("http://{wrong}/")), &[scope(&[&wrong.to_string()])]).await.unwrap_err();
        assert!(matches!(&error, HttpError::Io(why) if why.contains("redirects to")), "{to}: {error:?}");
    }
}

#[tokio::test]
async fn a_redirect_keeps_or_changes_method_and_body_as_browsers_do() {
    let end_asked = Asked::default();
    let end = serve(ok(""), &end_asked).await;
    let check = async |status: u16, method: &str, expect: &str, has_body: bool| {
        let begin = serve(redirect(status, &format!("http://{end}/")), &Asked::default()).await;
        let request = HttpRequest {
            method: method.to_owned(),
            headers: vec![header("content-type", "a/b", false), header("x-kept", "1", false)],
            body: b"body".to_vec(),
            ..get(format!("http://{begin}/"))
        };
        send(request, &[scope(&[&begin.to_string(), &end.to_string()])]).await.unwrap();
        let sent = end_asked.take().remove(0);
        assert!(
            sent.starts_with(&format!("{expect} / ")) && sent.contains("x-kept: 1"),
            "{status} {method}: {sent}"
        );
        assert_eq!(
            (sent.ends_with("body"), sent.contains("a/b")),
            (has_body, has_body),
            "{status} {method}: {sent}"
        );
    };
    check(301, "POST", "GET", false).await;
    check(302, "POST", "GET", false).await;
    check(302, "PUT", "PUT", true).await;
    check(303, "PUT", "GET", false).await;
    check(307, "POST", "POST", true).await;
    check(308, "DELETE", "DELETE", true).await;
}

#[tokio::test]
async fn secrets_go_encrypted_or_to_a_named_address_and_to_no_other_server() {
    let (asked, other) = (Asked::default(), Asked::default());
    let end = serve(ok(""), &other).await;
    let begin = serve(redirect(307, &format!("http://{end}/")), &asked).await;
    let secret = |url: String| HttpRequest {
        headers: vec![
            header("x-key", "hidden", true),
            header("authorization", "plain", false),
            header("cookie", "c=1", false),
            header("x-open", "open", false),
        ],
        ..get(url)
    };
    let scopes = [scope(&[&begin.to_string(), &end.to_string()])];
    send(secret(format!("http://{begin}/")), &scopes).await.unwrap();
    let (first, second) = (asked.take().remove(0), other.take().remove(0));
    assert!(first.contains("x-key: hidden") && first.contains("authorization: plain"), "{first}");
    assert!(second.contains("x-open: open"), "{second}");
    for name in ["x-key", "authorization", "cookie"] {
        assert!(!second.contains(name), "{second}");
    }
    let host = format!("shop.test:{}", end.port());
    let refused = send(secret(format!("http://{host}/")), &[private(&[&host])]).await.unwrap_err();
    assert!(matches!(&refused, HttpError::Exposed(why) if why.contains("not encrypted")), "{refused:?}");
    assert_eq!(other.take(), Vec::<String>::new());
    assert!(!format!("{:?}", secret(String::new())).contains("hidden"));
    let hidden = HttpRequest { is_url_secret: true, ..get(format!("http://{host}/hidden")) };
    assert!(!format!("{hidden:?}").contains("hidden"));
    let refused = send(hidden, &[private(&[&host])]).await.unwrap_err();
    assert!(matches!(&refused, HttpError::Exposed(why) if why.starts_with("the URL for ")), "{refused:?}");
    // Nor where a server says that it is to be asked once more, in clear.
    let begin = serve(redirect(308, &format!("http://{host}/hidden")), &asked).await;
    let hidden = HttpRequest { is_url_secret: true, ..get(format!("http://{begin}/hidden")) };
    let refused = send(hidden, &[scope(&[&begin.to_string()]), private(&[&host])]).await.unwrap_err();
    assert!(matches!(&refused, HttpError::Exposed(why) if why.starts_with("the URL for ")), "{refused:?}");
    assert_eq!(other.take(), Vec::<String>::new());
}

#[tokio::test]
async fn certificates_have_to_be_vouched_for_and_of_that_host() {
    let asked = Asked::default();
    let (root, acceptor) = certificates("shop.test");
    let server = serve_with(ok("safe"), &asked, Some(acceptor)).await;
    let names = || Names::with(&[("shop.test", &[&[HERE]]), ("other.test", &[&[HERE]])]);
    let port = server.port();
    let scopes = [private(&[&format!("shop.test:{port}"), &format!("other.test:{port}")])];
    let trusting = client(names(), vec![root]);
    let request = |host: &str| HttpRequest {
        headers: vec![header("authorization", "Bearer hidden", true)],
        ..get(format!("https://{host}:{port}/"))
    };
    assert_eq!(trusting.send(request("shop.test"), &scopes).await.unwrap().body, b"safe");
    assert!(asked.take().remove(0).contains("authorization: Bearer hidden"));
    let other = trusting.send(request("other.test"), &scopes).await.unwrap_err();
    assert!(matches!(other, HttpError::Tls(_)), "{other:?}");
    let unknown = client(names(), Vec::new()).send(request("shop.test"), &scopes).await.unwrap_err();
    assert!(matches!(&unknown, HttpError::Tls(why) if why.contains("UnknownIssuer")), "{unknown:?}");
    // One that answers in clear before anything was asked.
    let listener = tokio::net::TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 No\r\n\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
    });
    let scopes = [private(&[&format!("shop.test:{port}")])];
    let clear = get(format!("https://shop.test:{port}/"));
    let clear = client(names(), Vec::new()).send(clear, &scopes).await.unwrap_err();
    assert!(matches!(clear, HttpError::Tls(_) | HttpError::Io(_)), "{clear:?}");
    assert_eq!(asked.take(), Vec::<String>::new());
}

#[tokio::test]
async fn bad_servers_end_in_errors_that_say_what_they_did() {
    let check = async |act: Act, expect: fn(&HttpError) -> bool, says: &str| {
        let server = serve(act, &Asked::default()).await;
        let request = HttpRequest { timeout: Duration::from_millis(500), ..get(format!("http://{server}/")) };
        let error = send(request, &[scope(&[&server.to_string()])]).await.unwrap_err();
        assert!(expect(&error) && error.to_string().contains(says), "{error:?}");
    };
    let answer = |text: &str| Act::Answer(text.as_bytes().to_vec());
    let is_io = |error: &HttpError| matches!(error, HttpError::Io(_));
    let is_late = |error: &HttpError| matches!(error, HttpError::TimedOut(_));
    let is_large = |error: &HttpError| matches!(error, HttpError::TooLarge(_));
    check(Act::Hang(Vec::new()), is_late, "no whole response in 500ms").await;
    check(Act::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()), is_late, "").await;
    check(answer(""), is_io, "broke off").await;
    check(answer("SSH-2.0-server\r\n"), is_io, "does not answer with HTTP").await;
    check(answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), is_io, "").await;
    check(answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"), is_io, "")
        .await;
    check(answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel"), is_io, "").await;
    check(answer("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nhell"), is_io, "").await;
    let header = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    check(answer(&header), is_large, "more than 65536 bytes").await;
    let headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(101));
    check(answer(&headers), is_large, "more than 100").await;
    let body = format!("HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n{}", "x".repeat(1_048_577));
    check(answer(&body), is_large, "more than 1048576 bytes").await;
    check(Act::Flood(b"HTTP/1.1 200 OK\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".to_vec()), is_large, "").await;
    check(Act::Flood(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()), is_late, "").await;
}

#[tokio::test]
async fn what_does_not_answer_is_told_as_what_it_is() {
    let free = std::net::TcpListener::bind((HERE, 0)).unwrap().local_addr().unwrap();
    let closed = send(get(format!("http://{free}/")), &[scope(&[&free.to_string()])]).await.unwrap_err();
    assert!(matches!(&closed, HttpError::Connect(why) if why.contains("refused")), "{closed:?}");
    let unknown = send(get("http://none.test/"), &[scope(&["none.test"])]).await.unwrap_err();
    assert!(matches!(&unknown, HttpError::Dns(why) if why.contains("no such name")), "{unknown:?}");
}

#[tokio::test]
async fn chunks_and_bodies_without_length_are_read_to_their_end() {
    let check = async |text: &str, expect: &str| {
        let server = serve(Act::Answer(text.as_bytes().to_vec()), &Asked::default()).await;
        let response =
            send(get(format!("http://{server}/")), &[scope(&[&server.to_string()])]).await.unwrap();
        assert_eq!(String::from_utf8(response.body).unwrap(), expect, "{text}");
    };
    check(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
        "hello!",
    )
    .await;
    check("HTTP/1.1 200 OK\r\n\r\nto the end", "to the end").await;
    check("HTTP/1.0 200 OK\r\n\r\nold", "old").await;
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", "").await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a URL looks like: what it leads to was granted, or nothing is connected to.
    #[test]
    fn no_url_reaches_what_was_not_granted(
        scheme in "(http|https|HTTP)",
        before in "(|user@|user:pass@|shop\\.test@|shop\\.test:80@|\\\\)",
        host in "(127\\.0\\.0\\.1|127\\.1|localhost|\\[::1\\]|\\[::ffff:7f00:1\\]|0x7f\\.1|shop\\.test|shop\\.test\\.|SHOP\\.test|evil\\.test|１２７\\.0\\.0\\.1)",
        after in "(|/|/a|\\?x|#shop\\.test|\\\\@shop\\.test|%2f)",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let asked = Asked::default();
            let server = serve(ok("inside"), &asked).await;
            let names = Names::with(&[
                ("shop.test", &[&[HERE]]), ("evil.test", &[&[HERE]]), ("localhost", &[&[HERE]]),
            ]);
            let url = format!("{scheme}://{before}{host}:{}{after}", server.port());
            let granted = scope(&[&format!("shop.test:{}", server.port())]);
            let outcome = client(names, Vec::new()).send(get(url.clone()), &[granted]).await;
            assert!(outcome.is_err(), "{url}");
            assert_eq!(asked.take(), Vec::<String>::new(), "{url}");
        });
    }
}
