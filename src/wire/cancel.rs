//! Who may cancel what: process id and secret key to the statement that runs now.
//!
//! A cancel request that comes between two statements does nothing; a token is only reachable while its statement runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pgwire::messages::startup::SecretKey;
use rand::Rng;
use tokio_util::sync::CancellationToken;

/// The statement of one connection that runs now.
#[derive(Debug, Default)]
pub(super) struct Running {
    token: Mutex<Option<CancellationToken>>,
    gone: CancellationToken,
}

impl Running {
    /// A statement starts. When the client is gone already it is cancelled at once.
    pub(super) fn set(&self, token: CancellationToken) {
        if self.gone.is_cancelled() {
            token.cancel();
        }
        *lock(&self.token) = Some(token);
    }

    /// No statement runs.
    pub(super) fn clear(&self) {
        *lock(&self.token) = None;
    }

    /// Cancels the running statement, if any.
    pub(super) fn cancel(&self) {
        if let Some(token) = lock(&self.token).as_ref() {
            token.cancel();
        }
    }

    /// The client is gone: cancels the running statement and every later one.
    pub(super) fn abandon(&self) {
        self.gone.cancel();
        self.cancel();
    }

    /// Whether the client is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.gone.is_cancelled()
    }
}

/// All connections that can be cancelled.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    last: i32,
    by_process: HashMap<i32, Entry>,
}

#[derive(Debug)]
struct Entry {
    key: SecretKey,
    running: Arc<Running>,
}

/// A connection's place in the registry, given up on drop.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    /// The id told in `BackendKeyData`.
    pub(super) process_id: i32,
    /// The key told in `BackendKeyData`.
    pub(super) key: SecretKey,
}

impl Registry {
    /// Gives a connection its process id and secret key: 32 bytes since protocol 3.2, 4 before.
    pub(super) fn register(self: &Arc<Self>, long_key: bool, running: Arc<Running>) -> Registration {
        let key = if long_key {
            SecretKey::Bytes(Bytes::copy_from_slice(&rand::rng().random::<[u8; 32]>()))
        } else {
            SecretKey::I32(rand::rng().random())
        };
        let mut entries = lock(&self.entries);
        let mut process_id = entries.last;
        loop {
            process_id = process_id.checked_add(1).unwrap_or(1);
            if !entries.by_process.contains_key(&process_id) {
                break;
            }
        }
        entries.last = process_id;
        entries.by_process.insert(process_id, Entry { key: key.clone(), running });
        drop(entries);
        Registration { registry: Arc::clone(self), process_id, key }
    }

    /// A `CancelRequest`. Whether it hit anything is not told to the client, as in PostgreSQL.
    pub(super) fn cancel(&self, process_id: i32, key: &[u8]) -> bool {
        let running = lock(&self.entries)
            .by_process
            .get(&process_id)
            .filter(|entry| same(&entry.key.to_bytes(), key))
            .map(|entry| Arc::clone(&entry.running));
        if let Some(running) = &running {
            running.cancel();
        }
        running.is_some()
    }

    /// Cancels every running statement and all that would still start.
    pub(super) fn abandon_all(&self) {
        for entry in lock(&self.entries).by_process.values() {
            entry.running.abandon();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.registry.entries).by_process.remove(&self.process_id);
    }
}

/// Compares in a time that does not depend on where the first difference is.
fn same(known: &[u8], given: &[u8]) -> bool {
    known.len() == given.len() && known.iter().zip(given).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// The maps stay whole at every step, so a panic elsewhere while one was locked does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_reaches_the_running_statement() {
        let registry = Arc::new(Registry::default());
        for long_key in [false, true] {
            let running = Arc::new(Running::default());
            let registration = registry.register(long_key, Arc::clone(&running));
            let key = registration.key.to_bytes();
            assert_eq!(key.len(), if long_key { 32 } else { 4 });
            let token = CancellationToken::new();
            running.set(token.clone());
            let mut wrong = key.to_vec();
            wrong[0] ^= 1;
            assert!(!registry.cancel(registration.process_id, &wrong));
            assert!(!registry.cancel(registration.process_id, &key[..3]));
            assert!(!registry.cancel(registration.process_id + 7, &key));
            assert!(!token.is_cancelled());
            assert!(registry.cancel(registration.process_id, &key));
            assert!(token.is_cancelled());
            let process_id = registration.process_id;
            drop(registration);
            assert!(!registry.cancel(process_id, &key));
        }
    }

    #[test]
    fn a_request_between_statements_does_not_hit_the_next_one() {
        let running = Running::default();
        running.set(CancellationToken::new());
        running.clear();
        running.cancel();
        let next = CancellationToken::new();
        running.set(next.clone());
        assert!(!next.is_cancelled());
    }

    #[test]
    fn what_starts_after_the_client_left_is_cancelled_at_once() {
        let running = Running::default();
        running.abandon();
        let late = CancellationToken::new();
        running.set(late.clone());
        assert!(late.is_cancelled());
    }

    #[test]
    fn process_ids_are_unique_and_wrap() {
        let registry = Arc::new(Registry::default());
        lock(&registry.entries).last = i32::MAX - 1;
        let first = registry.register(false, Arc::default());
        let second = registry.register(false, Arc::default());
        lock(&registry.entries).last = i32::MAX;
        let third = registry.register(false, Arc::default());
        assert_eq!([first.process_id, second.process_id, third.process_id], [i32::MAX, 1, 2]);
    }
}
