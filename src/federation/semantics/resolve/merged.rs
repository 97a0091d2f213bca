//! Functions that passes over the syntax tree write and that give one of their arguments: the column that a join with USING shows of
//! two, in their common type, and a value that is told apart from another by a number.

use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use super::super::functions::missing_function;
use super::super::overload::common_type;
use super::super::typed::Typed;
use super::convert::Asked;
use super::{Resolver, Scope};

impl Resolver<'_> {
    /// `pg_merged(left, right)` of equal values, which is the first column that has the common type and its modifier already, and
    /// otherwise the first; `pg_merged_first(kept, other)`, which is the first column; `pg_evaluated(value, number)` is the value.
    /// Which it is shows in the scale of numbers: 0 of a `smallint` beside a `numeric(30, 10)` stays 0, as the other is no plain
    /// `numeric` either.
    pub(super) fn merged(&self, name: &str, arguments: Vec<Expr>, scope: &Scope<'_>) -> Result<Expr> {
        let mut operands = arguments.into_iter().map(|argument| self.operand(argument, scope)).collect::<Result<Vec<_>>>()?;
        if name == "pg_evaluated" && !operands.is_empty() {
            return Ok(operands.swap_remove(0).expr);
        }
        let types: Vec<Typed> = operands.iter().map(|operand| operand.typed.clone()).collect();
        let common = common_type(&types).map_err(|mismatch| mismatch.told("JOIN/USING"))?;
        let has_type = |typed: &Typed| typed.pg_type == common.pg_type;
        let place = if name == "pg_merged" { types.iter().position(has_type).unwrap_or(0) } else { 0 };
        if place >= operands.len() {
            return Err(missing_function(name, &types).into());
        }
        self.convert(operands.swap_remove(place), &common, Asked::Implicitly, scope)
    }
}
