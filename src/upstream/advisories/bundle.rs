//! Reads advisories from a bundle: JSON lines per ecosystem, named by the head of the folder `vulns`.

use super::{Look, refused};
use crate::advisory::{Batch, Ecosystem};
use crate::bundle::shared::Shared;
use crate::upstream::bundle::{Bundle, SharedLook};
use crate::upstream::{UpstreamError, Validators};

/// Checks a bundle.
pub(super) async fn look(
    bundle: &Bundle,
    wanted: &[Ecosystem],
    known: Option<Validators>,
) -> Result<Look, UpstreamError> {
    let shared = Shared::Advisories;
    let refused = |reason: String| refused(bundle.mirror(), shared.folder(), reason);
    let names: Vec<String> = wanted.iter().map(|ecosystem| ecosystem.file_name()).collect();
    let look = bundle.shared_look(shared, names.iter().map(String::as_str), known.as_ref()).await;
    let (files, validators) = match look.map_err(|error| refused(error.to_string()))? {
        SharedLook::Absent => return Ok(Look::Absent),
        SharedLook::Unchanged => return Ok(Look::Unchanged),
        SharedLook::Changed(files, validators) => (files, validators),
    };
    let mut batch = Batch::default();
    for packed in files {
        let lines = bundle.shared_file(shared, &packed).await.map_err(|error| refused(error.to_string()))?;
        let read = super::unpacked::aside(move || {
            let mut batch = Batch::default();
            batch.take_lines(&packed.path, &lines);
            Ok(batch)
        });
        batch.merge(read.await.map_err(refused)?);
    }
    let batch = batch.checked().map_err(|bad| refused(bad.to_string()))?;
    Ok(Look::Read(Box::new(batch), validators))
}
