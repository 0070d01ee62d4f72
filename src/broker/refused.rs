//! What Redis says in place of taking a publication: its word for why, and whether that passes by itself.

use crate::metrics::PublishFailure;

/// Redis answered, and refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Redis refused: {text}")]
pub struct Refused {
    /// The word that its answer begins with: `OOM`, say.
    pub word: String,
    /// What it said, but for what it repeats of the publication.
    pub text: String,
}

/// The words that Redis has for a state of its own, which passes without a change of ours, and what each is counted as.
/// <https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors> leaves the list to the commands; these are
/// those of Redis' and Valkey's sources that a publication can meet.
const FOR_NOW: [(&str, PublishFailure); 16] = [
    ("LOADING", PublishFailure::Loading),
    ("BUSY", PublishFailure::Busy),
    ("READONLY", PublishFailure::ReadOnly),
    ("REDIRECT", PublishFailure::ReadOnly),
    ("MASTERDOWN", PublishFailure::ReadOnly),
    ("CLUSTERDOWN", PublishFailure::Cluster),
    ("TRYAGAIN", PublishFailure::Cluster),
    ("MOVED", PublishFailure::Cluster),
    ("ASK", PublishFailure::Cluster),
    ("CROSSSLOT", PublishFailure::Cluster),
    ("NOREPLICAS", PublishFailure::NoReplicas),
    // Redis saves again by itself, and what histories hold goes with their time.
    ("MISCONF", PublishFailure::Misconf),
    ("OOM", PublishFailure::Oom),
    // While a password is changed.
    ("NOAUTH", PublishFailure::Denied),
    ("WRONGPASS", PublishFailure::Denied),
    ("DENIED", PublishFailure::Denied),
];

/// What Redis says before the arguments of a command that it does not know.
const ARGUMENTS: &str = ", with args beginning with";

impl Refused {
    /// What Redis said, and the word it began with. A script of Redis 6 tells only in its text what it met. Of a command
    /// that it does not know it repeats the arguments, the payload among them, which is for no log.
    #[must_use]
    pub fn new(word: &str, mut text: String) -> Self {
        text.truncate(text.find(ARGUMENTS).unwrap_or(text.len()));
        let met = FOR_NOW.iter().find(|(known, _)| text.contains(&format!("-{known} "))).map(|(known, _)| *known);
        Self { word: met.filter(|_| word == "ERR").unwrap_or(word).to_owned(), text }
    }

    /// Whether it may be taken later though nobody changes anything.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.for_now().is_some()
    }

    /// What it is counted as.
    #[must_use]
    pub fn reason(&self) -> PublishFailure {
        let denied = self.word == "NOPERM";
        self.for_now().unwrap_or(if denied { PublishFailure::Denied } else { PublishFailure::Other })
    }

    /// What to do about it.
    #[must_use]
    pub fn mend(&self) -> &'static str {
        match self.reason() {
            PublishFailure::Loading => "Redis reads its data; wait until it has",
            PublishFailure::Busy => "a script runs in Redis for too long: SCRIPT KILL or FUNCTION KILL ends it",
            PublishFailure::ReadOnly => {
                "this Redis is no master; correct redis.url, or wait until the failover is over"
            }
            PublishFailure::Cluster => "look at redis-cli --cluster check",
            PublishFailure::NoReplicas => "bring Redis' replicas back, or lower its min-replicas-to-write",
            PublishFailure::Misconf => "Redis cannot save: look at its disk and its log",
            PublishFailure::Oom => "give Redis more memory (maxmemory), or keep less: history_size, history_ttl",
            PublishFailure::Denied => "fanline check-config --connect prints the ACL line that is missing",
            PublishFailure::Other if self.word == "WRONGTYPE" => {
                "a key of the topic's history, its channel in braces and then :stream or :last, has another type: delete it"
            }
            PublishFailure::Away | PublishFailure::Other => {
                "look at Redis' log; fanline check-config --connect tries each command"
            }
        }
    }

    fn for_now(&self) -> Option<PublishFailure> {
        FOR_NOW.iter().find(|(word, _)| *word == self.word).map(|(_, reason)| *reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_state_of_redis_passes_and_what_is_a_right_or_a_mistake_does_not() {
        let passes = |word| Refused::new(word, format!("{word} …")).passes();
        assert!(
            ["LOADING", "BUSY", "NOREPLICAS", "MISCONF", "OOM", "READONLY", "CLUSTERDOWN", "TRYAGAIN"]
                .map(passes)
                .iter()
                .all(|it| *it)
        );
        assert!(!["NOPERM", "ERR", "WRONGTYPE", "NOSCRIPT", ""].map(passes).iter().any(|it| *it));
        assert_eq!(Refused::new("NOPERM", String::new()).reason(), PublishFailure::Denied);
        assert_eq!(Refused::new("WRONGTYPE", String::new()).reason(), PublishFailure::Other);
    }

    #[test]
    fn nothing_of_a_publication_is_repeated() {
        let text = "ERR unknown command 'PUBLISH', with args beginning with: 'fanline:a' 'secret' ";
        assert_eq!(Refused::new("ERR", text.into()).text, "ERR unknown command 'PUBLISH'");
    }

    #[test]
    fn an_old_script_tells_in_its_text_what_it_met() {
        let text = "ERR: Error running script (call to f_6b1bf): @user_script:88: -OOM command not allowed when used memory > 'maxmemory'.";
        let refused = Refused::new("ERR", text.into());
        assert_eq!((refused.word.as_str(), refused.passes()), ("OOM", true));
        assert_eq!(Refused::new("ERR", "ERR: -5 is no number".into()).word, "ERR");
    }
}
