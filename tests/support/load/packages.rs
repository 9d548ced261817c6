//! What the load asks for: packages of given sizes in a repository `load`, made through the admin socket.

use std::path::Path;

use super::Wanted;
use crate::support::http;
use crate::support::server::add;
use crate::support::tarball::Tarball;

/// Makes the repository.
pub(crate) fn repository(admin: &Path) {
    let send = |path: &str, body: serde_json::Value| {
        let target = format!("/__api__/admin/v1{path}");
        let answer = http::admin(admin, "POST", &target, body.to_string().as_bytes());
        // Made by a load before this one.
        assert!(answer.status < 300 || answer.status == 409, "{path}: {} {}", answer.status, answer.text());
    };
    send("/sources", serde_json::json!({ "name": "load" }));
    send("/repos", serde_json::json!({ "name": "load" }));
    send("/repos/load/sources", serde_json::json!({ "source": "load" }));
}

/// A package whose tarball has about so many bytes, served at `host`.
pub(crate) fn package(admin: &Path, host: &str, name: &str, bytes: usize) -> Wanted {
    let mut package = Tarball::new(name, "1.0");
    // A simple generator: what gzip cannot shrink.
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
    // Not the bytes that were added: DESCRIPTION gets the fields that a repository writes.
    let served = http::get(&format!("http://{host}{path}"));
    assert_eq!(served.status, 200);
    assert!(served.body.len() > bytes, "{}", served.body.len());
    Wanted::new(&path, &served.body)
}
