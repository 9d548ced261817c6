//! What differs between two snapshots, the history of a package, and the feed of a repository.

use std::collections::{BTreeMap, BTreeSet};

use super::document;
use crate::support::cran_history::CranHistory;
use crate::support::http;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::upstream::Upstream;

/// The number of the newest transaction of the source `team`.
fn newest(server: &Server) -> i64 {
    server.get("/__api__/sources/team/transactions?_limit=1").json()[0]["id"].as_i64().expect("a number")
}

#[test]
fn the_difference_of_two_snapshots_is_a_page_and_json_and_csv() {
    let server = super::server();
    let before = newest(&server);
    server.add("team", &Tarball::new("alpha", "2.0"));
    server.add("team", &Tarball::new("gamma", "0.1"));
    let after = newest(&server);

    let address = format!("/__api__/repos/team/diff?from={before}&to={after}");
    let rows = server.get(&address).json();
    let names: Vec<&str> =
        rows.as_array().expect("rows").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["alpha", "gamma"], "{rows}");
    let text = |row: usize, key: &str| rows[row][key].as_str().unwrap_or_default().to_owned();
    assert_eq!([text(0, "kind"), text(0, "from_version"), text(0, "to_version")], ["updated", "1.1", "2.0"]);
    assert_eq!([text(1, "kind"), text(1, "to_source")], ["added", "team"]);
    let added = server.get(&format!("{address}&kind=added")).json();
    assert_eq!(added.as_array().map(Vec::len), Some(1), "{added}");
    let back = server.get(&format!("/__api__/repos/team/diff?from={after}&to={before}")).json();
    assert_eq!((back[0]["kind"].as_str(), back[1]["kind"].as_str()), (Some("downgraded"), Some("removed")));

    let csv = server.get(&format!("{address}&format=csv"));
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.text().contains("\r\nalpha,updated,1.1,team,2.0,team,"), "{}", csv.text());
    let page = format!("/team/{after}/web/changes/?since={before}");
    let answer = server.get(&page);
    document::page(&answer, &page);
    let html = answer.text();
    assert!(
        html.contains("2 packages") && html.contains(">1 added<") && html.contains(">gamma</a>"),
        "{html}"
    );
    assert_eq!(server.get(&format!("{page}&format=csv")).text(), csv.text());

    for (path, status) in [
        ("/__api__/repos/team/diff", 400),
        ("/__api__/repos/team/diff?from=yesterday", 400),
        ("/__api__/repos/team/diff?from=2001-01-01", 404),
        ("/__api__/repos/team/diff?from=latest&format=xml", 400),
        ("/__api__/repos/team/diff?from=latest&kind=other", 400),
        ("/team/latest/web/changes/?since=never", 400),
        ("/team/latest/web/changes/?page=99999", 200),
        ("/team/latest/web/changes/", 200),
    ] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
}

/// Name, version and MD5 of each record of an index.
fn index(server: &Server, snapshot: i64) -> BTreeMap<String, (String, String)> {
    let text = server.get(&format!("/team/{snapshot}/src/contrib/PACKAGES")).text();
    let record = |record: &str| {
        let field = |tag: &str| {
            let line = record.lines().find_map(|line| line.strip_prefix(tag));
            line.unwrap_or_else(|| panic!("{tag}{record}")).to_owned()
        };
        (field("Package: "), (field("Version: "), field("MD5sum: ")))
    };
    text.split("\n\n").filter(|part| part.contains("Package: ")).map(record).collect()
}

/// The kinds of change by name that two indexes show.
fn expected_changes(from: &Index, to: &Index) -> BTreeMap<String, &'static str> {
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let kind = |name: &String| match (from.get(name), to.get(name)) {
        (None, Some(_)) => Some("added"),
        (Some(_), None) => Some("removed"),
        (Some(a), Some(b)) if a == b => None,
        (Some((a, _)), Some((b, _))) if a == b => Some("replaced"),
        // All versions have one digit before the point and 0 after it.
        (Some((a, _)), Some((b, _))) => Some(if a < b { "updated" } else { "downgraded" }),
        (None, None) => None,
    };
    names.into_iter().filter_map(|name| Some((name.clone(), kind(name)?))).collect()
}

type Index = BTreeMap<String, (String, String)>;

#[test]
fn the_difference_of_any_two_snapshots_is_that_of_their_indexes() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("p0", "1.0")]);
    let mut listed = BTreeMap::from([(0, 1)]);
    let mut snapshots = vec![newest(&server)];
    // A fixed sequence: each transaction adds or replaces a version, or removes a package.
    let mut number = 7_u32;
    for step in 0..40 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (package, version) = (number >> 8 & 7, 1 + (number >> 16) % 4);
        let name = format!("p{package}");
        if number >> 24 & 3 == 0 && listed.remove(&package).is_some() {
            server.rspm_stdout(&format!("remove package --source=team --name={name}@all"));
        } else {
            let tarball =
                Tarball::new(&name, &format!("{version}.0")).with("R/step.R", &format!("step <- {step}\n"));
            let path = server.dir().join(tarball.file());
            std::fs::write(&path, tarball.bytes()).expect("written");
            server.rspm_stdout(&format!("add --source=team --replace --path={}", path.display()));
            listed.insert(package, version);
        }
        snapshots.push(newest(&server));
    }
    let indexes: Vec<Index> = snapshots.iter().map(|snapshot| index(&server, *snapshot)).collect();
    let mut kinds = BTreeSet::new();
    for pair in 0..50 {
        let (a, b) = (pair * 17 % snapshots.len(), pair * 29 % snapshots.len());
        let (from, to) = (snapshots[a], snapshots[b]);
        let rows = server.get(&format!("/__api__/repos/team/diff?from={from}&to={to}")).json();
        let rows: BTreeMap<String, String> = rows
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| {
                (
                    row["name"].as_str().expect("a name").to_owned(),
                    row["kind"].as_str().expect("a kind").to_owned(),
                )
            })
            .collect();
        let expected = expected_changes(&indexes[a], &indexes[b]);
        kinds.extend(expected.values().copied());
        let expected: BTreeMap<String, String> =
            expected.into_iter().map(|(name, kind)| (name, kind.to_owned())).collect();
        assert_eq!(rows, expected, "{from} to {to}");
    }
    assert_eq!(kinds, BTreeSet::from(["added", "downgraded", "removed", "replaced", "updated"]));
}

#[test]
fn the_public_api_describes_the_snapshot_that_is_requested() {
    let server = super::server();
    let before = newest(&server);
    server.add("team", &Tarball::new("alpha", "2.0"));
    let version = |query: &str| {
        server.get(&format!("/__api__/repos/team/packages/alpha{query}")).json()["version"]
            .as_str()
            .expect("a version")
            .to_owned()
    };
    assert_eq!((version(""), version(&format!("?snapshot={before}"))), ("2.0".to_owned(), "1.1".to_owned()));
    let list = server.get(&format!("/__api__/repos/team/packages?name=alpha&snapshot={before}")).json();
    assert_eq!(list[0]["version"].as_str(), Some("1.1"), "{list}");
    assert_eq!(server.get("/__api__/repos/team/packages?snapshot=never").status, 400);
    let page = server.get(&format!("/team/{before}/web/packages/alpha/")).text();
    assert!(page.contains(&format!("packages/alpha?snapshot={before}\"")), "{page}");
}

#[test]
fn the_history_of_a_package_has_all_versions_that_were_listed() {
    let server = super::server();
    let path = "/team/latest/web/packages/alpha/history/";
    let answer = server.get(path);
    document::page(&answer, path);
    let html = answer.text();
    let table = html.split_once("<tbody>").expect("a table").1;
    let order = [">1.1<", "still listed", ">1.0<"].map(|part| table.find(part).expect(part));
    assert!(order.is_sorted(), "{html}");
    assert_eq!(server.get("/team/latest/web/packages/nothing/history/").status, 404);
}

#[test]
fn the_feed_of_a_repository_has_its_transactions_and_no_others() {
    let server = super::server();
    let answer = server.get("/team/latest/web/changes.atom");
    assert_eq!(answer.header("content-type"), Some("application/atom+xml; charset=utf-8"));
    let text = answer.text();
    assert!(text.starts_with("<?xml version=\"1.0\"") && text.ends_with("</feed>"), "{text}");
    assert!(
        text.contains(&format!("<id>{}</id>", server.url(&format!("/team/{}/", newest(&server))))),
        "{text}"
    );
    let tag = answer.header("etag").expect("an ETag");
    let url = server.url("/team/latest/web/changes.atom");
    assert_eq!(http::request("GET", &url, &[("If-None-Match", tag)], b"").status, 304);
    server.rspm_stdout("create source --name=other");
    server.add("other", &Tarball::new("delta", "1.0"));
    assert_eq!(server.get("/team/latest/web/changes.atom").text(), text);
    assert_eq!(server.get("/team/1/web/changes.atom").status, 404);
}

/// A mirror with alpha 1.0 of 2025-10-09, 1.1 of the 11th and 2.0 of the 14th, and a server with it in the repository `prod`.
fn cran() -> (Upstream, Server) {
    let mut cran = CranHistory::default();
    for (day, version) in [(0, "1.0"), (2, "1.1"), (5, "2.0")] {
        cran.publish(day, &Tarball::new("alpha", version).field("NeedsCompilation: no"));
    }
    let web = Upstream::empty();
    cran.serve(&web);
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", web.url())).start();
    server.rspm_stdout("create repo --name=prod");
    (web, server)
}

#[test]
fn changes_begin_at_the_last_day_that_differs() {
    let (_web, server) = cran();
    server.rspm_stdout("sync --type=CRAN");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    let changes = |snapshot: &str| {
        let path = format!("/prod/{snapshot}/web/changes/");
        let answer = server.get(&path);
        document::page(&answer, &path);
        answer.text()
    };
    assert!(changes("latest").contains("No earlier day has other packages."), "{}", changes("latest"));
    server.rspm_stdout("backfill --since=2025-10-01 --rate=1000");
    let cell = |text: &str| format!("<td class=\"name\">{text}</td>");
    // The first sync has the packages of the day before it, and nothing was published on the 13th.
    for (snapshot, since, from, to) in [
        ("latest", "2025-10-11", "1.1", "2.0"),
        ("2025-10-20", "2025-10-11", "1.1", "2.0"),
        ("2025-10-14", "2025-10-11", "1.1", "2.0"),
        ("2025-10-13", "2025-10-09", "1.0", "1.1"),
    ] {
        let html = changes(snapshot);
        assert!(html.contains(&format!(" from <span class=\"whole\">{since}</span>")), "{snapshot}: {html}");
        assert!(html.contains(&format!("{}{}", cell(from), cell(to))), "{snapshot}: {html}");
        assert!(!html.contains("No package differs"), "{snapshot}: {html}");
    }
    assert!(changes("2025-10-09").contains("No earlier day has other packages."));
    let html = server.get("/prod/latest/web/changes/?since=2025-10-14").text();
    assert!(html.contains("No package differs."), "a day that was requested: {html}");
    // The lives before and after the first sync are one row.
    let path = "/prod/latest/web/packages/alpha/history/";
    let answer = server.get(path);
    document::page(&answer, path);
    let html = answer.text();
    assert_eq!((html.matches("<tr>").count(), html.matches(&cell("2.0")).count()), (4, 1), "{html}");
    assert!(html.contains("2025-10-09</time></a> <small>first day of the back-fill</small>"), "{html}");
    assert!(!html.contains("first sync") && html.contains("Releases of alpha over time"), "{html}");
}

#[test]
fn a_day_of_a_first_sync_is_marked() {
    let (_web, server) = cran();
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("subscribe --repo=prod --source=team");
    server.add("team", &Tarball::new("own", "1.0"));
    let before = newest(&server);
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server.rspm_stdout("sync --type=CRAN");
    let page = |path: &str| {
        let answer = server.get(path);
        document::page(&answer, path);
        answer.text()
    };
    let html = page(&format!("/prod/latest/web/changes/?since={before}"));
    assert!(html.contains("</time>: first sync of cran, in which all its packages are new.</p>"), "{html}");
    assert!(!page("/prod/latest/web/changes/?since=latest").contains("first sync"));
    let html = page("/prod/latest/");
    for part in [
        ", first sync of cran\"",
        ": first sync of cran</title><path class=\"first\"",
        "cran: first sync, 1 new",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(
        page("/prod/latest/web/packages/alpha/history/").contains("</time></a> <small>first sync</small>")
    );
    assert!(
        !page("/prod/latest/web/packages/own/history/").contains("first sync"),
        "a local source has none"
    );
}
