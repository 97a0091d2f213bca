//! A door in front of a server that can be shut: a forwarder on a port of its own, so that a store can be away, silent or lost in
//! the middle of an answer, and come back.

use std::future::{Ready, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

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
}

impl Open {
    /// From now on connections stay open, and new ones are taken, but nothing goes through: a server that accepts and never
    /// answers.
    pub fn freeze(&self) {
        self.frozen.cancel();
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
        let task = OwnedTask::spawn(async move {
            let mut passing = Vec::new();
            loop {
                // Both are cancel-safe, and after a stop nothing is awaited any more.
                let mut outside = tokio::select! {
                    _ = &mut stopped => return,
                    Ok((outside, _)) = listener.accept() => outside,
                };
                let (target, seen) = (target.clone(), seen.clone());
                passing.push(OwnedTask::spawn(async move {
                    let Some((host, port)) = target else { return std::future::pending().await };
                    let Ok(mut inside) = TcpStream::connect((host.as_str(), port)).await else { return };
                    // The end of either side is the end of the pair.
                    tokio::select! {
                        biased;
                        () = seen.cancelled() => std::future::pending().await,
                        _ = tokio::io::copy_bidirectional(&mut outside, &mut inside) => {}
                    }
                }));
            }
        });
        Open { task, stop, frozen }
    }
}
