//! Signatures and attestations that are uploaded with files of local sources: what is stored, served and refused.

use serde_json::{Value, json};

use super::provenance::object;
use crate::support::http::{self, Answer};
use crate::support::postgres;
use crate::support::pypi::hex;
use crate::support::python::form::{Form, Part, publisher, send};
use crate::support::python::package::{Package, add, repository, transaction, write};
use crate::support::server::{Builder, Server};

/// The address of the server for clients: a secure origin, because it is on this machine.
const ADDRESS: &str = "http://localhost:9";
/// A signature, as `gpg --armor --detach-sign` writes it.
pub(super) const SIGNATURE: &str =
    "-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0WIQQ4vE1mXn1H8w\n=Zk3l\n-----END PGP SIGNATURE-----\n";

/// Servers with a local source and a repository, one for each database, that know their address.
fn servers() -> [Server; 2] {
    let url = postgres::server().schema();
    let address = format!("[Server]\nAddress = {ADDRESS}\n");
    let database = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\"\n{address}");
    let servers = [Builder::default().gcfg(&address).start(), Builder::default().gcfg(&database).start()];
    servers.iter().for_each(repository);
    servers
}

/// A list of attestations that are about a file, as clients upload it.
pub(super) fn attestations(name: &str, bytes: &[u8]) -> Value {
    let object: Value = serde_json::from_slice(&object(name, &hex(bytes))).expect("JSON");
    object["attestation_bundles"][0]["attestations"].clone()
}

/// The attestations of the wheel of a package, with a text in which they differ from others.
fn attested(package: &Package, text: &str) -> Value {
    let mut list = attestations(&package.wheel_name(), &package.wheel());
    list[0]["verification_material"]["transparency_entries"][0]["text"] = text.into();
    list
}

/// The provenance object with this list of attestations of an upload.
fn object_text(list: &str) -> String {
    let publisher = r#"{"claims":{},"kind":"rstudio-pm-token"}"#;
    format!(r#"{{"version":1,"attestation_bundles":[{{"publisher":{publisher},"attestations":{list}}}]}}"#)
}

/// The form of the wheel of a package with its signature.
fn signed(package: &Package) -> Form {
    Form::wheel(package).signed(&format!("{}.asc", package.wheel_name()), SIGNATURE)
}

fn must_send(server: &Server, token: &str, form: &Form) {
    let answer = form.send(server, token);
    assert_eq!((answer.status, answer.text()), (200, String::new()), "{}", answer.text());
}

/// The file of the page of `one`, which has one file, and whether the page in HTML has the attributes of the signature and
/// of the provenance.
fn file(server: &Server, snapshot: &str) -> (Value, bool, bool) {
    let url = server.url(&format!("/py/{snapshot}/simple/one/"));
    let page = http::request("GET", &url, &[("Accept", "application/vnd.pypi.simple.v1+json")], b"").json();
    let files = page["files"].as_array().expect("files");
    assert_eq!(files.len(), 1, "{page}");
    let html = http::get(&url).text();
    let is_signed = html.contains(" data-gpg-sig=\"true\"");
    let is_attested = html.contains(" data-provenance=\"");
    (files[0].clone(), is_signed, is_attested)
}

/// Whether the page of `one` states a signature, and whether it states provenance, in both formats alike.
fn stated(server: &Server, snapshot: &str) -> (bool, bool) {
    let (file, is_signed, is_attested) = file(server, snapshot);
    assert_eq!(file.get("gpg-sig"), is_signed.then_some(&Value::Bool(true)), "{file}");
    assert_eq!(file.get("provenance").is_some(), is_attested, "{file}");
    (is_signed, is_attested)
}

/// The attestations in the provenance object of the wheel of a package.
fn served_attestations(server: &Server, package: &Package) -> Value {
    let path = format!("/py/latest/packages/{}/{}.provenance", hex(&package.wheel()), package.wheel_name());
    let answer = server.get(&path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["attestation_bundles"][0]["attestations"].clone()
}

fn request(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::request(method, &server.url(path), headers, b"")
}

#[test]
fn signature_and_attestations_are_served_with_the_file() {
    for server in servers() {
        let token = publisher(&server);
        let package = Package::new("one", "1.0");
        // Keys that this server does not know, and the form of the text, stay as they are.
        let mut list = attested(&package, "\u{fc}");
        list[0]["vendor"] = json!({ "ratio": 1.50 });
        let text = format!("{list:#}");
        must_send(&server, &token, &signed(&package).with("attestations", &text));

        let (sha256, name) = (hex(&package.wheel()), package.wheel_name());
        let address = format!("{ADDRESS}/packages/py/latest/{sha256}/{name}.provenance");
        assert_eq!(stated(&server, "latest"), (true, true));
        let (file, ..) = file(&server, "latest");
        assert_eq!(file["provenance"], address.as_str());
        let html = server.get("/py/latest/simple/one/").text();
        assert!(html.contains(&format!(" data-provenance=\"{address}\"")), "{html}");
        let document = server.get("/py/latest/pypi/one/json").json();
        assert_eq!(
            (&document["urls"][0]["has_sig"], &document["urls"][0]["provenance"]),
            (&Value::Bool(true), &Value::from(address.as_str()))
        );

        for base in [
            "/py/latest/packages",
            "/packages/py/latest",
            &format!("/py/{}/packages", transaction(&server, "team")),
        ] {
            let path = format!("{base}/{sha256}/{name}");
            let signature = server.get(&format!("{path}.asc"));
            assert_eq!((signature.status, signature.text().as_str()), (200, SIGNATURE), "{base}");
            let provenance = server.get(&format!("{path}.provenance"));
            assert_eq!(provenance.status, 200, "{base}: {}", provenance.text());
            assert!(provenance.text().contains(&text), "the text of the client: {}", provenance.text());
            let object = provenance.json();
            assert_eq!(object["version"], 1);
            let bundles = object["attestation_bundles"].as_array().expect("bundles");
            assert_eq!(bundles.len(), 1);
            assert_eq!(bundles[0]["publisher"], json!({ "kind": "rstudio-pm-token", "claims": {} }));
            assert_eq!(bundles[0]["attestations"], list);
        }
        let path = format!("/py/latest/packages/{sha256}/{name}");
        let (asc, provenance) = (format!("{path}.asc"), format!("{path}.provenance"));
        for (path, kind, cache) in [
            (&asc, "application/pgp-signature", "max-age=3600"),
            (&provenance, "application/vnd.pypi.integrity.v1+json", "no-cache"),
        ] {
            let answer = server.get(path);
            assert_eq!(
                (answer.header("content-type"), answer.header("cache-control")),
                (Some(kind), Some(cache))
            );
            assert_eq!(answer.header("last-modified"), None, "a later upload may replace it");
            let head = request(&server, "HEAD", path, &[]);
            let length = answer.body.len().to_string();
            assert_eq!((head.status, head.header("content-length")), (200, Some(&*length)), "{path}");
            let etag = answer.header("etag").expect("a tag");
            assert_eq!(request(&server, "GET", path, &[("If-None-Match", etag)]).status, 304, "{path}");
            assert_eq!(request(&server, "POST", path, &[]).status, 405, "{path}");
        }

        // A file without them.
        must_send(&server, &token, &Form::sdist(&package));
        let sdist = format!("/py/latest/packages/{}/{}", hex(&package.sdist()), package.sdist_name());
        for (suffix, word) in [(".asc", "signature"), (".provenance", "provenance")] {
            let answer = server.get(&format!("{sdist}{suffix}"));
            assert_eq!(answer.status, 404, "{suffix}");
            assert!(
                answer.text().starts_with(&format!("there is no {word} of the file 'one-1.0.tar.gz'")),
                "{}",
                answer.text()
            );
        }
        // A removed file is served to clients with a lock file, and so is what belongs to it.
        server.rspm_stdout("remove package --source=team --name=one@all");
        assert_eq!(server.get(&asc).text(), SIGNATURE);
        assert_eq!(server.get(&provenance).json()["attestation_bundles"][0]["attestations"], list);
        let scrub = server.rspm("scrub");
        assert_eq!(scrub.code, 0, "{}{}", scrub.out, scrub.err);
    }
}

#[test]
fn pages_state_no_provenance_without_an_address_of_the_server() {
    let server = Server::start();
    repository(&server);
    let (token, package) = (publisher(&server), Package::new("one", "1.0"));
    let list = attested(&package, "1");
    must_send(&server, &token, &signed(&package).with("attestations", &list.to_string()));
    assert_eq!(stated(&server, "latest"), (true, false));
    assert_eq!(served_attestations(&server, &package), list);
    let document = server.get("/py/latest/pypi/one/json").json();
    let url = document["urls"][0]["provenance"].as_str().expect("an address").to_owned();
    let path = url.strip_prefix(&server.url("")).expect("this server");
    assert_eq!(server.get(path).json()["attestation_bundles"][0]["attestations"], list);
}

#[test]
fn a_later_upload_of_the_same_bytes_adds_or_replaces_them_from_then_on() {
    for server in servers() {
        let (token, package) = (publisher(&server), Package::new("one", "1.0"));
        let (wheel, asc) = (hex(&package.wheel()), format!("{}.asc", package.wheel_name()));
        let plain = Form::wheel(&package);
        let (first_list, second_list) = (attested(&package, "1"), attested(&package, "2"));
        must_send(&server, &token, &plain);
        let first = transaction(&server, "team");
        must_send(&server, &token, &signed(&package));
        assert_eq!(transaction(&server, "team"), first + 1);
        server.rspm_stdout("yank --source=team --name=one@1.0 --reason=broken");
        must_send(&server, &token, &plain.clone().with("attestations", &first_list.to_string()));
        server.rspm_stdout("unyank --source=team --name=one@1.0");
        let yanks = || {
            (0..5).map(|n| file(&server, &(first + n).to_string()).0["yanked"].clone()).collect::<Vec<_>>()
        };
        let expected = [json!(false), json!(false), json!("broken"), json!("broken"), json!(false)];
        assert_eq!(yanks(), expected, "an addition changes no yank");
        let of_steps = || (0..5).map(|n| stated(&server, &(first + n).to_string())).collect::<Vec<_>>();
        let expected = [(false, false), (true, false), (true, false), (true, true), (true, true)];
        assert_eq!(of_steps(), expected, "earlier snapshots do not change");
        assert_eq!(served_attestations(&server, &package), first_list);

        // The same again, and a form without them: nothing changes.
        let last = first + 4;
        must_send(&server, &token, &signed(&package).with("attestations", &first_list.to_string()));
        must_send(&server, &token, &plain);
        assert_eq!(transaction(&server, "team"), last);
        // Others replace them, in a transaction, because the objects are evidence.
        let page = server.get("/py/latest/simple/one/").body;
        let other_signature = SIGNATURE.replace("iHUE", "iHUF");
        let form =
            plain.clone().signed(&asc, &other_signature).with("attestations", &second_list.to_string());
        must_send(&server, &token, &form);
        assert_eq!(transaction(&server, "team"), last + 1);
        assert_eq!(served_attestations(&server, &package), second_list);
        assert_eq!(server.get(&format!("/py/latest/packages/{wheel}/{asc}")).text(), other_signature);
        assert_eq!(stated(&server, "latest"), (true, true));
        let without_serial =
            |page: &[u8]| String::from_utf8_lossy(page).split("<!--").next().map(str::to_owned);
        assert_eq!(without_serial(&server.get("/py/latest/simple/one/").body), without_serial(&page));
        // Removed, and listed again by an upload of the same bytes.
        server.rspm_stdout("remove package --source=team --name=one@all");
        add(&server, "team", &package);
        assert_eq!(stated(&server, "latest"), (true, true));
        assert_eq!(served_attestations(&server, &package), second_list);
        // Other bytes have neither.
        let other = package.clone().code("other = 1\n");
        let path = write(&server, &other.wheel_name(), &other.wheel());
        server.rspm_stdout(&format!("add --source=team --replace --path={}", path.display()));
        assert_eq!(stated(&server, "latest"), (false, false));
        let path = format!("/py/latest/packages/{}/{}.provenance", hex(&other.wheel()), other.wheel_name());
        assert_eq!(server.get(&path).status, 404);
        assert_eq!(of_steps(), expected);
        let scrub = server.rspm("scrub");
        assert_eq!(scrub.code, 0, "{}{}", scrub.out, scrub.err);
    }
}

#[test]
fn a_file_that_was_removed_is_listed_again_with_what_is_uploaded_then() {
    for server in servers() {
        let (token, package) = (publisher(&server), Package::new("one", "1.0"));
        must_send(&server, &token, &Form::wheel(&package));
        server.rspm_stdout("remove package --source=team --name=one@all");
        let list = attested(&package, "1");
        must_send(&server, &token, &signed(&package).with("attestations", &list.to_string()));
        assert_eq!(stated(&server, "latest"), (true, true));
        assert_eq!(served_attestations(&server, &package), list);
        assert_eq!(stated(&server, &(transaction(&server, "team") - 2).to_string()), (false, false));
    }
}

#[test]
fn refusals_name_the_reason_and_store_nothing() {
    let server = Server::start();
    repository(&server);
    let (token, package) = (publisher(&server), Package::new("one", "1.0"));
    let (wheel, good) = (Form::wheel(&package), attested(&package, "1"));
    let changed = |path: &str, value: Value| {
        let mut list = good.clone();
        *list.pointer_mut(path).expect(path) = value;
        list.to_string()
    };
    let about = |name: &str, bytes: &[u8]| attestations(name, bytes).to_string();
    let (name, bytes) = (package.wheel_name(), package.wheel());
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let repeated =
        wheel.clone().with("attestations", &good.to_string()).with("attestations", &good.to_string());
    let mut binary = wheel.clone();
    binary.0.insert(0, Part("attestations".to_owned(), None, vec![b'"', 0xff, b'"']));
    let attestations: Vec<(String, &str)> = vec![
        (String::new(), "not a list of attestation objects: EOF while parsing"),
        ("{}".to_owned(), "not a list of attestation objects: invalid type: map"),
        ("[]".to_owned(), "the provenance object has no attestations"),
        (deep, "not a list of attestation objects"),
        (good[0].to_string(), "not a list of attestation objects"),
        (String::from_utf8(object(&name, &hex(&bytes))).expect("JSON"), "not a list of attestation objects"),
        (format!("{good}]}}]}}"), "not a list of attestation objects: trailing characters"),
        (changed("/0/version", json!(2)), "the attestation has version 2; version 1 is supported"),
        (changed("/0/envelope", json!({})), "not a list of attestation objects: missing field"),
        (changed("/0/envelope/signature", json!("?")), "the signature of an attestation is not base64"),
        (
            changed("/0/verification_material/transparency_entries", json!([])),
            "the provenance object has no transparency entries",
        ),
        (
            about("one-1.1-py3-none-any.whl", &bytes),
            "an attestation is about the file 'one-1.1-py3-none-any.whl'",
        ),
        (
            about("one-1.0.tar.gz", &bytes),
            "an attestation is about the file 'one-1.0.tar.gz', not about 'one-1.0-py3",
        ),
        (about(&name, b"other"), "an attestation is about a file with the SHA-256 '"),
    ];
    let asc = format!("{name}.asc");
    let mut table: Vec<(Form, String)> = attestations
        .into_iter()
        .map(|(list, words)| {
            let words = format!("Invalid attestations supplied during upload: {words}");
            (wheel.clone().with("attestations", &list), words)
        })
        .collect();
    table.extend([
        (binary, "Invalid attestations supplied during upload: the list of attestation objects is not UTF-8".to_owned()),
        (repeated, "the upload has the field attestations more than once".to_owned()),
        (
            wheel.clone().with("attestations", &" ".repeat((1 << 20) + 1)),
            "the field attestations of the upload has more than 1048576 bytes".to_owned(),
        ),
        (
            wheel.clone().with("attestations", &format!("{}{good}", " ".repeat((1 << 20) - good.to_string().len()))),
            "Invalid attestations supplied during upload: the provenance object has 10".to_owned(),
        ),
        (
            wheel.clone().signed("one-1.0.tar.gz.asc", SIGNATURE),
            format!("the field gpg_signature of the upload is the file 'one-1.0.tar.gz.asc'; that of this file is '{asc}'"),
        ),
        (wheel.clone().signed(&asc, ""), "the field gpg_signature of the upload is not a signature that".to_owned()),
        (wheel.clone().signed(&asc, "\u{89}\u{1}"), "the field gpg_signature of the upload is not a signature".to_owned()),
        (
            wheel.clone().signed(&asc, &SIGNATURE.replace("SIGNATURE", "MESSAGE")),
            "the field gpg_signature of the upload is not a signature".to_owned(),
        ),
        (
            signed(&package).signed(&asc, SIGNATURE),
            "the upload has the field gpg_signature more than once".to_owned(),
        ),
        (
            wheel.clone().signed(&asc, &SIGNATURE.replace('\n', &"\n".repeat(40_000))),
            "the field gpg_signature of the upload has more than 131072 bytes".to_owned(),
        ),
        // A file that was changed during the transfer: the attestations are not the reason.
        (
            signed(&package).with("attestations", &good.to_string()).set("sha256_digest", &"0".repeat(64)),
            "the received file has a different digest than the field sha256_digest".to_owned(),
        ),
    ]);
    for (form, words) in table {
        let answer = form.send(&server, &token);
        assert_eq!(answer.status, 400, "{words}: {}", answer.text());
        assert!(answer.text().starts_with(&words), "{words}: {}", answer.text());
        assert_eq!(
            (answer.text().lines().count(), answer.text().len() < 1000),
            (1, true),
            "{}",
            answer.text()
        );
        assert!(!answer.text().contains("already exist"), "clients would skip the file: {}", answer.text());
    }
    assert_eq!(server.get("/py/latest/simple/one/").status, 404);
    must_send(&server, &token, &wheel);
    // Nor does a refused form change a file that exists.
    let last = transaction(&server, "team");
    let refused = signed(&package).with("attestations", "[]").send(&server, &token);
    assert_eq!((refused.status, transaction(&server, "team")), (400, last));
    assert_eq!(stated(&server, "latest"), (false, false));
}

#[test]
fn the_largest_attestations_and_signatures_are_accepted() {
    let server = Server::start();
    repository(&server);
    let (token, package) = (publisher(&server), Package::new("one", "1.0"));
    let good = attested(&package, "1");
    let padding = (1 << 20) - object_text(&good.to_string()).len();
    let largest = format!("{good}{}", " ".repeat(padding));
    let too_large = Form::wheel(&package).with("attestations", &format!("{largest} ")).send(&server, &token);
    assert!(
        too_large.text().contains("the provenance object has 1048577 bytes, more than the 1048576"),
        "{}",
        too_large.text()
    );
    let lines = "\n".repeat((128 << 10) - SIGNATURE.len());
    let name = format!("{}.asc", package.wheel_name());
    let form =
        Form::wheel(&package).with("attestations", &largest).signed(&name, &format!("{lines}{SIGNATURE}"));
    must_send(&server, &token, &form);
    let path = format!("/py/latest/packages/{}/{}", hex(&package.wheel()), package.wheel_name());
    assert_eq!(server.get(&format!("{path}.provenance")).text(), object_text(&largest));
    assert_eq!(server.get(&format!("{path}.asc")).body.len(), 128 << 10);
}

#[test]
fn clients_of_an_authenticated_repository_need_a_token_for_them() {
    let server = Server::start();
    repository(&server);
    let (token, package) = (publisher(&server), Package::new("one", "1.0"));
    let form = signed(&package).with("attestations", &attested(&package, "1").to_string());
    must_send(&server, &token, &form);
    server.rspm_stdout("edit repo --name=py --authenticated");
    let reader = crate::support::python::form::token(&server, "--scope=repos:read --repos=py");
    let authorization = crate::support::python::form::authorization(&reader);
    for base in ["/py/latest/packages", "/packages/py/latest"] {
        for suffix in [".asc", ".provenance"] {
            let path = format!("{base}/{}/{}{suffix}", hex(&package.wheel()), package.wheel_name());
            assert_eq!(server.get(&path).status, 401, "{path}");
            let answer = request(&server, "GET", &path, &[("Authorization", &authorization)]);
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(server.get(&path).status, 401, "{path}");
        }
    }
}

#[test]
fn uploads_at_the_same_time_add_them_once() {
    for server in servers() {
        let (token, package) = (publisher(&server), Package::new("one", "1.0"));
        must_send(&server, &token, &Form::wheel(&package));
        let before = transaction(&server, "team");
        let body = signed(&package).with("attestations", &attested(&package, "1").to_string()).encode();
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let send = || send(&server, "/upload/pypi/team", Some(&token), &body).status;
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
            threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
        });
        assert_eq!(statuses, [200; 8]);
        assert_eq!(transaction(&server, "team"), before + 1);
        assert_eq!(stated(&server, "latest"), (true, true));
    }
}

#[test]
fn damaged_objects_are_found_and_repaired_by_the_same_upload() {
    let server = Server::start();
    repository(&server);
    let (token, package) = (publisher(&server), Package::new("one", "1.0"));
    let list = attested(&package, "1").to_string();
    let form = signed(&package).with("attestations", &list);
    must_send(&server, &token, &form);
    for (suffix, content) in [(".asc", SIGNATURE.to_owned()), (".provenance", object_text(&list))] {
        let sum = hex(content.as_bytes());
        let stored = server.dir().join(format!("data/packages/packages/{}/{sum}", &sum[..2]));
        assert_eq!(std::fs::read_to_string(&stored).expect("stored"), content);
        std::fs::write(&stored, content.replace('=', "+")).expect("written");
        let path = format!("/py/latest/packages/{}/{}{suffix}", hex(&package.wheel()), package.wheel_name());
        let answer = server.get(&path);
        assert!(answer.status >= 500, "{suffix}: {} {}", answer.status, answer.text());
        assert_eq!(server.rspm("scrub").code, 1, "{suffix}");
        must_send(&server, &token, &form);
        assert_eq!(server.get(&path).text(), content, "{suffix}");
        assert_eq!(server.rspm("scrub").code, 0, "{suffix}");
    }
}
