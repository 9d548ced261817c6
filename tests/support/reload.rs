//! Changes the configuration of a started server and sends the signal that applies it.

use std::fs;

use nix::sys::signal::Signal;

use super::fixtures::until;
use super::server::Server;

/// Texts of the last line that a reload logs, applied or refused.
const END_TEXTS: [&str; 2] = ["configuration reloaded; ", "Nothing was changed."];

impl Server {
    /// Adds lines to the configuration (`{dir}` in them is the server's directory) and sends HUP. Returns the lines
    /// logged until the end of the reload; the last one has its result.
    pub(crate) fn hup(&self, lines: &str) -> Vec<String> {
        let lines = lines.replace("{dir}", &self.dir().display().to_string());
        let gcfg = fs::read_to_string(self.config_file()).expect("readable");
        self.hup_with(&format!("{gcfg}\n{lines}\n"))
    }

    /// [`Server::hup`] with a new text for the whole configuration.
    pub(crate) fn hup_with(&self, gcfg: &str) -> Vec<String> {
        fs::write(self.config_file(), gcfg).expect("written");
        let line_count = self.log_lines().len();
        self.signal(Signal::SIGHUP);
        let mut log_lines = Vec::new();
        until("the reload ends", || {
            log_lines = self.log_lines().split_off(line_count);
            log_lines.iter().any(|line| END_TEXTS.iter().any(|end| line.contains(end)))
        });
        log_lines
    }

    /// [`Server::hup`] that must apply exactly these changes, each logged as `CRAN.URL is 'new' now, was 'old'`.
    pub(crate) fn hup_applies(&self, lines: &str, changes: &[&str]) {
        let log_lines = self.hup(lines);
        let change_lines: Vec<&str> =
            log_lines.iter().filter(|line| line.contains("' now, was '")).map(String::as_str).collect();
        assert_eq!(change_lines.len(), changes.len(), "{log_lines:#?}");
        for (line, change) in change_lines.iter().zip(changes) {
            let change = change.replace("{dir}", &self.dir().display().to_string());
            assert!(line.contains(&change), "{change}\n{line}");
        }
        let end = format!("configuration reloaded; {} applied", changes.len());
        assert!(log_lines.iter().any(|line| line.contains(&end)), "{log_lines:#?}");
    }

    /// [`Server::hup`] that must change nothing; returns the reason.
    pub(crate) fn hup_refused(&self, lines: &str) -> String {
        let log_lines = self.hup(lines);
        assert!(!log_lines.iter().any(|line| line.contains("configuration reloaded")), "{log_lines:#?}");
        log_lines.join("\n")
    }
}
