//! The daemon's logs: made before there is a configuration, configured at start and by reloads, reopened after
//! rotations.

use crate::config::{Config, LogLevel};
use crate::control;
use crate::logs::{Access, NextAccess, NextLog, ServerLog, ServiceLog, Sink, SinkError};

/// All logs of the process; cloning shares them, so that a reload reaches every clone.
#[derive(Clone)]
pub(super) struct Logs {
    /// `None` only when another log was installed before, as tests of a whole process may.
    server: Option<ServerLog>,
    /// `Server.AccessLog`.
    pub(super) access: Access,
    /// `Server.ServiceLog`.
    service: ServiceLog,
}

/// Opened files and settings, ready for [`Logs::switch`]. What is `None` stays as it is.
pub(super) struct NextLogs {
    server: Option<NextLog>,
    access: Option<NextAccess>,
    service: Option<Option<Sink>>,
    /// The files that cannot be opened; a start goes on without them, a reload changes nothing.
    pub(super) failed: Vec<SinkError>,
}

impl Logs {
    /// The server log on standard error, and a panic that reaches it.
    pub(super) fn early() -> Logs {
        let server = ServerLog::install().ok();
        let log = server.clone();
        let standard = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            tracing::error!("{panic}");
            // The process may abort right after this.
            log.iter().for_each(ServerLog::flush);
            standard(panic);
        }));
        Logs { server, access: Access::off(), service: ServiceLog::default() }
    }

    /// Opens what a configuration asks for, and changes nothing yet. Blocks for as long as the disk does.
    pub(super) fn prepare(&self, config: &Config) -> NextLogs {
        let mut failed = Vec::new();
        let mut kept = |error| failed.push(error);
        let server = self.server.as_ref().map(|log| {
            let (next, errors) = log.prepare(&config.logging);
            errors.into_iter().for_each(&mut kept);
            next
        });
        let server_config = &config.server;
        let access = self.access.prepare(&server_config.access_log, server_config.access_log_format);
        let access = access.map_err(&mut kept).ok();
        let service = self.service.prepare(server_config.service_log.as_deref()).map_err(&mut kept).ok();
        NextLogs { server, access, service, failed }
    }

    /// Takes destinations, formats and level into use; no line is lost.
    pub(super) fn switch(&self, next: NextLogs) {
        if let Some((log, next)) = self.server.as_ref().zip(next.server) {
            log.switch(next);
        }
        if let Some(next) = next.access {
            self.access.switch(next);
        }
        if let Some(next) = next.service {
            self.service.switch(next);
        }
    }

    /// Applies the configuration at start. A file that cannot be opened is said and left out: it stops no server.
    pub(super) fn configure(&self, config: &Config) {
        let mut next = self.prepare(config);
        let failed = std::mem::take(&mut next.failed);
        self.switch(next);
        for error in failed {
            tracing::error!("nothing is logged there: {error}");
        }
    }

    /// The open log files.
    fn sinks(&self) -> Vec<Sink> {
        let server = self.server.iter().flat_map(ServerLog::sinks);
        server.chain(self.access.sink()).chain(self.service.sink()).collect()
    }

    /// Writes what is queued.
    pub(super) fn flush(&self) {
        self.sinks().iter().for_each(Sink::flush);
    }
}

impl control::Logs for Logs {
    fn reopen(&self) -> Result<(), String> {
        let failed: Vec<String> =
            self.sinks().iter().filter_map(|sink| Some(sink.reopen().err()?.to_string())).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    fn set_level(&self, level: &str) -> Result<String, String> {
        let parsed = LogLevel::parse(level)?;
        self.server.iter().for_each(|log| log.set_level(parsed));
        Ok(format!("{parsed:?}").to_uppercase())
    }
}
