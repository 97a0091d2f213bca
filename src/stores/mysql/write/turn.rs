//! Scans that take turns on the one connection of a transaction that writes.
//!
//! The connection answers one statement after the other. Who needs it while a scan is still open has the rest of that scan read
//! into memory first, which waits for the server alone: the reader of the scan may be waiting for the very statement that comes next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use arrow::array::RecordBatch;
use futures::StreamExt;

use super::super::super::connector::{BatchStream, GATHER_BYTES_MAX, StoreName};
use super::super::super::error::StoreError;
use crate::error::sqlstate;

type Item = Result<RecordBatch, StoreError>;

/// How a transaction stands that may write.
#[derive(Debug, Default)]
pub(in super::super) struct Flags {
    /// Whether everything in it runs on its own connection, so that it sees what it wrote.
    pub(in super::super) is_alone: AtomicBool,
    /// Whether an edit of it may have changed something.
    pub(in super::super) has_written: AtomicBool,
    /// Whether one has met or made a row. A transaction in which none has is not to be prepared: InnoDB takes no part in it, and the
    /// server says of it later that it has rolled it back.
    pub(in super::super) has_changed: AtomicBool,
    /// Whether a statement of it failed, or did not come to its end.
    pub(in super::super) has_failed: AtomicBool,
    /// Bytes of scans in memory.
    held: AtomicUsize,
}

/// An open scan on the connection.
pub(in super::super) struct Turn {
    store: StoreName,
    reading: Mutex<Reading>,
    flags: Arc<Flags>,
}

struct Reading {
    /// What is not read yet; `None` at the end.
    stream: Option<BatchStream>,
    /// What was read because somebody else needed the connection.
    kept: VecDeque<Item>,
    is_gathering: bool,
    reader: Option<Waker>,
}

/// The scan as its reader has it, and a handle on it that does not keep it alive.
pub(in super::super) fn share(store: &StoreName, stream: BatchStream, flags: &Arc<Flags>) -> (Weak<Turn>, BatchStream) {
    let reading = Reading { stream: Some(stream), kept: VecDeque::new(), is_gathering: false, reader: None };
    let turn = Arc::new(Turn { store: store.clone(), reading: Mutex::new(reading), flags: Arc::clone(flags) });
    let handle = Arc::downgrade(&turn);
    (handle, futures::stream::poll_fn(move |context| turn.next(context)).boxed())
}

impl Turn {
    /// Reads the rest of the scan into memory, so that its connection is free.
    ///
    /// # Errors
    /// 53200 when it is too much; the scan ends with the same error then.
    pub(in super::super) async fn gather(&self) -> Result<(), StoreError> {
        self.lock().is_gathering = true;
        let _gathering = Gathering(self);
        std::future::poll_fn(|context| self.gather_on(context)).await
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        let mut reading = self.lock();
        if let Some(item) = reading.kept.pop_front() {
            self.flags.held.fetch_sub(size(&item), Ordering::Relaxed);
            return Poll::Ready(Some(item));
        }
        // Only one of both may wait for the stream, which knows the last one that asked.
        if reading.is_gathering && reading.stream.is_some() {
            reading.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let Some(stream) = reading.stream.as_mut() else { return Poll::Ready(None) };
        let polled = stream.poll_next_unpin(context);
        match &polled {
            Poll::Ready(Some(item)) => self.note(item),
            Poll::Ready(None) => reading.stream = None,
            Poll::Pending => reading.reader = Some(context.waker().clone()),
        }
        polled
    }

    fn gather_on(&self, context: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        let mut reading = self.lock();
        loop {
            let Some(stream) = reading.stream.as_mut() else { return Poll::Ready(Ok(())) };
            let Some(item) = ready!(stream.poll_next_unpin(context)) else {
                reading.stream = None;
                continue;
            };
            self.note(&item);
            let bytes = size(&item);
            let held = self.flags.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
            reading.kept.push_back(item);
            if held > GATHER_BYTES_MAX {
                reading.stream = None;
                reading.kept.push_back(Err(self.too_much()));
                return Poll::Ready(Err(self.too_much()));
            }
        }
    }

    /// A failed scan may have ended the transaction: a deadlock does.
    fn note(&self, item: &Item) {
        if item.is_err() && self.flags.is_alone.load(Ordering::Acquire) {
            self.flags.has_failed.store(true, Ordering::Release);
        }
    }

    fn too_much(&self) -> StoreError {
        StoreError::Remote {
            store: self.store.to_string(),
            sqlstate: sqlstate::OUT_OF_MEMORY.to_owned(),
            message: format!("open scans of a transaction that writes to store \"{}\" hold too much", self.store),
            detail: Some("The store reads one after the other; read the tables before the first write.".to_owned()),
            constraint: None,
            site: None,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let left: usize = self.lock().kept.iter().map(size).sum();
        self.flags.held.fetch_sub(left, Ordering::Relaxed);
    }
}

/// As long as it lives, the reader waits.
struct Gathering<'a>(&'a Turn);

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        let mut reading = self.0.lock();
        reading.is_gathering = false;
        if let Some(reader) = reading.reader.take() {
            reader.wake();
        }
    }
}

fn size(item: &Item) -> usize {
    item.as_ref().map_or(0, RecordBatch::get_array_memory_size)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use futures::{FutureExt, TryStreamExt};
    use tokio::sync::mpsc;

    use super::*;

    fn batch(value: i64, rows: usize) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let column: ArrayRef = Arc::new(Int64Array::from(vec![value; rows]));
        RecordBatch::try_new(schema, vec![column]).unwrap()
    }

    fn store() -> StoreName {
        StoreName::new("shop")
    }

    fn channel() -> (mpsc::Sender<Item>, BatchStream) {
        let (sender, receiver) = mpsc::channel(1);
        let stream = futures::stream::unfold(receiver, |mut receiver: mpsc::Receiver<Item>| async move {
            receiver.recv().await.map(|item| (item, receiver))
        });
        (sender, stream.boxed())
    }

    #[tokio::test]
    async fn who_needs_the_connection_waits_for_the_server_and_not_for_the_reader() {
        let flags = Arc::new(Flags::default());
        let (sender, stream) = channel();
        let (turn, mut reader) = share(&store(), stream, &flags);
        let turn = turn.upgrade().unwrap();
        sender.send(Ok(batch(1, 1))).await.unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap(), batch(1, 1));
        assert!(reader.next().now_or_never().is_none());
        let feed = async move {
            for value in 2..6 {
                sender.send(Ok(batch(value, 1))).await.unwrap();
            }
        };
        // Nobody reads meanwhile.
        let (gathered, ()) = tokio::join!(turn.gather(), feed);
        gathered.unwrap();
        assert!(flags.held.load(Ordering::Relaxed) > 0);
        drop(turn);
        let rest: Vec<RecordBatch> = reader.try_collect().await.unwrap();
        assert_eq!(rest, [2, 3, 4, 5].map(|value| batch(value, 1)));
        assert_eq!(flags.held.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn memory_is_bounded_and_given_back() {
        let flags = Arc::new(Flags::default());
        let large = batch(7, GATHER_BYTES_MAX / 16 + 1);
        let (turn, mut reader) = share(&store(), futures::stream::repeat(Ok(large.clone())).boxed(), &flags);
        let error = turn.upgrade().unwrap().gather().await.unwrap_err();
        assert!(matches!(&error, StoreError::Remote { sqlstate, .. } if sqlstate == "53200"), "{error:?}");
        for _ in 0..2 {
            assert_eq!(reader.next().await.unwrap().unwrap().num_rows(), large.num_rows());
        }
        assert!(reader.next().await.unwrap().is_err());
        assert!(reader.next().await.is_none());
        drop(reader);
        assert!(turn.upgrade().is_none());
        assert_eq!(flags.held.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn failures_count_once_the_transaction_is_alone() {
        let flags = Arc::new(Flags::default());
        for (is_alone, expected) in [(false, false), (true, true)] {
            flags.is_alone.store(is_alone, Ordering::Release);
            let (_turn, mut reader) = share(&store(), futures::stream::iter([Err(StoreError::Cancelled)]).boxed(), &flags);
            assert!(reader.next().await.unwrap().is_err());
            assert_eq!(flags.has_failed.load(Ordering::Acquire), expected);
        }
    }
}
