//! `COPY … FROM STDIN`: the messages of a client that sends rows (manual, "COPY Operations").

use pgwire::messages::copy::CopyInResponse;

use super::connection::{Connection, End, Failure};
use super::error::{Severity, error_response, protocol_violation};
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
                    return Err(copying.fail(Diagnosis::new(sqlstate::QUERY_CANCELED, message)).await.into());
                }
                // Drivers send them with the statement, before they know that it is a COPY.
                Message::Flush | Message::Sync => {}
                Message::Terminate => return Err(End::Left.into()),
                other => {
                    let told = copying.fail(unexpected(&other)).await;
                    self.writer.put(&error_response(&told, Severity::Error))?;
                    let lost = "terminating connection because protocol synchronization was lost";
                    return Err(End::Fatal(protocol_violation(lost)).into());
                }
            }
        }
    }
}

/// A message that does not belong to a COPY.
fn unexpected(message: &Message) -> Diagnosis {
    let letter = match message {
        Message::Query(_) => b'Q',
        Message::Parse(_) => b'P',
        Message::Bind(_) => b'B',
        Message::Describe(_) => b'D',
        Message::Execute(_) => b'E',
        Message::Close(_) => b'C',
        Message::FunctionCall => b'F',
        _ => return protocol_violation("unexpected message type during COPY from stdin"),
    };
    protocol_violation(format!("unexpected message type 0x{letter:02X} during COPY from stdin"))
}
