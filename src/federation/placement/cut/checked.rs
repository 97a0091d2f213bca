//! Conditions that no part takes: those of which a store evaluates only about what is meant are asked all the same, as filters of
//! their table, and checked again here.

use datafusion::logical_expr::{Expr, LogicalPlan};

use super::{Cutter, Piece, named};
use crate::federation::placement::Residual;
use crate::stores::Relation;
use crate::stores::fragment::Refusal;

impl Cutter<'_> {
    /// Keeps the refusals of conditions above `input` for `EXPLAIN`; `is_part` tells that the store takes others of them, so that it
    /// runs a part.
    pub(super) fn conditions_refused(
        &mut self,
        input: &LogicalPlan,
        piece: &Piece<'_>,
        refused: Vec<(Expr, Refusal)>,
        is_part: bool,
    ) {
        for (condition, refusal) in refused {
            if is_asked(&condition, input, &piece.relation, is_part) {
                let refusal = Refusal { subject: named(&refusal.subject, &piece.names()), rule: refusal.rule };
                let (checked, store) = (Some(condition.human_display().to_string()), piece.connector.name().to_string());
                self.kept(Residual { operation: "Filter", checked, store, refusal });
            } else {
                self.refused("Filter", piece, refusal);
            }
        }
    }
}

/// Whether a condition is among the filters that the store is asked for. A part has all filters of its table, or those alone that
/// are evaluated exactly.
fn is_asked(condition: &Expr, input: &LogicalPlan, relation: &Relation, is_part: bool) -> bool {
    let LogicalPlan::TableScan(scan) = input else { return false };
    let Relation::Table(sent) = relation else { return false };
    scan.filters.contains(condition) && (!is_part || sent.filter.len() == scan.filters.len())
}
