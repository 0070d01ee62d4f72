//! New settings for a running server.

use std::fmt;
use std::sync::Arc;

use tracing::{error, info, warn};

use crate::broker::Broker;
use crate::config::{self, Change, Loaded, Sources};
use crate::metrics::Metrics;
use crate::session::Rooms;
use crate::settings::{Live, Settings};

/// The most changes that one line tells.
const MOST_TOLD: usize = 20;

/// The handle by which a running server takes new settings.
pub struct Reload {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    broker: Arc<dyn Broker>,
    /// Where the settings come from. A file that was read once is named here and must be there from then on.
    sources: Sources,
    /// Whether the file said nothing.
    blank: bool,
}

impl Reload {
    pub(super) fn new(live: Arc<Live>, rooms: &Rooms, sources: &Sources, loaded: &Loaded) -> Self {
        let file = sources.file.clone().or_else(|| loaded.file.clone());
        let (metrics, broker) = (rooms.metrics.clone(), rooms.broker.clone());
        Self { live, metrics, broker, sources: Sources { file, ..sources.clone() }, blank: loaded.blank }
    }

    /// Loads the settings again and puts in force what may change while running. A bad configuration
    /// changes nothing, and is counted. Answers what holds now.
    pub fn again(&mut self) -> Arc<Settings> {
        match config::load(&self.sources) {
            Ok(loaded) if loaded.blank && !self.blank => self.keep(
                "the file is empty now, which would drop all that it said: an editor or a full disk may have left it so; \
                 write a comment into it if that is meant",
            ),
            Ok(loaded) => self.put_in_force(&loaded),
            Err(mistakes) => self.keep(mistakes),
        }
        self.live.get().clone()
    }

    fn put_in_force(&mut self, loaded: &Loaded) {
        loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
        if self.sources.file.is_none()
            && let Some(file) = &loaded.file
        {
            info!("{} is read from now on; there was none before", file.display());
            self.sources.file = Some(file.clone());
        }
        self.blank = loaded.blank;
        let (now, later): (Vec<_>, Vec<_>) =
            config::changes(&self.live.get(), &loaded.settings).into_iter().partition(|change| change.live);
        if !later.is_empty() {
            warn!(keys = listed(&later), "these changed too, but need a restart");
        }
        self.live.replace(&loaded.settings);
        self.broker.rules_changed();
        match now.is_empty() {
            true => info!("configuration reloaded: nothing in force changed"),
            false => info!(changed = listed(&now), "configuration reloaded"),
        }
    }

    fn keep(&self, reason: impl fmt::Display) {
        self.metrics.reload_failures.inc();
        error!("the new configuration is not used, the old one stays in force: {reason}");
    }
}

fn listed(changes: &[Change]) -> String {
    let mut told: Vec<_> = changes.iter().take(MOST_TOLD).map(ToString::to_string).collect();
    if changes.len() > MOST_TOLD {
        told.push(format!("and {} more", changes.len() - MOST_TOLD));
    }
    told.join("; ")
}
