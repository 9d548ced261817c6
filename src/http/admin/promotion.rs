//! Promotions: plan, request, list, approve, reject.

use http::StatusCode;

use super::call::{AdminResult, Call, ok};
use crate::api::promotion::{
    DecidePromotion, PromotedPackage, PromotedSource, PromotedState, Promotion, PromotionPlan,
    RequestPromotion, RequestedPromotion,
};
use crate::catalog::{Catalog, Repository};
use crate::db::promotion::{self, PromotionState, UnknownPromotionState};
use crate::edit::promotion::plan::{Plan, SourceChange, SourceState};
use crate::edit::promotion::{self as edit, Request};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::permission::Principal;
use crate::http::response;
use crate::http::route::access::{administer, inspect_repository, promote_repository};
use crate::model::ids::SourceId;
use crate::model::snapshot::{BadSnapshot, Snapshot};
use crate::serve::difference::Change;
use crate::serve::find;

/// Maximum number of promotions in a list.
const MAX_LIST: i64 = 1_000;
/// Maximum length of a comment, in bytes.
const MAX_COMMENT: usize = 1_000;

/// `POST /repos/{name}/promotions`.
pub(super) async fn request(call: Call<'_>, name: &str) -> AdminResult {
    let app = call.app;
    let principal = call.principal;
    let (body, actor): (RequestPromotion, _) = call.json().await?;
    principal.require(&app.state.catalog.get(), inspect_repository(&body.from))?;
    let snapshot = body.snapshot.as_deref().map_or(Ok(Snapshot::Latest), str::parse);
    let snapshot = snapshot.map_err(|error: BadSnapshot| Failure::bad_request(error.to_string()))?;
    if matches!(snapshot, Snapshot::Alias(_)) {
        let text =
            "a promotion takes the state of latest, of a day or of a transaction, not that of a fixed URL";
        return Err(Failure::bad_request(text));
    }
    let comment = comment(&body.comment)?;
    let request = Request { from: body.from, to: name.to_owned(), snapshot, comment };
    if body.plan {
        let plan = edit::plan(&app.repositories, &app.state, &request).await?;
        let catalog = app.state.catalog.get();
        let plan = wire_plan(&catalog, find::repo(&catalog, name).ok(), plan);
        return ok(&RequestedPromotion { plan: Some(plan), promotion: None });
    }
    let catalog = app.state.catalog.get();
    // SECURITY: the promotion would make the packages readable for everyone, as a subscription would.
    let is_authenticated = |name: &str| find::repo(&catalog, name).is_ok_and(|repo| repo.authenticated);
    if is_authenticated(&request.from) && !is_authenticated(name) {
        principal.require(&catalog, administer())?;
    }
    let promotion = edit::request(&app.state, request, &actor).await?;
    let status = if promotion.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let promotion = promotion.map(|promotion| wire(app, promotion));
    Ok(response::json(status, &RequestedPromotion { promotion, plan: None }))
}

/// `GET /promotions?repo=&state=`.
pub(super) async fn list(call: Call<'_>) -> AdminResult {
    let app = call.app;
    let repo = match call.query.get("repo") {
        None => None,
        Some(name) => Some(find::repo(&app.state.catalog.get(), name)?.id),
    };
    let state = call.query.get("state").map(str::parse::<PromotionState>).transpose();
    let state = state.map_err(|error: UnknownPromotionState| Failure::bad_request(error.to_string()))?;
    let catalog = app.state.catalog.get();
    let is_permitted = |promotion: &promotion::Promotion| match catalog.repo_by_id(promotion.request.repo) {
        Some(repo) => call.principal.may_promote(repo),
        None => call.principal.is_administrator(),
    };
    let mut promotions = edit::list(&app.state, repo, state, MAX_LIST).await?;
    promotions.retain(is_permitted);
    ok(&promotions.into_iter().map(|promotion| wire(app, promotion)).collect::<Vec<Promotion>>())
}

/// `GET /promotions/{id}`.
pub(super) async fn info(call: Call<'_>, id: &str) -> AdminResult {
    let app = call.app;
    let found = permitted(call.app, call.principal, number(id)?).await?;
    let plan = edit::plan_of(&app.repositories, &app.state, &found).await?;
    let catalog = app.state.catalog.get();
    let plan = plan.map(|plan| wire_plan(&catalog, catalog.repo_by_id(found.request.repo), plan));
    ok(&Promotion { plan, ..wire(app, found) })
}

/// `POST /promotions/{id}/approve`.
pub(super) async fn approve(call: Call<'_>, id: &str) -> AdminResult {
    let (app, id) = (call.app, number(id)?);
    permitted(call.app, call.principal, id).await?;
    let (body, actor): (DecidePromotion, _) = call.json().await?;
    let promotion = edit::approve(&app.state, id, &comment(&body.comment)?, &actor).await?;
    ok(&wire(app, promotion))
}

/// `POST /promotions/{id}/reject`.
pub(super) async fn reject(call: Call<'_>, id: &str) -> AdminResult {
    let (app, id) = (call.app, number(id)?);
    permitted(call.app, call.principal, id).await?;
    let (body, actor): (DecidePromotion, _) = call.json().await?;
    let promotion = edit::reject(&app.state, id, &comment(&body.comment)?, &actor).await?;
    ok(&wire(app, promotion))
}

/// Returns a promotion, if the client may promote to its repository.
async fn permitted(app: &App, principal: &Principal, id: i64) -> Result<promotion::Promotion, Failure> {
    let found = edit::get(&app.state, id).await?;
    let catalog = app.state.catalog.get();
    // SECURITY: the name is passed and not the number, because a lookup prefers a repository that has this number
    // as its name.
    match catalog.repo_by_id(found.request.repo) {
        Some(repo) => principal.require(&catalog, promote_repository(repo.name.as_str()))?,
        None => principal.require(&catalog, administer())?,
    };
    Ok(found)
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
        state: found.state.to_string(),
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

fn wire_plan(catalog: &Catalog, to: Option<&Repository>, plan: Plan) -> PromotionPlan {
    let name = |id: SourceId| catalog.source_name(id);
    let state = |state: SourceState| PromotedState {
        position: i64::try_from(state.position).unwrap_or(i64::MAX),
        at: state.at.map(|at| at.to_string()),
        transaction: state.transaction.map(|tx| tx.0),
    };
    let package = |change: Change| PromotedPackage {
        source: change
            .to
            .as_ref()
            .or(change.from.as_ref())
            .map(|listed| name(listed.source))
            .unwrap_or_default(),
        change: change.kind.as_str().to_owned(),
        from_version: change.from.map(|listed| listed.version),
        to_version: change.to.map(|listed| listed.version),
        name: change.name,
    };
    PromotionPlan {
        warnings: to.map(|to| open_access_warnings(catalog, to, &plan.sources)).unwrap_or_default(),
        sources: plan
            .sources
            .iter()
            .map(|change| PromotedSource {
                name: name(change.subscription.source),
                version: change.subscription.version.map(|version| version.to_string()),
                before: change.before.map(state),
                after: change.after.map(state),
            })
            .collect(),
        packages: plan.packages.into_iter().map(package).collect(),
        has_rules: plan.has_rules,
        not_compared: plan.not_compared.into_iter().map(name).collect(),
        transaction: plan.transaction.map(|tx| tx.0),
    }
}

/// Returns a warning for each source that the open repository `to` gets and to which an authenticated repository
/// subscribes: its packages become readable for everyone.
fn open_access_warnings(catalog: &Catalog, to: &Repository, changes: &[SourceChange]) -> Vec<String> {
    if to.authenticated {
        return Vec::new();
    }
    let new =
        changes.iter().filter(|change| change.before.is_none()).map(|change| change.subscription.source);
    let warning = |id: SourceId| {
        let private = catalog.repos.iter().find(|repo| repo.authenticated && repo.subscribes_to(id))?;
        let source = catalog.source_by_id(id)?;
        Some(format!(
            "everyone who can connect to the server can read the packages of the source '{}' after this promotion, because '{}' \
             requires no token; the authenticated repository '{}' subscribes to it too",
            source.name, to.name, private.name
        ))
    };
    new.filter_map(warning).collect()
}
