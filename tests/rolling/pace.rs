//! How evenly the clients of one replica came back.

use std::fmt::Write;
use std::time::Duration;

use crate::diary::Return;
use crate::house::WINDOW;

/// How wide the fullest bar is.
const WIDTH: usize = 50;

/// The reconnects after one drain, by the second in which each knocked.
pub struct Pace {
    pub from: &'static str,
    pub seconds: Vec<usize>,
    /// From the first to the last.
    pub window: Duration,
}

impl Pace {
    pub fn of(from: &'static str, returns: &[&Return]) -> Self {
        let knocks: Vec<_> = returns.iter().filter(|one| one.from == from).map(|one| one.knocked).collect();
        let first = knocks.iter().min().copied().unwrap_or_default();
        let window = knocks.iter().max().copied().unwrap_or_default() - first;
        let second = |knock: Duration| usize::try_from((knock - first).as_secs()).unwrap();
        let mut seconds = vec![0; second(first + window) + 1];
        knocks.into_iter().for_each(|knock| seconds[second(knock)] += 1);
        Self { from, seconds, window }
    }

    pub fn total(&self) -> usize {
        self.seconds.iter().sum()
    }

    /// Reconnects a second, over the drain's window, and longer where they took longer: who all come in one second come
    /// in a lump.
    pub fn mean(&self) -> f64 {
        self.total() as f64 / self.window.max(WINDOW).as_secs_f64()
    }

    /// The fullest second, by the mean.
    pub fn fullest(&self) -> f64 {
        self.seconds.iter().max().copied().unwrap_or_default() as f64 / self.mean()
    }

    /// For people.
    pub fn picture(&self) -> String {
        let (window, mean, fullest) = (self.window.as_secs_f64(), self.mean(), self.fullest());
        let (from, total) = (self.from, self.total());
        let mut text = format!(
            "replica {from}: {total} came back within {window:.1} s, {mean:.0} a second; the fullest second {fullest:.2} x that\n"
        );
        let most = self.seconds.iter().max().copied().unwrap_or(1).max(1);
        for (second, count) in self.seconds.iter().enumerate() {
            let bar = "#".repeat(count * WIDTH / most);
            let _ = writeln!(text, "{}", format!("{second:>4} s {count:>5}  {bar}").trim_end());
        }
        text
    }
}

#[test]
fn a_lump_is_held_against_the_whole_window() {
    let at = |ms| {
        let knocked = Duration::from_millis(ms);
        Return { from: "a".into(), closed: knocked, wait: Duration::ZERO, knocked, back: knocked }
    };
    let pace = |knocks: &[u64]| {
        let returns: Vec<_> = knocks.iter().map(|&ms| at(ms)).collect();
        Pace::of("a", &returns.iter().collect::<Vec<_>>())
    };
    let long = pace(&[5_000, 5_100, 5_900, 6_500, 11_000, 14_500]);
    assert_eq!(long.seconds, [3, 1, 0, 0, 0, 0, 1, 0, 0, 1]);
    assert!((long.fullest() - 3.0 / (6.0 / 9.5)).abs() < 1e-9, "{}", long.picture());
    let lump = pace(&[5_000, 5_100, 5_200, 5_300]);
    assert!((lump.fullest() - 8.0).abs() < 1e-9, "{}", lump.picture());
}
