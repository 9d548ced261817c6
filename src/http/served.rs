//! Logging and counting of package downloads: every request for a package file is recorded here once it is answered or
//! has failed.

use std::borrow::Cow;
use std::fmt::Display;

use http::StatusCode;

use crate::logs::{BinaryPart, ServiceError, ServiceLine, ServiceLog};
use crate::metrics;
use crate::model::ids::SourceId;
use crate::model::time::Timestamp;
use crate::r::layout::RPath;
use crate::r::platform::Platform;
use crate::r::user_agent::RVersion;
use crate::repo::negotiate::{Failed, Match};
use crate::usage::{Download, Usage};

/// A GET of a package file, answered or failed.
#[derive(Clone, Debug)]
pub struct Served<'a> {
    /// When the request arrived.
    pub began: Timestamp,
    /// The package.
    pub package: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Whether it is archived in that snapshot.
    pub archived: bool,
    /// The requested binary; `None` for a request for a source package.
    pub wish: Option<Wish<'a>>,
    /// Why no binary is sent, although one was looked up.
    pub lost: Option<(ServiceError, &'a str)>,
    /// How the request ended.
    pub outcome: Outcome<'a>,
}

/// A request for a binary.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The distribution as the address names it; `windows` and `macos` for theirs.
    pub distro: &'a str,
    /// The version of R, where the request names one.
    pub r: Option<RVersion>,
    /// How the version of R matches, or why no binary was looked up. `None` where the address itself names the
    /// platform.
    pub fit: Result<Option<Match>, Failed>,
    /// The `User-Agent`.
    pub agent: Option<&'a [u8]>,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// The file exists.
    Sent {
        /// The source it comes from.
        source: SourceId,
        /// The platform of the binary; `None` for a source package.
        build: Option<&'a Platform>,
        /// 200, 206, 304, 412 or 416.
        status: StatusCode,
        /// Offset of the first byte sent.
        from: u64,
    },
    /// The file does not exist or cannot be read.
    Failed {
        /// Whether it is a failure of the service, not of the request.
        service: bool,
        /// The reason, with the detail that an administrator needs.
        error: &'a str,
    },
}

/// Logs and counts requests for package files.
#[derive(Clone)]
pub struct Book {
    log: ServiceLog,
    usage: Usage,
}

impl Book {
    /// A recorder that writes to `log` and counts in `usage`.
    #[must_use]
    pub fn new(log: ServiceLog, usage: Usage) -> Book {
        Book { log, usage }
    }

    /// Records a request; called once for each. Counts the download, and logs it where the service log is on.
    ///
    /// With `body_follows` the line is written when the returned value is dropped with the body, since the request may
    /// fail until then.
    pub fn note(&self, served: &Served<'_>, body_follows: bool) -> Option<Ending> {
        self.count(served);
        if !self.log.is_on() {
            return None;
        }
        let line = line(served);
        if body_follows {
            return Some(Ending { log: self.log.clone(), line: line.into_owned() });
        }
        self.log.log(&line);
        None
    }

    /// Counts a download. Only a response that starts at the first byte counts: the rest of an interrupted download
    /// belongs to the same download.
    fn count(&self, served: &Served<'_>) {
        let Outcome::Sent { source, build, status, from } = served.outcome else { return };
        if let Some(wish) = &served.wish {
            match (build, wish.fit) {
                (Some(_), fit) => {
                    let fit = fit.ok().flatten().map_or("address", Match::as_str);
                    metrics::build_sent(wish.distro, fit);
                }
                (None, Err(failed)) => metrics::source_sent_instead(wish.distro, failed.as_str()),
                (None, Ok(_)) => {
                    let lost = served.lost.map_or(ServiceError::Fetch, |(error, _)| error);
                    metrics::source_sent_instead(wish.distro, lost.as_str());
                }
            }
        }
        if status == StatusCode::OK || (status == StatusCode::PARTIAL_CONTENT && from == 0) {
            let Served { began, package, version, .. } = *served;
            let platform = build.map(|build| build as &dyn Display);
            self.usage.count(&Download { at: began, source, package, version, platform });
        }
    }
}

/// The log line of a request whose body is being sent; written when this is dropped.
pub struct Ending {
    log: ServiceLog,
    line: ServiceLine<'static>,
}

impl Ending {
    /// Records that the body could not be sent completely.
    pub fn cut(&mut self, error: &dyn Display) {
        self.line.failed = Some(Cow::Owned(error.to_string()));
        self.line.failed_service.get_or_insert(ServiceError::Fetch);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.log.log(&self.line);
    }
}

fn line<'a>(served: &Served<'a>) -> ServiceLine<'a> {
    let (failed, to_blame) = match served.outcome {
        Outcome::Failed { service, error } => (Some(Cow::Borrowed(error)), service),
        // The client's own conditions, or a range that the file does not have.
        Outcome::Sent { status, .. } if status.is_client_error() => {
            (Some(Cow::Owned(status.to_string())), false)
        }
        Outcome::Sent { .. } => (None, false),
    };
    let lost = served.lost.filter(|_| served.wish.as_ref().is_some_and(|wish| wish.fit.is_ok()));
    ServiceLine {
        time: served.began.0,
        name: served.package.into(),
        version: served.version.into(),
        archived: served.archived,
        binary: served.wish.as_ref().map(part),
        error: lost.map(|(_, error)| error.into()),
        failed_service: lost.map(|(error, _)| error).or(to_blame.then_some(ServiceError::Fetch)),
        failed,
    }
}

fn part<'a>(wish: &Wish<'a>) -> BinaryPart<'a> {
    let failed = wish.fit.err();
    let by_agent = failed.is_some_and(Failed::is_the_agents);
    BinaryPart {
        distro: wish.distro.into(),
        r_version: wish.r.map(|r| r.to_string()),
        match_type: wish.fit.ok().flatten().map(Match::as_str),
        failed_match: failed.filter(|_| !by_agent).map(Failed::as_str),
        failed_ua: failed.filter(|_| by_agent).map(Failed::as_str),
        user_agent: wish.agent.filter(|_| by_agent).map(Cow::Borrowed),
    }
}

/// The package file that an address names; it may not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    /// The package.
    pub(super) package: &'a str,
    /// The version.
    pub(super) version: &'a str,
    /// Whether it is below `Archive/`.
    pub(super) archived: bool,
}

/// Returns the package file that an address names; `None` for indexes, and for files that are not packages.
pub(super) fn named(path: &RPath) -> Option<Named<'_>> {
    let (file, archived) = match path {
        RPath::File { file, .. } | RPath::SubFile { file, .. } | RPath::Build { file, .. } => (file, false),
        RPath::Archive { file, .. } => (file, true),
        RPath::Linux { path, .. } => return named(path),
        RPath::Index { .. }
        | RPath::ArchiveMeta
        | RPath::CurrentMeta
        | RPath::PackageDatabase
        | RPath::Built { .. } => return None,
    };
    let parts = file.package_file()?;
    Some(Named { package: parts.package, version: parts.version, archived })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r::layout;

    fn served(wish: Option<Wish<'static>>, outcome: Outcome<'static>) -> Served<'static> {
        Served {
            began: Timestamp(1),
            package: "a",
            version: "1.0",
            archived: false,
            wish,
            lost: None,
            outcome,
        }
    }

    fn sent(status: StatusCode) -> Outcome<'static> {
        Outcome::Sent { source: SourceId(1), build: None, status, from: 0 }
    }

    fn wish(fit: Result<Option<Match>, Failed>) -> Option<Wish<'static>> {
        Some(Wish { distro: "noble", r: RVersion::parse(b"4.5.1"), fit, agent: Some(b"agent") })
    }

    #[test]
    fn each_reason_for_a_source_has_its_own_field() {
        for (failed, field, word) in [
            (Failed::NoAgent, "ua", "ua_error_none"),
            (Failed::UnsupportedOs, "ua", "ua_error_unsupported_os"),
            (Failed::NoR, "ua", "ua_error_no_r"),
            (Failed::OtherSystem, "ua", "ua_error_distro_mismatch"),
            (Failed::NoMatch, "match", "match_error_no_best_match"),
            (Failed::ForcedOther, "match", "match_error_force_mismatch"),
        ] {
            let line = line(&served(wish(Err(failed)), sent(StatusCode::OK)));
            let binary = line.binary.expect("a binary was requested");
            let expected = if field == "ua" { (Some(word), None) } else { (None, Some(word)) };
            assert_eq!((binary.failed_ua, binary.failed_match), expected);
            assert_eq!(
                binary.user_agent.is_some(),
                field == "ua",
                "the header is logged if it is the reason"
            );
            assert_eq!((binary.match_type, line.failed_service, line.failed), (None, None, None));
        }
    }

    #[test]
    fn a_lost_build_is_told_beside_the_match_and_is_no_failure() {
        let lost = Some((ServiceError::Ash, "damaged"));
        let line = line(&Served { lost, ..served(wish(Ok(Some(Match::Best))), sent(StatusCode::OK)) });
        assert_eq!(line.binary.expect("a binary").match_type, Some("best"));
        assert_eq!((line.error.as_deref(), line.failed_service), (Some("damaged"), Some(ServiceError::Ash)));
        assert_eq!(line.failed, None);
    }

    #[test]
    fn what_failed_says_so_and_whether_the_service_is_to_blame() {
        let failed = |service| {
            let line = line(&served(None, Outcome::Failed { service, error: "why" }));
            (line.failed.map(Cow::into_owned), line.failed_service)
        };
        assert_eq!(failed(true), (Some("why".to_owned()), Some(ServiceError::Fetch)));
        assert_eq!(failed(false), (Some("why".to_owned()), None));
        let message = |status| line(&served(None, sent(status))).failed.map(Cow::into_owned);
        assert_eq!(message(StatusCode::NOT_MODIFIED), None);
        assert_eq!(message(StatusCode::PARTIAL_CONTENT), None);
        assert_eq!(message(StatusCode::PRECONDITION_FAILED), Some("412 Precondition Failed".to_owned()));
    }

    #[test]
    fn an_ending_is_written_once_with_what_went_wrong() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("service.log");
        let log = ServiceLog::default();
        log.switch(log.prepare(Some(&path)).expect("opens"));
        let recorder = Book::new(log.clone(), Usage::default());
        let of = served(None, sent(StatusCode::OK));
        assert!(recorder.note(&of, false).is_none());
        drop(recorder.note(&of, true).expect("the log is on"));
        recorder.note(&of, true).expect("the log is on").cut(&"the mirror lies");
        log.switch(None);
        let text = std::fs::read_to_string(&path).expect("is there");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0] == lines[1] && lines[0].ends_with("\"message\":\"ok\"}"), "{text}");
        let end = "\"failed_service\":\"service_error_fetch\",\"message\":\"the mirror lies\"}";
        assert!(lines[2].ends_with(end), "{text}");
        assert!(recorder.note(&of, true).is_none(), "it is off");
    }

    #[test]
    fn only_names_of_packages_are_requests_for_packages() {
        let of = |path: &str| {
            let path = layout::parse(path).expect("a path");
            named(&path).map(|n| format!("{} {} {}", n.package, n.version, n.archived))
        };
        for (path, expected) in [
            ("src/contrib/tally_0.2.1.tar.gz", Some("tally 0.2.1 false")),
            ("src/contrib/4.6.0/Recommended/Matrix_1.7.tar.gz", Some("Matrix 1.7 false")),
            ("src/contrib/Archive/tally/tally_0.2.1.tar.gz", Some("tally 0.2.1 true")),
            ("bin/linux/noble-x86_64/4.5/src/contrib/tally_0.2.1.tar.gz", Some("tally 0.2.1 false")),
            ("bin/linux/noble-x86_64/4.5/src/contrib/Archive/a/a_1.tar.gz", Some("a 1 true")),
            ("bin/windows/contrib/4.5/tally_0.2.1.zip", Some("tally 0.2.1 false")),
            ("src/contrib/PACKAGES.gz", None),
            ("src/contrib/Meta/archive.rds", None),
            ("src/contrib/readme.txt", None),
            ("bin/linux/4.5-noble/contrib/4.5/PACKAGES", None),
        ] {
            assert_eq!(of(path).as_deref(), expected, "{path}");
        }
    }
}
