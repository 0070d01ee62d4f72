//! What may be dropped next under one rule, found without looking through what waits: made of all that waits when the
//! rule first meets a full outbox, and kept up to date while anything waits there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::row::Place;
use super::run::Origin;

/// The publications of one rule, in the order in which they make room.
pub(super) enum Spare {
    /// The oldest goes first.
    Oldest(VecDeque<Place>),
    /// All go of which a newer one waits.
    Superseded {
        /// The newest of each subject.
        newest: HashMap<Subject, Place>,
        /// The others.
        older: HashSet<Place>,
    },
}

/// What `conflate` keeps the newest of: a topic, and the key its producer gave.
pub(super) struct Subject(Arc<Origin>);

impl Subject {
    fn parts(&self) -> (&str, Option<&str>) {
        (self.0.topic.as_str(), self.0.key.as_deref())
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Subject {}

impl Hash for Subject {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Spare {
    pub fn oldest() -> Self {
        Self::Oldest(VecDeque::new())
    }

    pub fn superseded() -> Self {
        Self::Superseded { newest: HashMap::new(), older: HashSet::new() }
    }

    /// Whether both are of the same kind.
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// A publication stands behind all others of its rule.
    pub fn came(&mut self, origin: &Arc<Origin>, place: Place) {
        match self {
            Self::Oldest(places) => places.push_back(place),
            Self::Superseded { newest, older } => {
                let subject = Subject(origin.clone());
                // The subject too is replaced: the older one's would outlive it.
                older.extend(newest.remove(&subject));
                newest.insert(subject, place);
            }
        }
    }

    /// A publication of the rule has left its place, or may no longer be dropped.
    pub fn left(&mut self, origin: &Arc<Origin>, place: Place) {
        match self {
            // They leave in their order.
            Self::Oldest(places) => drop(places.pop_front_if(|first| *first == place)),
            Self::Superseded { newest, older } => {
                if !older.remove(&place) {
                    newest.remove(&Subject(origin.clone()));
                }
            }
        }
    }

    /// The oldest, where the rule drops that.
    pub fn first(&self) -> Option<Place> {
        match self {
            Self::Oldest(places) => places.front().copied(),
            Self::Superseded { .. } => None,
        }
    }

    /// All of which a newer one waits, or arrives; in no order.
    pub fn stale(&self, arriving: &Arc<Origin>) -> Vec<Place> {
        match self {
            Self::Oldest(_) => Vec::new(),
            Self::Superseded { newest, older } => {
                older.iter().chain(newest.get(&Subject(arriving.clone()))).copied().collect()
            }
        }
    }
}
