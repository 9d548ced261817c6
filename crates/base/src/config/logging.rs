//! `[Logging]`.

use std::path::PathBuf;

use super::debug_region::DebugRegion;
use super::reader::Reader;
use super::value::{self, LogDestination};

#[derive(Clone, Debug)]
pub struct Logging {
    /// `Logging.SystemLog`: one or several of STDOUT, STDERR, a file.
    pub system_log: Vec<LogDestination>,
    /// `Logging.SystemLogLevel`, default INFO.
    pub level: LogLevel,
    /// `Logging.SystemLogFormat`, default TEXT.
    pub format: LogFormat,
    /// `Logging.AuditLog`; `None` for no file.
    pub audit_log: Option<PathBuf>,
    /// `Debug.Log`: regions whose debug events are written at every level.
    pub debug: Vec<DebugRegion>,
}

/// Lowest severity that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Format of the log lines, for people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum LogFormat {
    Text,
    Json,
}

impl Logging {
    pub(super) fn read(reader: &Reader<'_>) -> Logging {
        Logging {
            system_log: reader.values("Logging", "SystemLog", value::log_destination),
            level: reader.value("Logging", "SystemLogLevel", LogLevel::parse),
            format: reader.value("Logging", "SystemLogFormat", |text| {
                value::choice(text, &["TEXT", "JSON"]).map(|word| match word {
                    "JSON" => LogFormat::Json,
                    _ => LogFormat::Text,
                })
            }),
            audit_log: reader.optional("Logging", "AuditLog", value::path),
            debug: reader.values("Debug", "Log", DebugRegion::parse),
        }
    }
}

impl LogLevel {
    /// Parses `trace`, `debug`, `info`, `warn` or `error`, ignoring case.
    pub fn parse(text: &str) -> Result<LogLevel, String> {
        value::choice(text, &["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]).map(|word| match word {
            "TRACE" => LogLevel::Trace,
            "DEBUG" => LogLevel::Debug,
            "WARN" => LogLevel::Warn,
            "ERROR" => LogLevel::Error,
            _ => LogLevel::Info,
        })
    }
}
