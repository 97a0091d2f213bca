//! What an operator sees from outside a session: log lines, and health and metrics over HTTP.
//!
//! ```text
//! tracing events → log → standard error, as text or JSON
//! GET /health    → http → the health that server.rs tells → JSON
//! GET /metrics   → http → the families that server.rs gathers from the rooms that count → metrics → text
//! what roles do  → audit → a file of JSON lines, and those before it
//! ```
//!
//! **Invariants:** no log line and no HTTP answer holds a statement, a value, a secret or a connection string; health needs
//! no credentials, and beyond loopback everything else needs the token and all of it TLS; the audit log holds no password, and values
//! only where the operator asks for them. Not here: the counts themselves,
//! which the rooms keep that own what is counted, and system views over them.

pub mod audit;
pub mod health;
#[cfg(test)]
pub(crate) mod heard;
pub mod http;
pub mod log;
pub mod metrics;

pub use audit::{Audit, AuditSettings, Event};
pub use health::{Health, Overall, StoreHealth};
pub use http::{HttpError, HttpListener, HttpSettings};
pub use metrics::Family;
