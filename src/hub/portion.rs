//! How much of a history is asked for at a time, where a whole page was too much.

use crate::broker::Read;

/// How often less is asked for: then it is one publication, or a few of some bytes.
const LEAST: u32 = 5;

/// A part of a page: a quarter of it for each read that was too much, and soon all of it again once they are not.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Portion(u32);

impl Portion {
    /// The last read was too much.
    pub fn lessen(&mut self) {
        self.0 = (self.0 + 1).min(LEAST);
    }

    /// It was not.
    pub fn grow(&mut self) {
        self.0 /= 2;
    }

    /// So much of a read, and one publication at least.
    pub fn of(self, read: Read) -> Read {
        let part = |whole: usize| (whole >> (2 * self.0)).max(1);
        Read { most: part(read.most), bytes: part(read.bytes), ..read }
    }
}
