//! Writes the demo's catalog directory from the templates in `catalog/demo`. The names in `@…@` are filled in.

use std::io;
use std::path::Path;

use super::place::write_private;
use super::servers::Servers;
use crate::command::password::fresh_verifier;
use crate::options::Secret;
use crate::sandbox::Endpoint;

/// Stores as SQLite files.
const EMBEDDED: [(&str, &str); 4] = [
    ("hydro", include_str!("../../../catalog/demo/stores/hydro.toml")),
    ("crew", include_str!("../../../catalog/demo/stores/crew.toml")),
    ("archive", include_str!("../../../catalog/demo/stores/archive.toml")),
    ("field", include_str!("../../../catalog/demo/stores/field.toml")),
];

/// Stores as servers; the archive stays a file.
const SERVED: [(&str, &str); 3] = [
    ("hydro", include_str!("../../../catalog/demo/servers/hydro.toml")),
    ("crew", include_str!("../../../catalog/demo/servers/crew.toml")),
    ("field", include_str!("../../../catalog/demo/servers/field.toml")),
];

const VIEWS: [(&str, &str); 2] = [
    ("gauges", include_str!("../../../catalog/demo/views/gauges.sql")),
    ("low_water", include_str!("../../../catalog/demo/views/low_water.sql")),
];

/// Writes stores and views.
///
/// # Errors
/// What the operating system answered.
pub(super) fn write_stores(catalog: &Path, servers: Option<&Servers>) -> io::Result<()> {
    for (name, template) in EMBEDDED {
        let endpoint = servers.and_then(|servers| servers.endpoints().into_iter().find(|(store, _)| *store == name));
        let served = SERVED.iter().find(|(store, _)| *store == name);
        let text = match (served, endpoint) {
            (Some((_, template)), Some((_, endpoint))) => fill_in_endpoint(template, endpoint),
            _ => template.to_owned(),
        };
        write_private(&catalog.join(format!("stores/{name}.toml")), &text)?;
    }
    VIEWS.iter().try_for_each(|(name, sql)| write_private(&catalog.join(format!("views/{name}.sql")), sql))
}

/// Writes `tributary.toml`.
///
/// # Errors
/// What the operating system answered.
pub(super) fn write_settings(catalog: &Path, port: u16, http_port: u16, password: &Secret) -> io::Result<()> {
    let (port, http_port, verifier) = (port.to_string(), http_port.to_string(), fresh_verifier(password));
    let values = [("PORT", port.as_str()), ("HTTP_PORT", &http_port), ("VERIFIER", &verifier)];
    let template = include_str!("../../../catalog/demo/tributary.toml");
    write_private(&catalog.join("tributary.toml"), &fill_in(template, &values))
}

/// Host, names and passwords of private servers consist of characters that mean nothing in TOML.
fn fill_in_endpoint(template: &str, endpoint: &Endpoint) -> String {
    let port = endpoint.port.to_string();
    let values = [
        ("HOST", endpoint.host.as_str()),
        ("PORT", &port),
        ("USER", &endpoint.user),
        ("PASSWORD", endpoint.password.expose()),
        ("DATABASE", &endpoint.database),
    ];
    fill_in(template, &values)
}

fn fill_in(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_others_stay() {
        assert_eq!(fill_in("@A@:@B@ @A@ @C", &[("A", "1"), ("B", "2")]), "1:2 1 @C");
    }

    #[test]
    fn every_template_is_filled_in_completely() {
        let endpoint =
            Endpoint { host: "127.0.0.1".into(), port: 1, user: "u".into(), password: Secret::new("p"), database: "d".into() };
        for (name, template) in SERVED {
            let text = fill_in_endpoint(template, &endpoint);
            assert!(!text.contains('@') && text.parse::<toml::Table>().is_ok(), "{name}: {text}");
        }
        let directory = tempfile::tempdir().unwrap();
        write_settings(directory.path(), 5455, 8455, &Secret::new("x")).unwrap();
        let text = std::fs::read_to_string(directory.path().join("tributary.toml")).unwrap();
        assert!(!text.contains('@') && text.parse::<toml::Table>().is_ok(), "{text}");
    }
}
