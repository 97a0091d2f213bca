//! The binlog of a real server as a feed: values are those of scans, transactions come whole and once, and what cannot be followed is told.
//!
//! Each test has a server of its own: what others prepare and commit would be gaps here.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use futures::TryStreamExt;
use sqlx::{Connection, Row};
use tributary::stores::capture::{Capture, Ended, Feed, Follow, How, InstanceId, Judged, Step, TablePattern};
use tributary::stores::change::{Barrier, Entry, Group, Operation, Resume, Transaction};
use tributary::stores::connector::ScanLimits;
use tributary::stores::position::Coverage;
use tributary::stores::schema::{Table, TableId};

use super::{Room, all_columns, connect, read_all, scan_of, texts};

pub(super) const US: InstanceId = InstanceId(0xab);
/// The longest wait for what must come.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn follow() -> Follow {
    Follow {
        how: How::Log,
        only: TablePattern::parse("*").into_iter().collect(),
        except: Vec::new(),
        max_retained: 1 << 30,
        poll: Duration::from_millis(20),
        publication: None,
        server_id: None,
    }
}

/// A feed of a room, with what it gave last.
pub(super) struct Following {
    pub(super) capture: Arc<dyn Capture>,
    pub(super) feed: Box<dyn Feed>,
    pub(super) resume: Option<Resume>,
}

async fn judged(room: &Room, names: &[&str]) -> Vec<Judged> {
    let mut tables = Vec::new();
    for name in names {
        tables.push(room.table(name).await);
    }
    let survey = room.store.capture().unwrap().survey(US, &follow(), &tables).await.unwrap();
    assert_eq!(survey.refused, None);
    survey.tables
}

impl Following {
    /// Follows tables from now.
    pub(super) async fn begin(room: &Room, names: &[&str]) -> Self {
        let mut following = Self::open(room, names, None).await;
        // The place where it begins.
        let Step::Idle { resume, .. } = following.step().await.unwrap() else { panic!("something came before anything happened") };
        following.resume = Some(resume);
        following
    }

    /// Goes on behind a place.
    pub(super) async fn again(room: &Room, names: &[&str], resume: &Resume) -> Self {
        Self::open(room, names, Some(resume)).await
    }

    async fn open(room: &Room, names: &[&str], from: Option<&Resume>) -> Self {
        let capture = room.store.capture().unwrap();
        let followed = judged(room, names).await.into_iter().map(|judged| match judged {
            Judged::Followed(followed) => followed,
            Judged::StoreOnly { table, reason, .. } => panic!("{} is not followed: it {reason}", table.name),
        });
        let followed: Vec<_> = followed.collect();
        let feed = capture.start(US, &follow(), &followed, from).await.unwrap();
        Self { capture, feed, resume: None }
    }

    pub(super) async fn step(&mut self) -> Result<Step, Ended> {
        tokio::time::timeout(LIMIT, self.feed.next()).await.expect("nothing came")
    }

    /// The next group, whatever comes before it but an end.
    async fn group(&mut self) -> Group {
        loop {
            match self.step().await.unwrap() {
                Step::Group(group) => {
                    self.resume = Some(group.resume.clone());
                    return group;
                }
                Step::Idle { .. } | Step::Doubt(_) => {}
            }
        }
    }

    /// The next transactions, with the groups that they are of.
    async fn transactions(&mut self, count: usize) -> Vec<(Transaction, Arc<Group>)> {
        let mut all = Vec::new();
        while all.len() < count {
            let group = Arc::new(self.group().await);
            all.extend(group.transactions.iter().map(|each| (each.clone(), Arc::clone(&group))));
        }
        assert_eq!(all.len(), count, "more came than was written");
        all
    }
}

/// What a transaction did to the first column of its rows.
pub(super) fn shown((transaction, group): &(Transaction, Arc<Group>)) -> Vec<String> {
    let row = |rows: u32, row: u32| {
        let (rows, row) = (&group.rows[rows as usize], row as usize);
        let (is_old, _) = rows.key(row).unwrap();
        let side = if is_old { rows.old.as_ref().unwrap() } else { &rows.new };
        let moved = if rows.moves(row) { format!(" from {}", texts(rows.old.as_ref().unwrap(), 0)[row]) } else { String::new() };
        format!("{} {}{moved}", rows.operations[row].word(), texts(side, 0)[row])
    };
    let one = |entry: &Entry| match entry {
        Entry::Row { rows, row: number } => row(*rows, *number),
        Entry::Barrier(Barrier::Truncated { .. }) => "truncated".to_owned(),
        Entry::Barrier(Barrier::Reshaped { .. }) => "reshaped".to_owned(),
        Entry::Barrier(Barrier::Stopped { reason, .. }) => format!("stopped: {reason}"),
        Entry::Barrier(Barrier::Gap { .. }) => "gap".to_owned(),
    };
    transaction.entries.iter().map(one).collect()
}

/// Types with values at their ends, with zeros at the end of bytes, and in several character sets.
const TYPES: &str = "CREATE TABLE types (id int primary key, ti tinyint, tu tinyint unsigned, tb tinyint(1), si smallint, \
su smallint unsigned, mi mediumint, mu mediumint unsigned, ii int, iu int unsigned, bi bigint, bu bigint unsigned, de decimal(20,6), \
dw decimal(65,30), dz decimal(9,9), f float, db double, y year, b1 bit(1), b10 bit(10), c char(5), cl char(5) character set latin1, \
vc varchar(300), vl varchar(20) character set latin1, v2 varchar(20) character set latin2, cu char(5) character set utf16, \
u3 varchar(20) character set utf8mb3, tt tinytext, tx text, mt mediumtext, lt longtext, bn binary(16), vb varbinary(20), tbl tinyblob, \
bl blob, mb mediumblob, lb longblob, e enum('a','b''x','ü') character set latin1, s set('x','y','ü'), u uuid, i4 inet4, i6 inet6, \
da date, dt datetime, dt3 datetime(3), dt6 datetime(6), ts timestamp null, ts6 timestamp(6) null, tm time, tm2 time(2), tm6 time(6), \
js json, y2 year(2), vg int as (ii + 1) virtual, sg int as (ii + 2) stored)";

const ROWS: [&str; 4] = [
    "(id) VALUES (1)",
    "SET id = 2, ti = -128, tu = 255, tb = 1, si = -32768, su = 65535, mi = -8388608, mu = 16777215, ii = -2147483648, iu = 4294967295, \
     bi = -9223372036854775808, bu = 18446744073709551615, de = -1234567.000001, \
     dw = -12345678901234567890123456789012345.000000000000000000000000000001, dz = 0.123456789, f = 1.5, db = -2.5e300, y = 2024, \
     b1 = b'1', b10 = b'1000000001', c = 'ab ', cl = 'é€', vc = 'hé😀', vl = 'é€ ', v2 = 'ąő', cu = 'aé', u3 = 'ü', tt = '', tx = 'tx', \
     mt = 'mt', lt = 'lt', bn = X'01020300', vb = X'010000', tbl = X'', bl = X'00ff00', mb = X'00', lb = X'ff', e = 'ü', s = 'x,ü', \
     u = '123e4567-e89b-12d3-a456-426655440000', i4 = '1.2.3.0', i6 = '2001:db8::', da = '2024-02-29', dt = '1999-12-31 23:59:59', \
     dt3 = '2024-02-29 12:34:56.789', dt6 = '9999-12-31 23:59:59.999999', ts = '2024-01-02 03:04:05', ts6 = '1970-01-01 00:00:01.000001', \
     y2 = 24, tm = '-838:59:59', tm2 = '-00:00:00.01', tm6 = '838:59:58.999999', js = '{\"a\": [1, 2.50]}'",
    "SET id = 3, ti = 127, si = 32767, mi = 8388607, ii = 2147483640, bi = 9223372036854775807, de = 99999999999999.999999, dw = 0, \
     dz = -0.000000001, f = -0.0, db = 0, y = 1901, b1 = b'0', b10 = 0, c = '', vc = '', bn = X'00', vb = X'', e = 'a', s = '', \
     u = '01890a5d-ac96-774b-bcce-b302099a8057', i4 = '0.0.0.0', i6 = '::ffff:1.2.3.4', da = '0001-01-01', dt = '0001-01-01 00:00:00', \
     y2 = 70, tm = '00:00:00', tm2 = '00:00:00', tm6 = '-838:59:58.000001', js = 'null'",
    "SET id = 4, y = 0, u = '00000000-0000-0000-0000-000000000000', i6 = '::', e = 0, vc = repeat('é', 300), lt = repeat('x', 70000), \
     lb = repeat(X'00', 300), y2 = 0, dw = 1, ii = 0",
];

#[tokio::test]
async fn values_are_those_of_scans() {
    let mut room = Room::alone("").await;
    room.run(TYPES).await;
    let mut following = Following::begin(&room, &["types"]).await;
    for is_compressed in [false, true] {
        room.run(format!("SET GLOBAL log_bin_compress = {}, GLOBAL log_bin_compress_min_len = 10", u8::from(is_compressed))).await;
        for row in ROWS {
            room.run(format!("INSERT INTO types {row}")).await;
        }
        let given = following.transactions(ROWS.len()).await;
        let batches: Vec<RecordBatch> = given
            .iter()
            .map(|(transaction, group)| {
                let [Entry::Row { rows, row }] = transaction.entries.as_slice() else { panic!("one row was written") };
                group.rows[*rows as usize].new.slice(*row as usize, 1)
            })
            .collect();
        let told = concat_batches(&batches[0].schema(), &batches).unwrap();
        let scanned = read_all(&room.store, &room.table("types").await).await.unwrap();
        for (place, field) in scanned.schema().fields().iter().enumerate() {
            assert_eq!(texts(&told, place), texts(&scanned, place), "{}", field.name());
            assert_eq!(told.column(place).data_type(), field.data_type(), "{}", field.name());
        }
        // Rows that went are told with all that they were.
        room.run("DELETE FROM types").await;
        let [(_, group)] = &following.transactions(1).await[..] else { panic!("one transaction was written") };
        let old = group.rows[0].old.as_ref().unwrap();
        assert_eq!(old.num_rows(), ROWS.len());
        for (place, field) in scanned.schema().fields().iter().enumerate() {
            assert_eq!(texts(old, place), texts(&scanned, place), "{} as it was", field.name());
        }
    }
    following.feed.close().await;
}

#[tokio::test]
async fn transactions_come_whole_in_their_order_and_once() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key, v int)").await;
    room.run("CREATE TABLE beside (id int primary key)").await;
    let mut following = Following::begin(&room, &["t"]).await;
    room.run("INSERT INTO t VALUES (1, 1), (2, 2)").await;
    room.run("BEGIN").await;
    room.run("INSERT INTO t VALUES (3, 3)").await;
    room.run("SAVEPOINT a").await;
    room.run("INSERT INTO t VALUES (4, 4)").await;
    room.run("ROLLBACK TO a").await;
    room.run("INSERT INTO beside VALUES (1)").await;
    room.run("UPDATE t SET v = v + 1 WHERE id < 3").await;
    room.run("COMMIT").await;
    room.run("BEGIN").await;
    room.run("INSERT INTO t VALUES (5, 5)").await;
    room.run("ROLLBACK").await;
    room.run("INSERT INTO beside VALUES (2)").await;
    room.run("UPDATE t SET id = 30 WHERE id = 3").await;
    room.run("DELETE FROM t WHERE id = 1").await;
    let given = following.transactions(4).await;
    assert_eq!(shown(&given[0]), ["insert 1", "insert 2"]);
    assert_eq!(shown(&given[1]), ["insert 3", "update 1", "update 2"]);
    assert_eq!((shown(&given[2]), shown(&given[3])), (vec!["update 30 from 3".to_owned()], vec!["delete 1".to_owned()]));
    for pair in given.windows(2) {
        let (earlier, later) = (&pair[0].0.position, &pair[1].0.position);
        assert_eq!((room.store.covers(later, earlier), room.store.covers(earlier, later)), (Coverage::Covered, Coverage::Behind));
    }
    // It goes on behind what it gave, and gives nothing of that again.
    let resume = following.resume.clone().unwrap();
    following.feed.close().await;
    room.run("INSERT INTO t VALUES (6, 6)").await;
    let mut again = Following::again(&room, &["t"], &resume).await;
    assert_eq!(shown(&again.transactions(1).await[0]), ["insert 6"]);
    assert!(again.capture.objects(US).await.unwrap().is_empty());
    again.feed.close().await;
}

#[tokio::test]
async fn statements_that_change_tables_are_told() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key, v int)").await;
    room.run("INSERT INTO t VALUES (1, 1)").await;
    let mut following = Following::begin(&room, &["t"]).await;
    room.run("TRUNCATE TABLE t").await;
    assert_eq!(shown(&following.transactions(1).await[0]), ["truncated"]);
    room.run("ALTER TABLE t ADD COLUMN w varchar(5)").await;
    assert_eq!(shown(&following.transactions(1).await[0]), ["reshaped"]);
    let Step::Doubt(doubted) = following.step().await.unwrap() else { panic!("nothing was doubted") };
    assert_eq!(doubted, [TableId { namespace: room.database.clone(), name: "t".to_owned() }]);
    let [Judged::Followed(followed)] = &judged(&room, &["t"]).await[..] else { panic!("it can be followed still") };
    following.feed.reshape(std::slice::from_ref(followed)).await.unwrap();
    room.run("INSERT INTO t VALUES (2, 2, 'w')").await;
    let given = following.transactions(1).await;
    assert_eq!((shown(&given[0]), given[0].1.rows[0].new.num_columns()), (vec!["insert 2".to_owned()], 3));
    room.run("SET SESSION binlog_format = 'STATEMENT'").await;
    room.run("INSERT INTO t VALUES (3, 3, NULL)").await;
    room.run("SET SESSION binlog_format = 'ROW'").await;
    assert!(shown(&following.transactions(1).await[0])[0].starts_with("stopped"));
    following.feed.close().await;
}

#[tokio::test]
async fn prepared_transactions_are_given_when_they_are_committed() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    let mut following = Following::begin(&room, &["t"]).await;
    let mut other = connect(&room.server, &room.database).await;
    for statement in ["XA START 'a'", "INSERT INTO t VALUES (1)", "XA END 'a'", "XA PREPARE 'a'"] {
        sqlx::raw_sql(statement).execute(&mut other).await.unwrap();
    }
    room.run("INSERT INTO t VALUES (2)").await;
    assert_eq!(shown(&following.transactions(1).await[0]), ["insert 2"]);
    // Begun again in between, it still knows what was prepared.
    let resume = following.resume.clone().unwrap();
    following.feed.close().await;
    let mut again = Following::again(&room, &["t"], &resume).await;
    sqlx::raw_sql("XA COMMIT 'a'").execute(&mut other).await.unwrap();
    let given = again.transactions(1).await;
    assert_eq!(shown(&given[0]), ["insert 1"]);
    for statement in ["XA START 'b'", "INSERT INTO t VALUES (3)", "XA END 'b'", "XA PREPARE 'b'", "XA ROLLBACK 'b'"] {
        sqlx::raw_sql(statement).execute(&mut other).await.unwrap();
    }
    room.run("INSERT INTO t VALUES (4)").await;
    assert_eq!(shown(&again.transactions(1).await[0]), ["insert 4"]);
    again.feed.close().await;
}

/// The keys that a fill shows.
async fn filled(capture: &Arc<dyn Capture>, table: &Arc<Table>) -> (Vec<u8>, Vec<i32>) {
    let fill = capture.fill(table).await.unwrap();
    let scan = scan_of(table, all_columns(table), Vec::new());
    let stream = fill.branch.scan(table, &scan, ScanLimits::default()).await.unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    let keys = batches.iter().flat_map(|batch| texts(batch, 0)).map(|text| text.parse().unwrap()).collect();
    fill.branch.rollback().await.unwrap();
    (fill.version, keys)
}

#[tokio::test]
async fn a_fill_has_exactly_the_transactions_that_it_says() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    // A user who may not see the end of the log is given a lock for a moment.
    room.run("CREATE USER plain IDENTIFIED BY 'p'").await;
    room.run("GRANT SELECT, LOCK TABLES, REPLICATION SLAVE ON *.* TO plain").await;
    let file = format!(
        "host = \"{}\"\nport = {}\nuser = \"plain\"\npassword = \"p\"\ndatabase = \"{}\"\n",
        room.server.host(),
        room.server.port(),
        room.database
    );
    let plain = super::parse(&file);
    let table = room.table("t").await;
    let mut following = Following::begin(&room, &["t"]).await;
    let mut writer = connect(&room.server, &room.database).await;
    let writing = async {
        for id in 0..400 {
            sqlx::query("INSERT INTO t VALUES (?)").bind(id).execute(&mut writer).await.unwrap();
        }
    };
    let filling = async {
        let mut fills = Vec::new();
        for store in [&room.store, &plain, &room.store, &plain] {
            let capture = store.capture().unwrap();
            fills.push((Arc::clone(&capture), filled(&capture, &table).await));
        }
        fills
    };
    let ((), fills) = tokio::join!(writing, filling);
    let given = following.transactions(400).await;
    for (capture, (version, keys)) in fills {
        for each in &given {
            let key: i32 = shown(each)[0].strip_prefix("insert ").unwrap().parse().unwrap();
            assert_eq!(capture.contains(&version, &each.0), keys.contains(&key), "row {key}");
        }
        assert!(!capture.contains(b"x", &given[0].0));
    }
    following.feed.close().await;
}

/// Drops every file of the log but the newest. One stays for as long as somebody reads it, or the engine has not synced what it holds.
async fn purge(room: &mut Room) {
    let purged = async {
        loop {
            let files = sqlx::raw_sql("SHOW BINARY LOGS").fetch_all(&mut room.writer).await.unwrap();
            if files.len() == 1 {
                return;
            }
            let newest: String = files.last().unwrap().get(0);
            room.run(format!("PURGE BINARY LOGS TO '{newest}'")).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, purged).await.expect("files of the log stay");
}

#[tokio::test]
async fn what_cannot_be_followed_is_told_and_history_that_is_gone_too() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE parent (id int primary key)").await;
    room.run(
        "CREATE TABLE child (id int primary key, p int, CONSTRAINT acts FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
    )
    .await;
    room.run("CREATE TABLE keyless (id int)").await;
    room.run("CREATE TABLE old (id int primary key) ENGINE = MyISAM").await;
    room.run("CREATE TABLE packed (id int primary key, v varchar(50) COMPRESSED)").await;
    room.run("CREATE TABLE gbk (id int primary key, v varchar(50) CHARACTER SET gbk)").await;
    room.run("CREATE TABLE versioned (id int primary key) WITH SYSTEM VERSIONING").await;
    room.run("CREATE VIEW seen AS SELECT id FROM parent").await;
    let names = ["parent", "child", "keyless", "old", "packed", "gbk", "versioned", "seen"];
    let judged = judged(&room, &names).await;
    let reasons: Vec<String> = judged
        .iter()
        .map(|judged| match judged {
            Judged::Followed(_) => String::new(),
            Judged::StoreOnly { reason, .. } => reason.clone(),
        })
        .collect();
    let expected = ["", "\"acts\"", "primary key", "MyISAM", "compressed", "gbk", "history", "view"];
    for ((reason, expected), name) in reasons.iter().zip(expected).zip(names) {
        assert!(reason.contains(expected) && reason.is_empty() == expected.is_empty(), "{name}: {reason}");
    }
    let following = Following::begin(&room, &["parent"]).await;
    let resume = following.resume.clone().unwrap();
    following.feed.close().await;
    room.run("INSERT INTO parent VALUES (1)").await;
    room.run("FLUSH BINARY LOGS").await;
    room.run("INSERT INTO parent VALUES (2)").await;
    room.run("FLUSH BINARY LOGS").await;
    purge(&mut room).await;
    let ended = match Following::try_from_here(&room, &resume).await {
        Ok(step) => panic!("{step:?} came of a log that was dropped"),
        Err(ended) => ended,
    };
    assert!(matches!(ended, Ended::Lost(_)), "{ended:?}");
    // Another history under the same name of a server.
    room.run("RESET MASTER").await;
    assert!(matches!(Following::try_from_here(&room, &resume).await, Err(Ended::Lost(_))));
    room.writer.ping().await.unwrap();
}

#[tokio::test]
async fn who_may_only_read_is_told_of_foreign_keys_that_act_too() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE parent (id int primary key)").await;
    room.run(
        "CREATE TABLE acts (id int primary key, p int, CONSTRAINT a FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL)",
    )
    .await;
    room.run("CREATE TABLE refuses (id int primary key, p int, CONSTRAINT b FOREIGN KEY (p) REFERENCES parent (id))").await;
    room.run("CREATE USER reader IDENTIFIED BY 'p'").await;
    room.run("GRANT SELECT, REPLICATION SLAVE ON *.* TO reader").await;
    let reader = super::parse(&format!(
        "host = \"{}\"\nport = {}\nuser = \"reader\"\npassword = \"p\"\ndatabase = \"{}\"\n",
        room.server.host(),
        room.server.port(),
        room.database
    ));
    let tables = [room.table("parent").await, room.table("acts").await, room.table("refuses").await];
    let survey = reader.capture().unwrap().survey(US, &follow(), &tables).await.unwrap();
    let reasons: Vec<&str> = survey
        .tables
        .iter()
        .map(|judged| match judged {
            Judged::Followed(_) => "",
            Judged::StoreOnly { reason, .. } => reason.as_str(),
        })
        .collect();
    assert!(reasons[0].is_empty() && reasons[1].contains("foreign key \"a\"") && reasons[2].is_empty(), "{reasons:?}");
}

#[tokio::test]
async fn another_history_that_counts_to_the_same_ids_is_noticed() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE parent (id int primary key)").await;
    let mut following = Following::begin(&room, &["parent"]).await;
    room.run("INSERT INTO parent VALUES (1)").await;
    assert_eq!(shown(&following.transactions(1).await[0]), ["insert 1"]);
    let resume = following.resume.clone().unwrap();
    following.feed.close().await;
    room.run("FLUSH BINARY LOGS").await;
    let mut again = Following::again(&room, &["parent"], &resume).await;
    room.run("INSERT INTO parent VALUES (2)").await;
    assert_eq!(shown(&again.transactions(1).await[0]), ["insert 2"]);
    again.feed.close().await;
    room.run("RESET MASTER").await;
    for id in 10..100 {
        room.run(format!("INSERT INTO parent VALUES ({id})")).await;
    }
    let ended = Following::try_from_here(&room, &resume).await;
    assert!(matches!(ended, Err(Ended::Lost(_))), "{ended:?}");
}

#[tokio::test]
async fn a_log_that_begins_anew_under_a_feed_is_noticed_while_it_is_shorter_than_what_was_read() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE parent (id int primary key)").await;
    let mut following = Following::begin(&room, &["parent"]).await;
    room.run("INSERT INTO parent SELECT seq FROM seq_1_to_2000").await;
    let group = following.group().await;
    assert!(group.transactions[0].ends, "the file is long enough with it");
    let resume = group.resume;
    room.run("RESET MASTER").await;
    // More transactions than there were, in fewer bytes: neither their numbers nor their places are behind those that were read.
    for id in 3000..3020 {
        room.run(format!("INSERT INTO parent VALUES ({id})")).await;
    }
    let ended = loop {
        match following.step().await {
            Ok(Step::Idle { .. }) => {}
            Ok(step) => panic!("{step:?} came of a log that had begun anew"),
            Err(ended) => break ended,
        }
    };
    assert!(matches!(ended, Ended::Again(_)), "{ended:?}");
    following.feed.close().await;
    let ended = Following::try_from_here(&room, &resume).await;
    assert!(matches!(ended, Err(Ended::Lost(_))), "{ended:?}");
}

#[tokio::test]
async fn that_there_is_nothing_more_is_told_soon_behind_a_change() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    let mut following = Following::begin(&room, &["t"]).await;
    room.run("INSERT INTO t VALUES (1)").await;
    let _group = following.group().await;
    // Until then its lag is the age of that change.
    let told = tokio::time::timeout(Duration::from_secs(3), following.step()).await;
    assert!(matches!(told, Ok(Ok(Step::Idle { .. }))), "{told:?}");
}

#[tokio::test]
async fn a_feed_that_is_closed_leaves_nobody_who_reads() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    let following = Following::begin(&room, &["t"]).await;
    let count = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'";
    let before: i64 = sqlx::query(count).fetch_one(&mut room.writer).await.unwrap().get(0);
    following.feed.close().await;
    // The server by itself would notice with a heartbeat, of which there is one in a second.
    let mut after = before;
    for _ in 0..40 {
        after = sqlx::query(count).fetch_one(&mut room.writer).await.unwrap().get(0);
        if after == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((before, after), (1, 0));
}

impl Following {
    /// The first that comes of a feed that goes on, or why it does not.
    async fn try_from_here(room: &Room, resume: &Resume) -> Result<Step, Ended> {
        let judged = judged(room, &["parent"]).await;
        let [Judged::Followed(followed)] = &judged[..] else { panic!("it can be followed") };
        let capture = room.store.capture().unwrap();
        let mut feed = capture.start(US, &follow(), std::slice::from_ref(followed), Some(resume)).await?;
        loop {
            match tokio::time::timeout(LIMIT, feed.next()).await.expect("nothing came")? {
                // Where it begins; what the server says of that comes behind it.
                Step::Idle { .. } => {}
                step => return Ok(step),
            }
        }
    }
}

#[tokio::test]
async fn a_large_transaction_comes_in_pieces_and_a_killed_reader_says_so() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    let mut following = Following::begin(&room, &["t"]).await;
    room.run("INSERT INTO t SELECT seq FROM seq_1_to_20000").await;
    let (mut rows, mut pieces, mut is_whole) = (0, 0, false);
    while !is_whole {
        let group = following.group().await;
        assert_eq!(group.transactions.len(), 1);
        let transaction = &group.transactions[0];
        assert_eq!(transaction.first as usize, rows);
        rows += transaction.entries.len();
        assert!(group.rows[0].operations.iter().all(|operation| *operation == Operation::Insert));
        (pieces, is_whole) = (pieces + 1, transaction.ends);
    }
    assert!(rows == 20_000 && pieces >= 3, "{rows} rows in {pieces} pieces");
    let dumps = "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'";
    let dump: i64 = sqlx::query(dumps).fetch_one(&mut room.writer).await.unwrap().get(0);
    room.run(format!("KILL CONNECTION {dump}")).await;
    let ended = loop {
        match following.step().await {
            Ok(Step::Idle { .. }) => {}
            Ok(step) => panic!("{step:?} came of a reader that was killed"),
            Err(ended) => break ended,
        }
    };
    assert!(matches!(ended, Ended::Again(_)), "{ended:?}");
}
