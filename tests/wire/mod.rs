//! The Postgres protocol as real clients see it.
