//! Headers on their way through: what concerns one connection only stays behind (RFC 9110, 7.6.1), what the replica has
//! to know of the client comes along.

use std::net::IpAddr;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};

/// What concerns one connection only, beside what `Connection` names.
const HOP_BY_HOP: [HeaderName; 5] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    TE,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The host that a request is for, in lower case and without its port.
pub(crate) fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let text = uri.host().or_else(|| headers.get(HOST)?.to_str().ok())?;
    let without_port = match text.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((host, port)) if !port.contains(']') => host,
        _ => text,
    };
    Some(without_port.trim_end_matches('.').to_ascii_lowercase())
}

/// What a client asks to change its connection to, such as `websocket`.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut options = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asks =
        options.any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade")));
    headers.get(UPGRADE).filter(|_| asks).cloned()
}

/// Whether it cannot be told where the body ends: readers before and behind the gateway might see two requests in one
/// (RFC 9112, 6.3).
pub(crate) fn is_ambiguous(version: Version, headers: &HeaderMap) -> bool {
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    let has_encoding = headers.contains_key(TRANSFER_ENCODING);
    lengths > 1 || (lengths == 1 && has_encoding) || (has_encoding && version < Version::HTTP_11)
}

/// Makes the headers of a request those of the request to the replica.
pub(crate) fn to_replica(headers: &mut HeaderMap, uri: &Uri, client: IpAddr, upgrade: Option<HeaderValue>) {
    remove_hop_by_hop(headers);
    let host = headers.get(HOST).cloned();
    let host = host.or_else(|| HeaderValue::from_str(uri.authority()?.as_str()).ok());
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host.clone());
        headers.insert(HOST, host);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let client = client.to_canonical().to_string();
    let list: Vec<&str> = before.chain([client.as_str()]).collect();
    if let Ok(list) = HeaderValue::from_str(&list.join(", ")) {
        headers.insert(FORWARDED_FOR, list);
    }
    put_upgrade(headers, upgrade);
}

/// Makes the headers of an answer those of the answer to the client.
pub(crate) fn to_client(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    remove_hop_by_hop(headers);
    put_upgrade(headers, upgrade);
}

fn put_upgrade(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|option| option.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(UPGRADE);
    // The body was taken out of its chunks; whoever sends it on frames it anew.
    headers.remove(TRANSFER_ENCODING);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &[(&'static str, &'static str)]) -> HeaderMap {
        text.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn hosts_lose_their_ports_and_their_case() {
        for (text, expected) in [
            ("Shop.Example:8080", "shop.example"),
            ("shop.example.", "shop.example"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            let headers = headers(&[("host", text)]);
            assert_eq!(host(&Uri::from_static("/"), &headers).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_concerns_one_connection_stays_behind() {
        let mut headers = headers(&[
            ("host", "shop"),
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("x-forwarded-for", "10.0.0.9"),
            ("accept", "*/*"),
        ]);
        to_replica(&mut headers, &Uri::from_static("/"), IpAddr::from([127, 0, 0, 1]), None);
        let mut left: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "accept: */*",
                "host: shop",
                "x-forwarded-for: 10.0.0.9, 127.0.0.1",
                "x-forwarded-host: shop",
                "x-forwarded-proto: http"
            ]
        );
    }

    #[test]
    fn an_upgrade_is_asked_for_by_both_headers() {
        assert!(
            upgrade(&headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])).is_some()
        );
        assert!(upgrade(&headers(&[("upgrade", "websocket")])).is_none());
        assert!(upgrade(&headers(&[("connection", "upgrade")])).is_none());
    }
}
