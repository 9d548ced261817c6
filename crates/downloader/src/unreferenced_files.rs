//! Removes files of killed runs that no head names: segments, READMEs, and package files replaced upstream since.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::destination::{self, Destination};
use super::error::OfflineError;
use super::journal::Journal;
use base::model::digest::Sha256;
use formats::bundle::{Product, ProductState, layout};
use upstream::origin::bundle::VerifiedHead;

/// Filter of the files to remove after the next head is written. Files older than the unfinished download are kept:
/// they may be from a bundle that was copied into the directory incompletely.
pub(super) struct UnreferencedFiles {
    /// Start of the unfinished download.
    start_time: SystemTime,
    /// Package files of the previous head.
    previous_files: HashSet<Sha256>,
}

impl UnreferencedFiles {
    /// Creates the filter for a download that began at `start_time`, into a bundle with the state `previous_state`.
    pub(super) fn new(start_time: SystemTime, previous_state: &ProductState) -> UnreferencedFiles {
        let previous_files = previous_state.releases().map(|(_, release)| release.object.sha256).collect();
        UnreferencedFiles { start_time, previous_files }
    }

    /// Removes files that neither the head nor the journal names.
    pub(super) fn remove(
        &self,
        destination: &Destination,
        product: &Product,
        head: &VerifiedHead,
        journal: &Journal,
    ) -> Result<(), OfflineError> {
        let segments = head.since(0);
        let readmes = segments.iter().filter_map(|segment| segment.readmes.as_ref());
        let referenced_paths: HashSet<&str> = segments
            .iter()
            .map(|segment| &segment.file)
            .chain(readmes)
            .map(|file| file.path.as_str())
            .collect();
        for folder in [layout::SEGMENTS, layout::READMES] {
            for name in destination::names(&destination.path(&product.path(folder)))? {
                let file = format!("{folder}/{name}");
                if !referenced_paths.contains(file.as_str()) {
                    self.remove_file(&destination.path(&product.path(&file)))?;
                }
            }
        }
        let journal_digests: HashSet<Sha256> =
            journal.entries.iter().map(|(release, _)| release.obj.sha256).collect();
        for name in destination.objects(&product.objects_dir())?.into_keys() {
            let Some((digest, extension)) = name.split_once('.') else { continue };
            let Ok(digest) = digest.parse::<Sha256>() else { continue };
            if !self.previous_files.contains(&digest) && !journal_digests.contains(&digest) {
                self.remove_file(&destination.path(&product.object_path(digest, extension)))?;
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<(), OfflineError> {
        let to_error = |e| OfflineError::destination("remove", path, e);
        let metadata = path.symlink_metadata().map_err(to_error)?;
        // Uses the time of the inode's change: the modification time of a package file is the time of its publication.
        let (seconds, nanos) = (u64::try_from(metadata.ctime()), u32::try_from(metadata.ctime_nsec()));
        let (Ok(seconds), Ok(nanos)) = (seconds, nanos) else { return Ok(()) };
        let change_time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        if metadata.is_file() && change_time >= self.start_time {
            std::fs::remove_file(path).map_err(to_error)?;
        }
        Ok(())
    }
}
