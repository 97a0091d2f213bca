//! What `EXPLAIN (ANALYZE, FORMAT json)` says of the stores: rows, bytes and round trips of each.
//!
//! Fields are looked for under several names and may be missing, because a plan may say more or less than today's.

use std::collections::BTreeMap;

use serde_json::Value;

/// What one store was pulled for, as the plan tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pulled {
    pub(super) rows: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) round_trips: Option<u64>,
}

const STORE: &[&str] = &["Store", "store"];
const ROWS: &[&str] = &["Rows Pulled", "Actual Rows", "Rows"];
const BYTES: &[&str] = &["Bytes Pulled", "Actual Bytes", "Bytes"];
const ROUND_TRIPS: &[&str] = &["Round Trips", "Roundtrips"];

/// Sums by store.
pub(super) fn pulled(plan: &Value) -> BTreeMap<String, Pulled> {
    let mut found = BTreeMap::new();
    walk(plan, &mut found);
    found
}

fn walk(value: &Value, found: &mut BTreeMap<String, Pulled>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
        Value::Object(node) => {
            if let Some(store) = store(value) {
                let pulled: &mut Pulled = found.entry(store).or_default();
                add(&mut pulled.rows, number(value, ROWS));
                add(&mut pulled.bytes, number(value, BYTES));
                add(&mut pulled.round_trips, number(value, ROUND_TRIPS));
            }
            // An alternative that was not taken is no part of what ran.
            node.iter().filter(|(key, _)| key.as_str() != "Alternative").for_each(|(_, below)| walk(below, found));
        }
        _ => {}
    }
}

/// The store that a node asks: a field of its own, or a word in its details.
fn store(node: &Value) -> Option<String> {
    let named = STORE.iter().find_map(|key| node.get(key)?.as_str());
    let in_details = || {
        let details = node.get("Details")?.as_str()?;
        let rest = details.split_once("store=")?.1;
        rest.split([',', ' ', ']']).next()
    };
    named.or_else(in_details).map(str::to_owned)
}

fn number(node: &Value, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|key| node.get(key)?.as_u64())
}

fn add(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or(0) + more);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_summed_by_store_wherever_they_stand() {
        let plan = json!([{ "Plan": { "Node Type": "HashJoinExec", "Details": "on=[a]", "Actual Rows": 3, "Plans": [
            { "Node Type": "ScanExec", "Details": "ScanExec: store=facts, asked=SELECT 1", "Actual Rows": 10 },
            { "Node Type": "FragmentExec", "Store": "facts", "Rows Pulled": 5, "Bytes Pulled": 80, "Round Trips": 2,
              "Alternative": { "Store": "facts", "Actual Rows": 99 } },
            { "Node Type": "FragmentExec", "Store": "other" },
        ] }, "Stores": ["Asked of facts: SELECT 1"] }]);
        let found = pulled(&plan);
        assert_eq!(found["facts"], Pulled { rows: Some(15), bytes: Some(80), round_trips: Some(2) });
        assert_eq!(found["other"], Pulled::default());
        assert_eq!(found.len(), 2);
        assert!(pulled(&json!(null)).is_empty());
    }
}
