//! The list of the files of a backup: a line for each, with its directory in storage, its digest and its size.

use std::fmt::Write;

use super::error::BackupError;
use super::folder::{Folder, list_path};
use super::manifest::Manifest;
use base::model::digest::Sha256;
use store::storage::Key;

/// Maximum size of a list, in bytes: about ten million files.
const MAX_LIST_SIZE: u64 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredObject {
    pub(super) key: Key,
    /// The size in bytes.
    pub(super) size: u64,
}

pub(super) fn format(objects: &[StoredObject]) -> String {
    let mut text = String::new();
    for StoredObject { key, size } in objects {
        let _ = writeln!(text, "{} {} {size}", key.directory(), key.digest());
    }
    text
}

pub(super) fn read(folder: &Folder, manifest: &Manifest) -> Result<Vec<StoredObject>, BackupError> {
    let path = list_path(manifest.objects.sha256);
    let too_large = || folder.damaged(&path, "is larger than any list of files");
    if manifest.objects.size > MAX_LIST_SIZE {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    folder.read_verified(&path, &manifest.objects, &mut |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })?;
    let text = String::from_utf8(bytes).map_err(|_| folder.damaged(&path, "is not UTF-8"))?;
    let objects = text.lines().zip(1..).map(|(line, number)| {
        parse(line).ok_or_else(|| {
            let excerpt: String = line.chars().take(100).collect();
            folder.damaged(&path, format!("line {number} names no file: {excerpt:?}"))
        })
    });
    let objects = objects.collect::<Result<Vec<_>, _>>()?;
    let bytes = objects.iter().fold(0_u64, |sum, object| sum.saturating_add(object.size));
    if (objects.len() as u64, bytes) != (manifest.object_count, manifest.object_bytes) {
        return Err(folder.damaged(&path, "has a different number or size of files than its manifest"));
    }
    Ok(objects)
}

fn parse(line: &str) -> Option<StoredObject> {
    let mut words = line.split(' ');
    let (directory, digest, size) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    let digest: Sha256 = digest.parse().ok()?;
    Some(StoredObject { key: Key::in_directory(directory, digest)?, size: size.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::kind::StorageClass;

    #[test]
    fn a_list_is_read_back_and_other_lines_are_refused() {
        let object = StoredObject { key: Key::Package(StorageClass::Cran, Sha256([0xab; 32])), size: 7 };
        let text = format(&[object]);
        assert_eq!(parse(text.trim_end()), Some(object));
        let digest = "ab".repeat(32);
        for bad in [
            String::new(),
            format!("../etc {digest} 7"),
            format!("cran ../{} 7", &digest[3..]),
            format!("cran {digest} -7"),
            format!("cran {digest} 7 8"),
            format!("cran  {digest} 7"),
            format!("cran {digest}"),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }
}
