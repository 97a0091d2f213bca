//! Parts of plans against statements written by hand: collations, blanks, labels, NaN, rows of NULLs, and how they fail.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use tributary::error::Diagnose;
use tributary::pgtype::{PgField, PgType};
use tributary::stores::connector::{Purpose, ScanLimits};
use tributary::stores::fragment::{
    Aggregate, AggregateCall, DateField, Expression, Function, JoinKind, Node, Relation, SortKey, shapes,
};
use tributary::stores::predicate::Comparison;
use tributary::stores::value::Value;
use tributary::stores::{Fragment, Scan, StoreError, StoreName, Table, Tables};

use super::Fixture;

/// Two tables of the same columns, under collations that sort and compare in all ways.
const TABLES: &str = "CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
     CREATE COLLATION en (provider = icu, locale = 'en'); CREATE COLLATION fr (provider = icu, locale = 'fr');
     CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TYPE pair AS (x int, y int);
     CREATE TABLE t (id int PRIMARY KEY, c text, en text COLLATE en, fr text COLLATE fr, ci text COLLATE nd, pad char(5),
       mood mood, f float8, n numeric, pair pair, day date, at timestamp, small numeric(5,2));
     INSERT INTO t VALUES
       (1, 'a', 'a', 'a', 'a', 'a', 'sad', 'NaN', 'NaN', (NULL, NULL), '2024-02-29', '2024-02-29 12:34:56.789', 1.5),
       (2, 'B', 'B', 'B', 'B', 'B', 'happy', '-0', '1e40', (1, NULL), '0001-01-01 BC', '0001-01-01 BC', 999.99),
       (3, 'A', 'A', 'A', 'A', 'A', 'ok', '0', '-1.500', NULL, 'infinity', 'infinity', -999.99),
       (4, 'b', 'b', 'b', 'b', 'a  ', 'ok', 'Infinity', '1.5', (2, 3), '5874897-12-31', '294247-01-10 04:00:54', 0),
       (5, 'a ', 'a ', 'a ', 'a ', 'é', 'sad', '1e308', '0.00', (2, 3), '1970-01-01', '1969-12-31 23:59:59.999999', 0.01),
       (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
       (7, E'\\\\'' or 1=1 -- ', E'\\\\'' or 1=1 -- ', 'a''''b', 'a''''b', '''', NULL, 'NaN', '3', NULL, NULL, NULL, 1);
     CREATE TABLE u AS SELECT * FROM t WHERE id <> 3; ALTER TABLE u ADD PRIMARY KEY (id)";

struct Stage {
    fixture: Fixture,
    tables: Tables,
}

impl Stage {
    async fn new() -> Self {
        let mut fixture = Fixture::new().await;
        fixture.run(TABLES).await;
        let tables = [fixture.table("t").await, fixture.table("u").await].map(|table| (table.id.clone(), table)).into();
        Self { fixture, tables }
    }

    fn table(&self, name: &str) -> &Arc<Table> {
        self.tables.values().find(|table| table.id.name == name).unwrap()
    }

    fn ordinal(&self, name: &str) -> usize {
        self.table("t").columns.iter().position(|column| column.name() == name).unwrap()
    }

    /// A column of `t`, which is also one of a join's left side.
    fn at(&self, name: &str) -> Expression {
        let ordinal = self.ordinal(name);
        Expression::column(ordinal, self.table("t").columns[ordinal].pg_type())
    }

    /// A column of a join's right side.
    fn right(&self, name: &str) -> Expression {
        let found = self.at(name);
        Expression::column(self.ordinal(name) + self.table("t").columns.len(), found.pg_type)
    }

    fn all(&self, table: &str) -> Relation {
        let table = self.table(table);
        let columns = (0..table.columns.len()).collect();
        Relation::Table(Scan { store: StoreName::new("crm"), table: table.id.clone(), columns, filter: vec![], limit: None })
    }

    fn accepts(&self, relation: &Relation) -> Result<(), String> {
        let mut answer = Ok(());
        relation.visit(&mut |node| {
            if let (Ok(()), Err(refusal)) = (&answer, self.fixture.connector.accepts(node, &self.tables)) {
                answer = Err(refusal.to_string());
            }
        });
        answer
    }

    /// Runs a relation whose columns have the types that it says, but for those in `carried`.
    async fn run(&self, relation: &Relation, carried: &[(usize, PgType)]) -> Result<Vec<RecordBatch>, StoreError> {
        self.accepts(relation).unwrap();
        let field = |(place, pg_type): (usize, PgType)| {
            let carrier = carried.iter().find(|(column, _)| *column == place).map_or(pg_type, |(_, carrier)| *carrier);
            Field::new(format!("f{place}"), carrier.carrier(), true).with_pg_type(pg_type)
        };
        let types = shapes(relation, &self.tables).into_iter().map(|shape| shape.pg_type);
        let schema = Arc::new(Schema::new(types.enumerate().map(field).collect::<Vec<_>>()));
        let branch = self.fixture.connector.open(Purpose::Statement { scans: 1 }).await?;
        let fragment = Fragment::new(StoreName::new("crm"), relation.clone());
        branch.run(&fragment, &self.tables, &schema, ScanLimits::default()).await?.try_collect().await
    }

    /// The rows of a relation, with the last keys in order, must be those of the statement.
    async fn check(&mut self, relation: &Relation, sql: &str) {
        let rows = shown(&self.run(relation, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")));
        let rows_of = format!("SELECT coalesce(string_agg(r::text, '; '), '') FROM ({sql}) r");
        let expected = self.fixture.ask(&rows_of).await.unwrap();
        assert_eq!(rows, expected, "{sql}");
    }
}

/// Rows as PostgreSQL shows records whose values need no quotes.
fn shown(batches: &[RecordBatch]) -> String {
    let options = FormatOptions::new();
    let of_batch = |batch: &RecordBatch| {
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        let row =
            |row: usize| format!("({})", columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(","));
        (0..batch.num_rows()).map(row).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of_batch).collect::<Vec<_>>().join("; ")
}

fn project(input: Relation, expressions: Vec<Expression>) -> Relation {
    Relation::Project { input: Box::new(input), expressions }
}

fn filter(input: Relation, condition: Expression) -> Relation {
    Relation::Filter { input: Box::new(input), condition }
}

fn join(left: Relation, right: Relation, kind: JoinKind, condition: Expression) -> Relation {
    Relation::Join { left: Box::new(left), right: Box::new(right), kind, condition: Some(condition) }
}

fn sorted(input: Relation, keys: &[&Expression]) -> Relation {
    let key = |expression: &&Expression| SortKey { expression: (*expression).clone(), descending: false, nulls_first: false };
    Relation::Sort { input: Box::new(input), keys: keys.iter().map(key).collect(), offset: 0, limit: None }
}

fn call(aggregate: Aggregate, argument: Option<Expression>, pg_type: PgType) -> AggregateCall {
    AggregateCall { aggregate, argument, distinct: false, filter: None, pg_type }
}

fn group(input: Relation, groups: Vec<Expression>, calls: Vec<AggregateCall>) -> Relation {
    Relation::Aggregate { input: Box::new(input), groups, calls }
}

fn literal(pg_type: PgType, value: Value) -> Expression {
    Expression::new(pg_type, Node::Literal(Some(value)))
}

fn text(content: &str) -> Expression {
    literal(PgType::TEXT, Value::Text(content.to_owned()))
}

fn compare(op: Comparison, left: Expression, right: Expression) -> Expression {
    Expression::condition(Node::Compare { op, left: Box::new(left), right: Box::new(right) })
}

fn equal(left: Expression, right: Expression) -> Expression {
    compare(Comparison::Equal, left, right)
}

fn applied(function: Function, of: PgType, arguments: Vec<Expression>) -> Expression {
    Expression::new(of, Node::Call { function, arguments })
}

#[tokio::test]
async fn text_goes_by_bytes_under_every_collation() {
    let mut stage = Stage::new().await;
    let id = stage.at("id");
    for column in ["c", "en", "fr", "ci"] {
        let at = stage.at(column);
        let c = format!("{column} COLLATE \"C\"");
        let in_order = project(sorted(stage.all("t"), &[&at, &id]), vec![id.clone()]);
        stage.check(&in_order, &format!("SELECT id FROM t ORDER BY {c}, id")).await;
        let below = filter(stage.all("t"), compare(Comparison::Less, at.clone(), text("a")));
        stage
            .check(&project(sorted(below, &[&id]), vec![id.clone()]), &format!("SELECT id FROM t WHERE {c} < 'a' ORDER BY id"))
            .await;
        let same = filter(stage.all("t"), equal(at.clone(), text("\\' or 1=1 -- ")));
        let same = project(sorted(same, &[&id]), vec![id.clone()]);
        stage.check(&same, &format!("SELECT id FROM t WHERE {c} = E'\\\\\\' or 1=1 -- ' ORDER BY id")).await;
        let calls = vec![
            AggregateCall { distinct: true, ..call(Aggregate::Count, Some(at.clone()), PgType::INT8) },
            call(Aggregate::Minimum, Some(at.clone()), PgType::TEXT),
            call(Aggregate::Maximum, Some(at.clone()), PgType::TEXT),
        ];
        let sql = format!("SELECT count(DISTINCT {c}), length(min({c})), max({c}) FROM t");
        let extremes = group(stage.all("t"), vec![], calls);
        let length = applied(Function::Length, PgType::INT4, vec![Expression::column(1, PgType::TEXT)]);
        let shown = vec![Expression::column(0, PgType::INT8), length, Expression::column(2, PgType::TEXT)];
        stage.check(&project(extremes, shown), &sql).await;
        let calls = vec![call(Aggregate::CountRows, None, PgType::INT8), call(Aggregate::Maximum, Some(id.clone()), PgType::INT4)];
        let groups = group(stage.all("t"), vec![at.clone()], calls);
        let (count, last) = (Expression::column(1, PgType::INT8), Expression::column(2, PgType::INT4));
        let groups = project(sorted(groups, &[&last]), vec![count, last]);
        stage.check(&groups, &format!("SELECT count(*), max(id) FROM t GROUP BY {c} ORDER BY max(id)")).await;
        for other in ["c", "en", "fr", "ci"] {
            let right = stage.right(other);
            let pairs = join(stage.all("t"), stage.all("u"), JoinKind::Inner, equal(at.clone(), right));
            let other_id = stage.right("id");
            let pairs = project(sorted(pairs, &[&id, &other_id]), vec![id.clone(), other_id]);
            let sql = format!("SELECT t.id, u.id FROM t JOIN u ON t.{c} = u.{other} ORDER BY t.id, u.id");
            stage.check(&pairs, &sql).await;
        }
    }
}

#[tokio::test]
async fn blanks_labels_and_odd_values_mean_what_they_mean_to_postgres() {
    let mut stage = Stage::new().await;
    let (id, pad, mood, f, n) = (stage.at("id"), stage.at("pad"), stage.at("mood"), stage.at("f"), stage.at("n"));
    let blank = literal(PgType::BPCHAR, Value::Text("a".to_owned()));
    let padded = project(sorted(filter(stage.all("t"), equal(pad.clone(), blank)), &[&id]), vec![id.clone()]);
    stage.check(&padded, "SELECT id FROM t WHERE pad = 'a' ORDER BY id").await;
    let by_pad = project(sorted(stage.all("t"), &[&pad, &id]), vec![id.clone()]);
    stage.check(&by_pad, "SELECT id FROM t ORDER BY pad COLLATE \"C\", id").await;
    let by_mood = project(sorted(stage.all("t"), &[&mood, &id]), vec![id.clone(), mood]);
    stage.check(&by_mood, "SELECT id, mood FROM t ORDER BY mood, id").await;
    let by_float = project(sorted(stage.all("t"), &[&f, &id]), vec![id.clone()]);
    stage.check(&by_float, "SELECT id FROM t ORDER BY f, id").await;
    let above = compare(Comparison::Greater, f.clone(), literal(PgType::FLOAT8, Value::Float(f64::INFINITY)));
    stage
        .check(
            &project(sorted(filter(stage.all("t"), above), &[&id]), vec![id.clone()]),
            "SELECT id FROM t WHERE f > 'Infinity' ORDER BY id",
        )
        .await;
    let zero = equal(f, literal(PgType::FLOAT8, Value::Float(-0.0)));
    stage
        .check(&project(sorted(filter(stage.all("t"), zero), &[&id]), vec![id.clone()]), "SELECT id FROM t WHERE f = 0 ORDER BY id")
        .await;
    let twice = applied(
        Function::Multiply,
        PgType::NUMERIC,
        vec![n.clone(), literal(PgType::NUMERIC, Value::Decimal { unscaled: 20, scale: 1 })],
    );
    stage
        .check(&project(sorted(stage.all("t"), &[&n, &id]), vec![id.clone(), twice]), "SELECT id, n * 2.0 FROM t ORDER BY n, id")
        .await;
    let sum = group(
        filter(stage.all("t"), compare(Comparison::Less, n.clone(), literal(PgType::NUMERIC, Value::Numeric("NaN".to_owned())))),
        vec![],
        vec![call(Aggregate::Sum, Some(n.clone()), PgType::NUMERIC), call(Aggregate::Average, Some(n), PgType::NUMERIC)],
    );
    stage.check(&sum, "SELECT sum(n), avg(n) FROM t WHERE n < 'NaN'").await;
    // A row of NULLs is shown as a value, so it is none.
    let whole = Expression::condition(Node::IsNull { operand: Box::new(stage.at("pair")), negated: true });
    stage
        .check(
            &project(sorted(filter(stage.all("t"), whole), &[&id]), vec![id.clone()]),
            "SELECT id FROM t WHERE pair::text IS NOT NULL ORDER BY id",
        )
        .await;
    let (day, at) = (stage.at("day"), stage.at("at"));
    let parts = vec![
        id.clone(),
        applied(Function::DatePart(DateField::Second), PgType::FLOAT8, vec![at.clone()]),
        applied(Function::Extract(DateField::Week), PgType::NUMERIC, vec![day.clone()]),
    ];
    let finite = compare(Comparison::Less, day, literal(PgType::DATE, Value::Date(20_000)));
    let parts = project(sorted(filter(stage.all("t"), finite), &[&id]), parts);
    let batches = stage.run(&parts, &[]).await.unwrap();
    assert_eq!(shown(&batches), "(1,56.789,9); (2,0.0,52); (5,59.999999,1)");
}

#[tokio::test]
async fn failures_have_the_codes_of_postgres() {
    let mut stage = Stage::new().await;
    let (id, small) = (stage.at("id"), stage.at("small"));
    let by_zero = applied(
        Function::Divide,
        PgType::INT4,
        vec![id.clone(), applied(Function::Subtract, PgType::INT4, vec![id.clone(), id.clone()])],
    );
    let error = stage.run(&project(stage.all("t"), vec![by_zero]), &[]).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.to_string().as_str()), ("22012", "division by zero"));
    let large = literal(PgType::INT4, Value::Int(i64::from(i32::MAX)));
    let over = applied(Function::Add, PgType::INT4, vec![id.clone(), large]);
    let error = stage.run(&project(stage.all("t"), vec![over]), &[]).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.to_string().as_str()), ("22003", "integer out of range"));
    let unread = Expression::new(PgType::INT4, Node::Cast(Box::new(stage.at("c"))));
    let error = stage.run(&project(stage.all("t"), vec![unread]), &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), "22P02", "{error:?}");
    // The plan's carrier is narrower than the sum.
    let sum = group(stage.all("t"), vec![], vec![call(Aggregate::Sum, Some(stage.at("n")), PgType::NUMERIC)]);
    let error = stage.run(&sum, &[(0, PgType::numeric(5, 2))]).await.unwrap_err();
    assert_eq!(error.sqlstate(), "22003", "{error:?}");
    let sum = group(stage.all("t"), vec![], vec![call(Aggregate::Sum, Some(small), PgType::NUMERIC)]);
    let batches = stage.run(&sum, &[(0, PgType::numeric(38, 2))]).await.unwrap();
    assert_eq!(shown(&batches), "(2.51)");
    let rows = Expression::new(PgType::INT4, Node::Subquery(Box::new(project(stage.all("u"), vec![id.clone()]))));
    let error = stage.run(&project(stage.all("t"), vec![rows]), &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), "21000");
    let pairs = join(stage.all("t"), stage.all("u"), JoinKind::Inner, equal(id, stage.right("id")));
    for (change, changed) in
        [("ALTER TABLE u ALTER small TYPE real", "u"), ("ALTER TABLE t DROP COLUMN f", "t"), ("DROP TABLE u", "u")]
    {
        stage.fixture.run(change).await;
        let error = stage.run(&pairs, &[]).await.unwrap_err();
        assert!(matches!(&error, StoreError::SchemaChanged { table, .. } if table == changed), "{change}: {error:?}");
    }
}
