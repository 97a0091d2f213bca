//! The contract suite: every connector runs all of it, one file per store kind.

mod documents;
mod mongodb;
mod mysql;
mod postgres;
