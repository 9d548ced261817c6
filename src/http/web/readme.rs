//! READMEs as HTML, in a cache.

use std::sync::LazyLock;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::Digest as _;
use tokio::sync::Mutex;

use crate::model::digest::Sha256;
use crate::web::readme::{Format, Html, Links, render};

/// Expected number of entries of the cache.
const CACHE_ENTRIES: usize = 1000;
/// Size of the cache in bytes.
const CACHE_BYTES: u64 = 16 << 20;
/// Size of an entry without its HTML, in bytes.
const ENTRY_BYTES: usize = 512;

type Key = (Sha256, Format, Links);

#[derive(Clone)]
struct SizeWeighter;

impl Weighter<Key, Html> for SizeWeighter {
    fn weight(&self, _: &Key, html: &Html) -> u64 {
        (ENTRY_BYTES + html.size()) as u64
    }
}

static CACHE: LazyLock<Cache<Key, Html, SizeWeighter>> =
    LazyLock::new(|| Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES, SizeWeighter));

/// Held during a conversion: conversions are CPU-bound, so only one runs at a time.
static CONVERSION: Mutex<()> = Mutex::const_new(());

/// Converts a README; `None` if the server is stopping.
pub(super) async fn html(text: Vec<u8>, format: Format, links: Links) -> Option<Html> {
    let key = (Sha256(sha2::Sha256::digest(&text).into()), format, links);
    if let Some(html) = CACHE.get(&key) {
        return Some(html);
    }
    let guard = CONVERSION.lock().await;
    if let Some(html) = CACHE.get(&key) {
        return Some(html);
    }
    // In a separate task, which holds the lock until the conversion ends even if the client disconnects.
    let convert = move || {
        let _guard = guard;
        let converted = render(&text, key.1, &key.2);
        CACHE.insert(key, converted.clone());
        converted
    };
    tokio::task::spawn_blocking(convert).await.ok()
}
