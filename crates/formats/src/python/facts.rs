//! Facts about a published file that its name does not state, stored as JSON.

use serde::{Deserialize, Serialize};

use super::json_text::JsonText;
use super::metadata::Metadata;
use super::name::normalize;
use super::simple::page::PageFile;
use base::model::change::AttachedFiles;
use base::model::digest::Sha256;
use base::model::project_page::MetadataFile;
use base::model::time::Timestamp;

/// Maximum length of a stored summary, in characters; PyPI accepts 512.
const MAX_SUMMARY: usize = 512;

/// The facts. The JSON keys are short, because each file has a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// The time of the upload in microseconds since the epoch.
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    upload_time: Option<i64>,
    /// The name of the project as its owner writes it, if it differs from the normalized name.
    #[serde(rename = "n", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(rename = "rp", skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The digest of METADATA that an index declares, for which the database has a row.
    #[serde(rename = "cm", skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
    /// The digest of METADATA that an index declares, for which the database may have no row until it is requested.
    /// Version 1.0.0, which has no METADATA without a row, does not know this key: its pages do not declare METADATA.
    #[serde(rename = "um", skip_serializing_if = "Option::is_none")]
    unrecorded_metadata: Option<String>,
    /// The digest of METADATA that this server read from the wheel, because the index declares none.
    #[serde(rename = "wm", skip_serializing_if = "Option::is_none")]
    metadata_of_wheel: Option<String>,
    /// The address of the provenance object at the index.
    #[serde(rename = "pv", skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
    /// The digest of another algorithm, such as `md5=…`, if the index declares no SHA-256 for the file.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub other_digest: Option<String>,
    #[serde(rename = "sg", default, skip_serializing_if = "std::ops::Not::not")]
    pub has_signature: bool,
    #[serde(rename = "at", default, skip_serializing_if = "std::ops::Not::not")]
    has_attestations: bool,
}

impl FileFacts {
    pub fn of_metadata(metadata: &Metadata) -> FileFacts {
        let one_line = |text: &String| {
            text.chars().take(MAX_SUMMARY).map(|c| if c.is_control() { ' ' } else { c }).collect()
        };
        FileFacts {
            upload_time: None,
            name: (normalize(&metadata.name) != metadata.name).then(|| metadata.name.clone()),
            requires_python: metadata.requires_python.clone(),
            summary: metadata.summary.as_ref().map(one_line),
            metadata: None,
            unrecorded_metadata: None,
            metadata_of_wheel: None,
            provenance: None,
            other_digest: None,
            has_signature: false,
            has_attestations: false,
        }
    }

    /// Returns the facts about a file on the page of an index.
    pub fn of_page(file: &PageFile) -> FileFacts {
        FileFacts {
            upload_time: file.upload_time.map(|time| time.0),
            name: None,
            requires_python: file.requires_python.clone(),
            summary: None,
            metadata: None,
            unrecorded_metadata: match file.core_metadata {
                MetadataFile::Sha256(sha256) => Some(sha256.to_string()),
                MetadataFile::None | MetadataFile::Unverified => None,
            },
            metadata_of_wheel: None,
            provenance: file.provenance.clone(),
            other_digest: match file.hashes.contains_key("sha256") {
                true => None,
                false => file.hashes.iter().next().map(|(algorithm, digest)| format!("{algorithm}={digest}")),
            },
            // The signatures of an index are not served.
            has_signature: false,
            has_attestations: false,
        }
    }

    pub fn of_requires_python(requires_python: Option<&str>) -> FileFacts {
        FileFacts { requires_python: requires_python.map(str::to_owned), ..FileFacts::default() }
    }

    /// Adds the files that were uploaded with a distribution.
    pub fn with_attached(self, attached: &AttachedFiles) -> FileFacts {
        FileFacts {
            has_signature: self.has_signature || attached.signature.is_some(),
            has_attestations: self.has_attestations || attached.provenance.is_some(),
            ..self
        }
    }

    /// Returns whether the index states the provenance of the file, or attestations were uploaded with it.
    pub fn has_provenance(&self) -> bool {
        self.provenance.is_some() || self.has_attestations
    }

    pub fn without_metadata(self) -> FileFacts {
        FileFacts { metadata: None, unrecorded_metadata: None, ..self }
    }

    /// Sets the digest of METADATA that was read from the wheel; a digest that the index declares is removed.
    pub fn with_metadata_of_wheel(self, sha256: Sha256) -> FileFacts {
        FileFacts { metadata_of_wheel: Some(sha256.to_string()), ..self.without_metadata() }
    }

    /// Returns the digest of METADATA that an index declares, for which the database may have no row.
    pub fn unrecorded_metadata(&self) -> Option<Sha256> {
        self.unrecorded_metadata.as_ref()?.parse().ok()
    }

    /// Returns the facts if the database has a row for METADATA that an index declares.
    pub fn with_recorded_metadata(self) -> FileFacts {
        let metadata = self.metadata.or(self.unrecorded_metadata);
        FileFacts { metadata, unrecorded_metadata: None, ..self }
    }

    /// Returns the digest of METADATA that an index declares, or that was read from the wheel.
    pub fn metadata(&self) -> Option<Sha256> {
        let declared = self.metadata.as_ref().or(self.unrecorded_metadata.as_ref());
        declared.or(self.metadata_of_wheel.as_ref())?.parse().ok()
    }

    pub fn uploaded_at(self, time: Timestamp) -> FileFacts {
        FileFacts { upload_time: Some(time.0), ..self }
    }

    /// Returns these facts, with missing values taken from `other`. METADATA digest, provenance, other digest and attached
    /// files are not taken.
    pub fn or(mut self, other: FileFacts) -> FileFacts {
        self.upload_time = self.upload_time.or(other.upload_time);
        self.name = self.name.or(other.name);
        self.requires_python = self.requires_python.or(other.requires_python);
        self.summary = self.summary.or(other.summary);
        self
    }

    pub fn upload_time(&self) -> Option<Timestamp> {
        self.upload_time.map(Timestamp)
    }

    /// Parses stored facts; returns empty facts if they cannot be parsed.
    pub fn read(json: &[u8]) -> FileFacts {
        serde_json::from_slice(json).unwrap_or_default()
    }

    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The facts that a page states. They borrow from the stored JSON, because a page has thousands of files.
#[derive(Debug, Default, Deserialize)]
pub struct PageFacts<'a> {
    #[serde(rename = "u")]
    upload_time: Option<i64>,
    #[serde(rename = "rp", borrow)]
    requires_python: Option<JsonText<'a>>,
    #[serde(rename = "cm", borrow)]
    metadata: Option<JsonText<'a>>,
    #[serde(rename = "um", borrow)]
    unrecorded_metadata: Option<JsonText<'a>>,
    #[serde(rename = "wm", borrow)]
    metadata_of_wheel: Option<JsonText<'a>>,
    #[serde(rename = "pv", borrow)]
    provenance: Option<JsonText<'a>>,
    #[serde(rename = "sg", default)]
    pub has_signature: bool,
    #[serde(rename = "at", default)]
    has_attestations: bool,
}

impl<'a> PageFacts<'a> {
    /// Parses stored facts; returns empty facts if they cannot be parsed.
    pub fn read(json: &'a [u8]) -> PageFacts<'a> {
        serde_json::from_slice(json).unwrap_or_default()
    }

    pub fn upload_time(&self) -> Option<Timestamp> {
        self.upload_time.map(Timestamp)
    }

    pub fn requires_python(&self) -> Option<&str> {
        self.requires_python.as_ref().map(|text| &*text.0)
    }

    pub fn metadata(&self) -> Option<Sha256> {
        let declared = self.metadata.as_ref().or(self.unrecorded_metadata.as_ref());
        declared.or(self.metadata_of_wheel.as_ref())?.0.parse().ok()
    }

    pub fn provenance(&self) -> Option<&str> {
        self.provenance.as_ref().map(|text| &*text.0)
    }

    pub fn has_provenance(&self) -> bool {
        self.provenance.is_some() || self.has_attestations
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn stored_facts_are_read_back() {
        let facts = FileFacts { requires_python: Some(">=3.9".to_owned()), ..FileFacts::default() };
        let facts = facts.uploaded_at(Timestamp(7));
        assert_eq!(facts.write(), br#"{"u":7,"rp":">=3.9"}"#);
        assert_eq!(FileFacts::read(&facts.write()), facts);
        assert_eq!(FileFacts::read(br#"{"u":7,"later":[1]}"#).upload_time(), Some(Timestamp(7)));
        assert_eq!(FileFacts::read(b"{"), FileFacts::default());
        let digest = Some((Sha256([1; 32]), 9));
        let signed =
            FileFacts::default().with_attached(&AttachedFiles { signature: digest, provenance: None });
        assert_eq!(signed.write(), br#"{"sg":true}"#);
        let attested = signed.with_attached(&AttachedFiles { signature: None, provenance: digest });
        assert_eq!(attested.write(), br#"{"sg":true,"at":true}"#);
        assert_eq!(FileFacts::read(&attested.write()), attested);
        assert!(attested.has_signature && attested.has_provenance());
        assert!(!FileFacts::default().has_signature && !FileFacts::default().has_provenance());
        let named =
            |name: &str| FileFacts::of_metadata(&Metadata { name: name.to_owned(), ..Metadata::default() });
        assert_eq!(named("Odd.Name").write(), br#"{"n":"Odd.Name"}"#);
        assert_eq!(named("odd-name").name, None);
        let text = format!(r#"{{"um":"{}"}}"#, "0a".repeat(32));
        let unrecorded = FileFacts::read(text.as_bytes());
        assert_eq!(unrecorded.unrecorded_metadata(), Some(Sha256([10; 32])));
        assert_eq!(
            unrecorded.clone().with_recorded_metadata().write(),
            text.replace("um", "cm").into_bytes()
        );
        assert_eq!(unrecorded.without_metadata(), FileFacts::default());
    }

    #[test]
    fn the_facts_of_a_page_are_those_of_the_file() {
        let digest = "0a".repeat(32);
        let texts = [
            r#"{"u":7,"n":"Odd","rp":">=3.9","s":"a \"summary\"","pv":"https://example.org/p"}"#.to_owned(),
            format!(
                r#"{{"rp":">=3,\u00e9 \"x\"","cm":"{digest}","wm":"x","sg":true,"at":true,"later":[1]}}"#
            ),
            format!(r#"{{"u":null,"rp":"","wm":"{digest}","d":"md5=00"}}"#),
            format!(r#"{{"um":"{digest}","wm":"x"}}"#),
            r#"{"cm":"0a","pv":1}"#.to_owned(),
            "{".to_owned(),
        ];
        for text in &texts {
            let (file, page) = (FileFacts::read(text.as_bytes()), PageFacts::read(text.as_bytes()));
            assert_eq!(page.upload_time(), file.upload_time(), "{text}");
            assert_eq!(page.requires_python(), file.requires_python.as_deref(), "{text}");
            assert_eq!(page.metadata(), file.metadata(), "{text}");
            assert_eq!(page.provenance(), file.provenance.as_deref(), "{text}");
            assert_eq!(
                (page.has_signature, page.has_provenance()),
                (file.has_signature, file.has_provenance()),
                "{text}"
            );
        }
        assert_eq!(PageFacts::read(texts[1].as_bytes()).metadata(), Some(Sha256([10; 32])));
        let first = PageFacts::read(texts[0].as_bytes());
        assert!(matches!(first.requires_python, Some(JsonText(Cow::Borrowed(">=3.9")))), "{first:?}");
    }
}
