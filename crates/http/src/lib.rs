//! What HTTP, CGI, forwarding headers, the PROXY protocol and packets of the uwsgi protocol say, as bytes and rules.
//!
//! A [`Request`] is one arena of bytes that no HTTP library knows; a [`ResponseHead`] is checked once, so that no later
//! writer has to look for smuggled line breaks. [`TrustedProxies`] decides whose word about a client counts,
//! [`ProxyHeader`] and [`PacketReader`] read what a server in front sends. Nothing here knows a socket, a clock, a
//! thread or a language, and nothing may: bytes go in, values and errors come out, and input that is cut anywhere gives
//! the same values. There is no `unsafe` in this crate.

#![forbid(unsafe_code)]

mod address;
mod cgi;
mod client_certificate;
mod forwarded;
mod host;
mod path;
mod proxy_header;
mod proxy_request;
mod request;
mod response;
mod target;
mod trusted;
mod uwsgi_packet;

pub use address::{Address, Scheme};
pub use cgi::decode_path;
pub use client_certificate::ClientCertificate;
pub use forwarded::ForwardedError;
pub use host::is_host;
pub use path::{encode_path, encode_query, encode_target, leads_up, normal_path};
pub use proxy_header::{ProxyHeader, ProxyHeaderError};
pub use proxy_request::{connection_options, is_hop_by_hop, speaks_of_client};
pub use request::{Request, RequestBuilder, Version};
pub use response::{check_header, is_token, HeadError, ResponseHead};
pub use trusted::TrustedProxies;
pub use uwsgi_packet::{Packet, PacketError, PacketLimits, PacketReader, PacketRequestError, PONG_PACKET};
