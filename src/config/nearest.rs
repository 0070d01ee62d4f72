//! "Did you mean …?"

/// The candidate that is a slip of the pen away from `word`, if one is.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    let best = candidates.into_iter().map(|candidate| (distance(&word, &plain(candidate)), candidate)).min()?;
    (best.0 <= (word.chars().count() / 3).max(1)).then_some(best.1)
}

/// Case, `-` and doubled `_` are no difference worth counting.
fn plain(word: &str) -> String {
    let word: String = word.chars().take(LONGEST).collect();
    word.to_lowercase().replace('-', "_").replace("__", "_")
}

/// Longer words are compared by their beginnings: a distance costs the product of the lengths.
const LONGEST: usize = 80;

/// Levenshtein's distance: how many characters to change, add or take away; neighbours that changed places
/// count once.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut next = vec![i + 1];
        for j in 0..b.len() {
            let mut cost = (row[j] + usize::from(a[i] != b[j])).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                cost = cost.min(above[j - 1] + 1);
            }
            next.push(cost);
        }
        above = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

/// `a, b or c`.
pub(super) fn either<S: AsRef<str>>(words: &[S]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().into(),
        [start @ .., last] => {
            let start: Vec<_> = start.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", start.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_a_stranger_is_not() {
        let keys = ["message", "messages_per_second", "burst", "topics"];
        for (word, found) in [
            ("mesage", Some("message")),
            ("Message", Some("message")),
            ("messages-per-second", Some("messages_per_second")),
            ("topic", Some("topics")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), found, "{word}");
        }
    }

    #[test]
    fn distances_are_levenshteins_with_swaps() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("inof", "info"), 1);
    }
}
