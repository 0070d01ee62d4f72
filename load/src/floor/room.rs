//! The floor's sockets of one topic, and the bare writes to them.

use nix::{errno::Errno, unistd::write};
use std::net::TcpStream;

/// Everyone who listens to one channel.
#[derive(Default)]
pub struct Room {
    seats: Vec<Seat>,
    /// Redis has confirmed the channel; before, nobody is told 101.
    live: bool,
}

/// One socket past its handshake.
pub struct Seat {
    stream: TcpStream,
    /// Its slot in the floor's table, which knows the seat's place and must hear when it moves.
    slot: u32,
    /// What a full socket did not take; empty on the happy path, and then it owns no heap.
    rest: Vec<u8>,
}

impl Room {
    /// Seats a socket and owes it its `greeting`, sent once the room is live. Answers the place.
    pub fn join(&mut self, stream: TcpStream, slot: u32, greeting: String) -> usize {
        let mut seat = Seat { stream, slot, rest: greeting.into_bytes() };
        if self.live {
            seat.write_rest();
        }
        self.seats.push(seat);
        self.seats.len() - 1
    }

    /// Redis has confirmed: whoever waits is greeted.
    pub fn go_live(&mut self) {
        self.live = true;
        self.seats.iter_mut().for_each(|seat| seat.write_rest());
    }

    pub fn stream(&self, at: usize) -> &TcpStream {
        &self.seats[at].stream
    }

    /// Closes a socket. Answers the slot of the one that took its place, if one did.
    pub fn leave(&mut self, at: usize) -> Option<u32> {
        self.seats.swap_remove(at);
        self.seats.get(at).map(|moved| moved.slot)
    }

    /// One bare write to each socket. Answers how many did not take the frame.
    pub fn deliver(&mut self, frame: &[u8]) -> usize {
        self.seats.iter_mut().filter_map(|seat| seat.deliver(frame).err()).count()
    }
}

/// The socket was full (or gone, which its hang-up will tell): the frame is lost, the socket kept.
struct Lost;

impl Seat {
    #[inline]
    fn deliver(&mut self, frame: &[u8]) -> Result<(), Lost> {
        if !self.rest.is_empty() {
            self.write_rest();
            if !self.rest.is_empty() {
                return Err(Lost);
            }
        }
        match write(&self.stream, frame) {
            Ok(len) if len == frame.len() => Ok(()),
            Ok(len) => {
                self.rest.extend_from_slice(&frame[len..]);
                Ok(())
            }
            Err(_) => Err(Lost),
        }
    }

    #[cold]
    fn write_rest(&mut self) {
        match write(&self.stream, &self.rest) {
            Ok(len) if len == self.rest.len() => self.rest = Vec::new(),
            Ok(len) => drop(self.rest.drain(..len)),
            Err(Errno::EAGAIN) => {}
            Err(_) => self.rest = Vec::new(),
        }
    }
}
