//! Building the rooms, each from those before it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Server, StartError, bind, limits};
use crate::broker::Broker;
use crate::broker::memory::MemoryBroker;
use crate::broker::redis::RedisBroker;
use crate::connection::{Ends, Pace, Roster, sweep};
use crate::drain::Shedder;
use crate::frame::Extension;
use crate::http::Desk;
use crate::hub::{self, Hub, Interest};
use crate::identity::Replica;
use crate::metrics::Metrics;
use crate::outbox::{Terms, Total};
use crate::protocol::{Json, Plain, Protocol, Sse};
use crate::repeat::Repeats;
use crate::session::{Names, Rooms, Slots, Unfinished};
use crate::settings::{Auto, Heartbeat, Live, OffOr, ProtocolChoice, Route, Settings};
use crate::transport::gate::Gate;
use crate::transport::house::{House, Threshold};
use crate::transport::websocket::{self, Promises};
use crate::transport::{Door, sse};

/// How many kinds of refusal the log tells apart: more than there are without a configuration that names very many topic rules
/// and parameters, so that none is hidden by others.
const REFUSALS: usize = 64;

pub(super) async fn start(settings: Settings, descriptors: usize, metrics: Arc<Metrics>) -> Result<Server, StartError> {
    let public = bind("public.listen", &settings.public.listen).await?;
    let internal = bind("internal.listen", &settings.internal.listen).await?;
    let (tasks, stop, closing) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let replica = Replica::new(&limits::replica_name(&settings.replica.name));
    let max_connections = limits::max_connections(&settings, descriptors);
    let outboxes = Total::new(limits::outbox_total(&settings));
    let unfinished = Unfinished::new(limits::inbound_total(&settings), settings.inbound.timeout);
    metrics.limit("unfinished_bytes", unfinished.limit());
    let max_sockets = limits::max_sockets(max_connections, descriptors);
    show_limits(&metrics, &settings, descriptors, max_connections, &outboxes);
    metrics.limit("sockets", max_sockets);

    let live = Live::new(settings);
    let settings = live.get().clone();
    let (shards, topics) = (limits::shards(&settings), limits::topics(&settings));
    let interest = Interest::bounded(shards, live.rules(), metrics.clone(), topics);
    let broker = broker(&live, &replica, &interest, &metrics, &tasks, &stop)?;
    let parts = hub::Parts {
        broker: broker.clone(),
        interest: interest.clone(),
        replica: replica.clone(),
        rules: live.rules(),
        metrics: metrics.clone(),
        least_deflated: settings.deflate.min_size.0,
    };
    let hub = Hub::start(&parts, &tasks, &stop);
    let slots = Slots::new(max_connections);
    let rooms = Arc::new(Rooms {
        hub,
        broker,
        live: live.clone(),
        replica,
        metrics: metrics.clone(),
        slots,
        unfinished: unfinished.clone(),
        names: Names::new(topics, settings.limits.topics),
    });
    let roster = Arc::new(Roster::default());
    let interval = Roster::interval(beats(&settings));
    let stall = settings.outbox.stall.value();
    tasks.spawn(sweep(roster.clone(), interval, outboxes.clone(), stall, unfinished, stop.clone()));
    let gate = Gate::new(settings.handshake.in_flight, settings.handshake.per_second);
    let house = Arc::new(House {
        rooms: rooms.clone(),
        roster,
        tasks: tasks.clone(),
        gate,
        ends: Ends::default(),
        origins: Repeats::new(),
        refusals: Repeats::of(REFUSALS),
    });
    let doors = (0..settings.routes.len()).map(|route| door(&house, &settings, route, &outboxes)).collect();
    let shedder = Shedder::new(house.roster.clone(), metrics, tasks.clone(), closing.clone());
    let has_redis = !settings.redis.url.is_empty();
    let desk = Arc::new(Desk { rooms, outboxes, interest, has_redis, shedder, draining: AtomicBool::new(false) });
    Ok(Server { public, internal, doors, house, desk, live, tasks, closing, stop, max_sockets })
}

fn broker(
    live: &Live,
    replica: &Replica,
    interest: &Arc<Interest>,
    metrics: &Arc<Metrics>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Arc<dyn Broker>, StartError> {
    let settings = live.get();
    if settings.redis.url.is_empty() {
        return Ok(MemoryBroker::new(interest.clone(), live.rules()));
    }
    let metrics = Metrics::clone(metrics);
    let broker =
        RedisBroker::start(&settings.redis, live.rules(), replica, interest.clone(), metrics, tasks, stop.clone());
    Ok(broker.map_err(|error| StartError::Redis(error.to_string()))?)
}

fn door(house: &Arc<House>, settings: &Settings, route: usize, outboxes: &Arc<Total>) -> (String, Door) {
    let shape = &settings.routes[route];
    let terms = |protocol: Box<dyn Protocol>, extension| {
        Arc::new(Terms {
            protocol,
            extension,
            bytes: settings.outbox.bytes.0,
            messages: settings.outbox.messages,
            total: outboxes.clone(),
            metrics: house.rooms.metrics.clone(),
        })
    };
    let threshold = |pace| Arc::new(Threshold { house: house.clone(), route, pace });
    let heartbeat = heartbeat(settings, shape);
    let door = match shape.protocol {
        ProtocolChoice::Sse => {
            let stream = |sse: Sse| sse::Streams {
                threshold: threshold(Pace::one_way(heartbeat, sse.comment())),
                terms: terms(Box::new(sse), Extension::None),
            };
            Door::Sse(sse::Door { chunked: stream(Sse::Chunked), bare: stream(Sse::Bare) })
        }
        ProtocolChoice::Ask | ProtocolChoice::Plain | ProtocolChoice::Json => Door::WebSocket(websocket::Door {
            threshold: threshold(Pace::of(heartbeat)),
            plain: Promises::new(|extension| terms(Box::new(Plain::new(shape.on_gap)), extension)),
            json: Promises::new(|extension| terms(Box::new(Json), extension)),
        }),
    };
    (shape.path.clone(), door)
}

fn heartbeat<'a>(settings: &'a Settings, route: &'a Route) -> &'a Heartbeat {
    route.heartbeat.as_ref().unwrap_or(&settings.heartbeat)
}

/// All the times that the sweep must meet.
fn beats(settings: &Settings) -> impl Iterator<Item = Duration> {
    let heartbeats = settings.routes.iter().map(|route| heartbeat(settings, route));
    let on = heartbeats.filter_map(|heartbeat| match heartbeat.every {
        OffOr::Value(every) => Some(every.min(heartbeat.timeout)),
        OffOr::Off => None,
    });
    on.chain(settings.outbox.stall.value()).chain([settings.inbound.timeout])
}

fn show_limits(metrics: &Metrics, settings: &Settings, descriptors: usize, max_connections: usize, outboxes: &Total) {
    let drain = settings.drain.delay + settings.drain.window;
    metrics.limit("drain_seconds", usize::try_from(drain.as_secs()).unwrap_or(usize::MAX));
    metrics.limit("memory_bytes", limits::memory_limit());
    metrics.limit("descriptors", descriptors);
    metrics.limit("connections", max_connections);
    metrics.limit("replica_topics", limits::topics(settings));
    metrics.limit("outbox_total_bytes", outboxes.limit());
    metrics.limit("inbox_publications", hub::INBOX_PUBLICATIONS);
}

impl Settings {
    /// The most connections that the operator set, if any.
    pub(super) fn chosen_connections(&self) -> Option<usize> {
        match self.public.max_connections {
            Auto::Auto => None,
            Auto::Value(chosen) => Some(chosen),
        }
    }
}
