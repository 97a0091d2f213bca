//! Rounds that end what was left in the stores.
