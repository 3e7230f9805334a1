//! Session tickets (RFC 5077, RFC 8446 §4.6.1) that every process with the same keys can open.
//!
//! The keys come from outside and are renewed from there; nothing here makes or logs one. What seals a ticket is derived from
//! a key and from what its listener shows its clients, so a ticket opens only where a full handshake would have shown the
//! same certificates. A ticket that does not open costs its client a full handshake, nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, CHACHA20_POLY1305, NONCE_LEN};
use ring::digest::{Context, SHA256};
use ring::hkdf::{KeyType, Prk, HKDF_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use rustls::server::ProducesTickets;

/// One key: bytes that nobody can guess.
pub type TicketKey = [u8; 32];

/// A ticket begins with the name of what sealed it, RFC 5077 §4.
const NAME: usize = 16;

/// A session without a client's certificate has less than 400 bytes, 255 of them the server's name. Longer tickets are not
/// ours; trying them would only help whoever searches for a key by tickets that open under many
/// (<https://eprint.iacr.org/2020/1491>).
const LONGEST: usize = 1024;

/// Derived keys differ between versions of Fairlead: what lies in a ticket is rustls' own format, which may change.
const PURPOSE: &[u8] = concat!("fairlead ", env!("CARGO_PKG_VERSION"), " session ticket").as_bytes();

/// The keys of all listeners of a process, shared with the other processes of its instance.
pub struct TicketKeys {
    keys: Mutex<Arc<[TicketKey]>>,
    lifetime_s: u32,
}

impl TicketKeys {
    /// The first of `keys` seals new tickets, all of them open tickets; with none there are no tickets. `lifetime_s` is what
    /// clients are told, who need not try later (at most a week, RFC 8446 §4.6.1).
    pub fn new(keys: &[TicketKey], lifetime_s: u32) -> TicketKeys {
        TicketKeys {
            keys: Mutex::new(keys.into()),
            lifetime_s: lifetime_s.min(7 * 24 * 60 * 60),
        }
    }

    /// From now on these are the keys; tickets of those that are not among them do not open any more.
    pub fn renew(&self, keys: &[TicketKey]) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    fn current(&self) -> Arc<[TicketKey]> {
        Arc::clone(&self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketKeys").finish_non_exhaustive() // never the keys
    }
}

/// What tells two configurations apart: all their certificates, in order. A resumed session shows none, so a ticket must
/// not outlive them, nor open where others would be shown.
pub(super) fn identity(chains: &[&[CertificateDer<'_>]]) -> Vec<u8> {
    let mut hash = Context::new(&SHA256);
    for chain in chains {
        hash.update(&chain.len().to_be_bytes());
        for certificate in *chain {
            hash.update(&certificate.len().to_be_bytes());
            hash.update(certificate);
        }
    }
    hash.finish().as_ref().to_vec()
}

/// Seals and opens the tickets of one configuration.
pub(super) struct Ticketer {
    keys: Arc<TicketKeys>,
    /// What a full handshake shows: [`identity`].
    identity: Vec<u8>,
    random: SystemRandom,
    /// Derived once for each set of keys: a hello may bring a thousand tickets to try.
    derived: Mutex<Arc<Derived>>,
}

/// What is made of a set of keys, in their order.
struct Derived {
    of: Arc<[TicketKey]>,
    sealing: Vec<([u8; NAME], LessSafeKey)>,
}

impl Ticketer {
    pub(super) fn new(keys: Arc<TicketKeys>, identity: Vec<u8>) -> Ticketer {
        let derived = Mutex::new(Arc::new(derive(keys.current(), &identity)));
        Ticketer {
            keys,
            identity,
            random: SystemRandom::new(),
            derived,
        }
    }

    fn derived(&self) -> Arc<Derived> {
        let current = self.keys.current();
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&derived.of, &current) {
            *derived = Arc::new(derive(current, &self.identity));
        }
        Arc::clone(&derived)
    }
}

impl std::fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticketer").finish_non_exhaustive() // never the keys
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        !self.derived().sealing.is_empty()
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime_s
    }

    /// Name, nonce, ciphertext and tag, the name being authenticated too. The nonce is random: processes that share a key
    /// share no counter. Two of 2^32 tickets of one key have the same with a chance of 1 in 2^33.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let derived = self.derived();
        let (name, key) = derived.sealing.first()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let start = NAME + NONCE_LEN;
        let mut ticket = Vec::with_capacity(start + plain.len() + CHACHA20_POLY1305.tag_len());
        ticket.extend_from_slice(name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(name), &mut ticket[start..])
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        (ticket.len() <= LONGEST).then_some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > LONGEST {
            return None;
        }
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        // Names are no secret: they stand in every ticket.
        let derived = self.derived();
        let (_, key) = derived.sealing.iter().find(|(own, _)| own == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let length = key.open_in_place(nonce, Aad::from(name), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

fn derive(of: Arc<[TicketKey]>, identity: &[u8]) -> Derived {
    let sealing = of
        .iter()
        .filter_map(|key| {
            let root = Prk::new_less_safe(HKDF_SHA256, key);
            let mut name = [0; NAME];
            root.expand(&[PURPOSE, b" name ", identity], NameLength)
                .and_then(|made| made.fill(&mut name))
                .ok()?;
            let info = [PURPOSE, b" key ", identity];
            let key = root.expand(&info, &CHACHA20_POLY1305).ok()?;
            Some((name, LessSafeKey::new(UnboundKey::from(key))))
        })
        .collect();
    Derived { of, sealing }
}

struct NameLength;

impl KeyType for NameLength {
    fn len(&self) -> usize {
        NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TicketKey = [1; 32];
    const TWO: TicketKey = [2; 32];
    const THREE: TicketKey = [3; 32];

    fn shared(keys: &[TicketKey]) -> Arc<TicketKeys> {
        Arc::new(TicketKeys::new(keys, 60))
    }

    fn ticketer(keys: &[TicketKey], identity: &str) -> Ticketer {
        Ticketer::new(shared(keys), identity.into())
    }

    #[test]
    fn a_ticket_opens_in_every_process_with_its_key_and_nowhere_else() {
        let ticket = ticketer(&[ONE, TWO], "site")
            .encrypt(b"session")
            .expect("a ticket");
        for (keys, opens) in [
            (&[ONE][..], true),
            (&[TWO, ONE], true),
            (&[TWO, THREE], false),
            (&[], false),
        ] {
            let opened = ticketer(keys, "site").decrypt(&ticket);
            assert_eq!(opened.is_some_and(|plain| plain == b"session"), opens);
        }
    }

    #[test]
    fn a_ticket_opens_only_where_the_same_certificates_are_shown() {
        let ticket = ticketer(&[ONE], "site").encrypt(b"session").expect("a ticket");
        assert_eq!(ticketer(&[ONE], "other site").decrypt(&ticket), None);
    }

    #[test]
    fn renewed_keys_seal_from_the_next_ticket_on_and_forgotten_ones_open_nothing() {
        let keys = shared(&[ONE, TWO]);
        let renewed = Ticketer::new(Arc::clone(&keys), "site".into());
        let old = renewed.encrypt(b"old").expect("a ticket");
        keys.renew(&[TWO, THREE, ONE]);
        assert_eq!(renewed.decrypt(&old).as_deref(), Some(&b"old"[..]));
        let new = renewed.encrypt(b"new").expect("a ticket");
        // A process that has not heard of it yet knows the key already.
        let late = ticketer(&[ONE, TWO], "site");
        assert_eq!(late.decrypt(&new).as_deref(), Some(&b"new"[..]));
        keys.renew(&[THREE, TWO]);
        assert_eq!(renewed.decrypt(&old), None);
        assert_eq!(renewed.decrypt(&new).as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn a_ticket_that_was_cut_or_changed_anywhere_does_not_open() {
        let ticketer = ticketer(&[ONE], "site");
        let ticket = ticketer.encrypt(b"session").expect("a ticket");
        for length in 0..ticket.len() {
            assert_eq!(ticketer.decrypt(&ticket[..length]), None, "{length}");
        }
        for at in 0..ticket.len() {
            let mut other = ticket.clone();
            other[at] ^= 1;
            assert_eq!(ticketer.decrypt(&other), None, "{at}");
        }
        assert_eq!(
            ticketer.decrypt(&[ticket.as_slice(), &[0; LONGEST]].concat()),
            None
        );
    }

    #[test]
    fn two_tickets_of_one_session_have_nothing_in_common_but_the_name() {
        let ticketer = ticketer(&[ONE], "site");
        let tickets = [(); 2].map(|()| ticketer.encrypt(b"session").expect("a ticket"));
        assert_eq!(tickets[0][..NAME], tickets[1][..NAME]);
        assert_ne!(
            tickets[0][NAME..NAME + NONCE_LEN],
            tickets[1][NAME..NAME + NONCE_LEN]
        );
        assert_ne!(tickets[0][NAME + NONCE_LEN..], tickets[1][NAME + NONCE_LEN..]);
    }

    #[test]
    fn without_keys_there_are_no_tickets() {
        let ticketer = ticketer(&[], "site");
        assert!(!ticketer.enabled());
        assert_eq!(ticketer.encrypt(b"session"), None);
    }

    #[test]
    fn no_key_is_shown_to_whoever_prints_one_of_these() {
        let keys = shared(&[[0xab; 32]]);
        let shown = format!("{keys:?} {:?}", Ticketer::new(Arc::clone(&keys), "site".into()));
        assert_eq!(shown, "TicketKeys { .. } Ticketer { .. }");
    }

    #[test]
    fn clients_are_told_of_a_week_at_most() {
        assert_eq!(Ticketer::new(shared(&[ONE]), Vec::new()).lifetime(), 60);
        let long = Arc::new(TicketKeys::new(&[ONE], u32::MAX));
        assert_eq!(Ticketer::new(long, Vec::new()).lifetime(), 604_800);
    }
}
