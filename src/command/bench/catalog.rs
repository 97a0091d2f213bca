//! The catalog directory with which Tributary serves a placement.

use super::load::Site;
use super::placement::{Placement, StoreKind};
use crate::command::password::{fresh_verifier, make_password};
use crate::sandbox::{CatalogFiles, Endpoint};

/// The role that asks the queries.
const USER: &str = "bench";

/// Settings, store files and views. `sites` are those of the placement's stores, in their order.
pub(super) fn catalog(placement: &Placement, sites: &[Site], query_memory: Option<&str>) -> CatalogFiles {
    let password = make_password();
    let memory = query_memory.map(|size| format!("limits.query_memory = \"{size}\"\n")).unwrap_or_default();
    let stores = placement.stores.iter().zip(sites).map(|(store, site)| (store.name.clone(), store_file(store.kind, site)));
    CatalogFiles {
        settings: format!("log.level = \"warn\"\n{memory}"),
        stores: stores.collect(),
        views: placement.views.iter().map(|(name, sql)| (name.clone(), sql.clone())).collect(),
        user: USER.to_owned(),
        verifier: fresh_verifier(&password),
        password,
    }
}

/// Host, names and passwords of private servers consist of characters that mean nothing in TOML.
fn store_file(kind: StoreKind, site: &Site) -> String {
    let word = kind.word();
    match site {
        Site::File(path) => {
            let path = toml::Value::String(path.display().to_string());
            format!("kind = \"{word}\"\npath = {path}\nread_only = true\n")
        }
        Site::Server(endpoint) => {
            let Endpoint { host, port, user, password, database } = endpoint;
            let place = match kind {
                StoreKind::Mongodb => format!("hosts = [\"{host}:{port}\"]\ndirect = true\ndatabases = [\"{database}\"]\n"),
                _ => format!("host = \"{host}\"\nport = {port}\n"),
            };
            let password = password.expose();
            format!("kind = \"{word}\"\n{place}user = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config;
    use crate::options::Secret;

    #[test]
    fn a_catalog_of_all_kinds_is_valid() {
        let placement = Placement::find("scattered").unwrap();
        let endpoint = Endpoint {
            host: "127.0.0.1".to_owned(),
            port: 1,
            user: "u".to_owned(),
            password: Secret::new("p"),
            database: "d".to_owned(),
        };
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a \"b\".db");
        std::fs::write(&path, "").unwrap();
        let site = |kind| if kind == StoreKind::Sqlite { Site::File(PathBuf::from(&path)) } else { Site::Server(endpoint.clone()) };
        let sites: Vec<Site> = placement.stores.iter().map(|store| site(store.kind)).collect();
        let files = catalog(&placement, &sites, Some("1GiB"));
        for below in ["stores", "views"] {
            std::fs::create_dir(place.path().join(below)).unwrap();
        }
        std::fs::write(
            place.path().join("tributary.toml"),
            format!("{}[roles.bench]\npassword = \"{}\"\n", files.settings, files.verifier),
        )
        .unwrap();
        for (name, text) in &files.stores {
            std::fs::write(place.path().join(format!("stores/{name}.toml")), text).unwrap();
        }
        config::load(place.path()).unwrap();
    }
}
