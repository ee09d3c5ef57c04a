//! The shop over real connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use shop::service::Service;
use shop::settings::Settings;

fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let settings = Settings::from_variables(|name| (name == "SHOP_VERSION").then(|| "test".to_owned())).unwrap();
    let service = Arc::new(Service::new(settings).unwrap());
    thread::spawn(move || service.serve(&listener));
    address
}

/// Sends a text and gives all that comes back until the other side closes.
fn talk(address: SocketAddr, text: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_says_who_it_is() {
    let answer = talk(start(), "GET / HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("shop test on"), "{answer}");
}

#[test]
fn items_are_added_and_listed_on_one_connection() {
    let requests = "POST /items HTTP/1.1\r\ncontent-length: 3\r\n\r\ntea\
                    POST /items HTTP/1.1\r\ncontent-length: 4\r\n\r\nrice\
                    GET /items HTTP/1.1\r\nconnection: close\r\n\r\n";
    let answer = talk(start(), requests);
    assert_eq!(answer.matches("201 Created").count(), 2, "{answer}");
    assert!(answer.ends_with("\r\n\r\ntea\nrice\n"), "{answer}");
}

#[test]
fn wrong_requests_get_an_answer() {
    let address = start();
    let check = |text: &str, status: &str| {
        let answer = talk(address, text);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    };
    check("GET /nowhere HTTP/1.1\r\nconnection: close\r\n\r\n", "404");
    check("DELETE /items HTTP/1.1\r\nconnection: close\r\n\r\n", "405");
    check("POST /items HTTP/1.1\r\nconnection: close\r\n\r\n", "400");
    check("nonsense\r\n\r\n", "400");
}
