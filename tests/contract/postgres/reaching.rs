//! Ways to a server: TLS with its proofs, and the Unix socket.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use arrow::array::AsArray;
use futures::TryStreamExt;
use sqlx::Executor;
use tributary::error::Diagnose;
use tributary::sandbox::{Postgres, Setup};
use tributary::stores::connector::ScanLimits;
use tributary::stores::{Connector, Purpose, StoreError, StoreName, kind};

use super::scan_of;
use crate::support::authority::Authority;
use crate::support::secrets::NoSecrets;
use crate::support::{proxy, throwaway};

pub(super) fn store(server: &Postgres, host: &str, password: &str, options: &str) -> Arc<dyn Connector> {
    let (port, user, database) = (server.port(), server.user(), server.database());
    let file =
        format!("host = '{host}'\nport = {port}\nuser = '{user}'\npassword = '{password}'\ndatabase = '{database}'\n{options}");
    let table = toml::from_str(&file).unwrap();
    kind("postgres").unwrap().parse(&StoreName::new("crm"), "stores.crm", &table, &NoSecrets).unwrap()
}

/// Whether the connection that a scan runs on is encrypted, and whether it has an address, as the server sees it.
async fn seen(connector: &Arc<dyn Connector>) -> Result<(bool, bool), StoreError> {
    let schema = connector.discover().await?;
    let table = schema.tables.iter().find(|table| table.id.name == "own").unwrap();
    let branch = connector.open(Purpose::Statement { scans: 1 }).await?;
    let batches: Vec<_> = branch.scan(table, &scan_of(table, Vec::new()), ScanLimits::default()).await?.try_collect().await?;
    Ok((batches[0].column(0).as_boolean().value(0), batches[0].column(1).as_boolean().value(0)))
}

#[tokio::test]
async fn the_way_to_a_server_is_proved_as_configured() {
    let (authority, other) = (Authority::new(), Authority::new());
    let sockets = tempfile::tempdir().unwrap();
    // The server has an account of its own, which makes the socket there.
    std::fs::set_permissions(sockets.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let arguments = vec!["-c".to_owned(), format!("unix_socket_directories={}", sockets.path().display())];
    let setup = Setup { tls: Some(authority.certify(&["localhost"])), arguments, ..throwaway() };
    let server = Postgres::start_with(&setup).await.unwrap();
    let own =
        "CREATE VIEW own AS SELECT ssl, inet_client_addr() IS NOT NULL AS addressed FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    proxy::direct(&server, server.database()).await.execute(own).await.unwrap();

    let trusted = format!("tls_ca = '{}'", authority.file().display());
    let stranger = format!("tls_ca = '{}'", other.file().display());
    let rows = [
        ("localhost", "tls = 'disable'".to_owned(), Some(false)),
        ("localhost", "tls = 'prefer'".to_owned(), Some(true)),
        ("localhost", "tls = 'require'".to_owned(), Some(true)),
        ("localhost", format!("tls = 'require'\n{trusted}"), Some(true)),
        ("localhost", format!("tls = 'verify-full'\n{trusted}"), Some(true)),
        ("localhost", "tls = 'verify-full'".to_owned(), None),
        ("localhost", format!("tls = 'require'\n{stranger}"), None),
        ("localhost", format!("tls = 'verify-full'\n{stranger}"), None),
        // The certificate has no such name.
        ("127.0.0.1", "tls = 'require'".to_owned(), Some(true)),
        ("127.0.0.1", format!("tls = 'require'\n{trusted}"), Some(true)),
        ("127.0.0.1", format!("tls = 'verify-full'\n{trusted}"), None),
    ];
    for (host, options, expected) in rows {
        let found = seen(&store(&server, host, server.password(), &options)).await;
        match (&found, expected) {
            (Ok(found), Some(encrypted)) => assert_eq!(*found, (encrypted, true), "{host} {options}"),
            (Err(StoreError::Unreachable { .. }), None) => {}
            _ => panic!("{host} {options}: {found:?}"),
        }
    }

    let directory = sockets.path().to_str().unwrap();
    for options in ["", "tls = 'verify-full'"] {
        let found = seen(&store(&server, directory, server.password(), options)).await.unwrap();
        assert_eq!(found, (false, false), "a socket needs no encryption and has no address");
    }
    let error = store(&server, directory, "hunter2", "").ping().await.unwrap_err();
    assert_eq!(error.sqlstate(), "08001", "{error:?}");
    let nowhere = store(&server, "/no/such/directory", server.password(), "").ping().await.unwrap_err();
    assert!(matches!(nowhere, StoreError::Unreachable { .. }), "{nowhere:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required() {
    let server = crate::support::postgres().await;
    for (options, reached) in [("tls = 'prefer'", true), ("tls = 'require'", false), ("tls = 'verify-full'", false)] {
        let answer = store(server, server.host(), server.password(), options).ping().await;
        assert_eq!(answer.is_ok(), reached, "{options}: {answer:?}");
        assert!(answer.err().is_none_or(|error| matches!(error, StoreError::Unreachable { .. })), "{options}");
    }
}
