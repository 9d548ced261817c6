//! Data shared by `get cran` and `get bioconductor`: the rules for system requirements and the platforms. Both commands
//! may run at the same time: each folder has its own lock, and the same data yields the same file.

use std::collections::BTreeMap;

use serde::Serialize;

use super::destination::Destination;
use super::error::OfflineError;
use super::last_run::LastRun;
use super::metadata::FileValidators;
use super::progress::Output;
use base::config::{Platforms, without_userinfo};
use base::model::time::Timestamp;
use formats::bundle::shared::{SharedFolder, SharedHead};
use formats::bundle::{CompressedFile, layout, self_digest};
use formats::r::sysreqs::RuleBase;
use upstream::origin::bundle::Bundle;
use upstream::rule_base::RuleBaseRefresh;
use upstream::{Upstream, UpstreamError};

const ZSTD_LEVEL: i32 = 12;

/// Writes the documents of a shared folder, unless the same exist. `documents` maps a name to bytes and file extension.
pub(super) fn write_documents(
    destination: &Destination,
    shared: SharedFolder,
    documents: BTreeMap<String, (Vec<u8>, &'static str)>,
    now: Timestamp,
) -> Result<(), OfflineError> {
    let folder = shared.folder();
    let to_error = |e| OfflineError::destination("write", &destination.path(folder), e);
    let mut files = BTreeMap::new();
    let mut bytes = Vec::new();
    for (name, (document, extension)) in documents {
        let compressed_document = zstd::bulk::compress(&document, ZSTD_LEVEL).map_err(to_error)?;
        let sha256 = self_digest::digest(&compressed_document);
        let path = layout::immutable_path("", &name, sha256, extension);
        let size = compressed_document.len() as u64;
        bytes.push((format!("{folder}/{path}"), compressed_document));
        files.insert(name, CompressedFile { path, size, sha256, raw_size: document.len() as u64 });
    }
    let _lock = destination.lock(folder, true)?;
    let path = format!("{folder}/{}", layout::HEAD);
    let previous_bytes = std::fs::read(destination.path(&path)).unwrap_or_default();
    let previous_head = SharedHead::read(&previous_bytes, shared).ok();
    if previous_head.as_ref().is_some_and(|head| head.files == files)
        && destination.has_note(&path, &previous_bytes)
        && bytes.iter().all(|(path, bytes)| {
            std::fs::read(destination.path(path)).is_ok_and(|current_bytes| current_bytes == *bytes)
        })
    {
        return Ok(());
    }
    for (path, bytes) in &bytes {
        destination.put_if_changed(path, bytes)?;
    }
    let head = self_digest::serialize(&SharedHead::new(shared, now, files.clone()));
    let mut obsolete_files: Vec<String> = previous_head
        .into_iter()
        .flat_map(|head| head.files.into_values())
        .map(|file| file.path)
        .filter(|path| files.values().all(|file| file.path != *path))
        .map(|path| format!("{folder}/{path}"))
        .collect();
    if previous_bytes != head {
        obsolete_files.push(layout::note_path(&path, self_digest::digest(&previous_bytes)));
    }
    destination.put_note(&path, &head)?;
    destination.put(&path, &head)?;
    for path in obsolete_files {
        // An obsolete file that cannot be removed is harmless.
        let _ = std::fs::remove_file(destination.path(&path));
    }
    Ok(())
}

/// Writes the table of known platforms.
pub(super) fn distributions(
    destination: &Destination,
    platforms: &Platforms,
    now: Timestamp,
) -> Result<(), OfflineError> {
    #[derive(Serialize)]
    struct SharedRow<'a> {
        name: &'a str,
        os: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        alias: Option<&'a str>,
        display: &'a str,
        distribution: &'a str,
        release: &'a str,
        architectures: &'a [String],
        hidden: bool,
    }
    #[derive(Serialize)]
    struct Folders<'a> {
        arm64: Option<&'a str>,
        x86_64: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct SharedDocument<'a> {
        distros: Vec<SharedRow<'a>>,
        r_versions: &'a [String],
        macos: BTreeMap<&'a str, Folders<'a>>,
    }
    let document = SharedDocument {
        distros: platforms
            .distributions
            .iter()
            .map(|d| SharedRow {
                name: &d.name,
                os: d.os.as_str(),
                alias: d.alias.as_deref(),
                display: &d.display,
                distribution: &d.rules_name,
                release: &d.rules_release,
                architectures: &d.architectures,
                hidden: d.is_hidden,
            })
            .collect(),
        r_versions: &platforms.r_versions,
        macos: platforms
            .macos
            .iter()
            .map(|row| {
                (
                    row.r_version.as_str(),
                    Folders { arm64: row.arm64.as_deref(), x86_64: row.x86_64.as_deref() },
                )
            })
            .collect(),
    };
    let text = serde_json::to_vec(&document).expect("maps have text keys");
    let documents = BTreeMap::from([("distros".to_owned(), (text, "json.zst"))]);
    write_documents(destination, SharedFolder::Distributions, documents, now)
}

/// Writes the rules for system requirements; returns false, after a warning, if they cannot be read.
pub(super) async fn requirements(
    destination: &Destination,
    upstream: &Upstream,
    source: &RulesSource,
    now: Timestamp,
    output: Output,
) -> Result<bool, OfflineError> {
    let (result, request_key) = match source {
        RulesSource::None => return Ok(true),
        RulesSource::Url(url) => (read_from_url(destination, upstream, url).await, without_userinfo(url)),
        RulesSource::Bundle(bundle) => (read_from_bundle(bundle).await, bundle.address()),
    };
    match result {
        Ok(Some((base, validators))) => {
            let documents = BTreeMap::from([("rules".to_owned(), (base.document(), "json.zst"))]);
            write_documents(destination, SharedFolder::Requirements, documents, now)?;
            LastRun::save_shared(
                destination,
                SharedFolder::Requirements,
                &request_key,
                validators.map(|file| vec![file]),
            )?;
            Ok(true)
        }
        Ok(None) => Ok(true),
        Err(error) => {
            output.warn(&format!(
                "could not read the rules for system requirements: {error}. Give their URL with --requirements-url, or skip \
                 them with --requirements-url none; existing rules are kept"
            ));
            Ok(false)
        }
    }
}

pub(super) enum RulesSource {
    None,
    Url(String),
    Bundle(Bundle),
}

/// Rules with their validators; `None` if they are unchanged or there are none.
type RulesResult = Result<Option<(RuleBase, Option<FileValidators>)>, OfflineError>;

/// Reads rules from a URL; `None` if they are unchanged since the last run.
async fn read_from_url(destination: &Destination, upstream: &Upstream, url: &str) -> RulesResult {
    let request_key = without_userinfo(url);
    let last_run = LastRun::read_shared(destination, SharedFolder::Requirements, &request_key);
    let last_validators =
        last_run.and_then(|last_run| last_run.files.first().map(FileValidators::validators));
    match upstream.rule_base(url, last_validators).await? {
        RuleBaseRefresh::Read(base, validators) => {
            Ok(Some((*base, FileValidators::new(&request_key, Some(&validators)))))
        }
        RuleBaseRefresh::Unchanged => Ok(None),
    }
}

/// Reads rules from a bundle; `None` if the bundle has no rules.
async fn read_from_bundle(bundle: &Bundle) -> RulesResult {
    let Some(head) = bundle.shared_head(SharedFolder::Requirements).await? else { return Ok(None) };
    let Some(file) = head.files.get("rules") else { return Ok(None) };
    let text = bundle.shared_file(SharedFolder::Requirements, file).await?;
    let to_error = |reason: String| UpstreamError::Refused { url: bundle.address(), reason };
    Ok(Some((RuleBase::from_document(&text).map_err(|e| to_error(e.to_string()))?, None)))
}
