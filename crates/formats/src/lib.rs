//! The formats of R, Python, bundles, advisories, block rules and transparency logs; pure.

/// Advisories about packages: records, version ranges, scores.
pub mod advisory;
/// The bundle, a directory that servers without internet access serve from: layout, heads, segments, records.
pub mod bundle;
/// What differs between languages in all rooms: one value for each language.
pub mod language;
/// Block rules: criteria, order, and the decision about the releases of a package.
pub mod policy;
/// Python's formats: names, versions, file names, metadata, requirements, the simple API, wheels and source archives.
pub mod python;
/// R's formats: DCF, DESCRIPTION, versions, `PACKAGES`, RDS, source archives, repository layout.
pub mod r;
/// The formats of a transparency log: Merkle tree, signed checkpoints, entries, proofs.
pub mod tlog;
