//! What a run has shown: tables for people, JSON for programs, a chart for pages.

mod chart;
mod summary;
mod tables;

use std::fs;
use std::path::Path;

use serde::Serialize;

pub(super) use summary::Summary;

use super::measure::QueryResult;
use crate::command::CommandError;

/// Everything about a run, in the form of the JSON file.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The command that made it.
    pub(super) command: String,
    /// The day it was made.
    pub(super) made: String,
    pub(super) version: &'static str,
    pub(super) processors: usize,
    pub(super) placement: String,
    pub(super) placement_title: String,
    pub(super) scale: f64,
    pub(super) repeat: usize,
    pub(super) limit_ms: u128,
    pub(super) latency_ms: f64,
    pub(super) indexes: String,
    pub(super) reference: &'static str,
    pub(super) queries: Vec<QueryResult>,
    pub(super) summary: Summary,
}

impl Report {
    /// Writes the tables.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn print(&self, output: &mut dyn std::io::Write) -> std::io::Result<()> {
        tables::print(self, output)
    }

    /// Writes the JSON file.
    ///
    /// # Errors
    /// What the operating system answered.
    pub(super) fn write_json(&self, path: &Path) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(self).map_err(|error| CommandError::Refused(error.to_string()))?;
        Ok(fs::write(path, text + "\n")?)
    }

    /// Writes the chart.
    ///
    /// # Errors
    /// What the operating system answered.
    pub(super) fn write_chart(&self, path: &Path) -> Result<(), CommandError> {
        Ok(fs::write(path, chart::draw(self))?)
    }
}
