//! What `get cran` and `get bioconductor` share: the rules of system requirements, and what platforms there are. Both may
//! run at the same time; each folder has a lock of its own, and the same data give the same file.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::OfflineError;
use super::place::Place;
use super::progress::Voice;
use super::seen::Seen;
use super::told::Told;
use crate::bundle::shared::{Shared, SharedHead};
use crate::bundle::{Packed, layout, seal};
use crate::config::{Platforms, without_userinfo};
use crate::model::time::Timestamp;
use crate::r::sysreqs::Base;
use crate::upstream::bundle::Bundle;
use crate::upstream::rule_base::Look;
use crate::upstream::{Upstream, UpstreamError};

/// How hard zstd tries.
const LEVEL: i32 = 12;

/// Writes the documents of a folder, unless they are there.
pub(super) fn write(
    place: &Place,
    shared: Shared,
    documents: BTreeMap<String, (Vec<u8>, &'static str)>,
    now: Timestamp,
) -> Result<(), OfflineError> {
    let folder = shared.folder();
    let failed = |e| OfflineError::place("write", &place.path(folder), e);
    let mut files = BTreeMap::new();
    let mut bytes = Vec::new();
    for (name, (raw, extension)) in documents {
        let packed = zstd::bulk::compress(&raw, LEVEL).map_err(failed)?;
        let sha256 = seal::digest(&packed);
        let path = layout::immutable("", &name, sha256, extension);
        let size = packed.len() as u64;
        bytes.push((format!("{folder}/{path}"), packed));
        files.insert(name, Packed { path, size, sha256, raw_size: raw.len() as u64 });
    }
    let _lock = place.lock(folder, true)?;
    let path = format!("{folder}/{}", layout::HEAD);
    let before = std::fs::read(place.path(&path)).ok().and_then(|head| SharedHead::read(&head, shared).ok());
    if before.as_ref().is_some_and(|head| head.files == files)
        && bytes
            .iter()
            .all(|(path, bytes)| std::fs::read(place.path(path)).is_ok_and(|there| there == *bytes))
    {
        return Ok(());
    }
    for (path, bytes) in &bytes {
        place.keep(path, bytes)?;
    }
    let replaced: Vec<String> = before
        .into_iter()
        .flat_map(|head| head.files.into_values())
        .map(|file| file.path)
        .filter(|old| files.values().all(|new| new.path != *old))
        .collect();
    place.put(&path, &seal::seal(&SharedHead::new(shared, now, files)))?;
    for old in replaced {
        // One that cannot be removed does no harm.
        let _ = std::fs::remove_file(place.path(&format!("{folder}/{old}")));
    }
    Ok(())
}

/// The table of platforms that this program knows.
pub(super) fn distributions(
    place: &Place,
    platforms: &Platforms,
    now: Timestamp,
) -> Result<(), OfflineError> {
    #[derive(Serialize)]
    struct Row<'a> {
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
    struct Document<'a> {
        distros: Vec<Row<'a>>,
        r_versions: &'a [String],
        macos: BTreeMap<&'a str, Folders<'a>>,
    }
    let document = Document {
        distros: platforms
            .distributions
            .iter()
            .map(|d| Row {
                name: &d.name,
                os: d.os.as_str(),
                alias: d.alias.as_deref(),
                display: &d.display,
                distribution: &d.system,
                release: &d.release,
                architectures: &d.architectures,
                hidden: d.hidden,
            })
            .collect(),
        r_versions: &platforms.r_versions,
        macos: platforms
            .macos
            .iter()
            .map(|of| {
                (of.r_version.as_str(), Folders { arm64: of.arm64.as_deref(), x86_64: of.x86_64.as_deref() })
            })
            .collect(),
    };
    let text = serde_json::to_vec(&document).expect("maps have texts for keys");
    let documents = BTreeMap::from([("distros".to_owned(), (text, "json.zst"))]);
    write(place, Shared::Distributions, documents, now)
}

/// The rules of system requirements, from where they are said to be; false, and a warning, when they cannot be read.
pub(super) async fn requirements(
    place: &Place,
    upstream: &Upstream,
    source: &Source,
    now: Timestamp,
    voice: Voice,
) -> Result<bool, OfflineError> {
    let (read, asked) = match source {
        Source::None => return Ok(true),
        Source::Url(url) => (by_url(place, upstream, url).await, without_userinfo(url)),
        Source::Bundle(bundle) => (by_bundle(bundle).await, bundle.mirror().address()),
    };
    match read {
        Ok(Some((base, told))) => {
            let documents = BTreeMap::from([("rules".to_owned(), (base.document(), "json.zst"))]);
            write(place, Shared::Requirements, documents, now)?;
            Seen::leave_shared(place, Shared::Requirements, &asked, told.map(|told| vec![told]))?;
            Ok(true)
        }
        Ok(None) => Ok(true),
        Err(error) => {
            voice.warn(&format!(
                "no rules of system requirements: {error}. Say where they are with --requirements-url, or do without them \
                 with --requirements-url none; what was there before is kept"
            ));
            Ok(false)
        }
    }
}

/// Where the rules are.
pub(super) enum Source {
    None,
    Url(String),
    Bundle(Bundle),
}

/// Rules, and what upstream said of them.
type Read = Result<Option<(Base, Option<Told>)>, OfflineError>;

/// None when they are those of the last time.
async fn by_url(place: &Place, upstream: &Upstream, url: &str) -> Read {
    let asked = without_userinfo(url);
    let last = Seen::of_shared(place, Shared::Requirements, &asked);
    let known = last.and_then(|seen| seen.told.first().map(Told::validators));
    match upstream.rule_base(url, known).await? {
        Look::Read(base, validators) => Ok(Some((*base, Told::of(&asked, Some(&validators))))),
        Look::Unchanged => Ok(None),
    }
}

/// A bundle that has none had nobody who wanted them.
async fn by_bundle(bundle: &Bundle) -> Read {
    let Some(head) = bundle.shared(Shared::Requirements).await? else { return Ok(None) };
    let Some(packed) = head.files.get("rules") else { return Ok(None) };
    let text = bundle.shared_file(Shared::Requirements, packed).await?;
    let refused = |reason: String| UpstreamError::Refused { url: bundle.mirror().address(), reason };
    Ok(Some((Base::from_document(&text).map_err(|e| refused(e.to_string()))?, None)))
}
