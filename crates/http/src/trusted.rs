//! Which proxies are trusted in what they say of a client: a list of addresses and networks, nobody by default.
//!
//! Whoever connects can write any header, so a header counts only if its writer is known; what is trusted then stands in
//! `forwarded`. Nothing here looks at a header.

use std::net::{IpAddr, SocketAddr};

use crate::address::Address;

/// The proxies whose `Forwarded` and `X-Forwarded-*` count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    all: bool,
    unix: bool,
    networks: Vec<Network>,
}

impl TrustedProxies {
    /// Adds what an entry names: an address (`192.0.2.1`, `2001:db8::1`), a network (`10.0.0.0/8`), `unix` for whoever
    /// connects to a UNIX socket, `*` for everybody.
    ///
    /// # Errors
    /// A sentence's end that says what is wrong with the entry.
    pub fn add(&mut self, entry: &str) -> Result<(), &'static str> {
        match entry {
            "*" => self.all = true,
            "unix" => self.unix = true,
            _ => self.networks.push(Network::parse(entry)?),
        }
        Ok(())
    }

    /// Nobody is trusted.
    pub fn is_empty(&self) -> bool {
        !self.all && !self.unix && self.networks.is_empty()
    }

    /// Whether who connects from there is trusted.
    pub fn trusts(&self, peer: &Address) -> bool {
        match peer {
            Address::Inet(address) => self.trusts_ip(address.ip()),
            Address::Unix(_) => self.all || self.unix,
            Address::Unknown => self.all,
        }
    }

    pub(crate) fn trusts_ip(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.all || self.networks.iter().any(|network| network.contains(ip))
    }
}

/// The addresses that share their first bits with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    fn parse(text: &str) -> Result<Network, &'static str> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let Ok(base) = address.parse::<IpAddr>() else {
            return Err("it is no IP address");
        };
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => longest,
            Some(bits) => match bits.parse::<u8>() {
                Ok(number) if number <= longest && bits.bytes().all(|byte| byte.is_ascii_digit()) => number,
                _ => return Err("the number of bits behind / is none of its kind of address"),
            },
        };
        let network = Network { base, bits };
        if network.prefix(base) != network.bits_of(base) {
            // 10.0.0.1/8 was meant as one host or as a network, and the two differ by sixteen million.
            return Err("the address has bits behind its network's; write the network's first address");
        }
        // An IPv4 peer of a dual-stack socket is an IPv4 peer, so a mapped address would match nothing.
        Ok(match base.to_canonical() {
            canonical if canonical != base && bits >= 96 => Network {
                base: canonical,
                bits: bits - 96,
            },
            _ => network,
        })
    }

    fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.base.is_ipv4() && self.prefix(ip) == self.prefix(self.base)
    }

    /// The first bits of an address, the others being 0.
    fn prefix(self, ip: IpAddr) -> u128 {
        let width = if self.base.is_ipv4() { 32 } else { 128 };
        let rest = u32::from(width - self.bits);
        self.bits_of(ip)
            .checked_shr(rest)
            .and_then(|bits| bits.checked_shl(rest))
            .unwrap_or(0)
    }

    fn bits_of(self, ip: IpAddr) -> u128 {
        match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        }
    }
}

/// An address that a proxy has written: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`. A port that is not written is 0.
pub(crate) fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = if let Ok(ip) = text.parse::<IpAddr>() {
        (ip, 0)
    } else if let Ok(address) = text.parse::<SocketAddr>() {
        (address.ip(), address.port())
    } else {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        (IpAddr::V6(inner.parse().ok()?), 0)
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(entries: &[&str]) -> TrustedProxies {
        let mut all = TrustedProxies::default();
        for entry in entries {
            all.add(entry).expect(entry);
        }
        all
    }

    #[test]
    fn networks_hold_what_shares_their_first_bits() {
        let some = trusted(&[
            "192.0.2.1",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "2001:db8::/32",
            "::ffff:198.51.100.0/120",
        ]);
        for ip in [
            "192.0.2.1",
            "10.0.0.0",
            "10.255.255.255",
            "172.31.0.1",
            "2001:db8:ffff::1",
            "::ffff:192.0.2.1",
            "198.51.100.7",
        ] {
            assert!(some.trusts_ip(ip.parse().expect(ip)), "{ip}");
        }
        for ip in [
            "192.0.2.2",
            "11.0.0.0",
            "172.32.0.1",
            "2001:db9::",
            "::1",
            "::a00:1",
            "198.51.101.1",
        ] {
            assert!(!some.trusts_ip(ip.parse().expect(ip)), "{ip}");
        }
        assert!(trusted(&["0.0.0.0/0"]).trusts_ip("203.0.113.9".parse().expect("an address")));
        assert!(!trusted(&["0.0.0.0/0"]).trusts_ip("2001:db8::1".parse().expect("an address")));
        assert!(trusted(&["::/0"]).trusts_ip("2001:db8::1".parse().expect("an address")));
    }

    #[test]
    fn a_peer_of_a_unix_socket_is_trusted_by_name_only() {
        let unix = Address::Unix(String::new());
        assert!(!trusted(&["0.0.0.0/0", "::/0"]).trusts(&unix));
        assert!(trusted(&["unix"]).trusts(&unix) && trusted(&["*"]).trusts(&unix));
        assert!(!trusted(&["unix"]).trusts(&Address::Unknown));
        assert!(TrustedProxies::default().is_empty() && !trusted(&["unix"]).is_empty());
    }

    #[test]
    fn an_entry_that_is_none_is_refused() {
        for entry in [
            "",
            "proxy",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.1/8",
            "::/129",
            "1.2.3",
            "[::1]",
            "**",
        ] {
            assert!(TrustedProxies::default().add(entry).is_err(), "{entry}");
        }
    }

    #[test]
    fn addresses_are_read_in_each_way_that_proxies_write_them() {
        for (text, read) in [
            ("192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1:4711", "192.0.2.1:4711"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("[2001:db8::1]:4711", "[2001:db8::1]:4711"),
            ("::ffff:192.0.2.1", "192.0.2.1:0"),
        ] {
            assert_eq!(
                parse_address(text).map(|address| address.to_string()).as_deref(),
                Some(read)
            );
        }
        for text in [
            "",
            "unknown",
            "_hidden",
            "192.0.2",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "[192.0.2.1]",
            "[::1",
            "a:1",
            " ::1",
        ] {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }
}
