//! Package archives: the format is detected by content, the archive validated in one pass without writing to disk.
//!
//! Tar archives are not read by the crate `tar`, which is lenient. What two programs read differently, such as a name
//! whose prefix only some of them use, is refused here, and headers are kept byte by byte for copies. With
//! `Entries::raw` the crate could step from header to header; each field of a header would still be checked here.

mod decode;
mod error;
mod header;
pub mod links;
mod members;
pub(in crate::r) mod read;

pub use decode::{Compression, decoder};
pub use error::ArchiveError;
pub use members::{Member, MemberKind, Members};
pub use read::{
    PackageArchive, PackageIdentity, ReadExtent, ReadmeRank, read, read_description, read_identity,
    read_up_to, readme_rank,
};

/// Resource limits of an archive. Sizes are in bytes after decompression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Maximum size of the whole archive.
    pub inflated: u64,
    /// Maximum ratio of the inflated to the compressed size, checked above 64 MiB.
    pub ratio: u64,
    /// Maximum number of members, including directories.
    pub members: u64,
    /// Maximum size of DESCRIPTION; in a tar archive also of `Meta/package.rds`.
    pub description: u64,
}

impl ArchiveLimits {
    /// Returns the maximum size of MD5, and of any of the three metadata files in a zip file.
    pub(in crate::r) fn large_metadata(&self) -> u64 {
        self.description << 4
    }
}

impl Default for ArchiveLimits {
    /// Returns more than any package on CRAN or Bioconductor needs.
    fn default() -> ArchiveLimits {
        ArchiveLimits { inflated: 16 << 30, ratio: 250, members: 400_000, description: 1 << 20 }
    }
}
