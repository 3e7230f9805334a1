//! HTTP/2 as far as WebSockets inside it need it (RFC 9113, RFC 8441): a session carries many streams on one
//! transport. It opens them, hands their bytes on, keeps to the windows of both sides and answers PING and SETTINGS.
//! What it does not need it refuses aloud instead of guessing. HPACK (RFC 7541) is literals one way, and the one byte
//! of `:status: 200` the other way; a server that says 200 in another way counts as one that refuses.

mod wire;

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use fairlead_bench_load::sys::{Interest, Ready};

use crate::opening;
use crate::run::{Fault, Shared};
use crate::transport::Transport;

use wire::*;

/// What both sides begin with (RFC 9113 §6.5.2, §6.9.2).
const DEFAULT_WINDOW: i64 = 65_535;
const DEFAULT_MAX_FRAME: usize = 16_384;
/// Our windows: so large that the server never waits for us, and given back by halves. Browsers do alike (Chrome: 6 and
/// 15 MiB).
const STREAM_WINDOW: u32 = 4 << 20;
const SESSION_WINDOW: u32 = 16 << 20;

/// What happened on one stream; the connection that it carries hears of it.
pub enum StreamEvent<'a> {
    /// The handshake is sent; this is the way to send more.
    Asked(Stream),
    /// The server agreed.
    Accepted,
    Data(&'a [u8]),
    /// The server has room for so much more on this stream (0: on the session).
    Room(u32),
    /// All that one read brought has been handed over.
    ReadDone,
    Ended(Fault),
}

/// The sending half of a stream.
pub struct Stream {
    outbox: Rc<RefCell<Outbox>>,
    id: u32,
    /// What WINDOW_UPDATE gave to it, minus what was sent: with the initial window, that is the room it has.
    balance: i64,
}

impl Stream {
    /// Takes as much of `bytes` as the windows allow; it goes out when the session is flushed.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut outbox = self.outbox.borrow_mut();
        let room = (outbox.initial_window + self.balance).min(outbox.window).max(0);
        let bytes = &bytes[..bytes.len().min(room as usize)];
        if bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let max_frame = outbox.max_frame;
        for part in bytes.chunks(max_frame) {
            outbox.push(DATA, 0, self.id, part);
        }
        outbox.window -= bytes.len() as i64;
        self.balance -= bytes.len() as i64;
        Ok(bytes.len())
    }

    pub fn has_room_for(&mut self, bytes: u32) {
        self.balance += i64::from(bytes);
    }
}

/// Frames on their way out, and what the server allows.
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    window: i64,
    initial_window: i64,
    max_frame: usize,
}

impl Outbox {
    fn push(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
        self.bytes.extend_from_slice(&length);
        self.bytes.extend_from_slice(&[kind, flags]);
        self.bytes.extend_from_slice(&stream.to_be_bytes());
        self.bytes.extend_from_slice(payload);
    }
}

/// A WebSocket's place in a session.
struct Member {
    /// The connection that it is.
    index: usize,
    accepted: bool,
    /// Its end is known; what still comes is passed over.
    ended: bool,
    heard: bool,
    window: Window,
}

/// How much the server has sent that was not given back yet.
struct Window {
    size: u32,
    used: u32,
}

impl Window {
    /// Takes `len` bytes; what to give back, when it is time.
    fn take(&mut self, len: usize) -> Result<Option<u32>, Fault> {
        self.used += len as u32;
        if self.used > self.size {
            return Err(Fault::Violation("more than its window"));
        }
        Ok((self.used > self.size / 2).then(|| std::mem::take(&mut self.used)))
    }
}

/// One HTTP/2 connection and its streams.
pub struct Session {
    token: usize,
    transport: Option<Transport>,
    interest: Interest,
    /// The transport carries bytes: the TLS handshake, if any, is done.
    secured: bool,
    /// The server's SETTINGS have come and allow WebSockets.
    ready: bool,
    outbox: Rc<RefCell<Outbox>>,
    /// The start of a frame that has not arrived whole.
    unread: Vec<u8>,
    /// Connections that wait for the SETTINGS, with what they ask.
    waiting: Vec<(usize, Vec<u8>)>,
    /// Stream `2 * i + 1` at place `i`.
    members: Vec<Member>,
    window: Window,
}

impl Session {
    /// Begins to connect; its events carry `token`.
    pub fn connect(token: usize, shared: &Shared) -> io::Result<Session> {
        let transport = Transport::connect(&shared.options.address, shared.tls.as_ref())?;
        shared.epoll.add(transport.socket(), Interest::ReadWrite, token)?;
        Ok(Session {
            transport: Some(transport),
            ..Session::without_transport(token)
        })
    }

    fn without_transport(token: usize) -> Session {
        let mut outbox = Outbox {
            bytes: PREFACE.to_vec(),
            sent: 0,
            window: DEFAULT_WINDOW,
            initial_window: DEFAULT_WINDOW,
            max_frame: DEFAULT_MAX_FRAME,
        };
        let [high, low] = INITIAL_WINDOW_SIZE.to_be_bytes();
        let [a, b, c, d] = STREAM_WINDOW.to_be_bytes();
        // ENABLE_PUSH 0, and the window of each stream.
        outbox.push(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0, high, low, a, b, c, d]);
        let more = SESSION_WINDOW - DEFAULT_WINDOW as u32;
        outbox.push(WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        Session {
            token,
            transport: None,
            interest: Interest::ReadWrite,
            secured: false,
            ready: false,
            outbox: Rc::new(RefCell::new(outbox)),
            unread: Vec::new(),
            waiting: Vec::new(),
            members: Vec::new(),
            window: Window {
                size: SESSION_WINDOW,
                used: 0,
            },
        }
    }

    /// Opens a stream for connection `index`, now or as soon as the server allows it.
    pub fn open(
        &mut self,
        index: usize,
        path: &str,
        shared: &Shared,
        tell: &mut dyn FnMut(usize, StreamEvent),
    ) {
        let block = opening::header_block(path, opening::scheme(shared.options));
        self.waiting.push((index, block));
        if self.transport.is_none() {
            self.end(&Fault::EndOfStream, tell);
        } else {
            self.open_waiting(tell);
        }
    }

    /// Goes on with what is possible. A fault is the session's end, and that of all its streams.
    pub fn serve(&mut self, ready: Ready, buffer: &mut Vec<u8>, tell: &mut dyn FnMut(usize, StreamEvent)) {
        if self.transport.is_none() {
            return;
        }
        if let Err(fault) = self.advance(ready, buffer, tell) {
            self.end(&fault, tell);
        }
    }

    /// Sends what the streams have put down.
    pub fn flush(&mut self, shared: &Shared, tell: &mut dyn FnMut(usize, StreamEvent)) {
        if let Err(fault) = self.send(shared) {
            self.end(&fault, tell);
        }
    }

    fn send(&mut self, shared: &Shared) -> Result<(), Fault> {
        let (true, Some(transport)) = (self.secured, self.transport.as_mut()) else {
            return Ok(());
        };
        let mut outbox = self.outbox.borrow_mut();
        if transport.is_behind() {
            transport.catch_up()?;
        }
        let mut blocked = false;
        if outbox.sent < outbox.bytes.len() {
            match transport.send(&outbox.bytes[outbox.sent..]) {
                Ok(count) => outbox.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            blocked = outbox.sent < outbox.bytes.len();
            if !blocked {
                outbox.sent = 0;
                outbox.bytes.clear();
            }
        }
        let interest = if blocked || transport.is_behind() {
            Interest::ReadWrite
        } else {
            Interest::Read
        };
        if self.interest != interest {
            self.interest = interest;
            shared.epoll.modify(transport.socket(), interest, self.token)?;
        }
        Ok(())
    }

    fn end(&mut self, fault: &Fault, tell: &mut dyn FnMut(usize, StreamEvent)) {
        if let Some(transport) = self.transport.take() {
            transport.into_socket().close_with_reset();
        }
        let streams = self.members.iter().filter(|member| !member.ended);
        let indexes: Vec<usize> = streams.map(|member| member.index).collect();
        let waiting = std::mem::take(&mut self.waiting);
        for index in indexes
            .into_iter()
            .chain(waiting.into_iter().map(|(index, _)| index))
        {
            tell(index, StreamEvent::Ended(Fault::Session(fault.to_string())));
        }
        self.members.clear();
    }

    fn advance(
        &mut self,
        ready: Ready,
        buffer: &mut Vec<u8>,
        tell: &mut dyn FnMut(usize, StreamEvent),
    ) -> Result<(), Fault> {
        let transport = self.transport.as_mut().expect("checked by the caller");
        if !self.secured {
            if ready.writable {
                transport.socket().connect_error()?;
            }
            self.secured = transport.secure()?;
            return Ok(());
        }
        if !ready.readable {
            return Ok(());
        }
        buffer.clear();
        buffer.append(&mut self.unread);
        match transport.read_append(buffer) {
            Ok(0) => return Err(Fault::EndOfStream),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        let used = self.hear(buffer, tell)?;
        self.unread.extend_from_slice(&buffer[used..]);
        for member in self.members.iter_mut().filter(|member| member.heard) {
            member.heard = false;
            tell(member.index, StreamEvent::ReadDone);
        }
        Ok(())
    }

    /// Hands on all frames that are there whole; how many bytes they were.
    fn hear(&mut self, input: &[u8], tell: &mut dyn FnMut(usize, StreamEvent)) -> Result<usize, Fault> {
        let mut used = 0;
        while let [a, b, c, kind, flags, s0, s1, s2, s3, rest @ ..] = &input[used..] {
            let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if len > DEFAULT_MAX_FRAME {
                return Err(Fault::Violation("a frame beyond 16 KiB"));
            }
            let Some(payload) = rest.get(..len) else {
                break;
            };
            // The highest bit is reserved.
            let stream = u32::from_be_bytes([*s0 & 0x7F, *s1, *s2, *s3]);
            self.frame(*kind, *flags, stream, payload, tell)?;
            used += FRAME_HEADER + len;
        }
        Ok(used)
    }

    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        tell: &mut dyn FnMut(usize, StreamEvent),
    ) -> Result<(), Fault> {
        match kind {
            DATA => {
                // Padding counts as well (RFC 9113 §6.9.1).
                if let Some(back) = self.window.take(payload.len())? {
                    self.give_back(0, back);
                }
                let member = self.member(stream)?;
                if member.ended {
                    return Ok(());
                }
                let index = member.index;
                member.heard = true;
                member.ended = flags & END_STREAM != 0;
                let (ended, back) = (member.ended, member.window.take(payload.len())?);
                if let (false, Some(back)) = (ended, back) {
                    self.give_back(stream, back);
                }
                tell(index, StreamEvent::Data(without_padding(flags, payload)?));
                if ended {
                    tell(index, StreamEvent::Ended(Fault::EndOfStream));
                }
            }
            HEADERS => {
                let member = self.member(stream)?;
                let index = member.index;
                let first = !std::mem::replace(&mut member.accepted, true);
                if flags & END_HEADERS == 0 {
                    return Err(Fault::Violation(
                        "a header block in pieces, which this client does not read",
                    ));
                }
                let mut block = without_padding(flags, payload)?;
                if flags & PRIORITY != 0 {
                    block = block.get(5..).ok_or(Fault::Violation("a short HEADERS"))?;
                }
                if !first || flags & END_STREAM != 0 || !says_200(block) {
                    member.ended = true;
                    let head = format!("HEADERS {block:02x?}");
                    tell(index, StreamEvent::Ended(Fault::Refused(head)));
                } else {
                    tell(index, StreamEvent::Accepted);
                }
            }
            RST_STREAM => {
                let member = self.member(stream)?;
                if !std::mem::replace(&mut member.ended, true) {
                    let code = number(payload)?;
                    tell(
                        member.index,
                        StreamEvent::Ended(Fault::Refused(format!("RST_STREAM {code}"))),
                    );
                }
            }
            SETTINGS if flags & ACK == 0 => self.settings(payload, tell)?,
            PING if flags & ACK == 0 => self.outbox.borrow_mut().push(PING, ACK, 0, payload),
            GOAWAY => return Err(Fault::Session(format!("GOAWAY {payload:02x?}"))),
            WINDOW_UPDATE if stream == 0 => {
                self.outbox.borrow_mut().window += i64::from(number(payload)?);
                self.tell_all_of_room(tell);
            }
            WINDOW_UPDATE => {
                let (room, member) = (number(payload)?, self.member(stream)?);
                if !member.ended {
                    tell(member.index, StreamEvent::Room(room));
                }
            }
            PUSH_PROMISE | CONTINUATION => return Err(Fault::Violation("a frame that nobody asked for")),
            // Acknowledgements, PRIORITY, and what is not known (RFC 9113 §5.5).
            _ => {}
        }
        Ok(())
    }

    fn settings(&mut self, payload: &[u8], tell: &mut dyn FnMut(usize, StreamEvent)) -> Result<(), Fault> {
        let mut connects = self.ready;
        {
            let mut outbox = self.outbox.borrow_mut();
            for setting in payload.chunks_exact(6) {
                let value = number(&setting[2..])?;
                match u16::from_be_bytes([setting[0], setting[1]]) {
                    INITIAL_WINDOW_SIZE => outbox.initial_window = value.into(),
                    MAX_FRAME_SIZE => outbox.max_frame = value as usize,
                    ENABLE_CONNECT_PROTOCOL => connects = value == 1,
                    _ => {}
                }
            }
            outbox.push(SETTINGS, ACK, 0, &[]);
        }
        if !connects {
            let what = "it has no WebSockets inside HTTP/2 (no SETTINGS_ENABLE_CONNECT_PROTOCOL)";
            return Err(Fault::Refused(what.into()));
        }
        self.ready = true;
        self.open_waiting(tell);
        self.tell_all_of_room(tell);
        Ok(())
    }

    /// Opens the streams that wait, if the server allows them by now (RFC 8441 §3).
    fn open_waiting(&mut self, tell: &mut dyn FnMut(usize, StreamEvent)) {
        if !self.ready {
            return;
        }
        for (index, block) in std::mem::take(&mut self.waiting) {
            let id = 2 * self.members.len() as u32 + 1;
            self.outbox.borrow_mut().push(HEADERS, END_HEADERS, id, &block);
            self.members.push(Member {
                index,
                accepted: false,
                ended: false,
                heard: false,
                window: Window {
                    size: STREAM_WINDOW,
                    used: 0,
                },
            });
            let stream = Stream {
                outbox: Rc::clone(&self.outbox),
                id,
                balance: 0,
            };
            tell(index, StreamEvent::Asked(stream));
        }
    }

    fn tell_all_of_room(&self, tell: &mut dyn FnMut(usize, StreamEvent)) {
        for member in self.members.iter().filter(|member| !member.ended) {
            tell(member.index, StreamEvent::Room(0));
        }
    }

    fn give_back(&self, stream: u32, bytes: u32) {
        let mut outbox = self.outbox.borrow_mut();
        outbox.push(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    fn member(&mut self, stream: u32) -> Result<&mut Member, Fault> {
        let place = (stream % 2 == 1).then_some(stream as usize / 2);
        place
            .and_then(|place| self.members.get_mut(place))
            .ok_or(Fault::Violation("a frame on a stream that was never opened"))
    }
}

#[cfg(test)]
mod tests;
