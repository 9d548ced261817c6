//! The reasons for which an archive is refused, with the remedy in each message.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
    #[error(
        "this is a zip file (a Windows binary or a wheel), not a source package; build one with R CMD build"
    )]
    Zip,
    /// A malformed zip file, or one that programs may interpret differently.
    #[error(
        "the zip file is not acceptable at byte {offset}: {defect}; build the package again with R CMD INSTALL --build"
    )]
    InvalidZip {
        /// The byte offset in the file.
        offset: u64,
        defect: &'static str,
    },
    #[error("this is a tar file without compression; build the package with R CMD build")]
    PlainTar,
    #[error("this is not a package archive (gzip, bzip2, xz or zstd); build the package with R CMD build")]
    NotAnArchive,
    #[error("the archive is truncated; copy or download the file again")]
    Truncated,
    #[error("the compressed data is damaged; copy or download the file again")]
    Damaged(#[source] io::Error),
    #[error("other bytes follow the end of the compressed data; build the package again with R CMD build")]
    TrailingBytes,
    /// The inflated bytes are not a tar archive, or a header of the archive is damaged.
    #[error(
        "the tar archive is damaged at byte {offset}: {defect}; build the package again with R CMD build"
    )]
    Tar {
        /// The byte offset in the inflated stream.
        offset: u64,
        defect: &'static str,
    },
    #[error("the archive is empty; build the package with R CMD build")]
    Empty,
    #[error("the archive is larger than {limit} bytes when inflated")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    #[error("the archive inflates to more than {ratio} times its size; it looks like a decompression bomb")]
    Bomb { ratio: u64 },
    #[error("the archive has more than {limit} members (or their names are too long)")]
    TooManyMembers { limit: u64 },
    #[error("the archive has a name or an extended header of {size} bytes; build it again with R CMD build")]
    LongName {
        /// The size in bytes.
        size: u64,
    },
    #[error("'{0}' is not UTF-8; rename the file and build the package again")]
    NotUtf8(String),
    #[error("a member of the archive has no usable name ('{0}'); build the package again with R CMD build")]
    BadName(String),
    /// A name with a prefix that only some programs read.
    #[error(
        "'{0}' has another path for some programs: its tar header has the field 'prefix', but not the format of POSIX \
         (ustar); build the package again with R CMD build"
    )]
    AmbiguousName(String),
    #[error("'{0}' is an absolute path; an archive may only write inside its own folder")]
    AbsolutePath(String),
    #[error("'{0}' contains '..'; an archive may only write inside its own folder")]
    ParentPath(String),
    #[error("the link '{path}' to '{target}' leaves the package's folder; replace it by a copy of the file")]
    LinkOutside { path: String, target: String },
    #[error("'{0}' would be written through a symbolic link; replace the link by a folder")]
    ThroughLink(String),
    #[error("'{path}' is neither file, folder nor link (tar type '{kind}'); remove it and build again")]
    Special {
        path: String,
        /// Type flag of the member, escaped.
        kind: String,
    },
    #[error(
        "the archive has two top-level entries, '{first}' and '{second}'; a package is exactly one folder"
    )]
    TwoFolders { first: String, second: String },
    #[error("'{0}' is outside the package's folder; a package is exactly one folder")]
    FileAtTop(String),
    #[error("there is no '{0}/DESCRIPTION'; this is not an R package")]
    NoDescription(String),
    #[error("the archive has '{0}' more than once; build the package again with R CMD build")]
    TwoDescriptions(String),
    #[error("'{0}' is not a plain file; build the package again with R CMD build")]
    DescriptionNotAFile(String),
    #[error("'{path}' has {size} bytes, more than the {limit} allowed")]
    MemberTooLarge {
        path: String,
        /// Size of the member in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    #[error("DESCRIPTION is malformed")]
    Dcf(#[from] crate::r::dcf::DcfError),
    #[error("DESCRIPTION has no '{0}' field")]
    NoField(&'static str),
    #[error(
        "DESCRIPTION: '{0}' is not a package name (2 to 255 ASCII letters, digits and dots, beginning with a letter and not ending with a dot)"
    )]
    BadPackage(String),
    #[error("DESCRIPTION: '{0}' is not a version; write two or more numbers such as 1.0 or 0.9-2")]
    BadVersion(String),
    #[error(transparent)]
    Refused(#[from] crate::r::description::check::Refusal),
    #[error(
        "'{0}' is metadata of macOS beside the package's folder; build the package with R CMD build, or set \
         COPYFILE_DISABLE=1 for tar and delete .DS_Store files"
    )]
    MacOsFile(String),
    #[error("DESCRIPTION has package '{package}', but the folder is '{folder}'; they must be the same")]
    OtherFolder { package: String, folder: String },
    #[error("DESCRIPTION has '{package}' {version}, but the file is named '{file}'; rename the file")]
    OtherFileName { package: String, version: String, file: String },
    #[error(
        "this is a binary package (built for R {r} {platform}), not a source package; add the file R CMD build makes"
    )]
    Binary {
        r: String,
        /// The platform; may be empty.
        platform: String,
    },
}
