//! The contract suite that every connector runs, and a room per store for what is special to it.

mod documents;
mod mongodb;
pub mod mysql;
pub mod postgres;
mod retention;
pub mod sqlite;
mod suite;
