//! A request target, cut into authority, path and query as ranges of a request's arena. RFC 9112 §3.2.
//!
//! Nothing is decoded and nothing is refused: the front has read an HTTP request line, and a path means what the
//! application says it means.

/// A range of the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Authority, path and query of a target, RFC 9112 §3.2.
pub(crate) fn cut_target(arena: &[u8], target: Span) -> (Option<Span>, Span, Span) {
    let text = &arena[target.start..target.end];
    let find = |from: usize, wanted: &[u8]| {
        text[from..]
            .iter()
            .position(|byte| wanted.contains(byte))
            .map_or(text.len(), |at| from + at)
    };
    let mut authority = None;
    let mut path_start = 0;
    if !text.starts_with(b"/") {
        // RFC 9112 §3.2.2: "http://host/path", which servers must accept though proxies get it.
        if let Some(colon) = text
            .windows(3)
            .position(|part| part == b"://")
            .filter(|at| is_scheme(&text[..*at]))
        {
            path_start = find(colon + 3, b"/?");
            authority = Some((colon + 3, path_start));
        }
    }
    let path_end = find(path_start, b"?");
    let query_start = (path_end + 1).min(text.len());
    let span = |start: usize, end: usize| Span {
        start: target.start + start,
        end: target.start + end,
    };
    let mut path = span(path_start, path_end);
    if authority.is_some() && path_start == path_end {
        // RFC 9110 §4.2.3: an empty path is "/"; the target has one, between scheme and authority.
        path = span(path_start, path_start);
        let slash = authority.map_or(0, |(start, _)| start - 1);
        path.start = target.start + slash;
        path.end = path.start + 1;
    }
    (
        authority.map(|(start, end)| span(start, end)),
        path,
        span(query_start, text.len()),
    )
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
        for (text, authority, path, query) in [
            ("http://example.org/a?b", "example.org", "/a", "b"),
            ("HTTP://example.org:81", "example.org:81", "/", ""),
            ("https://example.org?q", "example.org", "/", "q"),
        ] {
            let request = Request::builder(b"GET", text.as_bytes(), Version::Http11)
                .header(b"Host", b"evil")
                .finish();
            assert_eq!(request.authority(), Some(authority.as_bytes()));
            assert_eq!(
                (request.path(), request.query()),
                (path.as_bytes(), query.as_bytes()),
                "{text}"
            );
        }
    }
}
