//! What is trusted of a proxy's headers, case by case: who connected, what the headers say, and what the request is then.

use fairlead_http::{Address, ForwardedError, Request, Scheme, TrustedProxies, Version};
use proptest::prelude::*;

/// The proxies of the tables: the peer of every request, and the ones before it.
const TRUSTED: [&str; 2] = ["10.0.0.0/8", "2001:db8:aa::/48"];
const PROXY: &str = "10.0.0.1:4000";

fn trusted(entries: &[&str]) -> TrustedProxies {
    let mut all = TrustedProxies::default();
    for entry in entries {
        all.add(entry).expect(entry);
    }
    all
}

fn request(peer: &str, headers: &[(&str, &str)]) -> Request {
    let builder = Request::builder(b"GET", b"/", Version::Http11)
        .header(b"Host", b"inside")
        .peer(Address::Inet(peer.parse().expect(peer)))
        .local(Address::Inet("10.0.0.9:8080".parse().expect("an address")));
    headers
        .iter()
        .fold(builder, |builder, (name, value)| {
            builder.header(name.as_bytes(), value.as_bytes())
        })
        .finish()
}

/// Client, scheme, host and server port, in one line.
fn shown(request: &Request) -> String {
    let host = String::from_utf8_lossy(request.authority().unwrap_or_default()).into_owned();
    format!(
        "{} {} {host} {}",
        request.peer(),
        request.scheme().as_str(),
        request.server_port()
    )
}

fn applied(headers: &[(&str, &str)]) -> Result<String, ForwardedError> {
    let mut request = request(PROXY, headers);
    let outcome = request.apply_forwarded(&trusted(&TRUSTED));
    if outcome.is_err() {
        assert_eq!(
            shown(&request),
            format!("{PROXY} http inside 8080"),
            "{headers:?}"
        );
    }
    outcome.map(|()| shown(&request))
}

const FOR: &str = "X-Forwarded-For";
const PROTO: &str = "X-Forwarded-Proto";
const HOST: &str = "X-Forwarded-Host";
const PORT: &str = "X-Forwarded-Port";
const STANDARD: &str = "Forwarded";

#[test]
fn the_client_is_the_first_from_the_right_that_is_no_proxy() {
    let unchanged = format!("{PROXY} http inside 8080");
    for (headers, expected) in [
        (&[(FOR, "203.0.113.7")][..], "203.0.113.7 http inside 8080"),
        (&[(FOR, "203.0.113.7:4711")], "203.0.113.7:4711 http inside 8080"),
        (
            &[(FOR, "203.0.113.7, 10.2.2.2, 10.3.3.3")],
            "203.0.113.7 http inside 8080",
        ),
        (
            &[(FOR, "203.0.113.7"), (FOR, "10.2.2.2")],
            "203.0.113.7 http inside 8080",
        ),
        (
            &[(FOR, "2001:db8::7, 2001:db8:aa::1")],
            "2001:db8::7 http inside 8080",
        ),
        (&[(FOR, "[2001:db8::7]:80")], "[2001:db8::7]:80 http inside 8080"),
        (&[(FOR, "::ffff:203.0.113.7")], "203.0.113.7 http inside 8080"),
        (&[(FOR, "\"203.0.113.7\"")], "203.0.113.7 http inside 8080"),
        // Proxies all the way: the first of them is the client.
        (&[(FOR, "10.9.9.9, 10.2.2.2")], "10.9.9.9 http inside 8080"),
        // Forged: what the client wrote itself stands left of what the proxy saw.
        (&[(FOR, "127.0.0.1, 203.0.113.7")], "203.0.113.7 http inside 8080"),
        (
            &[(FOR, "10.0.0.1, 203.0.113.7, 10.2.2.2")],
            "203.0.113.7 http inside 8080",
        ),
        (&[(FOR, "rubbish\", 203.0.113.7")], "203.0.113.7 http inside 8080"),
        (
            &[(FOR, "127.0.0.1"), (FOR, "203.0.113.7")],
            "203.0.113.7 http inside 8080",
        ),
        (
            &[(STANDARD, "for=127.0.0.1, for=203.0.113.7")],
            "203.0.113.7 http inside 8080",
        ),
        (
            &[(STANDARD, "for=\"open, for=203.0.113.7")],
            "203.0.113.7 http inside 8080",
        ),
        (
            &[(STANDARD, "for=\"open\\\", for=203.0.113.7")],
            "203.0.113.7 http inside 8080",
        ),
        (
            &[(STANDARD, "for=\"open"), (STANDARD, "for=203.0.113.7")],
            "203.0.113.7 http inside 8080",
        ),
        (
            &[(STANDARD, "For=\"[2001:db8::7]:4711\"")],
            "[2001:db8::7]:4711 http inside 8080",
        ),
        (
            &[(STANDARD, "for=203.0.113.7, for=10.2.2.2")],
            "203.0.113.7 http inside 8080",
        ),
        // A port that is hidden is not known, and nothing else.
        (
            &[(STANDARD, "for=\"203.0.113.7:_x\";proto=https")],
            "203.0.113.7 https inside 8080",
        ),
        (
            &[(STANDARD, "for=\"[2001:db8::7]:_x\"")],
            "2001:db8::7 http inside 8080",
        ),
        (
            &[(STANDARD, "for=203.0.113.7, for=\"10.2.2.2:_x\"")],
            "203.0.113.7 http inside 8080",
        ),
        (&[(FOR, "203.0.113.7:_x")], "203.0.113.7 http inside 8080"),
        // Nothing said, nothing changed.
        (&[][..], unchanged.as_str()),
        (&[(FOR, "")], unchanged.as_str()),
        (&[(FOR, " , ,")], unchanged.as_str()),
        (&[(STANDARD, "")], unchanged.as_str()),
        (&[("X-Real-IP", "203.0.113.7")], unchanged.as_str()),
    ] {
        assert_eq!(applied(headers).as_deref(), Ok(expected), "{headers:?}");
    }
}

#[test]
fn scheme_host_and_port_are_those_of_the_clients_hop() {
    for (headers, expected) in [
        (&[(PROTO, "https")][..], "10.0.0.1:4000 https inside 8080"),
        (&[(FOR, "203.0.113.7"), (PROTO, "WSS")], "203.0.113.7 https inside 8080"),
        (&[(FOR, "203.0.113.7"), (PROTO, "ws")], "203.0.113.7 http inside 8080"),
        (
            &[(FOR, "203.0.113.7"), (PROTO, "https"), (HOST, "chat.example"), (PORT, "443")],
            "203.0.113.7 https chat.example 443",
        ),
        // One value for each hop: that of the client's.
        (&[(FOR, "203.0.113.7, 10.2.2.2"), (PROTO, "https, http")], "203.0.113.7 https inside 8080"),
        (&[(FOR, "127.0.0.1, 203.0.113.7"), (PROTO, "https, http")], "203.0.113.7 http inside 8080"),
        (&[(FOR, "unix:"), (PROTO, "https"), (HOST, "chat.example")], "unknown https chat.example 8080"),
        // Fewer or more: the last one, which the peer wrote.
        (&[(FOR, "203.0.113.7, 10.2.2.2"), (PROTO, "https")], "203.0.113.7 https inside 8080"),
        (&[(FOR, "203.0.113.7"), (PROTO, "https, http")], "203.0.113.7 http inside 8080"),
        (&[(FOR, "203.0.113.7"), (HOST, "evil.example, chat.example:81")], "203.0.113.7 http chat.example:81 8080"),
        (
            &[(STANDARD, "for=203.0.113.7;proto=https;host=chat.example;by=10.0.0.1")],
            "203.0.113.7 https chat.example 8080",
        ),
        (
            &[(STANDARD, "proto=http;for=6.6.6.6;host=evil, for=203.0.113.7 ; Proto=https; host=\"chat.example:8443\",for=10.2.2.2;proto=http")],
            "203.0.113.7 https chat.example:8443 8080",
        ),
        (&[(STANDARD, "for=203.0.113.7;secret=\"a,b;c\\\"d\"")], "203.0.113.7 http inside 8080"),
        (&[(STANDARD, ";for=203.0.113.7;;")], "203.0.113.7 http inside 8080"),
    ] {
        assert_eq!(applied(headers).as_deref(), Ok(expected), "{headers:?}");
    }
}

#[test]
fn a_hidden_client_stays_unknown() {
    for headers in [
        &[(STANDARD, "for=unknown")][..],
        &[(STANDARD, "for=_hidden")],
        &[(STANDARD, "for=\"_SEVKISEK:_port\"")],
        &[(STANDARD, "for=\"unknown:80\"")],
        &[(STANDARD, "for=203.0.113.7, for=_hidden, for=10.2.2.2")],
        &[(FOR, "203.0.113.7, unknown")],
        // nginx at a UNIX socket
        &[(FOR, "203.0.113.7, unix:")],
    ] {
        assert_eq!(
            applied(headers).as_deref(),
            Ok("unknown http inside 8080"),
            "{headers:?}"
        );
    }
}

#[test]
fn what_a_proxy_wrote_and_nobody_can_read_changes_nothing() {
    for (headers, kind) in [
        (&[(FOR, "rubbish")][..], FOR),
        (&[(FOR, "203.0.113.7, 1.2.3")], FOR),
        (&[(FOR, "203.0.113.7, 10.2.2.2:99999")], FOR),
        (&[(FOR, "fe80::1%eth0")], FOR),
        (&[(FOR, "\"203.0.113.7")], FOR),
        (&[(FOR, "203.0.113.7"), (PROTO, "gopher")], PROTO),
        (&[(FOR, "203.0.113.7"), (PORT, "0")], PORT),
        (&[(FOR, "203.0.113.7"), (PORT, "+80")], PORT),
        (&[(FOR, "203.0.113.7"), (PORT, "65536")], PORT),
        (&[(FOR, "203.0.113.7"), (HOST, "a/b")], HOST),
        (&[(FOR, "203.0.113.7"), (HOST, "user@host")], HOST),
        (&[(STANDARD, "203.0.113.7")], STANDARD),
        (&[(STANDARD, "for=")], STANDARD),
        (&[(STANDARD, "for=_")], STANDARD),
        (&[(STANDARD, "for=\"2001:db8::7:_x\"")], STANDARD),
        (&[(STANDARD, "for=\"203.0.113.7:80:_x\"")], STANDARD),
        (&[(STANDARD, "for=\"203.0.113.7:_\"")], STANDARD),
        (&[(STANDARD, "for=2001:db8::7;for=10.0.0.1")], STANDARD),
        (&[(STANDARD, "for=203.0.113.7;proto=http;proto=https")], STANDARD),
        (&[(STANDARD, "for=203.0.113.7;host=a;host=b")], STANDARD),
        (&[(STANDARD, "for=203.0.113.7;host=\"\"")], STANDARD),
        (&[(STANDARD, "for=203.0.113.7;proto=")], STANDARD),
        (&[(STANDARD, "for=203.0.113.7;by=\"a\"b")], STANDARD),
        (&[(STANDARD, "for=203.0.113.7;by=a\"b")], STANDARD),
        (&[(STANDARD, "for=\"203.0.113.7\\")], STANDARD),
    ] {
        assert_eq!(
            applied(headers),
            Err(ForwardedError::Unreadable(kind)),
            "{headers:?}"
        );
    }
}

#[test]
fn both_kinds_have_to_say_the_same() {
    for headers in [
        &[
            (STANDARD, "for=203.0.113.7;proto=https"),
            (FOR, "203.0.113.7"),
            (PROTO, "https"),
        ][..],
        &[
            (STANDARD, "for=\"203.0.113.7:99\";proto=https"),
            (FOR, "203.0.113.7"),
            (PROTO, "https"),
        ],
    ] {
        let seen = applied(headers).expect("they agree");
        assert!(
            seen.starts_with("203.0.113.7") && seen.ends_with(" https inside 8080"),
            "{seen}"
        );
    }
    for headers in [
        &[(STANDARD, "for=6.6.6.6"), (FOR, "203.0.113.7")][..],
        &[
            (STANDARD, "for=203.0.113.7;proto=https"),
            (FOR, "203.0.113.7"),
            (PROTO, "http"),
        ],
        // Said in one kind only: the client may know its own address and add the rest.
        &[(STANDARD, "for=203.0.113.7;host=evil"), (FOR, "203.0.113.7")],
        &[
            (STANDARD, "for=203.0.113.7"),
            (FOR, "203.0.113.7"),
            (HOST, "evil"),
        ],
        &[(STANDARD, "for=203.0.113.7;proto=https"), (FOR, "203.0.113.7")],
        &[(STANDARD, "for=203.0.113.7"), (PROTO, "https")],
        &[(STANDARD, "for=_hidden"), (FOR, "203.0.113.7")],
    ] {
        assert_eq!(
            applied(headers),
            Err(ForwardedError::Contradiction),
            "{headers:?}"
        );
    }
}

#[test]
fn a_peer_that_is_not_trusted_changes_nothing() {
    let headers = [
        (FOR, "203.0.113.7"),
        (PROTO, "https"),
        (HOST, "evil.example"),
        (STANDARD, "for=6.6.6.6"),
    ];
    for (peer, entries) in [
        ("192.0.2.66:5", &["10.0.0.0/8"][..]),
        ("10.0.0.1:5", &[]),
        ("10.0.0.1:5", &["unix"]),
    ] {
        let mut request = request(peer, &headers);
        assert_eq!(request.apply_forwarded(&trusted(entries)), Ok(()));
        assert_eq!(shown(&request), format!("{peer} http inside 8080"));
        assert_eq!(
            request.header(FOR),
            Some(&b"203.0.113.7"[..]),
            "the application still sees it"
        );
    }
}

#[test]
fn everybody_s_word_can_be_taken() {
    let mut one = request("192.0.2.66:5", &[(FOR, "203.0.113.7, 198.51.100.1")]);
    assert_eq!(one.apply_forwarded(&trusted(&["*"])), Ok(()));
    assert_eq!(shown(&one), "203.0.113.7 http inside 8080");
    let mut unix = Request::builder(b"GET", b"/", Version::Http11)
        .header(FOR.as_bytes(), b"203.0.113.7")
        .header(PROTO.as_bytes(), b"https")
        .peer(Address::Unix(String::new()))
        .local(Address::Unix("/run/x".into()))
        .finish();
    assert_eq!(unix.apply_forwarded(&trusted(&["unix"])), Ok(()));
    assert_eq!(shown(&unix), "203.0.113.7 https  443");
}

#[test]
fn the_variables_follow() {
    let mut request = request(
        PROXY,
        &[(FOR, "203.0.113.7"), (PROTO, "https"), (HOST, "chat.example")],
    );
    assert_eq!(request.apply_forwarded(&trusted(&TRUSTED)), Ok(()));
    assert_eq!(request.scheme(), Scheme::Https);
    let mut found = Vec::new();
    request.for_each_cgi_variable(|name, value| {
        if ["REMOTE_ADDR", "REMOTE_PORT", "HTTP_HOST", "HTTP_X_FORWARDED_FOR"].contains(&name) {
            found.push(format!("{name}={}", String::from_utf8_lossy(value)));
        }
    });
    assert_eq!(
        found,
        [
            "REMOTE_ADDR=203.0.113.7",
            "HTTP_HOST=chat.example",
            "HTTP_X_FORWARDED_FOR=203.0.113.7"
        ]
    );
}

proptest! {
    /// Whatever a client writes into the list that its proxy adds to.
    #[test]
    fn nothing_left_of_the_client_counts(forged in "[ -~]{0,60}", is_own_line: bool) {
        for (name, seen) in [(FOR, "203.0.113.7"), (STANDARD, "for=203.0.113.7")] {
            let joined = format!("{forged}, {seen}");
            let headers = if is_own_line {
                vec![(name, forged.as_str()), (name, seen)]
            } else {
                vec![(name, joined.as_str())]
            };
            prop_assert_eq!(applied(&headers), Ok("203.0.113.7 http inside 8080".into()));
        }
    }

    #[test]
    fn no_header_makes_anything_panic(standard in "\\PC{0,40}", list in "[0-9a-f.:,\\[\\]\"_ ]{0,40}", proto in "[a-z,]{0,8}") {
        let _ = applied(&[(STANDARD, &standard)]);
        let _ = applied(&[(FOR, &list), (PROTO, &proto)]);
    }
}
