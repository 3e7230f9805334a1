//! One client connection: connect, handshake, messages both ways, end. It owns its socket and what is half done on
//! it, answers pings by itself, and leaves what messages mean to the [`Mode`]. Every failure becomes a [`Fault`] and is
//! counted by the caller; a connection never ends the run.

use std::io::{self, ErrorKind};

use fairlead_bench_load::sys::{monotonic_ns, random_bytes, Interest};
use fairlead_bench_load::wire::{push_masked, CLOSE, FIN, PONG};

use crate::frames::FrameRing;
use crate::http2::{Stream, StreamEvent};
use crate::opening;
use crate::reader::{Event, FrameReader, Piece};
use crate::report::Counts;
use crate::run::{Fault, Phase, Shared};
use crate::transport::Transport;

/// A response head longer than this is none.
const MAX_HEAD: usize = 8 << 10;
const CONNECTED: &str = "a phase other than Closed and Connecting has a carrier";
/// Status code 1000, RFC 6455 §7.4.1.
const NORMAL_CLOSURE: [u8; 2] = 1000_u16.to_be_bytes();

/// What the client asks a mode.
pub trait Mode {
    /// A connection that ends is opened again, and the run starts with the first connect instead of waiting until
    /// all are open.
    const REOPENS: bool = false;

    /// How many connections the mode wants.
    fn total(&self, shared: &Shared) -> usize {
        shared.options.connections
    }

    /// What connection `index` asks for.
    fn path<'s>(&self, _index: usize, shared: &'s Shared) -> &'s str {
        &shared.options.path
    }

    /// Whether connection `index` may be opened while `open` are.
    fn may_open(&self, _index: usize, _open: usize) -> bool {
        true
    }

    /// A handshake is complete.
    fn opened(&mut self, _: &mut Connection, _: &Shared, _now_ns: u64, _: &mut Counts) -> Result<(), Fault> {
        Ok(())
    }

    /// All connections are open, the warm-up begins.
    fn start(&mut self, _: &mut [Connection], _: &Shared, _now_ns: u64) {}

    /// A piece of a message has arrived on connection `index`.
    fn data(&mut self, _index: usize, _: &Piece, _: &Shared, _now_ns: u64, _: &mut Counts) {}

    /// All that one read brought has been handed over.
    fn read_done(&mut self, _: &mut Connection, _: &Shared, _now_ns: u64) -> Result<(), Fault> {
        Ok(())
    }

    /// All that was ready in this turn of the loop has been served.
    fn turn(&mut self, _: &mut [Connection], _: &Shared, _now_ns: u64, _: &mut Counts) -> Result<(), Fault> {
        Ok(())
    }
}

/// What carries the bytes of one WebSocket.
enum Carrier {
    Own(Transport),
    /// A part of a session, which does the rest.
    Shared(Stream),
}

/// One connection, or the place for one: it can be opened again after its end.
pub struct Connection {
    index: usize,
    phase: Phase,
    carrier: Option<Carrier>,
    began_ns: u64,
    head: Vec<u8>,
    reader: FrameReader,
    /// Where the connection stands in the frame ring, and how many bytes from there are still to be sent.
    offset: usize,
    owed: usize,
    /// Frames that are not in the ring (Pong, Close, a publisher's message); they go out between two of the ring's.
    aside: Vec<u8>,
    interest: Interest,
}

impl Connection {
    pub fn new(index: usize) -> Self {
        Connection {
            index,
            phase: Phase::Closed,
            carrier: None,
            began_ns: 0,
            head: Vec::new(),
            reader: FrameReader::default(),
            offset: 0,
            owed: 0,
            aside: Vec::new(),
            interest: Interest::ReadWrite,
        }
    }

    pub fn index(&self) -> usize {
        self.index
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When the connect began.
    pub fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// The slot of the frame ring that the connection sends first. Each starts at another one, so that a message
    /// that comes back on the wrong connection is noticed.
    pub fn first_slot(&self, frames: &FrameRing) -> usize {
        self.index % frames.slots()
    }

    /// Begins to connect.
    pub fn open(&mut self, shared: &Shared, now_ns: u64) -> Result<(), Fault> {
        self.begin(shared, now_ns);
        let transport = Transport::connect(&shared.options.address, shared.tls.as_ref())?;
        shared.epoll.add(transport.socket(), self.interest, self.index)?;
        self.carrier = Some(Carrier::Own(transport));
        Ok(())
    }

    /// Forgets what was before. A connection of its own calls [`Connection::open`]; inside a session the stream comes
    /// as an event.
    pub fn begin(&mut self, shared: &Shared, now_ns: u64) {
        *self = Connection {
            phase: Phase::Connecting,
            began_ns: now_ns,
            offset: self.first_slot(&shared.frames) * shared.frames.frame_len(),
            ..Connection::new(self.index)
        };
    }

    /// Something happened on the stream that carries this connection.
    pub fn hears<M: Mode>(
        &mut self,
        event: StreamEvent,
        shared: &Shared,
        mode: &mut M,
        counts: &mut Counts,
    ) -> Result<(), Fault> {
        match event {
            StreamEvent::Asked(stream) => {
                self.carrier = Some(Carrier::Shared(stream));
                self.phase = Phase::Handshake;
                Ok(())
            }
            StreamEvent::Accepted => self.opened(shared, mode, counts, monotonic_ns()),
            StreamEvent::Data(_) if self.phase == Phase::Handshake => {
                Err(Fault::Violation("data before its response"))
            }
            StreamEvent::Data(bytes) => self.received(bytes, shared, mode, counts, monotonic_ns()),
            StreamEvent::Room(bytes) => {
                if let Some(Carrier::Shared(stream)) = &mut self.carrier {
                    stream.has_room_for(bytes);
                }
                self.flush(shared)
            }
            StreamEvent::ReadDone if self.phase == Phase::Open => {
                mode.read_done(self, shared, monotonic_ns())
            }
            StreamEvent::ReadDone => Ok(()),
            StreamEvent::Ended(fault) => Err(fault),
        }
    }

    /// Leaves the connection at once; the phase it was in.
    pub fn drop_socket(&mut self) -> Phase {
        if let Some(Carrier::Own(transport)) = self.carrier.take() {
            transport.into_socket().close_with_reset();
        }
        std::mem::replace(&mut self.phase, Phase::Closed)
    }

    /// The socket can be written: the connect is settled, or there is room for what was left over.
    pub fn writable(&mut self, shared: &Shared, path: &str) -> Result<(), Fault> {
        match self.phase {
            Phase::Connecting => {
                self.transport().socket().connect_error()?;
                self.phase = Phase::Securing;
                self.secure(shared, path)
            }
            Phase::Securing => self.secure(shared, path),
            _ => self.flush(shared),
        }
    }

    /// Goes on with the TLS handshake, if there is one, and asks for the WebSocket behind it.
    fn secure(&mut self, shared: &Shared, path: &str) -> Result<(), Fault> {
        if self.transport().secure()? {
            let request = opening::request(shared.options, path, &shared.key);
            // A fresh socket has room for a request; if not, the server's silence will show.
            self.transport().send(&request)?;
            self.phase = Phase::Handshake;
        }
        self.wait(shared)
    }

    /// Reads what there is and hands it to the mode.
    pub fn readable<M: Mode>(
        &mut self,
        shared: &Shared,
        mode: &mut M,
        counts: &mut Counts,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if self.phase == Phase::Securing {
            return self.secure(shared, mode.path(self.index, shared));
        }
        loop {
            buffer.clear();
            match self.transport().read_append(buffer) {
                Ok(0) => return Err(Fault::EndOfStream),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let now_ns = monotonic_ns();
            let mut input = buffer.as_slice();
            if self.phase == Phase::Handshake {
                if !self.read_head(&mut input, &shared.accept)? {
                    return Ok(());
                }
                self.opened(shared, mode, counts, now_ns)?;
            }
            self.received(input, shared, mode, counts, now_ns)?;
            if self.phase == Phase::Open {
                mode.read_done(self, shared, now_ns)?;
            }
            // A read that left room in the buffer took all there was: no second one to learn that.
            if buffer.len() < buffer.capacity() {
                return Ok(());
            }
        }
    }

    fn opened<M: Mode>(
        &mut self,
        shared: &Shared,
        mode: &mut M,
        counts: &mut Counts,
        now_ns: u64,
    ) -> Result<(), Fault> {
        self.phase = Phase::Open;
        counts.opened();
        mode.opened(self, shared, now_ns, counts)
    }

    #[inline]
    fn received<M: Mode>(
        &mut self,
        mut input: &[u8],
        shared: &Shared,
        mode: &mut M,
        counts: &mut Counts,
        now_ns: u64,
    ) -> Result<(), Fault> {
        while let Some(event) = self.reader.next(&mut input)? {
            match event {
                Event::Data(piece) => mode.data(self.index, &piece, shared, now_ns, counts),
                Event::Ping => self.answer_ping(shared)?,
                Event::Pong => {}
                Event::Close => return Err(Fault::ClosedByServer),
            }
        }
        Ok(())
    }

    /// Sends the next `count` messages of the ring, as far as the socket takes them.
    #[inline]
    pub fn send_messages(&mut self, count: usize, shared: &Shared) -> Result<(), Fault> {
        self.owed += count * shared.frames.frame_len();
        self.flush(shared)
    }

    /// Sends a frame that is not in the ring.
    pub fn send_frame(&mut self, opcode: u8, payload: &[u8], shared: &Shared) -> Result<(), Fault> {
        push_masked(&mut self.aside, FIN | opcode, payload, random_bytes());
        self.flush(shared)
    }

    /// Sends a Close; nothing is expected after it but the end.
    pub fn close(&mut self, shared: &Shared) -> Result<(), Fault> {
        self.phase = Phase::Closing;
        self.send_frame(CLOSE, &NORMAL_CLOSURE, shared)
    }

    fn answer_ping(&mut self, shared: &Shared) -> Result<(), Fault> {
        push_masked(&mut self.aside, FIN | PONG, self.reader.control(), random_bytes());
        self.flush(shared)
    }

    fn flush(&mut self, shared: &Shared) -> Result<(), Fault> {
        let frames = &shared.frames;
        if let Some(Carrier::Own(transport)) = &mut self.carrier {
            if transport.is_behind() {
                transport.catch_up()?;
            }
        }
        while self.owed > 0 || !self.aside.is_empty() {
            let into_frame = if self.aside.is_empty() {
                0
            } else {
                self.offset % frames.frame_len()
            };
            let aside_now = !self.aside.is_empty() && into_frame == 0;
            let next = if aside_now {
                self.aside.as_slice()
            } else if into_frame > 0 {
                frames.bytes_from(self.offset, frames.frame_len() - into_frame)
            } else {
                frames.bytes_from(self.offset, self.owed)
            };
            let wanted = next.len();
            let sent = match self.carrier.as_mut().expect(CONNECTED).send(next) {
                Ok(sent) => sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error.into()),
            };
            if aside_now {
                self.aside.drain(..sent);
            } else {
                self.owed -= sent;
                self.offset = frames.advance(self.offset, sent);
            }
            if sent < wanted {
                return self.wait_for(Interest::ReadWrite, shared);
            }
        }
        self.wait(shared)
    }

    /// Collects the response head; true when it is complete and right. Bytes behind it stay in `input`.
    fn read_head(&mut self, input: &mut &[u8], accept: &str) -> Result<bool, Fault> {
        let before = self.head.len();
        self.head.extend_from_slice(input);
        let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
            if self.head.len() > MAX_HEAD {
                return Err(Fault::Refused("a head without end".into()));
            }
            return Ok(false);
        };
        let head = String::from_utf8_lossy(&self.head[..end]).into_owned();
        if !head.starts_with("HTTP/1.1 101 ") || !head.lines().any(|line| accepts(line, accept)) {
            return Err(Fault::Refused(head));
        }
        *input = &input[end + 4 - before..];
        // Thousands of idle connections should not each keep a response.
        self.head = Vec::new();
        Ok(true)
    }

    /// Waits for what comes, and for room if the transport holds something back. A session waits for its streams.
    fn wait(&mut self, shared: &Shared) -> Result<(), Fault> {
        match &self.carrier {
            Some(Carrier::Own(transport)) if transport.is_behind() => {
                self.wait_for(Interest::ReadWrite, shared)
            }
            _ => self.wait_for(Interest::Read, shared),
        }
    }

    fn wait_for(&mut self, interest: Interest, shared: &Shared) -> Result<(), Fault> {
        if let Some(Carrier::Own(transport)) = &self.carrier {
            if self.interest != interest {
                self.interest = interest;
                shared.epoll.modify(transport.socket(), interest, self.index)?;
            }
        }
        Ok(())
    }

    fn transport(&mut self) -> &mut Transport {
        match &mut self.carrier {
            Some(Carrier::Own(transport)) => transport,
            _ => unreachable!("{CONNECTED}, and events of a session go there"),
        }
    }
}

impl Carrier {
    #[inline]
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Carrier::Own(transport) => transport.send(bytes),
            Carrier::Shared(stream) => stream.send(bytes),
        }
    }
}

/// RFC 6455 §4.1: the accept value must be exactly the expected one.
fn accepts(line: &str, accept: &str) -> bool {
    line.split_once(':').is_some_and(|(name, value)| {
        name.eq_ignore_ascii_case("Sec-WebSocket-Accept") && value.trim() == accept
    })
}
