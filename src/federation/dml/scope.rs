//! What planning a write knows of its parameters, cells that need no planning, and the queries that are put together of its parts.
//!
//! A cell is what stands alone where a column gets its value: such a literal or parameter has the type of the column, while inside of an
//! expression it has that of its surroundings.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, ObjectName, Query, SelectItem, SetExpr, TableFactor, TableWithJoins, UnaryOperator,
    Value, Visit, Visitor, With, visit_expressions,
};

use super::super::ast::syntax::at_or_near;
use super::super::engine::Engine;
use super::super::output::OutputColumn;
use super::super::plan::{self, Planned, Setting, parse_query};
use super::super::semantics::number_type;
use super::super::semantics::typed::Typed;
use super::target::Target;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{ENUM_KEY, PgType};

/// The highest parameter number, as in queries.
const PARAMETERS_MAX: usize = 65_535;

/// 42601 for words that PostgreSQL's grammar does not have where they stand.
pub(super) fn not_in_grammar(word: &str) -> Diagnosis {
    at_or_near(word)
}

/// One statement while it is planned.
pub(super) struct Scope<'e> {
    pub(super) engine: &'e Engine,
    pub(super) setting: &'e Setting,
    pub(super) parameters: Parameters,
}

impl<'e> Scope<'e> {
    pub(super) fn new(engine: &'e Engine, setting: &'e Setting, given: &[u32]) -> Self {
        Self { engine, setting, parameters: Parameters::given(given) }
    }

    /// Plans a part of the statement; what it tells of parameters holds for all of it.
    pub(super) fn plan(&mut self, query: Query) -> Result<Planned, Diagnosis> {
        let used = numbers(&query);
        let planned = plan::plan(self.engine, self.setting, query, &self.parameters.oids())?;
        self.parameters.learn(used.keys(), &planned);
        Ok(planned)
    }

    /// The same for something that is planned again when more is known: the statement learns nothing of it.
    pub(super) fn plan_ahead(&self, query: Query) -> Result<Planned, Diagnosis> {
        plan::plan(self.engine, self.setting, query, &self.parameters.oids())
    }

    /// Whether a function of this name makes one value of many rows.
    pub(super) fn is_aggregate(&self, name: &str) -> bool {
        self.engine.is_aggregate(name)
    }
}

/// The types of a statement's parameters, as far as they are known.
#[derive(Debug)]
pub(super) struct Parameters {
    types: Vec<Option<PgType>>,
}

impl Parameters {
    fn given(oids: &[u32]) -> Self {
        let known = |oid: &u32| (*oid != 0 && *oid != PgType::UNKNOWN.oid).then(|| PgType::with_typmod(*oid, -1));
        Self { types: oids.iter().map(known).collect() }
    }

    fn oids(&self) -> Vec<u32> {
        self.types.iter().map(|known| known.map_or(0, |pg_type| pg_type.oid)).collect()
    }

    /// The type of a parameter, which is that of the first use that tells one.
    pub(super) fn settle(&mut self, number: usize, pg_type: PgType) -> PgType {
        if self.types.len() < number {
            self.types.resize(number, None);
        }
        let plain = PgType::with_typmod(pg_type.oid, -1);
        match number.checked_sub(1).and_then(|place| self.types.get_mut(place)) {
            Some(slot) => *slot.get_or_insert(plain),
            None => plain,
        }
    }

    fn learn<'n>(&mut self, used: impl Iterator<Item = &'n usize>, planned: &Planned) {
        for number in used {
            if let Some(pg_type) = number.checked_sub(1).and_then(|place| planned.parameters.get(place)) {
                self.settle(*number, *pg_type);
            }
        }
    }

    /// All types; what nothing tells of is `text`, as in queries.
    pub(super) fn into_types(self) -> Vec<PgType> {
        self.types.into_iter().map(|known| known.unwrap_or(PgType::TEXT)).collect()
    }
}

/// The parameters in a part of a statement, and how often each is named.
pub(super) fn numbers(part: &impl Visit) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    let mut visitor = Numbers { found: &mut found };
    let _: ControlFlow<()> = part.visit(&mut visitor);
    found
}

struct Numbers<'f> {
    found: &'f mut BTreeMap<usize, usize>,
}

impl Visitor for Numbers<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(id) = &value.value
            && let Ok(number) = parameter(id)
        {
            *self.found.entry(number).or_default() += 1;
        }
        ControlFlow::Continue(())
    }
}

/// The number of `$3`, from 1.
fn parameter(id: &str) -> Result<usize, Diagnosis> {
    let number = id.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
    number.filter(|number| (1..=PARAMETERS_MAX).contains(number)).ok_or_else(|| {
        let message = format!("there is no parameter {id}");
        Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, message)
    })
}

/// What stands alone where a column gets its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// `DEFAULT`
    Default,
    /// `NULL`
    Null,
    /// A quoted literal, of no type yet.
    Text(String),
    /// A number with its sign.
    Number(String),
    /// `true`, `false`
    Truth(bool),
    /// `$3`
    Parameter(usize),
}

/// Whether an expression is the word DEFAULT, which the parser takes for a name.
fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

impl Cell {
    /// The cell that an expression is; `None` when it must be computed.
    ///
    /// # Errors
    /// 42P02; 42601 for DEFAULT inside of an expression.
    pub(super) fn of(expr: &Expr) -> Result<Option<Self>, Diagnosis> {
        if is_default(expr) {
            return Ok(Some(Self::Default));
        }
        if visit_expressions(expr, |part| if is_default(part) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            .is_break()
        {
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "DEFAULT is not allowed in this context"));
        }
        Ok(match expr {
            Expr::Nested(inner) => Self::of(inner)?,
            Expr::Value(value) => match &value.value {
                Value::Null => Some(Self::Null),
                Value::Boolean(truth) => Some(Self::Truth(*truth)),
                Value::Number(digits, false) => Some(Self::Number(digits.clone())),
                Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(Self::Text(text.clone())),
                Value::DollarQuotedString(text) => Some(Self::Text(text.value.clone())),
                Value::Placeholder(id) => Some(Self::Parameter(parameter(id)?)),
                _ => None,
            },
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match inner.as_ref() {
                Expr::Value(value) => match &value.value {
                    Value::Number(digits, false) => Some(Self::Number(format!("-{digits}"))),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
    }

    /// The type that the cell has by itself: none for what takes that of its column.
    pub(super) fn own_type(&self) -> PgType {
        match self {
            Self::Number(text) => number_type(text),
            Self::Truth(_) => PgType::BOOL,
            Self::Default | Self::Null | Self::Text(_) | Self::Parameter(_) => PgType::UNKNOWN,
        }
    }
}

/// `SELECT outputs FROM … WHERE …`. With no outputs every row has one that says nothing.
///
/// # Errors
/// None that a caller can cause.
pub(super) fn select(
    with: Option<With>,
    outputs: Vec<SelectItem>,
    from: Vec<TableWithJoins>,
    condition: Option<Expr>,
) -> Result<Query, Diagnosis> {
    let mut query = parse_query("SELECT 1")?;
    query.with = with;
    if let SetExpr::Select(select) = query.body.as_mut() {
        if !outputs.is_empty() {
            select.projection = outputs;
        }
        select.from = from;
        select.selection = condition;
    }
    Ok(query)
}

/// Plans the queries of a WITH clause that nothing reads, so that their mistakes are told and none of them writes. They are not run.
///
/// # Errors
/// As for any query.
pub(super) fn look_at(scope: &mut Scope<'_>, with: Option<With>) -> Result<(), Diagnosis> {
    if with.is_some() {
        scope.plan(select(with, Vec::new(), Vec::new(), None)?)?;
    }
    Ok(())
}

/// A table by the whole name that it has in the catalog, so that no WITH query of the same name is taken for it.
pub(super) fn whole_name(target: &Target, alias: Option<&Ident>) -> Result<TableWithJoins, Diagnosis> {
    let mut query = parse_query("SELECT 1 FROM a AS b")?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(unparsed()) };
    let mut item = select.from.pop().ok_or_else(unparsed)?;
    let TableFactor::Table { name, alias: known, .. } = &mut item.relation else { return Err(unparsed()) };
    *name = ObjectName::from(vec![quoted(&target.relation.schema), quoted(&target.relation.name)]);
    match (alias, known.as_mut()) {
        (Some(alias), Some(known)) => known.name = alias.clone(),
        _ => *known = None,
    }
    Ok(item)
}

/// `"schema"."table"."column"`
pub(super) fn column_named(relation: &TableReference, name: &str) -> Expr {
    let parts = [relation.catalog(), relation.schema(), Some(relation.table()), Some(name)];
    Expr::CompoundIdentifier(parts.into_iter().flatten().map(quoted).collect())
}

/// `CASE WHEN condition THEN result [ELSE otherwise] END`
pub(super) fn when(conditions: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    let nested = |expr: Expr| Expr::Nested(Box::new(expr));
    let case = |(condition, result)| CaseWhen { condition: nested(condition), result: nested(result) };
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: conditions.into_iter().map(case).collect(),
        else_result: otherwise.map(Box::new),
    }
}

/// All of the conditions; `None` without any.
pub(super) fn all_of(conditions: impl IntoIterator<Item = Expr>) -> Option<Expr> {
    let both = |left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) };
    conditions.into_iter().reduce(both)
}

/// `TRUE`
pub(super) fn always() -> Expr {
    Expr::value(Value::Boolean(true))
}

fn unparsed() -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, "a query of the planner's own was not read as one")
}

/// A name that means itself.
pub(super) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// `table.column` of the target.
pub(super) fn column_of(target: &Target, name: &str) -> SelectItem {
    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![quoted(&target.alias), quoted(name)]))
}

/// The queries of two WITH clauses, those of the outer one first.
pub(super) fn with_both(outer: Option<With>, inner: Option<With>) -> Option<With> {
    match (outer, inner) {
        (Some(mut outer), Some(inner)) => {
            outer.recursive |= inner.recursive;
            outer.cte_tables.extend(inner.cte_tables);
            Some(outer)
        }
        (outer, inner) => outer.or(inner),
    }
}

/// The types of a planned query's outputs, with the labels of those that are columns of an enum.
pub(super) fn types_of(planned: &Planned) -> Vec<Typed> {
    let fields = planned.logical().schema().fields();
    let typed = |(place, column): (usize, &OutputColumn)| {
        let labels = fields.get(place).and_then(|field| field.metadata().get(ENUM_KEY));
        Typed { pg_type: column.pg_type, labels: labels.map(|labels| labels.as_str().into()) }
    };
    planned.columns.iter().enumerate().map(typed).collect()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn expr(sql: &str) -> Expr {
        Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap()
    }

    #[test]
    fn cells_are_what_stands_alone() {
        let rows = [
            ("DEFAULT", Some(Cell::Default)),
            ("\"default\"", None),
            ("(NULL)", Some(Cell::Null)),
            ("'a''b'", Some(Cell::Text("a'b".to_owned()))),
            ("-2147483648", Some(Cell::Number("-2147483648".to_owned()))),
            ("1.50", Some(Cell::Number("1.50".to_owned()))),
            ("true", Some(Cell::Truth(true))),
            ("$2", Some(Cell::Parameter(2))),
            ("1 + 1", None),
            ("'1'::int", None),
            ("DATE '2024-01-01'", None),
            ("-$1", None),
            ("now()", None),
        ];
        for (sql, expected) in rows {
            assert_eq!(Cell::of(&expr(sql)).unwrap(), expected, "{sql}");
        }
        for sql in ["1 + DEFAULT", "(default)", "upper(Default)"] {
            assert_eq!(Cell::of(&expr(sql)).unwrap_err().sqlstate, "42601", "{sql}");
        }
        assert_eq!(Cell::of(&expr("$0")).unwrap_err().sqlstate, "42P02");
        assert_eq!(Cell::of(&expr("$70000")).unwrap_err().sqlstate, "42P02");
    }

    #[test]
    fn the_first_use_that_tells_a_type_settles_it() {
        let mut parameters = Parameters::given(&[0, 25, 705]);
        assert_eq!(parameters.settle(1, PgType::with_typmod(1043, 9)), PgType::VARCHAR);
        assert_eq!(parameters.settle(1, PgType::INT4), PgType::VARCHAR);
        assert_eq!(parameters.settle(2, PgType::INT4), PgType::TEXT);
        assert_eq!(parameters.settle(5, PgType::BOOL), PgType::BOOL);
        assert_eq!(parameters.oids(), [1043, 25, 0, 0, 16]);
        assert_eq!(parameters.into_types(), [PgType::VARCHAR, PgType::TEXT, PgType::TEXT, PgType::TEXT, PgType::BOOL]);
    }

    #[test]
    fn parameters_are_counted_wherever_they_stand() {
        let found = numbers(&expr("$1 + (SELECT max(a) FROM t WHERE b = $1 AND c < $3)"));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(1, 2), (3, 1)]);
    }
}
