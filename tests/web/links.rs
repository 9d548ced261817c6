//! Every link of every page is answered without an error, and no page loads anything from another host.

use std::collections::BTreeSet;
use std::path::Path;

use super::document::{self, Tag};
use crate::support::http::Answer;
use crate::support::python::package::{Package, add, repository};
use crate::support::server::{Builder, Server};

/// Resolves a reference against the path of a page (RFC 3986, 5.2, for the forms that pages have).
fn resolve(page: &str, reference: &str) -> String {
    let path = page.split('?').next().expect("a path");
    if reference.starts_with('?') {
        return format!("{path}{reference}");
    }
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    let (folders, query) = match reference.split_once('?') {
        Some((folders, query)) => (folders, format!("?{query}")),
        None => (reference, String::new()),
    };
    let mut segments: Vec<&str> = path.split('/').collect();
    segments.pop();
    let mut last = "";
    for segment in folders.split('/') {
        last = segment;
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    if [".", ".."].contains(&last) {
        segments.push("");
    }
    format!("{}{query}", segments.join("/"))
}

/// The addresses on this server that a page names.
fn references(tags: &[Tag]) -> Vec<String> {
    let all = tags.iter().flat_map(|tag| ["href", "src", "action"].map(|name| tag.get(name)));
    let on_this_server =
        all.flatten().filter(|reference| !reference.starts_with('#') && !reference.contains("://"));
    on_this_server.filter(|reference| !reference.starts_with("mailto:")).map(str::to_owned).collect()
}

/// The last folder of a path.
fn last(path: &str) -> String {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    format!("{name}/")
}

/// Follows all links from `/`; `prefix` is what a proxy removes from paths. Returns the paths of the pages.
pub(super) fn crawl(server: &Server, prefix: &str) -> BTreeSet<String> {
    crawl_with(prefix, |path| server.get(path))
}

/// [`crawl`] with another request than that of a client without a token.
pub(super) fn crawl_with(prefix: &str, get: impl Fn(&str) -> Answer) -> BTreeSet<String> {
    let (mut pages, mut requested, mut pending) =
        (BTreeSet::new(), BTreeSet::new(), vec![format!("{prefix}/")]);
    while let Some(path) = pending.pop() {
        assert!(requested.len() < 800, "the pages have no end: {requested:?}");
        if !requested.insert(path.clone()) {
            continue;
        }
        let stripped = path.strip_prefix(prefix).unwrap_or_else(|| panic!("{path} left {prefix}"));
        let answer = get(stripped);
        assert!([200, 302, 303].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        pending.extend(answer.header("location").map(|target| resolve(&path, target)));
        let is_page = answer.header("content-security-policy").is_some();
        if is_page && answer.header("content-type") == Some("text/html; charset=utf-8") {
            let references = references(&document::page(&answer, &path));
            pending.extend(references.iter().map(|reference| resolve(&path, reference)));
            pages.insert(path);
        }
    }
    pages
}

#[test]
fn every_link_is_answered_also_behind_a_proxy_that_removes_a_prefix() {
    let server = super::server();
    for prefix in ["", "/packages/of/us"] {
        let pages = crawl(&server, prefix);
        for path in [
            "/",
            "/__docs__/",
            "/__docs__/access/",
            "/__docs__/runbooks/disk-full/",
            "/team/latest/",
            "/team/latest/web/packages/",
            "/team/latest/web/packages/alpha/",
            "/team/latest/web/packages/alpha/versions/",
            "/team/latest/web/packages/alpha/history/",
            "/team/latest/web/packages/alpha/dependents/",
            "/team/latest/web/packages/alpha/dependencies/",
            "/team/latest/web/packages/alpha/binaries/",
            "/team/latest/web/packages/alpha/why/",
            "/team/latest/web/vulnerabilities/",
            "/team/latest/web/changes/",
            "/team/latest/web/packages/alpha/?version=1.0",
            "/team/latest/web/packages/beta/",
        ] {
            assert!(pages.contains(&format!("{prefix}{path}")), "{path} is not linked: {pages:?}");
        }
        // The manual has the address of each page.
        let manual = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/admin/web.md"))
            .expect("the manual");
        for page in &pages {
            let Some((_, path)) = page.split_once("/team/latest/web/") else { continue };
            let path = path.split(['?', '#']).next().unwrap_or_default();
            let path = path
                .replace("packages/alpha/", "packages/{name}/")
                .replace("packages/beta/", "packages/{name}/");
            let path = path.find("/files/").map_or(path.as_str(), |at| &path[..at + "/files/".len()]);
            let is_named =
                manual.contains(&format!("web/{path}`")) || manual.contains(&format!("…/{}`", last(path)));
            assert!(is_named, "{path} is not in the manual");
        }
    }
}

#[test]
fn pages_of_python_projects_link_their_files() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("Odd.Lib", "1.0"));
    add(&server, "team", &Package::new("Odd.Lib", "1.1"));
    let pages = crawl(&server, "");
    assert!(pages.contains("/py/latest/web/packages/odd-lib/versions/"), "{pages:?}");
    let page = server.get("/py/latest/web/packages/odd-lib/").text();
    assert!(page.contains("pip install odd-lib==1.1"), "{page}");
    let versions = server.get("/py/latest/web/packages/odd-lib/versions/").text();
    assert!(versions.contains("odd_lib-1.0-py3-none-any.whl") && versions.contains("SHA-256"), "{versions}");
    let redirect = server.get("/py/latest/web/packages/Odd.Lib/");
    let location = redirect.header("location").expect("an address");
    assert_eq!(redirect.status, 301);
    assert_eq!(resolve("/py/latest/web/packages/Odd.Lib/", location), "/py/latest/web/packages/odd-lib/");
    let page = "/py/latest/web/packages/Odd.Lib/versions/?x=1";
    let redirect = server.get(page);
    let location = redirect.header("location").expect("an address");
    assert!(location.ends_with("/odd-lib/versions/?x=1"), "the same page: {location}");
    assert_eq!(server.get("/py/latest/web/packages/odd-lib/DESCRIPTION").status, 404);
}

#[test]
fn links_stay_below_the_prefix_of_the_address() {
    let server = Builder::default().gcfg("[Server]\nAddress = https://pm.example.org/rspm").start();
    server.local_repository("team", &[]);
    let page = server.get("/rspm/team/latest/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("https://pm.example.org/rspm/team/latest"), "{}", page.text());
    for reference in references(&document::page(&page, "/rspm/team/latest/")) {
        let path = resolve("/rspm/team/latest/", &reference);
        assert!(path.starts_with("/rspm/"), "{reference}");
    }
}
