//! The arguments of `rstudio-pm`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::handover::TakeOver;
use crate::config::DEFAULT_FILE;

/// Serves R package repositories.
#[derive(Debug, Parser)]
#[command(name = "rstudio-pm", version, about, long_about = None)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,
    /// Become this user once the ports are bound; only root can. Without it root becomes the owner of the
    /// configuration file, unless systemd started it
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Check the configuration, say what is wrong, and end: nothing is created and nothing is started
    #[arg(long)]
    pub check_config: bool,
    /// How --check-config prints its findings
    #[arg(long, value_enum, default_value_t = Format::Human, value_name = "FORMAT", requires = "check_config")]
    pub output_format: Format,
    /// Print the commands that remove what the configuration has put outside the default places
    #[arg(long, hide = true, conflicts_with = "check_config")]
    pub places: bool,
    /// Takes over from a running server, which starts it so
    #[arg(long, value_enum, hide = true, value_name = "STEP")]
    pub take_over: Option<TakeOver>,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines that begin with [PASS], [FAIL] or [INFO].
    Human,
    /// One JSON object.
    Json,
}
