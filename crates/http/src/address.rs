//! Where a request came from and how: with or without TLS, from which address to which.
//!
//! The front says what it knows, after it has trusted or distrusted a proxy; nothing here looks at a header.

use std::fmt;
use std::net::SocketAddr;

/// How the client reached us, or the trusted proxy in front of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that is meant when none is written.
    pub const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port; the port is 0 when a proxy told the address alone.
    Inet(SocketAddr),
    /// A UNIX socket; its path is empty when the peer did not bind one.
    Unix(String),
    /// Not known.
    Unknown,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) if address.port() == 0 => address.ip().to_canonical().fmt(f),
            // An IPv4 client of a dual-stack listener is an IPv4 client.
            Address::Inet(address) => SocketAddr::new(address.ip().to_canonical(), address.port()).fmt(f),
            Address::Unix(path) => write!(f, "unix:{path}"),
            Address::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_people_write_them() {
        let mapped = "[::ffff:192.0.2.1]:80".parse().expect("an address");
        assert_eq!(Address::Inet(mapped).to_string(), "192.0.2.1:80");
        let alone = "[2001:db8::1]:0".parse().expect("an address");
        assert_eq!(Address::Inet(alone).to_string(), "2001:db8::1");
        assert_eq!(Address::Unix("/run/x".into()).to_string(), "unix:/run/x");
        assert_eq!(Address::Unknown.to_string(), "unknown");
    }
}
