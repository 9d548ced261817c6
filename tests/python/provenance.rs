//! Provenance objects of an index (PEP 740): addresses on pages and in documents of the JSON API, objects that this
//! server fetches, checks and stores, and hostile ones.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::python::file_name::FileName;
use rstudio_pm::python::name;
use rstudio_pm::serve::{self, RepoError};
use serde_json::{Value, json};

use super::index_history::{subscribe, sync};
use crate::support::backend::{Backend, StoresConfig};
use crate::support::db;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::pypi::{Pypi, hex};
use crate::support::python::index::{get, start};
use crate::support::server::Server;

const OLD: &str = "2021-03-05T00:00:00Z";
/// The address of the server for clients: a secure origin, because it is on this machine.
const ADDRESS: &str = "http://localhost:9";

/// A provenance object that is about a file with this name and digest.
pub(crate) fn object(name: &str, sha256: &str) -> Vec<u8> {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "subject": [{ "name": name, "digest": { "sha256": sha256 } }],
        "predicateType": "https://docs.pypi.org/attestations/publish/v1", "predicate": null,
    });
    let envelope = json!({ "statement": BASE64_STANDARD.encode(statement.to_string()), "signature": "MEU=" });
    let material = json!({ "certificate": "MII=", "transparency_entries": [{ "logIndex": "1" }] });
    let attestation = json!({ "version": 1, "verification_material": material, "envelope": envelope });
    let publisher = json!({ "kind": "GitHub", "repository": "odd/lib", "workflow": "release.yml" });
    let bundle = json!({ "publisher": publisher, "attestations": [attestation] });
    json!({ "version": 1, "attestation_bundles": [bundle] }).to_string().into_bytes()
}

/// An index with `one-1.0.tar.gz` and its provenance, and `one-2.0.tar.gz` without. Returns the object, too.
fn index() -> (Pypi, Vec<u8>) {
    let pypi = Pypi::start();
    pypi.add("one", "one-1.0.tar.gz", b"1.0", OLD);
    pypi.add("one", "one-2.0.tar.gz", b"2.0", OLD);
    let object = object("one-1.0.tar.gz", &hex(b"1.0"));
    pypi.attest("one", "one-1.0.tar.gz", &object);
    (pypi, object)
}

fn start_with_address(pypi: &Pypi) -> Server {
    let server = start(pypi, &format!("[Server]\nAddress = {ADDRESS}"));
    server.sync_of("pypi").expect("an index");
    server
}

/// The paths of requests for provenance objects since the last call.
fn provenance_requests(pypi: &Pypi) -> Vec<String> {
    pypi.take_requests().into_iter().filter(|path| path.starts_with("/integrity/")).collect()
}

/// The addresses of provenance objects on a page of `one`, which both formats state alike.
fn addresses(server: &Server, snapshot: &str) -> Vec<Option<String>> {
    let path = format!("/py/{snapshot}/simple/one/");
    let page = get(server, &path).json();
    let files = page["files"].as_array().expect("files").iter();
    let addresses: Vec<Option<String>> =
        files.map(|file| file["provenance"].as_str().map(str::to_owned)).collect();
    let html = server.get(&path).text();
    assert_eq!(html.matches("data-provenance=").count(), addresses.iter().flatten().count(), "{html}");
    for address in addresses.iter().flatten() {
        assert!(html.contains(&format!("data-provenance=\"{address}\"")), "{html}");
    }
    addresses
}

#[test]
fn provenance_is_served_from_storage_at_the_address_of_this_server() {
    let (pypi, object) = index();
    let mut server = start_with_address(&pypi);
    let path = format!("/packages/py/latest/{}/one-1.0.tar.gz.provenance", hex(b"1.0"));
    for snapshot in ["latest", "2022-01-01", "2023-01-01"] {
        assert_eq!(addresses(&server, snapshot), [Some(format!("{ADDRESS}{path}")), None], "{snapshot}");
    }
    assert_eq!(provenance_requests(&pypi), Vec::<String>::new(), "objects are fetched on request");
    let answer = server.get(&path);
    assert_eq!((answer.status, &answer.body), (200, &object));
    assert_eq!(answer.header("content-type"), Some("application/vnd.pypi.integrity.v1+json"));
    let etag = answer.header("etag").expect("a tag").to_owned();
    let conditional = http::request("GET", &server.url(&path), &[("If-None-Match", &etag)], b"");
    assert_eq!((conditional.status, conditional.body.len()), (304, 0));
    let head = http::request("HEAD", &server.url(&path), &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some(&*object.len().to_string())));
    // The address below the snapshot, and that of a past day in the document of the JSON API.
    let below = format!("/py/2022-01-01/packages/{}/one-1.0.tar.gz.provenance", hex(b"1.0"));
    assert_eq!(server.get(&below).body, object);
    let document = server.get("/py/2022-01-01/pypi/one/json").json();
    let stated: Vec<&Value> = document["releases"].as_object().expect("releases").values().collect();
    let stated: Vec<Option<&str>> = stated.iter().map(|files| files[0]["provenance"].as_str()).collect();
    let dated = path.replace("latest", "2022-01-01");
    assert_eq!(stated, [Some(&*format!("{ADDRESS}{dated}")), None]);
    assert_eq!(server.get(&dated).body, object);
    assert_eq!(provenance_requests(&pypi).len(), 1, "it is stored");
    for missing in ["one-2.0.tar.gz", "one-1.1.tar.gz"] {
        let path = format!("/packages/py/latest/{}/{missing}.provenance", hex(b"2.0"));
        assert_eq!(server.get(&path).status, 404, "{missing}");
    }
    assert_eq!(http::request("POST", &server.url(&path), &[], b"").status, 405);

    pypi.set_unavailable(true);
    server.restart();
    assert_eq!(server.get(&path).body, object, "without the index");
    pypi.set_unavailable(false);
    // The document of the JSON API has read the source distribution of its version.
    until("the objects can be evicted", || server.json("evict --type=clear --dry-run")["files"] == 2);
    assert_eq!(server.json("evict --type=clear")["files"], 2);
    assert_eq!(server.get(&path).body, object, "it is fetched again");
    assert_eq!(server.rspm("scrub --quick").code, 0);
}

#[test]
fn provenance_of_an_index_in_html_is_served() {
    let (pypi, object) = index();
    pypi.set_plain();
    let server = start_with_address(&pypi);
    let path = format!("/packages/py/latest/{}/one-1.0.tar.gz.provenance", hex(b"1.0"));
    assert_eq!(addresses(&server, "latest"), [Some(format!("{ADDRESS}{path}")), None]);
    assert_eq!(server.get(&path).body, object);
}

#[test]
fn hostile_provenance_is_not_served() {
    let pypi = Pypi::start();
    let long = format!("\"{}\"", "x".repeat(2 << 20));
    let deep = "[".repeat(100_000);
    let other = String::from_utf8(object("one-0.9.tar.gz", &hex(b"0.9"))).expect("JSON");
    let bytes = String::from_utf8(object("one-5.0.tar.gz", &hex(b"other bytes"))).expect("JSON");
    for (version, object) in
        [("1.0", "<html>"), ("2.0", &*long), ("3.0", &*deep), ("4.0", &*other), ("5.0", &*bytes), ("6.0", "")]
    {
        let name = format!("one-{version}.tar.gz");
        pypi.add("one", &name, version.as_bytes(), OLD);
        pypi.attest("one", &name, object.as_bytes());
    }
    pypi.add("one", "one-7.0.tar.gz", b"7.0", OLD);
    pypi.edit("one", "one-7.0.tar.gz", |file| {
        file.provenance = Some("http://169.254.169.254/latest/meta-data".to_owned());
    });
    let server = start_with_address(&pypi);
    let found = addresses(&server, "latest");
    assert_eq!(found.len(), 7);
    for address in found.into_iter().flatten() {
        let path = address.strip_prefix(ADDRESS).expect("this server").to_owned();
        for attempt in ["the first request", "the second request"] {
            let answer = server.get(&path);
            assert!(answer.status >= 500 && answer.body.len() < 1000, "{path}, {attempt}: {}", answer.text());
            assert!(!answer.text().contains("<html>"), "{}", answer.text());
        }
    }
    assert_eq!(provenance_requests(&pypi).len(), 6, "each once in a minute, and none from another host");
    let names: Vec<String> = (1..=7).map(|version| format!("one-{version}.0.tar.gz")).collect();
    let log = server.log_lines();
    for name in names {
        let is_about = |line: &&String| {
            line.contains("could not fetch the provenance of a file") && line.contains(&name)
        };
        assert_eq!(log.iter().filter(is_about).count(), 1, "{name}");
    }
}

async fn scenario(engine: db::Engine) {
    let (pypi, first) = index();
    let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.unwrap();
    let backend =
        Backend::with_stores(StoresConfig { gcfg: format!("{settings}\n[PyPI]\nURL = {}", pypi.url()) })
            .await;
    subscribe(&backend).await;
    backend.advance_to_noon("2024-03-02");
    sync(&backend).await;
    let file = FileName::parse("one-1.0.tar.gz").unwrap();
    let request = async || {
        let point = serve::point::resolve(&backend.repositories, "py", Snapshot::Latest).await?;
        // The page of the project is read when it is requested.
        serve::project::file::locate_page(&backend.repositories, &point, &name::parse("one").unwrap())
            .await?;
        let sha256 = hex(b"1.0").parse().unwrap();
        let bytes =
            serve::python::provenance::object(&backend.repositories, &point, sha256, file.as_str()).await?;
        Ok::<_, RepoError>(bytes.to_vec())
    };
    for _ in 0..2 {
        assert_eq!(request().await.unwrap(), first);
    }
    assert_eq!(provenance_requests(&pypi).len(), 1);
    // An attestation was added. The object is requested again after a day.
    let mut added: Value = serde_json::from_slice(&first).unwrap();
    let bundle = added["attestation_bundles"][0].clone();
    added["attestation_bundles"].as_array_mut().unwrap().push(bundle);
    let added = added.to_string().into_bytes();
    pypi.attest("one", "one-1.0.tar.gz", &added);
    assert_eq!(request().await.unwrap(), first);
    backend.advance_to_noon("2024-03-04");
    assert_eq!(request().await.unwrap(), added);
    assert_eq!(provenance_requests(&pypi).len(), 1);
    // The stored object is served while the index does not answer.
    pypi.set_unavailable(true);
    backend.advance_to_noon("2024-03-06");
    assert_eq!(request().await.unwrap(), added);
    let violations = backend.state.db.read(rstudio_pm::db::invariants::violations).await.unwrap();
    assert_eq!(violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_object_is_refreshed_after_a_day_on_sqlite() {
    scenario(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_object_is_refreshed_after_a_day_on_postgres() {
    scenario(db::Engine::Postgres).await;
}

#[test]
fn the_address_on_the_page_of_a_past_day_is_served_although_a_rule_blocks_the_file_in_latest() {
    let (pypi, object) = index();
    let server = start_with_address(&pypi);
    server.rspm_stdout("create blocklist-rule --package-name=one --not-dated");
    assert_eq!(get(&server, "/py/latest/simple/one/").status, 403);
    let path = |snapshot: &str| format!("/packages/py/{snapshot}/{}/one-1.0.tar.gz.provenance", hex(b"1.0"));
    assert_eq!(server.get(&path("latest")).status, 403);
    for snapshot in ["2022-01-01", "2023-01-01"] {
        let path = path(snapshot);
        assert_eq!(addresses(&server, snapshot), [Some(format!("{ADDRESS}{path}")), None], "{snapshot}");
        let answer = server.get(&path);
        assert_eq!((answer.status, &answer.body), (200, &object), "{snapshot}");
    }
}
