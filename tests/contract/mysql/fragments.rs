//! Parts of plans on MariaDB compared with PostgreSQL over the same rows, and what MariaDB must not be given.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};
use tributary::error::Diagnose;
use tributary::pgtype::{PgField, PgType};
use tributary::stores::connector::ScanLimits;
use tributary::stores::fragment::{
    Aggregate, AggregateCall, DateField, Expression, Fragment, Function, JoinKind, Node, Refusal, Relation, SortKey, Tables,
    WindowCall, WindowFunction, shapes,
};
use tributary::stores::predicate::Comparison;
use tributary::stores::value::Value;
use tributary::stores::{Purpose, Scan, StoreError, StoreName};

use super::{Room, texts};
use crate::support;
use crate::support::proxy;

/// The columns of the table on both sides: the name, MariaDB's type, PostgreSQL's.
const COLUMNS: [(&str, &str, &str); 14] = [
    ("id", "int PRIMARY KEY", "int"),
    ("ci", "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, KEY (ci)", "varchar(20)"),
    ("latin", "varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci", "varchar(20)"),
    ("fixed", "char(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", "varchar(8)"),
    ("longer", "text CHARACTER SET utf8mb4", "text"),
    ("n", "int", "int"),
    ("small", "smallint", "smallint"),
    ("u", "int unsigned", "bigint"),
    ("ub", "bigint unsigned", "numeric(20,0)"),
    ("d", "decimal(12,2)", "numeric(12,2)"),
    ("w", "decimal(40,20)", "numeric(40,20)"),
    ("day", "date, KEY (day)", "date"),
    ("at", "datetime(6)", "timestamp(6)"),
    ("tr", "tinyint(1)", "boolean"),
];

/// Rows as both servers read them; the last column is a truth value, which MariaDB stores as the number after the slash.
const ROWS: [&str; 9] = [
    "1, 'abc', 'ä', 'a', 'x', 7, 1, 5, 18446744073709551615, 1.50, 1.5, '2024-02-29', '2024-02-29 23:59:59.999999', T/1",
    "2, 'ABC', 'a', 'A', 'X', -7, -1, 0, 0, -2.25, -0.00000000000000000001, '1999-12-31', '1999-12-31 00:00:00', T/2",
    "3, 'abc ', 'A', 'b', '', 0, 0, 4294967295, 9223372036854775808, 0.00, 0, '1000-01-01', '1000-01-01 12:34:56.000001', F/0",
    "4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, N/NULL",
    "5, 'a''b', 'b', 'a''b', 'x', 2147483647, 32767, 1, 1, 9999999999.99, 12345678901234567890.12345678901234567890, '9999-12-31', '9999-12-31 23:59:59.999999', F/0",
    "6, '\\'' or 1=1 -- ', 'é', '\\', 'y', -2147483648, -32768, 2, 2, -9999999999.99, -12345678901234567890, '2024-01-01', '2024-01-01 00:00:00', T/127",
    "7, '', '', '', ' ', 7, 2, 7, 7, 1.50, 1.5, '2024-02-29', '2024-02-29 00:00:00', N/NULL",
    "8, 'ß', 'ß', 'ß', 'ss', 3, 3, 3, 3, 0.01, 0.5, '2001-09-09', '2001-09-09 01:46:40.5', F/0",
    "9, 'a%_!', 'z', 'Z', '😀', 3, 3, 3, 3, 0.01, 0.5, '2001-09-09', '2001-09-09 01:46:40.5', T/1",
];

struct Pair {
    room: Room,
    oracle: PgConnection,
    tables: Tables,
}

impl Pair {
    async fn new(more: &str) -> Self {
        let mut room = Room::new(&format!("tinyint1 = \"bool\"\n{more}")).await;
        let columns: Vec<String> = COLUMNS.iter().map(|(name, native, _)| format!("{name} {native}")).collect();
        room.run(format!("CREATE TABLE t ({})", columns.join(", "))).await;
        let columns: Vec<String> = COLUMNS.iter().map(|(name, _, pg)| format!("\"{name}\" {pg}")).collect();
        let mut script = format!("CREATE TABLE t ({});", columns.join(", "));
        for row in ROWS {
            let (values, truth) = row.rsplit_once(", ").unwrap();
            let (word, number) = truth.split_once('/').unwrap();
            room.run(format!("INSERT INTO t VALUES ({values}, {number})")).await;
            let word = match word {
                "T" => "true",
                "F" => "false",
                _ => "NULL",
            };
            script.push_str(&format!("INSERT INTO t VALUES ({values}, {word});"));
        }
        let server = support::postgres().await;
        let database = proxy::fresh(server, &script).await;
        let oracle = proxy::direct(server, &database).await;
        let table = room.table("t").await;
        let tables = Tables::from([(table.id.clone(), table)]);
        Self { room, oracle, tables }
    }

    fn table(&self) -> Relation {
        let (id, table) = self.tables.first_key_value().unwrap();
        let columns = (0..table.columns.len()).collect();
        Relation::Table(Scan { store: StoreName::new("shop"), table: id.clone(), columns, filter: vec![], limit: None })
    }

    /// A column of the table.
    fn column(&self, name: &str) -> Expression {
        let (_, table) = self.tables.first_key_value().unwrap();
        let ordinal = table.columns.iter().position(|column| column.name() == name).unwrap();
        Expression::column(ordinal, table.columns[ordinal].pg_type())
    }

    /// Asks the store about every node, the lowest first.
    fn accepts(&self, relation: &Relation) -> Result<(), Refusal> {
        let mut nodes = Vec::new();
        relation.visit(&mut |node| nodes.push(node));
        nodes.into_iter().rev().try_for_each(|node| self.room.store.accepts(node, &self.tables))
    }

    async fn run(&self, relation: &Relation) -> Result<Vec<String>, StoreError> {
        let fields = shapes(relation, &self.tables)
            .into_iter()
            .map(|shape| Field::new("c", shape.pg_type.carrier(), true).with_pg_type(shape.pg_type));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let fragment = Fragment::new(StoreName::new("shop"), relation.clone());
        let branch = self.room.store.open(Purpose::Statement { scans: 1 }).await?;
        let stream = branch.run(&fragment, &self.tables, &schema, ScanLimits::default()).await?;
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        let batch = concat_batches(&schema, &batches).unwrap();
        let columns: Vec<Vec<String>> = (0..batch.num_columns()).map(|column| texts(&batch, column)).collect();
        let row = |row: usize| columns.iter().map(|column| column[row].clone()).collect::<Vec<_>>().join("|");
        Ok((0..batch.num_rows()).map(row).collect())
    }

    fn sql(&self, relation: &Relation) -> String {
        let fragment = Fragment::new(StoreName::new("shop"), relation.clone());
        self.room.store.describe_fragment(&fragment, &self.tables)
    }

    /// PostgreSQL's answer as text.
    async fn expected(&mut self, sql: &str) -> Vec<String> {
        let rows = self.oracle.fetch_all(AssertSqlSafe(sql.to_owned())).await.unwrap();
        rows.iter()
            .map(|row| {
                let texts = (0..row.len()).map(|column| row.try_get::<Option<String>, _>(column).unwrap());
                texts.map(|text| text.unwrap_or("∅".to_owned())).collect::<Vec<_>>().join("|")
            })
            .collect()
    }

    /// The store accepts the relation and answers as PostgreSQL answers `sql`, whose columns are texts.
    async fn check(&mut self, relation: &Relation, sql: &str) {
        self.accepts(relation).unwrap_or_else(|refusal| panic!("{sql}\n{refusal}"));
        let mut found = self.run(relation).await.unwrap_or_else(|error| panic!("{sql}\n{}\n{error}", self.sql(relation)));
        let mut expected = self.expected(sql).await;
        if !matches!(relation, Relation::Sort { .. }) {
            found.sort();
            expected.sort();
        }
        assert_eq!(found, expected, "{sql}\n{}", self.sql(relation));
    }

    /// Projections of the table: the id and an expression.
    async fn check_values(&mut self, cases: Vec<(Expression, &str)>) {
        for (expression, sql) in cases {
            let relation = Relation::Project { input: Box::new(self.table()), expressions: vec![self.column("id"), expression] };
            self.check(&relation, &format!("SELECT id::text, ({sql})::text FROM t")).await;
        }
    }

    /// Filters of the table: the ids of the rows that are kept.
    async fn check_filters(&mut self, cases: Vec<(Expression, &str)>) {
        for (condition, sql) in cases {
            let relation = self.ids(self.filter(condition));
            self.check(&relation, &format!("SELECT id::text FROM t WHERE {sql}")).await;
        }
    }

    fn filter(&self, condition: Expression) -> Relation {
        Relation::Filter { input: Box::new(self.table()), condition }
    }

    fn ids(&self, input: Relation) -> Relation {
        Relation::Project { input: Box::new(input), expressions: vec![self.column("id")] }
    }
}

fn int(number: i64) -> Expression {
    Expression::new(PgType::INT4, Node::Literal(Some(Value::Int(number))))
}

fn text(text: &str) -> Expression {
    Expression::new(PgType::TEXT, Node::Literal(Some(Value::Text(text.to_owned()))))
}

fn decimal(unscaled: i128, scale: u8) -> Expression {
    Expression::new(PgType::NUMERIC, Node::Literal(Some(Value::Decimal { unscaled, scale })))
}

fn day(days: i32) -> Expression {
    Expression::new(PgType::DATE, Node::Literal(Some(Value::Date(days))))
}

fn compare(left: Expression, op: Comparison, right: Expression) -> Expression {
    Expression::condition(Node::Compare { op, left: Box::new(left), right: Box::new(right) })
}

fn equal(left: Expression, right: Expression) -> Expression {
    compare(left, Comparison::Equal, right)
}

fn not(operand: Expression) -> Expression {
    Expression::condition(Node::Not(Box::new(operand)))
}

fn like(subject: Expression, pattern: &str, negated: bool) -> Expression {
    let (subject, pattern) = (Box::new(subject), Box::new(text(pattern)));
    Expression::condition(Node::Like { subject, pattern, negated, case_insensitive: false })
}

fn call(function: Function, arguments: Vec<Expression>, pg_type: PgType) -> Expression {
    Expression::new(pg_type, Node::Call { function, arguments })
}

fn cast(operand: Expression, pg_type: PgType) -> Expression {
    Expression::new(pg_type, Node::Cast(Box::new(operand)))
}

fn aggregate(aggregate: Aggregate, argument: Option<Expression>, pg_type: PgType) -> AggregateCall {
    AggregateCall { aggregate, argument, distinct: false, filter: None, pg_type }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_keep_the_rows_that_postgres_keeps() {
    use Comparison::{Greater, GreaterOrEqual, Less, NotEqual};
    let mut pair = Pair::new("").await;
    let column = |name: &str| pair.column(name);
    let member = |subject: Expression, list: &[&str], negated| {
        let list = list.iter().map(|item| text(item)).collect();
        Expression::condition(Node::In { subject: Box::new(subject), list, negated })
    };
    let distinct = |left: Expression, right: Expression, negated| {
        Expression::condition(Node::Distinct { left: Box::new(left), right: Box::new(right), negated })
    };
    let truth =
        |operand: Expression, truth, negated| Expression::condition(Node::IsTruth { operand: Box::new(operand), truth, negated });
    let cases = vec![
        (equal(column("ci"), text("abc")), "ci = 'abc'"),
        (equal(column("ci"), text("abc ")), "ci = 'abc '"),
        (not(equal(column("ci"), text("abc"))), "NOT (ci = 'abc')"),
        (compare(column("ci"), NotEqual, text("ABC")), "ci <> 'ABC'"),
        (compare(column("ci"), Less, text("abc ")), "ci COLLATE \"C\" < 'abc '"),
        (compare(column("latin"), Greater, text("z")), "latin COLLATE \"C\" > 'z'"),
        (equal(column("latin"), text("ä")), "latin = 'ä'"),
        (equal(column("latin"), text("😀")), "latin = '😀'"),
        (equal(column("fixed"), text("a ")), "fixed = 'a '"),
        (equal(column("fixed"), column("latin")), "fixed = latin"),
        (equal(column("ci"), column("longer")), "ci = longer"),
        (equal(column("ci"), text("\\' or 1=1 -- ")), "ci = '\\'' or 1=1 -- '"),
        (member(column("ci"), &["ABC", "a'b", "none"], false), "ci IN ('ABC', 'a''b', 'none')"),
        (member(column("ci"), &["ABC", "a'b"], true), "ci NOT IN ('ABC', 'a''b')"),
        (like(column("ci"), "a%", false), "ci LIKE 'a%'"),
        (like(column("ci"), "%\\%\\_!", false), "ci LIKE '%\\%\\_!'"),
        (like(column("ci"), "A__", true), "ci NOT LIKE 'A__'"),
        (like(column("latin"), "_", false), "latin LIKE '_'"),
        (distinct(column("ci"), text("abc"), false), "ci IS DISTINCT FROM 'abc'"),
        (distinct(column("ci"), column("latin"), true), "ci IS NOT DISTINCT FROM latin"),
        (compare(column("n"), Less, column("small")), "n < small"),
        (compare(cast(column("n"), PgType::INT8), Less, column("u")), "n < u"),
        (compare(column("ub"), Greater, decimal(9_223_372_036_854_775_807, 0)), "ub > 9223372036854775807"),
        (compare(column("d"), GreaterOrEqual, decimal(150, 2)), "d >= 1.50"),
        (compare(column("w"), Less, decimal(0, 0)), "w < 0"),
        (compare(cast(column("n"), PgType::NUMERIC), Less, decimal(35, 1)), "n < 3.5"),
        (compare(column("day"), GreaterOrEqual, day(10_957)), "day >= date '2000-01-01'"),
        (not(compare(column("day"), Less, day(10_957))), "NOT (day < date '2000-01-01')"),
        (equal(column("tr"), Expression::condition(Node::Literal(Some(Value::Bool(true))))), "tr = true"),
        (column("tr"), "tr"),
        (not(column("tr")), "NOT tr"),
        (truth(column("tr"), Some(true), true), "tr IS NOT TRUE"),
        (truth(column("tr"), None, false), "tr IS UNKNOWN"),
        (truth(equal(column("ci"), text("abc")), None, true), "(ci = 'abc') IS NOT UNKNOWN"),
        (Expression::condition(Node::IsNull { operand: Box::new(column("day")), negated: false }), "day IS NULL"),
        (
            Expression::condition(Node::Or(vec![equal(column("n"), int(7)), equal(column("ci"), text("ABC"))])),
            "n = 7 OR ci = 'ABC'",
        ),
    ];
    pair.check_filters(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_those_that_postgres_computes() {
    let mut pair = Pair::new("").await;
    let column = |name: &str| pair.column(name);
    let (numeric, int8) = (PgType::NUMERIC, PgType::INT8);
    let case = |condition, value, otherwise, pg_type| {
        Expression::new(pg_type, Node::Case { branches: vec![(condition, value)], otherwise: Some(Box::new(otherwise)) })
    };
    let wide = |name: &str| cast(pair.column(name), PgType::INT8);
    let cases = vec![
        (call(Function::Subtract, vec![column("u"), cast(int(5), int8)], int8), "u - 5"),
        (call(Function::Multiply, vec![wide("n"), wide("small")], int8), "n::int8 * small"),
        (call(Function::Divide, vec![column("n"), int(2)], PgType::INT4), "n / 2"),
        (call(Function::Modulo, vec![column("n"), int(4)], PgType::INT4), "n % 4"),
        (call(Function::Negate, vec![wide("n")], int8), "- n::int8"),
        (call(Function::Absolute, vec![wide("n")], int8), "abs(n::int8)"),
        (call(Function::Subtract, vec![column("ub"), column("ub")], numeric), "ub - ub"),
        (call(Function::Subtract, vec![column("ub"), decimal(5, 0)], numeric), "ub - 5::numeric"),
        (call(Function::Add, vec![column("d"), column("w")], numeric), "d + w"),
        (call(Function::Multiply, vec![column("d"), column("d")], numeric), "d * d"),
        (call(Function::Multiply, vec![column("d"), decimal(150, 2)], numeric), "d * 1.50"),
        (call(Function::Multiply, vec![column("d"), cast(column("n"), numeric)], numeric), "d * n"),
        (call(Function::Round, vec![column("d"), int(1)], numeric), "round(d, 1)"),
        (call(Function::Round, vec![column("ub")], numeric), "round(ub)"),
        (call(Function::Round, vec![column("d")], numeric), "round(d)"),
        (call(Function::Truncate, vec![column("d"), int(1)], numeric), "trunc(d, 1)"),
        (call(Function::Ceiling, vec![column("d")], numeric), "ceil(d)"),
        (call(Function::Floor, vec![column("d")], numeric), "floor(d)"),
        (call(Function::Sign, vec![column("d")], numeric), "sign(d)"),
        (cast(column("d"), PgType::numeric(12, 1)), "d::numeric(12,1)"),
        (cast(column("n"), PgType::TEXT), "n::text"),
        (cast(column("ci"), PgType::with_typmod(1043, 6)), "ci::varchar(2)"),
        (cast(column("at"), PgType::DATE), "at::date"),
        (call(Function::Concat, vec![column("ci"), column("latin")], PgType::TEXT), "ci || latin"),
        (call(Function::Length, vec![column("longer")], PgType::INT4), "length(longer)"),
        (call(Function::OctetLength, vec![column("latin")], PgType::INT4), "octet_length(latin)"),
        (call(Function::Substring, vec![column("ci"), int(2), int(2)], PgType::TEXT), "substr(ci, 2, 2)"),
        (call(Function::Substring, vec![column("ci"), int(-1), int(3)], PgType::TEXT), "substr(ci, -1, 3)"),
        (call(Function::Substring, vec![column("ci"), int(0)], PgType::TEXT), "substr(ci, 0)"),
        (call(Function::Left, vec![column("ci"), int(2)], PgType::TEXT), "left(ci, 2)"),
        (call(Function::Right, vec![column("ci"), int(2)], PgType::TEXT), "right(ci, 2)"),
        (call(Function::Trim, vec![column("ci")], PgType::TEXT), "btrim(ci)"),
        (call(Function::Reverse, vec![column("latin")], PgType::TEXT), "reverse(latin)"),
        (call(Function::Position, vec![column("ci"), text("B")], PgType::INT4), "strpos(ci, 'B')"),
        (call(Function::StartsWith, vec![column("ci"), text("A")], PgType::BOOL), "starts_with(ci, 'A')"),
        (call(Function::Coalesce, vec![column("ci"), column("latin"), text("none")], PgType::TEXT), "coalesce(ci, latin, 'none')"),
        (call(Function::NullIf, vec![column("ci"), text("abc")], PgType::TEXT), "nullif(ci, 'abc')"),
        (
            case(equal(column("ci"), text("abc")), column("latin"), text("other"), PgType::TEXT),
            "CASE WHEN ci = 'abc' THEN latin ELSE 'other' END",
        ),
        (case(column("tr"), column("d"), decimal(0, 2), numeric), "CASE WHEN tr THEN d ELSE 0.00 END"),
        (call(Function::Extract(DateField::Year), vec![column("day")], numeric), "extract(year from day)"),
        (call(Function::Extract(DateField::Week), vec![column("day")], numeric), "extract(week from day)"),
        (call(Function::Extract(DateField::DayOfWeek), vec![column("day")], numeric), "extract(dow from day)"),
        (call(Function::Extract(DateField::IsoDayOfWeek), vec![column("day")], numeric), "extract(isodow from day)"),
        (call(Function::Extract(DateField::DayOfYear), vec![column("at")], numeric), "extract(doy from at)"),
        (call(Function::Extract(DateField::Hour), vec![column("at")], numeric), "extract(hour from at)"),
        (equal(column("ci"), text("abc")), "ci = 'abc'"),
        (column("tr"), "tr"),
        (column("ub"), "ub"),
        (column("w"), "w"),
        (Expression::new(PgType::INT4, Node::Literal(None)), "NULL::int"),
        (text("it's"), "'it''s'"),
    ];
    pair.check_values(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one table of relations beside the statements that they are")]
async fn groups_joins_and_orders_are_those_of_postgres() {
    let mut pair = Pair::new("").await;
    let table = || Box::new(pair.table());
    let column = |name: &str| pair.column(name);
    let numeric = PgType::NUMERIC;
    let positive = compare(column("n"), Comparison::Greater, int(0));
    let calls = vec![
        aggregate(Aggregate::CountRows, None, PgType::INT8),
        aggregate(Aggregate::Count, Some(column("ci")), PgType::INT8),
        AggregateCall { distinct: true, ..aggregate(Aggregate::Count, Some(column("fixed")), PgType::INT8) },
        AggregateCall { filter: Some(positive.clone()), ..aggregate(Aggregate::CountRows, None, PgType::INT8) },
        AggregateCall { filter: Some(positive), ..aggregate(Aggregate::Sum, Some(column("n")), PgType::INT8) },
        aggregate(Aggregate::Sum, Some(column("d")), numeric),
        AggregateCall { distinct: true, ..aggregate(Aggregate::Sum, Some(column("ub")), numeric) },
        aggregate(Aggregate::Minimum, Some(column("ci")), PgType::TEXT),
        aggregate(Aggregate::Maximum, Some(column("latin")), PgType::TEXT),
        aggregate(Aggregate::Minimum, Some(column("day")), PgType::DATE),
        aggregate(Aggregate::BoolAnd, Some(column("tr")), PgType::BOOL),
        aggregate(Aggregate::BoolOr, Some(column("tr")), PgType::BOOL),
    ];
    let shown = "count(*)::text, count(ci)::text, count(DISTINCT fixed)::text, (count(*) FILTER (WHERE n > 0))::text, \
                 (sum(n) FILTER (WHERE n > 0))::text, sum(d)::text, sum(DISTINCT ub)::text, min(ci COLLATE \"C\")::text, \
                 max(latin COLLATE \"C\")::text, min(day)::text, bool_and(tr)::text, bool_or(tr)::text";
    let by = |groups: Vec<Expression>, input: Box<Relation>| Relation::Aggregate { input, groups, calls: calls.clone() };
    let key = |name: &str, descending, nulls_first| SortKey { expression: pair.column(name), descending, nulls_first };
    let in_order = |keys: Vec<SortKey>| {
        let input = Box::new(Relation::Sort { input: Box::new(pair.table()), keys, offset: 0, limit: Some(100) });
        Relation::Project { input, expressions: vec![pair.column("id")] }
    };
    let of_right = |name: &str| {
        let mut column = pair.column(name);
        column.renumber(&|ordinal| ordinal + COLUMNS.len());
        column
    };
    let join = |kind, condition| Relation::Join {
        left: Box::new(pair.table()),
        right: Box::new(pair.table()),
        kind,
        condition: Some(condition),
    };
    let both = |input: Relation| Relation::Project { input: Box::new(input), expressions: vec![pair.column("id"), of_right("id")] };
    let same_text = || equal(pair.column("fixed"), of_right("latin"));
    let never = compare(column("n"), Comparison::Equal, int(123_456));
    let empty = Box::new(pair.filter(never));
    let unique = Relation::Distinct {
        input: Box::new(Relation::Project { input: table(), expressions: vec![column("fixed"), column("tr"), column("d")] }),
    };
    let having = {
        let input = by(vec![column("latin")], table());
        let many = compare(Expression::column(1, PgType::INT8), Comparison::Less, cast(int(2), PgType::INT8));
        Relation::Filter { input: Box::new(input), condition: many }
    };
    let having_key = |name: &str, value: Expression| {
        let input = by(vec![column(name)], table());
        let many = compare(Expression::column(1, PgType::INT8), Comparison::Greater, cast(int(2), PgType::INT8));
        let this = equal(Expression::column(0, column(name).pg_type), value);
        let condition = Expression::condition(Node::Or(vec![many, this]));
        Relation::Filter { input: Box::new(input), condition }
    };
    let twice = Relation::Union { inputs: vec![pair.ids(pair.table()), pair.ids(pair.filter(equal(column("n"), int(7))))] };
    let limited = Relation::Aggregate {
        input: Box::new(Relation::Limit { input: table(), offset: 2, limit: Some(4) }),
        groups: vec![],
        calls: vec![aggregate(Aggregate::CountRows, None, PgType::INT8)],
    };
    let ranked = Relation::Window {
        input: Box::new(pair.ids(pair.table())),
        calls: vec![WindowCall {
            function: WindowFunction::RowNumber,
            arguments: vec![],
            partition_by: vec![],
            order_by: vec![SortKey { expression: column("id"), descending: true, nulls_first: false }],
            frame: None,
            pg_type: PgType::INT8,
        }],
    };
    let scalar = {
        let top = Relation::Aggregate {
            input: table(),
            groups: vec![],
            calls: vec![aggregate(Aggregate::Maximum, Some(column("n")), PgType::INT4)],
        };
        let top = Expression::new(PgType::INT4, Node::Subquery(Box::new(top)));
        pair.ids(pair.filter(equal(column("n"), top)))
    };
    let cases = vec![
        (by(vec![], table()), format!("SELECT {shown} FROM t")),
        (by(vec![], empty), format!("SELECT {shown} FROM t WHERE false")),
        (by(vec![column("latin")], table()), format!("SELECT latin, {shown} FROM t GROUP BY latin")),
        (by(vec![column("tr"), column("fixed")], table()), format!("SELECT tr::text, fixed, {shown} FROM t GROUP BY tr, fixed")),
        (by(vec![column("day")], table()), format!("SELECT day::text, {shown} FROM t GROUP BY day")),
        (having, format!("SELECT latin, {shown} FROM t GROUP BY latin HAVING count(*) < 2")),
        (having_key("latin", text("ß")), format!("SELECT latin, {shown} FROM t GROUP BY latin HAVING count(*) > 2 OR latin = 'ß'")),
        (
            having_key("day", day(0)),
            format!("SELECT day::text, {shown} FROM t GROUP BY day HAVING count(*) > 2 OR day = '1970-01-01'"),
        ),
        (
            having_key("tr", Expression::new(PgType::BOOL, Node::Literal(Some(Value::Bool(true))))),
            format!("SELECT tr::text, {shown} FROM t GROUP BY tr HAVING count(*) > 2 OR tr = true"),
        ),
        (having_key("n", int(7)), format!("SELECT n::text, {shown} FROM t GROUP BY n HAVING count(*) > 2 OR n = 7")),
        (unique, "SELECT DISTINCT fixed, tr::text, d::text FROM t".to_owned()),
        (twice, "SELECT id::text FROM t UNION ALL SELECT id::text FROM t WHERE n = 7".to_owned()),
        (limited, "SELECT '4'".to_owned()),
        (ranked, "SELECT id::text, (row_number() OVER (ORDER BY id DESC))::text FROM t".to_owned()),
        (scalar, "SELECT id::text FROM t WHERE n = (SELECT max(n) FROM t)".to_owned()),
        (
            both(join(JoinKind::Inner, same_text())),
            "SELECT a.id::text, b.id::text FROM t a JOIN t b ON a.fixed = b.latin".to_owned(),
        ),
        (
            both(join(JoinKind::Left, same_text())),
            "SELECT a.id::text, b.id::text FROM t a LEFT JOIN t b ON a.fixed = b.latin".to_owned(),
        ),
        (
            both(join(JoinKind::Right, same_text())),
            "SELECT a.id::text, b.id::text FROM t a RIGHT JOIN t b ON a.fixed = b.latin".to_owned(),
        ),
        (
            pair.ids(join(JoinKind::Semi, same_text())),
            "SELECT id::text FROM t a WHERE EXISTS (SELECT FROM t b WHERE a.fixed = b.latin)".to_owned(),
        ),
        (
            pair.ids(join(JoinKind::Anti, same_text())),
            "SELECT id::text FROM t a WHERE NOT EXISTS (SELECT FROM t b WHERE a.fixed = b.latin)".to_owned(),
        ),
    ];
    let orders = vec![
        (in_order(vec![key("ci", false, false), key("id", false, false)]), "ci COLLATE \"C\", id"),
        (in_order(vec![key("latin", true, true), key("id", false, false)]), "latin COLLATE \"C\" DESC, id"),
        (in_order(vec![key("d", false, true), key("id", true, false)]), "d NULLS FIRST, id DESC"),
        (in_order(vec![key("day", true, false), key("id", false, false)]), "day DESC NULLS LAST, id"),
        (in_order(vec![key("tr", false, false), key("ub", true, true), key("id", false, false)]), "tr, ub DESC, id"),
    ];
    for (relation, sql) in cases {
        pair.check(&relation, &sql).await;
    }
    for (relation, keys) in orders {
        pair.accepts(&relation).unwrap_or_else(|refusal| panic!("{keys}: {refusal}"));
        let found = pair.run(&relation).await.unwrap();
        let expected = pair.expected(&format!("SELECT id::text FROM t ORDER BY {keys}")).await;
        assert_eq!(found, expected, "{keys}\n{}", pair.sql(&relation));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_computes_in_another_way_is_refused() {
    let pair = Pair::new("").await;
    let table = || Box::new(pair.table());
    let column = |name: &str| pair.column(name);
    let project = |expression| Relation::Project { input: table(), expressions: vec![expression] };
    let alone = |call| Relation::Aggregate { input: table(), groups: vec![], calls: vec![call] };
    let key = SortKey { expression: column("longer"), descending: false, nulls_first: false };
    let w = || column("w");
    let relations = [
        project(call(Function::Divide, vec![column("n"), column("small")], PgType::INT4)),
        project(call(Function::Divide, vec![column("n"), int(0)], PgType::INT4)),
        project(call(Function::Divide, vec![column("d"), decimal(2, 0)], PgType::NUMERIC)),
        project(call(Function::Multiply, vec![w(), call(Function::Multiply, vec![w(), w()], PgType::NUMERIC)], PgType::NUMERIC)),
        project(call(Function::Round, vec![column("ub"), int(1)], PgType::NUMERIC)),
        project(call(Function::Truncate, vec![column("ub"), int(1)], PgType::NUMERIC)),
        project(call(Function::Round, vec![column("d"), int(3)], PgType::NUMERIC)),
        alone(aggregate(
            Aggregate::Maximum,
            Some(call(Function::Round, vec![column("ub"), int(1)], PgType::NUMERIC)),
            PgType::NUMERIC,
        )),
        project(call(Function::Upper, vec![column("ci")], PgType::TEXT)),
        project(call(Function::Replace, vec![column("ci"), text("a"), text("b")], PgType::TEXT)),
        project(call(Function::Greatest, vec![column("n"), int(1)], PgType::INT4)),
        project(call(Function::Coalesce, vec![column("d"), decimal(0, 0)], PgType::NUMERIC)),
        project(cast(column("d"), PgType::numeric(5, 2))),
        project(cast(column("ci"), PgType::INT4)),
        project(Expression::condition(Node::Like {
            subject: Box::new(column("ci")),
            pattern: Box::new(text("a%")),
            negated: false,
            case_insensitive: true,
        })),
        pair.filter(Expression::condition(Node::In { subject: Box::new(column("u")), list: vec![int(-1)], negated: true })),
        alone(aggregate(Aggregate::Average, Some(column("n")), PgType::NUMERIC)),
        Relation::Sort { input: table(), keys: vec![key], offset: 0, limit: None },
        Relation::Aggregate { input: table(), groups: vec![column("longer")], calls: vec![] },
        Relation::Distinct { input: table() },
        Relation::Union { inputs: vec![project(column("ci")), project(column("latin"))] },
        Relation::Join { left: table(), right: table(), kind: JoinKind::Full, condition: None },
    ];
    for relation in relations {
        assert!(pair.accepts(&relation).is_err(), "{}", pair.sql(&relation));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_those_of_postgres() {
    let pair = Pair::new("").await;
    let column = |name: &str| pair.column(name);
    let add = call(Function::Add, vec![column("n"), int(1)], PgType::INT4);
    let less = call(Function::Subtract, vec![column("n"), int(1)], PgType::INT4);
    let small = cast(column("n"), PgType::INT2);
    let opposite = call(Function::Negate, vec![column("n")], PgType::INT4);
    let two = Relation::Project { input: Box::new(pair.table()), expressions: vec![column("n")] };
    let two = Expression::new(PgType::INT4, Node::Subquery(Box::new(two)));
    let filter = |expression: Expression| pair.ids(pair.filter(compare(expression, Comparison::Greater, int(0))));
    for (expression, state) in [(add, "22003"), (less, "22003"), (small, "22003"), (opposite, "22003"), (two, "21000")] {
        let relation = filter(expression);
        pair.accepts(&relation).unwrap();
        let error = pair.run(&relation).await.unwrap_err();
        assert_eq!(error.sqlstate(), state, "{}", pair.sql(&relation));
    }
}

/// Days that no calendar has: an error, or NULL, wherever they are computed with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_that_do_not_exist_follow_the_policy() {
    for (policy, counted) in [("error", Err("22008")), ("null", Ok("3|2"))] {
        let mut pair = Pair::new(&format!("zero_date = \"{policy}\"")).await;
        pair.room.run("DELETE FROM t WHERE id > 3").await;
        pair.room.run("UPDATE t SET day = '2024-02-30' WHERE id = 3").await;
        let calls = vec![
            aggregate(Aggregate::CountRows, None, PgType::INT8),
            aggregate(Aggregate::Count, Some(pair.column("day")), PgType::INT8),
        ];
        let count = Relation::Aggregate { input: Box::new(pair.table()), groups: vec![], calls };
        let over = Relation::Window {
            input: Box::new(pair.table()),
            calls: vec![WindowCall {
                function: WindowFunction::Aggregate(Aggregate::Count),
                arguments: vec![pair.column("day")],
                partition_by: vec![],
                order_by: vec![],
                frame: None,
                pg_type: PgType::INT8,
            }],
        };
        let over = Relation::Project { input: Box::new(over), expressions: vec![Expression::column(COLUMNS.len(), PgType::INT8)] };
        let after = pair.ids(pair.filter(compare(pair.column("day"), Comparison::Greater, day(10_957))));
        let before = pair.ids(pair.filter(compare(pair.column("day"), Comparison::Less, day(0))));
        pair.accepts(&count).unwrap();
        pair.accepts(&over).unwrap();
        pair.accepts(&after).unwrap();
        let state = |error: StoreError| error.sqlstate().to_owned();
        let found = pair.run(&count).await.map(|rows| rows.join(",")).map_err(state);
        assert_eq!(found.as_deref().map_err(String::as_str), counted, "{}", pair.sql(&count));
        let found = pair.run(&over).await.map(|rows| rows.join(",")).map_err(state);
        assert_eq!(found.as_deref().map_err(String::as_str), counted.map(|_| "2,2,2"), "{}", pair.sql(&over));
        let found = pair.run(&after).await.map(|rows| rows.join(",")).map_err(state);
        assert_eq!(found.as_deref().map_err(String::as_str), counted.map(|_| "1"), "{}", pair.sql(&after));
        assert_eq!(pair.run(&before).await.unwrap(), Vec::<String>::new(), "{}", pair.sql(&before));
    }
}
