//! The access log: the format of its lines, which are in Apache's common and combined formats.

use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use memchr::memmem::Finder;
use regex::bytes::Regex;

use super::open::SinkError;
use super::sink::{OnFull, Sink};
use super::timestamp::{self, TimestampFormat};
use base::config::AccessLogFormat;

/// Maximum length of a field in bytes, before escaping; longer ones are truncated and end with `...`.
pub const MAX_FIELD: usize = 4096;

/// The entry of a completed request. Fields are as the client sent them; the formatter escapes them.
#[derive(Clone, Copy, Debug)]
pub struct AccessEntry<'a> {
    pub remote: IpAddr,
    /// The authenticated user, if any.
    pub user: Option<&'a str>,
    /// Arrival time, in microseconds since the epoch.
    pub time: i64,
    /// `GET`; empty if no request could be read.
    pub method: &'a str,
    /// Path and query as sent.
    pub target: &'a str,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub version: &'a str,
    pub status: u16,
    /// Number of bytes of the response body that were sent.
    pub bytes: u64,
    pub referer: Option<&'a [u8]>,
    pub user_agent: Option<&'a [u8]>,
}

/// The access log: formats entries and writes them to its file; [`AccessLog::switch`] affects all clones.
#[derive(Clone, Debug)]
pub struct AccessLog {
    current: Arc<ArcSwap<AccessLogFile>>,
}

#[derive(Debug)]
struct AccessLogFile {
    sink: Option<Sink>,
    format: AccessLogFormat,
    zone: TimeZone,
}

/// A file and format, ready for [`AccessLog::switch`].
#[derive(Debug)]
pub struct AccessLogSettings(AccessLogFile);

thread_local! {
    /// Buffer of the line, which avoids an allocation per line and formatting under the sink's lock.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl AccessLog {
    /// Opens the file, creating it with mode 0600. Times are in the system's time zone, with its offset.
    pub fn open(path: &Path, format: AccessLogFormat) -> Result<AccessLog, SinkError> {
        let access = AccessLog::disabled();
        access.switch(access.prepare(path, format)?);
        Ok(access)
    }

    /// An access log that writes nothing until [`AccessLog::switch`].
    pub fn disabled() -> AccessLog {
        let no_destination =
            AccessLogFile { sink: None, format: AccessLogFormat::Combined, zone: TimeZone::UTC };
        AccessLog { current: Arc::new(ArcSwap::from_pointee(no_destination)) }
    }

    /// Opens the file for [`AccessLog::switch`]; reuses the current one if the path is the same.
    ///
    /// # Errors
    /// The file cannot be opened for appending; nothing has changed.
    pub fn prepare(&self, path: &Path, format: AccessLogFormat) -> Result<AccessLogSettings, SinkError> {
        let current_sink = self.current.load().sink.clone().filter(|sink| sink.path() == path);
        let sink = current_sink.map_or_else(|| Sink::open(path, OnFull::Drop), Ok)?;
        Ok(AccessLogSettings(AccessLogFile { sink: Some(sink), format, zone: TimeZone::system() }))
    }

    /// Switches to a file and format. Each line is in one of the two files; the old one is flushed and closed.
    pub fn switch(&self, settings: AccessLogSettings) {
        let old_log = self.current.swap(Arc::new(settings.0));
        old_log.sink.iter().for_each(Sink::flush);
    }

    /// Formats and queues one line. Never waits for the disk: a line that does not fit is dropped and counted.
    pub fn log(&self, entry: &AccessEntry<'_>) {
        let current = self.current.load();
        let Some(sink) = &current.sink else { return };
        LINE.with_borrow_mut(|line| {
            line.clear();
            render(line, entry, current.format, &current.zone);
            sink.write(line);
        });
    }

    /// The file, if the log is on.
    pub fn sink(&self) -> Option<Sink> {
        self.current.load().sink.clone()
    }

    /// Writes the queued lines to the old file, then opens the path again; see [`Sink::reopen`].
    ///
    /// # Errors
    /// The path cannot be opened; the old file remains in use.
    pub fn reopen(&self) -> Result<(), SinkError> {
        self.sink().map_or(Ok(()), |sink| sink.reopen().map(drop))
    }

    /// Writes the queued lines; see [`Sink::flush`].
    pub fn flush(&self) {
        self.sink().iter().for_each(Sink::flush);
    }

    /// Returns the number of lines for the current file that were dropped.
    pub fn dropped_lines(&self) -> u64 {
        self.sink().map_or(0, |sink| sink.dropped_lines())
    }
}

/// Appends the line of an entry, with a line feed.
fn render(line: &mut Vec<u8>, entry: &AccessEntry<'_>, format: AccessLogFormat, zone: &TimeZone) {
    // Writing to a Vec cannot fail.
    let _ = write!(line, "{} - ", entry.remote.to_canonical());
    match entry.user.filter(|user| !user.is_empty()) {
        Some(user) => push_escaped(line, user.as_bytes(), true),
        None => line.push(b'-'),
    }
    line.extend_from_slice(b" [");
    timestamp::push(line, entry.time, TimestampFormat::Apache, zone);
    line.extend_from_slice(b"] \"");
    if entry.method.is_empty() {
        line.push(b'-');
    } else {
        push_escaped(line, entry.method.as_bytes(), false);
        line.push(b' ');
        push_escaped(line, entry.target.as_bytes(), false);
        line.push(b' ');
        push_escaped(line, entry.version.as_bytes(), false);
    }
    let _ = write!(line, "\" {} ", entry.status);
    match entry.bytes {
        0 => line.push(b'-'),
        bytes => {
            let _ = write!(line, "{bytes}");
        }
    }
    match format {
        AccessLogFormat::Common => {}
        AccessLogFormat::Combined => {
            for header in [entry.referer, entry.user_agent] {
                line.extend_from_slice(b" \"");
                push_escaped(line, header.filter(|value| !value.is_empty()).unwrap_or(b"-"), false);
                line.push(b'"');
            }
        }
    }
    line.push(b'\n');
}

/// The tokens of this server (`auth::secret`) and JSON Web Tokens (RFC 7519).
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?-u)rspm_[0-9A-Za-z]{36}|eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_.-]{8,}";
    Regex::new(pattern).expect("the pattern is valid")
});

/// What the tokens begin with, which hardly any field contains. These searches share no state between threads, as that of a
/// regular expression does.
static TOKEN_STARTS: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| ["rspm_", "eyJ"].map(Finder::new));

// SECURITY: a token that a client puts into an address or a header does not become readable in the log.
fn push_escaped(line: &mut Vec<u8>, field: &[u8], escape_spaces: bool) {
    let end = field.len().min(MAX_FIELD);
    let mut position = 0;
    if TOKEN_STARTS.iter().any(|start| start.find(field).is_some()) {
        for token in TOKEN.find_iter(field).take_while(|token| token.start() < end) {
            push_bytes(line, &field[position..token.start()], escape_spaces);
            let is_own = token.as_bytes().starts_with(b"rspm_");
            line.extend_from_slice(if is_own { b"rspm_***" } else { b"eyJ***" });
            position = token.end();
        }
    }
    push_bytes(line, &field[position.min(end)..end], escape_spaces);
    if end < field.len() {
        line.extend_from_slice(b"...");
    }
}

// SECURITY: a client must not be able to start a line, end a field or send control sequences to a reader's terminal.
fn push_bytes(line: &mut Vec<u8>, text: &[u8], escape_spaces: bool) {
    let is_plain = |byte: u8| {
        matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\') && !(escape_spaces && byte == b' ')
    };
    let mut rest = text;
    while let Some(length) = rest.iter().position(|&byte| !is_plain(byte)) {
        line.extend_from_slice(&rest[..length]);
        match rest[length] {
            byte @ (b'"' | b'\\') => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            byte => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digit = |nibble: u8| HEX[usize::from(nibble & 15)];
                line.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte)]);
            }
        }
        rest = &rest[length + 1..];
    }
    line.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> AccessEntry<'static> {
        AccessEntry {
            remote: IpAddr::from([127, 0, 0, 1]),
            user: Some("frank"),
            time: 971_211_336_000_000,
            method: "GET",
            target: "/apache_pb.gif",
            version: "HTTP/1.0",
            status: 200,
            bytes: 2326,
            referer: Some(b"http://www.example.com/start.html"),
            user_agent: Some(b"Mozilla/4.08 [en] (Win98; I ;Nav)"),
        }
    }

    fn line(entry: &AccessEntry<'_>, format: AccessLogFormat) -> String {
        let mut line = Vec::new();
        render(&mut line, entry, format, &TimeZone::fixed(jiff::tz::offset(-7)));
        String::from_utf8(line).expect("ASCII")
    }

    #[test]
    fn the_combined_format_is_apaches() {
        assert_eq!(
            line(&entry(), AccessLogFormat::Combined),
            "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326 \
             \"http://www.example.com/start.html\" \"Mozilla/4.08 [en] (Win98; I ;Nav)\"\n"
        );
    }

    #[test]
    fn the_common_format_is_apaches() {
        assert_eq!(
            line(&entry(), AccessLogFormat::Common),
            "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326\n"
        );
    }

    #[test]
    fn a_missing_field_is_a_dash() {
        let empty_entry =
            AccessEntry { user: None, method: "", bytes: 0, referer: None, user_agent: Some(b""), ..entry() };
        assert_eq!(
            line(&AccessEntry { status: 400, ..empty_entry }, AccessLogFormat::Combined),
            "127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"-\" 400 - \"-\" \"-\"\n"
        );
    }

    #[test]
    fn a_mapped_address_is_written_as_ipv4() {
        let mapped_entry = AccessEntry { remote: "::ffff:10.0.0.7".parse().expect("an address"), ..entry() };
        assert!(line(&mapped_entry, AccessLogFormat::Common).starts_with("10.0.0.7 - "));
    }

    #[test]
    fn quotes_control_characters_and_high_bytes_are_escaped() {
        let hostile_entry = AccessEntry {
            user: Some("a b"),
            target: "/x\" 200 1\n\r\t\\",
            user_agent: Some(b"\x1b[31m\x00\xc3\xa9\x7f"),
            ..entry()
        };
        let line = line(&hostile_entry, AccessLogFormat::Combined);
        assert!(line.contains(" a\\x20b ["), "{line}");
        assert!(line.contains("GET /x\\\" 200 1\\n\\r\\t\\\\ HTTP"), "{line}");
        assert!(line.ends_with("\"\\x1b[31m\\x00\\xc3\\xa9\\x7f\"\n"), "{line}");
    }

    #[test]
    fn tokens_are_masked_wherever_a_client_puts_them() {
        let token = format!("rspm_{}", "a1B2c3".repeat(6));
        let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.MEUCIQDx-_x";
        let target = format!("/{token}/x?token={token}&subject_token={jwt}&rspm_short=1&eyJ=2");
        let referer = format!("http://__token__:{token}@host/");
        let agent = format!("{}{token}", "a".repeat(MAX_FIELD - 20));
        let entry = AccessEntry {
            target: &target,
            referer: Some(referer.as_bytes()),
            user_agent: Some(agent.as_bytes()),
            ..entry()
        };
        let line = line(&entry, AccessLogFormat::Combined);
        assert!(
            line.contains("/rspm_***/x?token=rspm_***&subject_token=eyJ***&rspm_short=1&eyJ=2 HTTP"),
            "{line}"
        );
        assert!(line.contains("\"http://__token__:rspm_***@host/\""), "{line}");
        assert!(line.ends_with("arspm_***...\"\n"), "a token at the limit of a field: {line}");
    }

    #[test]
    fn an_over_long_field_is_truncated() {
        let agent = vec![b'a'; MAX_FIELD + 1];
        let line = line(&AccessEntry { user_agent: Some(&agent), ..entry() }, AccessLogFormat::Combined);
        assert!(line.ends_with("aaa...\"\n") && line.len() < MAX_FIELD + 300);
    }

    #[test]
    fn an_access_log_that_is_off_does_nothing() {
        let access = AccessLog::disabled();
        access.log(&entry());
        access.flush();
        assert!(access.reopen().is_ok());
        assert_eq!(access.dropped_lines(), 0);
    }

    #[test]
    fn switching_file_and_format_under_load_loses_no_line() {
        const EACH: u64 = 5000;
        let dir = tempfile::tempdir().expect("a directory");
        let paths = ["a.log", "b.log", "c.log"].map(|name| dir.path().join(name));
        let access = AccessLog::open(&paths[0], AccessLogFormat::Common).expect("opens");
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let access = access.clone();
                std::thread::spawn(move || {
                    for number in 0..EACH {
                        access.log(&AccessEntry { target: &format!("/{writer}?{number}"), ..entry() });
                    }
                })
            })
            .collect();
        for (turn, path) in paths.iter().cycle().take(30).enumerate() {
            let format = if turn % 2 == 0 { AccessLogFormat::Combined } else { AccessLogFormat::Common };
            access.switch(access.prepare(path, format).expect("opens"));
        }
        let result = access.prepare(Path::new("/dev/null/a.log"), AccessLogFormat::Common);
        assert!(result.is_err(), "a file that cannot be opened changes nothing");
        writers.into_iter().for_each(|writer| writer.join().expect("wrote"));
        access.flush();
        drop(access);
        let mut targets_in_files: Vec<String> = paths
            .iter()
            .flat_map(|path| {
                let text = std::fs::read_to_string(path).expect("readable");
                let targets = text.lines().filter_map(|line| line.split(' ').nth(6)).map(str::to_owned);
                targets.collect::<Vec<_>>()
            })
            .collect();
        targets_in_files.sort();
        let mut expected: Vec<String> =
            (0..3).flat_map(|writer| (0..EACH).map(move |number| format!("/{writer}?{number}"))).collect();
        expected.sort();
        assert!(targets_in_files == expected, "{} of {} lines", targets_in_files.len(), expected.len());
    }

    proptest! {
        #[test]
        fn a_record_of_any_request_is_one_line_of_printable_ascii(
            target in "\\PC{0,40}|[\\x00-\\x7f]{0,40}",
            agent in proptest::collection::vec(any::<u8>(), 0..60),
            time in any::<i64>(),
        ) {
            let line = line(
                &AccessEntry { target: &target, user_agent: Some(&agent), time, ..entry() },
                AccessLogFormat::Combined,
            );
            let body = line.strip_suffix('\n').expect("ends with a line feed");
            prop_assert!(body.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{:?}", body);
        }
    }
}
