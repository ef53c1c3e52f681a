//! Chance from a seed: the same seed makes the same schedule and the same calls.

use std::ops::RangeInclusive;

/// A sequence of numbers that its seed determines (`SplitMix64`).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for one of many parts.
    pub(crate) const fn of_part(seed: u64, part: u64) -> Self {
        let mut parts = Self(seed ^ part.wrapping_mul(0xd134_2543_de82_ef95));
        Self(parts.next())
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number within bounds, both included.
    pub(crate) fn within(&mut self, bounds: RangeInclusive<u64>) -> u64 {
        bounds.start() + self.next() % (bounds.end() - bounds.start() + 1)
    }

    /// An index of a list of so many.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap();
        usize::try_from(self.next() % length).unwrap()
    }

    /// Yes in so many of a hundred cases.
    pub(crate) const fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// Brings a list into some order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let other = self.index(end + 1);
            list.swap(end, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_the_same_twice_and_parts_differ() {
        let first = |mut random: Random| [random.next(), random.next()];
        assert_eq!(first(Random::new(7)), first(Random::new(7)));
        assert_ne!(first(Random::of_part(7, 0)), first(Random::of_part(7, 1)));
        let mut random = Random::new(1);
        assert!((0..1_000).all(|_| (3..=5).contains(&random.within(3..=5))));
    }
}
