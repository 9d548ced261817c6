//! Unpacks fetched archives and compressed files within limits, and runs such work on blocking threads.

use std::io::Read;

use formats::r::archive::{ArchiveError, ArchiveLimits, MemberKind, Members};

/// Limits of unpacking, in bytes except for the number of files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnpackLimits {
    /// Size of all files together.
    pub(crate) total_size: u64,
    pub(crate) file_size: u64,
    pub(crate) file_count: u64,
}

/// Passes the files of a tar archive that `is_included` selects to `add_file`, with their paths.
pub(crate) fn tar(
    archive: &[u8],
    limits: UnpackLimits,
    is_included: impl Fn(&str) -> bool,
    mut add_file: impl FnMut(String, Vec<u8>),
) -> Result<(), ArchiveError> {
    let archive_limits =
        ArchiveLimits { inflated: limits.total_size, members: limits.file_count, ..ArchiveLimits::default() };
    let mut members = Members::new(archive, archive_limits)?;
    while let Some(member) = members.advance()? {
        let path = member.path()?;
        if member.kind == MemberKind::File && is_included(&path) {
            add_file(path, members.contents(&member, limits.file_size)?);
        }
    }
    members.finish()?;
    Ok(())
}

/// Decompresses a zstd file to at most `limit` bytes.
pub(crate) fn zstd(bytes: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let decoder = zstd::Decoder::new(bytes).map_err(|error| error.to_string())?;
    decoder.take(limit + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > limit {
        return Err(format!("it inflates to more than {limit} bytes"));
    }
    Ok(text)
}

pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string()).and_then(|result| result)
}
