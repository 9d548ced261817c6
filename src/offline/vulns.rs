//! `get vulns`: advisories for packages, from wherever a server could read them.

use std::collections::BTreeMap;

use super::args::GetVulns;
use super::cran::{defaults, setup};
use super::error::{Ending, OfflineError};
use super::progress::Voice;
use super::shared::write;
use crate::advisory::{Batch, Ecosystem};
use crate::bundle::shared::Shared;
use crate::upstream::UpstreamError;
use crate::upstream::advisories::{Feed, Look};
use crate::upstream::bundle::Bundle;

/// `get vulns`.
pub(super) async fn get(args: GetVulns, voice: Voice) -> Result<Ending, OfflineError> {
    let wanted = if args.types.is_empty() { Ecosystem::ALL.to_vec() } else { args.types };
    let public = || defaults().map(|config| config.vulnerabilities.urls.first().cloned().unwrap_or_default());
    let url = args.base_url.map_or_else(public, Ok)?;
    let setup = setup(args.common, place_of(&url), None, voice)?;
    let now = setup.wish.now;
    voice.say("Downloading advisories");
    let source = Bundle::at(setup.mirror.clone());
    let documents = match source.shared(Shared::Advisories).await {
        Ok(Some(head)) => {
            let mut documents = BTreeMap::new();
            for (name, packed) in &head.files {
                if wanted.iter().any(|ecosystem| name_of(*ecosystem) == *name) {
                    let text = source.shared_file(Shared::Advisories, packed).await?;
                    documents.insert(name.clone(), (text, "ndjson.zst"));
                }
            }
            documents
        }
        // What is no bundle is one of the other places that a server reads.
        Ok(None) | Err(_) => collected(&setup.upstream, &url, &wanted, voice).await?,
    };
    let count = |text: &[u8]| text.iter().filter(|b| **b == b'\n').count();
    let told: Vec<String> =
        documents.iter().map(|(name, (text, _))| format!("{name}: {} advisories", count(text))).collect();
    if documents.values().all(|(text, _)| text.is_empty()) {
        return Err(OfflineError::Refused(format!(
            "{} has no advisory for any of these; nothing was changed. Give another address with --base-url",
            setup.mirror.address()
        )));
    }
    if !setup.wish.dry {
        write(&setup.place, Shared::Advisories, documents, now)?;
    }
    voice.say(&told.join(", "));
    Ok(Ending::Complete)
}

/// The folder of an address that names a file.
fn place_of(url: &str) -> &str {
    match url.trim_end_matches('/').rsplit_once('/') {
        Some((folder, file))
            if [".zip", ".gz", ".ndjson", ".zst"].iter().any(|ending| file.ends_with(ending)) =>
        {
            folder
        }
        _ => url,
    }
}

/// The file of an ecosystem.
fn name_of(ecosystem: Ecosystem) -> String {
    ecosystem.as_str().to_ascii_lowercase()
}

async fn collected(
    upstream: &crate::upstream::Upstream,
    url: &str,
    wanted: &[Ecosystem],
    voice: Voice,
) -> Result<BTreeMap<String, (Vec<u8>, &'static str)>, OfflineError> {
    let mut all = Batch::default();
    for feed in Feed::of(url, wanted) {
        match upstream.advisories(&feed, None, async { None }).await? {
            Look::Read(batch, _) => all.merge(*batch),
            Look::Unchanged => {}
            Look::Absent => voice.warn(&format!("{} is not there", feed.name())),
        }
    }
    let (left_out, some) = all.left_out();
    for one in some.iter().take(5) {
        voice.warn(&format!("{} is left out: {}", one.file, one.reason));
    }
    if left_out > 5 {
        voice.warn(&format!("and {} more files are left out", left_out - 5));
    }
    let document = |ecosystem: &Ecosystem| {
        let text: String = all.lines(Some(*ecosystem)).flat_map(|line| [line, "\n"]).collect();
        (name_of(*ecosystem), (text.into_bytes(), "ndjson.zst"))
    };
    let documents: BTreeMap<_, _> = wanted.iter().map(document).collect();
    if documents.is_empty() {
        return Err(UpstreamError::Missing(url.to_owned()).into());
    }
    Ok(documents)
}
