//! The floor: the cheapest server that does the gateway's one job. One thread, one epoll, one `write(2)` per delivery.
//! No limits, heartbeat or memory of anything: what a delivery costs above this is what the gateway must answer for.

mod room;

use crate::{
    floor::room::Room,
    stop,
    wire::bus::Bus,
    wire::resp::Value,
    wire::sockets,
    wire::websocket::{self, HEAD_LIMIT},
};
use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

/// `fanline-load floor`
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen; with port 0 the line printed on standard output says which port it became
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// host:port of Redis
    #[arg(long, default_value = "127.0.0.1:6379")]
    redis: SocketAddr,
    /// Stands before the topic in the channel's name
    #[arg(long, default_value = "fanline:")]
    prefix: String,
}

const LISTENER: u64 = u64::MAX;
const REDIS: u64 = u64::MAX - 1;

/// What the poller's number of a socket stands for.
enum Slot {
    Free,
    Greeting { stream: TcpStream, head: Vec<u8> },
    Seated { room: usize, at: usize },
}

struct Floor {
    epoll: Epoll,
    listener: TcpListener,
    bus: Bus,
    prefix: String,
    slots: Vec<Slot>,
    free: Vec<usize>,
    rooms: Vec<Room>,
    by_channel: HashMap<Vec<u8>, usize>,
    frame: Vec<u8>,
    lost: usize,
}

/// Serves until told to stop.
pub fn run(args: &Args) -> Result<()> {
    sockets::raise_descriptor_limit()?;
    let mut floor = Floor::bind(args)?;
    println!("listening {}", floor.listener.local_addr()?);
    std::io::stdout().flush()?;
    floor.serve()?;
    if floor.lost > 0 {
        eprintln!("floor: {} deliveries lost to full sockets", floor.lost);
    }
    Ok(())
}

impl Floor {
    fn bind(args: &Args) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let listener = sockets::listen(args.listen).with_context(|| format!("listening on {}", args.listen))?;
        let bus = Bus::connect(args.redis)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        epoll.add(bus.stream(), EpollEvent::new(EpollFlags::EPOLLIN, REDIS))?;
        Ok(Self {
            epoll,
            listener,
            bus,
            prefix: args.prefix.clone(),
            slots: Vec::new(),
            free: Vec::new(),
            rooms: Vec::new(),
            by_channel: HashMap::new(),
            frame: Vec::new(),
            lost: 0,
        })
    }

    fn serve(&mut self) -> Result<()> {
        let mut events = [EpollEvent::empty(); 256];
        while !stop::asked() {
            let ready = sockets::wait(&self.epoll, &mut events, Some(500))?;
            for event in &events[..ready] {
                match event.data() {
                    LISTENER => self.accept()?,
                    REDIS => self.fan_out()?,
                    slot => self.hear(slot as usize),
                }
            }
            self.bus.flush()?;
        }
        Ok(())
    }

    /// The measured loop: each message is encoded once and written to each socket of its topic.
    fn fan_out(&mut self) -> Result<()> {
        self.bus.fill()?;
        while let Some(value) = self.bus.next()? {
            let Value::Array(words) = value else { continue };
            let [Value::Bulk(kind), Value::Bulk(channel), rest] = &words[..] else { continue };
            let Some(room) = self.by_channel.get(*channel) else { continue };
            match (*kind, rest) {
                (b"message", Value::Bulk(payload)) => {
                    websocket::encode_text(payload, &mut self.frame);
                    self.lost += self.rooms[*room].deliver(&self.frame);
                }
                (b"subscribe", _) => self.rooms[*room].go_live(),
                _ => {}
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error).context("accept"),
            }
        }
    }

    fn admit(&mut self, stream: TcpStream) -> Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() - 1
        });
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, slot as u64))?;
        self.slots[slot] = Slot::Greeting { stream, head: Vec::new() };
        Ok(())
    }

    /// A socket has bytes, or its end. Clients only ever send a handshake, pongs and a close.
    fn hear(&mut self, slot: usize) {
        let mut bytes = [0; 2048];
        let mut stream = match &self.slots[slot] {
            Slot::Free => return,
            Slot::Greeting { stream, .. } => stream,
            Slot::Seated { room, at } => self.rooms[*room].stream(*at),
        };
        match stream.read(&mut bytes) {
            Ok(len) if len > 0 => self.greet(slot, &bytes[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => self.hang_up(slot),
        }
    }

    fn greet(&mut self, slot: usize, bytes: &[u8]) {
        let Slot::Greeting { head, .. } = &mut self.slots[slot] else { return };
        head.extend_from_slice(bytes);
        let Some(end) = websocket::head_end(head) else {
            if head.len() > HEAD_LIMIT {
                self.hang_up(slot);
            }
            return;
        };
        match std::str::from_utf8(&head[..end]).ok().and_then(websocket::request) {
            Some(request) => self.seat(slot, &request),
            None => self.hang_up(slot),
        }
    }

    fn seat(&mut self, slot: usize, request: &websocket::Request) {
        let room = self.room(&request.topic);
        let Slot::Greeting { stream, .. } = std::mem::replace(&mut self.slots[slot], Slot::Free) else { return };
        let accept = websocket::accept(&request.key);
        let greeting = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let at = self.rooms[room].join(stream, slot as u32, greeting);
        self.slots[slot] = Slot::Seated { room, at };
    }

    /// The room of a topic, subscribed at Redis on first use and kept.
    fn room(&mut self, topic: &str) -> usize {
        let channel = format!("{}{topic}", self.prefix).into_bytes();
        if let Some(room) = self.by_channel.get(&channel) {
            return *room;
        }
        self.bus.command(&[b"SUBSCRIBE", &channel]);
        self.rooms.push(Room::default());
        self.by_channel.insert(channel, self.rooms.len() - 1);
        self.rooms.len() - 1
    }

    fn hang_up(&mut self, slot: usize) {
        if let Slot::Seated { room, at } = std::mem::replace(&mut self.slots[slot], Slot::Free)
            && let Some(moved) = self.rooms[room].leave(at)
        {
            self.slots[moved as usize] = Slot::Seated { room, at };
        }
        self.free.push(slot);
    }
}
