//! Idempotency keys: a statement that is sent again is not run again.
