//! What a host function is called with, as a journal compares and shows it.
//!
//! A handle is its number, which comes from our own counter and is the same in a replay; everything else is what it is.

use std::fmt::{self, Debug, Write as _};

use serde::Serialize;
use wasmtime::component::Resource;
use yuanli_bindings::{apps, containers, http, images, source, traffic};
use yuanli_model::Digest;

/// Longest bytes that are shown as they are.
const MAX_SHOWN_TEXT: usize = 64;
/// Longest argument that is shown, in bytes: it is masked whole, and cut afterwards.
const MAX_SHOWN_BYTES: usize = 4 * 1024;

/// One thing that a function is called with.
pub(crate) trait Argument {
    /// Adds it to what is compared.
    fn write(&self, bytes: &mut Vec<u8>) -> postcard::Result<()>;

    /// For a person, in short.
    fn show(&self) -> String;

    /// The handle that it is.
    fn handle(&self) -> Option<u32> {
        None
    }
}

/// All that a function is called with.
pub(crate) trait Arguments {
    /// What is compared.
    fn bytes(&self) -> postcard::Result<Vec<u8>>;

    /// The first handle among them.
    fn handle(&self) -> Option<u32>;

    /// For a person, in short.
    fn show(&self) -> String;
}

/// Arguments that show what they are.
macro_rules! plain {
    ($($type:ty),* $(,)?) => {$(
        impl Argument for $type {
            fn write(&self, bytes: &mut Vec<u8>) -> postcard::Result<()> {
                write(self, bytes)
            }

            fn show(&self) -> String {
                whole(self)
            }
        }
    )*};
}

plain!(u32, u64, Option<u32>, Option<u64>, Option<String>, Vec<String>, Vec<(String, String)>);
plain!(
    containers::Request,
    containers::Probe,
    images::BuildRequest,
    source::GitRequest,
    apps::Wish,
    traffic::Plan
);

impl Argument for containers::Command {
    fn write(&self, bytes: &mut Vec<u8>) -> postcard::Result<()> {
        write(self, bytes)
    }

    /// The input as bytes are shown, for the same reason as the body of a request.
    fn show(&self) -> String {
        let command = whole(&Self { input: Vec::new(), ..self.clone() });
        format!("{command}, {}", shown(&self.input))
    }
}

impl Argument for http::Request {
    fn write(&self, bytes: &mut Vec<u8>) -> postcard::Result<()> {
        write(self, bytes)
    }

    /// The body as bytes are shown: as numbers nobody would find a secret in it.
    fn show(&self) -> String {
        let request = whole(&Self { body: Vec::new(), ..self.clone() });
        format!("{request}, {}", shown(&self.body))
    }
}

macro_rules! bytes {
    ($($type:ty),*) => {$(
        impl Argument for $type {
            fn write(&self, bytes: &mut Vec<u8>) -> postcard::Result<()> {
                write(self, bytes)
            }

            fn show(&self) -> String {
                shown(self)
            }
        }
    )*};
}

bytes!(String, Vec<u8>);

impl<T: 'static> Argument for Resource<T> {
    fn write(&self, bytes: &mut Vec<u8>) -> postcard::Result<()> {
        write(&self.rep(), bytes)
    }

    fn show(&self) -> String {
        format!("handle {}", self.rep())
    }

    fn handle(&self) -> Option<u32> {
        Some(self.rep())
    }
}

impl<T: 'static> Argument for Option<Resource<T>> {
    fn write(&self, bytes: &mut Vec<u8>) -> postcard::Result<()> {
        write(&self.as_ref().map(Resource::rep), bytes)
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Argument::show)
    }
}

impl<T: 'static> Argument for Vec<Resource<T>> {
    fn write(&self, bytes: &mut Vec<u8>) -> postcard::Result<()> {
        write(&self.iter().map(Resource::rep).collect::<Vec<u32>>(), bytes)
    }

    fn show(&self) -> String {
        format!("handles {:?}", self.iter().map(Resource::rep).collect::<Vec<u32>>())
    }
}

macro_rules! tuples {
    ($(($($name:ident),*))*) => {$(
        impl<$($name: Argument),*> Arguments for ($($name,)*) {
            #[allow(non_snake_case, reason = "a variable for each type")]
            fn bytes(&self) -> postcard::Result<Vec<u8>> {
                #[allow(unused_mut, reason = "there may be nothing to add")]
                let mut bytes = Vec::new();
                let ($($name,)*) = self;
                $($name.write(&mut bytes)?;)*
                Ok(bytes)
            }

            #[allow(non_snake_case, reason = "a variable for each type")]
            fn handle(&self) -> Option<u32> {
                let ($($name,)*) = self;
                None$(.or($name.handle()))*
            }

            #[allow(non_snake_case, reason = "a variable for each type")]
            fn show(&self) -> String {
                let ($($name,)*) = self;
                let shown: &[String] = &[$($name.show()),*];
                shown.join(", ")
            }
        }
    )*};
}

tuples!(()(A)(A, B)(A, B, C)(A, B, C, D)(A, B, C, D, E));

fn write(value: &impl Serialize, bytes: &mut Vec<u8>) -> postcard::Result<()> {
    *bytes = postcard::to_extend(value, std::mem::take(bytes))?;
    Ok(())
}

/// Bytes or a text for a person: as it is when it is short, else how long and which one. A guest can give one of any length, and
/// one that is cut could show a part of a secret.
pub(crate) fn shown(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= MAX_SHOWN_TEXT => format!("{text:?}"),
        _ => format!("{} bytes, {}", bytes.len(), Digest::of(bytes)),
    }
}

/// A value for a person, unless it is long.
fn whole(value: &(impl Serialize + Debug)) -> String {
    let mut text = Bounded(String::new());
    if write!(text, "{value:?}").is_ok() {
        return text.0;
    }
    let bytes = postcard::to_stdvec(value).unwrap_or_default();
    format!("{} bytes, {}", bytes.len(), Digest::of(&bytes))
}

/// A text that takes so much and no more.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_SHOWN_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_shown_in_short_and_compared_whole() {
        let check = |arguments: &dyn Arguments, expected: &str| assert_eq!(arguments.show(), expected);
        check(&(), "");
        check(&("a\"b".to_owned(), vec![b'x']), r#""a\"b", "x""#);
        check(&(Resource::<u8>::new_borrow(3), 7_u32), "handle 3, 7");
        check(&(None::<Resource<u8>>, None::<u64>), "none, None");
        let long = ("x".repeat(65),);
        let other = (format!("{}y", "x".repeat(64)),);
        assert!(long.show().starts_with("65 bytes, sha256:"), "{}", long.show());
        assert_ne!(long.bytes(), other.bytes());
        let many: Vec<(String, String)> = vec![("k".repeat(3000), "v".repeat(3000))];
        assert!((many,).show().starts_with("6"), "a value that is long is not shown");
    }
}
