//! Forms of GROUP BY and DISTINCT ON that the planner reads otherwise: ordinals within grouping sets, and repetitions.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, ObjectNamePart, OrderByKind, Query, Select, SelectItem, SetExpr, Value,
    visit_expressions_mut,
};

use super::dialect::call_with;
use super::name::figure_name;
use super::size::{self, COPIED_MAX};
use crate::error::{Diagnosis, Limit, sqlstate};

/// PostgreSQL's `ERRCODE_INVALID_COLUMN_REFERENCE`.
const INVALID_COLUMN_REFERENCE: &str = "42P10";
/// Most expressions of a CUBE, as in PostgreSQL.
const CUBE_MAX: usize = 12;
/// Most grouping sets of a SELECT, as in PostgreSQL.
const SETS_MAX: usize = 4_096;
/// Most expressions in all grouping sets of a SELECT together, once ROLLUP and CUBE are written out.
const MEMBERS_MAX: usize = 100_000;
/// Most different expressions in all grouping sets of a SELECT: the engine tells sets apart by the bits of one word, of which it needs
/// up to 12 for sets that stand there more than once.
const DIFFERENT_MAX: usize = 52;
/// Most expressions in one grouping set: PostgreSQL's limit for a list of outputs.
const WIDTH_MAX: usize = 1_664;

/// Replaces ordinals within grouping sets by what they stand for. The planner does so for plain GROUP BY only, and would group
/// by the numbers. Two outputs that ordinals name are grouped apart even if they are the same: a set may show only one of them.
///
/// # Errors
/// 54001 and 54011 beyond [`SETS_MAX`], [`DIFFERENT_MAX`], [`MEMBERS_MAX`], [`WIDTH_MAX`], [`CUBE_MAX`] or [`COPIED_MAX`], before
/// anything is written out.
pub(super) fn resolve_ordinals(select: &mut Select) -> Result<(), Diagnosis> {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return Ok(()) };
    if !groups.iter().any(is_sets) {
        return Ok(());
    }
    bound(groups)?;
    for group in groups.iter_mut() {
        // Each member would get an item of its own.
        if let Expr::GroupingSets(sets) = group {
            sets.iter_mut().for_each(|set| retain_first(set, |member| member));
        }
    }
    let (named, resolved) = meanings(groups, &select.projection)?;
    for group in groups.iter_mut() {
        let (Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets)) = &mut *group else { continue };
        for member in sets.iter_mut().flatten() {
            if let Some((_, own)) = resolved.iter().find(|(known, _)| known == member) {
                member.clone_from(own);
            }
        }
        drop_repeated_members(group);
    }
    for Named { place, own: expr, .. } in named {
        let Some(item) = select.projection.get_mut(place) else { continue };
        let alias = match item {
            SelectItem::ExprWithAlias { expr: shown, alias } if *shown != expr => alias.clone(),
            SelectItem::UnnamedExpr(shown) if *shown != expr => Ident::with_quote('"', figure_name(shown)),
            _ => continue,
        };
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
    Ok(())
}

/// Replaces ordinals in DISTINCT ON by what they stand for: the planner takes them for constants. Each place is named once, so that what is
/// copied is not more than the select list.
///
/// # Errors
/// 42P10 for places that are not in the select list, 0A000 for those that are not known behind a wildcard.
pub(super) fn resolve_distinct_on(select: &mut Select) -> Result<(), Diagnosis> {
    let Some(Distinct::On(keys)) = &mut select.distinct else { return Ok(()) };
    let mut named = BTreeSet::new();
    let mut kept = Vec::with_capacity(keys.len());
    for key in std::mem::take(keys) {
        match written_place(&key) {
            Some(place) if named.insert(place) => kept.push(at_place(&select.projection, place)?),
            Some(_) => {}
            None => kept.push(key),
        }
    }
    *keys = kept;
    Ok(())
}

fn written_place(key: &Expr) -> Option<usize> {
    match key {
        Expr::Nested(inner) => written_place(inner),
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The item at a place that is counted from one.
fn at_place(items: &[SelectItem], place: usize) -> Result<Expr, Diagnosis> {
    if let Some(found) = place.checked_sub(1).and_then(|place| item(items, place)) {
        return Ok(found);
    }
    if items.iter().take(place).any(|item| shown(item).is_none()) {
        let message = "positions in DISTINCT ON are not supported behind *";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    Err(Diagnosis::new(INVALID_COLUMN_REFERENCE, format!("DISTINCT ON position {place} is not in select list")))
}

pub(super) fn is_sets(group: &Expr) -> bool {
    matches!(group, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_))
}

/// Members of grouping sets, and what each stands for.
type Meanings = Vec<(Expr, Expr)>;

/// The outputs that groups name, and each different member of grouping sets with what it stands for. Few are different, but each may
/// stand there a hundred thousand times, beside as many items.
fn meanings(groups: &[Expr], items: &[SelectItem]) -> Result<(Vec<Named>, Meanings), Diagnosis> {
    let folded: Vec<Expr> = items.iter().map_while(shown).cloned().map(fold).collect();
    let aliases: Vec<Option<String>> = items.iter().map(folded_alias).collect();
    let mut named: Vec<Named> = Vec::new();
    let mut sizes = Sizes::default();
    for group in groups.iter().filter(|group| !is_sets(group)) {
        if sizes.known.iter().any(|(known, _)| *known == group) {
            continue;
        }
        let place = ordinal(group).or_else(|| first_like(items, group));
        if let Some((place, meant)) = place.and_then(|place| item(items, place).map(|meant| (place, meant))) {
            sizes.add(group, &meant)?;
            named.push(Named { place, own: meant.clone(), meant });
        } else {
            sizes.add(group, group)?;
        }
    }
    let mut resolved = Meanings::new();
    for member in groups.iter().filter(|group| is_sets(group)).flat_map(members_of) {
        if resolved.iter().any(|(known, _)| known == member) {
            continue;
        }
        let by_place = ordinal(member).or_else(|| repeated_alias(items, &aliases, &folded, member));
        let place = by_place.or_else(|| first_like(items, member));
        let own = match place.and_then(|place| item(items, place).map(|meant| (place, meant))) {
            Some((place, meant)) => told_apart(&mut named, place, meant, by_place.is_some()),
            None => member.clone(),
        };
        sizes.add(member, &own)?;
        resolved.push((member.clone(), own));
    }
    if written_out(groups, &|group| sizes.of(group)) > COPIED_MAX { Err(too_large()) } else { Ok((named, resolved)) }
}

/// What different groups take, each once.
#[derive(Default)]
struct Sizes<'g> {
    known: Vec<(&'g Expr, usize)>,
    total: usize,
}

impl<'g> Sizes<'g> {
    fn add(&mut self, group: &'g Expr, own: &Expr) -> Result<(), Diagnosis> {
        let size = size::of(own);
        self.known.push((group, size));
        self.total = self.total.saturating_add(size);
        if self.total > COPIED_MAX { Err(too_large()) } else { Ok(()) }
    }

    /// Beside the sets and in them a name may stand for different items.
    fn of(&self, group: &Expr) -> usize {
        self.known.iter().filter(|(known, _)| *known == group).map(|(_, size)| *size).max().unwrap_or_default()
    }
}

fn too_large() -> Diagnosis {
    Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "grouping sets are too large")
        .with_detail(format!("Their entries may take at most {} MB when all sets are written out.", COPIED_MAX >> 20))
        .at(Limit::Complexity)
}

/// What groups take together when each set is written out beside those of the others.
fn written_out(groups: &[Expr], take: &dyn Fn(&Expr) -> usize) -> usize {
    let of_set = |set: &Vec<Expr>| set.iter().map(take).fold(0, usize::saturating_add);
    let of_all = |parts: &[Vec<Expr>]| parts.iter().map(of_set).fold(0, usize::saturating_add);
    let (mut sets, mut taken) = (1_usize, 0_usize);
    for group in groups {
        let (own_sets, own) = match group {
            Expr::Rollup(parts) => {
                let of_prefixes = parts.iter().rev().zip(1_usize..).map(|(part, times)| of_set(part).saturating_mul(times));
                (parts.len() + 1, of_prefixes.fold(0, usize::saturating_add))
            }
            Expr::Cube(parts) => (1 << parts.len(), of_all(parts).saturating_mul(1 << parts.len()) / 2),
            Expr::GroupingSets(parts) => (parts.len(), of_all(parts)),
            other => (1, take(other)),
        };
        taken = taken.saturating_mul(own_sets).saturating_add(own.saturating_mul(sets));
        sets = sets.saturating_mul(own_sets);
    }
    taken
}

/// Refuses sets that are too many or too wide when each is written out beside those of the others.
fn bound(groups: &[Expr]) -> Result<(), Diagnosis> {
    let (mut sets, mut width) = (1_usize, 0_usize);
    for group in groups {
        let (own_sets, own_width) = match group {
            Expr::Rollup(parts) => (parts.len() + 1, total(parts)),
            Expr::Cube(parts) if parts.len() > CUBE_MAX => {
                let message = format!("CUBE is limited to {CUBE_MAX} elements");
                return Err(Diagnosis::new(sqlstate::TOO_MANY_COLUMNS, message).at(Limit::Complexity));
            }
            Expr::Cube(parts) => (1 << parts.len(), total(parts)),
            Expr::GroupingSets(parts) => (parts.len(), parts.iter().map(Vec::len).max().unwrap_or_default()),
            _ => (1, 0),
        };
        sets = sets.saturating_mul(own_sets);
        width = width.saturating_add(own_width);
    }
    if sets > SETS_MAX {
        let message = format!("too many grouping sets present (maximum {SETS_MAX})");
        return Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, message).at(Limit::Complexity));
    }
    if width > WIDTH_MAX {
        let message = format!("grouping sets can have at most {WIDTH_MAX} entries");
        return Err(Diagnosis::new(sqlstate::TOO_MANY_COLUMNS, message).at(Limit::Complexity));
    }
    let mut different: Vec<&Expr> = Vec::new();
    for member in groups.iter().flat_map(members_of) {
        if !different.contains(&member) {
            different.push(member);
        }
        if different.len() > DIFFERENT_MAX {
            return Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "grouping sets have too many different entries")
                .with_detail(format!("At most {DIFFERENT_MAX} are allowed in all sets together."))
                .at(Limit::Complexity));
        }
    }
    if written_out(groups, &|_| 1) > MEMBERS_MAX {
        return Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "grouping sets have too many entries")
            .with_detail(format!("At most {MEMBERS_MAX} are allowed in all sets together."))
            .at(Limit::Complexity));
    }
    Ok(())
}

fn members_of(group: &Expr) -> Vec<&Expr> {
    match group {
        Expr::Rollup(parts) | Expr::Cube(parts) | Expr::GroupingSets(parts) => parts.iter().flatten().collect(),
        other => vec![other],
    }
}

fn total(parts: &[Vec<Expr>]) -> usize {
    parts.iter().map(Vec::len).sum()
}

/// An output that a grouping set names.
struct Named {
    place: usize,
    /// As the client wrote it.
    meant: Expr,
    /// As no other one is.
    own: Expr,
}

/// The place of the first item that is this expression.
fn first_like(items: &[SelectItem], expr: &Expr) -> Option<usize> {
    items.iter().position(
        |item| matches!(item, SelectItem::UnnamedExpr(found) | SelectItem::ExprWithAlias { expr: found, .. } if found == expr),
    )
}

/// The place of the item of this name, where another item may be the same expression. A column of the name would go before it, but
/// the item would then be grouped by nothing.
fn repeated_alias(items: &[SelectItem], aliases: &[Option<String>], folded: &[Expr], member: &Expr) -> Option<usize> {
    let Expr::Identifier(name) = member else { return None };
    let name = folded_name(name);
    let is_meant = |(alias, item): (&Option<String>, &SelectItem)| {
        alias.as_ref() == Some(&name) && matches!(item, SelectItem::ExprWithAlias { expr, .. } if expr != member)
    };
    let place = aliases.iter().zip(items).position(is_meant)?;
    let own = folded.get(place)?;
    let is_other = |(other, expr): (usize, &Expr)| other != place && expr == own;
    folded.iter().enumerate().any(is_other).then_some(place)
}

/// An expression without what may differ between two spellings of one column or function: of two columns of one name it says that
/// they may be the same.
fn fold(mut expr: Expr) -> Expr {
    let _: ControlFlow<()> = visit_expressions_mut(&mut expr, |part| {
        match part {
            Expr::Identifier(name) => *name = Ident::with_quote('"', folded_name(name)),
            Expr::CompoundIdentifier(names) => {
                if let Some(last) = names.pop() {
                    *part = Expr::Identifier(Ident::with_quote('"', folded_name(&last)));
                }
            }
            Expr::Function(function) => {
                for name in &mut function.name.0 {
                    if let ObjectNamePart::Identifier(name) = name {
                        *name = Ident::with_quote('"', folded_name(name));
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    expr
}

fn folded_alias(item: &SelectItem) -> Option<String> {
    if let SelectItem::ExprWithAlias { alias, .. } = item { Some(folded_name(alias)) } else { None }
}

fn folded_name(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// An item as an expression that no item at another place is: with NULL behind it once for each that is the same, or, where it is named
/// by its place, may be the same.
fn told_apart(named: &mut Vec<Named>, place: usize, meant: Expr, by_place: bool) -> Expr {
    if let Some(known) = named.iter().find(|known| known.place == place) {
        return known.own.clone();
    }
    let spelling = fold(meant.clone());
    let is_same = |known: &&Named| known.meant == meant || by_place && fold(known.meant.clone()) == spelling;
    let mut nulls = named.iter().filter(is_same).count();
    let mut own = meant.clone();
    loop {
        if nulls > 0 {
            let behind = std::iter::repeat_n(Expr::value(Value::Null), nulls);
            own = call_with("coalesce", std::iter::once(meant.clone()).chain(behind).collect());
        }
        if !named.iter().any(|known| known.own == own) {
            named.push(Named { place, meant, own: own.clone() });
            return own;
        }
        nulls += 1;
    }
}

/// Takes repetitions out of each grouping set. ROLLUP and CUBE over one expression twice are written out: the planner would
/// name a column of it twice.
fn drop_repeated_members(group: &mut Expr) {
    let is_repeated = |sets: &[Vec<Expr>]| {
        let members: Vec<&Expr> = sets.iter().flatten().collect();
        members.iter().enumerate().any(|(place, member)| members[..place].contains(member))
    };
    let joined = |sets: &[Vec<Expr>], keep: &dyn Fn(usize) -> bool| -> Vec<Expr> {
        sets.iter().enumerate().filter(|(place, _)| keep(*place)).flat_map(|(_, set)| set.clone()).collect()
    };
    let mut sets: Vec<Vec<Expr>> = match group {
        Expr::Rollup(sets) if is_repeated(sets) => {
            (0..=sets.len()).rev().map(|length| joined(sets, &|place| place < length)).collect()
        }
        Expr::Cube(sets) if is_repeated(sets) => {
            (0..1_usize << sets.len()).rev().map(|chosen| joined(sets, &|place| chosen & (1 << place) != 0)).collect()
        }
        Expr::GroupingSets(sets) => std::mem::take(sets),
        _ => return,
    };
    for set in &mut sets {
        retain_first(set, |member| member);
    }
    *group = Expr::GroupingSets(sets);
}

pub(super) fn ordinal(expr: &Expr) -> Option<usize> {
    let Expr::Value(value) = expr else { return None };
    let Value::Number(text, _) = &value.value else { return None };
    text.parse::<usize>().ok()?.checked_sub(1)
}

/// An item of a SELECT list by its place; `None` behind wildcards, whose columns are not known yet.
pub(super) fn item(items: &[SelectItem], place: usize) -> Option<Expr> {
    items.iter().take(place + 1).map_while(shown).nth(place).cloned()
}

/// What an item shows, unless it is a wildcard.
fn shown(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Takes repetitions out of DISTINCT ON and its ORDER BY, which must begin alike: the second time an expression is named says
/// nothing more, whatever its direction.
pub(super) fn drop_repetitions(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let Some(Distinct::On(keys)) = &mut select.distinct else { return };
    retain_first(keys, |key| key);
    if let Some(order) = &mut query.order_by
        && let OrderByKind::Expressions(keys) = &mut order.kind
    {
        retain_first(keys, |key| &key.expr);
    }
}

fn retain_first<T>(keys: &mut Vec<T>, expr: impl Fn(&T) -> &Expr) {
    let mut kept: Vec<T> = Vec::with_capacity(keys.len());
    for key in std::mem::take(keys) {
        if !kept.iter().any(|known| expr(known) == expr(&key)) {
            kept.push(key);
        }
    }
    *keys = kept;
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    #[test]
    fn ordinals_and_repetitions_are_resolved() {
        let rows = [
            ("SELECT a, b AS x FROM t GROUP BY ROLLUP (1, 2)", "SELECT a, b AS x FROM t GROUP BY ROLLUP (a, b)"),
            (
                "SELECT a, b FROM t GROUP BY GROUPING SETS ((1), (2, 1), ())",
                "SELECT a, b FROM t GROUP BY GROUPING SETS ((a), (b, a), ())",
            ),
            ("SELECT a FROM t GROUP BY CUBE (1, 3)", "SELECT a FROM t GROUP BY CUBE (a, 3)"),
            ("SELECT * FROM t GROUP BY ROLLUP (2)", "SELECT * FROM t GROUP BY ROLLUP (2)"),
            ("SELECT a FROM t GROUP BY 1", "SELECT a FROM t GROUP BY 1"),
            (
                "SELECT a, a AS x FROM t GROUP BY ROLLUP (1, 2)",
                "SELECT a, coalesce(a, NULL) AS x FROM t GROUP BY ROLLUP (a, coalesce(a, NULL))",
            ),
            ("SELECT a, a FROM t GROUP BY CUBE (2)", "SELECT a, a FROM t GROUP BY CUBE (a)"),
            (
                "SELECT a, a FROM t GROUP BY GROUPING SETS ((a), (2))",
                "SELECT a, coalesce(a, NULL) AS \"a\" FROM t GROUP BY GROUPING SETS ((a), (coalesce(a, NULL)))",
            ),
            (
                "SELECT a AS x, a AS y FROM t GROUP BY 1, ROLLUP (2)",
                "SELECT a AS x, coalesce(a, NULL) AS y FROM t GROUP BY 1, ROLLUP (coalesce(a, NULL))",
            ),
            (
                "SELECT a AS x, a AS y FROM t GROUP BY GROUPING SETS ((x), (y))",
                "SELECT a AS x, coalesce(a, NULL) AS y FROM t GROUP BY GROUPING SETS ((a), (coalesce(a, NULL)))",
            ),
            (
                "SELECT t.a AS x, A AS y FROM t GROUP BY GROUPING SETS ((1), (2))",
                "SELECT t.a AS x, coalesce(A, NULL) AS y FROM t GROUP BY GROUPING SETS ((t.a), (coalesce(A, NULL)))",
            ),
            ("SELECT t.a, u.a FROM t, u GROUP BY ROLLUP (t.a, u.a)", "SELECT t.a, u.a FROM t, u GROUP BY ROLLUP (t.a, u.a)"),
            ("SELECT b AS x FROM t GROUP BY ROLLUP (x)", "SELECT b AS x FROM t GROUP BY ROLLUP (x)"),
            ("SELECT a, a FROM t GROUP BY ROLLUP (a, a)", "SELECT a, a FROM t GROUP BY GROUPING SETS ((a), (a), ())"),
            ("SELECT a FROM t GROUP BY CUBE (a, 1)", "SELECT a FROM t GROUP BY GROUPING SETS ((a), (a), (a), ())"),
            ("SELECT 1 FROM t GROUP BY GROUPING SETS ((b, b), (b))", "SELECT 1 FROM t GROUP BY GROUPING SETS ((b), (b))"),
            ("SELECT DISTINCT ON (a, a) b FROM t ORDER BY a, a DESC, c", "SELECT DISTINCT ON (a) b FROM t ORDER BY a, c"),
            ("SELECT b FROM t ORDER BY a, a DESC", "SELECT b FROM t ORDER BY a, a DESC"),
        ];
        for (sql, expected) in rows {
            let mut parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            let Some(Statement::Query(query)) = parsed.first_mut() else { panic!("{sql}") };
            drop_repetitions(query);
            if let SetExpr::Select(select) = query.body.as_mut() {
                resolve_ordinals(select).unwrap();
            }
            assert_eq!(query.to_string(), expected, "{sql}");
        }
    }

    #[test]
    fn ordinals_of_distinct_on_are_resolved() {
        let rows = [
            ("SELECT DISTINCT ON (1) a, b FROM t ORDER BY 1", Ok("SELECT DISTINCT ON (a) a, b FROM t ORDER BY 1")),
            (
                "SELECT DISTINCT ON (c, (2), 02, 1) a, b + 1 AS x FROM t",
                Ok("SELECT DISTINCT ON (c, b + 1, a) a, b + 1 AS x FROM t"),
            ),
            ("SELECT DISTINCT ON (1) a, * FROM t", Ok("SELECT DISTINCT ON (a) a, * FROM t")),
            ("SELECT DISTINCT ON (3) a, b FROM t", Err("42P10")),
            ("SELECT DISTINCT ON (0) a FROM t", Err("42P10")),
            ("SELECT DISTINCT ON (2) *, a FROM t", Err("0A000")),
        ];
        for (sql, expected) in rows {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            let Some(Statement::Query(query)) = statements.first_mut() else { panic!("{sql}") };
            let SetExpr::Select(select) = query.body.as_mut() else { panic!("{sql}") };
            let resolved = resolve_distinct_on(select).map_err(|error| error.sqlstate);
            let found = resolved.map(|()| query.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{sql}");
        }
    }

    #[test]
    fn sets_are_counted_before_they_are_written_out() {
        let list = |count: usize, item: &str| vec![item; count].join(", ");
        let rows = [
            (format!("ROLLUP ({})", list(440, "a")), Ok(())),
            (format!("ROLLUP ({})", list(500, "a")), Err("54001")),
            (format!("ROLLUP ({})", list(10_000, "a")), Err("54001")),
            (format!("CUBE ({})", list(12, "a")), Ok(())),
            (format!("CUBE ({})", list(13, "a")), Err("54011")),
            (format!("CUBE ({}), ROLLUP (b)", list(12, "a")), Err("54001")),
            (format!("GROUPING SETS ({})", list(4_096, "(a)")), Ok(())),
            (format!("GROUPING SETS ({})", list(4_097, "(a)")), Err("54001")),
            (format!("GROUPING SETS (({}))", list(1_665, "a")), Err("54011")),
            (list(5_000, "a"), Ok(())),
            (format!("ROLLUP ({})", (0..52).map(|place| format!("c{place}")).collect::<Vec<_>>().join(", ")), Ok(())),
            (format!("ROLLUP ({})", (0..53).map(|place| format!("c{place}")).collect::<Vec<_>>().join(", ")), Err("54001")),
            (
                format!("GROUPING SETS ({})", (1..=4_096).map(|place| format!("({place})")).collect::<Vec<_>>().join(", ")),
                Err("54001"),
            ),
        ];
        for (groups, expected) in rows {
            let sql = format!("SELECT a FROM t GROUP BY {groups}");
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, &sql).unwrap();
            let Some(Statement::Query(query)) = statements.first_mut() else { panic!("{sql}") };
            let SetExpr::Select(select) = query.body.as_mut() else { panic!("{sql}") };
            let found = resolve_ordinals(select).map_err(|error| error.sqlstate);
            assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|code| *code), "{:.60}", groups);
        }
    }

    #[test]
    fn items_are_measured_before_they_are_written_out() {
        let long = format!("'{}'", "x".repeat(100_000));
        let list = |count: usize, item: &str| vec![item; count].join(", ");
        let spellings: Vec<String> = (1..=40).map(|zeros| format!("({}1)", "0".repeat(zeros))).collect();
        let rows = [
            (format!("GROUPING SETS ({})", list(100, "(1)")), Ok(())),
            (format!("GROUPING SETS ({})", list(1_000, "(1)")), Err("54001")),
            (format!("GROUPING SETS ({})", list(1_000, "(x)")), Err("54001")),
            (format!("GROUPING SETS ({})", list(50, &format!("({})", list(1_000, "1")))), Ok(())),
            (format!("ROLLUP ({})", list(40, "1")), Err("54001")),
            (format!("1, GROUPING SETS ({})", list(1_000, "(2)")), Err("54001")),
            (format!("x, GROUPING SETS ({})", list(1_000, "(x)")), Err("54001")),
            (format!("GROUPING SETS ({})", spellings.join(", ")), Ok(())),
            (format!("GROUPING SETS ({})", list(20, &spellings.join(", "))), Err("54001")),
        ];
        for (groups, expected) in rows {
            let sql = format!("SELECT a || {long} AS x, b, a || {long} FROM t GROUP BY {groups}");
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, &sql).unwrap();
            let Some(Statement::Query(query)) = statements.first_mut() else { panic!("{groups:.60}") };
            let SetExpr::Select(select) = query.body.as_mut() else { panic!("{groups:.60}") };
            let found = resolve_ordinals(select).map_err(|error| error.sqlstate);
            assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|code| *code), "{:.60}", groups);
        }
    }
}
