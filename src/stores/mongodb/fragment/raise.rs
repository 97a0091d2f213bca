//! Errors that a pipeline raises, and how they are read back from what the server says.
//!
//! The aggregation language has no function that fails. A conversion of a text that is no ObjectId does, and the server's
//! message quotes the text, which here names the error. The text ends with the type of a value of the row, so that the
//! server cannot compute it, and fail, before it has seen one. No value of a row and no text of a query becomes part of it.

use mongodb::bson::{Bson, doc};

use super::cell::Raw;
use crate::error::sqlstate;
use crate::stores::StoreError;

/// What the texts begin with.
const MARK: &str = "tributary:";
const MISFIT: &str = "misfit:";
const BEYOND: &str = "beyond:";

/// An expression that fails because the value at `path` does not fit the column of `raw`.
pub(super) fn misfit(raw: &Raw, path: &str) -> Bson {
    let text = format!("{MARK}{MISFIT}{}:{}:{}:", raw.describe(), raw.table, raw.column);
    failing(text, Bson::String(path.to_owned()))
}

/// An expression that fails because a number is out of range, in PostgreSQL's words. `operand` is not computed but for its type.
pub(super) fn beyond(rule: &'static str, operand: Bson) -> Bson {
    failing(format!("{MARK}{BEYOND}{rule}:"), operand)
}

fn failing(text: String, operand: Bson) -> Bson {
    Bson::Document(doc! { "$toObjectId": { "$concat": [text, { "$type": operand }] } })
}

/// The error that a pipeline raised, if `message` is one of these.
pub(in super::super) fn raised(store: &str, message: &str) -> Option<StoreError> {
    let (_, text) = message.split_once(MARK)?;
    // What follows the quoted text is the server's, and quotes nothing of ours.
    let end = text.find("' in $convert").or_else(|| text.find('\''))?;
    let (text, kind) = text.get(..end)?.rsplit_once(':')?;
    if let Some(rule) = text.strip_prefix(BEYOND) {
        return Some(StoreError::Remote {
            store: store.to_owned(),
            sqlstate: sqlstate::NUMERIC_VALUE_OUT_OF_RANGE.to_owned(),
            message: rule.to_owned(),
            detail: None,
            constraint: None,
            site: None,
        });
    }
    let (describe, place) = text.strip_prefix(MISFIT)?.split_once(':')?;
    let (table, column) = place.split_once(':')?;
    Some(StoreError::Value {
        store: store.to_owned(),
        table: table.to_owned(),
        column: column.to_owned(),
        sqlstate: sqlstate::INVALID_TEXT_REPRESENTATION,
        rule: format!("is a value of type {} that does not fit {describe}", word(kind)),
    })
}

/// The server's name of a type in the words of the reader's errors.
fn word(kind: &str) -> &str {
    match kind {
        "string" | "symbol" => "text",
        "int" | "long" => "integer",
        "bool" => "boolean",
        "binData" => "binary",
        "object" => "document",
        "regex" => "regular expression",
        "javascript" => "code",
        "javascriptWithScope" => "code with scope",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Diagnose;

    fn said(text: &str) -> String {
        format!(
            "PlanExecutor error during aggregation :: caused by :: Failed to parse objectId '{text}' in $convert with no onError \
             value: Invalid string length for parsing to OID, expected 24 but found {}",
            text.len()
        )
    }

    #[test]
    fn raised_errors_are_read_back() {
        let found = raised("docs", &said("tributary:misfit:bigint:goods:a.b:string")).unwrap();
        assert_eq!(found.to_string(), "a value of docs.goods.a.b is a value of type text that does not fit bigint");
        assert_eq!(found.sqlstate(), "22P02");
        let found = raised("docs", &said("tributary:beyond:bigint out of range:decimal")).unwrap();
        assert_eq!((found.sqlstate(), found.to_string().as_str()), ("22003", "bigint out of range"));
        assert!(raised("docs", &said("0123")).is_none());
        assert!(raised("docs", "tributary:").is_none());
    }
}
