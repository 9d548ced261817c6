//! Block rules on a server with R packages: index, file, archive, API, search, explanation and pages agree.

use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use rstudio_pm::r::rds::RdsLimits;
use rstudio_pm::r::rds::archive_meta::{read_archive_meta, read_current_meta};
use rstudio_pm::r::rds::packages::read_package_table;
use serde_json::{Value, json};

use crate::support::advisories::{folder, record};
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::mirror::{Entry, Mirror};
use crate::support::mirror_dir::MirrorDir;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn package(version: &str, license: &str) -> Tarball {
    Tarball::new("one", version).field(&format!("License: {license}"))
}

/// A local source with versions 1.0, 1.1 and 2.0 of the package `one`, and the package `two`, in the repository `prod`.
fn server() -> Server {
    let server = Server::start();
    let packages =
        [package("1.0", "MIT"), package("1.1", "MIT"), package("2.0", "AGPL-3"), Tarball::new("two", "1.0")];
    server.local_repository("prod", &packages);
    server
}

const BASE: &str = "/prod/latest/src/contrib";

fn index(server: &Server, path: &str) -> Vec<String> {
    let text = server.get(&format!("{path}/PACKAGES")).text();
    let field = |record: &str, tag: &str| {
        record.lines().find_map(|line| line.strip_prefix(tag)).unwrap_or_default().to_owned()
    };
    let records = text.split("\n\n").filter(|record| !record.trim().is_empty());
    records.map(|record| format!("{} {}", field(record, "Package: "), field(record, "Version: "))).collect()
}

/// `package version` of the rows of `PACKAGES.rds`.
fn rds_index(server: &Server, base: &str) -> Vec<String> {
    let bytes = server.get(&format!("{base}/PACKAGES.rds")).body;
    let table = read_package_table(bytes.as_slice(), RdsLimits::META).expect("a table");
    let value = |row, field| table.get(row, field).unwrap_or_default();
    (0..table.len()).map(|row| format!("{} {}", value(row, "Package"), value(row, "Version"))).collect()
}

/// The files of `Meta/current.rds` or `Meta/archive.rds`, sorted.
fn meta(server: &Server, table: &str) -> Vec<String> {
    let bytes = server.get(&format!("{BASE}/Meta/{table}.rds")).body;
    let rows = match table {
        "current" => read_current_meta(bytes.as_slice(), RdsLimits::META),
        _ => read_archive_meta(bytes.as_slice(), RdsLimits::META),
    };
    let folder = |package: &str| if table == "current" { String::new() } else { format!("{package}/") };
    let rows = rows.expect("a table").into_iter();
    let mut files: Vec<String> = rows.map(|row| format!("{}{}", folder(&row.package), row.file)).collect();
    files.sort();
    files
}

fn status(server: &Server, file: &str) -> u16 {
    server.get(&format!("{BASE}/{file}")).status
}

fn assert_blocked(answer: &Answer, reason: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(answer.header("x-pm-reason"), Some(reason));
}

#[test]
fn the_highest_allowed_version_takes_the_place_of_a_blocked_one_everywhere() {
    let server = server();
    let etag = server.get(&format!("{BASE}/one_2.0.tar.gz")).header("etag").expect("an ETag").to_owned();
    let archive_before = server.get(&format!("{BASE}/Meta/archive.rds")).body;
    server
        .rspm_stdout("create blocklist-rule --package-name=one --version=>=2.0 --description=colors~differ");

    assert_eq!(index(&server, BASE), ["one 1.1", "two 1.0"]);
    let linux = "/prod/__linux__/noble/latest/src/contrib";
    let binary = "/prod/latest/bin/linux/noble-x86_64/4.5/src/contrib";
    for base in [BASE, linux, binary] {
        assert_eq!(index(&server, base), ["one 1.1", "two 1.0"], "{base}");
        let text = server.get(&format!("{base}/PACKAGES")).body;
        let gz = server.get(&format!("{base}/PACKAGES.gz")).body;
        let mut decoded = Vec::new();
        MultiGzDecoder::new(gz.as_slice()).read_to_end(&mut decoded).expect("a gzip");
        assert!(decoded == text, "{base}: PACKAGES.gz: {}", String::from_utf8_lossy(&decoded));
        assert_eq!(rds_index(&server, base), ["one 1.1", "two 1.0"], "{base}: PACKAGES.rds");
    }
    assert_eq!(meta(&server, "current"), ["one_1.1.tar.gz", "two_1.0.tar.gz"]);
    assert_eq!(meta(&server, "archive"), ["one/one_1.0.tar.gz"], "1.1 is listed, and 2.0 is nowhere");

    let reason = "rule 1 (colors differ; versions >=2.0)";
    let text =
        format!("one 2.0 is blocked in this repository by {reason}; the highest allowed version is 1.1\n");
    for path in [
        format!("{BASE}/one_2.0.tar.gz"),
        format!("{BASE}/Archive/one/one_2.0.tar.gz"),
        format!("{linux}/one_2.0.tar.gz"),
    ] {
        let url = server.url(&path);
        let answer = http::get(&url);
        assert_blocked(&answer, reason);
        assert_eq!(answer.text(), text, "{path}");
        let head = http::request("HEAD", &url, &[], b"");
        assert_blocked(&head, reason);
        assert!(head.body.is_empty());
        assert_blocked(&http::request("GET", &url, &[("Range", "bytes=0-9")], b""), reason);
        assert_blocked(&http::request("GET", &url, &[("If-None-Match", &etag)], b""), reason);
    }
    for file in ["one_1.1.tar.gz", "Archive/one/one_1.0.tar.gz", "two_1.0.tar.gz"] {
        assert_eq!(status(&server, file), 200, "{file}");
    }

    let detail = server.get("/__api__/repos/prod/packages/one").json();
    assert_eq!(
        (&detail["version"], &detail["blocked"], &detail["is_archived"]),
        (&json!("1.1"), &json!(false), &json!(false))
    );
    let archived = detail["archived"].as_array().expect("a list");
    let blocked: Vec<&Value> = archived.iter().filter(|row| row["blocked"] == true).collect();
    assert_eq!((blocked.len(), &blocked[0]["version"]), (1, &json!("2.0")));
    assert_eq!(blocked[0]["blocking_rule"], reason);
    let listed = server.get("/__api__/repos/prod/packages?name=one").json();
    assert_eq!(listed[0]["version"], "1.1");
    let filter = |names: Value| {
        let body =
            json!({ "repo": "prod", "snapshot": "latest", "names": names, "omit_package_details": true });
        let headers = [("Content-Type", "application/json")];
        let url = server.url("/__api__/filter/packages");
        let answer = http::request("POST", &url, &headers, body.to_string().as_bytes());
        serde_json::from_str::<Value>(answer.text().trim()).expect("one line")
    };
    assert_eq!(filter(json!(["one==2.0"]))["blocked"], true);
    assert_eq!(filter(json!(["one==1.1"]))["blocked"], false);

    let explained = server.rspm_stdout("explain prod one --version=2.0");
    assert!(explained.contains("403: one 2.0 is blocked") && explained.contains(reason), "{explained}");
    let explained = server.rspm_stdout("explain prod one");
    assert!(explained.contains("one 1.1") && explained.contains("blocked one replaces it"), "{explained}");
    let page = server.get("/prod/latest/web/packages/one/?version=2.0").text();
    assert!(page.contains("This version is blocked in this repository by rule 1"), "{page}");
    let page = server.get("/prod/latest/web/packages/one/").text();
    assert!(page.contains("Version 2.0 is blocked in this repository by rule 1"), "{page}");
    let versions = server.get("/prod/latest/web/packages/one/versions").text();
    assert!(versions.contains("blocked") && versions.contains("rule 1"), "{versions}");

    server.rspm_stdout("delete blocklist-rule --id=1");
    assert_eq!(index(&server, BASE), ["one 2.0", "two 1.0"]);
    assert_eq!(rds_index(&server, BASE), ["one 2.0", "two 1.0"]);
    assert_eq!(meta(&server, "current"), ["one_2.0.tar.gz", "two_1.0.tar.gz"]);
    assert_eq!(meta(&server, "archive"), ["one/one_1.0.tar.gz", "one/one_1.1.tar.gz"]);
    assert_eq!(status(&server, "one_2.0.tar.gz"), 200);
    assert_eq!(server.get(&format!("{BASE}/Meta/archive.rds")).body, archive_before);
}

#[test]
fn a_warning_leaves_a_version_available_and_every_view_states_the_reason() {
    let server = server();
    let created = server.rspm_stdout(
        "create blocklist-rule --package-name=one --version=2.0 --warn --description=ask~security",
    );
    assert!(created.starts_with("ID: 1  Priority: 100  Warning\n"), "{created}");
    assert!(
        created.contains("Warns about the listed version of 1 of 2 packages in prod: one 2.0"),
        "{created}"
    );
    let reason = "rule 1 (ask security; versions 2.0)";
    assert_eq!(index(&server, BASE), ["one 2.0", "two 1.0"]);
    let url = server.url(&format!("{BASE}/one_2.0.tar.gz"));
    let answer = http::get(&url);
    assert_eq!((answer.status, answer.header("x-pm-reason")), (200, Some(reason)));
    let etag = answer.header("etag").expect("an ETag").to_owned();
    for (method, headers, status) in [
        ("GET", vec![("Range", "bytes=0-9")], 206),
        ("GET", vec![("If-None-Match", etag.as_str())], 304),
        ("HEAD", Vec::new(), 200),
        ("GET", Vec::new(), 200),
    ] {
        let answer = http::request(method, &url, &headers, b"");
        assert_eq!((answer.status, answer.header("x-pm-reason")), (status, Some(reason)), "{method}");
    }
    for file in ["two_1.0.tar.gz", "Archive/one/one_1.1.tar.gz"] {
        let answer = server.get(&format!("{BASE}/{file}"));
        assert_eq!((answer.status, answer.header("x-pm-reason")), (200, None), "{file}");
    }

    let detail = server.get("/__api__/repos/prod/packages/one").json();
    assert_eq!((&detail["blocked"], &detail["warning"]), (&json!(false), &json!(reason)));
    assert!(server.get("/__api__/repos/prod/packages/two").json().get("warning").is_none());
    let explained = server.rspm_stdout("explain prod one");
    assert!(explained.contains("available with a warning") && explained.contains(reason), "{explained}");
    let page = server.get("/prod/latest/web/packages/one/").text();
    assert!(page.contains("of this repository about this version: rule 1 (ask security"), "{page}");
    let versions = server.get("/prod/latest/web/packages/one/versions").text();
    assert!(versions.contains("rule 1 (ask security") && versions.contains("one_2.0.tar.gz\""), "{versions}");
    let tested = server.rspm_stdout("test blocklist-rules --repo=prod --package-name=one");
    assert!(
        tested.contains(&format!("one 2.0 is available in prod with a warning of {reason}.")),
        "{tested}"
    );

    // A rule that blocks precedes a warning of the same priority; without the warning it is a block.
    server.rspm_stdout("create blocklist-rule --package-name=one --version=2.0");
    assert_blocked(&http::get(&url), "rule 2 (versions 2.0)");
    server.rspm_stdout("delete blocklist-rule --id=2");
    assert_eq!(http::get(&url).header("x-pm-reason"), Some(reason));
    server.rspm_stdout("edit blocklist-rule --id=1 --warn=false");
    assert_blocked(&http::get(&url), reason);
    let refused = server.refused("edit blocklist-rule --id=1 --warn --exception");
    assert!(refused.contains("an exception or a warning, not both"), "{refused}");
    server.rspm_stdout("delete blocklist-rule --id=1");
    assert_eq!(http::get(&url).header("x-pm-reason"), None);
}

#[test]
fn a_description_in_any_script_is_readable_in_the_header_and_the_body() {
    let server = server();
    server.rspm_stdout(
        "create blocklist-rule --package-name=one --version=2.0 --description=zurückgezogen~100%",
    );
    let answer = server.get(&format!("{BASE}/one_2.0.tar.gz"));
    assert_blocked(&answer, "rule 1 (zur%C3%BCckgezogen 100%25; versions 2.0)");
    assert!(answer.text().contains("by rule 1 (zurückgezogen 100%; versions 2.0)"), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    server.rspm_stdout("edit blocklist-rule --id=1 --warn");
    let answer = server.get(&format!("{BASE}/one_2.0.tar.gz"));
    let reason = "rule 1 (zur%C3%BCckgezogen 100%25; versions 2.0)";
    assert_eq!((answer.status, answer.header("x-pm-reason")), (200, Some(reason)));
}

#[test]
fn a_package_whose_versions_are_all_blocked_is_absent_and_forbidden() {
    let server = server();
    server.rspm_stdout("create source --name=later");
    server.add("later", &package("9.0", "MIT"));
    server.rspm_stdout("subscribe --repo=prod --source=later");
    server.rspm_stdout("create blocklist-rule --package-name=one");
    assert_eq!(index(&server, BASE), ["two 1.0"], "the name is not given to another source");
    for file in ["one_2.0.tar.gz", "one_1.1.tar.gz", "Archive/one/one_1.0.tar.gz"] {
        let answer = server.get(&format!("{BASE}/{file}"));
        assert_blocked(&answer, "rule 1");
        assert!(answer.text().ends_with("no version of the package is allowed\n"), "{}", answer.text());
    }
    assert_eq!(status(&server, "one_9.0.tar.gz"), 404, "another source's");
    assert_eq!(status(&server, "one_7.7.tar.gz"), 404, "it does not exist");
    let today = server.get("/prod/latest/src/contrib/PACKAGES.gz").status;
    assert_eq!(today, 200);
}

#[test]
fn rules_of_a_repository_or_source_leave_others_as_they_are() {
    let server = server();
    server.rspm_stdout("create repo --name=dev");
    server.rspm_stdout("subscribe --repo=dev --source=prod");
    let dev = server.get("/dev/latest/src/contrib/PACKAGES.gz");
    server.rspm_stdout("create blocklist-rule --package-name=one --repo=prod");
    assert_eq!(index(&server, BASE), ["two 1.0"]);
    let etag = dev.header("etag").expect("an ETag").to_owned();
    let url = server.url("/dev/latest/src/contrib/PACKAGES.gz");
    assert_eq!(http::request("GET", &url, &[("If-None-Match", &etag)], b"").status, 304);
    assert_eq!(server.get("/dev/latest/src/contrib/one_2.0.tar.gz").status, 200);
    // A rule refers to the source, not to its name.
    server.rspm_stdout("delete blocklist-rule --id=all");
    server.rspm_stdout("create blocklist-rule --package-name=two --source=prod");
    server.rspm_stdout("edit source --name=prod --new-name=renamed");
    assert_eq!(index(&server, BASE), ["one 2.0"]);
    let listed = server.rspm_stdout("list blocklist-rules");
    assert!(listed.contains("  - Source: renamed\n") || listed.contains("  - Source: renamed"), "{listed}");
    server.rspm_stdout("unsubscribe --repo=prod --source=renamed");
    server.rspm_stdout("unsubscribe --repo=dev --source=renamed");
    server.rspm_stdout("delete source --name=renamed --with-packages");
    let listed = server.rspm_stdout("list blocklist-rules");
    assert!(listed.contains("Without effect: its source"), "{listed}");
}

#[test]
fn the_versions_of_a_source_state_the_rules_of_all_repositories_and_no_others() {
    let server = server();
    let blocked = || -> Vec<(String, bool, Value)> {
        let rows = server.get("/__api__/sources/prod/packages/one/releases").json();
        let row = |row: &Value| {
            let version = row["version"].as_str().expect("a version").to_owned();
            (version, row["blocked"].as_bool().expect("a boolean"), row["blocking_rule"].clone())
        };
        let mut rows: Vec<_> = rows.as_array().expect("releases").iter().map(row).collect();
        rows.sort_by(|a, b| b.0.cmp(&a.0));
        rows
    };
    let allowed = |version: &str| (version.to_owned(), false, Value::Null);
    let all_allowed = ["2.0", "1.1", "1.0"].map(allowed);
    assert_eq!(blocked(), all_allowed);
    // Rules of a repository, another package and another source do not count.
    for flags in [
        "--repo=prod --package-name=one",
        "--package-name=two",
        "--source=cran --all",
        "--license=AGPL --warn",
    ] {
        server.rspm_stdout(&format!("create blocklist-rule {flags}"));
    }
    assert_eq!(blocked(), all_allowed);
    server.rspm_stdout("create blocklist-rule --license=AGPL --priority=50 --description=legal");
    server.rspm_stdout("create blocklist-rule --package-name=one --version=<1.1 --source=prod");
    let expected = [
        ("2.0".to_owned(), true, json!("rule 5 (legal; license AGPL-3)")),
        allowed("1.1"),
        ("1.0".to_owned(), true, json!("rule 6 (versions <1.1)")),
    ];
    assert_eq!(blocked(), expected);
    server.rspm_stdout("create blocklist-rule --package-name=one --exception --priority=1 --repo=prod");
    assert_eq!(blocked(), expected, "an exception of a repository");
    server.rspm_stdout("create blocklist-rule --package-name=one --exception --priority=1");
    assert_eq!(blocked(), all_allowed);
}

#[test]
fn an_exception_of_the_same_priority_allows_what_a_rule_blocks() {
    let server = server();
    server.rspm_stdout("create blocklist-rule --license=AGPL");
    assert_eq!(index(&server, BASE), ["one 1.1", "two 1.0"]);
    assert_blocked(&server.get(&format!("{BASE}/one_2.0.tar.gz")), "rule 1 (license AGPL-3)");
    server.rspm_stdout("create blocklist-rule --license=AGPL --source=prod --exception");
    assert_eq!(index(&server, BASE), ["one 2.0", "two 1.0"]);
    server.rspm_stdout("create blocklist-rule --package-name=one --priority=50");
    assert_eq!(index(&server, BASE), ["two 1.0"]);
    server.rspm_stdout("edit blocklist-rule --id=3 --priority=150");
    assert_eq!(index(&server, BASE), ["one 2.0", "two 1.0"], "the exception precedes it");
    server.rspm_stdout("delete blocklist-rule --id=2-3");
    server.rspm_stdout("edit blocklist-rule --id=1 --license= --license-types=AGPL-3.0-only,GPL-3.0-only");
    assert_eq!(index(&server, BASE), ["one 1.1", "two 1.0"]);
}

#[test]
fn a_vulnerability_blocks_from_the_next_refresh_of_advisories_until_it_is_withdrawn() {
    let entry = |package: &str, version: &str| {
        let bytes = Tarball::new(package, version).bytes();
        Entry { package: package.to_owned(), version: version.to_owned(), bytes }
    };
    let mirror = Mirror::of(&[entry("one", "1.0"), entry("two", "2.0")], &[]);
    let gcfg = format!("[CRAN]\nURL = {}\n[Vulnerabilities]\nURL = file://{{dir}}/own", mirror.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    let url = server.rspm("url create --repo=prod --lock").out;
    let frozen = format!("{}/src/contrib", url.trim().split_at(url.find("/prod/").expect("a path")).1);
    server.local_repository("later", &[Tarball::new("three", "1.0")]);
    let created = server.rspm_stdout("create blocklist-rule --vulns");
    assert!(created.contains(" -- Dated snapshots: affected, by the advisories of today"), "{created}");
    assert_eq!(index(&server, BASE), ["one 1.0", "two 2.0"]);
    folder(&server.dir().join("own"), &[record("x_OWN-1", "CRAN", "one", "2.0")]);
    server.sync_of("vulns").expect("advisories");
    assert_eq!(index(&server, BASE), ["two 2.0"]);
    let today = server.get(&format!("{BASE}/one_1.0.tar.gz"));
    assert_blocked(&today, "rule 1 (x_OWN-1, without a score)");

    // A fixed URL no longer serves the version; this is logged once. A rule with --not-dated does not change the URL.
    let file = server.url(&format!("{frozen}/one_1.0.tar.gz"));
    assert_eq!(index(&server, &frozen), ["two 2.0"]);
    for method in ["GET", "HEAD", "GET"] {
        assert_eq!(http::request(method, &file, &[], b"").status, 403, "{method}");
    }
    let lines = || {
        let lines = server.log_lines().into_iter();
        lines.filter(|line| line.contains("dated snapshots do not serve a package")).collect::<Vec<_>>()
    };
    until("it is logged", || !lines().is_empty());
    assert_eq!(lines().len(), 1, "{:?}", lines());
    for part in ["prod", "one", "1.0", "x_OWN-1"] {
        assert!(lines()[0].contains(part), "{part}: {:?}", lines());
    }
    let edited = server.rspm_stdout("edit blocklist-rule --id=1 --not-dated");
    assert!(edited.contains(" -- Dated snapshots: not affected"), "{edited}");
    assert_eq!(index(&server, &frozen), ["one 1.0", "two 2.0"]);
    assert_eq!(http::get(&file).status, 200);
    assert_eq!(index(&server, BASE), ["two 2.0"]);
    assert_eq!(status(&server, "one_1.0.tar.gz"), 403);
    assert_eq!(lines().len(), 1);
    let mut withdrawn = record("x_OWN-1", "CRAN", "one", "2.0");
    withdrawn["withdrawn"] = json!("2024-05-07T00:00:00Z");
    folder(&server.dir().join("own"), &[withdrawn]);
    server.sync_of("vulns").expect("advisories");
    assert_eq!(index(&server, BASE), ["one 1.0", "two 2.0"]);
    assert_eq!(status(&server, "one_1.0.tar.gz"), 200);
}

#[test]
fn vulnerabilities_block_versions_in_earlier_snapshots_of_deleted_curated_sources() {
    let entry = |package: &str| {
        let bytes = Tarball::new(package, "1.0").bytes();
        Entry { package: package.to_owned(), version: "1.0".to_owned(), bytes }
    };
    let mirror = Mirror::of(&[entry("one"), entry("two")], &[]);
    let gcfg = format!("[CRAN]\nURL = {}\n[Vulnerabilities]\nURL = file://{{dir}}/own", mirror.url());
    let mut server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.sync().expect("a mirror");
    server.rspm_stdout("create source --name=whole --type=cran-snapshot");
    server.rspm_stdout("create source --name=subset --type=curated-cran");
    let day = server.json("info --source=subset")["definition"]["snapshot"].clone();
    let day = day.as_str().expect("a day");
    let added = server.rspm(&format!("add --source=subset --packages=one,two --snapshot={day} --commit"));
    assert_eq!(added.code, 0, "{}", added.err);
    let folders = ["whole", "subset"].map(|source| {
        server.repository(&format!("of-{source}"), source);
        let url = server.json(&format!("url create --repo=of-{source} --lock"));
        format!("/of-{source}/{}/src/contrib", url["snapshot"].as_str().expect("a snapshot"))
    });
    let states = |server: &Server| {
        folders
            .clone()
            .map(|folder| (index(server, &folder), server.get(&format!("{folder}/one_1.0.tar.gz")).status))
    };
    let both = vec!["one 1.0".to_owned(), "two 1.0".to_owned()];
    assert_eq!(states(&server), [(both.clone(), 200), (both, 200)]);
    server.rspm_stdout("create blocklist-rule --vulns");
    folder(&server.dir().join("own"), &[record("x_OWN-1", "CRAN", "one", "2.0")]);
    server.sync_of("vulns").expect("advisories");
    let allowed = vec!["two 1.0".to_owned()];
    let blocked = [(allowed.clone(), 403), (allowed, 403)];
    assert_eq!(states(&server), blocked);
    for source in ["whole", "subset"] {
        server.rspm_stdout(&format!("unsubscribe --repo=of-{source} --source={source}"));
        server.rspm_stdout(&format!("delete source --name={source} --with-packages"));
    }
    assert_eq!(states(&server), blocked);
    server.restart();
    assert_eq!(states(&server), blocked);
}

#[test]
fn a_minimum_severity_counts_vulnerabilities_without_a_score_unless_the_rule_states_otherwise() {
    let entry = |package: &str| {
        let bytes = Tarball::new(package, "1.0").bytes();
        Entry { package: package.to_owned(), version: "1.0".to_owned(), bytes }
    };
    let mirror = Mirror::of(&["both", "critical", "medium", "safe", "unscored"].map(entry), &[]);
    let gcfg = format!("[CRAN]\nURL = {}\n[Vulnerabilities]\nURL = file://{{dir}}/own", mirror.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    let scored = |id: &str, package: &str, vector: &str| {
        let mut record = record(id, "CRAN", package, "2.0");
        record["severity"] = json!([{ "type": "CVSS_V3", "score": vector }]);
        record
    };
    let records = [
        scored("x_OWN-1", "critical", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"),
        scored("x_OWN-2", "medium", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N"),
        record("x_OWN-3", "CRAN", "unscored", "2.0"),
        scored("x_OWN-4", "both", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N"),
        record("x_OWN-5", "CRAN", "both", "2.0"),
    ];
    folder(&server.dir().join("own"), &records);
    server.sync_of("vulns").expect("advisories");
    let assert_served = |served: &[&str], reasons: &[(&str, &str)]| {
        let expected: Vec<String> = served.iter().map(|name| format!("{name} 1.0")).collect();
        assert_eq!(index(&server, BASE), expected);
        for name in served {
            assert_eq!(status(&server, &format!("{name}_1.0.tar.gz")), 200, "{name}");
        }
        for (name, reason) in reasons {
            let answer = server.get(&format!("{BASE}/{name}_1.0.tar.gz"));
            assert_blocked(&answer, &format!("rule 1 ({reason})"));
        }
    };
    let (critical, medium, unscored) = (
        ("critical", "x_OWN-1, severity 9.8"),
        ("medium", "x_OWN-2, severity 5.3"),
        ("unscored", "x_OWN-3, without a score"),
    );
    let created = server.rspm_stdout("create blocklist-rule --min-severity=7.0");
    assert!(created.contains("  - Without a score: match\n"), "{created}");
    // The reason is a vulnerability that matches, not the one with the highest score.
    let both = ("both", "x_OWN-5, without a score");
    assert_served(&["medium", "safe"], &[critical, unscored, both]);
    let edited = server.rspm_stdout("edit blocklist-rule --id=1 --block-unscored=false");
    assert!(edited.contains("  - Without a score: do not match\n"), "{edited}");
    assert_served(&["both", "medium", "safe", "unscored"], &[critical]);
    server.rspm_stdout("edit blocklist-rule --id=1 --min-severity=5.3");
    assert_served(&["safe", "unscored"], &[critical, medium, ("both", "x_OWN-4, severity 5.3")]);
    server.rspm_stdout("edit blocklist-rule --id=1 --min-severity=9.9");
    assert_served(&["both", "critical", "medium", "safe", "unscored"], &[]);
    server.rspm_stdout("edit blocklist-rule --id=1 --block-unscored");
    assert_served(&["critical", "medium", "safe"], &[unscored, both]);
    server.rspm_stdout("delete blocklist-rule --id=1");
    server.rspm_stdout("create blocklist-rule --package-name=other");
    server.rspm_stdout("create blocklist-rule --min-severity=7.0 --block-unscored=false");
    assert_eq!(index(&server, BASE), ["both 1.0", "medium 1.0", "safe 1.0", "unscored 1.0"]);
    assert_served(&["both", "medium", "safe", "unscored"], &[]);
}

#[test]
fn a_rule_about_deleted_packages_blocks_what_only_the_archive_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut mirror = MirrorDir::new(directory.path().join("mirror"));
    for (package, version) in [("gone", "1.0"), ("gone", "1.1"), ("stays", "1.0"), ("stays", "2.0")] {
        mirror.simple(package, version, "2024-02-01");
    }
    (0..8).for_each(|number| mirror.simple(&format!("other{number}"), "1.0", "2024-02-01"));
    mirror.write();
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    server.rspm_stdout("create blocklist-rule --deleted-packages --description=ask");
    let of_gone = ["gone_1.1.tar.gz", "Archive/gone/gone_1.0.tar.gz", "Archive/gone/gone_1.1.tar.gz"];
    assert_eq!(status(&server, of_gone[0]), 200, "it is listed");
    assert_eq!(status(&server, of_gone[1]), 200, "a version of the package is listed");
    mirror.archive("gone", "2024-03-01");
    mirror.write();
    server.sync().expect("a mirror");
    let reason = "rule 1 (ask; no version of the package is listed any more)";
    for file in &of_gone[1..] {
        assert_blocked(&server.get(&format!("{BASE}/{file}")), reason);
    }
    assert_eq!(meta(&server, "archive"), ["stays/stays_1.0.tar.gz"]);
    assert_eq!(status(&server, "Archive/stays/stays_1.0.tar.gz"), 200);
    assert!(index(&server, BASE).contains(&"stays 2.0".to_owned()));
    let explained = server.rspm_stdout("explain prod gone --version=1.0");
    assert!(explained.contains(reason), "{explained}");
    // It is listed again.
    mirror.simple("gone", "1.2", "2024-04-01");
    mirror.write();
    server.sync().expect("a mirror");
    for file in ["gone_1.2.tar.gz", of_gone[1], of_gone[2]] {
        assert_eq!(status(&server, file), 200, "{file}");
    }
    assert_eq!(meta(&server, "archive").len(), 3);
}

#[test]
fn an_age_rule_for_a_source_blocks_what_was_just_added() {
    let server = server();
    server.rspm_stdout("create blocklist-rule --min-age=7d");
    assert_eq!(index(&server, BASE), ["one 2.0", "two 1.0"], "own packages have no age for general rules");
    server.rspm_stdout("create blocklist-rule --min-age=7d --source=prod");
    assert_eq!(index(&server, BASE), [""; 0]);
    let answer = server.get(&format!("{BASE}/one_2.0.tar.gz"));
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("younger than 7 days"), "{}", answer.text());
}

#[test]
fn a_download_that_runs_when_a_rule_is_created_ends_and_the_next_is_refused() {
    // More than all buffers between the file and the client hold: those of the sockets grow to 4 and 6 MB on Linux
    // (tcp_wmem, tcp_rmem), and the server reads ahead less than 1 MB. A larger file would be sent in the same way.
    const SIZE: usize = 24 << 20;
    let mirror = Mirror::of(&[Entry::new("one", "1.0", SIZE)], &[]);
    let gcfg = format!("[CRAN]\nURL = {}", mirror.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    let path = format!("{BASE}/one_1.0.tar.gz");
    let whole = server.get(&path).body;
    assert!(whole.len() >= SIZE);
    let mut stream = std::net::TcpStream::connect(server.host()).expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.host());
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = vec![0; 100_000];
    stream.read_exact(&mut response).expect("the beginning");
    server.rspm_stdout("create blocklist-rule --package-name=one");
    assert_eq!(status(&server, "one_1.0.tar.gz"), 403);
    // Most of the file is still to be sent: it is larger than all buffers of the connection.
    stream.read_to_end(&mut response).expect("the rest");
    assert!(response.ends_with(&whole), "{} of {} bytes", response.len(), whole.len());
    assert_eq!(status(&server, "one_1.0.tar.gz"), 403);
}

#[test]
fn an_explanation_states_the_times_of_a_young_release_and_the_vulnerability_that_it_fixes() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut mirror = MirrorDir::new(directory.path().join("mirror"));
    mirror.simple("one", "1.0", "2024-02-01");
    mirror.simple("two", "1.0", "2024-02-01");
    mirror.write();
    let gcfg = format!("[CRAN]\nURL = {}\n[Vulnerabilities]\nURL = file://{{dir}}/own", mirror.url());
    let server = Builder::default().gcfg(&gcfg).start();
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    folder(&server.dir().join("own"), &[record("x_OWN-1", "CRAN", "one", "2.0")]);
    server.sync_of("vulns").expect("advisories");
    // Versions that appear with old dates.
    mirror.simple("one", "2.0", "2024-03-01");
    mirror.simple("two", "2.0", "2024-03-01");
    mirror.write();
    server.sync().expect("a mirror");
    server.rspm_stdout("create blocklist-rule --min-age=7d");
    assert_eq!(index(&server, BASE), ["one 2.0", "two 1.0"]);
    let fixes = "rule 1 admits it early, because it fixes x_OWN-1";
    let one = server.rspm_stdout("explain prod one");
    for part in ["admitted early; published 2024-03-01", "first synchronized 20", fixes] {
        assert!(one.contains(part), "{part}: {one}");
    }
    let test = server.rspm_stdout("test blocklist-rules --repo=prod --package-name=one --version=2.0");
    assert!(test.contains(&format!("one 2.0 is allowed in prod: {fixes}.")), "{test}");
    let two = server.rspm_stdout("explain prod two");
    assert!(two.contains("blocked; published 2024-03-01"), "{two}");
    assert!(two.contains("from which its age counts") && !two.contains("admitted early"), "{two}");

    server.rspm_stdout("edit blocklist-rule --id=1 --min-age-fixes=wait");
    assert_eq!(index(&server, BASE), ["one 1.0", "two 1.0"]);
    let waiting = server.rspm_stdout("explain prod one");
    assert!(waiting.contains("blocked; published 2024-03-01"), "{waiting}");
}

#[test]
fn a_package_without_an_allowed_version_has_its_license_and_its_rule_in_the_api() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut mirror = MirrorDir::new(directory.path().join("mirror"));
    mirror.simple("one", "1.0", "2024-02-01");
    mirror.simple("two", "1.0", "2024-02-01");
    mirror.simple("two", "1.1", "2024-02-02");
    mirror.write();
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    server.rspm_stdout("create blocklist-rule --package-name=one");
    server.rspm_stdout("create blocklist-rule --package-name=two --version=1.0");
    let body = json!({ "repo": "prod", "names": ["one", "two", "two==1.0"] });
    let headers = [("Content-Type", "application/json")];
    let url = server.url("/__api__/filter/packages");
    let answer = http::request("POST", &url, &headers, body.to_string().as_bytes());
    let rows: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let expected = [
        ("one", "1.0", json!("rule 1"), json!([])),
        ("two", "1.1", Value::Null, json!(["1.1"])),
        ("two", "1.0", json!("rule 2 (versions 1.0)"), json!(["1.1"])),
    ];
    assert_eq!(rows.len(), expected.len(), "{}", answer.text());
    for (row, (name, version, rule, versions)) in rows.iter().zip(expected) {
        assert_eq!((&row["name"], &row["version"]), (&json!(name), &json!(version)), "{row}");
        assert_eq!((&row["blocked"], &row["blocking_rule"]), (&json!(!rule.is_null()), &rule), "{row}");
        assert_eq!(row["available_versions"], versions, "{row}");
    }
    assert_eq!((&rows[0]["license"], &rows[0]["license_types"]), (&json!("MIT"), &json!(["MIT"])));
    let detail = server.get("/__api__/repos/prod/packages/one").json();
    assert_eq!((&detail["blocked"], &detail["blocking_rule"]), (&json!(true), &json!("rule 1")), "{detail}");
    assert_eq!(detail["license"], "MIT");
    assert!(server.get("/__api__/repos/prod/packages/two").json().get("blocking_rule").is_none());
}

#[test]
fn a_substitute_is_listed_with_the_record_of_its_source_package_and_not_of_a_binary() {
    let server = Server::start();
    let [_, tally, _] = server.team_with_examples();
    let record = |server: &Server| {
        let text = server.get(&format!("{BASE}/PACKAGES")).text();
        text.split("\n\n")
            .find(|record| record.contains("Package: tally\n"))
            .expect("listed")
            .trim()
            .to_owned()
    };
    let before = record(&server);
    server.rspm_stdout(&format!(
        "add binary --source=team --path={} --distribution=noble",
        tally.binary.display()
    ));
    server.add("team", &Tarball::new("tally", "9.0"));
    assert!(record(&server).contains("Version: 9.0"), "{}", record(&server));

    server.rspm_stdout("create blocklist-rule --package-name=tally --version=>=9.0");
    assert_eq!(record(&server), before);
}
