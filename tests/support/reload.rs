//! A changed configuration and the signal that applies it.

use std::fs;

use nix::sys::signal::Signal;

use super::fixtures::until;
use super::server::Server;

/// What a reload says at its end; a refusal has several lines, and this is the last.
const ENDS: [&str; 2] = ["configuration reloaded; ", "Nothing was changed."];

impl Server {
    /// Adds lines to the configuration, `{dir}` in them is the server's directory, and sends HUP. Returns what was
    /// logged until the reload had ended, with its result as the last line.
    pub(crate) fn hup(&self, lines: &str) -> Vec<String> {
        let lines = lines.replace("{dir}", &self.dir().display().to_string());
        let before = fs::read_to_string(self.config_file()).expect("readable");
        self.hup_with(&format!("{before}\n{lines}\n"))
    }

    /// The same with another text in the place of the whole configuration.
    pub(crate) fn hup_with(&self, gcfg: &str) -> Vec<String> {
        fs::write(self.config_file(), gcfg).expect("written");
        let known = self.log_lines().len();
        self.signal(Signal::SIGHUP);
        let mut said = Vec::new();
        until("the reload ends", || {
            said = self.log_lines().split_off(known);
            said.iter().any(|line| ENDS.iter().any(|end| line.contains(end)))
        });
        said
    }

    /// [`Server::hup`] that must apply exactly these changes, written `CRAN.URL is 'new' now, was 'old'`.
    pub(crate) fn hup_applies(&self, lines: &str, changes: &[&str]) {
        let said = self.hup(lines);
        let applied: Vec<&str> =
            said.iter().filter(|line| line.contains("' now, was '")).map(String::as_str).collect();
        assert_eq!(applied.len(), changes.len(), "{said:#?}");
        for (line, change) in applied.iter().zip(changes) {
            let change = change.replace("{dir}", &self.dir().display().to_string());
            assert!(line.contains(&change), "{change}\n{line}");
        }
        let end = format!("configuration reloaded; {} applied", changes.len());
        assert!(said.iter().any(|line| line.contains(&end)), "{said:#?}");
    }

    /// [`Server::hup`] that must change nothing; returns the reason.
    pub(crate) fn hup_refused(&self, lines: &str) -> String {
        let said = self.hup(lines);
        assert!(!said.iter().any(|line| line.contains("configuration reloaded")), "{said:#?}");
        said.join("\n")
    }
}
