//! Verifies every package file by reading it, on all processors; the problems of files.

use std::io;
use std::time::Instant;

use indicatif::{HumanBytes, HumanCount};

use super::destination::Destination;
use super::file::digest_of;
use super::workers;
use base::model::digest::Sha256;
use base::words;

/// Expected size and digest of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpectedFile {
    /// Name of the release, for messages.
    pub(super) label: String,
    pub(super) size: u64,
    pub(super) sha256: Sha256,
}

/// Reads all of these files; returns a summary and the problems.
pub(super) fn verify(
    destination: &Destination,
    files: Vec<(&String, &ExpectedFile)>,
) -> (String, Vec<(String, Problem, String)>) {
    let start = Instant::now();
    let findings = workers::parallel_map(&files, |(path, expected_file)| {
        verify_file(destination, path, expected_file).map(|(problem, text)| ((*path).clone(), problem, text))
    });
    let findings = findings.into_iter().flatten().collect();
    let bytes: u64 = files.iter().map(|(_, expected_file)| expected_file.size).sum();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an approximate rate to print"
    )]
    let rate = (bytes as f64 / start.elapsed().as_secs_f64().max(0.001)) as u64;
    let summary = format!(
        "read {} package files, {}, {}/s",
        HumanCount(files.len() as u64),
        HumanBytes(bytes),
        HumanBytes(rate)
    );
    (summary, findings)
}

fn verify_file(
    destination: &Destination,
    path: &str,
    expected_file: &ExpectedFile,
) -> Option<(Problem, String)> {
    let ExpectedFile { label, size, sha256 } = expected_file;
    let remedy = "copy it again, or remove it and run get again";
    let file = destination.path(path);
    if let Ok(metadata) = file.metadata()
        && metadata.len() != *size
    {
        return Some((
            Problem::Damaged,
            format!("the file of {label} has {} bytes instead of {size}; {remedy}", metadata.len()),
        ));
    }
    match digest_of(&file) {
        Ok(digest) if digest == *sha256 => None,
        Ok(_) => {
            Some((Problem::Damaged, format!("the file of {label} was changed: its sha256 differs; {remedy}")))
        }
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Some((Problem::Unreadable, format!("the file of {label} cannot be read by this user: {e}")))
        }
        Err(e) => Some((Problem::Damaged, format!("the file of {label} cannot be read: {e}; {remedy}"))),
    }
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(super) enum Problem {
        /// The contents of the file have changed.
        Damaged = "damaged",
        /// The file does not exist.
        Missing = "missing",
        /// The account that owns the bundle cannot read the file.
        Unreadable = "unreadable",
        /// Nothing in the bundle refers to the file.
        Extra = "extra",
    }
}

/// A file with a problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// Path relative to the bundle's directory.
    pub(super) file: String,
    pub(super) problem: Problem,
    pub(super) text: String,
}
