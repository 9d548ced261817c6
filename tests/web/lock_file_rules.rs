//! The page of lock files under block rules and name guards.

use super::document;
use crate::python::package::{Package, add, repository};
use crate::support::http;
use crate::support::server::Server;

fn page(server: &Server, path: &str, body: &str) -> String {
    let answer = http::request("POST", &server.url(path), &[], body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    document::page(&answer, path);
    answer.text()
}

#[test]
fn a_blocked_version_of_an_r_package_is_refused_and_its_substitute_is_listed() {
    let server = super::server();
    server.rspm_stdout("create blocklist-rule --package-name=alpha --version=1.1 --description=broken");
    let path = "/team/latest/web/lockfile/";
    let lock = |version: &str| {
        format!(r#"{{"Packages": {{"alpha": {{"Package": "alpha", "Version": "{version}"}}}}}}"#)
    };
    let text = page(&server, path, &lock("1.1"));
    assert!(
        text.contains("refuses it: rule 1 (broken; versions 1.1)") && text.contains("1 refused"),
        "{text}"
    );
    assert!(page(&server, path, &lock("1.0")).contains("lists it"), "the highest allowed version is listed");
}

#[test]
fn a_blocked_python_project_does_not_prevent_the_comparison_of_the_others() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("one", "1.0"));
    add(&server, "team", &Package::new("two", "1.0"));
    server.rspm_stdout("create blocklist-rule --package-name=one --description=unwanted");
    let text = page(&server, "/py/latest/web/lockfile/", "one==1.0\ntwo==1.0\n");
    assert!(
        text.contains("refuses it: rule 1 (unwanted)") && text.contains("1 listed in this version"),
        "{text}"
    );
}
