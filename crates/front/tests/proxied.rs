//! Connections that a proxy announces (PROXY protocol), and requests whose headers a trusted one has written.
//!
//! What a header may be is tested in the protocol crate; here it is taken from a socket: whole, in pieces, together with
//! what follows it, or never.

mod support;

use std::io::{BufReader, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use fairlead_front::{BoundListener, FrontSettings, Listener, ListenerConfig};
use fairlead_http::{Address, Request, Scheme, TrustedProxies};
use support::{head, switching, Client, Stage, GET, HANDSHAKE, PATIENCE};

const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// Version 2 with a TLV behind the addresses.
fn binary() -> Vec<u8> {
    let addresses = [203, 0, 113, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];
    [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x11",
        &addresses[..],
        b"\x04\x00\x02\x00\x00",
    ]
    .concat()
}

fn stage_at(address: &str, settings: FrontSettings) -> Stage {
    let entrance = BoundListener {
        listener: Listener::bind(address).expect("an address"),
        config: ListenerConfig {
            proxy_protocol: true,
            ..ListenerConfig::default()
        },
    };
    Stage::on(entrance, settings, true)
}

fn stage() -> Stage {
    stage_at("127.0.0.1:0", support::front_settings())
}

fn variable(request: &Request, wanted: &str) -> Option<String> {
    let mut found = None;
    request.for_each_cgi_variable(|name, value| {
        if name == wanted {
            found = Some(String::from_utf8_lossy(value).into_owned());
        }
    });
    found
}

fn assert_announced(request: &Request) {
    assert_eq!(request.peer().to_string(), "203.0.113.7:4711");
    assert_eq!(request.local().to_string(), "198.51.100.1:443");
    for (name, value) in [
        ("REMOTE_ADDR", "203.0.113.7"),
        ("REMOTE_PORT", "4711"),
        ("SERVER_ADDR", "198.51.100.1"),
        ("SERVER_PORT", "443"),
    ] {
        assert_eq!(variable(request, name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn a_header_of_either_version_says_who_the_client_is() {
    let stage = stage();
    for header in [LINE.to_vec(), binary()] {
        let mut client = stage.client_sending(&header);
        for _ in 0..2 {
            // The header stands before the connection, not before a request.
            client.send(GET);
            let (request, exchange) = stage.request();
            assert_announced(&request);
            exchange.respond(head(200, &[]), "").expect("a client");
            assert_eq!(client.reply().status(), 200);
        }
    }
}

#[test]
fn a_header_may_come_in_any_pieces() {
    let stage = stage();
    for header in [LINE.to_vec(), binary(), LOCAL.to_vec()] {
        for cut in 0..=header.len() {
            let mut client = stage.client();
            client.send(&header[..cut]);
            // Another connection's answer: the front has looked at what came first.
            drop(stage.client_sending("x"));
            stage.line("has no PROXY header");
            client.send([&header[cut..], GET.as_bytes()].concat());
            let (request, exchange) = stage.request();
            if header == LOCAL {
                assert!(request.peer().to_string().starts_with("127.0.0.1:"));
                assert_eq!(variable(&request, "SERVER_ADDR"), None);
            } else {
                assert_announced(&request);
            }
            exchange.respond(head(200, &[]), "").expect("a client");
            assert_eq!(client.reply().status(), 200);
        }
    }
}

#[test]
fn frames_behind_header_and_handshake_leave_with_the_socket() {
    let stage = stage();
    let mut client = stage.client_sending([&binary()[..], HANDSHAKE.as_bytes(), b"frames"].concat());
    let (request, exchange) = stage.request();
    assert_announced(&request);
    stage.accept_upgrade(&exchange, switching()).expect("a client");
    assert_eq!(client.head().status(), 101);
    let departed = stage.departed.recv_timeout(PATIENCE).expect("the socket leaves");
    let (socket, mut read) = departed.socket.expect("the socket");
    client.send(" and more");
    client.end_sending();
    let mut stream = std::net::TcpStream::from(socket);
    stream.set_nonblocking(false).expect("a socket");
    stream.read_to_end(&mut read).expect("the rest");
    assert_eq!(read, b"frames and more");
}

#[test]
fn unix_sockets_are_announced_too() {
    let name = format!("fairlead-front-{}-proxied", std::process::id());
    let stage = stage_at(&format!("@{name}"), support::front_settings());
    for (header, is_announced) in [(LINE, true), (b"PROXY UNKNOWN\r\n", false)] {
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
        let mut client = Client {
            stream: BufReader::new(UnixStream::connect_addr(&address).expect("the front accepts")),
        };
        client.send([header, GET.as_bytes()].concat());
        let (request, exchange) = stage.request();
        if is_announced {
            assert_announced(&request);
        } else {
            assert_eq!(request.peer(), &Address::Unix(String::new()));
        }
        exchange.respond(head(200, &[]), "").expect("a client");
        assert_eq!(client.reply().status(), 200);
    }
}

#[test]
fn a_connection_without_a_header_is_closed_and_logged() {
    let stage = stage();
    for (sent, line) in [
        (GET.as_bytes(), "\"GET / HTTP/1.1"),
        (
            b"\x16\x03\x01\x02",
            "\"\\x16\\x03\\x01\\x02\" came instead of one",
        ),
        (
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            "the line \"PROXY TCP4 1.2.3.4 5.6.7.8 1\" is none",
        ),
        (&[b'P'; 1], "1 bytes into its PROXY header"),
        (&LINE[..20], "20 bytes into its PROXY header"),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            "it announces 65535 bytes; at most 4080",
        ),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x0c",
            "it announces 12 bytes of addresses, and they need 36",
        ),
    ] {
        let mut client = stage.client_sending(sent);
        client.end_sending();
        client.assert_closed();
        stage.line(line);
    }
    assert_eq!(stage.front.statistics().refused, 7);
    assert!(stage.requests.try_recv().is_err());
}

#[test]
fn a_proxy_that_only_looks_leaves_no_line() {
    let stage = stage();
    let mut quiet = stage.client();
    quiet.end_sending();
    quiet.assert_closed();
    let mut check = stage.client_sending(LOCAL);
    check.end_sending();
    check.assert_closed();
    assert!(stage.lines.try_recv().is_err());
    assert_eq!(stage.front.statistics().active_connections, 0);
}

#[test]
fn a_slow_header_is_timed_out_and_closed_without_a_word() {
    let short = FrontSettings {
        header_timeout: Duration::from_millis(50),
        ..support::front_settings()
    };
    let stage = stage_at("127.0.0.1:0", short);
    stage.client().assert_closed();
    stage.client_sending(&LINE[..10]).assert_closed();
    stage.line("not complete in time");
    assert_eq!(stage.front.statistics().timed_out, 2);
}

#[test]
fn a_drain_does_not_wait_for_a_header() {
    let stage = stage();
    let _client = stage.client_sending(&LINE[..10]);
    while stage.front.statistics().accepted == 0 {
        std::thread::yield_now();
    }
    stage.front.stop(PATIENCE * 100);
}

#[test]
fn without_the_option_a_header_is_a_bad_request() {
    let stage = Stage::new();
    for header in [LINE.to_vec(), binary()] {
        let mut client = stage.client_sending([&header[..], GET.as_bytes()].concat());
        assert_eq!(client.reply().status(), 400);
        stage.line("a request was refused");
    }
}

#[test]
fn headers_count_by_whom_the_proxy_announces_and_not_by_the_proxy() {
    let mut trusted_proxies = TrustedProxies::default();
    trusted_proxies.add("127.0.0.1").expect("an address");
    let settings = FrontSettings {
        trusted_proxies,
        ..support::front_settings()
    };
    let stage = stage_at("127.0.0.1:0", settings);
    let forged = "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\n\r\n";
    let _client = stage.client_sending([LINE, forged.as_bytes()].concat());
    let (request, _exchange) = stage.request();
    assert_announced(&request);
    assert_eq!(request.scheme(), Scheme::Http);
    let _client = stage.client_sending([LOCAL, forged.as_bytes()].concat());
    let (request, _exchange) = stage.request();
    assert_eq!(request.peer().to_string(), "10.0.0.1", "the proxy itself");
}
