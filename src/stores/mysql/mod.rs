//! The mysql connector.

use std::sync::Arc;

use super::connector::{Connector, Kind, StoreName};
use crate::options::{OptionSpec, Problem, Secrets};

/// The registration of this kind in `stores::KINDS`.
pub const KIND: Registration = Registration;

/// Parses store files of this kind.
#[derive(Debug)]
pub struct Registration;

impl Kind for Registration {
    fn words(&self) -> &'static [&'static str] {
        &["mysql", "mariadb"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn parse(
        &self,
        _name: &StoreName,
        path: &str,
        _table: &toml::Table,
        _secrets: &dyn Secrets,
    ) -> Result<Arc<dyn Connector>, Vec<Problem>> {
        Err(vec![Problem { path: path.to_owned(), value: String::new(), rule: "this kind is not built yet".to_owned() }])
    }
}
