//! Which sources a repository offers, in which order: the earlier wins a name.

use super::{Actor, OnExisting, Refused, publish};
use crate::catalog::{Catalog, Repository, Source};
use crate::db::clock::NewRepoStep;
use crate::db::repo::Subscription;
use crate::db::tx::TxKind;
use crate::db::{self};
use crate::model::change::Counts;
use crate::model::ids::{RepoId, SourceId};
use crate::repo::{Repo, RepoError, find};

impl Repo {
    /// Appends a source to a repository's subscriptions.
    ///
    /// # Errors
    /// [`RepoError::Invalid`] for a source of another language, [`RepoError::Conflict`] when it is subscribed to.
    pub async fn subscribe(
        &self,
        repo: &str,
        source: &str,
        existing: OnExisting,
        actor: &Actor,
    ) -> Result<(), RepoError> {
        let catalog = self.state.catalog.get();
        let (repo, source) = (find::repo(&catalog, repo)?.clone(), find::source(&catalog, source)?.clone());
        speaks(&repo, &source)?;
        let (name, id) = (repo.name.clone(), source.id);
        self.change_list(repo.id, actor, move |list| {
            if list.contains(&id) {
                return match existing {
                    OnExisting::Succeed => Ok(None),
                    OnExisting::Fail | OnExisting::Replace => Err(RepoError::Conflict(format!(
                        "the repository '{name}' subscribes to '{}' already; use --succeed-on-existing to accept that",
                        source.name
                    ))),
                };
            }
            Ok(Some(list.iter().copied().chain([id]).collect()))
        })
        .await
    }

    /// Takes a source out of a repository's subscriptions; snapshots of earlier days still offer it.
    pub async fn unsubscribe(&self, repo: &str, source: &str, actor: &Actor) -> Result<(), RepoError> {
        let catalog = self.state.catalog.get();
        let (repo, source) = (find::repo(&catalog, repo)?.clone(), find::source(&catalog, source)?.clone());
        let name = repo.name.clone();
        self.change_list(repo.id, actor, move |list| {
            if !list.contains(&source.id) {
                let said = format!("the repository '{name}' does not subscribe to '{}'", source.name);
                return Err(RepoError::NotFound(said));
            }
            Ok(Some(list.iter().copied().filter(|id| *id != source.id).collect()))
        })
        .await
    }

    /// Sets the complete order; it must name exactly the subscribed sources.
    pub async fn reorder(&self, repo: &str, sources: &[String], actor: &Actor) -> Result<(), RepoError> {
        let catalog = self.state.catalog.get();
        let repo = find::repo(&catalog, repo)?.clone();
        let mut wanted = Vec::with_capacity(sources.len());
        for name in sources {
            let id = find::source(&catalog, name)?.id;
            if wanted.contains(&id) {
                return Err(RepoError::Invalid(format!(
                    "'{name}' is named twice; name each subscribed source once"
                )));
            }
            wanted.push(id);
        }
        self.change_list(repo.id, actor, move |list| {
            let named = |ids: &mut dyn Iterator<Item = &SourceId>| names(&catalog, ids);
            let missing = named(&mut list.iter().filter(|id| !wanted.contains(id)));
            let extra = named(&mut wanted.iter().filter(|id| !list.contains(id)));
            match (missing.is_empty(), extra.is_empty()) {
                (true, true) if wanted == list => Ok(None),
                (true, true) => Ok(Some(wanted.clone())),
                (false, _) => Err(RepoError::Invalid(format!(
                    "the order must name every subscribed source; missing: {missing}"
                ))),
                (true, false) => Err(RepoError::Invalid(format!(
                    "not subscribed to: {extra}; run rspm subscribe --repo={} first",
                    repo.name
                ))),
            }
        })
        .await
    }

    /// One transaction that gives a repository the list `change` makes of the present one; `None` leaves it.
    async fn change_list<F>(&self, repo: RepoId, actor: &Actor, change: F) -> Result<(), RepoError>
    where
        F: Fn(&[SourceId]) -> Refused<Option<Vec<SourceId>>> + Send + 'static,
    {
        let now = (self.state.clock)();
        let mut publish = publish(TxKind::Subscribe, now, Counts::default(), actor);
        publish.repo = Some(repo);
        let changed = self.state.db.write(move |c| {
            // Two lists made from the same one would lose a subscription.
            db::clock::lock(c)?;
            let list: Vec<SourceId> =
                db::repo::subscriptions(c, repo)?.into_iter().map(|entry| entry.source).collect();
            let new = match change(&list) {
                Ok(Some(new)) => new,
                Ok(None) => return Ok(Ok(())),
                Err(refusal) => return Ok(Err(refusal)),
            };
            let subscriptions =
                new.into_iter().map(|source| Subscription { source, label: String::new() }).collect();
            let mut publish = publish.clone();
            publish.repo_steps = vec![NewRepoStep { repo, subscriptions }];
            db::clock::publish(c, &publish)?;
            Ok(Ok(()))
        });
        changed.await??;
        self.seen().await
    }
}

fn speaks(repo: &Repository, source: &Source) -> Result<(), RepoError> {
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

fn names(catalog: &Catalog, ids: &mut dyn Iterator<Item = &SourceId>) -> String {
    let name = |id: &SourceId| {
        catalog.source_by_id(*id).map_or_else(|| id.to_string(), |source| source.name.to_string())
    };
    ids.map(name).collect::<Vec<_>>().join(", ")
}
