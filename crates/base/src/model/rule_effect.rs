//! The effect of a block rule.

use crate::words;

words! {
/// The effect of a block rule on matching releases. Rules of the same priority are evaluated in the order of the
/// variants, so that a warning does not cancel a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleEffect {
    /// The release is allowed: an exception.
    Allow = "allow",
    /// The release is not available to clients.
    Block = "block",
    /// The release remains available, and clients receive the reason as a warning.
    Warn = "warn",
}
else "effect of a rule"
}

impl RuleEffect {
    /// Returns the effect of a rule with these flags. An exception takes precedence over a warning.
    pub fn of_flags(exception: bool, warn: bool) -> RuleEffect {
        match (exception, warn) {
            (true, _) => RuleEffect::Allow,
            (false, true) => RuleEffect::Warn,
            (false, false) => RuleEffect::Block,
        }
    }
}
