//! The properties whose values are a choice of words.

use std::str::FromStr;

use super::value;
use crate::words;

words! {
    /// Format of the access log: one of Apache's formats.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum AccessLogFormat {
        Common = "common",
        Combined = "combined",
    }
    else "format of the access log" in any case
}

words! {
    /// The values of `HTTPS.MinimumTLS`. 1.0 and 1.1 are accepted and mean 1.2.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum TlsVersion {
        Tls10 = "1.0",
        Tls11 = "1.1",
        Tls12 = "1.2",
        Tls13 = "1.3",
    }
    else "version of TLS" in any case
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Provider {
        /// A file in `SQLite.Dir`.
        Sqlite = "sqlite",
        Postgres = "postgres",
    }
    else "database provider" in any case
}

words! {
    /// The values of the properties of `[Storage]`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Backend {
        File = "file",
        S3 = "s3",
    }
    else "storage" in any case
}

words! {
    /// `PyPI.EarlierYanks`: the days on which files that were yanked before the first reading of their project are marked.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum EarlierYanks {
        /// They are marked on all days.
        Show = "show",
        /// They are marked on days from the first reading on.
        HideMark = "hide-mark",
    }
    else "value of EarlierYanks" in any case
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SandboxChoice {
        /// The first sandbox that works.
        Auto = "auto",
        Systemd = "systemd",
        Bubblewrap = "bubblewrap",
        None = "none",
    }
    else "sandbox" in any case
}

words! {
    /// `Git.HostKeyPolicy`: the treatment of the key of an unknown SSH host.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum HostKeyPolicy {
        /// The key is accepted when a builder is created.
        AcceptNew = "accept-new",
        Strict = "strict",
    }
    else "policy for host keys" in any case
}

words! {
    /// Lowest severity that is logged.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LogLevel {
        Trace = "TRACE",
        Debug = "DEBUG",
        Info = "INFO",
        Warn = "WARN",
        Error = "ERROR",
    }
}

words! {
    /// Format of the log lines, for people or for programs.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LogFormat {
        Text = "TEXT",
        Json = "JSON",
    }
    else "log format" in any case
}

words! {
    /// A part of the server whose debug events can be written while the level of the log is higher; in the order of the
    /// words.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum DebugRegion {
        Auth = "auth",
        Cluster = "cluster",
        Db = "db",
        Fetch = "fetch",
        Git = "git",
        Jobs = "jobs",
        Launcher = "launcher",
        Router = "router",
        Storage = "storage",
        Sync = "sync",
        Upstream = "upstream",
        Usage = "usage",
    }
}

impl DebugRegion {
    pub fn sentence(self) -> &'static str {
        match self {
            DebugRegion::Auth => "tokens, sign-in and permissions",
            DebugRegion::Cluster => "other servers of the database, and the leader",
            DebugRegion::Db => "the database and the catalog",
            DebugRegion::Fetch => "files fetched from mirrors on request",
            DebugRegion::Git => "builders of git repositories, and builds",
            DebugRegion::Jobs => "start, progress and end of jobs",
            DebugRegion::Launcher => "sandboxes of builds",
            DebugRegion::Router => "requests and connections",
            DebugRegion::Storage => "stored objects, the sweep, eviction and the scrub",
            DebugRegion::Sync => "syncs and their publishing",
            DebugRegion::Upstream => "requests to mirrors",
            DebugRegion::Usage => "download counts",
        }
    }
}

impl FromStr for LogLevel {
    /// A clause that follows the text.
    type Err = String;

    /// Parses a word, ignoring case.
    fn from_str(text: &str) -> Result<LogLevel, String> {
        let word = value::choice(text, &LogLevel::WORDS)?;
        Ok(LogLevel::parse(word).expect("is one of the words"))
    }
}

impl FromStr for DebugRegion {
    /// A clause that follows the text.
    type Err = String;

    /// Parses a word, ignoring case.
    fn from_str(text: &str) -> Result<DebugRegion, String> {
        let word = value::choice(text, &DebugRegion::WORDS)?;
        Ok(DebugRegion::parse(word).expect("is one of the words"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_has_its_name() {
        for region in DebugRegion::ALL {
            assert_eq!(region.as_str().to_uppercase().parse(), Ok(region));
            assert!(!region.sentence().is_empty());
        }
        assert!(DebugRegion::WORDS.is_sorted());
        let error = "rooter".parse::<DebugRegion>().expect_err("unknown");
        assert!(error.ends_with("did you mean router?") && error.contains("launcher"), "{error}");
    }
}
