//! TLS on the server's side: the certificate, the handshake, and what SCRAM binds itself to.
//!
//! The provider is given explicitly: with several in the dependency tree, rustls has no default and panics.

use std::io;
use std::path::Path;
use std::sync::Arc;

use pgwire::api::auth::sasl::scram::ScramServerAuth;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::TlsSettings;
use super::error::WireError;
use super::startup::Socket;

/// The protocol name a client must offer when it starts with TLS at once (`sslnegotiation=direct`).
const ALPN: &[u8] = b"postgresql";

/// A loaded certificate and how to use it.
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    /// Whether sessions without TLS are refused.
    pub(super) required: bool,
    /// SCRAM bound to the certificate; `None` when its signature algorithm has no channel binding (RFC 5929 §4.1, Ed25519).
    pub(super) binding: Option<ScramServerAuth>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("required", &self.required).finish_non_exhaustive()
    }
}

impl Tls {
    /// Loads all files.
    ///
    /// # Errors
    /// Anything unusable: the server must not start without the TLS it was configured with.
    pub(super) fn load(settings: &TlsSettings) -> Result<Self, WireError> {
        let pem = std::fs::read(&settings.certificate).map_err(|error| file(&settings.certificate, error))?;
        let chain = certificates(&settings.certificate, &pem)?;
        let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|error| file(&settings.key, error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| WireError::Tls { reason: error.to_string() })?;
        let builder = match &settings.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(client_verifier(path, provider)?),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| WireError::Tls { reason: error.to_string() })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        let mut binding = ScramServerAuth::new();
        let bound = binding.configure_certificate(&pem).is_ok();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), required: settings.required, binding: bound.then_some(binding) })
    }

    /// Does the handshake. `direct` means that the client began with it, and then must have named the protocol.
    ///
    /// # Errors
    /// The handshake's; nothing more can be said to the peer.
    pub(super) async fn accept(&self, socket: Box<dyn Socket>, direct: bool) -> io::Result<Box<dyn Socket>> {
        let stream = self.acceptor.accept(socket).await?;
        let named = stream.get_ref().1.alpn_protocol() == Some(ALPN);
        if direct && !named {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "direct TLS without the protocol name postgresql"));
        }
        Ok(Box::new(stream))
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, WireError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| file(path, error))?;
    if chain.is_empty() { Err(file(path, "it holds no certificate")) } else { Ok(chain) }
}

fn client_verifier(path: &Path, provider: Arc<rustls::crypto::CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, WireError> {
    let pem = std::fs::read(path).map_err(|error| file(path, error))?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(path, &pem)? {
        roots.add(authority).map_err(|error| file(path, error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|error| file(path, error))
}

fn file(path: &Path, reason: impl ToString) -> WireError {
    WireError::TlsFile { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, name: &str, content: &str) -> std::path::PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn files_that_cannot_be_used_stop_the_server_and_name_themselves() {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        let certificate = write(directory.path(), "server.crt", &made.cert.pem());
        let key = write(directory.path(), "server.key", &made.signing_key.serialize_pem());
        let wrong_key = write(directory.path(), "other.key", &other.serialize_pem());
        let empty = write(directory.path(), "empty.crt", "");
        let missing = directory.path().join("missing");
        let load = |certificate: &Path, key: &Path, client_ca: Option<&Path>| {
            Tls::load(&TlsSettings {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                client_ca: client_ca.map(Path::to_owned),
                required: false,
            })
        };
        assert!(load(&certificate, &key, Some(&certificate)).unwrap().binding.is_some());
        let said = |result: Result<Tls, WireError>| result.unwrap_err().to_string();
        assert!(said(load(&missing, &key, None)).contains("missing"));
        assert!(said(load(&empty, &key, None)).ends_with("it holds no certificate"));
        assert!(said(load(&certificate, &missing, None)).contains("missing"));
        assert!(said(load(&certificate, &key, Some(&empty))).contains("empty.crt"));
        assert!(said(load(&certificate, &wrong_key, None)).starts_with("TLS cannot be set up"));
    }
}
