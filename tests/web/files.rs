//! Pages of the files of a package, of its license and news, of its downloads, and its history with a feed.

use super::document;
use crate::support::chromium::Chromium;
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::python::package::{Package, add, repository, write};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn page(server: &Server, path: &str) -> String {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    document::page(&answer, path);
    answer.text()
}

fn server() -> Server {
    let server = Server::start();
    let large = "0123456789abcde\n".repeat(20_000);
    server.local_repository(
        "team",
        &[
            Tarball::new("alpha", "1.0").with("NEWS", "older news\n"),
            Tarball::new("alpha", "1.1")
                .field("License: MIT + file LICENSE")
                .with("NEWS.md", "# alpha 1.1\n\n* <script>alert(1)</script>\n* **bold**\n")
                .with("README.md", "[Terms](LICENSE.md)\n")
                .with("LICENSE", "YEAR: 2026\nCOPYRIGHT HOLDER: <b>us</b>\n")
                .with("R/a b.R", "f <- function(x) x < 1\n\u{202e}")
                .with("inst/index.html", "<script>alert(2)</script>")
                .with("inst/large.txt", &large)
                .with("inst/data.rds", "\0\u{1}binary"),
            Tarball::new("bare", "1.0"),
        ],
    );
    server
}

const ALPHA: &str = "/team/latest/web/packages/alpha/";

#[test]
fn a_list_of_many_files_has_several_pages() {
    let server = Server::start();
    let mut many = Tarball::new("many", "1.0");
    for number in 0..160 {
        many = many.with(&format!("inst/file{number:03}.txt"), "text");
    }
    server.local_repository("team", &[many]);
    let address = "/team/latest/web/packages/many/files/";
    let (first, second) = (page(&server, address), page(&server, &format!("{address}?version=1.0&page=2")));
    let listed =
        |page: &str, number: usize| page.contains(&format!("inst/file{number:03}.txt?version=1.0\""));
    for number in 0..160 {
        assert_ne!(listed(&first, number), listed(&second, number), "file {number} is on one page");
    }
    assert!(first.contains("/many/files/?version=1.0&amp;page=2\" rel=\"next\""), "{first}");
    assert_eq!(server.get(&format!("{address}?page=x")).status, 400);
}

#[test]
fn files_of_a_package_are_listed_and_shown_as_text() {
    let server = server();
    let package = page(&server, ALPHA);
    assert!(package.contains("alpha/files/"), "{package}");
    let terms = package
        .split("href=\"")
        .find_map(|part| part.split_once("\" rel").filter(|(_, r)| r.contains(">Terms<")));
    let (address, _) = terms.expect("a link to the license");
    let address = address.trim_start_matches("../");
    assert!(page(&server, &format!("/{address}")).contains("COPYRIGHT HOLDER"), "{address}");
    let list = page(&server, &format!("{ALPHA}files/"));
    for part in [
        "files/R/a%20b.R?version=1.1",
        "files/inst/index.html?version=1.1",
        "news/?version=1.1",
        "DESCRIPTION",
    ] {
        assert!(list.contains(part), "{part}: {list}");
    }
    let code = page(&server, &format!("{ALPHA}files/R/a%20b.R"));
    assert!(code.contains("function(x) x &lt; 1") && code.contains("⟨U+202E⟩"), "{code}");
    let answer = server.get(&format!("{ALPHA}files/inst/index.html"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(
        answer.text().contains("&lt;script&gt;alert(2)") && !answer.text().contains("<script>"),
        "{}",
        answer.text()
    );
    let large = page(&server, &format!("{ALPHA}files/inst/large.txt"));
    assert!(large.contains("Only the beginning is shown") && large.len() < 300_000, "{}", large.len());
    assert!(page(&server, &format!("{ALPHA}files/inst/data.rds")).contains("This file is not text."));
    for path in ["files/R/missing.R", "files/R", "files/R/", "files/..%2fx"] {
        let status = server.get(&format!("{ALPHA}{path}")).status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
    assert_eq!(server.get("/team/latest/web/packages/nothing/files/").status, 404);
}

#[test]
fn figures_of_the_archive_are_images_of_the_readme() {
    // One pixel.
    const GIF: &[u8] =
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\
        \x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";
    let readme = "![dot](man/figures/dot.gif) ![fake](man/figures/fake.png) ![none](man/figures/none.png)\n\
                  ![vector](man/figures/v.svg) ![large](man/figures/large.gif)\n";
    let mut alpha = Tarball::new("alpha", "1.0")
        .with("README.md", readme)
        .with("man/figures/fake.png", "<script>alert(1)</script>")
        .with("man/figures/v.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
    alpha.files.push(("man/figures/dot.gif".to_owned(), GIF.to_vec()));
    let large = [GIF, &vec![0; 2 << 20]].concat();
    alpha.files.push(("man/figures/large.gif".to_owned(), large));
    let server = Server::start();
    server.local_repository("team", &[alpha]);
    let html = page(&server, ALPHA);
    let figure = "files/man/figures/dot.gif?version=1.0";
    let image = format!("<img src=\"../../../../../team/latest/web/packages/alpha/{figure}\" alt=\"dot\">");
    assert!(html.contains(&image) && html.matches("<img").count() == 1, "{html}");
    for text in ["fake", "none", "vector", "large"] {
        assert!(html.contains(text), "{text}: {html}");
    }
    let answer = server.get(&format!("{ALPHA}{figure}"));
    assert_eq!((answer.status, answer.body.as_slice()), (200, GIF));
    for (name, value) in [
        ("content-type", "image/gif"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let etag = answer.header("etag").expect("an ETag");
    let again =
        http::request("GET", &server.url(&format!("{ALPHA}{figure}")), &[("If-None-Match", etag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    // Files that are no images are pages, whatever their names are.
    let fake = page(&server, &format!("{ALPHA}files/man/figures/fake.png"));
    assert!(fake.contains("&lt;script&gt;") && !fake.contains("<script>"), "{fake}");
    for other in ["v.svg", "large.gif"] {
        page(&server, &format!("{ALPHA}files/man/figures/{other}"));
    }
    assert_eq!(server.get(&format!("{ALPHA}files/man/figures/none.png")).status, 404);
    let chromium = Chromium::start();
    chromium.open(&server.url(ALPHA));
    until("the image is loaded", || {
        let width = "return document.querySelector('.readme img').naturalWidth;";
        chromium.run(width, &[]) == serde_json::json!(1)
    });
    assert_eq!(chromium.messages(), Vec::<String>::new());
    server.rspm_stdout("create blocklist-rule --package-name=alpha --description=broken");
    assert_eq!(server.get(&format!("{ALPHA}{figure}")).status, 403);
    assert!(!server.get(ALPHA).text().contains("<img"));
}

#[test]
fn a_browser_may_request_all_figures_of_a_readme_at_once() {
    const FIGURES: usize = 80;
    let images = (0..FIGURES).map(|number| format!("![](man/figures/{number}.gif)\n"));
    // Reading the archive takes longer than it takes until all requests have arrived.
    let mut alpha = Tarball::new("alpha", "1.0")
        .with("README.md", &images.collect::<String>())
        .with("data/zeros.txt", &"0".repeat(8 << 20));
    alpha
        .files
        .extend((0..FIGURES).map(|number| (format!("man/figures/{number}.gif"), b"GIF89a figure".to_vec())));
    let server = Server::start();
    server.local_repository("team", &[alpha]);
    let html = page(&server, ALPHA);
    assert_eq!(html.matches("<img ").count(), FIGURES, "{html}");
    let status = |number: usize| {
        let address = server.url(&format!("{ALPHA}files/man/figures/{number}.gif?version=1.0"));
        http::request("GET", &address, &[], b"").status
    };
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let requests: Vec<_> = (0..FIGURES).map(|number| scope.spawn(move || status(number))).collect();
        requests.into_iter().map(|request| request.join().expect("no panic")).collect()
    });
    assert_eq!(statuses, [200; FIGURES]);
}

#[test]
fn the_page_of_a_long_news_file_states_that_it_is_the_beginning() {
    let line = format!("{}\n", "0123456789 ".repeat(9));
    let news = |name: &str, lines: usize| {
        Tarball::new(name, "1.0").with("NEWS.md", &format!("# All news\n\n{}", line.repeat(lines)))
    };
    let server = Server::start();
    // At most 256 KiB, and more.
    server.local_repository("team", &[news("short", 2_500), news("long", 3_000)]);
    let short = page(&server, "/team/latest/web/packages/short/news/");
    assert!(short.contains(">All news</h3>") && !short.contains("Only the beginning"), "{}", short.len());
    let long = page(&server, "/team/latest/web/packages/long/news/");
    assert!(long.contains("># All news\n") && long.contains("Only the beginning is shown"), "{}", long.len());
    assert!((200_000..300_000).contains(&long.len()), "{}", long.len());
}

#[test]
fn news_and_license_are_those_of_the_version() {
    let server = server();
    let news = page(&server, &format!("{ALPHA}news/"));
    assert!(news.contains("<strong>bold</strong>") && !news.contains("<script>alert"), "{news}");
    assert!(page(&server, &format!("{ALPHA}news/?version=1.0")).contains("older news"));
    let license = page(&server, &format!("{ALPHA}license/"));
    assert!(license.contains("COPYRIGHT HOLDER: &lt;b&gt;us&lt;/b&gt;"), "{license}");
    for path in ["news/", "license/"] {
        let answer = server.get(&format!("/team/latest/web/packages/bare/{path}"));
        assert!(answer.status == 404 && answer.text().contains("has no file"), "{path}: {}", answer.text());
    }
    let python = Server::start();
    repository(&python);
    add(&python, "team", &Package::new("Odd.Lib", "1.0"));
    page(&python, "/py/latest/web/packages/odd-lib/files/");
    let downloads = page(&python, "/py/latest/web/packages/odd-lib/downloads/");
    assert!(downloads.contains("Downloads of odd-lib"), "{downloads}");
}

#[test]
fn downloads_are_bars_with_their_numbers_in_a_table() {
    let server = server();
    for _ in 0..3 {
        assert_eq!(server.get("/team/latest/src/contrib/alpha_1.1.tar.gz").status, 200);
    }
    let path = format!("{ALPHA}downloads/");
    until("the downloads are written", || {
        server.get(&path).text().contains("<strong>3</strong> in 13 weeks, 3 since")
    });
    let text = page(&server, &path);
    assert_eq!(text.matches("v-120h4v120z").count(), 1, "a bar for today: {text}");
    assert_eq!(text.matches("<tr>").count(), 14, "a row for each week: {text}");
    assert!(text.contains("<td class=\"number\">3</td>") && text.contains("role=\"img\""), "{text}");
    let none = page(&server, "/team/latest/web/packages/bare/downloads/");
    assert!(none.contains("<strong>0</strong> in 13 weeks"), "{none}");
    let off = Builder::default().gcfg("[Server]\nUsageDataEnabled = false").start();
    off.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    assert_eq!(off.get(&path).status, 404);
    assert!(!page(&off, ALPHA).contains("downloads/"));
}

#[test]
fn the_files_of_wheels_and_source_distributions_are_shown() {
    let server = Server::start();
    repository(&server);
    let package = Package::new("Odd.Lib", "1.0").code("f = lambda x: x < 1  # <script>\n");
    add(&server, "team", &package);
    let path = write(&server, &package.sdist_name(), &package.sdist());
    server.rspm_stdout(&format!("add --source=team --path={}", path.display()));
    let project = "/py/latest/web/packages/odd-lib/";
    assert!(page(&server, project).contains("/odd-lib/files/\""), "the newest version");
    let wheel = format!("{project}files/?distribution={}", package.wheel_name());
    let text = page(&server, &wheel);
    for part in ["odd_lib/__init__.py", "odd_lib-1.0.dist-info/METADATA", "4 files", &package.sdist_name()] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let module =
        format!("{project}files/odd_lib/__init__.py?version=1.0&distribution={}", package.wheel_name());
    assert!(
        text.contains(&module.replace('&', "&amp;").replace("/py/latest/web/packages/odd-lib/", "")),
        "{text}"
    );
    let text = page(&server, &module);
    assert!(text.contains("f = lambda x: x &lt; 1  # &lt;script&gt;"), "{text}");
    // The folder of a source distribution is not a part of the paths.
    let text = page(&server, &format!("{project}files/?distribution={}", package.sdist_name()));
    assert!(text.contains("2 files") && text.contains(">PKG-INFO<"), "{text}");
    let text = page(&server, &format!("{project}files/module.py?distribution={}", package.sdist_name()));
    assert!(text.contains("lambda"), "{text}");
    for missing in ["files/nothing.py", "files/?distribution=other-1.0.tar.gz", "files/?version=2.0", "news/"]
    {
        assert_eq!(server.get(&format!("{project}{missing}")).status, 404, "{missing}");
    }
}

/// The versions and sources in the rows of the page, the newest first.
fn history(server: &Server, package: &str) -> Vec<(String, String)> {
    let text = page(server, &format!("/prod/latest/web/packages/{package}/history/"));
    let rows = text.split("<tbody>").nth(1).expect("a table").split("<tr>").skip(1);
    let cell = |row: &str, at: usize| {
        let cell = row.split("<td").nth(at).expect("a cell").split_once('>').expect("its start").1;
        cell.split('<').next().expect("a text").to_owned()
    };
    rows.map(|row| (cell(row, 1), cell(row, 2))).collect()
}

#[test]
fn the_history_and_the_days_of_a_lock_file_have_the_subscriptions_of_their_time() {
    let server = Server::start();
    server.rspm_stdout("create repo --name=prod");
    for source in ["one", "two"] {
        server.rspm_stdout(&format!("create source --name={source}"));
    }
    server.rspm_stdout("subscribe --repo=prod --source=one");
    server.add("one", &Tarball::new("alpha", "1.0"));
    server.add("two", &Tarball::new("alpha", "9.0"));
    let pair = |version: &str, source: &str| (version.to_owned(), source.to_owned());
    assert_eq!(history(&server, "alpha"), [pair("1.0", "one")]);
    // Behind the first source, it serves nothing.
    server.rspm_stdout("subscribe --repo=prod --source=two");
    assert_eq!(history(&server, "alpha"), [pair("1.0", "one")]);
    server.rspm_stdout("reorder --repo=prod --sources=two,one");
    assert_eq!(history(&server, "alpha"), [pair("9.0", "two"), pair("1.0", "one")]);
    server.rspm_stdout("unsubscribe --repo=prod --source=two");
    let expected = [pair("1.0", "one"), pair("9.0", "two"), pair("1.0", "one")];
    assert_eq!(history(&server, "alpha"), expected);
    // An earlier snapshot ends before.
    let newest = server.json("info --source=two")["last_transaction"]["id"].as_i64().expect("a transaction");
    let text = page(&server, &format!("/prod/{newest}/web/packages/alpha/history/"));
    assert!(text.contains("still listed") && !text.contains("9.0"), "{text}");
    let feed = server.get("/prod/latest/web/packages/alpha/versions.atom");
    assert_feed(&feed, &["alpha 1.0", "alpha 9.0", "alpha 1.0"]);
    assert_eq!(server.get("/prod/latest/web/packages/nothing/versions.atom").status, 404);
    assert_eq!(server.get(&format!("/prod/{newest}/web/packages/alpha/versions.atom")).status, 404);
}

fn assert_feed(feed: &Answer, titles: &[&str]) {
    assert_eq!(feed.status, 200, "{}", feed.text());
    assert_eq!(feed.header("content-type"), Some("application/atom+xml; charset=utf-8"));
    let text = feed.text();
    let entries: Vec<&str> = text.split("<entry>").skip(1).collect();
    // The elements that RFC 4287 requires (4.1.1 and 4.1.2), each once.
    let head = text.split("<entry>").next().expect("a head");
    assert!(head.starts_with(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\""
    ));
    for part in entries.iter().chain([&head]) {
        for name in ["id", "title", "updated"] {
            assert_eq!(part.matches(&format!("<{name}>")).count(), 1, "{name}: {part}");
        }
        assert!(part.contains("<link "), "{part}");
    }
    assert!(head.contains("<author>") || entries.iter().all(|entry| entry.contains("<author>")), "{text}");
    let title = |entry: &str| {
        entry.split("<title>").nth(1).and_then(|rest| rest.split('<').next()).map(str::to_owned)
    };
    let found: Vec<Option<String>> = entries.iter().map(|entry| title(entry)).collect();
    assert_eq!(found, titles.iter().map(|title| Some((*title).to_owned())).collect::<Vec<_>>(), "{text}");
    let ids: std::collections::BTreeSet<&str> =
        entries.iter().filter_map(|entry| entry.split("<id>").nth(1)?.split('<').next()).collect();
    assert_eq!(ids.len(), titles.len(), "ids differ: {text}");
}

#[test]
fn the_process_that_converts_markdown_has_limits() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rstudio-pm"));
    command.arg("--convert-markdown").env_clear();
    let pipe = std::process::Stdio::piped;
    let mut process = command.stdin(pipe()).stdout(pipe()).spawn().expect("it starts");
    // It waits for its input.
    let limits = format!("/proc/{}/limits", process.id());
    until("the limits are set", || {
        let limits = std::fs::read_to_string(&limits).expect("a process");
        let is_limited = |name: &str, limit: &str| {
            limits
                .lines()
                .any(|line| line.starts_with(name) && line.split_whitespace().any(|word| word == limit))
        };
        is_limited("Max cpu time", "20") && is_limited("Max address space", "2147483648")
    });
    drop(process.stdin.take());
    assert!(process.wait().expect("it ends").success());
}
