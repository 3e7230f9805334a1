//! Values in numbered places, each with a key that no later value of the place has.
//!
//! A key is a place and a generation, so an event, a timer or a wake-up that was meant for an earlier value finds none. Keys
//! are plain numbers, because the kernel and the runners carry them; their highest bit is never set, so that whoever hands
//! them out can mark his own with it. Who holds a slab across threads locks it.

/// Values by key.
#[derive(Debug)]
pub struct Slab<T> {
    places: ::slab::Slab<Place<T>>,
    /// Of the newest value.
    generation: u32,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: T,
}

/// The lower half of a key is the place, the upper half the generation. A key comes back after 2^31 values at the soonest,
/// and only if its place is free just then.
const GENERATIONS: u32 = u32::MAX >> 1;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            places: ::slab::Slab::new(),
            generation: 0,
        }
    }
}

impl<T> Slab<T> {
    /// Takes a value in, and answers its key.
    #[inline]
    pub fn insert(&mut self, value: T) -> u64 {
        self.generation = self.generation.wrapping_add(1) & GENERATIONS;
        let generation = self.generation;
        let place = self.places.insert(Place { generation, value });
        key(generation, place)
    }

    /// Takes in a value that has to know its key.
    ///
    /// # Errors
    /// That of `make`; nothing was taken in then.
    pub fn try_insert_with<E>(&mut self, make: impl FnOnce(u64) -> Result<T, E>) -> Result<u64, E> {
        let next = self.generation.wrapping_add(1) & GENERATIONS;
        let value = make(key(next, self.places.vacant_key()))?;
        Ok(self.insert(value))
    }

    /// The value with this key, if it is still there.
    #[inline]
    pub fn get(&self, key: u64) -> Option<&T> {
        let place = self.places.get(Self::place_of(key))?;
        (place.generation == generation_of(key)).then_some(&place.value)
    }

    /// As [`Slab::get`].
    #[inline]
    pub fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let place = self.places.get_mut(Self::place_of(key))?;
        (place.generation == generation_of(key)).then_some(&mut place.value)
    }

    /// Takes the value with this key out, if it is still there.
    #[inline]
    pub fn remove(&mut self, key: u64) -> Option<T> {
        self.get(key)?;
        Some(self.places.remove(Self::place_of(key)).value)
    }

    /// The key of the value that is in a place now.
    pub fn key_at(&self, place: usize) -> Option<u64> {
        let found = self.places.get(place)?;
        Some(key(found.generation, place))
    }

    /// The place that a key names: small, and used again.
    #[inline]
    pub fn place_of(key: u64) -> usize {
        key as u32 as usize
    }

    /// All values, in no order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().map(|(_, place)| &place.value)
    }

    /// Takes all values out for which `is_meant` is true.
    pub fn extract(&mut self, is_meant: impl Fn(&T) -> bool) -> Vec<T> {
        let meant = self.places.iter().filter(|(_, place)| is_meant(&place.value));
        let meant: Vec<usize> = meant.map(|(number, _)| number).collect();
        meant
            .into_iter()
            .map(|number| self.places.remove(number).value)
            .collect()
    }

    /// Values that are in it.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[inline]
fn key(generation: u32, place: usize) -> u64 {
    u64::from(generation) << 32 | place as u64
}

#[inline]
fn generation_of(key: u64) -> u32 {
    (key >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_an_earlier_value_finds_nothing_in_the_place_it_had() {
        let mut slab = Slab::default();
        let first = slab.insert("first");
        assert_eq!(slab.get(first), Some(&"first"));
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(Slab::<&str>::place_of(first), Slab::<&str>::place_of(second));
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "second"));
        assert_eq!(slab.key_at(Slab::<&str>::place_of(second)), Some(second));
        assert_eq!((slab.len(), slab.is_empty()), (1, false));
    }

    #[test]
    fn a_value_that_is_not_made_after_all_leaves_its_place_free() {
        let mut slab = Slab::default();
        assert_eq!(slab.try_insert_with(Err::<u64, _>), Err(1 << 32));
        assert!(slab.is_empty());
        let key = slab.try_insert_with(Ok::<_, ()>).unwrap();
        assert_eq!(slab.get(key), Some(&key));
    }

    #[test]
    fn the_highest_bit_of_a_key_is_never_set() {
        let mut slab = Slab {
            generation: GENERATIONS - 1,
            ..Slab::default()
        };
        for _ in 0..3 {
            let key = slab.insert(());
            assert_eq!(key >> 63, 0);
            assert_eq!(slab.remove(key), Some(()));
        }
    }

    #[test]
    fn those_that_are_meant_are_taken_out_and_the_others_stay() {
        let mut slab = Slab::default();
        let keys: Vec<u64> = (0..6).map(|number| slab.insert(number)).collect();
        let mut even = slab.extract(|number| number % 2 == 0);
        even.sort_unstable();
        assert_eq!(even, [0, 2, 4]);
        assert_eq!(slab.iter().sum::<u32>(), 1 + 3 + 5);
        assert_eq!((slab.get(keys[0]), slab.get(keys[1])), (None, Some(&1)));
    }
}
