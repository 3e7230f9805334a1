//! The property of what a server behind is told of a client: it never comes from the client.
//!
//! A request with any headers at all comes from a stranger, or from a trusted proxy that has added what it saw of the
//! stranger. What goes on to the server behind, by HTTP and by the uwsgi protocol, is read there by a server that trusts
//! us, in both ways in which a list may be read: client, scheme, host and port are those that we know, and no header that
//! tells of a client is there which we have not set.
//!
//! Input of a fuzzer: a byte that chooses who sends, then the lines of a head (`name: value`).

use fairlead_http::{is_host, Address, PacketLimits, PacketReader, Request, Scheme, TrustedProxies, Version};

const STRANGER: &str = "203.0.113.7";
const OURS: &str = "10.0.0.9:8443";
const HOST: &[u8] = b"chat.example";

/// Checks the property for the input of a fuzzer.
pub fn run(data: &[u8]) {
    let Some((choice, lines)) = data.split_first() else {
        return;
    };
    let lines: Vec<(&[u8], &[u8])> = lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            (is_name(name) && is_value(value)).then_some((name, value))
        })
        .collect();
    let is_proxied = choice & 1 == 1;
    let request = received(&lines, is_proxied);
    assert_eq!(ip(request.peer()).as_deref(), Some(STRANGER));
    let scheme = request.scheme();
    let as_they_came = request.proxy_headers(true);
    if !is_proxied {
        let told = as_they_came.iter().filter(|(name, _)| speaks(name));
        assert_eq!(told.count(), 0, "{as_they_came:?}");
    }
    check(&behind_http(&request), scheme, "http");
    // A body without a length is not what this is about.
    if let Ok(packet) = request.proxy_packet(0, 0, None) {
        check(&behind_uwsgi(&packet), scheme, "uwsgi");
    }
}

/// What the front makes of the client's lines.
fn received(lines: &[(&[u8], &[u8])], is_proxied: bool) -> Request {
    let peer = if is_proxied {
        "10.0.0.1:4000"
    } else {
        "203.0.113.7:4711"
    };
    let mut head = Request::builder(b"GET", b"/", Version::Http11)
        .peer(address(peer))
        .local(address(OURS));
    for (name, value) in lines {
        if !name.eq_ignore_ascii_case(b"host") {
            head = head.header(name, value);
        }
    }
    head = head.header(b"Host", HOST);
    if is_proxied {
        // What a careful proxy does: it sets or deletes each header that it is trusted in.
        let mut careful = Request::builder(b"GET", b"/", Version::Http11)
            .peer(address(peer))
            .local(address(OURS));
        let request = head.finish();
        let mut list: Vec<u8> = request
            .values("x-forwarded-for")
            .collect::<Vec<_>>()
            .join(&b", "[..]);
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(STRANGER.as_bytes());
        for (name, value) in request.headers() {
            if name != b"forwarded" && !name.starts_with(b"x-forwarded") {
                careful = careful.header(name, value);
            }
        }
        head = careful
            .header(b"X-Forwarded-For", &list)
            .header(b"X-Forwarded-Proto", b"https")
            .header(b"X-Forwarded-Port", b"8443");
    }
    let mut request = head.finish();
    let told = request.apply_forwarded(&trusting("10.0.0.1"));
    assert_eq!(told, Ok(()), "what stands left of the stranger is not looked at");
    request
}

/// Whether somebody may take a header for a proxy's word: a second opinion, of CGI's names for what is best known.
fn speaks(name: &str) -> bool {
    let name = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    let name = name.to_ascii_uppercase();
    let known = [
        "FORWARDED",
        "X_REAL_IP",
        "X_CLIENT_IP",
        "TRUE_CLIENT_IP",
        "CF_CONNECTING_IP",
        "X_ORIGINAL_URL",
        "X_REWRITE_URL",
        "PROXY",
    ];
    name.starts_with("X_FORWARDED") || known.contains(&name.as_str())
}

/// The request as a server behind reads it from HTTP.
fn behind_http(request: &Request) -> Request {
    let headers = request.proxy_headers(false);
    for (name, value) in &headers {
        assert!(is_name(name.as_bytes()) && is_value(value), "{name}");
        assert!(!name.contains('_'), "{name}");
    }
    let told = headers.iter().filter(|(name, _)| speaks(name));
    let told: Vec<_> = told.map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        told,
        [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port"
        ]
    );
    let mut head = Request::builder(b"GET", b"/", Version::Http11)
        .header(b"Host", request.proxy_host().unwrap_or_default());
    for (name, value) in &headers {
        head = head.header(name.as_bytes(), value);
    }
    head.peer(address("10.0.0.9:5000"))
        .local(address("10.0.0.7:80"))
        .finish()
}

/// The request as a server behind reads it from a packet.
fn behind_uwsgi(packet: &[u8]) -> Request {
    let limits = PacketLimits {
        max_block: 65_535,
        max_variables: 65_535,
    };
    let mut reader = PacketReader::new(limits);
    let (packet, _) = reader.receive(packet).expect("a packet").expect("all of it");
    let mut told: Vec<String> = packet
        .variables()
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .filter(|name| {
            let header = name.strip_prefix("HTTP_");
            header.is_some_and(speaks)
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "HTTP_X_FORWARDED_FOR",
            "HTTP_X_FORWARDED_HOST",
            "HTTP_X_FORWARDED_PORT",
            "HTTP_X_FORWARDED_PROTO"
        ]
    );
    packet.request().expect("a request")
}

/// What a server behind is sure of, whether it reads the client from the right of a list, from its left, or not at all.
fn check(behind: &Request, scheme: Scheme, kind: &str) {
    for trusted in ["10.0.0.9", "*"] {
        let mut read = behind.clone();
        assert_eq!(read.apply_forwarded(&trusting(trusted)), Ok(()), "{kind}");
        assert_eq!(
            ip(read.peer()).as_deref(),
            Some(STRANGER),
            "{kind}, {trusted} is trusted"
        );
        assert_eq!(read.scheme(), scheme, "{kind}");
        assert_eq!(read.authority(), Some(HOST), "{kind}");
        assert_eq!(read.given_port().unwrap_or(read.server_port()), 8443, "{kind}");
        let names = ["SERVER_NAME", "HTTP_HOST", "REMOTE_ADDR", "HTTPS"];
        read.for_each_cgi_variable(|name, value| {
            if names.contains(&name) {
                let expected: &[u8] = match name {
                    "REMOTE_ADDR" => STRANGER.as_bytes(),
                    "HTTPS" => b"on",
                    _ => HOST,
                };
                assert_eq!(value, expected, "{kind}: {name}");
            }
            assert_ne!(name, "HTTP_PROXY");
        });
    }
    assert!(behind.authority().is_some_and(is_host));
}

fn trusting(who: &str) -> TrustedProxies {
    let mut trusted = TrustedProxies::default();
    trusted.add(who).expect("an address");
    trusted
}

fn address(text: &str) -> Address {
    Address::Inet(text.parse().expect("an address"))
}

fn ip(address: &Address) -> Option<String> {
    match address {
        Address::Inet(address) => Some(address.ip().to_string()),
        Address::Unix(_) | Address::Unknown => None,
    }
}

/// What hyper lets through as a name (RFC 9110 §5.6.2) and as a value (§5.5).
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f)
}
