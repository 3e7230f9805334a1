//! Which web pages may open a WebSocket here: RFC 6455 §10.2 and RFC 6454.
//!
//! Browsers send cookies with a handshake to any host, and no same-origin rule of theirs stops a foreign page from
//! opening a WebSocket; the server has to look at Origin itself. A client without an Origin is not a browser: it
//! could send what it likes, so refusing it would protect nobody.
//!
//! Origins are the same when host and port are equal, default ports counted, and the scheme did not get weaker. A
//! page from `https` is the same as a request that came as `http`, because TLS usually ends at a proxy and the host
//! that the browser named is what decides. A page from `http` is foreign to a request that came by TLS.

use fairlead_http::Request;
use fairlead_http::Scheme;

/// Which origins are welcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages of this host and port.
    #[default]
    SameOrigin,
    /// Every page.
    Any,
    /// Pages of this host and port, and those listed: a full origin, `https://example.org`, or a host pattern,
    /// `*.example.org` (its subdomains, not itself) or `example.org`, with either scheme and, unless a port is
    /// given, the scheme's own.
    Allow(Vec<String>),
}

impl OriginPolicy {
    /// Whether the request may open a WebSocket.
    pub fn allows(&self, request: &Request) -> bool {
        if matches!(self, OriginPolicy::Any) {
            return true;
        }
        let mut lines = request.values("origin");
        let Some(line) = lines.next() else {
            return true;
        };
        // Two origins, or "null" of a sandbox or a file, are nobody's.
        let Some(origin) = Origin::parse(line).filter(|_| lines.next().is_none()) else {
            return false;
        };
        origin.is_of(request)
            || match self {
                OriginPolicy::Allow(list) => list.iter().any(|entry| origin.fits(entry)),
                OriginPolicy::SameOrigin | OriginPolicy::Any => false,
            }
    }
}

/// An origin with its port made explicit. The host is compared in any case.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    scheme: Scheme,
    host: &'a str,
    port: u16,
}

impl<'a> Origin<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Origin<'a>> {
        let (scheme, authority) = std::str::from_utf8(bytes).ok()?.split_once("://")?;
        let scheme = [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(scheme))?;
        let (host, port) = split_authority(authority)?;
        Some(Origin {
            scheme,
            host,
            port: port.unwrap_or(scheme.default_port()),
        })
    }

    fn is_of(&self, request: &Request) -> bool {
        let authority = request
            .authority()
            .and_then(|authority| std::str::from_utf8(authority).ok());
        let Some((host, port)) = authority.and_then(split_authority) else {
            return false;
        };
        let downgraded = self.scheme == Scheme::Http && request.scheme() == Scheme::Https;
        !downgraded
            && self.host.eq_ignore_ascii_case(host)
            && match port {
                Some(port) => self.port == port,
                // The browser left out the default port of the scheme that it used, which is that of the origin. Or the
                // server in front left out the port: Debian's uwsgi_params send nginx's $host as HTTP_HOST.
                None => self.port == self.scheme.default_port() || Some(self.port) == request.given_port(),
            }
    }

    fn fits(&self, entry: &str) -> bool {
        if entry.contains("://") {
            return Origin::parse(entry.as_bytes()).is_some_and(|listed| {
                listed.scheme.as_str() == self.scheme.as_str()
                    && listed.host.eq_ignore_ascii_case(self.host)
                    && listed.port == self.port
            });
        }
        let (subdomains, rest) = match entry.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, entry),
        };
        let Some((host, port)) = split_authority(rest) else {
            return false;
        };
        let host_fits = if subdomains {
            is_subdomain(self.host, host)
        } else {
            self.host.eq_ignore_ascii_case(host)
        };
        host_fits && self.port == port.unwrap_or(self.scheme.default_port())
    }
}

fn is_subdomain(host: &str, parent: &str) -> bool {
    let Some(dot) = host.len().checked_sub(parent.len() + 1) else {
        return false;
    };
    dot > 0
        && host.as_bytes()[dot] == b'.'
        && host.as_bytes()[dot + 1..].eq_ignore_ascii_case(parent.as_bytes())
}

/// Host and port; `None` if it is neither a name nor an address in brackets with an optional port.
fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    let strange = |c: char| c.is_whitespace() || c.is_control() || "/?#@,\\".contains(c);
    if host.is_empty() || host.contains(strange) {
        return None;
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((host, None)),
        // RFC 3986 §3.2.3: an empty port is the default one.
        Some("") => Some((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(digits.parse().ok()?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_http::Version;

    fn request(scheme: Scheme, host: &str, origins: &[&str]) -> Request {
        let builder = Request::builder(b"GET", b"/", Version::Http11).scheme(scheme);
        let builder = builder.header(b"Host", host.as_bytes());
        origins
            .iter()
            .fold(builder, |builder, origin| {
                builder.header(b"Origin", origin.as_bytes())
            })
            .finish()
    }

    fn same(scheme: Scheme, host: &str, origin: &str) -> bool {
        OriginPolicy::SameOrigin.allows(&request(scheme, host, &[origin]))
    }

    #[test]
    fn a_client_without_an_origin_is_no_browser_and_is_welcome() {
        assert!(OriginPolicy::SameOrigin.allows(&request(Scheme::Http, "a", &[])));
        assert!(OriginPolicy::Allow(vec![]).allows(&request(Scheme::Http, "a", &[])));
    }

    #[test]
    fn the_same_origin_has_the_same_host_and_port() {
        for (host, origin) in [
            ("example.org", "http://example.org"),
            ("Example.org", "http://eXample.org:80"),
            ("example.org:80", "http://example.org"),
            ("example.org:8080", "http://example.org:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("[::1]", "http://[::1]"),
        ] {
            assert!(same(Scheme::Http, host, origin), "{host} {origin}");
        }
    }

    #[test]
    fn another_host_or_port_is_a_stranger() {
        for (host, origin) in [
            ("example.org", "http://example.org.evil.com"),
            ("example.org", "http://evil.com"),
            ("example.org", "http://example.org:8080"),
            ("example.org:8080", "http://example.org"),
            ("example.org", "null"),
            ("example.org", ""),
            ("example.org", "file://"),
            ("example.org", "ftp://example.org"),
            ("example.org", "http://example.org/"),
            ("example.org", "http://user@example.org"),
            ("example.org", "http://example.org http://evil.com"),
            ("example.org", "http://example.org:99999"),
            ("", "http://"),
        ] {
            assert!(!same(Scheme::Http, host, origin), "{host} {origin}");
        }
        let two = request(
            Scheme::Http,
            "example.org",
            &["http://example.org", "http://evil.com"],
        );
        assert!(!OriginPolicy::SameOrigin.allows(&two));
    }

    #[test]
    fn tls_may_end_at_a_proxy_but_a_page_without_tls_is_a_stranger_to_one_with() {
        assert!(same(Scheme::Http, "example.org", "https://example.org"));
        assert!(same(Scheme::Http, "example.org:443", "https://example.org"));
        assert!(same(Scheme::Https, "example.org", "https://example.org"));
        assert!(!same(Scheme::Https, "example.org", "http://example.org"));
    }

    #[test]
    fn a_list_adds_origins_and_host_patterns_to_one_s_own() {
        let list = [
            "https://app.example.net",
            "*.example.com",
            "plain.example:81",
            "not a host",
        ];
        let policy = OriginPolicy::Allow(list.map(String::from).to_vec());
        let allows = |origin| policy.allows(&request(Scheme::Http, "own.org", &[origin]));
        for origin in [
            "http://own.org",
            "https://app.example.net",
            "https://a.example.com",
            "http://a.b.EXAMPLE.com",
            "http://plain.example:81",
        ] {
            assert!(allows(origin), "{origin}");
        }
        for origin in [
            "http://app.example.net",
            "https://app.example.net:444",
            "https://example.com",
            "https://evilexample.com",
            "https://.example.com",
            "https://a.example.com:8443",
            "http://plain.example",
            "null",
        ] {
            assert!(!allows(origin), "{origin}");
        }
    }

    #[test]
    fn any_means_any() {
        assert!(OriginPolicy::Any.allows(&request(Scheme::Https, "own.org", &["null"])));
    }
}
