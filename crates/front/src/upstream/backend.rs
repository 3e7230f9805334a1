//! One server behind this one: its address, the protocol it speaks, and what replaces parts of a request for it.

/// A server to which requests are proxied.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    /// `host:port`, a path, or `@abstract`.
    pub(crate) address: String,
    pub(crate) style: Style,
    /// Replaces the Host.
    pub(crate) host: Option<Vec<u8>>,
    /// Replaces the request target.
    pub(crate) target: Option<Vec<u8>>,
}

/// What a backend is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// The uwsgi protocol.
    Uwsgi { modifier1: u8, modifier2: u8 },
    /// HTTP/1.1, without what concerns one connection only, and with `X-Forwarded-For`.
    Http,
    /// HTTP/1.1 with the client's headers as they are.
    HttpDumb,
}

impl Backend {
    /// Whether an address can be one at all.
    pub(crate) fn check(address: &str) -> Result<(), String> {
        if address.starts_with('@') && address.len() > 1 || address.contains('/') {
            return Ok(());
        }
        let port = address
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse::<u16>()));
        match port {
            Some((_, Ok(port))) if port > 0 => Ok(()),
            _ => Err(format!(
                "{address:?} is no address of a server; write host:port, a path, or @name of an abstract socket"
            )),
        }
    }

    pub(crate) fn label(&self) -> String {
        let kind = match self.style {
            Style::Uwsgi { .. } => "uwsgi",
            Style::Http | Style::HttpDumb => "http",
        };
        format!("the {kind} server at {}", self.address)
    }

    pub(crate) fn needs_length(&self) -> bool {
        matches!(self.style, Style::Uwsgi { .. })
    }
}
