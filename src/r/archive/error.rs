//! Why an archive is refused, one variant for each reason, each with the way out.

use std::io;

/// Why bytes are not a source package that can be taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes could not be read at all.
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
    /// A zip file.
    #[error(
        "this is a zip file (a Windows binary or a wheel), not a source package; build one with R CMD build"
    )]
    Zip,
    /// A zip file of more than one reading.
    #[error(
        "the zip file cannot be taken at byte {offset}: {what}; build the package again with R CMD INSTALL --build"
    )]
    ZipForm {
        /// In the file.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A tar file without compression.
    #[error("this is a tar file without compression; build the package with R CMD build")]
    PlainTar,
    /// None of the known formats.
    #[error("this is not a package archive (gzip, bzip2, xz or zstd); build the package with R CMD build")]
    NotAnArchive,
    /// The compressed stream, or the archive in it, ends too early.
    #[error("the archive is cut short; copy or download the file again")]
    Truncated,
    /// The compressed stream is damaged, or its checksum is wrong.
    #[error("the compressed data is damaged; copy or download the file again")]
    Damaged(#[source] io::Error),
    /// Bytes follow the compressed stream.
    #[error("other bytes follow the end of the compressed data; build the package again with R CMD build")]
    TrailingBytes,
    /// Not a tar archive inside, or one with a damaged header.
    #[error("the tar archive is damaged at byte {offset}: {what}; build the package again with R CMD build")]
    Tar {
        /// In the inflated stream.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// No member at all.
    #[error("the archive is empty; build the package with R CMD build")]
    Empty,
    /// Larger than allowed when inflated.
    #[error("the archive is larger than {limit} bytes when inflated")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// Inflates out of all proportion.
    #[error("the archive inflates to more than {ratio} times its size; it looks like a decompression bomb")]
    Bomb {
        /// The ratio allowed.
        ratio: u64,
    },
    /// More members than allowed.
    #[error("the archive has more than {limit} members (or their names are too long)")]
    TooManyMembers {
        /// How many are allowed.
        limit: u64,
    },
    /// A name or an extended header longer than any real one.
    #[error("the archive has a name or an extended header of {size} bytes; build it again with R CMD build")]
    LongName {
        /// In bytes.
        size: u64,
    },
    /// A name that is not UTF-8.
    #[error("'{0}' is not UTF-8; rename the file and build the package again")]
    NotUtf8(String),
    /// An empty name, or one with a zero byte.
    #[error("a member of the archive has no usable name ('{0}'); build the package again with R CMD build")]
    BadName(String),
    /// An absolute path.
    #[error("'{0}' is an absolute path; an archive may only write inside its own folder")]
    AbsolutePath(String),
    /// A path with `..`.
    #[error("'{0}' climbs out with '..'; an archive may only write inside its own folder")]
    ParentPath(String),
    /// A link that leaves the package's folder, or could.
    #[error("the link '{path}' to '{target}' leaves the package's folder; replace it by a copy of the file")]
    LinkOutside {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// A member below a symbolic link.
    #[error("'{0}' would be written through a symbolic link; replace the link by a folder")]
    ThroughLink(String),
    /// A device, FIFO, sparse file, or a kind nobody knows.
    #[error("'{path}' is neither file, folder nor link (tar type '{kind}'); remove it and build again")]
    Special {
        /// The member.
        path: String,
        /// Its type flag, escaped.
        kind: String,
    },
    /// More than one top-level folder.
    #[error(
        "the archive has two top-level entries, '{first}' and '{second}'; a package is exactly one folder"
    )]
    TwoFolders {
        /// The first.
        first: String,
        /// The other.
        second: String,
    },
    /// A file at the top level.
    #[error("'{0}' lies beside the package's folder; a package is exactly one folder")]
    FileAtTop(String),
    /// No `{folder}/DESCRIPTION`.
    #[error("there is no '{0}/DESCRIPTION'; this is no R package")]
    NoDescription(String),
    /// Two of them (also when they differ only in case).
    #[error("'{0}' is there more than once; build the package again with R CMD build")]
    TwoDescriptions(String),
    /// A link or a folder in its place.
    #[error("'{0}' is not a plain file; build the package again with R CMD build")]
    DescriptionNotAFile(String),
    /// Larger than allowed.
    #[error("'{path}' has {size} bytes, more than the {limit} allowed")]
    DescriptionTooLarge {
        /// The member.
        path: String,
        /// In bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// Not DCF.
    #[error("DESCRIPTION cannot be read")]
    Dcf(#[from] crate::r::dcf::DcfError),
    /// A field that must be there.
    #[error("DESCRIPTION has no '{0}' field")]
    NoField(&'static str),
    /// A package name R does not allow.
    #[error("DESCRIPTION: '{0}' is not a package name (letters, digits and dots, beginning with a letter)")]
    BadPackage(String),
    /// A version R does not allow.
    #[error("DESCRIPTION: '{0}' is not a version; write two or more numbers such as 1.0 or 0.9-2")]
    BadVersion(String),
    /// The folder has another name than the package.
    #[error("DESCRIPTION says package '{package}', but the folder is '{folder}'; they must be the same")]
    OtherFolder {
        /// From DESCRIPTION.
        package: String,
        /// The top directory.
        folder: String,
    },
    /// The file has another name than the package.
    #[error("DESCRIPTION says '{package}' {version}, but the file is called '{file}'; rename the file")]
    OtherFileName {
        /// From DESCRIPTION.
        package: String,
        /// From DESCRIPTION.
        version: String,
        /// The file's package and version.
        file: String,
    },
    /// A binary package where a source package is wanted.
    #[error(
        "this is a binary package (built for R {r} {platform}), not a source package; add the file R CMD build makes"
    )]
    Binary {
        /// The R version.
        r: String,
        /// The platform; may be empty.
        platform: String,
    },
}
