//! Whether two files of stores name one and the same store, as far as what they say tells.

use super::secret::CatalogSecrets;
use super::store::{SHARED_OPTIONS, is_local_address};
use crate::options::{Reader, Secrets as _};
use crate::stores;

/// Where a file says that its store is.
#[derive(Debug)]
pub(super) struct Target {
    kind: &'static str,
    /// Any of them leads there.
    places: Vec<Place>,
    /// `None` where the store decides.
    database: Option<String>,
}

/// A server's address, or the path of a file.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Empty for this machine.
    host: String,
    /// `None` of a socket or a file.
    port: Option<String>,
}

impl Target {
    /// `None` where the file does not say what kind of store it is.
    pub(super) fn of(table: &toml::Table, secrets: &CatalogSecrets) -> Option<Self> {
        let word = Reader::new("", table, SHARED_OPTIONS, secrets).optional_text("kind")?;
        let kind = stores::kind(&word)?;
        let options = kind.options();
        // What is wrong with its other keys is told elsewhere.
        let mut reader = Reader::new("", table, options, secrets);
        let mut text = |key: &str| {
            let is_known = options.iter().any(|spec| spec.key == key);
            is_known.then(|| reader.secret(key)).flatten().map(|text| text.expose().to_owned())
        };
        let (uri, database) = (text("uri"), text("database"));
        let (path, socket, host, port) = (text("path"), text("socket"), text("host"), text("port").unwrap_or_default());
        let in_uri = uri.as_deref().map(uri_parts);
        let places = if let Some(path) = path {
            let path = secrets.resolve(&path);
            let path = path.canonicalize().unwrap_or(path);
            vec![Place { host: path.display().to_string(), port: None }]
        } else if let Some((addresses, _)) = in_uri {
            addresses.split(',').map(|address| place(address, MONGODB)).collect()
        } else if let Some(host) = socket.or(host) {
            vec![place(&host, &port)]
        } else {
            let hosts = reader.texts("hosts");
            if hosts.is_empty() {
                vec![place("localhost", MONGODB)]
            } else {
                hosts.iter().map(|host| place(host, MONGODB)).collect()
            }
        };
        let database = database.or_else(|| in_uri.and_then(|(_, database)| database).map(str::to_owned));
        Some(Self { kind: kind.words().first().copied()?, places, database })
    }

    /// Whether both may be of one store. Names by which one machine is known besides are not found out.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        let is_one = |place: &Place, other: &Place| {
            place.host == other.host && (place.port == other.port || place.port.is_none() || other.port.is_none())
        };
        self.kind == other.kind
            && self.database.as_ref().zip(other.database.as_ref()).is_none_or(|(one, other)| one.eq_ignore_ascii_case(other))
            && self.places.iter().any(|place| other.places.iter().any(|other| is_one(place, other)))
    }
}

/// The port of servers that are given without.
const MONGODB: &str = "27017";

/// The addresses of a connection string, and its database.
fn uri_parts(uri: &str) -> (&str, Option<&str>) {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let rest = rest.split('?').next().unwrap_or(rest);
    let (authority, database) = rest.split_once('/').map_or((rest, None), |(authority, database)| (authority, Some(database)));
    let addresses = authority.rsplit_once('@').map_or(authority, |(_, addresses)| addresses);
    (addresses, database.filter(|database| !database.is_empty()))
}

/// `host`, `host:port`, `[v6]:port` or the path of a socket.
fn place(address: &str, port: &str) -> Place {
    if address.starts_with('/') || address.starts_with("%2F") || address.starts_with("%2f") {
        return Place { host: String::new(), port: None };
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, own)) if own.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')) => (host, own),
        _ => (address, port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
    let host = if is_local_address(&host) { String::new() } else { host };
    Place { host, port: Some(port.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_store_are_found() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.db"), "").unwrap();
        let secrets = CatalogSecrets::new(directory.path());
        let target = |text: &str| Target::of(&toml::from_str(text).unwrap(), &secrets).unwrap();
        let rows = [
            ("kind = 'sqlite'\npath = 'a.db'", "kind = 'sqlite'\npath = './a.db'\nidempotency = true", true),
            ("kind = 'sqlite'\npath = 'a.db'", "kind = 'sqlite'\npath = 'b.db'", false),
            ("kind = 'mysql'\nhost = 'db'\ndatabase = 'd'", "kind = 'mariadb'\nhost = 'DB'\nport = 3306\ndatabase = 'd'", true),
            ("kind = 'mysql'\nhost = 'db'\ndatabase = 'd'", "kind = 'mysql'\nhost = 'db'\nport = 3307\ndatabase = 'd'", false),
            ("kind = 'mysql'\nhost = 'db'\ndatabase = 'd'", "kind = 'mysql'\nhost = 'db'\ndatabase = 'e'", false),
            ("kind = 'mysql'\nsocket = '/run/my.sock'\ndatabase = 'd'", "kind = 'mysql'\nhost = 'localhost'\ndatabase = 'd'", true),
            ("kind = 'postgres'\ndatabase = 'd'", "kind = 'postgres'\nhost = '::1'\ndatabase = 'd'", true),
            ("kind = 'postgres'\ndatabase = 'd'", "kind = 'mysql'\nport = 5432\ndatabase = 'd'", false),
            ("kind = 'mongodb'\nuri = 'mongodb://u:p@a,b:1/d?w=1'", "kind = 'mongodb'\nhosts = ['b:1']\ndatabase = 'd'", true),
            ("kind = 'mongodb'\nuri = 'mongodb://u:p@a,b:1/d?w=1'", "kind = 'mongodb'\nhosts = ['b']\ndatabase = 'd'", false),
            ("kind = 'mongodb'\ndatabase = 'd'", "kind = 'mongodb'\nuri = 'mongodb://127.0.0.1'", true),
        ];
        for (one, other, expected) in rows {
            assert_eq!(target(one).may_be(&target(other)), expected, "{one} and {other}");
            assert_eq!(target(other).may_be(&target(one)), expected, "{other} and {one}");
        }
    }
}
