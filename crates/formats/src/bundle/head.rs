//! The head of a product: its only mutable file, which lists all segments with their digests.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256 as Hasher};

use super::text::{as_optional_text, as_text};
use super::{FormatError, Product, layout, self_digest};
use base::model::digest::Sha256;
use base::model::time::{Day, Timestamp};

/// The `format` of every head.
pub const FORMAT: &str = "rspm-bundle/1";
/// The reader level of this program: the highest `min_reader` that it supports.
pub const READER_LEVEL: u32 = 1;
/// Maximum number of segments; enough for more than ten years of daily runs.
const MAX_SEGMENTS: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub format: String,
    /// The name of the [`Product`].
    pub product: String,
    pub schema: u32,
    /// The lowest reader level that can read the product.
    pub min_reader: u32,
    /// The serial of the last segment.
    pub serial: u64,
    /// The day of the state after the last segment.
    #[serde(with = "as_text")]
    pub snapshot: Day,
    #[serde(with = "as_text")]
    pub created: Timestamp,
    /// The number of listed packages.
    pub packages: usize,
    /// The requested packages, if the bundle contains only these and their dependencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesRule>,
    /// The bundle on which an incremental bundle is based; `None` for a complete bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<IncrementalBase>,
    pub upstream: ProductOrigin,
    /// The stored heads of earlier days, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierHead>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentRef>,
    /// The digest over all segments: see [`Head::chain_of`].
    #[serde(with = "as_text")]
    pub chain: Sha256,
}

/// The rule by which files of Python packages were chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesRule {
    /// The platform tags for which wheels were included; empty for all.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// The minor versions of Python for which wheels were included; empty for all.
    #[serde(default)]
    pub pythons: Vec<String>,
    /// Whether source distributions were included.
    pub sdists: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncrementalBase {
    /// The earliest day that the snapshot of that bundle may have.
    #[serde(with = "as_text")]
    pub snapshot: Day,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierHead {
    pub path: String,
    #[serde(with = "as_text")]
    pub sha256: Sha256,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductOrigin {
    /// The URL or path, without user and password.
    pub address: String,
    /// The serial up to which the origin was read, if it is a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
}

/// The entry of a segment in a head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// The serial, which increases from segment to segment.
    pub serial: u64,
    /// The first day of its records.
    #[serde(with = "as_text")]
    pub from: Day,
    /// The last day of its records.
    #[serde(with = "as_text")]
    pub to: Day,
    #[serde(flatten)]
    pub file: CompressedFile,
    pub records: u64,
    /// The number of records that are releases.
    pub objects: u64,
    /// The total size of the releases' files in bytes.
    pub objects_size: u64,
    /// The digest of the previous segment; `None` for the first one of a bundle or of an incremental bundle.
    #[serde(default, with = "as_optional_text", skip_serializing_if = "Option::is_none")]
    pub prev: Option<Sha256>,
    /// The file with the READMEs of its records, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readmes: Option<CompressedFile>,
}

/// An immutable file, compressed with zstd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompressedFile {
    /// The path relative to the head.
    pub path: String,
    /// The size of the file in bytes.
    pub size: u64,
    #[serde(with = "as_text")]
    pub sha256: Sha256,
    /// The unpacked size in bytes.
    pub raw_size: u64,
}

impl Head {
    pub fn read(bytes: &[u8], product: &Product) -> Result<Head, FormatError> {
        /// The members that are read first, because the others may differ in a later schema.
        #[derive(Deserialize)]
        struct FormatMembers {
            format: String,
            product: String,
            schema: u32,
            min_reader: u32,
        }
        let declared_format: FormatMembers = self_digest::parse(bytes)?;
        if declared_format.product != product.to_string() {
            return Err(FormatError::damaged(format!(
                "it is the head of {}, not of {product}",
                declared_format.product
            )));
        }
        if declared_format.format != FORMAT
            || declared_format.schema != product.schema()
            || declared_format.min_reader > READER_LEVEL
        {
            return Err(FormatError::Newer(format!(
                "it is of format {}, schema {}, for readers of level {} or later; this program reads {FORMAT}, schema {} \
                 and level {READER_LEVEL}: install a newer one",
                declared_format.format,
                declared_format.schema,
                declared_format.min_reader,
                product.schema()
            )));
        }
        let head: Head = self_digest::parse(bytes)?;
        head.check()?;
        Ok(head)
    }

    pub fn bytes(&self) -> Vec<u8> {
        self_digest::serialize(self)
    }

    /// Returns the digest over the digests of the segments, in order.
    pub fn chain_of(segments: &[SegmentRef]) -> Sha256 {
        let mut hasher = Hasher::new();
        segments.iter().for_each(|segment| hasher.update(segment.file.sha256.0));
        Sha256(hasher.finalize().into())
    }

    /// Returns the path of the head's dated copy: see [`Product::dated_head_path`].
    pub fn dated_path(&self, product: &Product) -> String {
        product.dated_head_path(self.snapshot, self.base.is_some())
    }

    fn check(&self) -> Result<(), FormatError> {
        let fail =
            |problem: &str| Err(FormatError::damaged(format!("its segments are inconsistent: {problem}")));
        if self.segments.len() > MAX_SEGMENTS {
            return fail("there are too many");
        }
        if Head::chain_of(&self.segments) != self.chain {
            return fail("their digests do not match the chain");
        }
        if self.segments.last().is_none_or(|last| last.serial != self.serial) {
            return fail("the last one does not have the serial of the head");
        }
        for pair in self.segments.windows(2) {
            let [previous, next] = pair else { continue };
            // The first segment of an incremental bundle has no `prev`.
            if next.prev.is_some_and(|prev| prev != previous.file.sha256) {
                return fail(&format!("segment {} does not follow segment {}", next.serial, previous.serial));
            }
            if next.serial <= previous.serial {
                return fail("their serials do not increase");
            }
        }
        let files =
            self.segments.iter().flat_map(|segment| std::iter::once(&segment.file).chain(&segment.readmes));
        let earlier_heads = self.earlier.iter().map(|head| &head.path);
        for path in files.map(|file| &file.path).chain(earlier_heads) {
            if !layout::is_safe_path(path) {
                return fail(&format!("'{}' is not a path of a bundle", path.escape_debug()));
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
            files: None,
            base: None,
            upstream: ProductOrigin { address: "https://cran.example".to_owned(), serial: None },
            earlier: Vec::new(),
            chain: Head::chain_of(&segments),
            segments,
        }
    }

    fn segment(serial: u64, prev: Option<[u8; 32]>) -> SegmentRef {
        let sha256 = Sha256([u8::try_from(serial).unwrap_or(0); 32]);
        let day = "2026-11-20".parse().expect("a day");
        let file = CompressedFile { path: format!("log/{serial}.ndjson.zst"), size: 1, sha256, raw_size: 2 };
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
        let expected = head(vec![segment(1, None), segment(2, Some([1; 32])), segment(5, None)]);
        assert_eq!(Head::read(&expected.bytes(), &Product::Cran), Ok(expected));
    }

    #[test]
    fn segments_must_be_contiguous() {
        let message =
            |head: &Head| Head::read(&head.bytes(), &Product::Cran).expect_err("broken").to_string();
        assert!(
            message(&head(vec![segment(1, None), segment(2, Some([7; 32]))])).contains("does not follow")
        );
        assert!(message(&head(vec![segment(2, None), segment(2, None)])).contains("do not increase"));
        assert!(message(&head(Vec::new())).contains("serial of the head"));
        let mut head_with_bad_chain = head(vec![segment(1, None)]);
        head_with_bad_chain.chain = Sha256([0; 32]);
        assert!(message(&head_with_bad_chain).contains("the chain"));
        let mut head_with_bad_path = head(vec![segment(1, None)]);
        head_with_bad_path.segments[0].file.path = "../../etc/passwd".to_owned();
        assert!(message(&head_with_bad_path).contains("not a path of a bundle"));
    }

    #[test]
    fn a_newer_format_is_reported() {
        for change in [
            |h: &mut Head| h.schema = 4,
            |h: &mut Head| h.min_reader = 2,
            |h: &mut Head| h.format = "x/9".into(),
        ] {
            let mut newer_head = head(vec![segment(1, None)]);
            change(&mut newer_head);
            let error = Head::read(&newer_head.bytes(), &Product::Cran).expect_err("newer");
            assert!(
                matches!(&error, FormatError::Newer(text) if text.contains("install a newer one")),
                "{error}"
            );
        }
        let result =
            Head::read(&head(vec![segment(1, None)]).bytes(), &Product::Bioconductor("3.20".to_owned()));
        assert!(result.expect_err("another product").to_string().contains("head of cran"));
    }
}
