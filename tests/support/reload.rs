//! Changes the configuration of a started server and sends the signal that applies it.

use std::fs;

use nix::sys::signal::Signal;

use super::fixtures::until;
use super::server::Server;

/// Texts of the last line that a reload logs, applied or refused.
const ENDS: [&str; 2] = ["configuration reloaded; ", "Nothing was changed."];

impl Server {
    /// Adds lines to the configuration (`{dir}` in them is the server's directory) and sends HUP. Returns the lines
    /// logged until the end of the reload; the last one has its result.
    pub(crate) fn hup(&self, lines: &str) -> Vec<String> {
        let lines = lines.replace("{dir}", &self.dir().display().to_string());
        let before = fs::read_to_string(self.config_file()).expect("readable");
        self.hup_with(&format!("{before}\n{lines}\n"))
    }

    /// [`Server::hup`] with another text for the whole configuration.
    pub(crate) fn hup_with(&self, gcfg: &str) -> Vec<String> {
        fs::write(self.config_file(), gcfg).expect("written");
        let line_count = self.log_lines().len();
        self.signal(Signal::SIGHUP);
        let mut logged = Vec::new();
        until("the reload ends", || {
            logged = self.log_lines().split_off(line_count);
            logged.iter().any(|line| ENDS.iter().any(|end| line.contains(end)))
        });
        logged
    }

    /// [`Server::hup`] that must apply exactly these changes, each logged as `CRAN.URL is 'new' now, was 'old'`.
    pub(crate) fn hup_applies(&self, lines: &str, changes: &[&str]) {
        let logged = self.hup(lines);
        let applied: Vec<&str> =
            logged.iter().filter(|line| line.contains("' now, was '")).map(String::as_str).collect();
        assert_eq!(applied.len(), changes.len(), "{logged:#?}");
        for (line, change) in applied.iter().zip(changes) {
            let change = change.replace("{dir}", &self.dir().display().to_string());
            assert!(line.contains(&change), "{change}\n{line}");
        }
        let end = format!("configuration reloaded; {} applied", changes.len());
        assert!(logged.iter().any(|line| line.contains(&end)), "{logged:#?}");
    }

    /// [`Server::hup`] that must change nothing; returns the reason.
    pub(crate) fn hup_refused(&self, lines: &str) -> String {
        let logged = self.hup(lines);
        assert!(!logged.iter().any(|line| line.contains("configuration reloaded")), "{logged:#?}");
        logged.join("\n")
    }
}
