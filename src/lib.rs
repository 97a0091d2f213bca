//! Tributary: one binary, psql in, four stores out.
//!
//! Rooms in reading order, from the client inwards:
//!
//! - [`wire`]: the Postgres protocol.
//! - [`session`]: one client's conversation.
//! - [`federation`]: what runs where, and what expressions mean.
//! - [`stores`]: one folder per store kind behind one contract.
//! - [`options`], [`pgtype`], [`format`], [`error`], [`task`]: the words every room shares.

pub mod federation;
pub mod session;
pub mod stores;
pub mod wire;

pub mod error;
pub mod format;
pub mod options;
pub mod pgtype;
pub mod task;
