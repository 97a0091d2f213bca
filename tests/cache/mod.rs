//! Cached tables on real servers: what is read from copies, how fresh it is, and what is never read.
//!
//! ```text
//! copies       a table's row of `tributary.freshness`, and reads of which it is certain where they came from
//! world        a Tributary in this process over one store whose tables are cached, and a writer to that store itself
//! behind       writers of stores themselves that may fail
//! follows      copies follow whoever writes, also what empties, alters and drops tables
//! types        values of every type, of copies and of stores
//! declared     store files, ALTER TABLE and CALL, EXPLAIN, and what is not cached
//! guarantees   what a session may rely on, and what it sets; `carried`, from one connection and instance to another
//! outages      a store that is away, silent, or no longer followed: what is read then
//! faults       feeds that lose their place, and what is read of copies, views and results then
//! gap          transactions that are in the log of their store before anybody sees them there
//! audit        rows of copies are those of their stores, and what no log has told is found
//! conflicts    blocks that change what they have read from copies
//! torn         transactions over two tables, which no statement sees in part
//! histories    random histories with faults, and `checker`, what must hold of them; `client` is who reads and writes in them
//! broken       rules that are left out on purpose, and what is found then
//! results      results of queries that are kept, and when they are not given
//! views        materialized views over two stores after every write; `views_defined`, as statements make them; `views_told`, what is told of them
//! same         the statements of `differential` over cached tables
//! ```
//!
//! A table's content, the follower and the decision about a read are tried beside themselves in `src/cache`.

mod audit;
mod behind;
mod broken;
mod carried;
mod checker;
mod client;
mod conflicts;
pub mod copies;
mod declared;
mod faults;
mod follows;
mod gap;
mod guarantees;
mod histories;
mod outages;
mod results;
mod same;
mod torn;
mod types;
mod views;
mod views_defined;
mod views_told;
mod world;
