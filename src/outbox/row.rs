//! Entries in a row, each of which can be taken out, or be replaced by another, without a walk to where it stands.

use slab::Slab;

use super::backlog::Entry;

/// Where an entry stands. It holds until the entry leaves; what replaces an entry has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(u32);

/// The place of nothing, at both ends of the row.
const NOWHERE: Place = Place(u32::MAX);

/// Entries, first to last.
pub(super) struct Row {
    links: Slab<Link>,
    first: Place,
    last: Place,
    /// The number of the next entry.
    next: u64,
}

struct Link {
    entry: Entry,
    /// Grows from place to place along the row, so that two places can be compared.
    number: u64,
    before: Place,
    behind: Place,
}

impl Row {
    pub fn new() -> Self {
        Self { links: Slab::new(), first: NOWHERE, last: NOWHERE, next: 0 }
    }

    pub fn len(&self) -> usize {
        self.links.len()
    }

    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Puts an entry behind all others.
    pub fn push(&mut self, entry: Entry) -> Place {
        let link = Link { entry, number: self.next, before: self.last, behind: NOWHERE };
        let place = Place(u32::try_from(self.links.insert(link)).unwrap_or(NOWHERE.0));
        self.next += 1;
        match self.link(self.last) {
            Some(last) => last.behind = place,
            None => self.first = place,
        }
        self.last = place;
        place
    }

    /// Takes the entry at a place out.
    pub fn take(&mut self, place: Place) -> Option<Entry> {
        let Link { entry, before, behind, .. } = self.links.try_remove(place.0 as usize)?;
        match self.link(before) {
            Some(link) => link.behind = behind,
            None => self.first = behind,
        }
        match self.link(behind) {
            Some(link) => link.before = before,
            None => self.last = before,
        }
        Some(entry)
    }

    /// Puts another entry where one stands, and answers that one.
    pub fn replace(&mut self, place: Place, entry: Entry) -> Option<Entry> {
        self.link(place).map(|link| std::mem::replace(&mut link.entry, entry))
    }

    pub fn get(&self, place: Place) -> Option<&Entry> {
        step();
        self.links.get(place.0 as usize).map(|link| &link.entry)
    }

    /// The number of a place: the smaller one stands further in front.
    pub fn number(&self, place: Place) -> u64 {
        self.links.get(place.0 as usize).map_or(u64::MAX, |link| link.number)
    }

    /// The place of the first entry, if there is one.
    pub fn first(&self) -> Option<Place> {
        (self.first != NOWHERE).then_some(self.first)
    }

    pub fn head(&self) -> Option<&Entry> {
        self.get(self.first)
    }

    /// All of them, first to last.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Entry)> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            step();
            let place = next;
            let link = self.links.get(place.0 as usize)?;
            next = link.behind;
            Some((place, &link.entry))
        })
    }

    fn link(&mut self, place: Place) -> Option<&mut Link> {
        step();
        self.links.get_mut(place.0 as usize)
    }
}

#[cfg(test)]
thread_local! {
    /// How many entries this thread has looked at.
    pub(super) static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// An entry is looked at: tests count how often.
fn step() {
    #[cfg(test)]
    STEPS.set(STEPS.get() + 1);
}
