//! `[Logging]`.

use std::path::PathBuf;

/// `[Logging]`.
#[derive(Clone, Debug)]
pub struct Logging {
    /// `Logging.SystemLog`: one or several of STDOUT, STDERR, a file.
    pub system_log: Vec<LogDestination>,
    /// `Logging.SystemLogLevel`, default INFO.
    pub level: LogLevel,
    /// `Logging.SystemLogFormat`, default TEXT.
    pub format: LogFormat,
}

/// Where server log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDestination {
    /// `STDOUT`.
    Stdout,
    /// `STDERR`.
    Stderr,
    /// A file.
    File(PathBuf),
}

/// Least severe level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Lines for people or for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}
