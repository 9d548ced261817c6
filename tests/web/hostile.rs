//! Hostile texts in packages and queries: every page stays well-formed, and no element executes anything.

use super::document;
use crate::support::chromium::Chromium;
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
    for page in ["news/", "license/", "files/", "files/README.md", "history/", "why/", "dependencies/"] {
        paths
            .extend((0..40).step_by(5).map(|package| format!("/team/latest/web/packages/p{package}/{page}")));
    }
    paths.push("/team/latest/web/packages/".to_owned());
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
        assert!(
            !tags.iter().any(|tag| ["svg", "iframe", "img", "object"].contains(&tag.name.as_str())),
            "{path}"
        );
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
            "return document.querySelectorAll(\"img, svg, iframe, object, embed, base, style, [style], form[action*='//']\")
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
