//! The advisories of a bundle: a file of JSON lines for each ecosystem, named by the head of the folder `vulns`.

use super::{Look, refused};
use crate::advisory::{Batch, Ecosystem};
use crate::bundle::Packed;
use crate::bundle::shared::Shared;
use crate::upstream::bundle::Bundle;
use crate::upstream::{UpstreamError, Validators};

/// Looks at a bundle.
pub(super) async fn look(
    bundle: &Bundle,
    wanted: &[Ecosystem],
    known: Option<Validators>,
) -> Result<Look, UpstreamError> {
    let shared = Shared::Advisories;
    let refused = |reason: String| refused(bundle.mirror(), shared.folder(), reason);
    let Some(head) = bundle.shared(shared).await.map_err(|error| refused(error.to_string()))? else {
        return Ok(Look::Absent);
    };
    let name = |ecosystem: &Ecosystem| ecosystem.as_str().to_ascii_lowercase();
    let files: Vec<&Packed> =
        wanted.iter().filter_map(|ecosystem| head.files.get(&name(ecosystem))).collect();
    // A file has its digest for a name: the same digests are the same advisories.
    let digests: Vec<String> = files.iter().map(|packed| packed.sha256.to_string()).collect();
    let validators = Validators { etag: Some(digests.join(" ")), modified: None };
    if known.as_ref() == Some(&validators) {
        return Ok(Look::Unchanged);
    }
    let mut batch = Batch::default();
    for packed in files {
        let lines = bundle.shared_file(shared, packed).await.map_err(|error| refused(error.to_string()))?;
        let name = packed.path.clone();
        let read = super::unpacked::aside(move || {
            let mut batch = Batch::default();
            batch.take_lines(&name, &lines);
            Ok(batch)
        });
        batch.merge(read.await.map_err(refused)?);
    }
    let batch = batch.checked().map_err(|bad| refused(bad.to_string()))?;
    Ok(Look::Read(Box::new(batch), validators))
}
