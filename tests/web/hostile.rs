//! Hostile texts in packages and queries: every page stays well-formed, and no element executes anything.

use serde_json::json;

use super::document;
use crate::support::chromium::Chromium;
use crate::support::http::{self, Answer};
use crate::support::pypi::Pypi;
use crate::support::python::index;
use crate::support::python::package::{Package, add};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// Parts of attacks and of syntax. They are ASCII, because fields of a DESCRIPTION without encoding are.
const PARTS: [&str; 16] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    "<a href=\"javascript:alert(1)\">x</a>",
    "[x](javascript:alert(1))",
    "<doi:10.1/\"><b>",
    "<https://e.example/\"onclick=\"x>",
    "javascript:alert(1)",
    "</title></textarea></style>",
    "&#60;script&#62;",
    "<!--",
    "]]>",
    "<iframe src=//e.example>",
    "{{7*7}}${7*7}",
    "`<b>`",
];

/// Returns the text with this number: two parts with a separator.
fn text(number: usize) -> String {
    let part = |at: usize| PARTS[at % PARTS.len()];
    let separators = [" ", "", "/", "="];
    format!("{}{}{}", part(number), separators[number / 256 % 4], part(number / 16))
}

#[test]
fn a_thousand_hostile_texts_break_no_page() {
    let server = Server::start();
    // Each package has 25 texts in its fields and some more in its README: 1,000 in all.
    let packages: Vec<Tarball> = (0..40)
        .map(|package| {
            let texts: Vec<String> = (0..25).map(|at| text(package * 25 + at)).collect();
            let readme: String = texts.iter().map(|text| format!("{text}\n\n")).collect();
            let mut tarball = Tarball::new(&format!("p{package}"), "1.0")
                .with("README.md", &readme)
                .with("NEWS.md", &readme)
                .with("LICENSE", &readme)
                .with(&format!("inst/{}", texts[0].replace('/', "")), &readme);
            let fields =
                ["Maintainer", "URL", "BugReports", "SystemRequirements", "Language", "Author", "Title"];
            for (field, texts) in fields.iter().zip(texts.chunks(4)) {
                // R refuses a maintainer without an address.
                let address = if *field == "Maintainer" { " <a@example.org>" } else { "" };
                tarball = tarball.field(&format!("{field}: {}{address}", texts.join(" ")));
            }
            tarball
        })
        .collect();
    server.local_repository("team", &packages);
    let mut paths: Vec<String> =
        (0..40).map(|package| format!("/team/latest/web/packages/p{package}/")).collect();
    for page in [
        "news/",
        "license/",
        "files/",
        "files/README.md",
        "versions/",
        "history/",
        "why/",
        "dependencies/",
        "downloads/",
    ] {
        paths
            .extend((0..40).step_by(5).map(|package| format!("/team/latest/web/packages/p{package}/{page}")));
    }
    paths.push("/team/latest/web/packages/".to_owned());
    let texts: String = (0..1000).step_by(67).map(text).collect::<Vec<_>>().join(" ");
    server.call("POST", "/repos", &json!({ "name": "odd", "description": texts }));
    paths.extend(["/team/latest/", "/odd/latest/"].map(str::to_owned));
    for (package, show) in (0..40).zip(["version", "day", "vulnerabilities"].into_iter().cycle()) {
        assert_badge(&server.get(&format!("/team/latest/web/packages/p{package}/badge.svg?show={show}")));
    }
    for number in (0..1000).step_by(20) {
        let query: String = text(number).bytes().map(|byte| format!("%{byte:02X}")).collect();
        paths.push(format!("/team/latest/web/packages/?q={query}&sort={query}"));
        paths.push(format!("/team/latest/web/changes/?since={query}"));
        paths.push(format!("/?q={query}"));
    }
    for path in &paths {
        let answer = server.get(path);
        assert!(answer.header("content-security-policy").is_some(), "{path}");
        assert!([200, 400].contains(&answer.status), "{path}: {}", answer.status);
        let tags = document::page(&answer, path);
        assert_eq!(tags.iter().filter(|tag| tag.name == "script").count(), 1, "{path}");
        assert!(!tags.iter().any(|tag| ["iframe", "img", "object"].contains(&tag.name.as_str())), "{path}");
        for link in tags.iter().filter_map(|tag| tag.get("href")) {
            assert!(!link.trim_start().to_ascii_lowercase().starts_with("javascript:"), "{path}: {link}");
        }
    }
    // A browser executes nothing, and has nothing to refuse: a script, a frame or an image would be a message.
    let chromium = Chromium::start();
    let of_packages = paths.iter().filter(|path| path.contains("/web/packages/p"));
    for path in of_packages.chain(paths.iter().rev().take(30)) {
        chromium.open(&server.url(path));
        let found = chromium.run(
            "return document.querySelectorAll(\"img, svg:not(.picture > .year, .picture > .timeline, .picture > .downloads), iframe, object, embed, base, style, [style], form[action*='//']\")
                 .length + [...document.querySelectorAll('*')].flatMap((element) => [...element.attributes])
                 .filter((attribute) => attribute.name.startsWith('on')
                     || ['href', 'src', 'action'].includes(attribute.name) && /^\\s*javascript:/i.test(attribute.value))
                 .length;",
            &[],
        );
        assert_eq!(found, serde_json::json!(0), "{path}");
        let messages = chromium.messages();
        let is_status = |message: &String| message.contains("400 (Bad Request)");
        assert!(messages.iter().all(is_status), "{path}: {messages:?}");
    }
}

/// Asserts that a badge is a small document of SVG with four shapes, whose policy admits nothing.
fn assert_badge(answer: &Answer) {
    let text = answer.text();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/svg+xml")), "{text}");
    assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let tags = document::read(&format!("<!DOCTYPE html>{text}"));
    let names: Vec<&str> = tags.iter().map(|tag| tag.name.as_str()).collect();
    assert_eq!(names, ["svg", "title", "rect", "rect", "text", "text"], "{text}");
    assert!(text.len() <= 2_000, "{text}");
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn a_thousand_hostile_names_and_versions_break_no_page() {
    let server = super::server();
    let folder = "/team/latest/web/packages";
    let pages = [
        "",
        "versions/",
        "history/",
        "dependents/",
        "dependencies/",
        "binaries/",
        "why/",
        "files/",
        "news/",
        "badge.svg",
    ];
    let versions = ["", "why/", "files/", "license/", "badge.svg"];
    let is_refused = |status: u16| [400, 404].contains(&status);
    for number in 0..1000 {
        let (name, version) = (text(number), encoded(&text(number + 37)));
        // A slash in a name is refused before the page is known; the answer is a page, too.
        let name = encoded(&if number % 10 == 0 { name } else { name.replace('/', "") });
        let page = pages[number % pages.len()];
        let path = format!("{folder}/{name}/{page}");
        let answer = server.get(&path);
        // The page of the file that a client gets explains why there is none.
        let is_expected = is_refused(answer.status) || (page == "why/" && answer.status == 200);
        assert!(is_expected, "{path}: {}", answer.status);
        assert_page(&answer, &path);
        let page = versions[number % versions.len()];
        let path = format!("{folder}/alpha/{page}?version={version}");
        let answer = server.get(&path);
        assert!(is_refused(answer.status) || page == "why/", "{path}: {}", answer.status);
        assert_page(&answer, &path);
    }
}

/// Asserts that a page of any status has the headers of pages, and the elements of this server only.
fn assert_page(answer: &Answer, path: &str) {
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}: {}", answer.text());
    assert!(answer.header("content-security-policy").is_some(), "{path}");
    let tags = document::page(answer, path);
    assert_eq!(tags.iter().filter(|tag| tag.name == "script").count(), 1, "{path}");
    assert!(!tags.iter().any(|tag| ["iframe", "img", "object"].contains(&tag.name.as_str())), "{path}");
    for link in tags.iter().filter_map(|tag| tag.get("href")) {
        assert!(!link.trim_start().to_ascii_lowercase().starts_with("javascript:"), "{path}: {link}");
    }
}

#[test]
fn hostile_names_and_versions_in_lock_files_break_no_page() {
    let server = super::server();
    repository_of_python(&server);
    let form = [("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")];
    let post = |path: &str, headers: &[(&str, &str)], body: &str| {
        let answer = http::request("POST", &server.url(path), headers, body.as_bytes());
        assert!([200, 400].contains(&answer.status), "{body}: {}", answer.status);
        assert_page(&answer, body);
    };
    let (r, python) = ("/team/latest/web/lockfile/", "/py/latest/web/lockfile/");
    for number in (0..1000).step_by(8) {
        let (name, version) = (json!(text(number)), json!(text(number + 5)));
        let lock = format!(r#"{{"Packages": {{{name}: {{"Package": {name}, "Version": "1.0"}}}}}}"#);
        post(r, &[], &lock);
        post(r, &form, &format!("file={}", encoded(&lock)));
        post(
            r,
            &[],
            &format!(r#"{{"Packages": {{"alpha": {{"Package": "alpha", "Version": {version}}}}}}}"#),
        );
        let sources = format!(r#"{{"Packages": {{{name}: {{"Version": "1", "Source": "GitHub"}}}}}}"#);
        post(r, &form, &format!("file={}&day={}", encoded(&sources), encoded(&text(number))));
        post(python, &form, &format!("file={}", encoded(&format!("one=={}\n", text(number)))));
        post(python, &form, &format!("file={}", encoded(&format!("{}==1.0\n", text(number)))));
        let lock = format!("version = 1\n[[package]]\nname = \"one\"\nversion = {version}\n");
        post(python, &form, &format!("file={}", encoded(&lock)));
    }
}

fn repository_of_python(server: &Server) {
    server.rspm_stdout("create source --name=python --type=local-python");
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=python");
    add(server, "python", &Package::new("one", "1.0"));
}

#[test]
fn hostile_versions_in_file_names_of_an_index_are_text_and_in_no_command() {
    let pypi = Pypi::start();
    let versions: Vec<String> = (0..256)
        .map(text)
        .filter(|text| !text.contains(['/', '\\']))
        .map(|text| format!("1{text}"))
        .collect();
    assert!(versions.len() > 50, "{}", versions.len());
    for version in &versions {
        pypi.add("one", &format!("one-{version}.tar.gz"), version.as_bytes(), "2024-01-01T00:00:00Z");
    }
    pypi.add("one", "one-1.0;id.tar.gz", b"a", "2024-01-01T00:00:00Z");
    pypi.add("one", "one-2.0.tar.gz", b"b", "2024-01-01T00:00:00Z");
    let server = index::start(&pypi, "");
    server.sync_of("pypi").expect("a sync");
    let folder = "/py/latest/web/packages/one/";
    let page = |path: &str| {
        let answer = server.get(path);
        assert_page(&answer, path);
        (answer.status, document::unescape(&answer.text()))
    };
    let (status, text) = page(folder);
    assert!(status == 200 && text.contains("pip install one==2.0<"), "{text}");
    let (status, text) = page(&format!("{folder}versions/"));
    assert!(status == 200 && text.contains("one-1.0;id.tar.gz"), "{text}");
    assert!(text.contains("Releases of one over time"), "{text}");
    let known = versions.iter().map(String::as_str).chain(["1.0;id"]).filter(|version| {
        let (status, text) = page(&format!("{folder}?version={}", encoded(version)));
        assert!([200, 404].contains(&status), "{version}: {status}");
        assert!(status != 200 || !text.contains("pip install"), "{version}: {text}");
        let badge = server.get(&format!("{folder}badge.svg?version={}", encoded(version)));
        assert_eq!(badge.status, status, "{version}");
        if status == 200 {
            assert_badge(&badge);
        }
        status == 200
    });
    assert!(known.count() > 0, "some of the versions have pages");
}
