//! What a store can do, and how its connections are used.

/// The keys of one statement that every store takes: a parameter for each, of which SQLite has 32,766 and MySQL 65,535.
pub const KEYS_EACH: usize = 10_000;

/// What a store can do, as the contract suite checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// All scans of one statement can see one state.
    pub statement_snapshot: bool,
    /// A transaction of this store can be prepared and committed later.
    pub prepare: bool,
    /// The store can run `LIKE` on text with Postgres semantics.
    pub like: bool,
    /// Documents with nested fields.
    pub documents: bool,
    /// A running query can be stopped from outside.
    pub cancel: bool,
    /// How many values of keys of a join one statement may carry, at least [`KEYS_EACH`]: of one column a value for each key, of several
    /// as many as there are columns. It is worth to say more where a
    /// list costs the store a look into a hash table for each row that it reads: rows that meet nothing are then dropped where they are,
    /// for a few bytes a key, instead of being sent.
    pub keys_max: usize,
}

/// How the connections of a store are used, all its pools together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Connections that are lent out.
    pub in_use: u64,
    /// The most that may be.
    pub most: u64,
    /// How often somebody has had to wait for one since the connector was made.
    pub waits: u64,
}

impl PoolUse {
    /// Two pools together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let [in_use, most, waits] = [self.in_use + other.in_use, self.most + other.most, self.waits + other.waits];
        Self { in_use, most, waits }
    }
}
