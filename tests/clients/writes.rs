//! The clients as writers: parameters, batches, savepoints, units of work and errors, each on a PostgreSQL and a SQLite store.

use std::path::Path;

use super::{Stage, cache, script};

async fn python(name: &str, checks: &[&str]) {
    let stage = Stage::for_writes().await;
    let program = cache().join("python/bin/python");
    stage.check(program.to_str().unwrap(), &[&script(name)], checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_psycopg_writes() {
    let checks = [
        "typed_values",
        "returning",
        "row_counts",
        "many",
        "pipelined",
        "prepared",
        "conflicts",
        "violations",
        "rollback",
        "savepoints",
        "failing_batches",
        "own_reads",
        "read_only",
        "computed_conflicts",
        "defaults_again",
        "schemas_of_violations",
        "definitions",
    ];
    python("psycopg_writes.py", &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_asyncpg_writes() {
    let checks = [
        "typed_values",
        "returning",
        "row_counts",
        "many",
        "conflicts",
        "violations",
        "rollback",
        "savepoints",
        "failing_batches",
        "pooled",
    ];
    python("asyncpg_writes.py", &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_sqlalchemy_writes() {
    let checks = [
        "core",
        "batches",
        "upserts",
        "violations",
        "nested",
        "unit_of_work",
        "failing_batches",
        "upserts_of_constants",
        "row_locks",
        "schemas",
    ];
    python("sqlalchemy_writes.py", &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_pg_writes() {
    let stage = Stage::for_writes().await;
    let checks =
        ["typed_values", "returning", "many", "conflicts", "violations", "rollback", "savepoints", "failing_batches", "pooled"];
    stage.check("node", &[&script("node_pg_writes.mjs")], &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_postgres_js_writes() {
    let stage = Stage::for_writes().await;
    let checks = ["typed_values", "returning", "many", "conflicts", "violations", "transactions", "failing_batches"];
    stage.check("node", &[&script("postgres_js_writes.mjs")], &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_pgjdbc_writes() {
    let stage = Stage::for_writes().await;
    let checks = [
        "typed_values",
        "generated_keys",
        "batches",
        "conflicts",
        "violations",
        "rollback",
        "savepoints",
        "failing_batches",
        "definitions",
        "typed_values_rewritten",
        "generated_keys_rewritten",
        "batches_rewritten",
        "conflicts_rewritten",
        "violations_rewritten",
        "rollback_rewritten",
        "savepoints_rewritten",
        "failing_batches_rewritten",
        "definitions_rewritten",
    ];
    let jar = "/usr/share/java/postgresql.jar";
    assert!(Path::new(jar).exists(), "the JDBC driver is missing; tests/run installs libpostgresql-jdbc-java");
    stage.check("java", &["-cp", jar, &script("JdbcWrites.java")], &checks).await;
}
