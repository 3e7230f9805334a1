//! The bytes of a connection, in clear or inside TLS (rustls). Both halves are non-blocking and look alike to their
//! user, with one difference: [`Transport::send`] may take bytes that TLS still holds, see [`Transport::is_behind`].
//!
//! rustls's unbuffered interface, because the buffered one reads at most 4 KiB at a time and copies once more. The
//! server's certificate is not checked: whom the load generator talks to was decided by who started both.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use fairlead_bench_load::sys::{Address, Socket};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// As much as one read of TLS may bring: a message of 64 KiB with its records' headers, and room for the next one.
const READ_BYTES: usize = 160 << 10;
/// What TLS adds to a record of 16 KiB at most (RFC 8446 §5.2: header, content type, tag), rounded up.
const RECORD_OVERHEAD: usize = 64;
const RECORD_BYTES: usize = 16 << 10;

/// A connected (or connecting) stream.
pub enum Transport {
    Plain(Socket),
    Tls(Box<Tls>),
}

impl Transport {
    /// Begins to connect; inside TLS when `tls` says how.
    pub fn connect(address: &Address, tls: Option<&Arc<ClientConfig>>) -> io::Result<Transport> {
        let socket = Socket::connect(address)?;
        Ok(match tls {
            None => Transport::Plain(socket),
            Some(config) => Transport::Tls(Box::new(Tls::new(socket, config)?)),
        })
    }

    pub fn socket(&self) -> &Socket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => &tls.socket,
        }
    }

    pub fn into_socket(self) -> Socket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.socket,
        }
    }

    /// Goes on with what comes before the first byte of the application: nothing in clear, the handshake in TLS.
    /// True when it is done.
    pub fn secure(&mut self) -> io::Result<bool> {
        match self {
            Transport::Plain(_) => Ok(true),
            Transport::Tls(tls) => tls.shake_hands(),
        }
    }

    /// Appends what has arrived to `buffer`; 0 is the end of the stream.
    #[inline]
    pub fn read_append(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.read_append(buffer),
            Transport::Tls(tls) => tls.read_append(buffer),
        }
    }

    /// Sends as much of `bytes` as there is room for.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.send(bytes),
            Transport::Tls(tls) => tls.send(bytes),
        }
    }

    /// Bytes were taken that the socket had no room for: call [`Transport::send`] or [`Transport::catch_up`] when it
    /// is writable.
    #[inline]
    pub fn is_behind(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(tls) => tls.out.is_waiting(),
        }
    }

    /// Sends what was taken before.
    pub fn catch_up(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(_) => Ok(()),
            Transport::Tls(tls) => tls.out.drain_into(&tls.socket),
        }
    }
}

/// TLS on top of a socket.
pub struct Tls {
    socket: Socket,
    session: UnbufferedClientConnection,
    /// Records that have not arrived whole.
    incoming: Vec<u8>,
    /// The server's close_notify has come: nothing follows it (RFC 8446 §6.1).
    ended: bool,
    out: Records,
}

/// Records on their way out. The buffer keeps its size, so that records are written straight into place.
#[derive(Default)]
struct Records {
    buffer: Vec<u8>,
    sent: usize,
    end: usize,
}

impl Tls {
    fn new(socket: Socket, config: &Arc<ClientConfig>) -> io::Result<Tls> {
        let name = ServerName::try_from("localhost").expect("a name");
        let session = UnbufferedClientConnection::new(Arc::clone(config), name).map_err(failed)?;
        Ok(Tls {
            socket,
            session,
            incoming: Vec::new(),
            ended: false,
            out: Records::default(),
        })
    }

    fn shake_hands(&mut self) -> io::Result<bool> {
        self.out.drain_into(&self.socket)?;
        let mut ended = false;
        loop {
            let status = self.session.process_tls_records(&mut self.incoming);
            let discard = status.discard;
            let mut done = None;
            match status.state.map_err(failed)? {
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut room = 0;
                    while let Err(error) = data.encode(self.out.room(room)) {
                        match error {
                            EncodeError::InsufficientSize(InsufficientSizeError { required_size })
                                if room < required_size =>
                            {
                                room = required_size;
                            }
                            other => return Err(io::Error::other(other.to_string())),
                        }
                    }
                    self.out.end += room;
                }
                ConnectionState::TransmitTlsData(data) => {
                    self.out.drain_into(&self.socket)?;
                    data.done();
                }
                ConnectionState::BlockedHandshake if ended => return Err(ErrorKind::UnexpectedEof.into()),
                ConnectionState::BlockedHandshake => done = Some(false),
                ConnectionState::WriteTraffic(_) => done = Some(true),
                _ => return Err(io::Error::other("the server spoke before it was asked")),
            }
            self.incoming.drain(..discard);
            match done {
                Some(true) => return Ok(true),
                Some(false) => {
                    self.incoming.reserve(READ_BYTES);
                    match self.socket.read_append(&mut self.incoming) {
                        Ok(count) => ended = count == 0,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                        Err(error) => return Err(error),
                    }
                }
                None => {}
            }
        }
    }

    fn read_append(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let before = buffer.len();
        // Room is left for a whole read, so a part of a record never makes the next read a short one.
        self.incoming.reserve(READ_BYTES);
        if self.socket.read_append(&mut self.incoming)? == 0 {
            return Ok(0);
        }
        let mut used = 0;
        loop {
            let status = self.session.process_tls_records(&mut self.incoming[used..]);
            used += status.discard;
            match status.state.map_err(failed)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(failed)?;
                        buffer.extend_from_slice(record.payload);
                        used += record.discard;
                    }
                }
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.ended = true;
                    break;
                }
                ConnectionState::WriteTraffic(_) => break,
                _ => return Err(io::Error::other("the server began another handshake")),
            }
        }
        if used == self.incoming.len() {
            self.incoming.clear();
        } else {
            self.incoming.drain(..used);
        }
        match buffer.len() - before {
            0 if !self.ended => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.drain_into(&self.socket)?;
        if self.out.is_waiting() {
            return Err(ErrorKind::WouldBlock.into());
        }
        // Without input this is a question for the right to write, and nothing else happens.
        let status = self.session.process_tls_records(&mut []);
        let ConnectionState::WriteTraffic(mut traffic) = status.state.map_err(failed)? else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        let records = bytes.len().div_ceil(RECORD_BYTES);
        let room = self.out.room(bytes.len() + records * RECORD_OVERHEAD);
        let written = traffic
            .encrypt(bytes, room)
            .map_err(|error| io::Error::other(error.to_string()))?;
        self.out.end += written;
        self.out.drain_into(&self.socket)?;
        Ok(bytes.len())
    }
}

impl Records {
    fn is_waiting(&self) -> bool {
        self.sent < self.end
    }

    /// `len` bytes behind what is there.
    fn room(&mut self, len: usize) -> &mut [u8] {
        let needed = self.end + len;
        if needed > self.buffer.len() {
            self.buffer.resize(needed.next_power_of_two(), 0);
        }
        &mut self.buffer[self.end..needed]
    }

    /// As much as the socket takes.
    fn drain_into(&mut self, socket: &Socket) -> io::Result<()> {
        if !self.is_waiting() {
            return Ok(());
        }
        match socket.send(&self.buffer[self.sent..self.end]) {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if !self.is_waiting() {
            (self.sent, self.end) = (0, 0);
        }
        Ok(())
    }
}

/// TLS 1.3 with one cipher, the one that browsers ask for first, so that all servers of a row do the same work.
///
/// `http2` is asked for by ALPN (RFC 9113 §3.3); nothing else is offered then.
pub fn client_config(http2: bool) -> Arc<ClientConfig> {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..ring::default_provider()
    });
    let algorithms = provider.signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the cipher is one of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(algorithms.supported_schemes())))
        .with_no_client_auth();
    if http2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Arc::new(config)
}

/// Takes any certificate, see the head of this file.
#[derive(Debug)]
struct Anybody(Vec<SignatureScheme>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

fn failed(error: Error) -> io::Error {
    io::Error::other(format!("TLS: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::thread;
    use std::time::{Duration, Instant};

    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    use rustls::{ServerConfig, ServerConnection, Stream};

    /// A server of TLS that sends everything back `len` bytes long, then ends the stream in an orderly way. Nobody
    /// looks at its certificate, so it is none.
    fn echo_once(listener: TcpListener, len: usize) {
        let random = ring_key();
        let key = ring::sign::any_ecdsa_type(&PrivatePkcs8KeyDer::from(random).into()).unwrap();
        let chain = vec![CertificateDer::from(b"no certificate".as_slice())];
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))));
        let (mut socket, _) = listener.accept().unwrap();
        let mut session = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = Stream::new(&mut session, &mut socket);
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        // The client reads to the end, then closes: a reset before that would take bytes from it.
        assert_eq!(stream.read(&mut bytes).unwrap_or(0), 0);
    }

    /// The key of RFC 6979 §A.2.5, in PKCS#8 (RFC 5958): known to all the world, and enough for a handshake.
    fn ring_key() -> Vec<u8> {
        hex(
            "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420\
             c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721a14403420004\
             60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6\
             7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
        )
    }

    fn hex(digits: &str) -> Vec<u8> {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.as_bytes().chunks(2).map(byte).collect()
    }

    #[test]
    fn bytes_come_through_tls_whole_and_in_order() {
        // More than both sockets hold, so that sending has to wait for room.
        const LEN: usize = 24 << 20;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            unreachable!("bound to IPv4");
        };
        let server = thread::spawn(move || echo_once(listener, LEN));
        let sent: Vec<u8> = (0..LEN).map(|i| ((i * i) >> 7) as u8).collect();

        let mut transport = Transport::connect(&Address::Tcp(address), Some(&client_config(false))).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let turn = || assert!(Instant::now() < deadline, "no progress");
        while transport.socket().connect_error().is_err() || !retried(transport.secure()).unwrap_or(false) {
            turn();
        }
        let (mut from, mut waited) = (0, false);
        while from < LEN || transport.is_behind() {
            turn();
            let part = &sent[from..(from + (1 << 20)).min(LEN)];
            from += retried(transport.send(part)).unwrap_or(0);
            waited |= transport.is_behind();
        }
        assert!(waited);
        let mut received = Vec::new();
        while retried(transport.read_append(&mut received)) != Some(0) {
            turn();
        }
        assert!(received == sent);
        drop(transport);
        server.join().unwrap();
    }

    /// `None` where a real client would wait for its epoll.
    fn retried<T>(outcome: io::Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => None,
            Err(error) => panic!("{error}"),
        }
    }
}
