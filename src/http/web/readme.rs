//! READMEs as HTML, in a cache.

use std::sync::LazyLock;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::Digest as _;
use tokio::sync::Semaphore;

use crate::model::digest::Sha256;
use crate::web::readme::{Format, Html, HtmlTemplate, Links, convert};

/// Expected number of entries of the cache.
const CACHE_ENTRIES: usize = 1000;
/// Size of the cache in bytes.
const CACHE_BYTES: u64 = 16 << 20;
/// Size of an entry without its HTML, in bytes.
const ENTRY_BYTES: usize = 512;

/// The text, and the pages and figures to which it may link, without their addresses: the snapshots of a repository have
/// the same text at different addresses.
type Key = (Sha256, Format, Links);

#[derive(Clone)]
struct SizeWeighter;

impl Weighter<Key, HtmlTemplate> for SizeWeighter {
    fn weight(&self, _: &Key, converted: &HtmlTemplate) -> u64 {
        (ENTRY_BYTES + converted.size()) as u64
    }
}

static CACHE: LazyLock<Cache<Key, HtmlTemplate, SizeWeighter>> =
    LazyLock::new(|| Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES, SizeWeighter));

/// Number of conversions at the same time: they are CPU-bound.
const CONVERSIONS: usize = 2;

/// Has a permit for each conversion that may begin.
static PERMITS: Semaphore = Semaphore::const_new(CONVERSIONS);

/// Converts a README; `None` if the server is stopping.
pub(super) async fn html(text: Vec<u8>, format: Format, links: Links) -> Option<Html> {
    let key = (Sha256(sha2::Sha256::digest(&text).into()), format, links.placeholders());
    if let Some(converted) = CACHE.get(&key) {
        return Some(converted.with_addresses(&links));
    }
    let permit = PERMITS.acquire().await.ok()?;
    if let Some(converted) = CACHE.get(&key) {
        return Some(converted.with_addresses(&links));
    }
    // In a separate task, which has the permit until the conversion ends even if the client disconnects.
    let in_task = move || {
        let _permit = permit;
        let converted = convert(&text, key.1, &key.2);
        CACHE.insert(key, converted.clone());
        converted
    };
    let converted = tokio::task::spawn_blocking(in_task).await.ok()?;
    Some(converted.with_addresses(&links))
}
