//! Finds the README of a package file in a bundle.

use memchr::memmem;

use super::bundle::{Bundle, BundleError, UnpackedText, VerifiedHead};
use base::model::digest::Sha256;
use formats::bundle::segment::{ReadmeText, format_error};
use formats::bundle::{FormatError, Head, Product, Record, self_digest};

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

struct DirectoryBuilder {
    entries: Vec<(ShortDigest, ShortDigest, u32)>,
    segment: u32,
}

impl DirectoryBuilder {
    fn add(&mut self, record: Record) -> Result<(), String> {
        if let Record::Release(release) = record
            && let Some(readme) = release.readme
        {
            self.entries.push((short_digest(release.obj.sha256), short_digest(readme.sha256), self.segment));
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
        verified_head: &VerifiedHead,
    ) -> Result<Directory, BundleError> {
        let known_count = self.known_segment_count(&verified_head.head);
        let mut directory = if known_count > 0 { self.clone() } else { Directory::default() };
        for segment in &verified_head.head.segments[known_count..] {
            let segment_number = u32::try_from(directory.segments.len()).unwrap_or(u32::MAX);
            if segment.readmes.is_some() {
                let builder = DirectoryBuilder { entries: directory.entries, segment: segment_number };
                directory.entries =
                    bundle.fold_records(product, segment, builder, DirectoryBuilder::add).await?.entries;
            }
            directory.segments.push(segment.file.sha256);
        }
        directory.entries.sort_unstable();
        Ok(directory)
    }

    /// Returns the number of segments of a head that the directory has; 0 if they differ.
    fn known_segment_count(&self, head: &Head) -> usize {
        let is_prefix =
            self.segments.iter().zip(&head.segments).all(|(digest, segment)| *digest == segment.file.sha256);
        if is_prefix && self.segments.len() <= head.segments.len() { self.segments.len() } else { 0 }
    }

    pub(super) fn is_current(&self, head: &Head) -> bool {
        self.segments.len() == head.segments.len() && self.known_segment_count(head) == head.segments.len()
    }

    pub(super) async fn read(
        &self,
        bundle: &Bundle,
        product: &Product,
        head: &Head,
        file: Sha256,
    ) -> Result<Option<String>, BundleError> {
        let file = short_digest(file);
        let index = self.entries.partition_point(|(digest, ..)| *digest < file);
        let Some((_, readme, segment)) = self.entries.get(index).filter(|(digest, ..)| *digest == file)
        else {
            return Ok(None);
        };
        let segment = usize::try_from(*segment).ok().and_then(|index| head.segments.get(index));
        let Some(compressed_file) = segment.and_then(|segment| segment.readmes.as_ref()) else {
            return Ok(None);
        };
        let digest = *readme;
        bundle
            .read_compressed(&product.path(&compressed_file.path), compressed_file, move |text| {
                find_readme(text, digest)
            })
            .await
            .map(Some)
    }
}

fn short_digest(digest: Sha256) -> ShortDigest {
    let mut prefix = ShortDigest::default();
    prefix.copy_from_slice(&digest.0[..size_of::<ShortDigest>()]);
    prefix
}

/// Returns the README with this digest prefix from a file of READMEs. The rest of the file is neither read nor checked.
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
        let Some(readme) = readme.filter(|readme| short_digest(readme.sha256) == digest) else { continue };
        if self_digest::digest(readme.text.as_bytes()) == readme.sha256 {
            return Ok(readme.text);
        }
        return Err(FormatError::Damaged("a text does not match its sha256".to_owned()));
    }
    Err(FormatError::Damaged(format!("it lacks a README that its segment names: {digits}…")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::bundle::segment::LinesWriter;

    fn readme(text: &str) -> ReadmeText {
        ReadmeText { sha256: self_digest::digest(text.as_bytes()), text: text.to_owned() }
    }

    #[test]
    fn a_readme_is_found_by_its_digest_and_must_match_it() {
        let target = readme("# wanted\n");
        let with_digest_in_text = readme(&format!("see {}", target.sha256));
        let mut lines = LinesWriter::readmes();
        lines.push(&with_digest_in_text);
        lines.push(&target);
        let (bytes, file) = lines.pack("doc", 1).expect("memory");
        let text = formats::bundle::segment::unpack(&bytes, &file).expect("whole");
        let find = |digest| super::find_readme(&mut &text[..], digest);
        assert_eq!(find(short_digest(target.sha256)), Ok(target.text.clone()));
        assert_eq!(find(short_digest(with_digest_in_text.sha256)), Ok(with_digest_in_text.text));
        assert!(find([7; 16]).expect_err("not there").to_string().contains("it lacks a README"));
        let mut lines = LinesWriter::readmes();
        lines.push(&ReadmeText { text: "# another\n".to_owned(), ..target.clone() });
        let (bytes, file) = lines.pack("doc", 1).expect("memory");
        let text = formats::bundle::segment::unpack(&bytes, &file).expect("whole");
        let find = |digest| super::find_readme(&mut &text[..], digest);
        assert!(find(short_digest(target.sha256)).is_err(), "the text does not match the digest");
    }
}
