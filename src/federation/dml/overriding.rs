//! `OVERRIDING SYSTEM VALUE` and `OVERRIDING USER VALUE`: whose values columns get that their store counts up.

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName};

use super::assign;
use super::scope::{Cell, Scope};
use super::target::Target;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::writing::Word;
use crate::stores::schema::{Column, Generated};

/// What a statement says of such columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overriding {
    /// `SYSTEM`: those of the statement.
    System,
    /// `USER`: those of the store.
    User,
}

impl Overriding {
    /// Takes what stands among the columns of an INSERT.
    pub(super) fn take(columns: &mut Vec<ObjectName>) -> Option<Self> {
        let word = columns.iter().find_map(Word::first_of)?;
        columns.retain(|column| Word::first_of(column).is_none());
        match word {
            Word::System => Some(Self::System),
            Word::User => Some(Self::User),
            Word::Only | Word::Expression | Word::Condition => None,
        }
    }

    /// Whether columns take values that their store makes always: identities of PostgreSQL do, which the store tells from computed
    /// columns itself.
    pub(super) fn overrides(self, scope: &Scope<'_>, target: &Target) -> bool {
        self == Self::System && is_postgres(scope, target)
    }

    /// Whether the store gives a column its value, whatever the statement gives it.
    ///
    /// # Errors
    /// 0A000 where only the store knows.
    pub(super) fn leaves_out(self, scope: &Scope<'_>, target: &Target, column: &Column) -> Result<bool, Diagnosis> {
        match column.generated {
            _ if self == Self::System => Ok(false),
            // A default that counts, as that of `serial`, is no identity.
            Generated::ByDefault => Ok(column.default.is_none()),
            Generated::Always if is_postgres(scope, target) => {
                Err(unsupported(column).with_detail("Whether its values are counted or computed is not known here."))
            }
            Generated::Always | Generated::No => Ok(false),
        }
    }

    /// Leaves the cells of such columns to their store.
    ///
    /// # Errors
    /// As PostgreSQL for cells of other types; 0A000 for those that would have to be computed or read first.
    pub(super) fn clear(
        self,
        scope: &mut Scope<'_>,
        target: &Target,
        (columns, rows): (&[usize], &mut [Vec<Expr>]),
    ) -> Result<(), Diagnosis> {
        for (place, ordinal) in columns.iter().enumerate() {
            let column = target.at(*ordinal)?;
            if !self.leaves_out(scope, target, column)? {
                continue;
            }
            for cell in rows.iter_mut().filter_map(|row| row.get_mut(place)) {
                match Cell::of(cell)? {
                    Some(Cell::Parameter(number)) => {
                        let settled = scope.parameters.settle(number, column.pg_type());
                        assign::check(column, &settled.into())?;
                    }
                    Some(known @ (Cell::Default | Cell::Null | Cell::Number(_))) => {
                        assign::check(column, &known.own_type().into())?;
                    }
                    Some(Cell::Text(_) | Cell::Truth(_)) | None => return Err(unsupported(column)),
                }
                *cell = Expr::Identifier(Ident::new("DEFAULT"));
            }
        }
        Ok(())
    }
}

fn is_postgres(scope: &Scope<'_>, target: &Target) -> bool {
    scope.setting.snapshot.connectors.get(&target.store).is_some_and(|connector| connector.kind() == "postgres")
}

fn unsupported(column: &Column) -> Diagnosis {
    let message = format!("this value of column \"{}\" beside OVERRIDING USER VALUE is not supported", column.name());
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint("Leave the column out.")
}
