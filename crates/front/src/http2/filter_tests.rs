//! What comes of thousands of blocks, good and malformed, when h2 reads them behind the filter.
//!
//! The client here is a full HPACK of its own: it knows each header that it means. So a table that the filter has put out of
//! step shows as a header that nobody sent, which is what must never happen between two clients of one proxy.

use std::collections::{BTreeMap, VecDeque};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http2::filter::{IncomingFilter, Unheard};
use crate::http2::huffman;

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// Numbers that look random, always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The client's side of RFC 7541.
struct HpackClient {
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
    limit: usize,
}

impl HpackClient {
    fn fit(&mut self) {
        let size = |table: &VecDeque<(Vec<u8>, Vec<u8>)>| -> usize {
            table
                .iter()
                .map(|(name, value)| name.len() + value.len() + 32)
                .sum()
        };
        while size(&self.table) > self.limit {
            self.table.pop_back();
        }
    }

    fn resize(&mut self, limit: usize, block: &mut Vec<u8>) {
        number(0x20, 5, limit, block);
        self.limit = limit;
        self.fit();
    }

    /// `name` is a place in the table or a name by its letters.
    fn literal(
        &mut self,
        first: u8,
        name: Result<usize, &[u8]>,
        value: &[u8],
        dice: &mut Dice,
        block: &mut Vec<u8>,
    ) -> Vec<u8> {
        let prefix = if first == 0x40 { 6 } else { 4 };
        let name = match name {
            Ok(place) => {
                number(first, prefix, 62 + place, block);
                self.table[place].0.clone()
            }
            Err(name) => {
                block.push(first);
                text(name, dice, block);
                name.to_vec()
            }
        };
        text(value, dice, block);
        if first == 0x40 {
            self.table.push_front((name.clone(), value.to_vec()));
            self.fit();
        }
        name
    }
}

fn number(first: u8, prefix: u32, mut number: usize, block: &mut Vec<u8>) {
    let mask = (1 << prefix) - 1;
    if number < mask {
        return block.push(first | number as u8);
    }
    block.push(first | mask as u8);
    number -= mask;
    while number >= 0x80 {
        block.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    block.push(number as u8);
}

fn text(text: &[u8], dice: &mut Dice, block: &mut Vec<u8>) {
    if dice.below(2) == 0 {
        let coded = huffman::encode(text);
        number(0x80, 7, coded.len(), block);
        block.extend(coded);
    } else {
        number(0, 7, text.len(), block);
        block.extend(text);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let head = [
        &(payload.len() as u32).to_be_bytes()[1..],
        &[kind, flags],
        &stream.to_be_bytes(),
    ]
    .concat();
    [&head, payload].concat()
}

fn is_good(name: &[u8], value: &[u8]) -> bool {
    let is_name = !name.is_empty() && name.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'-'));
    let is_blank = |byte: Option<&u8>| byte == Some(&b' ');
    is_name && value.iter().all(|byte| *byte >= b' ') && !is_blank(value.first()) && !is_blank(value.last())
}

/// The frames of many requests, and for each stream the headers that its client meant, if they are good.
fn requests(dice: &mut Dice) -> (Vec<u8>, BTreeMap<u32, Option<Lines>>) {
    let mut client = HpackClient {
        table: VecDeque::new(),
        limit: 4096,
    };
    let mut bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, b"")].concat();
    let mut meant = BTreeMap::new();
    for stream in (1..4000u32).step_by(2) {
        let (mut block, mut lines, mut is_whole) = (Vec::new(), Vec::new(), true);
        if dice.below(20) == 0 {
            let limit = dice.one(&[0, 100, 500, 4096]);
            client.resize(limit, &mut block);
        }
        // GET, http, a path of its own, a host.
        block.extend(b"\x82\x86\x04");
        let path = if dice.below(10) == 0 {
            &b"/\xff"[..]
        } else {
            b"/here"
        };
        is_whole &= path == b"/here";
        text(path, dice, &mut block);
        block.extend(b"\x01");
        text(b"host", dice, &mut block);
        for _ in 0..dice.below(6) {
            let (name, value) = match dice.below(4) {
                0 if !client.table.is_empty() => {
                    let place = dice.below(client.table.len());
                    number(0x80, 7, 62 + place, &mut block);
                    client.table[place].clone()
                }
                kind => {
                    let value: Vec<u8> = (0..dice.below(90))
                        .map(|_| dice.one(b"abcABC 019\xe9~"))
                        .collect();
                    let spoilt = [&value[..], &[dice.one(b"\0\n\x01")]].concat();
                    let value = if dice.below(8) == 0 { spoilt } else { value };
                    let first = dice.one(&[0x40, 0x40, 0x40, 0x00, 0x10]);
                    let name = if kind == 1 && !client.table.is_empty() {
                        Ok(dice.below(client.table.len()))
                    } else {
                        let good = [&b"x-a"[..], b"x-bb", b"x-ccc", b"xdddd", b"x-e-e"];
                        let bad = [&b"X"[..], b"X-Upper", b"x y", b":odd", b"x\0", b"", b"\xe9"];
                        Err(if dice.below(8) == 0 {
                            dice.one(&bad)
                        } else {
                            dice.one(&good)
                        })
                    };
                    // A line without a name and a value is h2's to judge.
                    if name == Err(b"") && value.is_empty() {
                        continue;
                    }
                    let name = client.literal(first, name, &value, dice, &mut block);
                    (name, value)
                }
            };
            is_whole &= is_good(&name, &value);
            lines.push((name, value));
        }
        lines.sort();
        meant.insert(stream, is_whole.then_some(lines));
        let cut = dice.below(block.len());
        if dice.below(5) == 0 {
            bytes.extend(frame(1, 1, stream, &block[..cut]));
            bytes.extend(frame(9, 4, stream, &block[cut..]));
        } else {
            bytes.extend(frame(1, 5, stream, &block));
        }
    }
    bytes.extend(frame(1, 5, 4001, b"\x82\x86\x84\x01\x04host\x00\x04last\x00"));
    (bytes, meant)
}

/// What h2 accepts of these bytes: each stream's headers, sorted.
async fn accepted(bytes: Vec<u8>) -> BTreeMap<u32, Lines> {
    let (near, far) = tokio::io::duplex(65_536);
    let (mut reading, mut writing) = tokio::io::split(near);
    tokio::spawn(async move {
        writing.write_all(&bytes).await.expect("h2 reads on");
        // An end would make h2 forget what it has not handed out.
        std::future::pending::<()>().await;
    });
    tokio::spawn(async move {
        let mut waste = vec![0; 65_536];
        while reading.read(&mut waste).await.is_ok_and(|count| count > 0) {}
    });
    let mut builder = h2::server::Builder::new();
    let mut server = builder
        .max_local_error_reset_streams(None)
        .handshake::<_, bytes::Bytes>(far)
        .await
        .expect("a preface");
    let mut got = BTreeMap::new();
    while let Some(accepted) = server.accept().await {
        let (request, respond) = accepted.expect("the connection goes on");
        let headers = request.headers().iter();
        let mut lines: Lines = headers
            .map(|(name, value)| (name.as_str().into(), value.as_bytes().into()))
            .collect();
        lines.sort();
        if lines == [(b"last".to_vec(), b"".to_vec())] {
            break;
        }
        assert_eq!(request.uri().path(), "/here");
        got.insert(respond.stream_id().into(), lines);
    }
    got
}

#[test]
fn h2_accepts_just_the_good_requests_with_just_the_headers_that_were_meant() {
    for seed in 0..3 {
        let mut dice = Dice(seed);
        let (bytes, meant) = requests(&mut dice);
        let (mut filter, mut passed) = (IncomingFilter::behind(24), Vec::new());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(1 + dice.below(3000)));
            let mut out = Vec::new();
            let count = filter.take(now, &mut out, &mut Unheard);
            passed.extend_from_slice(&now[..count]);
            passed.extend(out);
            rest = later;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let got = runtime.block_on(accepted(passed));
        let good: BTreeMap<u32, Lines> = meant
            .into_iter()
            .filter_map(|(stream, lines)| Some((stream, lines?)))
            .collect();
        assert!(
            (400..1600).contains(&good.len()),
            "{} of 2000 are good",
            good.len()
        );
        for (stream, lines) in &good {
            assert_eq!(got.get(stream), Some(lines), "stream {stream} of {seed}");
        }
        assert_eq!(got.len(), good.len(), "no other is accepted");
    }
}
