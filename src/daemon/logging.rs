//! The daemon's logs: created before the configuration is read, configured by starts and reloads, reopened on rotation.

use std::backtrace::BacktraceStatus;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Zoned;
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::handover::Predecessors;

use base::config::{Config, DebugRegion, LogLevel};
use runtime::control::{self, LogControl as _};
use store::logs::rotation::plan::Scheme;
use store::logs::rotation::{LogFile, Rotation};
use store::logs::{
    AccessLog, AccessLogSettings, OptionalLog, ReplacedFile, ServerLog, ServerLogSettings, ServiceLog, Sink,
    SinkError, rotation,
};

/// All logs of the process; cloning shares them, so that a reload reaches every clone.
#[derive(Clone)]
pub(super) struct Logs {
    /// `None` only if another log is installed already, as in tests of a whole process.
    server: Option<ServerLog>,
    /// `Server.AccessLog`.
    pub(super) access: AccessLog,
    /// `Server.ServiceLog`.
    pub(super) service: ServiceLog,
    /// `Logging.AuditLog`.
    pub(super) audit: OptionalLog,
    /// Older processes that still write to the files.
    pub(super) predecessors: Predecessors,
    /// Notified of each change of the set of files.
    change: Arc<Notify>,
    /// Held while the files are reopened: a second call waits for the first.
    reopen_lock: Arc<Mutex<()>>,
}

/// Timeout for other processes to close a rotated file.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Opened files and settings, ready for [`Logs::switch`]. `None` leaves a log unchanged.
pub(super) struct LogSettings {
    server: Option<ServerLogSettings>,
    access: Option<AccessLogSettings>,
    /// `Some(None)` turns the service log off.
    service: Option<Option<Sink>>,
    /// `Some(None)` turns the file of the audit trail off.
    audit: Option<Option<Sink>>,
    /// Errors of files that cannot be opened; a start continues without them, a reload is refused.
    pub(super) errors: Vec<SinkError>,
}

impl Logs {
    /// Installs the server log on standard error, and a panic hook that writes to it and ends the process.
    pub(super) fn install() -> Logs {
        let server = ServerLog::install().ok();
        let log = server.clone();
        let default_hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_visible = log.as_ref().is_some_and(ServerLog::reaches_stderr);
            let trace = std::backtrace::Backtrace::capture();
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or("?");
            match trace.status() {
                BacktraceStatus::Captured => tracing::error!(thread, "{panic}\n{trace}"),
                _ => tracing::error!(thread, "{panic}"),
            }
            log.iter().for_each(ServerLog::flush);
            if !is_visible {
                default_hook(panic);
            }
            // As in the release profile, so that a test does not pass although a task of the daemon panicked.
            std::process::abort();
        }));
        Logs {
            server,
            access: AccessLog::disabled(),
            service: ServiceLog::default(),
            audit: OptionalLog::default(),
            predecessors: Predecessors::default(),
            change: Arc::default(),
            reopen_lock: Arc::default(),
        }
    }

    /// Writes an error to the files of the server log, but not to standard error, where the caller prints it.
    pub(super) fn log_to_files(&self, error: &str) {
        if let Some(log) = &self.server {
            log.log_to_files(error);
        }
    }

    /// Opens the logs of a configuration without using them yet. Blocks on disk I/O.
    pub(super) fn prepare(&self, config: &Config) -> LogSettings {
        let mut errors = Vec::new();
        let mut keep_error = |error| errors.push(error);
        let server = self.server.as_ref().map(|log| {
            let (settings, log_errors) = log.prepare(&config.logging);
            log_errors.into_iter().for_each(&mut keep_error);
            settings
        });
        let server_config = &config.server;
        let access = self.access.prepare(&server_config.access_log, server_config.access_log_format);
        let access = access.map_err(&mut keep_error).ok();
        let service =
            self.service.prepare(server_config.service_log.as_deref()).map_err(&mut keep_error).ok();
        let audit = self.audit.prepare(config.logging.audit_log.as_deref()).map_err(&mut keep_error).ok();
        LogSettings { server, access, service, audit, errors }
    }

    /// Switches to the destinations, formats and level; no line is lost.
    pub(super) fn switch(&self, settings: LogSettings) {
        if let Some((log, settings)) = self.server.as_ref().zip(settings.server) {
            log.switch(settings);
        }
        if let Some(settings) = settings.access {
            self.access.switch(settings);
        }
        if let Some(settings) = settings.service {
            self.service.switch(settings);
        }
        if let Some(settings) = settings.audit {
            self.audit.switch(settings);
        }
        self.change.notify_one();
    }

    pub(super) async fn wait_change(&self) {
        self.change.notified().await;
    }

    /// The log files, with the rotation scheme of each.
    pub(super) fn files(&self) -> Vec<LogFile> {
        let file = |scheme: Scheme| move |sink: Sink| LogFile { path: sink.path().to_owned(), scheme };
        let server = self.server.iter().flat_map(ServerLog::sinks).map(file(Scheme::AllButNewest));
        let access = self.access.sink().map(file(Scheme::All));
        let others = self.service.sink().into_iter().chain(self.audit.sink());
        server.chain(access).chain(others.map(file(Scheme::AllButNewest))).collect()
    }

    /// Applies the configuration at start. A file that cannot be opened is reported and left out.
    pub(super) fn configure(&self, config: &Config) {
        let mut settings = self.prepare(config);
        let errors = std::mem::take(&mut settings.errors);
        self.switch(settings);
        for error in errors {
            tracing::error!(target: "logs", "{error}; logging continues without this file");
        }
    }

    fn sinks(&self) -> Vec<Sink> {
        let server = self.server.iter().flat_map(ServerLog::sinks);
        server.chain(self.access.sink()).chain(self.service.sink()).chain(self.audit.sink()).collect()
    }

    pub(super) fn flush(&self) {
        self.sinks().iter().for_each(Sink::flush);
    }
}

impl control::LogControl for Logs {
    fn reopen(&self) -> Result<Vec<PathBuf>, String> {
        let _guard = self.reopen_lock.lock();
        let (mut files, mut errors, mut replaced_files) = (Vec::new(), Vec::new(), Vec::new());
        for sink in self.sinks() {
            match sink.reopen() {
                Ok(old) => replaced_files.push(old),
                Err(error) => errors.push(error.to_string()),
            }
            files.push(sink.path().to_owned());
        }
        let pids = self.predecessors.signal(Signal::SIGUSR1);
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while !replaced_files.iter().all(ReplacedFile::is_unused) {
            if Instant::now() > deadline {
                errors.push(format!(
                    "another process still writes to a rotated log file (signalled processes: {pids:?}); reopen the log files \
                     again before it is compressed or deleted"
                ));
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if errors.is_empty() { Ok(files) } else { Err(errors.join("; ")) }
    }

    fn set_level(&self, level: &str) -> Result<String, String> {
        let parsed = level.parse::<LogLevel>()?;
        self.server.iter().for_each(|log| log.set_level(parsed));
        Ok(parsed.to_string())
    }

    fn set_regions(&self, regions: &[DebugRegion], is_active: bool) {
        self.server.iter().for_each(|log| log.set_regions(regions, is_active));
    }

    fn regions(&self) -> BTreeSet<DebugRegion> {
        self.server.as_ref().map(ServerLog::regions).unwrap_or_default()
    }
}

/// Rotates the log files that logrotate does not rotate, while this process is the main one: at the start, at
/// midnight, after changes of the configuration, and at least hourly, because the clock may be changed.
pub(super) async fn rotate(logs: Logs) {
    let mut rotation = Rotation::new(Path::new("/"));
    loop {
        let shared_logs = logs.clone();
        let result = tokio::task::spawn_blocking(move || {
            rotation.run(&shared_logs.files(), &Zoned::now(), &|| shared_logs.reopen().map(drop));
            rotation
        });
        rotation = match result.await {
            Ok(rotation) => rotation,
            Err(error) => return tracing::error!("log rotation stopped: {error}"),
        };
        tokio::select! {
            () = tokio::time::sleep(rotation::time_until_check(&Zoned::now())) => {}
            () = logs.wait_change() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Runs in its own process: the log and the panic hook are global.
    #[test]
    fn a_panic_is_logged_once_on_standard_error_and_once_in_the_file() {
        const FILE: &str = "RSPM_TEST_PANIC_LOG";
        let Some(file) = std::env::var_os(FILE) else {
            let dir = tempfile::tempdir().expect("a directory");
            for system_log in ["STDERR", "STDOUT", ""] {
                let file = dir.path().join(format!("{system_log}.log"));
                let mut command = Command::new("/proc/self/exe");
                let test = std::thread::current().name().unwrap_or_default().to_owned();
                command.args(["--exact", &test, "--nocapture", "--test-threads=1"]);
                command.env(FILE, &file).env("RSPM_TEST_PANIC_STREAM", system_log).env("RUST_BACKTRACE", "0");
                let output = command.output().expect("it runs");
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert_eq!(stderr.matches("test panic").count(), 1, "{system_log}: {stderr}");
                let log = std::fs::read_to_string(&file).expect("a log");
                assert_eq!(log.lines().filter(|line| line.contains("test panic")).count(), 1, "{log}");
                assert!(log.contains(" INFO before the configuration"), "{log}");
            }
            return;
        };
        let logs = Logs::install();
        tracing::info!("before the configuration");
        let stream = std::env::var("RSPM_TEST_PANIC_STREAM").expect("set");
        let stream = if stream.is_empty() { stream } else { format!("SystemLog = {stream}\n") };
        let gcfg = format!("[Logging]\n{stream}SystemLog = {}\n", file.display());
        let config = base::config::parse("test.gcfg", gcfg.as_bytes(), []).expect("good").config;
        let settings = logs.prepare(&config);
        logs.switch(settings);
        let _ = std::thread::Builder::new()
            .name("worker".to_owned())
            .spawn(|| panic!("test panic"))
            .map(|t| t.join());
        logs.flush();
    }
}
