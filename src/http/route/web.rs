//! The addresses of web pages: those below `web/`, as on CRAN (`web/packages/{name}/`), and the form of all others. No I/O.

use super::repo_path::PACKAGES;
use crate::http::error::Failure;
use formats::language;

/// The folder of the pages of a snapshot.
pub(super) const WEB: &str = "web";

/// A page below `/{repo}/{snapshot}/web/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebPath {
    /// `packages/`: the package list.
    Packages,
    /// `changes/`: the packages that differ from an earlier snapshot.
    Changes,
    /// `changes.atom`: the newest changes as a feed.
    Feed,
    /// `lockfile/`: a form for a lock file, and the comparison of a posted one.
    LockFile,
    /// `vulnerabilities/`: the known vulnerabilities of all packages.
    Vulnerabilities,
    /// `vulnerabilities.atom`: the last changed vulnerabilities as a feed.
    VulnerabilityFeed,
    /// `packages/{name}/`: a page of the package with this name.
    Package(String, PackagePage),
}

/// A page below `web/packages/{name}/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackagePage {
    /// The newest version, or the one of the parameter `version`.
    Summary,
    /// `versions/`: the versions.
    Versions,
    /// `history/`: the days on which the versions were listed.
    History,
    /// `dependents/`: the packages that depend on the package.
    Dependents,
    /// `dependencies/`: all packages that the installation requires.
    Dependencies,
    /// `binaries/`: the binaries.
    Binaries,
    /// `why/`: the file that a client gets, and the reasons.
    Explanation,
    /// `versions.atom`: the versions as a feed.
    VersionFeed,
    /// `downloads/`: the downloads.
    Downloads,
    /// `badge.svg`: a picture of one line with the version, or another fact.
    Badge,
    /// `news/`: what changed in the versions.
    News,
    /// `license/`: the text of the license.
    License,
    /// `files/`: the files.
    Files,
    /// `files/{path}`: a file.
    File(String),
    /// `DESCRIPTION`: the metadata, as text.
    Description,
}

impl WebPath {
    /// Parses the segments after `web`. A slash at the end is optional; it may be followed by `index.html`, as on CRAN.
    pub(super) fn parse(rest: &[&str]) -> Result<WebPath, Failure> {
        // A file of a package may have any name.
        if let ["packages", package, "files", path @ ..] = rest
            && path.iter().any(|part| !part.is_empty())
        {
            return Ok(WebPath::Package((*package).to_owned(), PackagePage::File(path.join("/"))));
        }
        let rest = match rest {
            [before @ .., "" | "index.html"] => before,
            rest => rest,
        };
        let page = match rest {
            [] | ["packages"] => return Ok(WebPath::Packages),
            ["changes"] => return Ok(WebPath::Changes),
            ["changes.atom"] => return Ok(WebPath::Feed),
            ["lockfile"] => return Ok(WebPath::LockFile),
            ["vulnerabilities"] => return Ok(WebPath::Vulnerabilities),
            ["vulnerabilities.atom"] => return Ok(WebPath::VulnerabilityFeed),
            ["packages", _] => PackagePage::Summary,
            ["packages", _, page] => PackagePage::parse(page).ok_or_else(Failure::no_such_address)?,
            _ => return Err(Failure::no_such_address()),
        };
        Ok(WebPath::Package(rest[1].to_owned(), page))
    }
}

impl PackagePage {
    fn parse(name: &str) -> Option<PackagePage> {
        Some(match name {
            "versions" => PackagePage::Versions,
            "history" => PackagePage::History,
            "dependents" => PackagePage::Dependents,
            "dependencies" => PackagePage::Dependencies,
            "binaries" => PackagePage::Binaries,
            "why" => PackagePage::Explanation,
            "versions.atom" => PackagePage::VersionFeed,
            "downloads" => PackagePage::Downloads,
            "badge.svg" => PackagePage::Badge,
            "news" => PackagePage::News,
            "license" => PackagePage::License,
            "files" => PackagePage::Files,
            "DESCRIPTION" => PackagePage::Description,
            _ => return None,
        })
    }
}

/// First segments of addresses that are neither in a repository nor pages.
const NON_PAGE_SEGMENTS: [&str; 6] = ["assets", "favicon.ico", "robots.txt", "upload", "_", "__ping__"];

/// Returns whether a raw path is the address of a page. Its errors, such as a snapshot that does not exist, or a query
/// that is malformed or too long, are then displayed as pages.
pub fn is_page_path(path: &str) -> bool {
    let mut segments: Vec<&str> = path.split('/').skip(1).take(6).collect();
    if segments.last() == Some(&"") {
        segments.pop();
    }
    match segments[..] {
        [] | ["client" | "__docs__", ..] => true,
        [first, ..] if NON_PAGE_SEGMENTS.contains(&first) => false,
        [repo, "__linux__", _, _] => !repo.starts_with("__"),
        [first, ..] if first.starts_with("__") => false,
        // Programs request these.
        [_, "config.yaml" | PACKAGES | "__linux__"] => false,
        [_, second] => language::with_directory(second).is_none(),
        [_, _, WEB, ref rest @ ..] => rest != ["packages", "packages.rds"],
        _ => false,
    }
}

/// Returns whether a raw path is the address of a repository without a snapshot: `/prod`, `/prod/`.
pub fn is_repository_path(path: &str) -> bool {
    let name = path.strip_prefix('/').unwrap_or_default();
    let name = name.strip_suffix('/').unwrap_or(name);
    !name.is_empty() && !name.contains('/') && !name.starts_with("__") && !NON_PAGE_SEGMENTS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_one_address_with_and_without_a_slash() {
        let package = |page: PackagePage| WebPath::Package("ggplot2".to_owned(), page);
        for (path, expected) in [
            ("", Some(WebPath::Packages)),
            ("packages", Some(WebPath::Packages)),
            ("packages/", Some(WebPath::Packages)),
            ("packages/index.html", Some(WebPath::Packages)),
            ("changes/", Some(WebPath::Changes)),
            ("changes.atom", Some(WebPath::Feed)),
            ("changes/other", None),
            ("packages/ggplot2", Some(package(PackagePage::Summary))),
            ("packages/ggplot2/", Some(package(PackagePage::Summary))),
            ("packages/ggplot2/index.html", Some(package(PackagePage::Summary))),
            ("packages/ggplot2/versions/", Some(package(PackagePage::Versions))),
            ("packages/ggplot2/history/", Some(package(PackagePage::History))),
            ("packages/ggplot2/dependents/", Some(package(PackagePage::Dependents))),
            ("packages/ggplot2/dependencies/", Some(package(PackagePage::Dependencies))),
            ("packages/ggplot2/binaries/", Some(package(PackagePage::Binaries))),
            ("packages/ggplot2/why/", Some(package(PackagePage::Explanation))),
            ("lockfile/", Some(WebPath::LockFile)),
            ("vulnerabilities/", Some(WebPath::Vulnerabilities)),
            ("vulnerabilities.atom", Some(WebPath::VulnerabilityFeed)),
            ("packages/ggplot2/versions.atom", Some(package(PackagePage::VersionFeed))),
            ("packages/ggplot2/downloads/", Some(package(PackagePage::Downloads))),
            ("packages/ggplot2/badge.svg", Some(package(PackagePage::Badge))),
            ("packages/ggplot2/news/", Some(package(PackagePage::News))),
            ("packages/ggplot2/license", Some(package(PackagePage::License))),
            ("packages/ggplot2/files/", Some(package(PackagePage::Files))),
            ("packages/ggplot2/files", Some(package(PackagePage::Files))),
            (
                "packages/ggplot2/files/inst/index.html",
                Some(package(PackagePage::File("inst/index.html".to_owned()))),
            ),
            ("packages/ggplot2/DESCRIPTION", Some(package(PackagePage::Description))),
            ("packages/ggplot2/other", None),
            ("checks/", None),
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!(WebPath::parse(&segments).ok(), expected, "{path}");
        }
    }

    #[test]
    fn addresses_that_programs_request_are_no_pages() {
        for page in [
            "/",
            "/client/",
            "/__docs__/x/",
            "/prod/2026-13-01",
            "/prod/2026-13-01/",
            "/prod/LATEST/web/packages/a/versions/",
            "/prod/latest/web/packages/a/files/x/y/z",
            "/prod/__linux__/noble/x/",
        ] {
            assert!(is_page_path(page), "{page}");
        }
        for other in [
            "/prod",
            "/prod/",
            "/assets/ui.css",
            "/upload/pypi/",
            "/__api__/repos",
            "/__api__/admin",
            "/prod/config.yaml",
            "/py/simple/",
            "/bioc/packages/",
            "/prod/x/src/contrib/PACKAGES",
            "/prod/x/src",
            "/prod/latest/web/packages/packages.rds",
            "/prod/__linux__/noble/x/src/contrib/PACKAGES",
            "/_/oidc/audience",
        ] {
            assert!(!is_page_path(other), "{other}");
        }
        for (path, is_repository) in [
            ("/prod", true),
            ("/prod/", true),
            ("/", false),
            ("/assets", false),
            ("/__api__/", false),
            ("/a/b", false),
        ] {
            assert_eq!(is_repository_path(path), is_repository, "{path}");
        }
    }
}
