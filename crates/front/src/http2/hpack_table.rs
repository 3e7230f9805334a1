//! What HPACK's tables hold (RFC 7541 §2.3), as far as it matters for whether a block is malformed: the kind and length of
//! each name, and the size of each line. No text is kept.

use std::collections::VecDeque;

/// RFC 7541 §4.2, RFC 9113 §6.5.2: the size of the table; we announce no other.
const TABLE_SIZE: usize = 4096;

/// RFC 7541 §4.1
const OVERHEAD: usize = 32;

/// RFC 7541 §2.3.1
const STATIC: usize = 61;

/// What HPACK's rules do not allow, or a block that is cut.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// What a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    /// A header.
    Plain,
    /// `:authority`, `:scheme`, `:protocol`; what else they have to be h2 says without losing its place.
    Text,
    /// `:path`, the same; a `#` in it h2 does not mind.
    Path,
    Method,
    /// `te`, which may say `trailers` alone (RFC 9113 §8.2.2).
    Te,
    /// A name that is none, or that no request has.
    Nameless,
}

/// RFC 9113 §8.2.2. h2 knows them too, but not where a block comes in several frames: it ends the connection there, or lets
/// the request pass without the line.
const CONNECTION_SPECIFIC: [&[u8]; 5] = [
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
];

impl FieldKind {
    pub(super) fn of(name: &[u8]) -> FieldKind {
        match name {
            b":authority" | b":scheme" | b":protocol" => FieldKind::Text,
            b":path" => FieldKind::Path,
            b":method" => FieldKind::Method,
            b"te" => FieldKind::Te,
            _ if CONNECTION_SPECIFIC.contains(&name) => FieldKind::Nameless,
            [_, ..] if name.iter().copied().all(is_name_byte) => FieldKind::Plain,
            _ => FieldKind::Nameless,
        }
    }

    /// It may stand among trailers.
    pub(super) fn is_header(self) -> bool {
        matches!(self, FieldKind::Plain | FieldKind::Te)
    }

    pub(super) fn takes(self, value: &[u8]) -> bool {
        // RFC 9113 §8.2.1: no value begins or ends with a blank.
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if is_blank(value.first()) || is_blank(value.last()) {
            return false;
        }
        match self {
            FieldKind::Plain => value
                .iter()
                .all(|byte| matches!(byte, b'\t' | b' '..=0x7e | 0x80..)),
            FieldKind::Text | FieldKind::Path => std::str::from_utf8(value).is_ok(),
            FieldKind::Method => !value.is_empty() && value.iter().copied().all(is_method_byte),
            FieldKind::Te => value == b"trailers",
            FieldKind::Nameless => false,
        }
    }
}

/// RFC 9110 §5.6.2, without upper case (RFC 9113 §8.2.1), and the quotation mark, which h2 takes.
fn is_name_byte(byte: u8) -> bool {
    byte == b'"' || is_method_byte(byte) && !byte.is_ascii_uppercase()
}

fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A name that a block refers to.
#[derive(Clone, Copy)]
pub(super) struct FieldName {
    pub(super) kind: FieldKind,
    pub(super) length: usize,
}

impl FieldName {
    pub(super) fn of(name: &[u8]) -> FieldName {
        FieldName {
            kind: FieldKind::of(name),
            length: name.len(),
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// `:path` has a `#`, which h2 lets pass.
    Fragment,
    /// Its message is malformed (RFC 9113 §8.1.1).
    Malformed,
}

/// A line in the table of HPACK, as far as it matters. The table bounds its numbers.
struct TableLine {
    kind: FieldKind,
    name_length: u16,
    size: u16,
    fault: Fault,
}

/// HPACK's dynamic table as the client and h2 have it, in front of it the static one.
#[derive(Default)]
pub(super) struct HpackTable {
    /// The newest first.
    lines: VecDeque<TableLine>,
    size: usize,
    limit: Option<usize>,
}

impl HpackTable {
    /// The name at an index, and what is wrong with its line.
    pub(super) fn line(&self, index: usize) -> Result<(FieldName, Fault), Broken> {
        match index {
            0 => Err(Broken),
            1..=STATIC => {
                let kind = match index {
                    1 | 6 | 7 => FieldKind::Text,
                    4 | 5 => FieldKind::Path,
                    2 | 3 => FieldKind::Method,
                    8..=14 | 57 => FieldKind::Nameless, // :status, transfer-encoding
                    _ => FieldKind::Plain,
                };
                let length = STATIC_NAMES[index - 1].len();
                let fault = match kind {
                    FieldKind::Nameless => Fault::Malformed,
                    _ => Fault::None,
                };
                Ok((FieldName { kind, length }, fault))
            }
            _ => {
                let line = self.lines.get(index - STATIC - 1).ok_or(Broken)?;
                let (kind, length) = (line.kind, usize::from(line.name_length));
                Ok((FieldName { kind, length }, line.fault))
            }
        }
    }

    /// RFC 7541 §4.4: a line comes in.
    pub(super) fn insert(&mut self, name: FieldName, value_length: usize, fault: Fault) {
        let size = name.length + value_length + OVERHEAD;
        let limit = self.limit();
        self.evict(limit.saturating_sub(size));
        if let (true, Ok(name_length), Ok(small)) = (size <= limit, name.length.try_into(), size.try_into()) {
            self.size += size;
            self.lines.push_front(TableLine {
                kind: name.kind,
                name_length,
                size: small,
                fault,
            });
        }
    }

    /// RFC 7541 §4.3: the client makes the table smaller or larger.
    pub(super) fn resize(&mut self, limit: usize) -> Result<(), Broken> {
        if limit > TABLE_SIZE {
            return Err(Broken);
        }
        self.limit = Some(limit);
        self.evict(limit);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> Vec<u16> {
        self.lines.iter().map(|line| line.size).collect()
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(TABLE_SIZE)
    }

    fn evict(&mut self, limit: usize) {
        while self.size > limit {
            let Some(oldest) = self.lines.pop_back() else {
                return;
            };
            self.size -= usize::from(oldest.size);
        }
    }
}

/// RFC 7541 Appendix A
#[rustfmt::skip]
const STATIC_NAMES: [&str; STATIC] = [
    ":authority", ":method", ":method", ":path", ":path", ":scheme", ":scheme", ":status", ":status", ":status",
    ":status", ":status", ":status", ":status", "accept-charset", "accept-encoding", "accept-language",
    "accept-ranges", "accept", "access-control-allow-origin", "age", "allow", "authorization", "cache-control",
    "content-disposition", "content-encoding", "content-language", "content-length", "content-location",
    "content-range", "content-type", "cookie", "date", "etag", "expect", "expires", "from", "host", "if-match",
    "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "link", "location",
    "max-forwards", "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh", "retry-after",
    "server", "set-cookie", "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via",
    "www-authenticate",
];

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};
    use hyper::Method;

    #[test]
    fn a_name_and_a_value_are_good_where_h2_takes_them() {
        for byte in 0..=u8::MAX {
            let (name, value) = ([b'x', byte], [byte]);
            let is_plain = FieldKind::of(&name) == FieldKind::Plain;
            assert_eq!(
                is_plain,
                HeaderName::from_lowercase(&name).is_ok(),
                "name {byte:x}"
            );
            let is_blank = matches!(byte, b' ' | b'\t');
            assert_eq!(
                FieldKind::Plain.takes(&value),
                HeaderValue::from_bytes(&value).is_ok() && !is_blank,
                "value {byte:x}"
            );
            assert_eq!(
                FieldKind::Method.takes(&value),
                Method::from_bytes(&value).is_ok(),
                "method {byte:x}"
            );
        }
        assert!(FieldKind::of(b"te").takes(b"trailers") && !FieldKind::of(b"te").takes(b"gzip"));
        assert!(CONNECTION_SPECIFIC
            .iter()
            .all(|name| FieldKind::of(name) == FieldKind::Nameless));
        assert!(FieldKind::Plain.takes(b"") && FieldKind::Text.takes(b"") && !FieldKind::Method.takes(b""));
        for kind in [FieldKind::Text, FieldKind::Path] {
            assert!(kind.takes("/\u{e9}".as_bytes()) && !kind.takes(b"/\xe9"));
        }
    }

    #[test]
    fn no_value_begins_or_ends_with_a_blank() {
        for kind in [FieldKind::Plain, FieldKind::Text, FieldKind::Path] {
            for value in [&b" a"[..], b"a ", b"\ta", b"a\t", b" ", b"\t\t"] {
                assert!(!kind.takes(value), "{kind:?} {value:x?}");
            }
        }
        assert!(FieldKind::Plain.takes(b"a b") && FieldKind::Plain.takes(b"a\tb"));
    }

    #[test]
    fn the_table_forgets_as_the_rules_say() {
        let (mut table, name) = (HpackTable::default(), FieldName::of(b"x-name"));
        for _ in 0..100 {
            table.insert(name, 62, Fault::None); // 100 bytes
        }
        assert_eq!(table.sizes(), [100; 40]);
        table.resize(232).expect("a size");
        assert_eq!(table.sizes(), [100; 2]);
        table.resize(4096).expect("a size");
        table.insert(name, 0, Fault::Malformed);
        assert_eq!(table.sizes(), [38, 100, 100]);
        assert!(table.line(62).is_ok_and(|(_, fault)| fault == Fault::Malformed));
        assert!(table.line(64).is_ok_and(|(_, fault)| fault == Fault::None));
        assert!(table.line(65).is_err() && table.line(0).is_err());
        // What is larger than all of it empties it.
        table.insert(name, 4096, Fault::None);
        assert!(table.sizes().is_empty() && table.size() == 0);
        assert_eq!(table.resize(4097), Err(Broken));
    }
}
