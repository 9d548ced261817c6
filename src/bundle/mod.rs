//! The bundle: a directory of package files and what is known of them, for servers without internet. Its layout, its
//! records and how they are read and written; `docs/bundle.md` is the specification.

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

/// Why something is not what the specification says. Callers add the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Not the bytes that were written: cut short, changed, or another file's.
    #[error("{0}")]
    Damaged(String),
    /// Written for programs that come later than this one.
    #[error("{0}")]
    Newer(String),
}

impl Broken {
    pub(crate) fn damaged(what: impl Into<String>) -> Broken {
        Broken::Damaged(what.into())
    }
}
