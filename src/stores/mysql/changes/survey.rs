//! What can be followed of a server, and what keeps the rest from it: its settings, our rights, and for each table its engine, its key,
//! and what changes it without a trace in the binlog.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::mysql::MySqlRow;
use sqlx::{Decode, MySql, Row};

use super::super::super::capture::{Follow, Followed, Judged, Survey};
use super::super::super::change::Shape;
use super::super::super::commit::{Caution, is_own_name};
use super::super::super::error::StoreError;
use super::super::super::relational::Dialect;
use super::super::super::schema::{Table, TableId, TableKind};
use super::super::Shared;
use super::super::pool::{Lease, Server};
use super::super::scan::{selected, source_of};
use super::charsets::Charsets;
use super::values::JSON_OF_MYSQL;

const SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image', \
'binlog_row_metadata', 'binlog_row_value_options', 'gtid_mode', 'gtid_strict_mode', 'binlog_expire_logs_seconds', 'expire_logs_days', \
'log_slave_updates', 'log_replica_updates'); SHOW GLOBAL STATUS LIKE 'slaves_running'";

const TABLES: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES \
WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')";

/// Texts, and what may be kept in another form.
const COLUMNS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, CHARACTER_SET_NAME, COLUMN_TYPE, DATA_TYPE \
FROM information_schema.COLUMNS \
WHERE (CHARACTER_SET_NAME IS NOT NULL OR COLUMN_TYPE LIKE '%COMPRESSED*/%' OR DATA_TYPE = 'json') \
AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')";

/// Foreign keys with what the server does by itself because of them. A user with no privilege on a table but SELECT is not shown those.
const RULES: &str = "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UPDATE_RULE, DELETE_RULE \
FROM information_schema.REFERENTIAL_CONSTRAINTS";

/// All foreign keys, without that.
const FOREIGN_KEYS: &str = "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME FROM information_schema.KEY_COLUMN_USAGE \
WHERE REFERENCED_TABLE_NAME IS NOT NULL \
AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')";

/// What a foreign key does that changes rows.
const ACTIONS: [&str; 3] = ["CASCADE", "SET NULL", "SET DEFAULT"];

/// Seconds of a day.
const DAY: u64 = 86_400;

/// What the server told.
struct Facts {
    settings: HashMap<String, String>,
    /// Type and engine of each table.
    tables: HashMap<TableId, (String, Option<String>)>,
    /// Columns that are not read, with the reason.
    unread: HashMap<TableId, Vec<(String, String)>>,
    /// A foreign key of each table that acts.
    acting: HashMap<TableId, String>,
    filters: Filters,
    user: String,
    may_replicate: bool,
    may_see_logs: bool,
}

/// Databases that the binlog is limited to, and those that it leaves out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filters {
    only: HashSet<String>,
    without: HashSet<String>,
}

impl Filters {
    fn read(only: &str, without: &str) -> Self {
        let names = |text: &str| text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self { only: names(only), without: names(without) }
    }

    fn passes(&self, namespace: &str) -> bool {
        if self.only.is_empty() { !self.without.contains(namespace) } else { self.only.contains(namespace) }
    }
}

fn get<'r, T: Decode<'r, MySql>>(row: &'r MySqlRow, index: usize) -> Result<T, sqlx::Error> {
    row.try_get_unchecked(index)
}

fn id_of(row: &MySqlRow) -> Result<TableId, sqlx::Error> {
    Ok(TableId { namespace: get(row, 0)?, name: get(row, 1)? })
}

/// Looks at everything. Changes nothing.
///
/// # Errors
/// What the server answered.
pub(super) async fn survey(shared: &Arc<Shared>, follow: &Follow, tables: &[Arc<Table>]) -> Result<Survey, StoreError> {
    let mut lease = shared.pool.lease().await?;
    let server = Arc::clone(&lease.session.server);
    let charsets = Charsets::ask(&mut lease, shared.place()).await?;
    let facts = Facts::ask(&mut lease, shared, &charsets).await?;
    lease.release();
    let asked = tables.iter().filter(|table| follow.wants(&table.id) || is_own_name(&table.id.name));
    Ok(Survey {
        tables: asked.map(|table| facts.judge(table)).collect(),
        cautions: facts.cautions(&server),
        refused: facts.refused(&server),
        objects: Vec::new(),
    })
}

impl Facts {
    async fn ask(lease: &mut Lease, shared: &Shared, charsets: &Charsets) -> Result<Self, StoreError> {
        let is_mariadb = lease.session.server.is_mariadb;
        let settings = lease.rows(SETTINGS).await?;
        let tables = lease.rows(TABLES).await?;
        let columns = lease.rows(COLUMNS).await?;
        let acting = acting(lease, shared).await?;
        let user = lease.rows("SELECT CURRENT_USER()").await?;
        let grants = lease.rows("SHOW GRANTS").await?;
        // The newest servers of MySQL know the second alone, and both ask for a privilege.
        let filters = match lease.rows("SHOW MASTER STATUS").await {
            Err(StoreError::Remote { .. }) => lease.rows("SHOW BINARY LOG STATUS").await,
            rows => rows,
        };
        let may_see_logs = !matches!(&filters, Err(StoreError::Remote { .. }));
        let filters = if may_see_logs { filters? } else { Vec::new() };
        let read = || -> Result<Self, sqlx::Error> {
            let grants = grants.iter().map(|row| get::<String>(row, 0)).collect::<Result<Vec<_>, _>>()?;
            Ok(Self {
                settings: settings
                    .iter()
                    .map(|row| Ok((get::<String>(row, 0)?.to_ascii_lowercase(), get(row, 1)?)))
                    .collect::<Result<_, sqlx::Error>>()?,
                tables: tables
                    .iter()
                    .map(|row| Ok((id_of(row)?, (get(row, 2)?, get(row, 3)?))))
                    .collect::<Result<_, sqlx::Error>>()?,
                unread: unread(&columns, charsets, is_mariadb)?,
                acting,
                filters: match filters.first() {
                    Some(row) => Filters::read(&get::<String>(row, 2)?, &get::<String>(row, 3)?),
                    None => Filters::default(),
                },
                user: user.first().map(|row| get::<String>(row, 0)).transpose()?.unwrap_or_default(),
                may_replicate: grants.iter().any(|grant| lets_replicate(grant)),
                may_see_logs,
            })
        };
        read().map_err(|problem| shared.place().translate(&problem))
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    fn is(&self, name: &str, wanted: &str) -> bool {
        self.setting(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
    }

    /// Why nothing can be followed, and what mends it.
    fn refused(&self, server: &Server) -> Option<(String, String)> {
        let reason = |reason: &str, mend: &str| Some((reason.to_owned(), mend.to_owned()));
        let set = |name: &str, wanted: &str| {
            let is = self.setting(name).unwrap_or("not there");
            let mend = format!("SET GLOBAL {name} = '{wanted}', and in the server's configuration, for sessions to come.");
            Some((format!("{name} is {is}, and rows are only told with {wanted}"), mend))
        };
        if !self.is("log_bin", "ON") {
            return reason("the server writes no binlog", "Set log_bin in the server's configuration and start it again.");
        }
        for (name, wanted) in [("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("binlog_row_metadata", "FULL")] {
            // Newer servers have one format alone and may not tell of it.
            if !(self.is(name, wanted) || name == "binlog_format" && self.setting(name).is_none()) {
                return set(name, wanted);
            }
        }
        if self.setting("binlog_row_value_options").is_some_and(|options| !options.is_empty()) {
            return reason("binlog_row_value_options keeps parts of values alone", "SET GLOBAL binlog_row_value_options = ''");
        }
        if !server.is_mariadb && !self.is("gtid_mode", "ON") {
            return reason(
                "transactions have no GTIDs",
                "SET GLOBAL gtid_mode = ON, step by step from OFF, with enforce_gtid_consistency.",
            );
        }
        let is_replica = self.setting("slaves_running").is_some_and(|running| running != "0");
        if is_replica && !self.is("log_slave_updates", "ON") && !self.is("log_replica_updates", "ON") {
            return reason(
                "the server is a replica that does not log what it applies",
                "Set log_slave_updates in the server's configuration and start it again, or follow the server that it replicates.",
            );
        }
        if !self.may_replicate {
            return reason(
                "the user may not read the binlog",
                &format!("GRANT REPLICATION SLAVE ON *.* TO {}", account(&self.user)),
            );
        }
        None
    }

    /// What weakens a feed.
    fn cautions(&self, server: &Server) -> Vec<Caution> {
        let mut cautions = Vec::new();
        if server.is_mariadb && !self.is("gtid_strict_mode", "ON") {
            cautions.push(Caution {
                key: "gtid_strict_mode",
                told: "the server lets GTIDs of a domain come out of order, which ends a feed".to_owned(),
                mend: "SET GLOBAL gtid_strict_mode = ON, and in the server's configuration.".to_owned(),
            });
        }
        if !self.may_see_logs {
            let privilege = if server.is_mariadb { "BINLOG MONITOR" } else { "REPLICATION CLIENT" };
            cautions.push(Caution {
                key: "BINLOG MONITOR",
                told: "the user may not see how far the binlog is nor what it leaves out, and tables are locked for a moment when they \
                       are loaded"
                    .to_owned(),
                mend: format!("GRANT {privilege} ON *.* TO {}", account(&self.user)),
            });
        }
        if self.filters != Filters::default() {
            cautions.push(Caution {
                key: "binlog_do_db",
                told: "the server leaves statements out of its binlog by the database that a session has chosen, so that TRUNCATE and \
                       ALTER TABLE may not be told"
                    .to_owned(),
                mend: "Take binlog_do_db and binlog_ignore_db out of the server's configuration and start it again.".to_owned(),
            });
        }
        if self.expires_after().is_some_and(|seconds| seconds < DAY) {
            cautions.push(Caution {
                key: "binlog_expire_logs_seconds",
                told: "the server drops its binlog after less than a day, and with it what a feed has not read by then".to_owned(),
                mend: format!("SET GLOBAL binlog_expire_logs_seconds = {}, and in the server's configuration.", 7 * DAY),
            });
        }
        cautions
    }

    /// After how many seconds the server drops logs; `None`: never.
    fn expires_after(&self) -> Option<u64> {
        let number = |name: &str| self.setting(name).and_then(|value| value.parse::<f64>().ok()).filter(|number| *number > 0.0);
        let seconds = number("binlog_expire_logs_seconds").or_else(|| number("expire_logs_days").map(|days| days * 86_400.0))?;
        Some(std::time::Duration::try_from_secs_f64(seconds).ok()?.as_secs())
    }

    fn judge(&self, table: &Arc<Table>) -> Judged {
        let store_only = |(reason, mend): (String, Option<String>)| Judged::StoreOnly { table: table.id.clone(), reason, mend };
        if let Some(reason) = self.hindrance(table) {
            return store_only(reason);
        }
        let Some(key) = &table.primary_key else {
            let mend = format!("ALTER TABLE {} ADD PRIMARY KEY (…)", Dialect::MySql.table(&table.id));
            return store_only(("has no primary key".to_owned(), Some(mend)));
        };
        let shape = Shape::of(table, key.columns.clone(), vec![true; table.columns.len()]);
        Judged::Followed(Followed { table: Arc::clone(table), shape })
    }

    /// What keeps a table from being followed, and what mends it.
    fn hindrance(&self, table: &Arc<Table>) -> Option<(String, Option<String>)> {
        let name = Dialect::MySql.table(&table.id);
        if table.kind != TableKind::Table {
            return Some(("is no table of the store but a view".to_owned(), None));
        }
        if !self.filters.passes(&table.id.namespace) {
            return Some(("is in a database that the binlog leaves out".to_owned(), None));
        }
        match self.tables.get(&table.id) {
            // Tables of ours are made when they are needed.
            None if is_own_name(&table.id.name) => {}
            None => return Some(("is not there".to_owned(), None)),
            Some((kind, _)) if kind == "SYSTEM VERSIONED" => {
                return Some(("keeps its own history, which the binlog tells as rows of it".to_owned(), None));
            }
            Some((_, engine)) if !engine.as_deref().is_some_and(|engine| engine.eq_ignore_ascii_case("InnoDB")) => {
                let engine = engine.as_deref().unwrap_or("no engine");
                let reason = format!("is kept by {engine}, which has no transactions");
                return Some((reason, Some(format!("ALTER TABLE {name} ENGINE = InnoDB"))));
            }
            Some(_) => {}
        }
        if let Some(key) = self.acting.get(&table.id) {
            let reason = format!("is changed by its foreign key \"{key}\", of which the binlog does not tell");
            let mend = format!("ALTER TABLE {name} DROP FOREIGN KEY {}, and add it without an action", Dialect::MySql.quote(key));
            return Some((reason, Some(mend)));
        }
        let unread = self.unread.get(&table.id)?;
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let items = selected(table, &all).ok()?;
        let named = items.iter().filter_map(|item| source_of(table, item)).map(|(name, _)| name).collect::<HashSet<_>>();
        let (column, reason) = unread.iter().find(|(column, _)| named.contains(column.as_str()))?;
        Some((format!("its column \"{column}\" {reason}"), None))
    }
}

/// A foreign key of each table by which the server changes rows by itself. Where it does not tell us what one does, its table is shown
/// to us as a statement, which says it.
async fn acting(lease: &mut Lease, shared: &Shared) -> Result<HashMap<TableId, String>, StoreError> {
    let broken = |problem: sqlx::Error| shared.place().translate(&problem);
    let (mut acting, mut told) = (HashMap::new(), HashSet::new());
    for row in &lease.rows(RULES).await? {
        let (id, name) = (id_of(row).map_err(broken)?, get::<String>(row, 2).map_err(broken)?);
        let rules = [get::<String>(row, 3).map_err(broken)?, get::<String>(row, 4).map_err(broken)?];
        if rules.iter().any(|rule| ACTIONS.contains(&rule.as_str())) {
            acting.insert(id.clone(), name.clone());
        }
        told.insert((id, name));
    }
    let mut untold: HashMap<TableId, Vec<String>> = HashMap::new();
    for row in &lease.rows(FOREIGN_KEYS).await? {
        let key = (id_of(row).map_err(broken)?, get::<String>(row, 2).map_err(broken)?);
        if !told.contains(&key) && !acting.contains_key(&key.0) {
            untold.entry(key.0).or_default().push(key.1);
        }
    }
    for (id, names) in untold {
        let made = match lease.rows_of(format!("SHOW CREATE TABLE {}", Dialect::MySql.table(&id))).await {
            // It has gone meanwhile, or is not ours to see.
            Err(StoreError::Remote { .. } | StoreError::SchemaChanged { .. }) => None,
            rows => rows?.first().map(|row| get::<String>(row, 1)).transpose().map_err(broken)?,
        };
        let acts = |name: &&String| made.as_deref().is_none_or(|made| acts_in(made, name));
        if let Some(name) = names.iter().find(acts) {
            acting.insert(id, name.clone());
        }
    }
    Ok(acting)
}

/// Whether a foreign key acts, by the statement that makes its table, which has a line for each. One that is not found acts.
fn acts_in(made: &str, name: &str) -> bool {
    let begins = ['`', '"'].map(|quote| {
        let doubled = name.replace(quote, &format!("{quote}{quote}"));
        format!("CONSTRAINT {quote}{doubled}{quote} FOREIGN KEY ")
    });
    let mut lines = made.lines().map(str::trim_start);
    let found = lines.find(|line| begins.iter().any(|begin| line.starts_with(begin)));
    found.is_none_or(|line| {
        let does = |on: &str, action: &str| line.contains(&format!(" ON {on} {action}"));
        ACTIONS.iter().any(|action| does("DELETE", action) || does("UPDATE", action))
    })
}

/// Columns whose values are not read from the binlog.
fn unread(
    rows: &[MySqlRow],
    charsets: &Charsets,
    is_mariadb: bool,
) -> Result<HashMap<TableId, Vec<(String, String)>>, sqlx::Error> {
    let mut unread: HashMap<TableId, Vec<(String, String)>> = HashMap::new();
    for row in rows {
        let (charset, column_type, word) = (get::<Option<String>>(row, 3)?, get::<String>(row, 4)?, get::<String>(row, 5)?);
        let reason = if column_type.contains("COMPRESSED*/") {
            Some("is compressed in its table, which the binlog keeps as it is".to_owned())
        } else if word == "json" && !is_mariadb {
            Some(JSON_OF_MYSQL.to_owned())
        } else {
            charset
                .filter(|charset| !charsets.reads(charset))
                .map(|charset| format!("has the character set {charset}, which is not read"))
        };
        if let Some(reason) = reason {
            unread.entry(id_of(row)?).or_default().push((get(row, 2)?, reason));
        }
    }
    Ok(unread)
}

/// Whether a grant lets its user read the binlog.
fn lets_replicate(grant: &str) -> bool {
    let Some((privileges, _)) = grant.strip_prefix("GRANT ").and_then(|grant| grant.split_once(" ON *.* TO ")) else {
        return false;
    };
    let mut privileges = privileges.split(',').map(str::trim);
    privileges.any(|privilege| matches!(privilege, "ALL PRIVILEGES" | "REPLICATION SLAVE" | "REPLICATION REPLICA"))
}

/// `'user'@'host'` for the server's `user@host`.
fn account(user: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    match user.rsplit_once('@') {
        Some((name, host)) => format!("{}@{}", quoted(name), quoted(host)),
        None => quoted(user),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::samples::followed;
    use super::*;

    fn facts(changes: &[(&str, &str)]) -> Facts {
        let usual = [
            ("log_bin", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "FULL"),
            ("binlog_row_metadata", "FULL"),
            ("gtid_strict_mode", "ON"),
            ("binlog_expire_logs_seconds", "0"),
            ("log_slave_updates", "OFF"),
            ("slaves_running", "0"),
        ];
        let all = usual.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Facts {
            settings: all.collect(),
            tables: HashMap::new(),
            unread: HashMap::new(),
            acting: HashMap::new(),
            filters: Filters::default(),
            user: "app@%".to_owned(),
            may_replicate: true,
            may_see_logs: true,
        }
    }

    fn server(is_mariadb: bool) -> Server {
        Server { version: "10.11.19-MariaDB".to_owned(), is_mariadb, has_binary_log: true, logs_all: Ok(()) }
    }

    #[test]
    fn what_is_missing_is_told_with_what_mends_it() {
        let check = |changes: &[(&str, &str)], is_mariadb| facts(changes).refused(&server(is_mariadb)).map(|(_, mend)| mend);
        assert_eq!(check(&[], true), None);
        let rows = [
            (("log_bin", "OFF"), "log_bin"),
            (("binlog_format", "MIXED"), "SET GLOBAL binlog_format = 'ROW'"),
            (("binlog_row_image", "MINIMAL"), "SET GLOBAL binlog_row_image = 'FULL'"),
            (("binlog_row_metadata", "NO_LOG"), "SET GLOBAL binlog_row_metadata = 'FULL'"),
            (("binlog_row_value_options", "PARTIAL_JSON"), "binlog_row_value_options"),
            (("slaves_running", "1"), "log_slave_updates"),
        ];
        for (change, expected) in rows {
            assert!(check(&[change], true).unwrap().contains(expected), "{change:?}");
        }
        assert!(check(&[("gtid_mode", "OFF")], false).unwrap().contains("gtid_mode"));
        assert_eq!(check(&[("gtid_mode", "ON")], false), None);
        let unprivileged = Facts { may_replicate: false, ..facts(&[]) };
        assert_eq!(unprivileged.refused(&server(true)).unwrap().1, "GRANT REPLICATION SLAVE ON *.* TO 'app'@'%'");
    }

    #[test]
    fn what_weakens_a_feed_is_told() {
        let keys = |facts: Facts| facts.cautions(&server(true)).iter().map(|caution| caution.key).collect::<Vec<_>>();
        assert!(keys(facts(&[])).is_empty());
        assert_eq!(keys(facts(&[("gtid_strict_mode", "OFF")])), ["gtid_strict_mode"]);
        assert_eq!(keys(facts(&[("expire_logs_days", "0.5")])), ["binlog_expire_logs_seconds"]);
        assert!(keys(facts(&[("expire_logs_days", "10.000000")])).is_empty());
        assert_eq!(keys(Facts { may_see_logs: false, ..facts(&[]) }), ["BINLOG MONITOR"]);
        assert_eq!(keys(Facts { filters: Filters::read("", "scratch"), ..facts(&[]) }), ["binlog_do_db"]);
    }

    #[test]
    fn tables_are_judged_alone() {
        let table = followed("d", "t", &[("id", "int(11)"), ("note", "text")]).table;
        let id = table.id.clone();
        let with = |kind: &str, engine: &str| Facts {
            tables: [(id.clone(), (kind.to_owned(), Some(engine.to_owned())))].into(),
            ..facts(&[])
        };
        let usual = || with("BASE TABLE", "InnoDB");
        let reason = |facts: Facts| match facts.judge(&table) {
            Judged::Followed(_) => None,
            Judged::StoreOnly { reason, .. } => Some(reason),
        };
        assert_eq!(reason(usual()), None);
        assert!(reason(facts(&[])).unwrap().contains("not there"));
        assert!(reason(with("SYSTEM VERSIONED", "InnoDB")).unwrap().contains("history"));
        assert!(reason(with("BASE TABLE", "MyISAM")).unwrap().contains("MyISAM"));
        assert!(reason(Facts { acting: [(id.clone(), "fk".to_owned())].into(), ..usual() }).unwrap().contains("\"fk\""));
        assert!(reason(Facts { filters: Filters::read("shop, crm", ""), ..usual() }).unwrap().contains("leaves out"));
        assert_eq!(reason(Facts { filters: Filters::read("", "other"), ..usual() }), None);
        let unread =
            |column: &str| Facts { unread: [(id.clone(), vec![(column.to_owned(), "is not read".to_owned())])].into(), ..usual() };
        assert!(reason(unread("note")).unwrap().contains("\"note\""));
        assert_eq!(reason(unread("hidden")), None, "a column that nobody is shown");
        let mut without = (*table).clone();
        without.primary_key = None;
        assert!(
            matches!(usual().judge(&Arc::new(without)), Judged::StoreOnly { mend: Some(mend), .. } if mend.contains("PRIMARY KEY"))
        );
    }

    #[test]
    fn foreign_keys_act_by_the_statement_of_their_table() {
        let made = "CREATE TABLE `child` (\n  `p` int(11) DEFAULT NULL COMMENT ' ON DELETE CASCADE',\n  KEY `a` (`p`),\n  \
                    CONSTRAINT `a` FOREIGN KEY (`p`) REFERENCES `parent` (`id`) ON DELETE CASCADE,\n  \
                    CONSTRAINT `b``c` FOREIGN KEY (`p`) REFERENCES `parent` (`id`) ON DELETE NO ACTION ON UPDATE SET NULL,\n  \
                    CONSTRAINT `d` FOREIGN KEY (`p`) REFERENCES `parent` (`id`) ON DELETE NO ACTION,\n  \
                    CONSTRAINT \"e\" FOREIGN KEY (\"p\") REFERENCES \"parent\" (\"id\")\n) ENGINE=InnoDB";
        for (name, expected) in [("a", true), ("b`c", true), ("d", false), ("e", false), ("unknown", true)] {
            assert_eq!(acts_in(made, name), expected, "{name}");
        }
    }

    #[test]
    fn grants_are_read() {
        let rows = [
            ("GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD 'x'", true),
            ("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION", true),
            ("GRANT REPLICATION SLAVE ADMIN ON *.* TO `app`@`%`", false),
            ("GRANT ALL PRIVILEGES ON `shop`.* TO `app`@`%`", false),
            ("GRANT USAGE ON *.* TO `app`@`%`", false),
        ];
        for (grant, expected) in rows {
            assert_eq!(lets_replicate(grant), expected, "{grant}");
        }
        assert_eq!(account("o'neil@10.0.0.%"), "'o''neil'@'10.0.0.%'");
    }
}
