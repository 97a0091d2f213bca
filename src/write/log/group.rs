//! One thread that writes for all, a group at a time.
