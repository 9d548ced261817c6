//! The platform of a binary package, as its field `Built` and its libraries declare it. Zip files (Windows) are also
//! read and copied here; tar archives are read by [`super::archive`] and copied by [`super::rewrite`].

use std::fmt;
use std::io::{Read, Seek, Write};

use super::archive::read::ArchiveContent;
use super::archive::{self, ArchiveError, ArchiveLimits, MemberKind, Members, PackageArchive, links};
use super::checksums::{ChecksumList, SIGNATURE};
use super::description::Built;
use super::layout::PackageFile;
use super::name::SourceFileName;
use super::platform::{Arch, BinaryTarget, Platform};
use super::rewrite::{self, PACKAGE_RDS, RewriteError, RewriteOptions, RewriteOutput};
use super::user_agent::RVersion;
use super::version::RMinor;
use super::zip::{self, Zip, ZipFormat};

/// The platform that an archive declares, and its `Meta/package.rds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryInfo {
    pub r: RMinor,
    /// The operating system, as far as the archive declares it.
    pub system: TargetSystem,
    /// The architecture; `None` if the binary runs on any architecture.
    pub arch: Option<Arch>,
    /// `Meta/package.rds`, which R reads instead of DESCRIPTION once the package is installed.
    pub package_rds: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSystem {
    Linux,
    MacOs,
    Windows,
    /// Linux or macOS: the package has no compiled code.
    Unix,
}

#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    #[error(transparent)]
    Archive(BinaryArchiveError),
    #[error(
        "this is a source package; build a binary of it with R CMD INSTALL --build, or add it with rspm add"
    )]
    Source,
    #[error(
        "DESCRIPTION: Built has '{0}', which is not a version of R; build the package again with R CMD INSTALL --build"
    )]
    BadBuilt(String),
    #[error("DESCRIPTION: Built names no supported operating system ('{0}')")]
    BadSystem(String),
    #[error("DESCRIPTION: Built has '{0}', an architecture that is not supported; x86_64 and arm64 are")]
    BadArch(String),
    #[error("there is no '{0}'; build the package again with R CMD INSTALL --build")]
    Missing(String),
    #[error("'{0}' is part of a source package, but DESCRIPTION has a Built field; build the package again")]
    HasSource(String),
    #[error("the binary is built for R {r} on {system}{arch}, not for {requested}")]
    OtherPlatform {
        r: RMinor,
        system: TargetSystem,
        /// The architecture in parentheses after a space, or empty.
        arch: String,
        requested: Platform,
    },
    #[error(
        "the library '{path}' is built for {platform}, but according to DESCRIPTION the package {built}; build it \
         again with R CMD INSTALL --build"
    )]
    Library {
        /// The path of the library within the archive.
        path: String,
        platform: String,
        /// A phrase for the platform in `Built`: `is built for '…'` or `has no compiled code`.
        built: String,
    },
}

/// An [`ArchiveError`] whose message names the command that builds binary packages.
#[derive(Debug)]
pub struct BinaryArchiveError(ArchiveError);

impl From<ArchiveError> for BinaryError {
    fn from(error: ArchiveError) -> BinaryError {
        BinaryError::Archive(BinaryArchiveError(error))
    }
}

impl fmt::Display for BinaryArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string().replace("R CMD build", "R CMD INSTALL --build"))
    }
}

impl std::error::Error for BinaryArchiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl TargetSystem {
    pub fn runs_on(self, target: &BinaryTarget) -> bool {
        match target {
            BinaryTarget::Linux(_) => matches!(self, TargetSystem::Linux | TargetSystem::Unix),
            BinaryTarget::MacOs => matches!(self, TargetSystem::MacOs | TargetSystem::Unix),
            BinaryTarget::Windows => self == TargetSystem::Windows,
        }
    }
}

impl fmt::Display for TargetSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TargetSystem::Linux => "Linux",
            TargetSystem::MacOs => "macOS",
            TargetSystem::Windows => "Windows",
            TargetSystem::Unix => "Linux or macOS",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LibraryPlatform {
    Supported(TargetSystem, Arch),
    /// A macOS universal binary, with code for several architectures.
    Universal,
    /// A library that is not supported, with a description for the error message.
    Unsupported(&'static str),
}

/// Reads the platform of an archive that [`super::archive::read`] accepted. `source` must provide the same bytes again.
pub fn read_info(
    source: impl Read,
    package_archive: &PackageArchive,
    limits: ArchiveLimits,
) -> Result<BinaryInfo, BinaryError> {
    let built = BuiltPlatform::parse(package_archive.built.as_ref().ok_or(BinaryError::Source)?)?;
    let mut members = Members::new(source, limits)?;
    let (mut rds, mut libraries) = (None, Vec::new());
    while let Some(member) = members.advance()? {
        let path = member.path()?;
        let inner_path =
            path.strip_prefix(package_archive.folder.as_str()).unwrap_or(&path).trim_start_matches('/');
        if member.kind != MemberKind::File {
            continue;
        }
        if inner_path == "Meta/package.rds" {
            rds = Some(members.contents(&member, limits.description)?);
        } else if inner_path.starts_with("src/") {
            return Err(BinaryError::HasSource(path));
        } else if is_library(inner_path) {
            let mut head = Vec::new();
            while head.len() < HEAD_LEN
                && let Some(piece) = members.chunk()?
            {
                head.extend_from_slice(&piece[..piece.len().min(HEAD_LEN)]);
            }
            libraries.push((path, library_platform(&head)));
        }
    }
    let package_rds =
        rds.ok_or_else(|| BinaryError::Missing(format!("{}/Meta/package.rds", package_archive.folder)))?;
    let arch = built.check_arch(&libraries)?;
    Ok(BinaryInfo { r: built.r, system: built.system, arch, package_rds })
}

/// A zip file that passed every check.
#[derive(Debug)]
pub struct ZipPackage {
    pub archive: PackageArchive,
    pub info: BinaryInfo,
    zip: Zip,
    checksum_lists: Vec<(ChecksumList, Vec<u8>)>,
}

/// Reads and checks a whole zip file of a binary package. If `name` is given, package and version must match it.
pub fn read_zip(
    file: &mut (impl Read + Seek),
    name: Option<PackageFile<'_>>,
    limits: ArchiveLimits,
) -> Result<ZipPackage, BinaryError> {
    let zip = Zip::open(file, ZipFormat::Plain, limits)?;
    let (mut folder, mut description_raw, mut rds) = (None::<String>, None, None);
    let (mut checksum_lists, mut is_signed) = (Vec::new(), false);
    let mut libraries = Vec::new();
    for member in &zip.members {
        let path = links::validate_path(member.name.as_bytes())?;
        if member.name.contains('\\') || path != member.name.trim_end_matches('/') {
            return Err(ArchiveError::BadName(member.name.chars().take(200).collect()).into());
        }
        let (top_folder, inner_path) = path.split_once('/').unwrap_or((&path, ""));
        if inner_path.is_empty() && !member.is_folder() {
            return Err(ArchiveError::FileAtTop(path).into());
        }
        let package_folder = folder.get_or_insert_with(|| top_folder.to_owned());
        if package_folder != top_folder {
            return Err(ArchiveError::TwoFolders {
                first: package_folder.clone(),
                second: top_folder.to_owned(),
            }
            .into());
        }
        let target = match inner_path {
            "DESCRIPTION" => Some(&mut description_raw),
            PACKAGE_RDS => Some(&mut rds),
            _ => None,
        };
        is_signed |= inner_path == SIGNATURE;
        let list = ChecksumList::ALL.into_iter().find(|list| list.file_name() == inner_path);
        if inner_path.starts_with("src/") {
            return Err(BinaryError::HasSource(path));
        }
        match (target, list) {
            (Some(target), _) if !member.is_folder() => {
                *target = Some(member.read(file, limits.large_metadata())?);
            }
            (None, Some(list)) if !member.is_folder() => {
                checksum_lists.push((list, member.read(file, limits.large_metadata())?));
            }
            _ => {
                let mut head = Vec::new();
                member.for_each_piece(file, |piece| {
                    head.extend_from_slice(&piece[..piece.len().min(HEAD_LEN.saturating_sub(head.len()))]);
                    Ok(())
                })?;
                if is_library(inner_path) {
                    libraries.push((path.clone(), library_platform(&head)));
                }
            }
        }
    }
    let inflated_size = zip.members.iter().map(|member| member.size).sum();
    let package_archive =
        ArchiveContent { folder, description_raw, has_src: false, readme: None, inflated_size, is_signed }
            .into_package(None)?;
    if let Some(file) = name
        .filter(|file| (file.package, file.version) != (package_archive.package(), package_archive.version()))
    {
        let (package, version) = (package_archive.package().to_owned(), package_archive.version().to_owned());
        return Err(ArchiveError::OtherFileName { package, version, file: file.name.to_owned() }.into());
    }
    let built = BuiltPlatform::parse(package_archive.built.as_ref().ok_or(BinaryError::Source)?)?;
    let package_rds =
        rds.ok_or_else(|| BinaryError::Missing(format!("{}/{PACKAGE_RDS}", package_archive.folder)))?;
    let arch = built.check_arch(&libraries)?;
    let info = BinaryInfo { r: built.r, system: built.system, arch, package_rds };
    Ok(ZipPackage { archive: package_archive, info, zip, checksum_lists })
}

impl ZipPackage {
    /// Writes a copy of the package with `Repository: {repository}` in DESCRIPTION, with `package_rds` as
    /// `Meta/package.rds`, and with the checksums of both in `MD5` and `SHA256`; a signed package is unchanged.
    pub fn copy(
        &self,
        file: &mut (impl Read + Seek),
        repository: &str,
        package_rds: &[u8],
        out: &mut impl Write,
        options: RewriteOptions,
    ) -> Result<RewriteOutput, RewriteError> {
        let replacements = rewrite::replacements(&self.archive, repository, Some(package_rds))?;
        let replaced: Vec<(&str, &[u8])> =
            replacements.iter().map(|(path, bytes)| (*path, &bytes[..])).collect();
        let lists = self.checksum_lists.iter();
        let lists = lists.map(|(list, contents)| (list.file_name(), list.update(contents, &replaced)));
        let files: Vec<(String, Vec<u8>)> = (replacements.iter().cloned().chain(lists))
            .map(|(path, bytes)| (format!("{}/{path}", self.archive.folder), bytes))
            .collect();
        zip::copy(file, &self.zip, &files, out, options)?;
        Ok(RewriteOutput::new(&self.archive, replacements))
    }
}

/// Checks that a file is a valid binary for the platform, of the package and version in `name`. Returns its `Built`
/// field. `open` must provide the same bytes each time.
pub fn check_file<R: Read + Seek>(
    open: impl Fn() -> std::io::Result<R>,
    name: PackageFile<'_>,
    platform: &Platform,
    limits: ArchiveLimits,
) -> Result<Built, BinaryError> {
    let open = || open().map_err(ArchiveError::Io);
    let built = if name.extension == "zip" {
        read_zip(&mut open()?, Some(name), limits)?.archive.built
    } else {
        let package_archive = archive::read(open()?, SourceFileName::parse(name.name).ok(), limits)?;
        read_info(open()?, &package_archive, limits)?;
        package_archive.built
    };
    let built = built.ok_or(BinaryError::Source)?;
    BuiltPlatform::parse(&built)?.check_platform(platform)?;
    Ok(built)
}

/// Number of bytes of a library that identify its platform: the PE header of Windows follows a short DOS program.
const HEAD_LEN: usize = 1024;

/// Returns whether a path names a library, such as `libs/pkg.so` or `libs/x64/pkg.dll`. The 32-bit `libs/i386` in
/// Windows binaries before R 4.2 is not checked.
fn is_library(inner_path: &str) -> bool {
    inner_path.starts_with("libs/")
        && !inner_path.starts_with("libs/i386/")
        && [".so", ".dylib", ".dll"].iter().any(|end| inner_path.ends_with(end))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltPlatform {
    pub r: RMinor,
    pub system: TargetSystem,
    /// The architecture in the triplet; `None` without a triplet.
    pub arch: Option<Arch>,
    /// The platform triplet, such as `x86_64-pc-linux-gnu`; empty for a package without compiled code.
    triplet: String,
}

impl BuiltPlatform {
    pub fn parse(built: &Built) -> Result<BuiltPlatform, BinaryError> {
        let excerpt = |text: &str| text.chars().take(80).collect::<String>();
        let r =
            RVersion::parse(built.r.as_bytes()).ok_or_else(|| BinaryError::BadBuilt(excerpt(&built.r)))?;
        let triplet = built.platform.as_str();
        let system = match (built.os_type.as_str(), triplet) {
            ("windows", _) => TargetSystem::Windows,
            ("unix", "") => TargetSystem::Unix,
            ("unix", triplet) if triplet.contains("-darwin") => TargetSystem::MacOs,
            ("unix", triplet) if triplet.contains("-linux") => TargetSystem::Linux,
            (os_type, triplet) => {
                return Err(BinaryError::BadSystem(excerpt(&format!("{triplet}; {os_type}"))));
            }
        };
        let arch = match triplet {
            "" => None,
            triplet => {
                let arch_name = triplet.split('-').next().unwrap_or_default();
                Some(Arch::of_spelling(arch_name).ok_or_else(|| BinaryError::BadArch(excerpt(triplet)))?)
            }
        };
        Ok(BuiltPlatform {
            r: RMinor { major: r.major, minor: r.minor },
            system,
            arch,
            triplet: triplet.to_owned(),
        })
    }

    pub fn check_platform(&self, requested: &Platform) -> Result<(), BinaryError> {
        let is_match = self.r == requested.r
            && self.system.runs_on(&requested.target)
            && self.arch.is_none_or(|arch| arch == requested.arch);
        if is_match {
            return Ok(());
        }
        let arch = self.arch.map_or_else(String::new, |arch| format!(" ({arch})"));
        Err(BinaryError::OtherPlatform { r: self.r, system: self.system, arch, requested: requested.clone() })
    }

    /// Returns the architecture if the libraries and DESCRIPTION agree on it.
    fn check_arch(&self, libraries: &[(String, LibraryPlatform)]) -> Result<Option<Arch>, BinaryError> {
        for (path, library) in libraries {
            let is_match = match library {
                LibraryPlatform::Supported(system, arch) => {
                    *system == self.system && Some(*arch) == self.arch
                }
                LibraryPlatform::Universal => self.system == TargetSystem::MacOs,
                LibraryPlatform::Unsupported(_) => false,
            };
            if !is_match {
                let platform = match library {
                    LibraryPlatform::Supported(system, arch) => format!("{system} on {arch}"),
                    LibraryPlatform::Universal => "macOS".to_owned(),
                    LibraryPlatform::Unsupported(description) => (*description).to_owned(),
                };
                let built = match self.triplet.as_str() {
                    "" => "has no compiled code".to_owned(),
                    triplet => format!("is built for '{triplet}'"),
                };
                return Err(BinaryError::Library { path: path.chars().take(200).collect(), platform, built });
            }
        }
        Ok(self.arch)
    }
}

/// Reads the platform from the first bytes of a library: ELF, Mach-O, or Portable Executable.
fn library_platform(head: &[u8]) -> LibraryPlatform {
    let u16_at = |offset: usize| head.get(offset..offset + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let u32_at =
        |offset: usize| head.get(offset..offset + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    const UNSUPPORTED: &str = "an architecture that is not supported";
    match head {
        [0x7f, b'E', b'L', b'F', 2, 1, ..] => match u16_at(18) {
            Some(62) => LibraryPlatform::Supported(TargetSystem::Linux, Arch::X86_64),
            Some(183) => LibraryPlatform::Supported(TargetSystem::Linux, Arch::Arm64),
            Some(_) | None => LibraryPlatform::Unsupported(UNSUPPORTED),
        },
        [0x7f, b'E', b'L', b'F', ..] => LibraryPlatform::Unsupported(UNSUPPORTED),
        [0xcf, 0xfa, 0xed, 0xfe, ..] => match u32_at(4) {
            Some(0x0100_0007) => LibraryPlatform::Supported(TargetSystem::MacOs, Arch::X86_64),
            Some(0x0100_000c) => LibraryPlatform::Supported(TargetSystem::MacOs, Arch::Arm64),
            Some(_) | None => LibraryPlatform::Unsupported(UNSUPPORTED),
        },
        [0xca, 0xfe, 0xba, 0xbe, ..] => LibraryPlatform::Universal,
        [b'M', b'Z', ..] => {
            let offset = u32_at(0x3c).and_then(|offset| usize::try_from(offset).ok());
            let header_offset = offset
                .filter(|offset| *offset < HEAD_LEN && head.get(*offset..offset + 4) == Some(b"PE\0\0"));
            match header_offset.and_then(|offset| u16_at(offset + 4)) {
                Some(0x8664) => LibraryPlatform::Supported(TargetSystem::Windows, Arch::X86_64),
                Some(0xaa64) => LibraryPlatform::Supported(TargetSystem::Windows, Arch::Arm64),
                Some(_) | None => LibraryPlatform::Unsupported(UNSUPPORTED),
            }
        }
        _ => LibraryPlatform::Unsupported("an unknown system"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u16) -> Vec<u8> {
        let mut head = vec![0x7f, b'E', b'L', b'F', 2, 1];
        head.resize(18, 0);
        head.extend(machine.to_le_bytes());
        head.resize(64, 0);
        head
    }

    #[test]
    fn libraries_have_a_system_and_an_architecture() {
        assert_eq!(library_platform(&elf(62)), LibraryPlatform::Supported(TargetSystem::Linux, Arch::X86_64));
        assert_eq!(library_platform(&elf(183)), LibraryPlatform::Supported(TargetSystem::Linux, Arch::Arm64));
        assert!(matches!(library_platform(&elf(21)), LibraryPlatform::Unsupported(_)));
        assert!(matches!(library_platform(b"\x7fELF\x01\x01"), LibraryPlatform::Unsupported(_)), "32 bits");
        let macho = |cpu: u32| [0xfeed_facf_u32.to_le_bytes(), cpu.to_le_bytes()].concat();
        assert_eq!(
            library_platform(&macho(0x0100_000c)),
            LibraryPlatform::Supported(TargetSystem::MacOs, Arch::Arm64)
        );
        let mut pe = b"MZ".to_vec();
        pe.resize(0x3c, 0);
        pe.extend(0x40_u32.to_le_bytes());
        pe.extend(b"PE\0\0\x64\x86");
        assert_eq!(library_platform(&pe), LibraryPlatform::Supported(TargetSystem::Windows, Arch::X86_64));
        for head in [&b""[..], b"MZ", b"\x7fELF\x02\x01", b"MZ\xff\xff", &[0xcf, 0xfa, 0xed, 0xfe]] {
            assert!(matches!(library_platform(head), LibraryPlatform::Unsupported(_)), "{head:?}");
        }
    }
}
