//! Refreshes package advisories: fetches each feed, checks it, stores it, then loads it. An unusable feed changes
//! nothing and does not affect others. No tree changes: versions are compared with the advisories when a response is
//! generated, so that a new advisory requires no other writes, and dated snapshots report the current advisories.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::SyncError;
use super::failures::log_failure;
use super::stored_dataset::{DatasetKind, blocking, read_dataset};
use super::task::{SyncTrigger, Task};
use ::upstream::Validators;
use ::upstream::advisories::{Feed, FeedRefresh};
use base::config::Vulnerabilities;
use base::model::digest::Sha256;
use base::model::kind::{Language, Layout};
use base::model::text::count_of;
use base::model::time::Timestamp;
use formats::advisory::{AdvisoryFeed, Batch, Index};
use formats::language;
use formats::language::Ecosystem;
use runtime::jobs::Reporter;
use runtime::state::State;
use store::db::upstream::{self, ADVISORIES, StoredValidators};
use store::storage::Key;

const DOCUMENT: DatasetKind =
    DatasetKind { noun: "advisories about packages", counted_noun: "advisories", sync_type: "vulns" };
/// zstd level of stored documents: a level that compresses several hundred megabytes per second.
const COMPRESSION_LEVEL: i32 = 3;
/// Size limit of an unpacked document, in bytes: twice that of all advisories of a feed (`::upstream::advisories`).
const MAX_DOCUMENT: u64 = 1 << 30;

/// Rows of feeds, by address.
type Rows = BTreeMap<String, StoredValidators>;

enum FeedUpdate {
    Unchanged,
    /// The folder, or the file in it, does not exist.
    Absent,
    Read {
        /// Whether the advisories differ from the stored ones.
        is_replaced: bool,
        /// Number of advisories that could not be parsed.
        skipped_count: usize,
    },
}

/// Loads the stored advisories. A failure is logged: a server without them reports no vulnerabilities.
pub(super) async fn load(state: &State) {
    DOCUMENT.log_load_error(load_stored(state).await);
}

async fn load_stored(state: &State) -> Result<(), SyncError> {
    let rows = rows(state).await?;
    if rows.is_empty() && state.advisories.get().is_none() {
        return Ok(());
    }
    let mut feeds = Vec::new();
    for (name, row) in rows {
        match read_batch(state, row.sha256).await {
            Ok(batch) => feeds.push(AdvisoryFeed { name, digest: row.sha256, batch }),
            Err(error) => tracing::warn!(
                target: "sync", %error,
                "could not load the stored advisories of {name}; the next refresh fetches them again"
            ),
        }
    }
    let index = blocking(move || Ok(Index::new(feeds))).await?;
    state.advisories.set(Arc::new(index));
    Ok(())
}

/// Returns the rows of the configured feeds.
async fn rows(state: &State) -> Result<Rows, SyncError> {
    let names: Vec<String> = feeds(state).iter().flat_map(|(_, feeds)| feeds).map(Feed::name).collect();
    let rows = state.db.read(|c| upstream::advisories(c)).await?;
    Ok(rows.into_iter().filter(|(name, _)| names.contains(name)).collect())
}

/// Returns the configured URLs, without userinfo, each with its feeds.
fn feeds(state: &State) -> Vec<(String, Vec<Feed>)> {
    let catalog = state.catalog.get();
    let is_read = |language: &Language| match language.layout() {
        Layout::Lists => true,
        // They are many, and most servers have no such repository.
        Layout::Projects => catalog.repos.iter().any(|repo| repo.kind.language() == *language),
    };
    let languages = Language::ALL.into_iter().filter(is_read);
    let ecosystems: Vec<Ecosystem> =
        languages.flat_map(|language| language::of(language).ecosystems()).copied().collect();
    let urls = state.config.load().vulnerabilities.urls.clone();
    urls.into_iter().map(|url| (base::config::without_userinfo(&url), Feed::of(&url, &ecosystems))).collect()
}

async fn read_batch(state: &State, sha256: Sha256) -> Result<Batch, SyncError> {
    let bytes = read_dataset(state, &Key::Advisories(sha256)).await?;
    blocking(move || {
        let mut text = Vec::new();
        let decoder = zstd::Decoder::new(&bytes[..]).map_err(|error| error.to_string())?;
        std::io::Read::read_to_end(&mut std::io::Read::take(decoder, MAX_DOCUMENT), &mut text)
            .map_err(|error| error.to_string())?;
        let mut batch = Batch::default();
        batch.add_lines("the document in storage", &text);
        batch.validate().map_err(|error| error.to_string())
    })
    .await
}

/// Refreshes every feed. Returns a message about the result.
pub(super) async fn refresh(
    state: &Arc<State>,
    trigger: &SyncTrigger,
    report: &Reporter,
) -> Result<String, SyncError> {
    let started_at = (state.clock)();
    tokio::select! {
        message = refresh_all(state, trigger, report, started_at) => message,
        () = report.wait_halted() => Err(SyncError::Halted),
    }
}

async fn refresh_all(
    state: &Arc<State>,
    trigger: &SyncTrigger,
    report: &Reporter,
    started_at: Timestamp,
) -> Result<String, SyncError> {
    let Vulnerabilities { is_configured, .. } = state.config.load().vulnerabilities.clone();
    let mut rows = rows(state).await?;
    if !is_loaded(state, &rows).await {
        // Another server that shares the database has stored other advisories, or the configured feeds changed.
        load(state).await;
    }
    let mut errors = Vec::new();
    let (mut any_replaced, mut total_skipped_count) = (false, 0);
    for (url, feeds) in feeds(state) {
        let (mut absent_count, feed_count) = (0, feeds.len());
        for feed in feeds {
            report.progress(format!("reading the advisories of {}", feed.name()), 0, None);
            match refresh_feed(state, trigger, &feed, &mut rows, started_at).await {
                Ok(FeedUpdate::Unchanged) => {}
                Ok(FeedUpdate::Absent) => absent_count += 1,
                Ok(FeedUpdate::Read { is_replaced, skipped_count }) => {
                    any_replaced |= is_replaced;
                    total_skipped_count += skipped_count;
                }
                Err(SyncError::Stopping) => return Err(SyncError::Stopping),
                Err(error) => errors.push(error.to_string()),
            }
        }
        if absent_count == feed_count && (is_configured || !url.starts_with("file:")) {
            errors.push(format!(
                "{url}: there are no advisories: no file CRAN/all.zip or of another known name"
            ));
        }
    }
    if any_replaced {
        load(state).await;
    }
    delete_unused(state, &rows).await?;
    if !errors.is_empty() {
        return Err(SyncError::Refused(errors.join("; ")));
    }
    let row =
        StoredValidators { etag: None, modified: None, sha256: Sha256([0; 32]), fetched_at: started_at };
    state.db.write(move |c| upstream::put(c, &Task::Advisories.success_key(), &row)).await?;
    let count = state.advisories.get().map_or(0, |index| index.len());
    let advisories = count_of(count, "advisory about packages is", "advisories about packages are");
    let message = match (count, any_replaced) {
        (0, _) => "there are no advisories about packages".to_owned(),
        (_, true) => format!("{advisories} in use now"),
        (_, false) => format!("the {advisories} up to date"),
    };
    Ok(match total_skipped_count {
        0 => message,
        total_skipped_count => format!("{message}; {total_skipped_count} could not be read (see the log)"),
    })
}

/// Logs a failed refresh, unless the previous one failed with the same error, and the first success after a
/// failure. Returns the message about the result, or the text of the error.
pub(super) fn log_end(
    state: &State,
    last_error: &Mutex<Option<String>>,
    result: Result<String, SyncError>,
) -> Result<String, String> {
    if let Err(error @ SyncError::Halted) = &result {
        return Err(log_failure("vulns", error));
    }
    let message = result.as_ref().err().map(ToString::to_string);
    let previous_message = std::mem::replace(&mut *last_error.lock(), message.clone());
    match (&result, message, previous_message) {
        // Without internet the same error would be logged every ten minutes.
        (Err(_), Some(message), Some(previous_message)) if message == previous_message => {
            return Err(message);
        }
        (Err(error), _, _) if state.config.load().vulnerabilities.is_configured => {
            return Err(log_failure("vulns", error));
        }
        (Err(error), _, _) => tracing::warn!(
            target: "sync", source = "vulns", %error,
            "could not fetch advisories; without internet access, name a local copy in \
             Vulnerabilities.URL, or leave it empty"
        ),
        (Ok(message), _, Some(_)) => {
            tracing::info!(target: "sync", source = "vulns", "{message} (recovered after failed attempts)");
        }
        (Ok(_), _, None) => {}
    }
    result.map_err(|error| error.to_string())
}

/// Returns whether the loaded index was made from these rows.
async fn is_loaded(state: &State, rows: &Rows) -> bool {
    match state.advisories.wait().await {
        None => rows.is_empty(),
        Some(index) => {
            let feed_digests = index.feeds().iter().map(|(name, feed)| (name, feed.digest));
            rows.iter().map(|(name, row)| (name, row.sha256)).eq(feed_digests)
        }
    }
}

async fn refresh_feed(
    state: &State,
    trigger: &SyncTrigger,
    feed: &Feed,
    rows: &mut Rows,
    started_at: Timestamp,
) -> Result<FeedUpdate, SyncError> {
    let name = feed.name();
    let index = state.advisories.get();
    // A row is used only if its document is loaded, and stored: a lost document is fetched and stored again.
    let loaded_feed = index.as_ref().and_then(|index| index.feeds().get(&name));
    let row =
        rows.get(&name).filter(|row| loaded_feed.is_some_and(|loaded_feed| loaded_feed.digest == row.sha256));
    let row = match row {
        Some(row) if state.storage.size(&Key::Advisories(row.sha256)).await?.is_some() => Some(row),
        Some(_) | None => None,
    };
    let last_validators =
        row.map(|row| Validators { etag: row.etag.clone(), modified: row.modified.clone() });
    let last_validators = last_validators
        .filter(|last_validators| last_validators.etag.is_some() || last_validators.modified.is_some());
    let old_sha256 = row.map(|row| row.sha256);
    let last_batch = async { read_batch(state, old_sha256?).await.ok() };
    let client = state.upstream.load_full();
    let (batch, validators) = match client.advisories(feed, last_validators, last_batch).await? {
        FeedRefresh::Unchanged => return Ok(FeedUpdate::Unchanged),
        FeedRefresh::Absent => return Ok(FeedUpdate::Absent),
        FeedRefresh::Read(batch, validators) => (batch, validators),
    };
    log_skipped(&name, &batch);
    DOCUMENT.check_loss(
        batch.len(),
        loaded_feed.map_or(0, |loaded_feed| loaded_feed.count),
        trigger,
        &name,
    )?;
    let skipped_count = batch.skipped_files().0;
    let document = blocking(move || {
        zstd::encode_all(&batch.document()[..], COMPRESSION_LEVEL)
            .map(Bytes::from)
            .map_err(|error| error.to_string())
    });
    let document = document.await?;
    let sha256 = Sha256::of(&document);
    let row = StoredValidators {
        etag: validators.etag,
        modified: validators.modified,
        sha256,
        fetched_at: started_at,
    };
    // The object is stored before the row that names it, and the row before the index in memory is replaced.
    if old_sha256 != Some(sha256) {
        state.storage.put(&Key::Advisories(sha256), document).await?;
    }
    let (key, stored_row) = (format!("{ADVISORIES}{name}"), row.clone());
    state.db.write(move |c| upstream::put(c, &key, &stored_row)).await?;
    rows.insert(name, row);
    Ok(FeedUpdate::Read { is_replaced: old_sha256 != Some(sha256), skipped_count })
}

fn log_skipped(name: &str, batch: &Batch) {
    let (count, reasons) = batch.skipped_files();
    for file in reasons {
        tracing::warn!(target: "sync", "skipped an advisory of {name}: {}: {}", file.file, file.reason);
    }
    if count > reasons.len() {
        tracing::warn!(target: "sync", "skipped {count} advisories of {name} in total");
    }
}

/// Deletes the rows of feeds that are no longer configured; the next sweep removes the documents.
async fn delete_unused(state: &State, rows: &Rows) -> Result<(), SyncError> {
    let stored_rows = state.db.read(|c| upstream::advisories(c)).await?;
    let unused_urls: Vec<String> = stored_rows
        .into_iter()
        .filter(|(name, _)| !rows.contains_key(name))
        .map(|(name, _)| format!("{ADVISORIES}{name}"))
        .collect();
    if unused_urls.is_empty() {
        return Ok(());
    }
    Ok(state.db.write(move |c| unused_urls.iter().try_for_each(|url| upstream::delete(c, url))).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_of_most_advisories_must_be_accepted_by_an_administrator() {
        let check = |new_count, old_count, trigger| {
            DOCUMENT.check_loss(new_count, old_count, &trigger, "https://h/CRAN")
        };
        assert!(check(1, 0, SyncTrigger::Schedule).is_ok() && check(1, 2, SyncTrigger::Schedule).is_ok());
        let error = check(1, 3, SyncTrigger::Schedule).expect_err("two of three are missing").to_string();
        assert!(error.contains("https://h/CRAN") && error.contains("rspm sync --type=vulns"), "{error}");
        assert!(check(1, 100, SyncTrigger::Administrator("me".to_owned())).is_ok());
    }
}
