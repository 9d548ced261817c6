//! Rules and advisories in promoted repositories, on both databases: nothing appears above the approved plan, and what is
//! taken away is recorded.

use std::sync::Arc;

use rstudio_pm::advisory::{AdvisoryFeed, Batch, Format, Index};
use rstudio_pm::db::audit::{self, AuditRow, Filter};
use rstudio_pm::edit::promotion::{self, Opening, PromotionRequest};
use rstudio_pm::edit::{self, OnExisting, RepoEdit, block_rule};
use rstudio_pm::index::PageReads;
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::kind::{ChangePolicy, RepoKind, SourceKind};
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::model::time::SECOND;
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::serve::{self, RepoError};
use rstudio_pm::sync::Sync;
use rstudio_pm::upkeep::withheld::RecordedRules;
use serde_json::Value;

use super::{listing, point};
use crate::support::advisories::record;
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
    a_version_that_comes_of_age_waits_for_the_next_promotion
    a_fix_that_is_known_after_the_promotion_is_not_admitted
    what_rules_and_advisories_no_longer_withhold_waits_for_the_next_promotion
    a_policy_of_promotions_keeps_what_rules_withhold
    a_promoted_state_is_promoted_further_without_what_rules_withheld
    a_rule_that_ends_while_a_plan_is_made_is_in_the_plan_or_not
    what_rules_start_and_cease_to_withhold_is_recorded
}

/// The repositories `dev` and `prod` of a mirror that lists old 2.0 of 2024-03-01 (before: 1.0) and twelve others. The
/// clock is at 2024-03-01 12:00, and releases must be 14 days old.
struct Server {
    backend: Backend,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(engine: db::Engine) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mirror = MirrorDir::new(folder.path());
        mirror.simple("old", "1.0", "2024-02-01");
        for number in 0..12 {
            mirror.simple(&format!("other{number}"), "1.0", "2024-02-01");
        }
        let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.expect("no panic");
        let gcfg = format!("{settings}\n[CRAN]\nURL = {}", mirror.url());
        let backend = Backend::with_stores(StoresConfig { gcfg }).await;
        sync(&backend, &mirror).await;
        mirror.simple("old", "2.0", "2024-03-01");
        sync(&backend, &mirror).await;
        backend.create_repository("dev", &["cran"]).await;
        let server = Server { backend, _folder: folder };
        let min_age = Some(14 * 86_400 * SECOND);
        server.rule(RuleEffect::Block, Criteria { min_age, fixes_pass: true, ..Criteria::default() }).await;
        server.create_promoted("prod").await;
        server
    }

    async fn create_promoted(&self, name: &str) {
        let name = name.parse().expect("a name");
        let changes = ChangePolicy::Promotion;
        let new = edit::NewRepo { changes, ..edit::NewRepo::open(&name, RepoKind::R, "") };
        edit::repo::create(&self.backend.state, new, OnExisting::Fail, &actor()).await.expect("a repository");
    }

    async fn promote(&self) -> bool {
        self.promote_to("dev", "prod").await
    }

    async fn promote_to(&self, from: &str, to: &str) -> bool {
        self.promote_during(from, to, std::future::ready(())).await
    }

    /// Promotes the newest state of a repository during a change, and checks that the recorded plan names the versions of
    /// `old` that the other one listed before and lists after both. Returns false if that has the state already.
    async fn promote_during(&self, from: &str, to: &str, change: impl Future<Output = ()>) -> bool {
        let before = self.old(to, "latest").await;
        let (snapshot, comment) = ("latest".parse().expect("a snapshot"), String::new());
        let opening = Opening::Permitted;
        let request =
            PromotionRequest { from: from.to_owned(), to: to.to_owned(), snapshot, comment, opening };
        let Backend { repositories, state, .. } = &self.backend;
        let ann = person("ann (uid 1)");
        let (requested, ()) = tokio::join!(promotion::request(repositories, state, request, &ann), change);
        let Some(promotion) = requested.expect("accepted") else { return false };
        let plan = promotion::plan_of(state, promotion.id).await.expect("a plan");
        let planned = plan.packages.iter().find(|package| package.name == "old");
        let planned = planned.map(|package| [&package.from_version, &package.to_version].map(Clone::clone));
        let versions = [before, self.old(to, "latest").await];
        let changed = (versions[0] != versions[1])
            .then(|| versions.map(|version| Some(version).filter(|version| !version.is_empty())));
        assert_eq!(planned, changed, "{plan:?}");
        true
    }

    /// Creates a rule; returns its id.
    async fn rule(&self, effect: RuleEffect, criteria: Criteria) -> i64 {
        let priority = if effect == RuleEffect::Allow { 50 } else { 100 };
        let rule = Rule { id: 0, priority, effect, criteria, description: String::new() };
        block_rule::create(&self.backend.state, &[rule], &actor()).await.expect("a rule")[0]
    }

    async fn delete_rule(&self, id: i64) {
        block_rule::delete(&self.backend.state, vec![(id, id)]).await.expect("deleted");
    }

    /// Puts advisories in force.
    fn advise(&self, records: &[Value]) {
        let mut batch = Batch::default();
        for (number, record) in records.iter().enumerate() {
            batch.add_file(&format!("{number}.json"), Format::Json, record.to_string().as_bytes());
        }
        let digest = Sha256([u8::try_from(records.len()).expect("few"); 32]);
        let feed = AdvisoryFeed { name: "feed".to_owned(), digest, batch };
        self.backend.state.advisories.set(Arc::new(Index::new(vec![feed])));
    }

    /// The version of `old` in the index of a snapshot; empty if it has none.
    async fn old(&self, repo: &str, snapshot: &str) -> String {
        let all = listing(&self.backend, repo, snapshot).await;
        let found = all.split(", ").find_map(|package| package.strip_prefix("old "));
        found.unwrap_or_default().to_owned()
    }

    /// Why the file of a version of `old` is refused; `None` if it is served.
    async fn refusal(&self, repo: &str, version: &str) -> Option<String> {
        let point = point(&self.backend, repo, "latest").await;
        let file = format!("old_{version}.tar.gz");
        match serve::file::locate(&self.backend.repositories, &point, "old", version, &file, true).await {
            Ok(_) => None,
            Err(RepoError::Blocked(blocked)) => Some(blocked.to_string()),
            Err(error) => panic!("{file}: {error}"),
        }
    }

    async fn trail(&self, action: &str) -> Vec<AuditRow> {
        let filter = Filter { until: i64::MAX, action: action.to_owned(), limit: 100, ..Filter::default() };
        self.backend.state.db.read(move |c| audit::list(c, &filter)).await.expect("rows")
    }
}

async fn sync(backend: &Backend, mirror: &MirrorDir) {
    mirror.write();
    let sync = Sync::new(PageReads::new(backend.state.clone()), backend.state.clone());
    let start = sync.start(SourceKind::Cran).expect("cran is synced");
    start.job().wait_end().await.unwrap_or_else(|error| panic!("{error}"));
}

fn about_old(version: &str) -> Criteria {
    let version = Some(version.parse().expect("a range"));
    Criteria { package: Some("old".to_owned()), version, ..Criteria::default() }
}

async fn a_version_that_comes_of_age_waits_for_the_next_promotion(server: Server) {
    assert!(server.promote().await);
    assert_eq!(server.old("prod", "latest").await, "1.0");
    for day in ["2024-03-02", "2024-03-14", "2024-03-16", "2024-03-28"] {
        server.backend.advance_to_noon(day);
        let expected = if day < "2024-03-15" { "1.0" } else { "2.0" };
        assert_eq!(server.old("dev", "latest").await, expected, "{day}");
        for snapshot in ["latest", day, "2024-03-01"] {
            assert_eq!(server.old("prod", snapshot).await, "1.0", "{day}: {snapshot}");
        }
        let refusal = server.refusal("prod", "2.0").await.expect("refused");
        assert!(refusal.contains("younger than 14 days"), "{refusal}");
        assert_eq!(server.refusal("prod", "1.0").await, None);
    }
    // The state of the sources is the same, but the plan is another one.
    assert!(server.promote().await);
    assert_eq!(server.old("prod", "latest").await, "2.0");
    assert_eq!(server.old("prod", "2024-03-27").await, "1.0", "what was served on that day");
    assert!(!server.promote().await, "nothing changed any more");
    // The same states after a start.
    let backend = server.backend.restart().await;
    let server = Server { backend, ..server };
    assert_eq!(server.old("prod", "latest").await, "2.0");
    assert_eq!(server.old("prod", "2024-03-27").await, "1.0");
}

async fn a_fix_that_is_known_after_the_promotion_is_not_admitted(server: Server) {
    assert!(server.promote().await);
    // Their publication times are before the promotion, after it, and unknown.
    let mut early = record("RSEC-1", "CRAN", "old", "2.0");
    early["published"] = "2024-02-01T00:00:00Z".into();
    let late = record("RSEC-2", "CRAN", "old", "2.0");
    let mut unknown = record("RSEC-3", "CRAN", "old", "2.0");
    unknown.as_object_mut().expect("an object").remove("published");
    for advisory in [early.clone(), late, unknown] {
        server.advise(std::slice::from_ref(&advisory));
        assert_eq!(server.old("dev", "latest").await, "2.0", "{advisory}");
        assert_eq!(server.old("prod", "latest").await, "1.0", "{advisory}");
        assert!(server.refusal("prod", "2.0").await.is_some(), "{advisory}");
    }
    server.advise(&[early]);
    assert!(server.promote().await, "the next plan has the fix");
    assert_eq!(server.old("prod", "latest").await, "2.0");
    // What is admitted in the plan is not refused when it is no longer a fix, because later rules alone take versions
    // away: the rule about the age.
    server.advise(&[]);
    assert_eq!(server.old("prod", "latest").await, "1.0");
}

async fn what_rules_and_advisories_no_longer_withhold_waits_for_the_next_promotion(server: Server) {
    server.backend.advance_to_noon("2024-03-28");
    server.advise(&[record("RSEC-1", "CRAN", "old", "9.0")]);
    let named = server.rule(RuleEffect::Block, about_old("2.0")).await;
    let vulns =
        Criteria { vulns: true, version: Some(">=2.0".parse().expect("a range")), ..Criteria::default() };
    let vulns = server.rule(RuleEffect::Block, vulns).await;
    assert!(server.promote().await);
    assert_eq!(server.old("prod", "latest").await, "1.0");
    // One of the rules, then the advisory, then the other rule end.
    server.delete_rule(named).await;
    assert_eq!(server.old("dev", "latest").await, "1.0");
    server.advise(&[]);
    assert_eq!(
        (server.old("dev", "latest").await, server.old("prod", "latest").await),
        ("2.0".into(), "1.0".into())
    );
    server.delete_rule(vulns).await;
    let refusal = server.refusal("prod", "2.0").await.expect("refused");
    assert!(refusal.contains("only another promotion lists it"), "{refusal}");
    // An exception lists nothing either.
    let exception = server.rule(RuleEffect::Allow, about_old("2.0")).await;
    assert_eq!(server.old("prod", "latest").await, "1.0");
    server.delete_rule(exception).await;
    // Without any rule, and after a start.
    server.delete_rule(1).await;
    assert!(server.backend.state.catalog.get().rules.is_empty());
    let backend = server.backend.restart().await;
    let server = Server { backend, ..server };
    assert_eq!(
        (server.old("dev", "latest").await, server.old("prod", "latest").await),
        ("2.0".into(), "1.0".into())
    );
    // Later rules take versions away.
    let later = server.rule(RuleEffect::Block, about_old("1.0")).await;
    assert_eq!(server.old("prod", "latest").await, "");
    server.delete_rule(later).await;
    assert_eq!(server.old("prod", "latest").await, "1.0", "it is in the plan");
    assert!(server.promote().await);
    assert_eq!(server.old("prod", "latest").await, "2.0");
}

async fn a_policy_of_promotions_keeps_what_rules_withhold(server: Server) {
    let edit = |changes| RepoEdit { changes: Some(changes), ..RepoEdit::default() };
    let state = &server.backend.state;
    edit::repo::edit(state, "dev", edit(ChangePolicy::TwoPersons), &actor()).await.expect("changed");
    server.backend.advance_to_noon("2024-03-28");
    assert_eq!(server.old("dev", "latest").await, "1.0");
    server.delete_rule(1).await;
    assert_eq!(server.old("dev", "latest").await, "1.0");
    edit::repo::edit(state, "dev", edit(ChangePolicy::Promotion), &actor()).await.expect("changed");
    assert_eq!(server.old("dev", "latest").await, "1.0", "both policies permit promotions only");
    edit::repo::edit(state, "dev", edit(ChangePolicy::Any), &actor()).await.expect("changed");
    assert_eq!(server.old("dev", "latest").await, "2.0");
    assert_eq!(server.old("dev", "2024-03-27").await, "1.0");
}

async fn a_promoted_state_is_promoted_further_without_what_rules_withheld(server: Server) {
    for name in ["test", "first", "last"] {
        server.create_promoted(name).await;
    }
    assert!(server.promote_to("dev", "test").await);
    assert_eq!(server.old("test", "latest").await, "1.0");
    server.backend.advance_to_noon("2024-03-28");
    assert!(server.promote_to("test", "first").await);
    server.delete_rule(1).await;
    assert!(server.promote_to("test", "last").await);
    for name in ["first", "last"] {
        assert_eq!(server.old(name, "latest").await, "1.0", "{name}");
        let refusal = server.refusal(name, "2.0").await.expect("refused");
        assert!(refusal.contains("only another promotion lists it"), "{refusal}");
        assert!(!server.promote_to("test", name).await, "nothing changed");
    }
    assert!(server.promote().await);
    assert_eq!(server.old("prod", "latest").await, "2.0");
    assert!(server.promote_to("dev", "test").await);
    assert!(server.promote_to("test", "last").await);
    assert_eq!(server.old("last", "latest").await, "2.0");
}

async fn a_rule_that_ends_while_a_plan_is_made_is_in_the_plan_or_not(server: Server) {
    let mut rule = server.rule(RuleEffect::Block, about_old("2.0")).await;
    server.delete_rule(1).await;
    for number in 0..40 {
        let name = format!("prod{number}");
        server.create_promoted(&name).await;
        let end = async {
            tokio::time::sleep(std::time::Duration::from_micros(500 * number)).await;
            server.delete_rule(rule).await;
        };
        assert!(server.promote_during("dev", &name, end).await);
        rule = server.rule(RuleEffect::Block, about_old("2.0")).await;
    }
}

async fn what_rules_start_and_cease_to_withhold_is_recorded(server: Server) {
    let state = &server.backend.state;
    let mut recorded = RecordedRules::default();
    recorded.record(state).await.expect("recorded");
    assert!(server.promote().await);
    recorded.record(state).await.expect("recorded");
    let details = async |action: &str| {
        let rows = server.trail(action).await;
        rows.into_iter().map(|row| format!("{}: {}", row.object, row.detail)).collect::<Vec<_>>()
    };
    assert_eq!(
        (details("withhold").await, details("release").await),
        (vec![], vec![]),
        "the first comparison, and one after a promotion"
    );
    let vulns = server.rule(RuleEffect::Block, Criteria { vulns: true, ..Criteria::default() }).await;
    recorded.record(state).await.expect("recorded");
    assert_eq!(details("withhold").await, [] as [&str; 0], "there is no advisory");
    server.advise(&[record("RSEC-1", "CRAN", "other3", "2.0")]);
    recorded.record(state).await.expect("recorded");
    let withheld = details("withhold").await;
    let expected = |repo: &str| format!("{repo}: other3 1.0: rule {vulns} (RSEC-1, without a score)");
    assert_eq!(withheld, [expected("dev"), expected("prod")]);
    recorded.record(state).await.expect("recorded");
    assert_eq!(details("withhold").await.len(), 2, "each change once");
    let now = (state.clock)();
    let alarms = state.db.read(move |c| rstudio_pm::db::promotion::alarms(c, now)).await.expect("rows");
    let prod = state.catalog.get().repo("prod").expect("prod").id;
    assert_eq!(
        alarms.iter().map(|alarm| alarm.repo).collect::<Vec<_>>(),
        [prod],
        "only of promoted repositories"
    );
    assert!(alarms[0].message.contains("other3 1.0: rule"), "{alarms:?}");
    // The passing of time is no change of a rule; the end of an advisory is one.
    server.backend.advance_to_noon("2024-03-28");
    recorded.record(state).await.expect("recorded");
    assert_eq!(details("release").await, [] as [&str; 0]);
    server.advise(&[]);
    recorded.record(state).await.expect("recorded");
    assert_eq!(details("release").await, ["dev: other3 1.0", "prod: other3 1.0"]);
    // The deletion of the rule about the age lists nothing in `prod`.
    server.delete_rule(1).await;
    let withheld_before = details("withhold").await;
    recorded.record(state).await.expect("recorded");
    assert_eq!(details("withhold").await, withheld_before);
    assert_eq!(details("release").await.len(), 2, "old 2.0 is old enough in dev");
    // A rule that follows another list of subscriptions is recorded, also if the list changed nothing.
    server.backend.create_local_source("empty").await;
    edit::subscription::subscribe(state, "dev", "empty", None, OnExisting::Fail, &actor())
        .await
        .expect("a list");
    recorded.record(state).await.expect("recorded");
    let other = Criteria { package: Some("other3".to_owned()), ..Criteria::default() };
    let rule = server.rule(RuleEffect::Block, other).await;
    recorded.record(state).await.expect("recorded");
    let withheld = details("withhold").await.split_off(withheld_before.len());
    assert!(withheld.contains(&format!("dev: other3 1.0: rule {rule}")), "{withheld:?}");
}
