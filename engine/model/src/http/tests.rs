//! What a scope allows.

use proptest::prelude::*;

use super::*;

fn scope(hosts: &[&str], methods: &[&'static str], paths: &[&str]) -> HttpScope {
    HttpScope {
        hosts: hosts.iter().map(|host| host.parse().expect("a host")).collect(),
        methods: methods.to_vec(),
        paths: paths.iter().map(|path| path.parse().expect("a path")).collect(),
        is_private: false,
    }
}

fn host(text: &str) -> Host {
    text.trim_matches(['[', ']']).parse().map_or_else(|_| Host::Name(text.to_owned()), Host::Address)
}

fn ask(
    scopes: &[HttpScope],
    method: &str,
    scheme: Scheme,
    to: &str,
    port: u16,
    path: &str,
) -> Result<Permit, Denied> {
    decide(scopes, &Target { scheme, host: &host(to), port, method, path })
}

#[test]
fn hosts_match_by_name_by_star_and_by_address_on_their_port() {
    let check = |pattern: &str, to: &str, port: u16, expect: bool| {
        let found = ask(&[scope(&[pattern], &["GET"], &[])], "GET", Scheme::Https, to, port, "/");
        assert_eq!(found.is_ok(), expect, "{pattern} {to}:{port}: {found:?}");
    };
    check("api.example.com", "api.example.com", 443, true);
    check("API.Example.com.", "api.example.com", 443, true);
    check("api.example.com", "api.example.com", 8443, false);
    check("api.example.com:8443", "api.example.com", 8443, true);
    check("api.example.com:8443", "api.example.com", 443, false);
    check("api.example.com", "xapi.example.com", 443, false);
    check("api.example.com", "api.example.com.evil.org", 443, false);
    check("*.example.org", "a.example.org", 443, true);
    check("*.example.org", "a.b.example.org", 443, true);
    check("*.example.org", "example.org", 443, false);
    check("*.example.org", ".example.org", 443, false);
    check("*.example.org", "evilexample.org", 443, false);
    check("127.0.0.1:8080", "127.0.0.1", 8080, true);
    check("127.0.0.1:8080", "127.0.0.2", 8080, false);
    check("[::1]:8080", "::1", 8080, true);
    check("::1", "::1", 443, true);
}

#[test]
fn what_is_no_pattern_is_refused_with_a_way_out() {
    let check = |text: &str, says: &str, helps: &str| {
        let error = text.parse::<HostPattern>().expect_err(text);
        assert!(error.message.contains(says) && error.help.contains(helps), "{error:?}");
    };
    check("https://api.example.com/v1", "is an address, not a host", "write `api.example.com`; paths");
    check("api.example.com/v1", "a part that no host has", "api.example.com");
    check("user@host", "a part that no host has", "");
    check("*", "it would be all of them", "*.example.org");
    check("a.*.com", "neither a name nor an address", "");
    check("host:0", "its port is no number", "");
    check("host:99999", "its port is no number", "");
    check("", "neither a name nor an address", "");
    check("1.2.3", "neither a name nor an address", "");
    check("0x7f.1", "neither a name nor an address", "");
    check("bücher.example", "letters that DNS does not know", "xn--");
    let check = |text: &str, says: &str| {
        let error = text.parse::<PathPattern>().expect_err(text);
        assert!(error.message.contains(says), "{error:?}");
    };
    check("v1", "does not begin with `/`");
    check("/v1?x", "a sign that no path has");
    check("/v1/../x", "more than one way");
    check("/v1/%2e%2E/x", "more than one way");
    check("/v1/..;/x", "more than one way");
    check("/v1/.;a=b/x", "more than one way");
    check("/v1/a%3Bb", "more than one way");
    assert!("/v1/a;b=c/x".parse::<PathPattern>().is_ok());
    check("/v1/a**", "is not a whole part");
}

#[test]
fn paths_match_whole_and_by_stars() {
    let check = |pattern: &str, path: &str, expect: bool| {
        let pattern = pattern.parse::<PathPattern>().expect("a path");
        assert_eq!(pattern.matches(path), expect, "{pattern:?} {path}");
    };
    check("/v1/**", "/v1/items/3", true);
    check("/v1/**", "/v1/", true);
    check("/v1/**", "/v1", true);
    check("/v1/**", "/v10", false);
    check("/v1/**", "/v2/v1/x", false);
    check("/items/*", "/items/3", true);
    check("/items/*", "/items/3/4", false);
    check("/items/*.json", "/items/a.b.json", true);
    check("/**/secret", "/a/b/secret", true);
    check("/**/secret", "/a/b/secrets", false);
    check("/", "/", true);
    check("/", "/a", false);
}

#[test]
fn each_rule_that_is_not_met_is_told_with_what_would_meet_it() {
    let scopes = [scope(&["api.example.com"], &["GET"], &["/v1/**"]), scope(&["10.0.0.1"], &["GET"], &[])];
    let check = |method: &str, to: &str, path: &str, says: &str| {
        let why = ask(&scopes, method, Scheme::Https, to, 443, path).expect_err(to).to_string();
        assert!(why.contains(says), "{why}");
    };
    check("GET", "other.org", "/", "it would take `grants: [{ http: { hosts: [other.org] } }]`");
    check("GET", "::1", "/", "hosts: [\"[::1]\"]");
    check("POST", "api.example.com", "/v1/x", "it would take `methods: [POST]`");
    check("TRACE", "api.example.com", "/v1/x", "cannot be granted");
    check("GET", "api.example.com", "/v2", "it would take `paths: [\"/v2\"]`");
    check("GET", "api.example.com", "/v1/..%2Fv2", "which servers read differently");
    assert!(
        ask(&scopes, "GET", Scheme::Https, "10.0.0.1", 443, "/a%2Fb").is_ok(),
        "where all paths are granted"
    );
    let permit = ask(&scopes, "GET", Scheme::Https, "api.example.com", 443, "/v1/x").expect("granted");
    let private = "10.0.0.1".parse().expect("an address");
    let why = permit.check(&host("api.example.com"), private).expect_err("private").to_string();
    assert!(
        why.contains("has the address 10.0.0.1, which is of a private network")
            && why.contains("private: true"),
        "{why}"
    );
    let permit = ask(&scopes, "GET", Scheme::Https, "10.0.0.1", 443, "/").expect("granted");
    assert_eq!(permit.check(&host("10.0.0.1"), private), Ok(()));
    let private_scope = HttpScope { is_private: true, ..scopes[0].clone() };
    let permit =
        ask(&[private_scope], "GET", Scheme::Https, "api.example.com", 443, "/v1/x").expect("granted");
    assert_eq!(permit.check(&host("api.example.com"), private), Ok(()));
}

#[test]
fn addresses_are_everybodys_or_not() {
    let check = |address: &str, expect: Option<Closed>| {
        assert_eq!(closed(address.parse().expect("an address")), expect, "{address}");
    };
    for address in
        ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"]
    {
        check(address, None);
    }
    check("127.0.0.1", Some(Closed::Loopback));
    check("0.0.0.0", Some(Closed::Unspecified));
    check("0.1.2.3", Some(Closed::Loopback));
    check("10.1.2.3", Some(Closed::Private));
    check("172.16.0.1", Some(Closed::Private));
    check("172.31.255.255", Some(Closed::Private));
    check("192.168.1.1", Some(Closed::Private));
    check("100.64.0.1", Some(Closed::Private));
    check("169.254.1.1", Some(Closed::LinkLocal));
    check("169.254.169.254", Some(Closed::Metadata));
    check("100.100.100.200", Some(Closed::Metadata));
    check("168.63.129.16", Some(Closed::Metadata));
    check("224.0.0.1", Some(Closed::Multicast));
    check("255.255.255.255", Some(Closed::Reserved));
    check("::", Some(Closed::Unspecified));
    check("::1", Some(Closed::Loopback));
    check("::127.0.0.1", Some(Closed::Loopback));
    check("::ffff:127.0.0.1", Some(Closed::Loopback));
    check("::ffff:169.254.169.254", Some(Closed::Metadata));
    check("::ffff:8.8.8.8", None);
    check("64:ff9b::10.0.0.1", Some(Closed::Private));
    check("2002:7f00:1::", Some(Closed::Loopback));
    check("2001:0:4136:e378::", Some(Closed::Reserved));
    check("fe80::1", Some(Closed::LinkLocal));
    check("fd00::1", Some(Closed::Private));
    check("fd00:ec2::254", Some(Closed::Metadata));
    check("ff02::1", Some(Closed::Multicast));
    check("2001:db8::1", Some(Closed::Reserved));
}

/// The same by trying every way.
fn matches_slowly(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], rest) => rest.is_empty(),
        (["**", more @ ..], rest) => (0..=rest.len()).any(|skipped| matches_slowly(more, &rest[skipped..])),
        ([first, more @ ..], [part, rest @ ..]) => {
            (first == part || *first == "*") && matches_slowly(more, rest)
        }
        (_, []) => false,
    }
}

proptest! {
    #[test]
    fn paths_match_as_when_every_way_is_tried(
        pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**"]), 1..6),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", ""]), 1..6),
    ) {
        let compiled: PathPattern = format!("/{}", pattern.join("/")).parse().expect("a path");
        prop_assert_eq!(compiled.matches(&format!("/{}", path.join("/"))), matches_slowly(&pattern, &path));
    }

    #[test]
    fn a_host_that_was_not_granted_is_never_allowed(
        granted in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}",
        asked in "[a-z.]{1,20}",
        is_starred in any::<bool>(),
    ) {
        let pattern = if is_starred { format!("*.{granted}") } else { granted.clone() };
        let is_allowed = ask(&[scope(&[&pattern], &["GET"], &[])], "GET", Scheme::Http, &asked, 80, "/").is_ok();
        let expect = if is_starred { asked.ends_with(&format!(".{granted}")) && asked.len() > granted.len() + 1 } else { asked == granted };
        prop_assert_eq!(is_allowed, expect);
    }

    #[test]
    fn version_4_addresses_are_the_same_inside_version_6(bits in any::<u32>()) {
        let address = std::net::Ipv4Addr::from(bits);
        prop_assert_eq!(closed(IpAddr::V6(address.to_ipv6_mapped())), closed(IpAddr::V4(address)));
    }

    #[test]
    fn any_text_is_a_pattern_or_refused_and_shown_as_it_is_read(text in "\\PC{0,40}") {
        if let Ok(host) = text.parse::<HostPattern>() {
            prop_assert_eq!(host.to_string().parse::<HostPattern>(), Ok(host));
        }
        let _ = text.parse::<PathPattern>();
    }
}

#[test]
fn what_is_granted_beyond_a_ceiling_is_named() {
    let check = |ceiling: &HttpScope, granted: &HttpScope, expect: Option<&str>| {
        assert_eq!(ceiling.excess(granted).as_deref(), expect, "{granted}");
    };
    let wide = scope(&["*.example.org", "10.0.0.1:80"], &["GET", "POST"], &[]);
    check(&wide, &wide, None);
    check(&wide, &scope(&["a.example.org", "*.b.example.org"], &["POST"], &["/v1/**"]), None);
    check(&wide, &scope(&["example.org"], &["GET"], &[]), Some("hosts: [example.org]"));
    check(&wide, &scope(&["a.example.org:8443"], &["GET"], &[]), Some("hosts: [\"a.example.org:8443\"]"));
    check(&wide, &scope(&["10.0.0.1"], &["GET"], &[]), Some("hosts: [10.0.0.1]"));
    check(&wide, &scope(&["a.example.org"], &["DELETE"], &[]), Some("methods: [DELETE]"));
    check(&scope(&["a.b"], &["GET"], &[]), &scope(&["*.a.b"], &["GET"], &[]), Some("hosts: [\"*.a.b\"]"));
    let private = HttpScope { is_private: true, ..scope(&["a.b"], &["GET"], &[]) };
    check(&scope(&["a.b"], &["GET"], &[]), &private, Some("private: true"));
    check(&private, &private, None);
    let narrow = scope(&["a.b"], &["GET"], &["/v1/**", "/items/*"]);
    check(&narrow, &scope(&["a.b"], &["GET"], &["/v1/*/x", "/items/*"]), None);
    check(&narrow, &scope(&["a.b"], &["GET"], &["/v1*"]), Some("paths: [\"/v1*\"]"));
    check(&narrow, &scope(&["a.b"], &["GET"], &[]), Some("all paths"));
}

proptest! {
    /// Whatever is granted within a ceiling is nothing that the ceiling itself would not allow.
    #[test]
    fn a_grant_within_a_ceiling_allows_nothing_beyond_it(
        ceiling in "(\\*\\.)?[ab]\\.[ab](:80)?", granted in "(\\*\\.)?([ab]\\.)?[ab]\\.[ab](:80)?",
        over in "(/([ab]|\\*|\\*\\*)){1,3}", under in "(/([ab]|\\*|\\*\\*)){1,3}",
        to in "([ab]\\.){1,3}[ab]", path in "(/[ab]{0,2}){1,4}",
    ) {
        let (ceiling, granted) = (scope(&[&ceiling], &["GET"], &[&over]), scope(&[&granted], &["GET"], &[&under]));
        let may = |scope: &HttpScope| ask(std::slice::from_ref(scope), "GET", Scheme::Http, &to, 80, &path).is_ok();
        if ceiling.excess(&granted).is_none() && may(&granted) {
            prop_assert!(may(&ceiling), "{} within {}", granted, ceiling);
        }
    }
}
