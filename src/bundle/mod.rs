//! The bundle: a directory of package files and their metadata, for servers without internet. Its layout and records,
//! and their readers and writers; `docs/bundle.md` is the specification.

pub mod head;
pub mod layout;
pub mod python_record;
pub mod python_state;
pub mod record;
pub mod seal;
pub mod segment;
pub mod shared;
pub mod state;
mod text;

pub use head::{CompressedFile, EarlierHead, FilesRule, Head, IncrementalBase, ProductOrigin, SegmentRef};
pub use layout::Product;
pub use python_record::PythonRecord;
pub use python_state::PythonState;
pub use record::{Fields, Object, Readme, Record, ReleaseRecord};
pub use state::ProductState;

/// A violation of the specification. Callers add the path of the file to the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes are truncated, changed, or those of a different file.
    #[error("{0}")]
    Damaged(String),
    /// The format is newer than this program.
    #[error("{0}")]
    Newer(String),
}

impl FormatError {
    pub(crate) fn damaged(problem: impl Into<String>) -> FormatError {
        FormatError::Damaged(problem.into())
    }
}
