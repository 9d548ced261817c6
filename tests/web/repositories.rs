//! The home page, pages of repositories, their days, and repositories that not everyone may see.

use super::document;
use crate::support::data;
use crate::support::http;
use crate::support::server::Builder;
use crate::support::tarball::Tarball;
use crate::support::today::stable_today;

#[test]
fn the_home_page_lists_repositories_with_their_numbers() {
    let server = super::server();
    server.call("POST", "/repos", &serde_json::json!({ "name": "empty", "description": "not used yet" }));
    let page = server.get("/").text();
    for part in [
        "data-automation=\"home-title\"",
        "data-automation=\"repository-selection-card\"",
        "data-automation=\"search-input-home-package-search\"",
        "2 packages",
        "not used yet",
        "<template id=\"repository-numbers\">1 team\n2 empty\n</template>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let client = server.get("/client/");
    assert!(client.status == 200 && client.text().contains(">team</a>"), "without a script");
    for link in ["team/latest/web/changes/", "team/latest/web/vulnerabilities/"] {
        assert!(page.contains(link), "{link}: {page}");
    }
    // Without advisories, the server does not state that there are no vulnerabilities.
    let vulnerabilities = server.get("/team/latest/web/vulnerabilities/").text();
    assert!(vulnerabilities.contains("rspm sync --type=vulns"), "{vulnerabilities}");
    for path in ["/client", "/client/index.html"] {
        document::page(&server.get(path), path);
    }
}

#[test]
fn the_canonical_address_of_a_package_redirects_to_its_page() {
    let server = super::server();
    let follow = |path: &str| {
        let redirect = server.get(path);
        assert_eq!(redirect.status, 301, "{path}");
        let location = redirect.header("location").expect("a location");
        let base = url::Url::parse(&server.url(path)).expect("an address");
        http::get(base.join(location).expect("an address").as_str())
    };
    let latest = [
        "/team/latest/package=alpha",
        "/team/latest/package%3Dalpha",
        "/team/latest/package=alpha/",
        "/team/package=alpha",
        "/team/package=alpha/",
    ];
    let cases = latest
        .map(|path| (path, "/team/latest"))
        .into_iter()
        .chain([("/team/__linux__/noble/latest/package=alpha", "/team/__linux__/noble/latest")]);
    for (path, snapshot) in cases {
        let page = follow(path);
        let expected = server.get(&format!("{snapshot}/web/packages/alpha/"));
        assert_eq!((page.status, page.text()), (expected.status, expected.text()), "{path}");
        document::page(&page, path);
    }
    for path in ["/team/latest/package=nothing", "/nothing/package=alpha", "/team/soon/package=alpha"] {
        assert_eq!(follow(path).status, 404, "{path}");
    }
}

#[test]
fn a_day_is_chosen_with_a_form_and_its_page_names_it() {
    let server = super::server();
    let day = server.get("/__api__/repos/team/transaction-dates").json()[1]["alias"]
        .as_str()
        .expect("a day")
        .to_owned();
    let chosen = server.get(&format!("/team/?day={day}&platform=noble&bioc="));
    let location = format!("{day}/?platform=noble");
    assert_eq!((chosen.status, chosen.header("location")), (303, Some(location.as_str())));
    assert_eq!(server.get("/team?day=").header("location"), Some("team/latest/"));
    let page = server.get(&format!("/team/{location}")).text();
    assert!(page.contains(&server.url(&format!("/team/__linux__/noble/{day}"))), "{page}");
    assert!(page.contains("<option value=\"noble\" selected>"), "{page}");
    let (year, number) = (&day[..4], day[8..].trim_start_matches('0'));
    let selected = format!(" {year}, with changes\" aria-current=\"date\">{number}</a>");
    assert!(page.contains(&format!("aria-label=\"{number} ")) && page.contains(&selected), "{page}");
    let linux = server.get(&format!("/team/__linux__/jammy/{day}/")).text();
    assert!(linux.contains("<option value=\"jammy\" selected>"), "{linux}");
}

#[test]
fn a_past_day_is_neither_described_as_unfinished_nor_as_published_later() {
    let mirror = format!("[CRAN]\nURL = file://{}", data::path("cran-mirror").display());
    let server = Builder::default().gcfg(&mirror).start();
    server.rspm_stdout("sync --type=CRAN");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server.rspm_stdout("backfill --source=cran --since=2015-01-01");
    let is_correct = |rules: &str| {
        let page = server.get("/prod/2023-01-15/").text();
        assert!(page.contains("This snapshot c"), "{rules}: {page}");
        assert!(!page.contains("its day has not ended") && !page.contains("Published on"), "{rules}: {page}");
        let changes = server.get("/prod/2023-01-15/web/changes/").text();
        assert!(changes.contains("2023-01-15") && !changes.contains("; published"), "{rules}: {changes}");
    };
    is_correct("no rules");
    server.rspm_stdout("create blocklist-rule --package-name=none --repo=prod");
    is_correct("a rule");
    let today = stable_today();
    let page = server.get(&format!("/prod/{today}/")).text();
    assert!(page.contains("its day has not ended") && page.contains("Published on"), "{page}");
}

#[test]
fn the_system_of_the_browser_is_chosen_unless_the_address_names_one() {
    let server = super::server();
    let page =
        |path: &str, agent: &str| http::request("GET", &server.url(path), &[("User-Agent", agent)], b"");
    for (agent, key) in
        [("Mozilla/5.0 (Windows NT 10.0)", "windows"), ("Mozilla/5.0 (X11; Linux x86_64)", "linux")]
    {
        let answer = page("/team/latest/", agent);
        assert!(answer.text().contains(&format!("<option value=\"{key}\" selected>")), "{agent}");
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("User-Agent")), "{agent}");
        let chosen = page("/team/latest/?platform=source", agent);
        assert!(chosen.text().contains("<option value=\"source\" selected>"), "{agent}");
        assert_eq!(chosen.header("vary"), Some("Accept-Encoding"), "{agent}");
    }
}

#[test]
fn repositories_that_a_client_may_not_see_are_in_no_page_and_no_number() {
    let server = super::server();
    for name in ["hiddenrepo", "closedrepo"] {
        server.rspm_stdout(&format!("create source --name={name}"));
        let flag = if name == "closedrepo" { "--authenticated" } else { "" };
        server.rspm_stdout(&format!("create repo --name={name} --description=for~{name} {flag}"));
        server.rspm_stdout(&format!("subscribe --repo={name} --source={name}"));
        server.add(name, &Tarball::new(&format!("{name}pkg"), "1.0"));
    }
    server.rspm_stdout("edit repo --name=hiddenrepo --hide");
    let token =
        server.rspm_stdout("create token --description=x --quiet --scope=repos:read --repos=closedrepo");
    let bearer = format!("Bearer {}", token.trim());
    let get = |path: &str, authorization: Option<&str>| {
        let header = authorization.map(|value| ("Authorization", value));
        http::request("GET", &server.url(path), header.as_slice(), b"")
    };
    for path in [
        "/",
        "/?q=repopkg",
        "/client/",
        "/team/latest/",
        "/team/latest/web/packages/",
        "/team/latest/web/changes/",
        "/team/latest/web/changes.atom",
        "/robots.txt",
    ] {
        let text = get(path, None).text();
        assert!(!text.contains("hiddenrepo") && !text.contains("closedrepo"), "{path}: {text}");
    }
    let home = get("/?q=repopkg", Some(&bearer));
    assert!(home.text().contains("closedrepopkg") && !home.text().contains("hiddenrepo"), "{}", home.text());
    assert!(home.header("cache-control").is_some_and(|value| value.contains("private")));
    let path = "/closedrepo/latest/web/packages/closedrepopkg/";
    let (refused, read) = (get(path, None), get(path, Some(&bearer)));
    assert_eq!((refused.status, read.status), (401, 200));
    assert!(read.header("vary").is_some(), "{:?}", read.headers);
    document::page(&refused, path);
    assert!(!refused.text().contains("for closedrepo"), "{}", refused.text());
    // Each link to JSON works, also on the pages of a hidden repository that was requested by its number.
    let repos = server.json("list repos");
    let hidden = repos.as_array().expect("a list").iter().find(|repo| repo["name"] == "hiddenrepo");
    let number = hidden.expect("the repository")["id"].to_string();
    for (repo, has_json) in [("team", true), ("hiddenrepo", true), (number.as_str(), false)] {
        for page in ["", "web/packages/", "web/changes/", "web/vulnerabilities/"] {
            let path = format!("/{repo}/latest/{page}");
            let answer = get(&path, None);
            assert_eq!(answer.status, 200, "{path}");
            let tags = document::page(&answer, &path);
            let json = tags.iter().find(|tag| tag.get("type") == Some("application/json"));
            assert!(!page.is_empty() || json.is_some() == has_json, "{path}");
            let Some(address) = json.and_then(|tag| tag.get("href")) else { continue };
            let page = url::Url::parse(&server.url(&path)).expect("an address");
            let address = page.join(address).expect("an address");
            assert_eq!(http::get(address.as_str()).status, 200, "{path}: {address}");
        }
    }
    // A hidden repository has pages for those who know its name.
    assert!(get("/hiddenrepo/latest/web/packages/", None).text().contains("hiddenrepopkg"));
}
