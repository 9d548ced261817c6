//! Binaries: adding, selecting, serving, installing with real R.

mod adding;
mod client_requests;
mod explain;
mod install;
mod logs;
mod macos;
mod matrix;
mod package_set;
mod permanent_address;
mod pkgcache;
mod removing;
mod service_log;
mod upstream;
mod windows;

use crate::support::binary::Example;
use crate::support::http::{self, Answer};
use crate::support::rscript;
use crate::support::server::Server;

/// GET with a `User-Agent`, or without one.
fn get(server: &Server, path: &str, agent: Option<&str>) -> Answer {
    let headers: Vec<(&str, &str)> = agent.map(|agent| ("User-Agent", agent)).into_iter().collect();
    http::request("GET", &server.url(path), &headers, b"")
}

/// `binary TAG` or `source`.
fn kind_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-repository-type"), Some("RSPM"));
    let kind = answer.header("x-package-type").expect("every package has a type");
    match answer.header("x-package-binary-tag") {
        Some(tag) => format!("{kind} {tag}"),
        None => kind.to_owned(),
    }
}

/// Adds the binaries of these examples for a distribution.
fn add(server: &Server, examples: &[&Example], distribution: &str) {
    let paths: Vec<String> = examples.iter().map(|e| e.binary.display().to_string()).collect();
    server.rspm_stdout(&format!(
        "add binary --source=team --path={} --distribution={distribution}",
        paths.join(",")
    ));
}

/// R code that sends the `documented` header, or R's own.
fn with_agent(agent: &str, code: &str) -> String {
    let header = if agent == "documented" { rscript::DOCUMENTED_AGENT } else { "" };
    format!("{header}{code}")
}
