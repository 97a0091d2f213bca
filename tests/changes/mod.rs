//! Change feeds on real servers: what clients are told of changes, whoever made them.
//!
//! ```text
//! room         a Tributary in this process over databases of their own
//! native       writers of stores themselves
//! follow       clients: streams of SUBSCRIBE, rows of tributary.changes, states of feeds
//! history      random histories with kills, and `check`, what must hold of them; `shaped`, what of a table that is altered meanwhile;
//!              `harm` is what happens to them, `subscriber` a client that comes back each time
//! faults_*     each fault of each store: what is told of it
//! disk_*, replaced_*    the disk of our log is full; another server's data at the same address
//! published_*  publications that go, come back, or leave something out; what a slot keeps; foreign keys that act
//! renamed      tables and columns under other names
//! encrypted    the same over TLS
//! types        values of every type as feeds and scans give them
//! pgoutput     PostgreSQL's stream by another reader
//! fill         tables that are read while others write to them
//! listen, subscribe, relation, outbox    what clients have
//! process      Tributary as a process over one store: `unsynced`, what is not on disk when the machine fails; `handed`, events that are
//!              killed with their rows still there
//! idle         what feeds cost that have nothing to tell
//! alerts       the file of alert rules
//! ```
//!
//! What one connector owes is in `contract/suite/changes.rs`, the log's own trials are beside it.

mod alerts;
pub mod check;
mod disk_postgres;
mod encrypted;
mod faults_mariadb;
mod faults_mongodb;
mod faults_postgres;
mod faults_sqlite;
mod fill;
pub mod follow;
mod handed;
pub mod harm;
mod history;
mod idle;
mod listen;
pub mod native;
mod outbox;
mod pgoutput;
mod process;
mod published_postgres;
mod relation;
mod renamed;
mod replaced_postgres;
pub mod room;
mod shaped;
mod subscribe;
mod subscriber;
pub mod types;
mod unsynced;

use crate::commit::{Said, ask, eventually};
