//! The property of a uwsgi packet: any cut of the stream gives the same packet or the same error, and takes the same bytes
//! of it; a second and simpler reader finds the same variables; and a request that is made of them holds nothing that could
//! break out of a header or a log line.
//!
//! Input of a fuzzer: a byte that chooses limits and cuts, then the stream.

use std::collections::BTreeMap;

use fairlead_http::{Packet, PacketError, PacketLimits, PacketReader, Request, PONG_PACKET};

/// Checks the property for the input of a fuzzer.
pub fn run(data: &[u8]) {
    let Some((choice, stream)) = data.split_first() else {
        return;
    };
    let limits = PacketLimits {
        max_block: if choice & 0x80 == 0 { 65_535 } else { 256 },
        max_variables: if choice & 0x40 == 0 { 256 } else { 3 },
    };
    let whole = read([stream].into_iter(), limits);
    let size = usize::from(choice & 0x3f) + 1;
    for size in [1, size] {
        let cut = read(stream.chunks(size), limits);
        assert_eq!(described(&cut), described(&whole), "in pieces of {size}");
    }
    match whole {
        Ok(Some((packet, taken))) => check(&packet, &stream[..taken], limits),
        Ok(None) => assert_eq!(simply(stream, limits), Some(None)),
        Err(error) => {
            assert!(!error.to_string().contains(['\r', '\n']), "a log line stays one");
            assert_eq!(simply(stream, limits), None, "{error}");
        }
    }
}

type Read = Result<Option<(Packet, usize)>, PacketError>;

/// All pieces until there is a packet or an error, and the bytes that it took in all.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: PacketLimits) -> Read {
    let mut reader = PacketReader::new(limits);
    let mut before = 0;
    for piece in pieces {
        if let Some((packet, taken)) = reader.receive(piece)? {
            assert!(taken <= piece.len());
            assert_eq!(reader.received(), 0);
            return Ok(Some((packet, before + taken)));
        }
        before += piece.len();
        assert_eq!(reader.received(), before, "nothing but the packet is kept");
        assert!(before < 4 + limits.max_block);
    }
    Ok(None)
}

fn described(read: &Read) -> String {
    format!("{read:?}")
}

type Variables = Vec<(Vec<u8>, Vec<u8>)>;

/// `None`: broken. `Some(None)`: not complete.
fn simply(stream: &[u8], limits: PacketLimits) -> Option<Option<Variables>> {
    const OTHERS: [&[u8]; 11] = [
        b"GET ",
        b"HEAD",
        b"POST",
        b"PUT ",
        b"DELE",
        b"OPTI",
        b"PATC",
        b"CONN",
        b"TRAC",
        b"PRI ",
        b"\x16\x03",
    ];
    if stream.len() < 4 {
        return Some(None);
    }
    let size = usize::from(stream[1]) + 256 * usize::from(stream[2]);
    if size > limits.max_block || OTHERS.iter().any(|other| stream.starts_with(other)) {
        return None;
    }
    let Some(mut block) = stream[4..].get(..size) else {
        return Some(None);
    };
    let mut variables = Vec::new();
    while !block.is_empty() {
        let key = text(&mut block)?;
        variables.push((key, text(&mut block)?));
    }
    let is_fine = variables.len() <= limits.max_variables && variables.iter().all(|(key, _)| !key.is_empty());
    is_fine.then_some(Some(variables))
}

fn text(block: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(*block.first()?) + 256 * usize::from(*block.get(1)?);
    let text = block.get(2..2 + length)?.to_vec();
    *block = &block[2 + length..];
    Some(text)
}

fn check(packet: &Packet, bytes: &[u8], limits: PacketLimits) {
    assert_eq!((packet.modifier1(), packet.modifier2()), (bytes[0], bytes[3]));
    assert_eq!(packet.is_ping(), bytes[0] == PONG_PACKET[0] && bytes[3] == 0);
    let sent: Variables = packet
        .variables()
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(simply(bytes, limits), Some(Some(sent.clone())));
    match packet.request() {
        Ok(request) => check_request(&request, packet, sent),
        Err(error) => assert!(!error.to_string().contains(['\r', '\n']), "a log line stays one"),
    }
}

fn check_request(request: &Request, packet: &Packet, sent: Variables) {
    assert!(request.is_given());
    let latin1 = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let mut wanted: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (key, value) in sent {
        wanted.insert(latin1(&key), value);
    }
    wanted.remove("HTTP_PROXY");
    let mut found = BTreeMap::new();
    request.for_each_cgi_variable(|name, value| {
        assert_eq!(
            found.insert(name.to_owned(), value.to_vec()),
            None,
            "{name} came twice"
        );
    });
    if packet.modifier1() == 30 {
        // The one variable that is not given as it was sent.
        let (before, after) = (wanted.remove("PATH_INFO"), found.remove("PATH_INFO"));
        assert!(before.unwrap_or_default().ends_with(&after.unwrap_or_default()));
    }
    assert_eq!(found, wanted);
    assert!(!request.method().is_empty());
    for text in [request.method(), request.target()] {
        assert!(text
            .iter()
            .all(|byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f));
    }
    for (name, value) in request.headers() {
        assert!(!name.is_empty() && !name.iter().any(|byte| b"\r\n: \t".contains(byte)));
        assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)));
        assert_ne!(name, b"transfer-encoding");
        assert_ne!(name, b"proxy");
    }
    let length = request.content_length();
    assert_eq!(request.has_body(), length.is_some_and(|length| length > 0));
}
