//! The files of an R package: the list, one of them, what is new, the licence.

use super::context::Context;
use super::project;
use super::readme;
use crate::http::error::Failure;
use crate::http::route::web::WebPath;
use crate::serve::info::PackageDetail;
use crate::serve::package_files::{self, StoredArchive};
use crate::web::files::{Contents, Files};
use crate::web::readme::Format;

/// Names of the file that says what is new, the first one that is there.
const NEWS: [&str; 7] =
    ["NEWS.md", "inst/NEWS.md", "NEWS", "inst/NEWS", "ChangeLog", "inst/NEWS.Rd", "inst/ChangeLog"];
/// Names of the file with the text of a licence.
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

/// The page of one or all files, in the version of the parameter `version` if there is one.
///
/// # Errors
/// 404, also while the server does not have the archive; 400 for an archive that is too large; failures of the stores.
pub(super) async fn page(context: Context<'_>, path: &WebPath, package: &str) -> Result<String, Failure> {
    let detail = project::detail(&context, package).await?;
    let archive = archive(&detail)?;
    let repositories = &context.app.repositories;
    let files = Files {
        location: context.location.clone(),
        package: detail.release.package.clone(),
        version: detail.release.version.clone(),
    };
    let (page, paths, missing) = match path {
        WebPath::News(_) => ("NEWS", owned(&NEWS), "the package has no file NEWS"),
        WebPath::License(_) => (
            "LICENSE",
            owned(&LICENSE),
            "the package has no file with the text of its licence; its DESCRIPTION names the licence",
        ),
        WebPath::File(_, path) => ("Files", vec![path.clone()], "the package has no such file"),
        _ => {
            let all = package_files::list(repositories, archive).await?;
            let rows: Vec<(String, u64)> = all.files.into_iter().map(|file| (file.path, file.size)).collect();
            let has = |names: &[&str]| rows.iter().any(|(path, _)| names.contains(&path.as_str()));
            let pages = [("NEWS", "news/", has(&NEWS)), ("LICENSE", "license/", has(&LICENSE))];
            let pages = pages.into_iter().filter(|(.., is_there)| *is_there);
            let pages: Vec<(&str, &str)> = pages.map(|(name, page, _)| (name, page)).collect();
            return Ok(files.list(context.root, &rows, (&pages, all.total)));
        }
    };
    let file = package_files::first(repositories, archive, paths).await?;
    let file = file.ok_or_else(|| Failure::not_found(missing))?;
    let is_markdown = file.path.ends_with(".md") && !matches!(path, WebPath::File(..));
    let contents = match file.text {
        None => Contents::Other,
        Some(text) if is_markdown => {
            let links = project::links(&context, &files.package, true);
            let html = readme::html(text.into_bytes(), Format::Markdown, links).await;
            html.map_or(Contents::Other, Contents::Html)
        }
        Some(text) => Contents::Text(text),
    };
    Ok(files.file(context.root, page, (&file.path, file.size), &contents))
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn archive(detail: &PackageDetail) -> Result<StoredArchive, Failure> {
    detail.archive.ok_or_else(|| {
        let release = &detail.release;
        Failure::not_found(format!(
            "the server has not fetched the archive of {} {} yet; its files are shown after the first installation",
            release.package, release.version
        ))
    })
}
