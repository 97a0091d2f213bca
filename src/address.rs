//! Listening on an address: one way for every listener, and what to say when it does not work.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::error::{Diagnose, sqlstate};

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}{}", known(.reason).map(|(words, _)| format!(", {words}")).unwrap_or_default())]
pub struct BindError {
    /// The configured address.
    pub address: SocketAddr,
    /// The key of `tributary.toml` that names it.
    pub key: &'static str,
    /// What the operating system said.
    #[source]
    pub reason: io::Error,
}

/// What the usual reasons mean, and what helps.
fn known(reason: &io::Error) -> Option<(&'static str, &'static str)> {
    match reason.kind() {
        io::ErrorKind::AddrInUse => Some(("which is in use", "Another program listens there: stop it, or choose another address")),
        io::ErrorKind::AddrNotAvailable => Some(("which is not of this machine", "Choose an address of this machine")),
        io::ErrorKind::PermissionDenied => {
            Some(("which is not permitted", "Ports below 1024 need a right of their own: choose another"))
        }
        _ => None,
    }
}

impl Diagnose for BindError {
    fn sqlstate(&self) -> &str {
        sqlstate::SYSTEM_ERROR
    }

    fn detail(&self) -> Option<String> {
        known(&self.reason).is_none().then(|| format!("The system said: {}.", self.reason))
    }

    fn hint(&self) -> Option<String> {
        known(&self.reason).map(|(_, advice)| format!("{advice} with the key {} in tributary.toml.", self.key))
    }
}

/// Listens on `address`, with at most `backlog` connections that the kernel keeps until they are accepted. Must be called
/// inside the runtime.
///
/// # Errors
/// See [`BindError`].
pub fn listen(address: SocketAddr, backlog: u32, key: &'static str) -> Result<TcpListener, BindError> {
    let failed = |reason| BindError { address, key, reason };
    bound(address).and_then(|socket| socket.listen(backlog)).map_err(failed)
}

/// Whether `address` could be listened on now. Nothing listens, so no client can come meanwhile.
///
/// # Errors
/// See [`BindError`].
pub fn try_out(address: SocketAddr, key: &'static str) -> Result<(), BindError> {
    bound(address).map(drop).map_err(|reason| BindError { address, key, reason })
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it: a peer that vanished without a word is found in the end.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_address_is_told_with_the_key_that_changes_it() {
        let taken = listen("127.0.0.1:0".parse().unwrap(), 1, "listen").unwrap().local_addr().unwrap();
        try_out(taken, "listen").unwrap();
        let holder = listen(taken, 1, "listen").unwrap();
        for refused in [try_out(taken, "listen").unwrap_err(), listen(taken, 1, "listen").unwrap_err()] {
            assert_eq!(refused.to_string(), format!("cannot listen on {taken}, which is in use"));
            let advice = "Another program listens there: stop it, or choose another address with the key listen in tributary.toml.";
            assert_eq!(refused.hint().as_deref(), Some(advice));
            assert_eq!(refused.detail(), None);
        }
        drop(holder);
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told() {
        let refused = try_out("192.0.2.1:1".parse().unwrap(), "http.listen").unwrap_err();
        assert_eq!(refused.to_string(), "cannot listen on 192.0.2.1:1, which is not of this machine");
        assert!(refused.hint().unwrap().contains("http.listen"));
        let odd = BindError { address: refused.address, key: "listen", reason: io::Error::other("no luck") };
        assert_eq!((odd.hint(), odd.detail().as_deref()), (None, Some("The system said: no luck.")));
    }
}
