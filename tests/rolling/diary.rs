//! What one client heard, held against what was acknowledged.

use std::time::Duration;

use fanline::position::Position;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub n: usize,
    pub position: Position,
}

/// A client was sent away and came back; times since the test began.
pub struct Return {
    pub from: String,
    pub closed: Duration,
    pub wait: Duration,
    pub knocked: Duration,
    pub back: Duration,
}

impl Return {
    /// From its close until it listens again, but for what it was asked to wait.
    pub fn took(&self) -> Duration {
        (self.back - self.closed).saturating_sub(self.wait)
    }
}

/// One client's.
#[derive(Default)]
pub struct Diary {
    pub topic: usize,
    /// It has listened before.
    pub came: bool,
    /// Behind what the first message must stand.
    pub first: Position,
    /// The last position that it knows.
    pub last: Option<Position>,
    pub heard: Vec<Heard>,
    /// From publishing until it was heard, of what was published while it listened.
    pub latencies: Vec<Duration>,
    pub returns: Vec<Return>,
    /// It has heard the last of its topic.
    pub is_whole: bool,
    /// It came, and was not let in: why.
    pub turned_away: Vec<String>,
    /// What must not be.
    pub faults: Vec<String>,
}

impl Diary {
    pub fn of(topic: usize) -> Self {
        Self { topic, ..Self::default() }
    }

    /// It listens, behind this position.
    pub fn begin(&mut self, position: Position) {
        if !self.came {
            (self.came, self.first, self.last) = (true, position, Some(position));
        }
    }

    pub fn hear(&mut self, heard: Heard, waited: Option<Duration>) {
        self.last = Some(heard.position);
        self.heard.push(heard);
        self.latencies.extend(waited);
    }

    /// What is wrong with it: `acknowledged` are the positions of all publications of its topic, in order.
    pub fn judge(&self, acknowledged: &[Position]) -> Vec<String> {
        let mut wrong = self.faults.clone();
        if !self.is_whole {
            wrong.push(format!("topic {}: the last publication never came", self.topic));
        }
        for pair in self.heard.windows(2).filter(|pair| pair[0].position >= pair[1].position) {
            let what = if pair[0] == pair[1] { "twice" } else { "out of order" };
            wrong.push(format!("topic {}: {what}: {:?} behind {:?}", self.topic, pair[1], pair[0]));
        }
        let due = (0..).zip(acknowledged).map(|(n, &position)| Heard { n, position });
        let due: Vec<_> = due.filter(|one| one.position > self.first).collect();
        let lost = due.iter().filter(|one| !self.heard.contains(one));
        wrong.extend(lost.map(|one| format!("topic {}: lost: {one:?}", self.topic)));
        let stray = self.heard.iter().filter(|one| !due.contains(one));
        wrong.extend(stray.map(|one| format!("topic {}: nobody published {one:?}", self.topic)));
        wrong
    }
}
