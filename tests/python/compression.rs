//! Compression of lists, pages and documents for clients that accept it: the same content in both forms, and their
//! headers.

use std::io::Read as _;

use crate::support::http::{self, Answer};
use crate::support::pypi::Pypi;
use crate::support::python::index::{start, wheel};
use crate::support::python::package::{Package, add, repository};
use crate::support::server::Server;

const JSON: &str = "application/vnd.pypi.simple.v1+json";

fn request(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::request(method, &server.url(path), headers, b"")
}

fn decompressed(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(answer.body.as_slice()).read_to_end(&mut bytes).expect("gzip");
    bytes
}

/// Compares the plain and the compressed response at an address, and their validators. Returns the sizes of both.
fn compare(server: &Server, path: &str, accept: &str, vary: &str) -> (usize, usize) {
    let plain = request(server, "GET", path, &[("Accept", accept)]);
    let gzip = [("Accept", accept), ("Accept-Encoding", "gzip, deflate, br, zstd")];
    let compressed = request(server, "GET", path, &gzip);
    assert_eq!((plain.status, compressed.status), (200, 200), "{path}");
    assert_eq!(decompressed(&compressed), plain.body, "{path} {accept}");
    assert_eq!(plain.header("content-encoding"), None);
    let (strong, weak) = (plain.header("etag").expect("a tag"), compressed.header("etag").expect("a tag"));
    assert_eq!(weak, format!("W/{strong}"), "{path} {accept}");
    for name in ["content-type", "cache-control", "last-modified", "x-pypi-last-serial"] {
        assert_eq!(plain.header(name), compressed.header(name), "{path} {accept}: {name}");
    }
    assert_eq!(compressed.header("accept-ranges"), Some("none"));
    for answer in [&plain, &compressed] {
        assert_eq!(answer.header("vary"), Some(vary), "{path} {accept}");
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    }
    let head = request(server, "HEAD", path, &gzip);
    let of_head = |name: &str| (head.header(name), compressed.header(name));
    for name in ["content-length", "content-encoding", "etag"] {
        let (head, get) = of_head(name);
        assert_eq!(head, get, "{path} {accept}: {name}");
    }
    // Either form is up to date, whichever the client has.
    for known in [strong, weak] {
        for encoding in ["gzip", "identity"] {
            let headers = [("Accept", accept), ("Accept-Encoding", encoding), ("If-None-Match", known)];
            let answer = request(server, "GET", path, &headers);
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{path} {accept} {known} {encoding}");
            assert_eq!((answer.header("vary"), answer.header("content-encoding")), (Some(vary), None));
            assert_eq!(answer.header("etag"), Some(if encoding == "gzip" { weak } else { strong }));
        }
    }
    for refused in ["gzip;q=0", "br, *;q=0.1", ""] {
        let answer = request(server, "GET", path, &[("Accept", accept), ("Accept-Encoding", refused)]);
        assert_eq!((answer.header("content-encoding"), &answer.body), (None, &plain.body), "{refused}");
    }
    // Bytes of the compressed form are not the same on every server.
    let range = [("Accept", accept), ("Accept-Encoding", "gzip"), ("Range", "bytes=0-9")];
    let answer = request(server, "GET", path, &range);
    assert_eq!((answer.status, decompressed(&answer)), (200, plain.body.clone()), "{path}");
    (plain.body.len(), compressed.body.len())
}

#[test]
fn lists_pages_and_documents_are_compressed_for_clients_that_accept_it() {
    let pypi = Pypi::start();
    let name = wheel(&pypi, &Package::new("one", "1.0"), "2021-03-05T00:00:00Z");
    for number in 0..100 {
        let name = format!("one-1.{number}.tar.gz");
        pypi.add("one", &name, name.as_bytes(), "2021-03-06T00:00:00Z");
    }
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    for snapshot in ["latest", "2022-01-01"] {
        for project in ["", "one/"] {
            for accept in [JSON, "application/vnd.pypi.simple.v1+html", "text/html"] {
                let path = format!("/py/{snapshot}/simple/{project}");
                let (plain, compressed) = compare(&server, &path, accept, "Accept, Accept-Encoding");
                assert!(project.is_empty() || compressed * 2 < plain, "{path}: {plain} to {compressed}");
            }
        }
        compare(&server, &format!("/py/{snapshot}/pypi/one/json"), "*/*", "Accept-Encoding");
    }
    // A new page has another tag in both forms.
    let accept = [("Accept", JSON), ("Accept-Encoding", "gzip")];
    let before = request(&server, "GET", "/py/latest/simple/one/", &accept);
    pypi.edit("one", &name, |file| file.yanked = Some("bad".to_owned()));
    server.sync_of("pypi").expect("an index");
    let tag = before.header("etag").expect("a tag");
    let conditional = [("Accept", JSON), ("Accept-Encoding", "gzip"), ("If-None-Match", tag)];
    let after = request(&server, "GET", "/py/latest/simple/one/", &conditional);
    assert_eq!(after.status, 200);
    assert!(String::from_utf8_lossy(&decompressed(&after)).contains("\"yanked\":\"bad\""));
    // Files are sent as they are: a proxy or client that decompressed them would get other digests.
    let sdist = get_url(&server, "one-1.0.tar.gz");
    let file = request(&server, "GET", &sdist, &[("Accept-Encoding", "gzip")]);
    assert_eq!((file.header("content-encoding"), file.body.as_slice()), (None, b"one-1.0.tar.gz".as_slice()));
}

/// The address of a file on the page of `one`.
fn get_url(server: &Server, name: &str) -> String {
    let page = request(server, "GET", "/py/latest/simple/one/", &[("Accept", JSON)]).json();
    let files = page["files"].as_array().expect("files");
    let file = files.iter().find(|file| file["filename"] == name).expect("the file");
    let url = file["url"].as_str().expect("an address");
    format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"))
}

#[test]
fn pages_of_every_transaction_of_a_local_source_are_compressed() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("one", "1.0"));
    let transaction = crate::support::python::package::transaction(&server, "team");
    add(&server, "team", &Package::new("one", "2.0"));
    let gzip = [("Accept", JSON), ("Accept-Encoding", "gzip")];
    let page = |snapshot: &str| {
        let path = format!("/py/{snapshot}/simple/one/");
        String::from_utf8(decompressed(&request(&server, "GET", &path, &gzip))).expect("JSON")
    };
    assert!(page("latest").contains("one-2.0-py3-none-any.whl"));
    let old = page(&transaction.to_string());
    assert!(old.contains("one-1.0-py3-none-any.whl") && !old.contains("one-2.0"), "{old}");
    add(&server, "team", &Package::new("one", "3.0"));
    assert!(
        page("latest").contains("one-3.0-py3-none-any.whl"),
        "the page that was compressed is not sent again"
    );
    assert_eq!(page(&transaction.to_string()), old);
    // An R repository has compressed files of its own.
    server.rspm_stdout("create source --name=r");
    server.rspm_stdout("create repo --name=r");
    server.rspm_stdout("subscribe --repo=r --source=r");
    let index = request(&server, "GET", "/r/latest/src/contrib/PACKAGES", &[("Accept-Encoding", "gzip")]);
    assert_eq!((index.status, index.header("content-encoding"), index.header("vary")), (200, None, None));
}
