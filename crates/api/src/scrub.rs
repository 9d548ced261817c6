//! Verification and repair: scrubs of stored objects and of the database, and the times of transactions.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flag_values::{bytes, day, seconds};
use base::model::kind::StorageClass;

/// The storage classes with objects that rows refer to.
const CLASSES: [StorageClass; 6] = [
    StorageClass::Packages,
    StorageClass::Binaries,
    StorageClass::Cran,
    StorageClass::Bioconductor,
    StorageClass::Pypi,
    StorageClass::Persistent,
];

/// Accepts the names of these storage classes.
fn classes() -> PossibleValuesParser {
    PossibleValuesParser::new(CLASSES.map(StorageClass::as_str))
}

/// The scope of a scrub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScrubLevel {
    /// Existence and size of stored objects.
    Quick,
    /// SHA-256 of stored objects.
    #[default]
    Full,
    /// Consistency of the rows of the database.
    Database,
}

/// One of several equal parts of the stored objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubPart {
    /// The part, from 1.
    pub number: u16,
    /// The number of parts, at most 256.
    pub of: u16,
}

#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct StartScrub {
    /// The scope.
    #[serde(default)]
    #[arg(skip)]
    pub level: ScrubLevel,
    /// Names of storage classes; empty for all.
    #[serde(default)]
    #[arg(long = "class", value_delimiter = ',', value_parser = classes(), hide_possible_values = true, value_name = "CLASS", help = "Storage classes, comma separated or repeated (default: all)")]
    pub classes: Vec<String>,
    /// The part of the objects to read; absent for all objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub part: Option<ScrubPart>,
    /// Maximum duration in seconds; the next scrub continues where this one ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long = "max-duration", value_parser = seconds, value_name = "TIME", help = "Stop after this time; the next scrub continues from there: seconds, or 90s, 5m, 2h")]
    pub max_seconds: Option<u64>,
    /// Maximum average read rate, in bytes per second; unlimited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, value_parser = bytes, value_name = "BYTES", help = "Maximum rate of reading per second: bytes, or 500kB, 100MB, 1GB (default: not limited)")]
    pub rate: Option<u64>,
    /// Store bad objects again.
    #[serde(default)]
    #[arg(long, help = "Store bad objects again: packages from their mirror, READMEs from their packages")]
    pub repair: bool,
    /// A folder of backups with the bytes of bad objects, an absolute path or `s3://bucket/prefix`; requires `repair`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        requires = "repair",
        value_name = "FOLDER",
        help = "Restore bad objects from a backup that has them: a directory or s3://bucket/prefix that Server.BackupPaths allows"
    )]
    pub from: Option<String>,
}

/// A bad object, or a problem of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubFinding {
    /// `damaged`, `unreadable`, `missing`, `facts` (its content contradicts its rows) or `database`.
    pub fault: String,
    /// `repaired`; `generated`: it is generated again on request; `obtainable`: it is fetched again on request, or by a
    /// scrub that repairs; `lost`: it must be restored from a backup or published again.
    pub outcome: String,
    /// Description of the problem.
    pub detail: String,
    /// The object below the location of its class: `cran/3f/3fa9…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Its storage class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The name of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The name of its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The platform of a binary: `4.5-noble/x86_64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The user who first published the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_by: Option<String>,
    /// Time of its first publication, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at: Option<String>,
}

/// Response to `GET /scrub/{job}`: the result of a scrub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scrub {
    /// The result as a sentence.
    pub message: String,
    /// The scope.
    pub level: ScrubLevel,
    /// Whether all requested objects were compared; false if the maximum duration elapsed before.
    pub complete: bool,
    /// Whether the scrub continued an earlier one, whose objects were not read again.
    pub continued: bool,
    /// Number of compared objects.
    pub objects: u64,
    /// Number of bytes read.
    pub bytes: u64,
    /// Number of objects that the database does not refer to; the sweep removes them.
    pub unknown: u64,
    /// Number of bad objects that were repaired or are generated again.
    pub repaired: u64,
    /// Number of bad objects that were not repaired.
    pub bad: u64,
    /// Remarks on checks that were performed or omitted.
    pub notes: Vec<String>,
    /// The bad objects, at most 10,000.
    pub findings: Vec<ScrubFinding>,
}

/// `POST /repair/clock`.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
#[command(
    after_help = "Example: rspm repair clock --today=$(date -u +%F) --dry-run, if the output of `date` is correct"
)]
pub struct RepairClock {
    /// The current day in UTC, `YYYY-MM-DD`; the request is refused if the server's clock disagrees.
    #[arg(long, value_name = "DATE", value_parser = day, help = "Today's date in UTC; the command is refused if the server's clock has another date")]
    pub today: String,
    /// Only report what would be changed.
    #[serde(default)]
    #[arg(long, help = "Print what would change and change nothing")]
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepairedClock {
    /// The result as a sentence.
    pub message: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The transactions whose time was corrected, by id.
    pub transactions: Vec<CorrectedTransaction>,
}

/// A transaction with a new time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CorrectedTransaction {
    pub id: i64,
    /// Its previous time, RFC 3339.
    pub from: String,
    /// Its new time, RFC 3339.
    pub to: String,
}
