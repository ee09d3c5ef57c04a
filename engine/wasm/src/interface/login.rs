//! Who somebody is at a server: a user name, and a secret by its handle.

use wasmtime::component::Resource;
use yuanli_bindings::secrets::Secret;
use yuanli_ports::registries::Login;

use crate::guest::State;

/// Who was named, if somebody was; or why nobody can be.
pub(super) fn of(
    state: &State,
    username: Option<String>,
    password: Option<Resource<Secret>>,
) -> Result<Option<Login>, String> {
    let (username, password) = match (username, password) {
        (None, None) => return Ok(None),
        (Some(username), Some(password)) => (username, password),
        _ => return Err("a login is a user and a secret; one of them is missing".to_owned()),
    };
    match state.secret(password.rep()) {
        Some((_, Ok(value))) if std::str::from_utf8(value.expose()).is_ok() => {
            Ok(Some(Login { username, password: value.clone() }))
        }
        Some((name, Ok(_))) => Err(format!("the secret `{name}` is no text, so it is no password")),
        Some((_, Err(error))) => Err(error.to_string()),
        None => Err("no such secret".to_owned()),
    }
}
