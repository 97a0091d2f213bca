//! The contract suite that every connector runs, and a room per store for what is special to it.

mod documents;
mod mongodb;
mod mysql;
mod postgres;
mod retention;
mod sqlite;
mod suite;
