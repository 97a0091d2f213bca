//! The catalog queries of discovery, sent as one message and answered in one round trip.
//!
//! Every column is cast to a plain type, because the simple protocol shows values as text and the readers in `schema.rs`
//! name what they expect. Arrays come as JSON.

/// One query of the batch, in the order in which it is sent after `BEGIN`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Query {
    /// Locale and locale provider of the database.
    Database,
    /// Types, with domains' bases, arrays' elements and enums' labels.
    Types,
    /// Collations of columns.
    Collations,
    /// Tables, views and the like.
    Relations,
    /// Their columns.
    Columns,
    /// Their indexes over plain columns.
    Keys,
    /// Their foreign keys.
    ForeignKeys,
    /// Their CHECK constraints.
    Checks,
    /// What ANALYZE found of their columns.
    Statistics,
}

const ALL: [Query; 9] = [
    Query::Database,
    Query::Types,
    Query::Collations,
    Query::Relations,
    Query::Columns,
    Query::Keys,
    Query::ForeignKeys,
    Query::Checks,
    Query::Statistics,
];

impl Query {
    /// Where its rows are among the answers: `BEGIN` is answered first.
    pub(super) fn place(self) -> usize {
        self as usize + 1
    }

    fn sql(self) -> String {
        match self {
            Self::Database => DATABASE.to_owned(),
            Self::Types => TYPES.to_owned(),
            Self::Collations => COLLATIONS.to_owned(),
            Self::Relations => format!("{RELATIONS} {OFFERED} ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""),
            Self::Columns => format!("{COLUMNS} {OFFERED} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum"),
            Self::Keys => format!("{KEYS} {OFFERED} AND {PLAIN_INDEX} ORDER BY ic.relname COLLATE \"C\""),
            Self::ForeignKeys => format!("{FOREIGN_KEYS} {OFFERED} AND con.contype = 'f' ORDER BY con.conname COLLATE \"C\""),
            Self::Checks => format!("{CHECKS} {OFFERED} AND con.contype = 'c' ORDER BY con.conname COLLATE \"C\""),
            Self::Statistics => format!("{STATISTICS} {OFFERED} ORDER BY s.inherited"),
        }
    }
}

/// All queries in one snapshot.
pub(super) fn discovery() -> String {
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}; COMMIT", all())
}

/// All queries inside of a transaction, with the same places.
pub(super) fn discovery_inside() -> String {
    format!("SELECT; {}", all())
}

fn all() -> String {
    let queries: Vec<String> = ALL.iter().map(|query| query.sql()).collect();
    queries.join("; ")
}

/// Which relations `c` in namespaces `n` are looked at. Names that start with `pg_` are the system's.
const OFFERED: &str = "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' \
     AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_') AND n.nspname <> 'information_schema'";

/// Valid, total, immediate indexes without expressions: what can be a key.
const PLAIN_INDEX: &str = "i.indisvalid AND i.indislive AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate";

/// The columns of the locale differ between versions, hence the detour over JSON. Text compares as ours does only in UTF-8:
/// in SQL_ASCII, `_` of LIKE stands for a byte.
const DATABASE: &str = "SELECT CASE WHEN coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' THEN d.datcollate::text \
     ELSE coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate::text) END, \
     coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'), \
     pg_catalog.pg_encoding_to_char(d.encoding) = 'UTF8' \
     FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

/// Row types of tables are left out, or there would be one for each table. An element type counts only where the type is the
/// true array over it (`point` and `int2vector` have elements too).
const TYPES: &str = "SELECT t.oid::int8, t.typtype::text, \
     CASE WHEN e.typarray = t.oid THEN t.typelem ELSE 0 END::int8, t.typbasetype::int8, t.typtypmod, \
     CASE WHEN t.typtype = 'e' THEN (SELECT pg_catalog.json_agg(l.enumlabel::text ORDER BY l.enumsortorder)::text \
     FROM pg_catalog.pg_enum l WHERE l.enumtypid = t.oid) END \
     FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem WHERE t.typtype <> 'c'";

/// Two schemas may have collations of one name.
const COLLATIONS: &str = "SELECT c.oid::int8, pg_catalog.quote_ident(n.nspname::text) || '.' || pg_catalog.quote_ident(c.collname::text), \
     c.collprovider::text, c.collisdeterministic, \
     coalesce(c.collcollate::text, to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', '') \
     FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace \
     WHERE c.oid IN (SELECT a.attcollation FROM pg_catalog.pg_attribute a WHERE a.attnum > 0)";

/// A partitioned table has no count of its own before PostgreSQL 14, and later only after ANALYZE: its leaves are summed up.
///
/// The pages are told of tables that can be read by ranges of them: since PostgreSQL 14 only these are then looked at, and the lock
/// that keeps them in place takes the right to read the whole table.
const RELATIONS: &str = "SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, \
     CASE WHEN c.relkind = 'p' THEN (SELECT CASE WHEN bool_and(leaf.reltuples >= 0) THEN sum(leaf.reltuples) END \
     FROM pg_catalog.pg_partition_tree(c.oid) tree JOIN pg_catalog.pg_class leaf ON leaf.oid = tree.relid WHERE tree.isleaf) \
     WHEN c.relkind = 'v' OR (c.reltuples = 0 AND c.relpages = 0 \
     AND pg_catalog.current_setting('server_version_num')::int4 < 140000) THEN NULL ELSE c.reltuples END::float8, \
     pg_catalog.obj_description(c.oid, 'pg_class'), \
     pg_catalog.has_any_column_privilege(c.oid, 'SELECT'), pg_catalog.has_schema_privilege(n.oid, 'USAGE'), \
     CASE WHEN c.relkind = 'r' AND NOT c.relhassubclass AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
     AND (SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid = c.relam) = 'heap' \
     AND pg_catalog.current_setting('server_version_num')::int4 >= 140000 THEN c.relpages END::int8 \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";

/// `NOT NULL` on a foreign table is a claim that nobody checks. A column without a default of its own has that of its domain. A default
/// names no column, and is asked for without its table: the server would wait for whoever is changing that.
const COLUMNS: &str = "SELECT a.attrelid::int8, a.attnum::int4, a.attname::text, a.atttypid::int8, a.atttypmod, \
     a.attnotnull AND c.relkind <> 'f', \
     coalesce(pg_catalog.pg_get_expr(d.adbin, CASE WHEN a.attgenerated = '' THEN 0 ELSE d.adrelid END), \
     pg_catalog.pg_get_expr(t.typdefaultbin, 0)), \
     a.attidentity::text, a.attgenerated::text, \
     pg_catalog.col_description(a.attrelid, a.attnum), pg_catalog.format_type(a.atttypid, a.atttypmod), \
     a.attcollation::int8, pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT') \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
     LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typtype = 'd'";

/// `indkey` counts from 0, and its tail after `indnkeyatts` columns is only carried along (INCLUDE). A table
/// with children that inherit from it shows their rows too, which its keys say nothing about.
const KEYS: &str = "SELECT i.indrelid::int8, ic.relname::text, i.indisprimary, i.indisunique, \
     pg_catalog.array_to_json((i.indkey::int2[])[0:i.indnkeyatts - 1])::text, \
     c.relkind = 'p' OR NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid) \
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid \
     JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";

const FOREIGN_KEYS: &str = "SELECT con.conrelid::int8, con.conname::text, pg_catalog.array_to_json(con.conkey)::text, \
     rn.nspname::text, rc.relname::text, \
     (SELECT pg_catalog.json_agg(ra.attname::text ORDER BY k.place)::text \
     FROM pg_catalog.unnest(con.confkey) WITH ORDINALITY AS k (number, place) \
     JOIN pg_catalog.pg_attribute ra ON ra.attrelid = con.confrelid AND ra.attnum = k.number), \
     con.confupdtype::text, con.confdeltype::text \
     FROM pg_catalog.pg_constraint con JOIN pg_catalog.pg_class c ON c.oid = con.conrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_class rc ON rc.oid = con.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace";

/// The columns in the order of the table: PostgreSQL keeps them in no order that means anything.
const CHECKS: &str = "SELECT con.conrelid::int8, con.conname::text, \
     (SELECT pg_catalog.array_to_json(pg_catalog.array_agg(k ORDER BY k)) FROM pg_catalog.unnest(con.conkey) AS k)::text, \
     pg_catalog.pg_get_expr(con.conbin, con.conrelid) \
     FROM pg_catalog.pg_constraint con JOIN pg_catalog.pg_class c ON c.oid = con.conrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";

/// The view shows what the role may read. Of a table with children there are two rows, of which the second counts the rows of all. The
/// ends of a column are looked for among its most common values and in its histogram, and only where values have distances.
const STATISTICS: &str = "SELECT c.oid::int8, a.attnum::int4, a.atttypid::int8, s.null_frac::float8, s.avg_width::int4, \
     s.n_distinct::float8, CASE WHEN a.atttypid IN (20, 21, 23, 700, 701, 1082, 1114, 1184, 1700) \
     THEN pg_catalog.array_to_json(coalesce(s.most_common_vals::text::text[], '{}'::text[]) \
     || CASE WHEN s.histogram_bounds IS NULL THEN '{}'::text[] ELSE ARRAY[(s.histogram_bounds::text::text[])[1], \
     (s.histogram_bounds::text::text[])[pg_catalog.array_upper(s.histogram_bounds, 1)]] END)::text END \
     FROM pg_catalog.pg_stats s JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname \
     JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = s.attname";
