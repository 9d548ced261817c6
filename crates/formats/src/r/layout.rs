//! Paths of a CRAN-like repository, parsed and rendered in one place ("R Installation and Administration", section
//! "Setting up a package repository").

use std::fmt;

use super::name;
use super::platform::{Arch, Platform};
use super::version::RMinor;
use base::model::digest::Sha256;

/// Maximum length of a path in bytes: the limit of object stores.
const MAX_PATH: usize = 1024;
/// Maximum length of a segment in bytes: the limit of file systems.
const MAX_SEGMENT: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRPath {
    /// The path is too long, or a segment is not a plain name (empty, `..`, control characters).
    #[error("'{0}' is not a repository path: use plain names separated by single slashes")]
    Form(String),
    /// Well formed, but not a path of this layout.
    #[error(
        "'{0}' is not a repository path; expected one of: src/contrib, bin/windows/contrib/X.Y, \
         bin/macosx[/flavor]/contrib/X.Y, bin/linux/{{distribution}}-{{architecture}}/contrib/X.Y, \
         bin/linux/X.Y-{{distribution}}/contrib/X.Y, \
         bin/linux/{{distribution}}-{{architecture}}/X.Y/src/contrib, builds/{{platform}}/{{sha256}}, \
         web/packages/packages.rds"
    )]
    Unknown(String),
}

/// A directory of a repository with its own index, as part of a path. Not to be confused with a tree of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tree {
    /// `src/contrib`
    Source,
    /// `bin/windows/contrib/{r}`
    Windows {
        /// The R version the packages are built for.
        r: RMinor,
    },
    /// `bin/macosx/contrib/{r}` or `bin/macosx/{build}/contrib/{r}`
    MacOs {
        /// The flavor, such as `big-sur-arm64` (see [`Tree::macos`]); `None` for R's type `mac.binary`.
        flavor: Option<Segment>,
        /// The R version the packages are built for.
        r: RMinor,
    },
    /// `bin/linux/{distribution}-{arch}/contrib/{r}`: R's type `linux.binary.{distribution}-{arch}` (R 4.6 and newer).
    Linux(LinuxPlatform),
}

/// A directory that can be listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Directory {
    Tree(Tree),
    /// `src/contrib/Archive`
    Archive,
    /// `src/contrib/Archive/{package}`
    Package(Segment),
}

/// The file formats of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IndexFormat {
    /// `PACKAGES`
    Text,
    /// `PACKAGES.gz`
    Gz,
    /// `PACKAGES.rds`
    Rds,
}

/// A plain name in a path: ASCII letters, digits and `. _ + ~ -`, not beginning with a dot; at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Segment(String);

/// A parsed path below the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RPath {
    Index {
        tree: Tree,
        format: IndexFormat,
    },
    /// A file in the directory of an index: a source or a binary package.
    File {
        tree: Tree,
        file: RepoFileName,
    },
    /// A file in a subdirectory of `src/contrib`, as in a record's `Path` field: `4.6.0/Recommended/{file}`.
    SubFile {
        /// The value of `Path`.
        dir: SubDir,
        file: RepoFileName,
    },
    /// `src/contrib/Archive/{package}/{file}`
    Archive {
        package: Segment,
        file: RepoFileName,
    },
    /// `src/contrib/Meta/archive.rds`
    ArchiveMeta,
    /// `src/contrib/Meta/current.rds`
    CurrentMeta,
    /// `web/packages/packages.rds`: the package database.
    PackageDatabase,
    /// `bin/linux/{distribution}-{arch}/{r}/` before a path from `src/contrib` on: the same with binaries.
    Linux {
        platform: LinuxPlatform,
        /// The path from `src/contrib` on.
        path: Box<RPath>,
    },
    /// `builds/{platform}/{sha256}/{file}`: exactly this binary, even if there are newer ones.
    Binary {
        platform: Platform,
        sha256: Sha256,
        file: RepoFileName,
    },
    /// `bin/linux/{r}-{distribution}/contrib/{r}/PACKAGES`: only the packages that have a binary.
    BinaryIndex {
        platform: LinuxPlatform,
        format: IndexFormat,
    },
    /// A directory: a list of its files.
    Directory {
        directory: Directory,
        /// Whether the path ends in a slash; relative links of the list need it.
        has_slash: bool,
    },
}

/// The platform of Linux binaries, as it appears in paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinuxPlatform {
    /// ASCII letters, digits and `_`; not necessarily a known distribution.
    pub distribution: Segment,
    pub arch: Arch,
    pub r: RMinor,
}

/// The name of a file that is not an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoFileName(Segment);

/// A directory of one to four segments below `src/contrib`, other than `Archive` and `Meta`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubDir(String);

/// The parts of a package's file name, `{package}_{version}.{extension}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackageFile<'a> {
    pub name: &'a str,
    /// The part before the first `_`.
    pub package: &'a str,
    /// The part between the first `_` and the extension; old archives have versions that R no longer accepts.
    pub version: &'a str,
    /// `tar.gz`, `tar.bz2`, `tar.xz`, `tar.zst`, `tgz` or `zip`.
    pub extension: &'a str,
}

/// Parses a path below the snapshot, without a leading slash. Its segments must already be percent-decoded.
pub fn parse(path: &str) -> Result<RPath, BadRPath> {
    let excerpt = || path.chars().take(200).collect::<String>();
    let unknown = || BadRPath::Unknown(excerpt());
    let (plain_path, has_slash) = match path.strip_suffix('/') {
        Some(plain_path) => (plain_path, true),
        None => (path, false),
    };
    if path.len() > MAX_PATH || !plain_path.split('/').all(Segment::is_valid) {
        return Err(BadRPath::Form(excerpt()));
    }
    let segments: Vec<&str> = plain_path.split('/').collect();
    let r_path = parse_segments(&segments).ok_or_else(unknown)?;
    if has_slash { r_path.with_slash().ok_or_else(unknown) } else { Ok(r_path) }
}

fn parse_segments(segments: &[&str]) -> Option<RPath> {
    let (tree, rest) = match segments {
        ["src", "contrib", rest @ ..] => (Tree::Source, rest),
        ["web", "packages", "packages.rds"] => return Some(RPath::PackageDatabase),
        ["builds", platform, sha256, file] => return parse_binary(platform, sha256, file),
        ["bin", "linux", name, "contrib", r, rest @ ..] => match (LinuxPlatform::parse(name, r), rest) {
            (Some(platform), rest) => (Tree::Linux(platform), rest),
            (None, [file]) => return LinuxPlatform::parse_index(name, r, file),
            (None, _) => return None,
        },
        ["bin", "linux", name, r, below @ ..] if below.starts_with(&["src", "contrib"]) => {
            let (platform, path) = (LinuxPlatform::parse(name, r)?, parse_segments(below)?);
            return Some(RPath::Linux { platform, path: Box::new(path) });
        }
        ["bin", "windows", "contrib", r, rest @ ..] => (Tree::Windows { r: RMinor::parse(r)? }, rest),
        ["bin", "macosx", "contrib", r, rest @ ..] => {
            (Tree::MacOs { flavor: None, r: RMinor::parse(r)? }, rest)
        }
        ["bin", "macosx", flavor, "contrib", r, rest @ ..] => {
            let flavor = Some(Segment((*flavor).to_owned()));
            (Tree::MacOs { flavor, r: RMinor::parse(r)? }, rest)
        }
        _ => return None,
    };
    let directory = |directory| Some(RPath::Directory { directory, has_slash: false });
    match (tree, rest) {
        (tree, []) => directory(Directory::Tree(tree)),
        (Tree::Source, ["Archive"]) => directory(Directory::Archive),
        (tree, [file]) => match IndexFormat::parse(file) {
            Some(format) => Some(RPath::Index { tree, format }),
            None => RepoFileName::parse(file).map(|file| RPath::File { tree, file }),
        },
        (Tree::Source, ["Meta", "archive.rds"]) => Some(RPath::ArchiveMeta),
        (Tree::Source, ["Meta", "current.rds"]) => Some(RPath::CurrentMeta),
        (Tree::Source, ["Archive", package]) if name::is_package(package) => {
            directory(Directory::Package(Segment((*package).to_owned())))
        }
        // Old guides write the directory in lower case.
        (Tree::Source, ["Archive" | "archive", package, file]) => RepoFileName::parse(file)
            .map(|file| RPath::Archive { package: Segment((*package).to_owned()), file }),
        (Tree::Source, [dir @ .., file]) => {
            match (SubDir::parse(&dir.join("/")), RepoFileName::parse(file)) {
                (Some(dir), Some(file)) => Some(RPath::SubFile { dir, file }),
                _ => None,
            }
        }
        (Tree::Windows { .. } | Tree::MacOs { .. } | Tree::Linux(_), _) => None,
    }
}

/// Parses the parts of a path [`RPath::Binary`]. Only their canonical spelling is accepted.
fn parse_binary(tag: &str, digits: &str, file: &str) -> Option<RPath> {
    let platform = Platform::parse(tag).filter(|platform| platform.to_string() == tag)?;
    let sha256: Sha256 = digits.parse().ok().filter(|sha256: &Sha256| sha256.to_string() == digits)?;
    Some(RPath::Binary { platform, sha256, file: RepoFileName::parse(file)? })
}

impl RPath {
    /// Returns the path of the same directory with a slash at its end; `None` if this is not a directory.
    fn with_slash(self) -> Option<RPath> {
        match self {
            RPath::Directory { directory, has_slash: _ } => {
                Some(RPath::Directory { directory, has_slash: true })
            }
            RPath::Linux { platform, path } => {
                Some(RPath::Linux { platform, path: Box::new(path.with_slash()?) })
            }
            _ => None,
        }
    }

    /// Returns the name of the directory that this path names without a slash at its end.
    pub fn directory_without_slash(&self) -> Option<String> {
        match self {
            RPath::Directory { has_slash: false, .. } => {
                Some(self.path().rsplit('/').next().unwrap_or_default().to_owned())
            }
            RPath::Linux { path, .. } => path.directory_without_slash(),
            _ => None,
        }
    }

    /// Returns the relative path from this directory to the snapshot: `../../` from `src/contrib/{file}`.
    pub fn path_to_root(&self) -> String {
        "../".repeat(self.path().matches('/').count())
    }

    /// Returns the path below the snapshot, without a leading slash; the inverse of [`parse`].
    pub fn path(&self) -> String {
        match self {
            RPath::Index { tree, format } => format!("{}/{}", tree.contrib_dir(), format.file_name()),
            RPath::File { tree, file } => format!("{}/{file}", tree.contrib_dir()),
            RPath::SubFile { dir, file } => format!("src/contrib/{dir}/{file}"),
            RPath::Archive { package, file } => format!("src/contrib/Archive/{package}/{file}"),
            RPath::ArchiveMeta => "src/contrib/Meta/archive.rds".to_owned(),
            RPath::CurrentMeta => "src/contrib/Meta/current.rds".to_owned(),
            RPath::PackageDatabase => "web/packages/packages.rds".to_owned(),
            RPath::Linux { platform: LinuxPlatform { distribution, arch, r }, path } => {
                format!("bin/linux/{distribution}-{arch}/{r}/{}", path.path())
            }
            RPath::Directory { directory, has_slash } => {
                let path = match directory {
                    Directory::Tree(tree) => tree.contrib_dir(),
                    Directory::Archive => "src/contrib/Archive".to_owned(),
                    Directory::Package(package) => format!("src/contrib/Archive/{package}"),
                };
                if *has_slash { path + "/" } else { path }
            }
            RPath::Binary { platform, sha256, file } => format!("builds/{platform}/{sha256}/{file}"),
            RPath::BinaryIndex { platform: LinuxPlatform { distribution, arch, r }, format } => {
                let arch = match arch {
                    Arch::X86_64 => String::new(),
                    Arch::Arm64 => format!("-{arch}"),
                };
                format!("bin/linux/{r}-{distribution}{arch}/contrib/{r}/{}", format.file_name())
            }
        }
    }
}

impl Tree {
    /// Returns the directory of the tree, as R's `contrib.url()` appends it to a repository's URL.
    pub fn contrib_dir(&self) -> String {
        match self {
            Tree::Source => "src/contrib".to_owned(),
            Tree::Windows { r } => format!("bin/windows/contrib/{r}"),
            Tree::MacOs { flavor: None, r } => format!("bin/macosx/contrib/{r}"),
            Tree::MacOs { flavor: Some(flavor), r } => format!("bin/macosx/{flavor}/contrib/{r}"),
            Tree::Linux(LinuxPlatform { distribution, arch, r }) => {
                format!("bin/linux/{distribution}-{arch}/contrib/{r}")
            }
        }
    }

    /// Returns a macOS tree with a flavor. `None` if the flavor is not a plain name, or is `contrib`, which is the
    /// segment at this position in paths without a flavor.
    pub fn macos(flavor: &str, r: RMinor) -> Option<Tree> {
        let flavor = Segment::parse(flavor).filter(|flavor| flavor.as_str() != "contrib")?;
        Some(Tree::MacOs { flavor: Some(flavor), r })
    }
}

impl LinuxPlatform {
    /// Parses `noble-x86_64` and `4.5`.
    fn parse(name: &str, r: &str) -> Option<LinuxPlatform> {
        let (distribution, arch) = name.rsplit_once('-')?;
        let distribution = Segment::parse(distribution).filter(|d| !d.as_str().contains('-'))?;
        Some(LinuxPlatform { distribution, arch: Arch::of_spelling(arch)?, r: RMinor::parse(r)? })
    }

    /// Parses the segments of [`RPath::BinaryIndex`]: `4.5-noble` or `4.5-noble-arm64`, the same version of R, and the
    /// name of an index.
    fn parse_index(name: &str, r: &str, file: &str) -> Option<RPath> {
        let (version, rest) = name.split_once('-')?;
        let platform =
            LinuxPlatform::parse(rest, r).or_else(|| LinuxPlatform::parse(&format!("{rest}-x86_64"), r))?;
        let format = IndexFormat::parse(file)?;
        (version == r).then_some(RPath::BinaryIndex { platform, format })
    }
}

impl IndexFormat {
    /// Every format, in the order in which R requests them.
    pub const ALL: [IndexFormat; 3] = [IndexFormat::Rds, IndexFormat::Gz, IndexFormat::Text];

    pub fn file_name(self) -> &'static str {
        match self {
            IndexFormat::Text => "PACKAGES",
            IndexFormat::Gz => "PACKAGES.gz",
            IndexFormat::Rds => "PACKAGES.rds",
        }
    }

    fn parse(file: &str) -> Option<IndexFormat> {
        IndexFormat::ALL.into_iter().find(|format| format.file_name() == file)
    }
}

impl Segment {
    pub fn parse(text: &str) -> Option<Segment> {
        Segment::is_valid(text).then(|| Segment(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_valid(text: &str) -> bool {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'~' | b'-');
        (1..=MAX_SEGMENT).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_plain)
    }
}

impl RepoFileName {
    /// Parses a plain name that is not the name of an index.
    pub fn parse(text: &str) -> Option<RepoFileName> {
        let segment = Segment::parse(text)?;
        if IndexFormat::parse(text).is_some() { None } else { Some(RepoFileName(segment)) }
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Splits a file name of `R CMD INSTALL --build` on Unix, `{package}_{version}_R_{platform}.tar.gz`, into the name
    /// without the platform, and the platform; `None` for other names.
    pub fn split_platform(&self) -> Option<(RepoFileName, &str)> {
        let (name, platform) = self.as_str().strip_suffix(".tar.gz")?.rsplit_once("_R_")?;
        let file = RepoFileName::parse(&format!("{name}.tar.gz"))?;
        (file.package_file().is_some() && platform.contains('-')).then_some((file, platform))
    }

    /// Returns the parts of the name, if it is the name of a package file.
    pub fn package_file(&self) -> Option<PackageFile<'_>> {
        PackageFile::parse(self.as_str())
    }
}

impl SubDir {
    /// Parses the value of a record's `Path` field.
    pub fn parse(text: &str) -> Option<SubDir> {
        let first_segment = text.split('/').next().unwrap_or_default();
        let is_reserved = ["Archive", "archive", "Meta"].contains(&first_segment);
        let is_plain = text.len() <= MAX_PATH / 2 && text.split('/').all(Segment::is_valid);
        (is_plain && !is_reserved && text.split('/').count() <= 4).then(|| SubDir(text.to_owned()))
    }

    /// Returns the text, with segments separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> PackageFile<'a> {
    const EXTENSIONS: [&'static str; 6] = ["tar.gz", "tar.bz2", "tar.xz", "tar.zst", "tgz", "zip"];

    /// Splits a file name; `None` for one without version, with an unknown extension, or a package name that R refuses.
    pub fn parse(name: &'a str) -> Option<PackageFile<'a>> {
        let (package, rest) = name.split_once('_')?;
        let (version, extension) = Self::EXTENSIONS.into_iter().find_map(|extension| {
            let version = rest.strip_suffix(extension)?.strip_suffix('.')?;
            Some((version, &rest[rest.len() - extension.len()..]))
        })?;
        let is_plain = package.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        let has_valid_ends =
            package.starts_with(|c: char| c.is_ascii_alphabetic()) && !package.ends_with('.');
        let is_valid = Segment::is_valid(name) && Segment::is_valid(version) && is_plain && has_valid_ends;
        is_valid.then_some(PackageFile { name, package, version, extension })
    }
}

impl fmt::Display for RPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RepoFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SubDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r::platform::BinaryTarget;
    use proptest::prelude::*;

    #[test]
    fn every_address_of_a_repository_is_known() {
        let digest = "0a".repeat(32);
        for path in [
            "src/contrib/PACKAGES",
            "src/contrib/PACKAGES.gz",
            "src/contrib/PACKAGES.rds",
            "src/contrib/cli_3.6.6.tar.gz",
            "src/contrib/4.6.0/Recommended/Matrix_1.7-5.tar.gz",
            "src/contrib/Archive/A3/A3_0.9.1.tar.gz",
            "src/contrib/Meta/archive.rds",
            "src/contrib/Meta/current.rds",
            "web/packages/packages.rds",
            "bin/windows/contrib/4.5/PACKAGES.rds",
            "bin/windows/contrib/4.5/cli_3.6.6.zip",
            "bin/macosx/contrib/4.0/PACKAGES.gz",
            "bin/macosx/big-sur-arm64/contrib/4.5/PACKAGES",
            "bin/macosx/el-capitan/contrib/3.6/cli_1.0.tgz",
            "bin/linux/noble-x86_64/4.5/src/contrib/PACKAGES.gz",
            "bin/linux/noble-arm64/4.5/src/contrib/cli_3.6.6.tar.gz",
            "bin/linux/manylinux_2_28-x86_64/4.5/src/contrib/Archive/A3/A3_0.9.1.tar.gz",
            "bin/linux/noble-x86_64/4.5/src/contrib/Meta/archive.rds",
            "bin/linux/4.5-noble/contrib/4.5/PACKAGES.gz",
            "bin/linux/4.5-noble-arm64/contrib/4.5/PACKAGES",
            "bin/linux/sid-x86_64/contrib/4.6/PACKAGES.rds",
            "bin/linux/sid-arm64/contrib/4.6/cli_3.6.6.tar.gz",
            "src/contrib/",
            "src/contrib",
            "src/contrib/Archive/",
            "src/contrib/Archive/A3",
            "bin/windows/contrib/4.5/",
            "bin/linux/sid-x86_64/contrib/4.6/",
            "bin/linux/noble-x86_64/4.5/src/contrib/Archive/",
            &format!("builds/4.5-noble-arm64/{digest}/cli_3.6.6.tar.gz"),
            &format!("builds/4.5-win/{digest}/cli_3.6.6.zip"),
        ] {
            assert_eq!(parse(path).expect(path).path(), path);
            let path_to_root = parse(path).expect(path).path_to_root();
            assert_eq!(path_to_root.matches("../").count(), path.split('/').count() - 1, "{path}");
        }
    }

    #[test]
    fn architectures_are_accepted_as_clients_spell_them() {
        for spelling in ["aarch64", "arm64"] {
            let path = format!("bin/linux/noble-{spelling}/4.5/src/contrib/PACKAGES");
            assert_eq!(parse(&path).expect("known").path(), "bin/linux/noble-arm64/4.5/src/contrib/PACKAGES");
        }
    }

    #[test]
    fn a_lower_case_archive_means_the_archive() {
        let path = parse("src/contrib/archive/A3/A3_0.9.1.tar.gz").expect("accepted");
        assert_eq!(path.path(), "src/contrib/Archive/A3/A3_0.9.1.tar.gz");
    }

    #[test]
    fn malformed_paths_are_refused() {
        let path_with_long_segment = format!("src/contrib/{}", "a".repeat(256));
        let long_path = format!("src/contrib/{}a", "a/".repeat(600));
        for path in [
            "",
            "/",
            "/src/contrib/PACKAGES",
            "src//contrib/PACKAGES",
            "src/contrib//",
            "src/contrib/../../etc/passwd",
            "src/contrib/./PACKAGES",
            "src/contrib/.htaccess",
            "src/contrib/a\0b",
            "src/contrib/a\nb",
            "src/contrib/a\\b",
            "src/contrib/a%2fb",
            "src/contrib/a b",
            "src/contrib/é_1.0.tar.gz",
            "src/contrib/\u{7f}",
            &path_with_long_segment,
            &long_path,
        ] {
            assert!(matches!(parse(path), Err(BadRPath::Form(_))), "{path:?}");
        }
    }

    #[test]
    fn well_formed_paths_outside_the_layout_are_unknown() {
        for path in [
            "src",
            "src/",
            "src/contrib/PACKAGES/",
            "src/contrib/A3_1.0.tar.gz/",
            "src/contrib/Archive/A3/A3_1.0.tar.gz/",
            "bin/windows/contrib/",
            "src/contrib/Archive/A3/b/A3_1.0.tar.gz",
            "src/contrib/Archive/A3/PACKAGES",
            "src/contrib/Meta/other.rds",
            "src/contrib/4.6.0/Recommended/PACKAGES",
            "src/contrib/a/b/c/d/e/f_1.0.tar.gz",
            "web/packages/PACKAGES",
            "bin/windows/contrib/PACKAGES",
            "bin/windows/contrib/4/PACKAGES",
            "bin/windows/contrib/4.05/PACKAGES",
            "bin/windows/contrib/4.5/a/b_1.0.zip",
            "bin/macosx/contrib/contrib/4.5",
            "bin/linux/contrib/4.5/PACKAGES",
            "bin/linux/noble/4.5/src/contrib/PACKAGES",
            "bin/linux/noble-sparc/4.5/src/contrib/PACKAGES",
            "bin/linux/no-ble-x86_64/4.5/src/contrib/PACKAGES",
            "bin/linux/noble-x86_64/4.5/bin/windows/contrib/4.5/PACKAGES",
            "bin/linux/4.5-noble/contrib/4.5/",
            "bin/linux/4.5-noble/contrib/4.4/PACKAGES",
            "bin/linux/4.5-noble/contrib/4.5/cli_3.6.6.tar.gz",
            "PACKAGES",
            "builds/4.5-noble/0a/cli_3.6.6.tar.gz",
            &format!("builds/4.5-noble/{}/cli_3.6.6.tar.gz", "0A".repeat(32)),
            &format!("builds/4.5-noble-x86_64/{}/cli_3.6.6.tar.gz", "0a".repeat(32)),
            &format!("builds/noble/{}/cli_3.6.6.tar.gz", "0a".repeat(32)),
            &format!("builds/4.5-noble/{}/PACKAGES", "0a".repeat(32)),
        ] {
            assert!(matches!(parse(path), Err(BadRPath::Unknown(_))), "{path:?}");
        }
    }

    #[test]
    fn the_message_about_an_unknown_path_names_every_known_form() {
        let message = parse("src").expect_err("unknown").to_string();
        let (_, forms) = message.split_once("expected one of: ").expect("forms");
        let values = [
            ("[/flavor]", ""),
            ("X.Y", "4.5"),
            ("{distribution}-{architecture}", "noble-x86_64"),
            ("{distribution}", "noble"),
            ("{platform}", "4.5-noble"),
            ("{sha256}", &"0a".repeat(32)),
        ];
        let mut kinds = Vec::new();
        for form in forms.split(", ") {
            let path = values.iter().fold(form.to_owned(), |path, (name, value)| path.replace(name, value));
            let file = match form {
                "web/packages/packages.rds" => "",
                "bin/linux/X.Y-{distribution}/contrib/X.Y" => "/PACKAGES",
                _ => "/cli_3.6.6.tar.gz",
            };
            kinds.push(match parse(&(path + file)).unwrap_or_else(|e| panic!("{form}: {e}")) {
                RPath::File { tree: Tree::Source, .. } => "source",
                RPath::File { tree: Tree::Windows { .. }, .. } => "windows",
                RPath::File { tree: Tree::MacOs { .. }, .. } => "macos",
                RPath::File { tree: Tree::Linux(_), .. } => "linux of R",
                RPath::Linux { .. } => "linux",
                RPath::Binary { .. } => "binary",
                RPath::PackageDatabase => "database",
                RPath::BinaryIndex { .. } => "binary index",
                other => panic!("{form}: {other:?}"),
            });
        }
        assert_eq!(
            kinds,
            ["source", "windows", "macos", "linux of R", "binary index", "linux", "binary", "database"]
        );
    }

    #[test]
    fn a_package_file_is_split_at_the_first_underscore() {
        let parts = PackageFile::parse("data.table_1.17-0_old.tar.gz").expect("split");
        assert_eq!((parts.package, parts.version, parts.extension), ("data.table", "1.17-0_old", "tar.gz"));
        assert_eq!(PackageFile::parse("A3_0.9.1.tgz").map(|p| p.version), Some("0.9.1"));
        for bad in
            ["A3.tar.gz", "A3_.tar.gz", "_1.0.tar.gz", "A3_1.0", "A3_1.0.rar", "3A_1.0.zip", "A/3_1.zip"]
        {
            assert_eq!(PackageFile::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_named_as_r_builds_it_has_a_usual_name() {
        let split = |name: &str| {
            let file = RepoFileName::parse(name).expect("a file");
            file.split_platform().map(|(name, platform)| (name.to_string(), platform.to_owned()))
        };
        assert_eq!(
            split("digest_0.6.37_R_x86_64-pc-linux-gnu.tar.gz"),
            Some(("digest_0.6.37.tar.gz".to_owned(), "x86_64-pc-linux-gnu".to_owned()))
        );
        for name in [
            "digest_0.6.37.tar.gz",
            "digest_0.6.37_R_.tar.gz",
            "digest_0.6.37_R_x86.tar.gz",
            "_R_x86_64-pc-linux-gnu.tar.gz",
            "digest_R_x86_64-pc-linux-gnu.tar.gz",
            "digest_0.6.37_R_x86_64-pc-linux-gnu.zip",
        ] {
            assert_eq!(split(name), None, "{name}");
        }
    }

    fn segments() -> impl Strategy<Value = String> {
        let reserved =
            ["Archive", "archive", "Meta", "contrib", "PACKAGES", "PACKAGES.gz", "archive.rds", "src"];
        let plain = proptest::collection::vec(
            proptest::sample::select(b"aZ09._+~-".to_vec()).prop_map(char::from),
            1..8,
        );
        prop_oneof![
            proptest::sample::select(reserved.to_vec()).prop_map(str::to_owned),
            plain.prop_map(String::from_iter)
        ]
    }

    fn versions() -> impl Strategy<Value = RMinor> + Clone {
        (0u16..1000, 0u16..1000).prop_map(|(major, minor)| RMinor { major, minor })
    }

    fn arches() -> impl Strategy<Value = Arch> {
        proptest::sample::select(vec![Arch::X86_64, Arch::Arm64])
    }

    fn formats() -> impl Strategy<Value = IndexFormat> {
        proptest::sample::select(IndexFormat::ALL.to_vec())
    }

    fn files() -> impl Strategy<Value = RepoFileName> {
        let files = segments().prop_filter("a directory", |s| s != "Archive");
        files.prop_filter_map("a file", |s| RepoFileName::parse(&s))
    }

    /// Platforms with distribution names as in the configuration: ASCII letters, digits and `_`. `win` and `macos` are
    /// reserved for other systems.
    fn linux_platforms() -> impl Strategy<Value = LinuxPlatform> {
        let distribution = "[a-zA-Z0-9_]{1,12}"
            .prop_filter("a distribution", |name| !["win", "macos"].contains(&name.as_str()))
            .prop_map(|name| Segment::parse(&name).expect("plain"));
        (distribution, arches(), versions()).prop_map(|(distribution, arch, r)| LinuxPlatform {
            distribution,
            arch,
            r,
        })
    }

    fn platforms() -> impl Strategy<Value = Platform> {
        (linux_platforms(), 0..3).prop_map(|(LinuxPlatform { distribution, arch, r }, kind)| match kind {
            0 => Platform { r, target: BinaryTarget::Windows, arch: Arch::X86_64 },
            1 => Platform { r, target: BinaryTarget::MacOs, arch },
            _ => Platform { r, target: BinaryTarget::Linux(distribution.to_string()), arch },
        })
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let r = versions();
        prop_oneof![
            Just(Tree::Source),
            linux_platforms().prop_map(Tree::Linux),
            r.clone().prop_map(|r| Tree::Windows { r }),
            r.clone().prop_map(|r| Tree::MacOs { flavor: None, r }),
            (segments(), r).prop_filter_map("a flavor", |(flavor, r)| Tree::macos(&flavor, r)),
        ]
    }

    /// Paths below `src/contrib`.
    fn source_paths() -> impl Strategy<Value = RPath> {
        let dir = proptest::collection::vec(segments(), 1..6)
            .prop_filter_map("a folder", |dir| SubDir::parse(&dir.join("/")));
        prop_oneof![
            Just(RPath::ArchiveMeta),
            Just(RPath::CurrentMeta),
            formats().prop_map(|format| RPath::Index { tree: Tree::Source, format }),
            files().prop_map(|file| RPath::File { tree: Tree::Source, file }),
            (dir, files()).prop_map(|(dir, file)| RPath::SubFile { dir, file }),
            (segments().prop_filter_map("a name", |s| Segment::parse(&s)), files())
                .prop_map(|(package, file)| RPath::Archive { package, file }),
        ]
    }

    fn directories() -> impl Strategy<Value = RPath> {
        let package = segments().prop_filter("a package", |s| name::is_package(s));
        let package = package.prop_filter_map("a name", |s| Segment::parse(&s));
        let directory = prop_oneof![
            trees().prop_map(Directory::Tree),
            Just(Directory::Archive),
            package.prop_map(Directory::Package),
        ];
        (directory, any::<bool>())
            .prop_map(|(directory, has_slash)| RPath::Directory { directory, has_slash })
    }

    fn paths() -> impl Strategy<Value = RPath> {
        prop_oneof![
            directories(),
            source_paths(),
            Just(RPath::PackageDatabase),
            (trees(), formats()).prop_map(|(tree, format)| RPath::Index { tree, format }),
            (trees(), files()).prop_map(|(tree, file)| RPath::File { tree, file }),
            (linux_platforms(), source_paths())
                .prop_map(|(platform, path)| RPath::Linux { platform, path: Box::new(path) }),
            (platforms(), any::<[u8; 32]>(), files()).prop_map(|(platform, sha256, file)| RPath::Binary {
                platform,
                sha256: Sha256(sha256),
                file
            }),
            (linux_platforms(), formats())
                .prop_map(|(platform, format)| RPath::BinaryIndex { platform, format }),
        ]
    }

    /// Returns the number of a variant. The match is exhaustive, so that a new variant must be added here.
    fn variant(path: &RPath) -> usize {
        match path {
            RPath::Index { .. } => 0,
            RPath::File { .. } => 1,
            RPath::SubFile { .. } => 2,
            RPath::Archive { .. } => 3,
            RPath::ArchiveMeta => 4,
            RPath::CurrentMeta => 5,
            RPath::Linux { .. } => 6,
            RPath::Binary { .. } => 7,
            RPath::BinaryIndex { .. } => 8,
            RPath::PackageDatabase => 9,
            RPath::Directory { .. } => 10,
        }
    }

    #[test]
    fn every_form_of_path_is_generated() {
        use proptest::strategy::ValueTree;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut counts = [0; 11];
        for _ in 0..2000 {
            counts[variant(&paths().new_tree(&mut runner).expect("a path").current())] += 1;
        }
        assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
    }

    proptest! {
        #[test]
        fn a_path_rendered_is_the_path_parsed(path in paths()) {
            prop_assert_eq!(parse(&path.path()), Ok(path));
        }

        #[test]
        fn any_text_is_refused_or_read_back_unchanged(text in "([a-zA-Z./_0-9\\\\%\u{0}\u{e9}]{0,40}|(src/contrib|bin/macosx)(/(Archive|Meta|contrib|PACKAGES|4.5|[a-z._0-9]{0,6})){0,5})") {
            if let Ok(path) = parse(&text) {
                let rendered_path = path.path();
                prop_assert!(rendered_path == text || rendered_path == text.replacen("archive/", "Archive/", 1));
                let plain_path = rendered_path.strip_suffix('/').unwrap_or(&rendered_path);
                prop_assert!(plain_path.split('/').all(|s| !s.is_empty() && s != "." && s != ".."));
            }
        }
    }
}
