//! The log as rows of a store.
