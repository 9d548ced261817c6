//! Advisories of one place: collected file by file, kept as one document of JSON lines.

use std::collections::BTreeMap;

use super::record::{self, Advisory};
use super::version::Ecosystem;
use super::yaml;
use crate::model::time::Timestamp;

/// One file, in bytes: the largest advisory has a tenth of it.
pub const FILE: u64 = 8 << 20;
/// Reasons that are told; of more, how many there are.
const TOLD: usize = 20;

/// How a file of one advisory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// By the path of a file in a folder or an archive: `vulns/readxl/RSEC-2023-1.yaml`. An advisory's file is called as its
    /// id, which begins in capitals (`x_` of private ones); anything else is none, as are files in hidden folders.
    #[must_use]
    pub fn of(path: &str) -> Option<Format> {
        let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
        let hidden = |name: &str| name.starts_with('.') && name != ".";
        if folders.split('/').any(hidden) {
            return None;
        }
        let (stem, ending) = file.rsplit_once('.')?;
        let (database, _) = stem.split_once('-')?;
        let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let is_id = !database.is_empty() && (database.chars().all(capital) || database.starts_with("x_"));
        if !is_id || !record::is_id(stem) {
            return None;
        }
        match ending {
            "json" => Some(Format::Json),
            "yaml" | "yml" => Some(Format::Yaml),
            _ => None,
        }
    }
}

/// A file that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which file, or which line of one.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// Files of which nothing is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    /// Nothing in it is an advisory.
    #[error("there is no advisory about packages of CRAN, Bioconductor or PyPI in it")]
    Empty,
    /// Too much of it cannot be read for the rest to be trusted.
    #[error("{bad} of {all} advisories in it cannot be read; the first is {file}: {reason}")]
    Damaged {
        /// So many.
        bad: usize,
        /// Of so many.
        all: usize,
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
}

/// Advisories about packages of the ecosystems that are served here, by id.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    records: BTreeMap<String, Record>,
    left_out: Vec<LeftOut>,
    bad: usize,
}

#[derive(Clone, Debug)]
struct Record {
    advisory: Advisory,
    /// All of it, on one line.
    json: String,
}

impl Batch {
    /// Takes the file of one advisory. One that cannot be read is left out and counted; one about other ecosystems is
    /// passed over. Of two with one id the one that was changed later stays.
    pub fn take(&mut self, file: &str, format: Format, bytes: &[u8]) {
        let read = text(bytes).and_then(|text| match format {
            Format::Json => one_line(text),
            Format::Yaml => Ok(yaml::read(text)?.to_string()),
        });
        match read {
            Ok(json) => self.line(file, json),
            Err(reason) => self.leave_out(file, reason),
        }
    }

    /// Takes JSON lines, an advisory in each.
    pub fn take_lines(&mut self, file: &str, bytes: &[u8]) {
        let lines = bytes.split(|b| *b == b'\n').enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            match text(line.trim_ascii()) {
                Ok(text) => self.line(&format!("{file}, line {}", number + 1), text.to_owned()),
                Err(reason) => self.leave_out(&format!("{file}, line {}", number + 1), reason),
            }
        }
    }

    /// Takes what another has; its records replace ours of the same id.
    pub fn merge(&mut self, other: Batch) {
        self.records.extend(other.records);
        self.bad += other.bad;
        self.left_out.extend(other.left_out);
        self.left_out.truncate(TOLD);
    }

    /// Keeps those of these ids alone.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.records.retain(|id, _| keep(id));
    }

    fn line(&mut self, file: &str, json: String) {
        let advisory = match Advisory::from_json(&json) {
            Ok(advisory) => advisory,
            Err(bad) => return self.leave_out(file, bad.to_string()),
        };
        if advisory.ecosystems().next().is_none() {
            return;
        }
        let older =
            self.records.get(&advisory.id).is_some_and(|old| old.advisory.modified > advisory.modified);
        if !older {
            self.records.insert(advisory.id.clone(), Record { advisory, json });
        }
    }

    /// Counts a file that cannot be used.
    pub fn leave_out(&mut self, file: &str, reason: String) {
        self.bad += 1;
        if self.left_out.len() < TOLD {
            let file = file.chars().take(200).collect();
            self.left_out.push(LeftOut { file, reason: reason.chars().take(300).collect() });
        }
    }

    /// How many advisories there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many files were left out, and the first of them.
    #[must_use]
    pub fn left_out(&self) -> (usize, &[LeftOut]) {
        (self.bad, &self.left_out)
    }

    /// By id.
    pub fn advisories(&self) -> impl Iterator<Item = &Advisory> {
        self.records.values().map(|record| &record.advisory)
    }

    /// When one was changed last; `None` when it is not there, or does not say.
    #[must_use]
    pub fn modified(&self, id: &str) -> Option<Timestamp> {
        self.records.get(id)?.advisory.modified
    }

    /// Each as it was read, on one line, by id; of one ecosystem, or of all.
    pub fn lines(&self, of: Option<Ecosystem>) -> impl Iterator<Item = &str> {
        let wanted =
            move |record: &&Record| of.is_none_or(|of| record.advisory.ecosystems().any(|e| e == of));
        self.records.values().filter(wanted).map(|record| record.json.as_str())
    }

    /// All of it as JSON lines; the same advisories give the same bytes.
    #[must_use]
    pub fn document(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.records.values().map(|record| record.json.len() + 1).sum());
        for line in self.lines(None) {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        out
    }

    /// What was read, if it can be used: a record nobody can read must not keep all others away, but most of them
    /// unreadable means that these are other files.
    ///
    /// # Errors
    /// Nothing in it, or more than a tenth cannot be read.
    pub fn checked(self) -> Result<Batch, BadBatch> {
        let all = self.len() + self.bad;
        match self.left_out.first() {
            Some(first) if self.bad * 10 > all => Err(BadBatch::Damaged {
                bad: self.bad,
                all,
                file: first.file.clone(),
                reason: first.reason.clone(),
            }),
            Some(_) | None if self.is_empty() => Err(BadBatch::Empty),
            Some(_) | None => Ok(self),
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() as u64 > FILE {
        return Err(format!("it has more than {FILE} bytes"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// JSON without line breaks between its parts; there are none inside of them.
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
    fn the_files_of_advisories_are_known_by_their_names() {
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
            assert_eq!(Format::of(path), format, "{path}");
        }
    }

    #[test]
    fn a_document_holds_every_advisory_on_a_line_as_it_was_read() {
        let mut batch = Batch::default();
        let one = json("RSEC-2", "CRAN", "2024-01-01T00:00:00Z");
        let spread = one.replace("RSEC-2", "RSEC-10").replace(',', ",\n  ");
        batch.take("RSEC-2.json", Format::Json, one.as_bytes());
        batch.take("RSEC-10.json", Format::Json, spread.as_bytes());
        batch.take(
            "B-1.yaml",
            Format::Yaml,
            b"id: B-1\naffected: [{package: {ecosystem: PyPI, name: b}}]\nextra: {x: 1.10}\n",
        );
        let document = String::from_utf8(batch.document()).expect("text");
        let lines: Vec<&str> = document.lines().collect();
        assert_eq!((lines.len(), lines[2]), (3, one.as_str()));
        assert!(lines[0].contains(r#""extra":{"x":"1.10"}"#), "{document}");
        let mut again = Batch::default();
        again.take_lines("document", document.as_bytes());
        assert_eq!(again.document(), document.as_bytes());
        assert_eq!(again.lines(Some(Ecosystem::Pypi)).collect::<Vec<_>>(), [lines[0]]);
    }

    #[test]
    fn of_two_with_one_id_the_later_stays_whichever_comes_first() {
        let (old, new) =
            (json("A-1", "CRAN", "2024-01-01T00:00:00Z"), json("A-1", "CRAN", "2024-01-01T00:00:00.5Z"));
        for order in [[&old, &new], [&new, &old]] {
            let mut batch = Batch::default();
            order.iter().for_each(|text| batch.take("A-1.json", Format::Json, text.as_bytes()));
            assert_eq!(batch.document(), format!("{new}\n").as_bytes());
        }
    }

    #[test]
    fn some_that_cannot_be_read_are_left_out_and_many_are_a_reason_to_take_none() {
        let mut batch = Batch::default();
        batch.take("C-1.json", Format::Json, json("C-1", "npm", "").as_bytes());
        assert_eq!(
            batch.clone().checked().map(|_| ()),
            Err(BadBatch::Empty),
            "others' ecosystems are no fault"
        );
        for n in 0..18 {
            batch.take("A.json", Format::Json, json(&format!("A-{n}"), "CRAN", "").as_bytes());
        }
        batch.take("bad.json", Format::Json, b"{\"id\":1}");
        batch.take_lines("lines", b"\n\xff\xfe\n\n");
        assert_eq!((batch.len(), batch.left_out().0), (18, 2));
        assert_eq!(batch.left_out().1[1].file, "lines, line 2");
        let batch = batch.checked().expect("two of twenty");
        let mut worse = batch;
        worse.take("worse.json", Format::Json, b"<html>");
        let said = worse.checked().expect_err("three of twenty-one").to_string();
        assert!(said.contains("3 of 21") && said.contains("bad.json"), "{said}");
    }
}
