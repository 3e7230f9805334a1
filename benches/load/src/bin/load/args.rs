//! The command line of `load`: parsed once, here, into checked types. Each option has its one line in `HELP`; an
//! unknown option or a bad value is one sentence.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

use fairlead_bench_load::process::MAX_PID;
use fairlead_bench_load::sys::Address;

/// What `--help` prints.
pub const HELP: &str = "usage: load --port N [options]
  --mode echo|connect|idle|fanout   what the connections do (echo)
  --host ADDRESS                    IPv4 address of the server (127.0.0.1)
  --port N | --unix PATH            where it listens
  --protocol http|uwsgi|http2       how the handshake is asked for (http); http2 with prior knowledge, or ALPN in TLS
  --sessions N                      http2: connections that share the WebSockets (1)
  --tls                             wss: TLS 1.3; the certificate is not checked
  --path PATH                       what to GET (/)
  --sub-path, --pub-path PATH       the same for fanout (/sub, /pub)
  --connections N                   how many at a time (1); for fanout the subscribers, one publisher comes on top
  --opening N                       handshakes under way at a time before the run (128)
  --size BYTES                      payload of a message (64; fanout at least 16)
  --in-flight N                     echo: messages on their way per connection; fanout: per channel (1)
  --text                            text messages instead of binary ones
  --verify                          compare every payload byte
  --seconds S                       the measured window (4)
  --warmup S                        the same load before it, not counted (1)
  --pids PID,PID                    processes of the server, whose CPU and memory to report
  --beside PID,PID                  processes that share the load's CPU: what they use counts as the client's";

/// What the connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeName {
    Echo,
    Connect,
    Idle,
    Fanout,
}

/// How a handshake is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, RFC 6455.
    Http,
    /// A packet of the uwsgi protocol; the answer is that of HTTP/1.1.
    Uwsgi,
    /// Streams of HTTP/2, RFC 8441.
    Http2,
}

/// The parsed command line.
#[derive(Debug)]
pub struct Options {
    pub mode: ModeName,
    pub address: Address,
    pub protocol: Protocol,
    pub sessions: usize,
    pub tls: bool,
    pub path: String,
    pub sub_path: String,
    pub pub_path: String,
    pub connections: usize,
    pub opening: usize,
    pub size: usize,
    pub in_flight: usize,
    pub text: bool,
    pub verify: bool,
    pub seconds: f64,
    pub warmup: f64,
    pub pids: Vec<i32>,
    pub beside: Vec<i32>,
}

impl Options {
    /// Parses the arguments behind the program's name; the error is one sentence.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut host = Ipv4Addr::LOCALHOST;
        let mut port: Option<u16> = None;
        let mut unix: Option<PathBuf> = None;
        let mut options = Options {
            mode: ModeName::Echo,
            address: Address::Tcp(SocketAddrV4::new(host, 0)),
            protocol: Protocol::Http,
            sessions: 1,
            tls: false,
            path: "/".into(),
            sub_path: "/sub".into(),
            pub_path: "/pub".into(),
            connections: 1,
            opening: 128,
            size: 64,
            in_flight: 1,
            text: false,
            verify: false,
            seconds: 4.0,
            warmup: 1.0,
            pids: Vec::new(),
            beside: Vec::new(),
        };

        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--text" => options.text = true,
                "--tls" => options.tls = true,
                "--verify" => options.verify = true,
                _ => {
                    let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
                    match name.as_str() {
                        "--mode" => options.mode = mode(&value()?)?,
                        "--host" => host = parsed(&name, &value()?)?,
                        "--port" => port = Some(parsed(&name, &value()?)?),
                        "--unix" => unix = Some(value()?.into()),
                        "--protocol" => options.protocol = protocol(&value()?)?,
                        "--sessions" => options.sessions = at_least_one(&name, &value()?)?,
                        "--path" => options.path = path(&name, value()?)?,
                        "--sub-path" => options.sub_path = path(&name, value()?)?,
                        "--pub-path" => options.pub_path = path(&name, value()?)?,
                        "--connections" => options.connections = at_least_one(&name, &value()?)?,
                        "--opening" => options.opening = at_least_one(&name, &value()?)?,
                        "--size" => options.size = parsed(&name, &value()?)?,
                        "--in-flight" => options.in_flight = at_least_one(&name, &value()?)?,
                        "--seconds" => options.seconds = seconds(&name, &value()?)?,
                        "--warmup" => options.warmup = seconds(&name, &value()?)?,
                        "--pids" => options.pids = pids(&name, &value()?)?,
                        "--beside" => options.beside = pids(&name, &value()?)?,
                        _ => return Err(format!("there is no option {name}, see --help")),
                    }
                }
            }
        }

        options.address = match (port, unix) {
            (Some(port), None) => Address::Tcp(SocketAddrV4::new(host, port)),
            (None, Some(path)) => Address::Unix(path),
            _ => return Err("give either --port or --unix".into()),
        };
        if options.mode == ModeName::Fanout {
            // The message's number stands in its first 16 bytes.
            options.size = options.size.max(16);
        }
        if options.protocol == Protocol::Http2 && options.mode == ModeName::Connect {
            return Err("--mode connect measures connections, and --protocol http2 shares them".into());
        }
        Ok(options)
    }
}

fn protocol(value: &str) -> Result<Protocol, String> {
    match value {
        "http" => Ok(Protocol::Http),
        "uwsgi" => Ok(Protocol::Uwsgi),
        "http2" => Ok(Protocol::Http2),
        _ => Err(format!("--protocol is http, uwsgi or http2, not '{value}'")),
    }
}

/// Far below what a length of the uwsgi protocol can hold.
fn path(name: &str, value: String) -> Result<String, String> {
    const MOST: usize = 4096;
    match value.len() {
        0..=MOST => Ok(value),
        len => Err(format!("{name} has {len} bytes, at most {MOST} are possible")),
    }
}

fn mode(value: &str) -> Result<ModeName, String> {
    match value {
        "echo" => Ok(ModeName::Echo),
        "connect" => Ok(ModeName::Connect),
        "idle" => Ok(ModeName::Idle),
        "fanout" => Ok(ModeName::Fanout),
        _ => Err(format!("--mode is echo, connect, idle or fanout, not '{value}'")),
    }
}

fn pids(name: &str, value: &str) -> Result<Vec<i32>, String> {
    let pid = |text| match parsed(name, text)? {
        pid if (1..MAX_PID).contains(&pid) => Ok(pid),
        _ => Err(format!("{name} cannot be '{text}'")),
    };
    value.split(',').map(pid).collect()
}

fn at_least_one(name: &str, value: &str) -> Result<usize, String> {
    match parsed(name, value)? {
        0 => Err(format!("{name} is at least 1")),
        number => Ok(number),
    }
}

fn seconds(name: &str, value: &str) -> Result<f64, String> {
    match parsed(name, value)? {
        // An hour is far more than any run needs, and keeps the sum of all times far inside 64 bits of nanoseconds.
        number if (0.0..=3600.0).contains(&number) => Ok(number),
        _ => Err(format!(
            "{name} is a number of seconds from 0 to 3600, not '{value}'"
        )),
    }
}

fn parsed<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} cannot be '{value}'"))
}
