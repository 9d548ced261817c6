//! The files of a release that are in storage, for the pages of their contents.

use super::detail::ProjectRelease;
use super::file::locate;
use crate::serve::files::package_files::{ArchiveKind, StoredArchive};
use crate::serve::{RepoError, Repositories};
use base::model::point::Point;
use formats::python::file_name::{FileKind, FileName};
use formats::python::layout::FilePart;

/// Maximum number of files of a release that are searched for in storage: each is a query.
const MAX_FILES: usize = 100;

/// A wheel or source distribution.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub name: String,
    /// Its size in bytes, if known.
    pub size: Option<u64>,
    /// The archive; `None` if it is not in storage, has another format, or is not served.
    pub archive: Option<StoredArchive>,
}

/// Returns the first 100 files of a release, in the order of the page of the project.
pub async fn of_release(
    repositories: &Repositories,
    point: &Point,
    release: &ProjectRelease,
) -> Result<Vec<Distribution>, RepoError> {
    let mut distributions = Vec::new();
    for file in release.files.iter().take(MAX_FILES) {
        let size = u64::try_from(file.size).ok();
        let name = FileName::parse(&file.name).ok();
        let kind = name.as_ref().and_then(|name| match name.kind() {
            FileKind::Wheel => Some(ArchiveKind::Wheel),
            FileKind::Sdist => file.name.ends_with(".tar.gz").then_some(ArchiveKind::Tar),
            _ => None,
        });
        let archive = match (name, kind) {
            (Some(name), Some(kind)) => {
                match locate(repositories, point, file.sha256, &name, FilePart::Distribution).await {
                    Ok(located) => located
                        .key()
                        .zip(located.size.or(size))
                        .map(|(key, size)| StoredArchive { key, size, kind }),
                    Err(RepoError::NotFound(_) | RepoError::Blocked(_) | RepoError::Guarded(_)) => None,
                    Err(error) => return Err(error),
                }
            }
            _ => None,
        };
        distributions.push(Distribution { name: file.name.clone(), size, archive });
    }
    Ok(distributions)
}
