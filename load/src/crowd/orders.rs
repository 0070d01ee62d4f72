//! `fanline-load crowd`: a crowd in a process of its own, for more sockets than one process may open. It reads orders
//! from standard input and writes answers to standard output, one JSON object a line; at the input's end it leaves.

use crate::{
    crowd::feed::Feed,
    crowd::fixture::Fixture,
    crowd::server::Server,
    crowd::{Crowd, Group, Tally},
    stop,
};
use anyhow::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead, Write},
    net::SocketAddr,
    os::fd::AsFd,
    time::Duration,
};

/// `fanline-load crowd`
#[derive(clap::Args)]
pub struct Args {
    /// host:port of Redis
    #[arg(long)]
    redis: SocketAddr,
    /// Stands before the topic in the channel's name
    #[arg(long, default_value = "fanline:")]
    prefix: String,
}

/// What a crowd is told.
#[derive(Serialize, Deserialize)]
pub enum Order {
    /// As [`Crowd::connect`].
    Connect { server: Server, topics: Vec<String>, sockets: usize },
    /// As [`Crowd::carry`].
    Carry(Fixture),
    /// As [`Crowd::run`].
    Run { group: Group, feed: Feed, size: usize, time: Duration },
    /// As [`Crowd::expect`].
    Expect(Group),
    /// As [`Crowd::await_expected`].
    AwaitExpected,
}

/// What it says when that is done.
#[derive(Serialize, Deserialize)]
pub enum Answer {
    Connected(Group),
    Carrying,
    Ran(Box<Tally>, Duration),
    Expecting,
    Got(Box<Tally>, u64),
    Failed(String),
}

/// How long sockets go unheard at most between two looks at the input.
const LOOK: Duration = Duration::from_millis(20);

/// Obeys until the input ends.
pub fn run(args: &Args) -> Result<()> {
    let mut crowd = Crowd::new(args.redis, &args.prefix)?;
    let (mut orders, mut answers) = (std::io::stdin().lock(), std::io::stdout().lock());
    while !stop::asked() {
        // One order at a time, each answered before the next: nothing can wait in the reader's own buffer.
        if poll(&mut [PollFd::new(std::io::stdin().as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? == 0 {
            crowd.idle(LOOK)?;
            continue;
        }
        let mut line = String::new();
        if orders.read_line(&mut line)? == 0 {
            break;
        }
        let answer = obey(&mut crowd, serde_json::from_str(&line)?);
        let answer = answer.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")));
        writeln!(answers, "{}", serde_json::to_string(&answer)?)?;
        answers.flush()?;
    }
    Ok(())
}

fn obey(crowd: &mut Crowd, order: Order) -> Result<Answer> {
    Ok(match order {
        Order::Connect { server, topics, sockets } => Answer::Connected(crowd.connect(&server, &topics, sockets)?),
        Order::Carry(fixture) => {
            crowd.carry(fixture);
            Answer::Carrying
        }
        Order::Run { group, feed, size, time } => {
            let (tally, took) = crowd.run(&group, feed, size, time)?;
            Answer::Ran(Box::new(tally), took)
        }
        Order::Expect(group) => {
            crowd.expect(&group);
            Answer::Expecting
        }
        Order::AwaitExpected => {
            let (tally, completed_ns) = crowd.await_expected()?;
            Answer::Got(Box::new(tally), completed_ns)
        }
    })
}
