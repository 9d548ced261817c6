//! The history of a package, the days of a lock file and the feed of versions agree with what a repository serves under
//! its block rules.

use std::collections::BTreeMap;

use rstudio_pm::edit::{self, promotion};
use rstudio_pm::model::kind::{ChangePolicy, Language, RepoKind};
use rstudio_pm::model::locked_version::{Interval, LockedVersion};
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::model::time::{Day, SECOND};
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::serve;
use rstudio_pm::serve::history::{ListingScope, Listings, Subscriptions};
use rstudio_pm::serve::lock_file::{self, ComparisonPermit, MAX_WAIT};

use super::document;
use crate::support::backend::{Backend, StoresConfig, actor, day, person};
use crate::support::documents::package_versions;
use crate::support::server::Server;
use crate::support::tarball::Tarball;
use crate::support::today::stable_today;
use crate::support::{db, http};

const DAYS: std::ops::RangeInclusive<u8> = 1..=12;

fn day_of(number: u8) -> Day {
    day(&format!("2024-03-{number:02}"))
}

/// A repository `prod` of the sources `team` and `other`, which have versions of `alpha` from several days, and `live`,
/// which takes its state by promotion. The clock is at noon of the twelfth day.
async fn environment(engine: db::Engine) -> Backend {
    let gcfg = tokio::task::spawn_blocking(move || db::settings(engine)).await.expect("no panic");
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    for source in ["team", "other"] {
        backend.create_local_source(source).await;
    }
    backend.create_repository("prod", &["team", "other"]).await;
    let live = "live".parse().expect("a name");
    let new =
        edit::NewRepo { changes: ChangePolicy::Promotion, ..edit::NewRepo::open(&live, RepoKind::R, "") };
    edit::repo::create(&backend.state, new, edit::OnExisting::Fail, &actor()).await.expect("a repository");
    let additions =
        [(2, "team", "1.0"), (3, "other", "9.0"), (4, "team", "1.1"), (6, "team", "1.2"), (9, "team", "2.0")];
    for number in DAYS {
        if number > 1 {
            backend.advance_to_noon(&day_of(number).to_string());
        }
        for (_, source, version) in additions.iter().filter(|(day, ..)| *day == number) {
            let license = if *version == "1.1" { "AGPL-3" } else { "MIT + file LICENSE" };
            let tarball = Tarball::new("alpha", version).field(&format!("License: {license}"));
            let added = backend.try_add(source, &[tarball], edit::OnExisting::Fail).await;
            assert_eq!(added.expect("a package"), [edit::AddStatus::New]);
        }
        if [5, 7].contains(&number) {
            let request = promotion::PromotionRequest {
                from: "prod".to_owned(),
                to: "live".to_owned(),
                snapshot: Snapshot::Latest,
                comment: String::new(),
                opening: promotion::Opening::Permitted,
            };
            promotion::request(&backend.repositories, &backend.state, request, &person("test"))
                .await
                .expect("a promotion");
        }
    }
    backend
}

async fn create(backend: &Backend, priority: i64, effect: RuleEffect, criteria: Criteria) {
    let rule = Rule { id: 0, priority, effect, criteria, description: "a reason".to_owned() };
    edit::block_rule::create(&backend.state, &[rule], &actor()).await.expect("a rule");
}

async fn delete_all(backend: &Backend) {
    edit::block_rule::delete(&backend.state, vec![(1, i64::MAX)]).await.expect("deleted");
}

/// The listings of `alpha` in a snapshot: those of dated URLs, and those of `latest`.
async fn listings(backend: &Backend, repo: &str, snapshot: &str) -> (Listings, Listings) {
    let snapshot: Snapshot = snapshot.parse().expect("a snapshot");
    let point = serve::point::resolve(&backend.repositories, repo, snapshot).await.expect("a point");
    let catalog = backend.state.catalog.get();
    let repo = catalog.repo_by_name_or_id(repo).expect("a repository");
    let subject = ListingScope { catalog: &catalog, repo, part: None, snapshot, point: &point };
    let subscriptions = Subscriptions::new(&backend.repositories, &subject).expect("R packages");
    let dated = subscriptions.listings(&backend.repositories, "alpha").await.expect("listings");
    (dated, subscriptions.newest_listings(&backend.repositories, "alpha").await.expect("listings"))
}

/// The version that listings have at the end of a day.
fn at_end_of(listings: &Listings, day: Day) -> Option<&str> {
    let is_listed = |row: &&serve::history::ListingPeriod| {
        row.from.day() <= day && row.until.is_none_or(|until| day < until.day())
    };
    let mut found = listings.listed.iter().filter(is_listed);
    let version = found.next().map(|row| row.version.as_str());
    assert_eq!(found.next(), None, "{day}: {listings:?}");
    version
}

/// Compares the history of `alpha` with the indexes of all days; returns the versions that it does not list.
async fn assert_history(backend: &Backend, case: &str) -> Vec<String> {
    let mut hidden = Vec::new();
    for repo in ["prod", "live"] {
        let served = async |snapshot: &str| package_versions(backend, repo, snapshot).await.remove("alpha");
        let mut days: BTreeMap<u8, Option<String>> = BTreeMap::new();
        // The first list of subscriptions also serves the days before it.
        for number in DAYS.skip(1) {
            days.insert(number, served(&day_of(number).to_string()).await);
        }
        let (dated, newest) = listings(backend, repo, "latest").await;
        for (number, version) in &days {
            let found = at_end_of(&dated, day_of(*number));
            assert_eq!(found, version.as_deref(), "{case}, {repo}, day {number}: {dated:?}");
        }
        let latest = served("latest").await;
        let current = |listings: &Listings| {
            let first = listings.listed.first().filter(|row| row.until.is_none() && !row.is_only_dated);
            first.map(|row| row.version.clone())
        };
        assert_eq!(current(&newest), latest, "{case}, {repo}: {newest:?}");
        assert!(current(&dated).is_none_or(|version| latest == Some(version)), "{case}, {repo}: {dated:?}");
        let only_latest = dated.only_latest.as_ref().map(|current| current.version.clone());
        let is_other = |version: &String| days[DAYS.end()].as_ref() != Some(version);
        assert_eq!(only_latest, latest.filter(is_other), "{case}, {repo}: {dated:?}");
        // The history of an earlier snapshot is its beginning.
        for number in [6, 10] {
            let (dated, _) = listings(backend, repo, &day_of(number).to_string()).await;
            for (earlier, version) in days.range(..=number) {
                let found = at_end_of(&dated, day_of(*earlier));
                assert_eq!(found, version.as_deref(), "{case}, {repo} up to {number}, day {earlier}");
            }
            assert_eq!(current(&dated), days[&number], "{case}, {repo} up to {number}: {dated:?}");
        }
        if repo == "prod" {
            hidden = dated.hidden.into_iter().map(|row| row.version).collect();
        }
    }
    hidden
}

macro_rules! scenarios {
    ($($scenario:ident)*) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test] async fn $scenario() { super::$scenario(environment(db::Engine::Sqlite).await).await; })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test] async fn $scenario() { super::$scenario(environment(db::Engine::Postgres).await).await; })*
        }
    };
}

scenarios! {
    the_history_has_on_each_day_the_version_that_the_index_of_the_day_has
    the_days_of_a_lock_file_are_those_on_which_rules_allow_its_version
}

async fn the_history_has_on_each_day_the_version_that_the_index_of_the_day_has(backend: Backend) {
    assert_eq!(assert_history(&backend, "no rules").await, [] as [&str; 0]);
    let team = backend.state.catalog.get().source("team").expect("a source").id;
    let version = |range: &str| Some(range.parse().expect("a range"));
    let named = |range: &str| Criteria {
        package: Some("alpha".to_owned()),
        version: version(range),
        ..Criteria::default()
    };
    let aged = |days: i64| Criteria {
        source: Some(team),
        min_age: Some(days * 86_400 * SECOND),
        ..Criteria::default()
    };
    for (case, criteria, expected) in [
        ("one version", named("1.1"), vec!["1.1"]),
        ("the first version", named("1.0"), vec!["1.0"]),
        ("newer versions", named(">1.0"), vec!["2.0", "1.2", "1.1"]),
        (
            "all packages of a source",
            Criteria { source: Some(team), ..Criteria::default() },
            vec!["2.0", "1.2", "1.1", "1.0"],
        ),
        ("another package", Criteria { package: Some("beta".to_owned()), ..Criteria::default() }, vec![]),
        ("only latest", Criteria { not_dated: true, ..named(">=1.2") }, vec!["2.0"]),
        ("versions of two days", aged(2), vec!["2.0", "1.2", "1.1", "1.0"]),
        (
            "versions of half a day",
            Criteria { min_age: Some(40_000 * SECOND), ..aged(0) },
            vec!["2.0", "1.2", "1.1", "1.0"],
        ),
        ("a license", Criteria { license: Some("agpl".to_owned()), ..Criteria::default() }, vec!["1.1"]),
        (
            "types of licenses",
            Criteria { license_types: vec!["MIT".to_owned()], source: Some(team), ..Criteria::default() },
            vec!["2.0", "1.2", "1.0"],
        ),
        (
            "only latest, by license",
            Criteria { license: Some("MIT".to_owned()), not_dated: true, ..Criteria::default() },
            vec!["2.0"],
        ),
        ("versions of a year", aged(365), vec!["2.0", "1.2", "1.1", "1.0"]),
        ("only latest, by age", Criteria { not_dated: true, ..aged(30) }, vec!["2.0"]),
    ] {
        create(&backend, 100, RuleEffect::Block, criteria).await;
        assert_eq!(assert_history(&backend, case).await, expected, "{case}");
        delete_all(&backend).await;
    }
    create(&backend, 100, RuleEffect::Block, named(">=1.1")).await;
    create(&backend, 1, RuleEffect::Allow, named("1.2")).await;
    assert_eq!(assert_history(&backend, "an exception").await, ["2.0", "1.1"]);
    delete_all(&backend).await;
    create(&backend, 100, RuleEffect::Warn, named("1.1")).await;
    assert_eq!(assert_history(&backend, "a warning").await, [] as [&str; 0]);
}

/// The row of a version of `alpha` in a lock file.
async fn locked(backend: &Backend, version: &str) -> LockedVersion {
    let point =
        serve::point::resolve(&backend.repositories, "prod", Snapshot::Latest).await.expect("a point");
    let catalog = backend.state.catalog.get();
    let repo = catalog.repo_by_name_or_id("prod").expect("a repository");
    let subject =
        ListingScope { catalog: &catalog, repo, part: None, snapshot: Snapshot::Latest, point: &point };
    let advisories = serve::vulnerabilities::current(&backend.state).await;
    let permit = ComparisonPermit::acquire(Language::R, MAX_WAIT).await.expect("a permit");
    let packages = vec![("alpha".to_owned(), version.to_owned())];
    let rows = lock_file::r_packages(&backend.repositories, &permit, &subject, packages, &advisories).await;
    rows.expect("rows").pop().expect("one row")
}

async fn the_days_of_a_lock_file_are_those_on_which_rules_allow_its_version(backend: Backend) {
    let days = |from: u8, until: u8| -> Interval { (day_of(from), (until > 0).then(|| day_of(until))) };
    let of = async |version: &str| {
        let row = locked(&backend, version).await;
        (row.listed.expect("days"), row.is_hidden)
    };
    assert_eq!(of("1.1").await, (vec![days(4, 6)], false));
    assert_eq!(of("2.0").await, (vec![days(9, 0)], false));
    let named = |version: &str, not_dated: bool| Criteria {
        package: Some("alpha".to_owned()),
        version: Some(version.parse().expect("a range")),
        not_dated,
        ..Criteria::default()
    };
    create(&backend, 100, RuleEffect::Block, named("1.1", false)).await;
    assert_eq!(of("1.1").await, (vec![], true));
    assert_eq!(of("1.0").await, (vec![days(2, 6)], false), "it replaces the blocked version");
    delete_all(&backend).await;
    create(&backend, 100, RuleEffect::Block, named("2.0", true)).await;
    assert_eq!(
        of("2.0").await,
        (vec![days(9, 13)], true),
        "days serve it, also the current one; latest does not"
    );
    assert_eq!(of("1.2").await, (vec![days(6, 9)], false));
}

#[test]
fn pages_and_feed_do_not_list_a_blocked_version() {
    let server = super::server();
    let folder = "/team/latest/web/packages/alpha";
    let page = |path: &str| {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    };
    let history = || {
        let path = format!("{folder}/history/");
        document::page(&server.get(&path), &path);
        page(&path)
    };
    let feed = || page(&format!("{folder}/versions.atom"));
    let lock = |version: &str| {
        let path = "/team/latest/web/lockfile/";
        let body = format!(r#"{{"Packages": {{"alpha": {{"Package": "alpha", "Version": "{version}"}}}}}}"#);
        let answer = http::request("POST", &server.url(path), &[], body.as_bytes());
        document::page(&answer, path);
        answer.text()
    };
    assert!(history().contains(">1.1</td>") && feed().contains("<title>alpha 1.1</title>"));
    assert!(!history().contains("Block rules") && lock("1.1").contains("up to this snapshot"));
    server.rspm_stdout("create blocklist-rule --package-name=alpha --version=1.1 --description=broken");
    let html = history();
    assert!(!html.contains(">1.1</td>") && html.contains(">1.0</td>"), "{html}");
    assert!(
        html.contains("Block rules hide versions of this package: 1.1 by rule 1 (broken; versions 1.1)."),
        "{html}"
    );
    assert!(html.contains("still listed"), "the version that replaces it: {html}");
    assert!(!feed().contains("alpha 1.1") && feed().contains("<title>alpha 1.0</title>"), "{}", feed());
    let html = lock("1.1");
    assert!(
        html.contains("Block rules hide the versions of: alpha.") && html.contains("There is no day"),
        "{html}"
    );
    assert!(!html.contains("It never listed"), "{html}");
    assert!(lock("1.0").contains("up to this snapshot"));
    // Days serve the version, `latest` does not.
    server.rspm_stdout("edit blocklist-rule --id=1 --not-dated");
    let html = history();
    assert!(html.contains(">1.1</td>") && html.contains("only in dated snapshots, not in latest"), "{html}");
    assert!(html.contains("1.1 by rule 1") && !html.contains("still listed"), "{html}");
    let row =
        html.split("<tr>").find(|row| row.contains("only in latest, not in dated snapshots")).expect("a row");
    assert!(
        row.contains(">1.0</td>") && row.contains("/team/latest/web/packages/alpha/\">latest</a>"),
        "{row}"
    );
    assert!(!feed().contains("alpha 1.1"), "{}", feed());
    let html = lock("1.1");
    assert!(html.contains("to the day before") && !html.contains("up to this snapshot"), "{html}");
    let today = stable_today();
    let html = page(&format!("/team/{today}/web/packages/alpha/history/"));
    assert!(html.contains(">1.1</td>") && html.contains("still listed"), "{html}");
}

#[test]
fn a_promoted_repository_has_no_changes_after_its_pin() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    server.rspm_stdout("create repo --name=live --changes=promotion");
    server.rspm_stdout("promote --from=team --to=live");
    let number = |server: &Server| {
        server.get("/__api__/sources/team/transactions?_limit=1").json()[0]["id"].as_i64().expect("a number")
    };
    let promoted = number(&server);
    server.add("team", &Tarball::new("beta", "1.0"));
    let added = number(&server);
    let entries = |repo: &str| {
        let text = server.get(&format!("/{repo}/latest/web/changes.atom")).text();
        let ids = text.split("<entry><id>").skip(1).map(|part| {
            let id = part.split("</id>").next().expect("an id").trim_end_matches('/');
            id.rsplit('/').next().and_then(|number| number.parse().ok()).expect("a number")
        });
        ids.collect::<Vec<i64>>()
    };
    let promotion = match entries("live")[..] {
        [promotion, number] if number == promoted => promotion,
        ref others => panic!("{promoted}: {others:?}"),
    };
    let subscription = match entries("team")[..] {
        [first, second, subscription] if [first, second] == [added, promoted] => subscription,
        ref others => panic!("{added}, {promoted}: {others:?}"),
    };
    assert!(subscription < promoted && promoted < promotion, "{subscription} {promotion}");
    let changes = |repo: &str| {
        let html = server.get(&format!("/{repo}/latest/")).text();
        html.matches("1 new").count()
    };
    assert_eq!((changes("team"), changes("live")), (2, 1));
    server.rspm_stdout("promote --from=team --to=live");
    assert_eq!(entries("live"), [added, promotion, promoted]);
    assert_eq!(changes("live"), 2);
    // The links are to the states of the repository with the change, which it has from the promotion on.
    let text = server.get("/live/latest/web/changes.atom").text();
    let entry = text.split("<entry>").nth(1).expect("the newest entry");
    let link = entry.split("href=\"").nth(1).and_then(|part| part.split('"').next()).expect("a link");
    let path = link.split_once("/live/").expect("an address of the repository").1;
    let index = server.get(&format!("/live/{path}src/contrib/PACKAGES")).text();
    assert!(index.contains("Package: beta"), "{path}: {index}");
    let at_the_addition = server.get(&format!("/live/{added}/src/contrib/PACKAGES")).text();
    assert!(!at_the_addition.contains("Package: beta"), "{at_the_addition}");
}

#[test]
fn a_promotion_that_only_changes_the_subscriptions_is_in_the_feed_and_on_the_page() {
    let server = Server::start();
    for name in ["one", "two"] {
        server.local_repository(name, &[Tarball::new("alpha", "1.0")]);
    }
    server.rspm_stdout("create repo --name=dev");
    server.rspm_stdout("subscribe --repo=dev --source=one");
    server.rspm_stdout("subscribe --repo=dev --source=two");
    server.rspm_stdout("create repo --name=live --changes=promotion");
    let promote = || drop(server.rspm_stdout("promote --from=dev --to=live"));
    let newest = || {
        let text = server.get("/live/latest/web/changes.atom").text();
        let entry = text.split("<entry>").nth(1).expect("an entry").to_owned();
        let part = |start: &str, end: char| {
            entry.split(start).nth(1).and_then(|rest| rest.split(end).next()).expect("a part").to_owned()
        };
        (part("<title>", '<'), part("href=\"", '"'))
    };
    let first_source = |path: &str| {
        let text = server.get(path).text();
        // The first list is the path of the page.
        let list = text.split("<ol>").nth(2).expect("the sources").to_owned();
        let texts = list.split('>').filter_map(|part| part.split('<').next());
        texts.into_iter().find(|text| !text.trim().is_empty()).expect("a source").to_owned()
    };
    promote();
    assert_eq!(newest().0, "subscriptions: one, two added");
    server.rspm_stdout("reorder --repo=dev --sources=two,one");
    promote();
    let (title, link) = newest();
    assert_eq!(title, "subscriptions: order two, one");
    let path = link.split_once("/live/").expect("an address of the repository").1;
    assert_eq!(first_source(&format!("/live/{path}")), "two");
    server.rspm_stdout("unsubscribe --repo=dev --source=two");
    promote();
    assert_eq!(newest().0, "subscriptions: two removed");
    let page = server.get("/live/latest/").text();
    let order = ["subscriptions: two removed", "subscriptions: order two, one"];
    let order = order.map(|text| page.find(text).unwrap_or_else(|| panic!("{text}: {page}")));
    assert!(order.is_sorted(), "{page}");
}
