//! Advisories about packages in the Open Source Vulnerability format: parsing, matching with versions, scoring. No I/O.
//!
//! Terms: <https://ossf.github.io/osv-schema/>.

mod batch;
mod index;
mod range;
mod record;
mod yaml;

pub use batch::{BadBatch, Batch, Format, MAX_FILE_SIZE, SkippedAdvisory};
pub use index::{AdvisoryFeed, FeedState, Finding, Index, PackageAdvisories};
pub use range::{Range, RangeEvent, RangeEventKind};
pub use record::base_score;
pub use record::{Advisory, Affected, BadAdvisory, Package, Severity, is_id, parse_time};
