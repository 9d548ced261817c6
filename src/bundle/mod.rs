//! The bundle: a directory of package files and their metadata, for servers without internet. Its layout and records,
//! and their readers and writers; `docs/bundle.md` is the specification.

pub mod head;
pub mod layout;
pub mod record;
pub mod seal;
pub mod segment;
pub mod shared;
pub mod state;
mod text;

pub use head::{Base, Earlier, Head, Packed, SegmentRef, Upstream};
pub use layout::Product;
pub use record::{Fields, Object, Readme, Record, Ver};
pub use state::State;

/// A violation of the specification. Callers add the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The bytes are truncated, changed, or those of another file.
    #[error("{0}")]
    Damaged(String),
    /// The format is newer than this program.
    #[error("{0}")]
    Newer(String),
}

impl Broken {
    pub(crate) fn damaged(what: impl Into<String>) -> Broken {
        Broken::Damaged(what.into())
    }
}
