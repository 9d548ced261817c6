//! Content of a started server: sources, repositories, packages, a small mirror to sync from.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::http;
use super::server::Server;
use super::tarball::Tarball;

impl Server {
    /// Calls the admin API, which must succeed; returns the JSON of the answer.
    pub(crate) fn call(&self, method: &str, path: &str, body: &serde_json::Value) -> serde_json::Value {
        let answer = self.admin(method, path, body);
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// Creates a repository with one subscription.
    pub(crate) fn repository(&self, name: &str, source: &str) {
        self.call("POST", "/repos", &serde_json::json!({ "name": name }));
        self.call("POST", &format!("/repos/{name}/sources"), &serde_json::json!({ "source": source }));
    }

    /// Creates a local source and adds a package; returns the size of the stored file in bytes.
    pub(crate) fn store(&self, source: &str, package: &Tarball) -> u64 {
        self.call("POST", "/sources", &serde_json::json!({ "name": source, "succeed_on_existing": true }));
        let target = format!("/__api__/admin/v1/uploads?file={}", package.file());
        let upload = http::admin(&self.admin_socket(), "POST", &target, &package.bytes());
        assert_eq!(upload.status, 201, "{}", upload.text());
        let body = serde_json::json!({ "uploads": [upload.json()["id"]] });
        let answer = self.call("POST", &format!("/sources/{source}/packages"), &body);
        answer["packages"][0]["size"].as_u64().expect("a size")
    }

    /// Syncs CRAN and waits; returns the final message, or the error.
    pub(crate) fn sync(&self) -> Result<String, String> {
        self.sync_of("cran")
    }

    /// Syncs a source, or the rules for system requirements, and waits; returns the final message, or the error.
    pub(crate) fn sync_of(&self, kind: &str) -> Result<String, String> {
        let mut job = self.call("POST", "/sync", &serde_json::json!({ "type": kind }));
        let start = Instant::now();
        while job["status"] == "running" {
            assert!(start.elapsed() < Duration::from_secs(120), "the sync does not end: {job}");
            std::thread::sleep(Duration::from_millis(10));
            job = self.call("GET", &format!("/jobs/{}", job["id"]), &serde_json::Value::Null);
        }
        let message = job["message"].as_str().expect("a message").to_owned();
        if job["status"] == "done" { Ok(message) } else { Err(message) }
    }
}

/// Writes a mirror with one package, `alpha` 1.0.
pub(crate) fn create_mirror(root: &Path) {
    let contrib = root.join("src/contrib");
    std::fs::create_dir_all(&contrib).expect("a directory");
    std::fs::write(contrib.join("alpha_1.0.tar.gz"), Tarball::new("alpha", "1.0").bytes()).expect("written");
    std::fs::write(contrib.join("PACKAGES"), "Package: alpha\nVersion: 1.0\nLicense: MIT\n")
        .expect("written");
}

/// Waits until the condition is true; panics with its description after 90 s.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(90), "never: {what}");
        std::thread::sleep(interval(start.elapsed()));
    }
}

/// The time to the next check of a condition, of which checks take processor time that other tests need: a twentieth of the
/// time that has been waited for it.
pub(crate) fn interval(waited: Duration) -> Duration {
    (waited / 20).clamp(Duration::from_millis(10), Duration::from_secs(1))
}

/// Sets the modification time of all files to three hours ago, so that a sweep does not skip them as new.
pub(crate) fn make_old(folder: &Path) {
    let old = SystemTime::now() - Duration::from_secs(3 * 3600);
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => make_old(&path),
            path => {
                let file = std::fs::File::options().write(true).open(path).expect("a file");
                file.set_modified(old).expect("a time");
            }
        }
    }
}
