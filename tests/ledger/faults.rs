//! What goes wrong, each a function of dice, so that a seed plays it again.

use std::fmt;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::servers::Kind;
use crate::world::World;
use crate::{failovers, link_faults, redis_faults, room_faults};

/// Everything that is done to a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Redis is killed and starts again with all that it had acknowledged.
    Kill,
    /// Redis is asked to end, and starts again.
    Restart,
    /// Redis stops in its tracks, sockets open, and goes on.
    Freeze,
    /// Redis is killed and starts again from what it held a while ago.
    Rollback,
    /// The same while its clock is behind what it has seen: new positions are those that were taken back.
    Rewind,
    /// Redis hangs up on its subscribers, again and again while they come back.
    HangUp,
    /// Redis drops a subscriber that reads too slowly.
    OutputBuffer,
    /// Redis answers nobody for a while.
    Pause,
    /// Redis forgets all it has.
    Flush,
    /// Redis takes nothing more to keep.
    OutOfMemory,
    /// Redis' clock goes forward and back.
    ClockStep,
    /// Connections break, and new ones for a while, too.
    Cut,
    /// Nothing moves on the connections.
    Stall,
    /// All takes long.
    Slow,
    /// All takes long, and then the connections break: what was on its way is lost.
    SlowCut,
    /// What Redis sends to subscribers vanishes.
    Deaf,
    /// What is sent to Redis vanishes.
    Mute,
    /// A replica is killed; its clients come back elsewhere.
    ReplicaKilled,
    /// Clients come and go, joining while they leave.
    Churn,
    /// Sentinel names another master while the old one goes on answering.
    OldMaster,
    /// The same, and the links to the new one break while others are at the old one still.
    OldMasterCut,
    /// A master of a cluster dies, and its replica takes its place.
    NodeKilled,
    /// The same where each topic is subscribed at the master of its slot.
    ShardKilled,
}

/// How long faults last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As long as it takes to see what is to be seen.
    Short,
    /// As long as in life.
    Long,
}

/// What a fault has done, once it is over.
#[derive(Debug)]
pub struct Struck {
    /// When Redis could be reached again.
    pub lifted: Instant,
    /// The replicas whose link cannot have survived.
    pub broke: Vec<usize>,
    /// Clients had to move.
    pub moved: bool,
    /// How long it took to notice.
    pub noticed: Option<Duration>,
    /// Redis has forgotten something that it had acknowledged.
    pub forgot: bool,
    /// Another server had to be made master, which takes its time.
    pub elected: bool,
    /// Nothing was to be done meanwhile, so nothing more was to be held.
    pub idle: bool,
}

impl Fault {
    /// What one Redis may meet, any of them after any other.
    pub const ALL: [Self; 19] = [
        Self::Kill,
        Self::Restart,
        Self::Freeze,
        Self::Rollback,
        Self::Rewind,
        Self::HangUp,
        Self::OutputBuffer,
        Self::Pause,
        Self::Flush,
        Self::OutOfMemory,
        Self::ClockStep,
        Self::Cut,
        Self::Stall,
        Self::Slow,
        Self::SlowCut,
        Self::Deaf,
        Self::Mute,
        Self::ReplicaKilled,
        Self::Churn,
    ];

    /// What only several Redis can meet, each once.
    pub const FAILOVERS: [Self; 4] = [Self::OldMaster, Self::OldMasterCut, Self::NodeKilled, Self::ShardKilled];

    /// What there must be for it to be met.
    pub fn redis(self) -> Kind {
        match self {
            Self::OldMaster | Self::OldMasterCut => Kind::Watched,
            Self::NodeKilled | Self::ShardKilled => Kind::Cluster,
            _ => Kind::One,
        }
    }

    /// Does it, and returns when it is over.
    pub async fn strike(self, world: &mut World, dice: &mut Rng, form: Form) -> Struck {
        match self {
            Self::Kill => redis_faults::kill(world, dice, form).await,
            Self::Restart => redis_faults::restart(world).await,
            Self::Freeze => redis_faults::freeze(world, dice, form).await,
            Self::Rollback => redis_faults::rollback(world, dice).await,
            Self::Rewind => redis_faults::rewind(world, dice).await,
            Self::HangUp => redis_faults::hang_up(world, dice).await,
            Self::OutputBuffer => redis_faults::output_buffer(world).await,
            Self::Pause => redis_faults::pause(world, dice, form).await,
            Self::Flush => redis_faults::flush(world, dice).await,
            Self::OutOfMemory => redis_faults::out_of_memory(world, dice, form).await,
            Self::ClockStep => redis_faults::clock_step(world, dice).await,
            Self::Cut => link_faults::cut(world, dice, form).await,
            Self::Stall => link_faults::stall(world, dice, form).await,
            Self::Slow => link_faults::slow(world, dice, form).await,
            Self::SlowCut => link_faults::slow_cut(world, dice).await,
            Self::Deaf => link_faults::deaf(world, dice).await,
            Self::Mute => link_faults::mute(world, dice).await,
            Self::ReplicaKilled => room_faults::replica_killed(world).await,
            Self::Churn => room_faults::churn(world, dice, form).await,
            Self::OldMaster => failovers::old_master_answers(world, dice, false).await,
            Self::OldMasterCut => failovers::old_master_answers(world, dice, true).await,
            Self::NodeKilled | Self::ShardKilled => failovers::node_killed(world, dice).await,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "Redis killed",
            Self::Restart => "Redis restarted",
            Self::Freeze => "Redis frozen",
            Self::Rollback => "Redis rolled back",
            Self::Rewind => "Redis rolled back behind its clock",
            Self::HangUp => "subscribers hung up on while they come back",
            Self::OutputBuffer => "a subscriber's output buffer full",
            Self::Pause => "CLIENT PAUSE",
            Self::Flush => "FLUSHALL",
            Self::OutOfMemory => "Redis out of memory",
            Self::ClockStep => "Redis' clock stepped",
            Self::Cut => "link cut",
            Self::Stall => "link stalled",
            Self::Slow => "link slow",
            Self::SlowCut => "link slow, then cut",
            Self::Deaf => "link half open, Redis unheard",
            Self::Mute => "link half open, replica unheard",
            Self::ReplicaKilled => "a replica killed, its clients come at once",
            Self::Churn => "clients join while they leave",
            Self::OldMaster => "Sentinel fails over, the old master answers",
            Self::OldMasterCut => "the same, links to the new master cut",
            Self::NodeKilled => "a cluster's master killed",
            Self::ShardKilled => "a cluster's master killed, sharded channels",
        })
    }
}

impl Struck {
    /// Over now; no link had to break.
    pub fn over() -> Self {
        Self {
            lifted: Instant::now(),
            broke: Vec::new(),
            moved: false,
            noticed: None,
            forgot: false,
            elected: false,
            idle: true,
        }
    }

    /// Over now; these replicas' links had to break.
    pub fn broke(places: impl IntoIterator<Item = usize>) -> Self {
        Self { broke: places.into_iter().collect(), ..Self::over() }
    }
}

/// Lets a fault last.
pub async fn hold(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A time between two, in ms.
pub fn between(dice: &mut Rng, least: u64, most: u64) -> Duration {
    Duration::from_millis(dice.u64(least..=most))
}

/// Waits until a replica says that its link is not what it should be, and answers how long that took.
pub async fn noticed(world: &mut World, place: usize, since: Instant) -> Duration {
    world.until("the replica notices", async |world| !world.replicas[place].is_open().await).await;
    since.elapsed()
}
