//! What the script of the pages adds: links of Posit Package Manager, suggestions, copied text, the key of the search
//! field.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::json;

use crate::support::chromium::Chromium;
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::listener::Listener;
use crate::support::tarball::Tarball;
use crate::support::today::stable_today;

#[test]
fn links_of_posit_package_manager_open_their_pages() {
    let server = super::server();
    let today = stable_today().to_string();
    let chromium = Chromium::start();
    let setup = format!(
        "/client/#/repos/team/setup?distribution=ubuntu-24.04&r_environment=workbench&snapshot={today}"
    );
    let of_day = format!("/team/{today}/?platform=ubuntu-24.04");
    for (link, page) in [
        ("/client/#/repos/team/overview", "/team/latest/"),
        ("/client/#/repos/1/overview", "/team/latest/"),
        ("/client/#/repos/team", "/team/latest/"),
        ("/client/#/repos/team/packages", "/team/latest/web/packages/"),
        ("/client/#/repos/team/packages/overview", "/team/latest/web/packages/"),
        ("/client/#/repos/team/packages/overview?search=al%20p", "/team/latest/web/packages/?q=al%20p"),
        ("/#/repos/team/packages?search=alpha", "/team/latest/web/packages/?q=alpha"),
        ("/client/#/repos/1/packages/alpha", "/team/latest/web/packages/alpha/"),
        ("/client/#/repos/team/packages/alpha/overview", "/team/latest/web/packages/alpha/"),
        ("/client/#/repos/team/activity", "/team/latest/web/changes/"),
        ("/client/#/repos/team/setup", "/team/latest/"),
        (setup.as_str(), of_day.as_str()),
        // Not a page of another host, and nothing that is executed.
        ("/#/repos///evil.example/overview", "/evil.example/latest/"),
        ("/#/repos/%2F%2Fevil.example/packages", "/%2F%2Fevil.example/latest/web/packages/"),
        ("/#/repos/javascript:alert(1)/overview", "/javascript%3Aalert(1)/latest/"),
    ] {
        chromium.open("about:blank");
        chromium.open(&server.url(link));
        let expected = server.url(page);
        until(link, || chromium.url() == expected);
    }
    for link in ["/client/#/repos/99/overview", "/#/repos/99/packages/alpha"] {
        chromium.open("about:blank");
        chromium.open(&server.url(link));
        chromium.wait_for_text("The link names a repository that is not listed here");
        assert_eq!(chromium.url(), server.url(link));
    }
    for link in ["/client/#/", "/#/repos", "/#other"] {
        chromium.open("about:blank");
        chromium.open(&server.url(link));
        chromium.wait_for_text("Packages");
        assert_eq!(chromium.url(), server.url(link));
    }
}

/// The rows of the table of addresses in `docs/compatibility.md`: an address of Posit Package Manager, and the first
/// address in the text beside it, `None` for the list of repositories.
fn documented_links() -> Vec<(String, Option<String>)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    let text = std::fs::read_to_string(file).expect("the documentation");
    let table = text.split_once("| address of the original |").expect("a table").1;
    let mut links = Vec::new();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let (original, target) = line.trim_start_matches('|').split_once('|').expect("two cells");
        let addresses =
            |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let target = addresses(target).into_iter().next();
        let mut previous = String::new();
        for address in addresses(original) {
            // `…/packages/x` continues the address before it.
            previous = match address.strip_prefix('…') {
                Some(rest) => {
                    let folder = format!("/{}", rest.split('/').nth(1).expect("a folder"));
                    let start =
                        previous.find(&folder).unwrap_or_else(|| panic!("{previous} has no {folder}"));
                    format!("{}{rest}", &previous[..start])
                }
                None => address,
            };
            links.push((previous.clone(), target.clone()));
        }
    }
    links
}

#[test]
fn every_documented_address_of_the_original_leads_to_the_address_in_the_table() {
    let server = super::server();
    let today = stable_today().to_string();
    let chromium = Chromium::start();
    let links = documented_links();
    assert!(links.len() > 8 && links.iter().any(|(_, target)| target.is_none()), "{links:?}");
    for (link, target) in links {
        // The history of this server begins today.
        let fill = |text: &str| {
            text.replace("{repo}", "team").replace("{name}", "alpha").replace("2026-11-20", &today)
        };
        let (link, target) = (fill(&link), target.as_deref().map(fill));
        // An address of Posit Package Manager without a search leads to an address without a query.
        let target = target.map(|target| match link.contains("search=") {
            false => target.split_once("?q=").map_or(target.clone(), |(path, _)| path.to_owned()),
            true => target,
        });
        chromium.open("about:blank");
        chromium.open(&server.url(&link));
        let expected = server.url(target.as_deref().unwrap_or(&link));
        until(&link, || chromium.url() == expected);
        // The part behind # is not sent; the server has a page at each address.
        let path = expected.strip_prefix(&server.url("")).expect("this server").split('#').next();
        server.get(path.expect("a path")).assert_page(&link);
        if target.is_none() {
            chromium.wait_for_text("Packages");
        }
    }
}

#[test]
fn suggestions_are_names_in_the_snapshot_of_the_page() {
    let server = super::server();
    let first = server.get("/__api__/sources/team/transactions?_limit=1").json()[0]["id"].to_string();
    server.add("team", &Tarball::new("alphabet", "1.0"));
    let chromium = Chromium::start();
    chromium.resize(1280, 900);
    let suggested = |snapshot: &str, expected: &serde_json::Value| {
        chromium.open(&server.url(&format!("/team/{snapshot}/")));
        chromium.fill("header input[name=q]", "alpha");
        until(snapshot, || {
            let script =
                "return [...document.querySelectorAll('#suggestions option')].map((option) => option.value);";
            chromium.run(script, &[]) == *expected
        });
    };
    suggested("latest", &json!(["alpha", "alphabet"]));
    suggested(&first, &json!(["alpha"]));
    suggested(&stable_today().to_string(), &json!(["alpha", "alphabet"]));
    let requested = chromium.run(
        "return performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => name.includes('name_search'));",
        &[],
    );
    let expected = format!("snapshot={}", stable_today());
    assert!(requested[0].as_str().is_some_and(|address| address.contains(&expected)), "{requested}");
}

#[test]
fn names_are_suggested_while_they_are_typed_and_text_is_copied() {
    let server = super::server();
    let chromium = Chromium::start();
    chromium.resize(1280, 900);
    let permissions = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    chromium.devtools("Browser.grantPermissions", &permissions);
    chromium.open(&server.url("/team/latest/"));
    let key =
        json!({ "type": "keyDown", "key": "k", "code": "KeyK", "modifiers": 2, "windowsVirtualKeyCode": 75 });
    chromium.devtools("Input.dispatchKeyEvent", &key);
    assert_eq!(chromium.run("return document.activeElement.name;", &[]), json!("q"));
    let suggestions = || {
        let script =
            "return [...document.querySelectorAll('#suggestions option')].map((option) => option.value);";
        chromium.run(script, &[])
    };
    chromium.fill("header input[name=q]", "alp");
    until("a suggestion", || suggestions() == json!(["alpha"]));
    // As in Posit Package Manager, the fragment is the text of the search field.
    assert_eq!(chromium.run("return location.hash;", &[]), json!("#search=alp"));
    chromium.devtools(
        "Input.dispatchKeyEvent",
        &json!({ "type": "keyDown", "key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27 }),
    );
    let focused = chromium.run("return document.activeElement.name;", &[]);
    assert_eq!(focused, json!("q"), "Escape closes the suggestions, and the field keeps the focus");
    chromium.fill("header input[name=q]", "nothing");
    until("no suggestion", || suggestions() == json!([]));
    let snippets = chromium.run(
        "return [document.querySelectorAll('.snippet').length, document.querySelectorAll('.snippet button').length];",
        &[],
    );
    assert_eq!(snippets[0], snippets[1], "each text has a button");
    let linked = chromium.url().split('#').next().expect("an address").to_owned();
    chromium.open("about:blank");
    chromium.open(&format!("{linked}#search=al%20p%2B"));
    until("the text of the link", || {
        chromium.run("return document.querySelector('header input[name=q]').value;", &[]) == json!("al p+")
    });
    chromium.click(".snippet button");
    chromium.wait_for_text("Copied");
    let messages = chromium.messages();
    assert!(messages.is_empty(), "{messages:?}");
}

/// A page as an earlier version of the server sent it: style sheet and script have other digests.
fn earlier(page: &Answer) -> (String, String) {
    let policy = page.header("content-security-policy").expect("a policy");
    let digest = policy.split('\'').nth(3).expect("a digest").to_owned();
    let old_digest = format!("sha256-{}=", "A".repeat(43));
    let mut html = page.text().replace(&digest, &old_digest);
    for extension in [".css", ".js", ".svg"] {
        let is_asset =
            |at: &usize| html[*at..].split('"').next().is_some_and(|file| file.ends_with(extension));
        let at = html.match_indices("assets/").map(|(at, _)| at).find(is_asset).expect(extension);
        let start = at + html[at..].find('.').expect("a digest") + 1;
        let end = start + html[start..].find('.').expect("an extension");
        html.replace_range(start..end, &"0".repeat(end - start));
    }
    assert_ne!(html, page.text());
    (html, policy.replace(&digest, &old_digest))
}

/// Answers one request: for `/team/latest/` the page of an earlier version, otherwise as the server.
fn answer_as_upgraded(stream: &TcpStream, base: &str, page: &(String, String)) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let line = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    let (html, policy) = page;
    let (status, headers, body) = if path == "/team/latest/" {
        let headers =
            format!("Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: {policy}\r\n");
        (200, headers, html.clone().into_bytes())
    } else {
        let answer = http::get(&format!("{base}{path}"));
        let names = ["content-type", "content-security-policy", "x-content-type-options", "cache-control"];
        let headers = names.iter().filter_map(|name| Some(format!("{name}: {}\r\n", answer.header(name)?)));
        (answer.status, headers.collect::<String>(), answer.body)
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} x\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

#[test]
fn a_page_of_an_earlier_version_has_its_style_and_works_without_the_script() {
    let server = super::server();
    let page = earlier(&server.get("/team/latest/"));
    let base = server.url("");
    let proxy = Listener::open(move |stream| answer_as_upgraded(stream, &base, &page));
    let chromium = Chromium::start();
    chromium.resize(1280, 900);
    let address = format!("http://{}/team/latest/", proxy.address);
    chromium.open(&address);
    let state = |chromium: &Chromium| {
        let script = "const style = getComputedStyle(document.querySelector('header.top'));
            return [document.styleSheets.length, document.styleSheets[0].cssRules.length > 20, style.backgroundColor,
                document.querySelectorAll('.snippet button').length];";
        chromium.run(script, &[])
    };
    let old = state(&chromium);
    // The browser refuses the script, whose digest is another one, and says so; nothing else is missing.
    let messages = chromium.messages();
    assert!(
        !messages.is_empty() && messages.iter().all(|message| message.contains("ui.0000")),
        "{messages:?}"
    );
    chromium.fill("header input[name=q]", "alp");
    chromium.click("header form button");
    chromium.wait_for_text("for “alp”");
    assert!(chromium.text().contains("alpha"), "{}", chromium.text());
    assert_eq!(chromium.messages(), [] as [&str; 0], "the next page is a current one");
    chromium.open(&server.url("/team/latest/"));
    let current = state(&chromium);
    assert_eq!((&old[0], &old[1], &old[2]), (&current[0], &current[1], &current[2]));
    assert_eq!((old[1].clone(), old[3].clone()), (json!(true), json!(0)));
    assert!(current[3].as_i64().is_some_and(|buttons| buttons > 0), "{current}");
}
