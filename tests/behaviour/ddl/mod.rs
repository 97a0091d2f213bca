//! Tables, indexes and views that clients define: what the stores get, what the catalog shows at once, and what is refused.

mod tables;
mod views;
