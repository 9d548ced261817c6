//! The ordered subscriptions of a repository; if several sources have a package, the first one serves it.

use super::{Actor, OnExisting, apply, publish};
use base::model::ids::SourceId;
use base::model::kind::ChangePolicy;
use content::serve::{RepoError, find};
use formats::r::bioconductor::BioconductorVersion;
use runtime::catalog::{Catalog, Repository, Source};
use runtime::publish::edit::publish_subscriptions;
use runtime::state::State;
use store::db;
use store::db::repo::Subscription;
use store::db::tx::TxKind;

/// Appends a source to a repository's subscriptions: the whole source, or one version of Bioconductor. In a
/// Bioconductor repository, other sources are placed before Bioconductor itself, so that they override it.
///
/// # Errors
/// [`RepoError::Invalid`] for a source that the repository cannot offer, [`RepoError::Conflict`] when the repository is
/// subscribed to it already; [`db::DbError::SourceDeleted`].
pub async fn subscribe(
    state: &State,
    repo: &str,
    source: &str,
    version: Option<BioconductorVersion>,
    existing: OnExisting,
    actor: &Actor,
) -> Result<(), RepoError> {
    let catalog = state.catalog.get();
    let (repo, source) = (find::repo(&catalog, repo)?.clone(), find::source(&catalog, source)?.clone());
    check(&catalog, &repo, &source, version)?;
    let (name, kind) = (repo.name.clone(), repo.kind);
    let subscription = Subscription { source: source.id, label: subscription_label(version) };
    change_list(state, &repo, actor, move |list| {
        if list.contains(&subscription) {
            return match existing {
                OnExisting::Succeed => Ok(None),
                OnExisting::Fail | OnExisting::Replace => Err(RepoError::Conflict(format!(
                    "the repository '{name}' subscribes to '{}' already; use --succeed-on-existing to accept that",
                    source.name
                ))),
            };
        }
        let mut list = list.to_vec();
        let is_below = |entry: &Subscription| {
            kind.has_parts()
                && source.id != SourceId::BIOCONDUCTOR
                && entry.source == SourceId::BIOCONDUCTOR
        };
        let index = list.iter().position(is_below).unwrap_or(list.len());
        list.insert(index, subscription.clone());
        Ok(Some(list))
    })
    .await
}

/// Removes a source from a repository's subscriptions, or only the subscription to a version of Bioconductor;
/// snapshots of earlier days still offer it. A subscribed source that was deleted has its number instead of a name.
///
/// # Errors
/// [`RepoError::NotFound`] or [`RepoError::Unknown`] for an unknown repository or source, or one that is not subscribed.
pub async fn unsubscribe(
    state: &State,
    repo: &str,
    source: &str,
    version: Option<BioconductorVersion>,
    actor: &Actor,
) -> Result<(), RepoError> {
    let catalog = state.catalog.get();
    let repo = find::repo(&catalog, repo)?;
    let (source, source_name) = subscribed_source(&catalog, repo, source)?;
    let name = repo.name.clone();
    let is_match = move |entry: &Subscription| {
        entry.source == source && (version.is_none() || entry.label == subscription_label(version))
    };
    change_list(state, repo, actor, move |list| {
        if !list.iter().any(&is_match) {
            let suffix = version.map(|version| format!(" for Bioconductor {version}")).unwrap_or_default();
            let text = format!("the repository '{name}' does not subscribe to '{source_name}'{suffix}");
            return Err(RepoError::NotFound(text));
        }
        Ok(Some(list.iter().filter(|entry| !is_match(entry)).cloned().collect()))
    })
    .await
}

/// Sets the order of the subscriptions; it must name exactly the subscribed sources, a deleted one by its number.
/// Subscriptions to several versions of one source (Bioconductor) stay together.
pub async fn reorder(state: &State, repo: &str, sources: &[String], actor: &Actor) -> Result<(), RepoError> {
    let catalog = state.catalog.get();
    let repo = find::repo(&catalog, repo)?.clone();
    let repo_name = repo.name.clone();
    let mut order = Vec::with_capacity(sources.len());
    for name in sources {
        let (id, _) = subscribed_source(&catalog, &repo, name)?;
        if order.contains(&id) {
            return Err(RepoError::Invalid(format!(
                "'{name}' is named twice; name each subscribed source once"
            )));
        }
        order.push(id);
    }
    change_list(state, &repo, actor, move |list| {
        let names = |ids: &mut dyn Iterator<Item = &SourceId>| source_names(&catalog, ids);
        let mut source_ids: Vec<SourceId> = Vec::with_capacity(list.len());
        for entry in list {
            if !source_ids.contains(&entry.source) {
                source_ids.push(entry.source);
            }
        }
        let missing_names = names(&mut source_ids.iter().filter(|id| !order.contains(id)));
        let extra_names = names(&mut order.iter().filter(|id| !source_ids.contains(id)));
        match (missing_names.is_empty(), extra_names.is_empty()) {
            (true, true) if order == source_ids => Ok(None),
            (true, true) => {
                let entries_of = |id: &SourceId| {
                    let id = *id;
                    list.iter().filter(move |entry| entry.source == id).cloned()
                };
                Ok(Some(order.iter().flat_map(entries_of).collect()))
            }
            (false, _) => Err(RepoError::Invalid(format!(
                "the order must name every subscribed source; missing: {missing_names}"
            ))),
            (true, false) => Err(RepoError::Invalid(format!(
                "not subscribed to: {extra_names}; run rspm subscribe --repo={repo_name} first"
            ))),
        }
    })
    .await
}

/// Replaces the subscriptions of a repository by the result of `change`. If that is `None`, nothing is written.
async fn change_list<F>(state: &State, repo: &Repository, actor: &Actor, change: F) -> Result<(), RepoError>
where
    F: Fn(&[Subscription]) -> Result<Option<Vec<Subscription>>, RepoError> + Send + 'static,
{
    let now = (state.clock)();
    let publish = publish(TxKind::Subscribe, now, actor);
    let (id, name) = (repo.id, repo.name.clone());
    apply(state, move |c| {
        // Without the lock, two concurrent changes would start from the same list, and one would be lost.
        db::clock::lock(c)?;
        match db::repo::get(c, id)? {
            Some(row) if row.changes != ChangePolicy::Any => return Err(promotion_only(&row.name).into()),
            Some(_) => {}
            None => return Err(deleted(name.as_str()).into()),
        }
        let list = db::repo::subscriptions(c, id)?;
        if let Some(subscriptions) = change(&list)? {
            publish_subscriptions(c, id, subscriptions, &publish)?;
        }
        Ok(())
    })
    .await
}

/// Returns the id of a source that is to be a subscription of a repository or is one, and its name for messages. A
/// source that was deleted can only be found by its number, and only if the repository subscribes to it.
fn subscribed_source(
    catalog: &Catalog,
    repo: &Repository,
    name: &str,
) -> Result<(SourceId, String), RepoError> {
    let by_number = || {
        let id = SourceId(name.parse().ok()?);
        (catalog.source_by_id(id).is_none() && repo.subscribes_to(id)).then_some(id)
    };
    match catalog.source(name) {
        Some(source) => Ok((source.id, source.name.to_string())),
        None => match by_number() {
            Some(id) => Ok((id, name.to_owned())),
            None => find::source(catalog, name).map(|source| (source.id, source.name.to_string())),
        },
    }
}

/// Returns the error for a repository that another command deleted.
fn deleted(repo: &str) -> RepoError {
    let message = format!("the repository '{repo}' was deleted in the meantime");
    RepoError::Unknown { message, hint: "rspm list repos shows all" }
}

/// Returns the error for a direct change of a repository that accepts only promotions.
fn promotion_only(repo: &str) -> RepoError {
    RepoError::Conflict(format!(
        "the repository '{repo}' accepts changes by promotion only: change the repository that it is promoted from, then run \
         rspm promote --from=NAME --to={repo}; or allow all changes with rspm edit repo --name={repo} --changes=any"
    ))
}

/// Returns the advice in an error about a repository that must first stop to subscribe to a source: the commands.
pub fn unsubscribe_advice(repo: &str, changes: ChangePolicy, source: &str) -> String {
    let command = format!("rspm unsubscribe --repo={repo} --source={source}");
    match changes {
        ChangePolicy::Any => format!("first run: {command}"),
        ChangePolicy::Promotion | ChangePolicy::TwoPersons => format!(
            "'{repo}' accepts changes by promotion only: first promote a state without '{source}' with rspm promote \
             --from=NAME --to={repo}, or run: rspm edit repo --name={repo} --changes=any, then {command}"
        ),
    }
}

pub(super) fn subscription_label(version: Option<BioconductorVersion>) -> String {
    version.map(|version| version.to_string()).unwrap_or_default()
}

/// Checks that a repository can offer a source, or one version of it.
pub fn check(
    catalog: &Catalog,
    repo: &Repository,
    source: &Source,
    version: Option<BioconductorVersion>,
) -> Result<(), RepoError> {
    check_language(repo, source)?;
    check_version(catalog, repo, source, version)
}

fn check_language(repo: &Repository, source: &Source) -> Result<(), RepoError> {
    if repo.kind.language() == source.kind.language() {
        return Ok(());
    }
    Err(RepoError::Invalid(format!(
        "the repository '{}' is of type {} and cannot offer '{}', a source of type {}; both must be of one language",
        repo.name,
        repo.kind.label(),
        source.name,
        source.kind.label()
    )))
}

/// Checks the version: only Bioconductor has one, and an R repository can offer only one of its versions.
fn check_version(
    catalog: &Catalog,
    repo: &Repository,
    source: &Source,
    version: Option<BioconductorVersion>,
) -> Result<(), RepoError> {
    let example = catalog
        .default_bioconductor_version()
        .map_or_else(|| "3.20".to_owned(), |version| version.to_string());
    let refusal = |reason: String| Err(RepoError::Invalid(reason));
    match (repo.kind.has_parts(), source.id == SourceId::BIOCONDUCTOR, version) {
        (false, true, None) => refusal(format!(
            "a repository of type {} offers one version of '{}': name it with --version={example}",
            repo.kind.label(),
            source.name
        )),
        (false, true, Some(_)) => match repo
            .subscriptions()
            .iter()
            .find(|entry| entry.source == source.id && entry.version != version)
            .and_then(|entry| entry.version)
        {
            Some(other) => refusal(format!(
                "the repository '{0}' offers Bioconductor {other} already; first run: rspm unsubscribe --repo={0} \
                 --source={1} --version={other}",
                repo.name, source.name
            )),
            None => check_version_exists(catalog, version),
        },
        (true, _, _) => check_version_exists(catalog, version),
        (false, false, None) => Ok(()),
        (false, false, Some(_)) => refusal(format!(
            "--version names a version of Bioconductor; '{}' has none, and neither has the repository '{}'",
            source.name, repo.name
        )),
    }
}

/// Checks that the version exists. Before the first sync, every version is accepted.
fn check_version_exists(catalog: &Catalog, version: Option<BioconductorVersion>) -> Result<(), RepoError> {
    let Some((version, config)) = version.zip(catalog.bioconductor.as_deref()) else { return Ok(()) };
    if config.get(version).is_some() {
        return Ok(());
    }
    let newest = config.devel;
    Err(RepoError::Invalid(format!(
        "there is no Bioconductor {version}; rspm list bioconductor versions shows all, the newest is {newest}"
    )))
}

fn source_names(catalog: &Catalog, ids: &mut dyn Iterator<Item = &SourceId>) -> String {
    ids.map(|id| catalog.source_name(*id)).collect::<Vec<_>>().join(", ")
}
