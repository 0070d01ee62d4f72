//! The settings in force: what SIGHUP replaces while connections read them.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::{ByteSize, Limits, Route, Settings, TopicRules};

/// The settings in force.
pub struct Live {
    settings: ArcSwap<Settings>,
    rules: Arc<ArcSwap<TopicRules>>,
}

impl Live {
    /// Puts settings in force.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        let rules = Arc::new(ArcSwap::from_pointee(settings.topics.clone()));
        Arc::new(Self { settings: ArcSwap::from_pointee(settings), rules })
    }

    /// The settings as they are now.
    #[must_use]
    pub fn get(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// The topic rules, for rooms that need nothing else.
    #[must_use]
    pub fn rules(&self) -> Arc<ArcSwap<TopicRules>> {
        self.rules.clone()
    }

    /// Replaces what may be replaced without a restart: topic rules, routes' rights, limits, who may
    /// compress, the age, origins, API keys and the log level. Routes keep their places, so that connections find theirs again.
    pub fn replace(&self, new: &Settings) {
        let mut next = Settings::clone(&self.settings.load());
        next.topics = new.topics.clone();
        next.limits = new.limits.clone();
        next.deflate.enabled = new.deflate.enabled;
        next.public.max_age = new.public.max_age;
        next.public.origins = new.public.origins.clone();
        next.internal.api_keys.clone_from(&new.internal.api_keys);
        next.log.level.clone_from(&new.log.level);
        for route in &mut next.routes {
            if let Some(new) = new.routes.iter().find(|new| new.path == route.path) {
                route.on_message = new.on_message.clone();
                route.include_sender = new.include_sender;
                route.limits.clone_from(&new.limits);
                route.deflate = new.deflate;
            }
        }
        self.rules.store(Arc::new(next.topics.clone()));
        self.settings.store(Arc::new(next));
    }
}

impl Settings {
    /// The limits on a route: its own, or everybody's.
    #[must_use]
    pub fn limits_on<'a>(&'a self, route: &'a Route) -> &'a Limits {
        route.limits.as_ref().unwrap_or(&self.limits)
    }

    /// The largest message that a client may send on any route.
    #[must_use]
    pub fn largest_message(&self) -> ByteSize {
        let on_routes = self.routes.iter().filter_map(|route| route.limits.as_ref());
        on_routes.map(|limits| limits.message).fold(self.limits.message, ByteSize::max)
    }

    /// Whether a client of a route that offers permessage-deflate gets it.
    #[must_use]
    pub fn deflates(&self, route: &Route) -> bool {
        route.deflate.unwrap_or(self.deflate.enabled)
    }
}
