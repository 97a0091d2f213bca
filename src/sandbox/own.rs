//! Tributary itself as a private server: a process of its own over a catalog directory made for it, or over one that is there.

use std::ops::Deref;
use std::path::Path;

use sqlx::Connection;

use super::guarded::{EndSignal, Guarded, Place, exports, free_port, io_error, port_was_taken, start_retrying};
use super::postgres::connect;
use super::{Endpoint, SandboxError};
use crate::options::Secret;

const SERVER: &str = "tributary";

/// What a catalog directory consists of, without the address to serve on.
#[derive(Debug, Clone)]
pub struct CatalogFiles {
    /// Lines for the top of `tributary.toml`.
    pub settings: String,
    /// Names and texts of `stores/*.toml`.
    pub stores: Vec<(String, String)>,
    /// Names and texts of `views/*.sql`.
    pub views: Vec<(String, String)>,
    /// The role to log in as.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The verifier of that password, for `tributary.toml`.
    pub verifier: String,
}

/// A server process of our own; dropping it ends the process.
#[derive(Debug)]
pub struct Tributary {
    endpoint: Endpoint,
    guarded: Guarded,
}

impl Deref for Tributary {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Tributary {
    /// Starts `program serve` on the catalog and waits until the role can log in.
    ///
    /// # Errors
    /// The directory cannot be written, or the server did not come up.
    pub async fn start(program: &Path, catalog: &CatalogFiles) -> Result<Self, SandboxError> {
        start_retrying(|| Self::start_once(program, catalog)).await
    }

    async fn start_once(program: &Path, catalog: &CatalogFiles) -> Result<Self, SandboxError> {
        let place = Place::new(SERVER, None)?;
        let port = free_port(SERVER)?;
        write(&place, catalog, port)?;
        let endpoint = Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            user: catalog.user.clone(),
            password: catalog.password.clone(),
            database: "tributary".to_owned(),
        };
        let arguments = ["serve".into(), place.path().join("catalog").into_os_string()];
        let guarded = place.start_file(program, &arguments, EndSignal::Kill)?;
        let connection = guarded.ready(|| connect(&endpoint)).await?;
        let refused = |error: sqlx::Error| SandboxError::Refused { server: SERVER, reason: error.to_string() };
        connection.close().await.map_err(refused)?;
        Ok(Self { endpoint, guarded })
    }

    /// Starts `program serve` on a catalog directory that is there, with these environment variables besides ours, and waits until
    /// one can log in at `endpoint`, which the directory says too. The directory is left alone when the server ends.
    ///
    /// # Errors
    /// The server did not come up.
    pub async fn start_in(
        program: &Path,
        catalog: &Path,
        endpoint: Endpoint,
        variables: &[(&str, &str)],
    ) -> Result<Self, SandboxError> {
        let place = Place::new(SERVER, None)?;
        place.write("variables", &exports(variables))?;
        let arguments = ["serve".into(), catalog.as_os_str().to_owned()];
        let guarded = place.start_file(program, &arguments, EndSignal::Kill)?;
        let mut server = Self { endpoint, guarded };
        let ready = server.guarded.ready(|| answers(&server.endpoint)).await;
        match ready {
            // Somebody may have had the port for a moment.
            Err(SandboxError::Ended { log, .. }) if port_was_taken(&log) => server.again(variables).await?,
            ready => ready?,
        }
        Ok(server)
    }

    /// Kills the server by SIGKILL; its catalog directory stays as it is. Nothing happens where it has ended.
    ///
    /// # Errors
    /// It goes on.
    pub async fn kill(&mut self) -> Result<(), SandboxError> {
        self.guarded.kill().await
    }

    /// Starts the server again that has ended, or kills it first: on its catalog directory and its port, with these variables.
    ///
    /// # Errors
    /// As [`Tributary::start_in`].
    pub async fn again(&mut self, variables: &[(&str, &str)]) -> Result<(), SandboxError> {
        self.guarded.set_variables(variables)?;
        let endpoint = &self.endpoint;
        self.guarded.again(|| answers(endpoint)).await
    }

    /// Whether the server has ended, by itself or because it was killed.
    pub fn has_ended(&self) -> bool {
        self.guarded.has_ended()
    }

    /// The process id of the server, whose memory can be watched.
    pub fn process_id(&self) -> Option<u32> {
        self.guarded.process_id()
    }
}

/// Logs in once.
async fn answers(endpoint: &Endpoint) -> Result<(), String> {
    let connection = connect(endpoint).await?;
    connection.close().await.map_err(|error| error.to_string())
}

fn write(place: &Place, catalog: &CatalogFiles, port: u16) -> Result<(), SandboxError> {
    for below in ["catalog", "catalog/stores", "catalog/views"] {
        std::fs::create_dir(place.path().join(below)).map_err(io_error(SERVER, "make the catalog directory"))?;
    }
    let CatalogFiles { settings, user, verifier, .. } = catalog;
    let settings =
        format!("listen = \"127.0.0.1:{port}\"\nhttp.listen = \"off\"\n{settings}\n[roles.{user}]\npassword = \"{verifier}\"\n");
    place.write("catalog/tributary.toml", &settings)?;
    for (name, text) in &catalog.stores {
        place.write(&format!("catalog/stores/{name}.toml"), text)?;
    }
    for (name, text) in &catalog.views {
        place.write(&format!("catalog/views/{name}.sql"), text)?;
    }
    Ok(())
}
