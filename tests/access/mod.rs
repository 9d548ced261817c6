//! Tokens, scopes and authenticated repositories.

mod attacks;
mod audit;
mod bodies;
mod bootstrap;
mod chromium;
mod client_secret;
mod clients;
mod cross_site;
mod federation;
mod keyring;
mod login;
mod matrix;
mod pages;
mod provider_tokens;
mod quick_start;
mod remote;
mod repositories;
mod secrets;
mod servers;
mod sign_in;
mod tokens;
mod uploads;
mod verbs;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::support::http::{self, Answer};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// A token of `rspm create token --quiet`.
fn token(server: &Server, flags: &str) -> String {
    let output = server.rspm(&format!("create token --description=test --quiet {flags}"));
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{flags}");
    let token = output.out.trim().to_owned();
    assert!(regex::Regex::new("^rspm_[0-9A-Za-z]{36}$").expect("valid").is_match(&token), "the token alone");
    token
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// A request with this `Authorization`, or none.
fn send(server: &Server, method: &str, path: &str, authorization: Option<&str>, body: &str) -> Answer {
    let header = authorization.map(|value| ("Authorization", value));
    http::request(method, &server.url(path), header.as_slice(), body.as_bytes())
}

fn get(server: &Server, path: &str, authorization: Option<&str>) -> Answer {
    send(server, "GET", path, authorization, "")
}

/// Creates an authenticated repository that subscribes to a local source of the same name, with the package `package`.
fn private_repository(server: &Server, name: &str, package: &str) {
    server.rspm_stdout(&format!("create repo --name={name} --description=for~{name} --authenticated"));
    server.rspm_stdout(&format!("create source --name={name}"));
    server.rspm_stdout(&format!("subscribe --repo={name} --source={name}"));
    server.add(name, &Tarball::new(package, "1.0"));
}
