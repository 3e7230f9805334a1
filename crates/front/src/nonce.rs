//! Bytes that nobody can guess and nobody else has, from the standard library's only source of chance.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Sixteen bytes that nobody else has, such as the key of a handshake: applications take it for a name of their client.
pub(crate) fn nonce() -> [u8; 16] {
    // Each state has keys of its own.
    let state = RandomState::new();
    let [mut first, mut second] = [state.build_hasher(), state.build_hasher()];
    first.write_u8(1);
    second.write_u8(2);
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&first.finish().to_be_bytes());
    nonce[8..].copy_from_slice(&second.finish().to_be_bytes());
    nonce
}
