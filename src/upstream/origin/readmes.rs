//! Finds the README of a package file in a bundle.

use memchr::memmem;

use super::bundle::{Bundle, BundleError, UnpackedText, Verified};
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
    places: Vec<(ShortDigest, ShortDigest, u32)>,
    segment: u32,
}

impl DirectoryBuilder {
    fn take(&mut self, record: Record) -> Result<(), String> {
        if let Record::Ver(ver) = record
            && let Some(readme) = ver.readme
        {
            self.places.push((short(ver.obj.sha256), short(readme.sha256), self.segment));
        }
        Ok(())
    }
}

impl Directory {
    /// Returns the directory for a head; only new segments are read.
    pub(super) async fn updated(
        &self,
        bundle: &Bundle,
        product: &Product,
        verified: &Verified,
    ) -> Result<Directory, BundleError> {
        let known = self.known(&verified.head);
        let mut next = if known > 0 { self.clone() } else { Directory::default() };
        for segment in &verified.head.segments[known..] {
            let segment_number = u32::try_from(next.segments.len()).unwrap_or(u32::MAX);
            if segment.readmes.is_some() {
                let growing = DirectoryBuilder { places: next.entries, segment: segment_number };
                next.entries = bundle.gather(product, segment, growing, DirectoryBuilder::take).await?.places;
            }
            next.segments.push(segment.file.sha256);
        }
        next.entries.sort_unstable();
        Ok(next)
    }

    /// Returns how many segments of a head the directory has; 0 if they differ.
    fn known(&self, head: &Head) -> usize {
        let same = self.segments.iter().zip(&head.segments).all(|(known, found)| *known == found.file.sha256);
        if same && self.segments.len() <= head.segments.len() { self.segments.len() } else { 0 }
    }

    /// Returns whether it is the directory of a head.
    pub(super) fn is_current(&self, head: &Head) -> bool {
        self.segments.len() == head.segments.len() && self.known(head) == head.segments.len()
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
        let at = self.entries.partition_point(|(known, ..)| *known < file);
        let Some((_, readme, segment)) = self.entries.get(at).filter(|(known, ..)| *known == file) else {
            return Ok(None);
        };
        let segment = usize::try_from(*segment).ok().and_then(|place| head.segments.get(place));
        let Some(packed) = segment.and_then(|segment| segment.readmes.as_ref()) else { return Ok(None) };
        let wanted = *readme;
        bundle
            .read_packed(&product.path(&packed.path), packed, move |text| find_readme(text, wanted))
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
fn find_readme(text: UnpackedText<'_>, wanted: ShortDigest) -> Result<String, FormatError> {
    let digits = hex::encode(wanted);
    let mut line = Vec::new();
    while {
        line.clear();
        text.read_until(b'\n', &mut line).map_err(format_error)? > 0
    } {
        // Another README may contain this digest in its text.
        let speaks = memmem::find(&line, digits.as_bytes()).is_some();
        let readme = speaks.then(|| serde_json::from_slice::<ReadmeText>(&line).ok()).flatten();
        let Some(readme) = readme.filter(|readme| short(readme.sha256) == wanted) else { continue };
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
        let wanted = readme("# wanted\n");
        let speaks = readme(&format!("see {}", wanted.sha256));
        let mut lines = LinesWriter::readmes();
        lines.push(&speaks);
        lines.push(&wanted);
        let (bytes, packed) = lines.pack("doc", 1).expect("memory");
        let text = crate::bundle::segment::unpack(&bytes, &packed).expect("whole");
        let found = |wanted| super::find_readme(&mut &text[..], wanted);
        assert_eq!(found(short(wanted.sha256)), Ok(wanted.text.clone()));
        assert_eq!(found(short(speaks.sha256)), Ok(speaks.text));
        assert!(found([7; 16]).expect_err("not there").to_string().contains("it lacks a README"));
        let mut lines = LinesWriter::readmes();
        lines.push(&ReadmeText { text: "# another\n".to_owned(), ..wanted.clone() });
        let (bytes, packed) = lines.pack("doc", 1).expect("memory");
        let text = crate::bundle::segment::unpack(&bytes, &packed).expect("whole");
        let found = |wanted| super::find_readme(&mut &text[..], wanted);
        assert!(found(short(wanted.sha256)).is_err(), "a wrong text is none");
    }
}
