//! The pages of the files of a package: the list and single files; for R packages also the news and the license.

use http::Response;

use super::context::Context;
use super::{answer, project, readme};
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::route::web::PackagePage;
use content::serve::info::PackageDetail;
use content::serve::package_files::{self, PackageFiles, StoredArchive};
use content::serve::project::detail as release_files;
use pages::files::{Contents, DistributionFile, Files, page_of};
use pages::readme::Format;

/// Names of the file with the news of a package, in order of preference.
const NEWS: [&str; 7] =
    ["NEWS.md", "inst/NEWS.md", "NEWS", "inst/NEWS", "ChangeLog", "inst/NEWS.Rd", "inst/ChangeLog"];
/// Names of the file with the text of a license, in order of preference.
const LICENSE: [&str; 8] = [
    "LICENSE.md",
    "LICENSE",
    "LICENCE",
    "LICENCE.md",
    "COPYING",
    "inst/LICENSE",
    "inst/COPYING",
    "LICENSE.note",
];

/// Returns the page of one file or of all files of an R package, by default of the listed version, else of
/// the parameter `version`. Fails with 404 also while the server does not have the archive, 403 for a blocked
/// version, 400 for an archive that is too large.
pub(super) async fn page(
    context: Context<'_>,
    requested: &PackagePage,
    package: &str,
) -> Result<String, Failure> {
    let detail = project::detail(&context, package).await?;
    let archive = archive(&detail)?;
    let repositories = &context.app.repositories;
    let files = Files {
        location: context.location.clone(),
        package: detail.release.package.clone(),
        version: detail.release.version.clone(),
        distribution: None,
    };
    let (page, paths, missing) = match requested {
        PackagePage::News => ("NEWS", owned(&NEWS), "the package has no file NEWS"),
        PackagePage::License => (
            "LICENSE",
            owned(&LICENSE),
            "the package has no file with the text of its license; its DESCRIPTION names the license",
        ),
        PackagePage::File(path) => ("Files", vec![path.clone()], "the package has no such file"),
        _ => {
            let all = package_files::list(repositories, archive).await?;
            let rows: Vec<(String, u64)> = all.files.into_iter().map(|file| (file.path, file.size)).collect();
            let has = |names: &[&str]| rows.iter().any(|(path, _)| names.contains(&path.as_str()));
            let pages = [("NEWS", "news/", has(&NEWS)), ("LICENSE", "license/", has(&LICENSE))];
            let pages = pages.into_iter().filter(|(.., is_there)| *is_there);
            let pages: Vec<(&str, String)> = pages.map(|(name, page, _)| (name, page.to_owned())).collect();
            let page = context.query.page()?;
            return Ok(files.list(context.root, &rows, page, &pages, all.total, &[]));
        }
    };
    let file = package_files::first(repositories, archive, paths).await?;
    let file = file.ok_or_else(|| Failure::not_found(missing))?;
    // Of a longer file, the beginning is displayed as text.
    let is_whole = file.size <= package_files::MAX_TEXT;
    let is_markdown = is_whole && file.path.ends_with(".md") && !matches!(requested, PackagePage::File(_));
    let contents = match file.text {
        None => Contents::Other,
        Some(text) if is_markdown => {
            let links = project::links(&context, &files.package, true);
            let html = readme::html(text.into_bytes(), Format::Markdown, links, context.client).await?;
            html.map_or(Contents::Other, Contents::Html)
        }
        Some(text) => Contents::Text(text),
    };
    Ok(files.file(context.root, page, &file.path, file.size, &contents))
}

/// Returns the response with a figure of an R package, by default of the listed version; `None` if it is not
/// a raster image, or larger than 2 MiB.
pub(super) async fn figure(
    context: &Context<'_>,
    package: &str,
    path: &str,
    head: &RequestHead<'_>,
) -> Result<Option<Response<Body>>, Failure> {
    if !package_files::is_figure(path) {
        return Ok(None);
    }
    let detail = project::detail(context, package).await?;
    let archive = archive(&detail)?;
    let image = package_files::figure(&context.app.repositories, archive, path.to_owned()).await?;
    Ok(image.map(|(media_type, bytes)| answer::image(head, media_type, bytes)))
}

/// Upper-case names, without extension, of the files of a project to which the list links as news or license.
const PROJECT_PAGES: [(&str, &[&str]); 2] =
    [("NEWS", &["NEWS", "CHANGELOG", "CHANGES", "HISTORY"]), ("LICENSE", &["LICENSE", "LICENCE", "COPYING"])];

/// Returns the page of one file or of all files of an archive of a project, in the version of the
/// parameter `version`. The parameter `distribution` is the file name of the archive, by default that of the
/// first stored one. Fails with 400 for an archive that is too large.
pub(super) async fn of_project(
    context: Context<'_>,
    requested: &PackagePage,
    project: &str,
) -> Result<String, Failure> {
    let repositories = &context.app.repositories;
    let parameter = |name: &str| context.query.get(name).filter(|value| !value.is_empty());
    let version = parameter("version");
    let detail = project::project_detail(&context, project, version).await?;
    let distributions = release_files::of_release(repositories, context.point, &detail.release).await?;
    let selected = match parameter("distribution") {
        Some(name) => {
            let distribution = distributions.iter().find(|distribution| distribution.name == name);
            let archive = distribution.and_then(|distribution| distribution.archive);
            Some((name.to_owned(), archive.ok_or_else(|| {
                Failure::not_found(format!(
                    "the server does not have '{}' in storage; the files of an archive are shown after its first download",
                    name.escape_debug().take(200).collect::<String>()
                ))
            })?))
        }
        None => distributions
            .iter()
            .find_map(|distribution| Some((distribution.name.clone(), distribution.archive?))),
    };
    let files = Files {
        location: context.location.clone(),
        package: detail.project.to_string(),
        version: detail.release.version.clone(),
        distribution: selected.as_ref().map(|(name, _)| name.clone()),
    };
    let PackagePage::File(path) = requested else {
        let row = |distribution: &release_files::Distribution| DistributionFile {
            name: distribution.name.clone(),
            size: distribution.size,
            is_stored: distribution.archive.is_some(),
        };
        let rows: Vec<DistributionFile> = distributions.iter().map(row).collect();
        let all = match selected {
            Some((_, archive)) => package_files::list(repositories, archive).await?,
            None => PackageFiles::default(),
        };
        let members: Vec<(String, u64)> = all.files.into_iter().map(|file| (file.path, file.size)).collect();
        let page = |(name, stems): (&'static str, &[&str])| {
            let has_stem = |path: &&str| {
                let file = path.rsplit('/').next().unwrap_or(path);
                let stem = file.split('.').next().unwrap_or(file).to_ascii_uppercase();
                stems.contains(&stem.as_str())
            };
            let paths = members.iter().map(|(path, _)| path.as_str()).filter(has_stem);
            Some((name, page_of(paths.min_by_key(|path| path.len())?)))
        };
        let pages: Vec<(&str, String)> = PROJECT_PAGES.into_iter().filter_map(page).collect();
        let page = context.query.page()?;
        return Ok(files.list(context.root, &members, page, &pages, all.total, &rows));
    };
    let missing = || Failure::not_found("the package has no such file, or is not in storage");
    let (_, archive) = selected.ok_or_else(missing)?;
    let file = package_files::first(repositories, archive, vec![path.clone()]).await?.ok_or_else(missing)?;
    let contents = file.text.map_or(Contents::Other, Contents::Text);
    Ok(files.file(context.root, "Files", &file.path, file.size, &contents))
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn archive(detail: &PackageDetail) -> Result<StoredArchive, Failure> {
    let release = &detail.release;
    // The archive is not served, and neither are its files.
    project::require_not_blocked(release)?;
    detail.archive.ok_or_else(|| {
        Failure::not_found(format!(
            "the server has not fetched the archive of {} {} yet; its files are shown after the first installation",
            release.package, release.version
        ))
    })
}
