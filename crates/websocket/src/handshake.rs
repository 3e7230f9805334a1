//! The opening handshake, RFC 6455 §4.2: is the request one, is it right, what is the answer.
//!
//! A `Handshake` exists only for a request that kept every rule, so its owner can answer at once or let an
//! application decide first. Whether the Origin is welcome is a matter of policy and stands in `origin.rs`. No
//! extension is ever negotiated; the client's offers are ignored, as RFC 6455 §9.1 allows.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::Engine;
use sha1::{Digest, Sha1};

use crate::error::UsageError;
use crate::frame::Encoding;
use crate::handshake_error::HandshakeError;
use crate::negotiated::Negotiated;
use fairlead_http::{check_header, is_token, ResponseHead};
use fairlead_http::{Request, Version};

/// RFC 6455 §1.3
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// RFC 6455 §4.1 gives "AQIDBAUGBwgJCgsMDQ4PEC==" as its example of a key; its unused last bits are not zero.
const KEY_FORMAT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Headers that the handshake sets, or that a 101 response must not have (RFC 9110 §8.6, RFC 9112 §6.1).
const RESERVED: [&str; 7] = [
    "upgrade",
    "connection",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "content-length",
    "transfer-encoding",
];

/// An opening handshake that kept every rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    key: String,
    subprotocols: Vec<String>,
}

impl Handshake {
    /// Whether the client asks for a WebSocket at all, rightly or not.
    pub fn is_requested(request: &Request) -> bool {
        request.has_token("upgrade", "websocket")
    }

    /// Checks the request, in the order of RFC 6455 §4.2.1.
    pub fn validate(request: &Request) -> Result<Handshake, HandshakeError> {
        // RFC 6455 §4.2.1, item 1: "an HTTP/1.1 or higher GET request"
        if request.method() != b"GET" {
            return Err(HandshakeError::Method(text(request.method())));
        }
        // HTTP/2 has a handshake of its own, RFC 8441, which a front presents as this one; a client cannot send these headers
        // over it (RFC 9113 §8.2.2).
        if request.version() < Version::Http11 {
            return Err(HandshakeError::HttpVersion(request.version()));
        }
        // RFC 9112 §6.3: a body would be read as the first frames, which is request smuggling.
        if request.has_body() {
            return Err(HandshakeError::Body);
        }
        // RFC 6455 §4.2.1, item 2; RFC 9112 §3.2: exactly one.
        single(request, "host").map_err(|many| many.or(HandshakeError::ManyHosts, HandshakeError::NoHost))?;
        // RFC 6455 §4.2.1, item 3
        if !Handshake::is_requested(request) {
            return Err(HandshakeError::NoUpgrade);
        }
        // RFC 6455 §4.2.1, item 4
        if !request.has_token("connection", "upgrade") {
            return Err(HandshakeError::ConnectionNotUpgrade);
        }
        // RFC 6455 §4.2.1, item 6, before the key, which another version may treat differently
        check_version(request)?;
        // RFC 6455 §4.2.1, item 5; RFC 6455 §11.3.1: not more than once
        let key = single(request, "sec-websocket-key")
            .map_err(|many| many.or(HandshakeError::ManyKeys, HandshakeError::NoKey))?;
        if !Handshake::is_key(key) {
            return Err(HandshakeError::InvalidKey(text(key)));
        }
        Ok(Handshake {
            key: text(key),
            subprotocols: subprotocols(request)?,
        })
    }

    /// Whether this is the value of a Sec-WebSocket-Key: sixteen bytes in base64 (RFC 6455 §4.2.1, item 5).
    pub fn is_key(value: &[u8]) -> bool {
        KEY_FORMAT.decode(value).is_ok_and(|bytes| bytes.len() == 16)
    }

    /// A key as a client sends it, from its sixteen random bytes (RFC 6455 §4.1). For a front that presents the handshake
    /// of RFC 8441, which has none, to an application that looks at it.
    pub fn key(nonce: [u8; 16]) -> String {
        STANDARD.encode(nonce)
    }

    /// The subprotocols that the client offers, the most welcome first.
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    /// The same handshake, answered as if `key` had been sent; uWSGI lets an application pass it.
    #[must_use]
    pub fn with_key(self, key: &str) -> Handshake {
        Handshake {
            key: key.to_owned(),
            ..self
        }
    }

    /// The value of Sec-WebSocket-Accept, RFC 6455 §4.2.2, item 5.4.
    pub fn accept_value(&self) -> String {
        STANDARD.encode(Sha1::new().chain_update(&self.key).chain_update(GUID).finalize())
    }

    /// The answer that completes the handshake, with one of the offered subprotocols or none, and the same as a value for
    /// the session.
    ///
    /// # Errors
    /// A subprotocol that was not offered, a header that the handshake sets itself, or one that cannot be sent.
    pub fn response(
        &self,
        subprotocol: Option<&str>,
        extra: &[(String, String)],
    ) -> Result<(ResponseHead, Negotiated), UsageError> {
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        // RFC 6455 §4.2.2, item 5
        let mut headers = vec![
            header("Upgrade", "websocket"),
            header("Connection", "Upgrade"),
            header("Sec-WebSocket-Accept", &self.accept_value()),
        ];
        if let Some(chosen) = subprotocol {
            // RFC 6455 §4.2.2, item 5.5: only what the client offered, in its spelling.
            if !self.subprotocols.iter().any(|offered| offered == chosen) {
                return Err(UsageError::SubprotocolNotOffered(chosen.to_owned()));
            }
            headers.push(header("Sec-WebSocket-Protocol", chosen));
        }
        for (name, value) in extra {
            if RESERVED
                .iter()
                .any(|reserved| name.eq_ignore_ascii_case(reserved))
            {
                return Err(UsageError::ReservedHeader(name.clone()));
            }
            check_header(name, value.as_bytes())?;
            headers.push(header(name, value));
        }
        let negotiated = Negotiated {
            subprotocol: subprotocol.map(Box::from),
            encoding: Encoding::default(),
        };
        Ok((ResponseHead::new(101, headers)?, negotiated))
    }
}

/// None, or more than one.
enum NotSingle {
    None,
    Many,
}

impl NotSingle {
    fn or(self, many: HandshakeError, none: HandshakeError) -> HandshakeError {
        match self {
            NotSingle::Many => many,
            NotSingle::None => none,
        }
    }
}

fn single<'a>(request: &'a Request, header: &'a str) -> Result<&'a [u8], NotSingle> {
    let mut values = request.values(header);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (Some(_), Some(_)) => Err(NotSingle::Many),
        (None, _) => Err(NotSingle::None),
    }
}

fn check_version(request: &Request) -> Result<(), HandshakeError> {
    match single(request, "sec-websocket-version") {
        Ok(b"13") => Ok(()),
        Ok(other) => Err(HandshakeError::WebSocketVersion(text(other))),
        Err(NotSingle::None) => Err(HandshakeError::NoVersion),
        // RFC 6455 §11.3.5: a request has it once.
        Err(NotSingle::Many) => {
            let all: Vec<_> = request.values("sec-websocket-version").map(text).collect();
            Err(HandshakeError::WebSocketVersion(all.join(", ")))
        }
    }
}

/// RFC 6455 §4.1, item 10 of the request: tokens, each once.
fn subprotocols(request: &Request) -> Result<Vec<String>, HandshakeError> {
    let mut offered: Vec<String> = Vec::new();
    for element in request.list("sec-websocket-protocol") {
        let name = text(element);
        if !is_token(element) {
            return Err(HandshakeError::InvalidSubprotocol(name));
        }
        if offered.contains(&name) {
            return Err(HandshakeError::RepeatedSubprotocol(name));
        }
        offered.push(name);
    }
    Ok(offered)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use fairlead_http::HeadError;

    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("Host", "server.example.com"),
        ("Upgrade", "WebSocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn request(headers: &[(&str, &str)]) -> Request {
        let builder = Request::builder(b"GET", b"/chat", Version::Http11);
        headers
            .iter()
            .fold(builder, |b, (name, value)| {
                b.header(name.as_bytes(), value.as_bytes())
            })
            .finish()
    }

    /// The good request without one header.
    fn without(name: &str) -> Result<Handshake, HandshakeError> {
        let headers: Vec<_> = GOOD.into_iter().filter(|(other, _)| *other != name).collect();
        Handshake::validate(&request(&headers))
    }

    /// The good request with one more line.
    fn with(name: &str, value: &str) -> Result<Handshake, HandshakeError> {
        let mut headers = GOOD.to_vec();
        headers.push((name, value));
        Handshake::validate(&request(&headers))
    }

    /// The good request with another value.
    fn changed(name: &str, value: &str) -> Result<Handshake, HandshakeError> {
        let headers = GOOD.map(|(other, old)| (other, if other == name { value } else { old }));
        Handshake::validate(&request(&headers))
    }

    fn good() -> Handshake {
        Handshake::validate(&request(&GOOD)).expect("a valid handshake")
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_in_the_rfc() {
        let (head, _) = good().response(None, &[]).expect("an answer");
        let expected = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ];
        assert_eq!(head.status, 101);
        assert_eq!(
            head.headers,
            expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        );
    }

    #[test]
    fn only_get_over_http_1_1_or_higher_is_accepted() {
        let refusal = |method: &[u8], version| {
            let builder = Request::builder(method, b"/", version);
            let request = GOOD
                .iter()
                .fold(builder, |b, (n, v)| b.header(n.as_bytes(), v.as_bytes()))
                .finish();
            Handshake::validate(&request).map_err(|error| error.status())
        };
        assert_eq!(refusal(b"POST", Version::Http11), Err(405));
        assert_eq!(refusal(b"get", Version::Http11), Err(405));
        assert_eq!(refusal(b"GET", Version::Http10), Err(505));
        assert!(
            refusal(b"GET", Version::Http2).is_ok(),
            "as a front presents RFC 8441"
        );
    }

    #[test]
    fn a_missing_header_is_refused() {
        assert_eq!(without("Host"), Err(HandshakeError::NoHost));
        assert_eq!(without("Upgrade"), Err(HandshakeError::NoUpgrade));
        assert_eq!(without("Connection"), Err(HandshakeError::ConnectionNotUpgrade));
        assert_eq!(without("Sec-WebSocket-Version"), Err(HandshakeError::NoVersion));
        assert_eq!(without("Sec-WebSocket-Key"), Err(HandshakeError::NoKey));
    }

    #[test]
    fn a_header_that_must_stand_alone_is_refused_when_repeated() {
        assert_eq!(with("Host", "other"), Err(HandshakeError::ManyHosts));
        assert_eq!(
            with("Sec-WebSocket-Key", GOOD[4].1),
            Err(HandshakeError::ManyKeys)
        );
        assert_eq!(
            with("Sec-WebSocket-Version", "8"),
            Err(HandshakeError::WebSocketVersion("13, 8".into()))
        );
    }

    #[test]
    fn another_version_is_answered_with_ours() {
        let error = changed("Sec-WebSocket-Version", "8").expect_err("not our version");
        assert_eq!(error.status(), 426);
        assert!(error
            .headers()
            .contains(&("Sec-WebSocket-Version".into(), b"13".to_vec())));
        assert_eq!(
            without("Sec-WebSocket-Version").map_err(|error| error.headers()),
            Err(error.headers())
        );
    }

    #[test]
    fn upgrade_and_connection_must_name_their_tokens() {
        assert_eq!(changed("Upgrade", "h2c"), Err(HandshakeError::NoUpgrade));
        assert_eq!(
            changed("Connection", "keep-alive"),
            Err(HandshakeError::ConnectionNotUpgrade)
        );
        assert!(changed("Upgrade", "h2c, websocket").is_ok());
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        for key in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ==x",
            "c2hvcnQ=",
            "!!!",
            "dGhlIHNhbXBsZSBub25jZTE=",
        ] {
            assert_eq!(
                changed("Sec-WebSocket-Key", key),
                Err(HandshakeError::InvalidKey(key.into()))
            );
        }
        // RFC 6455 §4.1's own example, whose last bits are not zero.
        assert!(changed("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEC==").is_ok());
    }

    #[test]
    fn a_body_is_refused_as_it_would_be_read_as_frames() {
        assert_eq!(with("Content-Length", "5"), Err(HandshakeError::Body));
        assert_eq!(with("Transfer-Encoding", "chunked"), Err(HandshakeError::Body));
        assert!(with("Content-Length", "0").is_ok());
    }

    #[test]
    fn a_subprotocol_is_chosen_from_those_offered_or_not_at_all() {
        let handshake = with("Sec-WebSocket-Protocol", "chat.v2, chat.v1,").expect("a valid handshake");
        assert_eq!(handshake.subprotocols(), ["chat.v2", "chat.v1"]);
        let (head, negotiated) = handshake.response(Some("chat.v1"), &[]).expect("an answer");
        assert_eq!(negotiated.subprotocol.as_deref(), Some("chat.v1"));
        assert_eq!(
            head.headers.last(),
            Some(&("Sec-WebSocket-Protocol".into(), b"chat.v1".to_vec()))
        );
        let refused = UsageError::SubprotocolNotOffered("chat".into());
        assert_eq!(handshake.response(Some("chat"), &[]), Err(refused));
        let (head, negotiated) = handshake.response(None, &[]).expect("an answer");
        assert_eq!((head.headers.len(), negotiated), (3, Negotiated::default()));
    }

    #[test]
    fn offered_subprotocols_are_tokens_and_differ() {
        let refusal = with("Sec-WebSocket-Protocol", "a, b c");
        assert_eq!(refusal, Err(HandshakeError::InvalidSubprotocol("b c".into())));
        let refusal = with("Sec-WebSocket-Protocol", "a, b, a");
        assert_eq!(refusal, Err(HandshakeError::RepeatedSubprotocol("a".into())));
    }

    #[test]
    fn an_application_may_pass_the_key_but_not_break_the_answer() {
        let handshake = changed("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEC==").expect("a valid handshake");
        assert_eq!(
            handshake.with_key(GOOD[4].1).accept_value(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        let extra =
            |name: &str, value: &str| good().response(None, &[(name.into(), value.into())]).map(|_| ());
        assert_eq!(extra("Set-Cookie", "a=b"), Ok(()));
        assert_eq!(
            extra("X", "a\r\nb"),
            Err(UsageError::Head(HeadError::InvalidHeaderValue("X".into())))
        );
        assert_eq!(
            extra("upgrade", "h2c"),
            Err(UsageError::ReservedHeader("upgrade".into()))
        );
        assert_eq!(
            extra("Content-Length", "3"),
            Err(UsageError::ReservedHeader("Content-Length".into()))
        );
    }
}
