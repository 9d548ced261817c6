//! Headers of pages and their assets, conditional requests, compression.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use super::document;
use crate::support::advisories;
use crate::support::data;
use crate::support::full_mirror::{self, Size};
use crate::support::http::{self, Answer};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const PAGES: [&str; 17] = [
    "/",
    "/client/",
    "/__docs__/",
    "/__docs__/runbooks/disk-full/",
    "/team/latest/",
    "/team/latest/web/packages/",
    "/team/latest/web/packages/alpha/",
    "/team/latest/web/packages/alpha/versions/",
    "/team/latest/web/packages/alpha/history/",
    "/team/latest/web/packages/alpha/dependents/",
    "/team/latest/web/packages/beta/dependencies/",
    "/team/latest/web/packages/alpha/binaries/",
    "/team/latest/web/packages/alpha/why/?platform=noble&agent=R+%284.4.1%29",
    "/team/latest/web/vulnerabilities/",
    "/team/latest/web/lockfile/",
    "/team/latest/web/changes/",
    "/__api__/swagger/",
];

fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::request("GET", &server.url(path), headers, b"")
}

fn assert_headers(answer: &Answer, path: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-cache"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{path}: {name}");
    }
    assert!(answer.header("vary").is_some_and(|vary| vary.starts_with("Accept-Encoding")), "{path}");
    let policy = answer.header("content-security-policy").expect("a policy");
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
}

#[test]
fn every_page_has_the_headers_of_pages_also_an_error() {
    let sniffing = Builder::default().gcfg("[Server]\nContentTypeSniffing = true").start();
    assert_headers(&sniffing.get("/"), "/ with ContentTypeSniffing");
    let server = super::server();
    for path in PAGES {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_headers(&answer, path);
        document::page(&answer, path);
        let script = answer.header("content-security-policy").and_then(|policy| policy.split('\'').nth(3));
        assert!(
            script.is_some_and(|digest| answer.text().contains(digest)),
            "{path}: the script of the policy"
        );
    }
    for path in ["/nothing/latest/", "/team/latest/web/packages/nothing/", "/team/2001-01-01/web/packages/"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_headers(&answer, path);
        document::page(&answer, path);
    }
    let long = format!("/team/latest/web/packages/?q={}", "x".repeat(5_000));
    for (path, status) in [
        ("/team/2026-13-01/", 404),
        ("/team/latestt/web/packages/alpha/", 404),
        ("/team/latest/web/nothing/", 404),
        ("/team/__linux__/noble/x/", 404),
        ("/team/latest/web/changes/?since=%FF", 400),
        ("/?q=%00", 400),
        (long.as_str(), 414),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert_headers(&answer, path);
        document::page(&answer, path);
    }
    // Browsers accept HTML at addresses that programs request, too.
    server.rspm_stdout("create repo --name=secret --authenticated");
    let browser = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    for (path, status) in [
        ("/nothing", 404),
        ("/nothing/", 404),
        ("/nothing/?day=2026-11-20", 404),
        ("/nothing/?day=%FF", 400),
        ("/team/?day=2026-13-13", 400),
        ("/secret/", 401),
    ] {
        let page = get(&server, path, &browser);
        assert_eq!(page.status, status, "{path}");
        if status == 401 {
            assert_eq!(page.header("cache-control"), Some("private, no-cache"), "{path}");
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        } else {
            assert_headers(&page, path);
        }
        document::page(&page, path);
        let text = get(&server, path, &[("Accept", "*/*")]);
        assert_eq!(
            (text.status, text.header("content-type")),
            (status, Some("text/plain; charset=utf-8")),
            "{path}"
        );
    }
    // R and other programs read these errors.
    for path in [
        "/team/x/src/contrib/PACKAGES",
        "/nothing/latest/src/contrib/PACKAGES",
        "/team/latest/src/contrib/nothing_1.tar.gz",
    ] {
        assert_eq!(server.get(path).header("content-type"), Some("text/plain; charset=utf-8"), "{path}");
    }
}

#[test]
fn a_page_is_sent_again_only_if_it_differs() {
    let server = super::server();
    let etag = |path: &str| server.get(path).header("etag").expect("an ETag").to_owned();
    let before: Vec<(&str, String)> = PAGES.iter().map(|path| (*path, etag(path))).collect();
    for (path, etag) in &before {
        assert!(etag.starts_with("W/\""), "{path}: {etag}");
        let again = get(&server, path, &[("If-None-Match", etag)]);
        assert_eq!(
            (again.status, again.body.len(), again.header("etag")),
            (304, 0, Some(etag.as_str())),
            "{path}"
        );
        let compressed = get(&server, path, &[("If-None-Match", etag), ("Accept-Encoding", "gzip")]);
        assert_eq!(compressed.status, 304, "{path}");
        let (page, head) = (server.get(path), http::request("HEAD", &server.url(path), &[], b""));
        assert_eq!(head.header("content-length"), page.header("content-length"), "{path}");
    }
    server.add("team", &Tarball::new("gamma", "1.0"));
    let is_changed =
        |path: &str| before.iter().any(|(other, etag_before)| *other == path && *etag_before != etag(path));
    assert!(is_changed("/") && is_changed("/team/latest/web/packages/"));
    assert!(!is_changed("/team/latest/web/packages/alpha/") && !is_changed("/__api__/swagger/"));
}

#[test]
fn an_advisory_changes_the_pages_that_show_it_and_no_others() {
    let mirror = data::path("cran-mirror");
    let gcfg =
        format!("[CRAN]\nURL = file://{}\n[Vulnerabilities]\nURL = file://{{dir}}/own", mirror.display());
    let server = Builder::default().gcfg(&gcfg).start();
    server.rspm_stdout("create repo --name=cran");
    server.rspm_stdout("subscribe --repo=cran --source=cran");
    server.rspm_stdout("sync --type=CRAN");
    let own = server.dir().join("own");
    advisories::folder(&own, &[advisories::record("RSEC-1", "CRAN", "other", "9.0")]);
    server.sync_of("vulns").expect("advisories");
    let packages = "/cran/latest/web/packages/";
    let paths = ["", "cli/", "cli/versions/", "glue/", "glue/versions/", "cli/history/"];
    let mut paths: Vec<String> = paths.iter().map(|page| format!("{packages}{page}")).collect();
    paths.extend(["/", "/cran/latest/", "/cran/latest/web/vulnerabilities/"].map(str::to_owned));
    let etags = || -> Vec<String> {
        paths.iter().map(|path| server.get(path).header("etag").expect("an ETag").to_owned()).collect()
    };
    let before = etags();
    advisories::folder(&own, &[advisories::record("RSEC-2", "CRAN", "cli", "99.0")]);
    server.sync_of("vulns").expect("advisories");
    let changed: Vec<&str> = paths
        .iter()
        .zip(before.iter().zip(etags()))
        .filter(|(_, (before, after))| **before != *after)
        .map(|(path, _)| path.trim_start_matches("/cran/latest/web/"))
        .collect();
    assert_eq!(changed, ["packages/", "packages/cli/", "packages/cli/versions/", "vulnerabilities/"]);
}

/// The pages of a list whose tags `change` changes.
fn changed<'a>(server: &Server, paths: &[&'a str], change: impl FnOnce()) -> Vec<&'a str> {
    let tag = |path: &str| server.get(path).header("etag").unwrap_or_else(|| panic!("{path}")).to_owned();
    let before: Vec<String> = paths.iter().map(|path| tag(path)).collect();
    change();
    let pairs = paths.iter().zip(before);
    pairs.filter(|(path, before)| tag(path) != *before).map(|(path, _)| *path).collect()
}

#[test]
fn a_readme_changes_the_pages_that_show_it_and_no_others() {
    let server = super::server();
    let file = server.dir().join("alpha_1.1.tar.gz");
    let replace = |readme: &str| {
        std::fs::write(&file, Tarball::new("alpha", "1.1").with("README.md", readme).bytes())
            .expect("written");
        server.rspm_stdout(&format!("add --source=team --path={} --replace", file.display()));
    };
    // The first replacement makes a revision; the second one has the same number of them and the same size.
    replace("# Alpha, the first text\n");
    let folder = "/team/latest/web/packages/alpha/";
    let own = ["", "files/README.md"].map(|page| format!("{folder}{page}"));
    // Not the pages with the size of the archive, or with the time of the last publish.
    let others = ["dependents/", "binaries/"].map(|page| format!("{folder}{page}"));
    let others = others.iter().map(String::as_str);
    let others = others.chain(["/client/", "/team/latest/web/packages/beta/", "/__docs__/"]);
    let paths: Vec<&str> = own.iter().map(String::as_str).chain(others).collect();
    let found = changed(&server, &paths, || replace("# Alpha, another text\n"));
    assert_eq!(found, own.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(server.get(&own[0]).text().contains("another text"));
}

#[test]
fn an_alert_changes_the_home_page_and_no_other() {
    let server = Builder::default().gcfg("[CRAN]\nURL = file://{dir}/mirror").start();
    let mirror = server.dir().join("mirror");
    full_mirror::write(&mirror, Size { listed_count: 3, archived_count: 0 }, None).expect("written");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server.rspm_stdout("sync --type=CRAN");
    let packages = server.get("/__api__/repos/prod/packages").json();
    let package = format!("/prod/latest/web/packages/{}/", packages[0]["name"].as_str().expect("a package"));
    let paths = [
        "/",
        "/client/",
        "/prod/latest/",
        "/prod/latest/web/packages/",
        &package,
        "/prod/latest/web/vulnerabilities/",
        "/prod/latest/web/changes/",
        "/__docs__/",
    ];
    let other = server.dir().join("elsewhere");
    let found = changed(&server, &paths, || {
        std::fs::rename(&mirror, &other).expect("renamed");
        server.sync_of("CRAN").expect_err("there is no mirror");
    });
    assert_eq!(found, ["/", "/client/"]);
    let found = changed(&server, &paths, || {
        std::fs::rename(&other, &mirror).expect("renamed");
        server.sync_of("CRAN").expect("a sync");
    });
    assert_eq!(found, ["/", "/client/"], "the alert is gone");
}

#[test]
fn pages_are_compressed_and_within_their_budgets() {
    let server = super::server();
    for path in PAGES {
        let limit = match path {
            "/" | "/client/" => 8_000,
            "/team/latest/" | "/team/latest/web/packages/" => 15_000,
            _ => 30_000,
        };
        let (plain, compressed) = (server.get(path), get(&server, path, &[("Accept-Encoding", "br, gzip")]));
        assert_eq!(
            (plain.header("content-encoding"), compressed.header("content-encoding")),
            (None, Some("gzip"))
        );
        let mut text = String::new();
        flate2::read::GzDecoder::new(compressed.body.as_slice()).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, plain.text(), "{path}");
        assert!(compressed.body.len() <= limit, "{path}: {} bytes", compressed.body.len());
    }
}

/// Returns the listed package that the largest number of packages import.
fn most_imported(index: &Path) -> String {
    let file = std::fs::File::open(index).expect("an index");
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    let listed: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("Imports: ")) {
        for name in line.split(',').filter_map(|part| part.split_whitespace().next()) {
            *counts.entry(name).or_default() += usize::from(listed.contains(name));
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).expect("a package").0.to_owned()
}

#[test]
fn pages_of_a_full_index_are_within_their_budgets() {
    // The size of CRAN; of its archive a part, because pages show one package at a time.
    let size = Size { listed_count: 23_000, archived_count: 8_000 };
    let server = Builder::default().gcfg("[CRAN]\nURL = file://{dir}/mirror").start();
    let index = data::path("cran-index-full/PACKAGES.gz");
    full_mirror::write(&server.dir().join("mirror"), size, Some(&index)).expect("written");
    server.rspm_stdout("sync --type=CRAN");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    let package_name = most_imported(&server.dir().join("mirror/src/contrib/PACKAGES.gz"));
    let package = format!("/prod/latest/web/packages/{package_name}/");
    // Paths with their limits in bytes: compressed, and not.
    for (path, compressed_limit, plain_limit) in [
        ("/", 8_000, 60_000),
        ("/prod/latest/", 15_000, 80_000),
        ("/prod/latest/web/packages/", 15_000, 120_000),
        (package.as_str(), 30_000, 160_000),
        ("/prod/latest/web/changes/", 30_000, 200_000),
    ] {
        let compressed = get(&server, path, &[("Accept-Encoding", "gzip")]);
        assert_eq!(compressed.status, 200, "{path}");
        assert!(
            compressed.body.len() <= compressed_limit,
            "{path}: {} bytes compressed",
            compressed.body.len()
        );
        let text = server.get(path).text();
        assert!(text.len() <= plain_limit, "{path}: {} bytes", text.len());
        let element_count = text.matches('<').count() - text.matches("</").count();
        assert!(element_count <= 1_500, "{path}: {element_count} elements");
    }
}

#[test]
fn assets_are_immutable_and_an_old_name_gets_the_current_content() {
    let server = super::server();
    let elements = document::page(&server.get("/"), "/");
    let addresses: Vec<String> = elements
        .iter()
        .filter_map(|element| element.get("src").or_else(|| element.get("href")))
        .filter_map(|address| Some(format!("/assets/{}", address.strip_prefix("./assets/")?)))
        .filter(|address| !address.ends_with(".xml"))
        .collect();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    for path in &addresses {
        let (plain, compressed) = (server.get(path), get(&server, path, &[("Accept-Encoding", "gzip")]));
        assert_eq!(plain.header("cache-control"), Some("max-age=31536000, immutable"), "{path}");
        assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));
        let etag = plain.header("etag").expect("an ETag");
        assert!(
            !etag.starts_with("W/")
                && (compressed.header("content-encoding").is_none()
                    || compressed.header("etag") != Some(etag))
        );
        assert_eq!(get(&server, path, &[("If-None-Match", etag)]).status, 304);
        let (stem, rest) = path.split_once('.').expect("a digest");
        let (_, extension) = rest.split_once('.').expect("an extension");
        let old = server.get(&format!("{stem}.0000000000000000.{extension}"));
        assert_eq!((old.status, old.header("cache-control")), (200, Some("no-cache")), "{path}");
        assert_eq!(old.body, plain.body);
    }
    assert_eq!(server.get("/assets/ui.css").status, 404);
    assert_eq!(server.get("/favicon.ico").header("content-type"), Some("image/vnd.microsoft.icon"));
    assert!(server.get("/robots.txt").text().contains("Disallow: /\n"));
}
