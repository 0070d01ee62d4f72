//! A crowd in a process of its own, as the bench holds it.

use crate::{
    crowd::feed::Feed,
    crowd::fixture::Fixture,
    crowd::orders::{Answer, Order},
    crowd::server::Server,
    crowd::{Group, Tally},
    stage::started::Started,
    stage::urgent,
};
use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{ChildStdin, ChildStdout, Command},
    time::Duration,
};

/// A crowd elsewhere. Dropped, its process ends, and its sockets with it.
pub struct Apart {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _started: Started,
}

/// How the kernel schedules a crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    Usual,
    /// Before everything usual (`chrt -f`), which not everybody may ask for.
    RealTime,
}

impl Apart {
    /// Starts a process of ours.
    pub fn start(redis: SocketAddr, prefix: &str, logs: &Path, priority: Priority) -> Result<Self> {
        let own = std::env::current_exe()?;
        let mut command = match priority {
            Priority::Usual => Command::new(own),
            Priority::RealTime => {
                let mut command = urgent::command();
                command.arg(own);
                command
            }
        };
        command.args(["crowd", "--redis", &redis.to_string(), "--prefix", prefix]);
        let (started, orders, answers) = Started::converse("crowd", &mut command, logs)?;
        Ok(Self { orders, answers: BufReader::new(answers), _started: started })
    }

    /// As [`crate::crowd::Crowd::connect`].
    pub fn connect(&mut self, server: &Server, topics: &[String], sockets: usize) -> Result<Group> {
        self.begin_to_connect(server, topics, sockets)?;
        self.connected()
    }

    /// Begins to connect, and does not wait for the last.
    pub fn begin_to_connect(&mut self, server: &Server, topics: &[String], sockets: usize) -> Result<()> {
        self.order(&Order::Connect { server: server.clone(), topics: topics.to_vec(), sockets })
    }

    /// The sockets whose connecting was begun.
    pub fn connected(&mut self) -> Result<Group> {
        match self.answer()? {
            Answer::Connected(group) => Ok(group),
            _ => bail!("a crowd answered something else"),
        }
    }

    /// As [`crate::crowd::Crowd::carry`].
    pub fn carry(&mut self, fixture: &Fixture) -> Result<()> {
        self.order(&Order::Carry(fixture.clone()))?;
        self.answer().map(drop)
    }

    /// As [`crate::crowd::Crowd::run`].
    pub fn run(&mut self, group: &Group, feed: Feed, size: usize, time: Duration) -> Result<(Tally, Duration)> {
        self.begin(group, feed, size, time)?;
        self.finish()
    }

    /// Begins a run and does not wait for its end.
    pub fn begin(&mut self, group: &Group, feed: Feed, size: usize, time: Duration) -> Result<()> {
        self.order(&Order::Run { group: group.clone(), feed, size, time })
    }

    /// The end of the run that was begun.
    pub fn finish(&mut self) -> Result<(Tally, Duration)> {
        match self.answer()? {
            Answer::Ran(tally, took) => Ok((*tally, took)),
            _ => bail!("a crowd answered something else"),
        }
    }

    /// As [`crate::crowd::Crowd::expect`]; once it returns, the publication may come.
    pub fn expect(&mut self, group: &Group) -> Result<()> {
        self.order(&Order::Expect(group.clone()))?;
        self.answer().map(drop)
    }

    /// As [`crate::crowd::Crowd::await_expected`].
    pub fn await_expected(&mut self) -> Result<(Tally, u64)> {
        self.order(&Order::AwaitExpected)?;
        match self.answer()? {
            Answer::Got(tally, completed_ns) => Ok((*tally, completed_ns)),
            _ => bail!("a crowd answered something else"),
        }
    }

    fn order(&mut self, order: &Order) -> Result<()> {
        writeln!(self.orders, "{}", serde_json::to_string(order)?).context("a crowd is gone")
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match serde_json::from_str(&line).context("a crowd ended in the middle of its work; its log says why")? {
            Answer::Failed(why) => bail!("{why}"),
            answer => Ok(answer),
        }
    }
}
