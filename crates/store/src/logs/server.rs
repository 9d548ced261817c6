//! The server log: writes `tracing` events; destinations, format and level can be changed while running.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use nix::sys::stat::fstat;
use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use super::event::{self, EventParts};
use super::open::SinkError;
use super::sink::{OnFull, Sink};
use base::config::{DebugRegion, LogDestination, LogFormat, LogLevel, Logging};

/// The crates of this program, whose names begin the targets of their events. Events of libraries below WARN are not
/// written at any level: at DEBUG some libraries print the contents of messages.
const CRATES: [&str; 14] = [
    "api",
    "base",
    "builder",
    "cli",
    "content",
    "downloader",
    "formats",
    "generator",
    "pages",
    "rstudio_pm",
    "runtime",
    "store",
    "tasks",
    "upstream",
];

/// Other targets of this program's events, one for each area of its work.
const AREAS: [&str; 3] = [LOGGING, "sync", "usage"];

/// The area of errors of logging itself, which are also written to standard error.
const LOGGING: &str = "logs";

/// The server log; cloning shares it.
#[derive(Clone)]
pub struct ServerLog {
    filter: reload::Handle<Targets, Registry>,
    selection: Arc<Mutex<Selection>>,
    outputs: Arc<ArcSwap<Outputs>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Selection {
    level: LogLevel,
    /// Regions whose debug events are written at every level.
    regions: BTreeSet<DebugRegion>,
}

/// Destinations, format and level, ready for [`ServerLog::switch`].
pub struct ServerLogSettings {
    outputs: Outputs,
    selection: Selection,
}

struct Outputs {
    format: LogFormat,
    zone: TimeZone,
    destinations: Vec<Output>,
    /// Events from before the configuration was read, to be written to its destinations; `None` afterwards.
    startup_events: Option<Mutex<Vec<BufferedEvent>>>,
}

enum Output {
    Stream(Stream),
    File(Sink),
}

struct BufferedEvent {
    level: Level,
    parts: EventParts,
    micros: i64,
}

const MAX_STARTUP_EVENTS: usize = 1000;

impl ServerLog {
    /// Installs the global log: text on standard error from INFO on, until [`ServerLog::configure`].
    ///
    /// # Errors
    /// Another log is installed already.
    pub fn install() -> Result<ServerLog, tracing::subscriber::SetGlobalDefaultError> {
        let (log, subscriber) = ServerLog::new();
        tracing::subscriber::set_global_default(subscriber)?;
        Ok(log)
    }

    /// Creates a log and its subscriber without installing it globally.
    pub fn new() -> (ServerLog, impl Subscriber + Send + Sync) {
        let outputs = Outputs {
            format: LogFormat::Text,
            zone: TimeZone::system(),
            destinations: vec![Output::Stream(Stream::of(StandardStream::Stderr))],
            startup_events: Some(Mutex::default()),
        };
        let outputs = Arc::new(ArcSwap::from_pointee(outputs));
        let selection = Selection { level: LogLevel::Info, regions: BTreeSet::new() };
        let (filter, handle) = reload::Layer::new(targets(&selection));
        let subscriber = Registry::default().with(filter).with(LineLayer { outputs: Arc::clone(&outputs) });
        (ServerLog { filter: handle, selection: Arc::new(Mutex::new(selection)), outputs }, subscriber)
    }

    /// Applies `[Logging]`: [`ServerLog::prepare`] and [`ServerLog::switch`]. Files that cannot be opened are left out;
    /// their errors are returned.
    pub fn configure(&self, logging: &Logging) -> Vec<SinkError> {
        let (settings, errors) = self.prepare(logging);
        self.switch(settings);
        errors
    }

    /// Opens the destinations for [`ServerLog::switch`]. Open files with the same path are reused. Files that cannot be
    /// opened are left out, and their errors are returned; if no destination remains, standard error is used.
    pub fn prepare(&self, logging: &Logging) -> (ServerLogSettings, Vec<SinkError>) {
        let current = self.outputs.load();
        let mut destinations = Vec::new();
        let mut errors = Vec::new();
        for destination in &logging.system_log {
            match destination {
                LogDestination::Stdout => add_stream(&mut destinations, StandardStream::Stdout),
                LogDestination::Stderr => add_stream(&mut destinations, StandardStream::Stderr),
                LogDestination::File(path) => {
                    let current_sink = current.files().find(|sink| sink.path() == path).cloned();
                    match current_sink.map_or_else(|| Sink::open(path, OnFull::Wait), Ok) {
                        Ok(sink) => destinations.push(Output::File(sink)),
                        Err(error) => errors.push(error),
                    }
                }
            }
        }
        if destinations.is_empty() {
            add_stream(&mut destinations, StandardStream::Stderr);
        }
        let zone = TimeZone::system();
        let outputs = Outputs { format: logging.format, zone, destinations, startup_events: None };
        let selection = Selection { level: logging.level, regions: logging.debug.iter().copied().collect() };
        (ServerLogSettings { outputs, selection }, errors)
    }

    /// Switches to destinations, format and level. Each line is written to either the old or the new files; the old
    /// files are flushed and closed. The first switch also writes the events logged so far to the new destinations.
    pub fn switch(&self, settings: ServerLogSettings) {
        let new = Arc::new(settings.outputs);
        let old = self.outputs.swap(Arc::clone(&new));
        let level = settings.selection.level;
        self.select(|selection| *selection = settings.selection);
        let new_outputs: Vec<&Output> =
            new.destinations.iter().filter(|output| !old.contains(output)).collect();
        let startup_events =
            old.startup_events.iter().flat_map(|startup_events| std::mem::take(&mut *startup_events.lock()));
        for BufferedEvent { level, parts, micros } in
            startup_events.filter(|event| event.level <= filter(level))
        {
            let mut buffers = Buffers::default();
            new_outputs.iter().for_each(|output| new.write(output, &mut buffers, level, &parts, micros));
        }
        old.files().for_each(Sink::flush);
    }

    /// Writes an error to the files only: the caller prints another text on standard error.
    pub fn log_to_files(&self, error: &str) {
        let outputs = self.outputs.load();
        let (parts, micros) = (EventParts::message(error), now());
        let mut buffers = Buffers::default();
        for output in outputs.destinations.iter().filter(|output| matches!(output, Output::File(_))) {
            outputs.write(output, &mut buffers, Level::ERROR, &parts, micros);
        }
    }

    /// Returns whether events of this thread are visible on standard error (or in the journal).
    pub fn reaches_stderr(&self) -> bool {
        BUFFERS.with(|lines| lines.try_borrow().is_ok())
            && self.outputs.load().contains(&Output::Stream(Stream::of(StandardStream::Stderr)))
    }

    pub fn sinks(&self) -> Vec<Sink> {
        self.outputs.load().files().cloned().collect()
    }

    pub fn set_level(&self, level: LogLevel) {
        self.select(|selection| selection.level = level);
    }

    /// Adds or removes regions whose debug events are written at every level.
    pub fn set_regions(&self, regions: &[DebugRegion], is_active: bool) {
        self.select(|selection| match is_active {
            true => selection.regions.extend(regions),
            false => selection.regions.retain(|region| !regions.contains(region)),
        });
    }

    pub fn regions(&self) -> BTreeSet<DebugRegion> {
        self.selection.lock().regions.clone()
    }

    fn select(&self, change: impl FnOnce(&mut Selection)) {
        // Held during the reload, so that the last of two concurrent changes is in force.
        let mut selection = self.selection.lock();
        change(&mut selection);
        // Fails only if the subscriber is dropped, and then there are no events.
        let _ = self.filter.reload(targets(&selection));
    }

    /// Reopens the files after a rotation.
    ///
    /// # Errors
    /// One error for each path that cannot be opened; its old file remains in use.
    pub fn reopen(&self) -> Result<(), Vec<SinkError>> {
        let outputs = self.outputs.load_full();
        let errors: Vec<SinkError> = outputs.files().filter_map(|sink| sink.reopen().err()).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Writes the queued lines: before the program exits, and in a panic hook.
    pub fn flush(&self) {
        self.outputs.load_full().files().for_each(Sink::flush);
    }
}

fn add_stream(destinations: &mut Vec<Output>, kind: StandardStream) {
    let new = Output::Stream(Stream::of(kind));
    // Standard output and error are often the same stream: write each line once.
    if !destinations.iter().any(|output| output.is_same(&new)) {
        destinations.push(new);
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// The line of one event, formatted at most once per kind of destination.
#[derive(Default)]
struct Buffers {
    line: Vec<u8>,
    /// The form for the journal.
    journal_line: Vec<u8>,
}

impl Output {
    fn is_same(&self, other: &Output) -> bool {
        match (self, other) {
            (Output::Stream(a), Output::Stream(b)) => a.is_same(b),
            (Output::File(a), Output::File(b)) => a.path() == b.path(),
            (Output::Stream(_), Output::File(_)) | (Output::File(_), Output::Stream(_)) => false,
        }
    }
}

impl Outputs {
    fn files(&self) -> impl Iterator<Item = &Sink> {
        self.destinations.iter().filter_map(|output| match output {
            Output::File(sink) => Some(sink),
            Output::Stream(_) => None,
        })
    }

    fn contains(&self, other: &Output) -> bool {
        self.destinations.iter().any(|output| output.is_same(other))
    }

    fn write(&self, output: &Output, buffers: &mut Buffers, level: Level, parts: &EventParts, micros: i64) {
        let is_journal = matches!(output, Output::Stream(stream) if stream.is_journal);
        let line = if is_journal { &mut buffers.journal_line } else { &mut buffers.line };
        if line.is_empty() {
            if is_journal {
                event::render_for_journal(line, self.format, level, parts);
            } else {
                event::render(line, self.format, level, parts, micros, &self.zone);
            }
        }
        match output {
            Output::Stream(stream) => stream.write(line),
            Output::File(sink) => sink.write(line),
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

fn targets(selection: &Selection) -> Targets {
    let level = filter(selection.level);
    let program_targets = AREAS.into_iter().chain(CRATES).map(|target| (target, level));
    let debug_targets = selection.regions.iter().flat_map(|region| region_targets(*region));
    // The last entry of a target is in force; a longer target takes precedence over a shorter one.
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(program_targets)
        .with_targets(debug_targets.map(|target| (*target, level.max(LevelFilter::DEBUG))))
}

struct LineLayer {
    outputs: Arc<ArcSwap<Outputs>>,
}

thread_local! {
    /// The buffers of this thread, borrowed while an event is written.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut parts = EventParts::default();
        event.record(&mut parts);
        let (level, micros) = (*event.metadata().level(), now());
        let outputs = self.outputs.load();
        let write = |buffers: &mut Buffers| {
            buffers.line.clear();
            buffers.journal_line.clear();
            for output in &outputs.destinations {
                outputs.write(output, buffers, level, &parts, micros);
            }
            if event.metadata().target() == LOGGING {
                let stderr = Output::Stream(Stream::of(StandardStream::Stderr));
                if !outputs.contains(&stderr) {
                    outputs.write(&stderr, buffers, level, &parts, micros);
                }
            }
        };
        // An event that is logged while another one is written finds the buffers borrowed, and is dropped.
        BUFFERS.with(|lines| lines.try_borrow_mut().map(|mut lines| write(&mut lines)).unwrap_or_default());
        if let Some(startup_events) = &outputs.startup_events {
            let mut startup_events = startup_events.lock();
            if startup_events.len() < MAX_STARTUP_EVENTS {
                startup_events.push(BufferedEvent { level, parts, micros });
            }
        }
    }
}

/// Returns the targets whose events belong to a region. A target includes the modules below it.
fn region_targets(region: DebugRegion) -> &'static [&'static str] {
    match region {
        DebugRegion::Auth => &["runtime::auth", "base::access", "rstudio_pm::http::login"],
        DebugRegion::Cluster => &["runtime::cluster", "rstudio_pm::daemon::leader_tasks"],
        DebugRegion::Db => &["store::db", "runtime::catalog"],
        DebugRegion::Fetch => &["content::fetch", "content::index", "content::serve"],
        DebugRegion::Git => &["tasks::build"],
        DebugRegion::Jobs => &["runtime::jobs"],
        DebugRegion::Launcher => &["builder"],
        DebugRegion::Router => &["rstudio_pm::http"],
        DebugRegion::Storage => &["store::storage", "tasks::upkeep", "tasks::backup"],
        DebugRegion::Sync => &["sync", "tasks::sync", "runtime::publish"],
        DebugRegion::Upstream => &["upstream"],
        DebugRegion::Usage => &["usage", "tasks::usage"],
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StandardStream {
    Stdout,
    Stderr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    kind: StandardStream,
    /// Device and inode of the file of the stream, if known.
    identity: Option<(u64, u64)>,
    /// Whether the stream is the journal, for which lines have a priority prefix and no time.
    pub(super) is_journal: bool,
}

impl Stream {
    pub(super) fn of(kind: StandardStream) -> Stream {
        let identity = match kind {
            StandardStream::Stdout => identity(io::stdout().as_fd()),
            StandardStream::Stderr => identity(io::stderr().as_fd()),
        };
        let journal = std::env::var("JOURNAL_STREAM").ok().and_then(|text| journal_stream(&text));
        Stream { kind, identity, is_journal: identity.is_some() && identity == journal }
    }

    /// Returns whether both streams write to the same file.
    pub(super) fn is_same(&self, other: &Stream) -> bool {
        self.kind == other.kind || (self.identity.is_some() && self.identity == other.identity)
    }

    /// Writes a line. Ignores errors: a closed terminal or pipe must not stop the server, and cannot be reported.
    pub(super) fn write(&self, line: &[u8]) {
        let _ = match self.kind {
            StandardStream::Stdout => io::stdout().lock().write_all(line),
            StandardStream::Stderr => io::stderr().lock().write_all(line),
        };
    }
}

fn identity(stream: BorrowedFd<'_>) -> Option<(u64, u64)> {
    #[allow(clippy::useless_conversion, reason = "the types of the fields differ between platforms")]
    fstat(stream).ok().map(|stat| (stat.st_dev.into(), stat.st_ino.into()))
}

/// Parses `$JOURNAL_STREAM` of systemd: device and inode in decimal, `8:1234`.
// libsystemd 0.7.2 can do this, but needs a second version of nix, which deny.toml does not allow.
fn journal_stream(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};
    use tracing::subscriber::with_default;
    use tracing::{debug, error, info};

    fn logging(files: &[&Path], format: LogFormat) -> Logging {
        let system_log = files.iter().map(|path| LogDestination::File(path.to_path_buf())).collect();
        Logging { system_log, level: LogLevel::Info, format, audit_log: None, debug: Vec::new() }
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).expect("readable")
    }

    #[test]
    fn events_are_written_to_every_destination_in_the_configured_format() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a.log"), dir.path().join("b.log"));
        let (log, subscriber) = ServerLog::new();
        with_default(subscriber, || {
            assert!(log.configure(&logging(&[&a, &b], LogFormat::Text)).is_empty());
            info!(source = "cran", packages = 3, "synced");
            log.flush();
            assert!(read(&a).ends_with(" INFO synced source=cran packages=3\n"), "{}", read(&a));
            assert_eq!(read(&a), read(&b));
            log.configure(&logging(&[&b], LogFormat::Json));
            error!("over");
            log.flush();
        });
        assert_eq!(read(&a).lines().count(), 1);
        let last: serde_json::Value =
            serde_json::from_str(read(&b).lines().last().expect("a line")).expect("JSON");
        assert_eq!((&last["level"], &last["msg"]), (&"error".into(), &"over".into()));
    }

    #[test]
    fn the_level_changes_while_running_except_that_of_libraries() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.log");
        let (log, subscriber) = ServerLog::new();
        with_default(subscriber, || {
            log.configure(&logging(&[&path], LogFormat::Text));
            debug!("one");
            log.set_level(LogLevel::Debug);
            debug!("two");
            debug!(target: "hyper::proto", "three");
            debug!(target: "sync", "area");
            error!(target: "hyper::proto", "four");
            log.set_level(LogLevel::Error);
            info!("five");
            log.flush();
        });
        let text = read(&path);
        let words: Vec<&str> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(words, ["two", "area", "four"]);
    }

    /// Events below WARN of an area that is not in the list would be dropped.
    #[test]
    fn every_area_of_events_is_known() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut packages: Vec<String> = std::fs::read_dir(root.join("crates"))
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .chain(["rstudio_pm".to_owned()])
            .collect();
        packages.sort();
        assert_eq!(packages, CRATES);
        let mut folders = vec![root.join("src"), root.join("crates")];
        let prefix = ["target", ": \""].concat();
        let mut count = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("readable").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                if path.extension().is_none_or(|extension| extension != "rs") {
                    continue;
                }
                for rest in read(&path).split(prefix.as_str()).skip(1) {
                    let area = rest.split('"').next().unwrap_or_default();
                    // Matches in strings of tests have other characters.
                    if !area.bytes().all(|b| b.is_ascii_lowercase()) {
                        continue;
                    }
                    assert!(
                        AREAS.contains(&area) || CRATES.contains(&area),
                        "{}: {area} is not in AREAS",
                        path.display()
                    );
                    count += 1;
                }
            }
        }
        assert!(count > 0);
    }

    #[test]
    fn events_before_the_configuration_are_written_to_the_file_first_and_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, other) = (dir.path().join("a.log"), dir.path().join("b.log"));
        let (log, subscriber) = ServerLog::new();
        with_default(subscriber, || {
            info!("one");
            error!(number = 2, "two");
            log.configure(&Logging { level: LogLevel::Warn, ..logging(&[&path], LogFormat::Json) });
            error!("three");
            log.configure(&logging(&[&path, &other], LogFormat::Text));
            log.log_to_files("only for files");
            log.flush();
        });
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("\"msg\":\"two\"") && lines[1].contains("\"msg\":\"three\""), "{text}");
        assert!(read(&other).ends_with(" ERROR only for files\n") && read(&other).lines().count() == 1);
    }

    #[test]
    fn a_rotated_file_is_closed_after_reopening() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, old) = (dir.path().join("a.log"), dir.path().join("a.log.1"));
        let (log, subscriber) = ServerLog::new();
        with_default(subscriber, || {
            log.configure(&logging(&[&path], LogFormat::Text));
            info!("before");
            std::fs::rename(&path, &old).expect("renamed");
            log.reopen().expect("reopens");
            info!("after");
            log.flush();
        });
        assert!(read(&old).ends_with("before\n") && read(&path).ends_with("after\n"));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_reported_and_the_others_are_used() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.log");
        let (log, subscriber) = ServerLog::new();
        let missing = PathBuf::from("/dev/null/b.log");
        with_default(subscriber, || {
            let errors = log.configure(&logging(&[&missing, &path], LogFormat::Text));
            assert_eq!(errors.len(), 1);
            assert_eq!(errors[0].path, missing);
            info!("here");
            log.flush();
        });
        assert!(read(&path).ends_with("here\n"));
    }

    #[test]
    fn no_line_contains_a_password() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.log");
        let (log, subscriber) = ServerLog::new();
        with_default(subscriber, || {
            log.configure(&logging(&[&path], LogFormat::Text));
            let secret = base::config::Secret("hunter2".to_owned());
            let url = "https://u:hunter2@h/x";
            let failure = std::io::Error::other(format!("cannot reach {url}"));
            info!(?secret, url, error = &failure as &dyn std::error::Error, "reading {url}");
            log.flush();
        });
        assert!(!read(&path).contains("hunter2"), "{}", read(&path));
        assert_eq!(read(&path).matches("***@h").count(), 3);
    }

    #[test]
    fn every_target_is_a_module_or_an_area_and_belongs_to_one_region() {
        let mut known_targets = std::collections::HashSet::new();
        for region in DebugRegion::ALL {
            assert!(!region_targets(region).is_empty());
            for target in region_targets(region) {
                assert!(known_targets.insert(*target), "{target}");
                let Some((package, module)) = target.split_once("::") else { continue };
                let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
                let package = if package == "rstudio_pm" { root } else { root.join("crates").join(package) };
                let path = package.join("src").join(module.replace("::", "/"));
                assert!(path.is_dir() || path.with_extension("rs").is_file(), "{target}");
            }
        }
    }

    #[test]
    fn the_journal_is_recognized_by_device_and_inode() {
        assert_eq!(journal_stream("8:1234"), Some((8, 1234)));
        for bad in ["", "8", "8:", ":1", "a:b", "8:1:2", "-1:4"] {
            assert_eq!(journal_stream(bad), None, "{bad}");
        }
    }
}
