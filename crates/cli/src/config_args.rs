//! Grammar of `rspm config`.

use clap::{Args, Subcommand};

use super::debug_log::DebugCommand;
use api::suggested_values::SuggestedValues;

/// `rspm config …`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Set the level of the server log
    Log(ConfigLog),
    /// Write debug events of single regions to the server log
    #[command(subcommand)]
    Debug(DebugCommand),
}

/// Flags of `config log`.
#[derive(Debug, Args)]
pub struct ConfigLog {
    /// Lowest severity that is logged; case-insensitive
    #[arg(long, value_parser = SuggestedValues(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]))]
    pub level: String,
}
