//! Which function a call means: PostgreSQL's overload resolution (manual, "Functions" in "Type Conversion") over tables of
//! rows, and the implicit casts it may use.

use datafusion::logical_expr::Volatility;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{PgType, builtin};

use super::operators::plain;
use super::typed::{Kernel, Typed};

/// Accepts every type, unconverted.
pub(super) const ANY: PgType = PgType { oid: 2276, typmod: -1 };
/// Accepts every array.
pub(super) const ANYARRAY: PgType = PgType { oid: 2277, typmod: -1 };
/// Accepts every type that is not an array.
pub(super) const ANYELEMENT: PgType = PgType { oid: 2283, typmod: -1 };

/// One function with one list of argument types.
pub(super) struct Overload {
    pub(super) name: &'static str,
    pub(super) arguments: &'static [PgType],
    /// The last argument may repeat, or be absent.
    pub(super) variadic: bool,
    pub(super) returns: PgType,
    pub(super) kernel: Kernel,
    pub(super) volatility: Volatility,
}

/// A strict, immutable function.
pub(super) const fn row(
    name: &'static str,
    arguments: &'static [PgType],
    returns: PgType,
    kernel: super::typed::RowKernel,
) -> Overload {
    let kernel = Kernel::Strict(kernel);
    Overload { name, arguments, variadic: false, returns, kernel, volatility: Volatility::Immutable }
}

impl Overload {
    /// The same row, computed for NULL arguments too.
    pub(super) const fn lenient(mut self) -> Self {
        if let Kernel::Strict(kernel) = self.kernel {
            self.kernel = Kernel::Lenient(kernel);
        }
        self
    }

    /// The same row with a repeating last argument.
    pub(super) const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    pub(super) const fn volatility(mut self, volatility: Volatility) -> Self {
        self.volatility = volatility;
        self
    }

    /// The declared type of the argument at `index`.
    pub(super) fn declared(&self, index: usize) -> PgType {
        self.arguments.get(index).or(self.arguments.last()).copied().unwrap_or(ANY)
    }

    fn accepts(&self, count: usize) -> bool {
        if self.variadic { count + 1 >= self.arguments.len() } else { count == self.arguments.len() }
    }
}

/// The best row for a call, or `None` when no row fits.
pub(super) fn select(rows: &[&'static Overload], arguments: &[Typed]) -> Option<&'static Overload> {
    rows.iter()
        .filter(|row| row.accepts(arguments.len()))
        .filter_map(|row| {
            let costs = arguments.iter().enumerate().map(|(index, typed)| cost(typed.pg_type, row.declared(index)));
            costs.sum::<Option<u32>>().map(|total| (total, *row))
        })
        // `min_by_key` keeps the first of equals, so tables list the preferred row first.
        .min_by_key(|(total, _)| *total)
        .map(|(_, row)| row)
}

fn cost(from: PgType, to: PgType) -> Option<u32> {
    if to.oid == ANY.oid {
        return Some(6);
    }
    if to.oid == ANYARRAY.oid {
        return (from.element().is_some() || from.oid == PgType::UNKNOWN.oid).then_some(1);
    }
    if to.oid == ANYELEMENT.oid {
        return Some(1);
    }
    if from.oid == to.oid {
        return Some(0);
    }
    if from.oid == PgType::UNKNOWN.oid {
        return Some(if to.oid == PgType::TEXT.oid { 1 } else { 2 });
    }
    if !is_implicit(from, to) {
        return None;
    }
    Some(if is_preferred(to) { 3 } else { 4 })
}

/// Whether the type is the preferred one of its category (`pg_type.typispreferred`).
fn is_preferred(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 16 | 25 | 26 | 701 | 869 | 1184 | 1186 | 1562)
}

/// Place in the numeric tower.
pub(in super::super) fn numeric_rank(pg_type: PgType) -> Option<u8> {
    match pg_type.oid {
        21 => Some(0),
        23 => Some(1),
        20 => Some(2),
        1700 => Some(3),
        700 => Some(4),
        701 => Some(5),
        _ => None,
    }
}

/// Whether values are character strings.
pub(in super::super) fn is_string(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 18 | 19 | 25 | 1042 | 1043)
}

/// Whether PostgreSQL casts without being asked (`pg_cast.castcontext = 'i'`).
pub(super) fn is_implicit(from: PgType, to: PgType) -> bool {
    if let (Some(low), Some(high)) = (numeric_rank(from), numeric_rank(to)) {
        return low <= high;
    }
    if is_string(from) && is_string(to) {
        return to.oid == PgType::TEXT.oid || (matches!(from.oid, 25 | 1042 | 1043) && to.oid != PgType::CHAR.oid);
    }
    if let (Some(from), Some(to)) = (from.element(), to.element()) {
        return from.oid == to.oid || is_implicit(from, to);
    }
    matches!(
        (from.oid, to.oid),
        (1082, 1114 | 1184)
            | (1114, 1184)
            | (1083, 1186 | 1266)
            | (650, 869)
            | (1560, 1562)
            | (20 | 21 | 23, 24 | 26 | 2205 | 2206 | 4089 | 4096)
            | (24 | 2205 | 2206 | 4089 | 4096, 26)
            | (26, 24 | 2205 | 2206 | 4089 | 4096)
            | (26 | 2205 | 2206 | 4089 | 4096, 20)
    )
}

/// Category of a type (`pg_type.typcategory`); arrays are `A`.
pub(super) fn category(pg_type: PgType) -> char {
    match builtin(pg_type.oid) {
        Some(row) if row.category == 'Z' => 'S',
        Some(row) => row.category,
        None if pg_type.element().is_some() => 'A',
        None => 'E',
    }
}

/// Two types of one construct that have no common type.
#[derive(Debug)]
pub(super) enum Mismatch {
    /// They are of different categories.
    Unlike(Typed, Typed),
    /// The second cannot become the first without being asked.
    Unconvertible(Typed, Typed),
}

impl Mismatch {
    /// As PostgreSQL words it for `what`, the construct's name (`CASE`, `UNION`).
    pub(super) fn told(&self, what: &str) -> Diagnosis {
        match self {
            Self::Unlike(left, right) => {
                let message = format!("{what} types {} and {} cannot be matched", plain(left), plain(right));
                Diagnosis::new(sqlstate::DATATYPE_MISMATCH, message)
            }
            Self::Unconvertible(to, from) => {
                let message = format!("{what} could not convert type {} to {}", plain(from), plain(to));
                Diagnosis::new(sqlstate::CANNOT_COERCE, message)
            }
        }
    }
}

/// The common type of the branches of a construct (manual, "UNION, CASE, and Related Constructs"): the first one's, until a
/// later one is met that it converts to and that does not convert back; a preferred type stays.
pub(super) fn common_type(types: &[Typed]) -> Result<Typed, Mismatch> {
    let mut known = types.iter().filter(|typed| !typed.is_unknown());
    let Some(first) = known.next() else { return Ok(PgType::TEXT.into()) };
    let mut common = first;
    for typed in known {
        let (current, next) = (common.pg_type, typed.pg_type);
        if current.oid == next.oid {
            continue;
        }
        if category(current) != category(next) {
            return Err(Mismatch::Unlike(common.clone(), typed.clone()));
        }
        if !is_preferred(current) && is_implicit(current, next) && !is_implicit(next, current) {
            common = typed;
        }
    }
    let converts = |typed: &&Typed| typed.pg_type.oid == common.pg_type.oid || is_implicit(typed.pg_type, common.pg_type);
    if let Some(stray) = types.iter().filter(|typed| !typed.is_unknown()).find(|typed| !converts(typed)) {
        return Err(Mismatch::Unconvertible(common.clone(), stray.clone()));
    }
    // Only types that agree in all keep their modifier, and an untyped literal has none.
    let agree = types.iter().all(|typed| typed.pg_type == common.pg_type);
    let mut found = if agree { common.clone() } else { common.without_modifier() };
    if types.iter().any(|typed| !typed.is_unknown() && typed.labels != found.labels) {
        found.labels = None;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_find_their_common_type() {
        let rows: [(&[PgType], Option<PgType>); 14] = [
            (&[PgType::INT4, PgType::INT8], Some(PgType::INT8)),
            (&[PgType::INT4, PgType::NUMERIC, PgType::FLOAT8], Some(PgType::FLOAT8)),
            (&[PgType::UNKNOWN, PgType::UUID], Some(PgType::UUID)),
            (&[PgType::UNKNOWN], Some(PgType::TEXT)),
            (&[PgType::VARCHAR, PgType::TEXT], Some(PgType::VARCHAR)),
            (&[PgType::TEXT, PgType::BPCHAR], Some(PgType::TEXT)),
            (&[PgType::BPCHAR, PgType::VARCHAR], Some(PgType::BPCHAR)),
            (&[PgType::VARCHAR, PgType::NAME], Some(PgType::NAME)),
            (&[PgType::FLOAT4, PgType::NUMERIC], Some(PgType::FLOAT4)),
            (&[PgType::FLOAT8, PgType::OID], None),
            (&[PgType::DATE, PgType::TIME], None),
            (&[PgType::with_typmod(1043, 9), PgType::UNKNOWN], Some(PgType::VARCHAR)),
            (&[PgType::DATE, PgType::TIMESTAMPTZ], Some(PgType::TIMESTAMPTZ)),
            (&[PgType::INT4, PgType::TEXT], None),
        ];
        for (types, expected) in rows {
            let types: Vec<Typed> = types.iter().map(|pg_type| Typed::from(*pg_type)).collect();
            assert_eq!(common_type(&types).ok().map(|typed| typed.pg_type), expected, "{types:?}");
        }
    }
}
