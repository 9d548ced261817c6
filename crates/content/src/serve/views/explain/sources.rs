//! Explains which release a snapshot has: the ordered sources, the owner of the name, the version.

use super::sentences::{self, format_time};
use super::{Decision, ExplainRequest, Topic, rules};
use crate::serve::files::file;
use crate::serve::files::located::LocatedFile;
use crate::serve::selection::allowed::{DecidedRelease, View};
use crate::serve::selection::{allowed, name_guards, point};
use crate::serve::{RepoError, Repositories, find};
use base::model::change::LifeState;
use base::model::point::{Point, PointTree};
use formats::r::bioconductor::{BioconductorVersion, Component, Part};
use formats::r::layout::{self, RPath, RepoFileName, Segment, SubDir};
use runtime::catalog::resolve::subscriptions;
use runtime::catalog::{Catalog, Repository, Subscription, Tree};
use runtime::state::State;
use store::db::life::CurrentLife;
use store::db::{self, DbError};

const MAX_VERSIONS: usize = 12;

pub(super) struct ExplainedRelease {
    pub(super) source: String,
    pub(super) located: LocatedFile,
    /// The part of Bioconductor in its address.
    pub(super) part: Option<Part>,
    /// Its path below that part, or below the snapshot.
    pub(super) path: RPath,
}

struct TreeLives {
    tree: PointTree,
    lives: Vec<CurrentLife>,
}

#[derive(Default)]
struct ExplainedPackage {
    owner: Option<PointTree>,
    lives_by_tree: Vec<TreeLives>,
    decided: Vec<DecidedRelease>,
}

/// Finds the requested release, or returns the reason why there is none.
pub(super) async fn explain_release(
    repositories: &Repositories,
    request: &ExplainRequest,
    decisions: &mut Vec<Decision>,
) -> Result<Result<ExplainedRelease, String>, RepoError> {
    let ExplainRequest { repo, package, version, snapshot, .. } = request;
    let part = request.bioconductor.map(Part::whole);
    let point = point::resolve_part(repositories, repo, part, *snapshot).await?;
    point::require_lists(&point)?;
    let catalog = repositories.state.catalog.get();
    let repository = find::repo(&catalog, repo)?;
    decisions.push(sentences::snapshot(*snapshot, &point));
    let ExplainedPackage { owner, lives_by_tree, decided } =
        lives_in(&repositories.state, &point, package).await?;
    // If the point has only one tree, `allowed::owner` returns it without a check; it may lack the name.
    let owner = owner
        .filter(|owner| lives_by_tree.iter().any(|entry| entry.tree == *owner && !entry.lives.is_empty()));
    decisions.extend(source_decisions(
        &repositories.state,
        &catalog,
        repository,
        request,
        &point,
        &lives_by_tree,
        owner,
    ));
    let Some(owner) = owner else {
        if let Some(guarded) = name_guards::guarded(&repositories.state, &point, package) {
            return Ok(Err(format!("403: {guarded}")));
        }
        return Ok(Err(format!("404: no source of {repo} has {package} in this snapshot")));
    };
    let source = request.source_name(&catalog, owner.source);
    let lives = lives_by_tree.iter().find(|entry| entry.tree == owner).map_or(&[][..], |entry| &entry.lives);
    decisions.extend(rules::decisions(&decided));
    let replacement = rules::replacement(&decided);
    let version = version.as_deref().or(replacement.as_deref());
    let Some(life) = select_life(lives, version) else {
        let answer = match version {
            Some(version) => {
                let text = format!("{source} owns the name {package} and has no version {version}");
                match name_guards::missing(&repositories.state, &point, package, text) {
                    error @ RepoError::Guarded(_) => format!("403: {error}"),
                    error => format!("404: {error}"),
                }
            }
            None => format!(
                "{source} lists no version of {package}: its index omits it; name a version to explain \
                 an archived one"
            ),
        };
        return Ok(Err(answer));
    };
    let archived = life.key.state == LifeState::Archived;
    let Some(path) = path(package, life) else {
        return Ok(Err(format!("404: the file '{}' has no address", life.file_name)));
    };
    let name = match life.key.path.as_str() {
        "" => life.file_name.clone(),
        folder => format!("{folder}/{}", life.file_name),
    };
    let located = match file::locate(repositories, &point, package, &life.version, &name, archived).await {
        Err(RepoError::Guarded(guarded)) => return Ok(Err(format!("403: {guarded}"))),
        Err(RepoError::Blocked(blocked)) => return Ok(Err(format!("403: {blocked}"))),
        located => located?,
    };
    decisions.push(sentences::release(&located, request.version.is_some()));
    let part = match repository.kind.has_parts() {
        true => part_of(&catalog, owner, request.bioconductor),
        false => None,
    };
    Ok(Ok(ExplainedRelease { source, located, part, path }))
}

/// Returns the part of Bioconductor in the addresses of a tree's packages; other packages are in the software part.
fn part_of(catalog: &Catalog, owner: PointTree, requested: Option<BioconductorVersion>) -> Option<Part> {
    let part = catalog.tree(owner.tree).and_then(Tree::part);
    part.or_else(|| {
        Some(Part::single(requested.or_else(|| catalog.default_bioconductor_version())?, Component::Software))
    })
}

async fn lives_in(state: &State, point: &Point, package: &str) -> Result<ExplainedPackage, RepoError> {
    let (trees, name) = (View::of(state, point), package.to_owned());
    let lives_by_tree = state.db.read(move |c| {
        let owner = allowed::owner(c, &trees, &name)?;
        let id = match trees.first() {
            Some(first) => db::package::by_name(c, first.source, &name)?,
            None => None,
        };
        let Some(id) = id else { return Ok(ExplainedPackage::default()) };
        let mut lives_by_tree = Vec::with_capacity(trees.len());
        for tree in &trees {
            let lives = tree.current_of(c, id)?;
            lives_by_tree.push(TreeLives { tree: tree.tree(), lives });
        }
        let decided = owner.as_ref().map_or(Ok(Vec::new()), |owner| owner.decided(c, &name))?;
        Ok::<_, DbError>(ExplainedPackage { owner: owner.map(|owner| owner.tree()), lives_by_tree, decided })
    });
    Ok(lives_by_tree.await?)
}

/// Returns one decision for each subscribed source, in order.
fn source_decisions(
    state: &State,
    catalog: &Catalog,
    repository: &Repository,
    request: &ExplainRequest,
    point: &Point,
    lives_by_tree: &[TreeLives],
    owner: Option<PointTree>,
) -> Vec<Decision> {
    let subscription_list = subscriptions(catalog, repository, request.snapshot, (state.clock)());
    let is_listed_by_owner = owner.is_some_and(|owner| {
        lives_by_tree.iter().any(|entry| entry.tree == owner && entry.lives.iter().any(is_listed))
    });
    let mut decisions = Vec::new();
    let mut is_owned = false;
    // Subscriptions to other versions of Bioconductor are skipped.
    let version = request.bioconductor.or_else(|| catalog.default_bioconductor_version());
    let applies = |entry: &&Subscription| {
        !repository.kind.has_parts() || entry.version.is_none() || entry.version == version
    };
    let mut explained_sources = Vec::new();
    for source in subscription_list.iter().filter(applies).map(|entry| entry.source) {
        // A source may be subscribed to for several versions of Bioconductor.
        if explained_sources.contains(&source) {
            continue;
        }
        explained_sources.push(source);
        let name = request.source_name(catalog, source);
        let trees: Vec<&PointTree> = point.trees.iter().filter(|tree| tree.source == source).collect();
        if trees.is_empty() {
            let state = "nothing was published yet".to_owned();
            decisions.push(Decision {
                topic: Topic::Source,
                subject: name.clone(),
                state,
                is_selected: false,
                rule: String::new(),
            });
        }
        for point_tree in trees {
            let lives = lives_by_tree
                .iter()
                .find(|entry| entry.tree == *point_tree)
                .map_or(&[][..], |entry| &entry.lives);
            let catalog_tree = catalog.tree(point_tree.tree);
            let step =
                catalog_tree.and_then(|tree| tree.steps.iter().find(|step| step.seq == point_tree.seq));
            let part = catalog_tree.and_then(Tree::part).map(|part| format!(" {part}")).unwrap_or_default();
            let guard = name_guards::hiding_reason(state, &request.package, source);
            let state = step.map(|step| format!(" (state of {})", format_time(step.at))).unwrap_or_default();
            let is_owner = owner == Some(*point_tree);
            let rule = match (is_owner, lives.is_empty(), is_listed_by_owner, is_owned) {
                (false, false, ..) if guard.is_some() => guard.as_deref().unwrap_or_default(),
                (true, _, true, _) => {
                    "the first source that lists a name owns it, regardless of the versions"
                }
                (true, _, false, _) => {
                    "no source lists the name; the first that has it in its archive owns it"
                }
                (false, true, ..) => "",
                (false, false, _, true) => "an earlier source owns the name",
                (false, false, ..) => "only in its archive, and a later source lists the name",
            };
            is_owned |= is_owner;
            decisions.push(Decision {
                topic: Topic::Source,
                subject: format!("{name}{part}"),
                state: format!("{}{state}", describe_versions(lives)),
                is_selected: is_owner,
                rule: rule.to_owned(),
            });
        }
    }
    decisions
}

fn is_listed(life: &CurrentLife) -> bool {
    life.key.state == LifeState::Listed
}

/// Selects the requested version, else the listed one; a record without a path precedes one in a folder.
fn select_life<'a>(lives: &'a [CurrentLife], version: Option<&str>) -> Option<&'a CurrentLife> {
    let candidates = lives.iter().filter(|life| match version {
        Some(version) => life.version == version,
        None => is_listed(life),
    });
    candidates
        .min_by_key(|life| (!is_listed(life), !life.key.path.is_empty(), std::cmp::Reverse(life.revision)))
}

/// Describes the versions of a package in a tree: `lists 1.2; in the archive: 1.1, 1.0`.
fn describe_versions(lives: &[CurrentLife]) -> String {
    let versions = |state| {
        let mut selected: Vec<&CurrentLife> = lives.iter().filter(|life| life.key.state == state).collect();
        selected.sort_by(|a, b| {
            (b.published_at, b.revision, b.key.release).cmp(&(a.published_at, a.revision, a.key.release))
        });
        selected.into_iter().map(|life| life.version.as_str()).collect::<Vec<_>>()
    };
    let (listed, archived) = (versions(LifeState::Listed), versions(LifeState::Archived));
    let names = archived.iter().take(MAX_VERSIONS).copied().collect::<Vec<_>>().join(", ");
    let further_count = archived.len().saturating_sub(MAX_VERSIONS);
    let archive = match (archived.is_empty(), further_count) {
        (true, _) => None,
        (false, 0) => Some(format!("in the archive: {names}")),
        (false, further_count) => Some(format!("in the archive: {names} and {further_count} more")),
    };
    let listed = (!listed.is_empty()).then(|| format!("lists {}", listed.join(", ")));
    match (listed, archive) {
        (None, None) => "does not have it".to_owned(),
        (Some(text), None) | (None, Some(text)) => text,
        (Some(listed), Some(archive)) => format!("{listed}; {archive}"),
    }
}

/// Returns the path of the file below the snapshot.
fn path(package: &str, life: &CurrentLife) -> Option<RPath> {
    let file = RepoFileName::parse(&life.file_name)?;
    Some(match (life.key.state, life.key.path.as_str()) {
        (LifeState::Archived, _) => RPath::Archive { package: Segment::parse(package)?, file },
        (_, "") => RPath::File { tree: layout::Tree::Source, file },
        (_, folder) => RPath::SubFile { dir: SubDir::parse(folder)?, file },
    })
}
