//! Parses an advisory from a JSON record of the Open Source Vulnerability schema: the fields that are matched or
//! reported, and the base score of its CVSS vector.

use serde::{Deserialize, Deserializer};

use super::range::{Range, RangeEvent, RangeEventKind};
use crate::language::Ecosystem;
use base::model::time::Timestamp;

/// An advisory. Unused fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Advisory {
    /// The id, such as `RSEC-2023-1`.
    pub id: String,
    #[serde(default, deserialize_with = "time")]
    pub modified: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    pub published: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    pub withdrawn: Option<Timestamp>,
    /// Other ids of the same vulnerability.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub summary: Option<String>,
    #[serde(default)]
    pub details: Option<String>,
    #[serde(default, deserialize_with = "null_as_empty")]
    pub severity: Vec<Severity>,
    #[serde(default, deserialize_with = "null_as_empty")]
    pub affected: Vec<Affected>,
}

/// A severity according to one scoring method.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Severity {
    /// The method, such as `CVSS_V3`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A CVSS vector, or a word such as `high`.
    pub score: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Affected {
    /// The package; may be missing for ranges of a source code repository.
    #[serde(default)]
    pub package: Option<Package>,
    /// The severity for this package, if it differs.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub severity: Vec<Severity>,
    #[serde(default, deserialize_with = "null_as_empty")]
    pub ranges: Vec<Range>,
    #[serde(default, deserialize_with = "null_as_empty")]
    pub versions: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Package {
    /// The ecosystem, not normalized.
    pub ecosystem: String,
    /// The name, not normalized.
    pub name: String,
}

/// The reason why a record is not an advisory: a clause that follows a colon in the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAdvisory(pub(super) String);

/// Maximum length of an id in bytes; real ids are less than half as long.
const MAX_ID_LEN: usize = 200;

impl Advisory {
    pub fn from_json(text: &str) -> Result<Advisory, BadAdvisory> {
        // serde would also accept an array with the fields in order.
        if !text.trim_start().starts_with('{') {
            return Err(BadAdvisory("it is not a JSON object".to_owned()));
        }
        let advisory: Advisory =
            serde_json::from_str(text).map_err(|error| BadAdvisory(error.to_string()))?;
        if !is_id(&advisory.id) {
            return Err(BadAdvisory("its id is not valid".to_owned()));
        }
        Ok(advisory)
    }

    /// Returns the supported ecosystems of the affected packages.
    pub fn ecosystems(&self) -> impl Iterator<Item = Ecosystem> {
        self.affected.iter().filter_map(Affected::ecosystem)
    }

    /// Returns one line about the advisory: the summary; without a summary, the first sentence of the details.
    pub fn headline(&self) -> Option<String> {
        let summary = self.summary.as_deref().map(str::trim).filter(|text| !text.is_empty());
        summary.map(str::to_owned).or_else(|| self.details.as_deref().and_then(first_sentence))
    }
}

impl Affected {
    /// Returns the ecosystem of the package, if it is supported.
    pub fn ecosystem(&self) -> Option<Ecosystem> {
        Ecosystem::parse(&self.package.as_ref()?.ecosystem)
    }
}

/// Returns whether a text is valid as an id and in a URL path.
pub fn is_id(text: &str) -> bool {
    let is_id_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    !text.is_empty() && text.len() <= MAX_ID_LEN && text.bytes().all(is_id_char) && !text.starts_with('.')
}

/// Returns the first sentence as one line, truncated to 200 characters; `None` if there is no text.
fn first_sentence(details: &str) -> Option<String> {
    let text = details.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = text.find(". ").map_or(text.len(), |full_stop| full_stop + 1);
    let sentence: String = text[..end].chars().take(200).collect();
    let is_truncated = sentence.len() < end;
    (!sentence.is_empty()).then(|| if is_truncated { format!("{}…", sentence.trim_end()) } else { sentence })
}

/// Deserializes a time in the format of RFC 3339; an invalid time becomes `None`.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.and_then(|text| parse_time(&text)))
}

/// Parses a time in the format of RFC 3339.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.trim().parse().ok()?;
    Some(Timestamp(time.as_microsecond()))
}

/// Deserializes a list; `null` becomes an empty list.
fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A range as in the JSON record.
#[derive(Deserialize)]
struct RawRange {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "null_as_empty")]
    events: Vec<RawEvent>,
}

/// An event; in old advisories, several events.
#[derive(Deserialize)]
struct RawEvent {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
    limit: Option<String>,
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Range, D::Error> {
        let raw = RawRange::deserialize(deserializer)?;
        let event = |kind, version: Option<String>| Some(RangeEvent { kind, version: version?.into() });
        let single_events = |raw: RawEvent| {
            [
                event(RangeEventKind::Introduced, raw.introduced),
                event(RangeEventKind::Fixed, raw.fixed),
                event(RangeEventKind::LastAffected, raw.last_affected),
                event(RangeEventKind::Limit, raw.limit),
            ]
        };
        let events = raw.events.into_iter().flat_map(single_events).flatten().collect();
        Ok(Range { kind: raw.kind.into(), events })
    }
}

/// The required base metrics of CVSS 2. Other metrics are ignored, because they depend on the time or the environment.
const BASE_METRICS_V2: &[&str] = &["AV", "AC", "Au", "C", "I", "A"];
/// The required base metrics of CVSS 3.
const BASE_METRICS_V3: &[&str] = &["AV", "AC", "PR", "UI", "S", "C", "I", "A"];
/// The required base metrics of CVSS 4.
const BASE_METRICS_V4: &[&str] = &["AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"];

/// Returns the base score, from 0.0 to 10.0, of a CVSS vector of version 2.0, 3.0, 3.1 or 4.0; `None` for other texts.
pub fn base_score(vector: &str) -> Option<f64> {
    if vector.len() > 400 {
        return None;
    }
    let vector = vector.trim().trim_end_matches('/');
    let (version, metrics) = match vector.split_once('/') {
        Some((version, rest)) if version.starts_with("CVSS:") => (Some(version), rest),
        Some(_) | None => (None, vector),
    };
    let names = match version {
        None => BASE_METRICS_V2,
        Some("CVSS:3.0" | "CVSS:3.1") => BASE_METRICS_V3,
        Some("CVSS:4.0") => BASE_METRICS_V4,
        Some(_) => return None,
    };
    let find = |metric: &&str| {
        let mut values = metrics.split('/').filter(|part| part.split(':').next() == Some(metric));
        // A repeated metric is ambiguous.
        values.next().filter(|_| values.next().is_none())
    };
    let base_metrics: Vec<&str> = names.iter().map(find).collect::<Option<_>>()?;
    let text = version.into_iter().chain(base_metrics).collect::<Vec<_>>().join("/");
    let score = text.parse::<cvss::Cvss>().ok()?.score();
    // Scores have one decimal place.
    Some((score * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_fields_are_read_and_others_ignored() {
        let text = r#"{"schema_version":"1.7.3","id":"RSEC-2023-1","modified":"2025-05-16T00:12:44Z","withdrawn":null,
            "published":"2023-07-13T02:37:06.600Z","aliases":null,"summary":" A line ","details":"x","severity":
            [{"type":"CVSS_V3","score":"CVSS:3.1/AV:N"}],"affected":[{"package":{"ecosystem":"CRAN","name":"readxl",
            "purl":"pkg:cran/readxl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0","fixed":"1.3.0"},
            {"last_affected":"2.0","new":1}]}],"versions":["0.1.0"],"database_specific":{"a":[1.5]}}],"new":{}}"#;
        let advisory = Advisory::from_json(text).expect("an advisory");
        assert_eq!((advisory.id.as_str(), advisory.headline().as_deref()), ("RSEC-2023-1", Some("A line")));
        assert_eq!(
            advisory.published.map(|at| at.to_string()).as_deref(),
            Some("2023-07-13T02:37:06.600000Z")
        );
        let range = &advisory.affected[0].ranges[0];
        let kinds: Vec<RangeEventKind> = range.events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [RangeEventKind::Introduced, RangeEventKind::Fixed, RangeEventKind::LastAffected]);
        assert_eq!(advisory.ecosystems().collect::<Vec<_>>(), [Ecosystem::Cran]);
    }

    #[test]
    fn invalid_advisories_are_errors_with_the_reason() {
        for (bad, word) in [
            ("", "not a JSON object"),
            (r#"["X-1"]"#, "not a JSON object"),
            ("{\"id\"", "EOF"),
            ("{}", "id"),
            (r#"{"id":7}"#, "string"),
            (r#"{"id":"a b"}"#, "not valid"),
            (r#"{"id":"../x"}"#, "not valid"),
            (r#"{"id":"X-1","affected":{}}"#, "sequence"),
            (r#"{"id":"X-1","affected":[{"ranges":[{}]}]}"#, "type"),
        ] {
            let error = Advisory::from_json(bad).expect_err(bad).to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn the_first_sentence_of_the_details_replaces_a_missing_summary() {
        let line = |details: &str| first_sentence(details);
        assert_eq!(line("One  thing\nhappens. Then more."), Some("One thing happens.".to_owned()));
        assert_eq!(line("no end"), Some("no end".to_owned()));
        assert_eq!(line(" \n "), None);
        let long = line(&"é".repeat(900)).expect("a line");
        assert_eq!((long.chars().count(), long.ends_with('…')), (201, true));
    }

    #[test]
    fn scores_are_those_of_the_calculators() {
        for (vector, score) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
            ("CVSS:3.0/AV:L/AC:H/PR:L/UI:N/S:U/C:N/I:N/A:L", 2.5),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
            // Metrics outside the base group are ignored.
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:P/RL:O/RC:C", 9.8),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 9.3),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", 10.0),
            ("CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N/E:U", 4.8),
            ("AV:N/AC:L/Au:N/C:P/I:P/A:P", 7.5),
        ] {
            assert_eq!(base_score(vector), Some(score), "{vector}");
        }
        for bad in
            ["", "medium", "7.5", "CVSS:3.1", "CVSS:3.1/AV:N", "CVSS:9.9/AV:N/AC:L", "CVSS:4.0/AV:N/AC:L"]
        {
            assert_eq!(base_score(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(CVSS:[2345]\\.[01]/)?([A-Z][A-Za-z]?:[A-Z]/?){0,14}|.{0,40}") {
            prop_assert!(base_score(&text).is_none_or(|score| (0.0..=10.0).contains(&score)));
        }

        #[test]
        fn every_vector_of_the_fourth_version_has_a_score(
            av in "[NALP]", ac in "[LH]", at in "[NP]", pr in "[NLH]", ui in "[NPA]", rest in "[HLN]{6}",
        ) {
            let names = ["VC", "VI", "VA", "SC", "SI", "SA"];
            let rest: Vec<String> = names.iter().zip(rest.chars()).map(|(n, c)| format!("{n}:{c}")).collect();
            let text = format!("CVSS:4.0/AV:{av}/AC:{ac}/AT:{at}/PR:{pr}/UI:{ui}/{}", rest.join("/"));
            let score = base_score(&text);
            prop_assert!(score.is_some_and(|score| (0.0..=10.0).contains(&score)), "{} {:?}", text, score);
        }
    }
}
