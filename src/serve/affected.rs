//! The packages of a point about which there are advisories, with their versions.

use super::vulnerabilities::Vulnerabilities;
use super::{RepoError, Repositories, listing, python};
use crate::db::{self, DbError};
use crate::model::ids::SourceId;
use crate::model::language::Language;
use crate::model::point::Point;

/// A package about which there are advisories.
#[derive(Clone, Debug)]
pub struct AdvisedPackage {
    /// Its source.
    pub source: SourceId,
    /// The name; of a Python project the normal one.
    pub name: String,
    /// Its versions at the point, listed or archived, in unspecified order.
    pub versions: Vec<String>,
}

/// Returns the packages of a point about which there are advisories, sorted by name. Whether a version is affected is
/// for [`Vulnerabilities::of`] to say.
///
/// # Errors
/// Database errors.
pub async fn advised_packages(
    repositories: &Repositories,
    point: &Point,
    advisories: &Vulnerabilities,
) -> Result<Vec<AdvisedPackage>, RepoError> {
    let is_advised = |name: &str, source: SourceId| advisories.has_package(source, name);
    let names = listing::owned_names(repositories, point, is_advised).await?;
    let language = python::language(&repositories.state, point);
    let query = repositories.state.db.read(move |c| {
        let mut packages = Vec::with_capacity(names.len());
        for (name, tree) in &names {
            let mut versions: Vec<String> = match language {
                Language::R => {
                    let releases = db::life::package_detail(c, tree.tree, tree.seq, name)?;
                    releases.into_iter().map(|release| release.version).collect()
                }
                Language::Python => match db::package::by_name(c, tree.source, name)? {
                    Some(package) => {
                        let files = python::curated::of_project(c, tree, package)?;
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
