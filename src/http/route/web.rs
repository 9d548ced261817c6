//! The addresses of pages below `web/`, as on CRAN: `web/packages/{name}/`. No I/O.

use crate::http::error::Failure;

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
    /// `packages/{name}/`: a package.
    Package(String),
    /// `packages/{name}/versions/`: the versions of a package.
    Versions(String),
    /// `packages/{name}/history/`: the days on which the versions of a package were listed.
    History(String),
    /// `packages/{name}/dependents/`: the packages that depend on a package.
    Dependents(String),
    /// `packages/{name}/dependencies/`: all packages that the installation of a package requires.
    Dependencies(String),
    /// `packages/{name}/binaries/`: the binaries of a package.
    Binaries(String),
    /// `packages/{name}/why/`: the file that a client gets, and the reasons.
    Explanation(String),
    /// `packages/{name}/versions.atom`: the versions of a package as a feed.
    VersionFeed(String),
    /// `packages/{name}/downloads/`: the downloads of a package.
    Downloads(String),
    /// `packages/{name}/news/`: what changed in the versions of a package.
    News(String),
    /// `packages/{name}/license/`: the text of the license of a package.
    License(String),
    /// `packages/{name}/files/`: the files of a package.
    Files(String),
    /// `packages/{name}/files/{path}`: a file of a package.
    File(String, String),
    /// `packages/{name}/DESCRIPTION`: the metadata of a package, as text.
    Description(String),
}

impl WebPath {
    /// Parses the segments after `web`. A slash at the end is optional; it may be followed by `index.html`, as on CRAN.
    pub(super) fn parse(rest: &[&str]) -> Result<WebPath, Failure> {
        // A file of a package may have any name.
        if let ["packages", package, "files", path @ ..] = rest
            && path.iter().any(|part| !part.is_empty())
        {
            return Ok(WebPath::File((*package).to_owned(), path.join("/")));
        }
        let rest = match rest {
            [before @ .., "" | "index.html"] => before,
            rest => rest,
        };
        match rest {
            [] | ["packages"] => Ok(WebPath::Packages),
            ["changes"] => Ok(WebPath::Changes),
            ["changes.atom"] => Ok(WebPath::Feed),
            ["lockfile"] => Ok(WebPath::LockFile),
            ["vulnerabilities"] => Ok(WebPath::Vulnerabilities),
            ["vulnerabilities.atom"] => Ok(WebPath::VulnerabilityFeed),
            ["packages", package] => Ok(WebPath::Package((*package).to_owned())),
            ["packages", package, "versions"] => Ok(WebPath::Versions((*package).to_owned())),
            ["packages", package, "history"] => Ok(WebPath::History((*package).to_owned())),
            ["packages", package, "dependents"] => Ok(WebPath::Dependents((*package).to_owned())),
            ["packages", package, "dependencies"] => Ok(WebPath::Dependencies((*package).to_owned())),
            ["packages", package, "binaries"] => Ok(WebPath::Binaries((*package).to_owned())),
            ["packages", package, "why"] => Ok(WebPath::Explanation((*package).to_owned())),
            ["packages", package, "versions.atom"] => Ok(WebPath::VersionFeed((*package).to_owned())),
            ["packages", package, "downloads"] => Ok(WebPath::Downloads((*package).to_owned())),
            ["packages", package, "news"] => Ok(WebPath::News((*package).to_owned())),
            ["packages", package, "license"] => Ok(WebPath::License((*package).to_owned())),
            ["packages", package, "files"] => Ok(WebPath::Files((*package).to_owned())),
            ["packages", package, "DESCRIPTION"] => Ok(WebPath::Description((*package).to_owned())),
            _ => Err(Failure::no_such_address()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_one_address_with_and_without_a_slash() {
        let package = || "ggplot2".to_owned();
        for (path, expected) in [
            ("", Some(WebPath::Packages)),
            ("packages", Some(WebPath::Packages)),
            ("packages/", Some(WebPath::Packages)),
            ("packages/index.html", Some(WebPath::Packages)),
            ("changes/", Some(WebPath::Changes)),
            ("changes.atom", Some(WebPath::Feed)),
            ("changes/other", None),
            ("packages/ggplot2", Some(WebPath::Package(package()))),
            ("packages/ggplot2/", Some(WebPath::Package(package()))),
            ("packages/ggplot2/index.html", Some(WebPath::Package(package()))),
            ("packages/ggplot2/versions/", Some(WebPath::Versions(package()))),
            ("packages/ggplot2/history/", Some(WebPath::History(package()))),
            ("packages/ggplot2/dependents/", Some(WebPath::Dependents(package()))),
            ("packages/ggplot2/dependencies/", Some(WebPath::Dependencies(package()))),
            ("packages/ggplot2/binaries/", Some(WebPath::Binaries(package()))),
            ("packages/ggplot2/why/", Some(WebPath::Explanation(package()))),
            ("lockfile/", Some(WebPath::LockFile)),
            ("vulnerabilities/", Some(WebPath::Vulnerabilities)),
            ("vulnerabilities.atom", Some(WebPath::VulnerabilityFeed)),
            ("packages/ggplot2/versions.atom", Some(WebPath::VersionFeed(package()))),
            ("packages/ggplot2/downloads/", Some(WebPath::Downloads(package()))),
            ("packages/ggplot2/news/", Some(WebPath::News(package()))),
            ("packages/ggplot2/license", Some(WebPath::License(package()))),
            ("packages/ggplot2/files/", Some(WebPath::Files(package()))),
            ("packages/ggplot2/files", Some(WebPath::Files(package()))),
            (
                "packages/ggplot2/files/inst/index.html",
                Some(WebPath::File(package(), "inst/index.html".to_owned())),
            ),
            ("packages/ggplot2/DESCRIPTION", Some(WebPath::Description(package()))),
            ("packages/ggplot2/other", None),
            ("checks/", None),
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!(WebPath::parse(&segments).ok(), expected, "{path}");
        }
    }
}
