//! What a client says to open a WebSocket: the same handshake in the three shapes that a server can be asked in.

use crate::args::{Options, Protocol};

/// The bytes that ask for `path`. HTTP/2 has no such bytes of a connection's own: see [`header_block`].
pub fn request(options: &Options, path: &str, key: &str) -> Vec<u8> {
    match options.protocol {
        Protocol::Http => http_head(path, key, scheme(options)).into_bytes(),
        Protocol::Uwsgi => uwsgi_packet(path, key, scheme(options)),
        Protocol::Http2 => unreachable!("a stream is opened by its session"),
    }
}

/// A page's own, because servers compare an origin with their scheme and host.
pub fn scheme(options: &Options) -> &'static str {
    if options.tls {
        "https"
    } else {
        "http"
    }
}

/// RFC 6455 §4.1.
fn http_head(path: &str, key: &str, scheme: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nOrigin: {scheme}://localhost\r\n\r\n"
    )
}

/// The uwsgi protocol: modifier 0 for WSGI, the block's length, modifier 0; then pairs of strings, each behind its
/// length in two bytes, low byte first. The variables are those of nginx's `uwsgi_params` that a handshake needs.
fn uwsgi_packet(path: &str, key: &str, scheme: &str) -> Vec<u8> {
    let origin = format!("{scheme}://localhost");
    let (path_info, query) = path.split_once('?').unwrap_or((path, ""));
    let variables = [
        ("QUERY_STRING", query),
        ("REQUEST_METHOD", "GET"),
        ("CONTENT_TYPE", ""),
        ("CONTENT_LENGTH", ""),
        ("REQUEST_URI", path),
        ("PATH_INFO", path_info),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", scheme),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_PORT", "4711"),
        ("SERVER_PORT", "80"),
        ("SERVER_NAME", "localhost"),
        ("HTTP_HOST", "localhost"),
        ("HTTP_UPGRADE", "websocket"),
        ("HTTP_CONNECTION", "Upgrade"),
        ("HTTP_SEC_WEBSOCKET_KEY", key),
        ("HTTP_SEC_WEBSOCKET_VERSION", "13"),
        ("HTTP_ORIGIN", &origin),
    ];
    let texts = variables.iter().flat_map(|(name, value)| [*name, *value]);
    let mut block = Vec::new();
    for text in texts {
        // Only the path is of any length, and `args` bounds it.
        block.extend_from_slice(&(text.len() as u16).to_le_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    let [low, high] = (block.len() as u16).to_le_bytes();
    [&[0, low, high, 0], block.as_slice()].concat()
}

/// RFC 8441 §4 in HPACK, every field as a literal without indexing and without Huffman (RFC 7541 §6.2.2), so that no
/// state is shared with the server.
pub fn header_block(path: &str, scheme: &str) -> Vec<u8> {
    let origin = format!("{scheme}://localhost");
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", scheme),
        (":path", path),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
        ("origin", &origin),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        push_string(&mut block, name);
        push_string(&mut block, value);
    }
    block
}

/// A length with a prefix of seven bits (RFC 7541 §5.1), then the octets.
fn push_string(block: &mut Vec<u8>, text: &str) {
    const PREFIX: usize = 0x7F;
    if text.len() < PREFIX {
        block.push(text.len() as u8);
    } else {
        block.push(PREFIX as u8);
        let mut rest = text.len() - PREFIX;
        while rest >= 0x80 {
            block.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        block.push(rest as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uwsgi_packet_announces_its_block_and_each_string() {
        let packet = uwsgi_packet("/chat?room=1", "the key", "http");
        let announced = u16::from_le_bytes([packet[1], packet[2]]) as usize;
        assert_eq!((packet[0], packet[3], packet.len() - 4), (0, 0, announced));

        let mut strings = Vec::new();
        let mut rest = &packet[4..];
        while let [low, high, behind @ ..] = rest {
            let (text, next) = behind.split_at(u16::from_le_bytes([*low, *high]).into());
            strings.push(std::str::from_utf8(text).unwrap());
            rest = next;
        }
        assert!(rest.is_empty());
        for pair in [
            ["REQUEST_URI", "/chat?room=1"],
            ["PATH_INFO", "/chat"],
            ["QUERY_STRING", "room=1"],
            ["HTTP_SEC_WEBSOCKET_KEY", "the key"],
        ] {
            assert!(strings.chunks(2).any(|two| two == pair), "{pair:?}");
        }
    }

    #[test]
    fn a_string_of_hpack_has_its_length_in_as_many_bytes_as_it_takes() {
        for (len, announced) in [
            (0, &[0][..]),
            (126, &[126]),
            (127, &[127, 0]),
            // The example of RFC 7541 §C.1.2 has a prefix of five bits: 1337 - 31 there, 1433 - 127 here.
            (1433, &[127, 0x9A, 0x0A]),
        ] {
            let mut block = Vec::new();
            push_string(&mut block, &"x".repeat(len));
            assert_eq!(&block[..announced.len()], announced);
            assert_eq!(block.len(), announced.len() + len);
        }
    }
}
