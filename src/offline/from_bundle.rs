//! Reads the files of another bundle with their records unchanged.

use std::collections::HashMap;

use super::error::OfflineError;
use super::inventory::{Inventory, UpstreamFile};
use super::metadata::MetadataReader;
use super::replay::replay;
use crate::bundle::segment::ReadmeText;
use crate::bundle::{Product, ProductState, Record, ReleaseRecord};
use crate::model::digest::Sha256;
use crate::upstream::origin::bundle::Bundle;

/// Reads all files that a bundle has of a product.
pub(super) async fn declare(
    bundle: &Bundle,
    product: &Product,
    reader: &MetadataReader<'_>,
) -> Result<Inventory, OfflineError> {
    // Read first: if the head is replaced in between, the next run detects the change.
    reader.get(&product.head_path()).await?;
    let verified = bundle.head(product).await?;
    let (mut vers, mut events): (HashMap<_, Box<ReleaseRecord>>, _) = (HashMap::new(), Vec::new());
    let state = replay(bundle, product, &verified, |record| match record {
        Record::Release(ver) => {
            let key = (ver.folder.clone(), ver.name.clone(), ver.version.clone(), ver.obj.sha256);
            vers.entry(key).or_insert(ver);
        }
        Record::Index(indexed) => {
            let key = (indexed.folder, indexed.name, indexed.version, indexed.sha256);
            if let Some(ver) = vers.get_mut(&key) {
                ver.index = Some(indexed.index);
            }
        }
        Record::Archive(_) | Record::Restore(_) => events.push(record),
        Record::Remove(_) | Record::Snapshot(_) | Record::Unknown => {}
    });
    let state = state.await?;
    let mut vers: Vec<_> = vers.into_iter().collect();
    vers.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let rows = vers.into_iter().filter_map(|(_, ver)| row(*ver, &state, product));
    Ok(Inventory {
        files: rows.collect(),
        events,
        is_complete: true,
        has_dates: true,
        fingerprint: vec![verified.head.chain],
        serial: Some(verified.head.serial),
        validators: reader.validators(),
        warnings: Vec::new(),
    })
}

/// Returns the entry of a release, unless it has been removed.
fn row(ver: ReleaseRecord, state: &ProductState, product: &Product) -> Option<UpstreamFile> {
    let folder = ver.folder.as_deref().unwrap_or_default();
    let package = state.package(folder, &ver.name)?;
    let same = |known: &crate::bundle::state::Release| {
        known.version == ver.version && known.object.sha256 == ver.obj.sha256
    };
    if !package.releases.iter().any(same) {
        return None;
    }
    Some(UpstreamFile {
        folder: ver.folder.clone(),
        name: ver.name.clone(),
        version: ver.version.clone(),
        ext: ver.obj.ext.clone(),
        paths: vec![product.object_path(ver.obj.sha256, &ver.obj.ext)],
        size: Some(ver.obj.size),
        published: ver.published,
        md5: Some(ver.obj.md5),
        sha256: Some(ver.obj.sha256),
        is_listed: package.listed_release().is_some_and(same),
        index: ver.index.clone(),
        record: Some(Box::new(ver)),
    })
}

/// Returns the READMEs of a bundle by digest.
pub(super) async fn readmes(
    bundle: &Bundle,
    product: &Product,
) -> Result<HashMap<Sha256, String>, OfflineError> {
    let verified = bundle.head(product).await?;
    let mut texts = HashMap::new();
    for segment in verified.since(0) {
        let read = bundle.readmes(product, segment).await?;
        texts.extend(read.into_iter().map(|ReadmeText { sha256, text }| (sha256, text)));
    }
    Ok(texts)
}
