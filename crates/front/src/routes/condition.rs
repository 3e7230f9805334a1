//! Conditions of `route-if` (compat §5.1): a name and operands that are separated by `;`.

use std::net::IpAddr;
use std::path::Path;

use regex::bytes::{Regex, RegexBuilder};

use super::case::Case;
use super::template::Template;

/// A compiled condition.
#[derive(Debug)]
pub(super) struct Condition {
    kind: Kind,
    operands: Vec<Template>,
}

#[derive(Debug)]
enum Kind {
    Exists,
    IsFile,
    IsDir,
    IsLink,
    IsExecutable,
    Empty,
    Equal,
    StartsWith,
    EndsWith,
    Contains,
    Compare(fn(&f64, &f64) -> bool),
    InNetwork(Network),
    Matches(Regex),
}

#[derive(Debug)]
struct Network {
    address: IpAddr,
    bits: u32,
}

const NAMES: &str =
    "exists, isfile, isdir, islink, isexec, empty, equal, startswith, endswith, contains, regexp, ishigher, \
                     islower, higherequal, lowerequal, ipv4in and ipv6in";

impl Condition {
    /// `text`: `NAME:OPERAND;OPERAND`.
    pub(super) fn compile(text: &str) -> Result<Condition, String> {
        let (name, arguments) = text
            .split_once(':')
            .ok_or_else(|| format!("the condition {text:?} has no colon; write NAME:OPERANDS"))?;
        let (kind, count) = match name {
            "exists" => (Kind::Exists, 1),
            "isfile" => (Kind::IsFile, 1),
            "isdir" => (Kind::IsDir, 1),
            "islink" => (Kind::IsLink, 1),
            "isexec" => (Kind::IsExecutable, 1),
            "empty" => (Kind::Empty, 1),
            "equal" | "isequal" | "eq" | "==" => (Kind::Equal, 2),
            "startswith" => (Kind::StartsWith, 2),
            "endswith" => (Kind::EndsWith, 2),
            "contains" | "contain" => (Kind::Contains, 2),
            "ishigher" | ">" => (Kind::Compare(f64::gt), 2),
            "islower" | "<" => (Kind::Compare(f64::lt), 2),
            "ishigherequal" | "higherequal" | ">=" => (Kind::Compare(f64::ge), 2),
            "islowerequal" | "lowerequal" | "<=" => (Kind::Compare(f64::le), 2),
            "regexp" | "re" => {
                let (subject, pattern) = two(name, arguments)?;
                let subject = Template::compile(subject)?;
                return Ok(Condition {
                    kind: Kind::Matches(regex(pattern, subject.is_host())?),
                    operands: vec![subject],
                });
            }
            "ipv4in" | "ipv6in" => {
                let (subject, network) = two(name, arguments)?;
                return Ok(Condition {
                    kind: Kind::InNetwork(Network::parse(network, name == "ipv6in")?),
                    operands: vec![Template::compile(subject)?],
                });
            }
            _ => return Err(format!("there is no condition {name:?}; there are {NAMES}")),
        };
        let operands = if count == 1 {
            vec![Template::compile(arguments)?]
        } else {
            let (one, other) = two(name, arguments)?;
            vec![Template::compile(one)?, Template::compile(other)?]
        };
        Ok(Condition { kind, operands })
    }

    pub(super) fn holds(&self, case: &Case<'_>) -> bool {
        let mut filled: Vec<_> = self.operands.iter().map(|operand| operand.fill(case)).collect();
        if self.operands.iter().any(Template::is_host) {
            filled.iter_mut().for_each(|text| text.make_ascii_lowercase());
        }
        let one = filled.first().map_or(&[][..], Vec::as_slice);
        let other = filled.get(1).map_or(&[][..], Vec::as_slice);
        let path = || Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(one));
        match &self.kind {
            Kind::Exists => path().exists(),
            Kind::IsFile => path().is_file(),
            Kind::IsDir => path().is_dir(),
            Kind::IsLink => path().is_symlink(),
            Kind::IsExecutable => path().metadata().is_ok_and(|about| {
                about.is_file() && std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o111 != 0
            }),
            Kind::Empty => one.is_empty(),
            Kind::Equal => one == other,
            Kind::StartsWith => one.starts_with(other),
            Kind::EndsWith => one.ends_with(other),
            Kind::Contains => other.is_empty() || one.windows(other.len()).any(|window| window == other),
            Kind::Compare(compare) => match (number(one), number(other)) {
                (Some(one), Some(other)) => compare(&one, &other),
                _ => false,
            },
            Kind::InNetwork(network) => std::str::from_utf8(one)
                .ok()
                .and_then(|text| text.parse().ok())
                .is_some_and(|address| network.has(address)),
            Kind::Matches(regex) => regex.is_match(one),
        }
    }
}

fn two<'a>(name: &str, arguments: &'a str) -> Result<(&'a str, &'a str), String> {
    arguments
        .split_once(';')
        .ok_or_else(|| format!("{name} needs two operands with a ; between them, not {arguments:?}"))
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

impl Network {
    fn parse(text: &str, is_v6: bool) -> Result<Network, String> {
        let what = if is_v6 { "IPv6" } else { "IPv4" };
        let complaint = || format!("{text:?} is no {what} network; write ADDRESS/BITS");
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| complaint())?;
        let longest = if is_v6 { 128 } else { 32 };
        let bits = if bits.is_empty() {
            longest
        } else {
            bits.parse().map_err(|_| complaint())?
        };
        if address.is_ipv6() != is_v6 || bits > longest {
            return Err(complaint());
        }
        Ok(Network { address, bits })
    }

    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = u32::from(network) ^ u32::from(address);
                differing.leading_zeros() >= self.bits
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = u128::from(network) ^ u128::from(address);
                differing.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

/// Compiles a pattern; of a host's name it does not mind the case (RFC 9110 §4.2.3). It looks at bytes and a dot is any of
/// them, or `%ff` and `%0a` would hide the rest of a path from `^/admin.*$`; only a class of letters beyond ASCII makes it one
/// of characters.
pub(super) fn regex(pattern: &str, is_host: bool) -> Result<Regex, String> {
    let compile = |of_characters: bool| {
        RegexBuilder::new(pattern)
            .case_insensitive(is_host)
            .dot_matches_new_line(true)
            .unicode(of_characters)
            .build()
    };
    compile(false).or_else(|_| compile(true)).map_err(|error| {
        let text = error.to_string();
        let why = text
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        format!("the regular expression {pattern:?} cannot be used: {why}")
    })
}

#[cfg(test)]
mod tests {
    use fairlead_http::{Request, Version};

    use super::*;

    fn holds(text: &str) -> bool {
        let request = Request::builder(b"GET", b"/a/b", Version::Http11)
            .header(b"Host", b"Example.Org")
            .peer(fairlead_http::Address::Inet(
                "192.168.7.9:1".parse().expect("an address"),
            ))
            .finish();
        Condition::compile(text)
            .expect(text)
            .holds(&Case::new(&request, None, 0))
    }

    #[test]
    fn conditions_hold_or_do_not() {
        for (text, expected) in [
            ("exists:/", true),
            ("exists:/no/such/file", false),
            ("isdir:/", true),
            ("isfile:/", false),
            ("islink:/proc/self/exe", true),
            ("isexec:/bin/sh", true),
            ("isexec:/", false),
            ("empty:${NOTHING}", true),
            ("empty:${HTTP_HOST}", false),
            ("equal:${HTTP_HOST};example.org", true),
            ("equal:${HTTP_HOST};EXAMPLE.org", true),
            ("startswith:Example.org;${HTTP_HOST}", true),
            ("equal:${HTTP_HOST}${PATH_INFO};example.org/a/b", true),
            ("equal:${HTTP_HOST}${PATH_INFO};example.org/A/b", false),
            ("re:${HTTP_HOST};^EXAMPLE", true),
            ("==:${HTTP_HOST};example.com", false),
            ("startswith:${PATH_INFO};/a", true),
            ("endswith:${PATH_INFO};/a", false),
            ("contains:${PATH_INFO};/b", true),
            ("contain:${PATH_INFO};", true),
            ("ishigher:10;9", true),
            ("<:10;9", false),
            (">=:9;9", true),
            ("<=:x;9", false),
            ("regexp:${PATH_INFO};^/./b$", true),
            ("re:${PATH_INFO};^b", false),
            ("ipv4in:${REMOTE_ADDR};192.168.0.0/16", true),
            ("ipv4in:${REMOTE_ADDR};192.168.7.8/31", true),
            ("ipv4in:${REMOTE_ADDR};192.168.7.8", false),
            ("ipv4in:${HTTP_HOST};0.0.0.0/0", false),
            ("ipv6in:${REMOTE_ADDR};::/0", false),
            ("ipv6in:2001:db8::1;2001:db8::/32", true),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }

    #[test]
    fn conditions_that_cannot_be_are_refused() {
        for bad in [
            "exists",
            "nosuch:x",
            "equal:one",
            "regexp:x;(",
            "ipv4in:x;::1",
            "ipv4in:x;1.2.3.4/33",
            "ipv6in:x;1.2.3.4",
            "ipv4in:x",
        ] {
            Condition::compile(bad).expect_err(bad);
        }
    }
}
