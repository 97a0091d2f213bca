//! A private NATS server with JetStream, on loopback.

use std::ops::Deref;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

use super::guarded::{EndSignal, Guarded, Place, free_port, start_retrying};
use super::program::NATS;
use super::{Endpoint, SandboxError, Setup, random_password, unique_name, write_certificate};

const SERVER: &str = "nats";
const USER: &str = "tributary";

/// A NATS server of our own.
#[derive(Debug)]
pub struct Nats {
    endpoint: Endpoint,
    guarded: Guarded,
}

impl Deref for Nats {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Nats {
    /// Starts a server with JetStream and without TLS.
    ///
    /// # Errors
    /// The program is missing, or the server did not come up.
    pub async fn start() -> Result<Self, SandboxError> {
        Self::start_with(&Setup::default()).await
    }

    /// Starts a server with JetStream.
    ///
    /// # Errors
    /// As [`Nats::start`].
    pub async fn start_with(setup: &Setup) -> Result<Self, SandboxError> {
        start_retrying(|| Self::start_once(setup)).await
    }

    async fn start_once(setup: &Setup) -> Result<Self, SandboxError> {
        let place = Place::new(SERVER, None)?;
        let port = free_port(SERVER)?;
        let name = unique_name();
        let endpoint = Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            user: USER.to_owned(),
            password: random_password(),
            database: String::new(),
        };
        let file = place.write("server.conf", &configuration(&place, setup, &endpoint, &name)?)?;
        let mut arguments = vec!["-c".into(), file.into_os_string()];
        arguments.extend(setup.arguments.iter().map(Into::into));
        let guarded = place.start(NATS, &arguments, EndSignal::Kill)?;
        guarded.ready(|| greeting(port, &name)).await?;
        Ok(Self { endpoint, guarded })
    }

    /// The server's process id, for tests that kill it.
    pub fn process_id(&self) -> Option<u32> {
        self.guarded.process_id()
    }
}

/// The configuration file: a password on the command line could be read by every account of the machine.
fn configuration(place: &Place, setup: &Setup, endpoint: &Endpoint, name: &str) -> Result<String, SandboxError> {
    let store = place.path().join("jetstream");
    let mut text = format!(
        "server_name: {name}\nlisten: \"{}:{}\"\njetstream {{ store_dir: \"{}\" }}\nauthorization {{ user: {}, password: \"{}\" }}\n",
        endpoint.host,
        endpoint.port,
        store.display(),
        endpoint.user,
        endpoint.password.expose(),
    );
    if let Some(certificate) = &setup.tls {
        let (chain, key) = write_certificate(place, certificate)?;
        text.push_str(&format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n", chain.display(), key.display()));
    }
    Ok(text)
}

/// Reads the server's `INFO` line, which is sent before authentication and names the server (NATS protocol, INFO). Another
/// server that took the port in between has another name.
async fn greeting(port: u16, name: &str) -> Result<(), String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.map_err(|error| error.to_string())?;
    let told: Value = serde_json::from_str(line.strip_prefix("INFO ").unwrap_or_default()).map_err(|error| error.to_string())?;
    let ours = told.get("server_name").and_then(Value::as_str) == Some(name);
    let jetstream = told.get("jetstream").and_then(Value::as_bool) == Some(true);
    if ours && jetstream { Ok(()) } else { Err(format!("not our server, or no JetStream: {line}")) }
}
