//! `limit`: the leanest correct WebSocket echo server, the yardstick of `make bench`. One thread; level-triggered
//! epoll; per ready connection one read, all its complete frames parsed and unmasked into one buffer, one write.
//! Nothing that a message's path does not need may be added here (no time-outs, no UTF-8 check, no pings of its own):
//! what Fairlead does beyond this is what the ratio shows.
//!
//! `/sub` and `/pub` fan out: what a publisher sends goes to every subscriber instead of back. A `GET` without a
//! WebSocket key gets a tiny page over keep-alive, the yardstick for plain HTTP.

use std::io::{self, ErrorKind};
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use fairlead_bench_load::accept::accept_value;
use fairlead_bench_load::sys::{raise_descriptor_limit, Epoll, Events, Interest, Listener, Socket};
use fairlead_bench_load::wire::{
    copy_masked, parse_client_header, put_header, CLOSE, MAX_HEADER, PING, PONG,
};

/// As much as a loopback socket ever holds by default for one read (net.ipv4.tcp_rmem leaves about this window).
const READ_BYTES: usize = 256 << 10;
/// A buffer with less room than this grows before the next read.
const LEAST_ROOM: usize = 64 << 10;
/// A request head that has not ended by then never will.
const MAX_HEAD: usize = 64 << 10;
/// The token of the listener; connections use their descriptor, which is never this large.
const LISTENER: usize = usize::MAX;

const HELLO: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";

fn main() -> ExitCode {
    let port = match port_from_arguments() {
        Ok(port) => port,
        Err(sentence) => {
            eprintln!("limit: {sentence}");
            return ExitCode::from(2);
        }
    };
    match Server::bind(port).and_then(Server::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("limit: port {port} of 127.0.0.1 cannot be served: {error}");
            ExitCode::FAILURE
        }
    }
}

fn port_from_arguments() -> Result<u16, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--port", port] => port
            .parse()
            .map_err(|_| format!("'{port}' is no port, give 1 to 65535")),
        _ => Err("the only option is --port N, and it is needed".into()),
    }
}

struct Server {
    epoll: Epoll,
    listener: Listener,
    /// By descriptor, which the kernel keeps small and dense.
    connections: Vec<Option<Box<AcceptedConnection>>>,
    /// Descriptors of the connections that opened `/sub`.
    subscribers: Vec<usize>,
    /// Read buffers that no connection holds; each comes back empty.
    spare_buffers: Vec<Vec<u8>>,
    output: Output,
}

struct AcceptedConnection {
    socket: Socket,
    role: Role,
    /// The start of a request head or frame that has not arrived whole.
    unread: Vec<u8>,
    /// Bytes that the socket had no room for; while there are any, the connection is not read.
    unsent: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Http,
    Echo,
    Subscriber,
    Publisher,
}

/// Why a connection ends: its own Close, its end of stream, or an error. The limit server treats all alike.
struct Ended;

impl Server {
    fn bind(port: u16) -> io::Result<Server> {
        raise_descriptor_limit();
        let listener = Listener::bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        let epoll = Epoll::new()?;
        epoll.add(&listener, Interest::Read, LISTENER)?;
        Ok(Server {
            epoll,
            listener,
            connections: Vec::new(),
            subscribers: Vec::new(),
            spare_buffers: Vec::new(),
            output: Output::default(),
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(512);
        loop {
            self.epoll.wait(&mut events, -1)?;
            for ready in events.iter() {
                if ready.token == LISTENER {
                    self.accept_all();
                } else {
                    self.serve(ready.token, ready.writable);
                }
            }
        }
    }

    fn accept_all(&mut self) {
        while let Ok(socket) = self.listener.accept() {
            let descriptor = socket.as_raw_fd() as usize;
            if self.epoll.add(&socket, Interest::Read, descriptor).is_err() {
                continue;
            }
            if descriptor >= self.connections.len() {
                self.connections.resize_with(descriptor + 1, || None);
            }
            self.connections[descriptor] = Some(Box::new(AcceptedConnection {
                socket,
                role: Role::Http,
                unread: Vec::new(),
                unsent: Vec::new(),
            }));
        }
    }

    /// Takes the connection out of the table while it is served, so that it can publish to all the others, and
    /// puts it back unless it ended.
    fn serve(&mut self, descriptor: usize, writable: bool) {
        let Some(mut connection) = self.connections[descriptor].take() else {
            return;
        };
        let outcome = if writable && !connection.unsent.is_empty() {
            connection.flush(&self.epoll)
        } else {
            self.read(&mut connection)
        };
        match outcome {
            Ok(()) => self.connections[descriptor] = Some(connection),
            Err(Ended) if connection.role == Role::Subscriber => {
                self.subscribers.retain(|subscriber| *subscriber != descriptor);
            }
            Err(Ended) => {}
        }
    }

    fn read(&mut self, connection: &mut AcceptedConnection) -> Result<(), Ended> {
        let mut input = if connection.unread.is_empty() {
            self.spare_buffers.pop().unwrap_or_default()
        } else {
            mem::take(&mut connection.unread)
        };
        if input.capacity() - input.len() < LEAST_ROOM {
            input.reserve(READ_BYTES);
        }
        match connection.socket.read_append(&mut input) {
            Ok(0) => return Err(Ended),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(Ended),
        }

        let used = self.consume(connection, &input)?;
        if used == input.len() {
            input.clear();
            self.spare_buffers.push(input);
        } else {
            input.drain(..used);
            connection.unread = input;
        }
        Ok(())
    }

    /// Answers all that has arrived whole; returns how many bytes that was.
    fn consume(&mut self, connection: &mut AcceptedConnection, input: &[u8]) -> Result<usize, Ended> {
        let mut used = 0;
        while connection.role == Role::Http && used < input.len() {
            let Some(head_len) = head_length(&input[used..])? else {
                return Ok(used);
            };
            self.answer_request(connection, &input[used..used + head_len])?;
            used += head_len;
        }
        if used < input.len() {
            used += self.echo_frames(connection, &input[used..])?;
        }
        Ok(used)
    }

    fn answer_request(&mut self, connection: &mut AcceptedConnection, head: &[u8]) -> Result<(), Ended> {
        let Some(key) = websocket_key(head) else {
            return connection.send(&self.epoll, HELLO);
        };
        connection.role = match head {
            [b'G', b'E', b'T', b' ', b'/', b's', b'u', b'b', ..] => Role::Subscriber,
            [b'G', b'E', b'T', b' ', b'/', b'p', b'u', b'b', ..] => Role::Publisher,
            _ => Role::Echo,
        };
        if connection.role == Role::Subscriber {
            self.subscribers.push(connection.socket.as_raw_fd() as usize);
        }
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            accept_value(key)
        );
        connection.send(&self.epoll, response.as_bytes())
    }

    /// Echoes frame by frame, so a fragmented message comes back in the same fragments (RFC 6455 §5.4).
    fn echo_frames(&mut self, connection: &mut AcceptedConnection, input: &[u8]) -> Result<usize, Ended> {
        let mut used = 0;
        let mut closed = false;
        self.output.clear();
        while !closed {
            let Some(header) = parse_client_header(&input[used..]).map_err(|_| Ended)? else {
                break;
            };
            let start = used + header.header_len;
            let Some(payload) = input.get(start..start + header.payload_len) else {
                break;
            };
            match header.first & 0x0F {
                PONG => {}
                PING => self
                    .output
                    .push_frame(header.first & 0xF0 | PONG, payload, header.mask),
                opcode => {
                    self.output.push_frame(header.first, payload, header.mask);
                    closed = opcode == CLOSE;
                }
            }
            used = start + header.payload_len;
        }

        if !self.output.is_empty() {
            if connection.role == Role::Publisher && !closed {
                self.publish();
            } else {
                connection.send(&self.epoll, self.output.bytes())?;
            }
        }
        if closed {
            Err(Ended)
        } else {
            Ok(used)
        }
    }

    fn publish(&mut self) {
        for descriptor in &self.subscribers {
            if let Some(subscriber) = &mut self.connections[*descriptor] {
                // A subscriber that cannot be written to ends at its own next event.
                let _ = subscriber.send(&self.epoll, self.output.bytes());
            }
        }
    }
}

impl AcceptedConnection {
    fn send(&mut self, epoll: &Epoll, bytes: &[u8]) -> Result<(), Ended> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = self.send_some(bytes)?;
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
            self.wait_for(epoll, Interest::Write)?;
        }
        Ok(())
    }

    fn flush(&mut self, epoll: &Epoll) -> Result<(), Ended> {
        let sent = self.send_some(&self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.wait_for(epoll, Interest::Read)?;
        }
        Ok(())
    }

    fn send_some(&self, bytes: &[u8]) -> Result<usize, Ended> {
        match self.socket.send(bytes) {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(Ended),
        }
    }

    fn wait_for(&self, epoll: &Epoll, interest: Interest) -> Result<(), Ended> {
        epoll
            .modify(&self.socket, interest, self.socket.as_raw_fd() as usize)
            .map_err(|_| Ended)
    }
}

/// The frames that answer one read. The buffer keeps its size between reads, so that payloads are unmasked straight
/// into place.
#[derive(Default)]
struct Output {
    buffer: Vec<u8>,
    len: usize,
}

impl Output {
    fn clear(&mut self) {
        self.len = 0;
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    #[inline]
    fn push_frame(&mut self, first: u8, payload: &[u8], mask: [u8; 4]) {
        let needed = self.len + MAX_HEADER + payload.len();
        if needed > self.buffer.len() {
            self.buffer
                .resize(needed.max(2 * READ_BYTES).next_power_of_two(), 0);
        }
        let room = &mut self.buffer[self.len..needed];
        let header_len = put_header(room, first, payload.len());
        copy_masked(&mut room[header_len..header_len + payload.len()], payload, mask);
        self.len += header_len + payload.len();
    }
}

fn head_length(input: &[u8]) -> Result<Option<usize>, Ended> {
    match input.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(end) => Ok(Some(end + 4)),
        None if input.len() > MAX_HEAD => Err(Ended),
        None => Ok(None),
    }
}

fn websocket_key(head: &[u8]) -> Option<&[u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        name.eq_ignore_ascii_case(b"Sec-WebSocket-Key")
            .then(|| value[1..].trim_ascii())
    })
}
