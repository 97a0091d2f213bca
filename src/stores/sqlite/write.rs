//! Writes to a SQLite store. Statements that write are routed by `write/` (issue "Writes"); until it exists, the connector
//! offers no way to write, and this file holds what that room must know of the store.

/// Why SQLite cannot take part in a two-phase commit: it has no prepared state that survives its connection. It can be the
/// last resource of a commit, with a marker row in the same transaction.
pub const NO_PREPARE: &str = "two-phase commit";
