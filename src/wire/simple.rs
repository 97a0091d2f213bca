//! The simple query protocol: one text, its statements one by one, one `ReadyForQuery`.

use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};

use super::connection::{Connection, End, Failure};
use super::rows::{Outgoing, Sent, row_description};
use crate::session::output::{Execution, Rows};
use crate::session::{Parsed, TransactionStatus};

impl Connection {
    /// A `Query` message. A failed statement ends the text: those after it do not run.
    pub(super) async fn simple_query(&mut self, text: &str) -> Result<(), End> {
        let _running = self.counts.running.enter();
        self.start_statement();
        if let Err(failure) = self.run_text(text).await {
            self.fail(failure).await?;
        }
        self.finish().await
    }

    async fn run_text(&mut self, text: &str) -> Result<(), Failure> {
        let statements = self.session.parse(text)?;
        if statements.is_empty() {
            self.writer.put(&EmptyQueryResponse::new())?;
        }
        let alone = statements.len() == 1;
        let last = statements.len().saturating_sub(1);
        for (place, statement) in statements.iter().enumerate() {
            self.run_statement(statement, (alone, place == last)).await?;
        }
        Ok(())
    }

    async fn run_statement(&mut self, statement: &Parsed, (alone, is_last): (bool, bool)) -> Result<(), Failure> {
        match Box::pin(self.session.run(statement, alone)).await? {
            Execution::Rows(mut rows) => {
                self.writer.put(&row_description(rows.columns(), &[])?)?;
                // Without a bound on rows there is no suspension.
                let (Sent::All | Sent::Bound) = self.send_rows(&mut rows, Outgoing::Rows(&[]), 0).await?;
                let tag = rows.tag();
                drop(rows);
                self.settle(is_last).await?;
                self.complete(tag)
            }
            Execution::Fetch { cursor, mut rows, max, format } => {
                self.writer.put(&row_description(rows.columns(), &[format])?)?;
                let sent = self.send_rows(&mut rows, Outgoing::Rows(&[format]), max).await?;
                self.end_fetch(&cursor, rows, sent)
            }
            Execution::Copy { rows, format } => self.copy_out(rows, &format).await,
            Execution::CopyIn(copying) => {
                let tag = self.copy_in(copying).await?;
                self.settle(is_last).await?;
                self.complete(tag)
            }
            Execution::Done(tag) => {
                self.settle(is_last).await?;
                self.complete(tag)
            }
            Execution::Empty => Ok(self.writer.put(&EmptyQueryResponse::new())?),
        }
    }

    /// Ends the implicit transaction with the last statement of a text: its tag says that all of it is kept.
    async fn settle(&mut self, is_last: bool) -> Result<(), Failure> {
        if is_last && self.session.status() == TransactionStatus::InBlock {
            Box::pin(self.session.sync()).await?;
        }
        Ok(())
    }

    /// A FETCH has sent its rows; the cursor keeps the rest.
    pub(super) fn end_fetch(&mut self, cursor: &str, rows: Rows, sent: Sent) -> Result<(), Failure> {
        let tag = rows.tag();
        if sent == Sent::Bound {
            self.session.suspend(cursor, rows);
        }
        self.complete(tag)
    }

    /// The statement succeeded: notices, then its tag.
    pub(super) fn complete(&mut self, tag: String) -> Result<(), Failure> {
        self.counts.succeeded.add(1);
        self.send_notices()?;
        Ok(self.writer.put(&CommandComplete::new(tag))?)
    }
}
