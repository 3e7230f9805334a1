//! TLS as the loop and the front see it: records in, plaintext out, and back, RFC 8446 §5.
//!
//! The front makes a [`TlsRecordLayer`] for a connection and completes its handshake; after an upgrade it moves to the worker
//! with the socket. It keeps what it has not given away: an incomplete record of the peer's, and records of ours that no
//! socket has taken yet. It does no IO, and nobody but its maker knows which library is behind it.

/// Our end of one TLS connection.
pub trait TlsRecordLayer: Send {
    /// Takes in bytes from the socket, all of them, and gives `take` the plaintext of each record that is complete, in
    /// order. Afterwards no plaintext is left inside, so whoever waits for the socket misses nothing. It may have something
    /// to say then (an alert, the answer to a KeyUpdate, RFC 8446 §4.6.3): see [`pending`](TlsRecordLayer::pending).
    ///
    /// # Errors
    /// What is wrong with the records; the connection is over, and the alert that says so is pending.
    fn open(&mut self, received: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), String>;

    /// True once the peer has said that nothing follows (`close_notify`, RFC 8446 §6.1): the end of its stream.
    fn has_ended(&self) -> bool;

    /// Makes records of plaintext, which lies in several places; they are pending then.
    fn seal(&mut self, plaintext: &[&[u8]]);

    /// Says that nothing follows from us (`close_notify`); again does nothing.
    fn end(&mut self);

    /// Bytes for the socket.
    fn pending(&self) -> &[u8];

    /// The socket took `count` of the pending bytes.
    fn advance(&mut self, count: usize);

    /// Gives idle memory back.
    fn trim(&mut self) {}
}

/// The most plaintext that is sealed while records wait for the socket: four records of the largest size (RFC 8446 §5.1). What
/// is sealed no longer counts in an outbox, so it has to be little.
pub const MAX_SEALED: usize = 64 * 1024;

impl dyn TlsRecordLayer + '_ {
    /// Seals at most [`MAX_SEALED`] bytes of what lies in several places; answers how many.
    pub fn seal_some(&mut self, parts: &[&[u8]]) -> usize {
        let mut room = MAX_SEALED;
        let mut some: [&[u8]; MOST_PARTS] = [&[]; MOST_PARTS];
        for (place, part) in some.iter_mut().zip(parts) {
            *place = &part[..part.len().min(room)];
            room -= place.len();
        }
        let size = MAX_SEALED - room;
        if size > 0 {
            self.seal(&some[..parts.len().min(MOST_PARTS)]);
        }
        size
    }
}

/// Further parts wait for the next call of [`seal_some`](trait.TlsRecordLayer.html#method.seal_some).
const MOST_PARTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Plain(Vec<u8>);

    impl TlsRecordLayer for Plain {
        fn open(&mut self, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Result<(), String> {
            Ok(())
        }
        fn has_ended(&self) -> bool {
            false
        }
        fn seal(&mut self, plaintext: &[&[u8]]) {
            self.0.extend(plaintext.concat());
        }
        fn end(&mut self) {}
        fn pending(&self) -> &[u8] {
            &self.0
        }
        fn advance(&mut self, _: usize) {}
    }

    #[test]
    fn what_is_sealed_at_once_is_bounded_over_all_parts() {
        let layer: &mut dyn TlsRecordLayer = &mut Plain::default();
        let large = vec![7; MAX_SEALED - 1];
        assert_eq!(layer.seal_some(&[b"a", &large, b"bc"]), MAX_SEALED);
        assert_eq!((layer.pending()[0], layer.pending().len()), (b'a', MAX_SEALED));
        let few: Vec<&[u8]> = vec![b"x"; MOST_PARTS + 5];
        assert_eq!(layer.seal_some(&few), MOST_PARTS);
        assert_eq!(layer.seal_some(&[]), 0);
    }
}
