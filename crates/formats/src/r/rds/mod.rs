//! RDS, R's serialized objects: reads and writes the few types of objects that a repository publishes (a character
//! matrix or data frame of packages, and the `Meta` tables). Format: "R Internals", section "Serialization Formats".
//!
//! The crate rd-rds 0.5 is not used: it traverses environments and the code inside them, supports no ALTREP forms,
//! ignores bytes after the object, and has the whole inflated stream and an `Arc` for every string in memory. This
//! reader streams from the decompressor, accepts only data, and has one buffer per vector.

mod altrep;
pub mod archive_meta;
pub mod container;
mod input;
pub mod item;
pub mod matrix;
pub mod package_rds;
pub mod packages;
pub mod read;
pub mod write;

/// Resource limits for reading an untrusted file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RdsLimits {
    /// Maximum size of the decompressed stream, in bytes.
    pub stream: u64,
    /// Maximum memory for the result at any time, in bytes.
    pub memory: u64,
}

impl RdsLimits {
    /// Limits for `PACKAGES.rds`: twenty times the size of CRAN's.
    pub const INDEX: RdsLimits = RdsLimits { stream: 64 << 20, memory: 96 << 20 };
    /// Limits for `Meta/archive.rds`, `Meta/current.rds` and whole package databases.
    pub const META: RdsLimits = RdsLimits { stream: 512 << 20, memory: 256 << 20 };
}

#[derive(Debug, thiserror::Error)]
pub enum RdsError {
    /// The first bytes belong to no RDS format, for example because the file is an HTML error page.
    #[error("not an RDS file (it begins with {0:02x?}); the mirror may have answered with an error page")]
    NotRds(Vec<u8>),
    #[error("RDS files in {0} format are not supported; write the file with saveRDS(ascii = FALSE)")]
    Form(&'static str),
    #[error("RDS format version {0} is not supported; write the file with saveRDS(version = 2)")]
    Version(i32),
    #[error("the RDS file is truncated at byte {offset} of the stream; fetch it again")]
    Truncated {
        /// Position in the decompressed stream.
        offset: u64,
    },
    #[error("the RDS file is damaged at byte {offset} of the stream; fetch it again")]
    Damaged {
        /// Position in the decompressed stream.
        offset: u64,
        /// The error of the decompressor or the underlying reader.
        source: std::io::Error,
    },
    #[error("the RDS file inflates to more than {0} bytes")]
    TooLong(u64),
    #[error("the RDS file describes an object of more than {0} bytes")]
    TooLarge(u64),
    /// Code, environments or pointers, which no data file needs (compare CVE-2024-27322).
    #[error(
        "the RDS file contains {type_name} (type {code}, byte {offset}), which is not allowed in a data file"
    )]
    Refused {
        type_name: &'static str,
        /// The number of the type in the stream.
        code: u8,
        /// Position in the decompressed stream.
        offset: u64,
    },
    #[error("the RDS file is malformed at byte {offset} of the stream: {defect}")]
    Malformed {
        defect: &'static str,
        /// Position in the decompressed stream.
        offset: u64,
    },
    #[error("the RDS file does not contain {expected}: {found}")]
    Shape { expected: &'static str, found: String },
}
