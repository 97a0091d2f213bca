//! Health and metrics over HTTP/1.1, one request a connection.
//!
//! Every bound is small, because nobody needs to log in to get here: connections at a time, bytes of a request head, and the
//! time a connection may take. Request bodies are not read.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::health::Health;
use super::metrics::{self, Family};
use crate::address::{self, BindError};
use crate::error::{Diagnose, sqlstate};
use crate::options::Secret;
use crate::task::TaskSet;

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// Connections that the kernel keeps for us while all places are taken.
const BACKLOG: u32 = 128;
/// From accepting a connection to its end.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of a request head; 8 KiB is the least that hyper takes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Pause after the kernel refused to accept, when it is out of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long open connections may go on when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Where health and metrics are told, and to whom.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The address.
    pub address: SocketAddr,
    /// What clients must present for anything but health; `None` asks for nothing.
    pub token: Option<Secret>,
    /// Certificate chain and private key in PEM; `None` serves plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Why health cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is open to other machines without TLS and a token.
    #[error("the HTTP address {address} is not a loopback address and needs TLS and a token")]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A certificate or key cannot be used.
    #[error("the certificate of the HTTP address cannot be used: {reason}")]
    Tls {
        /// The reason, without the key.
        reason: String,
    },
}

impl Diagnose for HttpError {
    fn sqlstate(&self) -> &str {
        match self {
            Self::Bind(error) => error.sqlstate(),
            Self::Exposed { .. } | Self::Tls { .. } => sqlstate::INVALID_PARAMETER_VALUE,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Bind(error) => error.detail(),
            Self::Exposed { .. } | Self::Tls { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Bind(error) => error.hint(),
            Self::Exposed { .. } | Self::Tls { .. } => None,
        }
    }
}

/// Tells the health of the moment it is called, within about a second.
pub type TellHealth = Arc<dyn Fn() -> BoxFuture<'static, Health> + Send + Sync>;

/// Gathers the numbers of the moment it is called.
pub type TellMetrics = Arc<dyn Fn() -> Vec<Family> + Send + Sync>;

/// A bound address that does not answer yet.
pub struct HttpListener {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    answers: Answers,
}

impl fmt::Debug for HttpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpListener").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl HttpListener {
    /// Binds the address and loads the certificate. Must be called inside the runtime.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub fn bind(settings: &HttpSettings, health: TellHealth) -> Result<Self, HttpError> {
        let address = settings.address;
        if !address.ip().is_loopback() && (settings.tls.is_none() || settings.token.is_none()) {
            return Err(HttpError::Exposed { address });
        }
        let acceptor = settings.tls.as_ref().map(|(certificate, key)| acceptor(certificate, key)).transpose()?;
        let listener = address::listen(address, BACKLOG, "http.listen")?;
        let token = settings.token.as_ref().map(|token| Sha256::digest(token.expose()).into());
        Ok(Self { listener, acceptor, answers: Answers { health, metrics: None, token } })
    }

    /// The same, which also tells these numbers.
    #[must_use]
    pub fn with_metrics(mut self, metrics: TellMetrics) -> Self {
        self.answers.metrics = Some(metrics);
        self
    }

    /// The address with the port that was taken.
    ///
    /// # Errors
    /// What the operating system answered.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (mut connections, answers) = (TaskSet::new(), Arc::new(self.answers));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            // Both branches are cancel-safe: an accept that is dropped leaves its connection in the kernel's queue.
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _peer)) => {
                    let (acceptor, answers) = (self.acceptor.clone(), Arc::clone(&answers));
                    connections.spawn("http connection", async move {
                        // A connection that takes too long is dropped, which closes it.
                        let _in_time = tokio::time::timeout(CONNECTION_LIMIT, serve(stream, acceptor, answers)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        connections.stop(STOP_GRACE).await;
    }
}

/// What requests are answered with.
struct Answers {
    health: TellHealth,
    metrics: Option<TellMetrics>,
    /// SHA-256 of the token: digests have one length, and comparing them tells nothing about the token's beginning.
    token: Option<[u8; 32]>,
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, answers: Arc<Answers>) {
    match acceptor {
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => exchange(stream, answers).await,
            Err(error) => tracing::debug!(error = %error, "TLS handshake of an HTTP client failed"),
        },
        None => exchange(stream, answers).await,
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, answers: Arc<Answers>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answers.answer(&request).await) }
    });
    let mut protocol = http1::Builder::new();
    protocol.keep_alive(false).max_buf_size(HEAD_BYTES_MAX).timer(TokioTimer::new()).header_read_timeout(CONNECTION_LIMIT);
    if let Err(error) = protocol.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(error = %error, "HTTP connection failed");
    }
}

impl Answers {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let method = request.method();
        if request.uri().path() == "/health" {
            return if *method == Method::GET || *method == Method::HEAD { self.health().await } else { wrong_method() };
        }
        if !self.may_pass(request) {
            let mut response = plain(StatusCode::UNAUTHORIZED, "the token is missing or wrong\n");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        match &self.metrics {
            Some(tell) if request.uri().path() == "/metrics" => match *method {
                Method::GET | Method::HEAD => numbers(&tell()),
                _ => wrong_method(),
            },
            _ => plain(StatusCode::NOT_FOUND, "there are only /health and /metrics\n"),
        }
    }

    async fn health(&self) -> Response<Full<Bytes>> {
        let health = (self.health)().await;
        let status = if health.takes_clients() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut response = Response::new(Full::from(format!("{}\n", health.to_json())));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn may_pass(&self, request: &Request<Incoming>) -> bool {
        let Some(token) = &self.token else { return true };
        let presented = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        presented.is_some_and(|presented| Sha256::digest(presented).as_slice() == token)
    }
}

fn numbers(families: &[Family]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(metrics::text(families)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn wrong_method() -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn acceptor(certificate: &std::path::Path, key: &std::path::Path) -> Result<TlsAcceptor, HttpError> {
    let failed = |error: &dyn fmt::Display| HttpError::Tls { reason: error.to_string() };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(&error))?;
    // Given explicitly: with several providers in the dependency tree rustls has no default.
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| failed(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;

    use futures::FutureExt;

    use super::*;
    use crate::task::OwnedTask;
    use crate::telemetry::{Overall, StoreHealth};

    fn settings(token: Option<&str>, tls: Option<(PathBuf, PathBuf)>) -> HttpSettings {
        HttpSettings { address: SocketAddr::from(([127, 0, 0, 1], 0)), token: token.map(Secret::new), tls }
    }

    /// Certificate and key for `localhost` in `directory`.
    fn certificate(directory: &std::path::Path) -> ((PathBuf, PathBuf), rcgen::CertifiedKey<rcgen::KeyPair>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        ((certificate, key), made)
    }

    struct Running {
        address: SocketAddr,
        stop: CancellationToken,
        task: OwnedTask<()>,
    }

    fn start(settings: HttpSettings, overall: Overall) -> Running {
        let store = StoreHealth { name: "crm".to_owned(), available: false };
        let tell: TellHealth =
            Arc::new(move || futures::future::ready(Health { overall, stores: vec![store.clone()], has_log: true }).boxed());
        let metrics: TellMetrics = Arc::new(|| vec![Family::counter("x_rows_total", "Rows.").is(7)]);
        let listener = HttpListener::bind(&settings, tell).unwrap().with_metrics(metrics);
        let address = listener.local_address().unwrap();
        let stop = CancellationToken::new();
        let task = OwnedTask::spawn(listener.run(stop.clone()));
        Running { address, stop, task }
    }

    async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Ends without TLS close_notify or with a reset are ends all the same.
        let _end = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn ask_plain(running: &Running, request: &str) -> String {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        ask(&mut stream, &format!("{request}\r\n\r\n")).await
    }

    #[tokio::test]
    async fn health_needs_no_token_and_everything_else_does() {
        let running = start(settings(Some("t0ken"), None), Overall::Serving);
        let rows = [
            (
                "GET /health HTTP/1.1\r\nHost: x",
                "HTTP/1.1 200 OK",
                "{\"status\":\"degraded\",\"stores\":{\"crm\":{\"available\":false}}}\n",
            ),
            ("HEAD /health HTTP/1.1\r\nHost: x", "HTTP/1.1 200 OK", "\r\n\r\n"),
            ("POST /health HTTP/1.1\r\nHost: x", "HTTP/1.1 405 Method Not Allowed", "only GET and HEAD\n"),
            ("GET /metrics HTTP/1.1\r\nHost: x", "HTTP/1.1 401 Unauthorized", "the token is missing or wrong\n"),
            ("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong", "HTTP/1.1 401 Unauthorized", "wrong\n"),
            (
                "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0ken",
                "HTTP/1.1 200 OK",
                "# HELP x_rows_total Rows.\n# TYPE x_rows_total counter\nx_rows_total 7\n",
            ),
            ("POST /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0ken", "HTTP/1.1 405 Method Not Allowed", "HEAD\n"),
            ("GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong", "HTTP/1.1 200 OK", "}\n"),
            ("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0ken", "HTTP/1.1 404 Not Found", "/health and /metrics\n"),
            ("nonsense", "HTTP/1.1 400 Bad Request", ""),
        ];
        for (request, status, end) in rows {
            let answer = ask_plain(&running, request).await;
            assert!(answer.starts_with(status) && answer.ends_with(end), "{request}: {answer}");
        }
        let head = format!("GET /health HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        assert!(ask_plain(&running, &head).await.starts_with("HTTP/1.1 431"), "a large head is refused");
        running.stop.cancel();
        running.task.join().await.unwrap();
        assert!(TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn a_server_that_drains_takes_no_clients() {
        let running = start(settings(None, None), Overall::Draining);
        let answer = ask_plain(&running, "GET /health HTTP/1.1\r\nHost: x").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"draining\""), "{answer}");
    }

    #[tokio::test]
    async fn one_connection_too_many_waits_until_another_ends() {
        let running = start(settings(None, None), Overall::Serving);
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(TcpStream::connect(running.address).await.unwrap());
        }
        let mut waiting = Box::pin(ask_plain(&running, "GET /health HTTP/1.1\r\nHost: x"));
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
        idle.pop();
        let answer = waiting.await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn tls_is_served_with_the_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let (files, made) = certificate(directory.path());
        let running = start(settings(None, Some(files)), Overall::Serving);
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(running.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        let answer = ask(&mut stream, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let plain = ask_plain(&running, "GET /health HTTP/1.1\r\nHost: x").await;
        assert!(!plain.contains("status"), "{plain}");
    }

    #[tokio::test]
    async fn other_machines_are_not_told_without_tls_and_token() {
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let tell: TellHealth =
            Arc::new(|| futures::future::ready(Health { overall: Overall::Serving, stores: Vec::new(), has_log: true }).boxed());
        let directory = tempfile::tempdir().unwrap();
        let (files, _) = certificate(directory.path());
        for (token, tls) in [(None, None), (Some("t"), None), (None, Some(files.clone()))] {
            let settings = HttpSettings { address, ..settings(token, tls) };
            let refused = HttpListener::bind(&settings, Arc::clone(&tell));
            assert!(matches!(refused, Err(HttpError::Exposed { .. })));
        }
        let running = start(HttpSettings { address, ..settings(Some("t0ken"), Some(files)) }, Overall::Serving);
        let address = SocketAddr::from(([127, 0, 0, 1], running.address.port()));
        let plain = ask_plain(&Running { address, ..running }, "GET /health HTTP/1.1\r\nHost: x").await;
        assert!(!plain.contains("HTTP"), "nothing is told without TLS: {plain}");
    }
}
