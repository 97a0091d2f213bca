//! Plans of the queries that `tributary bench` bundles, for each placement, as they are at scale 1: one snapshot for a placement.
//!
//! Stores, types, keys and indexes are those of a run at the least scale; what the stores tell of the size of their tables is replaced
//! by what they would tell at scale 1 ([`super::scale_one`]). Left out are lines that only repeat what a node asks, and whether scans share
//! a state of a server, where other tests write meanwhile.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;
use tributary::catalog::{Catalog, Known, StoreEntry, system};
use tributary::command::bench::outline::Outline;
use tributary::config;
use tributary::sandbox::{CatalogFiles, Endpoint};

use super::scale_one;
use crate::support;

type Databases = BTreeMap<&'static str, Endpoint>;

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_two_files_keep_their_plans() {
    let text = Box::pin(plans("embedded", Databases::new())).await;
    insta::assert_snapshot!("embedded", text);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_facts_in_postgres_and_dimensions_in_mariadb_keep_their_plans() {
    let databases = Databases::from([("postgres", postgres().await), ("mariadb", mariadb().await)]);
    let text = Box::pin(plans("split", databases)).await;
    insta::assert_snapshot!("split", text);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_documents_in_mongodb_and_the_rest_in_postgres_keep_their_plans() {
    let databases = Databases::from([("postgres", postgres().await), ("mongodb", mongodb().await)]);
    let text = Box::pin(plans("documents", databases)).await;
    insta::assert_snapshot!("documents", text);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_postgres_mariadb_mongodb_and_a_file_keep_their_plans() {
    let databases = Databases::from([("postgres", postgres().await), ("mariadb", mariadb().await), ("mongodb", mongodb().await)]);
    let text = Box::pin(plans("scattered", databases)).await;
    insta::assert_snapshot!("scattered", text);
}

async fn postgres() -> Endpoint {
    let server = support::postgres().await;
    let endpoint: &Endpoint = server;
    Endpoint { database: server.fresh_database().await.unwrap(), ..endpoint.clone() }
}

async fn mariadb() -> Endpoint {
    let server = support::mariadb().await;
    let endpoint: &Endpoint = server;
    Endpoint { database: server.fresh_database().await.unwrap(), ..endpoint.clone() }
}

async fn mongodb() -> Endpoint {
    let server = support::mongodb().await;
    let endpoint: &Endpoint = server;
    Endpoint { database: server.fresh_database().await.unwrap(), ..endpoint.clone() }
}

/// The plans of all queries that a placement can run.
async fn plans(placement: &str, databases: Databases) -> String {
    let directory = tempfile::tempdir().unwrap();
    let outline = Outline::of(placement).unwrap();
    let files = Box::pin(outline.fill(directory.path(), &databases)).await.unwrap();
    write(directory.path(), &files);
    let (catalog, stores) = catalog(directory.path()).await;
    let snapshot = catalog.snapshot();
    let engine = super::engine();
    let mut text = String::new();
    for query in outline.queries().unwrap() {
        let lines = super::explained(&engine, &snapshot, &query.sql).await;
        writeln!(text, "== {}: {}", query.name, query.title).unwrap();
        for line in lines.iter().filter(|line| !line.starts_with("Asked of ") && !line.starts_with("Snapshot: ")) {
            writeln!(text, "{line}").unwrap();
        }
        text.push('\n');
    }
    join_all(stores.iter().map(|store| store.connector.close())).await;
    // The names of databases are made up for each run.
    databases.iter().fold(text, |text, (kind, endpoint)| text.replace(&endpoint.database, kind))
}

/// The catalog of a directory, whose tables are said to be of scale 1.
async fn catalog(directory: &Path) -> (Catalog, Vec<StoreEntry>) {
    let config = config::load(directory).unwrap_or_else(|problems| panic!("{problems:?}"));
    let stores: Vec<StoreEntry> = config.stores.iter().map(|store| store.entry.clone()).collect();
    let mut known = Known::new();
    for store in &stores {
        let found = store.discover().await.unwrap_or_else(|error| panic!("{error}"));
        // A server that other tests use as well has tables of theirs.
        let own = &found.default_namespace;
        let refused: Vec<_> = found.refused.iter().filter(|refused| refused.table.namespace == *own).collect();
        assert!(refused.is_empty(), "{refused:?}");
        known.insert(store.connector.name().clone(), Ok(Arc::new(scale_one::of(&found))));
    }
    let catalog = Catalog::of_known("tributary", (stores.clone(), known), config.views, system::relations()).unwrap();
    (catalog, stores)
}

fn write(directory: &Path, files: &CatalogFiles) {
    let CatalogFiles { settings, user, verifier, stores, views, .. } = files;
    let settings =
        format!("listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\n{settings}\n[roles.{user}]\npassword = \"{verifier}\"\n");
    std::fs::write(directory.join("tributary.toml"), settings).unwrap();
    for (below, ending, files) in [("stores", "toml", stores), ("views", "sql", views)] {
        std::fs::create_dir(directory.join(below)).unwrap();
        for (name, text) in files {
            std::fs::write(directory.join(below).join(format!("{name}.{ending}")), text).unwrap();
        }
    }
}
