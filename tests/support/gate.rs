//! A door in front of a server that can be shut: a forwarder on a port of its own, so that a store can be away, slow, silent or lost in
//! the middle of an answer, and come back.

use std::future::{Ready, ready};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tributary::task::OwnedTask;

/// A port on which nothing listens until [`Gate::open`].
pub struct Gate {
    address: SocketAddr,
    target: (String, u16),
}

/// While it lives, connections go through; dropping it breaks them and closes the port.
pub struct Open {
    task: OwnedTask<()>,
    stop: oneshot::Sender<()>,
    frozen: CancellationToken,
    toll: Arc<Toll>,
}

/// What is done to whatever goes through.
#[derive(Debug)]
struct Toll {
    /// How long each piece is kept, in milliseconds.
    delay: AtomicU64,
    /// How many more bytes of the server go through before all connections break.
    left: AtomicI64,
}

impl Toll {
    /// How many of these bytes go through.
    fn passing(&self, count: usize) -> usize {
        let count = i64::try_from(count).unwrap();
        let left = self.left.fetch_sub(count, Ordering::SeqCst);
        usize::try_from(left.clamp(0, count)).unwrap()
    }
}

impl Open {
    /// From now on connections stay open, and new ones are taken, but nothing goes through: a server that accepts and never
    /// answers.
    pub fn freeze(&self) {
        self.frozen.cancel();
    }

    /// From now on each piece takes so much longer, in both directions.
    pub fn slow(&self, delay: Duration) {
        self.toll.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// The server's next bytes, so many of them, still go through. Then the connection breaks on which they came, and every other one
    /// with the first byte that the server says.
    pub fn tear(&self, bytes: u32) {
        self.toll.left.store(i64::from(bytes), Ordering::SeqCst);
    }

    /// Breaks the connections and returns when the port is closed.
    pub async fn shut(self) {
        drop(self.stop);
        self.task.join().await;
    }
}

impl Gate {
    /// A closed gate to a server.
    pub fn to(host: &str, port: u16) -> Ready<Self> {
        let own = tributary::sandbox::free_port().unwrap();
        ready(Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, own)), target: (host.to_owned(), port) })
    }

    /// Its own port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Opens it.
    pub async fn open(&self) -> Open {
        self.listen(Some(self.target.clone())).await
    }

    /// Takes connections and says nothing on them.
    pub async fn silence(&self) -> Open {
        self.listen(None).await
    }

    /// Its port again, which a connection of somebody else may have got for a moment while nothing listened on it.
    async fn listener(&self) -> TcpListener {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => return listener,
                Err(error) if Instant::now() > deadline => panic!("{}: {error}", self.address),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn listen(&self, target: Option<(String, u16)>) -> Open {
        let listener = self.listener().await;
        let (stop, mut stopped) = oneshot::channel();
        let frozen = CancellationToken::new();
        let seen = frozen.clone();
        let toll = Arc::new(Toll { delay: AtomicU64::new(0), left: AtomicI64::new(i64::MAX) });
        let paid = Arc::clone(&toll);
        let task = OwnedTask::spawn(async move {
            let mut passing = Vec::new();
            loop {
                // Both are cancel-safe, and after a stop nothing is awaited any more.
                let mut outside = tokio::select! {
                    _ = &mut stopped => return,
                    Ok((outside, _)) = listener.accept() => outside,
                };
                let (target, seen, toll) = (target.clone(), seen.clone(), Arc::clone(&paid));
                passing.push(OwnedTask::spawn(async move {
                    let Some((host, port)) = target else { return std::future::pending().await };
                    let Ok(mut inside) = TcpStream::connect((host.as_str(), port)).await else { return };
                    // The end of either side is the end of the pair.
                    tokio::select! {
                        biased;
                        () = seen.cancelled() => std::future::pending().await,
                        _ = forward(&mut outside, &mut inside, &toll) => {}
                    }
                }));
            }
        });
        Open { task, stop, frozen, toll }
    }
}

/// Forwards until both sides have ended, or one is lost.
async fn forward(outside: &mut TcpStream, inside: &mut TcpStream, toll: &Toll) -> io::Result<()> {
    let ((from_client, to_client), (from_server, to_server)) = (outside.split(), inside.split());
    let asked = pass(from_client, to_server, toll, usize::MAX);
    let said = pass(from_server, to_client, toll, 0);
    tokio::try_join!(asked, said).map(drop)
}

/// One direction of it. `free`: of each piece so much goes through whatever is left.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, toll: &Toll, free: usize) -> io::Result<()> {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let delay = toll.delay.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let passing = if free >= count { count } else { toll.passing(count) };
        to.write_all(&bytes[..passing]).await?;
        if passing < count {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gate to a server that says ten bytes for each one.
    async fn gate() -> (Gate, OwnedTask<()>) {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let gate = Gate::to("127.0.0.1", server.local_addr().unwrap().port()).await;
        let task = OwnedTask::spawn(async move {
            while let Ok((mut client, _)) = server.accept().await {
                while client.read_u8().await.is_ok() {
                    client.write_all(b"0123456789").await.unwrap_or(());
                }
            }
        });
        (gate, task)
    }

    async fn client(gate: &Gate) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, gate.port())).await.unwrap()
    }

    async fn ask(client: &mut TcpStream) -> io::Result<[u8; 10]> {
        let mut answer = [0; 10];
        client.write_u8(0).await?;
        client.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_slow_way_takes_its_time_in_both_directions() {
        let (gate, _server) = gate().await;
        let open = gate.open().await;
        let mut client = client(&gate).await;
        assert_eq!(ask(&mut client).await.unwrap(), *b"0123456789");
        open.slow(Duration::from_millis(60));
        let begun = Instant::now();
        assert_eq!(ask(&mut client).await.unwrap(), *b"0123456789");
        assert!(begun.elapsed() >= Duration::from_millis(120), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_torn_way_gives_the_beginning_of_an_answer() {
        let (gate, _server) = gate().await;
        let open = gate.open().await;
        let mut client = client(&gate).await;
        ask(&mut client).await.unwrap();
        open.tear(14);
        ask(&mut client).await.unwrap();
        client.write_u8(0).await.unwrap();
        let mut rest = Vec::new();
        // How it is told of the end depends on what was still on its way.
        client.read_to_end(&mut rest).await.ok();
        assert_eq!(rest, b"0123");
        // Opened again it is as before.
        open.shut().await;
        let _open = gate.open().await;
        let mut client = self::client(&gate).await;
        assert_eq!(ask(&mut client).await.unwrap(), *b"0123456789");
    }
}
