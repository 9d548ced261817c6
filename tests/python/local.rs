//! Local sources of Python packages: pages, files, history and refusals, on both databases.

use sha2::Digest;

use crate::support::http::{self, Answer};
use crate::support::postgres;
use crate::support::python::package::{Package, add, repository, transaction, write};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// Starts servers with a local source and a repository, one for each database.
pub(super) fn servers() -> [Server; 2] {
    let url = postgres::server().schema();
    let gcfg = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\"\n");
    let servers = [Server::start(), Builder::default().gcfg(&gcfg).start()];
    servers.iter().for_each(repository);
    servers
}

fn json(server: &Server, path: &str) -> serde_json::Value {
    let answer = http::request("GET", &server.url(path), &[("Accept", JSON)], b"");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some(JSON)),
        "{path}: {}",
        answer.text()
    );
    answer.json()
}

/// Returns the names of the files of a page, with their yanks; empty if there is no page, also of a guarded name.
pub(super) fn files(server: &Server, snapshot: &str, project: &str) -> Vec<(String, serde_json::Value)> {
    let path = format!("/py/{snapshot}/simple/{project}/");
    if matches!(server.get(&path).status, 403 | 404) {
        return Vec::new();
    }
    let page = json(server, &path);
    let files = page["files"].as_array().expect("files").iter();
    files.map(|file| (file["filename"].as_str().unwrap().to_owned(), file["yanked"].clone())).collect()
}

fn head(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::request("HEAD", &server.url(path), headers, b"")
}

#[test]
fn pages_and_files_are_served_with_their_headers() {
    for server in servers() {
        let package = Package::new("Odd.Name", "1.0").requires("other>=1; python_version > '3'");
        let wheel = write(&server, &package.wheel_name(), &package.wheel());
        let sdist = write(&server, &package.sdist_name(), &package.sdist());
        let output =
            server.rspm_stdout(&format!("add --source=team --path={},{}", wheel.display(), sdist.display()));
        assert_eq!(
            output,
            format!("Added package '{}'.\nAdded package '{}'.\n", wheel.display(), sdist.display())
        );

        let root = json(&server, "/py/latest/simple/");
        assert_eq!(root["projects"].as_array().map(Vec::len), Some(1), "{root}");
        assert_eq!(root["projects"][0]["name"], "odd-name");
        assert!(
            root["projects"][0]["_last-serial"].as_u64() <= root["meta"]["_last-serial"].as_u64(),
            "{root}"
        );
        for path in ["/py/simple/odd-name/", "/simple/odd-name/", "/simple/odd-name"] {
            let answer = server.get(path);
            assert!(answer.status == 404 && answer.text().contains("/latest/simple/"), "{path}: {answer:?}");
        }
        let page = json(&server, "/py/latest/simple/odd-name/");
        assert_eq!(
            (page["name"].as_str(), &page["versions"]),
            (Some("odd-name"), &serde_json::json!(["1.0"]))
        );
        let files = page["files"].as_array().unwrap();
        assert_eq!(files[0]["filename"], "odd_name-1.0-py3-none-any.whl");
        assert_eq!(files[1]["filename"], "odd_name-1.0.tar.gz");
        assert_eq!((&files[0]["requires-python"], &files[1]["core-metadata"]), (&">=3.7".into(), &().into()));

        let sha256 = hex::encode(sha2::Sha256::digest(package.wheel()));
        let path = format!("/py/latest/packages/{sha256}/odd_name-1.0-py3-none-any.whl");
        assert_eq!(files[0]["url"], path.replace("/py/latest/", "../../"));
        let file = server.get(&path);
        assert!(file.status == 200 && file.body == package.wheel());
        let etag = format!("\"{sha256}\"");
        for (name, value) in [
            ("etag", &*etag),
            ("content-type", "application/octet-stream"),
            ("accept-ranges", "bytes"),
            ("cache-control", "max-age=31536000, immutable"),
        ] {
            assert_eq!(file.header(name), Some(value), "{name}");
        }
        assert_eq!((file.header("content-encoding"), file.header("x-package-type")), (None, None));
        let size = package.wheel().len();
        let response = head(&server, &path, &[]);
        assert_eq!((response.status, response.header("content-length")), (200, Some(&*size.to_string())));
        let range = http::request("GET", &server.url(&path), &[("Range", "bytes=-10")], b"");
        assert_eq!((range.status, &range.body[..]), (206, &package.wheel()[size - 10..]));
        let range = http::request("GET", &server.url(&path), &[("Range", "bytes=99999999-")], b"");
        assert_eq!((range.status, range.header("content-range")), (416, Some(&*format!("bytes */{size}"))));
        let headers = [("Range", "bytes=3-"), ("If-Range", &*etag)];
        assert_eq!(http::request("GET", &server.url(&path), &headers, b"").body, package.wheel()[3..]);
        let response = http::request("GET", &server.url(&path), &[("If-None-Match", &*etag)], b"");
        assert_eq!((response.status, response.body.len()), (304, 0));

        let metadata = server.get(&format!("{path}.metadata"));
        assert_eq!((metadata.status, metadata.text()), (200, package.metadata()));
        assert_eq!(metadata.header("content-type"), Some("text/plain; charset=utf-8"));
        let digest = hex::encode(sha2::Sha256::digest(package.metadata()));
        assert_eq!(files[0]["core-metadata"]["sha256"], digest.as_str());
        for (path, reason) in [
            (format!("{path}.asc"), "there is no signature of the file 'odd_name-1.0-py3-none-any.whl'"),
            (
                format!("{path}.provenance"),
                "there is no provenance of the file 'odd_name-1.0-py3-none-any.whl'",
            ),
            (path.replace("odd_name", "odd-name"), "there is no file 'odd-name-1.0-py3-none-any.whl'"),
            (path.replace(&sha256, &"0".repeat(64)), "there is no file"),
            ("/py/latest/simple/other/".to_owned(), "there is no project 'other' in this snapshot"),
            ("/py/latest/simple/-x/".to_owned(), "'-x' is not the name of a Python project"),
            ("/py/simple/odd-name/".to_owned(), "the address of a Python repository has a snapshot"),
            ("/py/latest/src/contrib/PACKAGES".to_owned(), "the repository 'py' is of type Python"),
        ] {
            let answer = server.get(&path);
            assert!(answer.status == 404 && answer.text().starts_with(reason), "{path}: {}", answer.text());
        }
    }
}

#[test]
fn the_format_of_a_page_is_negotiated() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("one", "1.0"));
    let mut etags = std::collections::BTreeSet::new();
    for path in ["/py/latest/simple/", "/py/latest/simple/one/"] {
        for (accept, kind) in [
            (JSON, JSON),
            ("application/vnd.pypi.simple.latest+html", "application/vnd.pypi.simple.v1+html"),
            ("*/*", "text/html; charset=utf-8"),
            ("application/vnd.pypi.simple.v1+json, */*;q=0.1", JSON),
        ] {
            let answer = http::request("GET", &server.url(path), &[("Accept", accept)], b"");
            assert_eq!(answer.header("content-type"), Some(kind), "{accept}");
            assert_eq!((answer.status, answer.header("vary")), (200, Some("Accept, Accept-Encoding")));
            assert_eq!(answer.header("cache-control"), Some("no-cache"));
            let etag = answer.header("etag").unwrap().to_owned();
            let conditional = [("Accept", accept), ("If-None-Match", &*etag)];
            let response = http::request("GET", &server.url(path), &conditional, b"");
            assert_eq!(
                (response.status, response.header("vary")),
                (304, Some("Accept, Accept-Encoding")),
                "{path} {accept}"
            );
            let response = head(&server, path, &[("Accept", accept)]);
            assert_eq!(response.header("content-length"), Some(&*answer.body.len().to_string()));
            etags.insert((path, etag));
        }
        let answer = server.get(&format!("{path}?format={JSON}"));
        assert_eq!(answer.header("content-type"), Some(JSON));
    }
    assert_eq!(etags.len(), 6, "one for each page and type: {etags:?}");
    for (path, status, location) in [
        ("/py/latest/simple", 308, "simple/"),
        ("/py/latest/simple/one", 308, "one/"),
        ("/py/latest/simple/ONE", 301, "one/"),
        ("/py/latest/simple/One/?x=1", 301, "../one/?x=1"),
    ] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("location")), (status, Some(location)), "{path}");
    }
}

#[test]
fn every_transaction_keeps_its_pages() {
    for mut server in servers() {
        let state = |server: &Server| (transaction(server, "team"), files(server, "latest", "one"));
        let mut history = Vec::new();
        for version in ["1.0", "1.1"] {
            add(&server, "team", &Package::new("one", version));
            history.push(state(&server));
        }
        for line in [
            "yank --source=team --name=One@1.1.0 --reason=it~<breaks>",
            "yank --source=team --name=one@one-1.0-py3-none-any.whl",
            "unyank --source=team --name=one@1.1",
            "remove package --source=team --name=one@1.0",
            "remove package --source=team --name=one@all",
        ] {
            server.rspm_stdout(line);
            history.push(state(&server));
        }
        let (old, new) = ("one-1.0-py3-none-any.whl", "one-1.1-py3-none-any.whl");
        let expected: [&[(&str, serde_json::Value)]; 7] = [
            &[(old, false.into())],
            &[(old, false.into()), (new, false.into())],
            &[(old, false.into()), (new, "it <breaks>".into())],
            &[(old, true.into()), (new, "it <breaks>".into())],
            &[(old, true.into()), (new, false.into())],
            &[(new, false.into())],
            &[],
        ];
        server.restart();
        for ((number, actual), expected) in history.iter().zip(expected) {
            let expected: Vec<_> =
                expected.iter().map(|(name, yank)| ((*name).to_owned(), yank.clone())).collect();
            assert_eq!(*actual, expected, "at the time of {number}");
            assert_eq!(files(&server, &number.to_string(), "one"), expected, "later, at {number}");
        }
        let sha256 = hex::encode(sha2::Sha256::digest(Package::new("one", "1.0").wheel()));
        let file = server.get(&format!("/py/latest/packages/{sha256}/{old}"));
        assert_eq!(file.status, 200, "lock files remain valid after a removal");
        let answer = server.get("/py/latest/simple/one/");
        assert_eq!(answer.status, 403, "uv and others continue with the next index after 404");
        assert!(
            answer.text().starts_with("the name 'one' is guarded here by name guard 1"),
            "{}",
            answer.text()
        );
        server.rspm_stdout("delete name-guard --id=1");
        let answer = server.get("/py/latest/simple/one/");
        let text = "all files of the project 'one' were removed from the source 'team'";
        assert_eq!((answer.status, answer.text().starts_with(text)), (404, true), "{}", answer.text());
        assert_eq!(json(&server, "/py/latest/simple/")["projects"], serde_json::json!([]));
    }
}

#[test]
fn a_file_name_is_added_again_only_with_the_same_bytes() {
    for server in servers() {
        let package = Package::new("one", "1.0");
        add(&server, "team", &package);
        server.rspm_stdout("yank --source=team --name=one@1.0 --reason=bad");
        let old_transaction = transaction(&server, "team");
        add(&server, "team", &package);
        assert_eq!(transaction(&server, "team"), old_transaction, "nothing changed");
        assert_eq!(files(&server, "latest", "one"), [(package.wheel_name(), "bad".into())], "still yanked");
        let sdist = write(&server, &package.sdist_name(), &package.sdist());
        server.rspm_stdout(&format!("add --source=team --path={}", sdist.display()));
        assert_eq!(
            files(&server, "latest", "one")[1],
            (package.sdist_name(), "bad".into()),
            "yanked like the version"
        );

        let other = package.clone().code("other = 1\n");
        let path = write(&server, &other.wheel_name(), &other.wheel());
        let line = format!("add --source=team --path={}", path.display());
        let refusal = server.refused(&line);
        assert!(refusal.contains("is in the source 'team' already, with other bytes"), "{refusal}");
        server.rspm_stdout(&format!("{line} --succeed-on-existing"));
        let sha256 = |package: &Package| hex::encode(sha2::Sha256::digest(package.wheel()));
        let sha256_on_page = |server: &Server, snapshot: &str| {
            json(server, &format!("/py/{snapshot}/simple/one/"))["files"][0]["hashes"]["sha256"].clone()
        };
        assert_eq!(sha256_on_page(&server, "latest"), sha256(&package));
        server.rspm_stdout(&format!("{line} --replace"));
        assert_eq!(sha256_on_page(&server, "latest"), sha256(&other));
        assert_eq!(sha256_on_page(&server, &old_transaction.to_string()), sha256(&package));
        for package in [&package, &other] {
            let path = format!("/py/latest/packages/{}/{}", sha256(package), package.wheel_name());
            assert!(server.get(&path).body == package.wheel(), "both are served");
        }
        server.rspm_stdout("remove package --source=team --name=one@all");
        let third = package.clone().code("third = 1\n");
        let path = write(&server, &third.wheel_name(), &third.wheel());
        let refusal = server.refused(&format!("add --source=team --path={}", path.display()));
        assert!(refusal.contains("had a file 'one-1.0-py3-none-any.whl' with other bytes"), "{refusal}");
        add(&server, "team", &package);
        assert_eq!(sha256_on_page(&server, "latest"), sha256(&package), "the first bytes again");
    }
}

#[test]
fn the_first_source_of_a_name_owns_pages_files_and_metadata() {
    let server = Server::start();
    repository(&server);
    server.rspm_stdout("create source --name=second --type=local-python");
    server.rspm_stdout("subscribe --repo=py --source=second");
    let (private, public) =
        (Package::new("Same.Name", "1.0"), Package::new("same-name", "9.0").code("public = 1\n"));
    add(&server, "second", &public);
    let old_transaction = transaction(&server, "second").to_string();
    let path = |package: &Package, suffix: &str| {
        let sha256 = hex::encode(sha2::Sha256::digest(package.wheel()));
        format!("packages/{sha256}/{}{suffix}", package.wheel_name())
    };
    let status = |snapshot: &str, path: &str| server.get(&format!("/py/{snapshot}/{path}")).status;
    assert_eq!(status("latest", &path(&public, "")), 200);
    add(&server, "team", &private);
    assert_eq!(files(&server, "latest", "same-name"), [(private.wheel_name(), false.into())]);
    assert_eq!(files(&server, &old_transaction, "same-name"), [(public.wheel_name(), false.into())]);
    for suffix in ["", ".metadata"] {
        assert_eq!(status("latest", &path(&private, suffix)), 200);
        assert_eq!(status("latest", &path(&public, suffix)), 404, "of the second source");
        assert_eq!(status(&old_transaction, &path(&public, suffix)), 200);
    }
    let list = server.json("list packages --repo=py");
    assert_eq!((list["total"].as_i64(), &list["packages"][0]["version"]), (Some(1), &"1.0".into()));
    server.rspm_stdout("remove package --source=team --name=same-name@all");
    assert_eq!(status("latest", "simple/same-name/"), 403, "the name stays private");
    server.rspm_stdout("reorder --repo=py --sources=second,team");
    assert_eq!(files(&server, "latest", "same-name"), [(public.wheel_name(), false.into())]);
}

#[test]
fn files_that_are_no_packages_are_refused() {
    let server = Server::start();
    repository(&server);
    server.rspm_stdout("create source --name=r --type=local");
    let package = Package::new("one", "1.0");
    let r_package = Tarball::new("alpha", "1.0");
    for (file, bytes, reason) in [
        ("two-1.0-py3-none-any.whl", package.wheel(), "'two-1.0-py3-none-any.whl' is refused"),
        ("one-1.1-py3-none-any.whl", package.wheel(), "'one-1.1-py3-none-any.whl' is refused"),
        ("one-1.0-py3-none-any.whl", package.sdist(), "'one-1.0-py3-none-any.whl' is refused"),
        ("one-1.0.tar.gz", b"<html>".to_vec(), "'one-1.0.tar.gz' is refused"),
        ("one-1.0.txt", b"text".to_vec(), "'one-1.0.txt' is refused"),
        ("one-1.0-py2.7.egg", package.wheel(), "'one-1.0-py2.7.egg' is refused: installers use wheels"),
        ("alpha_1.0.tar.gz", r_package.bytes(), "'alpha_1.0.tar.gz' is refused"),
    ] {
        let path = write(&server, file, &bytes);
        let refusal = server.refused(&format!("add --source=team --path={}", path.display()));
        assert!(refusal.starts_with(&format!("{}: {reason}", path.display())), "{file}: {refusal}");
    }
    assert!(server.json("info --source=team")["last_transaction"].is_null());
    let path = write(&server, &package.wheel_name(), &package.wheel());
    let refusal = server.refused(&format!("add --source=r --path={}", path.display()));
    assert!(refusal.contains("is refused"), "{refusal}");
    let refusal = server.refused("subscribe --repo=py --source=r");
    assert!(refusal.contains("'r'"), "{refusal}");
    for (line, reason) in [
        ("yank --source=team --name=one", "'one' does not select what to yank"),
        ("yank --source=team --name=one@1.0", "the source 'team' has no package 'one'"),
        ("yank --source=r --name=one@1.0", "only files of Python packages can be yanked"),
        ("yank --source=team --name=-@1.0", "'-' is not the name of a Python project"),
        ("remove package --source=team --name=one@all", "the source 'team' has no package 'one'"),
    ] {
        let refusal = server.refused(line);
        assert!(refusal.starts_with(reason), "{line}: {refusal}");
    }
    add(&server, "team", &package);
    let refusal = server.refused("yank --source=team --name=one@2.0");
    assert_eq!(refusal, "the source 'team' has no one 2.0; it has 1.0");
    let refusal = server.refused("explain py one --distribution=noble");
    assert!(refusal.contains("is of type Python"), "{refusal}");
}

#[test]
fn a_crash_during_an_addition_adds_all_files_or_none() {
    let mut server = Server::start();
    repository(&server);
    for round in 0..5 {
        let package = Package::new("one", &format!("1.{round}"));
        let wheel = write(&server, &package.wheel_name(), &package.wheel());
        let sdist = write(&server, &package.sdist_name(), &package.sdist());
        let line = format!("add --source=team --path={},{}", wheel.display(), sdist.display());
        let mut command = server.rspm_command(&line);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().expect("rspm runs");
        // The crash may precede the addition or follow it: each moment must leave a consistent state.
        std::thread::sleep(std::time::Duration::from_millis(rand::random_range(0..40)));
        server.kill();
        server.launch();
        child.wait().expect("rspm ends");
        let of_version = |server: &Server| {
            let names = files(server, "latest", "one").into_iter().map(|(name, _)| name);
            names.filter(|name| name.starts_with(&format!("one-1.{round}"))).count()
        };
        let count = of_version(&server);
        assert!(count == 0 || count == 2, "{count} of two files");
        server.rspm_stdout(&line);
        assert_eq!(of_version(&server), 2);
    }
    let page = json(&server, "/py/latest/simple/one/");
    for file in page["files"].as_array().expect("files") {
        let path = file["url"].as_str().expect("a link").replace("../../", "/py/latest/");
        let answer = server.get(&path);
        let sha256 = hex::encode(sha2::Sha256::digest(&answer.body));
        assert_eq!((answer.status, file["hashes"]["sha256"].as_str()), (200, Some(&*sha256)), "{path}");
    }
}

#[test]
fn the_public_api_has_the_files_of_all_versions() {
    let server = Server::start();
    repository(&server);
    for version in ["1.0", "2.0rc1"] {
        add(&server, "team", &Package::new("Odd.Name", version));
    }
    let package = Package::new("Odd.Name", "1.0");
    let sdist = write(&server, &package.sdist_name(), &package.sdist());
    server.rspm_stdout(&format!("add --source=team --path={}", sdist.display()));
    server.rspm_stdout("yank --source=team --name=odd-name@2.0rc1 --reason=bad");
    let detail = |query: &str| server.get(&format!("/__api__/repos/py/packages/Odd_Name{query}")).json();
    let newest = detail("");
    assert_eq!(
        (&newest["name"], &newest["version"], &newest["repo_type"]),
        (&"Odd.Name".into(), &"1.0".into(), &"Python".into())
    );
    for (key, value) in [
        ("name", "Odd.Name".into()),
        ("version", "1.0".into()),
        ("summary", "A <test> & more".into()),
        ("description", "Text.\n".into()),
        ("requires_python", ">=3.7".into()),
        ("yanked", false.into()),
        ("yanked_reason", serde_json::Value::Null),
    ] {
        assert_eq!(newest["info"][key], value, "{key}");
    }
    let types = |version: &str| {
        let files = newest["releases"][version].as_array().expect("files").iter();
        files.map(|file| (file["packagetype"].clone(), file["python_version"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(types("1.0"), [("bdist_wheel".into(), "py3".into()), ("sdist".into(), "source".into())]);
    assert_eq!(types("2.0rc1"), [("bdist_wheel".into(), "py3".into())]);
    assert_eq!(newest["releases"]["2.0rc1"][0]["yanked_reason"], "bad");
    let wheel = &newest["releases"]["1.0"][0];
    let url = wheel["url"].as_str().expect("a URL");
    assert_eq!(http::get(url).body, package.wheel(), "{url}");
    assert_eq!(wheel["digests"]["sha256"], hex::encode(sha2::Sha256::digest(package.wheel())).as_str());
    assert_eq!(detail("?version=2.0.0c1")["info"]["yanked"], true);
    for path in ["packages/other", "packages/-", "packages/odd-name?version=3"] {
        let answer = server.get(&format!("/__api__/repos/py/{path}"));
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[test]
fn explain_names_owner_files_and_yanks() {
    let server = Server::start();
    repository(&server);
    server.rspm_stdout("create source --name=second --type=local-python");
    server.rspm_stdout("subscribe --repo=py --source=second");
    add(&server, "second", &Package::new("odd-name", "9.0"));
    for version in ["1.0", "1.1", "2.0rc1"] {
        add(&server, "team", &Package::new("Odd.Name", version));
    }
    server.rspm_stdout("yank --source=team --name=odd-name@1.1 --reason=bad");
    let explain = |words: &str| server.json(&format!("explain py {words}"));
    let latest = explain("ODD_name");
    let decisions = latest["decisions"].as_array().expect("decisions");
    let of = |topic: &str| {
        let rows = decisions.iter().filter(|decision| decision["topic"] == topic);
        rows.map(|row| {
            (row["subject"].as_str().unwrap(), row["state"].as_str().unwrap(), row["selected"] == true)
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(
        of("source"),
        [
            ("team", "3 files, version 1.0 preferred", true),
            ("second", "1 file, version 9.0 preferred", false)
        ]
    );
    let files = of("file");
    assert!(files.len() == 1 && files[0].0 == "odd_name-1.0-py3-none-any.whl" && files[0].2, "{files:?}");
    assert_eq!(
        latest["answer"],
        "the page /py/latest/simple/odd-name/, which lists 3 files; installers prefer version 1.0"
    );
    let yanked = explain("odd-name --version=1.1.0");
    let file = yanked["decisions"].as_array().expect("decisions").last().expect("a file").clone();
    assert!(file["state"].as_str().is_some_and(|state| state.ends_with(", yanked: bad")), "{file}");
    for (words, answer) in [
        ("odd-name --version=3", "team owns the name odd-name and has no version 3"),
        ("other", "404: no source of py has other in this snapshot"),
    ] {
        assert_eq!(explain(words)["answer"], answer, "{words}");
    }
    server.rspm_stdout("remove package --source=team --name=odd-name@all");
    let answer = explain("odd-name")["answer"].as_str().expect("a text").to_owned();
    assert!(answer.starts_with("403: the name 'odd-name' is guarded here by name guard 1: "), "{answer}");
    server.rspm_stdout("delete name-guard --id=1");
    assert_eq!(
        explain("odd-name")["answer"],
        "404: all files of odd-name were removed from team, which owns the name"
    );
}
