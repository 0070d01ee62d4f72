//! One raw connection to Redis, for the floor's subscriptions or a load's publications.

use crate::wire::resp::{self, Reader, Value};
use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
};

/// A non-blocking connection. Commands gather until [`Bus::flush`], so that one turn of a loop costs one write.
pub struct Bus {
    stream: TcpStream,
    replies: Reader,
    commands: Vec<u8>,
    chunk: Box<[u8]>,
}

impl Bus {
    /// Connects; the caller registers [`Bus::stream`] with its poller.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("redis at {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, replies: Reader::default(), commands: Vec::new(), chunk: vec![0; 256 * 1024].into() })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Appends a command to what the next flush sends.
    pub fn command(&mut self, words: &[&[u8]]) {
        resp::command(words, &mut self.commands);
    }

    /// Sends what has gathered. Waits when the socket is full: Redis reads on, whatever we do.
    pub fn flush(&mut self) -> Result<()> {
        let mut sent = 0;
        while sent < self.commands.len() {
            match self.stream.write(&self.commands[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(1000_u16))?;
                }
                Err(error) => return Err(error).context("writing to redis"),
            }
        }
        self.commands.clear();
        Ok(())
    }

    /// Waits until Redis has sent something, at most a second.
    pub fn wait(&self) -> Result<()> {
        poll(&mut [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)], PollTimeout::from(1000_u16))?;
        Ok(())
    }

    /// One read of what Redis has sent.
    pub fn fill(&mut self) -> Result<()> {
        match self.stream.read(&mut self.chunk) {
            Ok(0) => bail!("redis hung up"),
            Ok(len) => self.replies.feed(&self.chunk[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("reading from redis"),
        }
        Ok(())
    }

    /// The next whole value of what was read. An error reply is an error: nothing we send may fail.
    pub fn next(&mut self) -> Result<Option<Value<'_>>> {
        match self.replies.next()? {
            Some(Value::Error(text)) => bail!("redis: {}", String::from_utf8_lossy(text)),
            value => Ok(value),
        }
    }
}
