//! Tributary: one binary, psql in, four stores out.
//!
//! Rooms in reading order, from the client inwards:
//!
//! - [`sandbox`]: private real servers for tests, benches and the demo.
//! - [`config`]: the catalog directory, read and checked.
//! - [`session`]: one client's conversation.
//! - [`federation`]: what runs where, and what expressions mean.
//! - [`catalog`]: what exists, who owns it.
//! - [`stores`]: one folder per store kind behind one contract.
//! - [`options`], [`pgtype`], [`format`], [`error`], [`task`]: the words every room shares.

pub mod sandbox;

pub mod config;
pub mod session;

pub mod federation;

pub mod catalog;

pub mod stores;

pub mod error;
pub mod format;
pub mod options;
pub mod pgtype;
pub mod task;
