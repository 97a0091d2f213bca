//! Nodes that choose, order or join together whole rows: DISTINCT, ORDER BY, LIMIT, UNION ALL.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::{FetchType, SkipType};
use datafusion::logical_expr::{Limit, LogicalPlan, Sort, SortExpr, Union};

use super::super::expression::Translator;
use super::super::node::Order;
use super::super::scope::Slot;
use super::aggregate::are_told_apart;
use super::{Cut, Cutter, Ordered, Piece, bare_slot, nothing, offer, only_input};
use crate::federation::semantics::typed::Typed;
use crate::federation::semantics::types::schema_after;
use crate::stores::fragment::{Refusal, SortKey};
use crate::stores::{Connector, Relation, Tables};

impl Cutter<'_> {
    pub(super) fn distinct<'p>(&mut self, plan: &'p LogicalPlan, input: &'p LogicalPlan) -> Result<Cut<'p>> {
        let piece = match self.cut(input, Ordered::Free)? {
            Cut::Open(piece) => *piece,
            closed @ Cut::Closed(_) => return self.around(plan, vec![closed]),
        };
        if piece.slots.is_empty() || piece.slots.iter().any(|slot| slot.keyed) {
            return self.around(plan, vec![Cut::Open(Box::new(piece))]);
        }
        if let Err(refusal) = are_told_apart(&vec![false; piece.slots.len()], &piece.schema) {
            self.refused("Distinct", &piece, refusal);
            return self.around(plan, vec![Cut::Open(Box::new(piece))]);
        }
        let (connector, tables, names) = (Arc::clone(&piece.connector), piece.tables.clone(), piece.names());
        let (original, schema, rows, slots) = (piece.original, piece.schema.clone(), piece.rows, straightened(&piece.slots));
        let Ok(relation) = self.straight(piece) else { return self.below(plan).map(Cut::Closed) };
        let whole = |relation, original, is_worthy| Piece {
            original,
            connector: Arc::clone(&connector),
            relation,
            slots: slots.clone(),
            schema: schema.clone(),
            tables: tables.clone(),
            is_worthy,
            order: Vec::new(),
            rows,
        };
        match offer(connector.as_ref(), Relation::Distinct { input: Box::new(relation) }, &tables) {
            Ok(relation) => Ok(Cut::Open(Box::new(whole(relation, plan, true)))),
            Err((relation, refusal)) => {
                self.told("Distinct", connector.name().as_str(), refusal, &names);
                let piece = whole(only_input(relation), original, true);
                self.around(plan, vec![Cut::Open(Box::new(piece))])
            }
        }
    }

    pub(super) fn sort<'p>(&mut self, plan: &'p LogicalPlan, sort: &'p Sort, ordered: Ordered) -> Result<Cut<'p>> {
        let mut piece = match self.cut(&sort.input, Ordered::Free)? {
            Cut::Open(piece) => *piece,
            closed @ Cut::Closed(_) => return self.around(plan, vec![closed]),
        };
        // An order alone helps only whoever sees it, and only the root of a part promises one.
        let is_sent = sort.fetch.is_some() || ordered == Ordered::Limit || ordered == Ordered::Kept && self.sends_order;
        if !is_sent {
            return self.around(plan, vec![Cut::Open(Box::new(piece))]);
        }
        let subqueries = self.subqueries(plan, &mut piece)?;
        let scope = piece.scope();
        let translator = Translator { scope: &scope, subqueries: &subqueries };
        let keys = sort.expr.iter().map(|key| sort_key(&translator, key)).collect::<std::result::Result<Vec<_>, _>>();
        let order = sort.expr.iter().map_while(|key| shown_order(key, &scope)).collect();
        drop(scope);
        let keys = match keys {
            Ok(keys) => keys,
            Err(refusal) => {
                self.refused("Sort", &piece, refusal);
                return self.around(plan, vec![Cut::Open(Box::new(piece))]);
            }
        };
        let limit = sort.fetch.map(|fetch| fetch as u64);
        let relation = std::mem::replace(&mut piece.relation, nothing());
        let sorted = Relation::Sort { input: Box::new(relation), keys, offset: 0, limit };
        match offer(piece.connector.as_ref(), sorted, &piece.tables) {
            Ok(relation) => {
                let rows = limit.map_or(piece.rows, |limit| Some(piece.rows.unwrap_or(limit).min(limit)));
                let piece = Piece { relation, order, rows, is_worthy: true, ..piece };
                self.sorted(plan, sort, piece, ordered)
            }
            Err((sorted, refusal)) => {
                piece.relation = only_input(sorted);
                self.refused("Sort", &piece, refusal);
                self.around(plan, vec![Cut::Open(Box::new(piece))])
            }
        }
    }

    /// A part whose rows are sorted. Where the client needs their order and something of the engine may still stand above, the
    /// sort stays too, over the few rows that are left.
    fn sorted<'p>(&mut self, plan: &'p LogicalPlan, sort: &Sort, piece: Piece<'p>, ordered: Ordered) -> Result<Cut<'p>> {
        if ordered == Ordered::Kept {
            if !self.sends_order {
                let Some(sealed) = self.seal(piece, sort.input.schema())? else { return self.below(plan).map(Cut::Closed) };
                return Ok(Cut::Closed(Some(LogicalPlan::Sort(Sort { input: Arc::new(sealed), ..sort.clone() }))));
            }
            self.has_sent_order = true;
        }
        Ok(Cut::Open(Box::new(Piece { original: plan, ..piece })))
    }

    pub(super) fn limit<'p>(&mut self, plan: &'p LogicalPlan, limit: &'p Limit, ordered: Ordered) -> Result<Cut<'p>> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else {
            return self.below(plan).map(Cut::Closed);
        };
        let inside = if ordered == Ordered::Kept { Ordered::Kept } else { Ordered::Limit };
        let mut piece = match self.cut(&limit.input, inside)? {
            Cut::Open(piece) => *piece,
            closed @ Cut::Closed(_) => return self.around(plan, vec![closed]),
        };
        let relation = std::mem::replace(&mut piece.relation, nothing());
        let bounds = (skip as u64, fetch.map(|fetch| fetch as u64));
        match limited(piece.connector.as_ref(), relation, bounds, &piece.tables) {
            Ok(relation) => {
                let rows = bounds.1.map_or(piece.rows, |limit| Some(piece.rows.unwrap_or(limit).min(limit)));
                Ok(Cut::Open(Box::new(Piece { original: plan, relation, rows, ..piece })))
            }
            Err(refusal) => {
                self.refused("Limit", &piece, refusal);
                // The order of what was sorted for the limit must be seen from here.
                self.below(plan).map(Cut::Closed)
            }
        }
    }

    pub(super) fn union<'p>(&mut self, plan: &'p LogicalPlan, union: &'p Union) -> Result<Cut<'p>> {
        let inputs = union.inputs.iter().map(|input| self.cut(input, Ordered::Free)).collect::<Result<Vec<_>>>()?;
        let Some(store) = common_store(&inputs) else { return self.around(plan, inputs) };
        let schemas: Vec<_> = inputs.iter().filter_map(open).map(|piece| piece.schema.clone()).collect();
        let schema = schema_after(plan, &schemas)?;
        let types: Vec<_> = schema.fields().iter().map(|field| Typed::of_field(field).pg_type).collect();
        let agrees = |piece: &Piece<'_>| {
            piece.slots.iter().zip(&types).all(|(slot, pg_type)| !slot.keyed && slot.pg_type.oid == pg_type.oid)
        };
        if types.is_empty() || !inputs.iter().filter_map(open).all(agrees) {
            return self.around(plan, inputs);
        }
        let (mut relations, mut tables, mut is_worthy, mut rows) = (Vec::new(), Tables::new(), false, Some(0_u64));
        for input in inputs {
            let Cut::Open(piece) = input else { continue };
            tables.extend(piece.tables.clone());
            is_worthy |= piece.is_worthy;
            rows = rows.zip(piece.rows).map(|(all, more)| all.saturating_add(more));
            match self.straight(*piece) {
                Ok(relation) => relations.push(relation),
                Err(_refused) => return self.below(plan).map(Cut::Closed),
            }
        }
        match offer(store.as_ref(), Relation::Union { inputs: relations }, &tables) {
            Ok(relation) => {
                let slots = types.into_iter().enumerate().map(|(place, pg_type)| Slot::plain(place, pg_type)).collect();
                let (connector, order) = (store, Vec::new());
                let piece = Piece { original: plan, connector, relation, slots, schema, tables, is_worthy, order, rows };
                Ok(Cut::Open(Box::new(piece)))
            }
            Err((_, refusal)) => {
                self.told("Union", store.name().as_str(), refusal, &[]);
                self.below(plan).map(Cut::Closed)
            }
        }
    }
}

fn open<'a, 'p>(cut: &'a Cut<'p>) -> Option<&'a Piece<'p>> {
    match cut {
        Cut::Open(piece) => Some(piece),
        Cut::Closed(_) => None,
    }
}

/// The store of all inputs, when they have one.
fn common_store(inputs: &[Cut<'_>]) -> Option<Arc<dyn Connector>> {
    let pieces: Vec<&Piece<'_>> = inputs.iter().map(open).collect::<Option<_>>()?;
    let first = pieces.first()?;
    let is_one = pieces.iter().all(|piece| piece.connector.name() == first.connector.name());
    is_one.then(|| Arc::clone(&first.connector))
}

fn straightened(slots: &[Slot]) -> Vec<Slot> {
    slots.iter().enumerate().map(|(place, slot)| Slot::plain(place, slot.pg_type)).collect()
}

/// A sort key over the columns of the relation.
pub(super) fn sort_key(translator: &Translator<'_>, key: &SortExpr) -> std::result::Result<SortKey, Refusal> {
    let expression = translator.operand(&key.expr)?;
    Ok(SortKey { expression, descending: !key.asc, nulls_first: key.nulls_first })
}

/// The order that a key makes, when it is a column that the engine would compare as it is.
fn shown_order(key: &SortExpr, scope: &super::Scope<'_>) -> Option<Order> {
    let slot = bare_slot(&key.expr, scope).filter(|slot| !slot.keyed)?;
    Some(Order { place: slot.place, descending: !key.asc, nulls_first: key.nulls_first })
}

/// Some rows of a relation: of sorted ones the first, whatever was computed of them since.
fn limited(
    connector: &dyn Connector,
    relation: Relation,
    (skip, fetch): (u64, Option<u64>),
    tables: &Tables,
) -> std::result::Result<Relation, Refusal> {
    let limited = match relation {
        Relation::Sort { input, keys, offset: 0, limit } => {
            let left = limit.map(|limit| limit.saturating_sub(skip));
            let limit = match (left, fetch) {
                (Some(left), Some(fetch)) => Some(left.min(fetch)),
                (left, fetch) => left.or(fetch),
            };
            Relation::Sort { input, keys, offset: skip, limit }
        }
        Relation::Project { input, expressions } if is_sorted(&input) => {
            let input = Box::new(self::limited(connector, *input, (skip, fetch), tables)?);
            Relation::Project { input, expressions }
        }
        sorted if is_sorted(&sorted) => return Err(Refusal::new("limit", "sorted rows are limited twice")),
        input => Relation::Limit { input: Box::new(input), offset: skip, limit: fetch },
    };
    offer(connector, limited, tables).map_err(|(_, refusal)| refusal)
}

fn is_sorted(relation: &Relation) -> bool {
    match relation {
        Relation::Sort { .. } => true,
        Relation::Project { input, .. } | Relation::Limit { input, .. } => is_sorted(input),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_know_whether_they_are_sorted() {
        let sorted = Relation::Sort { input: Box::new(nothing()), keys: Vec::new(), offset: 0, limit: Some(3) };
        let projected = Relation::Project { input: Box::new(sorted), expressions: Vec::new() };
        assert!(is_sorted(&projected));
        assert!(!is_sorted(&Relation::Distinct { input: Box::new(projected) }));
    }
}
