//! System requirements: from the `SystemRequirements` field of a package to packages of an operating system, by an
//! open rule base that is fetched while the server runs (`docs/admin/system-requirements.md`).

pub mod base;
pub mod matching;
pub mod system;

pub use base::{Action, BadBase, Base};
pub use matching::{Need, Rules};
pub use system::{Candidate, System};
