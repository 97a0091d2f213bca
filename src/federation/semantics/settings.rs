//! Session settings that decide values: time zone, display styles, the start of the transaction.

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result};

use crate::format::DisplaySettings;

/// What functions and casts read of the session. Put it into `ConfigOptions::extensions` before planning a statement.
#[derive(Debug, Clone, Default)]
pub struct SessionValues {
    /// Time zone and text styles.
    pub display: DisplaySettings,
    /// Microseconds since 1970-01-01 UTC at which the transaction began: the value of `now()`.
    pub transaction_start_us: Option<i64>,
    /// The same for the statement.
    pub statement_start_us: Option<i64>,
    /// Whether what is computed now serves statements that begin later, so that no time may be asked for.
    pub is_timeless: bool,
}

impl SessionValues {
    /// The values of a session, or defaults when none were set.
    pub fn of(config: &ConfigOptions) -> Self {
        config.extensions.get::<Self>().cloned().unwrap_or_default()
    }
}

impl ConfigExtension for SessionValues {
    const PREFIX: &'static str = "tributary_session";
}

impl ExtensionOptions for SessionValues {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        Err(DataFusionError::Configuration(format!("{key} is set through the session's own settings")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
