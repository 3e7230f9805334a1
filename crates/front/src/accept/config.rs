//! What an operator says of a listener: how the connections that come by it are treated.

use std::sync::Arc;

use fairlead_http::Scheme;

use crate::accept::listener::Listener;
use crate::tls::Tls;

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP, by whoever connects.
    #[default]
    Http,
    /// The uwsgi protocol, by a server in front that is trusted in what it says of its clients.
    Uwsgi,
}

/// How connections of one listener are treated.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// What their clients speak.
    pub protocol: Protocol,
    /// With or without TLS, from the clients' point of view.
    pub scheme: Scheme,
    /// Requests look as behind uWSGI's HTTP router.
    pub router: bool,
    /// A connection begins with a header of the PROXY protocol, and one that does not is closed.
    pub proxy_protocol: bool,
    /// TLS that begins here. `None` does not mean that the client has none: a proxy may have ended it.
    pub tls: Option<Arc<Tls>>,
    /// All requests are sent to this port of https.
    pub to_https: Option<u16>,
}

impl Default for ListenerConfig {
    fn default() -> ListenerConfig {
        ListenerConfig {
            protocol: Protocol::Http,
            scheme: Scheme::Http,
            router: false,
            proxy_protocol: false,
            tls: None,
            to_https: None,
        }
    }
}

/// A listener, and how its connections are treated.
#[derive(Debug)]
pub struct BoundListener {
    /// Where they come from.
    pub listener: Listener,
    /// How they are treated.
    pub config: ListenerConfig,
}

impl From<Listener> for BoundListener {
    /// Plain HTTP.
    fn from(listener: Listener) -> BoundListener {
        BoundListener {
            listener,
            config: ListenerConfig::default(),
        }
    }
}
