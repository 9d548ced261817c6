//! The head of a product: the one mutable file, which names every segment with its digest.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256 as Hasher};

use super::text::{maybe, shown};
use super::{Broken, Product, layout, seal};
use crate::model::digest::Sha256;
use crate::model::time::{Day, Timestamp};

/// What every head begins with.
pub const FORMAT: &str = "rspm-bundle/1";
/// What this program can read: the greatest `min_reader`.
pub const READER: u32 = 1;
/// More segments than ten years of daily runs.
const SEGMENTS: usize = 10_000;

/// A head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: String,
    /// As [`Product`] is written.
    pub product: String,
    /// Its schema.
    pub schema: u32,
    /// The least reader that does not misunderstand it.
    pub min_reader: u32,
    /// Of the last segment.
    pub serial: u64,
    /// The day whose state the last segment closes.
    #[serde(with = "shown")]
    pub snapshot: Day,
    /// When the head was written.
    #[serde(with = "shown")]
    pub created: Timestamp,
    /// How many packages are listed.
    pub packages: usize,
    /// Only some packages and what they need were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<Vec<String>>,
    /// It is a difference: the rest is in an earlier bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// Where it came from.
    pub upstream: Upstream,
    /// Heads of earlier days that are kept, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
    /// Oldest first.
    pub segments: Vec<SegmentRef>,
    /// [`Head::chain_of`].
    #[serde(with = "shown")]
    pub chain: Sha256,
}

/// What a difference goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The earlier bundle's snapshot is this day or a later one.
    #[serde(with = "shown")]
    pub snapshot: Day,
}

/// The head of an earlier day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// Its file.
    pub path: String,
    /// Of the file.
    #[serde(with = "shown")]
    pub sha256: Sha256,
}

/// Where a product came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Without user and password.
    pub address: String,
    /// Of a bundle: the serial up to which it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
}

/// A segment, as a head names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// Grows from segment to segment.
    pub serial: u64,
    /// The first day of its records.
    #[serde(with = "shown")]
    pub from: Day,
    /// The last.
    #[serde(with = "shown")]
    pub to: Day,
    /// Its file.
    #[serde(flatten)]
    pub file: Packed,
    /// Records in it.
    pub records: u64,
    /// Releases among them.
    pub objects: u64,
    /// Bytes of their files.
    pub objects_size: u64,
    /// The digest of the segment before it; the first one of a bundle or of a difference has none.
    #[serde(default, with = "maybe", skip_serializing_if = "Option::is_none")]
    pub prev: Option<Sha256>,
    /// The READMEs its records name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readmes: Option<Packed>,
}

/// An immutable file, compressed by zstd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Relative to the head.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of the file.
    #[serde(with = "shown")]
    pub sha256: Sha256,
    /// Bytes of what is compressed.
    pub raw_size: u64,
}

impl Head {
    /// Reads the head of a product.
    ///
    /// # Errors
    /// Damaged, of another product, or for later programs.
    pub fn read(bytes: &[u8], product: &Product) -> Result<Head, Broken> {
        /// What is looked at first: of a later schema the rest may be anything.
        #[derive(Deserialize)]
        struct Kind {
            format: String,
            product: String,
            schema: u32,
            min_reader: u32,
        }
        let kind: Kind = seal::open(bytes)?;
        if kind.product != product.to_string() {
            return Err(Broken::damaged(format!("it is the head of {}, not of {product}", kind.product)));
        }
        if kind.format != FORMAT || kind.schema != product.schema() || kind.min_reader > READER {
            return Err(Broken::Newer(format!(
                "it is of format {}, schema {}, for readers of level {} or later; this program reads {FORMAT}, schema {} \
                 and level {READER}: install a newer one",
                kind.format,
                kind.schema,
                kind.min_reader,
                product.schema()
            )));
        }
        let head: Head = seal::open(bytes)?;
        head.check()?;
        Ok(head)
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        seal::seal(self)
    }

    /// The digest over the digests of segments in their order.
    #[must_use]
    pub fn chain_of(segments: &[SegmentRef]) -> Sha256 {
        let mut hasher = Hasher::new();
        segments.iter().for_each(|segment| hasher.update(segment.file.sha256.0));
        Sha256(hasher.finalize().into())
    }

    /// Its path beside the head: see [`Product::head_of`].
    #[must_use]
    pub fn copy(&self, product: &Product) -> String {
        product.head_of(self.snapshot, self.base.is_some())
    }

    fn check(&self) -> Result<(), Broken> {
        let wrong = |what: &str| Err(Broken::damaged(format!("its segments do not fit together: {what}")));
        if self.segments.len() > SEGMENTS {
            return wrong("there are too many");
        }
        if Head::chain_of(&self.segments) != self.chain {
            return wrong("they are not those the chain was made of");
        }
        if self.segments.last().is_none_or(|last| last.serial != self.serial) {
            return wrong("the last one has not the serial of the head");
        }
        for pair in self.segments.windows(2) {
            let [before, after] = pair else { continue };
            // A segment without predecessor joins a difference to its base.
            if after.prev.is_some_and(|prev| prev != before.file.sha256) {
                return wrong("one does not follow the one before it");
            }
            if after.serial <= before.serial {
                return wrong("their serials do not grow");
            }
        }
        let files =
            self.segments.iter().flat_map(|segment| std::iter::once(&segment.file).chain(&segment.readmes));
        let earlier = self.earlier.iter().map(|earlier| &earlier.path);
        for path in files.map(|file| &file.path).chain(earlier) {
            if !layout::is_inside(path) {
                return wrong(&format!("'{}' is no path of a bundle", path.escape_debug()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn head(segments: Vec<SegmentRef>) -> Head {
        Head {
            format: FORMAT.to_owned(),
            product: "cran".to_owned(),
            schema: 3,
            min_reader: 1,
            serial: segments.last().map_or(0, |last| last.serial),
            snapshot: "2026-11-20".parse().expect("a day"),
            created: Timestamp(0),
            packages: 1,
            subset: None,
            base: None,
            upstream: Upstream { address: "https://cran.example".to_owned(), serial: None },
            earlier: Vec::new(),
            chain: Head::chain_of(&segments),
            segments,
        }
    }

    fn segment(serial: u64, prev: Option<[u8; 32]>) -> SegmentRef {
        let sha256 = Sha256([u8::try_from(serial).unwrap_or(0); 32]);
        let day = "2026-11-20".parse().expect("a day");
        let file = Packed { path: format!("log/{serial}.ndjson.zst"), size: 1, sha256, raw_size: 2 };
        let prev = prev.map(Sha256);
        SegmentRef {
            serial,
            from: day,
            to: day,
            file,
            records: 1,
            objects: 1,
            objects_size: 5,
            prev,
            readmes: None,
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let written = head(vec![segment(1, None), segment(2, Some([1; 32])), segment(5, None)]);
        assert_eq!(Head::read(&written.bytes(), &Product::Cran), Ok(written));
    }

    #[test]
    fn segments_must_follow_each_other() {
        let told = |head: &Head| Head::read(&head.bytes(), &Product::Cran).expect_err("broken").to_string();
        assert!(told(&head(vec![segment(1, None), segment(2, Some([7; 32]))])).contains("does not follow"));
        assert!(told(&head(vec![segment(2, None), segment(2, None)])).contains("do not grow"));
        assert!(told(&head(Vec::new())).contains("serial of the head"));
        let mut other = head(vec![segment(1, None)]);
        other.chain = Sha256([0; 32]);
        assert!(told(&other).contains("the chain"));
        let mut out = head(vec![segment(1, None)]);
        out.segments[0].file.path = "../../etc/passwd".to_owned();
        assert!(told(&out).contains("no path of a bundle"));
    }

    #[test]
    fn what_a_later_program_wrote_is_named() {
        for change in [
            |h: &mut Head| h.schema = 4,
            |h: &mut Head| h.min_reader = 2,
            |h: &mut Head| h.format = "x/9".into(),
        ] {
            let mut later = head(vec![segment(1, None)]);
            change(&mut later);
            let error = Head::read(&later.bytes(), &Product::Cran).expect_err("newer");
            assert!(matches!(&error, Broken::Newer(text) if text.contains("install a newer one")), "{error}");
        }
        let other =
            Head::read(&head(vec![segment(1, None)]).bytes(), &Product::Bioconductor("3.20".to_owned()));
        assert!(other.expect_err("another").to_string().contains("head of cran"));
    }
}
