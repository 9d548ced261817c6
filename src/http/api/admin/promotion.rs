//! Promotions: plan, request, list, approve, reject.

use http::StatusCode;

use super::call::{Answer, Call, WithStatus};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::route::access::{administer, inspect_repository, promote_repository};
use api::promotion::{
    DecidePromotion, ListPromotions, PromotedSource, Promotion, PromotionPlan, RequestPromotion,
    RequestedPromotion,
};
use base::access::ScopeKind;
use base::model::ids::SourceId;
use base::model::recorded_words::PromotionState;
use base::model::snapshot::{BadSnapshot, Snapshot};
use content::serve::find;
use runtime::catalog::{Catalog, Repository};
use store::db::promotion;
use tasks::edit::Actor;
use tasks::edit::promotion::plan::record;
use tasks::edit::promotion::{self as edit, Opening, Person, PromotionRequest};

/// Maximum number of promotions in a list.
const MAX_LIST: i64 = 1_000;
/// Maximum length of a comment, in bytes.
const MAX_COMMENT: usize = 1_000;

pub(super) async fn request(
    call: Call<'_>,
    name: &str,
    body: RequestPromotion,
) -> Answer<WithStatus<RequestedPromotion>> {
    let Call { app, principal, actor, .. } = call;
    principal.require(&app.state.catalog.get(), inspect_repository(&body.from))?;
    let snapshot = body.snapshot.as_deref().map_or(Ok(Snapshot::Latest), str::parse);
    let snapshot = snapshot.map_err(|error: BadSnapshot| Failure::bad_request(error.to_string()))?;
    if matches!(snapshot, Snapshot::Alias(_)) {
        let text =
            "a promotion takes the state of latest, of a day or of a transaction, not that of a fixed URL";
        return Err(Failure::bad_request(text));
    }
    let comment = comment(&body.comment)?;
    let opening = opening(principal);
    let request = PromotionRequest { from: body.from, to: name.to_owned(), snapshot, comment, opening };
    if body.plan {
        let plan = edit::plan(&app.repositories, &app.state, &request).await?;
        let catalog = app.state.catalog.get();
        let plan = record(&catalog, plan);
        let plan = with_warnings(&catalog, principal, find::repo(&catalog, name).ok(), plan);
        return Ok(WithStatus(StatusCode::OK, RequestedPromotion { plan: Some(plan), promotion: None }));
    }
    let promotion = edit::request(&app.repositories, &app.state, request, &person(principal, actor)).await?;
    let status = if promotion.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let promotion = promotion.map(|promotion| wire(app, promotion));
    Ok(WithStatus(status, RequestedPromotion { promotion, plan: None }))
}

pub(super) async fn list(call: Call<'_>, query: ListPromotions) -> Answer<Vec<Promotion>> {
    let app = call.app;
    let repo = match &query.repo {
        None => None,
        Some(name) => Some(find::repo(&app.state.catalog.get(), name)?.id),
    };
    let state = query.state.as_deref().map(str::parse::<PromotionState>).transpose()?;
    let catalog = app.state.catalog.get();
    let is_permitted = |promotion: &promotion::Promotion| match catalog.repo_by_id(promotion.request.repo) {
        Some(repo) => call.principal.may_promote(repo),
        None => call.principal.is_administrator(),
    };
    let mut promotions = edit::list(&app.state, repo, state, MAX_LIST).await?;
    promotions.retain(is_permitted);
    Ok(promotions.into_iter().map(|promotion| wire(app, promotion)).collect())
}

pub(super) async fn info(call: Call<'_>, id: &str) -> Answer<Promotion> {
    let Call { app, principal, .. } = call;
    let found = permitted(app, principal, number(id)?).await?;
    require_readable(app, principal, &found)?;
    let plan = edit::plan_of(&app.state, found.id).await?;
    let catalog = app.state.catalog.get();
    let to = catalog.repo_by_id(found.request.repo);
    let is_applied = found.state == PromotionState::Applied;
    let plan = if is_applied { plan } else { with_warnings(&catalog, principal, to, plan) };
    Ok(Promotion { plan: Some(plan), ..wire(app, found) })
}

/// Requires the permission to decide a promotion, before the body is read.
pub(super) async fn require_permitted(call: &Call<'_>, [id]: [&str; 1]) -> Result<(), Failure> {
    permitted(call.app, call.principal, number(id)?).await.map(drop)
}

pub(super) async fn approve(call: Call<'_>, id: &str, body: DecidePromotion) -> Answer<Promotion> {
    let Call { app, principal, actor, .. } = call;
    let found = permitted(app, principal, number(id)?).await?;
    require_readable(app, principal, &found)?;
    let reason = comment(&body.comment)?;
    let person = person(principal, actor);
    let promotion = edit::approve(&app.state, found.id, &reason, &person, opening(principal)).await?;
    Ok(wire(app, promotion))
}

pub(super) async fn reject(call: Call<'_>, id: &str, body: DecidePromotion) -> Answer<Promotion> {
    let Call { app, actor, .. } = call;
    let promotion = edit::reject(&app.state, number(id)?, &comment(&body.comment)?, &actor).await?;
    Ok(wire(app, promotion))
}

/// Returns a promotion, if the client may promote to its repository.
async fn permitted(app: &App, principal: &Principal, id: i64) -> Result<promotion::Promotion, Failure> {
    let found = edit::get(&app.state, id).await?;
    let catalog = app.state.catalog.get();
    // SECURITY: the name is passed and not the number, because a lookup prefers a repository with this number as name.
    match catalog.repo_by_id(found.request.repo) {
        Some(repo) => principal.require(&catalog, promote_repository(repo.name.as_str()))?,
        None => principal.require(&catalog, administer())?,
    };
    Ok(found)
}

/// Checks that the client may read the packages that a promotion contains. Those of an applied one, and of earlier
/// snapshots of the same repository, are in the repository that changes, which the client may read.
fn require_readable(app: &App, principal: &Principal, found: &promotion::Promotion) -> Result<(), Failure> {
    let request = &found.request;
    if found.state == PromotionState::Applied || request.from_name == request.to_name {
        return Ok(());
    }
    let catalog = app.state.catalog.get();
    if catalog.repo(&request.from_name).is_some() {
        principal.require(&catalog, inspect_repository(&request.from_name))?;
    }
    // SECURITY: the promoted repository may have another name now, and another repository the name of the request.
    let is_readable = |id: SourceId| {
        let source = catalog.source_by_id(id);
        source.is_none_or(|source| principal.may_read_source(&catalog, source))
    };
    if request.subscriptions.iter().all(|entry| is_readable(entry.source)) {
        return Ok(());
    }
    let scope = ScopeKind::ReposRead.as_str();
    let text = format!(
        "the token lacks the scope {scope} for repositories with the sources of promotion {}",
        found.id
    );
    Err(Failure::forbidden(text, scope))
}

/// Returns whether the client may open packages of authenticated repositories to everyone, as with a subscription.
fn opening(principal: &Principal) -> Opening {
    if principal.is_administrator() { Opening::Permitted } else { Opening::Refused }
}

fn person(principal: &Principal, actor: Actor) -> Person {
    Person { actor, unique_id: principal.unique_id().map(str::to_owned) }
}

fn number(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::not_found("promotions have numbers; rspm list promotions shows all"))
}

/// Trims a comment, and checks that it is one line of at most [`MAX_COMMENT`] bytes.
fn comment(text: &str) -> Result<String, Failure> {
    if text.len() > MAX_COMMENT || text.chars().any(char::is_control) {
        let rule =
            format!("a comment must be one line of at most {MAX_COMMENT} bytes, without control characters");
        return Err(Failure::bad_request(rule));
    }
    Ok(text.trim().to_owned())
}

fn wire(app: &App, found: promotion::Promotion) -> Promotion {
    let request = found.request;
    // The current name, because the repository may have been renamed since.
    let present = app.state.catalog.get().repo_by_id(request.repo).map(|repo| repo.name.to_string());
    let (decided_by, decided, reason) = match found.decision {
        Some(decision) => (Some(decision.by), Some(decision.at.to_string()), decision.reason),
        None => (None, None, String::new()),
    };
    Promotion {
        id: found.id,
        state: found.state,
        from: request.from_name,
        to: present.unwrap_or(request.to_name),
        snapshot: request.snapshot,
        state_at: request.pinned_at.to_string(),
        requested_by: request.requested_by,
        requested: request.requested_at.to_string(),
        comment: request.comment,
        decided_by,
        decided,
        reason,
        transaction: found.tx.map(|tx| tx.0),
        plan: None,
    }
}

/// Adds the warnings about packages that become readable for everyone.
fn with_warnings(
    catalog: &Catalog,
    principal: &Principal,
    to: Option<&Repository>,
    mut plan: PromotionPlan,
) -> PromotionPlan {
    let warnings = to.map(|to| open_access_warnings(catalog, principal, to, &plan.sources));
    plan.warnings.splice(0..0, warnings.unwrap_or_default());
    plan
}

/// Returns a warning for each source that the open repository `to` gets and to which an authenticated repository
/// subscribes: its packages become readable for everyone.
fn open_access_warnings(
    catalog: &Catalog,
    principal: &Principal,
    to: &Repository,
    sources: &[PromotedSource],
) -> Vec<String> {
    if to.authenticated {
        return Vec::new();
    }
    let new = sources.iter().filter(|source| source.before.is_none());
    let warning = |promoted: &PromotedSource| {
        let source = catalog.source(&promoted.name)?;
        let private = catalog.authenticated_readers(source.id);
        if private.is_empty() {
            return None;
        }
        // SECURITY: the names of authenticated repositories are for clients that may read them.
        let mut private = private.iter().filter_map(|id| catalog.repo_by_id(*id));
        let private = match private.find(|repo| principal.may_read(repo)) {
            Some(repo) => format!("the authenticated repository '{}' subscribes", repo.name),
            None => "an authenticated repository subscribes".to_owned(),
        };
        Some(format!(
            "everyone who can connect to the server can read the packages of the source '{}' after this promotion, because '{}' \
             requires no token; {private} to it too",
            source.name, to.name
        ))
    };
    new.filter_map(warning).collect()
}
