//! Links of the README and of the pages that it leads to: files that are there, and headings that they have.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::gateway::repository;

const PAGES: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "load/README.md",
    "load/SCALING.md",
    "load/CHOICES.md",
    "load/RESULTS.md",
];

#[test]
fn every_link_leads_somewhere() {
    for page in PAGES.map(|page| repository().join(page)) {
        let text = fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("https://")) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            assert!(file.exists(), "{}: {link} is not there", page.display());
            let anchors = || headings(&file);
            assert!(
                place.is_empty() || anchors().contains(place),
                "{}: {link}: there are {:?}",
                page.display(),
                anchors()
            );
        }
    }
}

/// The anchors of a page.
fn headings(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix('#')).map(anchor).collect()
}

/// The anchor that a code host makes of a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
