//! What a branch is opened for, and what it sees of others.

/// What a branch is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One statement that will run this many scans on the store; they share a snapshot where the store can.
    Statement {
        /// How many scans the plan holds for this store.
        scans: usize,
    },
    /// A transaction block of the session. One that is `REPEATABLE READ` and not `READ ONLY` writes too: from its first edit on,
    /// everything in it runs on one connection, which sees its own writes.
    Transaction {
        /// Whether the block is `READ ONLY`.
        read_only: bool,
        /// Whether later statements must see what the first one saw (`REPEATABLE READ`).
        repeatable: bool,
    },
    /// A transaction block that begins with a read, and must see one state that fits into the serial order of the store's own
    /// serializable transactions (`SERIALIZABLE`). A store whose transactions have no such order answers
    /// [`super::StoreError::Unsupported`].
    Serializable(Serial),
    /// Exactly one [`super::Branch::edit`] of at most [`super::Connector::rows_of_edit`] rows and no scans; the store commits it by
    /// itself, and the end of the branch does nothing.
    Once,
    /// A transaction that writes, begun when it is opened. Scans, fragments and edits run on one connection and see the writes
    /// before them. A scan may start while another is open: that one is then read to its end into memory, up to
    /// [`GATHER_BYTES_MAX`], where the store answers one after the other only. After a failure of an edit only
    /// [`super::Branch::roll_back_to`] and [`super::Branch::rollback`] are taken.
    Write(WriteIsolation),
}

/// What a serializable transaction that begins with a read may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serial {
    /// Read, and write later: from its first edit on it is as one of [`Purpose::Write`]. The store knows of all that it reads, and may
    /// refuse to commit it (40001) also where it has written nothing.
    Write,
    /// Read alone.
    Read,
    /// Read alone, once the store has a state that no conflict can reach (`DEFERRABLE`), for which a store may wait.
    ReadDeferred,
}

/// What a transaction that writes sees of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteIsolation {
    /// Each statement what was committed before it. A store without this level gives [`WriteIsolation::RepeatableRead`].
    ReadCommitted,
    /// One state; a row that somebody else has changed since is 40001.
    RepeatableRead,
    /// A serial order with the other serializable transactions of the store, or [`super::StoreError::Unsupported`].
    Serializable,
}

/// The most bytes of scans that a branch which writes reads into memory because another statement needs its connection. More is
/// 53200.
pub const GATHER_BYTES_MAX: usize = 64 << 20;
