//! The one write buffer of a connection. What is written when is the connection's decision; this file only keeps whole
//! messages together and pushes bytes into the socket.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use pgwire::messages::Message;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::telemetry::metrics::Count;

/// Rows wait for the socket once this many bytes are buffered, so that a slow reader stops the query.
pub(super) const FLUSH_THRESHOLD: usize = 64 << 10;
/// A buffer that grew beyond this for one large row is given back after it was sent.
const KEEP_CAPACITY: usize = 1 << 20;

/// Messages on their way to the client.
pub(super) struct Writer<W> {
    socket: W,
    buffer: BytesMut,
    /// Bytes at the front of `buffer` that are whole messages.
    sealed: usize,
    sent: Arc<Count>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// An empty buffer in front of `socket`.
    pub(super) fn new(socket: W) -> Self {
        Self { socket, buffer: BytesMut::with_capacity(8 << 10), sealed: 0, sent: Arc::default() }
    }

    /// The same, whose bytes are counted.
    pub(super) fn counted(self, sent: Arc<Count>) -> Self {
        Self { sent, ..self }
    }

    /// Appends one message.
    ///
    /// # Errors
    /// A message longer than its kind may be; nothing was appended.
    pub(super) fn put(&mut self, message: &impl Message) -> io::Result<()> {
        // `Message::encode` leaves the type byte behind when it refuses the length, hence the seal.
        let encoded = message.encode(&mut self.buffer);
        match encoded {
            Ok(()) => {
                self.seal();
                Ok(())
            }
            Err(error) => {
                self.discard_unsealed();
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    /// The buffer itself, for rows that are encoded in place. Follow with [`Writer::seal`] or [`Writer::discard_unsealed`].
    pub(super) fn open(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Declares all that was appended whole messages.
    pub(super) fn seal(&mut self) {
        self.sealed = self.buffer.len();
    }

    /// Takes back what was appended since the last [`Writer::seal`].
    pub(super) fn discard_unsealed(&mut self) {
        self.buffer.truncate(self.sealed);
    }

    /// Bytes waiting.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Writes everything. Cancel-safe: bytes leave the buffer as the socket takes them, so a dropped call can be resumed.
    ///
    /// # Errors
    /// The socket's.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while self.buffer.has_remaining() {
            let written = self.socket.write_buf(&mut self.buffer).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.sealed = self.sealed.saturating_sub(written);
            self.sent.add(written as u64);
        }
        if self.buffer.capacity() > KEEP_CAPACITY {
            self.buffer = BytesMut::with_capacity(8 << 10);
        }
        self.socket.flush().await
    }

    /// The socket, to read from before the two sides part.
    pub(super) fn socket(&mut self) -> &mut W {
        &mut self.socket
    }

    /// The socket alone. What is buffered is dropped, so flush first.
    pub(super) fn into_socket(self) -> W {
        self.socket
    }

    /// Ends the write side after what is buffered.
    ///
    /// # Errors
    /// The socket's.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.socket.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgwire::messages::response::CommandComplete;
    use pgwire::messages::startup::ParameterStatus;

    #[tokio::test]
    async fn a_refused_or_unfinished_message_leaves_no_bytes_behind() {
        let mut sent = Vec::new();
        let mut writer = Writer::new(&mut sent);
        writer.put(&CommandComplete::new("BEGIN".to_owned())).unwrap();
        writer.put(&ParameterStatus::new("x".to_owned(), "y".repeat(40_000))).unwrap_err();
        writer.open().extend_from_slice(b"D\0\0");
        writer.discard_unsealed();
        writer.flush().await.unwrap();
        drop(writer);
        assert_eq!(sent, b"C\0\0\0\x0aBEGIN\0");
    }

    #[tokio::test]
    async fn a_flush_that_was_dropped_halfway_goes_on_where_it_stopped() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut writer = Writer::new(near);
        writer.put(&CommandComplete::new("SELECT 1".to_owned())).unwrap();
        tokio::select! {
            biased;
            _ = writer.flush() => panic!("the pipe holds only four bytes"),
            () = std::future::ready(()) => {}
        }
        let mut received = Vec::new();
        let reading = async { tokio::io::AsyncReadExt::read_to_end(&mut far, &mut received).await.unwrap() };
        let writing = async {
            writer.close().await.unwrap();
        };
        tokio::join!(reading, writing);
        assert_eq!(received, b"C\0\0\0\x0dSELECT 1\0");
    }
}
