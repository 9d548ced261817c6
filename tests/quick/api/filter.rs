//! `POST /filter/packages`: many packages in one request.

use serde_json::{Value, json};

use crate::support::http::{self, Answer};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

fn server() -> Server {
    let server = Server::start();
    let packages = [
        Tarball::new("alpha", "1.0").field("Date: 2020-01-02"),
        Tarball::new("alpha", "1.1").field("Imports: beta (>= 0.1), stats").field("Suggests: gamma"),
        Tarball::new("beta", "0.1"),
    ];
    server.local_repository("team", &packages);
    server
}

fn post(server: &Server, path: &str, body: &Value) -> Answer {
    http::request(
        "POST",
        &server.url(path),
        &[("Content-Type", "application/json")],
        body.to_string().as_bytes(),
    )
}

/// The lines of an answer.
fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/x-ndjson")),
        "{}",
        answer.text()
    );
    answer.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn each_package_is_one_line_of_json() {
    let server = server();
    let query = json!({ "repo": "team", "snapshot": "latest", "names": ["alpha", "beta==0.1", "alpha==1.0", "gone"] });
    let rows = lines(&post(&server, "/__api__/filter/packages", &query));
    let releases: Vec<_> = rows.iter().map(|row| format!("{} {}", row["name"], row["version"])).collect();
    assert_eq!(
        releases,
        ["\"alpha\" \"1.1\"", "\"beta\" \"0.1\"", "\"alpha\" \"1.0\""],
        "unknown packages are absent"
    );
    let alpha = &rows[0];
    assert_eq!((&alpha["summary"], &alpha["license"]), (&json!("A Test"), &json!("MIT")));
    assert_eq!((&alpha["licenses"], &alpha["license_types"]), (&json!(["MIT"]), &json!(["MIT"])));
    assert_eq!(alpha["available_versions"], json!(["1.1", "1.0"]));
    assert_eq!(alpha["dependencies"]["imports"], json!(["beta (>= 0.1)", "stats"]));
    assert_eq!(alpha["dependencies"]["suggests"], json!(["gamma"]));
    assert_eq!((&alpha["downloads"], &alpha["blocked"]), (&json!(0), &json!(false)));
    assert!(alpha["package_size"].as_i64() > Some(0) && alpha.get("vulns").is_none(), "{alpha}");
    assert_eq!(rows[2]["package_date"], "2020-01-02");
    assert_eq!(rows[2]["available_versions"], json!(["1.1", "1.0"]), "whichever version is requested");
}

#[test]
fn a_long_answer_has_each_package_once_even_if_it_is_named_repeatedly() {
    let server = Server::start();
    let packages: Vec<Tarball> = (0..230).map(|n| Tarball::new(&format!("p{n}"), "1.0")).collect();
    server.local_repository("team", &packages);
    let mut names: Vec<String> = (0..230).map(|n| format!("p{n}")).collect();
    names.extend(["not a name".to_owned(), "p0==1.0".to_owned(), "gone".to_owned()]);
    let distinct_names = names.clone();
    names.extend((0..40).flat_map(|_| distinct_names.clone()));
    let answer = post(&server, "/__api__/filter/packages", &json!({ "repo": "team", "names": names }));
    let rows = lines(&answer);
    let of = |row: &Value| row["name"].as_str().map_or_else(|| "error".to_owned(), str::to_owned);
    let mut expected: Vec<String> = (0..230).map(|n| format!("p{n}")).collect();
    expected.extend(["p0".to_owned(), "error".to_owned()]);
    let mut answered_names: Vec<String> = rows.iter().map(of).collect();
    answered_names.sort();
    expected.sort();
    assert_eq!(answered_names, expected);
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "generated while it is sent");
}

#[test]
fn omitted_parts_are_absent() {
    let server = server();
    // The request of renv.
    let query = json!({
        "repo": "team", "snapshot": "latest", "names": ["alpha==1.1"], "metadata": true, "vulns": true,
        "omit_dependencies": true, "omit_downloads": true, "omit_package_details": true
    });
    let rows = lines(&post(&server, "/__api__/filter/packages", &query));
    assert_eq!(rows, [json!({ "name": "alpha", "version": "1.1", "blocked": false })]);
    let query = json!({ "names": ["alpha"], "omit_dependencies": true, "omit_downloads": true });
    let rows = lines(&post(&server, "/__api__/repos/team/filter/packages", &query));
    assert!(rows[0].get("downloads").is_none() && rows[0].get("dependencies").is_none(), "{rows:?}");
    assert_eq!(rows[0]["summary"], "A Test");
}

#[test]
fn a_snapshot_is_requested_by_its_name() {
    let server = server();
    let first = server.get("/__api__/sources/team/transactions").json();
    let oldest = first.as_array().expect("a list").last().expect("a transaction")["id"].to_string();
    let query = |snapshot: &str| json!({ "snapshot": snapshot, "names": ["alpha", "beta"] });
    let versions = |snapshot: &str| {
        let rows = lines(&post(&server, "/__api__/repos/team/filter/packages", &query(snapshot)));
        rows.iter().map(|row| row["version"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((versions(&oldest).as_str(), versions("latest").as_str()), ("1.0", "1.1 0.1"));
    let day =
        server.get("/__api__/repos/team/transaction-dates").json()[1]["alias"].as_str().unwrap().to_owned();
    assert_eq!(versions(&day), "1.1 0.1");
    let answer = post(&server, "/__api__/repos/team/filter/packages", &query("newest"));
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!(4)));
}

#[test]
fn an_invalid_name_is_a_line_of_its_own() {
    let server = server();
    let query = json!({ "names": ["../etc/passwd", "beta", "beta=="] });
    let rows = lines(&post(&server, "/__api__/repos/team/filter/packages", &query));
    let errors: Vec<_> = rows.iter().filter(|row| row.get("error").is_some()).collect();
    assert_eq!((errors.len(), &errors[0]["code"]), (2, &json!(1)), "{rows:?}");
    assert!(errors[0]["error"].as_str().unwrap().contains("../etc/passwd"), "{rows:?}");
    assert!(rows.iter().any(|row| row["name"] == "beta"), "{rows:?}");
    assert_eq!(
        lines(&post(&server, "/__api__/repos/team/filter/packages", &json!({ "names": [] }))).len(),
        0
    );
}

#[test]
fn invalid_requests_are_refused_with_the_reason() {
    let server = server();
    for (path, body, status, word) in [
        ("/__api__/filter/packages", json!({ "names": ["a"] }), 400, "repository"),
        ("/__api__/filter/packages", json!({ "repo": "nobody", "names": ["a"] }), 404, "nobody"),
        ("/__api__/repos/team/filter/packages", json!(["a"]), 400, "JSON"),
        ("/__api__/repos/team/filter/packages", json!({ "names": vec!["a"; 10_001] }), 400, "10000"),
    ] {
        let answer = post(&server, path, &body);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.json()["error"].as_str().unwrap().contains(word), "{path}: {}", answer.text());
    }
    let large = format!("{{\"names\": [\"{}\"]}}", "a".repeat(1 << 20));
    let answer =
        http::request("POST", &server.url("/__api__/repos/team/filter/packages"), &[], large.as_bytes());
    assert_eq!((answer.status, &answer.json()["code"]), (413, &json!(1)));
}
