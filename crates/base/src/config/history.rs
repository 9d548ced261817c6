//! `[History]`: who may read the log of what was published and served, where it is copied to, and who cosigns it.

use super::address::{self, PrivateUrl, UrlPurpose};
use super::backup_place::BackupPlace;
use super::problem::ProblemCategory;
use super::reader::Reader;
use super::value;
use super::witness::Witness;

#[derive(Clone, Debug)]
pub struct History {
    /// Whether anonymous clients may read the log, with the names in its entries.
    pub public: bool,
    /// The directory, or the prefix in a bucket, that has a copy of the log.
    pub export: Option<BackupPlace>,
    pub witnesses: Vec<Witness>,
    /// The keys of the logs that this server cosigns, `NAME+ID+KEY`.
    pub witness_for: Vec<String>,
    /// An authority for time stamps (RFC 3161).
    pub timestamp_url: Option<PrivateUrl>,
}

impl History {
    pub(super) fn read(reader: &mut Reader<'_>) -> History {
        let text = |text: &str| Ok(text.to_owned());
        let witness_for = reader.values("History", "WitnessFor", text);
        let history = History {
            public: reader.value("History", "Public", value::boolean),
            export: reader.optional("History", "ExportPath", str::parse),
            witnesses: reader.values("History", "Witness", Witness::parse),
            witness_for: witness_for.into_iter().filter(|key| !key.is_empty()).collect(),
            timestamp_url: reader
                .optional("History", "TimestampURL", |text| address::url(text, UrlPurpose::Web))
                .map(PrivateUrl),
        };
        let mut names: Vec<&str> = history.witnesses.iter().map(|witness| witness.name.as_str()).collect();
        names.sort_unstable();
        if let Some(name) = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]) {
            let message = format!("two witnesses have the name '{name}'");
            reader.error(ProblemCategory::Settings, "History", None, "Witness", &message);
        }
        history
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn the_section_is_off_by_default() {
        let history = parse("f", b"", []).expect("valid").config.history.clone();
        assert!(!history.public && history.witnesses.is_empty() && history.witness_for.is_empty());
        assert!(history.export.is_none() && history.timestamp_url.is_none());
    }

    #[test]
    fn witnesses_have_a_name_a_key_and_an_address() {
        let text = "[History]\nWitness = a key-a https://u:p@a.example/w/\nWitness = b key-b http://b.example\n\
            WitnessFor = key-c\nPublic = yes\nExportPath = s3://bucket/log\nTimestampURL = http://tsa.example/?x=1\n";
        let history = parse("f", text.as_bytes(), []).expect("valid").config.history.clone();
        let witness = |name: &str, url: &str| Witness {
            name: name.to_owned(),
            key: format!("key-{name}"),
            url: PrivateUrl(url.to_owned()),
        };
        assert_eq!(
            history.witnesses,
            [witness("a", "https://u:p@a.example/w"), witness("b", "http://b.example")]
        );
        assert_eq!((history.witness_for, history.public), (vec!["key-c".to_owned()], true));
        assert_eq!(history.timestamp_url.as_deref(), Some("http://tsa.example/?x=1"));
        for (bad, reason) in [
            ("Witness = a key", "must be a name"),
            ("Witness = a key https://a.example more", "must be a name"),
            ("Witness = a key ftp://a.example", "must begin with http"),
            ("Witness = a key https://a.example/?q", "must not contain ?"),
            ("Witness = a k https://a.example\nWitness = a l https://b.example", "the name 'a'"),
            ("ExportPath = copy", "absolute path"),
            ("TimestampURL = tsa.example", "must begin with http"),
        ] {
            let error = parse("f", format!("[History]\n{bad}\n").as_bytes(), []).expect_err(bad).to_string();
            assert!(error.contains(reason) && error.lines().count() == 1, "{bad}: {error}");
        }
    }
}
