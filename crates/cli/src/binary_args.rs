//! Grammar of the commands for binaries of R packages.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use api::binary;

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
    /// The request.
    #[command(flatten)]
    pub request: binary::AddBinaries,
}

#[derive(Debug, Args)]
pub struct ListBinaries {
    /// The source
    #[arg(long)]
    pub source: String,
    /// The package
    #[arg(long)]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct RemoveBinary {
    /// The local source
    #[arg(long)]
    pub source: String,
    /// The request.
    #[command(flatten)]
    pub request: binary::RemoveBinary,
}
