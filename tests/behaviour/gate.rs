//! A door in front of a server that can be shut: a forwarder on a port of its own, so that a store can be away and come back.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tributary::task::OwnedTask;

/// A port on which nothing listens until [`Gate::open`].
pub struct Gate {
    address: SocketAddr,
    target: u16,
}

/// While it lives, connections go through; dropping it breaks them and closes the port.
pub struct Open {
    _task: OwnedTask<()>,
    frozen: CancellationToken,
}

impl Open {
    /// From now on connections stay open, and new ones are taken, but nothing goes through: a server that accepts and never
    /// answers.
    pub fn freeze(&self) {
        self.frozen.cancel();
    }
}

impl Gate {
    /// A closed gate to a port of this machine.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self { address: listener.local_addr().unwrap(), target }
    }

    /// Its own port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Opens it.
    pub async fn open(&self) -> Open {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let target = self.target;
        let frozen = CancellationToken::new();
        let seen = frozen.clone();
        let task = OwnedTask::spawn(async move {
            let mut passing = Vec::new();
            while let Ok((mut outside, _)) = listener.accept().await {
                let seen = seen.clone();
                passing.push(OwnedTask::spawn(async move {
                    let Ok(mut inside) = TcpStream::connect(("127.0.0.1", target)).await else { return };
                    // The end of either side is the end of the pair.
                    tokio::select! {
                        biased;
                        () = seen.cancelled() => std::future::pending().await,
                        _ = tokio::io::copy_bidirectional(&mut outside, &mut inside) => {}
                    }
                }));
            }
        });
        Open { _task: task, frozen }
    }
}
