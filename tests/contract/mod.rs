//! The contract suite: every connector runs all of it, one file per store kind.

mod mongodb;
mod mysql;
mod postgres;
