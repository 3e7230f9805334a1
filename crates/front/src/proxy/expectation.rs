//! A client that asks whether its body is wanted before it sends it (RFC 9110 §10.1.1): the server behind is asked, too.
//!
//! Whoever reads the body makes the front say 100 Continue. So the body is not read until the server behind has said it, or
//! has said nothing for a while, as a server that does not know the question does. If it answers at once, the client gets
//! that answer, and sends nothing. The uwsgi protocol has no word for the question: there the client hears 100 once the
//! server is reached and its body is about to be read.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use fairlead_http::{Request, Version};
use hyper::header::{self, HeaderValue};
use tokio::sync::oneshot;
use tokio::time::{sleep, Sleep};

/// As long as curl waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// Waits for 100 Continue.
pub(super) struct Expectation {
    /// `None`: nobody will tell any more.
    told: Option<oneshot::Receiver<()>>,
    patience: Pin<Box<Sleep>>,
}

impl Expectation {
    /// Whether the client asks.
    pub(super) fn is_of(request: &Request) -> bool {
        request.version() != Version::Http10 && request.has_token("expect", "100-continue")
    }

    /// Lets a head ask.
    pub(super) fn pass_on(head: &mut hyper::Request<()>) -> Expectation {
        let continues = HeaderValue::from_static("100-continue");
        head.headers_mut().insert(header::EXPECT, continues);
        let (teller, told) = oneshot::channel();
        let teller = Mutex::new(Some(teller));
        hyper::ext::on_informational(head, move |response| {
            if response.status() == hyper::StatusCode::CONTINUE {
                let teller = teller.lock().unwrap_or_else(PoisonError::into_inner).take();
                let _ = teller.map(|teller| teller.send(()));
            }
        });
        Expectation {
            told: Some(told),
            patience: Box::pin(sleep(PATIENCE)),
        }
    }

    /// Ready: the body may be read. Not to be asked again then.
    pub(super) fn poll_met(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(told) = &mut self.told {
            match Pin::new(told).poll(context) {
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                Poll::Ready(Err(_)) => self.told = None,
                Poll::Pending => {}
            }
        }
        self.patience.as_mut().poll(context)
    }
}
