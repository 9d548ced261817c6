//! Advisories about packages in the Open Source Vulnerability format: parsing, matching with versions, scoring. No I/O.
//!
//! Terms: <https://ossf.github.io/osv-schema/>.

mod batch;
mod index;
mod merge;
mod range;
mod record;
mod score;
mod version;
mod yaml;

pub use batch::{BadBatch, Batch, FILE, Format, LeftOut};
pub use index::{Finding, Index, OfPackage, Part, PartSeen};
pub use range::{Event, EventKind, Range};
pub use record::{Advisory, Affected, BadAdvisory, Package, Severity, instant, is_id};
pub use score::base_score;
pub use version::{Ecosystem, normalized};
