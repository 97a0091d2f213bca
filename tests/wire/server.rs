//! Tributary itself, listening on a free loopback port inside the test's runtime.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tributary::cache::Caches;
use tributary::catalog::{Catalog, system};
use tributary::changes::Feeds;
use tributary::federation::engine::{Engine, Limits as EngineLimits};
use tributary::options::Secret;
use tributary::session::role::{Role, Roles, Verifier};
use tributary::session::views::ServedViews;
use tributary::session::{Commitment, Shared};
use tributary::task::OwnedTask;
use tributary::telemetry::audit::Audit;
use tributary::wire::{Limits, Listener, Settings, TlsSettings};

/// The catalog's name, as clients see it.
pub const DATABASE: &str = "tributary";
/// A role with a password.
pub const USER: &str = "ann";
/// Its password.
pub const PASSWORD: &str = "correct horse";

/// A running server; stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub task: OwnedTask<()>,
}

/// Settings for a free port, one role, no TLS.
pub fn settings() -> Settings {
    let salt = b"0123456789abcdef";
    let keys = Keys::derive(PASSWORD, salt, 4096);
    let text =
        format!("SCRAM-SHA-256$4096:{}${}:{}", STANDARD.encode(salt), STANDARD.encode(&keys.stored), STANDARD.encode(&keys.server));
    let ann = Role { name: USER.to_owned(), verifier: Verifier::parse(&text), superuser: false, read_only: false };
    assert!(ann.verifier.is_some());
    let bare = Role { name: "bare".to_owned(), verifier: None, superuser: false, read_only: false };
    let roles = Roles::from([(ann.name.clone(), ann), (bare.name.clone(), bare)]);
    Settings {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        tls: None,
        trust: false,
        roles: Arc::new(ArcSwap::from_pointee(roles)),
        mock_seed: Secret::new("seed"),
        limits: Limits::default(),
        audit: Audit::off(),
    }
}

/// The same without passwords.
pub fn trusting() -> Settings {
    trusted(settings())
}

/// A certificate for `localhost` in `directory`, and settings that use it.
pub fn with_tls(directory: &Path, required: bool) -> (Settings, rcgen::CertifiedKey<rcgen::KeyPair>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.join("server.crt"), directory.join("server.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Some(TlsSettings { certificate, key, client_ca: None, required });
    (Settings { tls, ..settings() }, made)
}

/// Any settings without passwords.
pub fn trusted(settings: Settings) -> Settings {
    Settings { trust: true, ..settings }
}

/// Starts over a catalog without stores.
pub async fn start(settings: Settings) -> Server {
    let engine = Engine::new(&EngineLimits::default()).unwrap();
    let catalog = Catalog::load(DATABASE, Vec::new(), Vec::new(), system::relations()).await.unwrap();
    let (roles, commitment) = (Arc::clone(&settings.roles), Commitment::none());
    let (shared, _reports) =
        Shared::new(Arc::new(catalog), engine, roles, commitment, Feeds::none(), (Caches::none(), ServedViews::none()));
    let listener = Listener::bind(settings).unwrap();
    let address = listener.local_addresses()[0];
    let shutdown = CancellationToken::new();
    let task = OwnedTask::spawn(listener.run(Arc::new(shared), shutdown.clone()));
    Server { address, shutdown, task }
}

/// The keys of RFC 5802.
pub struct Keys {
    pub client: Vec<u8>,
    pub stored: Vec<u8>,
    pub server: Vec<u8>,
}

impl Keys {
    /// From a password, as `tributary password` and every client derive them.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let mut block = hmac(password.as_bytes(), &[salt, &1_u32.to_be_bytes()].concat());
        let mut salted = block.clone();
        for _ in 1..iterations {
            block = hmac(password.as_bytes(), &block);
            salted.iter_mut().zip(&block).for_each(|(sum, byte)| *sum ^= byte);
        }
        let client = hmac(&salted, b"Client Key");
        let stored = Sha256::digest(&client).to_vec();
        Self { client, stored, server: hmac(&salted, b"Server Key") }
    }
}

/// HMAC-SHA-256
pub fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec()
}
