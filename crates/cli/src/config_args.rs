//! Grammar of `rspm config`.

use clap::Subcommand;

use super::debug_log::DebugCommand;
use api::control::LogLevel;

/// `rspm config …`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Set the level of the server log
    Log(LogLevel),
    /// Write debug events of single regions to the server log
    #[command(subcommand)]
    Debug(DebugCommand),
}
