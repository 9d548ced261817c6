//! Badges of packages, the summaries that chat programs show, and the description of the search for browsers.

use std::process::Command;

use super::document;
use crate::support::http::{self, Answer};
use crate::support::python::package::{Package, add};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::{advisories, data};

/// Returns the title of a badge, as a parser of XML reads it.
fn title(badge: &Answer) -> String {
    assert_eq!(
        (badge.status, badge.header("content-type")),
        (200, Some("image/svg+xml")),
        "{}",
        badge.text()
    );
    texts(badge)[0].clone()
}

/// Returns the texts of the elements of an XML document.
fn texts(document: &Answer) -> Vec<String> {
    const READ: &str = "import json, sys, xml.etree.ElementTree as tree
print(json.dumps([text for text in tree.fromstring(sys.argv[1]).itertext() if text.strip()]))";
    let output = Command::new("python3").args(["-c", READ, &document.text()]).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a list")
}

#[test]
fn a_badge_shows_the_version_the_day_or_the_vulnerabilities() {
    let mirror = data::path("cran-mirror");
    let gcfg =
        format!("[CRAN]\nURL = file://{}\n[Vulnerabilities]\nURL = file://{{dir}}/own", mirror.display());
    let server = Builder::default().gcfg(&gcfg).start();
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server.rspm_stdout("sync --type=CRAN");
    let badge = |query: &str| server.get(&format!("/prod/latest/web/packages/cli/badge.svg{query}"));
    let version =
        server.get("/__api__/repos/prod/packages/cli").json()["version"].as_str().expect("text").to_owned();
    let page = server.get("/prod/latest/web/packages/cli/").text();
    for query in ["", "?show=", "?show=version"] {
        assert_eq!(title(&badge(query)), format!("cli: {version}"));
    }
    let day = title(&badge("?show=day"));
    let day = day.strip_prefix("cli: ").expect("a label");
    assert!(
        page.contains(&format!("<dt>Published</dt><dd dir=\"auto\"><time datetime=\"{day}\">")),
        "{day}: {page}"
    );
    assert_eq!(title(&badge("?show=vulnerabilities")), "cli vulnerabilities: unknown", "no advisories");
    advisories::folder(&server.dir().join("own"), &[advisories::record("RSEC-1", "CRAN", "cli", "99.0")]);
    server.sync_of("vulns").expect("advisories");
    assert_eq!(title(&badge("?show=vulnerabilities")), "cli vulnerabilities: 1 known");
    let other = server.get("/prod/latest/web/packages/glue/badge.svg?show=vulnerabilities");
    assert_eq!(title(&other), "glue vulnerabilities: none known");
    assert_eq!(badge("?show=other").status, 400);
    assert_eq!(server.get("/prod/latest/web/packages/nothing/badge.svg").status, 404);
    server.rspm_stdout("create blocklist-rule --package-name=cli");
    assert_eq!(title(&badge("")), "cli: blocked");
}

#[test]
fn a_badge_is_sent_again_only_if_it_differs_and_can_execute_nothing() {
    let server = super::server();
    server.rspm_stdout("create source --name=python --type=local-python");
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=python");
    add(&server, "python", &Package::new("Odd.Lib", "1.0"));
    assert_eq!(title(&server.get("/py/latest/web/packages/odd-lib/badge.svg")), "odd-lib: 1.0");
    let address = server.url("/team/latest/web/packages/alpha/badge.svg");
    let badge = http::get(&address);
    for (name, value) in [
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(badge.header(name), Some(value), "{name}");
    }
    let tag = badge.header("etag").expect("an ETag");
    let again = || http::request("GET", &address, &[("If-None-Match", tag)], b"").status;
    server.add("team", &Tarball::new("gamma", "1.0"));
    assert_eq!(again(), 304);
    server.add("team", &Tarball::new("alpha", "1.2"));
    assert_eq!(again(), 200);
    assert_eq!(title(&http::get(&address)), "alpha: 1.2");
}

#[test]
fn badges_and_summaries_disclose_nothing_of_repositories_that_a_client_may_not_read() {
    let server = super::server();
    for (name, flag) in [("hiddenrepo", ""), ("closedrepo", "--authenticated")] {
        server.rspm_stdout(&format!("create source --name={name}"));
        server.rspm_stdout(&format!("create repo --name={name} --description=for~{name} {flag}"));
        server.rspm_stdout(&format!("subscribe --repo={name} --source={name}"));
        server.add(name, &Tarball::new(&format!("{name}pkg"), "7.0.1"));
    }
    server.rspm_stdout("edit repo --name=hiddenrepo --hide");
    let token =
        server.rspm_stdout("create token --description=x --quiet --scope=repos:read --repos=closedrepo");
    let bearer = format!("Bearer {}", token.trim());
    for page in ["closedrepopkg/badge.svg", "closedrepopkg/", "nothing/badge.svg"] {
        let address = server.url(&format!("/closedrepo/latest/web/packages/{page}"));
        let refused = http::get(&address);
        assert_eq!(refused.status, 401, "{page}");
        let text = refused.text();
        assert!(
            !text.contains("7.0.1") && !text.contains("og:") && !text.contains("for closedrepo"),
            "{text}"
        );
        let read = http::request("GET", &address, &[("Authorization", &bearer)], b"");
        assert_eq!(read.status, if page.starts_with("nothing") { 404 } else { 200 }, "{page}");
    }
    for package in ["hiddenrepopkg", "closedrepopkg"] {
        assert_eq!(server.get(&format!("/team/latest/web/packages/{package}/badge.svg")).status, 404);
    }
    // A hidden repository has badges for those who know its name.
    let badge = server.get("/hiddenrepo/latest/web/packages/hiddenrepopkg/badge.svg");
    assert_eq!(title(&badge), "hiddenrepopkg: 7.0.1");
}

#[test]
fn pages_of_packages_and_repositories_have_a_summary_and_others_have_none() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0").field("Title: Tools for \"A\" & <b>")]);
    let summary = |path: &str| {
        let answer = server.get(path);
        let tags = document::page(&answer, path);
        let content = |name: &str| {
            let tag = tags.iter().find(|tag| tag.get("property") == Some(name));
            tag.and_then(|tag| tag.get("content")).unwrap_or_default().to_owned()
        };
        (content("og:title"), content("og:description"))
    };
    let of_package = summary("/team/latest/web/packages/alpha/");
    assert_eq!(of_package, ("alpha 1.0, team, latest".to_owned(), "Tools for \"A\" & <b>".to_owned()));
    assert_eq!(summary("/team/latest/"), ("team, latest".to_owned(), "1 package.".to_owned()));
    for path in ["/", "/team/latest/web/changes/", "/team/latest/web/packages/alpha/versions/"] {
        assert_eq!(summary(path), (String::new(), String::new()), "{path}");
    }
}

#[test]
fn browsers_find_the_search_of_the_server() {
    let server = Builder::default().gcfg("[Server]\nAddress = https://pm.example.org/rspm").start();
    let page = server.get("/rspm/");
    let tags = document::page(&page, "/rspm/");
    let link = tags.iter().find(|tag| tag.get("rel") == Some("search")).expect("a link");
    assert_eq!(
        (link.get("type"), link.get("href")),
        (Some("application/opensearchdescription+xml"), Some("./assets/opensearch.xml"))
    );
    let document = server.get("/rspm/assets/opensearch.xml");
    assert_eq!(document.header("content-type"), Some("application/opensearchdescription+xml"));
    let text = document.text();
    assert!(text.contains("template=\"https://pm.example.org/rspm/?q={searchTerms}\""), "{text}");
    assert_eq!(texts(&document)[..2], ["rstudio-pm", "Packages of https://pm.example.org/rspm"]);
}
