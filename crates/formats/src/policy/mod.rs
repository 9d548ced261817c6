//! Block rules: their criteria, their order, and the decision which versions of a package they forbid. Pure: callers
//! pass the facts about the releases.

mod age;
mod decide;
mod name_guard;
mod rule;
mod rule_index;
mod rule_set;
mod stored;
mod withheld;

pub use age::{MAX_CLAIM_LEAD, effective_time};
pub use decide::{Clock, PackageFacts, ReleaseFacts, Verdict};
pub use name_guard::{NameGuard, NameGuards, NamePattern, comparison_key};
pub use rule::{BadRule, Criteria, MAX_MIN_AGE, Operator, Rule, VersionRange};
pub use rule_index::{RuleIndex, RuleIndexes, Scope};
pub use rule_set::RuleSet;
pub use stored::{criteria_text, read_criteria};
pub use withheld::{Withheld, encode as encode_withheld};
