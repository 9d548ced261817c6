//! Grammar of the commands for binaries of R packages.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `rspm add …`
#[derive(Debug, Subcommand)]
pub enum AddKind {
    /// Add binaries of source packages that the local source has
    Binary(AddBinary),
}

/// Flags of `add binary`. R version and architecture are read from the files.
#[derive(Debug, Args)]
pub struct AddBinary {
    /// The local source
    #[arg(long)]
    pub source: String,
    /// Binary package files, comma separated or repeated
    #[arg(long, value_delimiter = ',', required_unless_present = "file_in", value_name = "FILE")]
    pub path: Vec<PathBuf>,
    /// Instead of --path: a file that names binary package files, one on each line
    #[arg(long, conflicts_with = "path", value_name = "LIST")]
    pub file_in: Option<PathBuf>,
    /// The distribution of the binaries; `rspm list distributions` shows the names
    #[arg(long, value_name = "NAME")]
    pub distribution: String,
    /// Replace binaries that exist
    #[arg(long, conflicts_with = "succeed_on_existing")]
    pub replace: bool,
    /// Leave existing binaries unchanged and succeed
    #[arg(long)]
    pub succeed_on_existing: bool,
}

/// Flags of `list binaries`.
#[derive(Debug, Args)]
pub struct ListBinaries {
    /// The source
    #[arg(long)]
    pub source: String,
    /// The package
    #[arg(long)]
    pub name: String,
}

/// Flags of `remove binary`.
#[derive(Debug, Args)]
pub struct RemoveBinary {
    /// The local source
    #[arg(long)]
    pub source: String,
    /// The package
    #[arg(long)]
    pub name: String,
    /// The version of the package
    #[arg(long)]
    pub version: String,
    /// The platform as `rspm list binaries` shows it: 4.5-noble, 4.5-noble-arm64, 4.5-win
    #[arg(long)]
    pub platform: String,
    /// The reason, stored with the transaction
    #[arg(long, default_value = "", hide_default_value = true)]
    pub comment: String,
}
