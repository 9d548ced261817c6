//! Creates fixed URLs of repositories, each of which names one state.

use super::{Actor, apply};
use base::model::ids::{Seq, TreeId};
use base::model::kind::ChangePolicy;
use base::model::snapshot::{Alias, Snapshot};
use base::model::time::{Day, Timestamp};
use content::serve::{RepoError, Repositories, find, point};
use formats::r::bioconductor::{BioconductorVersion, Part};
use runtime::catalog::resolve::{self, Unresolved};
use runtime::catalog::{Catalog, Repository, Subscription};
use runtime::state::State;
use store::db;
use store::db::audit;
use store::db::clock::Change;
use store::db::fixed_url::{self, FixedUrl};

/// Maximum number of fixed URLs of a server: all of them are in memory.
const MAX_URLS: usize = 100_000;

/// A request for a fixed URL: the state that the URL must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedUrlRequest {
    pub repo: String,
    /// The version of Bioconductor whose packages are fixed; `None` for all.
    pub version: Option<BioconductorVersion>,
    /// The day; `None` for the newest state.
    pub date: Option<Day>,
    /// Sources whose state differs from that of `date`, each with its state.
    pub sources: Vec<(String, Snapshot)>,
    /// Whether the subscriptions and the states of all sources are fixed.
    pub lock: bool,
    /// Whether the URL must contain a day or a transaction, so that no fixed URL is created.
    pub no_alias: bool,
}

/// Returns the snapshot that names the requested state in a URL of the repository. A fixed URL is created if no
/// day and no transaction names the state, and no fixed URL for it exists.
///
/// # Errors
/// [`RepoError::NotFound`] for an unknown name; [`RepoError::Unresolved`] for a state that does not exist;
/// [`RepoError::Conflict`] for the state of a source in a repository that accepts promotions only;
/// [`RepoError::Invalid`].
pub async fn create(
    repositories: &Repositories,
    state: &State,
    request: &FixedUrlRequest,
    actor: &Actor,
) -> Result<Snapshot, RepoError> {
    let base = request.date.map_or(Snapshot::Latest, Snapshot::Date);
    let part = request.version.map(Part::whole);
    let repo = find::repo(&state.catalog.get(), &request.repo)?.clone();
    check_version(&repo, request)?;
    let name = repo.name.to_string();
    // Also closes the day, and checks that the state exists.
    point::resolve_part(repositories, &name, part, base).await?;
    let catalog = state.catalog.get();
    let repo = find::repo(&catalog, &name)?;
    let now = (state.clock)();
    if request.sources.is_empty() && !request.lock {
        return Ok(base);
    }
    // SECURITY: the URL would serve packages that no promotion has approved.
    if !request.sources.is_empty() && repo.changes != ChangePolicy::Any {
        return Err(RepoError::Conflict(format!(
            "the repository '{}' accepts changes by promotion only, and a state of a single source may not be promoted; use \
             --lock, or a day or transaction of the repository",
            repo.name
        )));
    }
    if request.no_alias {
        return without_alias(&catalog, base, request);
    }
    let alias_state = requested_state(&catalog, repo, request, base, now)?;
    if let Some(alias) = catalog.fixed_url_of(&alias_state) {
        return Ok(Snapshot::Alias(alias));
    }
    if catalog.fixed_urls.states.len() >= MAX_URLS {
        return Err(RepoError::Conflict(format!(
            "this server has {MAX_URLS} fixed URLs, and cannot have more; a day or a transaction in the URL needs none"
        )));
    }
    insert(state, alias_state, name, actor, now).await.map(Snapshot::Alias)
}

async fn insert(
    state: &State,
    alias_state: FixedUrl,
    repo: String,
    actor: &Actor,
    now: Timestamp,
) -> Result<Alias, RepoError> {
    let actor = actor.0.clone();
    apply(state, move |c| {
        if db::repo::get(c, alias_state.repo)?.is_none() {
            return Err(RepoError::NotFound("the repository was deleted meanwhile".to_owned()).into());
        }
        let alias = fixed_url::create(c, &alias_state, &actor, now)?;
        audit::record(c, "create fixed URL", "repository", &repo, &alias.to_string())?;
        db::clock::bump_catalog(c, Change::Nothing)?;
        Ok(alias)
    })
    .await
}

fn check_version(repo: &Repository, request: &FixedUrlRequest) -> Result<(), RepoError> {
    if request.version.is_some() && !repo.kind.has_parts() {
        return Err(RepoError::Invalid(format!(
            "the repository '{}' is of type {}; only those of type Bioconductor have versions of Bioconductor",
            repo.name,
            repo.kind.label()
        )));
    }
    Ok(())
}

/// Returns the day or the transaction that names a state, without creating a fixed URL.
fn without_alias(
    catalog: &Catalog,
    base: Snapshot,
    request: &FixedUrlRequest,
) -> Result<Snapshot, RepoError> {
    if !request.sources.is_empty() {
        return Err(RepoError::Invalid(
            "a URL without an alias has one day or transaction for all sources; omit --no-alias or --snapshot"
                .to_owned(),
        ));
    }
    // The newest transaction by time: transactions of a back-fill have high numbers and early times.
    let newest = catalog.transactions.iter().max_by_key(|(id, at)| (*at, *id));
    match (base, newest) {
        (Snapshot::Latest, Some((id, _))) => Ok(Snapshot::Transaction(*id)),
        (Snapshot::Latest, None) => Err(Unresolved::Empty.into()),
        (base, _) => Ok(base),
    }
}

fn requested_state(
    catalog: &Catalog,
    repo: &Repository,
    request: &FixedUrlRequest,
    base: Snapshot,
    now: Timestamp,
) -> Result<FixedUrl, RepoError> {
    let list = resolve::subscriptions(catalog, repo, base, now);
    let mut trees: Vec<(TreeId, Seq)> = Vec::new();
    let mut selected: Vec<&str> = Vec::new();
    for (name, snapshot) in &request.sources {
        let source = find::source(catalog, name)?;
        if selected.contains(&name.as_str()) {
            return Err(RepoError::Invalid(format!("--snapshot names the source '{name}' twice")));
        }
        selected.push(name);
        let entries: Vec<Subscription> =
            list.iter().copied().filter(|entry| entry.source == source.id).collect();
        if entries.is_empty() {
            return Err(RepoError::Invalid(format!(
                "the repository '{}' does not subscribe to the source '{name}'",
                repo.name
            )));
        }
        let end = resolve::snapshot_end(catalog, repo, *snapshot, now)?;
        let states = states(catalog, entries, end, request);
        if states.is_empty() {
            return Err(RepoError::NotFound(format!(
                "the source '{name}' has no state as old as {snapshot}"
            )));
        }
        trees.extend(states);
    }
    let selection = resolve::selection(catalog, repo, base, now)?;
    if request.lock {
        let is_free = |entry: &Subscription| {
            let source = catalog.source_by_id(entry.source);
            !source.is_some_and(|source| selected.contains(&source.name.as_str()))
        };
        let entries = list.iter().copied().filter(is_free).collect();
        trees.extend(states(catalog, entries, selection.end, request));
    }
    trees.sort_unstable();
    trees.dedup_by_key(|(tree, _)| *tree);
    // Nothing more can be published at or before the time in the clock row.
    let published = catalog.clock_at.map(|at| Timestamp(at.0.saturating_add(1)));
    let end = resolve::snapshot_end(catalog, repo, base, now)?;
    let at = match (base, request.lock) {
        (Snapshot::Latest, false) => None,
        _ => published.map(|published| published.min(end)),
    };
    let list = resolve::list_number(catalog, repo, base, now);
    let repo_seq = list.filter(|_| request.lock);
    Ok(FixedUrl { repo: repo.id, repo_seq, at, trees })
}

/// Returns the states of subscribed sources before `end`.
fn states(
    catalog: &Catalog,
    entries: Vec<Subscription>,
    end: Timestamp,
    request: &FixedUrlRequest,
) -> Vec<(TreeId, Seq)> {
    let selection = resolve::Selection::of_sources(entries, end);
    resolve::selected_steps(catalog, &selection, request.version.map(Part::whole))
}
