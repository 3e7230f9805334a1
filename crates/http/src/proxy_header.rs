//! The PROXY protocol's header, versions 1 and 2 (haproxy.org, proxy-protocol.txt): what a proxy says of a connection before
//! the connection's own first byte.
//!
//! [`ProxyHeader::parse`] is given all bytes that have arrived so far and is asked again when there are more, so it does
//! not matter how they were cut. It never looks behind the header's last byte. Every length is held against what must
//! fit into it; what may follow the addresses in version 2 (the TLVs of §2.2) is skipped unread. Nobody has to send more
//! than one segment (§2), so a header longer than [`ProxyHeader::LONGEST`] is refused and not gathered.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// §2.1
const VERSION_1: &[u8] = b"PROXY ";
/// §2.2
const VERSION_2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// §2.1: the longest line, its end included.
const LONGEST_LINE: usize = 107;
/// §2.2: signature, version and command, family and transport, length.
const FIXED: usize = 16;
/// How much of what came instead of a header is kept for the log.
const SAMPLE: usize = 24;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is the proxy's own (`LOCAL`, a check of its), or of a kind whose addresses say nothing here
    /// (`UNKNOWN`, UNIX sockets): the socket's addresses count.
    Own,
    /// The ends of the connection to the proxy.
    Announced {
        /// Who connected to it.
        client: SocketAddr,
        /// Where.
        server: SocketAddr,
    },
}

/// Why a connection does not begin with a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyHeaderError {
    /// Something else came; its first bytes.
    Absent(Vec<u8>),
    /// A line of version 1 that is none of those of §2.1.
    Line(Vec<u8>),
    /// A line of version 1 without an end in the bytes that it may have.
    EndlessLine,
    /// Another version than 2 behind the signature of version 2.
    Version(u8),
    /// Neither `LOCAL` nor `PROXY`.
    Command(u8),
    /// Family or transport that §2.2 does not know.
    Family(u8),
    /// The length has no room for the addresses.
    Short {
        /// The one announced.
        length: usize,
        /// The least that the family needs.
        needed: usize,
    },
    /// More than we gather.
    Long(usize),
}

impl fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(came) => write!(f, "\"{}\" came instead of one", came.escape_ascii()),
            Self::Line(line) => write!(f, "the line \"{}\" is none of version 1", line.escape_ascii()),
            Self::EndlessLine => write!(f, "a line of version 1 is longer than {LONGEST_LINE} bytes"),
            Self::Version(version) => write!(
                f,
                "version {version} is not known behind the signature of version 2"
            ),
            Self::Command(command) => write!(f, "the command {command} is neither LOCAL (0) nor PROXY (1)"),
            Self::Family(family) => write!(f, "the address family {family:#04x} is not known"),
            Self::Short { length, needed } => {
                write!(
                    f,
                    "it announces {length} bytes of addresses, and they need {needed}"
                )
            }
            Self::Long(length) => {
                write!(
                    f,
                    "it announces {length} bytes; at most {} are accepted",
                    ProxyHeader::LONGEST - FIXED
                )
            }
        }
    }
}

impl std::error::Error for ProxyHeaderError {}

impl ProxyHeader {
    /// Bytes of a whole header. Addresses of UNIX sockets take 232; the rest is room for TLVs, which have to fit a
    /// segment of 1,500 bytes to be whole for everybody.
    pub const LONGEST: usize = 4096;

    /// Reads a header from the first bytes of a connection: `None` while it is not complete, else what it says and how
    /// many bytes it takes.
    ///
    /// # Errors
    /// There is no header, and no further byte will make it one.
    pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
        let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(one, other)| one == other);
        if bytes.is_empty() {
            Ok(None)
        } else if begins(VERSION_1) {
            version_1(bytes)
        } else if begins(VERSION_2) {
            version_2(bytes)
        } else {
            Err(ProxyHeaderError::Absent(
                bytes[..bytes.len().min(SAMPLE)].to_vec(),
            ))
        }
    }
}

/// §2.1: a line for people.
fn version_1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let within = &bytes[..bytes.len().min(LONGEST_LINE)];
    // Only CR LF ends it; either of them alone is no part of a line that has a meaning.
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if within.len() == LONGEST_LINE {
            Err(ProxyHeaderError::EndlessLine)
        } else {
            Ok(None)
        };
    };
    let line = &within[..end];
    let header = read_line(line).ok_or_else(|| ProxyHeaderError::Line(line.to_vec()))?;
    Ok(Some((header, end + 2)))
}

fn read_line(line: &[u8]) -> Option<ProxyHeader> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        // What follows is to be ignored.
        return Some(ProxyHeader::Own);
    }
    let mut address = || match family {
        "TCP4" => words.next()?.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => words.next()?.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => None,
    };
    let (client, server) = (address()?, address()?);
    let mut port = || words.next().and_then(read_port);
    let (client, server) = (SocketAddr::new(client, port()?), SocketAddr::new(server, port()?));
    words
        .next()
        .is_none()
        .then_some(ProxyHeader::Announced { client, server })
}

/// Decimal, without a sign or a zero in front.
fn read_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok())?
}

/// §2.2: numbers in network order.
fn version_2(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let fixed = &bytes[..bytes.len().min(FIXED)];
    // Each byte is judged as it comes, so that nonsense does not have to be waited for.
    let command = match fixed.get(12) {
        None => return Ok(None),
        Some(byte) if byte >> 4 != 2 => return Err(ProxyHeaderError::Version(byte >> 4)),
        Some(byte) => byte & 0x0f,
    };
    if command > 1 {
        return Err(ProxyHeaderError::Command(command));
    }
    let needed = match fixed.get(13) {
        None => return Ok(None),
        Some(0x00 | 0x01 | 0x02 | 0x10 | 0x20 | 0x30) => 0,
        Some(0x11 | 0x12) => 12,
        Some(0x21 | 0x22) => 36,
        Some(0x31 | 0x32) => 216,
        Some(other) => return Err(ProxyHeaderError::Family(*other)),
    };
    let [.., family, high, low] = fixed else {
        return Ok(None);
    };
    if fixed.len() < FIXED {
        return Ok(None);
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    // A LOCAL connection has whatever addresses (§2.2), so only those of a PROXY have to fit.
    if command == 1 && length < needed {
        return Err(ProxyHeaderError::Short { length, needed });
    }
    if FIXED + length > ProxyHeader::LONGEST {
        return Err(ProxyHeaderError::Long(length));
    }
    let Some(rest) = bytes.get(FIXED..FIXED + length) else {
        return Ok(None);
    };
    let ends = if command == 1 {
        addresses(*family, rest)
    } else {
        None
    };
    let header = ends.map_or(ProxyHeader::Own, |(client, server)| ProxyHeader::Announced {
        client,
        server,
    });
    Ok(Some((header, FIXED + length)))
}

/// The addresses of `AF_INET` and `AF_INET6`, for streams and datagrams (which a proxy may have turned into a stream).
fn addresses(family: u8, rest: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    fn ends<const N: usize>(rest: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])>
    where
        IpAddr: From<[u8; N]>,
    {
        let (client, rest) = rest.split_first_chunk::<N>()?;
        let (server, rest) = rest.split_first_chunk::<N>()?;
        Some((IpAddr::from(*client), IpAddr::from(*server), rest))
    }
    let (client, server, rest) = match family {
        0x11 | 0x12 => ends::<4>(rest)?,
        0x21 | 0x22 => ends::<16>(rest)?,
        _ => return None,
    };
    let (client_port, rest) = rest.split_first_chunk()?;
    let (server_port, _) = rest.split_first_chunk()?;
    Some((
        SocketAddr::new(client, u16::from_be_bytes(*client_port)),
        SocketAddr::new(server, u16::from_be_bytes(*server_port)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(client: &str, server: &str) -> ProxyHeader {
        let read = |text: &str| text.parse().expect(text);
        ProxyHeader::Announced {
            client: read(client),
            server: read(server),
        }
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("a length");
        [&VERSION_2[..], &[command, family], &length.to_be_bytes(), rest].concat()
    }

    #[test]
    fn version_1_announces_tcp_over_both_ips() {
        for (line, expected) in [
            (
                "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n",
                announced("203.0.113.7:4711", "10.0.0.1:443"),
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                announced("255.255.255.255:65535", "255.255.255.255:65535"),
            ),
            (
                "PROXY TCP6 2001:db8::7 ::1 0 80\r\n",
                announced("[2001:db8::7]:0", "[::1]:80"),
            ),
            ("PROXY UNKNOWN\r\n", ProxyHeader::Own),
            ("PROXY UNKNOWN whatever a b\tc\r\n", ProxyHeader::Own),
        ] {
            let bytes = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(
                ProxyHeader::parse(&bytes),
                Ok(Some((expected, line.len()))),
                "{line}"
            );
        }
    }

    #[test]
    fn a_line_that_is_nearly_one_is_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP5 203.0.113.7 10.0.0.1 4711 443\r\n",
            "PROXY tcp4 203.0.113.7 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 \r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 1\r\n",
            "PROXY TCP4  203.0.113.7 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 203.0.113.07 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 ::1 ::1 4711 443\r\n",
            "PROXY TCP6 203.0.113.7 10.0.0.1 4711 443\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 +1 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 01 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \u{fc}\r\n",
        ] {
            let Err(ProxyHeaderError::Line(_)) = ProxyHeader::parse(line.as_bytes()) else {
                panic!("{line:?}")
            };
        }
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat();
        assert_eq!(ProxyHeader::parse(&endless), Err(ProxyHeaderError::EndlessLine));
        assert_eq!(ProxyHeader::parse(&endless[..106]), Ok(None));
    }

    #[test]
    fn version_2_announces_both_ips_and_skips_what_follows() {
        let inet = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];
        let mut inet6 = [0; 36];
        inet6[..2].copy_from_slice(&[0x20, 0x01]);
        inet6[31] = 1;
        inet6[32..].copy_from_slice(&[0, 5, 0, 80]);
        let tlvs = [&inet[..], b"\x03\x00\x04abcd\x04\xff\xff"].concat();
        let four = announced("203.0.113.7:4711", "10.0.0.1:443");
        for (bytes, expected) in [
            (binary(0x21, 0x11, &inet), four),
            (binary(0x21, 0x12, &inet), four),
            (binary(0x21, 0x11, &tlvs), four),
            (binary(0x21, 0x21, &inet6), announced("[2001::]:5", "[::1]:80")),
            (binary(0x21, 0x31, &[0; 216]), ProxyHeader::Own),
            (binary(0x21, 0x00, b""), ProxyHeader::Own),
            (binary(0x21, 0x00, b"\x04\x00\x01x"), ProxyHeader::Own),
            (binary(0x20, 0x00, b""), ProxyHeader::Own),
            (binary(0x20, 0x11, &inet), ProxyHeader::Own),
            (binary(0x20, 0x11, b""), ProxyHeader::Own),
        ] {
            let whole = [&bytes[..], b"\x16\x03"].concat();
            assert_eq!(
                ProxyHeader::parse(&whole),
                Ok(Some((expected, bytes.len()))),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn numbers_of_version_2_that_mean_nothing_are_refused() {
        for (bytes, error) in [
            (binary(0x11, 0x11, &[0; 12]), ProxyHeaderError::Version(1)),
            (binary(0x31, 0x11, &[0; 12]), ProxyHeaderError::Version(3)),
            (binary(0x22, 0x11, &[0; 12]), ProxyHeaderError::Command(2)),
            (binary(0x21, 0x13, &[0; 12]), ProxyHeaderError::Family(0x13)),
            (binary(0x21, 0x41, &[0; 12]), ProxyHeaderError::Family(0x41)),
            (
                binary(0x21, 0x11, &[0; 11]),
                ProxyHeaderError::Short {
                    length: 11,
                    needed: 12,
                },
            ),
            (
                binary(0x21, 0x21, &[0; 35]),
                ProxyHeaderError::Short {
                    length: 35,
                    needed: 36,
                },
            ),
            (
                binary(0x21, 0x32, &[0; 215]),
                ProxyHeaderError::Short {
                    length: 215,
                    needed: 216,
                },
            ),
            (binary(0x21, 0x11, &[0; 4081]), ProxyHeaderError::Long(4081)),
            (binary(0x20, 0x00, &[0; 65535]), ProxyHeaderError::Long(65535)),
        ] {
            assert_eq!(ProxyHeader::parse(&bytes), Err(error.clone()), "{error}");
            // What follows the header is no matter: an error is known before it.
            assert_eq!(ProxyHeader::parse(&bytes[..FIXED]), Err(error));
        }
        assert!(ProxyHeader::parse(&binary(0x21, 0x11, &[0; 4080])).is_ok_and(|header| header.is_some()));
    }

    #[test]
    fn what_is_no_header_is_known_by_its_first_bytes() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXX",
            b"proxy ",
            b"\r\n\r\n\0\r\nQUIX",
            b"\x16\x03\x01",
            b"\n",
            b"P\0",
        ] {
            let Err(ProxyHeaderError::Absent(sample)) = ProxyHeader::parse(bytes) else {
                panic!("{bytes:?}")
            };
            assert!(bytes.starts_with(&sample));
        }
        assert_eq!(
            ProxyHeaderError::Absent(b"\x16\"\n".to_vec()).to_string(),
            "\"\\x16\\\"\\n\" came instead of one"
        );
    }
}
