//! The operations on stored objects, on the packages of CRAN, and on regions of the server log.

use utoipa::openapi::path::HttpMethod;

use super::Row;

/// The operations.
pub(super) const TABLE: &[Row] = &[
    (
        HttpMethod::Get,
        "/log/regions",
        "List the regions whose debug events can be written to the server log; served in every mode",
        None,
        Some("[DebugRegion]"),
    ),
    (
        HttpMethod::Put,
        "/log/regions",
        "Start or stop writing the debug events of regions to the server log, until the next start or reload; served in every mode",
        Some("SetDebugRegions"),
        Some("[DebugRegion]"),
    ),
    (
        HttpMethod::Post,
        "/clear",
        "Remove all packages of CRAN from its newest state; earlier snapshots still serve them",
        Some("ClearSource"),
        Some("Job"),
    ),
    (
        HttpMethod::Get,
        "/storage",
        "Show storage classes: owner, trash, damaged objects, and pending sweep",
        None,
        Some("Storage"),
    ),
    (
        HttpMethod::Post,
        "/storage/adopt",
        "Make this database the owner of storage classes",
        Some("StorageSelection"),
        Some("AdoptedStorage"),
    ),
    (
        HttpMethod::Post,
        "/storage/sweep",
        "Sweep storage now; with confirmation also classes whose sweep is pending",
        Some("SweepStorage"),
        Some("Job"),
    ),
    (
        HttpMethod::Post,
        "/storage/restore",
        "Restore removed objects from the trash",
        Some("StorageSelection"),
        Some("Job"),
    ),
    (
        HttpMethod::Post,
        "/evict",
        "Remove stored files that are fetched again on request; attaches to a running eviction of the same files",
        Some("StartEviction"),
        Some("Job"),
    ),
    (
        HttpMethod::Get,
        "/evict/{job}",
        "Show the result of the eviction that ran as this job; the last eight results are kept",
        None,
        Some("Eviction"),
    ),
    (
        HttpMethod::Post,
        "/prefetch",
        "Store the files of PyPI that a requirements file or a lock file names; attaches to a running job with the same request",
        Some("StartPrefetch"),
        Some("Job"),
    ),
    (
        HttpMethod::Get,
        "/prefetch/{job}",
        "Show the result of the job that stored files of PyPI; the last eight results are kept",
        None,
        Some("Prefetch"),
    ),
    (
        HttpMethod::Post,
        "/scrub",
        "Verify stored objects against the database, or the consistency of the database; attaches to a running scrub",
        Some("StartScrub"),
        Some("Job"),
    ),
    (
        HttpMethod::Get,
        "/scrub/{job}",
        "Show the result of the scrub that ran as this job; the last eight results are kept",
        None,
        Some("Scrub"),
    ),
];
