//! Decoded paths: encoded again for targets, and in the one form in which two ways to write a path are the same.
//!
//! Whoever judges a path (a rule) and whoever opens a file by it have to look at the same one, so both take
//! [`normal_path`]. What is made of a decoded path and goes out again, in a target or a Location, is encoded again here.

use std::borrow::Cow;

/// A decoded path without `.` and `..` (RFC 3986 §5.2.4) and without empty segments: `/a//b/./c/../d` is `/a/b/d`. Nothing
/// leads above the root. A slash at the end stays, and stands for a `.` or `..` there.
pub fn normal_path(path: &[u8]) -> Cow<'_, [u8]> {
    let (root, rest) = match path {
        [b'/', rest @ ..] => (&b"/"[..], rest),
        _ => (&b""[..], path),
    };
    let segments = || rest.split(|byte| *byte == b'/');
    let is_dots = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
    let count = segments().count();
    let is_normal =
        |(index, segment): (usize, &[u8])| !is_dots(segment) || segment.is_empty() && index + 1 == count;
    if segments().enumerate().all(is_normal) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&[u8]> = Vec::with_capacity(count);
    for segment in segments() {
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let names_folder = segments().next_back().is_some_and(is_dots) && !kept.is_empty();
    let mut normal = root.to_vec();
    normal.extend_from_slice(&kept.join(&b'/'));
    if names_folder {
        normal.push(b'/');
    }
    Cow::Owned(normal)
}

/// Whether a decoded path leads back up somewhere (`..`), so that its beginning is not that of its normal form.
pub fn leads_up(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|segment| segment == b"..")
}

/// A decoded path for a target: what [`decode_path`](crate::decode_path) makes this path of again (RFC 3986 §3.3).
pub fn encode_path(decoded: &[u8]) -> Vec<u8> {
    encode(decoded, |byte| {
        is_unreserved(byte) || b"/!$&'()*+,;=:@".contains(&byte)
    })
}

/// Decoded text for a place inside a query, where it is one value (RFC 3986 §3.4).
pub fn encode_query(decoded: &[u8]) -> Vec<u8> {
    encode(decoded, |byte| is_unreserved(byte) || b"/:@".contains(&byte))
}

/// Text that is part of a target already: only what no target may hold is encoded. A backslash is among it, which browsers
/// take for a slash.
pub fn encode_target(text: &[u8]) -> Vec<u8> {
    encode(text, |byte| {
        byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte)
    })
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn encode(text: &[u8], may_stay: impl Fn(u8) -> bool) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Vec::with_capacity(text.len());
    for &byte in text {
        if may_stay(byte) {
            encoded.push(byte);
        } else {
            encoded.extend_from_slice(&[
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode_path;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn two_ways_to_write_a_path_are_the_same() {
        for (path, normal) in [
            ("", ""),
            ("*", "*"),
            ("/", "/"),
            ("//", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/a//b///", "/a/b/"),
            ("/./a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/a/...", "/a/..."),
            ("/.a/b.", "/.a/b."),
            ("a/../b", "b"),
            ("..", ""),
        ] {
            assert_eq!(text(&normal_path(path.as_bytes())), normal, "{path}");
        }
        assert!(leads_up(b"/a/../b") && leads_up(b"..") && !leads_up(b"/a/..b/..."));
    }

    #[test]
    fn what_was_decoded_is_encoded_again_where_it_has_to_be() {
        for (sent, again) in [
            ("/api/a%20b", "/api/a%20b"),
            ("/%25", "/%25"),
            ("/%3Fadmin=1", "/%3Fadmin=1"),
            ("/%23x", "/%23x"),
            ("/%c3%a4", "/%C3%A4"),
            ("/%0d%0aSet-Cookie:x", "/%0D%0ASet-Cookie:x"),
            ("/%5cevil.example", "/%5Cevil.example"),
            ("/%41;v=1", "/A;v=1"),
        ] {
            assert_eq!(text(&encode_path(&decode_path(sent.as_bytes()))), again, "{sent}");
        }
        assert_eq!(
            text(&encode_query(b"a b&c=d+e?#/%")),
            "a%20b%26c%3Dd%2Be%3F%23/%25"
        );
        assert_eq!(
            text(&encode_target(b"/a%20b?c=d&e[]=\\ #\x80")),
            "/a%20b?c=d&e[]=%5C%20%23%80"
        );
    }
}
