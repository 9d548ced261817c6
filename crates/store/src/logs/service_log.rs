//! The package service log: the format is one JSON line per request for a package file.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write;
use std::path::Path;

use super::access::MAX_FIELD;
use super::event::redact_urls;
use super::open::SinkError;
use super::sink::{OptionalLog, Sink};
use base::words;

/// The entry of a request for a package file. Texts are unmodified; the formatter escapes and truncates them.
#[derive(Clone, Debug)]
pub struct ServiceEntry<'a> {
    /// Arrival time, in microseconds since the epoch.
    pub time: i64,
    pub name: Cow<'a, str>,
    pub version: Cow<'a, str>,
    /// Whether the version is archived rather than current.
    pub archived: bool,
    /// Details of a request for a binary; `None` for a source package.
    pub binary: Option<BinaryDetails<'a>>,
    /// The reason why the source package was served instead of a binary.
    pub error: Option<Cow<'a, str>>,
    pub failed_service: Option<ServiceError>,
    /// The error of a failed request; without it the message is `ok`.
    pub failed: Option<Cow<'a, str>>,
}

#[derive(Clone, Debug, Default)]
pub struct BinaryDetails<'a> {
    /// The distribution as in the URL.
    pub distro: Cow<'a, str>,
    /// The requested version of R, if known.
    pub r_version: Option<String>,
    /// `exact`, `best` or `forced`.
    pub match_type: Option<&'static str>,
    /// `match_error_…`.
    pub failed_match: Option<&'static str>,
    /// `ua_error_…`.
    pub failed_ua: Option<&'static str>,
    /// The `User-Agent` header, if it is the reason for the failure.
    pub user_agent: Option<Cow<'a, [u8]>>,
}

words! {
    /// A failure of the service itself.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ServiceError {
        /// The binary cannot be identified, or its stored bytes do not match its record.
        Binary = "service_error_ash",
        /// The bytes cannot be fetched.
        Fetch = "service_error_fetch",
    }
}

impl ServiceEntry<'_> {
    /// Returns an owned copy, without the part of the header that would be truncated.
    pub fn into_owned(self) -> ServiceEntry<'static> {
        let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        ServiceEntry {
            time: self.time,
            name: text(self.name),
            version: text(self.version),
            archived: self.archived,
            binary: self.binary.map(|binary| BinaryDetails {
                distro: text(binary.distro),
                user_agent: binary
                    .user_agent
                    .map(|agent| Cow::Owned(agent[..agent.len().min(MAX_FIELD + 1)].to_vec())),
                r_version: binary.r_version,
                match_type: binary.match_type,
                failed_match: binary.failed_match,
                failed_ua: binary.failed_ua,
            }),
            error: self.error.map(text),
            failed_service: self.failed_service,
            failed: self.failed.map(text),
        }
    }
}

/// Appends the line of an entry, with a line feed.
fn render(line: &mut Vec<u8>, entry: &ServiceEntry<'_>) {
    let binary = entry.binary.as_ref();
    // Writing to a Vec cannot fail.
    let _ = write!(line, "{{\"time\":{}", entry.time.div_euclid(1_000_000));
    field(line, "name", entry.name.as_bytes());
    field(line, "version", entry.version.as_bytes());
    field(line, "class", if entry.archived { b"archived" } else { b"current" });
    let kind = match (binary.is_some(), entry.archived) {
        (true, true) => "binary_archived",
        (true, false) => "binary_current",
        (false, true) => "source_archived",
        (false, false) => "source_current",
    };
    field(line, "type", kind.as_bytes());
    let mut optional_field =
        |name, text: Option<&[u8]>| text.into_iter().for_each(|text| field(line, name, text));
    optional_field("distro", binary.map(|b| b.distro.as_bytes()));
    optional_field("r_version", binary.and_then(|b| b.r_version.as_deref()).map(str::as_bytes));
    optional_field("match_type", binary.and_then(|b| b.match_type).map(str::as_bytes));
    optional_field("error", entry.error.as_deref().map(redact).as_deref().map(str::as_bytes));
    optional_field("failed_service", entry.failed_service.map(|error| error.as_str().as_bytes()));
    optional_field("failed_match", binary.and_then(|b| b.failed_match).map(str::as_bytes));
    optional_field("failed_ua", binary.and_then(|b| b.failed_ua).map(str::as_bytes));
    optional_field("user_agent", binary.and_then(|b| b.user_agent.as_deref()));
    let message = entry.failed.as_deref().map(redact);
    optional_field("message", Some(message.as_deref().unwrap_or("ok").as_bytes()));
    line.extend_from_slice(b"}\n");
}

/// Removes user and password from URLs in an error.
fn redact(text: &str) -> String {
    redact_urls(text.to_owned())
}

// SECURITY: a client must not be able to start a line, end a string or send control sequences to a reader's terminal:
// regardless of the text, only printable ASCII is written.
fn field(line: &mut Vec<u8>, name: &str, text: &[u8]) {
    let _ = write!(line, ",\"{name}\":\"");
    let bytes = &text[..text.len().min(MAX_FIELD)];
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '"' | '\\' => line.extend([b'\\', c as u8]),
            ' '..='~' => line.push(c as u8),
            '\n' => line.extend_from_slice(b"\\n"),
            '\r' => line.extend_from_slice(b"\\r"),
            '\t' => line.extend_from_slice(b"\\t"),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(line, "\\u{unit:04x}");
            }),
        }
    }
    if bytes.len() < text.len() {
        line.extend_from_slice(b"...");
    }
    line.push(b'"');
}

thread_local! {
    /// Buffer of the line, which avoids an allocation per line and formatting under the sink's lock.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The service log; cloning shares it, and [`ServiceLog::switch`] affects all clones.
#[derive(Clone, Debug, Default)]
pub struct ServiceLog {
    log: OptionalLog,
}

impl ServiceLog {
    /// As [`OptionalLog::prepare`].
    pub fn prepare(&self, path: Option<&Path>) -> Result<Option<Sink>, SinkError> {
        self.log.prepare(path)
    }

    /// Switches to a file, or off. The old file is flushed and closed.
    pub fn switch(&self, next: Option<Sink>) {
        self.log.switch(next);
    }

    /// The file, if the log is on.
    pub fn sink(&self) -> Option<Sink> {
        self.log.sink()
    }

    pub fn is_enabled(&self) -> bool {
        self.log.is_enabled()
    }

    /// Formats and queues one line. Never waits for the disk: a line that does not fit is dropped and counted.
    pub fn log(&self, entry: &ServiceEntry<'_>) {
        self.log.write_with(|sink| {
            LINE.with_borrow_mut(|line| {
                line.clear();
                render(line, entry);
                sink.write(line);
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn line(entry: &ServiceEntry<'_>) -> String {
        let mut line = Vec::new();
        render(&mut line, entry);
        String::from_utf8(line).expect("ASCII")
    }

    fn source(time: i64) -> ServiceEntry<'static> {
        ServiceEntry {
            time: time * 1_000_000 + 999_999,
            name: "plumber".into(),
            version: "0.4.6".into(),
            archived: false,
            binary: None,
            error: None,
            failed_service: None,
            failed: None,
        }
    }

    fn bionic_details(r_version: &str) -> BinaryDetails<'static> {
        let r_version = (!r_version.is_empty()).then(|| r_version.to_owned());
        BinaryDetails { distro: "bionic".into(), r_version, ..BinaryDetails::default() }
    }

    fn binary(time: i64, binary: BinaryDetails<'static>) -> String {
        line(&ServiceEntry { binary: Some(binary), ..source(time) })
    }

    #[test]
    fn an_exact_match_is_logged_as_documented() {
        assert_eq!(
            binary(1_563_907_491, BinaryDetails { match_type: Some("exact"), ..bionic_details("3.5.2") }),
            "{\"time\":1563907491,\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",\
             \"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.5.2\",\
             \"match_type\":\"exact\",\"message\":\"ok\"}\n"
        );
    }

    #[test]
    fn a_best_match_is_logged_as_documented() {
        assert_eq!(
            binary(1_563_907_529, BinaryDetails { match_type: Some("best"), ..bionic_details("3.5.3") }),
            "{\"time\":1563907529,\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",\
             \"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.5.3\",\
             \"match_type\":\"best\",\"message\":\"ok\"}\n"
        );
    }

    #[test]
    fn a_binary_that_cannot_be_fetched_is_logged_as_documented() {
        let error = "DownloadBinaryEtagRunner: file not found: https://rspm-sync.rstudio.com/bin/3.6-bionic/\
                     e3f8ab6d0bd9f83cb787b4f7472d60d98f247f64ea2c8a32aff68be6abbde5cf.tar.gz";
        let entry = ServiceEntry {
            binary: Some(BinaryDetails { match_type: Some("best"), ..bionic_details("3.6.3") }),
            error: Some(error.into()),
            failed_service: Some(ServiceError::Fetch),
            ..source(1_563_907_544)
        };
        assert_eq!(
            line(&entry),
            format!(
                "{{\"time\":1563907544,\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",\
                 \"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.6.3\",\
                 \"match_type\":\"best\",\"error\":\"{error}\",\
                 \"failed_service\":\"service_error_fetch\",\"message\":\"ok\"}}\n"
            )
        );
    }

    #[test]
    fn no_best_match_is_logged_as_documented() {
        let details =
            BinaryDetails { failed_match: Some("match_error_no_best_match"), ..bionic_details("3.7.3") };
        assert_eq!(
            binary(1_563_907_562, details),
            "{\"time\":1563907562,\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",\
             \"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.7.3\",\
             \"failed_match\":\"match_error_no_best_match\",\"message\":\"ok\"}\n"
        );
    }

    #[test]
    fn a_header_without_r_is_logged_as_documented() {
        let agent: &[u8] = b"Q (3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)";
        let details = BinaryDetails {
            failed_ua: Some("ua_error_no_r"),
            user_agent: Some(agent.into()),
            ..bionic_details("")
        };
        assert_eq!(
            binary(1_563_907_598, details),
            "{\"time\":1563907598,\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",\
             \"type\":\"binary_current\",\"distro\":\"bionic\",\"failed_ua\":\"ua_error_no_r\",\
             \"user_agent\":\"Q (3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)\",\"message\":\"ok\"}\n"
        );
    }

    #[test]
    fn an_unsupported_system_is_logged_as_documented() {
        let details = BinaryDetails {
            distro: "xenial".into(),
            failed_ua: Some("ua_error_unsupported_os"),
            user_agent: Some(b"python-requests/2.9.1".as_slice().into()),
            ..bionic_details("")
        };
        assert_eq!(
            binary(1_564_757_046, details),
            "{\"time\":1564757046,\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",\
             \"type\":\"binary_current\",\"distro\":\"xenial\",\"failed_ua\":\"ua_error_unsupported_os\",\
             \"user_agent\":\"python-requests/2.9.1\",\"message\":\"ok\"}\n"
        );
    }

    #[test]
    fn a_source_package_is_logged_as_documented() {
        assert_eq!(
            line(&source(1_563_907_590)),
            "{\"time\":1563907590,\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",\
             \"type\":\"source_current\",\"message\":\"ok\"}\n"
        );
    }

    #[test]
    fn every_key_has_its_position_and_archived_its_type() {
        let entry = ServiceEntry {
            archived: true,
            binary: Some(BinaryDetails {
                match_type: Some("forced"),
                failed_match: Some("m"),
                failed_ua: Some("u"),
                user_agent: Some(b"a".as_slice().into()),
                ..bionic_details("3.5.2")
            }),
            error: Some("e".into()),
            failed_service: Some(ServiceError::Binary),
            failed: Some("f".into()),
            ..source(-1)
        };
        let expected = "{\"time\":-1,\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"archived\",\
            \"type\":\"binary_archived\",\"distro\":\"bionic\",\"r_version\":\"3.5.2\",\
            \"match_type\":\"forced\",\"error\":\"e\",\"failed_service\":\"service_error_ash\",\
            \"failed_match\":\"m\",\"failed_ua\":\"u\",\"user_agent\":\"a\",\"message\":\"f\"}\n";
        assert_eq!(line(&entry), expected);
        assert_eq!(line(&entry.into_owned()), expected);
        let entry = ServiceEntry { archived: true, ..source(0) };
        assert!(line(&entry).contains("\"class\":\"archived\",\"type\":\"source_archived\""));
    }

    #[test]
    fn a_header_and_its_copy_are_truncated() {
        let long = vec![b'x'; 64 << 10];
        let details = BinaryDetails { user_agent: Some(long.as_slice().into()), ..bionic_details("") };
        let entry = ServiceEntry { binary: Some(details), ..source(0) };
        let text = line(&entry);
        assert!(text.contains(&format!("\"{}...\"", "x".repeat(MAX_FIELD))), "{text}");
        assert!(text.len() < MAX_FIELD + 300);
        assert_eq!(line(&entry.into_owned()), text);
    }

    #[test]
    fn no_line_contains_a_password_of_a_url() {
        let error = || Some("https://me:secret@mirror/x: 404".into());
        let text = line(&ServiceEntry { error: error(), failed: error(), ..source(0) });
        assert!(!text.contains("secret") && text.contains("***@mirror"), "{text}");
    }

    #[test]
    fn the_log_is_off_without_a_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("service.log");
        let log = ServiceLog::default();
        log.switch(log.prepare(None).expect("nothing to open"));
        assert!(log.sink().is_none() && !log.is_enabled());
        log.log(&source(0));
        log.switch(log.prepare(Some(&path)).expect("opens"));
        assert_eq!(std::fs::metadata(&path).expect("readable").permissions().mode() & 0o7777, 0o600);
        assert!(log.prepare(Some(Path::new("/dev/null/s.log"))).is_err());
        assert!(log.is_enabled());
        log.log(&source(1));
        log.switch(None);
        log.log(&source(2));
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), line(&source(1)));
    }

    proptest! {
        #[test]
        fn any_request_is_one_line_of_json_in_printable_ascii(
            agent in proptest::collection::vec(any::<u8>(), 0..80),
            text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}|[\\u{80}-\\u{9f}\\u{2028}\\u{1f600}]{0,9}",
            time in any::<i64>(),
        ) {
            let details = BinaryDetails {
                distro: text.clone().into(),
                user_agent: Some(agent.clone().into()),
                ..bionic_details("")
            };
            let line = line(&ServiceEntry { time, binary: Some(details), ..source(0) });
            let body = line.strip_suffix('\n').expect("ends with a line feed");
            prop_assert!(body.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{:?}", body);
            let json: serde_json::Value = serde_json::from_str(body).expect("JSON");
            prop_assert_eq!(json["distro"].as_str(), Some(text.as_str()));
            let lossy = String::from_utf8_lossy(&agent);
            prop_assert_eq!(json["user_agent"].as_str(), Some(lossy.as_ref()));
        }
    }
}
