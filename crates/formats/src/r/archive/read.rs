//! Reads a package from an archive: fully checked, or only its identity.

use super::links::LinkCheck;
use super::{ArchiveError, ArchiveLimits, Member, MemberKind, Members};
use crate::r::checksums::SIGNATURE;
use crate::r::description::{Built, Description, check};
use crate::r::name::{self, SourceFileName};
use crate::r::version;
use std::io::Read;

/// A package archive that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageArchive {
    /// The top-level folder: the package's name.
    pub folder: String,
    pub description: Description,
    pub description_raw: Vec<u8>,
    /// The value of `NeedsCompilation`; without it, whether there is a `src` folder.
    pub needs_compilation: bool,
    /// The README's path within the folder, and its bytes. Files larger than 1 MiB are ignored.
    pub readme: Option<(String, Vec<u8>)>,
    /// `Built`, for a binary package.
    pub built: Option<Built>,
    /// The size of the tar archive in bytes.
    pub inflated_size: u64,
    /// Whether the package is signed: it has a file `SHA256.sig` (R 4.6 and newer).
    pub is_signed: bool,
}

impl PackageArchive {
    pub fn package(&self) -> &str {
        self.description.package().unwrap_or(&self.folder)
    }

    pub fn version(&self) -> &str {
        self.description.version().unwrap_or_default()
    }

    pub fn check_description(&self) -> Result<(), ArchiveError> {
        Ok(check::check(&self.description_raw)?)
    }

    pub fn require_source(&self) -> Result<(), ArchiveError> {
        match &self.built {
            None => Ok(()),
            Some(b) => Err(ArchiveError::Binary { r: b.r.clone(), platform: b.platform.clone() }),
        }
    }
}

/// Reads and checks a whole archive in one pass, without unpacking it. If `file` is given, package and version must
/// match that file name. Accepts binary packages too: see [`PackageArchive::require_source`].
pub fn read(
    source: impl Read,
    file: Option<SourceFileName<'_>>,
    limits: ArchiveLimits,
) -> Result<PackageArchive, ArchiveError> {
    read_up_to(ReadExtent::Whole, source, file, limits)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadExtent {
    /// As [`ReadExtent::Whole`], for an upload: only zeros may follow the end of the archive. Programs ignore other
    /// bytes there, and old tar programs wrote them, so published archives may have them.
    Upload,
    /// The whole archive, fully checked.
    Whole,
    /// Only until DESCRIPTION with `NeedsCompilation` and `README.md` were read. The rest is neither read nor checked,
    /// nor counted in [`PackageArchive::inflated_size`], so this is only for bytes that were verified before.
    Metadata,
}

/// Like [`read`], but stops at `extent`.
pub fn read_up_to(
    extent: ReadExtent,
    source: impl Read,
    file: Option<SourceFileName<'_>>,
    limits: ArchiveLimits,
) -> Result<PackageArchive, ArchiveError> {
    let mut members = Members::new(source, limits)?;
    let mut link_check = LinkCheck::default();
    let mut folder: Option<String> = None;
    let (mut has_src, mut is_signed) = (false, false);
    let mut description_raw: Option<Vec<u8>> = None;
    let mut best_readme: Option<(ReadmeRank, String, Vec<u8>)> = None;
    while let Some(member) = members.advance()? {
        let path = member.path()?;
        if path.is_empty() && member.kind == MemberKind::Folder {
            continue;
        }
        let (top_folder, inner_path) = path.split_once('/').unwrap_or((&path, ""));
        check_folder(&mut folder, top_folder, inner_path, &member)?;
        member.check_link(&path, &mut link_check, limits)?;
        has_src |=
            inner_path.starts_with("src/") || (inner_path == "src" && member.kind == MemberKind::Folder);
        is_signed |= inner_path == SIGNATURE;
        if inner_path.eq_ignore_ascii_case("DESCRIPTION") {
            // On a case-insensitive file system, `description` would overwrite DESCRIPTION.
            let is_exact = inner_path == "DESCRIPTION";
            if is_exact && member.kind != MemberKind::File {
                return Err(ArchiveError::DescriptionNotAFile(path));
            }
            if description_raw.is_some() || !is_exact {
                return Err(ArchiveError::TwoDescriptions(path));
            }
            description_raw = Some(members.contents(&member, limits.description)?);
        } else if let Some(rank) = readme_rank(&path).filter(|_| member.kind == MemberKind::File)
            && best_readme.as_ref().is_none_or(|(previous, ..)| rank > *previous)
            && member.size <= MAX_README
        {
            best_readme = Some((rank, inner_path.to_owned(), members.contents(&member, MAX_README)?));
        } else {
            continue;
        }
        if extent == ReadExtent::Metadata
            && is_final(description_raw.as_deref(), best_readme.as_ref().map(|(rank, ..)| *rank))
        {
            break;
        }
    }
    let inflated_size = match extent {
        ReadExtent::Upload => members.finish_at_end_mark()?,
        ReadExtent::Whole => members.finish()?,
        ReadExtent::Metadata => members.output_size(),
    };
    link_check.check()?;
    let content = ArchiveContent {
        folder,
        description_raw,
        has_src,
        readme: best_readme.map(|(_, name, bytes)| (name, bytes)),
        inflated_size,
        is_signed,
    };
    content.into_package(file)
}

/// Returns whether no later member can change the result.
fn is_final(description_raw: Option<&[u8]>, readme: Option<ReadmeRank>) -> bool {
    let is_known = |description_raw: &[u8]| {
        Description::from_bytes(description_raw)
            .is_ok_and(|description| description.needs_compilation().is_some())
    };
    readme == Some(ReadmeRank::Markdown) && description_raw.is_some_and(is_known)
}

/// The content collected from an archive.
pub(in crate::r) struct ArchiveContent {
    pub folder: Option<String>,
    pub description_raw: Option<Vec<u8>>,
    pub has_src: bool,
    pub readme: Option<(String, Vec<u8>)>,
    pub inflated_size: u64,
    pub is_signed: bool,
}

impl ArchiveContent {
    /// Returns the package if folder, DESCRIPTION and file name agree.
    pub(in crate::r) fn into_package(
        self,
        file: Option<SourceFileName<'_>>,
    ) -> Result<PackageArchive, ArchiveError> {
        let folder = self.folder.ok_or(ArchiveError::Empty)?;
        let description_raw =
            self.description_raw.ok_or_else(|| ArchiveError::NoDescription(folder.clone()))?;
        let description = Description::from_bytes(&description_raw)?;
        let (package, version) = valid_names(&description)?;
        if package != folder {
            return Err(ArchiveError::OtherFolder { package: package.to_owned(), folder });
        }
        if let Some(file) = file.filter(|file| file.package != package || file.version != version) {
            return Err(file_name_error(package, version, file));
        }
        Ok(PackageArchive {
            needs_compilation: description.needs_compilation().unwrap_or(self.has_src),
            built: description.built(),
            readme: self.readme,
            description_raw,
            description,
            folder,
            inflated_size: self.inflated_size,
            is_signed: self.is_signed,
        })
    }
}

fn check_folder(
    folder: &mut Option<String>,
    top_folder: &str,
    inner_path: &str,
    member: &Member,
) -> Result<(), ArchiveError> {
    if top_folder.starts_with("._") || top_folder == ".DS_Store" {
        return Err(ArchiveError::MacOsFile(top_folder.chars().take(200).collect()));
    }
    if inner_path.is_empty() && member.kind != MemberKind::Folder {
        return Err(ArchiveError::FileAtTop(top_folder.to_owned()));
    }
    match folder {
        None => *folder = Some(top_folder.to_owned()),
        Some(first) if first == top_folder => {}
        Some(first) => {
            return Err(ArchiveError::TwoFolders { first: first.clone(), second: top_folder.to_owned() });
        }
    }
    Ok(())
}

fn valid_names(description: &Description) -> Result<(&str, &str), ArchiveError> {
    let excerpt = |text: &str| text.chars().take(120).collect();
    let package = description.package().ok_or(ArchiveError::NoField("Package"))?;
    let version = description.version().ok_or(ArchiveError::NoField("Version"))?;
    if !name::is_package(package) {
        return Err(ArchiveError::BadPackage(excerpt(package)));
    }
    if !version::is_package_version(version) {
        return Err(ArchiveError::BadVersion(excerpt(version)));
    }
    Ok((package, version))
}

fn file_name_error(package: &str, version: &str, file: SourceFileName<'_>) -> ArchiveError {
    ArchiveError::OtherFileName {
        package: package.to_owned(),
        version: version.to_owned(),
        file: format!("{}_{}{}", file.package, file.version, file.extension.as_str()),
    }
}

/// The name and version that an archived release declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageIdentity {
    /// `Package`, or `Bundle` for the bundles of old archives.
    pub name: String,
    pub version: String,
    pub description: Description,
    pub description_raw: Vec<u8>,
}

/// Reads only DESCRIPTION; the rest of the stream is read to verify its checksums. Used for releases in the archive of
/// an upstream, which may not pass all checks but can no longer be corrected. If `file` is given, its name must match,
/// and its version must be equal (`1.0-1` equals `1.0.1`).
pub fn read_identity(
    source: impl Read,
    file: Option<SourceFileName<'_>>,
    limits: ArchiveLimits,
) -> Result<PackageIdentity, ArchiveError> {
    let mut members = Members::new(source, limits)?;
    let (_, description_raw) = find_description(&mut members, limits)?;
    members.finish()?;
    let description = Description::from_bytes(&description_raw)?;
    let name = description.package().or_else(|| description.non_empty("Bundle"));
    let name = name.ok_or(ArchiveError::NoField("Package"))?.to_owned();
    let version = description.version().ok_or(ArchiveError::NoField("Version"))?.to_owned();
    if let Some(file) = file {
        let is_same = file.package == name && version::compare(file.version, &version).is_eq();
        if !is_same {
            return Err(file_name_error(&name, &version, file));
        }
    }
    Ok(PackageIdentity { name, version, description, description_raw })
}

/// Reads up to the first `{folder}/DESCRIPTION` and returns `(folder, bytes)`. The rest is neither read nor checked.
pub fn read_description(source: impl Read, limits: ArchiveLimits) -> Result<(String, Vec<u8>), ArchiveError> {
    find_description(&mut Members::new(source, limits)?, limits)
}

fn find_description<R: Read>(
    members: &mut Members<R>,
    limits: ArchiveLimits,
) -> Result<(String, Vec<u8>), ArchiveError> {
    let mut folder = String::new();
    while let Some(member) = members.advance()? {
        if let Some(folder) = member.folder_of("DESCRIPTION").filter(|_| member.kind == MemberKind::File) {
            let folder = String::from_utf8_lossy(folder).into_owned();
            return Ok((folder, members.contents(&member, limits.description)?));
        }
        if folder.is_empty() {
            let top_folder = member.name.split(|&b| b == b'/').next().unwrap_or_default();
            folder = String::from_utf8_lossy(top_folder).chars().take(120).collect();
        }
    }
    // If the rest of the stream is damaged, reports that instead of a missing DESCRIPTION.
    members.finish()?;
    Err(ArchiveError::NoDescription(folder))
}

/// The largest accepted README in bytes: 1 MiB.
const MAX_README: u64 = 1 << 20;

/// The preference of a README; the greatest is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadmeRank {
    /// `README`
    NoExtension,
    /// `README.txt`
    Text,
    /// `README.md`
    Markdown,
}

/// Returns the rank of a path in an archive, in any case; `None` if it is not a README, or is more than one directory deep.
pub fn readme_rank(path: &str) -> Option<ReadmeRank> {
    let name = match path.split_once('/') {
        None => path,
        Some((_, name)) if !name.contains('/') => name,
        Some(_) => return None,
    };
    match name.to_ascii_lowercase().as_str() {
        "readme.md" => Some(ReadmeRank::Markdown),
        "readme.txt" => Some(ReadmeRank::Text),
        "readme" => Some(ReadmeRank::NoExtension),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_preferred_to_text_and_text_to_no_extension() {
        assert!(readme_rank("a1/README.md") > readme_rank("a1/readme.TXT"));
        assert!(readme_rank("a1/readme.TXT") > readme_rank("a1/ReadMe"));
        assert!(readme_rank("README").is_some());
    }

    #[test]
    fn other_names_and_deeper_folders_do_not_count() {
        for path in ["a1/inst/README.md", "a1/README.Rmd", "a1/README.md/x", "a1/xREADME", "", "a1/"] {
            assert_eq!(readme_rank(path), None, "{path}");
        }
    }
}
