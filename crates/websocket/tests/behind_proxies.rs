//! Handshake and Origin of a request whose facts come from a server in front: a packet of the uwsgi protocol, or a trusted
//! proxy's headers. What such a request says is the crate http's; here it is what a handshake makes of it.

use fairlead_http::{Address, PacketLimits, PacketReader, Request, TrustedProxies, Version};
use fairlead_websocket::{Handshake, OriginPolicy};

/// A request that comes as a packet with these variables beside its method.
fn by_packet(variables: &[(&str, &str)]) -> Request {
    let mut block = Vec::new();
    for text in [("REQUEST_METHOD", "GET")]
        .iter()
        .chain(variables)
        .flat_map(|(key, value)| [key, value])
    {
        block.extend_from_slice(&u16::try_from(text.len()).expect("a short text").to_le_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    let [low, high] = u16::try_from(block.len()).expect("a short block").to_le_bytes();
    let bytes = [&[0, low, high, 0], &block[..]].concat();
    let limits = PacketLimits {
        max_block: 4096,
        max_variables: 64,
    };
    let (packet, _) = PacketReader::new(limits)
        .receive(&bytes)
        .expect("a packet")
        .expect("a whole one");
    packet.request().expect("a request")
}

#[test]
fn a_handshake_comes_through_a_packet() {
    let request = by_packet(&[
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("HTTP_HOST", "example.org"),
        ("HTTP_UPGRADE", "websocket"),
        ("HTTP_CONNECTION", "keep-alive, Upgrade"),
        ("HTTP_SEC_WEBSOCKET_KEY", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("HTTP_SEC_WEBSOCKET_VERSION", "13"),
    ]);
    assert!(Handshake::validate(&request).is_ok());
}

#[test]
fn a_host_without_its_port_is_completed_for_the_origin_by_the_port_of_the_server_in_front() {
    let allows = |host: &str, origin: &str| {
        let request = by_packet(&[
            ("HTTP_HOST", host),
            ("SERVER_PORT", "8080"),
            ("HTTP_ORIGIN", origin),
        ]);
        OriginPolicy::SameOrigin.allows(&request)
    };
    assert!(allows("example.org", "http://example.org:8080"));
    assert!(allows("example.org", "http://example.org"));
    assert!(!allows("example.org", "http://example.org:8081"));
    assert!(!allows("example.org", "http://evil.example:8080"));
    assert!(!allows("example.org:81", "http://example.org:8080"));
}

#[test]
fn the_origin_is_held_against_the_host_and_scheme_that_a_trusted_proxy_names() {
    let mut request = [
        ("Host", "inside"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "chat.example"),
        ("Origin", "https://chat.example"),
    ]
    .iter()
    .fold(
        Request::builder(b"GET", b"/", Version::Http11)
            .peer(Address::Inet("10.0.0.1:4000".parse().expect("an address"))),
        |builder, (name, value)| builder.header(name.as_bytes(), value.as_bytes()),
    )
    .finish();
    assert!(!OriginPolicy::SameOrigin.allows(&request));
    let mut trusted = TrustedProxies::default();
    trusted.add("10.0.0.0/8").expect("a network");
    assert_eq!(request.apply_forwarded(&trusted), Ok(()));
    assert!(OriginPolicy::SameOrigin.allows(&request));
}
