//! A request target in origin form, cut into path and query as ranges of a request's arena. RFC 9112 §3.2.
//!
//! Nothing is decoded and nothing is refused: the front has read an HTTP request line, and a path means what the
//! application says it means.

/// A range of the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A target in origin form, and the authority if it came in absolute form (RFC 9112 §3.2.2: "http://host/path", which servers
/// must accept though proxies get it). Whoever looks at a target behind this sees a path in any case.
pub(crate) fn origin_form(arena: &mut Vec<u8>, sent: Span) -> (Option<Span>, Span) {
    let text = &arena[sent.start..sent.end];
    let scheme = text
        .windows(3)
        .position(|part| part == b"://")
        .filter(|at| is_scheme(&text[..*at]));
    let Some(scheme) = scheme.filter(|_| !text.starts_with(b"/")) else {
        return (None, sent);
    };
    let host = sent.start + scheme + 3;
    let end = arena[host..sent.end]
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .map_or(sent.end, |at| host + at);
    let authority = Span { start: host, end };
    if arena.get(end) == Some(&b'/') && end < sent.end {
        let target = Span {
            start: end,
            end: sent.end,
        };
        return (Some(authority), target);
    }
    // RFC 9110 §4.2.3: an empty path is "/".
    let start = arena.len();
    arena.push(b'/');
    arena.extend_from_within(end..sent.end);
    let target = Span {
        start,
        end: arena.len(),
    };
    (Some(authority), target)
}

/// Path and query of a target in origin form.
pub(crate) fn cut_target(arena: &[u8], target: Span) -> (Span, Span) {
    let text = &arena[target.start..target.end];
    let end = text.iter().position(|byte| *byte == b'?').unwrap_or(text.len());
    let span = |start: usize, end: usize| Span {
        start: target.start + start,
        end: target.start + end,
    };
    (span(0, end), span((end + 1).min(text.len()), text.len()))
}

fn is_scheme(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use crate::request::{Request, Version};

    fn target(target: &str) -> Request {
        Request::builder(b"GET", target.as_bytes(), Version::Http11).finish()
    }

    #[test]
    fn a_target_is_cut_at_its_first_question_mark() {
        for (text, path, query) in [
            ("/", "/", ""),
            ("/a/b?x=1?y", "/a/b", "x=1?y"),
            ("/a?", "/a", ""),
            ("*", "*", ""),
            ("/redirect?to=http://other/", "/redirect", "to=http://other/"),
            ("//double://x", "//double://x", ""),
        ] {
            let request = target(text);
            assert_eq!(request.target(), text.as_bytes());
            assert_eq!(
                (request.path(), request.query()),
                (path.as_bytes(), query.as_bytes()),
                "{text}"
            );
            assert_eq!(request.authority(), None);
        }
    }

    #[test]
    fn a_target_in_absolute_form_overrides_the_host_header() {
        for (text, authority, target, path, query) in [
            ("http://example.org/a?b", "example.org", "/a?b", "/a", "b"),
            ("HTTP://example.org:81", "example.org:81", "/", "/", ""),
            ("https://example.org?q", "example.org", "/?q", "/", "q"),
            ("http://example.org//a", "example.org", "//a", "//a", ""),
        ] {
            let request = Request::builder(b"GET", text.as_bytes(), Version::Http11)
                .header(b"Host", b"evil")
                .finish();
            assert_eq!(request.authority(), Some(authority.as_bytes()));
            assert_eq!(request.target(), target.as_bytes());
            assert_eq!(
                (request.path(), request.query()),
                (path.as_bytes(), query.as_bytes()),
                "{text}"
            );
        }
    }
}
