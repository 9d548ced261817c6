//! `get vulns` and `validate vulns`: advisories about packages, from any source that a server accepts.

use std::collections::BTreeMap;

use super::args::{CheckVulnsFlags, GetVulns};
use super::destination::{self, LOCK};
use super::error::{ExitStatus, OfflineError};
use super::last_run::LastRun;
use super::metadata::FileValidators;
use super::progress::Output;
use super::setup::{Setup, defaults, setup};
use super::shared::write_documents;
use super::validate::{Check, Report};
use base::config::without_userinfo;
use base::model::text::count_of;
use formats::advisory::Batch;
use formats::bundle::shared::{SharedFolder, SharedHead};
use formats::language::Ecosystem;
use upstream::advisories::{Feed, FeedRefresh};
use upstream::origin::bundle::Bundle;

pub(super) async fn get(args: GetVulns, output: Output) -> Result<ExitStatus, OfflineError> {
    let ecosystems = if args.types.is_empty() { Ecosystem::ALL.to_vec() } else { args.types };
    let public_url = || {
        defaults()
            .map(|config| config.vulnerabilities.urls.first().map(|url| url.to_string()).unwrap_or_default())
    };
    let url = args.base_url.map_or_else(public_url, Ok)?;
    let setup = setup(args.common, folder_of_url(&url), None, output)?;
    let now = setup.request.now;
    output.info("Downloading advisories");
    let origin_bundle = setup.mirror.as_bundle();
    let names: Vec<String> = ecosystems.iter().map(|ecosystem| ecosystem.file_name()).collect();
    let request_key = format!("{} for {}", without_userinfo(&url), names.join(", "));
    let result = match origin_bundle.shared_head(SharedFolder::Advisories).await {
        Ok(Some(head)) => {
            Some((read_bundle(&origin_bundle, &setup.destination_bundle, head, &names).await?, None))
        }
        // An address without a bundle is another source of advisories that a server accepts.
        head_result => {
            let last_run = LastRun::read_shared(&setup.destination, SharedFolder::Advisories, &request_key);
            let feeds_result = read_feeds(&setup, &url, &ecosystems, last_run.as_ref()).await;
            match (feeds_result, head_result) {
                (Err(error), Err(bundle_error)) => {
                    return Err(OfflineError::Refused(format!("{error}; as a bundle: {bundle_error}")));
                }
                (feeds_result, _) => feeds_result?,
            }
        }
    };
    let Some((documents, files)) = result else {
        output.info("advisories: nothing is new");
        return Ok(ExitStatus::Complete);
    };
    let counts: Vec<String> = documents
        .iter()
        .map(|(name, (text, _))| format!("{name}: {}", count_of(line_count(text), "advisory", "advisories")))
        .collect();
    if documents.values().all(|(text, _)| text.is_empty()) {
        return Err(OfflineError::Refused(format!(
            "{} has no advisory for any of the requested types; nothing was changed. Give another URL with --base-url",
            setup.mirror.address()
        )));
    }
    if !setup.request.is_dry_run {
        write_documents(&setup.destination, SharedFolder::Advisories, documents, now)?;
        LastRun::save_shared(&setup.destination, SharedFolder::Advisories, &request_key, files)?;
    }
    output.info(&counts.join(", "));
    Ok(ExitStatus::Complete)
}

pub(super) async fn check(args: CheckVulnsFlags) -> Result<Report, OfflineError> {
    let mut check = Check::open(&args.destination, true, args.key)?;
    let folder = SharedFolder::Advisories.folder();
    if destination::names(&check.destination.path(folder))?.iter().all(|name| name == LOCK) {
        return Err(OfflineError::Refused(format!(
            "{} has no advisories: get them with rspm-offline-downloader get vulns",
            check.destination.root().display()
        )));
    }
    check.check_shared(SharedFolder::Advisories).await;
    check.check_files(&[folder.to_owned()])?;
    if let Ok(Some(head)) = check.bundle.shared_head(SharedFolder::Advisories).await {
        for (name, file) in &head.files {
            if let Ok(text) = check.bundle.shared_file(SharedFolder::Advisories, file).await {
                check
                    .report
                    .summary
                    .push(format!("{name}: {}", count_of(line_count(&text), "advisory", "advisories")));
            }
        }
    }
    Ok(check.report)
}

fn line_count(text: &[u8]) -> usize {
    text.iter().filter(|b| **b == b'\n').count()
}

/// Advisories by ecosystem, as texts with their file extensions.
type Documents = BTreeMap<String, (Vec<u8>, &'static str)>;

/// Reads the advisories of another bundle; documents that the destination already has are not fetched again.
async fn read_bundle(
    origin_bundle: &Bundle,
    destination_bundle: &Bundle,
    head: SharedHead,
    names: &[String],
) -> Result<Documents, OfflineError> {
    let existing_files = destination_bundle
        .shared_head(SharedFolder::Advisories)
        .await
        .ok()
        .flatten()
        .map(|head| head.files)
        .unwrap_or_default();
    let mut documents = BTreeMap::new();
    for (name, file) in head.files.into_iter().filter(|(name, _)| names.contains(name)) {
        let existing_file = existing_files.get(&name).filter(|existing| existing.sha256 == file.sha256);
        let existing_text = match existing_file {
            Some(existing) => destination_bundle.shared_file(SharedFolder::Advisories, existing).await.ok(),
            None => None,
        };
        let text = match existing_text {
            Some(text) => text,
            None => origin_bundle.shared_file(SharedFolder::Advisories, &file).await?,
        };
        documents.insert(name, (text, "ndjson.zst"));
    }
    Ok(documents)
}

/// Returns the folder of a URL that names a file, otherwise the URL.
fn folder_of_url(url: &str) -> &str {
    match url.trim_end_matches('/').rsplit_once('/') {
        Some((folder, file))
            if [".zip", ".gz", ".ndjson", ".zst"].iter().any(|ending| file.ends_with(ending)) =>
        {
            folder
        }
        _ => url,
    }
}

/// Reads the advisories of all feeds of a URL, with validators; `None` if all feeds are unchanged since the last run.
/// If an OSV database has changed, only its new advisories are fetched.
async fn read_feeds(
    setup: &Setup,
    url: &str,
    ecosystems: &[Ecosystem],
    last_run: Option<&LastRun>,
) -> Result<Option<(Documents, Option<Vec<FileValidators>>)>, OfflineError> {
    let output = setup.request.output;
    let feeds = Feed::of(url, ecosystems);
    let last_file = |feed: &Feed| {
        last_run.and_then(|last_run| last_run.files.iter().find(|file| file.name == feed.name()))
    };
    let stored_batch = || async {
        if last_run.is_some() { stored_advisories(&setup.destination_bundle).await } else { None }
    };
    let mut refreshes = Vec::new();
    for feed in &feeds {
        let last_validators = last_file(feed).filter(|file| file.exists).map(FileValidators::validators);
        refreshes.push(setup.upstream.advisories(feed, last_validators, stored_batch()).await?);
    }
    let is_same = |(feed, refresh): (&Feed, &FeedRefresh)| match refresh {
        FeedRefresh::Unchanged => true,
        FeedRefresh::Absent => last_file(feed).is_some_and(|file| !file.exists),
        FeedRefresh::Read(..) => false,
    };
    if feeds.iter().zip(&refreshes).all(is_same) {
        return Ok(None);
    }
    let (mut batch, mut files) = (Batch::default(), Vec::new());
    for (feed, mut refresh) in feeds.iter().zip(refreshes) {
        if matches!(refresh, FeedRefresh::Unchanged) {
            // The stored data is by ecosystem and not by feed, so the part of this feed is read again.
            refresh = setup.upstream.advisories(feed, None, stored_batch()).await?;
        }
        match refresh {
            FeedRefresh::Read(feed_batch, validators) => {
                batch.merge(*feed_batch);
                files.push(FileValidators::new(&feed.name(), Some(&validators)));
            }
            FeedRefresh::Unchanged => {}
            FeedRefresh::Absent => {
                output.warn(&format!("{} does not exist", feed.name()));
                files.push(FileValidators::new(&feed.name(), None));
            }
        }
    }
    let (skipped_count, examples) = batch.skipped_files();
    for skipped_file in examples.iter().take(5) {
        output.warn(&format!("skipped {}: {}", skipped_file.file, skipped_file.reason));
    }
    if skipped_count > 5 {
        output.warn(&format!("skipped {} more files", skipped_count - 5));
    }
    let document = |ecosystem: &Ecosystem| {
        let text: String = batch.lines(Some(*ecosystem)).flat_map(|line| [line, "\n"]).collect();
        (ecosystem.file_name(), (text.into_bytes(), "ndjson.zst"))
    };
    Ok(Some((ecosystems.iter().map(document).collect(), files.into_iter().collect())))
}

async fn stored_advisories(destination_bundle: &Bundle) -> Option<Batch> {
    let mut batch = Batch::default();
    for (name, file) in destination_bundle.shared_head(SharedFolder::Advisories).await.ok()??.files {
        let text = destination_bundle.shared_file(SharedFolder::Advisories, &file).await.ok()?;
        batch.add_lines(&name, &text);
    }
    batch.validate().ok()
}
