//! Connections that are not logged in yet: how many there may be, and how many of them may come from one address, so that
//! a peer that says nothing keeps nobody else out. Deadlines are the listener's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Accepted connections, in multiples of the handshakes that may run at a time.
const ROOM_FACTOR: usize = 8;

/// Everyone who has come and is not logged in.
#[derive(Debug)]
pub(super) struct Doorstep {
    /// Accepted connections; further ones stay in the kernel's backlog.
    room: Arc<Semaphore>,
    /// Handshakes that run.
    handshakes: Arc<Semaphore>,
    callers: Arc<Callers>,
    /// Most running handshakes of one address.
    share: usize,
    /// Most accepted connections of one address.
    queue_max: usize,
}

/// One address among those who wait.
#[derive(Debug)]
struct Caller {
    turns: Arc<Semaphore>,
    here: usize,
}

type Callers = Mutex<HashMap<IpAddr, Caller>>;

impl Doorstep {
    /// For `handshakes_max` handshakes at a time, half of them from one address.
    pub(super) fn new(handshakes_max: usize) -> Self {
        let handshakes_max = handshakes_max.clamp(1, Semaphore::MAX_PERMITS / ROOM_FACTOR);
        let room = handshakes_max * ROOM_FACTOR;
        Self {
            room: Arc::new(Semaphore::new(room)),
            handshakes: Arc::new(Semaphore::new(handshakes_max)),
            callers: Arc::default(),
            share: handshakes_max.div_ceil(2),
            queue_max: room / 2,
        }
    }

    /// Waits until one more connection may be accepted; `None` never happens while the doorstep lives.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// An accepted connection takes its place; `None` when its address has too many here already.
    pub(super) fn enter(&self, address: IpAddr, room: OwnedSemaphorePermit) -> Option<Visit> {
        let address = neighbourhood(address);
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Caller { turns: Arc::new(Semaphore::new(self.share)), here: 0 };
        let caller = callers.entry(address).or_insert_with(fresh);
        if caller.here >= self.queue_max {
            return None;
        }
        caller.here += 1;
        let turns = Arc::clone(&caller.turns);
        drop(callers);
        Some(Visit { address, callers: Arc::clone(&self.callers), turns, handshakes: Arc::clone(&self.handshakes), _room: room })
    }
}

/// One connection on the doorstep; dropping it makes room.
#[derive(Debug)]
pub(super) struct Visit {
    address: IpAddr,
    callers: Arc<Callers>,
    turns: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    _room: OwnedSemaphorePermit,
}

impl Visit {
    /// Waits until the handshake may run, which it does for as long as the answer is held. First the address's own turn,
    /// so that who waits for it takes no place from other addresses.
    pub(super) async fn turn(&self) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        let place = Arc::clone(&self.handshakes).acquire_owned().await.ok()?;
        Some((turn, place))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(caller) = callers.get_mut(&self.address) {
            caller.here = caller.here.saturating_sub(1);
            if caller.here == 0 {
                callers.remove(&self.address);
            }
        }
    }
}

/// What one peer can call from at will: an IPv4 address, or an IPv6 network of 64 bits, which is one host's (RFC 4291 §2.5.1).
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) if !six.is_loopback() => Ipv6Addr::from_bits(six.to_bits() >> 64 << 64).into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn enter(doorstep: &Doorstep, address: IpAddr) -> Option<Visit> {
        let room = doorstep.room().now_or_never().flatten()?;
        doorstep.enter(address, room)
    }

    #[test]
    fn one_address_has_half_of_the_handshakes() {
        let doorstep = Doorstep::new(4);
        let mut running = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..16 {
            let visit = enter(&doorstep, address(1)).unwrap();
            match visit.turn().now_or_never().flatten() {
                Some(turn) => running.push((turn, visit)),
                None => waiting.push(visit),
            }
        }
        assert_eq!((running.len(), waiting.len()), (2, 14));
        assert!(enter(&doorstep, address(1)).is_none(), "the address has filled half of the room");
        let other = enter(&doorstep, address(2)).unwrap();
        assert!(other.turn().now_or_never().flatten().is_some(), "another address gets in at once");
        running.pop();
        assert!(waiting[0].turn().now_or_never().flatten().is_some(), "the next of the first address has its turn");
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let doorstep = Doorstep::new(1);
        let visits = [enter(&doorstep, address(1)).unwrap(), enter(&doorstep, address(1)).unwrap()];
        assert_eq!(doorstep.callers.lock().unwrap().len(), 1);
        drop(visits);
        assert!(doorstep.callers.lock().unwrap().is_empty());
        assert_eq!(doorstep.room.available_permits(), ROOM_FACTOR);
    }

    #[test]
    fn a_network_of_one_host_is_one_caller() {
        let rows = [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::7", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::1", "::1", true),
        ];
        for (one, other, same) in rows {
            assert_eq!(neighbourhood(one.parse().unwrap()) == neighbourhood(other.parse().unwrap()), same, "{one} {other}");
        }
    }
}
