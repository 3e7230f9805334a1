//! The property of a handshake: what is accepted kept the rules, judged by a second and simpler reader; what is
//! answered, with whatever the client sent, cannot break out of its lines; and no head makes anything panic.
//!
//! Input of a fuzzer: a request head with lines that end in `\n` or `\r\n`, no need to be valid.

use std::collections::HashSet;

use fairlead_http::{Request, Scheme, Version};
use fairlead_websocket::{Handshake, OriginPolicy};

/// Checks the property for the input of a fuzzer.
pub fn run(data: &[u8]) {
    let mut lines = data
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().splitn(3, |byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let version = match words.next() {
        Some(b"HTTP/1.0") => Version::Http10,
        Some(b"HTTP/2") => Version::Http2,
        _ => Version::Http11,
    };
    let mut builder = Request::builder(method, target, version).scheme(match data.len() % 2 {
        0 => Scheme::Http,
        _ => Scheme::Https,
    });
    let mut sent = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        builder = builder.header(name, value);
        sent.push((name.to_ascii_lowercase(), value.to_vec()));
    }
    let request = builder.finish();
    check_request(&request, target, &sent);
    check_origin(&request);
    check_handshake(&request);
}

fn check_request(request: &Request, target: &[u8], sent: &[(Vec<u8>, Vec<u8>)]) {
    // Of a target in absolute form the end is left, and a slash where it had no path (RFC 9112 §3.2.2).
    match request.target().strip_prefix(b"/") {
        Some(rest) if request.target() != target => {
            assert!(target.ends_with(rest) && request.authority().is_some())
        }
        _ => assert_eq!(request.target(), target),
    }
    assert_eq!(request.headers().count(), sent.len());
    for ((name, value), (sent_name, sent_value)) in request.headers().zip(sent) {
        assert_eq!(name, sent_name);
        assert!(sent_value.len() >= value.len());
    }
    let mut names = HashSet::new();
    request.for_each_cgi_variable(|name, _| {
        assert!(names.insert(name.to_owned()), "{name} came twice");
        assert!(name != "HTTP_PROXY");
    });
    for always in [
        "REQUEST_METHOD",
        "REQUEST_URI",
        "PATH_INFO",
        "QUERY_STRING",
        "SERVER_PROTOCOL",
        "SCRIPT_NAME",
    ] {
        assert!(names.contains(always));
    }
}

fn check_origin(request: &Request) {
    assert!(OriginPolicy::Any.allows(request));
    let same = OriginPolicy::SameOrigin.allows(request);
    let listed = OriginPolicy::Allow(vec!["*.example.org".into()]).allows(request);
    assert!(!same || listed, "a list only adds");
    if request.header("origin").is_none() {
        assert!(same);
    }
}

fn check_handshake(request: &Request) {
    match Handshake::validate(request) {
        Ok(handshake) => {
            assert!(Handshake::is_requested(request));
            assert!(!request.has_body());
            assert_eq!(
                (request.method(), request.version()),
                (&b"GET"[..], Version::Http11)
            );
            assert_eq!(request.header("sec-websocket-version"), Some(&b"13"[..]));
            let key = request.header("sec-websocket-key").expect("a key");
            assert!(key.len() == 24 && key.ends_with(b"=="));
            let chosen = handshake.subprotocols().first().map(String::as_str);
            let (head, negotiated) = handshake
                .response(chosen, &[])
                .expect("what was offered can be chosen");
            assert_eq!(
                (head.status, head.headers.len()),
                (101, 3 + usize::from(chosen.is_some()))
            );
            assert_eq!(negotiated.subprotocol.as_deref(), chosen);
            for (name, value) in head.headers {
                assert!(!name.contains(['\r', '\n', ':']) && !value.iter().any(|byte| *byte < b' '));
            }
        }
        Err(error) => {
            assert!((400..=505).contains(&error.status()));
            assert!(!error.to_string().contains(['\r', '\n']), "a log line stays one");
            assert!(!error.code().is_empty());
        }
    }
}
