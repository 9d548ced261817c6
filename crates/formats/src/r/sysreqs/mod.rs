//! System requirements: translates the `SystemRequirements` field of a package to packages of an operating system, by
//! an open rule base that is fetched while the server runs (`docs/admin/system-requirements.md`).

pub mod base;
pub mod matching;
pub mod system;

pub use base::{Action, BadRuleBase, RuleBase};
pub use matching::{MatchedRule, Rules};
pub use system::{Candidate, OsRelease};
