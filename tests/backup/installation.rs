//! The configuration of a server with both database providers, for the program `migrate`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rstudio_pm::backup::dry_run::{DryRunResult, dry_run};
use rstudio_pm::config::{self, Config, Provider};
use rstudio_pm::db::schema::Schema;
use rstudio_pm::db::transfer::occupancy;
use rstudio_pm::db::{Conn, Db, DbError};
use serde_json::Value;

use crate::support::postgres;
use crate::support::process::{ProcessOutput, run_to_end};

/// A directory with a configuration file, and PostgreSQL schemas.
pub(crate) struct Installation {
    pub(crate) dir: tempfile::TempDir,
    provider: Provider,
    /// The section `[Postgres]` of the configuration file.
    postgres: String,
}

pub(crate) fn other(provider: Provider) -> Provider {
    match provider {
        Provider::Sqlite => Provider::Postgres,
        Provider::Postgres => Provider::Sqlite,
    }
}

impl Installation {
    /// Returns an installation that uses a provider; the databases of both providers are blank.
    pub(crate) fn new(provider: Provider) -> Installation {
        let postgres = format!("[Postgres]\nURL = \"{}\"\n", postgres::server().schema());
        let installation =
            Installation { dir: tempfile::tempdir().expect("a directory"), provider, postgres };
        installation.set_provider(provider);
        installation
    }

    /// Returns an installation whose usage data is in a separate PostgreSQL schema.
    pub(crate) fn with_usage_url(provider: Provider) -> Installation {
        let mut installation = Installation::new(provider);
        installation.postgres += &format!("UsageDataURL = \"{}\"\n", postgres::server().schema());
        installation.set_provider(provider);
        installation
    }

    /// Returns an installation with generated releases and usage data.
    pub(crate) fn with_data(provider: Provider, releases: i64) -> Installation {
        let installation = Installation::new(provider);
        installation.fill(releases);
        installation
    }

    pub(crate) fn fill(&self, releases: i64) {
        self.write(Schema::Core, move |c| super::sample::fill(c, releases));
        self.write(Schema::Usage, |c| super::sample::fill_usage(c, 500));
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.path().join("rstudio-pm.gcfg")
    }

    /// Returns the configuration with the given provider.
    pub(crate) fn config(&self, provider: Provider) -> Arc<Config> {
        let text = self.text(provider);
        config::parse("test.gcfg", text.as_bytes(), []).unwrap_or_else(|e| panic!("{e}")).config
    }

    fn text(&self, provider: Provider) -> String {
        let word = if provider == Provider::Sqlite { "sqlite" } else { "postgres" };
        let base = Config::example_text(self.dir.path());
        format!("{base}[Database]\nProvider = {word}\nConnectionTimeout = 5s\n{}", self.postgres)
    }

    /// Writes the configuration file.
    pub(crate) fn set_provider(&self, provider: Provider) {
        std::fs::write(self.config_file(), self.text(provider)).expect("written");
    }

    /// Executes one write transaction in a database of the initial provider, opened as by a server.
    pub(crate) fn write(
        &self,
        schema: Schema,
        f: impl Fn(&mut dyn Conn) -> Result<(), DbError> + Send + 'static,
    ) {
        let config = self.config(self.provider);
        let db = match schema {
            Schema::Core => Db::open(&config),
            Schema::Usage => Db::open_usage(&config),
        };
        let db = db.unwrap_or_else(|e| panic!("{e}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(db.write(f)).unwrap_or_else(|e| panic!("{e}"));
        db.close();
    }

    /// Returns a command that executes `migrate` with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_migrate"));
        command.arg("--config").arg(self.config_file()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> ProcessOutput {
        run_to_end(&mut self.command(arguments))
    }

    /// Executes `migrate`, which must succeed; returns its JSON output.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["-o", "json"]].concat());
        assert_eq!((output.code, output.err.as_str()), (Some(0), ""), "{}", output.out);
        serde_json::from_str(&output.out).unwrap_or_else(|e| panic!("{e}: {}", output.out))
    }

    /// Executes `migrate`, which must fail; returns its error text.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        self.refused_by(env!("CARGO_BIN_EXE_migrate"), arguments)
    }

    /// Executes a program `migrate`, which must fail; returns its error text.
    pub(crate) fn refused_by(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        let output = run_to_end(command.arg("--config").arg(self.config_file()).args(arguments));
        assert_eq!((output.code, output.out.as_str()), (Some(1), ""), "{}", output.err);
        output.err.strip_prefix("Error: ").unwrap_or_else(|| panic!("{}", output.err)).trim_end().to_owned()
    }

    /// Returns the result of a dry run from the database of a provider.
    pub(crate) fn dry_run(&self, provider: Provider) -> DryRunResult {
        let config = self.config(provider);
        dry_run(&config, provider, other(provider), &|_| {}).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Removes both databases of a provider.
    pub(crate) fn clear(&self, provider: Provider) {
        self.clear_packages(provider);
        if provider == Provider::Sqlite {
            let file = self.config(provider).sqlite.dir.join(Schema::Usage.file());
            std::fs::remove_file(file).expect("removed");
        }
    }

    /// Removes the package database, which also contains the usage data unless that has its own schema.
    pub(crate) fn clear_packages(&self, provider: Provider) {
        let config = self.config(provider);
        match provider {
            Provider::Sqlite => {
                std::fs::remove_file(config.sqlite.dir.join(Schema::Core.file())).expect("removed");
            }
            Provider::Postgres => {
                let url = &config.postgres.url.as_ref().expect("a URL").0;
                let (_, schema) = url.rsplit_once('=').expect("the schema");
                postgres::server().sql(&format!("DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}"));
            }
        }
    }

    /// Returns a summary of the contents of both schemas in the database of a provider, `None` where it is blank.
    pub(crate) fn existing_objects(&self, provider: Provider) -> [Option<String>; 2] {
        let config = self.config(provider);
        [Schema::Core, Schema::Usage]
            .map(|schema| occupancy(&config, provider, schema).unwrap_or_else(|e| panic!("{e}")))
    }
}
