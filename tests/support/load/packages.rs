//! Packages of given sizes in a repository `load` for the clients to download, added through the admin socket.

use std::path::Path;

use super::ExpectedFile;
use crate::support::http;
use crate::support::server::add;
use crate::support::tarball::Tarball;

/// Creates the repository.
pub(crate) fn repository(admin: &Path) {
    let send = |path: &str, body: serde_json::Value| {
        let target = format!("/__api__/admin/v1{path}");
        let answer = http::admin(admin, "POST", &target, body.to_string().as_bytes());
        // 409: an earlier load has created it.
        assert!(answer.status < 300 || answer.status == 409, "{path}: {} {}", answer.status, answer.text());
    };
    send("/sources", serde_json::json!({ "name": "load" }));
    send("/repos", serde_json::json!({ "name": "load" }));
    send("/repos/load/sources", serde_json::json!({ "source": "load" }));
}

/// Adds a package whose tarball has at least `bytes` bytes, and returns it as served at `host`.
pub(crate) fn package(admin: &Path, host: &str, name: &str, bytes: usize) -> ExpectedFile {
    let mut package = Tarball::new(name, "1.0");
    // A simple generator (xorshift), whose output gzip cannot compress.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes as u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = noise.take(bytes / 8).flatten().collect();
    package.files.push(("inst/noise".to_owned(), noise));
    add(admin, "load", &package);
    let path = format!("/load/latest/src/contrib/{}", package.file());
    // The server adds fields to DESCRIPTION, so these are not the uploaded bytes.
    let answer = http::get(&format!("http://{host}{path}"));
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() > bytes, "{}", answer.body.len());
    ExpectedFile::new(&path, &answer.body)
}
