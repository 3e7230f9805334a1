//! A request head as CGI variables, RFC 3875 §4.1, in the dialect of WSGI, PSGI and Rack.
//!
//! The variables are handed one by one to a closure, as borrowed bytes, so that a binding can build its own strings
//! without an intermediate map; one scratch buffer serves the whole call. What a server knows about itself rather
//! than about the request (`SERVER_NAME`, `wsgi.*`, `HTTPS`) is for the binding. A client cannot forge a variable:
//! names that would collide after the translation of `-` to `_` are left out.

use std::borrow::Cow;
use std::io::Write;

use crate::address::Address;
use crate::request::Request;

impl Request {
    /// Calls `f` with each variable's name and value.
    ///
    /// `HTTP_*` names are those of the headers in upper case with `_` for `-`; the values of repeated headers are
    /// joined. Left out are names with an underscore, which could shadow one with a dash, and `Proxy`, because
    /// HTTP libraries take `HTTP_PROXY` for a setting (CVE-2016-5385).
    ///
    /// Of a request that [is given](Request::is_given) as variables, these are all, as they were sent.
    pub fn for_each_cgi_variable(&self, mut f: impl FnMut(&str, &[u8])) {
        if self.variables_set().next().is_none() {
            return self.client_variables(f);
        }
        self.client_variables(|name, value| {
            if !self.variables_set().any(|(other, _)| other == name.as_bytes()) {
                f(name, value);
            }
        });
        let all: Vec<_> = self.variables_set().collect();
        for (index, (name, value)) in all.iter().enumerate() {
            if !all[index + 1..].iter().any(|(later, _)| later == name) {
                f(&String::from_utf8_lossy(name), value);
            }
        }
    }

    /// `PATH_INFO`: as somebody has set it on the way, as it was given, or the target's path, decoded.
    pub fn path_info(&self) -> Cow<'_, [u8]> {
        if let Some(path) = self.variable_set("PATH_INFO") {
            return Cow::Borrowed(path);
        }
        match self.given() {
            Some(mut given) => {
                let path = given.find(|(name, _)| *name == "PATH_INFO");
                Cow::Borrowed(path.map_or(&[], |(_, path)| path))
            }
            None => decode_path(self.path()),
        }
    }

    fn client_variables(&self, mut f: impl FnMut(&str, &[u8])) {
        if let Some(given) = self.given() {
            given.for_each(|(name, value)| f(name, value));
            return;
        }
        let mut scratch = Vec::with_capacity(256);
        f("REQUEST_METHOD", self.method());
        f("REQUEST_URI", self.target());
        f("SCRIPT_NAME", b"");
        f("PATH_INFO", &decode_path(self.path()));
        f("QUERY_STRING", self.query());
        f("SERVER_PROTOCOL", self.version().as_str().as_bytes());
        self.addresses(&mut scratch, &mut f);
        for (name, header) in [
            ("CONTENT_LENGTH", "content-length"),
            ("CONTENT_TYPE", "content-type"),
        ] {
            if let Some(value) = self.header(header) {
                f(name, value);
            }
        }
        if let Some(client) = self.client() {
            // uWSGI's names.
            f("HTTPS_DN", client.subject.as_bytes());
            f("HTTPS_CLIENT_CERTIFICATE", &client.der);
            if let Some(pem) = &client.pem {
                f("HTTPS_CC", pem.as_bytes());
            }
        }
        self.http_variables(&mut scratch, &mut f);
    }

    fn addresses(&self, scratch: &mut Vec<u8>, f: &mut impl FnMut(&str, &[u8])) {
        match self.peer() {
            Address::Inet(address) => {
                f("REMOTE_ADDR", show(scratch, address.ip().to_canonical()));
                // A proxy may tell the address without the port.
                if address.port() != 0 {
                    f("REMOTE_PORT", show(scratch, address.port()));
                }
            }
            // RFC 3875 §4.1.8 wants the variable; a UNIX socket has nothing to put in.
            Address::Unix(_) | Address::Unknown => f("REMOTE_ADDR", b""),
        }
        f("SERVER_PORT", show(scratch, self.server_port()));
        // uWSGI's workers know it from the PROXY protocol only, and its router never tells.
        if let (true, false, Address::Inet(address)) = (self.is_announced(), self.is_routed(), self.local()) {
            f("SERVER_ADDR", show(scratch, address.ip().to_canonical()));
        }
    }

    fn http_variables(&self, scratch: &mut Vec<u8>, f: &mut impl FnMut(&str, &[u8])) {
        let mut variable = String::with_capacity(64);
        if let (None, Some(authority)) = (self.header("host"), self.overriding_authority()) {
            f("HTTP_HOST", authority);
        }
        for (index, (name, value)) in self.headers().enumerate() {
            if matches!(name, b"content-length" | b"content-type" | b"proxy") || name.contains(&b'_') {
                continue;
            }
            if self.headers().take(index).any(|(earlier, _)| earlier == name) {
                continue;
            }
            variable.clear();
            variable.push_str("HTTP_");
            for byte in name {
                variable.push(if *byte == b'-' {
                    '_'
                } else {
                    char::from(byte.to_ascii_uppercase())
                });
            }
            // RFC 9112 §3.2.2: an absolute target overrides the Host header. So does a trusted proxy.
            if let (b"host", Some(authority)) = (name, self.overriding_authority()) {
                f(&variable, authority);
                continue;
            }
            let mut repeats = self
                .headers()
                .skip(index + 1)
                .filter(|(later, _)| *later == name)
                .peekable();
            if repeats.peek().is_none() {
                f(&variable, value);
                continue;
            }
            // RFC 9110 §5.3; cookies are the exception, RFC 6265 §5.4.
            let separator: &[u8] = if name == b"cookie" { b"; " } else { b", " };
            scratch.clear();
            scratch.extend_from_slice(value);
            for (_, value) in repeats {
                scratch.extend_from_slice(separator);
                scratch.extend_from_slice(value);
            }
            f(&variable, scratch);
        }
    }
}

fn show(scratch: &mut Vec<u8>, value: impl std::fmt::Display) -> &[u8] {
    scratch.clear();
    // Writing to a Vec cannot fail.
    let _ = write!(scratch, "{value}");
    scratch
}

/// A target's path as PATH_INFO has it (RFC 3875 §4.1.5): percent-decoded, once; an escape that is none stays as it is.
pub fn decode_path(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(digit(*high) << 4 | digit(*low));
                after
            }
            _ => {
                decoded.push(*first);
                tail
            }
        };
    }
    Cow::Owned(decoded)
}

fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => (hex | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Scheme;
    use crate::client_certificate::ClientCertificate;
    use crate::request::Version;
    use std::collections::BTreeMap;

    fn variables(request: &Request) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        request.for_each_cgi_variable(|name, value| {
            let value = String::from_utf8_lossy(value).into_owned();
            assert_eq!(all.insert(name.to_owned(), value), None, "{name} came twice");
        });
        all
    }

    #[test]
    fn a_plain_request_has_the_variables_of_rfc_3875() {
        let request = Request::builder(b"GET", b"/a%20b/%zz%4?q=%20", Version::Http11)
            .header(b"Host", b"example.org")
            .header(b"Content-Type", b"text/plain")
            .header(b"Content-Length", b"0")
            .header(b"X-Long-Name", b"v")
            .peer(Address::Inet(
                "[::ffff:192.0.2.7]:4711".parse().expect("an address"),
            ))
            .local(Address::Inet("[::1]:8080".parse().expect("an address")))
            .finish();
        let all = variables(&request);
        let expected = [
            ("CONTENT_LENGTH", "0"),
            ("CONTENT_TYPE", "text/plain"),
            ("HTTP_HOST", "example.org"),
            ("HTTP_X_LONG_NAME", "v"),
            ("PATH_INFO", "/a b/%zz%4"),
            ("QUERY_STRING", "q=%20"),
            ("REMOTE_ADDR", "192.0.2.7"),
            ("REMOTE_PORT", "4711"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/a%20b/%zz%4?q=%20"),
            ("SCRIPT_NAME", ""),
            ("SERVER_PORT", "8080"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
        ];
        let all: Vec<_> = all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn repeated_headers_are_joined() {
        let request = Request::builder(b"GET", b"/", Version::Http11)
            .header(b"Accept", b"a")
            .header(b"Cookie", b"x=1")
            .header(b"accept", b"b")
            .header(b"cookie", b"y=2")
            .header(b"ACCEPT", b"c")
            .finish();
        let all = variables(&request);
        assert_eq!(all["HTTP_ACCEPT"], "a, b, c");
        assert_eq!(all["HTTP_COOKIE"], "x=1; y=2");
    }

    #[test]
    fn a_client_cannot_shadow_a_header_or_set_a_proxy() {
        let request = Request::builder(b"GET", b"/", Version::Http11)
            .header(b"X_User", b"forged")
            .header(b"X-User", b"true")
            .header(b"Proxy", b"http://evil")
            .header(b"Content_Length", b"7")
            .finish();
        let all = variables(&request);
        assert_eq!(all["HTTP_X_USER"], "true");
        assert!(!all.contains_key("HTTP_PROXY"));
        assert!(!all.contains_key("CONTENT_LENGTH") && !all.contains_key("HTTP_CONTENT_LENGTH"));
    }

    #[test]
    fn a_unix_socket_has_an_empty_address_and_the_scheme_s_port() {
        let request = Request::builder(b"GET", b"/", Version::Http11)
            .scheme(Scheme::Https)
            .peer(Address::Unix(String::new()))
            .local(Address::Unix("/run/app.sock".into()))
            .finish();
        let all = variables(&request);
        assert_eq!(
            (all["REMOTE_ADDR"].as_str(), all["SERVER_PORT"].as_str()),
            ("", "443")
        );
        assert!(!all.contains_key("REMOTE_PORT"));
    }

    #[test]
    fn what_is_set_replaces_what_came() {
        let mut request = Request::builder(b"GET", b"/a?b", Version::Http11)
            .header(b"Host", b"example.org")
            .finish();
        for (name, value) in [
            ("PATH_INFO", "/x"),
            ("NEW", "1"),
            ("NEW", "2"),
            ("REQUEST_SCHEME", "https"),
        ] {
            request.set_variable(name, value.as_bytes());
        }
        let all = variables(&request);
        assert_eq!((all["PATH_INFO"].as_str(), all["NEW"].as_str()), ("/x", "2"));
        assert_eq!(
            (all["QUERY_STRING"].as_str(), all["REQUEST_URI"].as_str()),
            ("b", "/a?b")
        );
        assert_eq!(request.scheme(), Scheme::Https);
    }

    #[test]
    fn a_client_s_certificate_has_uwsgi_s_names() {
        let with = |with_pem| {
            let certificate = ClientCertificate::new(b"DER", "/CN=someone".into(), with_pem);
            let request = Request::builder(b"GET", b"/", Version::Http11)
                .client(Some(std::sync::Arc::new(certificate)))
                .finish();
            variables(&request)
        };
        let all = with(true);
        assert_eq!(all["HTTPS_DN"], "/CN=someone");
        assert_eq!(all["HTTPS_CLIENT_CERTIFICATE"], "DER");
        assert!(all["HTTPS_CC"].contains("REVS"));
        assert!(!with(false).contains_key("HTTPS_CC"));
    }

    #[test]
    fn an_absolute_target_sets_the_host() {
        let request = Request::builder(b"GET", b"http://example.org:81/x", Version::Http11)
            .header(b"Host", b"other")
            .finish();
        let all = variables(&request);
        assert_eq!(
            (all["HTTP_HOST"].as_str(), all["PATH_INFO"].as_str()),
            ("example.org:81", "/x")
        );
    }
}
