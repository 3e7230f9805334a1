//! Unmasking, RFC 6455 §5.3: copy and exclusive-or in one pass.
//!
//! The payload goes from the read buffer straight to its place in the inbox, so every byte is touched once. The
//! loop works on eight bytes at a time through plain slices, a shape that LLVM turns into vector instructions;
//! that is why the crate needs no `unsafe`. A key belongs to a position in its frame: when a frame arrives in
//! pieces, the caller turns the key by what it has already used.

/// The masking key of one frame, turned so that its first byte belongs to the next payload byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key([u8; 4]);

impl Key {
    pub(crate) const fn new(key: [u8; 4]) -> Key {
        Key(key)
    }

    /// The key for what follows after `used` bytes.
    pub(crate) fn turned(self, used: usize) -> Key {
        let [a, b, c, d] = self.0;
        Key(match used % 4 {
            0 => [a, b, c, d],
            1 => [b, c, d, a],
            2 => [c, d, a, b],
            _ => [d, a, b, c],
        })
    }

    /// Writes the unmasked `source` to `target`; both have the same length.
    #[inline]
    pub(crate) fn copy_unmasked(self, source: &[u8], target: &mut [u8]) {
        debug_assert_eq!(source.len(), target.len());
        let [a, b, c, d] = self.0;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (source_words, source_rest) = source.as_chunks::<8>();
        let (target_words, target_rest) = target.as_chunks_mut::<8>();
        for (target, source) in target_words.iter_mut().zip(source_words) {
            *target = (u64::from_ne_bytes(*source) ^ wide).to_ne_bytes();
        }
        for ((target, source), key) in target_rest.iter_mut().zip(source_rest).zip([a, b, c, d, a, b, c]) {
            *target = source ^ key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.3, word for word.
    fn by_the_letter(key: [u8; 4], source: &[u8]) -> Vec<u8> {
        source
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ key[i % 4])
            .collect()
    }

    #[test]
    fn unmasking_in_words_equals_the_rule_byte_by_byte() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let source: Vec<u8> = (0..200u8).map(|i| i.wrapping_mul(73)).collect();
        for start in 0..9 {
            for end in start..source.len() {
                let mut target = vec![0; end - start];
                Key::new(key).copy_unmasked(&source[start..end], &mut target);
                assert_eq!(target, by_the_letter(key, &source[start..end]));
            }
        }
    }

    #[test]
    fn a_key_is_turned_by_what_was_used_before() {
        let key = [1, 2, 4, 8];
        let source = [0x55; 23];
        let whole = by_the_letter(key, &source);
        for cut in 0..source.len() {
            let mut target = [0; 23];
            let (before, after) = target.split_at_mut(cut);
            Key::new(key).copy_unmasked(&source[..cut], before);
            Key::new(key).turned(cut).copy_unmasked(&source[cut..], after);
            assert_eq!(target[..], whole[..]);
        }
    }
}
