//! What is wrong with a configuration, all of it, in words for whoever must put it right.

use std::fmt;

/// One mistake: where it stands, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// A file with its line (`fanline.toml:12`), a variable's name, or a flag.
    pub origin: String,
    /// What was found, what is expected, what to write.
    pub message: String,
}

/// Every mistake of a configuration, by file and line, then variables and flags; never empty, never with a
/// secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// The mistakes in the order they are shown.
    #[must_use]
    pub fn list(&self) -> &[Mistake] {
        &self.0
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a mistake:")?,
            n => write!(f, "the configuration has {n} mistakes:")?,
        }
        self.0.iter().try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

/// What has been noticed so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    pub(super) fn mistake(&mut self, origin: &str, message: impl Into<String>) {
        let mistake = Mistake { origin: origin.into(), message: message.into() };
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    pub(super) fn warn(&mut self, origin: &str, message: &str) {
        self.warnings.push(format!("{origin}: {message}"));
    }

    /// The warnings where nothing was wrong, else every mistake.
    pub(super) fn finish(mut self) -> Result<Vec<String>, Mistakes> {
        if self.mistakes.is_empty() {
            return Ok(self.warnings);
        }
        self.mistakes.sort_by(|a, b| order(a).cmp(&order(b)));
        Err(Mistakes(self.mistakes))
    }
}

/// Lines of a file come first and as numbers: line 9 before line 10.
fn order(mistake: &Mistake) -> (bool, &str, u64, &str) {
    let line = mistake.origin.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?)));
    match line {
        Some((file, line)) => (false, file, line, &mistake.message),
        None => (true, &mistake.origin, 0, &mistake.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_stand_in_the_order_of_the_file_then_the_rest() {
        let mut report = Report::default();
        for origin in ["PORT", "fanline.toml:10", "fanline.toml:9"] {
            report.mistake(origin, "wrong");
        }
        let text = report.finish().unwrap_err().to_string();
        let expected =
            "the configuration has 3 mistakes:\n  - fanline.toml:9: wrong\n  - fanline.toml:10: wrong\n  - PORT: wrong";
        assert_eq!(text, expected);
    }
}
