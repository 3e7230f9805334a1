//! What every request passes, whatever version of HTTP brought it, in this order: the operator's variables, the routes, static
//! files, other servers, the application.
//!
//! [`Pipeline::enter`] is the one place where a request goes in; whoever answers first ends its way. What is kept of it for
//! the log and for the rules behind (`access_log`) is kept from here on.

use std::sync::{Arc, Weak};
use std::time::Duration;

use fairlead_http::{Request, ResponseHead};

use crate::access_log::AccessRecord;
use crate::connection::Connection;
use crate::events::LogLevel;
use crate::exchange::Exchange;
use crate::handoff::Handoff;
use crate::proxy::{self, Destination};
use crate::routes::{Effects, Verdict};
use crate::static_files::FileResponse;

/// Requests that may wait for a slot where connections are accepted although all are taken and nothing else is said, each
/// with a head of 32 KiB at most. Elsewhere nothing is accepted while one waits.
const MOST_WAITING: usize = 1024;

/// The way of every request. One per front.
pub(crate) struct Pipeline {
    handoff: Arc<dyn Handoff>,
}

impl Pipeline {
    pub(crate) fn new(handoff: Arc<dyn Handoff>) -> Pipeline {
        Pipeline { handoff }
    }

    /// A request has come.
    pub(crate) fn enter(&self, connection: &Arc<Connection>, mut request: Request, exchange: Arc<Exchange>) {
        let settings = connection.settings();

        // The operator's variables: first, so that the rules and everybody behind them see the operator's word and not a
        // client's.
        if connection.ends.is_routed {
            for (name, value) in settings.router.variables() {
                request.set_variable(name, value.as_bytes());
            }
        }

        // The routes.
        let (verdict, effects) = settings.routes.decide(&mut request);
        for line in &effects.log {
            connection.log(LogLevel::Info, format_args!("{line}"));
        }
        let backend = match verdict {
            Verdict::Run => None,
            Verdict::Answer(head, body) => {
                keep_record(connection, &request, &exchange, effects, true);
                let _ = exchange.respond(head, body);
                return;
            }
            Verdict::Cut => {
                keep_record(connection, &request, &exchange, effects, true);
                return exchange.abort("a route said break:");
            }
            Verdict::Proxy(backend) => Some(Destination::Server(backend)),
        };

        // Static files, unless a route has named a server.
        if backend.is_none() {
            if let Some(file) = settings.static_files.look_up(&request) {
                keep_record(connection, &request, &exchange, effects, true);
                return send_file(file.response(&request), &exchange);
            }
        }

        // Another server: the one that a route has named, or one of the router's.
        let is_for_router = connection.ends.is_routed && settings.router.has_servers();
        if let Some(to) = backend.or(is_for_router.then_some(Destination::Router)) {
            keep_record(connection, &request, &exchange, effects, true);
            tokio::spawn(proxy::carry(Arc::clone(connection), request, exchange, to));
            return;
        }

        // The application, if there is a place to wait for it.
        let places = settings.queue_limit.unwrap_or(MOST_WAITING);
        if settings.accepts_when_full() && !self.handoff.has_place(places) {
            keep_record(connection, &request, &exchange, effects, true);
            return refuse_for_now(&exchange);
        }
        for (name, value) in &effects.log_variables {
            request.note(&format!("logvar.{name}"), value);
        }
        if effects.no_log_line {
            request.note("donotlog", b"");
        }
        keep_record(connection, &request, &exchange, effects, false);
        let waiting = settings
            .queue_timeout
            .map(|limit| (limit, Arc::downgrade(&exchange)));
        self.handoff.request(request, exchange);
        if let Some((limit, exchange)) = waiting {
            if exchange.upgrade().is_some_and(|exchange| exchange.awaits_slot()) {
                tokio::spawn(give_up(Arc::clone(&self.handoff), exchange, limit));
            }
        }
    }
}

/// Tells a client that has waited for a slot for so long that there is none.
async fn give_up(handoff: Arc<dyn Handoff>, exchange: Weak<Exchange>, limit: Duration) {
    tokio::time::sleep(limit).await;
    if let Some(exchange) = exchange.upgrade() {
        if exchange.give_up_slot() {
            if let Some(record) = exchange.record() {
                record.becomes_ours();
            }
            refuse_for_now(&exchange);
            handoff.some_are_over();
        }
    }
}

/// Keeps an access record of the request, if anybody wants one. `is_ours`: it never reaches the app.
fn keep_record(
    connection: &Connection,
    request: &Request,
    exchange: &Exchange,
    effects: Effects,
    is_ours: bool,
) {
    let settings = connection.settings();
    // One that has to wait may be answered here after all.
    let may_be_ours = is_ours || settings.queue_timeout.is_some();
    let wants_line = may_be_ours && settings.request_lines && !effects.no_log_line;
    if wants_line || settings.routes.looks_back() || !effects.headers.is_empty() {
        let shared = Arc::clone(connection.shared());
        let record = AccessRecord::new(shared, request.clone(), effects, is_ours);
        exchange.core().keep(record);
    }
}

/// All slots are taken, and too many requests wait already or this one has for too long (RFC 9110 §15.6.4).
fn refuse_for_now(exchange: &Exchange) {
    let headers = [
        ("Retry-After", "1"),
        ("Content-Type", "text/plain; charset=utf-8"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    if let Ok(head) = ResponseHead::new(503, headers.to_vec()) {
        // A client that is gone needs no answer.
        let _ = exchange.respond(head, "503 Service Unavailable: all slots are taken\n");
    }
}

/// A file's answer. Without one the exchange is dropped, which is a 500.
fn send_file(response: Option<FileResponse>, exchange: &Exchange) {
    let Some(FileResponse { head, body }) = response else {
        return;
    };
    // Errors mean that the client has left.
    match body {
        None => drop(exchange.respond(head, Vec::new())),
        Some((file, first, length)) => {
            if exchange.start_response(head).is_ok() {
                let _ = exchange.write_file(file, first, length);
                exchange.finish();
            }
        }
    }
}
