//! The bundle: a directory of package files and their metadata, for servers without internet. Defines its layout and
//! records, and reads and writes them. The specification is `docs/bundle.md`.

pub mod head;
pub mod layout;
pub mod note;
pub mod project_record;
pub mod project_state;
pub mod record;
pub mod segment;
pub mod self_digest;
pub mod shared;
pub mod state;
mod text;

pub use head::{CompressedFile, EarlierHead, FilesRule, Head, IncrementalBase, ProductOrigin, SegmentRef};
pub use layout::Product;
pub use project_record::ProjectRecord;
pub use project_state::BundledProjects;
pub use record::{Fields, Readme, Record, RecordObject, ReleaseRecord};
pub use state::ProductState;

/// A violation of the specification. Callers add the path of the file to the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("{0}")]
    Damaged(String),
    #[error("{0}")]
    Newer(String),
}

impl FormatError {
    pub(crate) fn damaged(problem: impl Into<String>) -> FormatError {
        FormatError::Damaged(problem.into())
    }
}
