//! Packets of the uwsgi protocol: what is read of them at every cut, what is refused, and the request they make.

#[allow(
    unreachable_pub,
    reason = "public in the fuzz crate, to which the file belongs"
)]
#[path = "../../../fuzz/src/uwsgi_packet.rs"]
mod property;
#[path = "../../../fuzz/replay.rs"]
mod seeds;

use fairlead_http::{
    Address, Packet, PacketError, PacketLimits, PacketReader, PacketRequestError, Request, Scheme, Version,
};
use proptest::prelude::*;

const LIMITS: PacketLimits = PacketLimits {
    max_block: 4096,
    max_variables: 64,
};

type Pair<'a> = (&'a [u8], &'a [u8]);

fn block(variables: &[Pair<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in variables.iter().flat_map(|(key, value)| [key, value]) {
        block.extend_from_slice(&u16::try_from(text.len()).expect("a short text").to_le_bytes());
        block.extend_from_slice(text);
    }
    block
}

fn framed(modifier1: u8, modifier2: u8, block: &[u8]) -> Vec<u8> {
    let [low, high] = u16::try_from(block.len()).expect("a short block").to_le_bytes();
    [&[modifier1, low, high, modifier2], block].concat()
}

fn bytes(variables: &[Pair<'_>]) -> Vec<u8> {
    framed(0, 0, &block(variables))
}

fn read(bytes: &[u8]) -> Result<Option<(Packet, usize)>, PacketError> {
    PacketReader::new(LIMITS).receive(bytes)
}

fn packet(bytes: &[u8]) -> Packet {
    read(bytes).expect("a packet").expect("a whole one").0
}

fn error(bytes: &[u8]) -> PacketError {
    read(bytes).expect_err("a broken packet")
}

fn request(variables: &[Pair<'_>]) -> Request {
    packet(&bytes(variables)).request().expect("a request")
}

/// A request with the least that it needs, and these.
fn get(more: &[Pair<'_>]) -> Request {
    request(&[&[(&b"REQUEST_METHOD"[..], &b"GET"[..])], more].concat())
}

fn variables(request: &Request) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    request.for_each_cgi_variable(|name, value| all.push((name.to_owned(), value.to_vec())));
    all
}

fn variable(request: &Request, wanted: &str) -> Option<Vec<u8>> {
    let all = variables(request);
    all.into_iter()
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value)
}

#[test]
fn a_packet_is_the_same_at_every_cut_and_takes_no_byte_behind_it() {
    let whole = bytes(&[(b"A", b"1"), (b"B", b""), (b"A", b"2")]);
    let stream = [&whole[..], b"\x81\x80frames"].concat();
    for cut in 0..=stream.len() {
        let mut reader = PacketReader::new(LIMITS);
        let (left, right) = stream.split_at(cut);
        let (packet, taken) = match reader.receive(left).expect("no error") {
            Some((packet, taken)) => (packet, taken),
            None => {
                assert_eq!(reader.received(), cut);
                let (packet, taken) = reader.receive(right).expect("no error").expect("the packet");
                (packet, cut + taken)
            }
        };
        assert_eq!(taken, whole.len(), "cut at {cut}");
        let found: Vec<_> = packet.variables().collect();
        assert_eq!(found, [(&b"A"[..], &b"1"[..]), (b"B", b""), (b"A", b"2")]);
    }
}

#[test]
fn a_block_beyond_the_limit_is_refused_before_its_bytes_arrive() {
    assert_eq!(
        error(&[0, 0x01, 0x10, 0]),
        PacketError::BlockTooLarge {
            size: 4097,
            max: 4096
        }
    );
    assert_eq!(
        error(&[0, 0xff, 0xff, 0]).to_string(),
        "invalid request block size: 65535 (max 4096)...skip"
    );
    assert!(read(&[0, 0x00, 0x10, 0]).expect("no error").is_none());
}

#[test]
fn an_announced_size_reserves_nothing_before_its_bytes_arrive() {
    let mut reader = PacketReader::new(PacketLimits {
        max_block: 65_535,
        ..LIMITS
    });
    assert!(reader
        .receive(&[0, 0xff, 0xff, 0, 1])
        .expect("no error")
        .is_none());
    assert_eq!(reader.received(), 5);
}

#[test]
fn one_variable_too_many_is_refused() {
    let most = vec![(&b"K"[..], &b""[..]); 64];
    assert_eq!(packet(&bytes(&most)).variables().count(), 64);
    let found = error(&bytes(&[&most[..], &[(b"K", b"")]].concat()));
    assert_eq!(found, PacketError::TooManyVariables { max: 64 });
    assert!(found
        .to_string()
        .starts_with("max vec size reached. skip this var."));
}

#[test]
fn lengths_that_do_not_fit_the_block_are_refused_with_their_place_and_value() {
    let fine = block(&[(b"A", b"1")]);
    let behind = |bytes: &[u8]| error(&framed(0, 0, &[&fine[..], bytes].concat())).to_string();
    for (bytes, wanted) in [
        (&b"\0"[..], "inside the length of the key of variable number 2"),
        (
            b"\x01\0B\0",
            "inside the length of the value of variable number 2",
        ),
        (
            b"\xff\xffB",
            "the key of the packet's variable number 2 is said to have 65535 bytes, and the block has 1 left",
        ),
        (
            b"\x01\0B\x03\0xy",
            "the value of the packet's variable number 2 is said to have 3 bytes, and the block has 2 left",
        ),
        (b"\0\0\x01\0x", "variable number 2 has a key of length 0"),
    ] {
        let found = behind(bytes);
        assert!(found.contains(wanted), "{found}");
    }
}

#[test]
fn what_is_no_packet_at_all_is_named() {
    for (bytes, wanted) in [
        (&b"GET / HTTP/1.1\r\n"[..], "an HTTP request"),
        (b"POST /", "an HTTP request"),
        (b"PRI * HTTP/2.0", "an HTTP/2 connection"),
        (b"\x16\x03\x01\x02\x00", "a TLS handshake"),
    ] {
        assert_eq!(error(bytes), PacketError::OtherProtocol(wanted));
        assert!(read(&bytes[..3]).expect("not known yet").is_none());
    }
}

#[test]
fn pings_and_wsgi_requests_are_told_from_the_others() {
    let of = |modifier1, modifier2| {
        let packet = packet(&framed(modifier1, modifier2, b""));
        (packet.is_ping(), packet.is_wsgi())
    };
    assert_eq!(of(100, 0), (true, false));
    assert_eq!(of(100, 1), (false, false), "an answer is not answered");
    assert_eq!(of(0, 0), (false, true));
    assert_eq!(of(30, 0), (false, true));
    for other in [5, 7, 17, 72, 110, 111, 173, 200, 224, 255] {
        assert_eq!(of(other, 0), (false, false), "{other}");
    }
}

#[test]
fn the_variables_are_given_as_they_were_sent_and_the_last_of_a_name_counts() {
    let request = request(&[
        (b"REQUEST_METHOD", b"GET"),
        (b"PATH_INFO", b"/a b\r\n"),
        (b"HTTP_X", b"first"),
        (b"N\xe4me", b"\xff\0"),
        (b"HTTP_X", b"last"),
        (b"my.variable", b""),
    ]);
    let wanted: Vec<(String, Vec<u8>)> = [
        ("REQUEST_METHOD", &b"GET"[..]),
        ("PATH_INFO", b"/a b\r\n"),
        ("Näme", b"\xff\0"),
        ("HTTP_X", b"last"),
        ("my.variable", b""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_vec()))
    .into();
    assert_eq!(variables(&request), wanted);
    assert_eq!(request.values("x").collect::<Vec<_>>(), [b"last"]);
    assert!(request.is_given());
}

#[test]
fn http_variables_are_headers_where_they_can_be() {
    let request = get(&[
        (b"HTTP_SEC_WEBSOCKET_KEY", b"k"),
        (b"HTTP_HOST", b"example.org"),
        (b"HTTP_", b"no name"),
        (b"HTTP_A B", b"no token"),
        (b"HTTP_A:B", b"no token"),
        (b"HTTP_LINES", b"a\r\nb: c"),
        (b"HTTP_PROXY", b"http://evil"),
        (b"HTTP_TRANSFER_ENCODING", b"chunked"),
        (b"HTTP_CONTENT_LENGTH", b"7"),
        (b"CONTENT_LENGTH", b""),
        (b"CONTENT_TYPE", b"a/b"),
    ]);
    let headers: Vec<_> = request.headers().collect();
    assert_eq!(
        headers,
        [
            (&b"sec-websocket-key"[..], &b"k"[..]),
            (b"host", b"example.org"),
            (b"content-type", b"a/b")
        ]
    );
    assert!(!request.has_body());
    assert_eq!(variable(&request, "HTTP_PROXY"), None);
    assert_eq!(
        variable(&request, "HTTP_LINES").as_deref(),
        Some(&b"a\r\nb: c"[..])
    );
    assert_eq!(
        variable(&request, "HTTP_TRANSFER_ENCODING").as_deref(),
        Some(&b"chunked"[..])
    );
}

/// Header names have no case: a body's framing must not depend on how the sender spells its keys. Found by the fuzzer.
#[test]
fn no_spelling_of_a_name_makes_a_header_of_the_clients_framing() {
    let request = get(&[
        (b"HTTP_TRAnSFER_ENCODING", b"chunked"),
        (b"HTTP_TRANSFER-ENCODING", b"chunked"),
        (b"HTTP_Content_Length", b"7"),
        (b"HTTP_content-type", b"a/b"),
        (b"HTTP_Proxy", b"http://evil"),
        (b"HTTP_X_Kept", b"1"),
    ]);
    assert_eq!(
        request.headers().collect::<Vec<_>>(),
        [(&b"x-kept"[..], &b"1"[..])]
    );
    assert!(!request.has_body());
    assert_eq!(
        variable(&request, "HTTP_TRAnSFER_ENCODING").as_deref(),
        Some(&b"chunked"[..])
    );
}

#[test]
fn script_name_is_taken_off_the_path_for_modifier_30_only() {
    let of = |modifier1, path: &[u8], script: &[u8]| {
        let block = block(&[
            (b"REQUEST_METHOD", b"GET"),
            (b"PATH_INFO", path),
            (b"SCRIPT_NAME", script),
        ]);
        let request = packet(&framed(modifier1, 0, &block))
            .request()
            .expect("a request");
        variable(&request, "PATH_INFO").expect("a path")
    };
    assert_eq!(of(30, b"/app/x", b"/app"), b"/x");
    assert_eq!(of(30, b"/app", b"/app"), b"");
    assert_eq!(of(30, b"/other", b"/app"), b"/other");
    assert_eq!(of(0, b"/app/x", b"/app"), b"/app/x");
}

#[test]
fn the_client_is_whom_the_sender_names() {
    let of = |address: &[u8], port: &[u8]| {
        get(&[(b"REMOTE_ADDR", address), (b"REMOTE_PORT", port)])
            .peer()
            .to_string()
    };
    assert_eq!(of(b"192.0.2.7", b"4711"), "192.0.2.7:4711");
    assert_eq!(of(b"2001:db8::1", b"1"), "[2001:db8::1]:1");
    assert_eq!(of(b"192.0.2.7", b"x"), "192.0.2.7");
    assert_eq!(of(b"unix:", b""), "unix:");
    assert_eq!(of(b"nonsense", b"1"), "unknown");
    assert_eq!(get(&[]).peer(), &Address::Unknown);
}

#[test]
fn the_scheme_is_what_the_sender_says_and_never_a_header() {
    for (variables, wanted) in [
        (&[][..], Scheme::Http),
        (&[(&b"HTTPS"[..], &b"on"[..])][..], Scheme::Https),
        (&[(b"HTTPS", b"1")], Scheme::Https),
        (&[(b"HTTPS", b""), (b"REQUEST_SCHEME", b"https")], Scheme::Https),
        (&[(b"HTTPS", b"off"), (b"REQUEST_SCHEME", b"https")], Scheme::Http),
        (&[(b"UWSGI_SCHEME", b"http"), (b"HTTPS", b"on")], Scheme::Http),
        (&[(b"UWSGI_SCHEME", b"https")], Scheme::Https),
        (&[(b"HTTP_X_FORWARDED_PROTO", b"https")], Scheme::Http),
        (&[(b"HTTP_X_FORWARDED_SSL", b"on")], Scheme::Http),
    ] {
        assert_eq!(get(variables).scheme(), wanted, "{variables:?}");
    }
}

#[test]
fn the_version_is_that_of_the_answer() {
    for (protocol, wanted) in [
        (&b"HTTP/1.0"[..], Version::Http10),
        (b"HTTP/0.9", Version::Http10),
        (b"", Version::Http10),
        (b"HTTP/1.1", Version::Http11),
        (b"HTTP/2.0", Version::Http11),
    ] {
        assert_eq!(get(&[(b"SERVER_PROTOCOL", protocol)]).version(), wanted);
    }
    assert_eq!(get(&[]).version(), Version::Http10);
}

#[test]
fn a_length_is_digits_or_nothing() {
    assert_eq!(get(&[(b"CONTENT_LENGTH", b"0012")]).content_length(), Some(12));
    assert_eq!(get(&[(b"CONTENT_LENGTH", b"")]).content_length(), None);
    for bad in [
        &b"-1"[..],
        b"+1",
        b" 1",
        b"1 ",
        b"0x1",
        b"1,1",
        b"9999999999999999999",
    ] {
        let found = packet(&bytes(&[(b"REQUEST_METHOD", b"GET"), (b"CONTENT_LENGTH", bad)]))
            .request()
            .expect_err("no length");
        assert!(matches!(found, PacketRequestError::Length(_)), "{found}");
    }
}

#[test]
fn a_request_has_a_method_and_nothing_that_breaks_a_log_line() {
    let of = |variables: &[Pair<'_>]| {
        let found = packet(&bytes(variables)).request().expect_err("no request");
        found.to_string()
    };
    assert!(of(&[(b"PATH_INFO", b"/")]).starts_with("the packet has no REQUEST_METHOD"));
    for bad in [&b""[..], b"GET /", b"A\r\nB"] {
        assert!(of(&[(b"REQUEST_METHOD", bad)]).contains("is no method"));
    }
    for name in [&b"REQUEST_URI"[..], b"REMOTE_ADDR", b"SERVER_PROTOCOL"] {
        let found = of(&[(b"REQUEST_METHOD", b"GET"), (name, b"a\nb")]);
        assert!(found.ends_with("\"a\\nb\" has a control byte"), "{found}");
    }
    assert_eq!(
        get(&[(b"PATH_INFO", b"/a\nb")]).target(),
        b"",
        "a decoded path may have one"
    );
}

/// Streams that are nearly packets: a fuzzer finds them by itself, a thousand random ones do not.
fn nearly_a_packet() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just(b"REQUEST_METHOD".to_vec()),
        Just(b"PATH_INFO".to_vec()),
        Just(b"SCRIPT_NAME".to_vec()),
        Just(b"CONTENT_LENGTH".to_vec()),
        Just(b"HTTP_X".to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    let value = prop_oneof![
        Just(b"GET".to_vec()),
        Just(b"7".to_vec()),
        Just(b"/a".to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    let variables = prop::collection::vec((name, value), 0..8);
    let modifier = prop_oneof![Just(0_u8), Just(30), Just(100), any::<u8>()];
    let damage = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    let behind = prop::collection::vec(any::<u8>(), 0..8);
    (any::<u8>(), modifier, variables, damage, behind).prop_map(
        |(choice, modifier1, variables, damage, behind)| {
            let pairs: Vec<_> = variables
                .iter()
                .map(|(key, value)| (&key[..], &value[..]))
                .collect();
            let mut packet = framed(modifier1, 0, &block(&pairs));
            if let Some((place, byte)) = damage {
                let place = place.index(packet.len());
                packet[place] = byte;
            }
            [&[choice][..], &packet, &behind].concat()
        },
    )
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_and_a_simpler_reader_agrees(data in nearly_a_packet()) {
        property::run(&data);
    }

    #[test]
    fn random_bytes_break_nothing(data in prop::collection::vec(any::<u8>(), 0..300)) {
        property::run(&data);
    }
}

#[test]
fn the_seeds_pass() {
    seeds::replay("uwsgi_packet", property::run);
}
