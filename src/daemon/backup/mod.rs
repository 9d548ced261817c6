//! The commands of `rspm backup` that need no running server.

mod report;

use std::io::{ErrorKind, IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use nix::sys::stat::{Mode, umask};

use super::{configuration, privileges, sockets};
use crate::api::backup::{LocalBackup, LocalCommand};
use crate::backup::error::BackupError;
use crate::backup::folder::Folder;
use crate::backup::manifest::{BackupTime, Manifest};
use crate::backup::migrate::Progress;
use crate::backup::prune::{Retention, prune};
use crate::backup::restore::{RestoreOptions, restore};
use crate::backup::trial_restore::trial_restore;
use crate::backup::verify::{Depth, verify, verify_chain};
use crate::config::{Config, ConfigError};
use report::Report;

/// An error of a command.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the command cannot be read: {0}; rspm and rstudio-pm may differ in version")]
    Request(#[from] serde_json::Error),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Privilege(#[from] privileges::PrivilegeError),
    #[error("give the folder of the backups with --from, or set Server.BackupPaths")]
    NoFolder,
    #[error("the server runs: it answers on {0}; stop it first: systemctl stop rstudio-pm")]
    Running(String),
    #[error("cannot find out whether the server runs: {path}: {source}; run the command as root")]
    Unknown { path: String, source: std::io::Error },
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("could not start the runtime: {0}")]
    Runtime(std::io::Error),
    #[error("{0}")]
    Output(std::io::Error),
}

/// Carries out a command.
pub(super) fn run(gcfg: &Path, request: &str) -> ExitCode {
    match execute(gcfg, request) {
        Ok(code) => code,
        // The reader of the output has closed the pipe.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            // A failed write to standard error cannot be reported.
            let _ = writeln!(anstream::stderr().lock(), "{red}Error:{red:#} {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(gcfg: &Path, request: &str) -> Result<ExitCode, Failure> {
    let LocalBackup { folder, json, command } = serde_json::from_str(request)?;
    umask(Mode::from_bits_truncate(0o077));
    let loaded = configuration::load(gcfg)?;
    let config = &*loaded.config;
    let plan = privileges::plan_for_data(gcfg, config)?;
    for warning in privileges::execute(plan, gcfg, config)? {
        eprintln!("Warning: {warning}");
    }
    let root = folder.or_else(|| config.server.backup_paths.first().cloned()).ok_or(Failure::NoFolder)?;
    let folder = Folder::open(&root)?;
    let display = Display::new(json);
    let report = execute_command(config, &folder, command, &display)?;
    display.clear();
    let mut stdout = std::io::stdout().lock();
    let text = if json { format!("{:#}\n", report.json) } else { report.text };
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Output)?;
    Ok(if report.is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn execute_command(
    config: &Config,
    folder: &Folder,
    command: LocalCommand,
    display: &Display,
) -> Result<Report, Failure> {
    let find = |at: Option<String>| -> Result<Manifest, BackupError> {
        let at = at.map(|text| text.parse::<BackupTime>()).transpose()?;
        Manifest::find(folder, at.as_ref())
    };
    let step = |text: &str| display.show(text);
    match command {
        LocalCommand::List => Ok(report::list(folder)?),
        LocalCommand::Verify { at, subset, full } => {
            let _lock = folder.lock_shared()?;
            let start = Instant::now();
            let depth = match subset {
                Some((number, count)) => Depth::Subset { number, count },
                None if full => Depth::Full,
                None => Depth::Sizes,
            };
            let chain = verify_chain(folder)?;
            let manifest = find(at)?;
            let verification = verify(folder, &manifest, depth, &step);
            Ok(report::verify(&manifest, chain, &verification, start.elapsed()))
        }
        LocalCommand::Test { at } => {
            let _lock = folder.lock_shared()?;
            let manifest = find(at)?;
            let progress = |progress: Progress| display.show(&progress.to_string());
            let result = trial_restore(config, folder, &manifest, &config.server.temp_dir, &progress)?;
            Ok(report::test(&manifest, &result))
        }
        LocalCommand::Restore { at, allow_missing, force } => {
            refuse_running(config)?;
            let _lock = folder.lock_shared()?;
            let manifest = find(at)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = runtime.map_err(Failure::Runtime)?;
            let options = RestoreOptions { allow_missing, force };
            let result = restore(config, folder, &manifest, &options, runtime.handle(), &step)?;
            Ok(report::restore(&manifest, &result))
        }
        LocalCommand::Prune { daily, weekly, monthly, dry_run } => {
            let _lock = folder.lock()?;
            let result = prune(folder, Retention { daily, weekly, monthly }, dry_run)?;
            Ok(report::prune(&result, dry_run))
        }
    }
}

fn refuse_running(config: &Config) -> Result<(), Failure> {
    match sockets::answering_server(config) {
        Ok(None) => Ok(()),
        Ok(Some(path)) => Err(Failure::Running(path.display().to_string())),
        Err((path, source)) => Err(Failure::Unknown { path: path.display().to_string(), source }),
    }
}

/// The current step on a terminal.
struct Display(Option<indicatif::ProgressBar>);

impl Display {
    fn new(json: bool) -> Display {
        let is_shown = !json && std::io::stderr().is_terminal();
        Display(is_shown.then(|| {
            let bar = indicatif::ProgressBar::new_spinner();
            bar.enable_steady_tick(std::time::Duration::from_millis(100));
            bar
        }))
    }

    fn show(&self, step: &str) {
        self.0.iter().for_each(|bar| bar.set_message(step.to_owned()));
    }

    fn clear(&self) {
        self.0.iter().for_each(indicatif::ProgressBar::finish_and_clear);
    }
}
