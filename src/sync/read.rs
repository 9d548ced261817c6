//! From the bytes of a mirror's files to what they declare, and whether that can be believed.

use std::borrow::Cow;

use super::fetch::File;
use super::known::Known;
use super::plan::{Declared, Loss, lost_archives, lost_packages};
use crate::r::packages::{self, IndexRecord};
use crate::r::rds::archive_meta::{MetaRow, read_archive_meta, read_current_meta};
use crate::r::rds::packages::read_packages_matrix;
use crate::r::rds::{Limits, RdsError};

/// Largest index, decompressed: twenty times a full CRAN.
const TEXT: u64 = 128 << 20;

/// What about a file that lost a fifth of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// A half-written mirror looks like that.
    Suspicious,
    /// An administrator saw the refusal and asks again, and the mirror still has the same bytes.
    Confirmed,
}

/// The index as text, from whichever of its forms.
pub(super) fn text<'a>(path: &str, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    if !path.ends_with(".rds") {
        return packages::text(bytes, TEXT).map_err(|e| e.to_string());
    }
    let table = read_packages_matrix(bytes, Limits::INDEX).map_err(|e| e.to_string())?;
    let mut text = Vec::new();
    for record in 0..table.len() {
        table.write_stanza(record, &mut text);
        text.push(b'\n');
    }
    Ok(Cow::Owned(text))
}

/// The records of an index. Single bad ones are passed over; an index of mostly bad ones is refused.
pub(super) fn records<'a>(
    text: &'a [u8],
    warnings: &mut Vec<String>,
) -> Result<Vec<IndexRecord<'a>>, String> {
    let mut good = Vec::new();
    let (mut bad, mut first_bad) = (0_usize, None);
    for record in packages::records(text) {
        match record {
            Ok(record) => good.push(record),
            Err(error @ packages::IndexError::Dcf(_)) => return Err(error.to_string()),
            Err(error) => {
                bad += 1;
                first_bad.get_or_insert(error);
            }
        }
    }
    if let Some(first) = first_bad {
        if bad > good.len() {
            return Err(format!("{bad} of {} records cannot be used: {first}", bad + good.len()));
        }
        warnings.push(format!("{bad} records of the index are passed over: {first}"));
    }
    Ok(good)
}

type Rows = Vec<MetaRow<String>>;

/// A `Meta/` table. One that cannot be read is as good as none: dates are missed, nothing is lost.
fn table(
    file: Option<&File>,
    read: fn(&[u8]) -> Result<Rows, RdsError>,
    warnings: &mut Vec<String>,
) -> Option<Rows> {
    let file = file?;
    match read(&file.bytes) {
        Ok(rows) => Some(rows),
        Err(error) => {
            warnings.push(format!("going on without {}: {error}", file.path));
            None
        }
    }
}

/// `Meta/current.rds`.
pub(super) fn current(file: Option<&File>, warnings: &mut Vec<String>) -> Option<Rows> {
    table(file, |bytes| read_current_meta(bytes, Limits::META), warnings)
}

/// `Meta/archive.rds`.
pub(super) fn archive(file: Option<&File>, warnings: &mut Vec<String>) -> Option<Rows> {
    table(file, |bytes| read_archive_meta(bytes, Limits::META), warnings)
}

/// A declaration that lost a fifth or more of what it had.
#[derive(Debug)]
pub(super) struct Shrunk(pub(super) String);

/// What to say of a declaration that lost too much; `command` is what syncs it.
pub(super) fn shrunk(Loss { before, lost }: Loss, what: &str, command: &str) -> String {
    format!(
        "{lost} of {before} packages are no longer in {what}, which is what a half-written mirror looks like; \
         nothing was changed. If it is right, run `{command}` by hand: it is accepted as long as the mirror \
         still has the same files"
    )
}

/// Refuses a declaration that lost too much, unless that was confirmed.
pub(super) fn guard(
    known: &Known,
    declared: &Declared<'_>,
    trust: Trust,
    command: &str,
) -> Result<(), Shrunk> {
    if trust == Trust::Confirmed {
        return Ok(());
    }
    let refuse = |loss: Loss, what: &str| Err(Shrunk(shrunk(loss, what, command)));
    let packages = lost_packages(known, &declared.listed);
    // Of a few packages too: nobody withdraws all of them.
    if packages.is_suspicious() || (declared.listed.is_empty() && packages.lost > 0) {
        return refuse(packages, "the index");
    }
    match declared.archive.as_deref().map(|rows| lost_archives(known, rows)) {
        Some(archives) if archives.is_suspicious() => refuse(archives, "Meta/archive.rds"),
        Some(_) | None => Ok(()),
    }
}
