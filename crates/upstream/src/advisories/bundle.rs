//! Reads advisories from a bundle: a file of JSON lines per ecosystem, which the head of the folder `vulns` lists.

use super::{FeedRefresh, refusal};
use crate::error::UpstreamError;
use crate::origin::bundle::{Bundle, SharedCheck};
use crate::transport::decompress;
use crate::transport::file::Validators;
use formats::advisory::{Batch, Ecosystem};
use formats::bundle::shared::SharedFolder;

/// Reads the advisories of a bundle, unless they are unchanged.
pub(super) async fn refresh(
    bundle: &Bundle,
    ecosystems: &[Ecosystem],
    known_validators: Option<Validators>,
) -> Result<FeedRefresh, UpstreamError> {
    let shared_folder = SharedFolder::Advisories;
    let refusal = |reason: String| refusal(bundle.transport(), shared_folder.folder(), reason);
    let names: Vec<String> = ecosystems.iter().map(|ecosystem| ecosystem.file_name()).collect();
    let shared_check =
        bundle.check_shared(shared_folder, names.iter().map(String::as_str), known_validators.as_ref()).await;
    let (files, validators) = match shared_check.map_err(|error| refusal(error.to_string()))? {
        SharedCheck::Absent => return Ok(FeedRefresh::Absent),
        SharedCheck::Unchanged => return Ok(FeedRefresh::Unchanged),
        SharedCheck::Changed(files, validators) => (files, validators),
    };
    let mut batch = Batch::default();
    for file in files {
        let lines =
            bundle.shared_file(shared_folder, &file).await.map_err(|error| refusal(error.to_string()))?;
        let file_batch = decompress::run_blocking(move || {
            let mut batch = Batch::default();
            batch.add_lines(&file.path, &lines);
            Ok(batch)
        });
        batch.merge(file_batch.await.map_err(refusal)?);
    }
    let batch = batch.validate().map_err(|error| refusal(error.to_string()))?;
    Ok(FeedRefresh::Read(Box::new(batch), validators))
}
