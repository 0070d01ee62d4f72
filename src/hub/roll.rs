//! A topic's subscribers: places that keep their number while somebody sits there.
//!
//! A pass walks the places by a cursor and may rest between two of them. So a leave only vacates its
//! place, a join takes a vacant one or the end, and the list is compacted only between passes.

/// Fewer vacancies than this are not worth compacting.
const SPARSE: usize = 64;

pub(super) struct Roll<T> {
    places: Vec<Option<T>>,
    vacant: Vec<u32>,
}

impl<T> Default for Roll<T> {
    fn default() -> Self {
        Self { places: Vec::new(), vacant: Vec::new() }
    }
}

impl<T> Roll<T> {
    /// Takes a place and answers its number.
    pub fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.vacant.pop() {
            self.places[place as usize] = Some(value);
            return place;
        }
        if self.places.is_empty() {
            // Most topics have one subscriber; the vector's own first step is four.
            self.places.reserve_exact(1);
        }
        self.places.push(Some(value));
        u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
    }

    /// Vacates a place.
    pub fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.places.get_mut(place as usize)?.take()?;
        self.vacant.push(place);
        Some(value)
    }

    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// One past the last place a cursor has to visit.
    pub fn end(&self) -> usize {
        self.places.len()
    }

    /// Who sits at a cursor's place, if anybody.
    pub fn at(&mut self, cursor: usize) -> Option<&mut T> {
        self.places.get_mut(cursor)?.as_mut()
    }

    pub fn occupied(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    /// Moves everybody together where more than half of the places are vacant, and tells who moved
    /// where. Never while a cursor stands in the list.
    pub fn compact(&mut self, mut moved: impl FnMut(&T, u32)) {
        if self.vacant.len() < SPARSE || self.vacant.len() * 2 < self.places.len() {
            return;
        }
        let kept = std::mem::take(&mut self.places).into_iter().flatten();
        for (place, value) in kept.enumerate() {
            moved(&value, u32::try_from(place).unwrap_or(u32::MAX));
            self.places.push(Some(value));
        }
        self.places.shrink_to_fit();
        self.vacant = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Debug, Clone)]
    enum Act {
        Join,
        Leave(usize),
        Compact,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![5 => Just(Act::Join), 4 => (0..400usize).prop_map(Act::Leave), 1 => Just(Act::Compact)];
        proptest::collection::vec(act, 0..600)
    }

    proptest! {
        #[test]
        fn everybody_is_found_where_the_roll_says(acts in acts()) {
            let mut roll = Roll::default();
            let mut seated: HashMap<u32, u32> = HashMap::new();
            let mut next = 0;
            for act in acts {
                match act {
                    Act::Join => {
                        seated.insert(next, roll.insert(next));
                        next += 1;
                    }
                    Act::Leave(nth) => {
                        if let Some(&who) = seated.keys().nth(nth % seated.len().max(1)) {
                            let place = seated.remove(&who).unwrap();
                            prop_assert_eq!(roll.remove(place), Some(who));
                            prop_assert_eq!(roll.remove(place), None);
                        }
                    }
                    Act::Compact => roll.compact(|&who, place| {
                        seated.insert(who, place);
                    }),
                }
                prop_assert_eq!(roll.occupied(), seated.len());
                for (&who, &place) in &seated {
                    prop_assert_eq!(roll.get_mut(place).copied(), Some(who));
                }
                let walked = (0..roll.end()).filter_map(|cursor| roll.at(cursor).copied()).count();
                prop_assert_eq!(walked, seated.len());
            }
        }
    }

    #[test]
    fn a_roll_that_emptied_gives_its_memory_back() {
        let mut roll = Roll::default();
        let places: Vec<u32> = (0..10_000).map(|n| roll.insert(n)).collect();
        for place in &places[10..] {
            roll.remove(*place);
        }
        roll.compact(|_, _| {});
        assert_eq!((roll.end(), roll.occupied()), (10, 10));
        assert!(roll.places.capacity() < 20);
    }
}
