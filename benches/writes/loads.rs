//! Many rows: COPY FROM STDIN, and what the stores themselves offer for that.

use std::fmt::Write as _;
use std::time::Instant;

use mongodb::bson::{Document, doc};
use sqlx::postgres::PgConnection;
use sqlx::raw_sql;

use super::Sides;
use super::measure::{median, must};
use super::stores::Stores;

/// Documents of one insert.
const DOCUMENTS: usize = 1_000;
/// Bytes that a client sends at a time.
const PIECE: usize = 64 << 10;

/// The same rows in both forms.
struct Rows {
    count: u64,
    /// As COPY reads them, in pieces of whole lines.
    text: Vec<Vec<u8>>,
    documents: Vec<Document>,
}

impl Rows {
    fn made(count: u64) -> Self {
        let (mut text, mut piece, mut documents) = (Vec::new(), String::new(), Vec::new());
        for id in 1..=i64::try_from(count).unwrap_or(i64::MAX) {
            let note = format!("delivered to the neighbour {id:>5}");
            must(writeln!(piece, "{id}\t{}\t{note}", id % 17));
            documents.push(doc! { "_id": id, "n": id % 17, "note": note });
            if piece.len() >= PIECE {
                text.push(std::mem::take(&mut piece).into_bytes());
            }
        }
        text.push(piece.into_bytes());
        Self { count, text, documents }
    }
}

async fn copy(connection: &mut PgConnection, table: &str, rows: &Rows) -> f64 {
    let started = Instant::now();
    let mut target = must(connection.copy_in_raw(&format!("COPY {table} (_id, n, note) FROM STDIN")).await);
    for piece in &rows.text {
        must(target.send(piece.as_slice()).await);
    }
    let copied = must(target.finish().await);
    let elapsed = started.elapsed().as_secs_f64();
    must(if copied == rows.count { Ok(()) } else { Err(format!("{copied} rows of {} were copied", rows.count)) });
    rows.count as f64 / elapsed
}

/// Rows a second of both sides.
pub async fn compare(stores: &Stores, store: &str, rounds: u64, count: u64) -> Sides {
    let rows = Rows::made(count);
    let table = format!("{store}.notes");
    let (mut connection, mut postgres) = (stores.connect().await, stores.in_postgres().await);
    let (mut ours, mut direct) = (Vec::new(), Vec::new());
    // The first round warms both sides and is not counted.
    for round in 0..=rounds {
        for turn in 0..2_u64 {
            let is_ours = (round + turn).is_multiple_of(2);
            let speed = match (is_ours, store) {
                (true, _) => copy(&mut connection, &table, &rows).await,
                (false, "postgres") => copy(&mut postgres, "notes", &rows).await,
                (false, _) => insert_many(stores, &rows).await,
            };
            empty(stores, &mut postgres, (store, count)).await;
            if round > 0 {
                let speeds = if is_ours { &mut ours } else { &mut direct };
                speeds.push(speed);
            }
        }
    }
    Sides { ours: median(&ours), direct: median(&direct) }
}

async fn insert_many(stores: &Stores, rows: &Rows) -> f64 {
    let collection = stores.in_mongodb();
    let started = Instant::now();
    for some in rows.documents.chunks(DOCUMENTS) {
        must(collection.insert_many(some).await);
    }
    rows.count as f64 / started.elapsed().as_secs_f64()
}

/// Counts what was written, past Tributary, and removes it.
async fn empty(stores: &Stores, postgres: &mut PgConnection, (store, count): (&str, u64)) {
    let found = if store == "postgres" {
        let found: i64 = must(sqlx::query_scalar("SELECT count(*) FROM notes").fetch_one(&mut *postgres).await);
        must(raw_sql("TRUNCATE notes").execute(&mut *postgres).await);
        u64::try_from(found).unwrap_or_default()
    } else {
        must(stores.in_mongodb().delete_many(doc! {}).await).deleted_count
    };
    must(if found == count { Ok(()) } else { Err(format!("{found} rows of {count} are in {store}")) });
}
