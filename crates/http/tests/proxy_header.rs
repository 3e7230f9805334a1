//! The PROXY protocol's header cut anywhere, by the property that the fuzz target checks (`fuzz/src/proxy_header.rs`), over its
//! committed seeds and over headers made at random.

#[allow(
    unreachable_pub,
    reason = "public in the fuzz crate, to which the file belongs"
)]
#[path = "../../../fuzz/src/proxy_header.rs"]
mod property;
#[path = "../../../fuzz/replay.rs"]
mod seeds;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use fairlead_http::ProxyHeader;
use proptest::prelude::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

#[test]
fn the_seeds_pass() {
    seeds::replay("proxy_header", property::run);
}

proptest! {
    #[test]
    fn a_line_of_version_1_is_read_back(client: Ipv6Addr, server: Ipv6Addr, ports: (u16, u16), rest: Vec<u8>) {
        let line = format!("PROXY TCP6 {client} {server} {} {}\r\n", ports.0, ports.1);
        let stream = [line.as_bytes(), &rest].concat();
        property::run(&stream);
        let (client, server) = (SocketAddr::from((client, ports.0)), SocketAddr::from((server, ports.1)));
        prop_assert_eq!(ProxyHeader::parse(&stream), Ok(Some((ProxyHeader::Announced { client, server }, line.len()))));
    }

    #[test]
    fn a_header_of_version_2_is_read_back(
        client: Ipv4Addr, server: Ipv4Addr, ports: (u16, u16), tlvs in proptest::collection::vec(any::<u8>(), 0..400), rest: Vec<u8>
    ) {
        let length = u16::try_from(12 + tlvs.len()).expect("a length").to_be_bytes();
        let (from, to) = (ports.0.to_be_bytes(), ports.1.to_be_bytes());
        let head = [SIGNATURE, b"\x21\x11", &length, &client.octets(), &server.octets(), &from, &to, &tlvs].concat();
        let stream = [&head[..], &rest].concat();
        property::run(&stream);
        let (client, server) = (SocketAddr::from((client, ports.0)), SocketAddr::from((server, ports.1)));
        prop_assert_eq!(ProxyHeader::parse(&stream), Ok(Some((ProxyHeader::Announced { client, server }, head.len()))));
    }

    #[test]
    fn nothing_makes_it_panic_or_wait_for_ever(
        begin in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(&b"PROXY TCP4 "[..]), Just(SIGNATURE), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21"[..])],
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        property::run(&[begin, &rest].concat());
    }
}
