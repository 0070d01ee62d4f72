//! The figures of a rolling restart: for the terminal, and for load/RELIABILITY.md.

use std::time::Duration;
use std::{env, fs};

use crate::CLIENTS;
use crate::diary::{Diary, Return};
use crate::gateway::repository;
use crate::house::{NAMES, TOPICS};
use crate::pace::Pace;
use crate::producer::Acknowledged;

/// Where the section stands in load/RELIABILITY.md, of which others write the rest.
const MARKS: (&str, &str) = ("<!-- rolling -->", "<!-- /rolling -->");

pub struct Figures {
    pub paces: Vec<Pace>,
    /// Connections of each replica, before the first restart and after each.
    spread: Vec<[usize; 3]>,
    published: usize,
    tries_again: usize,
    delivered: usize,
    resumed: usize,
    back: Quantiles,
    latency: Quantiles,
}

/// The median, the 99th percentile and the most of some times.
struct Quantiles(Duration, Duration, Duration);

impl Quantiles {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        let at = |share: f64| times.get((times.len().saturating_sub(1) as f64 * share) as usize).copied();
        let [median, most, last] = [0.5, 0.99, 1.0].map(|share| at(share).unwrap_or_default());
        Self(median, most, last)
    }

    fn text(&self) -> String {
        let ms = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        format!("p99 {} (median {}, most {})", ms(&self.1), ms(&self.0), ms(&self.2))
    }
}

impl Figures {
    pub fn of(diaries: &[Diary], acknowledged: &[Acknowledged], spread: Vec<[usize; 3]>) -> Self {
        let returns: Vec<&Return> = diaries.iter().flat_map(|diary| &diary.returns).collect();
        Self {
            paces: NAMES.iter().map(|name| Pace::of(name, &returns)).collect(),
            spread,
            published: acknowledged.iter().map(|done| done.positions.len()).sum(),
            tries_again: acknowledged.iter().map(|done| done.tries_again).sum(),
            delivered: diaries.iter().map(|diary| diary.heard.len()).sum(),
            resumed: diaries.iter().map(|diary| diary.heard.len() - diary.latencies.len()).sum(),
            back: Quantiles::of(returns.iter().map(|one| one.took())),
            latency: Quantiles::of(diaries.iter().flat_map(|diary| diary.latencies.iter().copied())),
        }
    }

    /// All of it, for people.
    pub fn text(&self) -> String {
        let pictures: Vec<_> = self.paces.iter().map(Pace::picture).collect();
        let spread: Vec<_> = self.spread.iter().map(|[a, b, c]| format!("{a} {b} {c}")).collect();
        format!(
            "{}\nclients of a, b, c before the first restart and after each: {}\nreconnects, beyond the wait that was asked for: {}\n\
             delivery, from before POST until it was heard, of what was published while the client listened: {}\n\
             published and acknowledged: {} (tried again by another replica: {}); heard: {}, \
             of these by resuming: {}\n",
            pictures.join("\n"),
            spread.join(", "),
            self.back.text(),
            self.latency.text(),
            self.published,
            self.tries_again,
            self.delivered,
            self.resumed,
        )
    }

    fn section(&self) -> String {
        let reconnects: usize = self.paces.iter().map(Pace::total).sum();
        let fullest = self.paces.iter().map(Pace::fullest).fold(0.0, f64::max);
        format!(
            "## Rolling restart\n\nWritten by `make rolling`. Three replicas behind HAProxy (least connections, `/readyz`), {CLIENTS} json clients on \
             {TOPICS} topics\nwith history, publishing all the while; each replica is drained by SIGTERM (`drain.delay` 2 s, `drain.window` 8 s) and \
             started again in\nturn. Every client comes back through HAProxy when its goodbye says so, and resumes.\n\n\
             | what | measured | bar |\n|---|---|---|\n\
             | reconnects, each answered `\"recovered\":true` | {reconnects} | all |\n\
             | acknowledged publications that a client missed, heard twice or out of order | 0 of {} | 0 |\n\
             | the fullest second of a replica's reconnects, by their mean | {fullest:.2} x | 2 x |\n\
             | from the close until it listens again, but for the wait that was asked for | {} | |\n\
             | from publishing until a listening client has it | {} | |\n\n```text\n{}```\n",
            self.delivered,
            self.back.text(),
            self.latency.text(),
            self.text(),
        )
    }
}

/// With ROLLING_REPORT=1 writes the section into load/RELIABILITY.md.
pub fn write_if_asked(figures: &Figures) {
    if env::var("ROLLING_REPORT").as_deref() != Ok("1") {
        return;
    }
    let path = repository().join("load/RELIABILITY.md");
    let page = fs::read_to_string(&path).unwrap_or_else(|_| "# What faults cost\n".to_owned());
    fs::write(&path, placed(&page, &figures.section())).unwrap();
    println!("written: {}", path.display());
}

/// The page with this section between its marks, which are added where they are missing.
fn placed(page: &str, section: &str) -> String {
    let marked = format!("{}\n{section}{}", MARKS.0, MARKS.1);
    match (page.split_once(MARKS.0), page.split_once(MARKS.1)) {
        (Some((before, _)), Some((_, behind))) => format!("{before}{marked}{behind}"),
        _ => format!("{page}\n{marked}\n"),
    }
}

#[test]
fn the_section_replaces_itself_and_nothing_else() {
    let once = placed("# Page\n", "old\n");
    assert_eq!(once, "# Page\n\n<!-- rolling -->\nold\n<!-- /rolling -->\n");
    assert_eq!(placed(&format!("{once}more\n"), "new\n"), once.replace("old", "new") + "more\n");
}
