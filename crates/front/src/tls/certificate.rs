//! What the front reads of a certificate itself: until when it holds, and whose it is, RFC 5280 §4.1.
//!
//! Signatures and names are the TLS library's business, which keeps these two to itself. A certificate that reads
//! differently than expected gives nothing, never a panic: clients send them.

/// A certificate's own words about itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The last second in which it holds, since 1970.
    pub(crate) not_after_s: i64,
    /// Its subject as OpenSSL's `X509_NAME_oneline` writes it, for example `/O=Fairlead/CN=example.org`; what uWSGI shows.
    pub(crate) subject: String,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, constructed.
const VERSION: u8 = 0xa0;

/// RFC 4514 §3 and RFC 2985: the attributes that OpenSSL has short names for and that occur.
const NAMES: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];

impl Facts {
    /// Reads them from DER.
    pub(crate) fn of(certificate: &[u8]) -> Option<Facts> {
        let mut certificate = Der(Der(certificate).value(SEQUENCE)?);
        let mut body = Der(certificate.value(SEQUENCE)?);
        if body.0.first() == Some(&VERSION) {
            body.next()?;
        }
        body.next()?; // serial number
        body.next()?; // signature algorithm
        body.next()?; // issuer
        let mut validity = Der(body.value(SEQUENCE)?);
        validity.next()?; // not before
        let (kind, time) = validity.next()?;
        Some(Facts {
            not_after_s: seconds(kind, time)?,
            subject: one_line(body.value(SEQUENCE)?)?,
        })
    }
}

/// Elements of DER that follow each other, X.690 §8.1.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element's tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, first, rest @ ..] = self.0 else {
            return None;
        };
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 => {
                let [high, low, rest @ ..] = rest else { return None };
                (usize::from(*high) << 8 | usize::from(*low), rest)
            }
            // No certificate is longer: a handshake message ends at 64 KiB.
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    /// The next element's content, if it has this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| content)
    }
}

/// RFC 5280 §4.1.2.5: `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` later.
fn seconds(kind: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let year_digits = match kind {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    if digits.len() != year_digits + 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
    };
    let (year, rest) = digits.split_at(year_digits);
    let year = match (kind, number(year)) {
        (UTC_TIME, year @ 50..) => 1900 + year,
        (UTC_TIME, year) => 2000 + year,
        (_, year) => year,
    };
    let part = |at: usize| number(&rest[at..at + 2]);
    let days = days_since_1970(year, part(0), part(2));
    Some(((days * 24 + part(4)) * 60 + part(6)) * 60 + part(8))
}

/// The civil calendar in days, counted in years that begin in March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn one_line(name: &[u8]) -> Option<String> {
    let mut line = String::new();
    let mut sets = Der(name);
    while !sets.0.is_empty() {
        let mut set = Der(sets.value(SET)?);
        while !set.0.is_empty() {
            let mut pair = Der(set.value(SEQUENCE)?);
            let id = pair.value(OID)?;
            let (_, text) = pair.next()?;
            line.push('/');
            match NAMES.iter().find(|(known, _)| *known == id) {
                Some((_, name)) => line.push_str(name),
                None => line.push_str(&dotted(id)),
            }
            line.push('=');
            for byte in text {
                match byte {
                    b' '..=b'~' => line.push(char::from(*byte)),
                    other => line.push_str(&format!("\\x{other:02X}")),
                }
            }
        }
    }
    Some(line)
}

/// X.690 §8.19: the first byte holds two numbers, the others seven bits of one each.
fn dotted(id: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0u64;
    for byte in id {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first);
                number -= first * 40;
            }
            numbers.push(number);
            number = 0;
        }
    }
    let texts: Vec<String> = numbers.iter().map(u64::to_string).collect();
    texts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut all = vec![tag];
        match content.len() {
            short @ 0..=0x7f => all.push(short as u8),
            long @ 0x80..=0xff => all.extend([0x81, long as u8]),
            long => all.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        all.extend_from_slice(content);
        all
    }

    fn certificate(not_after: &[u8], subject: &[u8]) -> Vec<u8> {
        let validity = element(
            SEQUENCE,
            &[element(UTC_TIME, b"200101000000Z"), not_after.to_vec()].concat(),
        );
        let body = [
            element(VERSION, &[2, 1, 2]),
            element(2, &[1]),
            element(SEQUENCE, &[]),
            element(SEQUENCE, &[]),
            validity,
            element(SEQUENCE, subject),
            element(SEQUENCE, &[0; 300]),
        ];
        element(SEQUENCE, &element(SEQUENCE, &body.concat()))
    }

    fn attribute(id: &[u8], value: &[u8]) -> Vec<u8> {
        let pair = [element(OID, id), element(12, value)].concat();
        element(SET, &element(SEQUENCE, &pair))
    }

    #[test]
    fn the_end_and_the_owner_of_a_certificate_are_read() {
        let subject = [
            attribute(&[0x55, 4, 10], b"Fairlead"),
            attribute(&[0x2a, 3, 0x88, 0x37], b"\xc3\xbc"),
            attribute(&[0x55, 4, 3], b"example.org"),
        ];
        let read = Facts::of(&certificate(
            &element(UTC_TIME, b"261123001500Z"),
            &subject.concat(),
        ));
        let expected = Facts {
            not_after_s: 1_795_392_900,
            subject: "/O=Fairlead/1.2.3.1079=\\xC3\\xBC/CN=example.org".into(),
        };
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn times_have_two_forms_and_two_centuries() {
        assert_eq!(seconds(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(UTC_TIME, b"000229120000Z"), Some(951_825_600));
        assert_eq!(seconds(GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000));
        for bad in [&b"700101000000"[..], b"7001010000Z", b"70010100000xZ", b"Z", b""] {
            assert_eq!(seconds(UTC_TIME, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_certificate_that_is_cut_anywhere_gives_nothing() {
        let whole = certificate(
            &element(UTC_TIME, b"261123001500Z"),
            &attribute(&[0x55, 4, 3], b"x"),
        );
        assert!(Facts::of(&whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(Facts::of(&whole[..length]), None, "{length}");
        }
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 0xff;
            let _ = Facts::of(&other);
        }
    }
}
