//! The extended query protocol: what each of its messages does. An error skips to `Sync`.

use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;

use super::connection::{Connection, End, Failure, Phase};
use super::error::protocol_violation;
use super::message::{Bind, Execute, Parse, Target};
use super::rows::{Outgoing, Sent, row_description};
use crate::error::{Diagnosis, sqlstate};
use crate::format::{Format, decode};
use crate::session::output::Execution;
use crate::session::transaction::Series;

impl Connection {
    /// Runs one extended message and turns its failure into skipping.
    pub(super) async fn extended(&mut self, step: impl AsyncFnOnce(&mut Self) -> Result<(), Failure>) -> Result<(), End> {
        self.phase = Phase::Extended;
        match step(self).await {
            Ok(()) => Ok(()),
            Err(failure) => self.fail_extended(failure).await,
        }
    }

    /// Tells the client and skips what it sent after the message that failed.
    pub(super) async fn fail_extended(&mut self, failure: Failure) -> Result<(), End> {
        self.phase = Phase::Skipping;
        self.fail(failure).await?;
        // A client may wait for the answer to `Flush` before it sends `Sync`, and that `Flush` is skipped now.
        Ok(self.writer.flush().await?)
    }

    /// `Sync`: the end of a series, answered in one write.
    pub(super) async fn sync(&mut self) -> Result<(), End> {
        self.finish().await
    }

    /// `Parse`
    pub(super) async fn parse(&mut self, Parse { name, text, parameter_types }: Parse) -> Result<(), Failure> {
        let _running = self.counts.running.enter();
        self.start_statement();
        Box::pin(self.session.prepare(&name, &text, &parameter_types)).await?;
        Ok(self.writer.put(&ParseComplete::new())?)
    }

    /// `Bind`: counts are checked, parameters decoded by their described types.
    pub(super) async fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        self.start_statement();
        let description = self.session.describe_statement(&bind.statement)?;
        let parameter_formats = parameter_formats(&bind)?;
        let result_formats = formats(&bind.result_formats)?;
        let (wanted, given) = (description.parameters.len(), bind.parameters.len());
        if wanted != given {
            return Err(protocol_violation(format!(
                "bind message supplies {given} parameters, but prepared statement \"{}\" requires {wanted}",
                bind.statement
            ))
            .into());
        }
        let columns = description.columns.as_ref().map_or(0, Vec::len);
        if result_formats.len() > 1 && result_formats.len() != columns {
            return Err(protocol_violation(format!(
                "bind message has {} result formats but query has {columns} columns",
                result_formats.len()
            ))
            .into());
        }
        let display = self.session.display();
        let parameters = description
            .parameters
            .iter()
            .zip(&bind.parameters)
            .enumerate()
            .map(|(index, (pg_type, bytes))| {
                let format = format_at(&parameter_formats, index);
                decode::parameter(*pg_type, format, bytes.as_deref(), &display)
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.session.bind(&bind.portal, &bind.statement, parameters, &result_formats).await?;
        Ok(self.writer.put(&BindComplete::new())?)
    }

    /// `Describe`. A statement's columns are told with format 0, since its formats come with `Bind`.
    pub(super) fn describe(&mut self, target: &Target) -> Result<(), Failure> {
        match target {
            Target::Statement(name) => {
                let description = self.session.describe_statement(name)?;
                let types = description.parameters.iter().map(|parameter| parameter.oid).collect();
                self.writer.put(&ParameterDescription::new(types))?;
                match &description.columns {
                    Some(columns) => self.writer.put(&row_description(columns, &[])?)?,
                    None => self.writer.put(&NoData::new())?,
                }
            }
            Target::Portal(name) => match self.session.describe_portal(name)? {
                Some((columns, formats)) => self.writer.put(&row_description(columns, formats)?)?,
                None => self.writer.put(&NoData::new())?,
            },
        }
        Ok(())
    }

    /// `Execute`. Zero and negative bounds mean all rows; a bound only counts rows, it never reserves room for them.
    pub(super) async fn execute(&mut self, Execute { portal, max_rows }: Execute) -> Result<(), Failure> {
        let _running = self.counts.running.enter();
        self.start_statement();
        let max = usize::try_from(max_rows).unwrap_or(0);
        let series = if self.series_ends() { Series::Ends } else { Series::GoesOn };
        self.session.follow(series);
        // Rows that are passed on cannot be left for a later `Execute`.
        if max == 0
            && let Some(point) = self.session.point(&portal)
        {
            return self.point(&portal, &point).await;
        }
        if max == 0
            && let Some(relaying) = self.session.relay(&portal)
        {
            return self.relay(&relaying).await;
        }
        match Box::pin(self.session.execute(&portal, max)).await? {
            (Execution::Rows(mut rows), formats) => {
                rows.restart_count();
                match self.send_rows(&mut rows, Outgoing::Rows(&formats), max).await? {
                    Sent::All => {
                        let tag = rows.tag();
                        drop(rows);
                        self.complete(tag)
                    }
                    Sent::Bound => {
                        self.session.suspend(&portal, rows);
                        self.send_notices()?;
                        Ok(self.writer.put(&PortalSuspended::new())?)
                    }
                }
            }
            // FETCH has its own bound, and its rows are those of the cursor.
            (Execution::Fetch { cursor, mut rows, max, .. }, formats) => {
                let sent = self.send_rows(&mut rows, Outgoing::Rows(&formats), max).await?;
                self.end_fetch(&cursor, rows, sent)
            }
            (Execution::Copy { rows, format }, _) => self.copy_out(rows, &format).await,
            (Execution::CopyIn(copying), _) => {
                let tag = self.copy_in(copying).await?;
                self.complete(tag)
            }
            (Execution::Done(tag), _) => self.complete(tag),
            (Execution::Empty, _) => Ok(self.writer.put(&EmptyQueryResponse::new())?),
        }
    }

    /// `Close`; what does not exist is closed already.
    pub(super) fn close(&mut self, target: &Target) -> Result<(), Failure> {
        match target {
            Target::Statement(name) => self.session.close_statement(name),
            Target::Portal(name) => self.session.close_portal(name),
        }
        Ok(self.writer.put(&CloseComplete::new())?)
    }
}

fn parameter_formats(bind: &Bind) -> Result<Vec<Format>, Diagnosis> {
    let (formats_given, given) = (bind.parameter_formats.len(), bind.parameters.len());
    if formats_given > 1 && formats_given != given {
        return Err(protocol_violation(format!("bind message has {formats_given} parameter formats but {given} parameters")));
    }
    formats(&bind.parameter_formats)
}

fn formats(codes: &[i16]) -> Result<Vec<Format>, Diagnosis> {
    codes
        .iter()
        .map(|code| match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("unsupported format code: {other}"))),
        })
        .collect()
}

/// The format of one value: none given means text, one given holds for all.
pub(super) fn format_at(formats: &[Format], index: usize) -> Format {
    match formats {
        [] => Format::Text,
        [all] => *all,
        each => each.get(index).copied().unwrap_or(Format::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_format_holds_for_all_and_none_means_text() {
        let rows: &[(&[Format], Format, Format)] = &[
            (&[], Format::Text, Format::Text),
            (&[Format::Binary], Format::Binary, Format::Binary),
            (&[Format::Text, Format::Binary], Format::Text, Format::Binary),
        ];
        for (formats, first, second) in rows {
            assert_eq!((format_at(formats, 0), format_at(formats, 1)), (*first, *second));
        }
        assert_eq!(formats(&[0, 2]).unwrap_err().sqlstate, "22023");
        assert_eq!(formats(&[-1]).unwrap_err().message, "unsupported format code: -1");
    }

    #[test]
    fn parameter_formats_must_fit_the_parameters() {
        let bind = |formats: &[i16], parameters: usize| Bind {
            portal: String::new(),
            statement: String::new(),
            parameter_formats: formats.to_vec(),
            parameters: vec![None; parameters],
            result_formats: Vec::new(),
        };
        assert_eq!(parameter_formats(&bind(&[1], 3)).unwrap(), [Format::Binary]);
        assert_eq!(parameter_formats(&bind(&[0, 1], 3)).unwrap_err().sqlstate, "08P01");
        assert_eq!(parameter_formats(&bind(&[0, 1], 0)).unwrap_err().sqlstate, "08P01");
    }
}
