//! Publications that came to nothing: each is counted, and what Redis refuses is told once and then once a minute.

use crate::broker::PublishError;
use crate::metrics::{Metrics, PublishFailure};
use crate::repeat::Repeats;
use crate::topic::Topic;

/// What to do where nobody was reached: who dials knows the cause by its text alone, and the doctor looks closer.
const MEND: &str = "fanline check-config --connect tries the way to Redis, and names what mends it";

/// Counts and tells them.
pub(super) struct Failures {
    metrics: Metrics,
    said: Repeats,
}

impl Failures {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, said: Repeats::new() }
    }

    /// A publication to a topic came to nothing. Who keeps the links tells why they are down, but links that are up say
    /// nothing of who dials: the first publication that meets a changed password is told here.
    pub(super) fn note(&self, topic: &Topic, error: &PublishError) {
        match error {
            PublishError::Away(why) => {
                self.metrics.publish_failures(PublishFailure::Away).inc();
                if let Some(unsaid) = self.said.due(("away", wording(why))) {
                    tracing::warn!(%topic, error = why, mend = MEND, unsaid, "publications fail");
                }
            }
            PublishError::Refused(refused) => {
                self.metrics.publish_failures(refused.reason()).inc();
                if let Some(unsaid) = self.said.due(&refused.word) {
                    let (error, mend) = (&refused.text, refused.mend());
                    tracing::warn!(%topic, error, mend, unsaid, "Redis refuses publications");
                }
            }
            PublishError::Header(_) => {}
        }
    }
}

/// What tells one cause from another, whatever addresses and numbers its text has.
fn wording(why: &str) -> String {
    why.chars().filter(|c| !c.is_ascii_digit()).collect()
}
