//! `COPY … FROM STDIN`: the messages of a client that sends rows (manual, "COPY Operations").

use pgwire::messages::copy::CopyInResponse;

use super::connection::{Connection, End, Failure};
use super::error::protocol_violation;
use super::message::Message;
use crate::error::{Diagnosis, sqlstate};
use crate::session::copy_in::Copying;

impl Connection {
    /// Asks the client for rows and takes them to their end. Gives the command tag.
    pub(super) async fn copy_in(&mut self, mut copying: Box<Copying>) -> Result<String, Failure> {
        match Box::pin(self.take_rows(&mut copying)).await {
            Ok(()) => Ok(Box::pin(copying.finish()).await?),
            Err(failure) => {
                copying.abandon().await;
                Err(failure)
            }
        }
    }

    async fn take_rows(&mut self, copying: &mut Copying) -> Result<(), Failure> {
        let columns = i16::try_from(copying.columns()).map_err(|_many| {
            Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, format!("COPY can have at most {} columns", i16::MAX))
        })?;
        let is_binary = copying.is_binary();
        let formats = vec![i16::from(is_binary); copying.columns()];
        self.writer.put(&CopyInResponse::new(i8::from(is_binary), columns, formats))?;
        let guard = copying.guard().clone();
        self.flush_or_stop(&guard).await?;
        loop {
            // Cancel-safe: a message that was not taken stays in the queue.
            match guard.run(self.receive()).await?? {
                Message::CopyData(data) => copying.push(&data).await?,
                Message::CopyDone => return Ok(()),
                Message::CopyFail(reason) => {
                    let message = format!("COPY from stdin failed: {reason}");
                    return Err(Diagnosis::new(sqlstate::QUERY_CANCELED, message).into());
                }
                // Drivers send them with the statement, before they know that it is a COPY.
                Message::Flush | Message::Sync => {}
                Message::Terminate => return Err(End::Left.into()),
                _ => return Err(End::Fatal(protocol_violation("unexpected message type during COPY from stdin")).into()),
            }
        }
    }
}
