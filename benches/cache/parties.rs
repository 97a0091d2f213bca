//! Who pgbench asks: PostgreSQL itself, and Tributary with copies of its tables.

use tributary::sandbox::Endpoint;

/// One that can be asked.
#[derive(Debug, Clone)]
pub struct Party {
    pub name: &'static str,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
}

impl Party {
    /// The server behind an endpoint.
    pub fn at(name: &'static str, endpoint: &Endpoint) -> Self {
        Self {
            name,
            port: endpoint.port(),
            user: endpoint.user().to_owned(),
            password: endpoint.password().to_owned(),
            database: endpoint.database().to_owned(),
        }
    }
}
