//! Servers on one PostgreSQL database with shared storage, each with its own host name.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::postgres;
use crate::support::server::{Builder, Server};

/// A database and a directory for servers.
pub(crate) struct Shared {
    /// `Postgres.URL`.
    pub(crate) url: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Shared {
    /// An empty schema of the shared PostgreSQL server.
    pub(crate) fn new() -> Shared {
        Shared::on(&postgres::server().schema())
    }

    /// Servers on this database.
    pub(crate) fn on(url: &str) -> Shared {
        Shared { url: url.to_owned(), dir: tempfile::tempdir().expect("a directory") }
    }

    /// `Server.DataDir`.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The configuration of a server with this host name.
    pub(crate) fn builder(&self, name: &str) -> Builder {
        const RUN: &str = "hostname \"$0\" && exec \"$@\"";
        Builder::default()
            .gcfg(&format!(
                "[Server]\nDataDir = {}\n[Database]\nProvider = postgres\nConnectionTimeout = 5s\n[Postgres]\nURL = \"{}\"",
                self.data().display(),
                self.url
            ))
            .wrapper(&["unshare", "--uts", "sh", "-c", RUN, name])
    }

    /// A running server with this host name.
    pub(crate) fn start(&self, name: &str) -> Server {
        self.builder(name).start()
    }
}

/// The rows of `rspm cluster nodes`.
pub(crate) fn nodes(server: &Server) -> Vec<Value> {
    server.json("cluster nodes").as_array().expect("a list").clone()
}

/// Names and modes of the servers: `pm1 online, pm2 offline`.
pub(crate) fn modes(server: &Server) -> String {
    let rows = nodes(server);
    let mode = |row: &Value| format!("{} {}", row["name"].as_str().unwrap(), row["mode"].as_str().unwrap());
    rows.iter().map(mode).collect::<Vec<_>>().join(", ")
}

/// The names of the leaders.
pub(crate) fn leaders(server: &Server) -> Vec<String> {
    let rows = nodes(server);
    let leaders = rows.iter().filter(|row| row["leader"] == true);
    leaders.map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
}

/// Waits until the condition is true; panics with its description after this time.
pub(crate) fn within(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < time, "not within {} s: {what}", time.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}
