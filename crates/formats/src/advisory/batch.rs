//! The advisories of one feed: collected file by file, stored as a document of JSON lines.

use std::collections::BTreeMap;

use super::record::{self, Advisory};
use super::yaml;
use crate::language::Ecosystem;
use base::model::time::Timestamp;

/// Maximum size of a file in bytes, about ten times the largest advisory.
pub const MAX_FILE_SIZE: u64 = 8 << 20;
/// Maximum number of skipped files that are recorded; further ones are only counted.
const MAX_SKIPPED_FILES: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

impl Format {
    /// Detects the format from a path such as `vulns/readxl/RSEC-2023-1.yaml`. The file name is an id, which begins
    /// with capital letters, or with `x_` for a private advisory. `None` for other names, and in hidden directories.
    pub fn from_path(path: &str) -> Option<Format> {
        let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
        let is_hidden = |name: &str| name.starts_with('.') && name != ".";
        if folders.split('/').any(is_hidden) {
            return None;
        }
        let (stem, extension) = file.rsplit_once('.')?;
        let (database, _) = stem.split_once('-')?;
        let is_prefix_char = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let is_database =
            !database.is_empty() && (database.chars().all(is_prefix_char) || database.starts_with("x_"));
        if !is_database || !record::is_id(stem) {
            return None;
        }
        match extension {
            "json" => Some(Format::Json),
            "yaml" | "yml" => Some(Format::Yaml),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedAdvisory {
    /// The file; for JSON lines, with the number of the line.
    pub file: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    #[error("there is no advisory about packages of CRAN, Bioconductor or PyPI in it")]
    Empty,
    #[error("{malformed} of {total} advisories in it are malformed; the first is {file}: {reason}")]
    Damaged {
        malformed: usize,
        /// The number of advisories and malformed files; several advisories with the same id are counted once.
        total: usize,
        /// The first malformed file.
        file: String,
        reason: String,
    },
}

/// Advisories about packages of the supported ecosystems, by id.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    records: BTreeMap<String, BatchRecord>,
    skipped: Vec<SkippedAdvisory>,
    malformed: usize,
    /// The number of well-formed advisories that are only about other ecosystems.
    unsupported: usize,
}

#[derive(Clone, Debug)]
struct BatchRecord {
    advisory: Advisory,
    /// The whole advisory on one line.
    json: String,
}

impl Batch {
    /// Adds the file of an advisory. A malformed file is skipped and counted; an advisory that is only about other
    /// ecosystems is counted, but not stored. Of two with the same id, the one modified later is used.
    pub fn add_file(&mut self, file: &str, format: Format, bytes: &[u8]) {
        let json = text(bytes).and_then(|text| match format {
            Format::Json => one_line(text),
            Format::Yaml => Ok(yaml::read(text)?.to_string()),
        });
        match json {
            Ok(json) => self.add_json(file, json),
            Err(reason) => self.skip(file, reason),
        }
    }

    /// Adds JSON lines, each of which is an advisory.
    pub fn add_lines(&mut self, file: &str, bytes: &[u8]) {
        let lines = bytes.split(|b| *b == b'\n').enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            match text(line.trim_ascii()) {
                Ok(text) => self.add_json(&format!("{file}, line {}", number + 1), text.to_owned()),
                Err(reason) => self.skip(&format!("{file}, line {}", number + 1), reason),
            }
        }
    }

    /// Adds the advisories of another batch, which replace those with the same id.
    pub fn merge(&mut self, other: Batch) {
        self.records.extend(other.records);
        self.malformed += other.malformed;
        self.unsupported += other.unsupported;
        self.skipped.extend(other.skipped);
        self.skipped.truncate(MAX_SKIPPED_FILES);
    }

    /// Keeps only the advisories for whose id `keep` returns true.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.records.retain(|id, _| keep(id));
    }

    fn add_json(&mut self, file: &str, json: String) {
        let advisory = match Advisory::from_json(&json) {
            Ok(advisory) => advisory,
            Err(error) => return self.skip(file, error.to_string()),
        };
        if advisory.ecosystems().next().is_none() {
            self.unsupported += 1;
            return;
        }
        let is_older =
            self.records.get(&advisory.id).is_some_and(|old| old.advisory.modified > advisory.modified);
        if !is_older {
            self.records.insert(advisory.id.clone(), BatchRecord { advisory, json });
        }
    }

    pub fn skip(&mut self, file: &str, reason: String) {
        self.malformed += 1;
        if self.skipped.len() < MAX_SKIPPED_FILES {
            let file = file.chars().take(200).collect();
            self.skipped.push(SkippedAdvisory { file, reason: reason.chars().take(300).collect() });
        }
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the number of skipped files, and the first of them with the reasons.
    pub fn skipped_files(&self) -> (usize, &[SkippedAdvisory]) {
        (self.malformed, &self.skipped)
    }

    /// Returns the advisories, by id.
    pub fn advisories(&self) -> impl Iterator<Item = &Advisory> {
        self.records.values().map(|record| &record.advisory)
    }

    /// Returns the time of an advisory's last modification; `None` if the advisory or the time is missing.
    pub fn modification_time(&self, id: &str) -> Option<Timestamp> {
        self.records.get(id)?.advisory.modified
    }

    /// Returns the advisories of an ecosystem, or of all ecosystems, as JSON lines, by id. Unknown fields are included.
    pub fn lines(&self, ecosystem: Option<Ecosystem>) -> impl Iterator<Item = &str> {
        let is_selected = move |record: &&BatchRecord| {
            ecosystem.is_none_or(|ecosystem| record.advisory.ecosystems().any(|e| e == ecosystem))
        };
        self.records.values().filter(is_selected).map(|record| record.json.as_str())
    }

    /// Returns all advisories as JSON lines. The bytes are equal for equal advisories.
    pub fn document(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.records.values().map(|record| record.json.len() + 1).sum());
        for line in self.lines(None) {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        out
    }

    /// Checks that the batch can be used. Single malformed files are tolerated, but many indicate that these are not
    /// advisories.
    ///
    /// # Errors
    /// There are no advisories, or more than a tenth of all advisories and malformed files are malformed.
    pub fn validate(self) -> Result<Batch, BadBatch> {
        let total = self.len() + self.unsupported + self.malformed;
        match self.skipped.first() {
            Some(first) if self.malformed * 10 > total => Err(BadBatch::Damaged {
                malformed: self.malformed,
                total,
                file: first.file.clone(),
                reason: first.reason.clone(),
            }),
            Some(_) | None if self.is_empty() => Err(BadBatch::Empty),
            Some(_) | None => Ok(self),
        }
    }
}

/// Decodes a file. The error is a clause that follows a colon in the message.
fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(format!("it has more than {MAX_FILE_SIZE} bytes"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// Rewrites JSON to one line; JSON strings contain no line breaks. The error follows a colon in the message.
fn one_line(text: &str) -> Result<String, String> {
    if !text.trim().contains(['\n', '\r']) {
        return Ok(text.trim().to_owned());
    }
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(id: &str, ecosystem: &str, modified: &str) -> String {
        format!(
            r#"{{"id":"{id}","modified":"{modified}","affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"a"}}}}]}}"#
        )
    }

    #[test]
    fn files_of_advisories_are_recognized_by_their_names() {
        for (path, format) in [
            ("vulns/readxl/RSEC-2023-1.yaml", Some(Format::Yaml)),
            ("top/vulns/a/PYSEC-2020-96.yml", Some(Format::Yaml)),
            ("./GHSA-6757-jp84-gxfx.json", Some(Format::Json)),
            ("x_ACME-1.json", Some(Format::Json)),
            ("vulns/.id-allocator", None),
            (".github/CI-1.yaml", None),
            ("a/.b/RSEC-1.yaml", None),
            ("osv-schema.json", None),
            ("RSEC-2023-1.txt", None),
            ("README.md", None),
            ("RSEC.json", None),
            ("RSEC-1 2.json", None),
            ("-1.json", None),
        ] {
            assert_eq!(Format::from_path(path), format, "{path}");
        }
    }

    #[test]
    fn a_document_has_every_advisory_on_one_line_unchanged() {
        let mut batch = Batch::default();
        let line = json("RSEC-2", "CRAN", "2024-01-01T00:00:00Z");
        let multi_line = line.replace("RSEC-2", "RSEC-10").replace(',', ",\n  ");
        batch.add_file("RSEC-2.json", Format::Json, line.as_bytes());
        batch.add_file("RSEC-10.json", Format::Json, multi_line.as_bytes());
        batch.add_file(
            "B-1.yaml",
            Format::Yaml,
            b"id: B-1\naffected: [{package: {ecosystem: PyPI, name: b}}]\nextra: {x: 1.10}\n",
        );
        let document = String::from_utf8(batch.document()).expect("text");
        let lines: Vec<&str> = document.lines().collect();
        assert_eq!((lines.len(), lines[2]), (3, line.as_str()));
        assert!(lines[0].contains(r#""extra":{"x":"1.10"}"#), "{document}");
        let mut copy = Batch::default();
        copy.add_lines("document", document.as_bytes());
        assert_eq!(copy.document(), document.as_bytes());
        assert_eq!(copy.lines(Some(Ecosystem::Pypi)).collect::<Vec<_>>(), [lines[0]]);
    }

    #[test]
    fn of_two_advisories_with_one_id_the_later_is_used_in_any_order() {
        let (old, new) =
            (json("A-1", "CRAN", "2024-01-01T00:00:00Z"), json("A-1", "CRAN", "2024-01-01T00:00:00.5Z"));
        for order in [[&old, &new], [&new, &old]] {
            let mut batch = Batch::default();
            order.iter().for_each(|text| batch.add_file("A-1.json", Format::Json, text.as_bytes()));
            assert_eq!(batch.document(), format!("{new}\n").as_bytes());
        }
    }

    #[test]
    fn few_malformed_files_are_skipped_and_many_are_an_error() {
        let mut batch = Batch::default();
        batch.add_file("C-1.json", Format::Json, json("C-1", "npm", "").as_bytes());
        assert_eq!(
            batch.clone().validate().map(|_| ()),
            Err(BadBatch::Empty),
            "other ecosystems are not an error"
        );
        for n in 0..18 {
            batch.add_file("A.json", Format::Json, json(&format!("A-{n}"), "CRAN", "").as_bytes());
        }
        batch.add_file("bad.json", Format::Json, b"{\"id\":1}");
        batch.add_lines("lines", b"\n\xff\xfe\n\n");
        assert_eq!((batch.len(), batch.skipped_files().0), (18, 2));
        assert_eq!(batch.skipped_files().1[1].file, "lines, line 2");
        let mut batch = batch.validate().expect("two of twenty-one");
        batch.add_file("worse.json", Format::Json, b"<html>");
        let error = batch.validate().expect_err("three of twenty-two").to_string();
        assert!(error.contains("3 of 22") && error.contains("bad.json"), "{error}");
    }
}
