//! The commands of `rspm backup` that need no running server; `rspm backup` executes `rstudio-pm` for them.

mod report;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, umask};
use tokio::runtime::Handle;

use super::local_command::{self, RunningServerError, Spinner};
use super::{configuration, privileges, sockets};
use api::ADMIN_PREFIX;
use api::backup::{LocalBackup, LocalCommand, RecordBackupTest, RecordedBackupTest};
use base::config::{BackupPlace, Config, ConfigError};
use base::model::errors::error_chain;
use base::model::time::Timestamp;
use report::{Report, Verdict};
use tasks::backup::destination::refuse_data;
use tasks::backup::error::BackupError;
use tasks::backup::folder::{Folder, LockWait};
use tasks::backup::manifest::{BackupTime, Manifest};
use tasks::backup::migrate::Progress;
use tasks::backup::prune::{PruneOptions, Retention, prune};
use tasks::backup::restore::{RestoreOptions, restore, trial_restore};
use tasks::backup::verify::{Depth, verify, verify_chain};

/// Exit code for a backup that lacks files because storage lacked them; `rspm backup create` has the same code.
const INCOMPLETE: u8 = 4;

#[derive(Debug, thiserror::Error)]
enum BackupCommandError {
    #[error(
        "could not parse the command that rspm passed: {0}; install rspm and rstudio-pm of the same version"
    )]
    Request(#[from] serde_json::Error),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Privilege(#[from] privileges::PrivilegeError),
    #[error("give the folder of the backups with --from, or set Server.BackupPaths")]
    NoFolder,
    #[error("{folder}: {reason}")]
    Folder { folder: String, reason: String },
    #[error(transparent)]
    Running(#[from] RunningServerError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("could not start the runtime: {0}")]
    Runtime(std::io::Error),
    #[error("{0}")]
    Output(std::io::Error),
}

pub(super) fn run(gcfg: &Path, request: &str) -> ExitCode {
    local_command::exit_code(execute(gcfg, request))
}

fn execute(gcfg: &Path, request: &str) -> Result<ExitCode, BackupCommandError> {
    let LocalBackup { folder, json, lock_timeout, command } = serde_json::from_str(request)?;
    let lock_timeout = Duration::from_secs(lock_timeout);
    umask(Mode::from_bits_truncate(0o077));
    let loaded = match command {
        // They leave the secrets of the configuration encrypted: their user may be unable to read the key.
        LocalCommand::List
        | LocalCommand::Verify { .. }
        | LocalCommand::Test { .. }
        | LocalCommand::Prune { .. } => configuration::load_encrypted(gcfg)?,
        LocalCommand::Restore { .. } => configuration::load(gcfg)?,
    };
    let config = &*loaded.config;
    let plan = privileges::plan_for_data(gcfg, config)?;
    for warning in privileges::execute(plan, gcfg, config)? {
        local_command::note(format!("Warning: {warning}"));
    }
    let place = match folder {
        Some(folder) => folder.parse().map_err(|reason| BackupCommandError::Folder { folder, reason })?,
        None => config.server.backup_paths.first().cloned().ok_or(BackupCommandError::NoFolder)?,
    };
    if matches!(command, LocalCommand::Prune { .. }) {
        refuse_data(config, &place)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(BackupCommandError::Runtime)?;
    let folder = Folder::open(&place, config, runtime.handle())?;
    let spinner = Spinner::new(!json);
    // Only the result of a test of the newest backup is recorded.
    let is_test = matches!(command, LocalCommand::Test { at: None });
    let wait = LockWait::of(&place, lock_timeout);
    let result = execute_command(config, &folder, command, wait, runtime.handle(), &spinner);
    if is_test && !matches!(result, Err(BackupCommandError::Backup(BackupError::InUse(_)))) {
        let error = result.as_ref().err().map(ToString::to_string);
        send_test_result(config, &place, error, runtime.handle());
    }
    let report = result?;
    spinner.clear();
    match json {
        true => local_command::print_json(&format!("{:#}\n", report.json)),
        false => local_command::print(&report.text),
    }
    .map_err(BackupCommandError::Output)?;
    Ok(match report.verdict {
        Verdict::Success => ExitCode::SUCCESS,
        Verdict::Failure => ExitCode::FAILURE,
        Verdict::Incomplete => ExitCode::from(INCOMPLETE),
    })
}

fn execute_command(
    config: &Config,
    folder: &Folder,
    command: LocalCommand,
    wait: LockWait,
    runtime: &Handle,
    spinner: &Spinner,
) -> Result<Report, BackupCommandError> {
    let now = Timestamp(jiff::Timestamp::now().as_microsecond());
    let find = |at: Option<String>| -> Result<Manifest, BackupError> {
        let at = at.map(|text| text.parse::<BackupTime>()).transpose()?;
        Manifest::find(folder, at.as_ref(), now)
    };
    let step = |text: &str| spinner.show(text);
    match command {
        LocalCommand::List => Ok(report::list(folder)?),
        LocalCommand::Verify { at, subset, full } => {
            let _lock = wait.until(|| false, || folder.lock_shared())?;
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
            let _lock = wait.until(|| false, || folder.lock_shared())?;
            let manifest = find(at)?;
            let progress = |progress: Progress| spinner.show(progress);
            let result = trial_restore(config, folder, &manifest, &config.server.temp_dir, &progress)?;
            Ok(report::test(&manifest, &result))
        }
        LocalCommand::Restore { at, allow_missing, force } => {
            local_command::refuse_running(config)?;
            let _lock = wait.until(|| false, || folder.lock_shared())?;
            let manifest = find(at)?;
            let options = RestoreOptions { allow_missing, force };
            let result = restore(config, folder, &manifest, &options, runtime, &step)?;
            Ok(report::restore(&manifest, &result))
        }
        LocalCommand::Prune { daily, weekly, monthly, allow_missing, dry_run } => {
            let lock = wait.until(|| false, || folder.lock())?;
            let retention = Retention { daily, weekly, monthly };
            let options = PruneOptions { retention, allow_missing, dry_run };
            let result = prune(folder, &lock, options, now)?;
            Ok(report::prune(&result, dry_run))
        }
    }
}

const RECORD_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends the result of a test of a backup to the running server, and writes a note to standard error if it was not
/// recorded. Nothing is recorded if no server runs, or if the server has made no backup in the folder.
fn send_test_result(config: &Config, place: &BackupPlace, error: Option<String>, runtime: &Handle) {
    let socket = match sockets::answering_server(config) {
        Ok(Some(socket)) => socket,
        Ok(None) => return,
        Err((path, error)) => return note_not_recorded(&format!("{}: {error}", path.display())),
    };
    // The server records the path of the folder without symbolic links.
    let place = match place.directory().and_then(|path| path.canonicalize().ok()) {
        Some(path) => path.display().to_string(),
        None => place.to_string(),
    };
    let request = RecordBackupTest { place, error };
    let exchange = exchange(&socket, &request);
    match runtime.block_on(async { tokio::time::timeout(RECORD_TIMEOUT, exchange).await }) {
        Ok(Ok(RecordedBackupTest { .. })) => {}
        Ok(Err(reason)) => note_not_recorded(&reason),
        Err(_) => note_not_recorded(&format!("no answer in {} s", RECORD_TIMEOUT.as_secs())),
    }
}

fn note_not_recorded(reason: &str) {
    local_command::note(format!(
        "Note: the server did not record the result of the test, so rspm status does not show it: {reason}"
    ));
}

async fn exchange(socket: &Path, request: &RecordBackupTest) -> Result<RecordedBackupTest, String> {
    let reason = |error: reqwest::Error| error_chain(&error.without_url());
    let body = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    store::storage::install_tls_provider();
    // Nothing is encrypted on the socket: without this, the certificates of the system would be read.
    let builder =
        reqwest::Client::builder().unix_socket(socket).no_proxy().tls_danger_accept_invalid_certs(true);
    let client = builder.build().map_err(reason)?;
    let request = client
        .post(format!("http://localhost{ADMIN_PREFIX}/backups/tests"))
        .header("content-type", "application/json")
        .body(body);
    let response = request.send().await.map_err(reason)?;
    let status = response.status();
    let body = response.bytes().await.map_err(reason)?;
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
    }
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}
