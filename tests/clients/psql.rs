//! psql
