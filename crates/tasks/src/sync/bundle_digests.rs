//! Sets digests from a bundle, which declares the digest of every file and addresses its files by digest.

use std::sync::Arc;

use super::SyncError;
use super::plan::Plan;
use base::model::change::Change;
use base::model::ids::SourceId;
use runtime::jobs::lease::Lease;
use runtime::publish::transaction::CHUNK;
use store::db::Db;
use store::db::file::{self, FetchedFacts, FileWithoutDigest};
use upstream::origin::mirror_view::{MirrorView, Object};

/// Sets the digests of the files that a plan introduces.
pub(super) fn set_in_plan(plan: &mut Plan, view: &MirrorView) {
    for change in &mut plan.changes {
        let Change::Introduce { release, .. } = change else { continue };
        for file in &mut release.files {
            if let Some(object) = view.file(&file.locator) {
                file.sha256 = Some(object.sha256);
                file.md5 = Some(object.md5);
            }
        }
    }
}

/// Sets the digests of existing releases, which came from a mirror or a back-fill. Returns their number.
pub(super) async fn set_in_releases(
    db: &Db,
    lease: &Lease,
    source: SourceId,
    view: &MirrorView,
) -> Result<usize, SyncError> {
    let files = db.read(move |c| file::files_without_digest(c, source)).await?;
    let facts: Vec<FetchedFacts> = files.iter().filter_map(|file| find_facts(file, view)).collect();
    for chunk in facts.chunks(CHUNK) {
        let chunk: Arc<[FetchedFacts]> = chunk.into();
        lease.bulk(db, move |c| file::update(c, &chunk)).await?;
    }
    Ok(facts.len())
}

/// Returns the digest and size of a file, from the object at one of its possible paths that has the expected size or
/// MD5.
fn find_facts(row: &FileWithoutDigest, view: &MirrorView) -> Option<FetchedFacts> {
    let FileWithoutDigest { file, package, name, locator, size, md5, state } = row;
    let archive_path = format!("Archive/{package}/{name}");
    let fits = |object: &&Object| {
        let size = size.map(|size| u64::try_from(size) == Ok(object.size));
        let md5 = md5.map(|md5| md5 == object.md5);
        size.or(md5).is_some() && size != Some(false) && md5 != Some(false)
    };
    let paths = [locator.as_str(), &archive_path, name];
    let object = paths.into_iter().filter_map(|path| view.file(path)).find(fits)?;
    let (sha256, size) = (Some(object.sha256), i64::try_from(object.size).ok());
    Some(FetchedFacts { file: *file, sha256, size, state: *state, built: None })
}
