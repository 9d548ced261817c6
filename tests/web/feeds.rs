//! The Atom feeds, read by an XML parser and compared with RFC 4287.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::support::advisories;
use crate::support::data;
use crate::support::full_mirror::{self, Size};
use crate::support::http::Answer;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Maximum number of entries of a feed.
const MAX_ENTRIES: usize = 100;

/// Prints an XML file as nested lists: name with namespace, attributes, text, children.
const READ: &str = "import json, sys, xml.etree.ElementTree as tree
def show(e): return [e.tag, e.attrib, e.text or '', [show(child) for child in e]]
print(json.dumps(show(tree.parse(sys.argv[1]).getroot())))";

/// An element of Atom.
#[derive(Debug)]
struct Element {
    name: String,
    attributes: Value,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn new(value: &Value) -> Element {
        let tag = value[0].as_str().expect("a name");
        let name = tag.strip_prefix("{http://www.w3.org/2005/Atom}");
        Element {
            name: name.unwrap_or_else(|| panic!("{tag} is not an element of Atom")).to_owned(),
            attributes: value[1].clone(),
            text: value[2].as_str().expect("a text").to_owned(),
            children: value[3].as_array().expect("a list").iter().map(Element::new).collect(),
        }
    }

    fn all(&self, name: &str) -> Vec<&Element> {
        self.children.iter().filter(|child| child.name == name).collect()
    }

    /// The text of the only child with a name.
    fn text_of(&self, name: &str) -> &str {
        let found = self.all(name);
        assert_eq!(found.len(), 1, "{name}: {self:?}");
        assert!(!found[0].text.is_empty(), "{name} is empty: {self:?}");
        &found[0].text
    }

    /// The address of the only link with a relation.
    fn link(&self, relation: &str) -> &str {
        let links = self.all("link");
        let links: Vec<_> = links.into_iter().filter(|link| link.attributes["rel"] == relation).collect();
        assert_eq!(links.len(), 1, "{relation}: {self:?}");
        links[0].attributes["href"].as_str().expect("an address")
    }

    /// The identifier, a permanent absolute address (4.2.6), and the time of the last change (3.3).
    fn identity(&self) -> (&str, jiff::Timestamp) {
        let id = self.text_of("id");
        assert!(url::Url::parse(id).is_ok(), "{id}");
        let updated = self.text_of("updated");
        assert!(updated.contains('T') && updated.ends_with('Z'), "{updated}");
        (id, updated.parse().expect("a time of RFC 3339"))
    }
}

/// Reads a feed and checks what RFC 4287 requires of it; returns the titles of its entries.
fn read(server: &Server, path: &str) -> Vec<String> {
    let answer = server.get(path);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/atom+xml; charset=utf-8"))
    );
    let feed = parse(server, &answer);
    assert_eq!(feed.name, "feed");
    let (id, updated) = feed.identity();
    assert_eq!((feed.link("self"), id), (server.url(path).as_str(), server.url(path).as_str()));
    feed.text_of("title");
    let authors = feed.all("author");
    authors.first().expect("an author, which the entries lack").text_of("name");
    assert_answered(server, feed.link("alternate"));
    let allowed = ["id", "title", "updated", "author", "link", "entry"];
    assert!(feed.children.iter().all(|child| allowed.contains(&child.name.as_str())), "{feed:?}");
    let (mut ids, mut titles, mut previous) = (BTreeSet::new(), Vec::new(), updated);
    for entry in feed.all("entry") {
        let (id, at) = entry.identity();
        assert!(ids.insert(id.to_owned()), "{id} twice");
        assert!(at <= previous, "{path}: the newest entry is first, and no entry is newer than the feed");
        previous = at;
        titles.push(entry.text_of("title").to_owned());
        entry.text_of("summary");
        entry.link("alternate");
        let allowed = ["id", "title", "updated", "link", "summary"];
        assert!(entry.children.iter().all(|child| allowed.contains(&child.name.as_str())), "{entry:?}");
    }
    let entries = feed.all("entry");
    let ends = [entries.first(), entries.last()];
    ends.into_iter().flatten().for_each(|entry| assert_answered(server, entry.link("alternate")));
    titles
}

fn parse(server: &Server, answer: &Answer) -> Element {
    let file = server.dir().join("feed.xml");
    std::fs::write(&file, &answer.body).expect("written");
    let output = Command::new("python3").args(["-c", READ]).arg(&file).output().expect("python3 runs");
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), answer.text());
    Element::new(&serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// Asserts that an address of a feed is a page of this server.
fn assert_answered(server: &Server, address: &str) {
    let path = address.strip_prefix(&server.url("")).unwrap_or_else(|| panic!("{address} is elsewhere"));
    let path = path.split('#').next().unwrap_or_default();
    server.get(path).assert_page(path);
}

#[test]
fn feeds_are_valid_and_have_the_newest_hundred_entries() {
    let server = Builder::default()
        .gcfg("[CRAN]\nURL = file://{dir}/mirror\n[Vulnerabilities]\nURL = file://{dir}/own")
        .start();
    let own = server.dir().join("own");
    server.local_repository("team", &[Tarball::new("alpha", "0.1")]);
    let first = read(&server, "/team/latest/web/packages/alpha/versions.atom");
    assert_eq!(first, ["alpha 0.1"]);
    for version in 1..=MAX_ENTRIES {
        server.add("team", &Tarball::new("alpha", &format!("1.{version}")));
    }
    let titles = read(&server, "/team/latest/web/packages/alpha/versions.atom");
    let versions = (1..=MAX_ENTRIES).rev().map(|version| format!("alpha 1.{version}"));
    assert_eq!(titles, versions.collect::<Vec<_>>());
    let titles = read(&server, "/team/latest/web/changes.atom");
    assert_eq!(titles.len(), MAX_ENTRIES);
    assert!(titles.iter().all(|title| title.starts_with("team: ")), "{titles:?}");

    let size = Size { listed_count: 1, archived_count: 0 };
    full_mirror::write(&server.dir().join("mirror"), size, None).expect("written");
    server.rspm_stdout("sync --type=CRAN");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    let packages = server.get("/__api__/repos/prod/packages").json();
    let package = packages[0]["name"].as_str().expect("a package");
    let path = "/prod/latest/web/vulnerabilities.atom";
    assert_eq!(read(&server, path), Vec::<String>::new());
    // Texts with the characters of markup, and one with a character that XML does not allow.
    let records: Vec<Value> = (1..=MAX_ENTRIES + 1)
        .map(|number| {
            let mut record = advisories::record(&format!("RSEC-{number}"), "CRAN", package, "99.0");
            record["summary"] = format!("<b>&amp;\u{1} ]]> {number}").into();
            advisories::with_modified(
                record,
                &format!("2024-05-06T07:{:02}:{:02}Z", number / 60, number % 60),
            )
        })
        .collect();
    advisories::folder(&own, &records);
    server.sync_of("vulns").expect("advisories");
    let titles = read(&server, path);
    let expected = (2..=MAX_ENTRIES + 1).rev().map(|number| format!("{package}: RSEC-{number}"));
    assert_eq!(titles, expected.collect::<Vec<_>>());
}

/// The time of the last change of a feed.
fn updated(server: &Server, path: &str) -> jiff::Timestamp {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    parse(server, &answer).identity().1
}

#[test]
fn the_time_of_a_feed_never_decreases_and_is_not_before_its_repository() {
    let server = Builder::default().gcfg("[Vulnerabilities]\nURL = file://{dir}/own").start();
    let begin = jiff::Timestamp::now();
    server.rspm_stdout("create repo --name=prod");
    let changes = "/prod/latest/web/changes.atom";
    let vulnerabilities = "/prod/latest/web/vulnerabilities.atom";
    let versions = "/prod/latest/web/packages/alpha/versions.atom";
    for path in [changes, vulnerabilities] {
        assert_eq!(read(&server, path), Vec::<String>::new());
        assert!(updated(&server, path) >= begin, "{path}");
    }
    let mut last: BTreeMap<&str, jiff::Timestamp> = BTreeMap::new();
    let mut assert_not_older = |paths: &[&'static str], step: &str| {
        for path in paths {
            let now = updated(&server, path);
            let before = last.insert(*path, now);
            assert!(before.is_none_or(|before| before <= now), "{path} after {step}: {before:?} {now}");
        }
    };
    let all = [changes, vulnerabilities, versions];
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("subscribe --repo=prod --source=team");
    server.add("team", &Tarball::new("alpha", "1.0"));
    assert_not_older(&all, "the first version");
    server.add("team", &Tarball::new("alpha", "2.0"));
    assert_not_older(&all, "the second version");
    server.rspm_stdout("create blocklist-rule --package-name=alpha --version=2.0 --description=broken");
    assert_eq!(read(&server, versions), ["alpha 1.0"]);
    assert_not_older(&all, "a rule that hides the second version");
    server.rspm_stdout("delete blocklist-rule --id=1");
    assert_not_older(&all, "the end of the rule");
    server.rspm_stdout("remove package --source=team --name=alpha@2.0");
    assert_eq!(read(&server, versions), ["alpha 1.0", "alpha 2.0", "alpha 1.0"]);
    assert_not_older(&all, "the removal of the second version");
    server.rspm_stdout("unsubscribe --repo=prod --source=team");
    assert_eq!(read(&server, changes), ["subscriptions: team removed", "subscriptions: team added"]);
    // The feed of the versions of the package stays, as its history does.
    assert_eq!(read(&server, versions), ["alpha 1.0", "alpha 2.0", "alpha 1.0"]);
    assert_eq!(server.get("/prod/latest/web/packages/nothing/versions.atom").status, 404);
    assert_not_older(&all, "the end of the subscription");
}

#[test]
fn changes_from_before_a_subscription_are_in_no_feed_and_links_lead_to_states_with_the_change() {
    let server = Server::start();
    server.rspm_stdout("create repo --name=prod");
    for source in ["one", "two"] {
        server.rspm_stdout(&format!("create source --name={source}"));
    }
    server.rspm_stdout("subscribe --repo=prod --source=one");
    server.add("one", &Tarball::new("alpha", "1.0"));
    server.add("two", &Tarball::new("beta", "1.0"));
    server.rspm_stdout("subscribe --repo=prod --source=two");
    server.add("two", &Tarball::new("gamma", "1.0"));
    server.rspm_stdout("unsubscribe --repo=prod --source=two");
    server.add("two", &Tarball::new("delta", "1.0"));
    server.rspm_stdout("subscribe --repo=prod --source=two");
    let path = "/prod/latest/web/changes.atom";
    let expected = [
        ("subscriptions: two added", "Package: delta"),
        ("subscriptions: two removed", "Package: alpha"),
        ("two: 1 new", "Package: gamma"),
        ("subscriptions: two added", "Package: beta"),
        ("one: 1 new", "Package: alpha"),
    ];
    let titles = read(&server, path);
    assert_eq!(titles[..5], expected.map(|(title, _)| title));
    assert_eq!(titles[5..], ["subscriptions: one added"]);
    let feed = parse(&server, &server.get(path));
    for (entry, (title, package)) in feed.all("entry").into_iter().zip(expected) {
        let link = entry.link("alternate").strip_prefix(&server.url("")).expect("an address of the server");
        let index = server.get(&format!("{link}src/contrib/PACKAGES")).text();
        assert!(index.contains(package), "{title}, {link}: {index}");
    }
    let page = server.get("/prod/latest/").text();
    assert_eq!(page.matches("1 new").count(), 2, "{page}");
}

#[test]
fn the_feed_of_vulnerabilities_changes_only_with_its_entries() {
    let server = Builder::default().gcfg("[Vulnerabilities]\nURL = file://{dir}/own").start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    let path = "/team/latest/web/vulnerabilities.atom";
    let feed = || {
        let answer = server.get(path);
        (answer.header("etag").expect("an ETag").to_owned(), answer.text())
    };
    let before = feed();
    server.add("team", &Tarball::new("beta", "1.0"));
    assert_eq!(feed(), before);
}

#[test]
fn a_withdrawn_advisory_does_not_make_the_feed_older() {
    let mirror = data::path("cran-mirror");
    let gcfg =
        format!("[CRAN]\nURL = file://{}\n[Vulnerabilities]\nURL = file://{{dir}}/own", mirror.display());
    let server = Builder::default().gcfg(&gcfg).start();
    let own = server.dir().join("own");
    server.rspm_stdout("sync --type=CRAN");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    let path = "/prod/latest/web/vulnerabilities.atom";
    let record =
        |time: &str| advisories::with_modified(advisories::record("RSEC-1", "CRAN", "cli", "99.0"), time);
    advisories::folder(&own, &[record("2090-05-06T07:08:09Z")]);
    server.sync_of("vulns").expect("advisories");
    assert_eq!(read(&server, path), ["cli: RSEC-1"]);
    assert_eq!(updated(&server, path).to_string(), "2090-05-06T07:08:09Z");
    let mut withdrawn = record("2090-06-01T00:00:00Z");
    withdrawn["withdrawn"] = "2020-01-01T00:00:00Z".into();
    advisories::folder(&own, &[withdrawn]);
    server.sync_of("vulns").expect("advisories");
    assert_eq!(read(&server, path), Vec::<String>::new());
    assert_eq!(updated(&server, path).to_string(), "2090-06-01T00:00:00Z");
}
