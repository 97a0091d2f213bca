//! The allow-list: which decided calls of the engine are which functions of a fragment, and which casts mean the same under
//! every setting of a session. Pure.

use crate::federation::semantics::{is_string, numeric_rank};
use crate::pgtype::PgType;
use crate::stores::fragment::Function;

const TEXT: u32 = PgType::TEXT.oid;
const INT4: u32 = PgType::INT4.oid;
const NUMERIC: u32 = PgType::NUMERIC.oid;
const FLOAT8: u32 = PgType::FLOAT8.oid;

/// Functions with the types that their arguments are read as. Names and types are those of the engine's tables
/// (`semantics::functions`); a call with other types is another function.
const TABLE: &[(&str, &[u32], Function)] = &[
    ("round", &[FLOAT8], Function::Round),
    ("round", &[NUMERIC], Function::Round),
    ("round", &[NUMERIC, INT4], Function::Round),
    ("trunc", &[FLOAT8], Function::Truncate),
    ("trunc", &[NUMERIC], Function::Truncate),
    ("trunc", &[NUMERIC, INT4], Function::Truncate),
    ("ceil", &[FLOAT8], Function::Ceiling),
    ("ceil", &[NUMERIC], Function::Ceiling),
    ("ceiling", &[FLOAT8], Function::Ceiling),
    ("ceiling", &[NUMERIC], Function::Ceiling),
    ("floor", &[FLOAT8], Function::Floor),
    ("floor", &[NUMERIC], Function::Floor),
    ("sign", &[FLOAT8], Function::Sign),
    ("sign", &[NUMERIC], Function::Sign),
    ("sqrt", &[FLOAT8], Function::SquareRoot),
    ("sqrt", &[NUMERIC], Function::SquareRoot),
    ("power", &[FLOAT8, FLOAT8], Function::Power),
    ("power", &[NUMERIC, NUMERIC], Function::Power),
    ("pow", &[FLOAT8, FLOAT8], Function::Power),
    ("pow", &[NUMERIC, NUMERIC], Function::Power),
    ("concat_operator", &[TEXT, TEXT], Function::Concat),
    ("upper", &[TEXT], Function::Upper),
    ("lower", &[TEXT], Function::Lower),
    ("length", &[TEXT], Function::Length),
    ("char_length", &[TEXT], Function::Length),
    ("character_length", &[TEXT], Function::Length),
    ("octet_length", &[TEXT], Function::OctetLength),
    ("substring", &[TEXT, INT4], Function::Substring),
    ("substring", &[TEXT, INT4, INT4], Function::Substring),
    ("substr", &[TEXT, INT4], Function::Substring),
    ("substr", &[TEXT, INT4, INT4], Function::Substring),
    ("left", &[TEXT, INT4], Function::Left),
    ("right", &[TEXT, INT4], Function::Right),
    ("btrim", &[TEXT], Function::Trim),
    ("btrim", &[TEXT, TEXT], Function::Trim),
    ("trim", &[TEXT], Function::Trim),
    ("trim", &[TEXT, TEXT], Function::Trim),
    ("ltrim", &[TEXT], Function::TrimStart),
    ("ltrim", &[TEXT, TEXT], Function::TrimStart),
    ("rtrim", &[TEXT], Function::TrimEnd),
    ("rtrim", &[TEXT, TEXT], Function::TrimEnd),
    ("replace", &[TEXT, TEXT, TEXT], Function::Replace),
    ("strpos", &[TEXT, TEXT], Function::Position),
    ("position", &[TEXT, TEXT], Function::Position),
    ("starts_with", &[TEXT, TEXT], Function::StartsWith),
    ("reverse", &[TEXT], Function::Reverse),
    ("lpad", &[TEXT, INT4], Function::PadStart),
    ("lpad", &[TEXT, INT4, TEXT], Function::PadStart),
    ("rpad", &[TEXT, INT4], Function::PadEnd),
    ("rpad", &[TEXT, INT4, TEXT], Function::PadEnd),
];

/// The function that a call with decided types means.
pub(super) fn function(name: &str, declared: &[PgType]) -> Option<Function> {
    let oids: Vec<u32> = declared.iter().map(|pg_type| pg_type.oid).collect();
    let listed = TABLE.iter().find(|(known, types, _)| *known == name && *types == oids.as_slice());
    listed.map(|(_, _, function)| *function).or_else(|| arithmetic(name, declared))
}

/// Arithmetic exists for each numeric type, over operands of that type.
fn arithmetic(name: &str, declared: &[PgType]) -> Option<Function> {
    let rank = numeric_rank(*declared.first()?)?;
    let is_exact = rank <= 3;
    if declared.windows(2).any(|pair| pair[0].oid != pair[1].oid) {
        return None;
    }
    Some(match (name, declared.len()) {
        ("pg_add", 2) => Function::Add,
        ("pg_subtract", 2) => Function::Subtract,
        ("pg_multiply", 2) => Function::Multiply,
        ("pg_divide", 2) => Function::Divide,
        ("pg_modulo" | "mod", 2) if is_exact => Function::Modulo,
        ("pg_negate", 1) => Function::Negate,
        ("abs", 1) => Function::Absolute,
        _ => return None,
    })
}

/// Whether a cast gives the same value under every setting: moments with a zone depend on `TimeZone`, texts of dates on
/// `DateStyle`, texts of floats on `extra_float_digits`. `asked` tells a cast in the query from one that assigns.
pub(super) fn is_settled_cast(from: PgType, to: PgType, asked: bool) -> bool {
    let is_number = |pg_type: PgType| numeric_rank(pg_type).is_some();
    let is_exact = |pg_type: PgType| numeric_rank(pg_type).is_some_and(|rank| rank <= 3);
    if is_string(to) {
        // An assignment refuses what is too long, a cast cuts it.
        let fits = asked || to.typmod == -1;
        return fits && (is_string(from) || is_exact(from) || matches!(from.oid, 16 | 2950));
    }
    if is_string(from) {
        return is_number(to) || matches!(to.oid, 16 | 2950);
    }
    (is_number(from) && is_number(to)) || matches!((from.oid, to.oid), (16, 23) | (23, 16) | (1082, 1114) | (1114, 1082 | 1083))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_name_and_types() {
        let (int, text, numeric, float) = (PgType::INT4, PgType::TEXT, PgType::NUMERIC, PgType::FLOAT8);
        let rows: [(&str, &[PgType], Option<Function>); 14] = [
            ("pg_add", &[int, int], Some(Function::Add)),
            ("pg_add", &[int, PgType::INT8], None),
            ("pg_add", &[PgType::DATE, int], None),
            ("pg_modulo", &[numeric, numeric], Some(Function::Modulo)),
            ("pg_modulo", &[float, float], None),
            ("pg_negate", &[float], Some(Function::Negate)),
            ("pg_negate", &[PgType::INTERVAL], None),
            ("round", &[numeric, int], Some(Function::Round)),
            ("length", &[PgType::BYTEA], None),
            ("substring", &[text, text], None),
            ("substr", &[text, int, int], Some(Function::Substring)),
            ("pg_read_file", &[text], None),
            ("set_config", &[text, text, PgType::BOOL], None),
            ("regexp_replace", &[text, text, text], None),
        ];
        for (name, types, expected) in rows {
            assert_eq!(function(name, types), expected, "{name} {types:?}");
        }
    }

    #[test]
    fn casts_that_read_settings_stay_here() {
        let rows = [
            (PgType::INT4, PgType::TEXT, true, true),
            (PgType::FLOAT8, PgType::TEXT, true, false),
            (PgType::DATE, PgType::TEXT, true, false),
            (PgType::TEXT, PgType::DATE, true, false),
            (PgType::TEXT, PgType::INT4, true, true),
            (PgType::TIMESTAMP, PgType::DATE, true, true),
            (PgType::TIMESTAMPTZ, PgType::DATE, true, false),
            (PgType::NUMERIC, PgType::numeric(10, 2), false, true),
            (PgType::TEXT, PgType::with_typmod(1043, 9), true, true),
            (PgType::TEXT, PgType::with_typmod(1043, 9), false, false),
            (PgType::BPCHAR, PgType::TEXT, false, true),
            (PgType::JSONB, PgType::TEXT, true, false),
            (PgType::INTERVAL, PgType::TIME, true, false),
        ];
        for (from, to, asked, expected) in rows {
            assert_eq!(is_settled_cast(from, to, asked), expected, "{from} to {to}");
        }
    }
}
