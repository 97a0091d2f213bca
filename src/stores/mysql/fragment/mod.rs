//! Parts of plans on MySQL and MariaDB: which nodes the server computes as PostgreSQL would, and how they are spelled for it.
//!
//! ```text
//! accepts: Relation → relations (node by node) → expressions (types and functions) over kinds and sizes
//! run:     Fragment → relational::fragment → spelling (this server's words) → scan.rs
//! whole:   an UPDATE or DELETE with its condition, the same way → write/
//! ```
//!
//! What differs from PostgreSQL, and what is done about it:
//!
//! | | on the server | here |
//! |---|---|---|
//! | text | compared by collations that fold and pad; mixed ones are an error | every text is converted to utf8mb4 under a collation by bytes; the bare comparison stands beside it for the index |
//! | text and bytes as keys | sorted and grouped by their first `max_sort_length` (1024) bytes | refused unless they are short by declaration |
//! | integers | `int + int` is `bigint`, `unsigned - 1` fails below zero, `DIV 0` is NULL | operands are signed, results of smaller types are checked, divisors are constants |
//! | decimals | at most 65 digits, 30 after the point; cut without an error | refused unless the digits of the operands show that they fit |
//! | numbers of mixed scale | `CASE`, `UNION` give all the largest scale | refused |
//! | dates | hold days that no calendar has | checked wherever they are computed with |
//! | floats | sums and products differ in the last digit or in their errors | refused; comparisons are exact |
//! | NULLs | sorted first; `GREATEST` of one is NULL | a sort key of their own; refused |
//! | truth | a number; `tinyint(1)` holds more than two | `<> 0` |
//! | case of letters | by collation | refused unless the column can hold ASCII only |
//! | `FULL JOIN`, `GROUPS` frames | unknown | refused |

mod expressions;
mod kind;
mod relations;
mod size;
mod spelling;
pub(super) mod whole;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::super::collation;
use super::super::connector::ScanLimits;
use super::super::error::StoreError;
use super::super::fragment::{Fragment, Refusal, Relation, Tables, shapes};
use super::super::relational::fragment;
use super::super::relational::{Dialect, Sql, Unwritable};
use super::super::schema::TableId;
use super::gather::Source;
use super::options::ZeroDate;
use super::pool::Server;
use super::pushdown::compares_by_own;
use super::scan::{Job, bounded, refused};
use super::{Shared, types};
use spelling::Words;

/// The collation by bytes that does not pad; what else depends on the server is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Not seen yet, or a server without such a collation.
    Unknown,
    /// MariaDB.
    MariaDb,
    /// MySQL since 8.0.17.
    MySql,
}

impl Flavour {
    /// The flavour of a server. MariaDB has window functions and collations that do not pad since 10.2; 10.4 is the oldest
    /// version that is still seen.
    pub(super) fn of(server: &Server) -> Self {
        let version = server.numbers();
        match server.is_mariadb {
            true if version >= [10, 4, 0] => Self::MariaDb,
            false if version >= [8, 0, 17] => Self::MySql,
            _ => Self::Unknown,
        }
    }

    /// The name of the collation.
    pub(super) fn bytes(self) -> &'static str {
        if self == Self::MySql { "utf8mb4_0900_bin" } else { "utf8mb4_nopad_bin" }
    }
}

/// What decides about fragments besides themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// The server.
    pub(super) flavour: Flavour,
    /// The policy for days that no calendar has.
    pub(super) zero_date: ZeroDate,
}

/// Whether the server computes the topmost node of `relation`.
///
/// # Errors
/// What it does not compute as PostgreSQL would.
pub(super) fn accepts(relation: &Relation, tables: &Tables, setting: Setting) -> Result<(), Refusal> {
    if setting.flavour == Flavour::Unknown {
        return Err(Refusal::new(relation.name(), "the server is too old to compare text by bytes"));
    }
    relations::accepts(relation, tables)
}

/// The statement of a fragment.
///
/// # Errors
/// A value that cannot be sent.
pub(super) fn statement(fragment: &Fragment, tables: &Tables, setting: Setting) -> Result<Sql, Unwritable> {
    let mut sql = Sql::bound(Dialect::MySql);
    let words = Words { setting, by_own_collations: fragment.by_own_collations };
    fragment::write(&fragment.root, tables, &words, None, &mut sql)?;
    bounded(sql)
}

/// The statement as `EXPLAIN` shows it.
pub(super) fn describe(fragment: &Fragment, tables: &Tables, setting: Setting) -> String {
    match statement(fragment, tables, setting) {
        Ok(sql) => {
            let (text, whole) = (fragment::shown(sql), fragment.by_own_collations);
            collation::noted_part(text, &fragment.root, tables, whole, &compares_by_own)
        }
        Err(error) => format!("not sent: {error}"),
    }
}

/// A fragment that is ready to run.
///
/// # Errors
/// When a value cannot be sent.
pub(super) fn job(
    shared: &Arc<Shared>,
    fragment: &Fragment,
    tables: &Tables,
    schema: &SchemaRef,
    limits: ScanLimits,
) -> Result<Job, StoreError> {
    let sql = statement(fragment, tables, shared.setting()).map_err(|error| refused(shared, error))?;
    let mut found: Vec<TableId> = Vec::new();
    fragment.root.visit(&mut |relation| {
        if let Relation::Table(scan) = relation
            && !found.contains(&scan.table)
        {
            found.push(scan.table.clone());
        }
    });
    let native = shapes(&fragment.root, tables).into_iter().map(|shape| {
        let column = kind::stored(&shape, tables)?;
        // What is sent for a truth value or a checked day is computed and not the column.
        types::carries(&column.native_type, shared.policy(), column.field.data_type()).then(|| column.native_type.clone())
    });
    let source = Source::plan(found, native.collect());
    Job::of(shared, source, Arc::clone(schema), sql, limits)
}
