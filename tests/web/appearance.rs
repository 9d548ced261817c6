//! Pages in Chromium, as people use them: accessibility (axe), HTML (html-validate), widths, keyboard, console, print,
//! and use without script.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::administration;
use super::links::crawl;
use crate::support::chromium::Chromium;
use crate::support::fixtures::until;
use crate::support::node;
use crate::support::python::package::{Package, add};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// The server of all tests here, with R and Python packages.
fn server() -> Server {
    let server = super::server();
    server.rspm_stdout("create source --name=python --type=local-python");
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=python");
    add(&server, "python", &Package::new("Odd.Lib", "1.0"));
    server
}

/// [`server`] with a download and two levels of required packages, so that its pages have all pictures.
fn server_with_pictures() -> Server {
    let server = server();
    server.add("team", &Tarball::new("gamma", "1.0").field("Imports: beta"));
    assert_eq!(server.get("/team/latest/src/contrib/alpha_1.1.tar.gz").status, 200);
    let downloads = "/team/latest/web/packages/alpha/downloads/";
    until("the download is counted", || server.get(downloads).text().contains("class=\"downloads\""));
    server
}

/// All pages that links lead to, one of each kind of address with a query, and an error.
fn pages(server: &Server) -> Vec<String> {
    let mut of_kind: BTreeMap<(String, Vec<String>), String> = BTreeMap::new();
    for page in crawl(server, "") {
        let (path, query) = page.split_once('?').unwrap_or((&page, ""));
        let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default().to_owned());
        let is_date =
            |part: &str| part.len() == 10 && part.starts_with("20") && part.matches('-').count() == 2;
        let is_snapshot = |part: &str| part == "latest" || is_date(part);
        let path: Vec<&str> =
            path.split('/').map(|part| if is_snapshot(part) { "SNAPSHOT" } else { part }).collect();
        let path = match path[..] {
            ["", "__docs__", name, ..] if !name.is_empty() => vec!["", "__docs__", "PAGE"],
            _ => path,
        };
        of_kind.entry((path.join("/"), names.collect())).or_insert(page.clone());
    }
    let missing = "/team/latest/web/packages/alhpa/".to_owned();
    of_kind.into_values().chain([missing]).collect()
}

/// The address of each page for a browser, with those of administrators.
fn addresses(server: &Server) -> Vec<String> {
    let token = administration::token(server);
    let of_all = pages(server).into_iter().map(|page| server.url(&page));
    let of_administrators =
        administration::PAGES.iter().map(|page| administration::url(server, &token, page));
    of_all.chain(of_administrators).collect()
}

/// The rules of axe that pages have to satisfy: WCAG 2.2 level AA and best practices.
const AXE: &str = "const done = arguments[arguments.length - 1];
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    // The scheme changes nothing but colors.
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    const rules = dark ? { type: 'rule', values: ['color-contrast', 'link-in-text-block'] } : tags;
    const text = (node) => `${node.html.slice(0, 300)}: ${node.failureSummary}`;
    axe.run({ runOnly: rules, resultTypes: ['violations'], selectors: false }).then(
        (result) => done(result.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${text(node)}`))),
        (error) => done([String(error)]));";

/// Asserts that pages satisfy the rules of axe in both schemes, on a phone and on a desktop.
fn assert_accessible(pages: impl IntoIterator<Item = String>) {
    let axe =
        std::fs::read_to_string(node::module("axe-core/axe.min.js")).expect("axe-core: run tests/setup");
    let chromium = Chromium::start();
    // The policy of the pages forbids the script of axe.
    chromium.devtools("Page.setBypassCSP", &json!({ "enabled": true }));
    let mut violations = Vec::new();
    for page in pages {
        chromium.open(&page);
        chromium.run("(0, eval)(arguments[0]);", &[&axe]);
        for (scheme, width) in [("light", 360), ("light", 1280), ("dark", 360), ("dark", 1280)] {
            chromium.emulate(scheme, "screen");
            chromium.resize(width, 900);
            let found = chromium.run_async(AXE);
            let found = found.as_array().expect("a list").iter();
            violations.extend(found.map(|text| format!("{page} {scheme} {width}: {text}")));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn no_page_violates_a_rule_of_axe_in_any_scheme_and_width() {
    let server = server_with_pictures();
    assert_accessible(addresses(&server));
}

#[test]
fn readmes_with_badges_figures_and_wide_code_satisfy_axe_and_html_validate() {
    // One pixel.
    const GIF: &[u8] =
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\
        \x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";
    let badge = |name: &str| format!("[![{name}](https://a.example/badge.svg)](https://a.example/)\n");
    let badges = ["CRAN_Status_Badge", "R-CMD-check", "x", "Codecov test coverage", "Lifecycle: stable", "y"];
    let badges: String = badges.map(badge).concat();
    let wide = "x".repeat(300);
    let readme = format!(
        "# alpha <a href=\"https://alpha.example/\"><img src=\"man/figures/dot.gif\" align=\"right\" \
         height=\"139\" alt=\"\" /></a>\n\n{badges}\n## Usage\n\n```r\nf({wide})\n```\n\n\
         [![](man/figures/dot.gif)](https://alpha.example/articles) and <a href=\"https://b.example\"><b></b></a>\n"
    );
    let mut alpha = Tarball::new("alpha", "1.0")
        .with("README.md", &readme)
        .with("NEWS.md", &format!("# alpha 1.0\n\n```r\n{wide}\n```\n"));
    alpha.files.push(("man/figures/dot.gif".to_owned(), GIF.to_vec()));
    // A table that is wider than the page, without a link.
    let row = format!("|{}\n", " xxxxxxxxxxxx |".repeat(20));
    let table = format!("{row}|{}\n{row}", "---|".repeat(20));
    let beta = Tarball::new("beta", "1.0").with("README.md", &table);
    // Headings that skip a level, and a table with an empty header.
    let readme = "## gamma\n\n#### Below\n\n# Above\n\n| | b |\n|---|---|\n| 1 | 2 |\n";
    let gamma = Tarball::new("gamma", "1.0").with("README.md", readme);
    let server = Server::start();
    server.local_repository("team", &[alpha, beta, gamma]);
    let pages =
        ["alpha/", "alpha/news/", "beta/", "gamma/"].map(|page| format!("/team/latest/web/packages/{page}"));
    let html = server.get(&pages[0]).text();
    assert_eq!((html.matches("<img ").count(), html.matches("height=\"139\"").count()), (2, 1), "{html}");
    assert_valid(pages.iter().map(|page| (page.clone(), server.get(page).text())).collect(), &json!({}));
    assert_accessible(pages.map(|page| server.url(&page)));
}

#[test]
fn no_page_has_an_error_of_html() {
    let server = server_with_pictures();
    let pages = pages(&server).into_iter().map(|page| {
        let html = server.get(&page).text();
        (page, html)
    });
    let token = administration::token(&server);
    let of_administrators = administration::PAGES
        .iter()
        .map(|page| ((*page).to_owned(), administration::get(&server, &token, page).text()));
    assert_valid(pages.chain(of_administrators).collect(), &json!({}));
}

/// Asserts that html-validate finds no error in pages, which are given with their addresses; `rules` are settings of rules
/// in addition to those of all pages.
pub(super) fn assert_valid(pages: Vec<(String, String)>, rules: &Value) {
    let folder = tempfile::tempdir().expect("a directory");
    // The pages rely on the default types of buttons and fields.
    let mut all = json!({ "no-implicit-button-type": "off", "no-implicit-input-type": "off" });
    for (rule, setting) in rules.as_object().expect("settings") {
        all[rule] = setting.clone();
    }
    let settings = json!({ "root": true, "extends": ["html-validate:recommended"], "rules": all });
    std::fs::write(folder.path().join(".htmlvalidate.json"), settings.to_string()).expect("a file");
    for (number, (_, html)) in pages.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number}.html")), html).expect("a file");
    }
    let output = node::command()
        .arg(node::module("html-validate/bin/html-validate.mjs"))
        .args(["--formatter", "text", "--max-warnings", "0", "."])
        .current_dir(folder.path())
        .output()
        .expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let addresses: Vec<&String> = pages.iter().map(|(address, _)| address).collect();
    assert!(output.status.success(), "{text}{}\n{addresses:#?}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pages_fit_narrow_windows_and_cause_no_message_of_the_browser() {
    let server = server_with_pictures();
    let chromium = Chromium::start();
    chromium.resize(320, 900);
    for page in addresses(&server) {
        chromium.open(&page);
        let wide = chromium.run(
            "const root = document.documentElement;
             if (root.scrollWidth <= root.clientWidth) return [];
             const far = (element) => element.getBoundingClientRect().right > root.clientWidth;
             const isInside = (element) => !element.closest('.scroll, pre');
             return [...document.querySelectorAll('*')].filter((element) => far(element) && isInside(element))
                 .map((element) => element.outerHTML.slice(0, 200));",
            &[],
        );
        assert_eq!(wide, json!([]), "{page} is wider than the window");
        let messages = chromium.messages();
        let is_missing = |message: &String| message.contains("404 (Not Found)") && page.contains("alhpa");
        assert!(messages.iter().all(is_missing), "{page}: {messages:?}");
    }
}

#[test]
fn controls_of_administrators_are_inside_the_window_and_commands_have_few_lines() {
    let server = server();
    let token = administration::token(&server);
    server.rspm_stdout("create token --description=reader --scope=repos:read --repos=team --quiet");
    server.rspm_stdout("create blocklist-rule --package-name=none --repo=team --description=unwanted");
    let chromium = Chromium::start();
    for page in administration::PAGES {
        chromium.open(&administration::url(&server, &token, page));
        for width in [360, 1280] {
            chromium.resize(width, 900);
            let wrong = chromium.run(
                "const isVisible = (element) => {
                     const frame = element.closest('.scroll') ?? document.documentElement;
                     const [inner, outer] = [element, frame].map((part) => part.getBoundingClientRect());
                     return inner.left >= outer.left - 1 && inner.right <= outer.right + 1;
                 };
                 const controls = [...document.querySelectorAll('main :is(button, input, select)')];
                 const cut = controls.filter((element) => element.type !== 'hidden' && !isVisible(element));
                 const commands = [...document.querySelectorAll('td .command code')];
                 const long = commands.filter((element) => element.getClientRects().length > 3);
                 return [...cut, ...long].map((element) => element.outerHTML.slice(0, 200));",
                &[],
            );
            assert_eq!(wrong, json!([]), "{page} at {width}");
        }
    }
    let forms = chromium.run("return document.querySelectorAll('td form').length;", &[]);
    assert_eq!(forms, json!(2), "the page of tokens has a form for each");
}

#[test]
fn rows_of_packages_are_low_in_a_narrow_window() {
    let server = server();
    let title = "Title: Helpers for Developing Command Line Interfaces and Their Documentation";
    server.add("team", &Tarball::new("helpers", "1.0.0").field(title));
    let chromium = Chromium::start();
    chromium.resize(360, 900);
    for page in ["/team/latest/web/packages/", "/?q=helpers"] {
        chromium.open(&server.url(page));
        let rows = chromium.run(
            "const rows = [...document.querySelectorAll('tbody tr')];
             const style = getComputedStyle(document.body);
             const lines = (row) => row.getBoundingClientRect().height / parseFloat(style.lineHeight);
             const high = rows.filter((row) => lines(row) > 3);
             const long = rows.filter((row) => row.textContent.includes('Command Line Interfaces'));
             return [long.length, high.map((row) => row.textContent)];",
            &[],
        );
        assert_eq!(rows, json!([1, []]), "{page}");
    }
}

#[test]
fn hints_in_empty_fields_have_the_contrast_of_text() {
    let server = server();
    let chromium = Chromium::start();
    for page in ["/", "/team/latest/web/packages/alpha/why/"] {
        chromium.open(&server.url(page));
        for scheme in ["light", "dark"] {
            chromium.emulate(scheme, "screen");
            // Contrast ratios as in WCAG 2.2.
            let ratios = chromium.run(
                "const luminance = (color) => {
                     const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
                     const [r, g, b] = color.match(/[0-9.]+/g).map((text) => linear(Number(text) / 255));
                     return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                 };
                 return [...document.querySelectorAll('input[placeholder]')].map((input) => {
                     const colors = [getComputedStyle(input, '::placeholder').color, getComputedStyle(input).backgroundColor];
                     const [low, high] = colors.map(luminance).sort((a, b) => a - b);
                     return (high + 0.05) / (low + 0.05);
                 });",
                &[],
            );
            let ratios = ratios.as_array().expect("a list");
            assert!(!ratios.is_empty(), "{page}");
            let is_enough = |ratio: &Value| ratio.as_f64().is_some_and(|ratio| ratio >= 4.5);
            assert!(ratios.iter().all(is_enough), "{page} {scheme}: {ratios:?}");
        }
    }
}

/// Presses a key as a person does.
fn press(chromium: &Chromium, key: &str) {
    let code = if key == "Tab" { 9 } else { 27 };
    for kind in ["keyDown", "keyUp"] {
        let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
        chromium.devtools("Input.dispatchKeyEvent", &event);
    }
}

#[test]
fn the_tab_key_reaches_every_link_and_field_and_shows_where_it_is() {
    let server = server();
    let chromium = Chromium::start();
    chromium.resize(1280, 900);
    let token = administration::token(&server);
    let pages = [
        "/",
        "/team/latest/",
        "/team/latest/web/packages/",
        "/team/latest/web/packages/alpha/",
        "/team/latest/web/packages/alpha/why/",
        "/team/latest/web/lockfile/",
        "/team/latest/web/changes/",
    ];
    let of_administrators =
        administration::PAGES.iter().map(|page| administration::url(&server, &token, page));
    for page in pages.iter().map(|page| server.url(page)).chain(of_administrators) {
        chromium.open(&page);
        let expected = chromium.run(
            "const links = 'a[href]:not(svg [tabindex=\"-1\"])';
             const all = [...document.querySelectorAll(`${links}, button, input, select, textarea, summary`)];
             window.reachable = all.filter((element) => element.checkVisibility() && element.type !== 'hidden');
             return window.reachable.length;",
            &[],
        );
        let expected = expected.as_u64().expect("a number");
        assert!(expected > 5, "{page}: {expected}");
        let mut reached = 0;
        for _ in 0..expected + 20 {
            press(&chromium, "Tab");
            let state = chromium.run(
                "const element = document.activeElement;
                 const style = getComputedStyle(element);
                 const index = window.reachable.indexOf(element);
                 const isNew = index >= 0 && !element.wasReached;
                 element.wasReached = true;
                 const isMarked = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
                 return [isNew, isMarked || element === document.body, element.outerHTML.slice(0, 200)];",
                &[],
            );
            assert_eq!(state[1], Value::Bool(true), "{page}: the focus cannot be seen on {}", state[2]);
            reached += u64::from(state[0] == Value::Bool(true));
        }
        let missed = chromium.run(
            "return window.reachable.filter((element) => !element.wasReached).map((element) => element.outerHTML);",
            &[],
        );
        assert_eq!(reached, expected, "{page}: {missed}");
    }
}

#[test]
fn people_find_a_package_and_compare_snapshots_without_script() {
    let server = server();
    let chromium = Chromium::start();
    chromium.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    chromium.open(&server.url("/"));
    chromium.fill("input[type=search]", "alpha");
    chromium.click("form[role=search] button");
    chromium.wait_for_text("Search results");
    chromium.click("main a[href*='web/packages/alpha']");
    chromium.wait_for_text("alpha 1.1");
    chromium.click("a[href$='versions/']");
    chromium.wait_for_text("archived");
    let newest = server.json("info --source=team")["last_transaction"]["id"].as_i64().expect("a transaction");
    chromium.open(&server.url("/team/latest/"));
    chromium.click("a[href*='web/changes/']");
    chromium.fill("input[name=since]", &(newest - 1).to_string());
    chromium.click("main form button");
    chromium.wait_for_text("All as CSV");
    chromium.wait_for_text("beta");
}

#[test]
fn people_choose_a_platform_and_read_a_readme_without_script() {
    let server = server();
    let chromium = Chromium::start();
    chromium.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    chromium.open(&server.url("/team/latest/"));
    chromium.click("main select[name=platform] option[value=noble]");
    chromium.click("main form button");
    chromium.wait_for_text("/team/__linux__/noble/latest");
    let selection = chromium.run(
        "getSelection().selectAllChildren(document.querySelector('.snippet pre'));
         return getSelection().toString();",
        &[],
    );
    let address = server.url("/team/__linux__/noble/latest");
    assert_eq!(selection, json!(address), "the text can be selected");
    let today = crate::support::today::stable_today();
    let today = today.to_string();
    // As people type a date in the order of the language.
    let parts: Vec<&str> = today.split('-').collect();
    chromium.fill("main input[name=day]", &format!("{}{}{}", parts[1], parts[2], parts[0]));
    let value = chromium.run("return document.querySelector('main input[name=day]').value;", &[]);
    assert_eq!(value, json!(today));
    chromium.click("main form button");
    chromium.wait_for_text(&format!("/team/__linux__/noble/{today}"));
    chromium.open(&server.url("/team/latest/web/packages/alpha/"));
    chromium.wait_for_text("Alpha");
}

#[test]
fn a_printed_page_has_its_heading_and_no_navigation() {
    let server = server();
    let chromium = Chromium::start();
    chromium.resize(360, 900);
    chromium.open(&server.url("/team/latest/?platform=linux"));
    let cut = "return [...document.querySelectorAll('pre')].filter((pre) => pre.scrollWidth > pre.clientWidth).length;";
    assert!(chromium.run(cut, &[]).as_u64().is_some_and(|count| count > 0), "long lines");
    chromium.emulate("light", "print");
    assert_eq!(chromium.run(cut, &[]), json!(0), "paper cannot be scrolled");
    chromium.open(&server.url("/team/latest/web/changes/"));
    chromium.emulate("light", "print");
    let visible = chromium.run(
        "return ['h1', '.printed', '.top', '.path', 'main form'].map((selector) => {
             const element = document.querySelector(selector);
             return element !== null && element.checkVisibility();
         });",
        &[],
    );
    assert_eq!(visible, json!([true, true, false, false, false]));
    let origin = chromium.run("return document.querySelector('.printed').textContent;", &[]);
    let origin = origin.as_str().expect("a text");
    let server_url = server.url("");
    for part in [server_url.trim_end_matches('/'), "repository team", "latest", "published 20"] {
        assert!(origin.contains(part), "{part}: {origin}");
    }
    let numbers = chromium.run(
        "const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
         return rules.filter((rule) => rule instanceof CSSPageRule).map((rule) => rule.cssText).join();",
        &[],
    );
    assert!(numbers.as_str().is_some_and(|rule| rule.contains("counter(pages)")), "{numbers}");
}

/// The text of a page as the browser prints it, one string for each sheet of paper.
fn print(chromium: &Chromium, folder: &Path) -> Vec<String> {
    let printed = chromium.devtools("Page.printToPDF", &json!({}));
    let pdf = BASE64_STANDARD.decode(printed["data"].as_str().expect("a document")).expect("base64");
    let file = folder.join("page.pdf");
    std::fs::write(&file, pdf).expect("written");
    let output = Command::new("pdftotext").arg("-layout").arg(&file).arg("-").output();
    let output = output.expect("pdftotext: run tests/setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.split_terminator('\u{c}').map(str::to_owned).collect()
}

fn on_one_line(sheets: &[String]) -> String {
    sheets.iter().flat_map(|sheet| sheet.split_whitespace()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_paper_has_what_identifies_a_difference_and_no_navigation() {
    let server = server();
    let newest = server.json("info --source=team")["last_transaction"]["id"].as_i64().expect("a transaction");
    let project = Package::new("Linked", "1.0")
        .field("Description-Content-Type: text/markdown\n\n[a manual](https://example.org/manual)");
    add(&server, "python", &project);
    let chromium = Chromium::start();
    let (since, to) = (newest - 1, newest);
    chromium.open(&server.url(&format!("/team/{to}/web/changes/?since={since}")));
    let sheets = print(&chromium, server.dir());
    let text = on_one_line(&sheets);
    for part in [
        format!("Changes of team from {since} to {to}"),
        format!(
            "at {}, repository team, {since} to {to}; published 20",
            server.url("").trim_end_matches('/')
        ),
        "beta".to_owned(),
        "2.0".to_owned(),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    for (number, sheet) in sheets.iter().enumerate() {
        let position = format!("{}/{}", number + 1, sheets.len());
        let last = sheet.split_whitespace().collect::<String>();
        assert!(last.ends_with(&position), "{position}: {sheet}");
    }
    let navigation = [
        "Repositories",
        "Lock file",
        "Vulnerabilities",
        "Search",
        "Compare",
        "Manual",
        "Skip to",
        "CSV",
        "1 added",
        "1 updated",
    ];
    for part in navigation {
        assert!(!text.contains(part), "{part}: {text}");
    }
    // The number of packages is that of the selected kind, here of all.
    assert!(text.contains("1 package"), "{text}");
    // A day is on one line, whatever the width.
    chromium.emulate("light", "print");
    let lines = chromium.run(
        "document.body.style.width = '1px';
         return [...document.querySelectorAll('.whole')].map((time) => time.getClientRects().length);",
        &[],
    );
    assert_eq!(lines, json!([1, 1, 1, 1, 1]), "both snapshots twice, and the time of publication");
    // Ends the emulation, which would determine the style of printed pages too.
    chromium.emulate("light", "");
    chromium.open(&server.url("/team/latest/web/vulnerabilities/"));
    let text = on_one_line(&print(&chromium, server.dir()));
    assert!(text.contains("Known vulnerabilities") && text.contains("repository team, latest"), "{text}");
    // The address of a link of a text, which is not visible on paper otherwise.
    chromium.open(&server.url("/py/latest/web/packages/linked/"));
    let text = on_one_line(&print(&chromium, server.dir()));
    assert!(text.contains("a manual (https://example.org/manual)"), "{text}");
}
