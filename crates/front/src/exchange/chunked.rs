//! A body that the application has put into chunks by itself (RFC 9112 §7.1), as servers let it do that send a body as it
//! is. How a body is delimited is the front's business, and HTTP/1.0 and HTTP/2 know no chunks: so the coding is taken off
//! here, and the body leaves in the front's own framing, framed once.
//!
//! An application that names the coding and does not frame its body means the same, and other servers take it so: what does
//! not begin with a chunk's size is passed on as it is. Plain data, cut anywhere.

use std::fmt;
use std::mem::take;

use bytes::{Bytes, BytesMut};

/// No line that tells a chunk's size is longer. RFC 9112 §7.1.1 wants a limit of some kind.
const LONGEST_LINE: usize = 1024;

/// Digits of the largest size that is read.
const MOST_DIGITS: usize = 15;

/// Why a body that began in chunks cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BrokenChunks;

impl fmt::Display for BrokenChunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the application says Transfer-Encoding: chunked, and its body is not in chunks (RFC 9112 §7.1); leave that \
             header to the server",
        )
    }
}

/// The data of a whole body.
pub(super) fn without_chunks(body: &Bytes) -> Result<Bytes, BrokenChunks> {
    let (mut chunked, mut data) = (ChunkedBody::default(), BytesMut::with_capacity(body.len()));
    chunked.take(body.clone(), |part| data.extend_from_slice(&part))?;
    chunked.finish(|part| data.extend_from_slice(&part))?;
    Ok(data.freeze())
}

/// What of a body was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ChunkedBody {
    expected: Expected,
    /// What of a line has come.
    line: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Expected {
    /// The first line: the body may turn out to have no chunks.
    #[default]
    Start,
    Size,
    Data(u64),
    /// The line end behind a chunk's data.
    DataEnd,
    /// Behind the last chunk; trailers are dropped.
    Over,
    Unframed,
}

impl ChunkedBody {
    /// The last chunk has come: the body is complete, whatever follows.
    pub(super) fn is_over(&self) -> bool {
        self.expected == Expected::Over
    }

    /// Hands on what of the body's data stands in `piece`.
    pub(super) fn take(&mut self, mut piece: Bytes, mut push: impl FnMut(Bytes)) -> Result<(), BrokenChunks> {
        while !piece.is_empty() {
            match self.expected {
                Expected::Unframed => push(take(&mut piece)),
                Expected::Over => return Ok(()),
                Expected::Data(left) => {
                    let count = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
                    push(piece.split_to(count));
                    self.skip(count as u64)?;
                }
                Expected::Start | Expected::Size | Expected::DataEnd => {
                    let end = piece.iter().position(|byte| *byte == b'\n');
                    let line = piece.split_to(end.map_or(piece.len(), |at| at + 1));
                    self.line.extend_from_slice(&line);
                    self.read_line(&mut push)?;
                }
            }
        }
        Ok(())
    }

    /// So many bytes of data go another way.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), BrokenChunks> {
        match self.expected {
            Expected::Unframed | Expected::Over => {}
            // Nothing has been framed before a file.
            Expected::Start if self.line.is_empty() => self.expected = Expected::Unframed,
            Expected::Data(left) if left > count => self.expected = Expected::Data(left - count),
            Expected::Data(left) if left == count => self.expected = Expected::DataEnd,
            _ => return Err(BrokenChunks),
        }
        Ok(())
    }

    /// The application has ended its body. An end between two chunks is forgiven.
    pub(super) fn finish(&mut self, push: impl FnOnce(Bytes)) -> Result<(), BrokenChunks> {
        match self.expected {
            Expected::Start if !self.line.is_empty() => push(take(&mut self.line).into()),
            Expected::Data(_) => return Err(BrokenChunks),
            Expected::Size if !self.line.is_empty() => return Err(BrokenChunks),
            _ => {}
        }
        Ok(())
    }

    fn read_line(&mut self, push: &mut impl FnMut(Bytes)) -> Result<(), BrokenChunks> {
        if self.expected == Expected::DataEnd {
            match self.line.as_slice() {
                b"\r" => {}
                b"\r\n" => self.begin_line(Expected::Size),
                _ => return Err(BrokenChunks),
            }
            return Ok(());
        }
        match size_of(&self.line) {
            Size::Incomplete => {}
            Size::Is(0) => self.begin_line(Expected::Over),
            Size::Is(size) => self.begin_line(Expected::Data(size)),
            Size::None if self.expected == Expected::Start => {
                self.expected = Expected::Unframed;
                push(take(&mut self.line).into());
            }
            Size::None => return Err(BrokenChunks),
        }
        Ok(())
    }

    fn begin_line(&mut self, expected: Expected) {
        self.line.clear();
        self.expected = expected;
    }
}

enum Size {
    Is(u64),
    /// The line may still become one.
    Incomplete,
    None,
}

/// RFC 9112 §7.1: hexadecimal digits, then perhaps extensions, then CRLF.
fn size_of(line: &[u8]) -> Size {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 && !line.is_empty() || digits > MOST_DIGITS || line.len() > LONGEST_LINE {
        return Size::None;
    }
    let mut behind = &line[digits..];
    while let [b' ' | b'\t', rest @ ..] = behind {
        behind = rest;
    }
    match behind {
        [] | [b'\r'] => Size::Incomplete,
        [b'\r', b'\n'] | [b';', .., b'\r', b'\n'] => std::str::from_utf8(&line[..digits])
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map_or(Size::None, Size::Is),
        [b';', .., b'\n'] => Size::None,
        [b';', ..] => Size::Incomplete,
        _ => Size::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes on of a body, and whether it was complete by itself.
    fn read(pieces: &[&'static [u8]]) -> Result<(Vec<u8>, bool), BrokenChunks> {
        let (mut body, mut data) = (ChunkedBody::default(), Vec::new());
        for piece in pieces {
            body.take(Bytes::from_static(piece), |part| data.extend_from_slice(&part))?;
        }
        let was_over = body.is_over();
        body.finish(|part| data.extend_from_slice(&part))?;
        Ok((data, was_over))
    }

    /// The same however the body is cut.
    fn read_in_every_way(body: &'static [u8]) -> Result<(Vec<u8>, bool), BrokenChunks> {
        let whole = read(&[body]);
        assert_eq!(read(&body.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
        for at in 0..body.len() {
            let (first, second) = body.split_at(at);
            assert_eq!(read(&[first, second]), whole, "cut at {at}");
        }
        whole
    }

    #[test]
    fn chunks_are_taken_off_and_what_follows_the_last_is_dropped() {
        for body in [
            &b"5\r\nhello\r\n1\r\n,\r\n0\r\n\r\n"[..],
            b"005;name=\"v\"\r\nhello\r\n1 ;x\r\n,\r\n0;y\r\nX-Trailer: 1\r\n\r\n",
            b"6\r\nhello,\r\n0\r\n\r\n3\r\nnot\r\n",
        ] {
            assert_eq!(read_in_every_way(body), Ok((b"hello,".to_vec(), true)));
        }
        assert_eq!(
            read_in_every_way(b"A\r\n0123456789\r\n0\r\n"),
            Ok((b"0123456789".to_vec(), true))
        );
    }

    #[test]
    fn a_body_that_does_not_begin_with_a_size_was_not_put_into_chunks() {
        for body in [
            &b"hello"[..],
            b"abc",
            b"cafe\nau lait",
            b"beef is meat\r\n",
            b"5\nhello",
            b"\r\n5\r\nhello\r\n",
            b"1234567890123456\r\n",
        ] {
            assert_eq!(read_in_every_way(body), Ok((body.to_vec(), false)), "{body:?}");
        }
        assert_eq!(read(&[]), Ok((Vec::new(), false)));
    }

    #[test]
    fn chunks_that_break_off_or_lie_are_broken() {
        for body in [
            &b"5\r\nhel"[..],
            b"5\r\nhello, you",
            b"5\r\nhello\n",
            b"5\r\nhello\r\nfive\r\n",
            b"5\r\nhello\r\n5",
        ] {
            assert_eq!(read_in_every_way(body), Err(BrokenChunks), "{body:?}");
        }
        assert_eq!(
            read_in_every_way(b"5\r\nhello\r\n"),
            Ok((b"hello".to_vec(), false)),
            "an end between two chunks is forgiven"
        );
    }

    #[test]
    fn a_line_of_a_size_has_a_limit() {
        let mut body = b"5;".to_vec();
        body.resize(LONGEST_LINE + 1, b'x');
        let mut chunked = ChunkedBody::default();
        let mut data = Vec::new();
        chunked
            .take(body.clone().into(), |part| data.extend_from_slice(&part))
            .expect("no chunks");
        assert_eq!(data, body);
    }

    #[test]
    fn data_that_goes_another_way_is_counted() {
        let mut body = ChunkedBody::default();
        let nothing = |part: Bytes| assert!(part.is_empty(), "{part:?}");
        body.take(Bytes::from_static(b"5\r\n"), nothing).expect("a size");
        assert_eq!(body.skip(6), Err(BrokenChunks));
        assert_eq!((body.skip(3), body.skip(2)), (Ok(()), Ok(())));
        body.take(Bytes::from_static(b"\r\n0\r\n"), nothing)
            .expect("an end");
        assert!(body.is_over());
        let mut unframed = ChunkedBody::default();
        assert_eq!(unframed.skip(7), Ok(()));
        assert_eq!(
            unframed,
            ChunkedBody {
                expected: Expected::Unframed,
                line: Vec::new()
            }
        );
    }
}
