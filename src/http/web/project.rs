//! The page of a package.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;

use super::context::Context;
use super::{readme, unknown};
use crate::http::error::Failure;
use api::error::Code;
use base::model::ids::SourceId;
use base::model::kind::RepoKind;
use base::model::license::Licenses;
use base::model::project_page::{FileDescription, StatedRequirement};
use content::serve::dependency_graph::DependencyGraph;
use content::serve::info::{PackageDetail, Release};
use content::serve::metadata::ServedVersion;
use content::serve::project::describe;
use content::serve::project::detail::ProjectDetail;
use content::serve::vulnerabilities::Vulnerabilities;
use content::serve::{self, RepoError, package_files, proofs};
use formats::language;
use formats::r::dependency::DependencyKind;
use formats::r::description::Description;
use formats::r::license::licenses;
use formats::r::version::compare;
use formats::tlog::record_proof::INDEX;
use pages::files::Files;
use pages::package::{Dependency, Package, PropertyValue, Vulnerability};
use pages::readme::{Format, Links, image_paths, unusual_image_paths};
use pages::setup::{VersionToInstall, install_command};
use pages::text::{quoted_names, segment, size};

const MAX_DEPENDENTS: usize = 20;
/// Of each kind, on the page of an R package: a DESCRIPTION of a megabyte may name several hundred thousand.
const MAX_DEPENDENCIES: usize = 1000;
const MAX_REQUIREMENTS: usize = 200;

/// Reads an R package, in the version of the parameter `version` if it is set. Fails with a 404 with the days
/// on which the repository lists the package, or with similar names.
pub(super) async fn detail(context: &Context<'_>, package: &str) -> Result<PackageDetail, Failure> {
    let version = context.query.get("version").filter(|version| !version.is_empty());
    let repositories = &context.app.repositories;
    let message = match serve::info::package(repositories, context.point, package, version).await {
        Ok(detail) => return Ok(detail),
        Err(RepoError::NotFound(message)) => message,
        Err(error) => return Err(error.into()),
    };
    Err(unknown::package(context, package, message).await)
}

/// Reads a project, in the version `version` if it is set. Fails with a 404 with similar names.
pub(super) async fn project_detail(
    context: &Context<'_>,
    project: &str,
    version: Option<&str>,
) -> Result<ProjectDetail, Failure> {
    let repositories = &context.app.repositories;
    match serve::project::detail::project(repositories, context.point, project, version).await {
        Ok(detail) => Ok(detail),
        Err(RepoError::NotFound(message)) => {
            let rules = language::of(context.repo.kind.language());
            Err(unknown::project(context, &rules.fold(project), message).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// Checks that block rules allow the version whose file a page shows; else 403 with the rule and its reason.
pub(super) fn require_not_blocked(release: &Release) -> Result<(), Failure> {
    let Some(reason) = &release.blocked else { return Ok(()) };
    let phrase = format!("{} {} is blocked in this repository by {reason}", release.package, release.version);
    Err(Failure::new(StatusCode::FORBIDDEN, Code::Forbidden, phrase))
}

/// Returns the page of an R package.
pub(super) async fn r_package(context: Context<'_>, package: &str) -> Result<String, Failure> {
    let app = context.app;
    let detail = detail(&context, package).await?;
    let release = &detail.release;
    let description = Description::from_bytes(&detail.description).ok();
    let field = |tag: &str| description.as_ref().and_then(|d| d.non_empty(tag)).map(str::to_owned);
    let graph = serve::dependency_graph::of_point(&app.repositories, context.point).await?;
    let known_vulnerabilities = serve::vulnerabilities::current(&app.state).await;
    let has_description = !detail.description.is_empty();
    // The README is a file of the archive, which is not served of a blocked version.
    let readme = match detail.readme.clone().filter(|_| release.blocked.is_none()) {
        Some(text) => {
            let mut links = links(&context, &release.package, has_description);
            links.figures = figures(&context, &detail, &text).await;
            links.license = has_license_file(field("License").as_deref())
                .then(|| context.root.package(&context.location, &release.package, "license/"));
            if release.archived {
                let of_version = |address: String| version_address(&address, &release.version);
                links.description = links.description.map(of_version);
                links.license = links.license.map(of_version);
                links.news = version_address(&links.news, &release.version);
            }
            readme::html(text, Format::Markdown, links, context.client).await?
        }
        None => None,
    };
    let served = ServedVersion {
        source: detail.source,
        name: release.package.clone(),
        version: release.version.clone(),
    };
    let install = r_command(context.repo.kind, release, &snapshot_url(&context));
    let source = context.principal.source_name(context.catalog, detail.source);
    let page = Package {
        name: release.package.clone(),
        display_name: release.package.clone(),
        version: release.version.clone(),
        is_listed: !release.archived,
        yanked: None,
        blocked: release.blocked.clone(),
        blocked_version: blocked_version(&detail),
        warning: release.warning.clone(),
        named_packages: named_packages(&graph, &release.package, [field("Title"), field("Description")]),
        title: field("Title").unwrap_or_default(),
        description: field("Description").unwrap_or_default(),
        language: field("Language").filter(|tag| is_language(tag)),
        install,
        vulnerabilities: vulnerabilities(
            &known_vulnerabilities,
            detail.source,
            &release.package,
            &release.version,
        ),
        properties: properties(&context, &detail, field),
        dependencies: description.as_ref().map(|d| dependencies(d, &graph)).unwrap_or_default(),
        dependents: dependents(&graph, &release.package),
        readme,
        metadata: metadata_of(&context, served).await?,
        versions: detail.others.len() + 1,
        json: Some(context.api(&format!("packages/{}", segment(&release.package)))),
        proof: proof(&context, release).await?,
        has_history: true,
        has_graph: true,
        has_description: has_description && release.blocked.is_none(),
        has_files: detail.archive.is_some() && release.blocked.is_none(),
        has_downloads: app.usage.is_enabled() && !source.is_empty(),
        location: context.location,
    };
    Ok(page.render(context.root))
}

/// Returns the address of the proof of a listed release, below that of the snapshot; `None` if the log has no entry of it.
async fn proof(context: &Context<'_>, release: &Release) -> Result<Option<String>, Failure> {
    let (repositories, repo) = (&context.app.repositories, context.repo);
    let has_entry = proofs::has_entry(repositories, repo, context.part, context.snapshot);
    if release.archived || release.blocked.is_some() || !has_entry.await? {
        return Ok(None);
    }
    let index = proofs::document(repo.kind.language(), context.part);
    let folder = index.strip_suffix(INDEX).unwrap_or_default();
    let file = format!("{}_{}.tar.gz", release.package, release.version);
    Ok(Some(format!("{folder}{}.proof", segment(&file))))
}

fn version_address(address: &str, version: &str) -> String {
    let sign = if address.contains('?') { '&' } else { '?' };
    format!("{address}{sign}version={}", segment(version))
}

/// Returns the highest blocked version above that of the page, with the rule and its reason.
fn blocked_version(detail: &PackageDetail) -> Option<(String, String)> {
    let shown = &detail.release.version;
    let higher = detail.others.iter().filter(|other| compare(&other.version, shown).is_gt());
    let blocked = higher.filter_map(|other| Some((other.version.clone(), other.blocked.clone()?)));
    blocked.max_by(|a, b| compare(&a.0, &b.0))
}

async fn metadata_of(context: &Context<'_>, served: ServedVersion) -> Result<Vec<(String, String)>, Failure> {
    let language = context.repo.kind.language();
    let metadata =
        serve::metadata::of_one(&context.app.repositories, language, context.point.repo, served).await?;
    Ok(metadata.into_iter().collect())
}

/// Returns whether the field `License` of a DESCRIPTION names a file of the archive: `MIT + file LICENSE`.
fn has_license_file(license: Option<&str>) -> bool {
    license.is_some_and(|text| text.contains("file LICENSE") || text.contains("file LICENCE"))
}

/// Returns the base addresses of relative links in a README, without that of the license.
pub(super) fn links(context: &Context<'_>, package: &str, is_r: bool) -> Links {
    let below = |page: &str| context.root.package(&context.location, package, page);
    Links {
        description: is_r.then(|| below("DESCRIPTION")),
        news: if is_r { below("news/") } else { below("versions/") },
        license: None,
        figures: BTreeMap::new(),
    }
}

/// Returns the addresses of the figures that a README names, by their paths in the archive; none of a blocked
/// version, whose files are not served.
async fn figures(context: &Context<'_>, detail: &PackageDetail, readme: &[u8]) -> BTreeMap<String, String> {
    let release = &detail.release;
    let named = image_paths(readme);
    let Some(archive) = detail.archive.filter(|_| release.blocked.is_none() && !named.is_empty()) else {
        return BTreeMap::new();
    };
    let Ok(present) = package_files::figures(&context.app.repositories, archive).await else {
        return BTreeMap::new();
    };
    let files = Files {
        location: context.location.clone(),
        package: release.package.clone(),
        version: release.version.clone(),
        distribution: None,
    };
    let unusual = unusual_image_paths(readme, present.iter().map(String::as_str));
    let is_named = |path: &str| named.contains(path) || unusual.contains(path);
    let named_paths = present.iter().filter(|path| is_named(path));
    named_paths.filter_map(|path| Some((path.clone(), files.address(&context.root, path)?))).collect()
}

fn is_language(tag: &str) -> bool {
    (2..=35).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn properties(
    context: &Context<'_>,
    detail: &PackageDetail,
    field: impl Fn(&str) -> Option<String>,
) -> Vec<(&'static str, PropertyValue)> {
    let release = &detail.release;
    let source = context.principal.source_name(context.catalog, detail.source);
    let text = |tag: &str| field(tag).map(PropertyValue::Text);
    let properties = [
        ("Published", release.published_at.map(|at| PropertyValue::Day(at.day()))),
        ("Source", Some(source).filter(|name| !name.is_empty()).map(PropertyValue::Text)),
        ("License", text("License")),
        ("SPDX", field("License").and_then(|text| spdx(&text, &licenses(&text)))),
        ("Maintainer", text("Maintainer")),
        ("Author", text("Author")),
        ("URL", field("URL").map(PropertyValue::Links)),
        ("Bug reports", field("BugReports").map(PropertyValue::Links)),
        ("Compilation", text("NeedsCompilation")),
        ("System requirements", text("SystemRequirements")),
        ("Size", release.size.map(|bytes| PropertyValue::Text(size(bytes)))),
        ("SHA-256", release.sha256.map(|digest| PropertyValue::Code(digest.to_string()))),
    ];
    properties.into_iter().filter_map(|(label, value)| Some((label, value?))).collect()
}

/// Returns the licenses as SPDX identifiers, unless `text` is written like this already.
fn spdx(text: &str, licenses: &Licenses) -> Option<PropertyValue> {
    let written = licenses.expression().map_or_else(|| licenses.types().join(", "), str::to_owned);
    (written != text).then_some(PropertyValue::Text(written))
}

fn dependencies(description: &Description, graph: &DependencyGraph) -> Vec<(&'static str, Vec<Dependency>)> {
    let of_kind = |kind: DependencyKind| {
        let dependencies =
            description.dependencies(kind).take(MAX_DEPENDENCIES).map(|dependency| Dependency {
                name: dependency.name.to_owned(),
                condition: dependency
                    .requirement
                    .map(|r| format!("{} {}", r.operator.as_str(), r.version))
                    .unwrap_or_default(),
                is_listed: graph.lists(dependency.name),
            });
        (kind.field(), dependencies.collect::<Vec<_>>())
    };
    let kinds = DependencyKind::ALL.into_iter().map(of_kind);
    kinds.filter(|(_, dependencies)| !dependencies.is_empty()).collect()
}

/// Returns the other listed packages that texts name in quotes.
fn named_packages(
    graph: &DependencyGraph,
    package: &str,
    texts: impl IntoIterator<Item = Option<String>>,
) -> BTreeSet<String> {
    let listed = |text: String| {
        let names = quoted_names(&text).filter(|name| *name != package && graph.lists(name));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    texts.into_iter().flatten().flat_map(listed).collect()
}

/// Returns the first listed packages that depend on this one, and the number of all.
fn dependents(graph: &DependencyGraph, package: &str) -> (Vec<String>, usize) {
    let names: BTreeSet<&str> = graph.reverse_dependencies(package).map(|dependent| dependent.name).collect();
    (names.iter().take(MAX_DEPENDENTS).map(|name| (*name).to_owned()).collect(), names.len())
}

fn vulnerabilities(
    known_vulnerabilities: &Vulnerabilities,
    source: SourceId,
    package: &str,
    version: &str,
) -> Vec<Vulnerability> {
    let findings = known_vulnerabilities.of(source, package, version);
    let findings = findings.iter().map(|finding| Vulnerability {
        id: finding.id.to_owned(),
        summary: finding.summary.unwrap_or_default().to_owned(),
    });
    findings.collect()
}

/// Returns the page of a project.
pub(super) async fn project_page(context: Context<'_>, project: &str) -> Result<String, Failure> {
    let app = context.app;
    let version = context.query.get("version").filter(|version| !version.is_empty());
    let detail = project_detail(&context, project, version).await?;
    let name = detail.project.as_str();
    let release = &detail.release;
    let described = describe(&app.repositories, context.point, release, None).await;
    let readme = match described.readme {
        Some(text) => {
            let format = Format::of_media_type(described.readme_type.as_deref());
            let links = links(&context, name, false);
            readme::html(text.into_bytes(), format, links, context.client).await?
        }
        None => None,
    };
    let files = &release.files;
    let description = release.descriptions().reduce(FileDescription::or).unwrap_or_default();
    let known_vulnerabilities = serve::vulnerabilities::current(&app.state).await;
    let source = context.principal.source_name(context.catalog, detail.source);
    let has_source = !source.is_empty();
    let served =
        ServedVersion { source: detail.source, name: name.to_owned(), version: release.version.clone() };
    // The pages of an index state no summary.
    let summary = description.summary.or(described.summary);
    let urls = described.urls.into_iter().collect::<Vec<_>>().join(" ");
    let properties = [
        ("Published", release.uploaded_at().map(|at| PropertyValue::Day(at.day()))),
        ("Source", Some(source).filter(|name| !name.is_empty()).map(PropertyValue::Text)),
        (release.language.label(), description.requires.map(PropertyValue::Text)),
        ("Files", Some(PropertyValue::Text(files.len().to_string()))),
        ("License", described.license.clone().map(PropertyValue::Text)),
        ("SPDX", described.license.and_then(|text| spdx(&text, &described.licenses))),
        ("Author", described.author.map(PropertyValue::Text)),
        ("Maintainer", described.maintainer.map(PropertyValue::Text)),
        ("URL", Some(urls).filter(|urls| !urls.is_empty()).map(PropertyValue::Links)),
    ];
    let page = Package {
        name: name.to_owned(),
        display_name: detail.display_name.clone(),
        version: release.version.clone(),
        is_listed: true,
        yanked: release.yanked().map(str::to_owned),
        blocked: None,
        blocked_version: None,
        warning: None,
        title: summary.unwrap_or_default(),
        description: String::new(),
        named_packages: BTreeSet::new(),
        language: None,
        install: project_command(context.repo.kind, name, &release.version, &snapshot_url(&context)),
        vulnerabilities: vulnerabilities(&known_vulnerabilities, detail.source, name, &release.version),
        properties: properties.into_iter().filter_map(|(label, value)| Some((label, value?))).collect(),
        dependencies: requirements(&described.requirements),
        dependents: (Vec::new(), 0),
        readme,
        metadata: metadata_of(&context, served).await?,
        versions: detail.releases.len(),
        json: Some(context.api(&format!("packages/{}", segment(name)))),
        proof: None,
        has_history: false,
        has_graph: false,
        has_description: false,
        has_files: true,
        has_downloads: app.usage.is_enabled() && has_source,
        location: context.location,
    };
    Ok(page.render(context.root))
}

/// Returns the URL of the snapshot, without a slash at the end.
fn snapshot_url(context: &Context<'_>) -> String {
    format!("{}/{}/{}", context.base, segment(&context.location.repo), context.location.snapshot)
}

/// Returns the command that installs a version of an R package; `None` for a blocked one.
fn r_command(kind: RepoKind, release: &Release, snapshot: &str) -> Option<String> {
    let Release { package, version, archived, blocked, .. } = release;
    let version = VersionToInstall { package, version, is_archived: *archived, snapshot };
    install_command(kind, &version).filter(|_| blocked.is_none())
}

/// Returns the command that installs a version of a project. SECURITY: people paste it, so `None` for a text in a file
/// name of an index that is not a version.
fn project_command(kind: RepoKind, project: &str, version: &str, snapshot: &str) -> Option<String> {
    let is_valid = language::of(kind.language()).version(version).is_valid();
    let version = VersionToInstall { package: project, version, is_archived: false, snapshot };
    install_command(kind, &version).filter(|_| is_valid)
}

/// Returns a project's requirements as written, not as links: extras and markers determine whether they are needed.
fn requirements(requirements: &[StatedRequirement]) -> Vec<(&'static str, Vec<Dependency>)> {
    let of = |StatedRequirement { text: requirement, .. }: &StatedRequirement| {
        let end = requirement.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
        let (name, condition) = requirement.split_at(end.unwrap_or(requirement.len()));
        // A marker without a condition on the version begins with a semicolon.
        let condition = condition.trim().trim_start_matches(';').trim_start();
        Dependency { name: name.to_owned(), condition: condition.to_owned(), is_listed: false }
    };
    let requirements: Vec<Dependency> = requirements.iter().take(MAX_REQUIREMENTS).map(of).collect();
    if requirements.is_empty() { Vec::new() } else { vec![("Requires", requirements)] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::ReleaseId;

    #[test]
    fn a_requirement_is_a_name_with_its_condition_and_marker() {
        let texts = ["python-dotenv ; extra == 'x'", "click>=8.1; python_version < '4'", "blinker"];
        let stated = texts
            .map(|text| StatedRequirement { text: text.to_owned(), is_optional: text.contains("extra") });
        let requirements = requirements(&stated);
        let [(kind, dependencies)] = requirements.as_slice() else { panic!("{requirements:?}") };
        let texts: Vec<(&str, &str)> =
            dependencies.iter().map(|d| (d.name.as_str(), d.condition.as_str())).collect();
        let expected =
            [("python-dotenv", "extra == 'x'"), ("click", ">=8.1; python_version < '4'"), ("blinker", "")];
        assert_eq!((*kind, texts.as_slice()), ("Requires", expected.as_slice()));
    }

    #[test]
    fn a_command_installs_exactly_the_version_of_the_page_or_there_is_none() {
        let command = |kind: RepoKind, archived: bool, blocked: Option<&str>| {
            let release = Release {
                id: ReleaseId(1),
                package: "one".to_owned(),
                version: "1.0".to_owned(),
                archived,
                published_at: None,
                size: None,
                sha256: None,
                blocked: blocked.map(str::to_owned),
                warning: None,
                description: None,
            };
            r_command(kind, &release, "https://h.example/prod/latest")
        };
        assert_eq!(command(RepoKind::R, false, None).as_deref(), Some("install.packages(\"one\")"));
        assert_eq!(
            command(RepoKind::R, true, None).as_deref(),
            Some(
                "install.packages(\"https://h.example/prod/latest/src/contrib/Archive/one/one_1.0.tar.gz\", repos = NULL)"
            )
        );
        assert_eq!(
            command(RepoKind::Bioconductor, false, None).as_deref(),
            Some("BiocManager::install(\"one\")")
        );
        assert_eq!(
            command(RepoKind::Bioconductor, true, None),
            None,
            "BiocManager installs the listed version"
        );
        for kind in [RepoKind::R, RepoKind::Bioconductor] {
            for archived in [false, true] {
                assert_eq!(command(kind, archived, Some("rule 1")), None);
            }
        }
        let command =
            |version: &str| project_command(RepoKind::Python, "one", version, "https://h.example/py/latest");
        assert_eq!(command("1.0rc1").as_deref(), Some("pip install one==1.0rc1"));
        for text in ["1.0;id", "$(id)", "1.0 --index-url=http://e.example", "`id`", ""] {
            assert_eq!(command(text), None, "{text}");
        }
    }
}
