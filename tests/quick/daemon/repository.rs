//! A repository as clients request it: indexes, files, the archive, snapshots, the public API.

use std::io::Read;

use crate::support::server::Server;
use crate::support::tarball::Tarball;

fn server() -> Server {
    let server = Server::start();
    server.local_repository(
        "team",
        &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "0.1").field("Imports: alpha (>= 1.0)")],
    );
    server.add("team", &Tarball::new("alpha", "1.1"));
    server
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).expect("gzip of text");
    text
}

#[test]
fn the_three_forms_of_the_index_have_the_same_content() {
    let server = server();
    let text = server.get("/team/latest/src/contrib/PACKAGES");
    assert_eq!(text.status, 200, "{}", text.text());
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.header("cache-control"), Some("no-cache"));
    assert_eq!(text.header("accept-ranges"), Some("bytes"));
    assert!(text.text().contains("Package: alpha\nVersion: 1.1\n"), "{}", text.text());
    assert!(text.header("etag").is_some_and(|tag| tag.starts_with('"')));
    let gz = server.get("/team/latest/src/contrib/PACKAGES.gz");
    assert_eq!(gunzip(&gz.body), text.text());
    assert_eq!(
        gz.header("content-encoding"),
        None,
        "R requests no compressed transfer and would not decompress one"
    );
    assert_eq!(gz.header("accept-ranges"), Some("none"));
    assert!(gz.header("etag").is_some_and(|tag| tag.starts_with("W/\"")));
    let rds = server.get("/team/latest/src/contrib/PACKAGES.rds");
    assert_eq!((rds.status, rds.header("content-type")), (200, Some("application/octet-stream")));
}

#[test]
fn files_have_the_headers_that_clients_read() {
    let server = server();
    for path in [
        "/team/latest/src/contrib/alpha_1.1.tar.gz",
        "/team/latest/src/contrib/Archive/alpha/alpha_1.0.tar.gz",
    ] {
        let file = server.get(path);
        assert_eq!(file.status, 200, "{path}: {}", file.text());
        assert_eq!(file.header("content-type"), Some("binary/octet-stream"));
        let name = path.rsplit('/').next().unwrap_or_default();
        let disposition = format!("attachment; filename=\"{name}\"");
        assert_eq!(file.header("content-disposition"), Some(disposition.as_str()));
        assert_eq!(file.header("x-package-type"), Some("source"));
        assert_eq!(file.header("cache-control"), Some("max-age=3600"));
        assert!(
            file.header("etag").is_some() && file.header("last-modified").is_some(),
            "{:?}",
            file.headers
        );
        assert_eq!(file.header("content-length"), Some(file.body.len().to_string().as_str()));
        flate2::read::GzDecoder::new(file.body.as_slice())
            .read_to_end(&mut Vec::new())
            .expect("a complete gzip file");
    }
}

#[test]
fn a_new_package_is_in_the_next_answer() {
    let server = server();
    let index = "/team/latest/src/contrib/PACKAGES";
    let before = server.get(index);
    server.add("team", &Tarball::new("gamma", "3.0"));
    let after = server.get(index);
    assert!(after.text().contains("Package: gamma"), "{}", after.text());
    assert_ne!(before.header("etag"), after.header("etag"));
    assert_eq!(server.get("/team/latest/src/contrib/gamma_3.0.tar.gz").status, 200);
}

#[test]
fn empty_binary_trees_are_valid_indexes() {
    let server = server();
    for tree in ["bin/windows/contrib/4.5", "bin/macosx/contrib/4.5", "bin/macosx/big-sur-arm64/contrib/4.4"]
    {
        let text = server.get(&format!("/team/latest/{tree}/PACKAGES"));
        assert_eq!((text.status, text.text().as_str()), (200, ""), "{tree}");
        let gz = server.get(&format!("/team/latest/{tree}/PACKAGES.gz"));
        assert_eq!((gz.status, gunzip(&gz.body).as_str()), (200, ""), "{tree}");
        assert_eq!(server.get(&format!("/team/latest/{tree}/PACKAGES.rds")).status, 200, "{tree}");
        assert_eq!(server.get(&format!("/team/latest/{tree}/alpha_1.1.zip")).status, 404, "{tree}");
    }
}

#[test]
fn unknown_paths_are_404_with_a_reason() {
    let server = server();
    let cases = [
        ("/nobody", "no such repository"),
        ("/nobody/latest/src/contrib/PACKAGES", "nobody"),
        ("/team/newest/src/contrib/PACKAGES", "is not a snapshot"),
        ("/team/1999-01-01/src/contrib/PACKAGES", "1999-01-01"),
        ("/team/2999-01-01/src/contrib/PACKAGES", "future"),
        ("/team/999999/src/contrib/PACKAGES", "999999"),
        ("/team/latest/src/contrib/nothing_1.0.tar.gz", "nothing"),
        ("/team/latest/src/contrib/alpha_9.9.tar.gz", "alpha"),
        ("/team/latest/src/contrib/Archive/beta/alpha_1.0.tar.gz", "alpha"),
        ("/team/latest/bin/windows/contrib/4.5/alpha_1.1.zip", "alpha_1.1.zip"),
        ("/team/latest/bin/beos/contrib/4.5/PACKAGES", "beos"),
        ("/team/__linux__/nowhere/latest/src/contrib/PACKAGES", "nowhere"),
    ];
    for (path, reason) in cases {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{path}");
        assert!(answer.text().contains(reason), "{path}: {}", answer.text());
        assert_eq!(answer.text().lines().count(), 1, "{path}: {}", answer.text());
    }
    for path in
        ["/__api__/repos/nobody", "/__api__/repos/team/packages/nothing", "/__api__/sources/99", "/__api__/x"]
    {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (404, Some(4)), "{path}");
        assert!(answer.json()["payload"].is_null() && answer.json()["error"].is_string(), "{path}");
    }
}

#[test]
fn the_public_api_lists_repositories_sources_packages_and_transactions() {
    let server = server();
    let repos = server.get("/__api__/repos").json();
    assert_eq!(repos[0]["name"], "team");
    assert_eq!(repos[0]["type"], "R");
    assert_eq!(repos[0]["auth"], false);
    assert_eq!(server.get("/__api__/repos?type=Python").json(), serde_json::json!([]));
    let id = repos[0]["id"].as_i64().expect("a number");
    assert_eq!(server.get(&format!("/__api__/repos/{id}")).json(), repos[0]);
    assert_eq!(server.get("/__api__/repos/team/sources").json()[0]["name"], "team");

    let packages = server.get("/__api__/repos/team/packages?_limit=1&_page=2").json();
    assert_eq!((packages[0]["name"].as_str(), packages.as_array().map(Vec::len)), (Some("beta"), Some(1)));
    let matches = server.get("/__api__/repos/team/packages?name_search=ALP").json();
    assert_eq!(matches[0]["version"], "1.1");
    let alpha = server.get("/__api__/repos/team/packages/alpha").json();
    assert_eq!((&alpha["version"], &alpha["source"]), (&"1.1".into(), &"team".into()));
    assert_eq!(alpha["title"], "A Test");
    assert_eq!(alpha["checksum"].as_str().map(str::len), Some(64));
    assert_eq!(alpha["archived"][0]["version"], "1.0");
    let link = &server.get("/__api__/repos/team/packages/beta").json()["links"][0];
    assert_eq!((&link["name"], &link["type"], &link["operator"]), (&"alpha".into(), &0.into(), &2.into()));
    assert_eq!((&link["version"], &link["linked_to"]), (&"1.0".into(), &"alpha".into()));
    assert_eq!(link["reverse"], false);
    let reverse_link = &alpha["links"][0];
    assert_eq!(
        (&reverse_link["name"], &reverse_link["reverse"], &reverse_link["type"]),
        (&"beta".into(), &true.into(), &0.into())
    );
    assert_eq!((&reverse_link["version"], &reverse_link["operator"]), (&"1.0".into(), &2.into()));
    // The next answer includes the links of a package added later.
    server.add("team", &Tarball::new("gamma", "1.0").field("Suggests: alpha"));
    let links = server.get("/__api__/repos/team/packages/alpha").json()["links"].clone();
    let names: Vec<_> = links.as_array().expect("an array").iter().map(|link| &link["name"]).collect();
    assert_eq!(names, ["beta", "gamma"]);

    let sources = server.get("/__api__/sources").json();
    assert_eq!((&sources[0]["id"], &sources[0]["name"]), (&1.into(), &"cran".into()));
    let rows = server.get("/__api__/sources/team/transactions?_limit=10000").json();
    let rows = rows.as_array().expect("an array");
    assert_eq!(rows.len(), 4);
    assert!(rows[0]["id"].as_i64() > rows[1]["id"].as_i64(), "newest first: {rows:?}");
    assert!(rows.iter().all(|row| row["published_to"].is_string() && row["completed"].is_string()));
    let old = format!("/team/{}/src/contrib/PACKAGES", rows[2]["id"]);
    assert!(server.get(&old).text().contains("Package: alpha\nVersion: 1.0\n"), "an id is a snapshot");
    assert_eq!(server.get("/__api__/sources/1/transactions").json(), serde_json::json!([]));

    let dates = server.get("/__api__/repos/team/transaction-dates").json();
    assert_eq!(dates[0]["alias"], "latest");
    let today = dates[1]["alias"].as_str().expect("a day").to_owned();
    assert_eq!(server.get(&format!("/team/{today}/src/contrib/PACKAGES")).status, 200);
    assert_eq!(server.get("/__api__/repos/team/first-transaction").json()["alias"], today);
}

#[test]
fn a_browser_gets_pages_with_escaped_user_text() {
    let server = server();
    let edit = serde_json::json!({ "description": "<script>alert(1)</script>" });
    assert_eq!(server.admin("PATCH", "/repos/team", &edit).status, 200);
    for path in ["/", "/team/latest", "/team/latest/"] {
        let page = server.get(path);
        page.assert_page(path);
        assert!(
            page.text().contains("&lt;script&gt;") && !page.text().contains("<script>"),
            "{}",
            page.text()
        );
    }
    assert!(server.get("/team/latest").text().contains(&server.url("/team/latest")));
}

#[test]
fn requests_are_in_the_access_log() {
    let mut server = server();
    server.get("/team/latest/src/contrib/PACKAGES");
    server.get("/nobody/latest/%00");
    server.stop();
    let log = std::fs::read_to_string(server.dir().join("access.log")).expect("an access log");
    assert!(log.contains("\"GET /team/latest/src/contrib/PACKAGES HTTP/1.1\" 200 "), "{log}");
    assert!(log.contains("\"GET /nobody/latest/%00 HTTP/1.1\" 400 "), "{log}");
}
