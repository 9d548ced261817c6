//! Known vulnerabilities in the responses to clients.

use serde_json::{Value, json};

use crate::support::advisories::{folder, record};
use crate::support::data;
use crate::support::http::{self, Answer};
use crate::support::mirror::{Entry, Mirror};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn entry(package: &str, version: &str) -> Entry {
    let bytes = Tarball::new(package, version).bytes();
    Entry { package: package.to_owned(), version: version.to_owned(), bytes }
}

/// A server with the real advisories of CRAN, and a mirror with affected packages.
fn server() -> (Mirror, Server) {
    let mirror = Mirror::of(
        &[entry("png", "0.1-8"), entry("readxl", "1.4.3"), entry("safe", "1.0")],
        &[entry("png", "0.1-2"), entry("readxl", "1.0.0"), entry("readxl", "1.3.1")],
    );
    let advisories = data::path("advisories/cran").canonicalize().expect("it exists");
    let gcfg = format!(
        "[CRAN]\nURL = {}\n[Vulnerabilities]\nURL = file://{}\nURL = file://{{dir}}/own",
        mirror.url(),
        advisories.display()
    );
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    folder(&server.dir().join("own"), &[record("x_OWN-1", "CRAN", "nothing", "1.0")]);
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    (mirror, server)
}

fn ids(vulns: &Value) -> String {
    let rows = vulns.as_array().unwrap_or_else(|| panic!("no list: {vulns}"));
    rows.iter().map(|row| row["id"].as_str().expect("an id")).collect::<Vec<_>>().join(" ")
}

fn post(server: &Server, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    http::request("POST", &server.url("/__api__/filter/packages"), &headers, body.to_string().as_bytes())
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn package_details_lists_and_archived_versions_have_vulnerabilities() {
    let (_mirror, server) = server();
    let detail = |name: &str| server.get(&format!("/__api__/repos/prod/packages/{name}")).json();
    assert_eq!(detail("png")["vulns"], json!([]), "advisories are not synced yet");
    let message = server.sync_of("vulns").expect("advisories");
    let published = data::advisories();
    assert_eq!(message, format!("{} advisories about packages are in use now", published.len() + 1));

    let png = detail("png");
    let vuln = &png["vulns"][0];
    assert_eq!((ids(&png["vulns"]).as_str(), &vuln["aliases"]), ("RSEC-2026-1", &json!([])));
    let advisory_text =
        published.iter().find(|text| text.starts_with("id: RSEC-2026-1\n")).expect("the advisory");
    let field = |tag: &str| {
        let line = advisory_text.lines().find_map(|line| line.strip_prefix(tag)).expect(tag);
        json!(line.trim_matches('"'))
    };
    assert_eq!(vuln["summary"], field("summary: "), "{vuln}");
    assert_eq!((&vuln["published"], &vuln["severity"]), (&field("published: "), &json!([])));
    let events = json!([{ "introduced": "0.1-3" }, { "fixed": "0.1-9" }]);
    assert_eq!(vuln["ranges"], json!([{ "type": "ECOSYSTEM", "events": events }]));
    assert_eq!(png["archived"][0]["vulns"], json!([]), "0.1-2 is not affected: {png}");

    let readxl = detail("readxl");
    assert_eq!(readxl["vulns"], json!([]));
    let vulnerabilities_of = |version: &str| {
        let archived = readxl["archived"].as_array().expect("versions").clone();
        archived.into_iter().find(|row| row["version"] == version).expect(version)["vulns"].clone()
    };
    assert_eq!(
        (ids(&vulnerabilities_of("1.0.0")).as_str(), ids(&vulnerabilities_of("1.3.1")).as_str()),
        ("RSEC-2023-1 RSEC-2023-0", "")
    );
    let mut fields: Vec<String> =
        vulnerabilities_of("1.0.0")[0].as_object().expect("a map").keys().cloned().collect();
    fields.sort_unstable();
    assert_eq!(fields, ["id", "published", "summary"]);
    let archived_detail = server.get("/__api__/repos/prod/packages/readxl?version=1.0.0").json();
    assert_eq!(archived_detail["vulns"].as_array().map(Vec::len), Some(2));

    let list = server.get("/__api__/repos/prod/packages").json();
    let vulns: Vec<String> = list.as_array().expect("a list").iter().map(|row| ids(&row["vulns"])).collect();
    assert_eq!(vulns, ["RSEC-2026-1", "", ""], "png, readxl, safe");
}

#[test]
fn the_vulnerabilities_of_a_repository_are_listed_with_the_affected_versions() {
    let (_mirror, server) = server();
    let list = |query: &str| server.get(&format!("/__api__/repos/prod/vulns{query}")).json();
    assert_eq!(list(""), json!([]), "advisories are not synced yet");
    server.sync_of("vulns").expect("advisories");
    let rows = list("");
    let texts: Vec<String> = rows
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| format!("{} {} {}", row["name"], row["id"], row["versions"]).replace('"', ""))
        .collect();
    assert_eq!(
        texts,
        ["png RSEC-2026-1 [0.1-8]", "readxl RSEC-2023-0 [1.0.0]", "readxl RSEC-2023-1 [1.0.0]"]
    );
    assert_eq!((&rows[0]["fixed_in"], &rows[0]["source"]), (&json!(["0.1-9"]), &json!("cran")));
    assert_eq!(list("?_limit=1&_page=2"), json!([rows[1]]));
    assert_eq!(list("?_limit=1&_page=9"), json!([]));
    let page = server.get("/prod/latest/web/vulnerabilities/").text();
    for part in ["3 advisories", "RSEC-2026-1", "0.1-9", "RSEC-2023-1"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let after_the_last = server.get("/prod/latest/web/vulnerabilities/?page=9");
    assert!(after_the_last.status == 200 && after_the_last.text().contains("3 advisories"));
}

#[test]
fn a_feed_has_the_vulnerabilities_of_a_repository_the_last_changed_first() {
    let (_mirror, server) = server();
    let entries = || {
        let answer = server.get("/prod/latest/web/vulnerabilities.atom");
        assert_eq!(answer.header("content-type"), Some("application/atom+xml; charset=utf-8"));
        let text = answer.text();
        let titles =
            text.split("<entry>").skip(1).map(|entry| entry.split("</title>").next().unwrap_or_default());
        (titles.map(|title| title.split("<title>").nth(1).expect("a title").to_owned()).collect(), text)
    };
    let (none, _): (Vec<String>, String) = entries();
    assert!(none.is_empty(), "{none:?}");
    server.sync_of("vulns").expect("advisories");
    let (titles, text) = entries();
    let mut rows: Vec<(String, String)> = server
        .get("/__api__/repos/prod/vulns")
        .json()
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            (text("modified"), format!("{}: {}", text("name"), text("id")))
        })
        .collect();
    rows.sort_by(|a, b| b.0.cmp(&a.0));
    assert_eq!(titles, rows.into_iter().map(|(_, title)| title).collect::<Vec<_>>());
    assert!(text.contains("Affected: 0.1-8. Fixed in: 0.1-9."), "{text}");
    assert_eq!(server.get("/prod/1/web/vulnerabilities.atom").status, 404);
    let page = server.get("/prod/latest/web/vulnerabilities/").text();
    assert!(page.contains("web/vulnerabilities.atom"), "{page}");
}

#[test]
fn all_packages_of_a_lockfile_are_checked_in_one_request() {
    let (_mirror, server) = server();
    server.sync_of("vulns").expect("advisories");
    // The request of renv, except for the packages.
    let request = json!({
        "repo": "prod", "snapshot": "latest", "names": ["png==0.1-8", "readxl==1.0.0", "readxl==1.4.3", "safe==1.0", "gone==1"],
        "metadata": true, "vulns": true, "omit_dependencies": true, "omit_downloads": true, "omit_package_details": true
    });
    let rows = lines(&post(&server, &request));
    let vulns: Vec<String> = rows
        .iter()
        .map(|row| {
            format!("{} {}", row["name"].as_str().unwrap(), row.get("vulns").map(ids).unwrap_or_default())
        })
        .collect();
    assert_eq!(vulns, ["png RSEC-2026-1", "readxl RSEC-2023-1 RSEC-2023-0", "readxl ", "safe "]);
    assert!(
        rows[2].get("vulns").is_none() && rows[3].get("vulns").is_none(),
        "packages without vulnerabilities have no key"
    );
    // Without `vulns` in the request there are none in the response.
    let request = json!({ "repo": "prod", "names": ["png==0.1-8"] });
    assert!(lines(&post(&server, &request))[0].get("vulns").is_none());
}

#[test]
fn older_snapshots_have_current_vulnerabilities_which_are_never_cached() {
    let (_mirror, server) = server();
    let first_snapshot =
        server.get("/__api__/repos/prod/transaction-dates").json()[1]["alias"].as_str().unwrap().to_owned();
    let vulns = |snapshot: &str| {
        let body = json!({ "repo": "prod", "snapshot": snapshot, "names": ["png"], "vulns": true });
        lines(&post(&server, &body))[0].get("vulns").map(ids)
    };
    assert_eq!(vulns(&first_snapshot), None);
    let answer_before = server.get("/__api__/repos/prod/packages/png");
    server.sync_of("vulns").expect("advisories");
    assert_eq!(
        vulns(&first_snapshot).as_deref(),
        Some("RSEC-2026-1"),
        "an older snapshot with current advisories"
    );
    let answer_after = server.get("/__api__/repos/prod/packages/png");
    assert_ne!(answer_before.text(), answer_after.text());
    for answer in [answer_before, answer_after] {
        assert!(answer.header("cache-control").is_some_and(|text| text.contains("no-store")), "{answer:?}");
        assert_eq!(answer.header("etag"), None, "the response has no validator");
    }
}

#[test]
fn severities_have_scores_and_aliases_of_one_vulnerability_are_merged() {
    let mirror = Mirror::of(&[entry("alpha", "1.0")], &[]);
    let gcfg = format!("[CRAN]\nURL = {}\n[Vulnerabilities]\nURL = file://{{dir}}/own", mirror.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    let v3 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
    let v4 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N";
    let mut first_advisory = record("RSEC-2024-1", "CRAN", "alpha", "2.0");
    first_advisory["aliases"] = json!(["CVE-2024-1"]);
    first_advisory["severity"] = json!([{ "type": "CVSS_V3", "score": v3 }]);
    let mut second_advisory = record("GHSA-aaaa-bbbb-cccc", "CRAN", "alpha", "3.0");
    second_advisory["aliases"] = json!(["CVE-2024-1"]);
    second_advisory["severity"] = json!([{ "type": "CVSS_V3", "score": v3 }, { "type": "CVSS_V4", "score": v4 }, { "type": "Ubuntu", "score": "medium" }]);
    let mut withdrawn_advisory = record("RSEC-2024-2", "CRAN", "alpha", "2.0");
    withdrawn_advisory["withdrawn"] = json!("2024-06-01T00:00:00Z");
    let other_advisory = record("RSEC-2024-3", "Bioconductor", "alpha", "2.0");
    folder(&server.dir().join("own"), &[first_advisory, second_advisory, withdrawn_advisory, other_advisory]);
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    assert!(server.sync_of("vulns").expect("advisories").starts_with("4 advisories"));
    let alpha = server.get("/__api__/repos/prod/packages/alpha").json();
    assert_eq!(ids(&alpha["vulns"]), "RSEC-2024-1", "{alpha}");
    let vuln = &alpha["vulns"][0];
    assert_eq!(vuln["aliases"], json!(["CVE-2024-1", "GHSA-aaaa-bbbb-cccc"]));
    assert_eq!(
        vuln["severity"],
        json!([
            { "type": "CVSS_V3", "score": v3, "calculated_score": { "base_score": 9.8 } },
            { "type": "CVSS_V4", "score": v4, "calculated_score": { "base_score": 9.3 } },
            { "type": "Ubuntu", "score": "medium" }
        ])
    );
    let message = server.rspm_stdout("explain prod alpha");
    assert!(message.contains("RSEC-2024-1, CVE-2024-1, GHSA-aaaa-bbbb-cccc: alpha is not safe"), "{message}");
    assert!(message.contains("it is served nevertheless"), "{message}");
}

#[test]
fn a_local_package_has_no_vulnerabilities_of_a_cran_package_of_the_same_name() {
    let (_mirror, server) = server();
    server.sync_of("vulns").expect("advisories");
    server.local_repository("team", &[Tarball::new("png", "0.1-8")]);
    let png = server.get("/__api__/repos/team/packages/png").json();
    assert_eq!((&png["source"], &png["vulns"]), (&json!("team"), &json!([])));
}
