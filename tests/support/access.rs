//! Tokens, requests with them, and an authenticated repository.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::support::http::{self, Answer};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// A token of `rspm create token --quiet`.
pub(crate) fn token(server: &Server, flags: &str) -> String {
    let output = server.rspm(&format!("create token --description=test --quiet {flags}"));
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{flags}");
    let token = output.out.trim().to_owned();
    assert!(regex::Regex::new("^rspm_[0-9A-Za-z]{36}$").expect("valid").is_match(&token), "the token alone");
    token
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// A request with this `Authorization`, or none.
pub(crate) fn send(
    server: &Server,
    method: &str,
    path: &str,
    authorization: Option<&str>,
    body: &str,
) -> Answer {
    let header = authorization.map(|value| ("Authorization", value));
    http::request(method, &server.url(path), header.as_slice(), body.as_bytes())
}

pub(crate) fn get(server: &Server, path: &str, authorization: Option<&str>) -> Answer {
    send(server, "GET", path, authorization, "")
}

/// Creates an authenticated repository that subscribes to a local source of the same name, with the package `package`.
pub(crate) fn private_repository(server: &Server, name: &str, package: &str) {
    server.rspm_stdout(&format!("create repo --name={name} --description=for~{name} --authenticated"));
    server.rspm_stdout(&format!("create source --name={name}"));
    server.rspm_stdout(&format!("subscribe --repo={name} --source={name}"));
    server.add(name, &Tarball::new(package, "1.0"));
}
