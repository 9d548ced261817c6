//! Command-line arguments of `rstudio-pm`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::handover::TakeOver;
use base::config::DEFAULT_FILE;

/// Serves package repositories for R, Bioconductor and Python.
#[derive(Debug, Parser)]
#[command(name = "rstudio-pm", version, long_about = None)]
pub struct ServerArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,
    /// User to switch to after binding the ports [root only; default: the owner of the configuration file, unless
    /// started by systemd]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Check the configuration and exit without creating or starting anything
    #[arg(long)]
    pub check_config: bool,
    /// Output format of --check-config
    #[arg(long, value_enum, default_value_t = Format::Human, value_name = "FORMAT", requires = "check_config")]
    pub output_format: Format,
    /// Print the commands that remove data stored outside the default directories
    #[arg(long, hide = true, conflicts_with = "check_config")]
    pub removal_commands: bool,
    /// Create the encryption key (for `rspm encrypt`)
    #[arg(long, hide = true)]
    pub create_key: bool,
    /// Replace the encryption key by the one in a file (for `rspm encrypt rotate`)
    #[arg(long, hide = true, value_name = "FILE")]
    pub rotate_key: Option<PathBuf>,
    /// Delete encrypted values instead of re-encrypting them
    #[arg(long, hide = true, requires = "rotate_key")]
    pub key_lost: bool,
    /// Run a backup command (for `rspm backup`)
    #[arg(long, hide = true, value_name = "JSON")]
    pub backup: Option<String>,
    /// Convert Markdown from standard input to HTML (internal)
    #[arg(long, hide = true)]
    pub convert_markdown: bool,
    /// Take over from a running server (internal)
    #[arg(long, value_enum, hide = true, value_name = "STEP")]
    pub take_over: Option<TakeOver>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines that start with [PASS], [FAIL] or [INFO].
    Human,
    /// One JSON object.
    Json,
}
