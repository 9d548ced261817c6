//! Rows of `POST /filter/packages` for projects.

use super::lookup::ReadableDownloads;
use super::vulnerabilities::wire;
use crate::http::error::Failure;
use api::public::filter::{Dependencies, Details, Filter, FilterResult};
use api::public::package::KeyValue;
use base::model::ids::SourceId;
use base::model::kind::Language;
use base::model::license_expression::LicenseExpression;
use base::model::point::Point;
use base::model::project_name::ProjectName;
use base::model::project_page::{ReleaseDescription, StatedRequirement};
use content::serve::metadata::ServedVersion;
use content::serve::project::detail::{self, ProjectDetail, ProjectRelease};
use content::serve::project::file::RequestBudget;
use content::serve::vulnerabilities::Vulnerabilities;
use content::serve::{self, RepoError, Repositories};
use formats::language::{self, Rules};

/// Maximum number of requests to an index, for pages and files, that one request of a client causes.
const MAX_REQUESTS: usize = 10;

/// Parses `flask`, `flask==3.0`, `flask[async]==3.0` or `flask@3.0`; a marker after `;` has no effect.
pub(super) fn specification(text: &str, rules: &dyn Rules) -> Result<(String, Option<String>), String> {
    let requirement = text.split(';').next().unwrap_or_default();
    let (name, version) = match requirement.split_once("==").or_else(|| requirement.split_once('@')) {
        Some((name, version)) => (name, Some(version.trim_start_matches('=').trim())),
        None => (requirement, None),
    };
    let name = name.split('[').next().unwrap_or_default().trim();
    if !rules.is_name(name, false) || version.is_some_and(str::is_empty) {
        let excerpt: String = text.chars().take(80).collect();
        return Err(format!("'{excerpt}' is not a package specification: write name or name==version"));
    }
    Ok((name.to_owned(), version.map(str::to_owned)))
}

/// A requested version of a project.
struct RequestedVersion {
    project: ProjectName,
    /// The name as the owner writes it.
    display_name: String,
    source: SourceId,
    version: String,
    /// The details; `None` if rules block the version.
    detail: Option<Box<ProjectDetail>>,
    /// The rule that blocks the version, with the reason.
    blocking_rule: Option<String>,
    /// The versions that are not blocked, the highest first.
    available_versions: Vec<String>,
}

/// Returns the rows of the requested projects. Omits projects and versions that the point does not have, those that a name
/// guard hides, and projects of an index that require a request after the limit of [`MAX_REQUESTS`] is reached.
pub(super) async fn rows(
    repositories: &Repositories,
    downloads: &ReadableDownloads,
    language: Language,
    point: &Point,
    specifications: &[(String, Option<String>)],
    filter: &Filter,
    advisories: Option<&Vulnerabilities>,
) -> Result<Vec<FilterResult>, Failure> {
    let (rules, budget) = (language::of(language), RequestBudget::new(MAX_REQUESTS));
    let mut rows = Vec::with_capacity(specifications.len());
    for (name, version) in specifications {
        let requested = match find(repositories, rules, point, name, version.as_deref(), &budget).await {
            Ok(requested) => requested,
            // A name without a row does not prevent the rows of other names.
            Err(RepoError::NotFound(_) | RepoError::Guarded(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        let (source, project, version) = (requested.source, requested.project.as_str(), &requested.version);
        let mut row = FilterResult {
            name: requested.display_name.clone(),
            version: version.clone(),
            blocked: requested.blocking_rule.is_some(),
            blocking_rule: requested.blocking_rule.clone(),
            ..FilterResult::default()
        };
        if !filter.omit_package_details {
            let (details, requirements) = match &requested.detail {
                Some(detail) => {
                    let described =
                        serve::project::describe(repositories, point, &detail.release, Some(&budget)).await;
                    (details(detail, &described), described.requirements)
                }
                None => Default::default(),
            };
            row.details =
                Some(Details { available_versions: requested.available_versions.clone(), ..details });
            if !filter.omit_dependencies {
                row.dependencies = Some(dependencies(requirements));
            }
            if !filter.omit_downloads {
                row.downloads = downloads.totals(&[(source, project)]).await.first().copied();
            }
        }
        if filter.metadata {
            let served = ServedVersion { source, name: project.to_owned(), version: version.clone() };
            let metadata = serve::metadata::of_one(repositories, language, point.repo, served).await?;
            row.metadata = KeyValue::list(metadata);
        }
        if let Some(advisories) = advisories {
            row.vulns = advisories.of(source, project, version).iter().map(wire).collect();
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Finds a version of a project; by default the one that installers prefer, or the highest if all files are blocked.
async fn find(
    repositories: &Repositories,
    rules: &dyn Rules,
    point: &Point,
    name: &str,
    version: Option<&str>,
    budget: &RequestBudget,
) -> Result<RequestedVersion, RepoError> {
    let found = detail::releases_within(repositories, point, name, Some(budget)).await?;
    let release = found.require_release(repositories, point, version).cloned();
    let blocked = match release {
        Ok(release) => {
            let detail = found.into_detail(repositories, release)?;
            return Ok(RequestedVersion {
                project: detail.project.clone(),
                display_name: detail.display_name.clone(),
                source: detail.source,
                version: detail.release.version.clone(),
                available_versions: versions(&detail.releases),
                detail: Some(Box::new(detail)),
                blocking_rule: None,
            });
        }
        Err(RepoError::Blocked(blocked)) => blocked,
        Err(error) => return Err(error),
    };
    let display_name = found.display_name(found.preferred());
    let missing = || RepoError::NotFound(format!("there is no project '{name}' in this snapshot"));
    let is_requested = |text: &str| rules.compare(text, &blocked.version).is_eq();
    if version.is_some_and(|text| !is_requested(text)) {
        // All files of the project are blocked, and it has no such version.
        return Err(missing());
    }
    Ok(RequestedVersion {
        display_name,
        source: found.source().ok_or_else(missing)?,
        version: blocked.version,
        available_versions: versions(&found.releases),
        project: found.project,
        detail: None,
        blocking_rule: Some(blocked.reason),
    })
}

fn versions(releases: &[ProjectRelease]) -> Vec<String> {
    releases.iter().map(|release| release.version.clone()).collect()
}

/// Returns the details of a version, without the other versions.
fn details(detail: &ProjectDetail, described: &ReleaseDescription) -> Details {
    let release = &detail.release;
    Details {
        summary: release.descriptions().find_map(|file| file.summary),
        license_types: described.licenses.types().to_vec(),
        licenses: described.license.as_deref().map(license_ids).unwrap_or_default(),
        license: described.license.clone(),
        package_date: release.uploaded_at().map(|at| at.day().to_string()),
        package_size: release.files.first().map_or(0, |file| file.size.max(0)),
        available_versions: Vec::new(),
    }
}

/// Returns the identifiers in an SPDX license expression; any other text is one license.
fn license_ids(license: &str) -> Vec<String> {
    match license.parse::<LicenseExpression>() {
        Ok(expression) => expression.ids().map(str::to_owned).collect(),
        Err(_) => vec![license.to_owned()],
    }
}

/// Returns the requirements as written: those of an extra are suggested packages.
fn dependencies(requirements: Vec<StatedRequirement>) -> Dependencies {
    let (suggests, imports) =
        requirements.into_iter().partition::<Vec<_>, _>(|requirement| requirement.is_optional);
    let texts = |requirements: Vec<StatedRequirement>| requirements.into_iter().map(|r| r.text).collect();
    Dependencies { imports: texts(imports), suggests: texts(suggests), ..Dependencies::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_extras_and_a_version() {
        let assert_parsed = |text, name: &str, version: Option<&str>| {
            assert_eq!(
                specification(text, language::of(Language::Python)),
                Ok((name.to_owned(), version.map(str::to_owned))),
                "{text}"
            );
        };
        assert_parsed("Odd.Name", "Odd.Name", None);
        assert_parsed("odd==1.0", "odd", Some("1.0"));
        assert_parsed(" odd[a,b] === 1.0+x ", "odd", Some("1.0+x"));
        assert_parsed("odd == 1 ; python_version > '3'", "odd", Some("1"));
        assert_parsed("odd@1!1.0", "odd", Some("1!1.0"));
        for bad in ["", "==1", "a b==1", "../x", "a==", "-a", "a/b", "[x]"] {
            assert!(
                specification(bad, language::of(Language::Python)).expect_err(bad).contains("name==version"),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_expression_is_a_list_of_licenses() {
        assert_eq!(license_ids("MIT OR Apache-2.0"), ["MIT", "Apache-2.0"]);
        assert_eq!(license_ids("MIT License"), ["MIT License"]);
    }
}
