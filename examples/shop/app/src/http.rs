//! As much of HTTP/1.1 as the shop needs: requests with a length, answers with a length, connections that stay open.

use std::io::{self, BufRead, Read, Write};

/// Longest request line or header, in bytes.
const MAX_LINE: u64 = 8 * 1024;
/// Most headers of a request.
const MAX_HEADERS: usize = 100;
/// Longest body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// The body; invalid UTF-8 is replaced.
    pub body: String,
    /// Whether the connection stays open after the answer.
    pub keeps_open: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, as plain text.
    pub body: String,
}

impl Response {
    /// An answer.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn write(&self, out: &mut impl Write, keeps_open: bool) -> io::Result<()> {
        let connection = if keeps_open { "keep-alive" } else { "close" };
        write!(
            out,
            "HTTP/1.1 {} {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n{}",
            self.status,
            reason(self.status),
            self.body.len(),
            self.body,
        )?;
        out.flush()
    }
}

/// Reads the next request; `None` when the other side has closed the connection between two.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what is no request that this server takes.
pub fn read(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some(first) = line(input)? else { return Ok(None) };
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid("the request line has not three parts"));
    };
    let mut keeps_open = version == "HTTP/1.1";
    let mut length = 0;
    for count in 0.. {
        let header = line(input)?.ok_or_else(|| invalid("the headers break off"))?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(|| invalid("a header has no colon"))?;
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            _ if count >= MAX_HEADERS => return Err(invalid("too many headers")),
            ("content-length", value) => length = value.parse().map_err(|_| invalid("no content length"))?,
            ("transfer-encoding", _) => return Err(invalid("only bodies with a length are taken")),
            ("connection", value) => keeps_open = !value.eq_ignore_ascii_case("close") && keeps_open,
            _ => {}
        }
    }
    if length > MAX_BODY {
        return Err(invalid("the body is too long"));
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Request { method: method.to_owned(), path, body, keeps_open }))
}

/// A line without its end; `None` at the end of the input.
fn line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    let read = input.by_ref().take(MAX_LINE).read_line(&mut text)?;
    match text.strip_suffix('\n') {
        _ if read == 0 => Ok(None),
        Some(text) => Ok(Some(text.trim_end_matches('\r').to_owned())),
        None => Err(invalid("a line is too long or breaks off")),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> io::Result<Option<Request>> {
        read(&mut text.as_bytes())
    }

    #[test]
    fn a_request_is_read_with_its_body() {
        let request = parse("POST /items?x=1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nteaREST").unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str(), request.body.as_str()), ("POST", "/items", "tea"));
        assert!(request.keeps_open);
        assert!(!parse("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap().unwrap().keeps_open);
        assert_eq!(parse("").unwrap(), None);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in ["GET /\r\n\r\n", "GET / HTTP/1.1\r\nbad\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: 999999\r\n\r\n"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
