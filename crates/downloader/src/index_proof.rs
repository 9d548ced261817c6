//! The proof that the log of an `rstudio-pm` has the index from which a bundle is made, and a copy of that log.

use parking_lot::Mutex;

use super::error::OfflineError;
use super::inventory::Inventory;
use super::metadata::MetadataReader;
use super::mirror::INDEX_FILES;
use super::setup::Setup;
use formats::bundle::self_digest;
use formats::tlog::entry_proof::EntryProof;
use formats::tlog::note::Checkpoint;
use formats::tlog::policy::Policy;
use formats::tlog::tile::tiles;
use upstream::origin::index_proof::{DatedSnapshot, prove_index};
use upstream::{FileRequest, FileResponse, UpstreamError};

/// Size limit of a tile, in bytes: 256 entries with their lengths.
const MAX_TILE_SIZE: u64 = 256 << 16;

pub(super) struct IndexProof {
    policy: Policy,
    /// The proof of the index that was read last.
    proof: Mutex<Option<EntryProof>>,
}

impl IndexProof {
    pub(super) fn new(policy: Policy) -> IndexProof {
        IndexProof { policy, proof: Mutex::default() }
    }

    /// Verifies the index that an inventory was made from.
    pub(super) async fn verify(
        &self,
        reader: &MetadataReader<'_>,
        inventory: &Inventory,
    ) -> Result<(), OfflineError> {
        for file in INDEX_FILES {
            let Some(index) = reader.get(&format!("src/contrib/{file}")).await? else { continue };
            if inventory.fingerprint.first() != Some(&self_digest::digest(&index)) {
                break;
            }
            *self.proof.lock() = Some(prove_index(reader.mirror(), &self.policy, file, index).await?);
            return Ok(());
        }
        let address = reader.mirror().address();
        Err(OfflineError::Refused(format!(
            "{address}: the index changed while it was read; run the command again"
        )))
    }

    /// Writes the proof, and what its checkpoint contains of the log, to `tlog`; only the proof, with a message, if the log
    /// cannot be read without a token.
    pub(super) async fn copy_log(&self, setup: &Setup, base_url: &str) -> Result<(), OfflineError> {
        let Some(proof) = self.proof.lock().clone() else { return Ok(()) };
        let (destination, refusal) = (&setup.destination, |reason: String| OfflineError::Refused(reason));
        let day = DatedSnapshot::of(&setup.mirror.address()).map_err(refusal)?.day;
        destination.put_if_changed(&format!("tlog/{day}.proof"), proof.to_string().as_bytes())?;
        let checkpoint: Checkpoint = proof.note.text().parse().map_err(|e| refusal(format!("{e}")))?;
        let server = base_url.trim_end_matches('/').rsplitn(3, '/').last().unwrap_or_default();
        let log = setup.upstream.transport(&format!("{server}/__log__"))?;
        for tile in tiles(0, checkpoint.root.count).map(|tile| tile.to_string()) {
            let file = format!("tlog/{tile}");
            if destination.path(&file).exists() {
                continue;
            }
            let request = FileRequest { path: &tile, validators: None, limit: MAX_TILE_SIZE };
            match log.fetch(request).await {
                Ok(FileResponse::Body { bytes, .. }) => destination.put(&file, &bytes)?,
                Ok(FileResponse::Unchanged) => {}
                Err(error @ (UpstreamError::Missing(_) | UpstreamError::Refused { .. })) => {
                    setup
                        .request
                        .output
                        .info(&format!("The log is not copied, only the proof of {day}: {error}"));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        destination.put_if_changed("tlog/checkpoint", proof.note.to_string().as_bytes())
    }
}
