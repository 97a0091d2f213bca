//! What passes between Tributary and a server: a forwarder in front of it that counts bytes and round trips and, where asked,
//! makes the way longer. For `bench`, benches, and tests of how often a store is asked.
//!
//! Each direction is a delay line: what comes in goes out half a round trip later, in the same order, so that a stream is late but
//! not slow. A round trip begins when the client speaks after the server did, or first. **Invariant:** at most `CHUNKS_MAX`
//! pieces of at most `CHUNK` bytes wait in a direction; then the reader waits.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Endpoint;
use crate::task::{OwnedTask, TaskSet};

/// Bytes of one read.
const CHUNK: usize = 64 << 10;
/// Pieces that wait in one direction: 16 MiB, which is what 10 ms hold at 1.6 GB/s.
const CHUNKS_MAX: usize = 256;

/// What has passed so far.
#[derive(Debug, Default)]
struct Counters {
    from_store: AtomicU64,
    round_trips: AtomicU64,
}

/// What passed in a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that the server sent.
    pub bytes: u64,
    /// How often the client had to wait for an answer, logins included.
    pub round_trips: u64,
}

/// A forwarder in front of one server. Dropping it breaks its connections.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    counters: Arc<Counters>,
    _task: OwnedTask<()>,
}

impl Wire {
    /// Listens on a free port of loopback. `round_trip` is the delay of a question and its answer together.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn to(endpoint: &Endpoint, round_trip: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let counters = Arc::new(Counters::default());
        let (target, counted) = ((endpoint.host.clone(), endpoint.port), Arc::clone(&counters));
        let task = OwnedTask::spawn(async move {
            let mut connections = TaskSet::new();
            // A port that accepts nothing any more is seen by its clients.
            while let Ok((client, _)) = listener.accept().await {
                let (target, counted) = (target.clone(), Arc::clone(&counted));
                connections.spawn("wire", async move { forward(client, &target, round_trip / 2, &counted).await });
            }
        });
        Ok(Self { port, counters, _task: task })
    }

    /// The server as it is reached through here.
    pub fn in_front_of(&self, endpoint: &Endpoint) -> Endpoint {
        Endpoint { host: "127.0.0.1".to_owned(), port: self.port, ..endpoint.clone() }
    }

    /// Everything that has passed until now.
    pub fn total(&self) -> Traffic {
        Traffic {
            bytes: self.counters.from_store.load(Ordering::Relaxed),
            round_trips: self.counters.round_trips.load(Ordering::Relaxed),
        }
    }
}

impl Traffic {
    /// What has passed since an earlier total.
    pub fn since(self, earlier: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(earlier.bytes), round_trips: self.round_trips.saturating_sub(earlier.round_trips) }
    }
}

/// Passes everything on until either side ends.
async fn forward(client: TcpStream, (host, port): &(String, u16), one_way: Duration, counters: &Counters) {
    let Ok(server) = TcpStream::connect((host.as_str(), *port)).await else { return };
    // Small messages must not wait for more.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let is_asking = AtomicBool::new(false);
    let asked = |_bytes: usize| {
        if !is_asking.swap(true, Ordering::Relaxed) {
            counters.round_trips.fetch_add(1, Ordering::Relaxed);
        }
    };
    let answered = |bytes: usize| {
        is_asking.store(false, Ordering::Relaxed);
        counters.from_store.fetch_add(bytes as u64, Ordering::Relaxed);
    };
    tokio::join!(pass(from_client, to_server, one_way, asked), pass(from_server, to_client, one_way, answered));
}

/// One direction. Its end is passed on by dropping the write half, which closes it.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration, seen: impl Fn(usize)) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            seen(length);
            let chunk = buffer.get(..length).unwrap_or_default().to_vec();
            if sender.send((Instant::now() + delay, chunk)).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = receiver.recv().await {
            if !delay.is_zero() {
                tokio::time::sleep_until(due).await;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Secret;

    /// A server that answers each byte with three.
    async fn server() -> (Endpoint, OwnedTask<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = OwnedTask::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok() {
                stream.write_all(&[byte[0]; 3]).await.unwrap();
            }
        });
        let (host, database) = ("127.0.0.1".to_owned(), String::new());
        (Endpoint { host, port, user: String::new(), password: Secret::new(""), database }, task)
    }

    #[tokio::test]
    async fn round_trips_are_counted_and_take_as_long_as_asked() {
        let (endpoint, _server) = server().await;
        let round_trip = Duration::from_millis(30);
        let wire = Wire::to(&endpoint, round_trip).await.unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", wire.in_front_of(&endpoint).port)).await.unwrap();
        let started = Instant::now();
        let mut answer = [0; 3];
        for byte in [1, 2] {
            client.write_all(&[byte]).await.unwrap();
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, [byte; 3]);
        }
        assert!(started.elapsed() >= 2 * round_trip, "{:?}", started.elapsed());
        assert_eq!(wire.total(), Traffic { bytes: 6, round_trips: 2 });
        assert_eq!(wire.total().since(Traffic { bytes: 3, round_trips: 1 }), Traffic { bytes: 3, round_trips: 1 });
    }
}
