//! New settings for a running server.

use std::sync::Arc;

use tracing::{error, info, warn};

use crate::config::{self, Mistakes, Sources};
use crate::metrics::Metrics;
use crate::settings::{Live, Settings};

/// The handle by which a running server takes new settings.
pub struct Reload {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
}

impl Reload {
    pub(super) fn new(live: Arc<Live>, metrics: Arc<Metrics>) -> Self {
        Self { live, metrics }
    }

    /// Loads the settings again and puts in force what may change while running. A bad configuration
    /// changes nothing, and is counted. Answers what holds now.
    pub fn again(&self, sources: &Sources) -> Arc<Settings> {
        match config::load(sources) {
            Ok(loaded) => self.put_in_force(&loaded),
            Err(mistakes) => self.keep(&mistakes),
        }
        self.live.get().clone()
    }

    fn put_in_force(&self, loaded: &config::Loaded) {
        loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
        let stays = config::needs_restart(&self.live.get(), &loaded.settings);
        if !stays.is_empty() {
            warn!(keys = stays.join(", "), "these changed too, but need a restart");
        }
        self.live.replace(&loaded.settings);
        info!("configuration reloaded");
    }

    fn keep(&self, mistakes: &Mistakes) {
        self.metrics.reload_failures.inc();
        error!("the new configuration is not used, the old one stays in force: {mistakes}");
    }
}
