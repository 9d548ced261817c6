//! Reads the inventory of a bundle that is the source of a download, and replays the segments of a product in parallel into its
//! current state. The records of files are copied unchanged.

use std::collections::HashMap;

use futures_util::{Stream, StreamExt, stream};

use super::error::OfflineError;
use super::inventory::{Inventory, UpstreamFile};
use super::metadata::MetadataReader;
use super::workers::processors;
use base::model::digest::Sha256;
use formats::bundle::segment::ReadmeText;
use formats::bundle::{Product, ProductState, Record, ReleaseRecord, SegmentRef};
use upstream::origin::bundle::{Bundle, BundleError, VerifiedHead};

/// Reads the inventory of all files that a bundle has of a product.
pub(super) async fn read_inventory(
    bundle: &Bundle,
    product: &Product,
    reader: &MetadataReader<'_>,
) -> Result<Inventory, OfflineError> {
    // The validators are read first: if the head is replaced before the bundle is read, the next run detects it.
    reader.get(&product.head_path()).await?;
    let verified_head = bundle.head(product).await?;
    let (mut releases, mut events): (HashMap<_, Box<ReleaseRecord>>, _) = (HashMap::new(), Vec::new());
    let state = replay(bundle, product, &verified_head, |record| match record {
        Record::Release(release) => {
            let key =
                (release.folder.clone(), release.name.clone(), release.version.clone(), release.obj.sha256);
            releases.entry(key).or_insert(release);
        }
        Record::Index(update) => {
            let key = (update.folder, update.name, update.version, update.sha256);
            if let Some(release) = releases.get_mut(&key) {
                release.index = Some(update.index);
            }
        }
        Record::Archive(_) | Record::Restore(_) => events.push(record),
        Record::Remove(_) | Record::Snapshot(_) | Record::Unknown => {}
    });
    let state = state.await?;
    let mut releases: Vec<_> = releases.into_iter().collect();
    releases.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let files = releases.into_iter().filter_map(|(_, release)| upstream_file(*release, &state, product));
    Ok(Inventory {
        files: files.collect(),
        events,
        is_complete: true,
        has_dates: true,
        fingerprint: vec![verified_head.head.chain],
        serial: Some(verified_head.head.serial),
        validators: reader.validators(),
        warnings: Vec::new(),
    })
}

/// Returns the file of a release, unless the release has been removed.
fn upstream_file(release: ReleaseRecord, state: &ProductState, product: &Product) -> Option<UpstreamFile> {
    let folder = release.folder.as_deref().unwrap_or_default();
    let package = state.package(folder, &release.name)?;
    let is_same = |other: &formats::bundle::state::Release| {
        other.version == release.version && other.object.sha256 == release.obj.sha256
    };
    if !package.releases.iter().any(is_same) {
        return None;
    }
    Some(UpstreamFile {
        folder: release.folder.clone(),
        name: release.name.clone(),
        version: release.version.clone(),
        ext: release.obj.ext.clone(),
        paths: vec![product.object_path(release.obj.sha256, &release.obj.ext)],
        size: Some(release.obj.size),
        published: release.published,
        md5: Some(release.obj.md5),
        sha256: Some(release.obj.sha256),
        is_listed: package.listed_release().is_some_and(is_same),
        index: release.index.clone(),
        record: Some(Box::new(release)),
    })
}

/// Returns the READMEs of a bundle by digest.
pub(super) async fn readmes(
    bundle: &Bundle,
    product: &Product,
) -> Result<HashMap<Sha256, String>, OfflineError> {
    let verified_head = bundle.head(product).await?;
    let mut texts = HashMap::new();
    for segment in verified_head.since(0) {
        let readmes = bundle.readmes(product, segment).await?;
        texts.extend(readmes.into_iter().map(|ReadmeText { sha256, text }| (sha256, text)));
    }
    Ok(texts)
}

/// Reads the segments of a head and returns the resulting state; `visit` gets each record after the record was applied.
/// Fails if a segment is missing or damaged, or records contradict each other.
pub(super) async fn replay(
    bundle: &Bundle,
    product: &Product,
    verified_head: &VerifiedHead,
    mut visit: impl FnMut(Record),
) -> Result<ProductState, OfflineError> {
    let segments = verified_head.since(0);
    let mut stream = read_segments(bundle, product, segments);
    let mut state = ProductState::default();
    while let Some((segment, records)) = stream.next().await {
        let is_last = segments.last() == Some(segment);
        for record in records? {
            // Applying a snapshot record compares the whole list of packages, which is slow. Snapshot records of
            // earlier segments are skipped: the list of the last segment includes all earlier changes.
            let is_skipped =
                matches!(&record, Record::Snapshot(snapshot) if snapshot.listing.is_none() && !is_last);
            if !is_skipped {
                state.apply(&record).map_err(|reason| {
                    let address = bundle.address();
                    OfflineError::Refused(format!("{address}/{}: {reason}", product.path(&segment.file.path)))
                })?;
            }
            visit(record);
        }
    }
    Ok(state)
}

/// Returns a stream of segments with their records, in order.
fn read_segments<'a>(
    bundle: &'a Bundle,
    product: &'a Product,
    segments: &'a [SegmentRef],
) -> impl Stream<Item = (&'a SegmentRef, Result<Vec<Record>, BundleError>)> + Send + Unpin {
    let read_segment = move |segment| async move { (segment, bundle.segment(product, segment).await) };
    stream::iter(segments).map(read_segment).buffered(processors())
}
