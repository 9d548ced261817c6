//! RDS, R's serialised objects: the reader and writer of the few shapes a repository publishes (a character matrix
//! or data frame of packages, and the `Meta` tables). Format: "R Internals", section Serialization Formats.
//!
//! Own code instead of the crate rd-rds 0.5, after reading its source: that one walks over environments and the code inside
//! them, takes no ALTREP forms, ignores bytes after the object, and holds the inflated stream and an `Arc` for
//! every string at once. This reader pulls from the decompressor, builds data only, and keeps one buffer per vector.

mod altrep;
pub mod archive_meta;
pub mod container;
mod input;
pub mod item;
pub mod matrix;
pub mod packages;
pub mod read;
pub mod stamp;
pub mod write;

/// How much a reader may take from a file it does not trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the stream after decompression.
    pub stream: u64,
    /// Bytes held in memory at one time for what was read.
    pub memory: u64,
}

impl Limits {
    /// For `PACKAGES.rds`: twenty times a full CRAN.
    pub const INDEX: Limits = Limits { stream: 64 << 20, memory: 96 << 20 };
    /// For `Meta/archive.rds`, `Meta/current.rds` and whole package databases.
    pub const META: Limits = Limits { stream: 512 << 20, memory: 256 << 20 };
}

/// Why an RDS file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RdsError {
    /// The first bytes belong to no form of RDS; an HTML error page ends here.
    #[error("not an RDS file (it begins with {0:02x?}); the mirror may have answered with an error page")]
    NotRds(Vec<u8>),
    /// A serialisation other than XDR.
    #[error("an RDS file in {0} form is not read; write it with saveRDS(ascii = FALSE)")]
    Form(&'static str),
    /// A format version other than 2 and 3.
    #[error("RDS format version {0} is not known; write the file with saveRDS(version = 2)")]
    Version(i32),
    /// The file ends too early.
    #[error("the RDS file ends too early, at byte {offset} of the stream; fetch it again")]
    Truncated {
        /// Position in the decompressed stream.
        offset: u64,
    },
    /// The decompressor found damage.
    #[error("the RDS file is damaged at byte {offset} of the stream; fetch it again")]
    Damaged {
        /// Position in the decompressed stream.
        offset: u64,
        /// What the decompressor or the source said.
        source: std::io::Error,
    },
    /// More bytes than [`Limits::stream`].
    #[error("the RDS file inflates to more than {0} bytes")]
    TooLong(u64),
    /// More memory than [`Limits::memory`].
    #[error("the RDS file describes an object of more than {0} bytes")]
    TooLarge(u64),
    /// Code, environments, pointers: nothing a data file needs (compare CVE-2024-27322).
    #[error("the RDS file holds {what} (type {code}, byte {offset}), which a data file must not")]
    Refused {
        /// The R type.
        what: &'static str,
        /// Its number in the stream.
        code: u8,
        /// Position in the decompressed stream.
        offset: u64,
    },
    /// A stream that breaks the format.
    #[error("the RDS file is malformed at byte {offset} of the stream: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Position in the decompressed stream.
        offset: u64,
    },
    /// A sound object that is not the table asked for.
    #[error("the RDS file does not hold {expected}: {found}")]
    Shape {
        /// The table asked for.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}
