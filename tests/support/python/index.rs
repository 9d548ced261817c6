//! A server of an index like PyPI, and the files of its pages.

use std::collections::BTreeMap;

use serde_json::Value;

use super::package::Package;
use crate::support::http::{self, Answer};
use crate::support::pypi::Pypi;
use crate::support::server::{Builder, Server};

pub(crate) const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// Starts a server of an index with the repository `py`.
pub(crate) fn start(pypi: &Pypi, gcfg: &str) -> Server {
    start_with(Builder::default(), pypi, gcfg)
}

pub(crate) fn start_with(builder: Builder, pypi: &Pypi, gcfg: &str) -> Server {
    let gcfg = format!("[PyPI]\nURL = {}\n{gcfg}", pypi.url());
    let server = builder.gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=pypi");
    server
}

pub(crate) fn get(server: &Server, path: &str) -> Answer {
    http::request("GET", &server.url(path), &[("Accept", JSON)], b"")
}

/// The files of a page with the reasons for their yanks; `None` if there is no page.
pub(crate) fn files(server: &Server, snapshot: &str, project: &str) -> Option<BTreeMap<String, Value>> {
    let answer = get(server, &format!("/py/{snapshot}/simple/{project}/"));
    if answer.status != 200 {
        assert_eq!(answer.status, 404, "{}", answer.text());
        return None;
    }
    let page = answer.json();
    let entries = page["files"].as_array().expect("files").iter();
    Some(
        entries.map(|file| (file["filename"].as_str().unwrap().to_owned(), file["yanked"].clone())).collect(),
    )
}

pub(crate) fn names(server: &Server, snapshot: &str, project: &str) -> Vec<String> {
    files(server, snapshot, project).unwrap_or_default().into_keys().collect()
}

pub(crate) fn wheel(pypi: &Pypi, package: &Package, uploaded: &str) -> String {
    let name = package.wheel_name();
    pypi.add(&package.name, &name, &package.wheel(), uploaded);
    pypi.edit(&package.name, &name, |file| file.metadata = Some(package.metadata().into_bytes()));
    name
}
