//! What administrators are shown before and after a change equals what clients get, on both databases: plans of
//! promotions, matches of block rules, effects of name guards, and names that two sources have.

use std::collections::BTreeMap;

use rstudio_pm::edit::name_guard::{self, NameGuardChanges, NewNameGuard};
use rstudio_pm::edit::promotion::plan::PromotedChanges;
use rstudio_pm::edit::promotion::{self, Opening, PromotionRequest};
use rstudio_pm::edit::{self, OnExisting, block_rule};
use rstudio_pm::index::PageReads;
use rstudio_pm::model::kind::{ChangePolicy, RepoKind, SourceKind};
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::model::time::SECOND;
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve::difference::ListedPackage;
use rstudio_pm::serve::guard_effects::{NameChange, ProvidedPackage};
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::rule_matches::{self, RuleMatches};
use rstudio_pm::serve::shared_names;
use rstudio_pm::sync::Sync;

use super::{index, package_versions};
use crate::support::backend::{Backend, StoresConfig, actor, person};
use crate::support::db;
use crate::support::mirror_dir::MirrorDir;

macro_rules! scenarios {
    ($($scenario:ident)*) => {
        mod sqlite {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() { super::$scenario(Server::start(db::Engine::Sqlite).await).await; }
            )*
        }
        mod postgres {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() { super::$scenario(Server::start(db::Engine::Postgres).await).await; }
            )*
        }
    };
}

scenarios! {
    the_plan_of_a_promotion_is_what_clients_get
    later_rules_take_versions_of_an_approved_plan_away_and_add_none
    matches_of_a_rule_are_the_changes_of_the_index
    matches_of_exceptions_warnings_and_changed_rules_take_the_other_rules_into_account
    matches_include_further_records_of_a_package
    the_effects_of_a_guard_are_the_changes_of_the_index
    a_subscription_warns_about_names_of_two_sources_that_no_guard_hides
}

/// The repository `dev` of `cran`, then `internal`. The mirror lists yaml 2.3.10 (before: 2.3.7), ours 99.0, acme.db 7.0,
/// later 9.0 and 12 others; only its archive has clipr 0.8.0. `internal` has ours 2.1 (before: 2.0) and later 1.0.
/// Guards of `internal`: ours (1: without effect, 3: created), later (2: automatic), acme.* (4).
struct Server {
    backend: Backend,
    mirror: MirrorDir,
    _folder: tempfile::TempDir,
}

type Listing = BTreeMap<String, String>;

impl Server {
    async fn start(engine: db::Engine) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mirror = MirrorDir::new(folder.path());
        for (name, version) in [("yaml", "2.3.7"), ("clipr", "0.8.0"), ("ours", "99.0"), ("acme.db", "7.0")] {
            mirror.simple(name, version, "2024-02-01");
        }
        for number in 0..12 {
            mirror.simple(&format!("other{number}"), "1.0", "2024-02-01");
        }
        let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.expect("no panic");
        let gcfg = format!("{settings}\n[CRAN]\nURL = {}", mirror.url());
        let backend = Backend::with_stores(StoresConfig { gcfg }).await;
        let mut server = Server { backend, mirror, _folder: folder };
        server.sync().await;
        server.backend.create_local_source("internal").await;
        for (name, version) in [("ours", "2.0"), ("ours", "2.1"), ("later", "1.0")] {
            server.backend.add("internal", name, version).await;
        }
        server.mirror.simple("yaml", "2.3.10", "2024-02-20");
        server.mirror.archive("clipr", "2024-02-21");
        server.mirror.simple("later", "9.0", "2024-02-22");
        server.sync().await;
        server.backend.create_repository("dev", &["cran", "internal"]).await;
        for name in ["ours", "acme.*"] {
            server.guard(name, "internal").await;
        }
        server
    }

    async fn sync(&self) {
        self.mirror.write();
        let state = &self.backend.state;
        let sync = Sync::new(PageReads::new(state.clone()), state.clone());
        let start = sync.start(SourceKind::Cran).expect("cran is synced");
        start.job().wait_end().await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn guard(&self, name: &str, source: &str) {
        let new = NewNameGuard {
            name: name.to_owned(),
            language: None,
            source: source.to_owned(),
            description: String::new(),
        };
        name_guard::create(&self.backend.state, &new, false, &actor()).await.expect("a guard");
    }

    async fn create_promoted(&self, changes: ChangePolicy) {
        let name = "prod".parse().expect("a name");
        let new = edit::NewRepo { changes, ..edit::NewRepo::open(&name, RepoKind::R, "") };
        edit::repo::create(&self.backend.state, new, OnExisting::Fail, &actor()).await.expect("a repository");
    }

    async fn listing(&self, repo: &str) -> Listing {
        package_versions(&self.backend, repo, "latest").await
    }

    async fn plan(&self) -> PromotedChanges {
        let Backend { repositories, state, .. } = &self.backend;
        promotion::plan(repositories, state, &request()).await.expect("a plan")
    }

    /// Creates a rule; returns its id.
    async fn rule(&self, rule: &Rule) -> i64 {
        let ids = block_rule::create(&self.backend.state, std::slice::from_ref(rule), &actor()).await;
        ids.expect("a rule")[0]
    }

    async fn delete_rules(&self) {
        block_rule::delete(&self.backend.state, vec![(1, i64::MAX)]).await.expect("deleted");
    }

    /// The matches of a rule in `dev`.
    async fn matches(&self, rule: &Rule) -> RuleMatches {
        let mut found = rule_matches::of_rule(&self.backend.repositories, rule).await.expect("matches");
        assert!(found.len() <= 1, "{found:?}");
        found.pop().unwrap_or_default()
    }

    fn source_name(&self, source: rstudio_pm::model::ids::SourceId) -> String {
        self.backend.state.catalog.get().source_name(source)
    }

    /// `name version source -> version source`.
    fn change_text(&self, change: &NameChange) -> String {
        let text = |package: &Option<ProvidedPackage>| match package {
            None => "none".to_owned(),
            Some(ProvidedPackage { version, source }) => {
                format!("{} {}", version.as_deref().unwrap_or("?"), self.source_name(*source))
            }
        };
        format!("{}: {} {} -> {}", change.repo, change.name, text(&change.before), text(&change.after))
    }

    /// Each package of a plan with its source.
    fn plan_text(&self, plan: &PromotedChanges) -> Vec<String> {
        let text = |change: &rstudio_pm::serve::difference::Change| {
            let listed = change.to.as_ref().or(change.from.as_ref()).expect("a version");
            format!("{} {} {}", change.name, change.kind.as_str(), self.source_name(listed.source))
        };
        plan.packages.iter().map(text).collect()
    }
}

fn request() -> PromotionRequest {
    let snapshot = "latest".parse().expect("a snapshot");
    let (from, to, opening) = ("dev".to_owned(), "prod".to_owned(), Opening::Permitted);
    PromotionRequest { from, to, snapshot, comment: String::new(), opening }
}

/// The names whose versions differ, with both versions.
fn changes(before: &Listing, after: &Listing) -> Vec<(String, Option<String>, Option<String>)> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| (name.clone(), before.get(name).cloned(), after.get(name).cloned());
    names.into_iter().map(change).filter(|(_, before, after)| before != after).collect()
}

/// The changes of a plan, in the form of [`changes`].
fn planned(plan: &PromotedChanges) -> Vec<(String, Option<String>, Option<String>)> {
    let version = |listed: &Option<ListedPackage>| listed.as_ref().map(|listed| listed.version.clone());
    let change = |change: &rstudio_pm::serve::difference::Change| {
        (change.name.clone(), version(&change.from), version(&change.to))
    };
    let mut planned: Vec<_> = plan.packages.iter().map(change).collect();
    planned.sort();
    planned
}

fn block(criteria: Criteria) -> Rule {
    Rule { id: 0, priority: 100, effect: RuleEffect::Block, criteria, description: String::new() }
}

/// A rule about a package, or a version range of it.
fn about(package: &str, version: &str) -> Rule {
    let version = (!version.is_empty()).then(|| version.parse().expect("a range"));
    block(Criteria { package: Some(package.to_owned()), version, ..Criteria::default() })
}

async fn the_plan_of_a_promotion_is_what_clients_get(mut server: Server) {
    server.create_promoted(ChangePolicy::Promotion).await;
    let state = server.backend.state.clone();
    let promote = async || {
        promotion::request(&server.backend.repositories, &state, request(), &person("test"))
            .await
            .expect("accepted")
    };
    server.rule(&about("yaml", "2.3.10")).await;
    server.rule(&about("other3", "")).await;
    // The repository has no source yet: its guards and rules are those of its new sources.
    let cran = state.catalog.get().sources[0].id;
    assert_eq!(server.source_name(cran), "cran");
    let of_cran = Criteria { source: Some(cran), ..about("other4", "").criteria };
    server.rule(&block(of_cran)).await;
    for round in 0..5 {
        let (plan, before) = (server.plan().await, server.listing("prod").await);
        assert!(plan.has_rules, "{round}");
        assert_eq!(server.listing("prod").await, before, "{round}: a plan changes nothing");
        assert_eq!(promote().await.is_some(), round != 3, "{round}");
        let after = server.listing("prod").await;
        assert_eq!(planned(&plan), changes(&before, &after), "{round}");
        assert_eq!(after, server.listing("dev").await, "{round}");
        let texts = server.plan_text(&plan);
        match round {
            0 => {
                assert_eq!(texts.len(), 13, "{texts:?}");
                for expected in ["ours added internal", "later added internal", "yaml added cran"] {
                    assert!(texts.iter().any(|text| text == expected), "{expected}: {texts:?}");
                }
                assert_eq!((after["ours"].as_str(), after["yaml"].as_str()), ("2.1", "2.3.7"));
                server.backend.add("internal", "ours", "2.2").await;
            }
            1 => {
                assert_eq!(texts, ["ours updated internal"]);
                server.mirror.simple("ours", "99.1", "2024-02-28");
                server.mirror.simple("other3", "1.1", "2024-02-28");
                server.mirror.simple("yaml", "2.3.11", "2024-02-28");
                server.sync().await;
            }
            2 => assert_eq!(texts, ["yaml updated cran"]),
            3 => {
                assert_eq!(texts, [] as [&str; 0]);
                server.backend.add("internal", "yaml", "9.0").await;
                let order = ["internal".to_owned(), "cran".to_owned()];
                edit::subscription::reorder(&state, "dev", &order, &actor()).await.expect("reordered");
            }
            _ => assert_eq!(texts, ["yaml updated internal"]),
        }
    }
}

async fn later_rules_take_versions_of_an_approved_plan_away_and_add_none(server: Server) {
    server.create_promoted(ChangePolicy::TwoPersons).await;
    let Backend { repositories, state, .. } = &server.backend;
    let other3 = server.rule(&about("other3", "")).await;
    let planned = server.plan().await;
    let requested = promotion::request(repositories, state, request(), &person("ann (uid 1)")).await;
    let requested = requested.expect("accepted").expect("a promotion");
    let show = async || promotion::plan_of(state, requested.id).await.expect("a plan");
    let before = show().await;
    assert_eq!(before.packages.len(), 14, "{:?}", server.plan_text(&planned));
    server.rule(&about("yaml", ">2.3.7")).await;
    server.rule(&about("other5", "")).await;
    block_rule::delete(state, vec![(other3, other3)]).await.expect("deleted");
    assert_eq!(show().await, before, "the plan is a record");
    let approved =
        promotion::approve(state, requested.id, "", &person("bob (uid 2)"), Opening::Permitted).await;
    approved.expect("applied");
    let mut expected: Listing =
        before.packages.iter().map(|it| (it.name.clone(), it.to_version.clone().expect("added"))).collect();
    expected.insert("yaml".to_owned(), "2.3.7".to_owned());
    expected.remove("other5");
    assert!(server.listing("dev").await.contains_key("other3"), "its rule was deleted");
    assert_eq!(server.listing("prod").await, expected);
    assert_eq!(show().await, before, "also after it was applied");
    // A new promotion lists what rules permit now, although the state of the sources is the same.
    let again = promotion::request(repositories, state, request(), &person("ann (uid 1)")).await;
    let again = again.expect("accepted").expect("a promotion of the same state");
    let bob = person("bob (uid 2)");
    promotion::approve(state, again.id, "", &bob, Opening::Permitted).await.expect("applied");
    assert_eq!(server.listing("prod").await, server.listing("dev").await);
    let same = promotion::request(repositories, state, request(), &bob).await.expect("accepted");
    assert!(same.is_none(), "nothing changed any more");
}

/// Asserts that the matches of a rule that blocks are the changes of the index after its creation; returns them.
async fn assert_predicted(server: &Server, rule: &Rule) -> RuleMatches {
    let predicted = server.matches(rule).await;
    let before = server.listing("dev").await;
    assert_eq!(server.matches(rule).await, predicted, "{rule:?}: nothing was created");
    let id = server.rule(rule).await;
    let after = server.listing("dev").await;
    let changes = changes(&before, &after);
    assert_eq!(predicted.packages, changes.len(), "{rule:?}: {predicted:?} {changes:?}");
    for example in &predicted.examples {
        let change = (example.name.clone(), example.before.clone(), example.after.clone());
        assert!(changes.contains(&change), "{rule:?}: {change:?} {changes:?}");
    }
    if predicted.packages > 0 {
        assert_eq!(predicted.total, before.len(), "{rule:?}");
        assert_eq!(predicted.examples.len(), predicted.packages.min(3), "{rule:?}");
    }
    block_rule::delete(&server.backend.state, vec![(id, id)]).await.expect("deleted");
    assert_eq!(server.listing("dev").await, before, "{rule:?}: deleted");
    predicted
}

/// `name before -> after`.
fn examples(found: &RuleMatches) -> Vec<String> {
    let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
    let text = |it: &rule_matches::RuleMatch| {
        format!("{} {} -> {}", it.name, version(&it.before), version(&it.after))
    };
    found.examples.iter().map(text).collect()
}

async fn matches_of_a_rule_are_the_changes_of_the_index(server: Server) {
    let dev = server.backend.state.catalog.get().repo("dev").expect("a repository").id;
    let ours = about("ours", "<3");
    let ours = block(Criteria { repo: Some(dev), ..ours.criteria });
    let found = assert_predicted(&server, &ours).await;
    assert_eq!(examples(&found), ["ours 2.1 -> none"], "the package of the guarded source");
    assert_eq!((found.archived, found.archived_examples), (1, vec!["ours 2.0".to_owned()]));
    let found = assert_predicted(&server, &about("ours", ">3")).await;
    assert_eq!(found, RuleMatches::default(), "the guard hides the package of the mirror");
    assert_eq!(assert_predicted(&server, &about("acme.db", "")).await, RuleMatches::default());

    // The whole mirror is younger; the guarded names in it are hidden anyway.
    let young = Criteria { min_age: Some(60 * 86_400 * SECOND), ..Criteria::default() };
    let found = assert_predicted(&server, &block(young.clone())).await;
    assert_eq!((found.packages, found.total), (13, 15), "{found:?}");
    assert_eq!(found.archived_examples, ["clipr 0.8.0", "yaml 2.3.7"]);

    let deleted = Criteria { deleted_packages: true, ..Criteria::default() };
    let found = assert_predicted(&server, &block(deleted)).await;
    assert_eq!((found.packages, found.archived), (0, 1), "{found:?}");
    assert_eq!(found.archived_examples, ["clipr 0.8.0"]);

    let found = assert_predicted(&server, &about("yaml", "2.3.10")).await;
    assert_eq!((examples(&found), found.archived), (vec!["yaml 2.3.10 -> 2.3.7".to_owned()], 0));
    // With this rule, the version that replaces the blocked one is listed.
    server.rule(&about("yaml", "2.3.10")).await;
    let found = assert_predicted(&server, &about("yaml", "2.3.7")).await;
    assert_eq!((examples(&found), found.archived), (vec!["yaml 2.3.7 -> none".to_owned()], 0));
    assert_eq!(assert_predicted(&server, &about("yaml", ">=2.3.10")).await, RuleMatches::default());
    let all = block(Criteria::default());
    let found = assert_predicted(&server, &all).await;
    assert_eq!((found.packages, found.total), (15, 15));
    assert_eq!(found.archived_examples, ["clipr 0.8.0", "ours 2.0"]);
    let found = assert_predicted(&server, &block(young)).await;
    assert_eq!((found.packages, found.archived), (13, 1), "{found:?}");
    // An exception that precedes the rule decides about its package.
    let exception = Rule { effect: RuleEffect::Allow, ..about("other1", "") };
    server.rule(&exception).await;
    assert_eq!(assert_predicted(&server, &all).await.packages, 14);
    assert_eq!(assert_predicted(&server, &about("other1", "")).await, RuleMatches::default());
    let first = Rule { priority: 5, ..about("other1", "") };
    assert_eq!(examples(&assert_predicted(&server, &first).await), ["other1 1.0 -> none"]);
}

/// CRAN lists a version of recommended packages for the next R in a folder of its own.
async fn matches_include_further_records_of_a_package(mut server: Server) {
    const PATH: &str = "Path: 4.6.0/Recommended\n";
    server.mirror.further_records =
        format!("\n\nPackage: yaml\nVersion: 2.4.0\nDepends: R (>= 4.6)\nLicense: MIT\n{PATH}");
    server.sync().await;
    let has_record = async || {
        let text = index(&server.backend, "dev", "latest", RDocument::Packages(IndexFormat::Text)).await;
        String::from_utf8_lossy(&text.bytes).contains(PATH)
    };
    assert!(has_record().await);
    let rule = about("yaml", "2.4.0");
    let found = server.matches(&rule).await;
    assert_eq!((examples(&found), found.packages), (vec!["yaml 2.4.0 -> none".to_owned()], 1));
    let all = server.matches(&about("yaml", "")).await;
    assert_eq!(examples(&all), ["yaml 2.3.10 -> none", "yaml 2.4.0 -> none"]);
    server.rule(&rule).await;
    assert!(!has_record().await);
    assert_eq!(server.matches(&rule).await, RuleMatches::default(), "it is hidden already");
    assert_eq!(server.listing("dev").await["yaml"], "2.3.10");
}

async fn matches_of_exceptions_warnings_and_changed_rules_take_the_other_rules_into_account(server: Server) {
    let exempt = |rule: Rule| Rule { effect: RuleEffect::Allow, ..rule };
    let warn = |rule: Rule| Rule { effect: RuleEffect::Warn, ..rule };
    for (rule, expected) in [
        (exempt(about("yaml", "2.3.10")), "yaml 2.3.10 -> 2.3.10"),
        (warn(about("yaml", ">=2")), "yaml 2.3.10 -> 2.3.10"),
        (exempt(about("ours", "")), "ours 2.1 -> 2.1"),
    ] {
        assert_eq!(examples(&server.matches(&rule).await), [expected], "without other rules");
    }
    assert_eq!(server.matches(&warn(about("ours", "99.0"))).await, RuleMatches::default());

    let id = server.rule(&about("yaml", ">=2.3.10")).await;
    let blocked = server.rule(&about("other2", "")).await;
    let before = server.listing("dev").await;
    for (rule, expected) in [
        (exempt(about("yaml", "")), "yaml 2.3.7 -> 2.3.10"),
        (exempt(about("other2", "")), "other2 none -> 1.0"),
        (Rule { priority: 50, ..warn(about("yaml", "2.3.10")) }, "yaml 2.3.7 -> 2.3.10"),
        (warn(about("yaml", "")), "yaml 2.3.7 -> 2.3.7"),
    ] {
        let predicted = server.matches(&rule).await;
        assert_eq!(examples(&predicted), [expected], "{rule:?}");
        let created = server.rule(&rule).await;
        let changes = changes(&before, &server.listing("dev").await);
        let example = &predicted.examples[0];
        let change = (example.name.clone(), example.before.clone(), example.after.clone());
        let expected = if example.before == example.after { Vec::new() } else { vec![change] };
        assert_eq!(changes, expected, "{rule:?}");
        let total = before.len() + usize::from(!before.contains_key(&example.name));
        assert_eq!(predicted.total, total, "{rule:?}");
        block_rule::delete(&server.backend.state, vec![(created, created)]).await.expect("deleted");
    }
    // A rule that is changed does not count beside its new form.
    let changed = Rule { id, ..about("yaml", "") };
    let found = server.matches(&changed).await;
    assert_eq!((examples(&found), found.archived), (vec!["yaml 2.3.10 -> none".to_owned()], 1));
    let changed = Rule { id: blocked, ..about("other6", "") };
    assert_eq!(examples(&server.matches(&changed).await), ["other6 1.0 -> none"]);
    let changed = Rule { id: blocked, ..block(Criteria::default()) };
    let found = server.matches(&changed).await;
    assert_eq!((found.packages, found.total), (15, 15), "other2 is listed without the rule");
    server.delete_rules().await;
}

async fn the_effects_of_a_guard_are_the_changes_of_the_index(server: Server) {
    server.backend.create_repository("own", &["internal"]).await;
    server.backend.create_repository("mirror", &["cran"]).await;
    server.backend.create_local_source("second").await;
    server.backend.add("second", "ours", "5.0").await;
    let Backend { repositories, state, .. } = &server.backend;
    let rows = state.db.read(rstudio_pm::db::name_guard::list).await.expect("rows");
    let id = |pattern: &str, automatic: bool| {
        let row = rows.iter().find(|row| row.pattern == pattern && row.automatic == automatic);
        row.unwrap_or_else(|| panic!("{pattern}: {rows:?}")).id
    };
    let rename = |name: &str| NameGuardChanges { name: Some(name.to_owned()), ..NameGuardChanges::default() };
    let give =
        |source: &str| NameGuardChanges { source: Some(source.to_owned()), ..NameGuardChanges::default() };
    let steps: [(i64, Option<NameGuardChanges>, &[&str]); 8] = [
        (
            id("acme.*", false),
            Some(rename("acme.w*")),
            &["dev: acme.db none -> 7.0 cran", "mirror: acme.db none -> 7.0 cran"],
        ),
        (
            id("acme.*", false),
            Some(rename("acme*")),
            &["dev: acme.db 7.0 cran -> none", "mirror: acme.db 7.0 cran -> none"],
        ),
        (
            id("ours", false),
            Some(give("second")),
            &["dev: ours 2.1 internal -> none", "own: ours 2.1 internal -> none"],
        ),
        (
            id("ours", false),
            Some(give("internal")),
            &["dev: ours none -> 2.1 internal", "own: ours none -> 2.1 internal"],
        ),
        (id("ours", true), None, &[]),
        (id("ours", false), None, &["dev: ours 2.1 internal -> 99.0 cran", "mirror: ours none -> 99.0 cran"]),
        (id("later", true), None, &["dev: later 1.0 internal -> 9.0 cran", "mirror: later none -> 9.0 cran"]),
        (id("acme.*", false), None, &["dev: acme.db none -> 7.0 cran", "mirror: acme.db none -> 7.0 cran"]),
    ];
    for (id, change, expected) in steps {
        let run = async |is_dry_run: bool| match &change {
            Some(change) => name_guard::update(repositories, state, id, change, is_dry_run).await,
            None => name_guard::delete(repositories, state, id, is_dry_run).await,
        };
        let listings = async || {
            let mut all = Vec::new();
            for repo in ["dev", "mirror", "own"] {
                all.push((repo, server.listing(repo).await));
            }
            all
        };
        let before = listings().await;
        let planned = run(true).await.expect("a plan").changes;
        assert_eq!(listings().await, before, "{expected:?}: a dry run");
        let done = run(false).await.expect("a change").changes;
        let texts: Vec<String> = done.iter().map(|change| server.change_text(change)).collect();
        assert_eq!(texts, expected);
        assert_eq!(planned, done, "{expected:?}");
        let mut served = Vec::new();
        for ((repo, before), (_, after)) in before.iter().zip(listings().await) {
            let of_repo = changes(before, &after).into_iter();
            served.extend(of_repo.map(|(name, before, after)| ((*repo).to_owned(), name, before, after)));
        }
        let version = |package: &Option<ProvidedPackage>| {
            package.as_ref().map(|package| package.version.clone().expect("a version"))
        };
        let reported: Vec<_> = done
            .iter()
            .map(|it| (it.repo.clone(), it.name.clone(), version(&it.before), version(&it.after)))
            .collect();
        assert_eq!(reported, served, "{expected:?}");
    }
}

async fn a_subscription_warns_about_names_of_two_sources_that_no_guard_hides(server: Server) {
    let Backend { repositories, state, .. } = &server.backend;
    let warnings = async |repo: &str, source: &str| {
        shared_names::warnings(repositories, repo, source, None).await.expect("warnings")
    };
    assert_eq!(warnings("dev", "internal").await, [] as [&str; 0], "guards hide all common names");
    server.backend.add("internal", "other4", "5.0").await;
    let advice = "rspm audit names lists such names; rspm create name-guard hides those of the other source";
    let expected = format!(
        "the sources cran and internal both have the package 'other4'; cran, which precedes internal in the repository 'dev', \
         provides it. {advice}"
    );
    for source in ["cran", "internal"] {
        assert_eq!(warnings("dev", source).await, std::slice::from_ref(&expected), "{source}");
    }
    for name in ["other1", "other2", "Other3"] {
        server.backend.add("internal", name, "5.0").await;
    }
    server.backend.create_repository("reverse", &["internal", "cran"]).await;
    let expected = |examples: &str| {
        format!(
            "the sources internal and cran both have {examples}; internal, which precedes cran in the repository 'reverse', \
             provides them. {advice}"
        )
    };
    assert_eq!(warnings("reverse", "cran").await, [expected("3 packages: other1, other2, other4")]);
    server.backend.add("internal", "other0", "5.0").await;
    assert_eq!(warnings("reverse", "cran").await, [expected("4 packages, such as other0, other1, other2")]);
    // A name that rules block is not listed; a guard decides about a name; local sources share names on purpose.
    server
        .rule(&block(Criteria {
            version: Some("1.0".parse().expect("a range")),
            ..about("other0", "").criteria
        }))
        .await;
    server.guard("other1", "internal").await;
    assert_eq!(warnings("reverse", "cran").await, [expected("2 packages: other2, other4")]);
    server.backend.create_local_source("second").await;
    server.backend.add("second", "other2", "1.0").await;
    edit::subscription::subscribe(state, "reverse", "second", None, OnExisting::Fail, &actor())
        .await
        .expect("subscribed");
    let of_second = warnings("reverse", "second").await;
    assert_eq!(of_second.len(), 1, "{of_second:?}");
    assert!(
        of_second[0].starts_with("the sources cran and second both have the package 'other2'"),
        "{of_second:?}"
    );
}
