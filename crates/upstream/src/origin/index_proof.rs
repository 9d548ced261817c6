//! Verifies the index of a dated snapshot of another `rstudio-pm` by the log of that server.

use std::path::Path;

use percent_encoding::percent_decode_str;

use super::mirror::Mirror;
use crate::UpstreamError;
use crate::transport::decompress;
use crate::transport::file::{FileRequest, FileResponse};
use base::model::time::Day;
use bytes::Bytes;
use formats::r::index;
use formats::tlog::MAX_PROOF_SIZE;
use formats::tlog::entry_proof::{EntryProof, ViewRequest};
use formats::tlog::policy::Policy;
use formats::tlog::record_proof::{INDEX, records_of};
use formats::tlog::tree::Root;

const PROOF: &str = "src/contrib/PACKAGES.proof";

/// Reads the file of a policy; the error names it.
pub fn read_policy(file: &Path) -> Result<Policy, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string());
    let policy = text.and_then(|text| Policy::parse(&text).map_err(|e| e.to_string()));
    policy.map_err(|e| format!("{}: {e}", file.display()))
}

/// A repository on a day, whose index can have a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatedSnapshot {
    pub repository: String,
    pub day: Day,
}

impl DatedSnapshot {
    /// Returns the snapshot that an address names: its last two parts. The error is a clause about the address.
    pub fn of(address: &str) -> Result<DatedSnapshot, String> {
        let mut parts = address.trim_end_matches('/').rsplit('/');
        let day = parts.next().and_then(|day| day.parse().ok());
        let repository = parts.next().map(|repository| percent_decode_str(repository).decode_utf8_lossy());
        match (repository, day) {
            (Some(repository), Some(day)) if !repository.is_empty() => {
                Ok(DatedSnapshot { repository: repository.into_owned(), day })
            }
            _ => Err("is not a snapshot that another rstudio-pm can prove: its address ends with the name of the repository \
                      and a day that is over, as in https://packages.example.org/prod/2026-11-20"
                .to_owned()),
        }
    }
}

/// Verifies that the log of the server at the address of a mirror, a [`DatedSnapshot`], has the index that the mirror sent
/// as `file`; returns the proof.
///
/// # Errors
/// There is no proof, the policy does not accept it, it is of another repository or day, or of another index.
pub async fn prove_index(
    mirror: &Mirror,
    policy: &Policy,
    file: &str,
    index: Bytes,
) -> Result<EntryProof, UpstreamError> {
    let address = mirror.address();
    let refusal = |reason: String| UpstreamError::Refused { url: format!("{address}/{PROOF}"), reason };
    let snapshot = DatedSnapshot::of(&address)
        .map_err(|reason| UpstreamError::Refused { url: address.clone(), reason })?;
    let request = FileRequest { path: PROOF, validators: None, limit: MAX_PROOF_SIZE as u64 };
    let bytes = match mirror.fetch(request).await {
        Ok(FileResponse::Body { bytes, .. }) => bytes,
        Ok(FileResponse::Unchanged) | Err(UpstreamError::Missing(_)) => {
            let reason = "there is no proof: that server has no log (rspm history init), or the day is not over, or was over \
                          before the log began";
            return Err(refusal(reason.to_owned()));
        }
        Err(error) => return Err(error),
    };
    let day = snapshot.day.to_string();
    let request = ViewRequest { repository: &snapshot.repository, snapshot: &day, document: INDEX };
    let not_proved = |reason: String| refusal(format!("the index is not proved: {reason}"));
    let proof = EntryProof::parse(&bytes).map_err(|e| not_proved(e.to_string()))?;
    let proved_root = proof.verify_view(policy, &request).map_err(|e| not_proved(e.to_string()))?.root;
    let file = file.to_owned();
    let root =
        decompress::run_blocking(move || index::text(&file, &index).map(|text| Root::of(records_of(&text))));
    match root.await.map_err(not_proved)? {
        root if root == proved_root => Ok(proof),
        root => {
            Err(not_proved(format!("its records have the root {root}, and those in the log {proved_root}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_repository_and_a_day() {
        let read =
            |address| DatedSnapshot::of(address).map(|read| format!("{} {}", read.repository, read.day));
        assert_eq!(read("https://h/prod/2026-11-20").as_deref(), Ok("prod 2026-11-20"));
        assert_eq!(read("https://h/a/b%20c/2026-11-20/").as_deref(), Ok("b c 2026-11-20"));
        for bad in [
            "https://h/prod/latest",
            "https://h/prod/2026-11-31",
            "https://h/prod",
            "2026-11-20",
            "",
            "/2026-11-20",
        ] {
            assert!(read(bad).is_err_and(|error| error.contains("/prod/2026-11-20")), "{bad}");
        }
    }
}
