//! `[Metrics]`, `[StorageAudit]`, `[StorageAlerts]`, `[Logging]` and `[Debug]`.

use std::path::PathBuf;

use super::choice::{DebugRegion, LogFormat, LogLevel};
use super::listen::{Http, HttpRedirect, Https};
use super::problem::ProblemCategory;
use super::reader::Reader;
use super::value::{self, Listen, LogDestination};

#[derive(Clone, Debug)]
pub struct Metrics {
    /// `None` if metrics are not served.
    pub listen: Option<Listen>,
}

#[derive(Clone, Debug)]
pub struct StorageAudit {
    /// Whether the disk space of storage directories is monitored.
    pub is_enabled: bool,
}

#[derive(Clone, Debug)]
pub struct StorageAlerts {
    /// Whether the alerts are included in the API, from which web pages read them.
    pub is_enabled: bool,
}

impl StorageAlerts {
    pub(super) fn read(reader: &Reader<'_>) -> StorageAlerts {
        let kind = reader.optional("StorageAlerts", "UIMessageType", |text| Ok(text.to_owned()));
        StorageAlerts { is_enabled: kind.is_none_or(|kind| !kind.eq_ignore_ascii_case("none")) }
    }
}

impl Metrics {
    /// Reads the section. A port that another listener uses is an error if `Metrics.Listen` is set, and disables
    /// metrics if the port is the default.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        http: &Http,
        https: &Https,
        redirect: &HttpRedirect,
    ) -> Metrics {
        let is_enabled = reader.value("Metrics", "Enabled", value::boolean);
        let listen = reader.optional("Metrics", "Listen", value::listen).filter(|_| is_enabled);
        let other_listeners =
            [("HTTP", &http.listen), ("HTTPS", &https.listen), ("HTTPRedirect", &redirect.listen)];
        // Port 0 is a different port each time.
        let port =
            |listen: &Option<Listen>| listen.as_ref().map(|listen| listen.port).filter(|&port| port != 0);
        let conflict =
            other_listeners.iter().find(|(_, other)| port(&listen).is_some() && port(other) == port(&listen));
        let Some((other_name, _)) = conflict else { return Metrics { listen } };
        if reader.is_non_empty("Metrics", None, "Listen") {
            let message =
                format!("{other_name}.Listen and Metrics.Listen using same value; give each its own port");
            reader.error(ProblemCategory::Settings, "Metrics", None, "Listen", &message);
        } else {
            let message = format!(
                "{other_name}.Listen has the default port of Metrics.Listen, so no metrics are served; give it another port"
            );
            reader.warning(ProblemCategory::Effect, "Metrics", None, "Listen", &message);
        }
        Metrics { listen: None }
    }
}

impl StorageAudit {
    pub(super) fn read(reader: &Reader<'_>) -> StorageAudit {
        StorageAudit { is_enabled: reader.value("StorageAudit", "Enabled", value::boolean) }
    }
}

#[derive(Clone, Debug)]
pub struct Logging {
    /// `Logging.SystemLog`: one or several of STDOUT, STDERR, a file.
    pub system_log: Vec<LogDestination>,
    pub level: LogLevel,
    pub format: LogFormat,
    /// `Logging.AuditLog`; `None` for no file.
    pub audit_log: Option<PathBuf>,
    /// `Debug.Log`: regions whose debug events are written at every level.
    pub debug: Vec<DebugRegion>,
}

impl Logging {
    pub(super) fn read(reader: &Reader<'_>) -> Logging {
        Logging {
            system_log: reader.values("Logging", "SystemLog", value::log_destination),
            level: reader.value("Logging", "SystemLogLevel", str::parse),
            format: reader.value("Logging", "SystemLogFormat", str::parse),
            audit_log: reader.optional("Logging", "AuditLog", value::path),
            debug: reader.values("Debug", "Log", str::parse),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    fn listen(text: &str) -> (Option<String>, Vec<String>) {
        let loaded = parse("f", text.as_bytes(), []).expect(text);
        let listen = loaded.config.metrics.listen.as_ref().map(ToString::to_string);
        (listen, loaded.warnings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_default_port_is_2112_and_can_be_disabled() {
        assert_eq!(listen("").0.as_deref(), Some(":2112"));
        assert_eq!(listen("[Metrics]\nListen = 127.0.0.1:9\n").0.as_deref(), Some("127.0.0.1:9"));
        assert_eq!(listen("[Metrics]\nEnabled = false\n").0, None);
        assert_eq!(listen("[Metrics]\nListen =\n").0, None);
    }

    #[test]
    fn metrics_are_not_served_on_the_port_of_another_listener() {
        let (listen, warnings) = listen("[HTTP]\nListen = :2112\n");
        assert_eq!(listen, None);
        assert!(warnings.len() == 1 && warnings[0].contains("no metrics are served"), "{warnings:?}");
    }

    #[test]
    fn a_port_configured_twice_is_an_error() {
        let text = "[HTTP]\nListen = :80\n[Metrics]\nListen = 127.0.0.1:80\n";
        let error = parse("f", text.as_bytes(), []).expect_err("one port for two").to_string();
        assert!(error.contains("HTTP.Listen and Metrics.Listen using same value"), "{error}");
        assert!(error.starts_with("f:4:"), "{error}");
        let off = text.to_owned() + "Enabled = no\n";
        assert!(parse("f", off.as_bytes(), []).is_ok());
    }
}
