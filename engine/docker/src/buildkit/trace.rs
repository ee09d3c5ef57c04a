//! BuildKit's own record of how a build goes on: `StatusResponse` of its `control.proto`, of which a few fields are read.
//!
//! The encoding is that of Protocol Buffers: fields with a number and one of four kinds. What is not known is passed over.

/// How a build goes on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) vertices: Vec<Vertex>,
    pub(super) logs: Vec<Log>,
}

/// A step, or something else that BuildKit does.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Vertex {
    pub(super) digest: String,
    pub(super) name: String,
    pub(super) is_cached: bool,
    pub(super) is_started: bool,
    pub(super) is_completed: bool,
    pub(super) error: String,
}

/// What a step has said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) vertex: String,
    pub(super) text: Vec<u8>,
}

/// The value of a field.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a kind that no field has that is read.
    Other,
}

impl Status {
    /// Nothing for bytes that are none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut status = Self::default();
        each(bytes, |field, value| {
            match (field, value) {
                (1, Value::Bytes(bytes)) => status.vertices.push(Vertex::read(bytes)?),
                (3, Value::Bytes(bytes)) => status.logs.push(Log::read(bytes)?),
                _ => {}
            }
            Some(())
        })?;
        Some(status)
    }
}

impl Vertex {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut vertex = Self::default();
        each(bytes, |field, value| {
            match (field, value) {
                (1, Value::Bytes(bytes)) => vertex.digest = text(bytes),
                (3, Value::Bytes(bytes)) => vertex.name = text(bytes),
                (4, Value::Number(number)) => vertex.is_cached = number != 0,
                (5, Value::Bytes(_)) => vertex.is_started = true,
                (6, Value::Bytes(_)) => vertex.is_completed = true,
                (7, Value::Bytes(bytes)) => vertex.error = text(bytes),
                _ => {}
            }
            Some(())
        })?;
        Some(vertex)
    }
}

impl Log {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut log = Self::default();
        each(bytes, |field, value| {
            match (field, value) {
                (1, Value::Bytes(bytes)) => log.vertex = text(bytes),
                (4, Value::Bytes(bytes)) => log.text = bytes.to_vec(),
                _ => {}
            }
            Some(())
        })?;
        Some(log)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Hands on the fields of a message; nothing when it is none.
fn each<'a>(mut bytes: &'a [u8], mut take: impl FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let tag = number(&mut bytes)?;
        let value = match tag & 7 {
            0 => Value::Number(number(&mut bytes)?),
            1 => split(&mut bytes, 8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                Value::Bytes(split(&mut bytes, length)?)
            }
            5 => split(&mut bytes, 4).map(|_| Value::Other)?,
            _ => return None,
        };
        take(tag >> 3, value)?;
    }
    Some(())
}

fn split<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Seven bits a byte, the lowest first; the eighth says that there are more.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *split(bytes, 1)?.first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_docker_sends_is_read() {
        // A record of Docker 20.10 for `RUN echo b`.
        let text = "Gl0KR3NoYTI1NjpkOTJjMTE2YTM4Njg3MDY5MzExNDI2ZTU1NzI0M2FhZDIzMWJlNWQ5MmQxNThlYjk4NmQyMWU4NmJmYzU5NTMxEgwIyaC22AYQ8vDCmQEYASICYgo=";
        let status = Status::read(&STANDARD.decode(text).expect("base64")).expect("a status");
        let vertex = "sha256:d92c116a38687069311426e557243aad231be5d92d158eb986d21e86bfc59531".to_owned();
        assert_eq!(
            status,
            Status { vertices: Vec::new(), logs: vec![Log { vertex, text: b"b\n".to_vec() }] }
        );
        let text = "Cm8KR3NoYTI1NjpjY2FhYTRiMDA4ODg3Yzk5ZTY3ZGZhYjdmMzgxYTViNmM4NTFmMzYzZjkxOWZiOWU3YzkyNzI3M2RlMTlhZDdmGiRbaW50ZXJuYWxdIGxvYWQgcmVtb3RlIGJ1aWxkIGNvbnRleHQ=";
        let status = Status::read(&STANDARD.decode(text).expect("base64")).expect("a status");
        assert_eq!(status.vertices[0].name, "[internal] load remote build context");
        assert!(!status.vertices[0].is_started && !status.vertices[0].is_completed);
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Status::read(&bytes);
        }
    }
}
