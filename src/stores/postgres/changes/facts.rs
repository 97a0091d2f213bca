//! What the catalogs say of tables, as far as it bears on their events: one query for all of them.

use std::collections::HashMap;

use serde::Deserialize;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::super::change::can_be_told;
use super::super::super::error::StoreError;
use super::super::super::relational::{embedded, literal};
use super::super::super::schema::{Column, Table, TableId};
use super::super::branch::Inner;
use super::super::error;
use super::ask;

/// A column. What is compared with the stream must be told as the stream tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Attribute {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_oid: u32,
    /// And that one's modifier.
    pub typmod: i32,
    /// The type in words, as discovery has it.
    pub words: String,
    /// Whether its values always lie in the row itself.
    pub is_inline: bool,
    /// Whether it is computed.
    pub is_generated: bool,
    /// Whether it is of the key that old rows have.
    pub is_key: bool,
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// Its number.
    pub oid: u32,
    /// `pg_class.relkind`
    pub kind: String,
    /// Whether it is gone after a crash.
    pub is_unlogged: bool,
    /// `pg_class.relreplident`
    pub identity: String,
    /// Whether the index that stands behind that is there.
    pub has_identity: bool,
    /// A partition that tells of its old rows by another key than the whole has, as SQL.
    pub odd_partition: Option<String>,
    /// A partition whose changes are in no log of this server, as SQL.
    pub silent_partition: Option<String>,
    /// Whether what a role sees of it depends on the role.
    pub has_row_security: bool,
    /// The partitioned tables that it is a part of.
    pub ancestors: Vec<TableId>,
    /// Whether other tables inherit from it.
    pub has_children: bool,
    /// Whose it is.
    pub owner: String,
    /// Whether the role of the store may alter it.
    pub is_owned: bool,
    /// Whether that role may use its schema, without which no statement can name it.
    pub is_reachable: bool,
    /// Whether that role may read any of its columns: discovery leaves it out otherwise.
    pub is_readable: bool,
    /// Its columns in order.
    pub attributes: Vec<Attribute>,
    /// What rows that are kept as texts depend on: columns and their last change, and the triggers of ours. A column whose values were
    /// written anew by ALTER TABLE has changed too, though it looks as before. So has a table that hides rows by role from now on.
    pub fingerprint: String,
}

impl Facts {
    /// Whether the table still is as it was discovered.
    pub(super) fn agree(&self, table: &Table) -> bool {
        let is_there = |column: &Column| {
            let found = self.attributes.iter().find(|attribute| attribute.name == column.name());
            found.is_some_and(|attribute| attribute.words == column.native_type)
        };
        table.columns.iter().filter(|column| is_plain(column)).all(is_there)
    }

    /// For each column of the table, where it is among the attributes; `None` of one that events do not tell.
    pub(super) fn places(&self, table: &Table) -> Vec<Option<usize>> {
        let place = |column: &Column| self.attributes.iter().position(|attribute| attribute.name == column.name());
        table.columns.iter().map(|column| can_be_told(column).then(|| place(column)).flatten()).collect()
    }
}

/// Whether it is a column of the store, not a field of a document in one.
fn is_plain(column: &Column) -> bool {
    embedded::source(&column.field).is_none()
}

/// What rows that are kept as texts depend on. The number of the transaction that has changed a column last tells one change from another
/// that looks alike. Of a table without row security it is what older versions have kept.
const FINGERPRINT: &str = "pg_catalog.md5(c.oid::text || CASE WHEN c.relrowsecurity THEN ' hides rows' ELSE '' END || coalesce((SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attname, a.atttypid, a.atttypmod, \
     a.attisdropped, a.xmin), ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0), '') \
     || coalesce((SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', t.tgname, t.tgenabled, t.tgtype, t.tgfoid), ',' \
     ORDER BY t.tgname COLLATE \"C\") FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid \
     AND pg_catalog.starts_with(t.tgname::text, 'tributary_')), ''))";

/// Tables, partitioned and foreign ones, outside the system's schemas. A key that is checked at the end of the transaction is none to the
/// server, nor is what an index only carries along.
const QUERY: &str = "SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence = 'u', \
     c.relreplident::text, \
     c.relreplident = 'f' OR i.indexrelid IS NOT NULL, \
     c.relrowsecurity, c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid), \
     pg_catalog.pg_has_role(c.relowner, 'USAGE'), \
     CASE WHEN c.relispartition THEN (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(an.nspname::text, ac.relname::text))::text \
     FROM pg_catalog.pg_partition_ancestors(c.oid) up JOIN pg_catalog.pg_class ac ON ac.oid = up.relid \
     JOIN pg_catalog.pg_namespace an ON an.oid = ac.relnamespace WHERE up.relid <> c.oid) END, \
     (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname::text, 'type_oid', a.atttypid::int8, \
     'typmod', a.atttypmod, 'words', pg_catalog.format_type(a.atttypid, a.atttypmod), \
     'is_inline', a.attlen > 0, 'is_generated', a.attgenerated <> '', \
     'is_key', c.relreplident = 'f' OR coalesce(a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]), false)) ORDER BY a.attnum)::text \
     FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
     {FINGERPRINT}, \
     CASE WHEN c.relkind = 'p' THEN (SELECT pg_catalog.min(pg_catalog.format('%I.%I', ln.nspname, leaf.relname)) {LEAVES} \
     AND leaf.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_catalog.pg_index l WHERE l.indrelid = leaf.oid AND l.indisvalid \
     AND l.indimmediate AND (leaf.relreplident = 'd' AND l.indisprimary OR leaf.relreplident = 'i' AND l.indisreplident) \
     AND pg_catalog.pg_partition_root(l.indexrelid) = pg_catalog.pg_partition_root(coalesce(i.indexrelid, \
     (SELECT k.indexrelid FROM pg_catalog.pg_index k WHERE k.indrelid = c.oid AND k.indisprimary))))) END, \
     CASE WHEN c.relkind = 'p' THEN (SELECT pg_catalog.min(pg_catalog.format('%I.%I', ln.nspname, leaf.relname)) {LEAVES} \
     AND (leaf.relpersistence = 'u' OR leaf.relkind <> 'r')) END, \
     coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false), \
     coalesce(pg_catalog.has_any_column_privilege(c.oid, 'SELECT'), false), pg_catalog.pg_get_userbyid(c.relowner)::text \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisvalid AND i.indimmediate \
     AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident) \
     WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' \
     AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_') AND n.nspname <> 'information_schema'";

/// What lies in a partitioned table.
const LEAVES: &str = "FROM pg_catalog.pg_partition_tree(c.oid) tree JOIN pg_catalog.pg_class leaf ON leaf.oid = tree.relid \
     JOIN pg_catalog.pg_namespace ln ON ln.oid = leaf.relnamespace WHERE tree.isleaf";

/// The facts of all tables.
pub(super) type AllFacts = HashMap<TableId, Facts>;

/// Asks for the fingerprints of some tables, beside other questions of one transaction: their numbers, and what they are.
pub(super) fn fingerprints(oids: &[u32]) -> String {
    let oids: Vec<String> = oids.iter().map(u32::to_string).collect();
    format!("SELECT c.oid::int8, {FINGERPRINT} FROM pg_catalog.pg_class c WHERE c.oid = ANY ('{{{}}}'::oid[])", oids.join(","))
}

/// Asks for the facts of all tables.
///
/// # Errors
/// The store cannot be reached, or what it answered.
pub(super) async fn all(inner: &Inner) -> Result<AllFacts, StoreError> {
    let (_lease, rows) = ask(inner, &QUERY.replace("{FINGERPRINT}", FINGERPRINT).replace("{LEAVES}", LEAVES)).await?;
    rows.iter().map(read).collect::<Result<_, _>>().map_err(|problem| error::running(&inner.name, &problem))
}

/// The fingerprints of tables by their names.
pub(super) type Prints = HashMap<TableId, String>;

/// Asks for the fingerprints of some tables as [`all_in`] has them, which is much less than all facts.
///
/// # Errors
/// As [`all`].
pub(super) async fn prints_in(inner: &Inner, oids: &[u32], publication: Option<&str>) -> Result<Prints, StoreError> {
    let oids: Vec<String> = oids.iter().map(u32::to_string).collect();
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, {FINGERPRINT} FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ('{{{}}}'::oid[])",
        oids.join(",")
    );
    let mut prints: Prints = Box::pin(named(inner, &sql)).await?.into_iter().collect();
    let Some(publication) = publication else { return Ok(prints) };
    for (id, place) in Box::pin(places_in(inner, publication)).await? {
        if let Some(print) = prints.get_mut(&id) {
            print.push_str(&place);
        }
    }
    Ok(prints)
}

/// How the tables of a publication stand in it: one that was taken out and put back is told by another number.
const PUBLISHED: &str = "SELECT t.schemaname::text, t.tablename::text, pg_catalog.concat_ws(' ', '', p.oid, p.xmin, r.oid, r.xmin) \
     FROM pg_catalog.pg_publication_tables t JOIN pg_catalog.pg_publication p ON p.pubname = t.pubname \
     JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname \
     JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename \
     LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid WHERE t.pubname = {name}";

/// The same, with how tables stand in a publication of somebody else's among what their fingerprints depend on.
///
/// # Errors
/// As [`all`].
pub(super) async fn all_in(inner: &Inner, publication: Option<&str>) -> Result<AllFacts, StoreError> {
    let mut facts = Box::pin(all(inner)).await?;
    let Some(publication) = publication else { return Ok(facts) };
    for (id, place) in Box::pin(places_in(inner, publication)).await? {
        if let Some(facts) = facts.get_mut(&id) {
            facts.fingerprint.push_str(&place);
        }
    }
    Ok(facts)
}

/// How each table of a publication stands in it.
async fn places_in(inner: &Inner, publication: &str) -> Result<Vec<(TableId, String)>, StoreError> {
    let mut name = String::new();
    literal::write_text(publication, &mut name).map_err(|_cause| error::running(&inner.name, &sqlx::Error::RowNotFound))?;
    Box::pin(named(inner, &PUBLISHED.replace("{name}", &name))).await
}

/// Asks for tables with a text each.
async fn named(inner: &Inner, sql: &str) -> Result<Vec<(TableId, String)>, StoreError> {
    let (_lease, rows) = Box::pin(ask(inner, sql)).await?;
    rows.iter().map(name_and_text).collect::<Result<_, _>>().map_err(|problem| error::running(&inner.name, &problem))
}

fn name_and_text(row: &PgRow) -> Result<(TableId, String), sqlx::Error> {
    Ok((TableId { namespace: row.try_get(0)?, name: row.try_get(1)? }, row.try_get(2)?))
}

fn read(row: &PgRow) -> Result<(TableId, Facts), sqlx::Error> {
    let id = TableId { namespace: row.try_get(1)?, name: row.try_get(2)? };
    let ancestors: Vec<(String, String)> = json(row, 10)?;
    let facts = Facts {
        oid: u32::try_from(row.try_get::<i64, _>(0)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        kind: row.try_get(3)?,
        is_unlogged: row.try_get(4)?,
        identity: row.try_get(5)?,
        has_identity: row.try_get(6)?,
        has_row_security: row.try_get(7)?,
        has_children: row.try_get(8)?,
        is_owned: row.try_get(9)?,
        ancestors: ancestors.into_iter().map(|(namespace, name)| TableId { namespace, name }).collect(),
        attributes: json(row, 11)?,
        fingerprint: row.try_get(12)?,
        odd_partition: row.try_get(13)?,
        silent_partition: row.try_get(14)?,
        is_reachable: row.try_get(15)?,
        is_readable: row.try_get(16)?,
        owner: row.try_get(17)?,
    };
    Ok((id, facts))
}

/// A list; NULL is an empty one.
fn json<T: for<'d> Deserialize<'d>>(row: &PgRow, place: usize) -> Result<Vec<T>, sqlx::Error> {
    let text: Option<String> = row.try_get(place)?;
    serde_json::from_str(text.as_deref().unwrap_or("[]")).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::pgtype::{PgField, PgType};
    use crate::stores::schema::{Collation, ColumnStatistics, Generated, Key};
    use arrow::datatypes::Field;

    /// A column for tests.
    pub(in super::super) fn column(name: &str, pg_type: PgType, words: &str) -> Column {
        Column {
            field: Field::new(name, pg_type.carrier(), true).with_pg_type(pg_type),
            native_type: words.to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    /// `public.t (id integer primary key, note text)`
    pub(in super::super) fn table() -> Table {
        let mut table =
            Table::plain("public", "t", vec![column("id", PgType::INT4, "integer"), column("note", PgType::TEXT, "text")]);
        table.primary_key = Some(Key { name: "t_pkey".to_owned(), columns: vec![0], proven: true });
        table
    }

    /// What the catalogs say of it.
    pub(in super::super) fn facts() -> Facts {
        let attribute = |name: &str, type_oid: u32, words: &str, is_key: bool| Attribute {
            name: name.to_owned(),
            type_oid,
            typmod: -1,
            words: words.to_owned(),
            is_inline: is_key,
            is_generated: false,
            is_key,
        };
        Facts {
            oid: 7,
            kind: "r".to_owned(),
            is_unlogged: false,
            identity: "d".to_owned(),
            has_identity: true,
            odd_partition: None,
            silent_partition: None,
            has_row_security: false,
            ancestors: Vec::new(),
            has_children: false,
            owner: "boss".to_owned(),
            is_owned: true,
            is_reachable: true,
            is_readable: true,
            attributes: vec![attribute("id", 23, "integer", true), attribute("note", 25, "text", false)],
            fingerprint: "1".to_owned(),
        }
    }

    #[test]
    fn a_table_agrees_until_a_column_changes() {
        let (table, mut facts) = (table(), facts());
        assert!(facts.agree(&table));
        assert_eq!(facts.places(&table), [Some(0), Some(1)]);
        facts.attributes.swap(0, 1);
        assert!(facts.agree(&table));
        assert_eq!(facts.places(&table), [Some(1), Some(0)]);
        facts.attributes[0].words = "character varying".to_owned();
        assert!(!facts.agree(&table));
        facts.attributes.remove(0);
        assert!(!facts.agree(&table));
    }

    #[test]
    fn names_of_objects_are_not_told() {
        assert!(!can_be_told(&column("c", PgType { oid: 2205, typmod: -1 }, "regclass")));
        assert!(!can_be_told(&column("c", PgType { oid: 2210, typmod: -1 }, "regclass[]")));
        assert!(can_be_told(&column("c", PgType::TEXT, "text")));
    }
}
