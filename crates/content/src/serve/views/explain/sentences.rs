//! Sentences of an explanation that depend only on one decision. No I/O.

use super::{Decision, Topic};
use crate::serve::documents::negotiate::{MatchFailure, RVersionMatch};
use crate::serve::files::located::LocatedFile;
use crate::serve::project::owner;
use base::config::platforms::Distribution;
use base::model::kind::SourceKind;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use formats::advisory::Finding;
use formats::r::user_agent::{self, ClientSystem, UserAgent};

/// The maximum length of a header in the output, in characters.
const MAX_HEADER: usize = 200;

/// Formats a time: `2026-11-20 07:50:28 UTC`.
pub(super) fn format_time(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..19).map_or_else(|| text.clone(), |text| format!("{} UTC", text.replace('T', " ")))
}

pub(super) fn snapshot(snapshot: Snapshot, point: &Point) -> Decision {
    // The state of an index has no time of a change; its sequence number is the time up to which the index is known.
    let index = point.trees.iter().find(|tree| owner::is_index(tree));
    let newest_change = match (point.modified, index) {
        (Some(time), _) => format!("its newest change is from {}", format_time(time)),
        (None, Some(tree)) => {
            let listing = tree.listing();
            let label = SourceKind::of_built_in(listing.source).map_or("the index", SourceKind::label);
            format!("with {label} as of {}", format_time(Timestamp(listing.seq.0)))
        }
        (None, None) => "nothing was published yet".to_owned(),
    };
    let rule = match snapshot {
        Snapshot::Latest => "the newest published state of every source",
        Snapshot::Date(_) => "the state at the end of that day, in UTC",
        Snapshot::Alias(_) => "the state that the fixed URL names",
        Snapshot::Transaction(_) => "the state right after that transaction",
    };
    let stability = if point.open { "it may still change" } else { "it never changes again" };
    Decision {
        topic: Topic::Snapshot,
        subject: snapshot.to_string(),
        state: newest_change,
        is_selected: true,
        rule: format!("{rule}; {stability}"),
    }
}

pub(super) fn release(located: &LocatedFile, is_version_requested: bool) -> Decision {
    let rule = match (is_version_requested, located.archived) {
        (false, _) => "the version that the index lists",
        (true, false) => "the requested version, which the index lists",
        (true, true) => "the requested version; superseded, its address is below Archive/",
    };
    let publication =
        located.modified.map(|time| format!(", published {}", format_time(time))).unwrap_or_default();
    let class = if located.archived { "archived" } else { "current" };
    Decision {
        topic: Topic::Release,
        subject: format!("{} {}", located.package, located.version),
        state: format!("{class}{publication}"),
        is_selected: true,
        rule: rule.to_owned(),
    }
}

pub(super) fn advisory(finding: &Finding<'_>) -> Decision {
    let names = std::iter::once(finding.id).chain(finding.aliases.iter().copied());
    Decision {
        topic: Topic::Release,
        subject: names.collect::<Vec<_>>().join(", "),
        state: finding.summary.unwrap_or("an advisory").to_owned(),
        is_selected: false,
        rule: "a known vulnerability of this version; it is served nevertheless".to_owned(),
    }
}

pub(super) fn no_distribution() -> Decision {
    Decision {
        topic: Topic::Distribution,
        subject: "none".to_owned(),
        state: "an address of source packages".to_owned(),
        is_selected: true,
        rule: "binaries are served to every client, but only below /__linux__/{distribution}/ and bin/"
            .to_owned(),
    }
}

/// Returns the decision on the distribution, with its alias resolved.
pub(super) fn distribution(requested: &str, distribution: &Distribution) -> Decision {
    let alias_prefix = if distribution.name == requested {
        String::new()
    } else {
        format!("another name of {}: ", distribution.name)
    };
    let rule = match (&distribution.r_version, distribution.is_r_version_forced) {
        (None, _) => "any version of R that has binaries".to_owned(),
        (Some(r), false) => format!("meant for R {r}; any version that has binaries is served"),
        (Some(r), true) => format!("forced to R {r}: other minor versions get the source package"),
    };
    Decision {
        topic: Topic::Distribution,
        subject: requested.to_owned(),
        state: format!(
            "{alias_prefix}{}, {}",
            distribution.display,
            distribution.architectures.join(" and ")
        ),
        is_selected: true,
        rule,
    }
}

pub(super) fn client(header: Option<&[u8]>) -> Decision {
    let decision = |subject: String, state: &str, is_selected, rule: &str| Decision {
        topic: Topic::Client,
        subject,
        state: state.to_owned(),
        is_selected,
        rule: rule.to_owned(),
    };
    let Some(header) = header else {
        return decision(
            "no User-Agent".to_owned(),
            "unknown client",
            false,
            "only this header contains the version of R",
        );
    };
    let escaped_header: String = String::from_utf8_lossy(header).escape_debug().take(MAX_HEADER).collect();
    match user_agent::parse(header) {
        UserAgent::R(client) => {
            let system = match client.system {
                ClientSystem::Linux => "Linux",
                ClientSystem::LinuxMusl => "Linux with musl",
                ClientSystem::MacOs => "macOS",
                ClientSystem::Windows => "Windows",
            };
            let arch =
                client.arch.map_or("an architecture without binaries".to_owned(), |arch| arch.to_string());
            let text = format!("R {} on {system}, {arch}", client.r);
            decision(
                escaped_header,
                &text,
                true,
                "the group after the word R: version, platform, architecture, system",
            )
        }
        UserAgent::NotR => decision(
            escaped_header,
            "not R, or no version of it",
            false,
            "the header has the form of R's, but other content",
        ),
        UserAgent::Unsupported => decision(
            escaped_header,
            "names no system that has binaries",
            false,
            "R sends the header of libcurl instead of its own unless options(HTTPUserAgent) begins with R/",
        ),
    }
}

pub(super) fn match_rule(version_match: RVersionMatch) -> &'static str {
    match version_match {
        RVersionMatch::Exact => "the version of R is that of the distribution",
        RVersionMatch::Best => "binaries for a minor version of R serve all its patch versions",
        RVersionMatch::Forced => "it has the minor version that the distribution is forced to",
    }
}

pub(super) fn failure_state(failure: MatchFailure) -> &'static str {
    match failure {
        MatchFailure::NoAgent => "no User-Agent",
        MatchFailure::UnsupportedOs => "no system that has binaries",
        MatchFailure::NoR => "not R, or no version of it",
        MatchFailure::OtherSystem => "another system",
        MatchFailure::NoMatch => "another version of R, or another architecture",
        MatchFailure::ForcedOther => "another version of R",
    }
}

pub(super) fn failure_reason(failure: MatchFailure) -> &'static str {
    match failure {
        MatchFailure::NoAgent => "the client sent no User-Agent, which selects the binary",
        MatchFailure::UnsupportedOs => "the User-Agent names no system that has binaries",
        MatchFailure::NoR => "the User-Agent is not R's, or lacks its version",
        MatchFailure::OtherSystem => "the client's system is not the distribution's",
        MatchFailure::NoMatch => {
            "there are no binaries for this version of R, or the distribution has none for this architecture"
        }
        MatchFailure::ForcedOther => "the distribution is forced to another version of R",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::{RepoId, Seq, SourceId, TreeId};
    use base::model::kind::Language;
    use base::model::point::{Base, PointTree};

    #[test]
    fn a_header_is_described_and_escaped_for_terminals() {
        let state = |header: &[u8]| client(Some(header)).state;
        assert_eq!(state(b"R (4.5.1 aarch64-pc-linux-gnu aarch64 linux-gnu)"), "R 4.5.1 on Linux, arm64");
        assert_eq!(state(b"Q (3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)"), "not R, or no version of it");
        assert_eq!(state(b"libcurl/8.5.0"), "names no system that has binaries");
        let hostile = client(Some(b"\x1b[31m\xff")).subject;
        assert!(hostile.starts_with("\\u{1b}[31m") && !hostile.contains('\u{1b}'), "{hostile}");
        assert_eq!(client(Some(&[b'x'; 9999])).subject.len(), MAX_HEADER);
        assert!(!client(None).is_selected);
    }

    #[test]
    fn a_snapshot_states_its_newest_change_or_the_time_of_its_index() {
        let day: i64 = 86_400_000_000;
        let tree = |source| PointTree { source, tree: TreeId(4), seq: Seq(day - 1), base: None, rules: None };
        let point = |modified, trees| Point {
            repo: RepoId(1),
            language: Language::R,
            trees,
            open: true,
            frozen: false,
            modified,
            promotion: None,
        };
        let state = |point: &Point| snapshot(Snapshot::Latest, point).state;
        assert_eq!(state(&point(None, Vec::new())), "nothing was published yet");
        let published = point(Some(Timestamp(day)), vec![tree(SourceId(9))]);
        assert_eq!(state(&published), "its newest change is from 1970-01-02 00:00:00 UTC");
        let index = tree(SourceId::PYPI);
        let expected = "with PyPI as of 1970-01-01 23:59:59 UTC";
        assert_eq!(state(&point(None, vec![tree(SourceId(9)), index])), expected);
        let base = Base { source: SourceId::PYPI, tree: TreeId(5), seq: Seq(day - 1), is_whole: false };
        let curated = PointTree { seq: Seq(1), base: Some(base), ..tree(SourceId(9)) };
        assert_eq!(state(&point(None, vec![curated])), expected, "a curated source of PyPI");
    }

    #[test]
    fn every_reason_has_a_different_sentence() {
        let failures = [
            MatchFailure::NoAgent,
            MatchFailure::UnsupportedOs,
            MatchFailure::NoR,
            MatchFailure::OtherSystem,
            MatchFailure::NoMatch,
            MatchFailure::ForcedOther,
        ];
        let reasons: std::collections::BTreeSet<_> = failures.into_iter().map(failure_reason).collect();
        assert_eq!(reasons.len(), failures.len());
    }
}
