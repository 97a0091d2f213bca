//! Edits of a database file, looked at through a connection of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::{StreamExt, TryStreamExt};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor, Row};
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::stores::connector::ScanLimits;
use tributary::stores::edit::{
    self, Conflict, ConflictAction, ConflictTarget, Delete, DeleteRows, Insert, Proposed, Update, UpdateRows,
};
use tributary::stores::fragment::{Expression, Node};
use tributary::stores::predicate::{ColumnRef, Comparison, Predicate};
use tributary::stores::value::Value;
use tributary::stores::{
    Branch, Connector, Edit, Edited, Purpose, Relation, Scan, StoreError, StoreName, Table, Tables, WriteIsolation,
};

use super::file;

const WRITE: Purpose = Purpose::Write(WriteIsolation::ReadCommitted);
const REPEATABLE: Purpose = Purpose::Transaction { read_only: false, repeatable: true };

const TABLES: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, age INT CONSTRAINT adult CHECK (age > 17), flag BOOLEAN,
        day DATE, price DECIMAL(10,2) DEFAULT 1.5, twice INT GENERATED ALWAYS AS (age * 2));
    INSERT INTO t (id, name, age, flag, day) VALUES (1, 'a', 20, 1, '2024-02-29'), (2, 'b', NULL, 0, NULL);
    CREATE TABLE part (id INTEGER PRIMARY KEY, whole INT REFERENCES part (id));
    CREATE TABLE odd (name TEXT COLLATE NOCASE PRIMARY KEY ON CONFLICT REPLACE, n INT NOT NULL ON CONFLICT IGNORE);
    INSERT INTO odd VALUES ('x', 1);
    CREATE TABLE word (k TEXT PRIMARY KEY, n INT);
    INSERT INTO word VALUES ('a', 1), (x'61', 2), (NULL, 3), ('A', 4);";

const ID: usize = 0;
const NAME: usize = 1;
const AGE: usize = 2;
const FLAG: usize = 3;
const DAY: usize = 4;
const PRICE: usize = 5;
const TWICE: usize = 6;

struct World {
    directory: tempfile::TempDir,
    plain: SqliteConnection,
    connector: Arc<dyn Connector>,
    tables: Vec<Arc<Table>>,
}

impl World {
    async fn new() -> Self {
        let (directory, plain, connector) = file(TABLES).await;
        let tables = connector.discover().await.unwrap().tables;
        Self { directory, plain, connector, tables }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("shop.db")
    }

    fn table(&self, name: &str) -> Arc<Table> {
        self.tables.iter().find(|table| table.id.name == name).unwrap().clone()
    }

    /// Rows of the file as somebody else sees them, one text each.
    async fn stored(&mut self, sql: &str) -> Vec<String> {
        let rows = self.plain.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
        rows.iter().map(|row| row.get::<Option<String>, _>(0).unwrap_or_else(|| "~".to_owned())).collect()
    }

    /// One edit that commits by itself.
    async fn once(&self, edit: &Edit) -> Result<Edited, StoreError> {
        assert_eq!(self.connector.accepts_edit(edit), Ok(()), "{edit:?}");
        let branch = self.connector.open(Purpose::Once).await?;
        let edited = branch.edit(edit, &CancellationToken::new()).await;
        assert!(!branch.has_written());
        branch.commit().await?;
        edited
    }
}

fn store() -> StoreName {
    StoreName::new("shop")
}

fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn batch(table: &Table, columns: &[usize], arrays: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<_> = columns.iter().map(|ordinal| edit::field(&table.columns[*ordinal])).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn insert(table: &Arc<Table>, columns: &[usize], arrays: Vec<ArrayRef>) -> Insert {
    let rows = batch(table, columns, arrays);
    let (table, columns) = (table.clone(), columns.to_vec());
    Insert { store: store(), table, columns, rows, conflict: None, paths: Vec::new(), returning: Vec::new() }
}

fn named(table: &Arc<Table>, rows: &[(i64, &str)]) -> Insert {
    let ids: Vec<_> = rows.iter().map(|(id, _)| Some(*id)).collect();
    let names: Vec<_> = rows.iter().map(|(_, name)| Some(*name)).collect();
    insert(table, &[ID, NAME], vec![ints(&ids), texts(&names)])
}

fn upsert(insert: Insert, key: &[usize], action: ConflictAction) -> Edit {
    let conflict = Some(Conflict { target: ConflictTarget::Columns(key.to_vec()), action });
    Edit::Insert(Insert { conflict, ..insert })
}

fn scan(table: &Table, columns: &[usize], filter: Vec<Predicate>) -> Scan {
    Scan { store: store(), table: table.id.clone(), columns: columns.to_vec(), filter, limit: None }
}

fn above(column: usize, bound: i64) -> Predicate {
    Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Greater, value: Value::Int(bound) }
}

fn shown(batch: Option<&RecordBatch>) -> Vec<String> {
    let options = FormatOptions::default().with_null("~");
    let Some(batch) = batch else { return Vec::new() };
    let columns: Vec<_> = batch.columns().iter().map(|array| ArrayFormatter::try_new(array.as_ref(), &options).unwrap()).collect();
    let row = |row: usize| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ");
    (0..batch.num_rows()).map(row).collect()
}

async fn seen(branch: &dyn Branch, table: &Arc<Table>) -> Vec<String> {
    let stream = branch.scan(table, &scan(table, &[ID, NAME], Vec::new()), ScanLimits::default()).await.unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    batches.iter().flat_map(|batch| shown(Some(batch))).collect()
}

fn go() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test]
async fn rows_are_inserted_with_their_defaults_and_given_back() {
    let mut world = World::new().await;
    let t = world.table("t");
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None]));
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), None]));
    let arrays = vec![texts(&[Some("c"), Some("7")]), ints(&[Some(30), None]), flags, days];
    let all = Insert { returning: vec![ID, NAME, DAY, PRICE, TWICE], ..insert(&t, &[NAME, AGE, FLAG, DAY], arrays) };
    let edited = world.once(&Edit::Insert(all)).await.unwrap();
    assert_eq!(
        (edited.rows, shown(edited.returned.as_ref())),
        (2, vec!["3 c 1970-01-01 1.50 60".to_owned(), "4 7 ~ 1.50 ~".to_owned()])
    );
    let sql = "SELECT id || ' ' || name || ' ' || typeof(name) || ' ' || ifnull(flag, '~') || ' ' || ifnull(day, '~') FROM t WHERE id > 2";
    assert_eq!(world.stored(sql).await, ["3 c text 1 1970-01-01", "4 7 text ~ ~"]);
    let part = world.table("part");
    // Each row refers to the one behind it, which is there when the statement ends.
    let rows = insert(&part, &[0, 1], vec![ints(&[Some(1), Some(2)]), ints(&[Some(2), None])]);
    assert_eq!(world.once(&Edit::Insert(rows)).await.unwrap().rows, 2);
    let both = batch(&part, &[0], vec![ints(&[Some(1), Some(2), Some(9)])]);
    let delete = DeleteRows { store: store(), table: part.clone(), key: vec![0], rows: both, returning: Vec::new() };
    assert_eq!(world.once(&Edit::DeleteRows(delete)).await.unwrap().rows, 2);
    assert!(world.stored("SELECT CAST(id AS TEXT) FROM part").await.is_empty());
}

#[tokio::test]
async fn rows_that_meet_existing_ones_are_left_out_or_update_them() {
    let mut world = World::new().await;
    let t = world.table("t");
    let nothing = Insert { returning: vec![ID], ..named(&t, &[(1, "z"), (7, "z"), (8, "z")]) };
    let conflict = Some(Conflict { target: ConflictTarget::Any, action: ConflictAction::Nothing });
    let edited = world.once(&Edit::Insert(Insert { conflict, ..nothing })).await.unwrap();
    assert_eq!((edited.rows, shown(edited.returned.as_ref())), (1, vec!["7".to_owned()]));
    let set = || ConflictAction::Update(vec![(NAME, Proposed::Excluded(NAME)), (AGE, Proposed::Constant(Some(Value::Int(50))))]);
    let rows = Insert { returning: vec![NAME, AGE], ..named(&t, &[(2, "bb"), (9, "n")]) };
    let edited = world.once(&upsert(rows, &[ID], set())).await.unwrap();
    assert_eq!((edited.rows, shown(edited.returned.as_ref())), (2, vec!["bb 50".to_owned(), "n ~".to_owned()]));
    let twice = upsert(named(&t, &[(2, "q"), (2, "r")]), &[ID], set());
    assert_eq!(world.once(&twice).await.unwrap_err().sqlstate(), "21000");
    let other = upsert(named(&t, &[(100, "a")]), &[ID], set());
    assert_eq!(world.once(&other).await.unwrap_err().sqlstate(), "23505");
    let keyless = upsert(named(&t, &[(100, "y")]), &[AGE], ConflictAction::Nothing);
    assert_eq!(world.once(&keyless).await.unwrap_err().sqlstate(), "42P10");
    assert_eq!(world.stored("SELECT id || name FROM t ORDER BY id").await, ["1a", "2bb", "7z", "9n"]);
    // What is one text to the store is one row.
    let odd = world.table("odd");
    let rows = || insert(&odd, &[0, 1], vec![texts(&[Some("Y"), Some("y")]), ints(&[Some(1), Some(2)])]);
    let edit = upsert(rows(), &[0], ConflictAction::Update(vec![(1, Proposed::Excluded(1))]));
    assert_eq!(world.once(&edit).await.unwrap_err().sqlstate(), "21000");
    let moved = upsert(rows(), &[0], ConflictAction::Update(vec![(0, Proposed::Excluded(0))]));
    assert!(world.connector.accepts_edit(&moved).is_err());
    // A table that says it would replace rows, or leave them out, does not.
    let replacing = insert(&odd, &[0, 1], vec![texts(&[Some("X")]), ints(&[Some(5)])]);
    assert_eq!(world.once(&Edit::Insert(replacing)).await.unwrap_err().sqlstate(), "23505");
    let ignoring = insert(&odd, &[0, 1], vec![texts(&[Some("w")]), ints(&[None])]);
    assert_eq!(world.once(&Edit::Insert(ignoring)).await.unwrap_err().sqlstate(), "23502");
    assert_eq!(world.stored("SELECT name || n FROM odd").await, ["x1"]);
}

#[tokio::test]
async fn rows_are_changed_by_their_keys_and_by_conditions() {
    let mut world = World::new().await;
    let t = world.table("t");
    let rows = batch(&t, &[ID, NAME], vec![ints(&[Some(2), Some(9), Some(1)]), texts(&[Some("B"), Some("?"), Some("A")])]);
    let update = UpdateRows {
        store: store(),
        table: t.clone(),
        key: vec![ID],
        set: vec![NAME],
        rows,
        paths: Vec::new(),
        returning: vec![NAME, TWICE],
    };
    let edited = world.once(&Edit::UpdateRows(update)).await.unwrap();
    assert_eq!((edited.rows, shown(edited.returned.as_ref())), (2, vec!["B ~".to_owned(), "A 40".to_owned()]));
    let tables = Tables::from([(t.id.clone(), t.clone())]);
    let over = |filter| Box::new(Relation::Table(scan(&t, &[ID, AGE], filter)));
    let value = |number| Expression::new(t.columns[AGE].pg_type(), Node::Literal(Some(Value::Int(number))));
    let whole = |filter, number, returning| {
        let relation = Relation::Project { input: over(filter), expressions: vec![value(number)] };
        Edit::Update(Update {
            store: store(),
            table: t.clone(),
            relation,
            tables: tables.clone(),
            set: vec![AGE],
            paths: Vec::new(),
            returning,
        })
    };
    let edited = world.once(&whole(vec![above(ID, 1)], 33, vec![ID, AGE])).await.unwrap();
    assert_eq!((edited.rows, shown(edited.returned.as_ref())), (1, vec!["2 33".to_owned()]));
    let edited = world.once(&whole(vec![above(ID, 50)], 33, vec![ID])).await.unwrap();
    assert_eq!((edited.rows, edited.returned.map(|batch| batch.num_rows())), (0, Some(0)));
    assert_eq!(world.once(&whole(Vec::new(), 3, Vec::new())).await.unwrap_err().sqlstate(), "23514");
    let delete = |filter, returning| {
        let (table, tables) = (t.clone(), tables.clone());
        Edit::Delete(Delete { store: store(), table, relation: *over(filter), tables, returning })
    };
    let edited = world.once(&delete(vec![above(AGE, 30)], vec![NAME])).await.unwrap();
    assert_eq!((edited.rows, shown(edited.returned.as_ref())), (1, vec!["B".to_owned()]));
    assert_eq!(world.stored("SELECT id || name || age FROM t").await, ["1A20"]);
    // A type that SQLite would not hold the value to, and a cell that is none of its column's type.
    let relation = Relation::Project { input: over(Vec::new()), expressions: vec![value(1)] };
    let day = Update {
        store: store(),
        table: t.clone(),
        relation,
        tables: tables.clone(),
        set: vec![DAY],
        paths: Vec::new(),
        returning: Vec::new(),
    };
    assert!(world.connector.accepts_edit(&Edit::Update(day)).is_err());
    world.stored("UPDATE t SET age = 'many'").await;
    let copied = Relation::Table(scan(&t, &[AGE], Vec::new()));
    let (table, set) = (t.clone(), vec![AGE]);
    let copy = Update { store: store(), table, relation: copied, tables, set, paths: Vec::new(), returning: Vec::new() };
    assert_eq!(world.once(&Edit::Update(copy)).await.unwrap_err().sqlstate(), "22P02");
}

#[tokio::test]
async fn rows_are_changed_by_keys_of_text_that_are_not_null() {
    let mut world = World::new().await;
    let (word, odd) = (world.table("word"), world.table("odd"));
    assert_eq!(world.connector.row_key(&word).map(|key| key.columns.clone()), Some(vec![0]));
    assert_eq!(world.connector.row_key(&odd), None, "texts of several spellings are one key");
    let update = |key: Option<&str>| {
        let rows = batch(&word, &[0, 1], vec![texts(&[key]), ints(&[Some(9)])]);
        Edit::UpdateRows(UpdateRows {
            store: store(),
            table: word.clone(),
            key: vec![0],
            set: vec![1],
            rows,
            paths: Vec::new(),
            returning: Vec::new(),
        })
    };
    assert_eq!(world.once(&update(Some("a"))).await.unwrap().rows, 1);
    assert_eq!(world.once(&update(None)).await.unwrap_err().sqlstate(), "0A000");
    assert_eq!(world.stored("SELECT n || '' FROM word ORDER BY rowid").await, ["9", "2", "3", "4"]);
    let rows = batch(&word, &[0], vec![texts(&[Some("a"), Some("A")])]);
    let delete = Edit::DeleteRows(DeleteRows { store: store(), table: word.clone(), key: vec![0], rows, returning: Vec::new() });
    assert_eq!(world.once(&delete).await.unwrap().rows, 2);
    assert_eq!(world.stored("SELECT n || '' FROM word ORDER BY rowid").await, ["2", "3"]);
}

#[tokio::test]
async fn refused_rows_are_told_as_postgresql_tells_them() {
    let mut world = World::new().await;
    let t = world.table("t");
    let plain = |columns: &[usize], arrays| Edit::Insert(insert(&t, columns, arrays));
    let (one, x) = (|| ints(&[Some(1)]), || texts(&[Some("x")]));
    let part = world.table("part");
    let orphan = Edit::Insert(insert(&part, &[0, 1], vec![one(), ints(&[Some(77)])]));
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![i32::MAX]));
    let rows = [
        (plain(&[ID, NAME], vec![one(), x()]), "23505", Some("t_pkey"), None),
        (plain(&[NAME], vec![texts(&[Some("a")])]), "23505", Some("t_name_key"), None),
        (plain(&[NAME], vec![texts(&[None])]), "23502", None, Some("name")),
        (plain(&[ID, NAME], vec![ints(&[None]), x()]), "23502", None, Some("id")),
        (plain(&[NAME, AGE], vec![x(), one()]), "23514", Some("adult"), None),
        (plain(&[NAME, TWICE], vec![x(), one()]), "428C9", None, None),
        (plain(&[NAME, DAY], vec![x(), dates]), "22008", None, None),
        (plain(&[NAME], vec![texts(&[Some("a\0")])]), "22021", None, None),
        (orphan, "23503", None, None),
    ];
    for (edit, sqlstate, constraint, column) in rows {
        let error = world.once(&edit).await.unwrap_err();
        assert_eq!((error.sqlstate(), error.constraint().as_deref()), (sqlstate, constraint), "{error:?}");
        if let Some(column) = column {
            assert_eq!(error.site().and_then(|site| site.column).as_deref(), Some(column));
        }
    }
    let second = plain(&[ID, NAME], vec![ints(&[Some(5), Some(1)]), texts(&[Some("five"), Some("x")])]);
    assert_eq!(world.once(&second).await.unwrap_err().to_string(), "duplicate key value violates unique constraint \"t_pkey\"");
    assert_eq!(world.stored("SELECT CAST(count(*) AS TEXT) FROM t").await, ["2"]);
}

#[tokio::test]
async fn a_transaction_sees_its_writes_and_undoes_them() {
    let mut world = World::new().await;
    let t = world.table("t");
    let branch = world.connector.open(WRITE).await.unwrap();
    let put = |id, name| Edit::Insert(named(&t, &[(id, name)]));
    assert!(!branch.has_written());
    // A scan that was opened before gives what was there then.
    let small = ScanLimits { batch_rows: 1, ..ScanLimits::default() };
    let mut earlier = branch.scan(&t, &scan(&t, &[ID], Vec::new()), small).await.unwrap();
    assert_eq!(shown(Some(&earlier.next().await.unwrap().unwrap())), ["1"]);
    branch.edit(&put(3, "c"), &go()).await.unwrap();
    assert!(branch.has_written());
    let rest: Vec<RecordBatch> = earlier.try_collect().await.unwrap();
    assert_eq!(rest.iter().flat_map(|batch| shown(Some(batch))).collect::<Vec<_>>(), ["2"]);
    assert_eq!(seen(branch.as_ref(), &t).await, ["1 a", "2 b", "3 c"]);
    assert_eq!(world.stored("SELECT CAST(count(*) AS TEXT) FROM t").await, ["2"]);
    branch.savepoint(1).await.unwrap();
    branch.edit(&put(4, "d"), &go()).await.unwrap();
    branch.savepoint(2).await.unwrap();
    assert_eq!(branch.edit(&put(4, "e"), &go()).await.unwrap_err().sqlstate(), "23505");
    assert_eq!(branch.edit(&put(5, "e"), &go()).await.unwrap_err().sqlstate(), "25P02");
    branch.roll_back_to(2).await.unwrap();
    assert_eq!(seen(branch.as_ref(), &t).await, ["1 a", "2 b", "3 c", "4 d"]);
    branch.roll_back_to(1).await.unwrap();
    assert_eq!(seen(branch.as_ref(), &t).await, ["1 a", "2 b", "3 c"]);
    branch.release(1).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(world.stored("SELECT name FROM t ORDER BY id").await, ["a", "b", "c"]);
    let dropped = world.connector.open(WRITE).await.unwrap();
    dropped.edit(&put(6, "f"), &go()).await.unwrap();
    drop(dropped);
    let undone = world.connector.open(WRITE).await.unwrap();
    undone.edit(&put(6, "f"), &go()).await.unwrap();
    undone.rollback().await.unwrap();
    let failed = world.connector.open(WRITE).await.unwrap();
    failed.edit(&put(6, "f"), &go()).await.unwrap();
    failed.edit(&put(6, "f"), &go()).await.unwrap_err();
    assert_eq!(failed.commit().await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(world.stored("SELECT CAST(count(*) AS TEXT) FROM t").await, ["3"]);
}

#[tokio::test]
async fn what_is_undone_is_not_written() {
    let mut world = World::new().await;
    let t = world.table("t");
    let put = |id, name| Edit::Insert(named(&t, &[(id, name)]));
    for purpose in [WRITE, REPEATABLE] {
        let branch = world.connector.open(purpose).await.unwrap();
        branch.savepoint(1).await.unwrap();
        assert!(!branch.has_written());
        branch.edit(&put(3, "c"), &go()).await.unwrap();
        branch.savepoint(2).await.unwrap();
        branch.edit(&put(3, "d"), &go()).await.unwrap_err();
        branch.roll_back_to(2).await.unwrap();
        assert!(branch.has_written());
        branch.roll_back_to(1).await.unwrap();
        assert!(!branch.has_written());
        branch.edit(&put(4, "d"), &go()).await.unwrap();
        // What comes after is forgotten, and what was written stays so.
        branch.savepoint(3).await.unwrap();
        branch.release(3).await.unwrap();
        branch.savepoint(3).await.unwrap();
        branch.roll_back_to(3).await.unwrap();
        assert!(branch.has_written());
        branch.rollback().await.unwrap();
        assert!(!branch.has_written());
    }
    assert_eq!(world.stored("SELECT CAST(count(*) AS TEXT) FROM t").await, ["2"]);
}

#[tokio::test]
async fn a_way_back_that_fails_leads_nowhere() {
    let mut world = World::new().await;
    let t = world.table("t");
    let put = |id, name| Edit::Insert(named(&t, &[(id, name)]));
    let branch = world.connector.open(WRITE).await.unwrap();
    branch.savepoint(1).await.unwrap();
    branch.edit(&put(3, "c"), &go()).await.unwrap();
    branch.roll_back_to(9).await.unwrap_err();
    assert!(branch.has_written());
    assert_eq!(branch.edit(&put(4, "d"), &go()).await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(branch.savepoint(2).await.unwrap_err().sqlstate(), "25P02");
    branch.roll_back_to(1).await.unwrap();
    branch.edit(&put(5, "e"), &go()).await.unwrap();
    branch.roll_back_to(9).await.unwrap_err();
    assert_eq!(branch.commit().await.unwrap_err().sqlstate(), "25P02");
    // A trigger may end the whole transaction, so that there is no way back.
    world.stored("CREATE TRIGGER ends BEFORE INSERT ON part WHEN new.id = 13 BEGIN SELECT RAISE(ROLLBACK, 'no'); END").await;
    let part = world.table("part");
    let row = |id| Edit::Insert(insert(&part, &[0], vec![ints(&[Some(id)])]));
    let branch = world.connector.open(WRITE).await.unwrap();
    branch.savepoint(1).await.unwrap();
    branch.edit(&row(12), &go()).await.unwrap();
    branch.edit(&row(13), &go()).await.unwrap_err();
    assert_eq!(branch.roll_back_to(1).await.unwrap_err().sqlstate(), "40001");
    assert_eq!(branch.edit(&row(14), &go()).await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(branch.commit().await.unwrap_err().sqlstate(), "40001");
    assert_eq!(world.stored("SELECT CAST(count(*) AS TEXT) FROM t").await, ["2"]);
    assert_eq!(world.stored("SELECT CAST(count(*) AS TEXT) FROM part").await, ["0"]);
}

#[tokio::test]
async fn scans_that_are_too_large_to_keep_are_not_in_the_way_back() {
    let mut world = World::new().await;
    world.stored("CREATE TABLE wide (id INTEGER PRIMARY KEY, body TEXT)").await;
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90)";
    world.stored(&format!("{rows} INSERT INTO wide SELECT i, hex(zeroblob(500000)) FROM n")).await;
    let wide = world.connector.discover().await.unwrap().tables.into_iter().find(|table| table.id.name == "wide").unwrap();
    let t = world.table("t");
    let put = |id, name| Edit::Insert(named(&t, &[(id, name)]));
    let branch = world.connector.open(WRITE).await.unwrap();
    branch.edit(&put(3, "c"), &go()).await.unwrap();
    branch.savepoint(1).await.unwrap();
    let open = branch.scan(&wide, &scan(&wide, &[0, 1], Vec::new()), ScanLimits::default()).await.unwrap();
    assert_eq!(branch.edit(&put(4, "d"), &go()).await.unwrap_err().sqlstate(), "53200");
    branch.roll_back_to(1).await.unwrap();
    assert_eq!(open.try_collect::<Vec<_>>().await.unwrap_err().sqlstate(), "53200");
    branch.edit(&put(5, "e"), &go()).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(world.stored("SELECT name FROM t ORDER BY id").await, ["a", "b", "c", "e"]);
}

#[tokio::test]
async fn a_stopped_edit_has_changed_nothing() {
    let mut world = World::new().await;
    let t = world.table("t");
    let stop = CancellationToken::new();
    stop.cancel();
    let branch = world.connector.open(WRITE).await.unwrap();
    branch.savepoint(1).await.unwrap();
    let edit = Edit::Insert(named(&t, &[(3, "c")]));
    assert!(matches!(branch.edit(&edit, &stop).await, Err(StoreError::Cancelled)));
    branch.roll_back_to(1).await.unwrap();
    branch.edit(&Edit::Insert(named(&t, &[(4, "d")])), &go()).await.unwrap();
    branch.commit().await.unwrap();
    let once = world.connector.open(Purpose::Once).await.unwrap();
    assert!(matches!(once.edit(&edit, &stop).await, Err(StoreError::Cancelled)));
    assert_eq!(world.stored("SELECT name FROM t ORDER BY id").await, ["a", "b", "d"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_edit_is_interrupted() {
    let mut world = World::new().await;
    world.stored("WITH RECURSIVE n (i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) INSERT INTO t (id, name) SELECT i, i FROM n").await;
    let t = world.table("t");
    let relation = Relation::Table(scan(&t, &[ID], Vec::new()));
    let tables = Tables::from([(t.id.clone(), t.clone())]);
    let delete = Edit::Delete(Delete { store: store(), table: t.clone(), relation, tables, returning: vec![ID, NAME] });
    let branch = world.connector.open(WRITE).await.unwrap();
    let stop = CancellationToken::new();
    let log = world.directory.path().join("shop.db-wal");
    let written = || std::fs::metadata(&log).and_then(|log| log.modified()).unwrap();
    let (before, is_done) = (written(), AtomicBool::new(false));
    let editing = async {
        let edited = branch.edit(&delete, &stop).await;
        is_done.store(true, Ordering::Relaxed);
        edited
    };
    let stopping = async {
        // It is under way once it writes, unless it is done by then.
        while written() == before && !is_done.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (edited, ()) = tokio::join!(editing, stopping);
    // It may have been quicker, and is then done: the answer is what is there.
    if let Err(error) = edited {
        assert!(matches!(error, StoreError::Cancelled), "{error:?}");
        assert!(branch.commit().await.is_err());
        assert_eq!(world.stored("SELECT CAST(count(*) AS TEXT) FROM t").await, ["300000"]);
    } else {
        branch.rollback().await.unwrap();
    }
    // The connection is as good as before.
    world.once(&Edit::Insert(named(&t, &[(400_000, "last")]))).await.unwrap();
}

#[tokio::test]
async fn rows_are_kept_from_others_until_the_end() {
    let mut world = World::new().await;
    let t = world.table("t");
    let branch = world.connector.open(WRITE).await.unwrap();
    let stream = branch.scan_for_update(&t, &scan(&t, &[NAME], vec![above(ID, 1)]), ScanLimits::default()).await.unwrap();
    let found: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    assert_eq!(found.iter().flat_map(|batch| shown(Some(batch))).collect::<Vec<_>>(), ["b"]);
    world.plain.execute("PRAGMA busy_timeout = 0").await.unwrap();
    assert!(world.plain.execute("UPDATE t SET age = 40").await.is_err());
    branch.rollback().await.unwrap();
    // Two that read, of which one writes: the other has seen what is no longer so.
    let late = world.connector.open(REPEATABLE).await.unwrap();
    assert_eq!(seen(late.as_ref(), &t).await.len(), 2);
    let early = world.connector.open(REPEATABLE).await.unwrap();
    early.edit(&Edit::Insert(named(&t, &[(3, "c")])), &go()).await.unwrap();
    assert_eq!(seen(early.as_ref(), &t).await.len(), 3);
    early.commit().await.unwrap();
    let edit = Edit::Insert(named(&t, &[(4, "d")]));
    assert_eq!(late.edit(&edit, &go()).await.unwrap_err().sqlstate(), "40001");
    late.rollback().await.unwrap();
    let late = world.connector.open(REPEATABLE).await.unwrap();
    world.plain.execute("UPDATE t SET age = 40").await.unwrap();
    let refused = late.scan_for_update(&t, &scan(&t, &[NAME], Vec::new()), ScanLimits::default()).await;
    assert_eq!(refused.err().unwrap().sqlstate(), "40001");
    // A writer that does not end.
    world.plain.execute("BEGIN IMMEDIATE").await.unwrap();
    let impatient = super::connector(&world.path(), "busy_timeout = \"50ms\"");
    let once = impatient.open(Purpose::Once).await.unwrap();
    assert_eq!(once.edit(&edit, &go()).await.unwrap_err().sqlstate(), "55P03");
    assert_eq!(impatient.open(WRITE).await.err().unwrap().sqlstate(), "55P03");
}

#[tokio::test]
async fn a_store_that_is_read_only_says_so() {
    let world = World::new().await;
    assert!(!world.connector.is_read_only());
    let closed = super::connector(&world.path(), "read_only = true");
    assert!(closed.is_read_only());
    for purpose in [Purpose::Once, WRITE] {
        assert!(matches!(closed.open(purpose).await, Err(StoreError::ReadOnly { .. })));
    }
    let edit = Edit::Insert(named(&world.table("t"), &[(3, "c")]));
    let repeatable = closed.open(REPEATABLE).await.unwrap();
    assert!(matches!(repeatable.edit(&edit, &go()).await, Err(StoreError::ReadOnly { .. })));
    let reader = world.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
    assert_eq!(reader.edit(&edit, &go()).await.unwrap_err().sqlstate(), "0A000");
}

#[tokio::test]
async fn edits_are_described_by_their_statements() {
    let world = World::new().await;
    let t = world.table("t");
    let edit = Edit::Insert(named(&t, &[(3, "c"), (4, "d")]));
    assert_eq!(world.connector.describe_edit(&edit), "INSERT OR ABORT INTO \"main\".\"t\" (\"id\", \"name\") VALUES (?1, ?2)");
    let by = |key: usize, values: ArrayRef| {
        let rows = batch(&t, &[key], vec![values]);
        Edit::DeleteRows(DeleteRows { store: store(), table: t.clone(), key: vec![key], rows, returning: Vec::new() })
    };
    assert!(world.connector.accepts_edit(&by(NAME, texts(&[Some("a")]))).is_ok());
    // A day has more forms than one.
    assert!(world.connector.accepts_edit(&by(DAY, Arc::new(Date32Array::from(vec![1])))).is_err());
}
