//! Tables, indexes and views that clients define: what the stores get, what the catalog shows and to whom, and what is refused.

mod blocks;
mod tables;
mod views;
