//! What the shop answers, and the loop that answers.

use std::io::{self, BufReader, BufWriter};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::http::{self, Request, Response};
use crate::items::Items;
use crate::settings::Settings;

/// The shop.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    items: Items,
    host: String,
    /// Answers to `/` so far.
    asked: AtomicU64,
}

impl Service {
    /// A shop with these settings.
    ///
    /// # Errors
    /// When its items cannot be read.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let items = Items::open(settings.data.clone())?;
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default().trim().to_owned();
        Ok(Self { settings, items, host, asked: AtomicU64::new(0) })
    }

    /// The answer to a request.
    pub fn answer(&self, request: &Request) -> Response {
        thread::sleep(self.settings.latency);
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") if self.is_error_due() => Response::new(500, "an error, as SHOP_ERROR_RATE asks\n"),
            ("GET", "/") => Response::new(200, format!("shop {} on {}\n", self.settings.version, self.host)),
            ("GET", "/healthz") => Response::new(200, "ok\n"),
            ("GET", "/version") => Response::new(200, format!("{}\n", self.settings.version)),
            ("GET", "/items") => Response::new(200, self.items.list()),
            ("POST", "/items") if request.body.trim().is_empty() => Response::new(400, "an item needs a name\n"),
            ("POST", "/items") => match self.items.add(&request.body) {
                Ok(()) => Response::new(201, "added\n"),
                Err(error) => Response::new(500, format!("not added: {error}\n")),
            },
            (_, "/" | "/healthz" | "/version" | "/items") => Response::new(405, "not with this method\n"),
            _ => Response::new(404, "not here\n"),
        }
    }

    /// Errors come evenly spread and always in the same places, so that a share can be counted on.
    fn is_error_due(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let due = |count: u64| (count as f64 * self.settings.error_rate) as u64;
        due(asked + 1) > due(asked)
    }

    /// Answers connections for ever, each on a thread of its own.
    pub fn serve(self: Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming().flatten() {
            let service = Arc::clone(&self);
            thread::spawn(move || {
                // A connection that breaks is the other side's business.
                let _ = service.converse(&connection);
            });
        }
    }

    fn converse(&self, connection: &TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut input = BufReader::new(connection);
        let mut output = BufWriter::new(connection);
        loop {
            match http::read(&mut input) {
                Ok(None) => return Ok(()),
                Ok(Some(request)) => {
                    self.answer(&request).write(&mut output, request.keeps_open)?;
                    if !request.keeps_open {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Response::new(400, format!("{error}\n")).write(&mut output, false);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, value: &str) -> Service {
        let settings = Settings::from_variables(|asked| (asked == name).then(|| value.to_owned())).unwrap();
        Service::new(settings).unwrap()
    }

    fn get(path: &str) -> Request {
        Request { method: "GET".to_owned(), path: path.to_owned(), body: String::new(), keeps_open: true }
    }

    #[test]
    fn the_error_rate_is_exact() {
        let service = service("SHOP_ERROR_RATE", "0.03");
        let errors = (0..1000).filter(|_| service.answer(&get("/")).status == 500).count();
        assert_eq!(errors, 30);
        assert_eq!(service.answer(&get("/healthz")).status, 200);
    }

    #[test]
    fn it_tells_its_version() {
        assert_eq!(service("SHOP_VERSION", "2.0").answer(&get("/version")).body, "2.0\n");
    }
}
