//! State of the last successful run: if nothing has changed since then, the next run ends without downloading anything.
//! Only the downloader uses this file; a bundle is complete without it.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::destination::Destination;
use super::error::OfflineError;
use super::file::has_digest;
use super::metadata::FileValidators;
use formats::bundle::shared::{SharedFolder, SharedHead};
use formats::bundle::{CompressedFile, layout, self_digest};

/// File name, in the folder of a head.
pub(super) const FILE: &str = ".seen.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastRun {
    /// Version of the program: a different version may read more from the same files.
    program: String,
    /// The request and its upstream.
    request_key: String,
    /// SHA-256 of the head after the run.
    head: String,
    /// SHA-256 over the names and sizes of package files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objects: Option<String>,
    /// Validators of the upstream's files.
    pub(super) files: Vec<FileValidators>,
}

impl LastRun {
    /// Describes the current state: `head` are the bytes of the head, `objects` the package files by name with their
    /// sizes, `files` the validators of the upstream's files.
    pub(super) fn new(
        request_key: &str,
        head: &[u8],
        objects: Option<&HashMap<String, u64>>,
        files: Vec<FileValidators>,
    ) -> LastRun {
        LastRun {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            request_key: request_key.to_owned(),
            head: self_digest::digest(head).to_string(),
            objects: objects.map(objects_digest),
            files,
        }
    }

    /// Reads the state that the last run left in a folder.
    pub(super) fn read(destination: &Destination, folder: &str) -> Option<LastRun> {
        self_digest::parse(&std::fs::read(path(destination, folder)).ok()?).ok()
    }

    /// Reads the state of shared data; `None` unless the last run made the same request and all files are intact.
    pub(super) fn read_shared(
        destination: &Destination,
        shared: SharedFolder,
        request_key: &str,
    ) -> Option<LastRun> {
        let folder = shared.folder();
        let last_run = LastRun::read(destination, folder)?;
        let bytes = std::fs::read(destination.path(folder).join(layout::HEAD)).ok()?;
        let head = SharedHead::read(&bytes, shared).ok()?;
        let is_intact =
            |file: &CompressedFile| has_digest(&destination.path(folder).join(&file.path), file.sha256);
        let is_signed = destination.has_note(&format!("{folder}/{}", layout::HEAD), &bytes);
        let is_same = is_signed && last_run.matches(&LastRun::new(request_key, &bytes, None, Vec::new()));
        (is_same && head.files.values().all(is_intact)).then_some(last_run)
    }

    /// Records that the shared data equals upstream's; does nothing without validators.
    pub(super) fn save_shared(
        destination: &Destination,
        shared: SharedFolder,
        request_key: &str,
        files: Option<Vec<FileValidators>>,
    ) -> Result<(), OfflineError> {
        let Some(files) = files else { return Ok(()) };
        let _lock = destination.lock(shared.folder(), true)?;
        let head = destination.read(&format!("{}/{}", shared.folder(), layout::HEAD))?;
        LastRun::new(request_key, &head, None, files).save(destination, shared.folder())
    }

    /// Returns whether program, request, head and package files are the same.
    pub(super) fn matches(&self, current: &LastRun) -> bool {
        let clear_files = |last_run: &LastRun| LastRun { files: Vec::new(), ..last_run.clone() };
        clear_files(self) == clear_files(current)
    }

    /// Writes the state for the next run.
    pub(super) fn save(&self, destination: &Destination, folder: &str) -> Result<(), OfflineError> {
        destination.put_if_changed(&format!("{folder}/{FILE}"), &self_digest::serialize(self))
    }
}

fn path(destination: &Destination, folder: &str) -> PathBuf {
    destination.path(folder).join(FILE)
}

/// Returns the digest of a list of files.
fn objects_digest(objects: &HashMap<String, u64>) -> String {
    let mut files: Vec<_> = objects.iter().collect();
    files.sort_unstable();
    let mut lines = String::new();
    for (name, size) in files {
        lines.extend([name, " ", size.to_string().as_str(), "\n"]);
    }
    self_digest::digest(lines.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use upstream::Validators;

    #[test]
    fn another_program_request_head_or_file_does_not_match() {
        let dir = tempfile::tempdir().unwrap();
        let destination = Destination::create(dir.path()).unwrap();
        let validators = Validators { etag: Some("\"1\"".to_owned()), modified: None };
        let files = || {
            vec![
                FileValidators::new("PACKAGES", Some(&validators)).unwrap(),
                FileValidators::new("Meta", None).unwrap(),
            ]
        };
        let objects = HashMap::from([("a.tar.gz".to_owned(), 1), ("b.tar.gz".to_owned(), 2)]);
        let last_run = LastRun::new("all", b"head", Some(&objects), files());
        assert_eq!(LastRun::read(&destination, "v3/1"), None);
        last_run.save(&destination, "v3/1").unwrap();
        let copy = LastRun::read(&destination, "v3/1").unwrap();
        assert_eq!(copy, last_run);
        assert!(copy.matches(&LastRun::new("all", b"head", Some(&objects), Vec::new())));
        let objects_with_other_size = HashMap::from([("a.tar.gz".to_owned(), 1), ("b.tar.gz".to_owned(), 1)]);
        let one_object = HashMap::from([("a.tar.gz".to_owned(), 1)]);
        for other in [
            LastRun::new("some", b"head", Some(&objects), files()),
            LastRun::new("all", b"other", Some(&objects), files()),
            LastRun::new("all", b"head", Some(&objects_with_other_size), files()),
            LastRun::new("all", b"head", Some(&one_object), files()),
            LastRun::new("all", b"head", None, files()),
            LastRun { program: "0.0.0".to_owned(), ..last_run.clone() },
        ] {
            assert!(!copy.matches(&other), "{other:?}");
        }
        // A damaged file is treated as missing.
        std::fs::write(path(&destination, "v3/1"), "{}").unwrap();
        assert_eq!(LastRun::read(&destination, "v3/1"), None);
    }
}
