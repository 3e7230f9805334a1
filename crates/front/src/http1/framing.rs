//! A second opinion on where one message ends and the next begins, from the bytes as they arrive.
//!
//! hyper parses the requests; it repairs what it could refuse (a Content-Length beside a Transfer-Encoding vanishes, a
//! bare LF ends a line), and it does not tell whether a client has begun its next head. Both matter: the first to refuse
//! what another hop may read otherwise, the second to time a slow head and a silent connection differently. hyper also
//! keeps to itself where a chunk ends, which `uwsgi.chunked_read` tells its application. So [`Framing`] follows the same
//! bytes without keeping them and notes the first broken rule of each head and the sizes of chunks whose data hyper has
//! not handed out yet. It never decides where a message ends — hyper does — and on anything it does not understand it
//! goes blind: then that body is broken, and the connection serves no further request, whether hyper noticed or not.

use std::collections::VecDeque;

use crate::error::Refusal;

/// Follows the bytes of one connection.
#[derive(Default)]
pub(crate) struct Framing {
    at: At,
    head: Head,
    /// The beginning of a line whose end has not arrived. hyper's limit on the head bounds it.
    partial: Vec<u8>,
    heads: u64,
    broken: Option<(u64, Refusal)>,
    /// Number of the head, and bytes that hyper has not handed out, of each chunk. hyper's read buffer bounds it.
    chunks: VecDeque<(u64, u64)>,
    /// See [`Framing::follow`].
    minors: Vec<usize>,
}

#[derive(Default)]
enum At {
    #[default]
    Head,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Blind,
}

#[derive(Default)]
struct Head {
    has_request_line: bool,
    length: Option<u64>,
    chunked: bool,
    broken: Option<Refusal>,
}

impl Framing {
    /// The client has sent a part of a head, and not yet its end. A CR may be half of an empty line, which begins none: a
    /// client that sends such lines byte by byte must not begin its time anew with each.
    pub(crate) fn inside_head(&self) -> bool {
        matches!(self.at, At::Head)
            && (self.head.has_request_line || !matches!(&self.partial[..], [] | [b'\r']))
    }

    /// What has come ends with a whole message, or with a part of the next head: no body is on its way.
    pub(crate) fn is_outside_bodies(&self) -> bool {
        matches!(self.at, At::Head)
    }

    /// Heads that have come whole.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// The body of head number `ordinal` is broken: nobody can tell where it ends, whatever hyper makes of it.
    pub(crate) fn is_body_broken(&self, ordinal: u64) -> bool {
        matches!(self.at, At::Blind) && self.heads == ordinal
    }

    /// The rule that head number `ordinal` (from 1) breaks.
    pub(crate) fn broken_rule(&mut self, ordinal: u64) -> Option<Refusal> {
        if self.heads < ordinal {
            return Some(Refusal::BodyBefore);
        }
        match &self.broken {
            Some((head, _)) if *head == ordinal => self.broken.take().map(|(_, rule)| rule),
            _ => None,
        }
    }

    /// hyper has handed out `size` bytes of the body of head number `ordinal`, all from one chunk: does the chunk end with
    /// them? Also true where there are no chunks.
    pub(crate) fn chunk_ends(&mut self, ordinal: u64, size: u64) -> bool {
        // What nobody read of an earlier body, hyper has dropped.
        while self.chunks.front().is_some_and(|(head, _)| *head < ordinal) {
            self.chunks.pop_front();
        }
        match self.chunks.front_mut() {
            Some((head, left)) if *head == ordinal && *left > size => {
                *left -= size;
                false
            }
            Some((head, _)) if *head == ordinal => {
                self.chunks.pop_front();
                true
            }
            _ => true,
        }
    }

    /// Takes note of the next bytes from the client. Tells where among them the minor digit of a version above HTTP/1.1
    /// stands; such a request is to be read as HTTP/1.1 (RFC 9110 §2.5), which hyper does not do.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Vec<usize> {
        self.follow_from(bytes, bytes.len());
        std::mem::take(&mut self.minors)
    }

    /// `size`: of what came together.
    fn follow_from(&mut self, mut bytes: &[u8], size: usize) {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Blind => return,
                At::Body(left) | At::ChunkData(left) => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= step as u64;
                    bytes = &bytes[step..];
                    if *left == 0 {
                        self.at = if matches!(self.at, At::Body(_)) {
                            At::Head
                        } else {
                            At::ChunkEnd
                        };
                    }
                }
                At::Head | At::ChunkSize | At::ChunkEnd | At::Trailers => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    if matches!(self.at, At::Head) && !self.head.has_request_line {
                        let line = &bytes[..end.map_or(bytes.len(), |end| end + 1)];
                        self.look_for_minor(line, size - bytes.len());
                    }
                    let Some(end) = end else {
                        self.partial.extend_from_slice(bytes);
                        return;
                    };
                    let (line, rest) = bytes.split_at(end + 1);
                    bytes = rest;
                    if self.partial.is_empty() {
                        self.line(line);
                    } else {
                        let mut whole = std::mem::take(&mut self.partial);
                        whole.extend_from_slice(line);
                        self.line(&whole);
                    }
                }
            }
        }
    }

    /// `part`: the next of a request line, which stands at `offset` in what came together.
    fn look_for_minor(&mut self, part: &[u8], offset: usize) {
        if part.ends_with(b" HTTP/1.1\r\n") || part.ends_with(b" HTTP/1.0\r\n") {
            return;
        }
        let line = || self.partial.iter().chain(part).copied();
        let mut blanks = line().enumerate().filter(|(_, byte)| *byte == b' ');
        let Some((blank, _)) = blanks.nth(1) else { return };
        let digit = blank + b" HTTP/1.".len();
        let is_version = line().skip(blank).take(8).eq(*b" HTTP/1.");
        let is_higher = line()
            .nth(digit)
            .is_some_and(|byte| (b'2'..=b'9').contains(&byte));
        if let (true, Some(at)) = (is_version && is_higher, digit.checked_sub(self.partial.len())) {
            self.minors.push(offset + at);
        }
    }

    /// One line, with its line end.
    fn line(&mut self, line: &[u8]) {
        let (line, is_bare) = match line {
            [text @ .., b'\r', b'\n'] => (text, false),
            [text @ .., b'\n'] => (text, true),
            text => (text, true),
        };
        match self.at {
            At::Head => self.head_line(line, is_bare),
            At::ChunkSize => {
                self.at = match chunk_size(line) {
                    _ if is_bare => At::Blind,
                    Some(0) => At::Trailers,
                    Some(size) => {
                        self.chunks.push_back((self.heads, size));
                        At::ChunkData(size)
                    }
                    None => At::Blind,
                }
            }
            At::ChunkEnd if line.is_empty() && !is_bare => self.at = At::ChunkSize,
            At::ChunkEnd => self.at = At::Blind,
            // hyper reads on behind a bare LF; where others would end the message here, the next request could hide in it.
            At::Trailers if is_bare => self.at = At::Blind,
            At::Trailers if line.is_empty() => self.at = At::Head,
            At::Trailers | At::Body(_) | At::ChunkData(_) | At::Blind => {}
        }
    }

    fn head_line(&mut self, line: &[u8], is_bare: bool) {
        let head = &mut self.head;
        if is_bare {
            head.broken.get_or_insert(Refusal::BareLineFeed);
        }
        if line.is_empty() {
            // RFC 9112 §2.2: empty lines before the request line are skipped.
            if head.has_request_line {
                self.end_head();
            }
            return;
        }
        if !std::mem::replace(&mut head.has_request_line, true) {
            // A method may have one.
            let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            if target.contains(&b'#') {
                let target = String::from_utf8_lossy(target).into_owned();
                head.broken.get_or_insert(Refusal::Fragment(target));
            }
            return;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // The length first: it rules out nearly every header without looking at its letters.
        if name.len() == 14 && name.eq_ignore_ascii_case(b"content-length") {
            if head.length.is_some() {
                head.broken.get_or_insert(Refusal::LengthRepeated);
            }
            let digits = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            head.length = Some(digits.unwrap_or(0));
        } else if name.len() == 17 && name.eq_ignore_ascii_case(b"transfer-encoding") {
            head.chunked = true;
        }
    }

    fn end_head(&mut self) {
        let mut head = std::mem::take(&mut self.head);
        self.heads += 1;
        if head.chunked && head.length.is_some() {
            head.broken.get_or_insert(Refusal::LengthAndCoding);
        }
        // Only the first broken head counts: after it the connection is closed.
        if let (Some(rule), None) = (head.broken, &self.broken) {
            self.broken = Some((self.heads, rule));
        }
        self.at = match head.length {
            _ if head.chunked => At::ChunkSize,
            Some(length) if length > 0 => At::Body(length),
            _ => At::Head,
        };
    }
}

/// RFC 9112 §7.1: hexadecimal digits, then perhaps extensions.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii_end();
    let digits = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known after `bytes`, which must not depend on how they were cut.
    fn follow(bytes: &[u8]) -> (u64, bool, Option<(u64, Refusal)>) {
        let whole = facts([bytes].into_iter());
        assert_eq!(facts(bytes.chunks(1)), whole, "byte by byte");
        for cut in 0..bytes.len() {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(facts([left, right].into_iter()), whole, "cut at {cut}");
        }
        whole
    }

    fn facts<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (u64, bool, Option<(u64, Refusal)>) {
        let mut framing = Framing::default();
        for part in parts {
            framing.follow(part);
        }
        (framing.heads, framing.inside_head(), framing.broken.clone())
    }

    #[test]
    fn heads_follow_one_another() {
        assert_eq!(
            follow(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            (2, false, None)
        );
    }

    #[test]
    fn empty_lines_before_a_request_line_begin_no_head() {
        assert_eq!(follow(b"\r\n\r\n"), (0, false, None));
        assert_eq!(follow(b"\r\n\r"), (0, false, None));
        assert_eq!(follow(b"\r\nGET / HT"), (0, true, None));
    }

    #[test]
    fn a_body_is_not_read_as_a_head() {
        let body = b"POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.1\n\n\r\n\r\nG";
        assert_eq!(follow(body), (1, true, None));
    }

    #[test]
    fn a_chunked_body_is_not_read_as_a_head() {
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            5;name=value\r\n\n\n\n\n\n\r\n0\r\nTrailer: \r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        assert_eq!(follow(chunked), (2, false, None));
    }

    #[test]
    fn the_first_broken_rule_is_kept_for_its_head_only() {
        let twice = b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(follow(twice), (2, false, Some((2, Refusal::LengthAndCoding))));
        let mut framing = Framing::default();
        framing.follow(twice);
        assert_eq!(framing.broken_rule(1), None);
        assert_eq!(framing.broken_rule(2), Some(Refusal::LengthAndCoding));
    }

    #[test]
    fn a_line_feed_alone_and_a_second_length_are_noticed() {
        assert_eq!(
            follow(b"GET / HTTP/1.1\nHost: a\r\n\r\n").2,
            Some((1, Refusal::BareLineFeed))
        );
        let lengths = b"GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(follow(lengths).2, Some((1, Refusal::LengthRepeated)));
    }

    #[test]
    fn the_ends_of_chunks_are_told_however_their_data_is_handed_out() {
        let mut framing = Framing::default();
        let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        framing.follow(head);
        framing.follow(b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n");
        assert!(framing.chunk_ends(1, 3));
        assert!(!framing.chunk_ends(1, 4));
        assert!(!framing.chunk_ends(1, 5));
        assert!(framing.chunk_ends(1, 1));
        assert!(
            framing.chunk_ends(1, 1),
            "nothing is known of this byte, so nothing is held back for it"
        );
    }

    #[test]
    fn chunks_of_a_body_that_nobody_read_are_not_those_of_the_next() {
        let mut framing = Framing::default();
        let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for chunk in ["5\r\nhello\r\n0\r\n\r\n", "2\r\nab\r\n0\r\n\r\n"] {
            framing.follow(head);
            framing.follow(chunk.as_bytes());
        }
        assert!(!framing.chunk_ends(2, 1));
        assert!(framing.chunk_ends(2, 1));
    }

    #[test]
    fn a_line_feed_alone_among_the_trailers_breaks_the_body_and_what_follows_it() {
        let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for trailers in [&b"A: b\n\r\n"[..], b"A: b\r\n\n", b"\n"] {
            let mut framing = Framing::default();
            framing.follow(head);
            framing.follow(b"1\r\nx\r\n0\r\n");
            assert!(!framing.is_body_broken(1));
            framing.follow(trailers);
            framing.follow(head);
            assert!(framing.is_body_broken(1), "{trailers:?}");
            assert_eq!(framing.broken_rule(1), None);
            assert_eq!(framing.broken_rule(2), Some(Refusal::BodyBefore));
        }
    }

    #[test]
    fn a_higher_minor_version_is_found_wherever_the_line_is_cut() {
        let head = b"GET /HTTP/1.2 HTTP/1.7\r\nA: HTTP/1.2 HTTP/1.2 HTTP/1.2\r\n\r\n";
        let twice = [&head[..], head].concat();
        assert_eq!(Framing::default().follow(&twice), [21, head.len() + 21]);
        for cut in 0..twice.len() {
            let mut framing = Framing::default();
            let mut found = framing.follow(&twice[..cut]);
            found.extend(framing.follow(&twice[cut..]).into_iter().map(|at| cut + at));
            assert_eq!(found, [21, head.len() + 21], "cut at {cut}");
        }
        for line in [
            "GET / HTTP/1.1",
            "GET / HTTP/1.0",
            "GET / HTTP/1.",
            "GET / HTTP/2.2",
            "GET HTTP/1.2",
            "GET  / HTTP/1.2",
        ] {
            assert_eq!(
                Framing::default().follow(format!("{line}\r\n").as_bytes()),
                [],
                "{line}"
            );
        }
    }

    #[test]
    fn a_fragment_is_noticed_in_a_target_only() {
        assert_eq!(
            follow(b"GET /x#y HTTP/1.1\r\n\r\n").2,
            Some((1, Refusal::Fragment("/x#y".into())))
        );
        assert_eq!(follow(b"G#T /x HTTP/1.1\r\nA: #\r\n\r\n").2, None);
    }

    #[test]
    fn nonsense_in_a_chunk_makes_it_blind_instead_of_wrong() {
        let odd = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET / HTTP/1.1\n\n";
        assert_eq!(follow(odd), (1, false, None));
    }
}
