//! The contract suite: checks written once against `stores::connector`, run for every store over a world that each store
//! makes in its own way.
//!
//! ```text
//! world     what the suite asks of a store's native side: fill rows, count running queries, cut the way, mend it
//! worlds    one file per store that answers it
//! sample    the rows and values all stores are filled with
//! oracle    conditions worked out here, over what a scan without conditions read
//! reading   scans, and conditions compared with the oracle
//! discovery, scans, ranges, filters, capabilities, branches, endings, trouble, fragments, writes, changes    the checks
//! walk      the walk over a type table, used by the rooms of the stores
//! ```
//!
//! A store that declares a capability must show it; one that does not must show the other behaviour. Nothing is skipped: where
//! stores differ, the world says how, and the check asserts either side.

mod branches;
mod capabilities;
mod changes;
mod discovery;
mod endings;
mod filters;
mod fragments;
mod oracle;
mod ranges;
mod reading;
mod sample;
mod scans;
mod trouble;
pub mod walk;
mod world;
mod worlds;
mod writes;

/// The areas of one store, each a test of its own. A function cannot make tests, hence the macro.
macro_rules! every_area {
    ($store:ident, $start:expr; $($area:ident),* $(,)?) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $area() {
                    let world = $start.await;
                    Box::pin(super::$area::check(&*world)).await;
                }
            )*
        }
    };
}

/// Every area for one store: an area that is added here runs for all of them.
macro_rules! every_store {
    ($($store:ident: $start:expr),* $(,)?) => {
        $(every_area!($store, $start; discovery, scans, ranges, filters, capabilities, branches, endings, trouble, fragments, writes);)*
    };
}

every_store! {
    sqlite: super::worlds::sqlite::start(),
    postgres: super::worlds::postgres::start(),
    mariadb: super::worlds::mariadb::start(),
    mongodb: super::worlds::mongodb::start(),
}

// Debian has no MySQL, so only a machine that names one has these tests; `tests/run` says when they were left out.
#[cfg(feature = "test_mysql")]
every_store! {
    mysql: super::worlds::mariadb::start_mysql(),
}

/// What follows changes, on servers where no other test keeps transactions open.
mod feeds {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        Box::pin(super::changes::check(&*super::worlds::sqlite::start().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        Box::pin(super::changes::check(&*super::worlds::postgres::start_followed().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mariadb() {
        Box::pin(super::changes::check(&*super::worlds::mariadb::start_followed().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mongodb() {
        Box::pin(super::changes::check(&*super::worlds::mongodb::start().await)).await;
    }

    #[cfg(feature = "test_mysql")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mysql() {
        Box::pin(super::changes::check(&*super::worlds::mariadb::start_mysql().await)).await;
    }
}

/// How far everything is that is committed, as those stand to it who follow a store.
mod positions {
    use super::changes::positions::check;
    use super::worlds;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        Box::pin(check(&*worlds::sqlite::start().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        Box::pin(check(&*worlds::postgres::start_followed().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres_by_triggers() {
        Box::pin(check(&*worlds::postgres::start_with_triggers().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mariadb() {
        Box::pin(check(&*worlds::mariadb::start_followed().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mongodb() {
        Box::pin(check(&*worlds::mongodb::start().await)).await;
    }

    #[cfg(feature = "test_mysql")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mysql() {
        Box::pin(check(&*worlds::mariadb::start_mysql().await)).await;
    }
}

/// The same server without a binary log cannot prove that connections see one state: the "cannot" of a capability.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_without_a_log_declares_no_snapshot() {
    let world = worlds::mariadb::start_without_log().await;
    assert!(!reading::discovered(&world.open("")).await.statement_snapshot);
    Box::pin(capabilities::check(&*world)).await;
}

#[test]
fn every_kind_of_store_has_its_world() {
    let mut kinds: Vec<&str> = tributary::stores::KINDS.iter().map(|kind| kind.words()[0]).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["mongodb", "mysql", "postgres", "sqlite"], "a new kind of store needs a world and a line above");
}
