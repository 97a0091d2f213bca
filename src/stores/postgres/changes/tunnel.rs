//! An encrypted connection for a library that cannot make one: it connects to a socket in a directory of ours, and what it sends there
//! goes on to the server.
//!
//! ```text
//! library → Unix socket, for one connection (0700) → pump → TLS → server
//! ```
//!
//! Where encryption is preferred and the server has none, there is no tunnel: the library connects by itself.
//!
//! The certificate is judged as the driver of all other connections judges it: not at all with `prefer` and `require`, by its
//! authorities with `verify-ca`, and by the server's name too with `verify-full`.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sqlx::postgres::PgSslMode;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener};
use tokio_rustls::TlsConnector;

use super::super::settings::Address;
use crate::task::OwnedTask;

/// `SSLRequest`: its length, and a number that is no version of the protocol.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Bytes that go on at once: what the library says is little, and what the server sends is many small messages.
const SAID: usize = 8 << 10;
const SENT: usize = 128 << 10;

/// How long the library may take to connect to a socket that is there.
const ACCEPT: Duration = Duration::from_secs(10);

/// A way to the server; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    directory: TempDir,
    _pump: OwnedTask<()>,
}

impl Tunnel {
    /// Whether connections to that server may be encrypted, so that they need one.
    pub(super) fn is_needed(address: &Address) -> bool {
        !address.host.starts_with('/') && !matches!(address.tls, PgSslMode::Disable | PgSslMode::Allow)
    }

    /// Connects to the server, and waits for one connection to [`Tunnel::directory`]. `None`: the server has no encryption, and need not.
    ///
    /// # Errors
    /// Why there is none, without secrets.
    pub(super) async fn open(address: &Address) -> Result<Option<Self>, String> {
        let mut plain = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|error| error.to_string())?;
        plain.set_nodelay(true).map_err(|error| error.to_string())?;
        if !asks_for_tls(&mut plain, address.tls).await? {
            return Ok(None);
        }
        let (directory, listener) = listen(address.port).map_err(|error| format!("a socket of ours cannot be made: {error}"))?;
        let config = config(address)?;
        let name = ServerName::try_from(address.host.clone()).map_err(|error| format!("TLS: {error}"))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, plain).await;
        let stream = stream.map_err(|error| format!("TLS: {error}"))?;
        Ok(Some(Self { directory, _pump: OwnedTask::spawn(pump(listener, stream)) }))
    }

    /// The directory of the socket.
    pub(super) fn directory(&self) -> String {
        self.directory.path().display().to_string()
    }
}

fn listen(port: u16) -> io::Result<(TempDir, UnixListener)> {
    let mut builder = tempfile::Builder::new();
    let directory = builder.prefix("tributary-").permissions(Permissions::from_mode(0o700)).tempdir()?;
    let listener = UnixListener::bind(directory.path().join(format!(".s.PGSQL.{port}")))?;
    Ok((directory, listener))
}

/// Whether the server goes on with TLS. Nothing more than its answer is read: what comes in plain text behind it would be taken for
/// something that was encrypted.
async fn asks_for_tls(stream: &mut TcpStream, mode: PgSslMode) -> Result<bool, String> {
    let lost = |error: io::Error| error.to_string();
    stream.write_all(&REQUEST).await.map_err(lost)?;
    match stream.read_u8().await.map_err(lost)? {
        b'S' => Ok(true),
        b'N' if matches!(mode, PgSslMode::Prefer) => Ok(false),
        b'N' => Err("TLS: the server has none.".to_owned()),
        _ => Err("The server does not speak PostgreSQL's protocol.".to_owned()),
    }
}

async fn pump<S: AsyncRead + AsyncWrite + Unpin>(listener: UnixListener, mut server: S) {
    let Ok(Ok((mut library, _))) = tokio::time::timeout(ACCEPT, listener.accept()).await else { return };
    drop(listener);
    // An end on either side is one on both: the library tells it as a lost connection.
    if let Err(error) = tokio::io::copy_bidirectional_with_sizes(&mut library, &mut server, SAID, SENT).await {
        tracing::debug!(%error, "a connection for replication was lost");
    }
}

fn config(address: &Address) -> Result<ClientConfig, String> {
    let failed = |error: rustls::Error| format!("TLS: {error}");
    // Given explicitly: with several providers in the dependency tree rustls has no default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(failed)?;
    let roots = || authorities(address.authorities.as_deref());
    let verifier: Arc<dyn ServerCertVerifier> = match address.tls {
        PgSslMode::VerifyFull => return Ok(builder.with_root_certificates(roots()?).with_no_client_auth()),
        PgSslMode::VerifyCa => {
            let whole = WebPkiServerVerifier::builder_with_provider(Arc::new(roots()?), provider).build();
            Arc::new(AnyName(whole.map_err(|error| format!("TLS: {error}"))?))
        }
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require => Arc::new(Anybody(provider)),
    };
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// The public authorities, and those that the store file names.
fn authorities(named: Option<&[u8]>) -> Result<RootCertStore, String> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    for certificate in CertificateDer::pem_slice_iter(named.unwrap_or_default()) {
        let certificate = certificate.map_err(|error| format!("TLS: {error}"))?;
        roots.add(certificate).map_err(|error| format!("TLS: {error}"))?;
    }
    Ok(roots)
}

/// Takes every certificate: against whoever listens, not against whoever answers in the server's place.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes every certificate of an authority that is trusted, for whatever name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(certificate, between, name, stapled, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::{TcpListener, UnixStream};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::options::Secret;

    /// Answers a request for TLS, then gives back one more than the byte that it is sent where there is TLS.
    async fn server(listener: TcpListener, answer: u8, acceptor: TlsAcceptor) {
        let (mut plain, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        plain.read_exact(&mut request).await.unwrap();
        assert_eq!(request, REQUEST);
        plain.write_all(&[answer]).await.unwrap();
        if answer == b'S' {
            // A client that does not trust us ends here.
            let Ok(mut stream) = acceptor.accept(plain).await else { return };
            let byte = stream.read_u8().await.unwrap();
            stream.write_all(&[byte + 1]).await.unwrap();
            stream.flush().await.unwrap();
        }
    }

    /// Sends a byte through a tunnel to a server with a certificate for `named`, where there is one.
    async fn try_it(answer: u8, tls: PgSslMode, named: &str, is_trusted: bool) -> Result<Option<u8>, String> {
        let made = rcgen::generate_simple_self_signed(vec![named.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let _server = OwnedTask::spawn(server(listener, answer, TlsAcceptor::from(Arc::new(config))));
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port,
            user: "u".to_owned(),
            password: Secret::new(""),
            database: "d".to_owned(),
            tls,
            authorities: is_trusted.then(|| made.cert.pem().into_bytes()),
        };
        let Some(tunnel) = Tunnel::open(&address).await? else { return Ok(None) };
        let mode = std::fs::metadata(tunnel.directory()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let mut library = UnixStream::connect(format!("{}/.s.PGSQL.{port}", tunnel.directory())).await.unwrap();
        library.write_all(&[7]).await.unwrap();
        library.read_u8().await.map(Some).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn bytes_go_through_encrypted_where_the_server_can() {
        assert_eq!(try_it(b'S', PgSslMode::Prefer, "127.0.0.1", false).await, Ok(Some(8)));
        assert_eq!(try_it(b'N', PgSslMode::Prefer, "127.0.0.1", false).await, Ok(None));
        assert_eq!(try_it(b'S', PgSslMode::Require, "elsewhere", false).await, Ok(Some(8)));
        assert!(try_it(b'N', PgSslMode::Require, "127.0.0.1", false).await.unwrap_err().contains("none"));
        assert!(try_it(b'E', PgSslMode::Prefer, "127.0.0.1", false).await.is_err());
    }

    #[tokio::test]
    async fn certificates_are_judged_as_the_file_says() {
        assert_eq!(try_it(b'S', PgSslMode::VerifyCa, "elsewhere", true).await, Ok(Some(8)));
        assert_eq!(try_it(b'S', PgSslMode::VerifyFull, "127.0.0.1", true).await, Ok(Some(8)));
        for (tls, named, is_trusted) in [
            (PgSslMode::VerifyCa, "127.0.0.1", false),
            (PgSslMode::VerifyFull, "127.0.0.1", false),
            (PgSslMode::VerifyFull, "elsewhere", true),
        ] {
            let refused = try_it(b'S', tls, named, is_trusted).await.unwrap_err();
            assert!(refused.starts_with("TLS: "), "{refused}");
        }
    }
}
