//! The router: servers that get what comes to the listeners of `--http` and `--https`, each in its turn (compat §4.2).
//!
//! It is uWSGI's `--http-to`, so the uwsgi protocol is spoken to them. One that does not accept a connection is left out for
//! a while and the next one gets the request; while all of them are out, each is tried once more, because a refusal costs
//! less than a client sent away from a server that is back. Nothing here does IO: [`Router::round`] says whom to try, and
//! is told what became of it. Each process has its own view of who is out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::backend::{Backend, Style};

/// Where requests of the router's listeners go, and what is added to them.
#[derive(Debug, Default)]
pub struct Router {
    members: Vec<Member>,
    modifiers: (u8, u8),
    grace: Duration,
    /// Variables of every request at these listeners, wherever it goes.
    variables: Vec<(String, String)>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Member {
    address: String,
    /// It did not accept a connection then.
    out_since: Mutex<Option<Instant>>,
}

/// Whom to try for one request, the first one first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) members: Vec<usize>,
    /// All are out, and tried all the same.
    pub(crate) is_last_resort: bool,
}

impl Router {
    /// `addresses`: of the servers; none: requests go to the application. `grace`: how long one that is out stays so.
    ///
    /// # Errors
    /// One sentence with the address that is none.
    pub fn new(
        addresses: Vec<String>,
        modifiers: (u8, u8),
        grace: Duration,
        variables: Vec<(String, String)>,
    ) -> Result<Router, String> {
        let members = addresses
            .into_iter()
            .map(|address| {
                Router::check(&address)?;
                Ok(Member {
                    address,
                    out_since: Mutex::default(),
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Router {
            members,
            modifiers,
            grace,
            variables,
            turn: AtomicUsize::new(0),
        })
    }

    /// Whether a server can be asked at this address.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn check(address: &str) -> Result<(), String> {
        Backend::check(address)
    }

    /// There are servers behind, and the application gets nothing of the router's listeners.
    pub(crate) fn has_servers(&self) -> bool {
        !self.members.is_empty()
    }

    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    pub(crate) fn backend(&self, member: usize) -> Backend {
        let (modifier1, modifier2) = self.modifiers;
        Backend {
            address: self.members[member].address.clone(),
            style: Style::Uwsgi { modifier1, modifier2 },
            host: None,
            target: None,
        }
    }

    /// Whose turn it is.
    pub(crate) fn round(&self, now: Instant) -> Round {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.members.len();
        let all = (0..count).map(|offset| (first % count + offset) % count);
        let (in_turn, out): (Vec<_>, Vec<_>) = all.partition(|member| !self.is_out(*member, now));
        let is_last_resort = in_turn.is_empty();
        Round {
            members: if is_last_resort { out } else { in_turn },
            is_last_resort,
        }
    }

    fn is_out(&self, member: usize, now: Instant) -> bool {
        let since = *self.lock(member);
        since.is_some_and(|since| now.saturating_duration_since(since) < self.grace)
    }

    /// It has accepted a connection. True if that is news.
    pub(crate) fn is_back(&self, member: usize) -> bool {
        self.lock(member).take().is_some()
    }

    /// It has not. How long it is left out now.
    pub(crate) fn leave_out(&self, member: usize, now: Instant) -> Duration {
        *self.lock(member) = Some(now);
        self.grace
    }

    fn lock(&self, member: usize) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.members[member]
            .out_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(count: usize) -> Router {
        let addresses = (1..=count).map(|port| format!("127.0.0.1:{port}")).collect();
        Router::new(addresses, (0, 0), Duration::from_secs(30), Vec::new()).expect("a router")
    }

    fn order(router: &Router, now: Instant) -> Vec<usize> {
        router.round(now).members
    }

    #[test]
    fn each_request_begins_with_the_next_server_and_has_the_others_behind_it() {
        let router = router(3);
        let now = Instant::now();
        let orders: Vec<_> = (0..4).map(|_| order(&router, now)).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }

    #[test]
    fn a_server_that_is_out_is_left_out_until_its_time_has_passed_or_it_is_back() {
        let router = router(2);
        let then = Instant::now();
        router.leave_out(0, then);
        let soon = then + Duration::from_secs(29);
        assert_eq!(order(&router, soon), [1]);
        assert_eq!(order(&router, soon), [1]);
        assert_eq!(order(&router, then + Duration::from_secs(30)).len(), 2);
        assert!(router.is_back(0));
        assert!(!router.is_back(0));
        assert_eq!(order(&router, soon).len(), 2);
    }

    #[test]
    fn when_all_are_out_all_are_tried() {
        let router = router(2);
        let now = Instant::now();
        router.leave_out(0, now);
        router.leave_out(1, now);
        let round = router.round(now);
        assert_eq!((round.members.len(), round.is_last_resort), (2, true));
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        let why = Router::new(vec!["somewhere".into()], (0, 0), Duration::ZERO, Vec::new())
            .expect_err("no address");
        assert!(why.contains("\"somewhere\" is no address"), "{why}");
    }

    #[test]
    fn the_turn_wraps_around() {
        let router = router(3);
        router.turn.store(usize::MAX, Ordering::Relaxed);
        let now = Instant::now();
        for _ in 0..3 {
            let mut members = order(&router, now);
            members.sort_unstable();
            assert_eq!(members, [0, 1, 2]);
        }
    }
}
