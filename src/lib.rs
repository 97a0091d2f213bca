//! Tributary: one binary, psql in, four stores out.
//!
//! Rooms in reading order, from the client inwards:
//!
//! - [`command`]: a file for each subcommand.
//! - [`sandbox`]: private real servers for tests, benches and the demo.
//! - [`config`]: the catalog directory, read and checked.
//! - [`server`]: assembles the rooms.
//! - [`wire`]: the Postgres protocol.
//! - [`session`]: one client's conversation.
//! - [`views`]: materialized views, kept up to date with copies of their tables.
//! - [`federation`]: what runs where, and what expressions mean.
//! - [`write`]: changes on their way to their owners.
//! - [`catalog`]: what exists, who owns it.
//! - [`cache`]: copies of tables that follow their stores, and what reads of them promise.
//! - [`changes`]: every change of every store, in order, once.
//! - [`stores`]: one folder per store kind behind one contract.
//! - [`telemetry`]: log lines and health, for operators.
//! - [`options`], [`pgtype`], [`format`], [`error`], [`spelling`], [`address`], [`task`]: the words every room shares.

pub mod command;
pub mod sandbox;

pub mod config;

pub mod server;

pub mod wire;

pub mod session;

pub mod views;

pub mod federation;

pub mod write;

pub mod catalog;

pub mod cache;

pub mod changes;

pub mod stores;

pub mod telemetry;

pub mod address;
pub mod error;
pub mod format;
pub mod options;
pub mod pgtype;
pub mod spelling;
pub mod task;

/// The PostgreSQL version whose behaviour and catalog Tributary follows, as `server_version` tells it.
pub const SERVER_VERSION: &str = "15.0 (Tributary 0.1.0)";
/// [`SERVER_VERSION`] as `server_version_num` tells it.
pub const SERVER_VERSION_NUM: &str = "150000";
