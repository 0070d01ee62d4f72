//! What a stranger wrote, as an answer repeats it: in quotes, so that no character of it does anything, and no longer than
//! it takes to know it again. A log repeats none of it.

use std::fmt;

/// How many characters are repeated.
const MOST: usize = 64;

/// How many there may be of what a library says of it.
const OF_IT: usize = 200;

/// A stranger's text in quotes; "…" behind them says that it went on.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MOST) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
        }
    }
}

/// The beginning of what a library says of a stranger's text, for it may repeat all of that.
#[must_use]
pub fn beginning(said: &str) -> &str {
    said.char_indices().nth(OF_IT).map_or(said, |(end, _)| &said[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_and_cut_where_it_is_long() {
        assert_eq!(Quoted("a\n\u{202e}\u{1b}\"é").to_string(), r#""a\n\u{202e}\u{1b}\"é""#);
        let most = "é".repeat(MOST);
        assert_eq!(Quoted(&most).to_string(), format!("\"{most}\""));
        assert_eq!(Quoted(&format!("{most}x")).to_string(), format!("\"{most}\"…"));
        assert_eq!((beginning("é"), beginning(&"é".repeat(OF_IT + 1)).len()), ("é", 2 * OF_IT));
    }
}
