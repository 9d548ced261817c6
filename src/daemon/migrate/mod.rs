//! The program `migrate`, which copies the database to the other provider; `rspm migrate` executes it.

mod report;

use std::fs::metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, access};

use super::local_command::{self, RunningServerError, Spinner};
use super::node::user_name;
use super::{configuration, privileges};
use base::config::{ConfigError, DEFAULT_FILE, Provider};
use report::Direction;
use store::db::DbError;
use tasks::backup::dry_run::dry_run;
use tasks::backup::migrate::{MigrateError, migrate};

#[derive(Debug, thiserror::Error)]
enum MigrationFailure {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Privilege(#[from] privileges::PrivilegeError),
    #[error(transparent)]
    RunningServer(#[from] RunningServerError),
    #[error(
        "user {user} cannot read and write {path}; run migrate as root or as the server's user: sudo -u {owner} migrate"
    )]
    Access { user: String, path: String, owner: String },
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error("{0}")]
    Output(std::io::Error),
}

impl From<DbError> for MigrationFailure {
    fn from(error: DbError) -> MigrationFailure {
        MigrationFailure::Migrate(error.into())
    }
}

pub fn main() -> ExitCode {
    local_command::exit_code(run(&MigrateArgs::parse()))
}

fn run(args: &MigrateArgs) -> Result<ExitCode, MigrationFailure> {
    umask(Mode::from_bits_truncate(0o077));
    let loaded = configuration::load(&args.config)?;
    let config = &*loaded.config;
    let plan = privileges::plan_for_data(&args.config, config)?;
    for warning in privileges::execute(plan, &args.config, config)? {
        local_command::note(format!("Warning: {warning}"));
    }
    local_command::refuse_running(config)?;
    let other_provider = match config.database.provider {
        Provider::Sqlite => Provider::Postgres,
        Provider::Postgres => Provider::Sqlite,
    };
    let target = args.to.map_or(other_provider, ProviderName::provider);
    let source = if target == Provider::Sqlite { Provider::Postgres } else { Provider::Sqlite };
    refuse_inaccessible(&config.sqlite.dir)?;
    let direction = Direction::new(config, source, target, &args.config);
    let spinner = Spinner::new(args.output_format == OutputFormat::Human);
    let (text, code) = if args.dry_run {
        let result = dry_run(config, source, target, &|step| spinner.show(step))?;
        let code = if result.is_possible() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        (report::dry_run(&direction, &result, args.output_format), code)
    } else {
        let result = migrate(config, source, target, &|step| spinner.show(step))?;
        (report::migration(&direction, &result, args.output_format), ExitCode::SUCCESS)
    };
    spinner.clear();
    match args.output_format {
        OutputFormat::Human => local_command::print(&text),
        OutputFormat::Json => local_command::print_json(&text),
    }
    .map_err(MigrationFailure::Output)?;
    Ok(code)
}

/// Refuses a user without access to the directory of SQLite, before any other error suggests another owner.
fn refuse_inaccessible(dir: &Path) -> Result<(), MigrationFailure> {
    use std::os::unix::fs::MetadataExt;
    let existing_path = dir.ancestors().find(|part| match metadata(part) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    });
    let Some(path) = existing_path else { return Ok(()) };
    let is_usable = access(path, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
    if is_usable || path != dir && metadata(path).is_ok() {
        return Ok(());
    }
    let readable_metadata = path.ancestors().find_map(|part| metadata(part).ok());
    let owner = readable_metadata.map(|metadata| nix::unistd::Uid::from_raw(metadata.uid()));
    let owner = owner.and_then(|uid| nix::unistd::User::from_uid(uid).ok().flatten());
    Err(MigrationFailure::Access {
        user: user_name(),
        path: path.display().to_string(),
        owner: owner.map_or_else(|| "rstudio-pm".to_owned(), |user| user.name),
    })
}

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
pub struct MigrateArgs {
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
