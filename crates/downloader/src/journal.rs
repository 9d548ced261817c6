//! Journal of downloaded releases that are not yet in a segment, one per line, so that a killed run can be resumed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use super::destination::Destination;
use super::error::OfflineError;
use base::model::digest::Sha256;
use formats::bundle::segment::ReadmeText;
use formats::bundle::{Product, ProductState, Record, ReleaseRecord, self_digest};

/// Names of the journal's two files, in the folder of the product's head.
pub(super) const FILES: [&str; 2] = [".releases.ndjson", ".readmes.ndjson"];

pub(super) struct Journal {
    releases: Lines,
    readmes: Lines,
    /// Digests of the READMEs in the journal.
    known_readmes: HashSet<Sha256>,
    /// Start of the download that an earlier run did not finish, if the file system records it.
    pub(super) start_time: Option<SystemTime>,
    /// Every release in the journal, without the fields of its DESCRIPTION.
    pub(super) entries: Vec<(ReleaseRecord, LineSpan)>,
}

/// Position of a line in the file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineSpan {
    offset: u64,
    length: usize,
}

/// A file to which lines are appended.
struct Lines {
    path: PathBuf,
    file: File,
    /// Size of the complete lines, in bytes.
    size: u64,
}

impl Lines {
    fn open(path: PathBuf) -> Result<Lines, OfflineError> {
        let result = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = result.map_err(|e| OfflineError::destination("open", &path, e))?;
        Ok(Lines { path, file, size: 0 })
    }

    fn io_error(&self, operation: &'static str) -> impl FnOnce(io::Error) -> OfflineError {
        let path = self.path.clone();
        move |e| OfflineError::destination(operation, &path, e)
    }

    /// Passes the lines to `accept`, in order. At the first line that is incomplete or not accepted, a writer was
    /// killed: the file is truncated before this line.
    fn load(&mut self, mut accept: impl FnMut(&[u8], LineSpan) -> bool) -> Result<(), OfflineError> {
        let mut reader = BufReader::new(&self.file);
        let (mut text, mut size) = (Vec::new(), 0);
        loop {
            text.clear();
            let length = reader.read_until(b'\n', &mut text).map_err(self.io_error("read"))?;
            if length == 0 || text.last() != Some(&b'\n') || !accept(&text, LineSpan { offset: size, length })
            {
                break;
            }
            size += length as u64;
        }
        self.size = size;
        self.file.set_len(size).map_err(self.io_error("truncate"))
    }

    fn push(&mut self, line: &[u8]) -> Result<LineSpan, OfflineError> {
        let span = LineSpan { offset: self.size, length: line.len() };
        self.file.seek(SeekFrom::Start(self.size)).map_err(self.io_error("write"))?;
        self.file.write_all(line).map_err(self.io_error("write"))?;
        self.size += line.len() as u64;
        Ok(span)
    }
}

fn line<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("maps have text keys");
    line.push(b'\n');
    line
}

/// Drops the fields that comparisons do not need; they are read again when the release is written to a segment.
fn drop_description(mut release: ReleaseRecord) -> ReleaseRecord {
    release.desc = None;
    release
}

impl Journal {
    /// Returns the state of a product that consists of the entries.
    pub(super) fn state(&self) -> Result<ProductState, OfflineError> {
        let mut state = ProductState::default();
        for (release, _) in &self.entries {
            let result = state.apply(&Record::Release(Box::new(release.clone())));
            result.map_err(OfflineError::Refused)?;
        }
        Ok(state)
    }

    /// Opens the journal of a product and reads the entries of an earlier run.
    pub(super) fn open(destination: &Destination, product: &Product) -> Result<Journal, OfflineError> {
        let folder = destination.folder(&product.root())?;
        let creation_times =
            FILES.iter().filter_map(|name| folder.join(name).metadata().and_then(|m| m.created()).ok());
        let start_time = creation_times.min();
        let [releases, readmes] = FILES.map(|name| Lines::open(folder.join(name)));
        let (mut releases, mut readmes) = (releases?, readmes?);
        let (mut entries, mut known_readmes) = (Vec::new(), HashSet::new());
        readmes.load(|text, _| {
            let readme: Option<ReadmeText> = serde_json::from_slice(text).ok();
            readme
                .filter(|readme| self_digest::digest(readme.text.as_bytes()) == readme.sha256)
                .map(|readme| known_readmes.insert(readme.sha256))
                .is_some()
        })?;
        releases.load(|text, span| match Record::read(text) {
            Ok(Record::Release(release)) if release.check().is_ok() => {
                // The README of a release is written before the release; if it is missing, the file is fetched again.
                if release.readme.as_ref().is_none_or(|readme| known_readmes.contains(&readme.sha256)) {
                    entries.push((drop_description(*release), span));
                }
                true
            }
            _ => false,
        })?;
        Ok(Journal { releases, readmes, known_readmes, start_time, entries })
    }

    /// Appends a release whose file is stored.
    pub(super) fn append(
        &mut self,
        release: ReleaseRecord,
        readme: Option<&str>,
    ) -> Result<(), OfflineError> {
        if let (Some(reference), Some(text)) = (&release.readme, readme)
            && self.known_readmes.insert(reference.sha256)
        {
            self.readmes.push(&line(&ReadmeText { sha256: reference.sha256, text: text.to_owned() }))?;
        }
        let record = Record::Release(Box::new(release));
        let span = self.releases.push(&line(&record))?;
        if let Record::Release(release) = record {
            self.entries.push((drop_description(*release), span));
        }
        Ok(())
    }

    /// Reads all fields of a release.
    pub(super) fn read(&mut self, span: LineSpan) -> Result<ReleaseRecord, OfflineError> {
        let mut text = vec![0; span.length];
        let lines = &mut self.releases;
        lines.file.seek(SeekFrom::Start(span.offset)).map_err(lines.io_error("read"))?;
        lines.file.read_exact(&mut text).map_err(lines.io_error("read"))?;
        match Record::read(&text) {
            Ok(Record::Release(release)) => Ok(*release),
            _ => Err(lines.io_error("read")(io::Error::other("another program has changed the file"))),
        }
    }

    /// Passes the READMEs with these digests to `visit`, in the order of the journal.
    pub(super) fn for_each_readme(
        &mut self,
        digests: &HashSet<Sha256>,
        mut visit: impl FnMut(ReadmeText),
    ) -> Result<(), OfflineError> {
        let lines = &mut self.readmes;
        lines.file.seek(SeekFrom::Start(0)).map_err(lines.io_error("read"))?;
        for text in BufReader::new(&lines.file).split(b'\n') {
            let text = text.map_err(lines.io_error("read"))?;
            if let Ok(readme) = serde_json::from_slice::<ReadmeText>(&text)
                && digests.contains(&readme.sha256)
            {
                visit(readme);
            }
        }
        Ok(())
    }

    /// Removes the journal once a head names all its entries.
    pub(super) fn remove(self) -> Result<(), OfflineError> {
        for lines in [self.releases, self.readmes] {
            fs::remove_file(&lines.path).map_err(|e| OfflineError::destination("remove", &lines.path, e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::digest::Md5;
    use formats::bundle::{Readme, RecordObject};

    fn release(version: &str, readme: &str) -> ReleaseRecord {
        ReleaseRecord {
            folder: None,
            name: "a1".to_owned(),
            version: version.to_owned(),
            day: "2026-11-20".parse().unwrap(),
            published: None,
            archived: false,
            obj: RecordObject {
                sha256: Sha256([1; 32]),
                size: 1,
                md5: Md5([1; 16]),
                ext: "tar.gz".to_owned(),
            },
            index: None,
            desc: None,
            compiled: None,
            readme: Some(Readme {
                name: "README".to_owned(),
                sha256: self_digest::digest(readme.as_bytes()),
            }),
        }
    }

    #[test]
    fn a_journal_truncated_at_any_byte_keeps_every_complete_line() {
        let dir = tempfile::tempdir().unwrap();
        let destination = Destination::create(dir.path()).unwrap();
        let mut journal = Journal::open(&destination, &Product::Cran).unwrap();
        for version in ["1.0", "1.1", "1.2"] {
            journal.append(release(version, version), Some(version)).unwrap();
        }
        let path = destination.path("v3/1/.releases.ndjson");
        let bytes = fs::read(&path).unwrap();
        let ends: Vec<usize> =
            bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(index, _)| index + 1).collect();
        for length in 0..=bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let mut journal = Journal::open(&destination, &Product::Cran).unwrap();
            let expected_count = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(journal.entries.len(), expected_count, "{length} bytes");
            if let Some((release, span)) = journal.entries.last().cloned() {
                assert_eq!(journal.read(span).unwrap(), release);
            }
        }
        fs::write(&path, &bytes).unwrap();
        // A missing README drops its release.
        let readmes = destination.path("v3/1/.readmes.ndjson");
        let text = fs::read(&readmes).unwrap();
        fs::write(&readmes, &text[..text.len() - 3]).unwrap();
        let mut journal = Journal::open(&destination, &Product::Cran).unwrap();
        assert_eq!(journal.entries.len(), 2);
        let mut texts = Vec::new();
        let digests =
            journal.entries.iter().filter_map(|(release, _)| Some(release.readme.as_ref()?.sha256)).collect();
        journal.for_each_readme(&digests, |readme| texts.push(readme.text)).unwrap();
        assert_eq!(texts, ["1.0", "1.1"]);
        journal.remove().unwrap();
        assert!(!readmes.exists() && !path.exists());
    }
}
