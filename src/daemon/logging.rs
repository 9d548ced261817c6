//! Where the daemon's own words go, and how the log files are reopened.

use crate::config::{Config, LogLevel};

/// Installs the server log.
pub(super) fn start(config: &Config) {
    let level = match config.logging.level {
        LogLevel::Trace => tracing::Level::TRACE,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Error => tracing::Level::ERROR,
    };
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(false);
    // A second one only happens in tests that start two daemons in a process.
    let _ = subscriber.with_writer(std::io::stderr).try_init();
}
