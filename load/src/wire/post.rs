//! One kept connection that publishes by HTTP POST, for servers whose road is not Redis.

use crate::wire::websocket::{head_end, header};
use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
};

/// A non-blocking connection. Requests gather until [`Post::flush`] and are sent without waiting for answers, as
/// HTTP/1.1 allows; answers come in order.
pub struct Post {
    stream: TcpStream,
    requests: Vec<u8>,
    answers: Vec<u8>,
    chunk: Box<[u8]>,
}

impl Post {
    /// Connects; the caller registers [`Post::stream`] with its poller.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("publisher at {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, requests: Vec::new(), answers: Vec::new(), chunk: vec![0; 64 * 1024].into() })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Appends a request to what the next flush sends; `target` is its path and query.
    pub fn request(&mut self, target: &str, body: &[u8]) {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.requests.extend_from_slice(head.as_bytes());
        self.requests.extend_from_slice(body);
    }

    /// Sends what has gathered; waits when the socket is full.
    pub fn flush(&mut self) -> Result<()> {
        let mut sent = 0;
        while sent < self.requests.len() {
            match self.stream.write(&self.requests[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(1000_u16))?;
                }
                Err(error) => return Err(error).context("posting"),
            }
        }
        self.requests.clear();
        Ok(())
    }

    /// One read of answers. Any but 2xx is an error: nothing we publish may be refused.
    pub fn fill(&mut self) -> Result<()> {
        match self.stream.read(&mut self.chunk) {
            Ok(0) => bail!("the publisher's connection was closed"),
            Ok(len) => self.answers.extend_from_slice(&self.chunk[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("reading answers to posts"),
        }
        let mut done = 0;
        while let Some(len) = answer(&self.answers[done..])? {
            done += len;
        }
        self.answers.drain(..done);
        Ok(())
    }
}

/// The length of the first answer; `None` while it is incomplete.
fn answer(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = head_end(bytes) else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes[..head]);
    ensure!(text.starts_with("HTTP/1.1 2"), "a post was answered `{}`", text.lines().next().unwrap_or_default());
    let length = header(&text, "content-length").context("an answer without a length")?;
    let whole = head + length.parse::<usize>().context("an answer's length")?;
    Ok((bytes.len() >= whole).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn an_answer_ends_with_its_body_and_not_before() {
        assert_eq!(answer(&[ANSWER, ANSWER].concat()).unwrap(), Some(ANSWER.len()));
        for cut in 0..ANSWER.len() {
            assert_eq!(answer(&ANSWER[..cut]).unwrap(), None, "cut to {cut}");
        }
    }

    #[test]
    fn a_refused_post_is_an_error_that_says_how() {
        let refusal = answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap_err().to_string();
        assert!(refusal.contains("403 Forbidden"), "{refusal}");
    }
}
