//! A registry that has had enough for a while, and breaks off: what may pass is tried again, by the stage and by Docker.

use std::io::{Read, Write, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::registry::Registry;
use crate::support::{Place, docker};

const ENOUGH: &str = r#"{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down, please"}]}"#;

/// Stands in front of a registry: the first layer that is sent is answered with 429, the next is cut off, and whatever
/// comes then is handed on.
struct Front {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Front {
    fn of(registry: &Registry) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (address, behind) = (listener.local_addr().unwrap(), registry.address);
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        // Ends with the tests.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                // Whoever hangs up is no failure of the test.
                thread::spawn(move || serve(connection, behind, &counted));
            }
        });
        Self { address, requests }
    }
}

fn serve(mut connection: TcpStream, behind: SocketAddr, requests: &AtomicUsize) -> std::io::Result<()> {
    let mut first = [0; 4096];
    let length = connection.read(&mut first)?;
    let text = String::from_utf8_lossy(&first[..length]).into_owned();
    let mut words = text.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut answer = |status: &str, body: &str| {
        let kind = "Content-Type: application/json\r\nConnection: close";
        let length = body.len();
        write!(connection, "HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    // Docker speaks TLS first, asks at the door whether this is a registry, and looks for each layer, before it sends one.
    let is_sent = text.contains("HTTP/1.1") && method != "HEAD" && path != "/v2/";
    let so_far = requests.load(Ordering::SeqCst);
    let number = if is_sent { requests.fetch_add(1, Ordering::SeqCst) } else { so_far };
    match number {
        0 | 1 if !text.contains("HTTP/1.1") => Ok(()),
        0 | 1 if path == "/v2/" => answer("200 OK", "{}"),
        0 | 1 if method == "HEAD" => answer("404 Not Found", ""),
        0 => answer("429 Too Many Requests", ENOUGH),
        1 => connection.shutdown(Shutdown::Both),
        _ => {
            let mut behind = TcpStream::connect(behind)?;
            behind.write_all(&first[..length])?;
            let (mut up, mut down) = (connection.try_clone()?, behind.try_clone()?);
            thread::spawn(move || {
                let _ = copy(&mut up, &mut behind);
                let _ = behind.shutdown(Shutdown::Write);
            });
            copy(&mut down, &mut connection)?;
            connection.shutdown(Shutdown::Both)
        }
    }
}

#[test]
fn a_push_that_is_throttled_and_cut_off_gets_there() {
    docker::make_image();
    let (place, registry) = (Place::new(), Registry::open());
    let front = Front::of(&registry);
    let names = ["1", "2"].map(|tag| format!("{}/patient:{tag}", front.address));
    let workflow = |attempts: u32| {
        let to = names.join("\", \"");
        let with = format!("{{ image: {}, to: [\"{to}\"], attempts: {attempts} }}", docker::IMAGE);
        place.write("w.yaml", format!("name: w\nstages:\n  push:\n    uses: push\n    with: {with}\n"))
    };
    let said = ["slow down, please", "try 1 of 4", "again in 1 s", "[push] succeeded"];
    let ended = place.yuanli(&["run", &workflow(4)]).expect(0, &said);
    assert!(front.requests.load(Ordering::SeqCst) > 2);
    let run = place.json(&["runs", "show", ended.out.trim()]);
    let outputs = &run["stages"][0]["outputs"];
    assert_eq!(outputs["pushed"], serde_json::json!(names));
    let digest = outputs["digest"].as_str().unwrap();
    assert_eq!(outputs["reference"], format!("{}/patient@{digest}", front.address));

    // Without another try it is the failure, as what may pass.
    front.requests.store(0, Ordering::SeqCst);
    place.yuanli(&["run", &workflow(1)]).expect(1, &["throttled", "slow down, please"]);
}
