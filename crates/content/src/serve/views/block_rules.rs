//! What authors of block rules need: decisions about a version or the packages of a source, and license types.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::serve::selection::allowed::{self, DecidedRelease, RuleDecision, View, blocked};
use crate::serve::selection::{name_guards, point, policies};
use crate::serve::{AllowedVersion, RepoError, Repositories, find};
use base::model::change::LifeState;
use base::model::ids::{PackageId, ReleaseId, Seq, SourceId, TreeId};
use base::model::kind::Layout;
use base::model::license::Licenses;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use formats::language::{self, Version};
use formats::policy::Rule;
use formats::r::bioconductor::{BioconductorVersion, Part};
use formats::r::description::Description;
use formats::r::license::licenses;
use formats::r::version::compare;
use runtime::state::State;
use store::db::life;
use store::db::project_file::ListedFile;

#[derive(Clone, Debug)]
pub struct RuleTest {
    pub version: String,
    pub is_blocked: bool,
    /// The first rule that matches.
    pub rule: Option<Arc<Rule>>,
    pub reason: String,
    /// The ids of the rules that were compared, in their order.
    pub compared: Vec<i64>,
    pub allowed: Option<AllowedVersion>,
}

/// Returns the decision about a version of a package in the newest state of a repository, by default the one
/// that would be listed without rules. Fails with [`RepoError::Guarded`] for a hidden name,
/// [`RepoError::Invalid`] for a repository of projects.
pub async fn test(
    repositories: &Repositories,
    repo: &str,
    bioconductor: Option<BioconductorVersion>,
    package: &str,
    version: Option<&str>,
) -> Result<RuleTest, RepoError> {
    let state = &repositories.state;
    let catalog = state.catalog.get();
    let repo = find::repo(&catalog, repo)?;
    let part = bioconductor.map(Part::whole);
    if repo.kind.layout() == Layout::Projects {
        return Err(RepoError::Invalid(format!(
            "the repository '{}' has {} packages, whose rules this command does not test; run: rspm explain {} PACKAGE",
            repo.name,
            repo.kind.language().label(),
            repo.name
        )));
    }
    let point = point::resolve_part(repositories, repo.name.as_str(), part, Snapshot::Latest).await?;
    let (views, name) = (View::of(state, &point), package.to_owned());
    let query = state.db.read(move |c| {
        let Some(view) = allowed::owner(c, &views, &name)? else { return Ok(None) };
        let files = life::package_detail(c, view.tree, view.seq, &name)?;
        Ok(Some((files, view.decided(c, &name)?)))
    });
    let unknown = || {
        let text = format!("there is no package '{package}' in {}", repo.name);
        name_guards::missing(state, &point, package, text)
    };
    let (files, decided) = query.await?.filter(|(files, _)| !files.is_empty()).ok_or_else(unknown)?;
    let file = match version {
        Some(version) => files.iter().find(|file| file.version == version).ok_or_else(|| {
            RepoError::NotFound(format!("there is no version {version} of '{package}' in {}", repo.name))
        })?,
        None => files.iter().find(|file| file.state == LifeState::Listed).unwrap_or(&files[0]),
    };
    let found: Option<&DecidedRelease> =
        decided.iter().find(|decided| decided.release.release == file.release);
    let (rule, reason, is_blocked) = match found.map(|decided| &decided.decision) {
        None | Some(RuleDecision::NoRule) => (None, String::new(), false),
        Some(RuleDecision::AdmittedEarly(reason)) => (None, reason.clone(), false),
        Some(RuleDecision::Exception(rule, reason) | RuleDecision::Warned(rule, reason)) => {
            (Some(Arc::clone(rule)), reason.clone(), false)
        }
        Some(RuleDecision::Blocked(rule, reason)) => (Some(Arc::clone(rule)), reason.clone(), true),
    };
    let compared = policies::of_repo(state, repo.id)
        .map(|policy| policy.set.compared(package, rule.as_ref().map(|rule| rule.id)))
        .unwrap_or_default();
    let allowed = match decided.is_empty() {
        true => files.iter().max_by(|a, b| compare(&a.version, &b.version)).map(|file| AllowedVersion {
            version: file.version.clone(),
            is_listed: file.state == LifeState::Listed,
        }),
        false => blocked::highest_allowed(&decided),
    };
    Ok(RuleTest { version: file.version.clone(), is_blocked, rule, reason, compared, allowed })
}

/// Returns the R packages of a source that rules without a repository block, with reasons; `point` is a state of it.
pub async fn blocked_releases(
    repositories: &Repositories,
    point: &Point,
    source: SourceId,
    package: &str,
) -> Result<HashMap<ReleaseId, String>, RepoError> {
    let (views, name) = (views(&repositories.state, point, source).await, package.to_owned());
    let query = repositories.state.db.read(move |c| {
        let mut blocked = HashMap::new();
        for view in &views {
            for decided in view.decided(c, &name)? {
                if let RuleDecision::Blocked(_, reason) = decided.decision {
                    blocked.insert(decided.release.release, reason);
                }
            }
        }
        Ok(blocked)
    });
    Ok(query.await?)
}

/// Returns the versions of a Python project of which all files are blocked, with the reason for one. `point`
/// is a state of the source, `files` are all its files of the project.
pub async fn blocked_versions(
    repositories: &Repositories,
    point: &Point,
    source: SourceId,
    files: Vec<ListedFile>,
) -> Result<BTreeMap<Version<'static>, String>, RepoError> {
    let view = views(&repositories.state, point, source).await.into_iter().next();
    let Some(view) = view else { return Ok(BTreeMap::new()) };
    let rules = language::of(point.language);
    let query = repositories.state.db.read(move |c| {
        let mut files = files.clone();
        let decided = allowed::project::take_decided(c, &view, &mut files)?;
        let version = |text: &str| rules.version(text).into_owned();
        let available: BTreeSet<Version<'static>> = files.iter().map(|file| version(&file.version)).collect();
        let reasons = decided.blocked.into_iter().map(|file| (version(&file.version), file.reason));
        Ok(reasons.filter(|(version, _)| !available.contains(version)).collect())
    });
    Ok(query.await?)
}

/// Returns the trees of a state of a source under these rules; empty if they block nothing there.
async fn views(state: &State, point: &Point, source: SourceId) -> Vec<View> {
    let Some(policy) = policies::of_source(state, source).await else { return Vec::new() };
    View::under(state, point, Some(&policy))
}

/// Returns the number of listed packages by license type, per source, of languages whose indexes state licenses.
pub async fn license_types(repositories: &Repositories) -> Result<BTreeMap<String, u64>, RepoError> {
    let catalog = repositories.state.catalog.get();
    let sources =
        catalog.sources.iter().filter(|source| language::of(source.kind.language()).states_licenses());
    let trees: Vec<(SourceId, TreeId, Seq)> = sources
        .flat_map(|source| catalog.source_package_trees(source.id))
        .filter_map(|tree| Some((tree.source, tree.id, tree.newest()?)))
        .collect();
    let mut counted: HashMap<SourceId, HashSet<PackageId>> = HashMap::new();
    let mut types: BTreeMap<String, u64> = BTreeMap::new();
    // CRAN has a few hundred different texts.
    let mut known: HashMap<String, Licenses> = HashMap::new();
    for (source, tree, seq) in trees {
        let read = repositories.state.db.read(move |c| {
            let mut fields: Vec<(PackageId, String)> = Vec::new();
            life::each_listed(c, tree, seq, &mut |record| {
                let description = Description::from_bytes(&record.stanza).ok();
                let field = description.as_ref().and_then(|description| description.non_empty("License"));
                fields.push((record.package, field.unwrap_or_default().to_owned()));
            })?;
            Ok(fields)
        });
        for (package, field) in read.await? {
            if counted.entry(source).or_default().insert(package) {
                let licenses = known.entry(field).or_insert_with_key(|field| licenses(field));
                for id in licenses.types() {
                    *types.entry(id.clone()).or_default() += 1;
                }
            }
        }
    }
    Ok(types)
}
