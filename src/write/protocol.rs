//! Prepare, decide, end: how all stores of a transaction commit or none.
