//! The Postgres protocol as real and as hostile clients see it.
//!
//! `client` speaks raw messages; `server` starts Tributary inside the test's own runtime on a free port.

mod cancel;
pub mod client;
mod copy;
mod copy_in;
mod hostile;
mod libpq;
mod login;
mod notify;
mod point;
mod point_postgres;
mod protocol;
mod relay_postgres;
mod series;
mod server;
