//! Logging in with a real driver: SCRAM with and without TLS, channel binding, `trust`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::config::ChannelBinding as Binding;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Config, NoTls};
use tokio_rustls::TlsConnector;
use tributary::task::OwnedTask;

use super::client::{Client, cancel_request, gss_request, initial_response, message, ssl_request, startup};
use super::server::{self, DATABASE, PASSWORD, Server, USER, settings, trusting, with_tls};

fn config(password: &str) -> Config {
    let mut config = Config::new();
    config.user(USER).password(password).dbname(DATABASE);
    config
}

fn code(error: &tokio_postgres::Error) -> Option<&str> {
    error.as_db_error().map(|error| error.code().code())
}

/// Trusts exactly one certificate.
fn client_config(certificate: &CertificateDer<'static>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// TLS for tokio-postgres that also tells what the channel is bound to.
struct Bound {
    certificate: CertificateDer<'static>,
}

struct BoundStream {
    inner: tokio_rustls::client::TlsStream<TcpStream>,
    digest: Vec<u8>,
}

impl TlsConnect<TcpStream> for Bound {
    type Stream = BoundStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<BoundStream>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let connector = TlsConnector::from(client_config(&self.certificate, &[]));
            let inner = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
            Ok(BoundStream { inner, digest: Sha256::digest(&self.certificate).to_vec() })
        })
    }
}

impl TlsStream for BoundStream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::tls_server_end_point(self.digest.clone())
    }
}

impl AsyncRead for BoundStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for BoundStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[tokio::test]
async fn scram_lets_the_right_password_in_and_no_other() {
    let server = server::start(settings()).await;
    let connect = async |password: &str| {
        let stream = TcpStream::connect(server.address).await.unwrap();
        config(password).connect_raw(stream, NoTls).await
    };
    let (client, connection) = connect(PASSWORD).await.unwrap();
    let _driving = OwnedTask::spawn(connection);
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    let refused = connect("wrong").await.map(|_| ()).unwrap_err();
    assert_eq!(code(&refused), Some("28P01"));
    let refused = connect("").await.map(|_| ()).unwrap_err();
    assert_eq!(code(&refused), Some("28P01"));
}

#[tokio::test]
async fn scram_is_bound_to_the_certificate_under_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, made) = with_tls(directory.path(), true);
    let server = server::start(settings).await;
    let certificate = made.cert.der().clone();
    let connect = async |server: &Server, password: &str, digest: bool| {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let mut config = config(password);
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        config.channel_binding(if digest { Binding::Require } else { Binding::Disable });
        config.connect_raw(stream, Bound { certificate: certificate.clone() }).await
    };
    for bound in [true, false] {
        let (client, connection) = connect(&server, PASSWORD, bound).await.unwrap();
        let _driving = OwnedTask::spawn(connection);
        assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1, "bound: {bound}");
        let refused = connect(&server, "wrong", bound).await.map(|_| ()).unwrap_err();
        assert_eq!(code(&refused), Some("28P01"), "bound: {bound}");
    }
}

#[tokio::test]
async fn a_removed_channel_binding_is_noticed_under_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, made) = with_tls(directory.path(), true);
    let server = server::start(settings).await;
    // "y" says: I could bind, but you did not offer it. We did, so somebody between us removed the offer.
    for (mechanism, first) in [("SCRAM-SHA-256", "y,,n=,r=x"), ("SCRAM-SHA-256-PLUS", "n,,n=,r=x")] {
        let mut client = secure(&server, made.cert.der(), &[]).await;
        client.start(USER).await;
        let offered = client.answer().await.unwrap();
        assert_eq!(offered.body, b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        client.send(&initial_response(mechanism, first)).await;
        client.refused("08P01").await;
    }
}

/// TLS after `SSLRequest`.
async fn secure(
    server: &Server,
    certificate: &CertificateDer<'static>,
    alpn: &[&[u8]],
) -> Client<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut plain = Client::connect(server.address).await;
    plain.send(&gss_request()).await;
    assert_eq!(plain.stream.read_u8().await.unwrap(), b'N');
    plain.send(&ssl_request()).await;
    assert_eq!(plain.stream.read_u8().await.unwrap(), b'S');
    let connector = TlsConnector::from(client_config(certificate, alpn));
    Client { stream: connector.connect(ServerName::try_from("localhost").unwrap(), plain.stream).await.unwrap() }
}

#[tokio::test]
async fn encryption_inside_encryption_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, made) = with_tls(directory.path(), false);
    let server = server::start(settings).await;
    for request in [ssl_request(), gss_request()] {
        let mut client = secure(&server, made.cert.der(), &[b"postgresql"]).await;
        client.send(&request).await;
        client.refused("08P01").await;
    }
}

#[tokio::test]
async fn connections_under_tls_end_in_the_words_of_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, made) = with_tls(directory.path(), true);
    let server = server::start(settings).await;
    // rustls takes an end without `close_notify` for an error, as libpq does for a cancel request.
    let mut canceller = secure(&server, made.cert.der(), &[]).await;
    canceller.send(&cancel_request(1, &[1, 2, 3, 4])).await;
    assert_eq!(canceller.stream.read(&mut [0; 16]).await.unwrap(), 0);

    let mut client = secure(&server, made.cert.der(), &[]).await;
    client.start(USER).await;
    client.scram(PASSWORD).await;
    client.until_ready().await;
    client.send(&message(b'X', b"")).await;
    assert_eq!(client.stream.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test]
async fn direct_tls_needs_the_protocol_name() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, made) = with_tls(directory.path(), true);
    let server = server::start(settings).await;
    let connect = async |alpn: &[&[u8]]| {
        let tcp = TcpStream::connect(server.address).await.unwrap();
        let connector = TlsConnector::from(client_config(made.cert.der(), alpn));
        connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await
    };
    let mut client = Client { stream: connect(&[b"postgresql"]).await.unwrap() };
    client.start(USER).await;
    assert_eq!(client.scram(PASSWORD).await.body[..4], [0, 0, 0, 12]);
    assert_eq!(client.until_ready().await.last().unwrap().shown(), "Z I");

    let mut unnamed = Client { stream: connect(&[]).await.unwrap() };
    unnamed.start(USER).await;
    assert_eq!(unnamed.answer().await, None);
    assert!(connect(&[b"http/1.1"]).await.is_err());
}

#[tokio::test]
async fn a_client_certificate_is_demanded_where_an_authority_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (mut settings, made) = with_tls(directory.path(), true);
    let authority = directory.path().join("server.crt");
    settings.tls.as_mut().unwrap().client_ca = Some(authority);
    let server = server::start(settings).await;
    let mut client = secure(&server, made.cert.der(), &[]).await;
    // In TLS 1.3 the client learns with its first read that its missing certificate was refused.
    client.stream.write_all(&startup(0, &[("user", USER)])).await.ok();
    assert_eq!(client.answer().await, None);
}

#[tokio::test]
async fn trust_asks_for_no_password_but_for_a_role() {
    let server = server::start(trusting()).await;
    for user in [USER, "bare"] {
        let mut client = Client::connect(server.address).await;
        client.start(user).await;
        let answers = client.until_ready().await;
        assert_eq!((answers[0].kind, answers[0].body.as_slice()), ('R', [0; 4].as_slice()));
        assert_eq!(answers.last().unwrap().shown(), "Z I");
    }
    let mut client = Client::connect(server.address).await;
    client.start("nobody").await;
    client.refused("28000").await;
}

#[tokio::test]
async fn protocol_versions_are_negotiated_and_shape_the_cancel_key() {
    let server = server::start(trusting()).await;
    let rows = [(0, None, 4), (2, None, 32), (9999, Some(196_610_u32), 32)];
    for (minor, negotiated, key_len) in rows {
        let mut client = Client::connect(server.address).await;
        client.send(&startup(minor, &[("user", USER), ("database", DATABASE), ("_pq_.later", "on")])).await;
        let answers = client.until_ready().await;
        let answer = answers.iter().find(|answer| answer.kind == 'v').unwrap();
        let version = u32::from_be_bytes(answer.body[..4].try_into().unwrap());
        assert_eq!(version, negotiated.unwrap_or(196_608 + u32::from(minor)));
        assert_eq!(answer.body[4..], *b"\0\0\0\x01_pq_.later\0");
        let key = answers.iter().find(|answer| answer.kind == 'K').unwrap();
        assert_eq!(key.body.len(), 4 + key_len, "{minor}");
    }
}
