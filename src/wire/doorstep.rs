//! Connections that are not logged in yet: how many there may be, and how many of them may come from one host or one site, so
//! that a peer that says nothing keeps nobody else out. Deadlines are the listener's.
//!
//! ```text
//! threshold   accepted, has not said yet what it wants; a cancel request is carried out here and never waits
//! room        wants to log in and waits for its turn
//! handshake   logs in
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places on the threshold, and in the room, in multiples of the handshakes that may run at a time.
const ROOM_FACTOR: usize = 8;

/// Everyone who has come and is not logged in.
#[derive(Debug)]
pub(super) struct Doorstep {
    /// Connections that have not said what they want; further ones stay in the kernel's backlog.
    threshold: Arc<Semaphore>,
    places: Arc<Places>,
}

/// What visits share.
#[derive(Debug)]
struct Places {
    /// Connections that want to log in.
    room: Arc<Semaphore>,
    /// Handshakes that run.
    handshakes: Arc<Semaphore>,
    callers: Mutex<HashMap<Neighbourhood, Caller>>,
    host: Share,
    site: Share,
}

/// The most that one neighbourhood may have.
#[derive(Debug, Clone, Copy)]
struct Share {
    handshakes: usize,
    connections: usize,
}

/// Addresses that one peer can call from at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Neighbourhood {
    /// An IPv4 address, or an IPv6 network of 64 bits (RFC 4291 §2.5.1).
    Host(IpAddr),
    /// An IPv6 network of 48 bits, the most that one customer is commonly given (RFC 6177 §2).
    Site(Ipv6Addr),
}

/// One neighbourhood among those who wait.
#[derive(Debug)]
struct Caller {
    turns: Arc<Semaphore>,
    here: usize,
}

impl Doorstep {
    /// For `handshakes_max` handshakes at a time: half of them from one host, three quarters from one site.
    pub(super) fn new(handshakes_max: usize) -> Self {
        let handshakes_max = handshakes_max.clamp(1, Semaphore::MAX_PERMITS / ROOM_FACTOR);
        let room = handshakes_max * ROOM_FACTOR;
        let places = Places {
            room: Arc::new(Semaphore::new(room)),
            handshakes: Arc::new(Semaphore::new(handshakes_max)),
            callers: Mutex::default(),
            host: Share { handshakes: handshakes_max.div_ceil(2), connections: room / 2 },
            site: Share { handshakes: (handshakes_max * 3).div_ceil(4), connections: room / 4 * 3 },
        };
        Self { threshold: Arc::new(Semaphore::new(room)), places: Arc::new(places) }
    }

    /// Waits until one more connection may be accepted; `None` never happens while the doorstep lives.
    pub(super) async fn threshold(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.threshold).acquire_owned().await.ok()
    }

    /// An accepted connection takes its place; `None` when its host or site has too many here already.
    pub(super) fn enter(&self, address: IpAddr, threshold: OwnedSemaphorePermit) -> Option<Visit> {
        let places = &self.places;
        let mut callers = places.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let neighbourhoods = neighbourhoods(address);
        let is_full =
            |caller: &Neighbourhood| callers.get(caller).is_some_and(|known| known.here >= places.share(*caller).connections);
        if neighbourhoods.iter().any(is_full) {
            return None;
        }
        let known_by = neighbourhoods.into_iter().map(|neighbourhood| {
            let fresh = || Caller { turns: Arc::new(Semaphore::new(places.share(neighbourhood).handshakes)), here: 0 };
            let caller = callers.entry(neighbourhood).or_insert_with(fresh);
            caller.here += 1;
            (neighbourhood, Arc::clone(&caller.turns))
        });
        let known_by = known_by.collect();
        drop(callers);
        Some(Visit { known_by, places: Arc::clone(places), place: Some(threshold) })
    }
}

impl Places {
    fn share(&self, neighbourhood: Neighbourhood) -> Share {
        match neighbourhood {
            Neighbourhood::Host(_) => self.host,
            Neighbourhood::Site(_) => self.site,
        }
    }
}

/// One connection on the doorstep; dropping it makes room.
#[derive(Debug)]
pub(super) struct Visit {
    /// Its neighbourhoods, the smallest first, with their turns.
    known_by: Vec<(Neighbourhood, Arc<Semaphore>)>,
    places: Arc<Places>,
    /// On the threshold or in the room.
    place: Option<OwnedSemaphorePermit>,
}

impl Visit {
    /// Leaves the threshold for the room; whether there was a place.
    pub(super) fn come_in(&mut self) -> bool {
        self.place = Arc::clone(&self.places.room).try_acquire_owned().ok();
        self.place.is_some()
    }

    /// Waits until the handshake may run, which it does for as long as the answer is held. First the turns of its own
    /// neighbourhoods, so that who waits for one takes no place from other addresses.
    pub(super) async fn turn(&self) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut held = Vec::with_capacity(self.known_by.len() + 1);
        for turns in self.known_by.iter().map(|(_, turns)| turns).chain([&self.places.handshakes]) {
            held.push(Arc::clone(turns).acquire_owned().await.ok()?);
        }
        Some(held)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut callers = self.places.callers.lock().unwrap_or_else(PoisonError::into_inner);
        for (neighbourhood, _) in &self.known_by {
            if let Some(caller) = callers.get_mut(neighbourhood) {
                caller.here = caller.here.saturating_sub(1);
                if caller.here == 0 {
                    callers.remove(neighbourhood);
                }
            }
        }
    }
}

fn neighbourhoods(address: IpAddr) -> Vec<Neighbourhood> {
    let network = |address: Ipv6Addr, bits: u32| Ipv6Addr::from_bits(address.to_bits() >> (128 - bits) << (128 - bits));
    match address.to_canonical() {
        IpAddr::V6(six) if !six.is_loopback() => {
            vec![Neighbourhood::Host(network(six, 64).into()), Neighbourhood::Site(network(six, 48))]
        }
        other => vec![Neighbourhood::Host(other)],
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// The `number`-th host of a site.
    fn host(site: u16, number: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, site, number, 0, 0, 0, 7).into()
    }

    fn enter(doorstep: &Doorstep, address: IpAddr) -> Option<Visit> {
        let threshold = doorstep.threshold().now_or_never().flatten()?;
        let mut visit = doorstep.enter(address, threshold)?;
        visit.come_in().then_some(visit)
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
    fn one_site_has_three_quarters_however_many_hosts_it_has() {
        let doorstep = Doorstep::new(4);
        let mut running = Vec::new();
        let mut waiting = Vec::new();
        for number in 0..24 {
            let visit = enter(&doorstep, host(1, number)).unwrap();
            match visit.turn().now_or_never().flatten() {
                Some(turn) => running.push((turn, visit)),
                None => waiting.push(visit),
            }
        }
        assert_eq!((running.len(), waiting.len()), (3, 21));
        assert!(enter(&doorstep, host(1, 99)).is_none(), "the site has filled its part of the room");
        let other = enter(&doorstep, host(2, 0)).unwrap();
        assert!(other.turn().now_or_never().flatten().is_some(), "another site gets in at once");
    }

    #[test]
    fn a_full_room_leaves_the_threshold_free() {
        let doorstep = Doorstep::new(1);
        let inside: Vec<Visit> = (0..8).map(|number| enter(&doorstep, address(number)).unwrap()).collect();
        let threshold = doorstep.threshold().now_or_never().flatten().unwrap();
        let mut visit = doorstep.enter(address(9), threshold).unwrap();
        assert!(!visit.come_in());
        drop(inside);
        assert!(visit.come_in());
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let doorstep = Doorstep::new(1);
        let visits = [enter(&doorstep, address(1)).unwrap(), enter(&doorstep, host(1, 1)).unwrap()];
        assert_eq!(doorstep.places.callers.lock().unwrap().len(), 3);
        drop(visits);
        assert!(doorstep.places.callers.lock().unwrap().is_empty());
        let free = (doorstep.threshold.available_permits(), doorstep.places.room.available_permits());
        assert_eq!(free, (ROOM_FACTOR, ROOM_FACTOR));
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
            let host = |address: &str| neighbourhoods(address.parse().unwrap()).remove(0);
            assert_eq!(host(one) == host(other), same, "{one} {other}");
        }
        let site = |address: &str| neighbourhoods(address.parse().unwrap()).remove(1);
        assert_eq!(site("2001:db8:1:2::1"), site("2001:db8:1:3::1"));
        assert_ne!(site("2001:db8:1:2::1"), site("2001:db8:2:2::1"));
    }
}
