//! The public API for Python packages, and the documents of PyPI's JSON API at a snapshot.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sha2::Digest;

use super::clients::{program, text};
use super::local::servers;
use crate::support::http::{self, Answer};
use crate::support::python::package::{Package, add, repository, transaction, write};
use crate::support::server::{Builder, Server};

/// A package with a license, a requirement of an extra, and addresses.
fn package(version: &str) -> Package {
    let package = Package::new("Odd.Name", version).requires("even>=1").requires("extra-lib; extra == 'x'");
    let fields = [
        "License: Apache License 2.0",
        "Classifier: License :: OSI Approved :: MIT License",
        "Author-email: someone@example.org",
        "Provides-Extra: x",
        "Project-URL: Source, https://example.org/source",
    ];
    fields.into_iter().fold(package, Package::field)
}

fn add_sdist(server: &Server, package: &Package) {
    let path = write(server, &package.sdist_name(), &package.sdist());
    server.rspm_stdout(&format!("add --source=team --path={}", path.display()));
}

fn filter(server: &Server, body: &Value) -> Vec<Value> {
    let path = server.url("/__api__/filter/packages");
    let answer = http::request("POST", &path, &[], body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn details_and_documents_have_the_metadata_of_the_version() {
    for server in servers() {
        add(&server, "team", &package("1.0"));
        let old_transaction = transaction(&server, "team");
        add(&server, "team", &package("1.1rc1"));
        add_sdist(&server, &package("1.0"));
        let detail = server.get("/__api__/repos/py/packages/odd-name").json();
        let document = server.get("/py/latest/pypi/odd-name/json").json();
        assert_eq!(detail["info"], document["info"]);
        for (key, value) in [
            ("name", json!("Odd.Name")),
            ("version", json!("1.0")),
            ("license", json!("Apache License 2.0")),
            ("author_email", json!("someone@example.org")),
            ("classifiers", json!(["License :: OSI Approved :: MIT License"])),
            ("requires_dist", json!(["even>=1", "extra-lib; extra == 'x'"])),
            ("provides_extra", json!(["x"])),
            ("project_urls", json!({"Source": "https://example.org/source"})),
            ("description", json!("Text.\n")),
            ("license_expression", Value::Null),
            ("maintainer", Value::Null),
            ("yanked", json!(false)),
        ] {
            assert_eq!(document["info"][key], value, "{key}");
        }
        assert_eq!(detail["license"], "MIT License", "the license that rules and pages use");
        assert_eq!((&detail["blocked"], &detail["downloads"]["count"]), (&json!(false), &json!(0)));
        assert_eq!((&detail["vulns"], &document["vulnerabilities"]), (&json!([]), &json!([])));
        assert_eq!(keys(&document), ["info", "last_serial", "releases", "urls", "vulnerabilities"]);
        assert_eq!(keys(&document["releases"]), ["1.0", "1.1rc1"]);
        assert_eq!(document["urls"], document["releases"]["1.0"]);
        for (file, bytes) in document["urls"]
            .as_array()
            .expect("files")
            .iter()
            .zip([package("1.0").wheel(), package("1.0").sdist()])
        {
            assert_eq!(file["digests"]["sha256"], hex::encode(sha2::Sha256::digest(&bytes)).as_str());
            let url = file["url"].as_str().expect("a URL");
            assert!(url.starts_with(&server.url("/packages/py/latest/")), "{url}");
            assert!(http::get(url).body == bytes, "{url}");
            let (time, iso) = (file["upload_time"].as_str(), file["upload_time_iso_8601"].as_str());
            assert!(
                iso.zip(time).is_some_and(|(iso, time)| iso.starts_with(time) && iso.ends_with('Z')),
                "{file}"
            );
        }
        let of_version = server.get("/py/latest/pypi/odd-name/1.1.0rc1/json").json();
        assert_eq!(keys(&of_version), ["info", "last_serial", "urls", "vulnerabilities"]);
        assert_eq!(
            (&of_version["info"]["version"], &of_version["urls"]),
            (&json!("1.1rc1"), &document["releases"]["1.1rc1"])
        );

        let old = server.get(&format!("/py/{old_transaction}/pypi/odd-name/json")).json();
        assert_eq!(keys(&old["releases"]), ["1.0"]);
        assert_eq!(old["urls"].as_array().map(Vec::len), Some(1), "the sdist came later");
        assert!(old["last_serial"].as_i64() <= document["last_serial"].as_i64(), "{old}");
        let newer = format!("/py/{old_transaction}/pypi/odd-name/1.1rc1/json");
        assert_eq!(server.get(&newer).status, 404);
    }
}

#[test]
fn metadata_of_a_project_without_wheels_is_that_of_its_source_distribution() {
    let server = Server::start();
    repository(&server);
    add_sdist(&server, &package("2.0"));
    for _ in 0..2 {
        let info = server.get("/py/latest/pypi/odd-name/json").json()["info"].clone();
        assert_eq!(info["requires_dist"], json!(["even>=1", "extra-lib; extra == 'x'"]));
        assert_eq!(
            (&info["summary"], &info["author_email"]),
            (&json!("A <test> & more"), &json!("someone@example.org"))
        );
    }
}

#[test]
fn equal_versions_are_one_version() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &package("1.0"));
    add_sdist(&server, &package("1.0.0"));
    add(&server, "team", &package("1.0.1"));
    server.rspm_stdout("yank --source=team --name=odd-name@1.0.1");
    for path in ["", "?version=1", "?version=1.0.0", "?version=v1.0"] {
        let detail = server.get(&format!("/__api__/repos/py/packages/odd-name{path}")).json();
        assert_eq!(detail["version"], "1.0", "{path}");
        assert_eq!(keys(&detail["releases"]), ["1.0", "1.0.1"]);
        assert_eq!(detail["releases"]["1.0"].as_array().map(Vec::len), Some(2), "{path}");
    }
    let yanked = server.get("/py/latest/pypi/odd-name/1.0.1/json").json();
    assert_eq!((&yanked["info"]["yanked"], &yanked["info"]["yanked_reason"]), (&json!(true), &Value::Null));
    let explained = server.json("explain py odd-name --version=1.0.0");
    let files = explained["decisions"].as_array().expect("decisions").iter();
    assert_eq!(files.filter(|decision| decision["topic"] == "file").count(), 2);
    let releases = server.get("/__api__/sources/team/packages/odd-name/releases").json();
    let versions = releases.as_array().expect("releases").iter().map(|row| row["version"].clone());
    assert_eq!(versions.collect::<Vec<_>>(), ["1.0.1", "1.0"]);
    let rows = filter(&server, &json!({"repo": "py", "names": ["odd-name==1.0.0"]}));
    assert_eq!(rows[0]["available_versions"], json!(["1.0.1", "1.0"]));
}

#[test]
fn documents_are_revalidated_and_redirected() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &package("1.0"));
    let path = "/py/latest/pypi/odd-name/json";
    let request =
        |method: &str, headers: &[(&str, &str)]| http::request(method, &server.url(path), headers, b"");
    let answer = request("GET", &[]);
    assert_eq!(
        (answer.header("content-type"), answer.header("cache-control")),
        (Some("application/json"), Some("no-cache"))
    );
    let etag = answer.header("etag").expect("an ETag").to_owned();
    let unchanged = request("GET", &[("If-None-Match", &etag)]);
    assert_eq!((unchanged.status, unchanged.body.len(), unchanged.header("etag")), (304, 0, Some(&*etag)));
    assert_eq!(request("GET", &[("If-Match", "\"other\"")]).status, 412);
    let head = request("HEAD", &[]);
    assert_eq!(head.header("content-length"), Some(&*answer.body.len().to_string()));
    assert!(head.body.is_empty());
    assert_eq!(request("GET", &[("Accept", "text/html")]).body, answer.body, "there is no other format");
    add_sdist(&server, &package("1.0"));
    assert_eq!(request("GET", &[("If-None-Match", &etag)]).status, 200, "a file was added");

    for (path, location) in [
        ("/py/latest/pypi/Odd.Name/json", "../odd-name/json"),
        ("/py/latest/pypi/odd-name/json/", "../../odd-name/json"),
        ("/py/latest/pypi/ODD_name/1.0/json?x=1", "../../odd-name/1.0/json?x=1"),
    ] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("location")), (301, Some(location)), "{path}");
    }
    for (path, reason) in [
        ("/py/latest/pypi/other/json", "there is no project 'other' in this snapshot"),
        ("/py/latest/pypi/odd-name/3/json", "the project 'odd-name' has no version '3'"),
        ("/py/latest/pypi/-/json", "'-' is not the name of a Python project"),
        ("/py/latest/pypi/odd-name/", "'pypi/odd-name/' is not a path of a Python repository"),
    ] {
        let answer = server.get(path);
        assert!(answer.status == 404 && answer.text().starts_with(reason), "{path}: {}", answer.text());
    }
}

#[test]
fn many_packages_are_checked_in_one_request() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &package("1.0"));
    let first = transaction(&server, "team").to_string();
    add(&server, "team", &Package::new("plain", "2.0").field("License-Expression: MIT OR Apache-2.0"));
    let names = json!(["Odd_Name[x]==1.0.0", "plain", "plain", "gone", "plain==9", "../x"]);
    let rows = filter(&server, &json!({"repo": "py", "names": names, "vulns": true}));
    assert!(rows[0]["error"].as_str().is_some_and(|text| text.contains("'../x'")), "{rows:?}");
    assert_eq!(rows.len(), 3, "{rows:?}");
    let (odd, plain) = (&rows[1], &rows[2]);
    for (key, value) in [
        ("name", json!("Odd.Name")),
        ("version", json!("1.0")),
        ("summary", json!("A <test> & more")),
        ("license", json!("MIT License")),
        ("licenses", json!(["MIT License"])),
        ("license_types", json!(["MIT"])),
        ("package_size", json!(package("1.0").wheel().len())),
        ("available_versions", json!(["1.0"])),
        ("downloads", json!(0)),
        ("blocked", json!(false)),
    ] {
        assert_eq!(odd[key], value, "{key}");
    }
    assert_eq!(odd["dependencies"]["imports"], json!(["even>=1"]));
    assert_eq!(odd["dependencies"]["suggests"], json!(["extra-lib; extra == 'x'"]));
    assert_eq!(
        (&plain["licenses"], &plain["license_types"]),
        (&json!(["MIT", "Apache-2.0"]), &json!(["Apache-2.0", "MIT"]))
    );
    let short = filter(&server, &json!({"repo": "py", "names": ["plain"], "omit_package_details": true}));
    assert_eq!(short, [json!({"name": "plain", "version": "2.0", "blocked": false})]);
    let old = filter(&server, &json!({"repo": "py", "snapshot": first, "names": ["plain"]}));
    assert!(old.is_empty(), "it was added later: {old:?}");
}

#[test]
fn lists_and_searches_agree_with_an_independent_model() {
    let server = Server::start();
    repository(&server);
    let mut projects: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    let table: [(&str, &[&str]); 7] = [
        ("Flask", &["1.0", "1.10", "1.9", "2.0rc1"]),
        ("Flask_SQLAlchemy", &["0.9.post1", "0.9", "1.0.dev3"]),
        ("my.flask", &["1!0.1", "2.0"]),
        ("zebra", &["1.0a1", "1.0b2"]),
        ("yanked-lib", &["1.0", "2.0a1"]),
        ("half-yanked", &["1.0", "2.0"]),
        ("a1", &["1.0+local.10", "1.0+local.9", "1.0"]),
    ];
    for (name, versions) in table {
        for version in versions {
            add(&server, "team", &Package::new(name, version));
            projects.entry(name).or_default().insert(*version, false);
        }
    }
    for (name, version) in [("yanked-lib", "1.0"), ("yanked-lib", "2.0a1"), ("half-yanked", "2.0")] {
        server.rspm_stdout(&format!("yank --source=team --name={name}@{version}"));
        projects.get_mut(name).expect("a project").insert(version, true);
    }
    let parts = ["flask", "FLASK_sql", "a", "yanked.lib", "nothing"];
    let expected = oracle(&projects, &parts);

    let rows = |query: &str| {
        let rows = server.get(&format!("/__api__/repos/py/packages{query}")).json();
        rows.as_array().unwrap_or_else(|| panic!("{query}: {rows}")).clone()
    };
    let all = rows("");
    assert_eq!(all.len(), projects.len());
    for row in &all {
        let name = row["name"].as_str().expect("a name");
        assert!(projects.contains_key(name), "the name as its owner writes it: {name}");
        assert_eq!(row["version"], expected["newest"][&normal(name)], "{name}");
        assert_eq!(
            (&row["id"], &row["source"], &row["repo_type"]),
            (&json!(0), &json!("team"), &json!("Python"))
        );
        assert_eq!(row["info"], json!({"name": name, "summary": "A <test> & more"}));
        let detail = server.get(&format!("/__api__/repos/py/packages/{name}")).json();
        assert_eq!((&detail["name"], &detail["version"]), (&row["name"], &row["version"]));
        let versions =
            filter(&server, &json!({"repo": "py", "names": [name]}))[0]["available_versions"].clone();
        assert_eq!(versions, expected["order"][&normal(name)], "{name}");
    }
    let found = |query: &str| {
        rows(query).iter().map(|row| normal(row["name"].as_str().expect("a name"))).collect::<Vec<_>>()
    };
    for part in parts {
        let query = format!("?name_search={part}&exact_first=true");
        assert_eq!(json!(found(&query)), expected["search"][part], "{part}");
    }
    assert_eq!(found("?name_like=Flask%25"), ["flask", "flask-sqlalchemy"], "a prefix");
    assert_eq!(found("?name=MY_Flask&_limit=1"), ["my-flask"]);
    let (first, second) = (found("?_limit=4&_page=1"), found("?_limit=4&_page=2"));
    assert_eq!([first, second].concat(), found(""), "two pages");
    assert_eq!(found("?_order=desc&_limit=1"), ["zebra"]);
}

#[test]
fn the_packages_of_an_earlier_snapshot_are_the_same_after_the_deletion_of_its_source() {
    let server = Builder::default().start();
    repository(&server);
    add(&server, "team", &package("1.0"));
    let transaction = transaction(&server, "team");
    let row = || {
        let rows = server.get(&format!("/__api__/repos/py/packages?snapshot={transaction}")).json();
        let mut row = rows[0].clone();
        // A deleted source has no name.
        row.as_object_mut().unwrap_or_else(|| panic!("{rows}")).remove("source");
        row
    };
    let before = row();
    assert_eq!(before["info"]["summary"], "A <test> & more");
    server.rspm_stdout("unsubscribe --repo=py --source=team");
    server.rspm_stdout("delete source --name=team --with-packages");
    assert_eq!(row(), before);
}

fn normal(name: &str) -> String {
    name.to_lowercase().replace(['.', '_'], "-")
}

/// The newest versions and the results of searches, computed in Python with the `packaging` of pip.
fn oracle(projects: &BTreeMap<&str, BTreeMap<&str, bool>>, parts: &[&str]) -> Value {
    let mut command = Command::new(program("pip-newest", "python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/oracle_api.py"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("python runs");
    let input = format!("{}\n{}\n", json!(projects), json!(parts));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn hostile_names_are_answered_with_a_short_error() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &package("1.0"));
    let long = "a".repeat(300);
    for name in
        ["%2E%2E", "..%2Fetc", "%00", "%F0%9F%90%8D", "-x", "x-", "a%20b", "%3Cscript%3E", long.as_str()]
    {
        for path in [
            format!("/py/latest/pypi/{name}/json"),
            format!("/py/latest/pypi/{name}/1.0/json"),
            format!("/__api__/repos/py/packages/{name}"),
        ] {
            let answer = server.get(&path);
            assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
            let kind = answer.header("content-type").unwrap_or_default();
            assert!(!kind.contains("html") && answer.body.len() < 1000, "{path}: {kind}: {}", answer.text());
        }
        let answer = server.get(&format!("/__api__/repos/py/packages?name_search={name}"));
        assert!(answer.status == 400 || answer.json().is_array(), "{name}: {}", answer.text());
    }
    for version in ["%2E%2E", "%00", "a%20b", "%F0%9F%90%8D", long.as_str()] {
        let status = server.get(&format!("/py/latest/pypi/odd-name/{version}/json")).status;
        assert!(matches!(status, 400 | 404), "{version}: {status}");
    }
}

#[test]
fn a_private_repository_has_no_documents_for_others() {
    let server = Server::start();
    repository(&server);
    server.rspm_stdout("create source --name=secret --type=local-python");
    server.rspm_stdout("create repo --name=private --type=python --authenticated");
    server.rspm_stdout("edit repo --name=private --hide");
    server.rspm_stdout("subscribe --repo=private --source=secret");
    add(&server, "secret", &Package::new("hidden-project", "1.0"));
    let token =
        server.rspm_stdout("create token --description=test --quiet --scope=repos:read --repos=private");
    let authorization = format!("Bearer {}", token.trim());
    let get = |path: &str, headers: &[(&str, &str)]| http::request("GET", &server.url(path), headers, b"");
    for path in [
        "/private/latest/pypi/hidden-project/json",
        "/private/latest/pypi/hidden-project/1.0/json",
        "/private/latest/pypi/Hidden_Project/json",
        "/__api__/repos/private/packages",
        "/__api__/repos/private/packages/hidden-project",
        "/__api__/repos/private/vulns",
    ] {
        let anonymous = get(path, &[]);
        assert_eq!(anonymous.status, 401, "{path}");
        assert_no_name(path, &anonymous);
        let reader = get(path, &[("Authorization", &authorization)]);
        assert!(matches!(reader.status, 200 | 301), "{path}: {}", reader.status);
        let cache = reader.header("cache-control").unwrap_or_default().to_owned();
        assert!(cache.contains("private") || cache.contains("no-store"), "{path}: {cache}");
    }
    let document =
        get("/private/latest/pypi/hidden-project/json", &[("Authorization", &authorization)]).json();
    let url = document["urls"][0]["url"].as_str().expect("a URL").to_owned();
    assert!(url.starts_with(&server.url("/packages/private/latest/")), "{url}");
    // The second time from the cache of addresses.
    for _ in 0..2 {
        let stranger = http::get(&url);
        assert_eq!(stranger.status, 401);
        assert!(!stranger.text().contains("secret") && stranger.text() == http::get(&url).text());
        assert_eq!(http::request("GET", &url, &[("Authorization", &authorization)], b"").status, 200);
    }
    for path in ["/py/latest/pypi/hidden-project/json", "/__api__/repos/py/packages/hidden-project"] {
        let answer = get(path, &[]);
        assert_eq!(answer.status, 404, "{path}");
        let missing = get(&path.replace("hidden-project", "no-such-thing"), &[]);
        assert_eq!(answer.text().replace("hidden-project", "no-such-thing"), missing.text());
    }
    for path in
        ["/__api__/repos/py/packages", "/__api__/repos/py/packages?name_search=hidden", "/__api__/repos"]
    {
        assert_no_name(path, &get(path, &[]));
    }
    let body = json!({"repo": "private", "names": ["hidden-project"]}).to_string();
    let answer = http::request("POST", &server.url("/__api__/filter/packages"), &[], body.as_bytes());
    assert_eq!(answer.status, 401);
}

fn assert_no_name(path: &str, answer: &Answer) {
    let text = answer.text();
    assert!(!text.contains("hidden-project") && !text.contains("secret"), "{path}: {text}");
}

#[test]
fn documents_of_an_r_repository_do_not_exist() {
    let server = Server::start();
    server.local_repository("prod", &[crate::support::tarball::Tarball::new("alpha", "1.0")]);
    let answer = server.get("/prod/latest/pypi/alpha/json");
    assert_eq!(answer.status, 404);
    assert!(answer.text().starts_with("the repository 'prod' is of type R;"), "{}", answer.text());
    assert_eq!(
        server.get("/__api__/repos/prod/vulns").json(),
        json!([]),
        "no advisories about local packages"
    );
}
