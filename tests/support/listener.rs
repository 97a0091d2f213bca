//! A client that listens, and what it is told.

use std::ops::Deref;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_postgres::{Config, Notification};

use super::proxy::{self, PATIENCE, Session};

/// How many notifications wait for a test before the client stops reading.
const WAITING: usize = 4_096;

/// A session whose notifications are kept in order.
pub struct Listener {
    session: Session,
    told: mpsc::Receiver<Notification>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub channel: String,
    pub payload: String,
    pub process_id: i32,
}

impl Note {
    /// The payload of a feed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{}: {error}", self.payload))
    }

    /// A member of it as text; numbers as they are written.
    pub fn member(&self, name: &str) -> String {
        match self.json().get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}

impl Deref for Listener {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Listener {
    /// Connects and listens to these channels.
    pub async fn to(login: &Config, channels: &[&str]) -> Self {
        let (sender, told) = mpsc::channel(WAITING);
        let session = proxy::open_listening(login, sender).await.unwrap();
        let listener = Self { session, told };
        for channel in channels {
            listener.answer(&format!("LISTEN \"{}\"", channel.replace('"', "\"\""))).await;
        }
        listener
    }

    /// The next one.
    pub async fn next(&mut self) -> Note {
        let next = tokio::time::timeout(PATIENCE, self.told.recv()).await;
        let told = next.expect("no notification came").expect("the connection has ended");
        Note { channel: told.channel().to_owned(), payload: told.payload().to_owned(), process_id: told.process_id() }
    }

    /// So many of them.
    pub async fn next_of(&mut self, count: usize) -> Vec<Note> {
        let mut notes = Vec::new();
        for _ in 0..count {
            notes.push(self.next().await);
        }
        notes
    }

    /// That none comes for a while.
    pub async fn quiet(&mut self, wait: Duration) {
        if let Ok(Some(told)) = tokio::time::timeout(wait, self.told.recv()).await {
            panic!("{}: {}", told.channel(), told.payload());
        }
    }
}
