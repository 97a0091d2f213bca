//! A client of the Postgres protocol that shows when bytes come, and reads as slowly as it likes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::measure::must;

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of one read.
const READ: usize = 64 << 10;

/// How a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One `Query`, answered in text.
    Simple,
    /// Parse, Bind, Describe, Execute and Sync at once, answered in binary.
    Extended,
}

impl Protocol {
    /// The word in printed lines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
        }
    }

    fn messages(self, sql: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Simple => put(&mut bytes, b'Q', &[sql.as_bytes(), b"\0"]),
            Self::Extended => {
                put(&mut bytes, b'P', &[b"\0", sql.as_bytes(), b"\0", &[0, 0]]);
                // Unnamed portal of the unnamed statement, no parameters, all results in binary.
                put(&mut bytes, b'B', &[b"\0\0", &[0, 0, 0, 0, 0, 1, 0, 1]]);
                put(&mut bytes, b'D', &[b"P\0"]);
                put(&mut bytes, b'E', &[b"\0", &[0; 4]]);
                put(&mut bytes, b'S', &[]);
            }
        }
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let body = parts.concat();
    bytes.push(kind);
    bytes.extend_from_slice(&length(body.len() + 4));
    bytes.extend_from_slice(&body);
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

/// A connection that has logged in.
pub struct Client {
    address: SocketAddr,
    stream: TcpStream,
    /// What has been read and not yet been looked at.
    waiting: Vec<u8>,
    /// Where the next message starts in it.
    at: usize,
    /// Process id and secret for cancel requests.
    key: Vec<u8>,
}

impl Client {
    /// Logs in where no password is asked for.
    pub fn connect(address: SocketAddr, user: &str, database: &str) -> Self {
        let stream = must(TcpStream::connect(address));
        must(stream.set_nodelay(true));
        must(stream.set_read_timeout(Some(PATIENCE)));
        let mut client = Self { address, stream, waiting: Vec::new(), at: 0, key: Vec::new() };
        let mut startup = vec![0, 3, 0, 0];
        for word in ["user", user, "database", database, "client_encoding", "UTF8", ""] {
            startup.extend_from_slice(word.as_bytes());
            startup.push(0);
        }
        must(client.stream.write_all(&[length(startup.len() + 4).as_slice(), &startup].concat()));
        client.until_ready();
        client
    }

    /// Sends a statement.
    pub fn ask(&mut self, protocol: Protocol, sql: &str) {
        must(self.stream.write_all(&protocol.messages(sql)));
    }

    /// Reads up to the first row of the answer.
    pub fn until_row(&mut self) {
        loop {
            match self.next().0 {
                b'D' => return,
                b'C' | b'Z' => must(Err("the answer has no row")),
                _ => {}
            }
        }
    }

    /// Asks, on another connection, that what runs here be cancelled.
    pub fn cancel(&self) {
        let mut stream = must(TcpStream::connect(self.address));
        // The code of CancelRequest stands where other packets have their version.
        let code = 80_877_102_u32.to_be_bytes();
        must(stream.write_all(&[length(8 + self.key.len()).as_slice(), &code, &self.key].concat()));
        // The server closes the connection once it has passed the request on.
        let _ = stream.read(&mut [0; 1]);
    }

    /// Reads what is left of the answer. True when it ended because it was cancelled.
    pub fn until_cancelled(&mut self) -> bool {
        let mut cancelled = false;
        loop {
            match self.next_raw() {
                (b'Z', _) => return cancelled,
                (b'E', body) => cancelled = body.split(|byte| *byte == 0).any(|field| field == b"C57014"),
                _ => {}
            }
        }
    }

    /// Reads once, at most 64 KiB, and drops the rows in it. Gives their number.
    pub fn read_rows(&mut self) -> usize {
        self.fill();
        let mut rows = 0;
        while let Some((kind, end)) = self.complete() {
            must(if kind == b'E' { Err(self.told(end)) } else { Ok(()) });
            rows += usize::from(kind == b'D');
            self.at = end;
        }
        rows
    }

    fn until_ready(&mut self) {
        loop {
            match self.next() {
                (b'Z', _) => return,
                (b'K', body) => self.key = body,
                (b'R', body) if body != [0; 4] => must(Err("the server asks for a password")),
                _ => {}
            }
        }
    }

    /// The next message, which must not be an error.
    fn next(&mut self) -> (u8, Vec<u8>) {
        let (kind, body) = self.next_raw();
        must(if kind == b'E' { Err(String::from_utf8_lossy(&body).replace('\0', " ")) } else { Ok(()) });
        (kind, body)
    }

    fn next_raw(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((kind, end)) = self.complete() {
                let body = self.waiting.get(self.at + 5..end).unwrap_or_default().to_vec();
                self.at = end;
                return (kind, body);
            }
            self.fill();
        }
    }

    /// Kind and end of the next message, when it has come as a whole.
    fn complete(&self) -> Option<(u8, usize)> {
        let ([kind, length @ ..], _) = self.waiting.get(self.at..)?.split_first_chunk::<5>()?;
        let end = self.at + 1 + u32::from_be_bytes(*length) as usize;
        (end <= self.waiting.len()).then_some((*kind, end))
    }

    fn told(&self, end: usize) -> String {
        String::from_utf8_lossy(self.waiting.get(self.at + 5..end).unwrap_or_default()).replace('\0', " ")
    }

    fn fill(&mut self) {
        self.waiting.drain(..self.at);
        self.at = 0;
        let old = self.waiting.len();
        self.waiting.resize(old + READ, 0);
        let read = must(self.stream.read(self.waiting.get_mut(old..).unwrap_or_default()));
        self.waiting.truncate(old + read);
        must(if read == 0 { Err("the server closed the connection") } else { Ok(()) });
    }
}
