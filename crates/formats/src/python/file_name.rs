//! File names of distributions: the kind, by extension, and the version of a file of a project.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::name;
use super::version::Pep440Version;
use super::wheel_name::WheelName;
use base::model::project_name::ProjectName;

/// The kind of a distribution file. Installers use only wheels and sdists; the other kinds are old, but still listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// `.whl`
    Wheel,
    /// `.tar.gz`, `.zip` and others.
    Sdist,
    Egg,
    /// `.exe`: an installer for Windows.
    WindowsInstaller,
    Msi,
    Rpm,
    Deb,
    Dmg,
}

/// Extensions with their kinds, usual ones first. None is the end of another.
const EXTENSIONS: [(&str, FileKind); 15] = [
    (".whl", FileKind::Wheel),
    (".tar.gz", FileKind::Sdist),
    (".tar.bz2", FileKind::Sdist),
    (".tar.xz", FileKind::Sdist),
    (".tar.Z", FileKind::Sdist),
    (".tgz", FileKind::Sdist),
    (".tbz", FileKind::Sdist),
    (".tar", FileKind::Sdist),
    (".zip", FileKind::Sdist),
    (".egg", FileKind::Egg),
    (".exe", FileKind::WindowsInstaller),
    (".msi", FileKind::Msi),
    (".rpm", FileKind::Rpm),
    (".deb", FileKind::Deb),
    (".dmg", FileKind::Dmg),
];

/// A name of a distribution file: one path segment of at most 255 bytes with a known extension.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName {
    text: Box<str>,
    kind: FileKind,
    stem_len: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFileName {
    /// The text is not one path segment.
    #[error(
        "'{0}' is not a file name: it is empty, too long, hidden, or has a slash, '%' or a control character"
    )]
    Segment(String),
    #[error("'{0}' is not a file of a Python package; wheels end in .whl, source distributions in .tar.gz")]
    Extension(String),
}

impl FileKind {
    /// Returns the word for the kind in uploads and in PyPI's JSON API.
    pub fn package_type(self) -> &'static str {
        match self {
            FileKind::Wheel => "bdist_wheel",
            FileKind::Sdist => "sdist",
            FileKind::Egg => "bdist_egg",
            FileKind::WindowsInstaller => "bdist_wininst",
            FileKind::Msi => "bdist_msi",
            FileKind::Rpm => "bdist_rpm",
            FileKind::Deb => "bdist_deb",
            FileKind::Dmg => "bdist_dmg",
        }
    }
}

impl FileName {
    pub fn parse(text: &str) -> Result<FileName, BadFileName> {
        let excerpt = || text.escape_debug().take(120).collect::<String>();
        // No address has '%' after it was decoded: it could have been encoded twice.
        // For ASCII, the bytes are compared, because a page has thousands of names.
        let is_separator = |byte: u8| matches!(byte, 0..=0x1f | b'/' | b'\\' | b'%' | 0x7f);
        let has_separator = || match text.is_ascii() {
            true => text.bytes().any(is_separator),
            false => text.contains(|c: char| c.is_control() || matches!(c, '/' | '\\' | '%')),
        };
        let is_segment = (1..=255).contains(&text.len()) && !text.starts_with(['.', '-']) && !has_separator();
        if !is_segment {
            return Err(BadFileName::Segment(excerpt()));
        }
        let ends_with = |extension: &str| {
            text.len() > extension.len()
                && text.as_bytes()[text.len() - extension.len()..].eq_ignore_ascii_case(extension.as_bytes())
        };
        let entry = EXTENSIONS.into_iter().find(|(extension, _)| ends_with(extension));
        let (extension, kind) = entry.ok_or_else(|| BadFileName::Extension(excerpt()))?;
        Ok(FileName { text: text.into(), kind, stem_len: text.len() - extension.len() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn into_text(self) -> String {
        self.text.into()
    }

    pub fn kind(&self) -> FileKind {
        self.kind
    }

    pub fn stem(&self) -> &str {
        &self.text[..self.stem_len]
    }

    /// Returns the extension, with its dot.
    pub fn extension(&self) -> &str {
        &self.text[self.stem_len..]
    }

    /// Returns the version of a file of `project`; if its page lists `versions`, as listed there. `None` for a file of
    /// another project, and for kinds other than wheels also if the version is not listed.
    pub fn version(&self, project: &ProjectName, versions: Option<&ListedVersions<'_>>) -> Option<String> {
        if self.kind == FileKind::Wheel {
            let wheel = WheelName::parse(&self.text).ok()?;
            let listed_version = versions.and_then(|versions| versions.find(wheel.version));
            let is_own = name::is_spelling(wheel.distribution, project);
            return is_own.then(|| listed_version.unwrap_or(wheel.version).to_owned());
        }
        let candidates = self.stem().match_indices('-').filter_map(|(at, _)| {
            let (name, rest) = self.stem().split_at(at);
            name::is_spelling(name, project).then(|| self.without_platform(&rest[1..]))
        });
        for text in candidates.filter(|text| !text.is_empty()) {
            match versions {
                None => return Some(text.to_owned()),
                Some(versions) => {
                    if let Some(version) = versions.find(text) {
                        return Some(version.to_owned());
                    }
                }
            }
        }
        None
    }

    /// Returns what distinguishes the file from others of its version: the build and all combinations of the tags of a
    /// wheel; nothing of a source distribution, in any format. `None` for another kind, and an invalid wheel name.
    pub fn variant(&self) -> Option<String> {
        match (self.kind, WheelName::parse(&self.text)) {
            (FileKind::Wheel, Ok(wheel)) => {
                let build = wheel.build.map(|build| format!("{}{}", build.number, build.rest));
                let tags: BTreeSet<String> = wheel.tags.expand().map(|tag| tag.to_string()).collect();
                Some(tags.iter().fold(build.unwrap_or_default(), |text, tag| text + " " + tag))
            }
            (FileKind::Sdist, _) => Some(String::new()),
            _ => None,
        }
    }

    /// Removes the suffixes after the version in names of old kinds: `-py2.7`, `.win32` or `-1.noarch`.
    fn without_platform<'a>(&self, rest: &'a str) -> &'a str {
        const PLATFORMS: [&str; 4] = [".win", ".linux-", ".macosx-", ".cygwin-"];
        let cut_at = |text: &'a str, mark: &str| text.find(mark).map_or(text, |at| &text[..at]);
        match self.kind {
            FileKind::Wheel | FileKind::Sdist => rest,
            FileKind::Rpm | FileKind::Deb => {
                let package = rest.rsplit_once('.').map_or(rest, |(package, _)| package);
                package.rsplit_once('-').map_or(package, |(version, _)| version)
            }
            FileKind::Egg | FileKind::WindowsInstaller | FileKind::Msi | FileKind::Dmg => {
                let rest = cut_at(cut_at(rest, "-py2"), "-py3");
                PLATFORMS.iter().fold(rest, |text, mark| cut_at(text, mark))
            }
        }
    }
}

/// The versions that a page lists.
#[derive(Debug)]
pub struct ListedVersions<'a> {
    all: &'a [String],
    texts: HashSet<&'a str>,
    /// The first one of each value. Few pages need it: most versions are listed as files have them.
    values: OnceCell<BTreeMap<Pep440Version, &'a str>>,
}

impl<'a> ListedVersions<'a> {
    pub fn new(all: &'a [String]) -> ListedVersions<'a> {
        ListedVersions { all, texts: all.iter().map(String::as_str).collect(), values: OnceCell::new() }
    }

    /// Returns the listed version with the same text; if there is none, the first one that is equal by value.
    fn find(&self, text: &str) -> Option<&'a str> {
        let same_text = self.texts.get(text).copied();
        same_text.or_else(|| self.values().get(&Pep440Version::lenient(text)).copied())
    }

    fn values(&self) -> &BTreeMap<Pep440Version, &'a str> {
        self.values.get_or_init(|| {
            self.all.iter().rev().map(|text| (Pep440Version::lenient(text), text.as_str())).collect()
        })
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The parts of the file name of a source distribution: `{name}-{version}.tar.gz`, split at the last `-` (PEP 625).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdistName<'a> {
    /// The project, in any spelling.
    pub distribution: &'a str,
    pub version: &'a str,
}

impl<'a> SdistName<'a> {
    /// Splits a file name; `None` if it does not have this form.
    pub fn parse(file: &'a FileName) -> Option<SdistName<'a>> {
        if file.kind != FileKind::Sdist {
            return None;
        }
        let (distribution, version) = file.stem().rsplit_once('-')?;
        let is_valid = name::is_valid(distribution) && Pep440Version::lenient(version).is_valid();
        is_valid.then_some(SdistName { distribution, version })
    }

    /// Returns whether name and version are normalized, as PyPI requires of new source distributions.
    pub fn is_normal(&self) -> bool {
        name::normalize(self.distribution).replace('-', "_") == self.distribution
            && Pep440Version::lenient(self.version).normalized() == self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(file: &str, project: &str, versions: Option<&[&str]>) -> Option<String> {
        let versions = versions.map(|all| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        let file = FileName::parse(file).expect(file);
        let listed = versions.as_deref().map(ListedVersions::new);
        file.version(&name::parse(project).expect(project), listed.as_ref())
    }

    #[test]
    fn the_version_follows_the_name_in_any_spelling() {
        for (file, project, expected) in [
            ("odd-1.0.tar.gz", "odd", "1.0"),
            ("Odd.Name-1.0rc1.zip", "odd-name", "1.0rc1"),
            ("odd-name-2.0-beta.tar.bz2", "odd-name", "2.0-beta"),
            ("odd_name-3-py2.py3-none-any.whl", "odd-name", "3"),
            ("odd-2004b.2-py2.3.egg", "odd", "2004b.2"),
            ("odd-3.0.1.win32-py2.3.exe", "odd", "3.0.1"),
            ("odd-0.9.win-amd64-py2.6.exe", "odd", "0.9"),
            ("odd-1.1-py2.7-macosx-10.6-intel.egg", "odd", "1.1"),
            ("odd-0.6c11-1.src.rpm", "odd", "0.6c11"),
            ("odd-1.0.msi", "odd", "1.0"),
            ("odd-1.0.TAR.GZ", "odd", "1.0"),
        ] {
            assert_eq!(version(file, project, None).as_deref(), Some(expected), "{file}");
        }
    }

    #[test]
    fn listed_versions_decide() {
        assert_eq!(version("odd-1.0-2.tar.gz", "odd", Some(&["1.0.post2"])).as_deref(), Some("1.0.post2"));
        assert_eq!(version("odd-1.00.tar.gz", "odd", Some(&["1.0", "1.00"])).as_deref(), Some("1.00"));
        assert_eq!(version("odd-1.00.tar.gz", "odd", Some(&["2", "1.0"])).as_deref(), Some("1.0"));
        assert_eq!(version("odd-1.00.tar.gz", "odd", Some(&["1", "1.0"])).as_deref(), Some("1"));
        assert_eq!(version("odd-2004d.tar.gz", "odd", Some(&["2004d"])).as_deref(), Some("2004d"));
        assert_eq!(version("odd-3.0.tar.gz", "odd", Some(&["1.0"])), None);
        assert_eq!(version("even-1.0.tar.gz", "odd", None), None);
        assert_eq!(version("even-1.0-py3-none-any.whl", "odd", None), None);
        assert_eq!(version("odd.tar.gz", "odd", None), None);
        assert_eq!(version("odd-1.0-py3-none.whl", "odd", None), None);
    }

    #[test]
    fn names_are_one_segment_with_a_known_extension() {
        for bad in [
            "",
            "a/b-1.tar.gz",
            "a%20b-1.tar.gz",
            "a\\b.whl",
            ".whl",
            ".tar.gz",
            "a\n.whl",
            "-a.whl",
            "a\0.zip",
            "a\x7f.zip",
            "é\\b.whl",
            "é\u{85}.zip",
        ] {
            assert!(matches!(FileName::parse(bad), Err(BadFileName::Segment(_))), "{bad:?}");
        }
        for bad in ["a", "a-1.0", "a-1.whl.metadata", "a-1.tar.gz.asc", "a-1.tar.lz", "index.html"] {
            assert!(matches!(FileName::parse(bad), Err(BadFileName::Extension(_))), "{bad:?}");
        }
        assert!(FileName::parse(&format!("{}.whl", "a".repeat(252))).is_err());
        let file = FileName::parse("Odd-1.0.tar.gz").expect("an sdist");
        assert_eq!(
            (file.stem(), file.extension(), file.kind().package_type()),
            ("Odd-1.0", ".tar.gz", "sdist")
        );
        let sdist = SdistName::parse(&file).expect("an sdist");
        assert_eq!((sdist.distribution, sdist.version, sdist.is_normal()), ("Odd", "1.0", false));
        assert_eq!(SdistName::parse(&FileName::parse("a-1-x.zip").expect("a zip file")), None);
    }

    proptest! {
        #[test]
        fn the_version_of_a_written_name_is_found(
            name in "[a-z]([a-z0-9._-]{0,8}[a-z0-9])?", version in "[0-9]\\.[0-9]{1,3}(rc1|\\.post2)?",
        ) {
            let (project, versions) = (name::parse(&name).unwrap(), ["7".to_owned(), version.clone()]);
            for file in [format!("{name}-{version}.tar.gz"), format!("{}-{version}.zip", project.as_str().replace('-', "_"))] {
                let file_name = FileName::parse(&file).unwrap();
                prop_assert_eq!(file_name.version(&project, Some(&ListedVersions::new(&versions))), Some(version.clone()));
            }
        }
    }

    fn of(file: &str) -> (Pep440Version, String) {
        let version = file.split('-').nth(1).expect("a version");
        let version = [".tar.gz", ".tar.xz", ".zip"]
            .iter()
            .find_map(|end| version.strip_suffix(end))
            .unwrap_or(version);
        let name = FileName::parse(file).expect("a file name");
        (Pep440Version::lenient(version), name.variant().expect("a wheel or a source distribution"))
    }

    #[test]
    fn spellings_of_one_distribution_are_equal() {
        for (one, other) in [
            ("a-1.0-py2.py3-none-any.whl", "a-1.0-py3.py2-none-any.whl"),
            ("A_b-1.0-py3-none-any.whl", "a_b-1.0-py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0.0-py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-v1-py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0-PY3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0-py3.py3-none-any.whl"),
            ("a-1.0-1-py3-none-any.whl", "a-1.0-01-py3-none-any.whl"),
            ("a-1.0+a.b-py3-none-any.whl", "a-1.0+a_b-py3-none-any.whl"),
            ("a-1.0-cp39.cp310-abi3.none-a.b.whl", "a-1.0-cp310.cp39-none.abi3-b.a.whl"),
            ("a_b-1.0.tar.gz", "a.b-1.0.tar.xz"),
            ("a-1.0.tar.gz", "a-1.zip"),
        ] {
            assert_eq!(of(one), of(other), "{one} {other}");
        }
    }

    #[test]
    fn others_differ() {
        for (one, other) in [
            ("a-1.0-py3-none-any.whl", "a-1.0-py2.py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0-0-py3-none-any.whl"),
            ("a-1.0-1-py3-none-any.whl", "a-1.0-1a-py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0+x-py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0rc1-py3-none-any.whl"),
            ("a-1.0-cp310-cp310-win32.whl", "a-1.0-cp311-cp311-win32.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0.tar.gz"),
            ("a-1.0.tar.gz", "a-1.0.post1.tar.gz"),
        ] {
            assert_ne!(of(one), of(other), "{one} {other}");
        }
    }
}
