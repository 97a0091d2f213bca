//! The stores of a bundled placement with few rows in them, and the queries that are asked of them: what tests of plans stand on.
//!
//! The stores are made and filled as for a run, so that their types, keys and indexes are those of a run. Not here: the servers, and
//! what the planner is told of the size of the tables.

use std::collections::BTreeMap;
use std::path::Path;

use super::load::{Progress, Site, Size, load};
use super::placement::{PlacedStore, Placement};
use super::query::queries;
use super::{Indexes, SCALES, catalog};
use crate::command::CommandError;
use crate::sandbox::{CatalogFiles, Endpoint};

/// A placement of the program.
#[derive(Debug)]
pub struct Outline {
    placement: Placement,
}

/// A bundled query.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `q1` to `q22`, `f1` to `f12`.
    pub name: &'static str,
    /// What it asks for.
    pub title: String,
    /// Its text at scale 1.
    pub sql: String,
}

impl Outline {
    /// The placement of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn of(placement: &str) -> Result<Self, CommandError> {
        Placement::find(placement).map(|placement| Self { placement })
    }

    /// Fills the stores with the fewest rows that the generator has: those of servers in the database of their kind (`postgres`,
    /// `mariadb`, `mongodb`), files below `directory`. Returns the catalog that serves them.
    ///
    /// # Errors
    /// A database is missing, or a store cannot be filled.
    pub async fn fill(&self, directory: &Path, databases: &BTreeMap<&str, Endpoint>) -> Result<CatalogFiles, CommandError> {
        let size = Size { scale: *SCALES.start(), indexes: Indexes::Foreign };
        let mut progress = Progress::new();
        let mut sites = Vec::new();
        for store in &self.placement.stores {
            let site = site(store, directory, databases)?;
            Box::pin(load(store, &site, size, &mut progress)).await?;
            sites.push(site);
        }
        Ok(catalog::catalog(&self.placement, &sites, None))
    }

    /// The queries that the placement can run, in their own order.
    ///
    /// # Errors
    /// It can run none.
    pub fn queries(&self) -> Result<Vec<Asked>, CommandError> {
        let bundled = queries(&[], 1.0, &self.placement.name)?;
        Ok(bundled.into_iter().map(|query| Asked { name: query.name, title: query.title, sql: query.sql }).collect())
    }
}

/// Where a store is: SQLite alone needs no server.
fn site(store: &PlacedStore, directory: &Path, databases: &BTreeMap<&str, Endpoint>) -> Result<Site, CommandError> {
    let word = store.kind.word();
    match databases.get(word) {
        Some(endpoint) => Ok(Site::Server(endpoint.clone())),
        None if word == "sqlite" => Ok(Site::File(directory.join(format!("{}.db", store.name)))),
        None => Err(CommandError::Refused(format!("{} needs a database of {word}", store.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_without_its_server_is_told() {
        let place = tempfile::tempdir().unwrap();
        let outline = Outline::of("split").unwrap();
        assert_eq!(outline.queries().unwrap().len(), 32);
        let told = Box::pin(outline.fill(place.path(), &BTreeMap::new())).await.unwrap_err().to_string();
        assert!(told.contains("dimensions needs a database of mariadb"), "{told}");
        assert!(Outline::of("nowhere").is_err());
    }
}
