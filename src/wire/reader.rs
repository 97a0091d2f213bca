//! The reading task of a connection: bytes into messages into a queue, while statements run.
//!
//! It is the one that notices a client that left: then it cancels the running statement, so that the stores stop too.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::cancel::Running;
use super::message::{Message, announced, next_message};
use crate::error::Diagnosis;

/// Bytes of decoded messages that may wait while a statement runs. A full queue makes the reader wait.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// What the smallest message counts for, so that the bound on bytes also bounds the number of messages.
const MESSAGE_COST_MIN: usize = 1 << 10;
/// Bytes that are read ahead while the queue is full: enough to see the end of the stream behind a normal pipeline.
const READ_AHEAD_MAX: usize = 1 << 20;
/// The smallest read.
const READ_SIZE: usize = 16 << 10;

/// `Sync`, as it is sent.
const SYNC: &[u8] = b"S\0\0\0\x04";

/// What the reader hands over. The room in the queue is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Arrival {
    /// The message, or why the connection cannot go on.
    pub(super) outcome: Result<Message, Diagnosis>,
    /// Whether `Sync` had come behind the message already: it need not be waited for to know that a series ends there.
    pub(super) sync_follows: bool,
    room: Option<OwnedSemaphorePermit>,
}

/// A queue with its two ends.
pub(super) fn queue() -> (mpsc::Sender<Arrival>, mpsc::Receiver<Arrival>) {
    // One place more than the byte bound can fill, for the error that ends a stream.
    mpsc::channel(QUEUE_BYTES_MAX / MESSAGE_COST_MIN + 1)
}

/// The reading side of one connection.
pub(super) struct Reader<R> {
    source: R,
    buffer: BytesMut,
    message_max: usize,
    queue: mpsc::Sender<Arrival>,
    room: Arc<Semaphore>,
    running: Arc<Running>,
}

/// Whether bytes came.
enum Step {
    More,
    Over,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader that sends what it decodes to `queue`.
    pub(super) fn new(source: R, message_max: usize, queue: mpsc::Sender<Arrival>, running: Arc<Running>) -> Self {
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Self { source, buffer: BytesMut::with_capacity(READ_SIZE), message_max, queue, room, running }
    }

    /// Reads until the client leaves, breaks the protocol or says goodbye.
    pub(super) async fn run(mut self) {
        // Whether the message at the front arrived with the last read, alone: then nothing was pipelined before it.
        let mut fresh = false;
        loop {
            let before = self.buffer.len();
            match next_message(&mut self.buffer, self.message_max) {
                Ok(Some(message)) => {
                    let last = message == Message::Terminate;
                    // A goodbye that was sent apart, while a statement runs, means that nobody wants its result. One that
                    // came in a row with its statement does not: PostgreSQL would run that statement first.
                    if last && fresh {
                        self.running.cancel();
                    }
                    fresh = false;
                    let size = before - self.buffer.len();
                    if !self.hand_over(message, size).await || last {
                        return;
                    }
                }
                Ok(None) => match self.read().await {
                    Step::More => fresh = before == 0,
                    Step::Over => return self.running.abandon(),
                },
                Err(diagnosis) => {
                    // The statement that runs is not at fault; it ends before the connection does.
                    let failure = Arrival { outcome: Err(diagnosis), sync_follows: false, room: None };
                    if self.queue.send(failure).await.is_err() {
                        self.running.abandon();
                    }
                    return;
                }
            }
        }
    }

    /// Puts a message into the queue, which may have to wait for room. False when the connection is over.
    async fn hand_over(&mut self, message: Message, size: usize) -> bool {
        let cost = size.clamp(MESSAGE_COST_MIN, QUEUE_BYTES_MAX);
        let Ok(cost) = u32::try_from(cost) else { return false };
        // Nobody else takes of the room, so nobody is overtaken.
        let room = match Arc::clone(&self.room).try_acquire_many_owned(cost) {
            Ok(room) => room,
            Err(_full) => match self.wait_for_room(cost).await {
                Some(room) => room,
                None => return false,
            },
        };
        let sync_follows = self.buffer.starts_with(SYNC);
        match self.queue.try_send(Arrival { outcome: Ok(message), sync_follows, room: Some(room) }) {
            Ok(()) => true,
            Err(TrySendError::Full(arrival)) => self.queue.send(arrival).await.is_ok(),
            Err(TrySendError::Closed(_)) => false,
        }
    }

    /// Waits for room in the queue, reading ahead meanwhile; `None` when the connection is over.
    async fn wait_for_room(&mut self, cost: u32) -> Option<OwnedSemaphorePermit> {
        let mut room = std::pin::pin!(Arc::clone(&self.room).acquire_many_owned(cost));
        loop {
            let may_read = self.buffer.len() < READ_AHEAD_MAX;
            // Cancel-safe: the wait for room is kept over the loop, and a dropped read leaves its bytes in the socket.
            tokio::select! {
                biased;
                permit = &mut room => return permit.ok(),
                read = self.source.read_buf(&mut self.buffer), if may_read => {
                    if !matches!(read, Ok(1..)) {
                        self.running.abandon();
                        return None;
                    }
                }
                () = self.queue.closed() => return None,
            }
        }
    }

    async fn read(&mut self) -> Step {
        // Room grows with what has arrived, never with what was announced.
        let missing = match announced(&self.buffer, self.message_max) {
            Ok(Some(length)) => length.saturating_sub(self.buffer.len()),
            Ok(None) | Err(_) => READ_SIZE,
        };
        self.buffer.reserve(missing.clamp(READ_SIZE, self.buffer.len().max(READ_SIZE)));
        tokio::select! {
            biased;
            () = self.queue.closed() => Step::Over,
            read = self.source.read_buf(&mut self.buffer) => if matches!(read, Ok(1..)) { Step::More } else { Step::Over },
        }
    }
}

impl Arrival {
    /// The message and its place in the queue given back.
    pub(super) fn take(self) -> Result<Message, Diagnosis> {
        drop(self.room);
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::OwnedTask;
    use tokio::io::AsyncWriteExt;
    use tokio_util::sync::CancellationToken;

    const TERMINATE: &[u8] = b"X\0\0\0\x04";

    struct Reading {
        client: tokio::io::DuplexStream,
        inbox: mpsc::Receiver<Arrival>,
        statement: CancellationToken,
        task: OwnedTask<()>,
    }

    fn reading() -> Reading {
        let (client, server) = tokio::io::duplex(1 << 16);
        let (queue, inbox) = queue();
        let running = Arc::new(Running::default());
        let statement = CancellationToken::new();
        running.set(statement.clone());
        let task = OwnedTask::spawn(Reader::new(server, 1 << 30, queue, running).run());
        Reading { client, inbox, statement, task }
    }

    #[tokio::test]
    async fn the_end_of_the_stream_cancels_the_statement_behind_queued_messages() {
        let mut reading = reading();
        reading.client.write_all(&SYNC.repeat(3000)).await.unwrap();
        drop(reading.client);
        reading.statement.cancelled().await;
        reading.task.join().await.unwrap();
    }

    #[tokio::test]
    async fn a_flood_is_held_back() {
        let mut reading = reading();
        let flood = vec![b'x'; 8 << 20];
        let header = [b"Q".as_slice(), &u32::try_from(flood.len() + 5).unwrap().to_be_bytes()].concat();
        let mut sent = 0;
        let flooding = async {
            loop {
                reading.client.write_all(&header).await.unwrap();
                reading.client.write_all(&flood).await.unwrap();
                reading.client.write_all(b"\0").await.unwrap();
                sent += 1;
            }
        };
        // Without the bound this would go on for as long as it is let.
        assert!(tokio::time::timeout(std::time::Duration::from_millis(500), flooding).await.is_err());
        assert!(sent <= 2, "{sent} messages of 8 MiB were taken");
        let first = reading.inbox.recv().await.unwrap();
        assert!(matches!(first.take(), Ok(Message::Query(text)) if text.len() == 8 << 20));
    }

    #[tokio::test]
    async fn goodbye_cancels_only_when_it_was_not_pipelined() {
        let mut reading = self::reading();
        reading.client.write_all(&[SYNC, TERMINATE].concat()).await.unwrap();
        assert_eq!(reading.inbox.recv().await.unwrap().take().unwrap(), Message::Sync);
        assert_eq!(reading.inbox.recv().await.unwrap().take().unwrap(), Message::Terminate);
        reading.task.join().await.unwrap();
        assert!(!reading.statement.is_cancelled());

        let mut reading = self::reading();
        reading.client.write_all(SYNC).await.unwrap();
        assert_eq!(reading.inbox.recv().await.unwrap().take().unwrap(), Message::Sync);
        reading.client.write_all(TERMINATE).await.unwrap();
        reading.statement.cancelled().await;
    }

    #[tokio::test]
    async fn a_message_says_whether_sync_had_come_behind_it() {
        let mut reading = reading();
        let flush: &[u8] = b"H\0\0\0\x04";
        reading.client.write_all(&[SYNC, flush, SYNC, flush].concat()).await.unwrap();
        for follows in [false, true, false, false] {
            assert_eq!(reading.inbox.recv().await.unwrap().sync_follows, follows);
        }
    }

    #[tokio::test]
    async fn a_broken_message_is_told_after_what_came_before_it() {
        let mut reading = reading();
        reading.client.write_all(&[SYNC, b"!\0\0\0\x04"].concat()).await.unwrap();
        assert_eq!(reading.inbox.recv().await.unwrap().take().unwrap(), Message::Sync);
        assert_eq!(reading.inbox.recv().await.unwrap().take().unwrap_err().sqlstate, "08P01");
        assert!(reading.inbox.recv().await.is_none());
        assert!(!reading.statement.is_cancelled());
    }
}
