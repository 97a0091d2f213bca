//! How a physical plan looks, for comparing two of one statement: its operators, and what the stores are asked.

use std::any::Any;
use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;

use super::super::copy::CopyExec;
use super::super::materialized::ViewExec;
use super::super::placement::exec::FragmentExec;
use super::super::scan::ScanExec;
use crate::stores::fragment::Relation;

/// The looks of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// The operators in plan order with what they read, without any value.
    operators: String,
    /// The words that the stores are asked in, and the names of views whose rows are read, sorted: conditions may come in another order.
    words: Vec<String>,
    /// How many tables it may read from copies.
    copies: usize,
}

impl Shape {
    /// The looks of `plan`.
    pub(super) fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut shape = Self { operators: String::new(), words: Vec::new(), copies: 0 };
        tell(plan.as_ref(), &mut shape);
        shape.words.sort_unstable();
        shape
    }

    /// How many tables it may read from copies, which come and go with them.
    pub(super) fn copies(&self) -> usize {
        self.copies
    }

    /// The operators alone, which are the same for all values that are planned alike.
    pub(super) fn operators(&self) -> &str {
        &self.operators
    }

    /// Whether a store is asked for anything.
    pub(super) fn asks_stores(&self) -> bool {
        !self.words.is_empty()
    }
}

fn tell(plan: &dyn ExecutionPlan, shape: &mut Shape) {
    let Shape { operators, words, copies } = shape;
    let mut asked = |described: &str| {
        let parts = described.split(|letter: char| !letter.is_alphanumeric());
        words.extend(parts.filter(|word| !word.is_empty()).map(str::to_owned));
    };
    operators.push_str(plan.name());
    let node: &dyn Any = plan;
    let copy = node.downcast_ref::<CopyExec>();
    *copies += usize::from(copy.is_some());
    if let Some(exec) = node.downcast_ref::<ScanExec>().or_else(|| copy.map(CopyExec::scan)) {
        asked(exec.described());
        let scan = exec.scan();
        let limited = if scan.limit.is_some() { " limited" } else { "" };
        operators.push_str(&format!(" {} {:?} {}{limited}", scan.store, scan.table, scan.filter.len()));
    }
    if let Some(exec) = node.downcast_ref::<ViewExec>() {
        asked(exec.named());
        operators.push_str(&format!(" {} {}", exec.named(), exec.conditions()));
    }
    if let Some(exec) = node.downcast_ref::<FragmentExec>() {
        asked(exec.described());
        let fragment = exec.fragment();
        operators.push_str(&format!(" {}", fragment.store));
        fragment.root.visit(&mut |relation| {
            operators.push(' ');
            operators.push_str(relation.name());
            if let Relation::Table(scan) = relation {
                operators.push_str(&format!(" {:?} {}", scan.table, scan.filter.len()));
            }
        });
    }
    operators.push('(');
    for child in plan.children() {
        tell(child.as_ref(), shape);
    }
    shape.operators.push(')');
}
