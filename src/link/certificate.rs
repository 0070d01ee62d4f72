//! When certificates end.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::clock;

/// Whoever was not met for so long is a server no more: each that is, is dialled twice a minute by its canary.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The most servers; a cluster has at most a thousand masters.
const MOST: usize = 1000;

/// When the certificates on the way to Redis end, in seconds since 1970.
#[derive(Default)]
pub(super) struct Ends {
    /// Ours; locked for one look.
    own: Mutex<Option<i64>>,
    /// The servers', by address, each with when it was last met (in ms of [`clock`]); locked for one look.
    servers: Mutex<BTreeMap<String, (i64, u64)>>,
}

impl Ends {
    /// With our own, if there is one.
    pub fn with(own: Option<i64>) -> Self {
        Self { own: Mutex::new(own), ..Self::default() }
    }

    /// Our own is another by now.
    pub fn renew(&self, own: Option<i64>) {
        *self.own.lock() = own;
    }

    /// Notes what a server showed.
    pub fn note(&self, server: String, chain: &[CertificateDer<'_>]) {
        self.meet(server, end(chain), clock::now_ms());
    }

    fn meet(&self, server: String, end: Option<i64>, now: u64) {
        let Some(end) = end else { return };
        let mut servers = self.servers.lock();
        let long = u64::try_from(FORGOTTEN.as_millis()).unwrap_or(u64::MAX);
        servers.retain(|_, (_, met)| now.saturating_sub(*met) < long);
        if servers.len() < MOST || servers.contains_key(&server) {
            servers.insert(server, (end, now));
        }
    }

    /// The first of all.
    pub fn first(&self) -> Option<i64> {
        let own = *self.own.lock();
        self.servers.lock().values().map(|(end, _)| *end).chain(own).min()
    }
}

/// When the certificate that a chain begins with ends. Those behind it, and what cannot be read, are rustls' to judge.
pub(super) fn end(chain: &[CertificateDer<'_>]) -> Option<i64> {
    let one = Certificate::from_der(chain.first()?).ok()?;
    i64::try_from(one.tbs_certificate().validity().not_after.to_unix_duration().as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_of_those_that_are_still_met_counts() {
        let ends = Ends::with(Some(900));
        assert_eq!(ends.first(), Some(900));
        ends.meet("old:6379".into(), Some(100), 1000);
        ends.meet("new:6379".into(), Some(500), 1000);
        assert_eq!(ends.first(), Some(100));
        ends.meet("new:6379".into(), Some(500), 601_000);
        assert_eq!(ends.first(), Some(500), "the old one is gone");
        ends.meet("new:6379".into(), Some(2000), 602_000);
        assert_eq!(ends.first(), Some(900), "it was renewed");
        ends.meet("strange".into(), None, 602_000);
        assert_eq!(ends.first(), Some(900));
    }

    #[test]
    fn they_are_bounded() {
        let ends = Ends::default();
        (0..2 * MOST).for_each(|n| ends.meet(n.to_string(), Some(1), 0));
        assert_eq!(ends.servers.lock().len(), MOST);
    }
}
