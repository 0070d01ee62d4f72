//! What a backlog keeps in its books is what stands in its row.

use std::collections::{HashMap, HashSet};

use crate::outbox::backlog::{Backlog, Entry, Kind};
use crate::outbox::row::Place;
use crate::outbox::spare::Spare;

impl Backlog {
    /// Holds what it has counted and noted against all that waits.
    pub(super) fn check(&self) {
        let all: Vec<(Place, &Entry)> = self.entries.iter().collect();
        assert_eq!((all.len(), self.entries.is_empty()), (self.entries.len(), all.is_empty()));
        let numbers: Vec<_> = all.iter().map(|&(place, _)| self.entries.number(place)).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert_eq!(self.bytes(), all.iter().map(|(_, entry)| entry.cost()).sum::<usize>());
        let gaps = all.iter().filter(|(_, entry)| matches!(entry.kind, Kind::Gap(_)));
        assert_eq!(self.gap_bytes, gaps.clone().map(|(_, entry)| entry.cost()).sum::<usize>());
        assert_eq!(gaps.clone().count(), self.gaps.len(), "a gap per topic");
        for (place, entry) in gaps {
            assert!(matches!(&entry.kind, Kind::Gap(topic) if self.gaps[topic] == *place));
        }
        for (rule, spare) in &self.spares {
            let under = all.iter().filter_map(|&(place, entry)| {
                let (of, origin) = entry.droppable()?;
                (of == *rule).then(|| ((origin.topic.clone(), origin.key.clone()), place))
            });
            let under: Vec<_> = under.collect();
            match spare {
                Spare::Oldest(places) => assert!(places.iter().eq(under.iter().map(|(_, place)| place))),
                Spare::Superseded { newest, older } => {
                    let expected: HashSet<_> = under.iter().cloned().collect::<HashMap<_, _>>().into_values().collect();
                    assert_eq!(newest.values().copied().collect::<HashSet<_>>(), expected);
                    let rest = under.iter().map(|&(_, place)| place).filter(|place| !expected.contains(place));
                    assert_eq!(*older, rest.collect::<HashSet<_>>());
                }
            }
        }
    }
}
