//! Counts downloads in memory until they are written.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use base::model::ids::SourceId;
use base::model::kind::Language;
use base::model::time::Timestamp;
use store::db::download::Count;

/// Number of shards. Each thread always uses the same one, so that threads rarely wait for each other.
const SHARDS: usize = 8;
/// Maximum number of counters of several hundred bytes. While the database is unavailable, further counts are lost.
const MAX_COUNTERS: usize = 100_000;
/// Maximum length of a name in bytes.
const MAX_NAME: usize = 1024;

#[derive(Clone, Copy)]
pub struct Download<'a> {
    pub at: Timestamp,
    pub source: SourceId,
    pub package: &'a str,
    pub version: &'a str,
    /// The platform of the binary, as in `X-Package-Binary-Tag`; `None` for the source package.
    pub platform: Option<&'a dyn Display>,
}

#[derive(Default)]
pub(super) struct Tally {
    /// Counts by key: the other columns of the row as one byte string, so that a lookup needs no allocation.
    shards: [Mutex<HashMap<Box<[u8]>, i64>>; SHARDS],
    len: AtomicUsize,
}

thread_local! {
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl Tally {
    /// Counts a download. Returns false if the maximum number of counters is reached, or if a name is too long.
    pub(super) fn count(&self, language: Language, source: &str, download: &Download<'_>) -> bool {
        KEY.with_borrow_mut(|key| {
            if encode_key(key, language, source, download).is_none() {
                return false;
            }
            let mut shard = self.shards[SHARD.with(|shard| *shard)].lock();
            if let Some(count) = shard.get_mut(key.as_slice()) {
                *count += 1;
                return true;
            }
            if self.len.load(Ordering::Relaxed) >= MAX_COUNTERS {
                return false;
            }
            self.len.fetch_add(1, Ordering::Relaxed);
            shard.insert(key.as_slice().into(), 1);
            true
        })
    }

    pub(super) fn take(&self) -> Vec<Count> {
        let mut totals: BTreeMap<Box<[u8]>, i64> = BTreeMap::new();
        for shard in &self.shards {
            let counts = std::mem::take(&mut *shard.lock());
            self.len.fetch_sub(counts.len(), Ordering::Relaxed);
            for (key, count) in counts {
                *totals.entry(key).or_default() += count;
            }
        }
        totals.into_iter().filter_map(|(key, count)| decode_key(&key, count)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
}

/// Encodes a key. Its parts have length prefixes, so that it is unambiguous. `None` if a part is too long.
fn encode_key(key: &mut Vec<u8>, language: Language, source: &str, download: &Download<'_>) -> Option<()> {
    key.clear();
    key.extend_from_slice(&download.at.day_number().to_be_bytes());
    for text in [language.as_str(), source, download.package, download.version] {
        push_part(key, |key| key.extend_from_slice(text.as_bytes()))?;
    }
    push_part(key, |key| match download.platform {
        None => key.extend_from_slice(b"source"),
        // Writing to memory cannot fail.
        Some(platform) => drop(write!(key, "{platform}")),
    })
}

/// Appends a part, preceded by its length. `None` if it is too long.
fn push_part(key: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Option<()> {
    let start = key.len();
    key.extend_from_slice(&[0; 2]);
    let text_start = key.len();
    write(key);
    let length = u16::try_from(key.len() - text_start).ok().filter(|&n| usize::from(n) <= MAX_NAME)?;
    key[start..text_start].copy_from_slice(&length.to_be_bytes());
    Some(())
}

/// Decodes a key that [`encode_key`] encoded.
fn decode_key(key: &[u8], count: i64) -> Option<Count> {
    let (day, mut rest) = key.split_first_chunk()?;
    let mut part = || {
        let (length, text) = rest.split_first_chunk()?;
        let (text, remainder) = text.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = remainder;
        std::str::from_utf8(text).ok().map(str::to_owned)
    };
    Some(Count {
        day: i64::from_be_bytes(*day),
        language: part()?,
        source: part()?,
        package: part()?,
        version: part()?,
        platform: part()?,
        count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::DAY;
    use proptest::prelude::*;

    fn download<'a>(package: &'a str, version: &'a str) -> Download<'a> {
        Download { at: Timestamp(DAY * 3 + 7), source: SourceId::CRAN, package, version, platform: None }
    }

    fn count(tally: &Tally, download: &Download<'_>) -> bool {
        tally.count(Language::R, "cran", download)
    }

    #[test]
    fn equal_downloads_are_counted_in_one_row() {
        let tally = Tally::default();
        for (package, version) in [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")] {
            assert!(count(&tally, &download(package, version)));
        }
        let binary_download = Download { platform: Some(&"4.5-noble"), ..download("a", "1") };
        let later_download = Download { at: Timestamp(DAY * 4), ..download("a", "1") };
        assert!(count(&tally, &binary_download) && count(&tally, &later_download));
        assert_eq!(tally.len(), 5);
        let mut rows = tally.take();
        rows.sort();
        let fields: Vec<_> = rows
            .iter()
            .map(|n| (n.day, n.package.as_str(), n.version.as_str(), n.platform.as_str(), n.count))
            .collect();
        assert_eq!(
            fields,
            [
                (3, "a", "1", "4.5-noble", 1),
                (3, "a", "1", "source", 2),
                (3, "a", "2", "source", 1),
                (3, "b", "1", "source", 1),
                (4, "a", "1", "source", 1),
            ]
        );
        assert_eq!((tally.take().len(), tally.len()), (0, 0));
    }

    #[test]
    fn the_counts_of_threads_are_added() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| (0..1000).for_each(|_| assert!(count(&tally, &download("a", "1")))));
            }
        });
        let rows = tally.take();
        assert_eq!((rows.len(), rows[0].count), (1, 16_000));
    }

    #[test]
    fn existing_counters_are_incremented_at_the_maximum_number() {
        let tally = Tally::default();
        let names: Vec<String> = (0..=MAX_COUNTERS).map(|n| n.to_string()).collect();
        let success_count = names.iter().filter(|name| count(&tally, &download(name, "1"))).count();
        assert_eq!(success_count, MAX_COUNTERS);
        assert!(count(&tally, &download("0", "1")) && !count(&tally, &download(&names[MAX_COUNTERS], "1")));
        assert_eq!(tally.take().iter().map(|n| n.count).sum::<i64>(), MAX_COUNTERS as i64 + 1);
        assert!(count(&tally, &download("x", "1")));
        assert!(!count(&tally, &download(&"x".repeat(MAX_NAME + 1), "1")));
    }

    proptest! {
        #[test]
        fn counted_downloads_are_returned(parts in proptest::array::uniform4("\\PC{0,12}"), day in 0..40_000_i64) {
            let tally = Tally::default();
            let [source, package, version, platform] = &parts;
            let at = Timestamp(day * DAY);
            let download = Download { at, source: SourceId(7), package, version, platform: Some(platform) };
            let is_counted = tally.count(Language::Python, source, &download);
            prop_assert!(is_counted);
            let expected = Count {
                day,
                language: "python".to_owned(),
                source: source.clone(),
                package: package.clone(),
                version: version.clone(),
                platform: platform.clone(),
                count: 1,
            };
            prop_assert_eq!(tally.take(), [expected]);
        }
    }
}
