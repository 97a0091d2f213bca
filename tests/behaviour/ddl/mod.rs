//! Tables, indexes and views that clients define: what the stores get, what the catalog shows and to whom, and what is refused.

mod blocks;
mod cached;
mod tables;
mod views;
