//! Cursors and portals over a large table of PostgreSQL: as many as its pool has connections give their rows, and a result that is half
//! read takes the place of one of them only.

use tributary::server::Server;

use super::endless;
use crate::support::{self, proxy};
use proxy::{OWNER, Place, Session};

/// Some 70 megabytes: worth several ranges, and far more than a client that does not read can be sent.
const TABLE: &str = "CREATE UNLOGGED TABLE stock AS SELECT n, repeat('x', 300) AS filler FROM generate_series(1, 200000) AS n;
    ANALYZE stock";
const POOL: usize = 4;

async fn stage(place: &Place) -> Server {
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, TABLE).await;
    place.postgres("shop", postgres, &database, &format!("pool.size = {POOL}\npool.wait = \"2s\"\n"));
    place.serve().await
}

/// Opens cursors one after another in a block of the session, and reads a little of each, twice.
async fn open(session: &Session, count: usize) {
    for number in 0..count {
        session.answer(&format!("DECLARE c{number} CURSOR FOR SELECT n, filler FROM shop.stock")).await;
        assert_eq!(session.rows(&format!("FETCH 2 FROM c{number}")).await.map(|rows| rows.len()), Ok(2), "cursor {number}");
    }
    for number in 0..count {
        assert_eq!(session.rows(&format!("FETCH 3 FROM c{number}")).await.map(|rows| rows.len()), Ok(3), "cursor {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_cursors_as_connections_give_rows() {
    let place = Place::new();
    let server = stage(&place).await;
    let session = proxy::connect(&server, OWNER).await;
    for isolation in ["READ COMMITTED", "REPEATABLE READ"] {
        session.answer(&format!("BEGIN ISOLATION LEVEL {isolation}")).await;
        open(&session, POOL).await;
        session.answer("COMMIT").await;
    }
    assert_eq!(session.answer("SELECT count(*) FROM shop.stock").await, "200000");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_portals_as_connections_give_rows() {
    let place = Place::new();
    let server = stage(&place).await;
    let mut session = proxy::connect(&server, OWNER).await;
    let block = session.transaction().await.unwrap();
    let statement = block.prepare("SELECT n, filler FROM shop.stock").await.unwrap();
    let mut portals = Vec::new();
    for _ in 0..POOL {
        let portal = block.bind(&statement, &[]).await.unwrap();
        assert_eq!(block.query_portal(&portal, 2).await.unwrap().len(), 2, "portal {}", portals.len());
        portals.push(portal);
    }
    for portal in &portals {
        assert_eq!(block.query_portal(portal, 3).await.unwrap().len(), 3);
    }
    drop(portals);
    block.commit().await.unwrap();
    server.stop().await;
}

/// The ranges of the result beyond its first are held for as long as its client does not read, and nobody else needs them.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_half_read_takes_one_place() {
    let place = Place::new();
    let server = stage(&place).await;
    let (reader, session) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    let half = endless::begin(&reader).await;
    session.answer("BEGIN").await;
    open(&session, POOL - 1).await;
    session.answer("COMMIT").await;
    drop((half, reader));
    server.stop().await;
}
