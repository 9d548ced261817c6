//! The vulnerabilities of the packages of a point, with the versions that each one affects.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;

use super::listing;
use super::vulnerabilities::Vulnerabilities;
use crate::serve::selection::allowed::View;
use crate::serve::{RepoError, Repositories, error, project};
use base::model::ids::SourceId;
use base::model::kind::{Language, Layout};
use base::model::point::{Point, PointTree};
use base::model::time::{SECOND, Timestamp};
use formats::advisory::Index;
use formats::language;
use store::db::{self, DbError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedPackage {
    pub source: SourceId,
    /// The name; of a project the normalized one.
    pub name: String,
    pub id: String,
    /// The affected versions at the point, listed or archived, the highest first; at least one.
    pub versions: Vec<String>,
    /// The time of the last change of its advisory; if unknown, the publication time.
    pub changed: Option<Timestamp>,
}

/// The vulnerabilities of the packages of a point. 15,000 of them use several megabytes of memory.
#[derive(Debug, Default)]
pub struct AffectedPackages {
    pub rows: Vec<AffectedPackage>,
    /// Keeps the address of the index from being reused while the [`Cache`] has the entry.
    _index: Weak<Index>,
}

/// By trees, address of the index of advisories, and minute, because the first request for a project of an
/// index adds its versions to the current state.
pub(in crate::serve) type Cache =
    quick_cache::sync::Cache<(Vec<PointTree>, usize, i64), Arc<AffectedPackages>>;

/// Maximum number of points in the [`Cache`].
pub(in crate::serve) const CACHE_ENTRIES: usize = 4;

/// Limits concurrent reads: one of an index runs thousands of queries, and uses a connection for seconds.
static READS: Semaphore = Semaphore::const_new(1);

struct AdvisedPackage {
    source: SourceId,
    name: String,
    /// Its versions at the point, listed or archived, in unspecified order.
    versions: Vec<String>,
}

/// Returns the vulnerabilities of the packages of a point: read once, then cached for a minute.
pub async fn at_point(
    repositories: &Repositories,
    point: &Point,
    advisories: &Vulnerabilities,
) -> Result<Arc<AffectedPackages>, RepoError> {
    let Some(index) = advisories.index() else { return Ok(Arc::default()) };
    let minute = advisories.now().0.div_euclid(60 * SECOND);
    let key = (point.trees.clone(), Arc::as_ptr(index).addr(), minute);
    let affected = read(repositories, point, advisories, Arc::downgrade(index));
    repositories.views.affected_packages.get_or_insert_async(&key, affected).await
}

async fn read(
    repositories: &Repositories,
    point: &Point,
    advisories: &Vulnerabilities,
    index: Weak<Index>,
) -> Result<Arc<AffectedPackages>, RepoError> {
    let _permit = READS.acquire().await.ok();
    let language = point.language;
    let packages = advised_packages(repositories, point, advisories, language.layout()).await?;
    let advisories = advisories.clone();
    // Thousands of versions are compared.
    let rows = error::run_blocking(move || {
        packages.iter().flat_map(|package| affected(package, language, &advisories)).collect()
    });
    Ok(Arc::new(AffectedPackages { rows: rows.await?, _index: index }))
}

/// Returns the packages of a point about which there are advisories, sorted by name.
async fn advised_packages(
    repositories: &Repositories,
    point: &Point,
    advisories: &Vulnerabilities,
    layout: Layout,
) -> Result<Vec<AdvisedPackage>, RepoError> {
    let is_advised = |name: &str, source: SourceId| advisories.has_package(source, name);
    let names = listing::owned_names(repositories, point, is_advised).await?;
    let views = View::of(&repositories.state, point);
    let query = repositories.state.db.read(move |c| {
        let mut packages = Vec::with_capacity(names.len());
        for (name, tree) in &names {
            let mut versions: Vec<String> = match layout {
                Layout::Lists => {
                    let view = views.iter().find(|view| view.tree() == *tree);
                    let releases = view.map(|view| view.package_detail(c, name)).transpose()?;
                    releases.unwrap_or_default().into_iter().map(|release| release.version).collect()
                }
                Layout::Projects => match db::package::by_name(c, tree.source, name)? {
                    Some(package) => {
                        let view = views.iter().find(|view| view.tree() == *tree);
                        let files =
                            view.map(|view| project::curated::with_blocked(c, view, package)).transpose()?;
                        let files = files.unwrap_or_default();
                        files.into_iter().map(|file| file.version).collect()
                    }
                    None => Vec::new(),
                },
            };
            versions.sort_unstable();
            versions.dedup();
            packages.push(AdvisedPackage { source: tree.source, name: name.clone(), versions });
        }
        Ok::<_, DbError>(packages)
    });
    Ok(query.await?)
}

/// Returns the vulnerabilities of a package, sorted by id.
fn affected(
    package: &AdvisedPackage,
    language: Language,
    advisories: &Vulnerabilities,
) -> Vec<AffectedPackage> {
    let mut by_id: BTreeMap<String, (Option<Timestamp>, Vec<String>)> = BTreeMap::new();
    for version in sorted(&package.versions, language) {
        for finding in advisories.of(package.source, &package.name, version) {
            let changed = finding.modified.or(finding.published);
            by_id.entry(finding.id.to_owned()).or_insert((changed, Vec::new())).1.push(version.clone());
        }
    }
    let row = |(id, (changed, versions))| AffectedPackage {
        source: package.source,
        name: package.name.clone(),
        id,
        versions,
        changed,
    };
    by_id.into_iter().map(row).collect()
}

/// Returns versions in the order of their language, the highest first.
fn sorted(versions: &[String], language: Language) -> Vec<&String> {
    let (mut versions, rules): (Vec<&String>, _) = (versions.iter().collect(), language::of(language));
    versions.sort_by_cached_key(|text| Reverse(rules.version(text)));
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_is_first_in_each_language() {
        let versions = ["1.9", "1.10rc1", "1.10"].map(str::to_owned);
        assert_eq!(sorted(&versions, Language::Python), ["1.10", "1.10rc1", "1.9"]);
        let versions = ["1.9", "1.10-1", "1.10"].map(str::to_owned);
        assert_eq!(sorted(&versions, Language::R), ["1.10-1", "1.10", "1.9"]);
    }
}
