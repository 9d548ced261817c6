//! The package list, pages of packages, and texts that others wrote.

use super::document;
use crate::support::http;
use crate::support::python::package::{self as python, transaction};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

#[test]
fn a_package_page_has_its_facts_dependencies_and_versions() {
    let server = super::server();
    let page = server.get("/team/latest/web/packages/alpha/").text();
    for part in [
        "data-automation=\"package-title\">alpha 1.1<",
        "install.packages(&quot;alpha&quot;)",
        "2 versions",
        "Used by 1 package",
        "<dt>Source</dt><dd dir=\"auto\">team</dd>",
        "<h3 id=\"readme-alpha\">Alpha</h3>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let beta = server.get("/team/latest/web/packages/beta/").text();
    assert!(beta.contains("packages/alpha/\">alpha</a> (&gt;= 1.0), methods"), "{beta}");
    let feed = "../../../../../team/latest/web/packages/alpha/versions.atom";
    for page in ["", "history/"] {
        let text = server.get(&format!("/team/latest/web/packages/alpha/{page}")).text();
        assert_eq!(text.matches("versions.atom\"").count(), 2, "{page}: {text}");
        assert!(
            !page.is_empty() || text.contains(&format!("<a href=\"{feed}\">Feed: Versions of alpha</a>")),
            "{text}"
        );
    }
    let text = "  More about 'alpha', 'gamma' and 'nothing'.";
    server.add("team", &Tarball::new("gamma", "1.0").field(text).field("License: MIT"));
    let gamma = server.get("/team/latest/web/packages/gamma/").text();
    let link = "More about '<a href=\"../../../../../team/latest/web/packages/alpha/\">alpha</a>', 'gamma' and 'nothing'";
    assert!(gamma.contains(link), "{gamma}");
    let old = server.get("/team/latest/web/packages/alpha/?version=1.0").text();
    assert!(old.contains("alpha 1.0<") && old.contains("lists another version"), "{old}");
    assert!(old.contains("/team/latest/src/contrib/Archive/alpha/alpha_1.0.tar.gz"), "{old}");
    let versions = server.get("/team/latest/web/packages/alpha/versions/").text();
    let table = versions.split_once("<tbody>").expect("a table").1;
    let order = [">1.1<", "listed", ">1.0<", "archived"].map(|part| table.find(part).expect(part));
    assert!(order.is_sorted(), "{versions}");
    let description = server.get("/team/latest/web/packages/alpha/DESCRIPTION");
    assert_eq!(description.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(description.text().contains("Package: alpha\nVersion: 1.1\n"), "{}", description.text());
    // As on CRAN, below an address for binaries too.
    assert_eq!(server.get("/team/__linux__/noble/latest/web/packages/alpha/index.html").status, 200);
}

#[test]
fn a_package_that_does_not_exist_is_an_error_that_names_the_other_spelling() {
    let server = super::server();
    for (path, part) in [
        (
            "/team/latest/web/packages/Alpha/",
            "did you mean '<a href=\"../../../../../team/latest/web/packages/alpha/\">alpha</a>'?",
        ),
        ("/team/latest/web/packages/%3Cb%3E/", "&lt;b&gt;"),
        ("/team/latest/web/packages/alpha/?version=9", "Version '9' of package 'alpha' not found"),
        ("/team/latest/web/packages/alpha/versions/?version=%3Cb%3E", "not found"),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        document::page(&answer, path);
        assert!(answer.text().contains(part), "{path}: {}", answer.text());
    }
    for (path, status) in [
        ("/team/?day=yesterday", 400),
        ("/team/latest/web/packages/?page=x", 400),
        ("/team/latest/web/packages/?page=99999999", 200),
        ("/team/latest/?month=never&platform=nothing&bioc=x", 200),
    ] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    let long = format!("/team/latest/web/packages/?q={}", "x".repeat(3000));
    let page = server.get(&long);
    assert!(page.status == 200 && page.body.len() < 20_000, "{}", page.status);
    assert_eq!(http::request("POST", &server.url("/team/latest/web/packages/"), &[], b"").status, 405);
}

#[test]
fn the_error_for_an_unlisted_package_has_similar_names_and_the_days_on_which_it_was_listed() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("ggplot2", "1.0"), Tarball::new("ggplots", "1.0")]);
    let first = transaction(&server, "team");
    server.add("team", &Tarball::new("late", "1.0"));
    let with_late = transaction(&server, "team");
    server.rspm_stdout("remove package --source=team --name=late@all");
    let error = |path: &str| {
        let answer = server.get(&format!("/team/{path}"));
        assert_eq!(answer.status, 404, "{path}");
        document::page(&answer, path);
        answer.text()
    };
    let text = error("latest/web/packages/ggplot/");
    let link =
        |name: &str| format!("'<a href=\"../../../../../team/latest/web/packages/{name}/\">{name}</a>'");
    let expected = format!("did you mean {} or {}?", link("ggplot2"), link("ggplots"));
    assert!(text.contains(&expected), "{text}");
    let text = error("latest/web/packages/late/");
    assert!(text.contains("the repository listed it from 20") && text.contains(" until 20"), "{text}");
    assert_eq!(server.get(&format!("/team/{with_late}/web/packages/late/")).status, 200);
    let text = error(&format!("{first}/web/packages/late/"));
    assert!(text.contains("the repository listed it from"), "{text}");
    let text = error("latest/web/packages/ggplot2/?version=7");
    assert!(!text.contains("did you mean"), "{text}");
    let text = error(&format!("latest/web/packages/{}/", "x".repeat(2000)));
    assert!(!text.contains("did you mean"), "{text}");
}

#[test]
fn the_error_for_an_unlisted_python_project_has_similar_names() {
    let server = Server::start();
    python::repository(&server);
    for name in ["requests", "flask"] {
        python::add(&server, "team", &python::Package::new(name, "1.0"));
    }
    let error = |path: &str| {
        let answer = server.get(&format!("/py/latest/web/packages/{path}"));
        assert_eq!(answer.status, 404, "{path}");
        document::page(&answer, path);
        answer.text()
    };
    for page in ["", "versions/", "files/"] {
        let text = error(&format!("reqests/{page}"));
        assert!(text.contains("did you mean '<a href=\""), "{text}");
        assert!(text.contains("/py/latest/web/packages/requests/\">requests</a>'?"), "{text}");
    }
    for path in ["numpy/", "flask/?version=7"] {
        let text = error(path);
        assert!(!text.contains("did you mean"), "{text}");
    }
}

#[test]
fn the_list_is_searched_sorted_and_paged() {
    let server = Server::start();
    let packages: Vec<Tarball> = (0..101).map(|at| Tarball::new(&format!("pkg{at:03}"), "1.0")).collect();
    server.local_repository("team", &packages);
    let list = |query: &str| server.get(&format!("/team/latest/web/packages/{query}")).text();
    let names = |html: &str| html.matches("data-automation=\"package-link-").count();
    assert_eq!((names(&list("")), names(&list("?page=2")), names(&list("?page=3"))), (100, 1, 0));
    assert!(list("?page=2").contains("package-link-pkg100"));
    assert!(list("?order=desc").contains("package-link-pkg100"));
    let found = list("?q=G00");
    assert!(names(&found) == 10 && found.contains("10 packages"), "{found}");
    let home = server.get("/?q=kg10").text();
    assert!(home.contains("pkg100") && !home.contains("pkg099"), "{home}");
    let all = server.get("/?q=pkg").text();
    assert!(all.contains("All 101 in team"), "{all}");
}

#[test]
fn a_description_links_to_at_most_two_hundred_names() {
    let server = Server::start();
    let names = "'beta' ".repeat(5000);
    // A line that continues the description.
    let alpha = Tarball::new("alpha", "1.0").field(&format!(" {names}")).field("License: MIT");
    server.local_repository("team", &[Tarball::new("beta", "1.0"), alpha]);
    let page = server.get("/team/latest/web/packages/alpha/").text();
    let links = page.matches("packages/beta/\">beta</a>").count();
    assert_eq!((links, page.matches("beta").count() >= 5000), (200, true));
}

#[test]
fn the_page_of_an_archived_version_links_to_its_own_description_and_news() {
    let server = Server::start();
    let readme = "[fields](DESCRIPTION) [news](NEWS.md)\n";
    let packages = ["1.0", "1.1"].map(|version| Tarball::new("alpha", version).with("README.md", readme));
    server.local_repository("team", &packages);
    let path = "/team/latest/web/packages/alpha/";
    let links = |query: &str| {
        let tags = document::page(&server.get(&format!("{path}{query}")), query);
        let links = tags.into_iter().filter_map(|tag| tag.get("href").map(str::to_owned));
        links.filter(|link| link.contains("/DESCRIPTION")).collect::<Vec<_>>()
    };
    let ends = |query: &str, end: &str| {
        let links = links(query);
        assert!(links.len() == 2 && links.iter().all(|link| link.ends_with(end)), "{query}: {links:?}");
    };
    ends("", "/alpha/DESCRIPTION");
    ends("?version=1.0", "/alpha/DESCRIPTION?version=1.0");
    let text = server.get(&format!("{path}DESCRIPTION?version=1.0")).text();
    assert!(text.contains("Version: 1.0"), "{text}");
    for (query, link) in [("", "/alpha/news/\" rel="), ("?version=1.0", "/alpha/news/?version=1.0\" rel=")] {
        let page = server.get(&format!("{path}{query}")).text();
        assert!(page.contains(link), "{query}: {page}");
    }
}

#[test]
fn a_description_and_lists_as_csv_are_sent_again_only_if_they_changed() {
    let server = super::server();
    let newest = server.json("info --source=team")["last_transaction"]["id"].as_i64().expect("a transaction");
    for path in [
        "/team/latest/web/packages/alpha/DESCRIPTION".to_owned(),
        "/team/latest/web/packages/?format=csv".to_owned(),
        format!("/team/latest/web/changes/?since={}&format=csv", newest - 1),
        format!("/__api__/repos/team/diff?from={}&to=latest&format=csv", newest - 1),
    ] {
        let answer = server.get(&path);
        let etag = answer.header("etag").unwrap_or_else(|| panic!("{path} has no ETag"));
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-cache")), "{path}");
        let again = http::request("GET", &server.url(&path), &[("If-None-Match", etag)], b"");
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
    let path = "/team/latest/web/packages/?format=csv";
    let before = server.get(path).header("etag").map(str::to_owned);
    server.add("team", &Tarball::new("gamma", "1.0"));
    assert_ne!(server.get(path).header("etag").map(str::to_owned), before);
}

#[test]
fn texts_that_others_wrote_are_never_markup() {
    let server = Server::start();
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>&quot;\"'";
    let package = Tarball::new("alpha", "1.0")
        .field(&format!("Maintainer: {hostile} <nobody@example.org>"))
        .field("URL: javascript:alert(1), https://good.example/\"onclick=\"x, data:text/html,x")
        .field("Encoding: UTF-8")
        .field("BugReports: JavaScript:alert(1)")
        .field("SystemRequirements: \u{202e}gnp <doi:10.1/\"><b>>")
        .with("README.md", "<script>alert(2)</script>\n[x](javascript:alert(1))\n<!-- -->\n");
    server.local_repository("team", &[package]);
    server.call("PATCH", "/repos/team", &serde_json::json!({ "description": hostile }));
    let query = "%3Cscript%3Ealert(1)%22%27%3E";
    for path in [
        "/".to_owned(),
        format!("/?q={query}"),
        "/team/latest/".to_owned(),
        format!("/team/latest/?platform={query}&month={query}"),
        format!("/team/latest/web/packages/?q={query}&sort={query}"),
        "/team/latest/web/packages/alpha/".to_owned(),
        format!("/team/latest/web/packages/alpha/?version={query}"),
        format!("/team/latest/web/packages/{query}x/"),
        format!("/{query}x/latest/web/packages/"),
    ] {
        let answer = server.get(&path);
        let tags = document::page(&answer, &path);
        assert_eq!(tags.iter().filter(|tag| tag.name == "script").count(), 1, "{path}");
        for link in tags.iter().filter_map(|tag| tag.get("href")) {
            let scheme = link.split(':').next().expect("a scheme").to_ascii_lowercase();
            assert!(!["javascript", "data"].contains(&scheme.as_str()), "{path}: {link}");
        }
    }
    let page = server.get("/team/latest/web/packages/alpha/").text();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("⟨U+202E⟩gnp"), "{page}");
    assert!(!page.contains("alert(2)"), "the README: {page}");
}
