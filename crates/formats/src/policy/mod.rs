//! Block rules: criteria, order, and the decision about the versions of a package. Pure: callers pass the facts.

mod decide;
mod name_guard;
mod rule;
mod rule_index;
mod rule_set;
mod withheld;

pub use decide::{Clock, PackageFacts, ReleaseFacts, Verdict};
pub use decide::{MAX_CLAIM_LEAD, effective_time};
pub use name_guard::{NameGuard, NameGuards, NamePattern, comparison_key};
pub use rule::{
    BadRule, Criteria, MAX_MIN_AGE, RangeOperator, Rule, VersionRange, criteria_text, read_criteria,
};
pub use rule_index::{RuleIndex, RuleIndexes, RuleScope};
pub use rule_set::RuleSet;
pub use withheld::{Withheld, encode as encode_withheld};
