//! Fetches the folder of an ecosystem in the OSV database: `{ecosystem}/all.zip` has all advisories, `modified_id.csv`
//! their times of change, and `{id}.json` one advisory. Changed ones are fetched one by one, many with `all.zip`.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::feed_file::FeedFileFormat;
use super::{FeedRefresh, MAX_FETCHED_SIZE, fetch_file, refusal};
use crate::UpstreamError;
use crate::transport::Transport;
use crate::transport::file::{FileRequest, FileResponse, Validators};
use base::model::time::Timestamp;
use formats::advisory::{Batch, is_id, parse_time};
use formats::language::Ecosystem;

/// Maximum number of changed advisories that are fetched one by one; for more, `all.zip` is fetched.
const MAX_SINGLE_FETCHES: usize = 100;
/// Maximum number of parallel requests.
const MAX_PARALLEL: usize = 4;

/// The time of the last change of each advisory of an ecosystem, by id.
struct Listing(BTreeMap<String, Timestamp>);

impl Listing {
    /// Parses lines `{time},{id}` and skips others; `None` if there is no such line.
    fn read(bytes: &[u8]) -> Option<Listing> {
        let parse_row = |line: &str| {
            let (time, id) = line.trim().split_once(',')?;
            is_id(id).then_some((id.to_owned(), parse_time(time)?))
        };
        let rows: BTreeMap<_, _> = std::str::from_utf8(bytes).ok()?.lines().filter_map(parse_row).collect();
        (!rows.is_empty()).then_some(Listing(rows))
    }

    /// Removes advisories that are no longer listed, and returns the ids to fetch.
    fn reconcile(&self, batch: &mut Batch) -> Vec<String> {
        batch.retain(|id| self.0.contains_key(id));
        let is_newer =
            |(id, at): &(&String, &Timestamp)| batch.modification_time(id).is_none_or(|time| time < **at);
        self.0.iter().filter(is_newer).map(|(id, _)| id.clone()).collect()
    }
}

/// Fetches the changes of the folder of an ecosystem, or all of it if there is no stored batch.
pub(super) async fn refresh(
    transport: &Transport,
    ecosystem: Ecosystem,
    known_validators: Option<Validators>,
    stored_batch: impl Future<Output = Option<Batch>> + Send,
) -> Result<FeedRefresh, UpstreamError> {
    let path = format!("{}/modified_id.csv", ecosystem.as_str());
    let (bytes, validators) = match transport
        .fetch(FileRequest { path: &path, validators: known_validators.clone(), limit: MAX_FETCHED_SIZE })
        .await
    {
        Ok(FileResponse::Unchanged) => return Ok(FeedRefresh::Unchanged),
        Ok(FileResponse::Body { bytes, validators }) => (bytes, validators),
        // A copy of the database may lack the list.
        Err(UpstreamError::Missing(_)) => {
            return match fetch_zip(transport, ecosystem, known_validators).await {
                Err(UpstreamError::Missing(_)) => Ok(FeedRefresh::Absent),
                other => other,
            };
        }
        Err(error) => return Err(error),
    };
    let listing = Listing::read(&bytes);
    let listing =
        listing.ok_or_else(|| refusal(transport, &path, "is not a list of advisories".to_owned()))?;
    let mut batch = match stored_batch.await {
        Some(batch) => batch,
        None => fetch_all(transport, ecosystem).await?,
    };
    let mut changed_ids = listing.reconcile(&mut batch);
    if changed_ids.len() > MAX_SINGLE_FETCHES {
        batch = fetch_all(transport, ecosystem).await?;
        changed_ids = listing.reconcile(&mut batch);
    }
    // `all.zip` may be older than the list. At most `MAX_SINGLE_FETCHES` changes are fetched now; without validators
    // the next refresh reads the list again.
    let validators = if changed_ids.len() > MAX_SINGLE_FETCHES { Validators::default() } else { validators };
    let batches = stream::iter(changed_ids.into_iter().take(MAX_SINGLE_FETCHES))
        .map(|id| fetch_one(transport, ecosystem, id));
    let batches: Vec<Batch> = batches.buffer_unordered(MAX_PARALLEL).try_collect().await?;
    batches.into_iter().for_each(|advisory_batch| batch.merge(advisory_batch));
    let batch = batch.validate().map_err(|error| refusal(transport, &path, error.to_string()))?;
    Ok(FeedRefresh::Read(Box::new(batch), validators))
}

async fn fetch_zip(
    transport: &Transport,
    ecosystem: Ecosystem,
    known_validators: Option<Validators>,
) -> Result<FeedRefresh, UpstreamError> {
    fetch_file(transport, &format!("{}/all.zip", ecosystem.as_str()), FeedFileFormat::Zip, known_validators)
        .await
}

async fn fetch_all(transport: &Transport, ecosystem: Ecosystem) -> Result<Batch, UpstreamError> {
    match fetch_zip(transport, ecosystem, None).await? {
        FeedRefresh::Read(batch, _) => Ok(*batch),
        // Not possible for an unconditional request of an existing file.
        FeedRefresh::Unchanged | FeedRefresh::Absent => Ok(Batch::default()),
    }
}

/// Fetches one advisory; returns an empty batch if it was removed since it was listed.
async fn fetch_one(transport: &Transport, ecosystem: Ecosystem, id: String) -> Result<Batch, UpstreamError> {
    let path = format!("{}/{id}.json", ecosystem.as_str());
    let mut batch = Batch::default();
    let request = FileRequest { path: &path, validators: None, limit: formats::advisory::MAX_FILE_SIZE };
    match transport.fetch(request).await {
        Ok(FileResponse::Body { bytes, .. }) => {
            batch.add_file(&path, formats::advisory::Format::Json, &bytes)
        }
        Ok(FileResponse::Unchanged) | Err(UpstreamError::Missing(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::advisory::Format;

    #[test]
    fn newer_advisories_are_fetched_and_unlisted_ones_removed() {
        let mut batch = Batch::default();
        for (id, modified) in
            [("A-1", "2024-01-01T00:00:00Z"), ("A-2", "2024-01-02T03:04:05.678901Z"), ("A-3", "")]
        {
            let record = format!(
                r#"{{"id":"{id}","modified":"{modified}","affected":[{{"package":{{"ecosystem":"CRAN","name":"a"}}}}]}}"#
            );
            batch.add_file("A.json", Format::Json, record.as_bytes());
        }
        let csv = b"2024-01-03T00:00:00Z,A-4\r\n2024-01-02T03:04:05.678901234Z,A-2\n2024-01-01T00:00:00.5Z,A-1\nmodified,id\n2024-01-01T00:00:00Z,../x\n";
        let listing = Listing::read(csv).expect("a list");
        assert_eq!(listing.reconcile(&mut batch), ["A-1", "A-4"]);
        assert_eq!(batch.len(), 2, "A-3 is not listed");
        for invalid in [&b""[..], b"<html>\n<title>x, y</title>", b"\xff,A-1"] {
            assert!(Listing::read(invalid).is_none());
        }
    }
}
