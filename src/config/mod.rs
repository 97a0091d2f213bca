//! The catalog directory, read and checked.

pub mod environment;
