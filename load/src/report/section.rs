//! RESULTS.md is written by three commands: the questions of `bench` come first, and a comparison and a fleet have a
//! section each, which whoever writes the others keeps.

use anyhow::{Context, Result};
use std::{fs, path::Path};

/// A part of RESULTS.md with an owner, known by its heading.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// With its line feed.
    pub heading: &'static str,
}

/// `fanline-load fleet --out`.
pub const FLEET: Section = Section { heading: "## A fleet\n" };
/// `fanline-load compare`.
pub const COMPARISON: Section = Section { heading: "## Beside its peers\n" };
/// In the order that they have in a new file.
const ALL: [Section; 2] = [FLEET, COMPARISON];

impl Section {
    /// Writes it into a directory's RESULTS.md: in the place of its former self, or at the end.
    pub fn write(self, out: &Path, text: &str) -> Result<()> {
        let path = out.join("RESULTS.md");
        let results = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, self.put(&results, text)).with_context(|| format!("writing {}", path.display()))
    }

    /// What a text of results says of it, as far as it does.
    fn find(self, results: &str) -> Option<&str> {
        let from = results.find(self.heading)?;
        let own = &results[from..];
        Some(own.find("\n## ").map_or(own, |end| &own[..end + 1]))
    }

    fn put(self, results: &str, text: &str) -> String {
        let (before, after) = match self.find(results).and_then(|former| results.split_once(former)) {
            Some((before, after)) => (before.trim(), after.trim()),
            None => (results.trim(), ""),
        };
        let parts = [before, text.trim(), after].into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("\n\n") + "\n"
    }
}

/// A new text of results with the sections of the former one.
pub fn keep(former: &str, new: String) -> String {
    ALL.into_iter().fold(new, |new, section| match section.find(former) {
        Some(text) => section.put(&new, text),
        None => new,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_its_former_place_and_leaves_the_rest() {
        let old = "# A\n\n## Beside its peers\n\nold\n\n## B\n\nlast\n";
        let new = COMPARISON.put(old, "## Beside its peers\n\nnew\n");
        assert_eq!(new, "# A\n\n## Beside its peers\n\nnew\n\n## B\n\nlast\n");
        assert_eq!(COMPARISON.put("# A\n", "## Beside its peers\nx\n"), "# A\n\n## Beside its peers\nx\n");
        assert_eq!(COMPARISON.put("", "## Beside its peers\nx\n"), "## Beside its peers\nx\n");
    }

    #[test]
    fn a_new_bench_keeps_what_a_comparison_and_a_fleet_have_found() {
        let former = "# A\n\nold\n\n## Beside its peers\n\npeers\n\n## A fleet\n\nfleet\n";
        let kept = keep(former, "# A\n\nnew\n".to_owned());
        assert_eq!(kept, "# A\n\nnew\n\n## A fleet\n\nfleet\n\n## Beside its peers\n\npeers\n");
        assert_eq!(keep("# A\n", "# B\n".to_owned()), "# B\n");
    }
}
