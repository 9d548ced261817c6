//! Source distributions (PyPA: source distribution format, PEP 625): tar archives, and zip files from older projects.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Seek, SeekFrom};

use super::wheel::check_path;
use super::{DistributionArchive, PackageError, check_identity, check_metadata, excerpt, notice};
use crate::python::file_name::{FileName, SdistName};
use crate::python::metadata::Metadata;
use crate::python::name::normalize;
use crate::python::version::Pep440Version;
use crate::r::archive::links::{self, LinkCheck};
use crate::r::archive::{ArchiveError, ArchiveLimits, MemberKind, Members};
use crate::r::zip::{Zip, ZipFormat};

/// Reads `{folder}/PKG-INFO`, without checks of the other members. `file` is the file name.
pub fn read_metadata(
    source: &mut (impl Read + Seek),
    file: &FileName,
    limits: ArchiveLimits,
) -> Result<(Metadata, Vec<u8>), PackageError> {
    let raw = match container(source, file)? {
        Container::Zip => {
            // The names of members are as in a wheel: they may differ only in case.
            let zip = Zip::open(source, ZipFormat::Wheel, limits)?;
            let mut members = zip.members.iter();
            let pkg_info = members.find(|member| folder_of(&member.name, "PKG-INFO").is_some());
            pkg_info.map(|member| member.read(source, limits.description)).transpose()?
        }
        Container::Tar => {
            let mut members = Members::new(source, limits)?;
            let mut pkg_info = None;
            while let Some(member) = members.advance()? {
                if member.kind == MemberKind::File && member.folder_of("PKG-INFO").is_some() {
                    pkg_info = Some(members.contents(&member, limits.description)?);
                    break;
                }
            }
            pkg_info
        }
    };
    let raw = raw.ok_or_else(|| PackageError::Missing("PKG-INFO".to_owned()))?;
    Ok((Metadata::parse(&raw)?, raw))
}

/// Reads and checks a whole source distribution. Its metadata must declare the project and version of the file name.
pub fn read(
    source: &mut (impl Read + Seek),
    file: &FileName,
    limits: ArchiveLimits,
) -> Result<DistributionArchive, PackageError> {
    let mut notices = Vec::new();
    let (folder, raw) = match container(source, file)? {
        Container::Zip => read_zip(source, limits)?,
        Container::Tar => read_tar(source, limits, &mut notices)?,
    };
    let raw = raw.ok_or_else(|| PackageError::Missing(format!("{folder}/PKG-INFO")))?;
    let metadata = Metadata::parse(&raw)?;
    check_version_form(&metadata, file)?;
    let name = SdistName::parse(file).ok_or_else(|| PackageError::SdistName(file.to_string()))?;
    check_identity(&metadata, name.distribution, name.version, file.as_str())?;
    let is_own_folder = folder.rsplit_once('-').is_some_and(|(distribution, version)| {
        normalize(distribution) == normalize(name.distribution)
            && Pep440Version::lenient(version) == Pep440Version::lenient(name.version)
    });
    if !is_own_folder {
        return Err(PackageError::OtherFolder { folder: excerpt(&folder), file: file.to_string() });
    }
    check_metadata(&metadata, &raw, &format!("{folder}/PKG-INFO"), &mut notices)?;
    if !name.is_normal() {
        notice(&mut notices, || format!("the file name '{file}' is not normalized"));
    }
    if file.extension() != ".tar.gz" {
        notice(&mut notices, || format!("'{file}' is not a .tar.gz file; PyPI does not accept it"));
    }
    if metadata.metadata_version < (2, 2) {
        notice(&mut notices, || {
            "Metadata-Version is below 2.2, so the metadata does not state which fields may differ in wheels"
                .to_owned()
        });
    }
    Ok(DistributionArchive { metadata, metadata_raw: raw, notices })
}

/// Checks that the version in the file name has no `-`, at which installers split the name.
fn check_version_form(metadata: &Metadata, file: &FileName) -> Result<(), PackageError> {
    let (project, version) = (normalize(&metadata.name), Pep440Version::lenient(&metadata.version));
    let parts = file.stem().match_indices('-').map(|(at, _)| (&file.stem()[..at], &file.stem()[at + 1..]));
    let is_own =
        |(name, rest): &(&str, &str)| normalize(name) == project && Pep440Version::lenient(rest) == version;
    match parts.into_iter().find(is_own) {
        Some((_, text)) if text.contains('-') => Err(PackageError::HyphenVersion {
            version: excerpt(text),
            file: file.to_string(),
            expected: format!("{}-{}{}", project.replace('-', "_"), version.normalized(), file.extension()),
        }),
        _ => Ok(()),
    }
}

enum Container {
    Zip,
    Tar,
}

/// Returns the kind of archive by the extension, on which installers rely; the content must match it.
fn container(source: &mut (impl Read + Seek), file: &FileName) -> Result<Container, PackageError> {
    let mut head = Vec::new();
    source.seek(SeekFrom::Start(0)).map_err(ArchiveError::Io)?;
    source.by_ref().take(6).read_to_end(&mut head).map_err(ArchiveError::Io)?;
    source.seek(SeekFrom::Start(0)).map_err(ArchiveError::Io)?;
    let (kind, is_expected, expected) = match &*file.extension().to_ascii_lowercase() {
        ".zip" => (Container::Zip, head.starts_with(b"PK"), "a zip file"),
        ".tar.gz" | ".tgz" => {
            (Container::Tar, head.starts_with(b"\x1f\x8b"), "a compressed tar archive (gzip)")
        }
        ".tar.bz2" | ".tbz" => (Container::Tar, head.starts_with(b"BZh"), "a compressed tar archive (bzip2)"),
        ".tar.xz" => (Container::Tar, head.starts_with(b"\xfd7zXZ\0"), "a compressed tar archive (xz)"),
        _ => return Err(PackageError::Unsupported(file.to_string())),
    };
    if is_expected {
        return Ok(kind);
    }
    Err(PackageError::OtherFormat { file: file.to_string(), expected })
}

/// Returns the folder if the path is `{folder}/{name}`.
fn folder_of<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    path.strip_suffix(name)?.strip_suffix('/').filter(|folder| !folder.is_empty() && !folder.contains('/'))
}

/// Checks that all members are in one folder.
fn check_folder(folder: &mut Option<String>, path: &str, is_folder: bool) -> Result<(), PackageError> {
    let (top, rest) = path.split_once('/').unwrap_or((path, ""));
    let is_first = folder.get_or_insert_with(|| top.to_owned()) == top;
    if is_first && (is_folder || !rest.is_empty()) {
        return Ok(());
    }
    Err(PackageError::SecondFolder(excerpt(path)))
}

fn read_zip(
    source: &mut (impl Read + Seek),
    limits: ArchiveLimits,
) -> Result<(String, Option<Vec<u8>>), PackageError> {
    let zip = Zip::open(source, ZipFormat::Wheel, limits)?;
    let (mut folder, mut raw) = (None, None);
    for member in &zip.members {
        check_path(&member.name)?;
        check_folder(&mut folder, member.name.trim_end_matches('/'), member.is_folder())?;
        if folder_of(&member.name, "PKG-INFO").is_some() {
            raw = Some(member.read(source, limits.description)?);
        } else {
            member.for_each_piece(source, |_| Ok(()))?;
        }
    }
    Ok((folder.ok_or(ArchiveError::Empty)?, raw))
}

fn read_tar(
    source: impl Read,
    limits: ArchiveLimits,
    notices: &mut Vec<String>,
) -> Result<(String, Option<Vec<u8>>), PackageError> {
    let mut members = Members::new(source, limits)?;
    let (mut folder, mut raw) = (None, None);
    let (mut link_check, mut kind_check) = (LinkCheck::default(), KindCheck::default());
    while let Some(member) = members.advance()? {
        let path = match member.path() {
            Err(ArchiveError::NotUtf8(name)) => {
                notice(notices, || format!("the name of the member '{name}' is not UTF-8"));
                links::validate_path(decode_name(&member.name).as_bytes())?
            }
            path => path?,
        };
        if path.is_empty() && member.kind == MemberKind::Folder {
            continue;
        }
        check_folder(&mut folder, &path, member.kind == MemberKind::Folder)?;
        member.check_link(&path, &mut link_check, limits)?;
        kind_check.add(&path, member.kind == MemberKind::Folder)?;
        if member.kind == MemberKind::File && folder_of(&path, "PKG-INFO").is_some() {
            if raw.is_some() {
                return Err(PackageError::Repeated(path));
            }
            raw = Some(members.contents(&member, limits.description)?);
        }
    }
    members.finish_at_end_mark()?;
    link_check.check()?;
    Ok((folder.ok_or(ArchiveError::Empty)?, raw))
}

/// Decodes the name of a member. Python's `tarfile` keeps bytes that are not UTF-8; here each is a character of Latin-1, so
/// that the parts of a path are the same in every member.
fn decode_name(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| char::from(*byte)));
    }
    text
}

/// Finds a path that is a file and a folder, in any order of the members, by hashes: an archive may have 400,000.
#[derive(Default)]
struct KindCheck {
    hasher: RandomState,
    files: HashSet<u64>,
    folders: HashSet<u64>,
}

impl KindCheck {
    fn add(&mut self, path: &str, is_folder: bool) -> Result<(), PackageError> {
        let mut folder = if is_folder { Some(path) } else { parent(path) };
        if !is_folder {
            let hash = self.hasher.hash_one(path);
            self.files.insert(hash);
            if self.folders.contains(&hash) {
                return Err(PackageError::FileAndFolder(excerpt(path)));
            }
        }
        while let Some(path) = folder {
            let hash = self.hasher.hash_one(path);
            if self.files.contains(&hash) {
                return Err(PackageError::FileAndFolder(excerpt(path)));
            }
            if !self.folders.insert(hash) {
                break;
            }
            folder = parent(path);
        }
        Ok(())
    }
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}
