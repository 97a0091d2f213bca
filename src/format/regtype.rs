//! `regtype`: the object id of a type, shown as the type's SQL name.
//!
//! Only the built-in types have names here; those of the catalog (enums) are shown by number.

use super::integer;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{BUILTINS, PgType, builtin, builtin_by_name};

/// The name of a type, as `format_type` gives it: `integer[]`.
pub fn text(oid: i64) -> String {
    let pg_type = u32::try_from(oid).ok().map(|oid| PgType::with_typmod(oid, -1));
    match pg_type.filter(|known| builtin(known.oid).is_some() || known.element().is_some()) {
        Some(known) => known.to_string(),
        None if oid == 0 => "-".to_owned(),
        None => oid.to_string(),
    }
}

/// Reads a name (`integer`, `int4`, `character varying[]`) or a number.
///
/// # Errors
/// 42704 for a name that no built-in type has.
pub fn read(text: &str) -> Result<u32, Diagnosis> {
    let word = text.trim().to_lowercase();
    if word == "-" {
        return Ok(0);
    }
    if word.starts_with(|first: char| first.is_ascii_digit()) {
        return integer::read_oid(&word);
    }
    let (base, is_array) = word.strip_suffix("[]").map_or((word.as_str(), false), |base| (base, true));
    let (base, is_array) = match base.strip_prefix('_') {
        Some(element) if builtin_by_name(base).is_none() => (element, true),
        _ => (base, is_array),
    };
    let base = match base {
        "int" => "int4",
        "decimal" | "dec" => "numeric",
        "float" => "float8",
        "char" => "bpchar",
        "\"char\"" => "char",
        other => other,
    };
    let row = builtin_by_name(base).or_else(|| BUILTINS.iter().find(|row| row.sql_name == base));
    let oid = row.map(|row| if is_array { row.array_oid } else { row.oid }).filter(|oid| *oid != 0);
    oid.ok_or_else(|| Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("type \"{text}\" does not exist")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (input, oid, shown) in [
            ("integer", 23, "integer"),
            ("INT4", 23, "integer"),
            ("int", 23, "integer"),
            ("_int4", 1007, "integer[]"),
            ("text[]", 1009, "text[]"),
            ("character varying", 1043, "character varying"),
            ("\"char\"", 18, "\"char\""),
            ("timestamp with time zone", 1184, "timestamp with time zone"),
            ("16", 16, "boolean"),
            ("90001", 90_001, "90001"),
            ("-", 0, "-"),
        ] {
            assert_eq!(read(input).unwrap(), oid, "{input}");
            assert_eq!(text(i64::from(oid)), shown);
        }
        assert_eq!(read("nope").unwrap_err().sqlstate, "42704");
    }
}
