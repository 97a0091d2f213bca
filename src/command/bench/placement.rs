//! Placements: which table is in which store. A placement is a TOML file; those of `benches/placements` are in the program.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::table::{TABLES, Table, table};
use crate::command::CommandError;

/// The placements of the program.
const BUNDLED: [(&str, &str); 5] = [
    ("embedded", include_str!("../../../benches/placements/embedded.toml")),
    ("postgres", include_str!("../../../benches/placements/postgres.toml")),
    ("split", include_str!("../../../benches/placements/split.toml")),
    ("documents", include_str!("../../../benches/placements/documents.toml")),
    ("scattered", include_str!("../../../benches/placements/scattered.toml")),
];

/// The kinds of stores that a placement may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreKind {
    Postgres,
    Mariadb,
    Sqlite,
    Mongodb,
}

impl StoreKind {
    /// The word in placements, store files and tables.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mariadb => "mariadb",
            Self::Sqlite => "sqlite",
            Self::Mongodb => "mongodb",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    stores: BTreeMap<String, StoreEntry>,
    #[serde(default)]
    views: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreEntry {
    kind: StoreKind,
    tables: Vec<String>,
    #[serde(default)]
    nested: Vec<String>,
}

/// A store and what it holds.
#[derive(Debug)]
pub(super) struct PlacedStore {
    pub(super) name: String,
    pub(super) kind: StoreKind,
    pub(super) tables: Vec<&'static Table>,
    /// Whether orders hold their lines.
    pub(super) nests_lines: bool,
}

/// A placement that is complete: each table is in one store.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) stores: Vec<PlacedStore>,
    pub(super) views: BTreeMap<String, String>,
}

impl Placement {
    /// A placement of the program by its name, or one of a file that ends with `.toml`.
    ///
    /// # Errors
    /// It is unknown, cannot be read, or is wrong.
    pub(super) fn find(wanted: &str) -> Result<Self, CommandError> {
        if let Some((name, text)) = BUNDLED.iter().find(|(name, _)| *name == wanted) {
            return Self::read(name, text);
        }
        if !wanted.ends_with(".toml") {
            let names: Vec<&str> = BUNDLED.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            return Err(CommandError::Arguments(format!("there is no placement {wanted}: take one of {names}, or a .toml file")));
        }
        let text = std::fs::read_to_string(wanted)?;
        let name = Path::new(wanted).file_stem().map_or(wanted.into(), |stem| stem.to_string_lossy());
        Self::read(&name, &text)
    }

    fn read(name: &str, text: &str) -> Result<Self, CommandError> {
        let wrong = |reason: String| CommandError::Refused(format!("placement {name}: {reason}"));
        let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let mut stores = Vec::new();
        for (store, entry) in file.stores {
            let find = |table_name: &String| table(table_name).ok_or_else(|| wrong(format!("{table_name} is no table of TPC-H")));
            let tables = entry.tables.iter().map(find).collect::<Result<Vec<_>, _>>()?;
            let nests_lines = !entry.nested.is_empty();
            let has_orders = tables.iter().any(|table| table.name == "orders");
            if nests_lines && (entry.kind != StoreKind::Mongodb || entry.nested != ["lineitem"] || !has_orders) {
                return Err(wrong(format!("{store}: only lineitem can be nested, in the orders of a mongodb store")));
            }
            stores.push(PlacedStore { name: store, kind: entry.kind, tables, nests_lines });
        }
        let placement = Self { name: name.to_owned(), title: file.title, stores, views: file.views };
        placement.complete().map_err(wrong)?;
        Ok(placement)
    }

    fn complete(&self) -> Result<(), String> {
        for table in &TABLES {
            let holds = |store: &&PlacedStore| {
                store.tables.iter().any(|held| held.name == table.name) || (store.nests_lines && table.name == "lineitem")
            };
            match self.stores.iter().filter(holds).count() {
                1 => {}
                0 => return Err(format!("{} is in no store", table.name)),
                _ => return Err(format!("{} is in several stores", table.name)),
            }
        }
        Ok(())
    }

    /// Whether a store of this kind takes part.
    pub(super) fn uses(&self, kind: StoreKind) -> bool {
        self.stores.iter().any(|store| store.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placements_of_the_program_are_complete() {
        for (name, _) in BUNDLED {
            let placement = Placement::find(name).unwrap();
            assert!(!placement.title.is_empty() && !placement.stores.is_empty());
        }
        assert!(Placement::find("embedded").unwrap().stores.iter().all(|store| store.kind == StoreKind::Sqlite));
    }

    #[test]
    fn wrong_placements_are_told() {
        let tables = "\"region\",\"nation\",\"supplier\",\"customer\",\"part\",\"partsupp\"";
        let rows = [
            (format!("[stores.a]\nkind=\"sqlite\"\ntables=[{tables},\"orders\"]"), "lineitem is in no store"),
            (
                format!(
                    "[stores.a]\nkind=\"sqlite\"\ntables=[{tables},\"orders\",\"lineitem\",\"orders\"]\n[stores.b]\nkind=\"sqlite\"\ntables=[\"orders\"]"
                ),
                "orders is in several",
            ),
            (
                format!("[stores.a]\nkind=\"sqlite\"\nnested=[\"lineitem\"]\ntables=[{tables},\"orders\"]"),
                "only lineitem can be nested",
            ),
            ("[stores.a]\nkind=\"oracle\"\ntables=[]".to_owned(), "oracle"),
            ("[stores.a]\nkind=\"sqlite\"\ntables=[\"x\"]".to_owned(), "x is no table of TPC-H"),
            ("[stores.a]\nkind=\"sqlite\"\ntables=[]\nsurprise=1".to_owned(), "surprise"),
        ];
        for (text, expected) in rows {
            let told = Placement::read("p", &format!("title=\"t\"\n{text}")).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        }
        assert!(Placement::find("nowhere").unwrap_err().to_string().contains("embedded, postgres, split"));
    }
}
