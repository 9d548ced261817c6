//! The upload API: fields, answers, refusals, races and interruptions.

use std::io::{Read, Write};

use super::local::{files, servers};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::python::form::{Form, Part, authorization, content_type, publisher, send, token};
use crate::support::python::package::{Package, add, repository, transaction, write};
use crate::support::rerun;
use crate::support::server::{Builder, Server};

const PATH: &str = "/upload/pypi/team";

/// A server with the source `team`, and a token for it.
fn start() -> (Server, String) {
    let server = Server::start();
    repository(&server);
    let token = publisher(&server);
    (server, token)
}

/// The number of unfinished files of uploads.
fn spool_count(server: &Server) -> usize {
    let mut folders = vec![server.dir().to_path_buf()];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("spool-")) {
                count += 1;
            }
        }
    }
    count
}

#[test]
fn each_upload_is_one_transaction_of_its_user_and_equal_to_an_addition() {
    for server in servers() {
        let token = publisher(&server);
        let package = Package::new("Odd.Name", "1.0").requires("other>=1");
        let answer = Form::wheel(&package).send(&server, &token);
        assert_eq!((answer.status, answer.text()), (200, String::new()), "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        let first = transaction(&server, "team");
        let sdist = send(&server, &format!("{PATH}/"), Some(&token), &Form::sdist(&package).encode());
        assert_eq!(sdist.status, 200, "a slash at the end is no redirect: {}", sdist.text());
        assert_eq!(transaction(&server, "team"), first + 1);
        server.wait_for_log("upload of a Python package");
        server.wait_for_log("ann (token ");

        // The same files, added by rspm to another source, have the same page but for the times.
        server.rspm_stdout("create source --name=added --type=local-python");
        server.rspm_stdout("create repo --name=other --type=python");
        server.rspm_stdout("subscribe --repo=other --source=added");
        add(&server, "added", &package);
        let sdist = crate::support::python::package::write(&server, &package.sdist_name(), &package.sdist());
        server.rspm_stdout(&format!("add --source=added --path={}", sdist.display()));
        let page = |repo: &str| {
            let accept = [("Accept", "application/vnd.pypi.simple.v1+json")];
            let path = format!("/{repo}/latest/simple/odd-name/");
            let mut page = http::request("GET", &server.url(&path), &accept, b"").json();
            for file in page["files"].as_array_mut().expect("files") {
                assert!(file.as_object_mut().expect("a file").remove("upload-time").is_some());
            }
            assert!(page["meta"].as_object_mut().expect("an object").remove("_last-serial").is_some());
            page
        };
        assert_eq!(page("py"), page("other"));
        assert_eq!(page("py")["files"].as_array().map(Vec::len), Some(2));
        let url = page("py")["files"][0]["url"].as_str().expect("a link").replace("../../", "/py/latest/");
        assert_eq!(server.get(&url).body, package.wheel());
        assert_eq!(server.get(&format!("{url}.metadata")).text(), package.metadata());
    }
}

#[test]
fn the_same_file_succeeds_and_other_bytes_are_refused_with_the_message_of_pypi() {
    for server in servers() {
        let token = publisher(&server);
        let package = Package::new("one", "1.0");
        assert_eq!(Form::wheel(&package).send(&server, &token).status, 200);
        let before = transaction(&server, "team");
        assert_eq!(Form::wheel(&package).send(&server, &token).status, 200);
        assert_eq!(transaction(&server, "team"), before, "nothing changed");
        let other = Form::wheel(&package.clone().code("other = 1\n"));
        let refused = other.send(&server, &token);
        let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(package.wheel()));
        let words = format!(
            "File already exists ('one-1.0-py3-none-any.whl', with sha256 hash '{sha256}'). Build a new version.\n"
        );
        assert_eq!((refused.status, refused.text()), (400, words));
        server.rspm_stdout("remove package --source=team --name=one@all");
        let refused = other.send(&server, &token);
        assert_eq!(refused.status, 400);
        assert!(
            refused.text().starts_with("This filename has already been used ('one-1.0-py3"),
            "{}",
            refused.text()
        );
        assert!(!refused.text().contains("already exist"), "--skip-existing must not go on");
        assert_eq!(
            Form::wheel(&package).send(&server, &token).status,
            200,
            "the same bytes are listed again"
        );
        assert_eq!(files(&server, "latest", "one").len(), 1);
    }
}

#[test]
fn uploads_of_one_name_at_the_same_time_publish_one_file() {
    for server in servers() {
        let token = publisher(&server);
        let answers = |forms: Vec<Form>| {
            std::thread::scope(|scope| {
                let threads: Vec<_> =
                    forms.iter().map(|form| scope.spawn(|| form.send(&server, &token))).collect();
                threads.into_iter().map(|thread| thread.join().expect("an answer")).collect::<Vec<_>>()
            })
        };
        let package = Package::new("one", "1.0");
        let different = (0..8).map(|n| Form::wheel(&package.clone().code(&format!("n = {n}\n")))).collect();
        let before = transaction_or_zero(&server);
        let different = answers(different);
        let statuses: Vec<u16> = different.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        for answer in different.iter().filter(|answer| answer.status != 200) {
            assert!(
                answer.status == 400 && answer.text().starts_with("File already exists"),
                "{}",
                answer.text()
            );
        }
        assert_eq!(files(&server, "latest", "one").len(), 1);
        let first = transaction(&server, "team");
        assert!(first > before);
        let same = answers((0..8).map(|_| Form::wheel(&Package::new("two", "1.0"))).collect());
        assert!(same.iter().all(|answer| answer.status == 200));
        assert_eq!(transaction(&server, "team"), first + 1, "one publishes, the others find it");
    }
}

fn transaction_or_zero(server: &Server) -> i64 {
    server.json("info --source=team")["last_transaction"]["id"].as_i64().unwrap_or(0)
}

#[test]
fn credentials_decide_and_unread_bodies_do_not_hide_the_answer() {
    let (server, publisher) = start();
    server.rspm_stdout("create source --name=other --type=local-python");
    let revoked = token(&server, "--scope=global:admin");
    server.rspm_stdout(&format!("revoke token --token={revoked}"));
    let expired = token(&server, "--scope=sources:write --sources=* --expires=1s");
    // More than the buffers of the connection: the client is still sending when the answer comes.
    let package = Package::new("one", "1.0").code(&"x = 1\n".repeat(2_000_000));
    let body = Form::wheel(&package).with("comment", &"c".repeat(1 << 19)).encode();
    until("it expires", || send(&server, "/upload/pypi/x", Some(&expired), b"").status == 401);
    let basic = Some(r#"Basic realm="rstudio-pm", charset="UTF-8""#);
    let scope = Some(r#"Bearer error="insufficient_scope", scope="sources:write""#);
    let all = token(&server, "--scope=sources:write --sources=*");
    for (path, token, status, challenge, words) in [
        (PATH, None, 401, basic, "this requires a token with the scope sources:write"),
        ("/upload/pypi/nothing", None, 401, basic, "this requires a token with the scope sources:write"),
        (PATH, Some("wrong".to_owned()), 401, basic, "the token or password is not valid"),
        (PATH, Some(revoked), 401, basic, "the token or password is not valid"),
        (PATH, Some(expired), 401, basic, "the token or password is not valid"),
        (
            PATH,
            Some(self::token(&server, "--scope=repos:read --repos=py")),
            403,
            scope,
            "the token lacks the scope",
        ),
        (
            PATH,
            Some(self::token(&server, "--scope=sources:write --sources=other")),
            403,
            scope,
            "the token lacks the scope sources:write for the source 'team' (--sources)",
        ),
        ("/upload/pypi/nothing", Some(publisher.clone()), 403, scope, "the token lacks the scope"),
        ("/upload/pypi/nothing", Some(all), 404, None, "there is no source 'nothing'"),
        (
            "/py/latest/simple/",
            Some(publisher.clone()),
            405,
            None,
            "method not allowed; this address supports GET, HEAD",
        ),
    ] {
        let answer = send(&server, path, token.as_deref(), &body);
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (status, challenge),
            "{path} {}",
            answer.text()
        );
        assert!(answer.text().starts_with(words), "{path}: {}", answer.text());
        assert_eq!(answer.text().lines().count(), 1, "one line");
    }
    let refused = server.json("audit list --outcome=refused");
    let objects: Vec<&str> =
        refused.as_array().expect("a list").iter().filter_map(|row| row["object"].as_str()).collect();
    assert_eq!(objects.len(), 3, "each 403: {refused}");
    assert!(objects.iter().all(|object| object.starts_with("POST /upload/pypi/")), "{refused}");
    assert_eq!(transaction_or_zero(&server), 0);
    let other_site = http::request(
        "POST",
        &server.url(PATH),
        &[
            ("Content-Type", &content_type()),
            ("Authorization", &authorization(&publisher)),
            ("Sec-Fetch-Site", "cross-site"),
        ],
        &body,
    );
    assert_eq!(other_site.status, 403, "a form of another site: {}", other_site.text());
    let get = server.get(PATH);
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(send(&server, PATH, Some(&publisher), &body).status, 200);
}

#[test]
fn a_client_that_expects_100_sends_no_body_to_a_refusal() {
    let (server, token) = start();
    let body = Form::wheel(&Package::new("one", "1.0")).encode();
    let head = |authorization: &str| {
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\
             Authorization: {authorization}\r\nConnection: close\r\n\r\n",
            server.host(),
            content_type(),
            body.len()
        )
    };
    for (wrong, status) in [
        (authorization("wrong"), 401),
        (authorization(&self::token(&server, "--scope=repos:read --repos=py")), 403),
    ] {
        let mut stream = http::connect(server.host());
        stream.write_all(head(&wrong).as_bytes()).expect("sent");
        let answer = http::read(&mut stream, "POST");
        assert_eq!(answer.status, status, "not 100: {}", answer.text());
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("closed");
        assert!(rest.is_empty());
    }
    let mut stream = begin(&server, &token, &body);
    stream.write_all(&body).expect("sent");
    assert_eq!(http::read(&mut stream, "POST").status, 200);
    // A token that is revoked before the end of the body.
    let before = transaction(&server, "team");
    let body = Form::wheel(&Package::new("one", "1.1")).encode();
    let mut stream = begin(&server, &token, &body);
    server.rspm_stdout(&format!("revoke token --token={token}"));
    stream.write_all(&body).expect("sent");
    assert_eq!(http::read(&mut stream, "POST").status, 401);
    assert_eq!(transaction(&server, "team"), before);
}

/// Begins an upload; returns when the server has checked its head and reads the body.
fn begin(server: &Server, token: &str, body: &[u8]) -> std::net::TcpStream {
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\
         Authorization: {}\r\nConnection: close\r\n\r\n",
        server.host(),
        content_type(),
        body.len(),
        authorization(token)
    );
    http::begin(http::connect(server.host()), &head)
}

#[test]
fn token_and_source_are_checked_again_when_the_body_is_received() {
    let (server, token) = start();
    let body = Form::wheel(&Package::new("one", "1.0")).encode();
    let revoked = publisher(&server);
    let mut stream = begin(&server, &revoked, &body);
    server.rspm_stdout(&format!("revoke token --token={revoked}"));
    stream.write_all(&body).expect("sent");
    let answer = http::read(&mut stream, "POST");
    assert_eq!(answer.status, 401, "{}", answer.text());

    // Another source gets the name.
    let mut stream = begin(&server, &token, &body);
    server.rspm_stdout("edit source --name=team --new-name=old");
    server.rspm_stdout("create source --name=team --type=local-python");
    stream.write_all(&body).expect("sent");
    let answer = http::read(&mut stream, "POST");
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(transaction_or_zero(&server), 0);
    assert_eq!(send(&server, "/upload/pypi/old", Some(&token), &body).status, 200);
}

#[test]
fn fields_may_follow_the_file_and_a_connection_may_have_several_uploads() {
    let (server, token) = start();
    let mut form = Form::wheel(&Package::new("one", "1.0"));
    form.0.rotate_right(1);
    assert_eq!(form.0[0].0, "content");
    assert_eq!(form.send(&server, &token).status, 200);
    // As twine does: one connection for all files.
    let mut stream = http::connect(server.host());
    for version in ["1.1", "1.2"] {
        let body = Form::wheel(&Package::new("one", version)).encode();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nAuthorization: {}\r\n\r\n",
            server.host(),
            content_type(),
            body.len(),
            authorization(&token)
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).expect("sent");
        let answer = http::read(&mut stream, "POST");
        assert_eq!(answer.status, 200, "{version}: {}", answer.text());
    }
    assert_eq!(files(&server, "latest", "one").len(), 3);
}

#[test]
fn a_form_that_is_cut_at_any_place_publishes_nothing_and_leaves_no_file() {
    let (server, token) = start();
    // Larger than what stays in memory.
    let noise: String =
        (0..150_000).map(|n: u64| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let package = Package::new("one", "1.0").code(&noise);
    let body = Form::wheel(&package).encode();
    assert!(body.len() > 1 << 20, "{}", body.len());
    let end = body.len() - 3;
    let steps = (0..end).step_by(64 << 10).chain((0..end).step_by(131).take(12)).chain(end - 40..end);
    for cut in steps {
        // The whole request, with an incomplete form.
        let answer = send(&server, PATH, Some(&token), &body[..cut]);
        assert_eq!(answer.status, 400, "{cut} bytes: {}", answer.text());
        assert!(answer.text().contains("incomplete"), "{cut} bytes: {}", answer.text());
    }
    for cut in (1..end).step_by(64 << 10) {
        // The connection ends.
        let mut stream = http::connect(server.host());
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nAuthorization: {}\r\n\r\n",
            server.host(),
            content_type(),
            body.len(),
            authorization(&token)
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..cut])).expect("sent");
    }
    assert_eq!(transaction_or_zero(&server), 0);
    until("no unfinished file is left", || spool_count(&server) == 0);
    assert_eq!(send(&server, PATH, Some(&token), &body).status, 200);
}

#[test]
fn refusals_name_the_reason_and_publish_nothing() {
    let (server, token) = start();
    server.rspm_stdout("create source --name=r");
    let package = Package::new("one", "1.0");
    let (wheel, sdist) = (Form::wheel(&package), Form::sdist(&package));
    let renamed = |name: &str| {
        let mut form = wheel.clone();
        form.0.last_mut().expect("the file").1 = Some(name.to_owned());
        form
    };
    let many = (0..10_200).fold(wheel.clone(), |form, n| form.with("classifiers", &n.to_string()));
    let mut two = wheel.clone();
    two.0.push(Part("content".to_owned(), Some("one-1.1.tar.gz".to_owned()), b"x".to_vec()));
    let mut html = wheel.clone().without("sha256_digest").without("md5_digest");
    html.0.last_mut().expect("the file").2 = b"<html></html>".to_vec();
    let zeros = "0".repeat(64);
    let table: Vec<(Form, u16, &str)> = vec![
        (many, 400, "the upload has more than 10100 fields"),
        (
            wheel.clone().with("description", &"d".repeat((4 << 20) + 1)),
            400,
            "the field description of the upload has more",
        ),
        (
            (0..9).fold(wheel.clone(), |form, _| form.with("description", &"d".repeat(1 << 20))),
            400,
            "the fields of the upload have more than 8388608 bytes together",
        ),
        (two, 400, "the upload has more than one file"),
        (wheel.clone().without("content"), 400, "the upload has no file"),
        (wheel.clone().without(":action"), 400, "the upload has no field :action"),
        (
            wheel.clone().set(":action", "submit").without("content"),
            410,
            "Project pre-registration is no longer required",
        ),
        (wheel.clone().set(":action", "doc_upload"), 400, "the upload has the :action 'doc_upload'"),
        (wheel.clone().set("protocol_version", "2"), 400, "Unknown protocol version."),
        (wheel.clone().without("name"), 400, "the upload has no field name"),
        (wheel.clone().with("name", "one"), 400, "the upload has the field name more than once"),
        (wheel.clone().without("metadata_version"), 400, "the upload has no field metadata_version"),
        (wheel.clone().without("filetype"), 400, "the upload has no field filetype"),
        (wheel.clone().set("filetype", "sdist"), 400, "the upload has the filetype 'sdist'"),
        (wheel.clone().set("name", "two"), 400, "the upload has the name 'two', but the package in"),
        (wheel.clone().set("version", "1.1"), 400, "the upload has the version '1.1', but the package in"),
        (
            wheel.clone().set("sha256_digest", &zeros),
            400,
            "the received file has a different digest than the field sha256_digest",
        ),
        (
            wheel.clone().set("md5_digest", &zeros[..32]),
            400,
            "the received file has a different digest than the field md5_digest",
        ),
        (
            wheel.clone().with("blake2_256_digest", &zeros),
            400,
            "the received file has a different digest than the field blake2_256",
        ),
        (
            wheel.clone().with("blake2_256_digest", "?"),
            400,
            "the field blake2_256_digest of the upload is not a digest",
        ),
        (
            wheel.clone().with("attestations", "[]"),
            400,
            "Invalid attestations supplied during upload: the provenance object has no attestations",
        ),
        (renamed("two-1.0-py3-none-any.whl"), 400, "'two-1.0-py3-none-any.whl' is refused"),
        (renamed("../one-1.0-py3-none-any.whl"), 400, "'../one-1.0-py3-none-any.whl' is not a file name"),
        (renamed("one.txt"), 400, "'one.txt' is not a file of a Python package"),
        (html, 400, "'one-1.0-py3-none-any.whl' is refused"),
        (
            renamed("one-1.0-py3.9.egg").set("filetype", "bdist_egg"),
            400,
            "'one-1.0-py3.9.egg' is refused: installers use wheels",
        ),
    ];
    for (form, status, words) in table {
        let answer = form.send(&server, &token);
        assert_eq!(answer.status, status, "{words}: {}", answer.text());
        assert!(answer.text().starts_with(words), "{words}: {}", answer.text());
        assert_eq!(answer.text().lines().count(), 1, "{}", answer.text());
    }
    let authorization = authorization(&token);
    for (kind, words) in [
        ("multipart/form-data", "the Content-Type of the upload has no valid boundary"),
        ("application/json", "an upload must have the Content-Type multipart/form-data"),
        ("multipart/form-data; boundary=other", "the upload has no boundary where a part must begin"),
    ] {
        let headers = [("Content-Type", kind), ("Authorization", &*authorization)];
        let answer = http::request(
            "POST",
            &server.url(PATH),
            &headers,
            &wheel.clone().with("x", &"y".repeat(20_000)).encode(),
        );
        assert!(
            answer.status == 400 && answer.text().starts_with(words),
            "{kind}: {} {}",
            answer.status,
            answer.text()
        );
    }
    let all = self::token(&server, "--scope=sources:write --sources=*");
    let r_source = send(&server, "/upload/pypi/r", Some(&all), &wheel.encode());
    assert_eq!(r_source.status, 400);
    assert!(r_source.text().starts_with("the source 'r' is of type"), "{}", r_source.text());
    assert_eq!(transaction_or_zero(&server), 0);
    until("no unfinished file is left", || spool_count(&server) == 0);
    assert_eq!((wheel.send(&server, &token).status, sdist.send(&server, &token).status), (200, 200));
}

/// Version 0.33 of wheel sends the version of the interpreter, and Flit none.
#[test]
fn every_pyversion_is_accepted() {
    let (server, token) = start();
    let package = Package::new("one", "1.0");
    for version in ["3.6", "3.11", "3", "2.7", "cp36", "any", "source", "py3", "py2.py3", ""] {
        for form in [Form::wheel(&package), Form::sdist(&package)] {
            let answer = form.set("pyversion", version).send(&server, &token);
            assert_eq!((answer.status, answer.text()), (200, String::new()), "{version}");
        }
    }
}

#[test]
fn rspm_and_uploads_have_the_same_limits_of_metadata() {
    let (server, token) = start();
    let large = |name: &str, fields: usize, description: usize| {
        let lines: String = (0..fields).map(|n| format!("Provides-Extra: extra-{n}\n")).collect();
        Package::new(name, "1.0").field(&format!("{lines}\n{}", "d".repeat(description)))
    };
    // boto3-stubs has 1,341 fields.
    for (number, package) in [large("a", 5_000, 10), large("b", 10, 2 << 20)].iter().enumerate() {
        let wheel = write(&server, &package.wheel_name(), &package.wheel());
        server.rspm_stdout(&format!("add --source=team --path={}", wheel.display()));
        let next = Package { version: "2.0".to_owned(), ..package.clone() };
        let fields = (0..if number == 0 { 5_000 } else { 10 })
            .fold(Form::wheel(&next), |form, n| form.with("provides_extra", &format!("extra-{n}")));
        let form = fields.set("description", &"d".repeat(2 << 20));
        let answer = form.send(&server, &token);
        assert_eq!((answer.status, answer.text()), (200, String::new()));
    }
    for (package, words) in [
        (large("c", 10_001, 10), "more than the 10000 allowed"),
        (large("d", 10, 5 << 20), "more than the 4194304 allowed"),
    ] {
        let wheel = write(&server, &package.wheel_name(), &package.wheel());
        let refusal = server.refused(&format!("add --source=team --path={}", wheel.display()));
        let answer = Form::wheel(&package).send(&server, &token);
        assert!(refusal.contains(words) && answer.text().contains(words), "{refusal} {}", answer.text());
    }
}

#[test]
fn a_large_file_is_not_held_in_memory() {
    let (server, token) = start();
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak").to_owned();
        line.split_whitespace().nth(1).and_then(|text| text.parse::<usize>().ok()).expect("a number")
    };
    let package = Package::new("one", "1.0");
    assert_eq!(Form::wheel(&package).send(&server, &token).status, 200);
    let before = peak();
    let form =
        Form::file(&package, "two-1.0-py3-none-any.whl", vec![7; 96 << 20]).with("filetype", "bdist_wheel");
    let answer = form.send(&server, &token);
    assert!(answer.status == 400 && answer.text().contains("is refused"), "{}", answer.text());
    let grown = peak() - before;
    assert!(grown < 32 << 10, "{grown} kB for an upload of 96 MB");
}

#[test]
fn a_full_disk_is_507_and_the_upload_succeeds_when_there_is_space() {
    let Some(disk) = rerun::small_disk() else { return };
    let gcfg = format!("[FileStorage \"packages\"]\nLocation = {}", disk.join("packages").display());
    let server = Builder::default().gcfg(&gcfg).start();
    repository(&server);
    let token = publisher(&server);
    let package = Package::new("one", "1.0");
    assert_eq!(Form::wheel(&package).send(&server, &token).status, 200);
    std::fs::write(disk.join("filler"), vec![0; 2 << 20]).expect_err("the disk is full");
    let next = Form::wheel(&Package::new("one", "1.1"));
    let answer = next.send(&server, &token);
    assert_eq!((answer.status, answer.text().as_str()), (507, "the server has no space left\n"));
    assert_eq!(files(&server, "latest", "one").len(), 1);
    std::fs::remove_file(disk.join("filler")).expect("removed");
    assert_eq!(next.send(&server, &token).status, 200);
}
