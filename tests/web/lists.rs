//! Long lists: their pages add up, and CSV has the same rows.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::document::{self, unescape};
use crate::support::full_mirror::{self, Size};
use crate::support::pypi::Pypi;
use crate::support::python::index::{self, wheel};
use crate::support::python::package::{Package, add, repository};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// The first cells of the rows of a page.
fn names(html: &str) -> Vec<String> {
    let body = html.split_once("<tbody>").expect("a table").1.split("</tbody>").next().expect("its end");
    let name = |row: &str| {
        let cell = row.split_once("</td>").expect("a cell").0;
        let text = cell.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text);
        unescape(&text.collect::<String>())
    };
    body.split("<tr>").skip(1).map(name).collect()
}

/// The first cells of all pages of a list, found by the link of each page to the next one.
fn all_names(server: &Server, first: &str) -> (Vec<String>, usize) {
    let (mut all, mut page, mut pages) = (Vec::new(), first.to_owned(), 0);
    loop {
        let answer = server.get(&page);
        let tags = document::page(&answer, &page);
        all.extend(names(&answer.text()));
        pages += 1;
        assert!(pages < 100, "{first} has no end");
        let Some(next) = tags.iter().find(|tag| tag.get("rel") == Some("next")) else { return (all, pages) };
        let folder = first.split('?').next().expect("a path");
        page = format!("{folder}{}", next.get("href").expect("an address"));
    }
}

/// Reads CSV as a spreadsheet does.
const READ: &str = "import csv, json, sys
print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8'), strict=True))))";

fn csv(server: &Server, path: &str) -> Vec<Value> {
    let file = server.dir().join("list.csv");
    std::fs::write(&file, &server.get(path).body).expect("written");
    let output = Command::new("python3").args(["-c", READ]).arg(&file).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a list of rows")
}

#[test]
fn the_pages_of_a_long_list_are_complete_and_csv_has_their_rows() {
    let server = Builder::default().gcfg("[CRAN]\nURL = file://{dir}/mirror").start();
    let sync = |listed_count| {
        let size = Size { listed_count, archived_count: 0 };
        full_mirror::write(&server.dir().join("mirror"), size, None).expect("written");
        server.rspm_stdout("sync --type=CRAN");
    };
    sync(3);
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    let info = server.json("info --source=cran");
    let before = info["last_transaction"]["id"].as_i64().expect("a transaction");
    sync(1_203);

    let diff = server.get(&format!("/__api__/repos/prod/diff?from={before}&to=latest")).json();
    let rows = diff.as_array().expect("rows");
    let expected: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert!(expected.len() >= 1_200, "{}", expected.len());
    let changes = format!("/prod/latest/web/changes/?since={before}");
    let (changed, pages) = all_names(&server, &changes);
    assert_eq!((changed, pages), (expected.iter().map(|name| (*name).to_owned()).collect(), 3));
    let sheet = csv(&server, &format!("{changes}&format=csv"));
    let of_sheet: Vec<&str> = sheet.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(of_sheet, expected);
    for (row, json) in sheet.iter().zip(rows) {
        let cells = row.as_object().expect("cells");
        assert_eq!(cells.len(), 7, "{row}");
        assert_eq!((&row["kind"], &row["to_source"]), (&json["kind"], &json["to_source"]), "{row}");
        let is_formula =
            |cell: &Value| cell.as_str().expect("a text").starts_with(['=', '+', '-', '@', '\t']);
        assert!(!cells.values().any(is_formula), "{row}");
    }

    let (listed, pages) = all_names(&server, "/prod/latest/web/packages/");
    assert_eq!((listed.len(), pages), (1_203, 13));
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "no package is on two pages");
    assert!(listed.is_sorted_by_key(|name| name.to_lowercase()), "{listed:?}");
    let sheet = csv(&server, "/prod/latest/web/packages/?format=csv");
    let names: Vec<&str> = sheet.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, listed);
    let index = server.get("/prod/latest/src/contrib/PACKAGES").text();
    for row in &sheet {
        let text = |key: &str| row[key].as_str().expect("a text");
        assert!(
            index.contains(&format!("Package: {}\nVersion: {}\n", text("name"), text("version"))),
            "{row}"
        );
        assert_eq!(text("source"), "cran");
    }
    let part = names[0].chars().take(4).collect::<String>().to_uppercase();
    let (found, _) = all_names(&server, &format!("/prod/latest/web/packages/?q={part}"));
    let sheet = csv(&server, &format!("/prod/latest/web/packages/?q={part}&format=csv"));
    let mut of_sheet: Vec<&str> = sheet.iter().filter_map(|row| row["name"].as_str()).collect();
    let mut found: Vec<&str> = found.iter().map(String::as_str).collect();
    of_sheet.sort_unstable();
    found.sort_unstable();
    assert!(!found.is_empty() && of_sheet == found, "{found:?} {of_sheet:?}");
    for query in ["format=xml", "format=%FF"] {
        assert_eq!(server.get(&format!("/prod/latest/web/packages/?{query}")).status, 400, "{query}");
    }
}

#[test]
fn the_repositories_and_the_results_of_a_search_are_on_several_pages() {
    /// Maximum number of elements of a page.
    const MAX_ELEMENTS: usize = 1_500;
    let server = Server::start();
    let packages: Vec<Tarball> = (0..21).map(|at| Tarball::new(&format!("pkg{at:02}"), "1.0")).collect();
    server.local_repository("team", &packages);
    let mut expected = BTreeSet::from(["team".to_owned()]);
    for number in 1..=110 {
        let name = format!("r{number:03}");
        let created = server.admin("POST", "/repos", &serde_json::json!({ "name": name }));
        assert!(created.status < 300, "{}", created.text());
        // 7 repositories have 21 packages each.
        if number <= 6 {
            let source = serde_json::json!({ "source": "team" });
            let subscribed = server.admin("POST", &format!("/repos/{name}/sources"), &source);
            assert!(subscribed.status < 300, "{}", subscribed.text());
        }
        expected.insert(name);
    }
    let get = |path: &str| {
        let answer = server.get(path);
        let elements = document::page(&answer, path).len();
        assert!(elements <= MAX_ELEMENTS, "{path}: {elements} elements");
        answer.text()
    };
    let cards = |html: &str| -> Vec<String> {
        let cards = html.split("data-automation=\"repository-selection-card\"").skip(1);
        let name = |card: &str| {
            card.split_once("</a>").and_then(|(link, _)| link.rsplit('>').next().map(str::to_owned))
        };
        cards.map(|card| name(card).expect("a name")).collect()
    };
    let pages = [1, 2, 3].map(|page| cards(&get(&format!("/?page={page}"))));
    assert_eq!(pages.each_ref().map(Vec::len), [50, 50, 11]);
    assert_eq!(pages.concat().into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(cards(&get("/")), pages[0]);
    assert_eq!(cards(&get("/?page=9")), pages[2], "the last page");
    assert!(get("/").contains("href=\"?page=2\" rel=\"next\""));
    assert_eq!(server.get("/?page=x").status, 400);

    let results = |html: &str| -> Vec<String> {
        let body = html.split_once("<tbody>").expect("a table").1.split("</tbody>").next().expect("its end");
        let repo =
            |row: &str| row.split("<td>").nth(2).and_then(|cell| cell.split('<').next().map(str::to_owned));
        body.split("<tr>").skip(1).map(|row| repo(row).expect("a repository")).collect()
    };
    let [first, second] = [1, 2].map(|page| get(&format!("/?q=pkg&page={page}")));
    assert_eq!([&first, &second].map(|html| results(html).len()), [100, 40]);
    assert_eq!([&first, &second].map(|html| html.matches("All 21 in ").count()), [5, 2]);
    let found: BTreeSet<String> = [results(&first), results(&second)].concat().into_iter().collect();
    let with_packages = ["team", "r001", "r002", "r003", "r004", "r005", "r006"];
    assert_eq!(found, BTreeSet::from(with_packages.map(str::to_owned)));
    assert!(
        first.contains("7 repositories have matches.")
            && first.contains("href=\"?q=pkg&amp;page=2\" rel=\"next\"")
    );
    assert!(cards(&first).len() == 20 && first.contains("<a href=\"?page=1\">All 111 repositories</a>"));
    assert!(get("/?q=pkg&page=3").contains("the results have 2 pages"));
    let one = get("/?q=pkg07");
    assert_eq!((results(&one).len(), one.contains("rel=\"next\"")), (7, false));
    assert!(get("/?q=nothing&page=2").contains("No package was found"));
}

#[test]
fn python_packages_are_available_as_csv_but_those_of_an_index_are_not() {
    let path = "/py/latest/web/packages/";
    let server = Server::start();
    repository(&server);
    for version in ["1.0", "1.1"] {
        add(&server, "team", &Package::new("Odd.Lib", version));
    }
    add(&server, "team", &Package::new("other", "2.0"));
    let page = server.get(path).text();
    assert!(page.contains("All as CSV"), "{page}");
    assert_eq!(
        page.matches("<td class=\"title\" dir=\"auto\">A &lt;test&gt; &amp; more</td>").count(),
        2,
        "{page}"
    );
    let found = server.get("/?q=odd").text();
    assert!(found.contains("A &lt;test&gt; &amp; more"), "{found}");
    let sheet = csv(&server, &format!("{path}?q=odd_l&format=csv"));
    let cells: Vec<(&str, &str)> = sheet
        .iter()
        .map(|row| (row["name"].as_str().expect("a name"), row["version"].as_str().expect("a version")))
        .collect();
    assert_eq!(cells, [("odd-lib", "1.1")]);
    let pypi = Pypi::start();
    wheel(&pypi, &Package::new("one", "1.0"), "2020-01-01T00:00:00Z");
    let server = index::start(&pypi, "");
    server.sync_of("pypi").expect("a sync");
    let page = server.get(path).text();
    assert!(page.contains(">one</a>") && !page.contains("All as CSV"), "{page}");
    let project = server.get(&format!("{path}one/")).text();
    assert!(
        project.contains("<strong>A &lt;test&gt; &amp; more</strong>"),
        "the summary of METADATA: {project}"
    );
    let answer = server.get(&format!("{path}?format=csv"));
    assert!(answer.status == 400 && answer.text().contains("/simple/"), "{}", answer.text());
}
