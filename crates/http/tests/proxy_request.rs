//! What a server behind gets of a request, by the property that the fuzz target checks (`fuzz/src/proxy_request.rs`), over its
//! committed seeds and over heads made at random.

#[allow(
    unreachable_pub,
    reason = "public in the fuzz crate, to which the file belongs"
)]
#[path = "../../../fuzz/src/proxy_request.rs"]
mod property;
#[path = "../../../fuzz/replay.rs"]
mod seeds;

use fairlead_http::{speaks_of_client, Address, Request, Version};
use proptest::prelude::*;

#[test]
fn the_seeds_pass() {
    seeds::replay("proxy_request", property::run);
}

#[test]
fn a_header_speaks_of_a_client_however_its_name_is_written() {
    for name in [
        "Forwarded",
        "X-Forwarded-For",
        "x-forwarded",
        "X-Forwarded-Client-Cert",
        "X_FORWARDED_HOST",
        "x.forwarded-proto",
        "X-Real_IP",
        "proxy",
    ] {
        assert!(speaks_of_client(name.as_bytes()), "{name}");
    }
    for name in [
        "Forward",
        "X-Forward",
        "Proxy-Authorization",
        "Host",
        "X-Request-ID",
        "",
    ] {
        assert!(!speaks_of_client(name.as_bytes()), "{name}");
    }
}

fn headers(request: &Request, as_they_came: bool) -> Vec<(String, String)> {
    let headers = request.proxy_headers(as_they_came).into_iter();
    headers
        .map(|(name, value)| (name, String::from_utf8(value).expect("text")))
        .collect()
}

#[test]
fn a_client_without_an_address_is_said_to_be_unknown() {
    for peer in [Address::Unix(String::new()), Address::Unknown] {
        let request = Request::builder(b"GET", b"/", Version::Http10)
            .peer(peer)
            .finish();
        let told = headers(&request, false);
        let expected = [("x-forwarded-for", "unknown"), ("x-forwarded-proto", "http")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(told, expected);
    }
}

#[test]
fn what_a_rule_sets_takes_the_place_of_all_that_was_there() {
    let mut request = Request::builder(b"GET", b"/", Version::Http11)
        .header(b"Host", b"inside")
        .header(b"X-Mine", b"1")
        .header(b"X-Mine", b"2")
        .header(b"Cookie", b"a=b")
        .finish();
    for (name, value) in [
        ("HTTP_X_MINE", "rule"),
        ("HTTP_COOKIE", ""),
        ("HTTP_X_FORWARDED_FOR", "192.0.2.1"),
        ("HTTP_TRANSFER_ENCODING", "chunked"),
        ("HTTP_HOST", "other"),
        ("MINE", "no header"),
    ] {
        request.set_variable(name, value.as_bytes());
    }
    let found = headers(&request, false);
    let found: Vec<_> = found
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "other"),
            ("x-mine", "rule"),
            ("x-forwarded-for", "192.0.2.1"),
        ]
    );
    assert_eq!(request.proxy_host(), Some(&b"other"[..]));
}

#[test]
fn what_concerns_one_connection_stays_behind() {
    let request = Request::builder(b"GET", b"/", Version::Http11)
        .header(b"Connection", b"keep-alive, X-Own")
        .header(b"Keep-Alive", b"5")
        .header(b"X-Own", b"1")
        .header(b"TE", b"trailers")
        .header(b"Transfer-Encoding", b"chunked")
        .header(b"Accept", b"*/*")
        .finish();
    let names = |as_they_came| -> Vec<String> {
        let all = headers(&request, as_they_came).into_iter();
        all.map(|(name, _)| name)
            .filter(|name| !speaks_of_client(name.as_bytes()))
            .collect()
    };
    assert_eq!(names(false), ["accept"]);
    assert_eq!(names(true), ["keep-alive", "x-own", "te", "accept"]);
}

proptest! {
    #[test]
    fn no_head_of_a_client_is_taken_for_our_word(
        is_proxied: bool,
        lines in proptest::collection::vec(
            (
                "x-forwarded-(for|host|proto|port)|forwarded|(x[-_.])?(forwarded|real|client|original)([-_.](for|host|proto|port|ip|url))?|via|proxy|host|connection",
                "[ -~]{0,30}|6.6.6.6|for=6.6.6.6;host=evil|evil.example|https",
            ),
            0..8,
        ),
    ) {
        let head: Vec<String> = lines.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        property::run(&[&[u8::from(is_proxied)], head.join("\n").as_bytes()].concat());
    }

    #[test]
    fn nothing_makes_it_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        property::run(&data);
    }
}
