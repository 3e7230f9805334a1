//! A request on its way to a server behind this one: the headers it goes with in HTTP, the packet in the uwsgi protocol.
//!
//! A server behind takes the word of its proxy for who the client is, and the proxy is we. So of all headers that tell whose
//! request it is ([`speaks_of_client`]) it gets what we know ourselves, from the connection or from a trusted proxy, and
//! nothing that a client wrote. Both protocols share that table. A rule's word counts more: what it sets as `HTTP_NAME` is
//! sent, and a header that it sets to nothing is not.

use std::collections::HashSet;

use crate::address::{Address, Scheme};
use crate::host::is_host;
use crate::request::{Request, Version};

/// RFC 9110 §7.6.1: these concern one connection.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Headers that tell whose request it is, or for what, if they come from a proxy; in lower case. So do all that begin with
/// `x-forwarded`. Beside RFC 7239's they are those of nginx (`X-Real-IP`), Apache's mod_remoteip (`X-Client-IP`), of
/// load balancers and content networks, of IIS (`X-Original-URL`, `X-Rewrite-URL`), and `Proxy` (CVE-2016-5385).
const SPEAKING: [&str; 17] = [
    "forwarded",
    "forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    "x-original-host",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "proxy",
];

/// Whether a header concerns one connection only; its name in lower case.
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// The further headers that concern one connection, as `Connection` names them; in lower case.
pub fn connection_options<'a>(values: impl Iterator<Item = &'a [u8]>) -> HashSet<String> {
    values
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .filter(|name| name != "close" && name != "upgrade")
        .collect()
}

/// Whether a header tells, from a proxy's mouth, whose request it is. A program behind may read the name through CGI, where
/// all that is no letter or digit looks the same.
pub fn speaks_of_client(name: &[u8]) -> bool {
    let folded: Vec<u8> = name
        .iter()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => byte.to_ascii_lowercase(),
            _ => b'-',
        })
        .collect();
    folded.starts_with(b"x-forwarded") || SPEAKING.iter().any(|one| one.as_bytes() == folded)
}

/// The header that a variable of CGI was made of.
fn header_of(variable: &str) -> Option<String> {
    let name = variable.strip_prefix("HTTP_")?;
    Some(name.replace('_', "-").to_ascii_lowercase())
}

/// Headers in order, names in lower case.
type Headers = Vec<(String, Vec<u8>)>;

impl Request {
    /// The headers for a server behind that is spoken to in HTTP, but for Host, and those that delimit the body or concern
    /// the connection. `as_they_came`: those of the client, without anything to go with them, and what tells of a client
    /// only if a trusted proxy has written it.
    pub fn proxy_headers(&self, as_they_came: bool) -> Headers {
        let named = connection_options(self.values("connection"));
        let told = if as_they_came {
            Vec::new()
        } else {
            self.told_of_client()
        };
        let mut headers = Headers::new();
        for (name, value) in self.headers() {
            let Ok(name) = std::str::from_utf8(name) else {
                continue;
            };
            let is_ours = matches!(name, "transfer-encoding" | "expect" | "connection" | "host");
            let is_hop = !as_they_came && (is_hop_by_hop(name) || named.contains(name));
            // An underscore would be a dash to whoever makes variables of headers.
            if is_ours || is_hop || name.contains('_') || self.is_withheld(name.as_bytes(), as_they_came) {
                continue;
            }
            headers.push((name.to_owned(), value.to_vec()));
        }
        headers.extend(told.into_iter().map(|(name, value)| (name.to_owned(), value)));
        for (variable, value) in self.variables_set() {
            let Some(name) = std::str::from_utf8(variable).ok().and_then(header_of) else {
                continue;
            };
            if is_hop_by_hop(&name) || matches!(name.as_str(), "host" | "content-length") {
                continue;
            }
            headers.retain(|(other, _)| *other != name);
            if !value.is_empty() {
                headers.push((name, value.to_vec()));
            }
        }
        headers
    }

    /// The host for a server behind, unless it is told another one.
    pub fn proxy_host(&self) -> Option<&[u8]> {
        self.variable_set("HTTP_HOST").or_else(|| self.authority())
    }

    /// The packet for a server behind that speaks the uwsgi protocol (compat §6.1). `length`: of the body.
    ///
    /// # Errors
    /// Its size, which the format cannot say.
    pub fn proxy_packet(
        &self,
        modifier1: u8,
        modifier2: u8,
        length: Option<&[u8]>,
    ) -> Result<Vec<u8>, usize> {
        let mut block = Block {
            bytes: vec![modifier1, 0, 0, modifier2],
            fits: true,
        };
        let host = self.proxy_host().unwrap_or_default();
        let name = host.strip_suffix(b"]").unwrap_or_else(|| {
            let end = host.iter().rposition(|byte| *byte == b':').unwrap_or(host.len());
            &host[..end]
        });
        let told = self.told_of_client();
        let is_set = |name: &str| self.variable_set(name).is_some();
        block.add("REQUEST_SCHEME", self.scheme().as_str().as_bytes());
        if self.scheme() == Scheme::Https && !is_set("HTTPS") {
            block.add("HTTPS", b"on");
        }
        // compat §3.1: the router names itself.
        if self.is_routed() && !is_set("UWSGI_ROUTER") {
            block.add("UWSGI_ROUTER", b"http");
        }
        let mut has_name = false;
        self.for_each_cgi_variable(|name, value| {
            let is_said = match name {
                "REQUEST_SCHEME" | "CONTENT_LENGTH" | "HTTP_TRANSFER_ENCODING" => true,
                "HTTPS" => !is_set(name),
                // What came before a rule said another one.
                "UWSGI_SCHEME" => !is_set(name) && is_set("REQUEST_SCHEME"),
                _ => {
                    let is_the_client_s = |header: String| speaks_of_client(header.as_bytes());
                    !is_set(name) && header_of(name).is_some_and(is_the_client_s)
                }
            };
            if is_said {
                return;
            }
            has_name |= name == "SERVER_NAME";
            // What the other server answers is HTTP/1.1, whatever the client speaks.
            let value = match (name, self.version()) {
                ("SERVER_PROTOCOL", Version::Http2) => Version::Http11.as_str().as_bytes(),
                // A packet that came may have a target in absolute form.
                ("REQUEST_URI", _) if !is_set(name) => self.target(),
                _ => value,
            };
            block.add(name, value);
        });
        if !has_name {
            block.add("SERVER_NAME", name);
        }
        for (header, value) in told {
            let name = format!("HTTP_{}", header.replace('-', "_").to_ascii_uppercase());
            if !is_set(&name) {
                block.add(&name, &value);
            }
        }
        block.add("CONTENT_LENGTH", length.unwrap_or_default());
        block.finish()
    }

    /// What we say of the client ourselves.
    fn told_of_client(&self) -> Vec<(&'static str, Vec<u8>)> {
        let client = match self.peer() {
            Address::Inet(peer) => peer.ip().to_canonical().to_string(),
            // Who says nothing is taken for the client himself, with our address.
            Address::Unix(_) | Address::Unknown => "unknown".to_owned(),
        };
        let client = self
            .variable_set("REMOTE_ADDR")
            .map_or(client.into_bytes(), <[u8]>::to_vec);
        let mut told = vec![
            ("x-forwarded-for", client),
            ("x-forwarded-proto", self.scheme().as_str().as_bytes().to_vec()),
        ];
        if let Some(host) = self.proxy_host().filter(|host| !host.is_empty() && is_host(host)) {
            told.push(("x-forwarded-host", host.to_vec()));
        }
        if let Some(port) = self.known_port() {
            told.push(("x-forwarded-port", port.to_string().into_bytes()));
        }
        told
    }

    fn is_withheld(&self, name: &[u8], as_they_came: bool) -> bool {
        let is_the_proxy_s = as_they_came && self.is_vouched_for() && name != b"proxy";
        speaks_of_client(name) && !is_the_proxy_s
    }
}

/// A packet in the making.
struct Block {
    bytes: Vec<u8>,
    /// All of it could be said.
    fits: bool,
}

impl Block {
    fn add(&mut self, name: &str, value: &[u8]) {
        let sizes = (u16::try_from(name.len()), u16::try_from(value.len()));
        let (Ok(name_size), Ok(value_size)) = sizes else {
            self.fits = false;
            return;
        };
        self.bytes.extend_from_slice(&name_size.to_le_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(&value_size.to_le_bytes());
        self.bytes.extend_from_slice(value);
    }

    fn finish(mut self) -> Result<Vec<u8>, usize> {
        match u16::try_from(self.bytes.len() - 4) {
            Ok(size) if self.fits => {
                self.bytes[1..3].copy_from_slice(&size.to_le_bytes());
                Ok(self.bytes)
            }
            _ => Err(self.bytes.len()),
        }
    }
}
