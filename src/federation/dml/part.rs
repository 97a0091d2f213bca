//! Fields inside of documents that a statement gives values by themselves: `SET address.zip = …`, `INSERT INTO t (address.zip) …`.
//!
//! While a statement is planned such a field is one more column of its target, with the next free ordinal behind those of the table. In
//! edits it is the ordinal of its column with a path beside it ([`Target::written`]).

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName};

use super::scope::Cell;
use super::target::Target;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::name::fold;
use crate::stores::edit::{self, Path};
use crate::stores::schema::Column;

/// A field inside of a column.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The column.
    ordinal: usize,
    /// The names that lead to it.
    path: Path,
    /// It as a column of its own.
    column: Column,
}

impl Target {
    /// The ordinal of what a statement gives a value.
    ///
    /// # Errors
    /// 42703 for what does not exist, 42804 for a field of what is no document.
    pub(super) fn place(&mut self, name: &ObjectName) -> Result<usize, Diagnosis> {
        let names: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(fold)).collect();
        let mut names = names.unwrap_or_default().into_iter();
        let first = names.next().unwrap_or_default();
        let ordinal = self.ordinal(&first)?;
        let path: Path = names.collect();
        if path.is_empty() {
            return Ok(ordinal);
        }
        let columns = self.table.columns.len();
        if let Some(known) = self.parts.iter().position(|part| part.ordinal == ordinal && part.path == path) {
            return Ok(columns + known);
        }
        let column = self.inside(ordinal, &path)?;
        self.parts.push(Part { ordinal, path, column });
        Ok(columns + self.parts.len() - 1)
    }

    /// The field that a path leads to.
    fn inside(&self, ordinal: usize, path: &[String]) -> Result<Column, Diagnosis> {
        let mut found = self.at(ordinal)?.clone();
        let name = found.name().to_owned();
        for (depth, step) in path.iter().enumerate() {
            let to_here = path.get(..=depth).unwrap_or(path);
            let Some(next) = edit::part(&self.table, ordinal, to_here) else {
                let is_document = matches!(found.field.data_type(), DataType::Struct(_));
                let pg_type = found.pg_type();
                let (code, why) = if is_document {
                    (sqlstate::UNDEFINED_COLUMN, format!("there is no such column in data type {pg_type}"))
                } else {
                    (sqlstate::DATATYPE_MISMATCH, format!("its type {pg_type} is not a composite type"))
                };
                return Err(Diagnosis::new(code, format!("cannot assign to field \"{step}\" of column \"{name}\" because {why}")));
            };
            found = next.into_owned();
        }
        Ok(found)
    }

    /// A field by its ordinal.
    pub(super) fn part(&self, ordinal: usize) -> Option<&Column> {
        self.found(ordinal).map(|part| &part.column)
    }

    fn found(&self, ordinal: usize) -> Option<&Part> {
        ordinal.checked_sub(self.table.columns.len()).and_then(|place| self.parts.get(place))
    }

    /// The column with an ordinal, or that of a field, and the path to this.
    fn root(&self, ordinal: usize) -> (usize, &[String]) {
        self.found(ordinal).map_or((ordinal, [].as_slice()), |part| (part.ordinal, part.path.as_slice()))
    }

    /// The first that is given a value twice, as a whole or in a part: the name of its column.
    pub(super) fn repeated(&self, given: &[usize]) -> Result<Option<String>, Diagnosis> {
        for (place, ordinal) in given.iter().enumerate() {
            let (column, path) = self.root(*ordinal);
            let meets = |other: &usize| {
                let (before, other) = self.root(*other);
                before == column && (path.starts_with(other) || other.starts_with(path))
            };
            if given.iter().take(place).any(meets) {
                return self.at(column).map(|column| Some(column.name().to_owned()));
            }
        }
        Ok(None)
    }

    /// Looks at what stands alone as the new value of a field.
    ///
    /// # Errors
    /// As PostgreSQL for DEFAULT.
    pub(super) fn check_part(&self, ordinal: usize, value: &Expr) -> Result<(), Diagnosis> {
        if self.found(ordinal).is_none() || !matches!(Cell::of(value)?, Some(Cell::Default)) {
            return Ok(());
        }
        Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "cannot set a subfield to DEFAULT"))
    }

    /// Ordinals as edits have them: those of columns, with the paths beside them.
    pub(super) fn written(&self, given: &[usize]) -> (Vec<usize>, Vec<Path>) {
        let columns = given.iter().map(|ordinal| self.root(*ordinal).0).collect();
        let has_parts = given.iter().any(|ordinal| self.found(*ordinal).is_some());
        let paths = given.iter().filter(|_| has_parts).map(|ordinal| self.root(*ordinal).1.to_vec()).collect();
        (columns, paths)
    }
}
