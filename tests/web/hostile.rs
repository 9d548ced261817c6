//! Texts that attack: no page breaks, and none gets an element that executes.

use super::document;
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

/// The combination of a number: two parts with a separator.
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
            let mut tarball = Tarball::new(&format!("p{package}"), "1.0").with("README.md", &readme);
            let fields = ["Maintainer", "URL", "BugReports", "SystemRequirements", "Language", "Author"];
            for (field, texts) in fields.iter().zip(texts.chunks(4)) {
                tarball = tarball.field(&format!("{field}: {}", texts.join(" ")));
            }
            tarball
        })
        .collect();
    server.local_repository("team", &packages);
    let mut paths: Vec<String> =
        (0..40).map(|package| format!("/team/latest/web/packages/p{package}/")).collect();
    paths.push("/team/latest/web/packages/".to_owned());
    for number in (0..1000).step_by(20) {
        let query: String = text(number).bytes().map(|byte| format!("%{byte:02X}")).collect();
        paths.push(format!("/team/latest/web/packages/?q={query}&sort={query}"));
        paths.push(format!("/team/latest/web/changes/?since={query}"));
        paths.push(format!("/?q={query}"));
    }
    for path in &paths {
        let answer = server.get(path);
        assert!([200, 400].contains(&answer.status), "{path}: {}", answer.status);
        let tags = document::page(&answer, path);
        assert_eq!(tags.iter().filter(|tag| tag.name == "script").count(), 1, "{path}");
        assert!(
            !tags.iter().any(|tag| ["svg", "iframe", "img", "object"].contains(&tag.name.as_str())),
            "{path}"
        );
        for link in tags.iter().filter_map(|tag| tag.get("href")) {
            assert!(!link.trim_start().to_ascii_lowercase().starts_with("javascript:"), "{path}: {link}");
        }
    }
}
