//! Promotions: a repository gets the subscriptions of another one, with the states of their sources at an instant.
//!
//! The instant is past when the request is written: the approved state is the requested one despite later publishes.

pub mod plan;

use std::collections::HashMap;
use std::sync::Arc;

use self::plan::{Pair, PromotedChanges};
use super::subscription::subscription_label;
use super::{Actor, Write, apply, publish};
use api::promotion::PromotionPlan;
use base::access::person::{is_same, may_be_same};
use base::model::ids::{RepoId, SourceId};
use base::model::kind::ChangePolicy;
use base::model::recorded_words::PromotionState;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve::{RepoError, Repositories, withheld};
use runtime::catalog::resolve::Selection;
use runtime::catalog::{Catalog, CatalogHandle, Repository, RuleChanges};
use runtime::publish::edit::{apply_edit, end_of_past, publish_list};
use runtime::state::State;
use store::db::author::{self, Author};
use store::db::promotion::{self, Decision, NewPromotion, Promotion, RecordedPlan};
use store::db::repo::{NewRepoStep, Subscription};
use store::db::tx::{Publish, TxKind};
use store::db::{self, Conn, DbError, audit};

#[derive(Clone, Debug)]
pub struct PromotionRequest {
    /// The repository whose state is promoted; it may be `to` itself, to return to an earlier snapshot.
    pub from: String,
    pub to: String,
    /// The snapshot of `from`.
    pub snapshot: Snapshot,
    pub comment: String,
    /// Whether the promotion may make packages of authenticated repositories readable for everyone.
    pub opening: Opening,
}

/// Whether a client may make packages of authenticated repositories readable for everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The client is an administrator.
    Permitted,
    /// A promotion that does so is refused.
    Refused,
}

/// The person who requests or approves a promotion.
#[derive(Clone, Debug)]
pub struct Person {
    pub actor: Actor,
    /// The identity at the identity provider, if the person signed in with one.
    pub unique_id: Option<String>,
}

/// The end of a state that is not fixed yet.
const NEWEST: Timestamp = Timestamp(i64::MAX);

/// Returns the changes that a promotion would make, without making them.
pub async fn plan(
    repositories: &Repositories,
    state: &State,
    request: &PromotionRequest,
) -> Result<PromotedChanges, RepoError> {
    let catalog = newest_catalog(state).await?;
    let pair = Pair::find(&catalog, &request.from, &request.to)?;
    let selection = pair.selection(&catalog, request.snapshot, (state.clock)(), NEWEST)?;
    let rules = plan::rules(state, pair.to, &selection).await;
    let before = plan::newest_selection(pair.to);
    plan::compare(repositories, &catalog, pair.to, before, selection, rules.as_ref()).await
}

/// Returns the changes that a promotion made or would make, as they were recorded with the request.
pub async fn plan_of(state: &State, id: i64) -> Result<PromotionPlan, RepoError> {
    let recorded = state.db.read(move |c| promotion::recorded_plan(c, id)).await?;
    let plan: PromotionPlan = serde_json::from_slice(&recorded.plan)
        .map_err(|error| RepoError::Invalid(format!("the plan of promotion {id} cannot be read: {error}")))?;
    Ok(PromotionPlan { sha256: Some(recorded.digest().to_string()), ..plan })
}

/// Requests a promotion. It is applied at once unless the repository requires the approval of another person. Returns
/// `None` if the repository already has that state.
///
/// The plan is made before the request is written, of an instant that is past by then, so that the request contains the
/// plan of the state that it promotes.
///
/// # Errors
/// [`RepoError::Invalid`] for repositories between which nothing can be promoted, [`RepoError::Unresolved`],
/// [`RepoError::AdministratorOnly`]; [`RepoError::Conflict`] if the repository changed while the plan was made.
pub async fn request(
    repositories: &Repositories,
    state: &State,
    request: PromotionRequest,
    person: &Person,
) -> Result<Option<Promotion>, RepoError> {
    let now = (state.clock)();
    let end = past_end(state, now).await?;
    let catalog = newest_catalog(state).await?;
    let pair = Pair::find(&catalog, &request.from, &request.to)?;
    let selection = pair.selection(&catalog, request.snapshot, now, end)?;
    let sources = selection.list.iter().map(|entry| entry.source);
    check_opening(&catalog, Some(pair.from), pair.to, sources, request.opening)?;
    let before = plan::newest_selection(pair.to);
    // SECURITY: the plan and what the promoted state withholds are made under the same rules, which may change meanwhile.
    let rules = plan::rules(state, pair.to, &selection).await;
    let after = selection.clone();
    let plan = plan::compare(repositories, &catalog, pair.to, before, after, rules.as_ref()).await?;
    let withheld = withheld::of_selection(state, rules.as_ref(), pair.to, &selection).await?;
    let plan = serde_json::to_vec(&plan::record(&catalog, plan)).expect("the fields have JSON forms");
    let (recorded, planned_list) =
        (RecordedPlan { plan, withheld }, pair.to.steps.last().map(|step| step.tx));
    let (person, handle) = (person.clone(), state.catalog.clone());
    apply(state, move |c| {
        let catalog = current_catalog(c, &handle)?;
        let pair = Pair::find(&catalog, &request.from, &request.to)?;
        if pair.to.steps.last().map(|step| step.tx) != planned_list {
            let name = &pair.to.name;
            let text = format!(
                "the repository '{name}' changed while the plan was made; request the promotion again"
            );
            return Err(RepoError::Conflict(text).into());
        }
        // SECURITY: either repository may have been opened, or authenticated, while the plan was made.
        let sources = selection.list.iter().map(|entry| entry.source);
        check_opening(&catalog, Some(pair.from), pair.to, sources, request.opening)?;
        let present =
            pair.to.steps.last().map(|step| db::repo::withheld(c, pair.to.id, step.seq)).transpose()?;
        // A version that has become old enough since, or a rule that was deleted, is a change that a promotion makes.
        if pair.is_promoted(&catalog, &selection) && present.unwrap_or_default() == recorded.withheld {
            return Ok(None);
        }
        let new = new_promotion(&pair, &request, &selection, &person, now);
        let id = promotion::create(c, &new, &recorded)?;
        if pair.to.changes == ChangePolicy::TwoPersons {
            let detail = format!("{}; plan {}; {}", describe(id, &new), recorded.digest(), new.comment);
            audit::record(c, "request promotion", "repository", &new.to_name, &detail)?;
        } else {
            let decision = Decision { by: person.actor.0.clone(), at: now, reason: String::new() };
            apply_promotion(c, id, &new, &new.to_name, &recorded, decision)?;
        }
        Ok(promotion::get(c, id)?)
    })
    .await
}

/// The state of a repository that is fixed, with the versions that rules withhold in it.
pub(super) struct FixedState {
    pub(super) list: Vec<runtime::catalog::Subscription>,
    /// Its instant, exclusive.
    pub(super) pinned_at: Timestamp,
    pub(super) withheld: Vec<u8>,
}

/// Returns the current states of repositories that will change by promotion only, under the current rules with these changes.
pub(super) async fn fixed_states(
    state: &State,
    repos: &[&Repository],
    changes: &RuleChanges,
) -> Result<Vec<FixedState>, RepoError> {
    let mut states = Vec::with_capacity(repos.len());
    if repos.is_empty() {
        return Ok(states);
    }
    let end = past_end(state, (state.clock)()).await?;
    let mut indexes = HashMap::new();
    for repo in repos {
        let language = repo.kind.language();
        let indexes = indexes.entry(language).or_insert_with(|| withheld::indexes(state, language, changes));
        let selection = plan::newest_selection(repo).promoted(repo.id, end);
        let rules = withheld::current(state, repo, indexes).await;
        let withheld = withheld::of_selection(state, rules.as_ref(), repo, &selection).await?;
        states.push(FixedState { list: selection.list.to_vec(), pinned_at: selection.end, withheld });
    }
    Ok(states)
}

/// Approves a requested promotion, which applies it.
///
/// # Errors
/// [`RepoError::NotFound`]; [`RepoError::Conflict`] if it does not await approval, the repository requires another
/// person, or a source was deleted; [`RepoError::AdministratorOnly`].
pub async fn approve(
    state: &State,
    id: i64,
    reason: &str,
    person: &Person,
    opening: Opening,
) -> Result<Promotion, RepoError> {
    let (now, Person { actor, unique_id }, handle) = ((state.clock)(), person.clone(), state.catalog.clone());
    let decision = Decision { by: actor.0, at: now, reason: reason.to_owned() };
    apply(state, move |c| {
        let catalog = current_catalog(c, &handle)?;
        let promotion = pending_promotion(c, id)?;
        let request = &promotion.request;
        // SECURITY: a provider may let users change the claim of the name, but not that of the identity.
        let has_same_identity = unique_id.is_some() && request.requested_by_id == unique_id;
        let to_name = match check_approval(&catalog, &promotion, &decision, has_same_identity, opening) {
            Ok(name) => name,
            Err(refusal) => {
                let author = author::of_write().unwrap_or_else(|| Author::job(&decision.by, now));
                let (action, object) = ("approve promotion", &request.to_name);
                let detail = format!("{}; {refusal}", describe(id, request));
                audit::record_by(c, &author, action, "repository", object, audit::REFUSED, &detail)?;
                // A success, so that the record remains.
                return Ok(Err(refusal));
            }
        };
        let recorded = promotion::recorded_plan(c, id)?;
        apply_promotion(c, id, request, &to_name, &recorded, decision.clone())?;
        Ok(Ok(promotion::get(c, id)?.ok_or_else(|| not_found(id))?))
    })
    .await?
}

/// Rejects a requested promotion. The person who requested it may do so, too.
///
/// # Errors
/// [`RepoError::NotFound`]; [`RepoError::Conflict`] if it does not await approval.
pub async fn reject(state: &State, id: i64, reason: &str, actor: &Actor) -> Result<Promotion, RepoError> {
    let decision = Decision { by: actor.0.clone(), at: (state.clock)(), reason: reason.to_owned() };
    apply(state, move |c| {
        db::clock::lock(c)?;
        let promotion = pending_promotion(c, id)?;
        promotion::decide(c, id, PromotionState::Rejected, &decision, None)?;
        let detail = format!("{}; {}", describe(id, &promotion.request), decision.reason);
        audit::record(c, "reject promotion", "repository", &promotion.request.to_name, &detail)?;
        Ok(promotion::get(c, id)?.ok_or_else(|| not_found(id))?)
    })
    .await
}

pub async fn get(state: &State, id: i64) -> Result<Promotion, RepoError> {
    state.db.read(move |c| promotion::get(c, id)).await?.ok_or_else(|| not_found(id))
}

/// Returns the newest promotions to a repository, or to all, in all states or in one; the newest first.
pub async fn list(
    state: &State,
    repo: Option<RepoId>,
    selected: Option<PromotionState>,
    limit: i64,
) -> Result<Vec<Promotion>, RepoError> {
    Ok(state.db.read(move |c| promotion::list(c, repo, selected, limit)).await?)
}

/// Returns the catalog with the changes that other servers have made until now. SECURITY: a person approves a plan, so it
/// must not be that of an earlier state.
async fn newest_catalog(state: &State) -> Result<Arc<Catalog>, DbError> {
    state.catalog.refresh(&state.db).await?;
    Ok(state.catalog.get())
}

/// Returns an instant before which nothing can be published any more.
async fn past_end(state: &State, now: Timestamp) -> Result<Timestamp, DbError> {
    apply_edit(state, move |c| {
        db::clock::lock(c)?;
        end_of_past(c, now)
    })
    .await
}

/// Returns the catalog of this write. Blocks other publishers.
pub(super) fn current_catalog(c: &mut dyn Conn, handle: &CatalogHandle) -> Result<Arc<Catalog>, DbError> {
    db::clock::lock(c)?;
    handle.of_transaction(c)
}

fn new_promotion(
    pair: &Pair<'_>,
    request: &PromotionRequest,
    selection: &Selection,
    person: &Person,
    now: Timestamp,
) -> NewPromotion {
    let subscription = |entry: &runtime::catalog::Subscription| Subscription {
        source: entry.source,
        label: subscription_label(entry.version),
    };
    NewPromotion {
        repo: pair.to.id,
        to_name: pair.to.name.to_string(),
        from_name: pair.from.name.to_string(),
        snapshot: request.snapshot.to_string(),
        subscriptions: selection.list.iter().map(subscription).collect(),
        pinned_at: selection.end,
        requested_by: person.actor.0.clone(),
        requested_by_id: person.unique_id.clone(),
        requested_at: now,
        comment: request.comment.trim().to_owned(),
    }
}

/// Publishes a promotion, and records the decision.
fn apply_promotion(
    c: &mut dyn Conn,
    id: i64,
    new: &NewPromotion,
    to_name: &str,
    recorded: &RecordedPlan,
    decision: Decision,
) -> Result<(), DbError> {
    let subject = format!(
        "{} for '{to_name}', plan {}, requested by {}, approved by {}",
        describe(id, new),
        recorded.digest(),
        new.requested_by,
        decision.by
    );
    let comments =
        [new.comment.as_str(), decision.reason.as_str()].into_iter().filter(|text| !text.is_empty());
    let publish = Publish {
        subject,
        comment: comments.collect::<Vec<_>>().join("; "),
        ..publish(TxKind::Promote, decision.at, &Actor(decision.by.clone()))
    };
    let step = NewRepoStep {
        repo: new.repo,
        subscriptions: new.subscriptions.clone(),
        pinned_at: Some(new.pinned_at),
        withheld: recorded.withheld.clone(),
    };
    let tx = publish_list(c, step, &publish)?;
    promotion::decide(c, id, PromotionState::Applied, &decision, Some(tx))
}

/// Returns a promotion that waits for an approval.
fn pending_promotion(c: &mut dyn Conn, id: i64) -> Write<Promotion> {
    let promotion = promotion::get(c, id)?.ok_or_else(|| not_found(id))?;
    let to = &promotion.request.to_name;
    let reason = match promotion.state {
        PromotionState::Requested => return Ok(promotion),
        PromotionState::Applied => "was applied already".to_owned(),
        PromotionState::Rejected => "was rejected".to_owned(),
        PromotionState::Superseded => format!(
            "was superseded: the repository '{to}' changed after the request; request it again with rspm promote --from={} \
             --to={to}",
            promotion.request.from_name
        ),
    };
    Err(RepoError::Conflict(format!("promotion {id} {reason}")).into())
}

/// Refuses a promotion that makes packages readable for everyone, unless the client is an administrator. `from` is the
/// promoted repository, if it exists.
fn check_opening(
    catalog: &Catalog,
    from: Option<&Repository>,
    to: &Repository,
    mut sources: impl Iterator<Item = SourceId>,
    opening: Opening,
) -> Result<(), RepoError> {
    if to.authenticated || opening == Opening::Permitted {
        return Ok(());
    }
    // The sources are checked too: an approval finds the promoted repository by the name that it had at the request,
    // and a return to its own snapshot makes all packages of the sources of that time readable, not only its own.
    if from.is_some_and(|from| from.authenticated) || sources.any(|source| !catalog.is_open(source)) {
        return Err(RepoError::AdministratorOnly(format!(
            "this promotion makes packages of an authenticated repository readable for everyone, because '{}' requires no \
             token",
            to.name
        )));
    }
    Ok(())
}

/// Checks that a promotion may be applied; returns the current name of its repository. `has_same_identity` states whether
/// the approver signed in with the identity of the requester.
fn check_approval(
    catalog: &Catalog,
    promotion: &Promotion,
    decision: &Decision,
    has_same_identity: bool,
    opening: Opening,
) -> Result<String, RepoError> {
    let Promotion { id, request, .. } = promotion;
    let to = catalog.repo_by_id(request.repo).ok_or_else(|| {
        RepoError::Conflict(format!("the repository '{}' of promotion {id} was deleted", request.to_name))
    })?;
    // SECURITY: a token without a user identifies no person, so one person could both request and approve.
    let has_no_person = is_same(person(&request.requested_by), "") || is_same(person(&decision.by), "");
    if to.changes == ChangePolicy::TwoPersons && has_no_person {
        return Err(RepoError::Conflict(format!(
            "promotion {id} of '{}' requires two persons, and it was requested or approved with a token without a user: \
             create one with --user",
            to.name
        )));
    }
    let is_same_person =
        has_same_identity || may_be_same(person(&request.requested_by), person(&decision.by));
    if to.changes == ChangePolicy::TwoPersons && is_same_person {
        return Err(RepoError::Conflict(format!(
            "promotion {id} was requested by {}: another person must approve it, because the repository '{}' requires two \
             persons",
            request.requested_by, to.name
        )));
    }
    let is_deleted = |entry: &&Subscription| catalog.source_by_id(entry.source).is_none();
    if request.subscriptions.iter().any(|entry| is_deleted(&entry)) {
        return Err(RepoError::Conflict(format!(
            "a source of promotion {id} was deleted after the request; request it again with rspm promote --from={} --to={}",
            request.from_name, to.name
        )));
    }
    // SECURITY: either repository may have been opened, or authenticated, after the request.
    let sources = request.subscriptions.iter().map(|entry| entry.source);
    check_opening(catalog, catalog.repo(&request.from_name), to, sources, opening)?;
    Ok(to.name.to_string())
}

/// Returns the person of an author: `Ann` for `Ann (token 0a1b…)`.
fn person(author: &str) -> &str {
    author.rsplit_once(" (").map_or(author, |(person, _)| person).trim()
}

/// A promotion for the audit trail.
fn describe(id: i64, new: &NewPromotion) -> String {
    format!("promotion {id} of '{}' as of {}", new.from_name, new.pinned_at)
}

fn not_found(id: i64) -> RepoError {
    RepoError::NotFound(format!("there is no promotion {id}; rspm list promotions shows all"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_person_does_not_depend_on_the_credential() {
        for author in
            ["ann (uid 1000)", "ann (token 0a1b)", "Ann (session 1)", "ann", "a\u{200b}nn (token 1)"]
        {
            assert!(is_same(person(author), "ann"), "{author}");
        }
        assert_eq!(person("ann (x) (token 1)"), "ann (x)");
        assert_ne!(person("uid 1000"), person("uid 1001"));
    }
}
