//! Writes to a PostgreSQL store. Nothing here yet: a branch only reads so far, and `write/` does not route to stores yet.
//!
//! What will live here: the owner's statements with bound parameters on the branch's leader connection, `COPY … FROM STDIN`
//! for bulk inserts, and `PREPARE TRANSACTION`. A transaction that has exported its snapshot cannot be prepared
//! (`federation.md` §4.1), so a branch that writes will not export one.
