//! Logging and counting of package downloads: every request for a package file, when it is answered or fails.

use std::borrow::Cow;
use std::fmt::Display;

use http::StatusCode;

use base::metrics;
use base::model::ids::SourceId;
use base::model::time::Timestamp;
use content::serve::negotiate::{MatchFailure, RVersionMatch};
use formats::r::layout::RPath;
use formats::r::platform::Platform;
use formats::r::user_agent::RVersion;
use store::logs::{BinaryDetails, ServiceEntry, ServiceError, ServiceLog};
use tasks::usage::{Download, Usage};

/// A GET of a package file, answered or failed.
#[derive(Clone, Debug)]
pub struct PackageRequest<'a> {
    pub received_at: Timestamp,
    pub package: &'a str,
    pub version: &'a str,
    /// Whether the version is archived in the requested snapshot.
    pub archived: bool,
    /// The requested binary; `None` for a request for a source package.
    pub requested_binary: Option<RequestedBinary<'a>>,
    /// The reason why no binary is sent, although one was looked up.
    pub missing_binary: Option<(ServiceError, &'a str)>,
    pub outcome: Completion<'a>,
}

#[derive(Clone, Debug)]
pub struct RequestedBinary<'a> {
    /// The distribution as the address names it; `windows` or `macos` for binaries of these systems.
    pub distro: &'a str,
    /// The version of R, where the request names one.
    pub r: Option<RVersion>,
    /// `Ok(None)` if the address names the platform; an error is the reason why no binary was looked up.
    pub match_result: Result<Option<RVersionMatch>, MatchFailure>,
    /// The `User-Agent`.
    pub agent: Option<&'a [u8]>,
}

#[derive(Clone, Debug)]
pub enum Completion<'a> {
    /// The file was found. The response has all of its bytes, a range of them, or none (304, 412, 416).
    Sent {
        source: SourceId,
        /// The platform of the binary; `None` for a source package.
        platform: Option<&'a Platform>,
        status: StatusCode,
        offset: u64,
    },
    /// The file does not exist or cannot be read.
    Failed {
        /// Whether it is a failure of the service, not of the request.
        is_service_failure: bool,
        /// The reason, with the detail that an administrator needs.
        error: &'a str,
    },
}

#[derive(Clone)]
pub struct DownloadRecorder {
    log: ServiceLog,
    usage: Usage,
}

impl DownloadRecorder {
    pub fn new(log: ServiceLog, usage: Usage) -> DownloadRecorder {
        DownloadRecorder { log, usage }
    }

    /// Counts a request, and logs it if the service log is on. With `body_follows` the line is written when
    /// the returned value is dropped with the body, since the request may fail until then.
    pub fn record(&self, request: &PackageRequest<'_>, body_follows: bool) -> Option<PendingRecord> {
        self.count(request);
        if !self.log.is_enabled() {
            return None;
        }
        let entry = log_entry(request);
        if body_follows {
            return Some(PendingRecord { log: self.log.clone(), entry: entry.into_owned() });
        }
        self.log.log(&entry);
        None
    }

    /// Counts a response that starts at the first byte: the rest of an interrupted download is not another download.
    fn count(&self, request: &PackageRequest<'_>) {
        let Completion::Sent { source, platform, status, offset } = request.outcome else {
            return;
        };
        if let Some(binary) = &request.requested_binary {
            match (platform, binary.match_result) {
                (Some(_), matched) => {
                    let match_type = matched.ok().flatten().map_or("address", RVersionMatch::as_str);
                    metrics::binary_sent(binary.distro, match_type);
                }
                (None, Err(failure)) => metrics::source_sent_instead(binary.distro, failure.as_str()),
                (None, Ok(_)) => {
                    let reason = request.missing_binary.map_or(ServiceError::Fetch, |(error, _)| error);
                    metrics::source_sent_instead(binary.distro, reason.as_str());
                }
            }
        }
        if status == StatusCode::OK || (status == StatusCode::PARTIAL_CONTENT && offset == 0) {
            let PackageRequest { received_at, package, version, .. } = *request;
            let platform = platform.map(|platform| platform as &dyn Display);
            self.usage.count(&Download { at: received_at, source, package, version, platform });
        }
    }
}

/// The log entry of a request whose body is being sent; written when this is dropped.
pub struct PendingRecord {
    log: ServiceLog,
    entry: ServiceEntry<'static>,
}

impl PendingRecord {
    /// Records that the body could not be sent completely.
    pub fn fail(&mut self, error: &dyn Display) {
        self.entry.failed = Some(Cow::Owned(error.to_string()));
        self.entry.failed_service.get_or_insert(ServiceError::Fetch);
    }
}

impl Drop for PendingRecord {
    fn drop(&mut self) {
        self.log.log(&self.entry);
    }
}

fn log_entry<'a>(request: &PackageRequest<'a>) -> ServiceEntry<'a> {
    let (failed, is_service_failure) = match request.outcome {
        Completion::Failed { is_service_failure, error } => (Some(Cow::Borrowed(error)), is_service_failure),
        // 412 or 416: a condition of the client is not met, or the file lacks the range.
        Completion::Sent { status, .. } if status.is_client_error() => {
            (Some(Cow::Owned(status.to_string())), false)
        }
        Completion::Sent { .. } => (None, false),
    };
    let missing = request
        .missing_binary
        .filter(|_| request.requested_binary.as_ref().is_some_and(|binary| binary.match_result.is_ok()));
    ServiceEntry {
        time: request.received_at.0,
        name: request.package.into(),
        version: request.version.into(),
        archived: request.archived,
        binary: request.requested_binary.as_ref().map(binary_part),
        error: missing.map(|(_, error)| error.into()),
        failed_service: missing.map(|(error, _)| error).or(is_service_failure.then_some(ServiceError::Fetch)),
        failed,
    }
}

fn binary_part<'a>(request: &RequestedBinary<'a>) -> BinaryDetails<'a> {
    let failure = request.match_result.err();
    let is_agent_error = failure.is_some_and(MatchFailure::is_agent_error);
    BinaryDetails {
        distro: request.distro.into(),
        r_version: request.r.map(|r| r.to_string()),
        match_type: request.match_result.ok().flatten().map(RVersionMatch::as_str),
        failed_match: failure.filter(|_| !is_agent_error).map(MatchFailure::as_str),
        failed_ua: failure.filter(|_| is_agent_error).map(MatchFailure::as_str),
        user_agent: request.agent.filter(|_| is_agent_error).map(Cow::Borrowed),
    }
}

/// The package file that an address names; there is not necessarily such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackagePath<'a> {
    pub(crate) package: &'a str,
    pub(crate) version: &'a str,
    /// Whether the file is below `Archive/`.
    pub(crate) archived: bool,
}

/// Returns the package file that an address names; `None` for indexes, and for files that are not packages.
pub(crate) fn package_path(path: &RPath) -> Option<PackagePath<'_>> {
    let (file, archived) = match path {
        RPath::File { file, .. } | RPath::SubFile { file, .. } | RPath::Binary { file, .. } => (file, false),
        RPath::Archive { file, .. } => (file, true),
        RPath::Linux { path, .. } => return package_path(path),
        RPath::Index { .. }
        | RPath::ArchiveMeta
        | RPath::CurrentMeta
        | RPath::PackageDatabase
        | RPath::BinaryIndex { .. }
        | RPath::Directory { .. } => return None,
    };
    let parts = file.package_file()?;
    Some(PackagePath { package: parts.package, version: parts.version, archived })
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::r::layout;

    fn request(
        requested_binary: Option<RequestedBinary<'static>>,
        outcome: Completion<'static>,
    ) -> PackageRequest<'static> {
        PackageRequest {
            received_at: Timestamp(1),
            package: "a",
            version: "1.0",
            archived: false,
            requested_binary,
            missing_binary: None,
            outcome,
        }
    }

    fn sent(status: StatusCode) -> Completion<'static> {
        Completion::Sent { source: SourceId(1), platform: None, status, offset: 0 }
    }

    fn binary(match_result: Result<Option<RVersionMatch>, MatchFailure>) -> Option<RequestedBinary<'static>> {
        Some(RequestedBinary {
            distro: "noble",
            r: RVersion::parse(b"4.5.1"),
            match_result,
            agent: Some(b"agent"),
        })
    }

    #[test]
    fn each_reason_for_a_source_has_its_own_field() {
        for (failure, field, word) in [
            (MatchFailure::NoAgent, "ua", "ua_error_none"),
            (MatchFailure::UnsupportedOs, "ua", "ua_error_unsupported_os"),
            (MatchFailure::NoR, "ua", "ua_error_no_r"),
            (MatchFailure::OtherSystem, "ua", "ua_error_distro_mismatch"),
            (MatchFailure::NoMatch, "match", "match_error_no_best_match"),
            (MatchFailure::ForcedOther, "match", "match_error_force_mismatch"),
        ] {
            let entry = log_entry(&request(binary(Err(failure)), sent(StatusCode::OK)));
            let binary = entry.binary.expect("a binary was requested");
            let expected = if field == "ua" { (Some(word), None) } else { (None, Some(word)) };
            assert_eq!((binary.failed_ua, binary.failed_match), expected);
            assert_eq!(
                binary.user_agent.is_some(),
                field == "ua",
                "the header is logged if it is the reason"
            );
            assert_eq!((binary.match_type, entry.failed_service, entry.failed), (None, None, None));
        }
    }

    #[test]
    fn a_missing_binary_is_logged_with_the_match_and_is_not_a_failure() {
        let missing = Some((ServiceError::Binary, "damaged"));
        let entry = log_entry(&PackageRequest {
            missing_binary: missing,
            ..request(binary(Ok(Some(RVersionMatch::Best))), sent(StatusCode::OK))
        });
        assert_eq!(entry.binary.expect("a binary").match_type, Some("best"));
        assert_eq!(
            (entry.error.as_deref(), entry.failed_service),
            (Some("damaged"), Some(ServiceError::Binary))
        );
        assert_eq!(entry.failed, None);
    }

    #[test]
    fn failures_are_logged_and_those_of_the_service_are_marked() {
        let failed = |is_service_failure| {
            let entry = log_entry(&request(None, Completion::Failed { is_service_failure, error: "why" }));
            (entry.failed.map(Cow::into_owned), entry.failed_service)
        };
        assert_eq!(failed(true), (Some("why".to_owned()), Some(ServiceError::Fetch)));
        assert_eq!(failed(false), (Some("why".to_owned()), None));
        let message = |status| log_entry(&request(None, sent(status))).failed.map(Cow::into_owned);
        assert_eq!(message(StatusCode::NOT_MODIFIED), None);
        assert_eq!(message(StatusCode::PARTIAL_CONTENT), None);
        assert_eq!(message(StatusCode::PRECONDITION_FAILED), Some("412 Precondition Failed".to_owned()));
    }

    #[test]
    fn each_request_is_logged_once_with_its_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("service.log");
        let log = ServiceLog::default();
        log.switch(log.prepare(Some(&path)).expect("opens"));
        let recorder = DownloadRecorder::new(log.clone(), Usage::default());
        let request = request(None, sent(StatusCode::OK));
        assert!(recorder.record(&request, false).is_none());
        drop(recorder.record(&request, true).expect("the log is on"));
        recorder.record(&request, true).expect("the log is on").fail(&"the mirror fails");
        log.switch(None);
        let text = std::fs::read_to_string(&path).expect("is there");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0] == lines[1] && lines[0].ends_with("\"message\":\"ok\"}"), "{text}");
        let end = "\"failed_service\":\"service_error_fetch\",\"message\":\"the mirror fails\"}";
        assert!(lines[2].ends_with(end), "{text}");
        assert!(recorder.record(&request, true).is_none(), "it is off");
    }

    #[test]
    fn only_names_of_packages_are_requests_for_packages() {
        let package_of = |path: &str| {
            let path = layout::parse(path).expect("a path");
            package_path(&path).map(|n| format!("{} {} {}", n.package, n.version, n.archived))
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
            assert_eq!(package_of(path).as_deref(), expected, "{path}");
        }
    }
}
