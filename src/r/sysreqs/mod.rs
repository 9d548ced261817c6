//! System requirements: maps the `SystemRequirements` field of a package to packages of an operating system by means of
//! an open rule base that is fetched at run time (`docs/admin/system-requirements.md`).

pub mod base;
pub mod matching;
pub mod system;

pub use base::{Action, BadRuleBase, RuleBase};
pub use matching::{MatchedRule, Rules};
pub use system::{Candidate, OsRelease};
