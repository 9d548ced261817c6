//! Versions of Bioconductor, their repositories, and the paths of the repositories below `packages/`, as BiocManager's
//! `R/repositories.R` composes them.

pub mod config;

use std::fmt;
use std::str::FromStr;

use super::version::RMinor;

/// A version of Bioconductor, written `3.20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BioconductorVersion(RMinor);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a version of Bioconductor: write two numbers, such as 3.20")]
pub struct BadBioconductorVersion(pub String);

impl FromStr for BioconductorVersion {
    type Err = BadBioconductorVersion;

    fn from_str(text: &str) -> Result<BioconductorVersion, BadBioconductorVersion> {
        RMinor::parse(text)
            .map(BioconductorVersion)
            .ok_or_else(|| BadBioconductorVersion(text.chars().take(40).collect()))
    }
}

impl fmt::Display for BioconductorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a version in URLs and commands. `config.yaml` defines `release` and `devel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionName {
    /// `3.20`
    Exact(BioconductorVersion),
    /// `release`: the current release.
    Release,
    /// `devel`: the version in development.
    Devel,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a version of Bioconductor: write two numbers, such as 3.20, or release or devel")]
pub struct BadVersionName(pub String);

impl FromStr for VersionName {
    type Err = BadVersionName;

    fn from_str(text: &str) -> Result<VersionName, BadVersionName> {
        match text {
            "release" => Ok(VersionName::Release),
            "devel" => Ok(VersionName::Devel),
            text => text
                .parse()
                .map(VersionName::Exact)
                .map_err(|BadBioconductorVersion(text)| BadVersionName(text)),
        }
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VersionName::Exact(version) => version.fmt(f),
            VersionName::Release => f.write_str("release"),
            VersionName::Devel => f.write_str("devel"),
        }
    }
}

/// A CRAN-like repository of a version of Bioconductor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// `bioc`: software.
    Software,
    /// `data/annotation`
    Annotation,
    /// `data/experiment`
    Experiment,
    /// `workflows`, since 3.7.
    Workflows,
    /// `books`, since 3.12.
    Books,
    /// `extra`, until 3.5.
    Extra,
}

impl Component {
    /// All repositories, in the order in which packages are looked up.
    pub const ALL: [Component; 6] = [
        Component::Software,
        Component::Annotation,
        Component::Experiment,
        Component::Workflows,
        Component::Books,
        Component::Extra,
    ];

    /// Returns the path below `packages/{version}/`.
    pub fn path(self) -> &'static str {
        match self {
            Component::Software => "bioc",
            Component::Annotation => "data/annotation",
            Component::Experiment => "data/experiment",
            Component::Workflows => "workflows",
            Component::Books => "books",
            Component::Extra => "extra",
        }
    }

    /// Parses the form of [`Component::path`].
    pub fn parse(path: &str) -> Option<Component> {
        Component::ALL.into_iter().find(|component| component.path() == path)
    }

    pub fn is_in(self, version: BioconductorVersion) -> bool {
        let version_of = |major, minor| BioconductorVersion(RMinor { major, minor });
        match self {
            Component::Software | Component::Annotation | Component::Experiment => true,
            Component::Workflows => version >= version_of(3, 7),
            Component::Books => version >= version_of(3, 12),
            Component::Extra => version <= version_of(3, 5),
        }
    }
}

/// A part of Bioconductor: a version, or one of its repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    pub version: BioconductorVersion,
    /// The repository; `None` for all repositories of the version.
    pub component: Option<Component>,
}

impl Part {
    /// Returns the part with all repositories of a version.
    pub fn whole(version: BioconductorVersion) -> Part {
        Part { version, component: None }
    }

    /// Returns the part with one repository of a version.
    pub fn single(version: BioconductorVersion, component: Component) -> Part {
        Part { version, component: Some(component) }
    }

    /// Parses the [`fmt::Display`] form, such as `3.20` or `3.20/data/annotation`.
    pub fn parse(label: &str) -> Option<Part> {
        match label.split_once('/') {
            None => Some(Part::whole(label.parse().ok()?)),
            Some((version, path)) => Some(Part::single(version.parse().ok()?, Component::parse(path)?)),
        }
    }

    /// Returns whether `other` is this part or is included in it.
    pub fn contains(self, other: Part) -> bool {
        self.version == other.version && (self.component.is_none() || self.component == other.component)
    }
}

impl fmt::Display for Part {
    /// Writes the path below `packages/`, which is also the label of the part's tree.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.component {
            None => self.version.fmt(f),
            Some(component) => write!(f, "{}/{}", self.version, component.path()),
        }
    }
}

/// The name of a part in a URL, such as `3.20/data/annotation` or `release/bioc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartName {
    pub version: VersionName,
    /// The repository of the version.
    pub component: Component,
}

/// Returns the URL of a part on a mirror of Bioconductor at `root`.
pub fn part_url(root: &str, part: Part) -> String {
    format!("{root}/packages/{part}")
}

/// Splits the path segments after `packages/` into the part and the remaining segments.
pub fn split_path<'s, 'a>(segments: &'s [&'a str]) -> Option<(PartName, &'s [&'a str])> {
    let (version, rest) = segments.split_first()?;
    let version = version.parse().ok()?;
    let parse = |length: usize| {
        let (path, rest) = rest.split_at_checked(length)?;
        Some((PartName { version, component: Component::parse(&path.join("/"))? }, rest))
    };
    parse(1).or_else(|| parse(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> BioconductorVersion {
        text.parse().expect("a version")
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(version("3.9") < version("3.10") && version("2.14") < version("3.0"));
        assert_eq!(version("3.20").to_string(), "3.20");
        for bad in ["", "3", "3.20.1", "3.020", "3.x", "release", "-3.2", "3.20 ", "99999.1"] {
            assert!(
                bad.parse::<BioconductorVersion>().expect_err(bad).to_string().contains("such as 3.20"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_version_may_be_named_release_or_devel() {
        for text in ["3.20", "release", "devel"] {
            assert_eq!(text.parse::<VersionName>().expect(text).to_string(), text);
        }
        for bad in ["Release", "releases", "latest", ""] {
            let error = bad.parse::<VersionName>().expect_err(bad).to_string();
            assert!(error.contains("or release or devel"), "{error}");
        }
    }

    #[test]
    fn each_version_has_its_repositories() {
        let repositories = |text| {
            let components = Component::ALL.into_iter().filter(|component| component.is_in(version(text)));
            components.map(Component::path).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(repositories("3.5"), "bioc data/annotation data/experiment extra");
        assert_eq!(repositories("3.6"), "bioc data/annotation data/experiment");
        assert_eq!(repositories("3.7"), "bioc data/annotation data/experiment workflows");
        assert_eq!(repositories("3.12"), "bioc data/annotation data/experiment workflows books");
    }

    #[test]
    fn a_label_is_a_part() {
        for label in ["3.20", "3.20/bioc", "3.20/data/annotation", "3.5/extra"] {
            assert_eq!(Part::parse(label).map(|part| part.to_string()).as_deref(), Some(label));
        }
        for bad in ["", "bioc", "3.20/", "3.20/data", "3.20/Bioc", "src/contrib", "3.20/bioc/src"] {
            assert_eq!(Part::parse(bad), None, "{bad}");
        }
        let part = |label| Part::parse(label).expect("a part");
        assert!(part("3.20").contains(part("3.20/bioc")) && part("3.20/bioc").contains(part("3.20/bioc")));
        assert!(!part("3.20").contains(part("3.2/bioc")) && !part("3.20/bioc").contains(part("3.20")));
    }

    #[test]
    fn a_path_below_packages_is_split() {
        let split = |path: &str| {
            let segments: Vec<&str> = path.split('/').collect();
            split_path(&segments).map(|(PartName { version, component }, rest)| {
                format!("{version}/{} {}", component.path(), rest.join("/"))
            })
        };
        assert_eq!(
            split("3.20/bioc/src/contrib/PACKAGES").as_deref(),
            Some("3.20/bioc src/contrib/PACKAGES")
        );
        assert_eq!(split("3.20/data/experiment/src").as_deref(), Some("3.20/data/experiment src"));
        assert_eq!(split("3.20/workflows").as_deref(), Some("3.20/workflows "));
        assert_eq!(split("release/bioc/src").as_deref(), Some("release/bioc src"));
        assert_eq!(split("devel/data/annotation/bin").as_deref(), Some("devel/data/annotation bin"));
        for bad in [
            "3.20",
            "release",
            "3.20/container-binaries/x/src",
            "3.20/data/other/src",
            "bioc/src",
            "old/bioc",
        ] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
