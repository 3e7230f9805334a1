//! What a Host header may hold, whoever wrote it: a client, or a proxy that says what its client had written.

/// RFC 9110 §7.2: `uri-host [ ":" port ]`, which may be empty. Its characters are those of RFC 3986 §3.2.2; a path, a user
/// or a list would mean different hosts to different readers.
pub fn is_host(value: &[u8]) -> bool {
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
    let (name_is_good, port) = match value.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|&byte| byte == b']') {
            Some(end) => {
                let good = rest[..end]
                    .iter()
                    .all(|byte| byte.is_ascii_hexdigit() || b":.vV%".contains(byte));
                (good && end > 0, &rest[end + 1..])
            }
            None => return false,
        },
        None => {
            let end = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
            (value[..end].iter().all(of_name), &value[end..])
        }
    };
    let port_is_good = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    name_is_good && port_is_good
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in [
            "",
            "example.org",
            "example.org:80",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:443",
            "a_b-c",
            "host:",
        ] {
            assert!(is_host(good.as_bytes()), "{good:?}");
        }
        for bad in [
            "a/b",
            "user@host",
            "a b",
            "a,b",
            "host:http",
            "host:123456",
            "[::1",
            "[]",
            "a?b",
            "a#b",
            "[::1]x",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad:?}");
        }
    }
}
