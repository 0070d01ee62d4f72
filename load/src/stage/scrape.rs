//! The gateway's own figures, read off its /metrics.

use anyhow::{Context, Result, ensure};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// One look at /metrics.
pub struct Scrape(String);

/// A histogram's buckets: upper edge in seconds, and how many observations lie at or below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets(Vec<(f64, u64)>);

impl Scrape {
    /// Asks the internal listener.
    pub fn of(internal: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(internal)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).context("/metrics")?;
        ensure!(text.starts_with("HTTP/1.1 200"), "/metrics answers {}", text.lines().next().unwrap_or_default());
        Ok(Self(text))
    }

    /// The sum of a metric over its labels; 0 where it is not there.
    pub fn sum(&self, name: &str) -> f64 {
        self.series(name).map(|(_, value)| value).sum()
    }

    /// One child of a metric, by its label as it stands in the text: `reason="slow"`.
    pub fn labelled(&self, name: &str, label: &str) -> f64 {
        self.series(name).filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
    }

    /// A histogram.
    pub fn buckets(&self, name: &str) -> Buckets {
        let all = self.series(&format!("{name}_bucket")).map(|(labels, count)| (edge(labels), count as u64)).collect();
        Buckets(all)
    }

    fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, value.parse().ok()?))
        })
    }
}

fn edge(labels: &str) -> f64 {
    let text = labels.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    text.parse().unwrap_or(f64::INFINITY)
}

impl Buckets {
    /// What was observed since an earlier look.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |edge: f64| earlier.0.iter().find(|(at, _)| *at == edge).map_or(0, |(_, count)| *count);
        Self(self.0.iter().map(|(edge, count)| (*edge, count - before(*edge).min(*count))).collect())
    }

    /// The smallest edge at or below which `count` observations lie; infinite where there are not as many.
    pub fn edge_of(&self, count: u64) -> f64 {
        self.0.iter().find(|(_, below)| *below >= count).map_or(f64::INFINITY, |(edge, _)| *edge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "HTTP/1.1 200 OK\r\n\r\n# HELP fanline_x Help 9\nfanline_connections{protocol=\"plain\"} 3\n\
                        fanline_connections{protocol=\"json\"} 4\nfanline_connections_total 100\n\
                        fanline_b_bucket{le=\"0.001\"} 2\nfanline_b_bucket{le=\"0.01\"} 5\nfanline_b_bucket{le=\"+Inf\"} 6\n";

    #[test]
    fn a_metric_is_its_own_name_and_not_another_s_beginning() {
        let scrape = Scrape(TEXT.into());
        assert_eq!((scrape.sum("fanline_connections"), scrape.sum("fanline_connections_total")), (7.0, 100.0));
        assert_eq!(scrape.labelled("fanline_connections", "protocol=\"json\""), 4.0);
    }

    #[test]
    fn an_edge_holds_as_many_as_were_asked_for_since_the_earlier_look() {
        let all = Scrape(TEXT.into()).buckets("fanline_b");
        assert_eq!([2, 3, 6, 7].map(|count| all.edge_of(count)), [0.001, 0.01, f64::INFINITY, f64::INFINITY]);
        let earlier = Buckets(vec![(0.001, 2), (0.01, 2), (f64::INFINITY, 2)]);
        assert_eq!(all.since(&earlier).edge_of(1), 0.01);
    }
}
