//! One file per store that answers what `world.rs` asks; `relational` writes what the SQL stores share.

pub mod mariadb;
pub mod mongodb;
pub mod postgres;
mod relational;
pub mod sqlite;
