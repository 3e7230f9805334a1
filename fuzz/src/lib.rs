//! The properties that the fuzz targets check. They stand here, free of any fuzzer, because the tests of the
//! crates http, websocket and channel include the same files to replay the committed seeds and to check random streams.

pub mod channel_region;
pub mod handshake;
pub mod path;
pub mod proxy_header;
pub mod proxy_request;
pub mod session;
pub mod uwsgi_packet;
