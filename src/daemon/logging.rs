//! The daemon's logs: made before there is a configuration, configured once, reopened after rotations.

use std::sync::Arc;

use crate::config::Config;
use crate::logs::{Access, ServerLog};

/// All logs of the process; cloning shares them.
#[derive(Clone)]
pub(super) struct Logs {
    /// `None` only when another log was installed before, as tests of a whole process may.
    server: Option<ServerLog>,
    /// `Server.AccessLog`.
    pub(super) access: Access,
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
        Logs { server, access: Access::off() }
    }

    /// Applies the configuration. A file that cannot be opened is said and left out: it stops no server.
    pub(super) fn configure(&mut self, config: &Config) {
        for error in self.server.iter().flat_map(|log| log.configure(&config.logging)) {
            tracing::error!("{error}");
        }
        match Access::open(&config.server.access_log, config.server.access_log_format) {
            Ok(access) => self.access = access,
            Err(error) => tracing::error!("requests are not logged: {error}"),
        }
    }

    /// What a rotation asks for.
    pub(super) fn reopener(&self) -> Arc<dyn Fn() -> Result<(), String> + Send + Sync> {
        let logs = self.clone();
        Arc::new(move || {
            let server = logs.server.as_ref().map_or(Ok(()), ServerLog::reopen).err().unwrap_or_default();
            let failed: Vec<String> =
                server.iter().chain(logs.access.reopen().err().iter()).map(ToString::to_string).collect();
            if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
        })
    }

    /// Writes what is queued.
    pub(super) fn flush(&self) {
        self.access.flush();
        self.server.iter().for_each(ServerLog::flush);
    }
}
