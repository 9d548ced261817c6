//! Promotions between repositories on both databases: what is served, who must approve, what a race leaves.

use rstudio_pm::db::audit::{self, AuditRow, Filter};
use rstudio_pm::db::promotion::Promotion;
use rstudio_pm::edit::promotion::{self, Opening, Person, PromotionRequest};
use rstudio_pm::edit::{self, OnExisting, RemoveScope, RepoEdit};
use rstudio_pm::model::kind::{ChangePolicy, RepoKind};
use rstudio_pm::model::recorded_words::PromotionState;
use rstudio_pm::serve::RepoError;

use super::all_stores::{ObjectStore, stores};
use super::listing;
use crate::support::backend::{Backend, actor, person};
use crate::support::db;

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
    a_promoted_repository_serves_the_promoted_state_until_the_next_promotion
    what_is_approved_is_what_was_requested
    the_person_who_requested_does_not_approve
    one_identity_is_one_person_whatever_its_names_are
    another_change_supersedes_a_request
    only_one_of_two_concurrent_approvals_applies
    subscriptions_of_a_promoted_repository_are_not_changed_directly
    a_repository_returns_to_its_earlier_snapshot
    a_change_of_the_policy_keeps_the_state_or_follows_the_sources
    a_promoted_repository_is_promoted_further_with_its_state
    impossible_promotions_are_refused
    a_request_for_a_deleted_source_or_repository_is_not_approved
    a_change_of_the_policy_of_a_repository_without_sources_supersedes_a_request
    a_plan_is_what_the_promotion_changes
}

/// A backend with the repository `dev` of the local source `team`, which has alpha 1.0.
async fn environment(engine: db::Engine) -> Backend {
    let backend = Backend::with_stores(stores(engine, ObjectStore::Disk).await).await;
    backend.create_local_source("team").await;
    backend.create_repository("dev", &["team"]).await;
    backend.add("team", "alpha", "1.0").await;
    backend
}

async fn create(backend: &Backend, name: &str, changes: ChangePolicy) {
    let new =
        edit::NewRepo { changes, ..edit::NewRepo::open(&name.parse().expect("a name"), RepoKind::R, "") };
    edit::repo::create(&backend.state, new, OnExisting::Fail, &actor()).await.expect("a repository");
}

fn request(from: &str, to: &str, snapshot: &str) -> PromotionRequest {
    let snapshot = snapshot.parse().expect("a snapshot");
    let (from, to, comment) = (from.to_owned(), to.to_owned(), "release 7".to_owned());
    PromotionRequest { from, to, snapshot, comment, opening: Opening::Permitted }
}

async fn promote_as(backend: &Backend, to: &str, who: &str) -> Promotion {
    let promoted =
        promotion::request(&backend.repositories, &backend.state, request("dev", to, "latest"), &person(who))
            .await;
    promoted.expect("accepted").expect("a promotion")
}

async fn trail(backend: &Backend, action: &str) -> Vec<AuditRow> {
    let filter = Filter { until: i64::MAX, action: action.to_owned(), limit: 100, ..Filter::default() };
    backend.state.db.read(move |c| audit::list(c, &filter)).await.expect("rows")
}

async fn a_promoted_repository_serves_the_promoted_state_until_the_next_promotion(backend: Backend) {
    create(&backend, "prod", ChangePolicy::Promotion).await;
    assert_eq!(listing(&backend, "prod", "latest").await, "", "an empty index before the first promotion");
    let first = promote_as(&backend, "prod", "ann (uid 1000)").await;
    assert_eq!((first.id, first.state, first.tx.is_some()), (1, PromotionState::Applied, true));
    assert_eq!(first.decision.expect("a decision").by, "ann (uid 1000)");
    backend.add("team", "alpha", "1.1").await;
    backend.add("team", "beta", "2.0").await;
    let remove =
        edit::remove::remove(&backend.state, "team", "alpha", RemoveScope::Current, "", &actor()).await;
    assert_eq!(remove.expect("removed"), ["1.1"]);
    assert_eq!(listing(&backend, "dev", "latest").await, "alpha 1.0, beta 2.0");
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0");
    backend.advance_to_noon("2024-03-02");
    promote_as(&backend, "prod", "bob (uid 1001)").await;
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0, beta 2.0");
    assert_eq!(listing(&backend, "prod", "2024-03-01").await, "alpha 1.0", "the day before");
    let rows = trail(&backend, "promote").await;
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].object_kind.as_str(), rows[0].object.as_str()), ("repository", "prod"));
    for part in
        ["promotion 1 of 'dev' as of 2024-03-01T12:00", "requested by ann", "approved by ann", "release 7"]
    {
        assert!(rows[0].detail.contains(part), "{part}: {}", rows[0].detail);
    }
    // The catalog that a start loads has the same states.
    backend.add("team", "gamma", "1.0").await;
    let backend = backend.restart().await;
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0, beta 2.0");
    let again = promotion::request(
        &backend.repositories,
        &backend.state,
        request("prod", "prod", "latest"),
        &person("ann (uid 1000)"),
    )
    .await;
    assert!(again.expect("accepted").is_none(), "the repository has that state already");
}

async fn what_is_approved_is_what_was_requested(backend: Backend) {
    create(&backend, "prod", ChangePolicy::TwoPersons).await;
    let requested = promote_as(&backend, "prod", "ann (uid 1000)").await;
    assert_eq!((requested.state, requested.decision, requested.tx), (PromotionState::Requested, None, None));
    assert_eq!(listing(&backend, "prod", "latest").await, "", "nothing before the approval");
    // The source and the list of the other repository change before the approval.
    backend.add("team", "alpha", "1.1").await;
    backend.create_local_source("more").await;
    edit::subscription::subscribe(&backend.state, "dev", "more", None, OnExisting::Fail, &actor())
        .await
        .expect("subscribed");
    backend.add("more", "delta", "1.0").await;
    let approved =
        promotion::approve(&backend.state, 1, "checked", &person("bob (token 0a1b)"), Opening::Permitted)
            .await;
    let approved = approved.expect("applied");
    assert_eq!(
        (approved.state, approved.decision.expect("a decision").reason.as_str()),
        (PromotionState::Applied, "checked")
    );
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0");
    let detail = &trail(&backend, "promote").await[0].detail;
    assert!(detail.contains("requested by ann (uid 1000), approved by bob (token 0a1b)"), "{detail}");
    assert_eq!(trail(&backend, "request promotion").await.len(), 1);
    let again = promotion::approve(&backend.state, 1, "", &person("eve (uid 7)"), Opening::Permitted)
        .await
        .expect_err("applied");
    assert_eq!(again.to_string(), "promotion 1 was applied already");
}

async fn the_person_who_requested_does_not_approve(backend: Backend) {
    create(&backend, "prod", ChangePolicy::TwoPersons).await;
    promote_as(&backend, "prod", "ann (uid 1000)").await;
    let looks_the_same = [
        "\u{ff41}\u{ff4e}\u{ff4e} (token 2)",
        "ann\u{200b} (token 3)",
        "a\u{ad}nn (session 6)",
        "ann@pharma.example (session 7)",
    ];
    for same in ["ann (uid 1000)", "ann (token 0a1b)", "Ann (session 5)"].into_iter().chain(looks_the_same) {
        let error = promotion::approve(&backend.state, 1, "", &person(same), Opening::Permitted)
            .await
            .expect_err("refused");
        assert!(error.to_string().contains("another person must approve it"), "{error}");
    }
    assert_eq!(listing(&backend, "prod", "latest").await, "");
    let attempts = trail(&backend, "approve promotion").await;
    assert_eq!(attempts.len(), 7);
    assert!(attempts.iter().all(|row| row.outcome == "refused" && row.object == "prod"));
    let rejected = promotion::reject(&backend.state, 1, "too early", &person("ann (uid 1000)").actor).await;
    assert_eq!(rejected.expect("rejected").state, PromotionState::Rejected);
    let error = promotion::approve(&backend.state, 1, "", &person("bob (uid 1)"), Opening::Permitted)
        .await
        .expect_err("refused");
    assert_eq!(error.to_string(), "promotion 1 was rejected");
    let unknown = promotion::approve(&backend.state, 9, "", &person("bob (uid 1)"), Opening::Permitted)
        .await
        .expect_err("unknown");
    assert!(matches!(unknown, RepoError::NotFound(_)), "{unknown}");
}

async fn one_identity_is_one_person_whatever_its_names_are(backend: Backend) {
    create(&backend, "prod", ChangePolicy::TwoPersons).await;
    let signed_in =
        |name: &str, unique_id: &str| Person { unique_id: Some(unique_id.to_owned()), ..person(name) };
    let requester = signed_in("ann (session 1)", "subject 7");
    let request = request("dev", "prod", "latest");
    promotion::request(&backend.repositories, &backend.state, request, &requester).await.expect("requested");
    let same = signed_in("maria (token 2)", "subject 7");
    let error =
        promotion::approve(&backend.state, 1, "", &same, Opening::Permitted).await.expect_err("refused");
    assert!(error.to_string().contains("another person must approve it"), "{error}");
    // The identity is compared after a restart too.
    let backend = backend.restart().await;
    assert!(promotion::approve(&backend.state, 1, "", &same, Opening::Permitted).await.is_err());
    assert_eq!(listing(&backend, "prod", "latest").await, "");
    let other = signed_in("bob (session 3)", "subject 8");
    let approved = promotion::approve(&backend.state, 1, "", &other, Opening::Permitted).await;
    assert_eq!(approved.expect("applied").state, PromotionState::Applied);
}

async fn another_change_supersedes_a_request(backend: Backend) {
    create(&backend, "prod", ChangePolicy::TwoPersons).await;
    promote_as(&backend, "prod", "ann (uid 1000)").await;
    backend.add("team", "beta", "1.0").await;
    promote_as(&backend, "prod", "ann (uid 1000)").await;
    promotion::approve(&backend.state, 2, "", &person("bob (uid 1)"), Opening::Permitted)
        .await
        .expect("applied");
    let error = promotion::approve(&backend.state, 1, "", &person("bob (uid 1)"), Opening::Permitted)
        .await
        .expect_err("superseded");
    assert_eq!(
        error.to_string(),
        "promotion 1 was superseded: the repository 'prod' changed after the request; request it again with rspm promote \
         --from=dev --to=prod"
    );
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0, beta 1.0");
    let all = promotion::list(&backend.state, None, None, 10).await.expect("rows");
    let states: Vec<_> = all.iter().map(|promotion| (promotion.id, promotion.state)).collect();
    assert_eq!(states, [(2, PromotionState::Applied), (1, PromotionState::Superseded)]);
    let waiting = promotion::list(&backend.state, None, Some(PromotionState::Requested), 10).await;
    assert!(waiting.expect("rows").is_empty());
}

async fn only_one_of_two_concurrent_approvals_applies(backend: Backend) {
    create(&backend, "prod", ChangePolicy::TwoPersons).await;
    promote_as(&backend, "prod", "ann (uid 1000)").await;
    let before = backend.state.catalog.get().transactions.len();
    let (bob, eve) = (person("bob (uid 1)"), person("eve (uid 2)"));
    let (first, second) = tokio::join!(
        promotion::approve(&backend.state, 1, "", &bob, Opening::Permitted),
        promotion::approve(&backend.state, 1, "", &eve, Opening::Permitted)
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(backend.state.catalog.get().transactions.len(), before + 1);
}

async fn subscriptions_of_a_promoted_repository_are_not_changed_directly(backend: Backend) {
    create(&backend, "prod", ChangePolicy::Promotion).await;
    promote_as(&backend, "prod", "ann (uid 1000)").await;
    let state = &backend.state;
    for result in [
        edit::subscription::subscribe(state, "prod", "cran", None, OnExisting::Fail, &actor()).await,
        edit::subscription::subscribe(state, "prod", "team", None, OnExisting::Succeed, &actor()).await,
        edit::subscription::unsubscribe(state, "prod", "team", None, &actor()).await,
        edit::subscription::reorder(state, "prod", &["team".to_owned()], &actor()).await,
    ] {
        let error = result.expect_err("refused").to_string();
        assert_eq!(
            error,
            "the repository 'prod' accepts changes by promotion only: change the repository that it is promoted from, then run \
             rspm promote --from=NAME --to=prod; or allow all changes with rspm edit repo --name=prod --changes=any"
        );
    }
    assert_eq!(state.catalog.get().repo("prod").expect("a repository").steps.len(), 1);
}

async fn a_repository_returns_to_its_earlier_snapshot(backend: Backend) {
    create(&backend, "prod", ChangePolicy::Promotion).await;
    let first = promote_as(&backend, "prod", "ann (uid 1000)").await.tx.expect("a transaction");
    backend.add("team", "alpha", "1.1").await;
    promote_as(&backend, "prod", "ann (uid 1000)").await;
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.1");
    let back = request("prod", "prod", &first.to_string());
    let back = promotion::request(&backend.repositories, &backend.state, back, &person("ann (uid 1000)"))
        .await
        .expect("accepted");
    assert_eq!(back.expect("a promotion").state, PromotionState::Applied);
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0");
    let modified = |point: rstudio_pm::model::point::Point| point.modified.expect("a time");
    let second = super::point(&backend, "prod", "latest").await;
    assert!(
        modified(second) > backend.state.catalog.get().instant(first).expect("a time"),
        "Last-Modified grows"
    );
}

async fn a_change_of_the_policy_keeps_the_state_or_follows_the_sources(backend: Backend) {
    let set = async |changes| {
        let edit = RepoEdit { changes: Some(changes), ..RepoEdit::default() };
        edit::repo::edit(&backend.state, "dev", edit, &actor()).await.expect("edited");
    };
    set(ChangePolicy::TwoPersons).await;
    backend.add("team", "beta", "1.0").await;
    assert_eq!(
        listing(&backend, "dev", "latest").await,
        "alpha 1.0",
        "the state of the change of the policy"
    );
    set(ChangePolicy::Promotion).await;
    assert_eq!(listing(&backend, "dev", "latest").await, "alpha 1.0");
    set(ChangePolicy::Any).await;
    assert_eq!(listing(&backend, "dev", "latest").await, "alpha 1.0, beta 1.0");
    backend.add("team", "gamma", "1.0").await;
    assert_eq!(listing(&backend, "dev", "latest").await, "alpha 1.0, beta 1.0, gamma 1.0");
    let rows = trail(&backend, "edit repository").await;
    let details: Vec<&str> = rows.iter().map(|row| row.detail.as_str()).collect();
    assert_eq!(details, ["changes: two-persons", "changes: promotion", "changes: any"]);
    let violations = backend.state.db.read(rstudio_pm::db::invariants::violations).await.expect("rows");
    assert!(violations.is_empty(), "{violations:?}");
    // --succeed-on-existing does not accept an existing repository with less protection.
    let new = edit::NewRepo {
        changes: ChangePolicy::TwoPersons,
        ..edit::NewRepo::open(&"dev".parse().expect("a name"), RepoKind::R, "")
    };
    let existing = edit::repo::create(&backend.state, new, OnExisting::Succeed, &actor()).await;
    assert!(matches!(existing, Err(RepoError::Conflict(_))), "{existing:?}");
}

async fn a_promoted_repository_is_promoted_further_with_its_state(backend: Backend) {
    create(&backend, "test", ChangePolicy::Promotion).await;
    create(&backend, "prod", ChangePolicy::Promotion).await;
    promote_as(&backend, "test", "ann (uid 1000)").await;
    backend.add("team", "alpha", "1.1").await;
    let onward = promotion::request(
        &backend.repositories,
        &backend.state,
        request("test", "prod", "latest"),
        &person("test"),
    )
    .await;
    assert!(onward.expect("accepted").is_some());
    assert_eq!(
        listing(&backend, "prod", "latest").await,
        "alpha 1.0",
        "the state of test, not of its sources"
    );
}

async fn impossible_promotions_are_refused(backend: Backend) {
    create(&backend, "prod", ChangePolicy::Promotion).await;
    backend.create_repository("empty", &[]).await;
    let python = edit::NewRepo {
        changes: ChangePolicy::Promotion,
        ..edit::NewRepo::open(&"py".parse().expect("a name"), RepoKind::Python, "")
    };
    edit::repo::create(&backend.state, python, OnExisting::Fail, &actor()).await.expect("a repository");
    for (from, to, snapshot, words) in [
        ("prod", "dev", "latest", "first run: rspm edit repo --name=dev --changes=promotion"),
        ("dev", "py", "latest", "both must be of one type"),
        ("dve", "prod", "latest", "there is no repository 'dve'"),
        ("empty", "prod", "latest", "this repository has no snapshot yet"),
        ("dev", "prod", "2030-01-01", "is in the future"),
        ("dev", "prod", "99", "there is no transaction 99"),
    ] {
        let result = promotion::request(
            &backend.repositories,
            &backend.state,
            request(from, to, snapshot),
            &person("test"),
        )
        .await;
        let error = result.expect_err(words).to_string();
        assert!(error.contains(words), "{words}: {error}");
        let plan = promotion::plan(&backend.repositories, &backend.state, &request(from, to, snapshot))
            .await
            .expect_err(words);
        assert_eq!(plan.to_string(), error);
    }
    assert!(promotion::list(&backend.state, None, None, 10).await.expect("rows").is_empty());
}

async fn a_request_for_a_deleted_source_or_repository_is_not_approved(backend: Backend) {
    create(&backend, "prod", ChangePolicy::TwoPersons).await;
    create(&backend, "gone", ChangePolicy::TwoPersons).await;
    promote_as(&backend, "prod", "ann (uid 1000)").await;
    promote_as(&backend, "gone", "ann (uid 1000)").await;
    edit::repo::delete(&backend.state, "gone").await.expect("deleted");
    let bob = person("bob (uid 1)");
    let error = promotion::approve(&backend.state, 2, "", &bob, Opening::Permitted)
        .await
        .expect_err("deleted")
        .to_string();
    assert!(error.starts_with("promotion 2 was superseded"), "{error}");
    let plan = promotion::plan_of(&backend.state, 2).await.expect("the record stays");
    assert_eq!(plan.packages[0].name, "alpha");
    edit::subscription::unsubscribe(&backend.state, "dev", "team", None, &actor())
        .await
        .expect("unsubscribed");
    edit::source::delete(&backend.state, "team").await.expect("deleted");
    let error = promotion::approve(&backend.state, 1, "", &bob, Opening::Permitted)
        .await
        .expect_err("deleted")
        .to_string();
    assert!(error.starts_with("a source of promotion 1 was deleted after the request"), "{error}");
    assert_eq!(listing(&backend, "prod", "latest").await, "");
}

async fn a_change_of_the_policy_of_a_repository_without_sources_supersedes_a_request(backend: Backend) {
    create(&backend, "prod", ChangePolicy::TwoPersons).await;
    promote_as(&backend, "prod", "ann (uid 1000)").await;
    for changes in [ChangePolicy::Any, ChangePolicy::Promotion] {
        let policy = RepoEdit { changes: Some(changes), ..RepoEdit::default() };
        edit::repo::edit(&backend.state, "prod", policy, &actor()).await.expect("changed");
        let approval =
            promotion::approve(&backend.state, 1, "", &person("bob (uid 1)"), Opening::Permitted).await;
        let error = approval.expect_err("superseded").to_string();
        assert!(error.starts_with("promotion 1 was superseded"), "{error}");
    }
    assert_eq!(listing(&backend, "prod", "latest").await, "");
    promote_as(&backend, "prod", "ann (uid 1000)").await;
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0");
}

async fn a_plan_is_what_the_promotion_changes(backend: Backend) {
    create(&backend, "prod", ChangePolicy::Promotion).await;
    backend.add("team", "beta", "1.0").await;
    promote_as(&backend, "prod", "ann (uid 1000)").await;
    backend.create_local_source("more").await;
    edit::subscription::subscribe(&backend.state, "dev", "more", None, OnExisting::Fail, &actor())
        .await
        .expect("subscribed");
    backend.add("team", "alpha", "1.1").await;
    backend.add("more", "gamma", "0.1").await;
    edit::remove::remove(&backend.state, "team", "beta", RemoveScope::All, "", &actor())
        .await
        .expect("removed");
    let texts = |plan: &promotion::plan::PromotedChanges| -> (Vec<String>, Vec<String>) {
        let package = |change: &rstudio_pm::serve::difference::Change| {
            let version = |listed: &Option<rstudio_pm::serve::difference::ListedPackage>| {
                listed.as_ref().map_or("-".to_owned(), |listed| listed.version.clone())
            };
            format!(
                "{} {} {} {}",
                change.name,
                change.kind.as_str(),
                version(&change.from),
                version(&change.to)
            )
        };
        let source = |change: &promotion::plan::SourceChange| {
            let state = |state: Option<promotion::plan::SubscribedState>| {
                state.map_or("-".to_owned(), |s| format!("{}@{}", s.position, s.transaction.expect("a step")))
            };
            format!("{} {} {}", change.subscription.source, state(change.before), state(change.after))
        };
        (plan.packages.iter().map(package).collect(), plan.sources.iter().map(source).collect())
    };
    let planned = promotion::plan(&backend.repositories, &backend.state, &request("dev", "prod", "latest"))
        .await
        .expect("a plan");
    let (packages, sources) = texts(&planned);
    assert_eq!(packages, ["alpha updated 1.0 1.1", "beta removed 1.0 -", "gamma added - 0.1"]);
    assert_eq!(sources, ["4 1@3 1@8", "5 - 2@7"]);
    let transaction = planned.transaction.expect("a transaction");
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0, beta 1.0", "a plan changes nothing");
    // The snapshot that the plan names is the planned state, also after another change.
    backend.add("team", "alpha", "1.2").await;
    let exact = request("dev", "prod", &transaction.to_string());
    let promoted = promotion::request(&backend.repositories, &backend.state, exact, &person("test"))
        .await
        .expect("accepted")
        .expect("a promotion");
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.1, gamma 0.1");
    let recorded = promotion::plan_of(&backend.state, promoted.id).await.expect("a plan");
    let planned = promotion::plan::record(&backend.state.catalog.get(), planned);
    assert_eq!((recorded.packages, recorded.sources), (planned.packages, planned.sources), "the record");
    let sha256 = recorded.sha256.expect("a digest");
    assert!(trail(&backend, "promote").await[1].detail.contains(&format!("plan {sha256}")));
    assert_eq!(sources.len(), 2);
}
