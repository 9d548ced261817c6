//! Command-line arguments of `migrate`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use base::config::{DEFAULT_FILE, Provider};

/// Copies the database of a stopped server from SQLite to PostgreSQL, or from PostgreSQL to SQLite.
#[derive(Debug, Parser)]
#[command(
    name = "migrate",
    version,
    long_about = None,
    after_help = "Stop the server first. The configuration names both databases: [SQLite] and [Postgres]. The \
                  source database is not changed; the other one must be blank, and stays blank after an error.\n\
                  Exit codes: 0 done, 1 refused or failed, 2 wrong usage."
)]
pub struct Args {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,
    /// The database to fill [default: the one that Database.Provider does not name]
    #[arg(long, value_enum, value_name = "PROVIDER")]
    pub to: Option<ProviderName>,
    /// Report sizes and problems without writing
    #[arg(long)]
    pub dry_run: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Human, value_name = "FORMAT")]
    pub output_format: OutputFormat,
}

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A table and sentences
    Human,
    /// One JSON object
    Json,
}

/// A provider, as `Database.Provider` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProviderName {
    /// SQLite.Dir
    Sqlite,
    /// Postgres.URL
    Postgres,
}

impl ProviderName {
    pub fn provider(self) -> Provider {
        match self {
            ProviderName::Sqlite => Provider::Sqlite,
            ProviderName::Postgres => Provider::Postgres,
        }
    }
}
