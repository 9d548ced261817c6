//! Finds the README of a package file in a bundle.

use memchr::memmem;

use super::bundle::{Bundle, BundleError, UnpackedText, VerifiedHead};
use crate::bundle::segment::{ReadmeText, format_error};
use crate::bundle::{FormatError, Head, Product, Record, seal};
use crate::model::digest::Sha256;

/// The first half of a digest; collisions are infeasible.
type ShortDigest = [u8; 16];

/// Locations of the READMEs of a product: about 36 bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// The segments that were read, oldest first.
    segments: Vec<Sha256>,
    /// Package file, README, and index of the segment; sorted by package file.
    entries: Vec<(ShortDigest, ShortDigest, u32)>,
}

/// A directory to which the records of one segment are added.
struct DirectoryBuilder {
    indexes: Vec<(ShortDigest, ShortDigest, u32)>,
    segment: u32,
}

impl DirectoryBuilder {
    fn take(&mut self, record: Record) -> Result<(), String> {
        if let Record::Release(ver) = record
            && let Some(readme) = ver.readme
        {
            self.indexes.push((short(ver.obj.sha256), short(readme.sha256), self.segment));
        }
        Ok(())
    }
}

impl Directory {
    /// Returns the directory for a head; only new segments are read.
    pub(super) async fn update(
        &self,
        bundle: &Bundle,
        product: &Product,
        verified: &VerifiedHead,
    ) -> Result<Directory, BundleError> {
        let same_segments = self.known_segments(&verified.head);
        let mut next = if same_segments > 0 { self.clone() } else { Directory::default() };
        for segment in &verified.head.segments[same_segments..] {
            let segment_number = u32::try_from(next.segments.len()).unwrap_or(u32::MAX);
            if segment.readmes.is_some() {
                let growing = DirectoryBuilder { indexes: next.entries, segment: segment_number };
                next.entries =
                    bundle.gather(product, segment, growing, DirectoryBuilder::take).await?.indexes;
            }
            next.segments.push(segment.file.sha256);
        }
        next.entries.sort_unstable();
        Ok(next)
    }

    /// Returns how many segments of a head the directory has; 0 if they differ.
    fn known_segments(&self, head: &Head) -> usize {
        let same =
            self.segments.iter().zip(&head.segments).all(|(digest, found)| *digest == found.file.sha256);
        if same && self.segments.len() <= head.segments.len() { self.segments.len() } else { 0 }
    }

    /// Returns whether it is the directory of a head.
    pub(super) fn is_current(&self, head: &Head) -> bool {
        self.segments.len() == head.segments.len() && self.known_segments(head) == head.segments.len()
    }

    /// Reads the README of a package file.
    pub(super) async fn read(
        &self,
        bundle: &Bundle,
        product: &Product,
        head: &Head,
        file: Sha256,
    ) -> Result<Option<String>, BundleError> {
        let file = short(file);
        let at = self.entries.partition_point(|(digest, ..)| *digest < file);
        let Some((_, readme, segment)) = self.entries.get(at).filter(|(digest, ..)| *digest == file) else {
            return Ok(None);
        };
        let segment = usize::try_from(*segment).ok().and_then(|index| head.segments.get(index));
        let Some(packed) = segment.and_then(|segment| segment.readmes.as_ref()) else { return Ok(None) };
        let digest = *readme;
        bundle
            .read_packed(&product.path(&packed.path), packed, move |text| find_readme(text, digest))
            .await
            .map(Some)
    }
}

fn short(digest: Sha256) -> ShortDigest {
    let mut short = ShortDigest::default();
    short.copy_from_slice(&digest.0[..size_of::<ShortDigest>()]);
    short
}

/// Returns the README with this digest prefix from a file of READMEs. Stops reading there: the rest is not checked.
fn find_readme(text: UnpackedText<'_>, digest: ShortDigest) -> Result<String, FormatError> {
    let digits = hex::encode(digest);
    let mut line = Vec::new();
    while {
        line.clear();
        text.read_until(b'\n', &mut line).map_err(format_error)? > 0
    } {
        // Another README may contain this digest in its text.
        let has_digest = memmem::find(&line, digits.as_bytes()).is_some();
        let readme = has_digest.then(|| serde_json::from_slice::<ReadmeText>(&line).ok()).flatten();
        let Some(readme) = readme.filter(|readme| short(readme.sha256) == digest) else { continue };
        if seal::digest(readme.text.as_bytes()) == readme.sha256 {
            return Ok(readme.text);
        }
        return Err(FormatError::Damaged("a text does not match its sha256".to_owned()));
    }
    Err(FormatError::Damaged(format!("it lacks a README that its segment names: {digits}…")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::segment::LinesWriter;

    fn readme(text: &str) -> ReadmeText {
        ReadmeText { sha256: seal::digest(text.as_bytes()), text: text.to_owned() }
    }

    #[test]
    fn a_readme_is_found_by_its_digest_and_must_match_it() {
        let digest = readme("# wanted\n");
        let has_digest = readme(&format!("see {}", digest.sha256));
        let mut lines = LinesWriter::readmes();
        lines.push(&has_digest);
        lines.push(&digest);
        let (bytes, packed) = lines.pack("doc", 1).expect("memory");
        let text = crate::bundle::segment::unpack(&bytes, &packed).expect("whole");
        let found = |digest| super::find_readme(&mut &text[..], digest);
        assert_eq!(found(short(digest.sha256)), Ok(digest.text.clone()));
        assert_eq!(found(short(has_digest.sha256)), Ok(has_digest.text));
        assert!(found([7; 16]).expect_err("not there").to_string().contains("it lacks a README"));
        let mut lines = LinesWriter::readmes();
        lines.push(&ReadmeText { text: "# another\n".to_owned(), ..digest.clone() });
        let (bytes, packed) = lines.pack("doc", 1).expect("memory");
        let text = crate::bundle::segment::unpack(&bytes, &packed).expect("whole");
        let found = |digest| super::find_readme(&mut &text[..], digest);
        assert!(found(short(digest.sha256)).is_err(), "a wrong text is none");
    }
}
