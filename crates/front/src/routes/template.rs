//! Arguments of actions and conditions: text with holes for what a rule has matched and what is known of a request.
//!
//! Compiled once, when the rules are read; filling one copies bytes and cannot fail. What is not there is empty (compat §5.1).
//! What fills a target and was decoded is encoded again on the way, so that it stays what it was: a part of the path, or one
//! value in the query.
//! `$1` … `$9` are groups of the rule's regular expression, `${NAME}` a CGI variable, `${function[argument]}` one of
//! [`Hole`]'s others.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use fairlead_http::{encode_path, encode_query, encode_target};

use super::case::{is_host_variable, Case, Form};
use crate::nonce::nonce;

/// A compiled argument.
#[derive(Debug)]
pub(super) struct Template(Vec<Fragment>);

#[derive(Debug)]
enum Fragment {
    Text(Vec<u8>),
    Hole(Hole),
}

#[derive(Debug)]
enum Hole {
    /// `$n`
    Group(usize),
    /// `${NAME}`
    Variable(String),
    /// `${cookie[name]}`
    Cookie(String),
    /// `${qs[name]}`: as it was sent, not decoded.
    Query(String),
    /// `${time[unix]}`: seconds.
    Time,
    /// `${base64[NAME]}`: a variable's value, encoded.
    Base64(String),
    /// `${uwsgi[wid]}`
    Wid,
    /// `${uwsgi[pid]}`
    Pid,
    /// `${uwsgi[uuid]}`: another one each time (RFC 9562 §5.4).
    Uuid,
    /// `${uwsgi[status]}`
    Status,
}

impl Template {
    /// # Errors
    /// One sentence about a hole that is not closed or not known.
    pub(super) fn compile(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.extend_from_slice(&rest.as_bytes()[..at]);
            let after = &rest[at + 1..];
            let (hole, length) = match after.as_bytes() {
                [digit @ b'0'..=b'9', ..] => (Hole::Group(usize::from(digit - b'0')), 1),
                [b'{', ..] => {
                    let end = after
                        .find('}')
                        .ok_or_else(|| format!("{text:?} has a ${{ without its }}"))?;
                    (hole(&after[1..end])?, end + 1)
                }
                _ => {
                    literal.push(b'$');
                    rest = after;
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Fragment::Text(std::mem::take(&mut literal)));
            }
            parts.push(Fragment::Hole(hole));
            rest = &after[length..];
        }
        literal.extend_from_slice(rest.as_bytes());
        if !literal.is_empty() {
            parts.push(Fragment::Text(literal));
        }
        Ok(Template(parts))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, if it has no holes.
    pub(super) fn constant(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Fragment::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub(super) fn fill(&self, case: &Case<'_>) -> Vec<u8> {
        let mut filled = Vec::new();
        for part in &self.0 {
            match part {
                Fragment::Text(text) => filled.extend_from_slice(text),
                Fragment::Hole(hole) => fill(hole, case, &mut filled),
            }
        }
        filled
    }

    /// For a request target or a URL.
    pub(super) fn fill_target(&self, case: &Case<'_>) -> Vec<u8> {
        let mut target = Vec::new();
        for part in &self.0 {
            match part {
                Fragment::Text(text) => target.extend_from_slice(text),
                Fragment::Hole(hole) => {
                    let value = encoded(hole, case, target.contains(&b'?'));
                    target.extend_from_slice(&value);
                }
            }
        }
        target
    }

    /// For a path, which stays decoded, and perhaps a query. No decoded `?` begins one.
    pub(super) fn fill_path(&self, case: &Case<'_>) -> (Vec<u8>, Option<Vec<u8>>) {
        let (mut path, mut query) = (Vec::new(), None::<Vec<u8>>);
        for part in &self.0 {
            let (value, form) = match part {
                Fragment::Text(text) => (text.clone(), Form::AsSent),
                Fragment::Hole(hole) if query.is_some() => (encoded(hole, case, true), Form::Decoded),
                Fragment::Hole(hole) => {
                    let mut value = Vec::new();
                    fill(hole, case, &mut value);
                    (value, hole.form(case))
                }
            };
            if let Some(query) = &mut query {
                query.extend_from_slice(&value);
                continue;
            }
            let mark = value.iter().position(|byte| *byte == b'?');
            match mark.filter(|_| form == Form::AsSent) {
                Some(at) => {
                    path.extend_from_slice(&value[..at]);
                    query = Some(value[at + 1..].to_vec());
                }
                None => path.extend_from_slice(&value),
            }
        }
        (path, query)
    }

    /// How what fills it is written.
    pub(super) fn form(&self, case: &Case<'_>) -> Form {
        let is_decoded =
            |part: &Fragment| matches!(part, Fragment::Hole(hole) if hole.form(case) == Form::Decoded);
        if self.0.iter().any(is_decoded) {
            Form::Decoded
        } else {
            Form::AsSent
        }
    }

    /// It is the name of a host, and nothing else.
    pub(super) fn is_host(&self) -> bool {
        matches!(self.0.as_slice(), [Fragment::Hole(Hole::Variable(name))] if is_host_variable(name))
    }
}

impl Hole {
    fn form(&self, case: &Case<'_>) -> Form {
        match self {
            Hole::Group(_) => case.groups_form(),
            Hole::Variable(name) => case.form(name),
            // Its alphabet has a plus sign.
            Hole::Base64(_) => Form::Decoded,
            _ => Form::AsSent,
        }
    }
}

fn encoded(hole: &Hole, case: &Case<'_>, in_query: bool) -> Vec<u8> {
    let mut value = Vec::new();
    fill(hole, case, &mut value);
    match hole.form(case) {
        Form::AsSent => encode_target(&value),
        Form::Decoded if in_query => encode_query(&value),
        Form::Decoded => encode_path(&value),
    }
}

fn hole(name: &str) -> Result<Hole, String> {
    let Some((function, argument)) = name.split_once('[') else {
        return if name.is_empty() {
            Err("${} names no variable".into())
        } else {
            Ok(Hole::Variable(name.to_owned()))
        };
    };
    let argument = argument
        .strip_suffix(']')
        .ok_or_else(|| format!("${{{name}}} has a [ without its ]"))?;
    match (function, argument) {
        ("cookie", name) => Ok(Hole::Cookie(name.to_owned())),
        ("qs", name) => Ok(Hole::Query(name.to_owned())),
        ("base64", name) => Ok(Hole::Base64(name.to_owned())),
        ("time", "unix") => Ok(Hole::Time),
        ("uwsgi", "wid") => Ok(Hole::Wid),
        ("uwsgi", "pid") => Ok(Hole::Pid),
        ("uwsgi", "uuid") => Ok(Hole::Uuid),
        ("uwsgi", "status") => Ok(Hole::Status),
        _ => Err(format!(
            "${{{name}}} is not known; there are a variable's name, cookie[NAME], qs[NAME], base64[VARIABLE], time[unix], \
             uwsgi[wid], uwsgi[pid], uwsgi[uuid] and uwsgi[status]"
        )),
    }
}

fn fill(hole: &Hole, case: &Case<'_>, filled: &mut Vec<u8>) {
    match hole {
        Hole::Group(number) => filled.extend_from_slice(case.group(*number)),
        Hole::Variable(name) => filled.extend_from_slice(case.variable(name)),
        Hole::Cookie(name) => {
            let pairs = case.variable("HTTP_COOKIE").split(|byte| *byte == b';');
            filled.extend_from_slice(named(pairs, name));
        }
        Hole::Query(name) => {
            let pairs = case.variable("QUERY_STRING").split(|byte| *byte == b'&');
            filled.extend_from_slice(named(pairs, name));
        }
        Hole::Time => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            filled.extend_from_slice(now.map_or(0, |since| since.as_secs()).to_string().as_bytes());
        }
        Hole::Base64(name) => filled.extend_from_slice(STANDARD.encode(case.variable(name)).as_bytes()),
        Hole::Wid => filled.extend_from_slice(case.worker().to_string().as_bytes()),
        Hole::Uuid => filled.extend_from_slice(uuid().as_bytes()),
        Hole::Pid => filled.extend_from_slice(std::process::id().to_string().as_bytes()),
        Hole::Status => {
            if let Some(status) = case.status() {
                filled.extend_from_slice(status.to_string().as_bytes());
            }
        }
    }
}

/// A version 4 of chance alone.
fn uuid() -> String {
    let mut bytes = nonce();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn named<'a>(pairs: impl Iterator<Item = &'a [u8]>, name: &str) -> &'a [u8] {
    pairs
        .filter_map(|pair| {
            let pair = pair.trim_ascii();
            let at = pair.iter().position(|byte| *byte == b'=')?;
            (pair[..at] == *name.as_bytes()).then_some(&pair[at + 1..])
        })
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use fairlead_http::{Request, Version};

    use super::*;

    fn filled(text: &str) -> String {
        let request = Request::builder(b"GET", b"/a/b?x=1&y=%20", Version::Http11)
            .header(b"Host", b"example.org")
            .header(b"Cookie", b"one=1; two=zwei")
            .finish();
        let mut case = Case::new(&request, None, 7);
        case.set_groups(vec![b"all".to_vec(), b"first".to_vec()], Form::AsSent);
        String::from_utf8(Template::compile(text).expect(text).fill(&case)).expect("text")
    }

    #[test]
    fn holes_are_filled_with_what_is_known() {
        assert_eq!(filled("/x$1/$0$7."), "/xfirst/all.");
        assert_eq!(filled("${HTTP_HOST}${PATH_INFO}${NOTHING}"), "example.org/a/b");
        assert_eq!(filled("${cookie[two]}-${cookie[three]}"), "zwei-");
        assert_eq!(filled("${qs[y]}${qs[x]}"), "%201");
        assert_eq!(filled("${base64[REQUEST_METHOD]}"), "R0VU");
        assert_eq!(filled("${uwsgi[pid]}"), std::process::id().to_string());
        assert_eq!(filled("${uwsgi[wid]}"), "7");
        assert_eq!(filled("-${uwsgi[status]}-"), "--");
        assert!(filled("${time[unix]}").parse::<u64>().expect("seconds") > 1_700_000_000);
        assert_eq!(filled("a $ sign, $x and $"), "a $ sign, $x and $");
    }

    #[test]
    fn what_was_decoded_is_one_part_of_a_target_again() {
        let request = Request::builder(b"GET", b"/a%20b%3Fx%26y?q=%20", Version::Http11).finish();
        let mut case = Case::new(&request, None, 0);
        case.set_groups(vec![Vec::new(), b"%?&".to_vec()], Form::Decoded);
        let target = |text| {
            let filled = Template::compile(text).expect(text).fill_target(&case);
            String::from_utf8(filled).expect("text")
        };
        assert_eq!(target("/x$1${PATH_INFO}"), "/x%25%3F&/a%20b%3Fx&y");
        assert_eq!(
            target("/x?y=$1&z=${PATH_INFO}"),
            "/x?y=%25%3F%26&z=/a%20b%3Fx%26y"
        );
        assert_eq!(target("/x${REQUEST_URI}#end"), "/x/a%20b%3Fx%26y?q=%20#end");
        let path = |text| {
            let (path, query) = Template::compile(text).expect(text).fill_path(&case);
            let text = |bytes| String::from_utf8(bytes).expect("text");
            (text(path), query.map(text))
        };
        assert_eq!(path("/x$1"), ("/x%?&".into(), None));
        assert_eq!(path("/x?y=$1"), ("/x".into(), Some("y=%25%3F%26".into())));
        assert_eq!(path("/x$1?y"), ("/x%?&".into(), Some("y".into())));
        assert_eq!(
            path("/x${REQUEST_URI}"),
            ("/x/a%20b%3Fx%26y".into(), Some("q=%20".into()))
        );
    }

    #[test]
    fn each_uuid_is_another_one_of_version_4() {
        let (one, other) = (filled("${uwsgi[uuid]}"), filled("${uwsgi[uuid]}"));
        assert_ne!(one, other);
        let parts: Vec<_> = one.split('-').collect();
        assert_eq!(
            parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
        assert!(
            parts[2].starts_with('4') && "89ab".contains(&parts[3][..1]),
            "{one}"
        );
        assert!(
            one.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()),
            "{one}"
        );
    }

    #[test]
    fn holes_that_nobody_knows_are_refused() {
        for bad in [
            "${HOST",
            "${}",
            "${nosuch[x]}",
            "${cookie[x}",
            "${time[moon]}",
            "${uwsgi[moon]}",
        ] {
            Template::compile(bad).expect_err(bad);
        }
    }
}
