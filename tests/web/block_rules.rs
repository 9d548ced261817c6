//! Pages of packages and lock files under block rules.

use super::document;
use crate::support::http;
use crate::support::python::package::{Package, add, repository};
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
    // A package of which the snapshot lists no version because of a rule, also in the comparison with another day.
    server.rspm_stdout("create blocklist-rule --package-name=alpha --description=closed");
    let today = crate::support::today::stable_today();
    let text = page(&server, &format!("{path}?day={today}"), &lock("9.9"));
    assert!(text.contains("refuses it: rule ") && !text.contains("does not have it"), "{text}");
    let part = text.split_once("would change</h2>").expect("the other day").1;
    assert!(part.contains("refused: rule ") && !part.contains("not in the repository on that day"), "{part}");
    assert!(text.contains("web/packages/alpha/\">alpha</a>"), "the page of the package has the rule: {text}");
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

#[test]
fn a_blocked_python_version_is_refused_with_its_own_rule() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("one", "1.0"));
    add(&server, "team", &Package::new("one", "2.0"));
    let path = "/py/latest/web/lockfile/";
    server.rspm_stdout("create blocklist-rule --package-name=one --version=2.0 --description=broken");
    let text = page(&server, path, "one==2.0.0\n");
    assert!(text.contains("refuses it: rule 1 (broken; versions 2.0)"), "{text}");
    assert!(text.contains("web/packages/one/\">one</a>"), "another version has a page: {text}");
    assert!(page(&server, path, "one==3.0\n").contains("lists 1.0"), "a version that does not exist");
    server.rspm_stdout("create blocklist-rule --package-name=one --version=1.0 --description=old");
    let text = page(&server, path, "one==1.0\n");
    assert!(text.contains("refuses it: rule 2 (old; versions 1.0)"), "{text}");
    assert_eq!(server.get("/py/latest/web/packages/one/").status, 403);
    assert!(!text.contains("web/packages/one/"), "no link to a page that is refused: {text}");
}

#[test]
fn a_guarded_name_is_refused_and_not_missing() {
    let server = super::server();
    server.rspm_stdout("create source --name=own");
    server.rspm_stdout("create name-guard --name=acme.* --source=own");
    let lock = r#"{"Packages": {"acme.tools": {"Package": "acme.tools", "Version": "1.0"},
        "gone": {"Package": "gone", "Version": "1.0"}}}"#;
    let text = page(&server, "/team/latest/web/lockfile/", lock);
    assert!(text.contains("refuses it: name guard ") && text.contains("does not have it"), "{text}");
    assert!(text.contains("1 refused") && text.contains("1 missing"), "{text}");
    assert_eq!(server.get("/team/latest/web/packages/acme.tools/").status, 403);
    assert!(!text.contains("packages/acme.tools/"), "no link to a page that is refused: {text}");
}

#[test]
fn a_blocked_version_has_neither_files_nor_a_command_that_installs_it() {
    let server = super::server();
    let pages = ["files/", "files/DESCRIPTION", "news/", "license/", "DESCRIPTION"];
    let of = |page: &str| format!("/team/latest/web/packages/alpha/{page}?version=1.1");
    assert_eq!(server.get(&of("files/")).status, 200);
    let before = server.get(&of("")).text();
    assert!(before.contains("install.packages") && before.contains("readme-alpha"), "{before}");
    server.rspm_stdout("create blocklist-rule --package-name=alpha --version=1.1 --description=broken");
    for page in pages {
        let answer = server.get(&of(page));
        assert_eq!(answer.status, 403, "{page}");
        let reason = "alpha 1.1 is blocked in this repository by rule 1 (broken; versions 1.1)";
        assert!(answer.text().contains(reason), "{page}: {}", answer.text());
    }
    let page = server.get(&of("")).text();
    assert!(page.contains("This version is blocked") && !page.contains("install.packages"), "{page}");
    assert_eq!(server.get("/team/latest/web/packages/alpha/files/").status, 200, "the allowed version");
    assert!(!page.contains("DESCRIPTION") && !page.contains("files/"), "no links to what is refused: {page}");
    assert!(!page.contains("readme"), "the README is a file of the archive: {page}");
    let description = server.get("/team/latest/web/packages/alpha/DESCRIPTION");
    assert!(
        description.status == 200 && description.text().contains("Version: 1.0\n"),
        "{}",
        description.text()
    );
    server.rspm_stdout("create blocklist-rule --package-name=alpha --description=closed");
    let description = server.get("/team/latest/web/packages/alpha/DESCRIPTION");
    assert_eq!(description.status, 403, "all versions are blocked");
    assert!(description.text().contains("is blocked in this repository by rule"), "{}", description.text());
}
