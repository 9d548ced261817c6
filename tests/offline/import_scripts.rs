//! The scripts in `examples/import` print lists of imports from made answers of other servers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

use super::origins::lines;
use crate::support::listener::Listener;

/// Answers each path with its query from a table; other paths with an empty list.
fn serve(answers: &[(&str, &str)]) -> Listener {
    let answers: BTreeMap<String, String> =
        answers.iter().map(|(path, answer)| ((*path).to_owned(), (*answer).to_owned())).collect();
    Listener::open(move |mut stream| {
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        let is_whole = |request: &[u8]| {
            let text = String::from_utf8_lossy(request);
            let (head, body) = text.split_once("\r\n\r\n")?;
            let size = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
            (body.len() >= size.unwrap_or(0)).then(|| head.split(' ').nth(1).unwrap_or_default().to_owned())
        };
        let path = loop {
            let count = stream.read(&mut buffer)?;
            request.extend_from_slice(&buffer[..count]);
            match is_whole(&request) {
                Some(path) => break path,
                None if count == 0 => return Ok(()),
                None => {}
            }
        };
        let body = answers.get(&path).map_or("[]", String::as_str);
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes())
    })
}

fn run(script: &str, args: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/import");
    let mut command = Command::new("python3");
    command.arg(folder.join(script)).args(args).env("NO_PROXY", "*").env("PYTHONDONTWRITEBYTECODE", "1");
    command.output().expect("python3")
}

fn check(script: &str, args: &[&str], expected: &[&str]) {
    let output = run(script, args);
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Each line is one that the loader reads.
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| {
            let event: rstudio_pm::model::import_list::Event = serde_json::from_str(line).expect(line);
            serde_json::to_value(&event).expect("JSON")
        })
        .collect();
    assert_eq!(lines(&events), expected, "{script}: {text}");
}

/// The script must end with an error that contains a text.
fn check_refused(script: &str, args: &[&str], part: &str) {
    let output = run(script, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains(part) && output.stdout.is_empty(),
        "{script}: {error}"
    );
}

const DIGEST: &str = "9fa4f2442aece64dc673549daa620dc6d49ad4abc7a4b58d55db640672e1a8d9";

#[test]
fn nexus() {
    let asset = |version: &str, modified: &str, created: &str| {
        format!(
            r#"{{"assets":[{{"path":"packages/acme/{version}/acme-{version}-py3-none-any.whl","downloadUrl":"http://h/f",
            "checksum":{{"sha256":"{DIGEST}"}},"lastModified":"{modified}","blobCreated":"{created}","fileSize":9}},
            {{"path":"simple/acme/index.html","downloadUrl":"http://h/i","checksum":{{}},"lastModified":"{modified}"}}]}}"#
        )
    };
    let first = asset("1.0", "2024-01-10T10:00:00.000+0100", "2024-01-10T10:00:00.000+0100");
    let second = asset("1.1", "2025-06-01T00:00:00.000+0000", "2024-03-10T09:00:00.000+0000");
    let page = |item: &str, token: &str| format!(r#"{{"items":[{item}],"continuationToken":{token}}}"#);
    let path = "/service/rest/v1/components?repository=py";
    let next = format!("{path}&continuationToken=t");
    let server = serve(&[(path, &page(&first, "\"t\"")), (&next, &page(&second, "null"))]);
    check(
        "nexus.py",
        &[&format!("http://{}", server.address), "py"],
        &[
            "2024-01-10T09:00:00Z add acme-1.0-py3-none-any.whl lastModified",
            "2024-03-10T09:00:00Z add acme-1.1-py3-none-any.whl blobCreated",
        ],
    );
    let endless = serve(&[(path, &page(&first, "\"t\"")), (&next, &page(&second, "\"t\""))]);
    check_refused("nexus.py", &[&format!("http://{}", endless.address), "py"], "repeats the token");
}

#[test]
fn artifactory() {
    let file = format!(
        r#"{{"path":"acme/1.0","name":"acme-1.0.tar.gz","created":"2024-03-10T10:00:00.000+01:00","sha256":"{DIGEST}","size":9}}"#
    );
    let generated = r#"{"path":".pypi","name":"simple.html","created":"2024-03-10T10:00:00.000Z","size":9}"#;
    let answer = |total: usize| format!(r#"{{"results":[{file},{generated}],"range":{{"total":{total}}}}}"#);
    let list = r#"{"files":[{"uri":"/acme/1.0/acme-1.0.tar.gz","size":"9","lastModified":"2024-03-10T09:00:00.000Z","folder":"false"},
        {"uri":"/acme","size":-1,"lastModified":"2024-03-10T09:00:00.000Z","folder":"true"}]}"#;
    let server = serve(&[("/api/search/aql", &answer(2)), ("/api/storage/py?list&deep=1", list)]);
    let url = format!("http://{}", server.address);
    check("artifactory.py", &[&url, "py"], &["2024-03-10T09:00:00Z add acme-1.0.tar.gz created"]);
    check(
        "artifactory.py",
        &[&url, "py", "list"],
        &["2024-03-10T09:00:00Z add acme-1.0.tar.gz lastModified"],
    );
    let limited = serve(&[("/api/search/aql", &answer(500))]);
    check_refused("artifactory.py", &[&format!("http://{}", limited.address), "py"], "not complete");
}

#[test]
fn gitlab() {
    let packages = r#"[{"id":1,"name":"acme","version":"1.0","status":"default"},{"id":2,"name":"acme","version":"1.1","status":"pending_destruction"}]"#;
    let files = format!(
        r#"[{{"id":25,"created_at":"2024-01-10T09:00:01.000Z","file_name":"acme-1.0.tar.gz","size":9,"file_sha256":"{DIGEST}"}}]"#
    );
    let base = "/api/v4/projects/team%2Fpackages/packages";
    let page = |number: u8| format!("{base}?package_type=pypi&per_page=100&page={number}");
    let files_page = format!("{base}/1/package_files?per_page=100&page=1");
    let server = serve(&[(&page(1), packages), (&files_page, &files)]);
    let args = |server: &Listener| [format!("http://{}", server.address), "team/packages".to_owned()];
    let [url, project] = args(&server);
    check("gitlab.py", &[&url, &project], &["2024-01-10T09:00:01Z add acme-1.0.tar.gz created_at"]);
    let endless = serve(&[(&page(1), packages), (&page(2), packages), (&files_page, &files)]);
    let [url, project] = args(&endless);
    check_refused("gitlab.py", &[&url, &project], "repeats a page");
}

#[test]
fn gitea() {
    let packages =
        r#"[{"id":8,"type":"cran","name":"greeting","version":"1.1.0","created_at":"2024-03-10T09:00:00Z"}]"#;
    let files = format!(r#"[{{"id":80,"size":381,"name":"greeting_1.1.0.tar.gz","sha256":"{DIGEST}"}}]"#);
    let page = |number: u8| format!("/api/v1/packages/team?type=cran&limit=50&page={number}");
    let files_path = "/api/v1/packages/team/cran/greeting/1.1.0/files";
    let server = serve(&[(&page(1), packages), (files_path, &files)]);
    let url = format!("http://{}", server.address);
    check(
        "gitea.py",
        &[&url, "team", "cran"],
        &["2024-03-10T09:00:00Z add greeting_1.1.0.tar.gz created_at"],
    );
    let endless = serve(&[(&page(1), packages), (&page(2), packages), (files_path, &files)]);
    check_refused("gitea.py", &[&format!("http://{}", endless.address), "team", "cran"], "repeats a page");
}

#[test]
fn pulp() {
    let repository = "/pulp/api/v3/repositories/python/python/1/";
    let version = |number: u8, time: &str| {
        format!(
            r#"{{"pulp_href":"{repository}versions/{number}/","number":{number},"pulp_created":"{time}"}}"#
        )
    };
    let versions = format!(
        r#"{{"next":null,"results":[{},{},{}]}}"#,
        version(2, "2024-05-10T09:00:00.000000Z"),
        version(1, "2024-01-10T09:00:00.000000Z"),
        version(0, "2024-01-01T00:00:00.000000Z")
    );
    let content = |files: &str| format!(r#"{{"next":null,"results":[{files}]}}"#);
    let file =
        |version: &str| format!(r#"{{"filename":"acme-{version}.tar.gz","sha256":"{DIGEST}","size":9}}"#);
    let path = |op: &str, number: u8| {
        format!(
            "/pulp/api/v3/content/python/packages/?repository_version_{op}=%2Fpulp%2Fapi%2Fv3%2Frepositories%2Fpython%2Fpython%2F1%2Fversions%2F{number}%2F"
        )
    };
    let versions_path = format!("{repository}versions/");
    let (empty, first, second) = (content(""), content(&file("1.0")), content(&file("1.1")));
    let server = serve(&[
        (&versions_path, &versions),
        (&path("removed", 1), &empty),
        (&path("added", 1), &first),
        (&path("removed", 2), &first),
        (&path("added", 2), &second),
    ]);
    let address = |server: &Listener| format!("http://{}{repository}", server.address);
    check(
        "pulp.py",
        &[&address(&server), "http://h/content/team"],
        &[
            "2024-01-10T09:00:00Z add acme-1.0.tar.gz repository version",
            "2024-05-10T09:00:00Z remove acme-1.0.tar.gz repository version",
            "2024-05-10T09:00:00Z add acme-1.1.tar.gz repository version",
        ],
    );
    // Another server as the next page.
    let elsewhere = serve(&[(&versions_path, r#"{"next":"http://192.0.2.1/","results":[]}"#)]);
    check_refused("pulp.py", &[&address(&elsewhere), "http://h/content/team"], "not complete");
}

#[test]
fn rdepot() {
    let package = r#"{"name":"tally","version":"0.2.1","repository":{"name":"r"}}"#;
    let event = |id: u8, time: &str, kind: &str, changes: &str, resource: &str| {
        format!(
            r#"{{"id":{id},"technology":"R","time":"{time}","eventType":"{kind}","changedProperties":[{changes}],"relatedResource":{resource}}}"#
        )
    };
    let upload = event(
        1,
        "2024-02-10T09:00:00.5",
        "upload",
        "",
        &format!(r#"{{"state":"ACCEPTED","packageBag":{package}}}"#),
    );
    let removal = event(
        2,
        "2024-05-10T09:00:00.5",
        "update",
        r#"{"property":"active","valueBefore":"true","valueAfter":"false"}"#,
        package,
    );
    let page = |number: u8, content: &str| {
        format!(r#"{{"data":{{"page":{{"number":{number},"totalPages":2}},"content":[{content}]}}}}"#)
    };
    let path = |number: u8| format!("/api/v2/manager/events?page={number}&size=100&sort=time,asc");
    let server = serve(&[(&path(0), &page(0, &upload)), (&path(1), &page(1, &removal))]);
    check(
        "rdepot.py",
        &[&format!("http://{}", server.address), "r", "http://h/r"],
        &[
            "2024-02-10T09:00:00.500000Z add tally_0.2.1.tar.gz event",
            "2024-05-10T09:00:00.500000Z remove tally 0.2.1 event",
        ],
    );
    let endless = serve(&[(&path(0), &page(0, &upload)), (&path(1), &page(0, &upload))]);
    check_refused(
        "rdepot.py",
        &[&format!("http://{}", endless.address), "r", "http://h/r"],
        "repeats a page",
    );
}

#[test]
fn r_universe() {
    let packages = format!(
        r#"[{{"Package":"greeting","Version":"1.1.0","_type":"src","_file":"greeting_1.1.0.tar.gz","_fileid":"{DIGEST}",
        "_filesize":381,"_published":"2024-03-10T09:06:00.000Z"}},{{"Package":"broken","Version":"0.1","_type":"failure"}}]"#
    );
    let server = serve(&[("/api/packages?limit=10000", &packages)]);
    check(
        "r_universe.py",
        &[&format!("http://{}", server.address)],
        &["2024-03-10T09:06:00Z add greeting_1.1.0.tar.gz _published", "lost broken 0.1"],
    );
}

#[test]
fn wrong_arguments_and_answers_are_one_line() {
    let server = Listener::open(move |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request)?;
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\n<html>Sign in</html>",
        )
    });
    let address = format!("http://{}", server.address);
    let content = format!("{address}/content");
    for (script, args) in [
        ("artifactory.py", &[&*address, "py"][..]),
        ("gitea.py", &[&address, "team", "pypi"]),
        ("gitlab.py", &[&address, "7"]),
        ("nexus.py", &[&address, "py"]),
        ("pulp.py", &[&address, &content]),
        ("r_universe.py", &[&address]),
        ("rdepot.py", &[&address, "r", &address]),
    ] {
        for (args, part) in [(&[][..], "usage: "), (&["--help"], script), (args, "JSONDecodeError")] {
            check_refused(script, args, part);
            let error = String::from_utf8_lossy(&run(script, args).stderr).into_owned();
            assert_eq!(error.lines().count(), 1, "{script}: {error}");
        }
    }
}

#[test]
fn a_refusal_of_a_server_has_its_address_and_the_variables_of_the_user() {
    let server = Listener::open(move |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request)?;
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    });
    let address = format!("http://{}", server.address);
    let content = format!("{address}/content");
    for (script, args, remedy) in [
        ("artifactory.py", &[&*address, "py"][..], "; set ARTIFACTORY_TOKEN\n"),
        ("gitea.py", &[&address, "team", "pypi"], "; set GITEA_TOKEN\n"),
        ("gitlab.py", &[&address, "7"], "; set GITLAB_TOKEN\n"),
        ("nexus.py", &[&address, "py"], "; set NEXUS_USER and NEXUS_PASSWORD\n"),
        ("pulp.py", &[&address, &content], "; set PULP_USER and PULP_PASSWORD\n"),
        ("r_universe.py", &[&address], "401: Unauthorized\n"),
        ("rdepot.py", &[&address, "r", &address], "; set RDEPOT_TOKEN\n"),
    ] {
        check_refused(script, args, &format!("{script}: {address}/"));
        check_refused(script, args, remedy);
    }
}
