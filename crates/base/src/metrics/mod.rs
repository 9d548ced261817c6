//! Prometheus metrics: one function per series.
//!
//! An update takes nanoseconds: the children of labeled series that requests update are looked up once, at creation.
//! Statistics of the process are read on each scrape.

mod process;
mod tokens;

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use http::Method;
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    Counter, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::model::time::Timestamp;
pub use tokens::{IssuedToken, RefusedToken, TokenCounters};

/// `Content-Type` of [`text`]: the text exposition format of Prometheus, version 0.0.4.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Values of the label for the request method.
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "other"];
/// Values of the label for the status class.
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper bounds of the buckets of response times, in seconds: from memory, the disk and a mirror.
const DURATION_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0];

static METRICS: LazyLock<MetricFamilies> = LazyLock::new(MetricFamilies::new);

struct MetricFamilies {
    registry: Registry,
    /// Serializes [`text`], which resets process counters before it sets them.
    text_lock: Mutex<()>,
    process: ProcessFamilies,
    requests: [[IntCounter; STATUSES.len()]; METHODS.len()],
    durations: [Histogram; METHODS.len()],
    response_bytes: IntCounter,
    connections: IntGauge,
    in_flight: IntGauge,
    dropped_lines: IntCounter,
    database_queue: IntGaugeVec,
    sync_runs: IntCounterVec,
    sync_failures: IntCounterVec,
    sync_success: IntGaugeVec,
    backup_success: IntGauge,
    backup_test_success: IntGauge,
    backup_result: IntGaugeVec,
    sync_duration: GaugeVec,
    upstream_requests: [IntCounter; STATUSES.len() + 1],
    upstream_bytes: IntCounter,
    outdated_pages: IntCounter,
    fetches: IntGauge,
    jobs: IntGauge,
    unfinished_builds: IntGauge,
    certificate_end: IntGauge,
    storage_time: GaugeVec,
    storage_size: GaugeVec,
    storage_free: GaugeVec,
    storage_used: GaugeVec,
    scrubbed_bytes: IntCounter,
    scrub_bad_objects: IntGauge,
    binary_requests_by_match: IntCounterVec,
    binary_requests_by_distro: IntCounterVec,
    source_fallbacks: IntCounterVec,
    usage_saved: IntCounter,
    usage_lost: IntCounter,
    usage_waiting: IntGauge,
    rewinds: IntCounter,
    history: [IntGauge; 4],
    history_cosigned: IntGaugeVec,
    tokens: TokenCounters,
}

struct ProcessFamilies {
    cpu: Counter,
    resident_memory: IntGauge,
    virtual_memory: IntGauge,
    threads: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
}

impl MetricFamilies {
    fn new() -> MetricFamilies {
        let registry = Registry::new();
        let registrar = Registrar(&registry);
        let build = registrar.gauges(
            "ppm_build_info",
            "Always 1; the label is the version of the server.",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let start = registrar.register(Gauge::new(
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch, in seconds.",
        ));
        let unix_time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        start.set(unix_time.as_secs_f64());
        let requests = registrar.counters(
            "ppm_http_requests_total",
            "Responses on the HTTP and HTTPS listeners, by method and status class.",
            &["method", "status"],
        );
        let durations = HistogramOpts::new(
            "ppm_http_request_duration_seconds",
            "Time from the head of a request to the last byte of its response, in seconds.",
        );
        let durations =
            registrar.register(HistogramVec::new(durations.buckets(DURATION_BUCKETS.to_vec()), &["method"]));
        let upstream = registrar.counters(
            "ppm_upstream_requests_total",
            "Requests to mirrors over HTTP, by status class; failed if there was no response.",
            &["status"],
        );
        let path = &["path"];
        let source = &["source"];
        MetricFamilies {
            text_lock: Mutex::new(()),
            process: ProcessFamilies {
                cpu: registrar.register(Counter::new(
                    "process_cpu_seconds_total",
                    "User and system CPU time spent, in seconds.",
                )),
                resident_memory: registrar.gauge("process_resident_memory_bytes", "Resident memory, in bytes."),
                virtual_memory: registrar.gauge("process_virtual_memory_bytes", "Virtual memory, in bytes."),
                threads: registrar.gauge("process_threads", "Threads."),
                open_fds: registrar.gauge("process_open_fds", "Open file descriptors."),
                max_fds: registrar.gauge("process_max_fds", "Maximum number of open file descriptors."),
            },
            requests: METHODS
                .map(|method| STATUSES.map(|status| requests.with_label_values(&[method, status]))),
            durations: METHODS.map(|method| durations.with_label_values(&[method])),
            response_bytes: registrar.counter(
                "ppm_http_response_bytes_total",
                "Bytes of response bodies on the HTTP and HTTPS listeners.",
            ),
            connections: registrar.gauge("ppm_http_connections", "Open connections on all listeners."),
            in_flight: registrar.gauge(
                "ppm_http_requests_in_flight",
                "Requests in progress on all listeners, including the scrape itself.",
            ),
            dropped_lines: registrar.counter(
                "ppm_log_lines_dropped_total",
                "Log lines dropped because the file could not be written in time.",
            ),
            database_queue: registrar.gauges(
                "ppm_database_queue",
                "Transactions that wait for a connection to the database or in a queue.",
                &["database", "queue"],
            ),
            sync_runs: registrar.counters(
                "ppm_sync_runs_total",
                "Completed syncs, successful or failed.",
                source,
            ),
            sync_failures: registrar.counters("ppm_sync_failures_total", "Failed syncs.", source),
            sync_success: registrar.gauges(
                "ppm_sync_last_success_timestamp_seconds",
                "Time of the last successful sync since the Unix epoch, in seconds.",
                source,
            ),
            backup_success: registrar.gauge(
                "ppm_backup_last_success_timestamp_seconds",
                "Time of the last completed backup since the Unix epoch, in seconds; 0 before the first.",
            ),
            backup_test_success: registrar.gauge(
                "ppm_backup_test_last_success_timestamp_seconds",
                "Time of the last successful test of a backup since the Unix epoch, in seconds; 0 before the first.",
            ),
            backup_result: registrar.gauges(
                "ppm_backup_last_result",
                "1 if the last backup, or the last test of a backup, succeeded, and 0 if it failed.",
                &["command"],
            ),
            sync_duration: registrar.float_gauges(
                "ppm_sync_last_duration_seconds",
                "Duration of the last sync, in seconds.",
                source,
            ),
            upstream_requests: {
                let counter = |status| upstream.with_label_values(&[status]);
                let [informational, success, redirect, client_error, server_error] = STATUSES.map(counter);
                [informational, success, redirect, client_error, server_error, counter("failed")]
            },
            upstream_bytes: registrar.counter(
                "ppm_upstream_bytes_total",
                "Bytes read from mirrors over HTTP.",
            ),
            outdated_pages: registrar.counter(
                "ppm_python_outdated_pages_total",
                "Requests answered with the last known state of a project, because the index does not answer or its page cannot be used.",
            ),
            fetches: registrar.gauge("ppm_fetches", "Running fetches of package files from mirrors."),
            jobs: registrar.gauge("ppm_jobs_running", "Running jobs of this server: syncs, builds and others."),
            unfinished_builds: registrar.gauge(
                "ppm_git_builds_unfinished",
                "Builds from git that wait or run, on all servers of the database; 0 except on the leader.",
            ),
            certificate_end: registrar.gauge(
                "ppm_https_certificate_end_timestamp_seconds",
                "End of the validity of the HTTPS certificate in use since the Unix epoch, in seconds; 0 without HTTPS.",
            ),
            storage_time: registrar.float_gauges(
                "ppm_storage_calculation_time",
                "Duration of the disk usage scan of a storage directory, in seconds.",
                path,
            ),
            storage_size: registrar.float_gauges(
                "ppm_storage_size",
                "Size of the file system of a storage directory, in bytes.",
                path,
            ),
            storage_free: registrar.float_gauges(
                "ppm_storage_free",
                "Free space for this server on the file system of a storage directory, in bytes.",
                path,
            ),
            storage_used: registrar.float_gauges(
                "ppm_storage_used",
                "Size of the files in a storage directory, in bytes.",
                path,
            ),
            scrubbed_bytes: registrar.counter(
                "ppm_scrubbed_bytes_total",
                "Bytes of stored objects read to compare them with their digests.",
            ),
            scrub_bad_objects: registrar.gauge(
                "ppm_scrub_bad_objects",
                "Stored objects that are damaged, or lost and on no mirror, and were not stored again.",
            ),
            binary_requests_by_match: registrar.counters(
                "ppm_binary_routing_binary",
                "Requests for binaries that were answered with one, by how the version of R matches.",
                &["match"],
            ),
            binary_requests_by_distro: registrar.counters(
                "ppm_binary_routing_distro",
                "Requests for binaries, by distribution and by whether a binary or the source was sent.",
                &["distro", "status"],
            ),
            source_fallbacks: registrar.counters(
                "ppm_binary_routing_fallback",
                "Requests for binaries that were answered with the source, by reason.",
                &["reason"],
            ),
            usage_saved: registrar.counter(
                "ppm_usage_downloads_total",
                "Downloads written to the usage data.",
            ),
            usage_lost: registrar.counter(
                "ppm_usage_downloads_lost_total",
                "Downloads missing from the usage data because the usage database was unavailable for too long.",
            ),
            usage_waiting: registrar.gauge(
                "ppm_usage_rows_waiting",
                "Rows of usage data that wait to be written.",
            ),
            rewinds: registrar.counter(
                "ppm_database_rewinds_total",
                "Number of times that the database was reset to an earlier transaction: a fail-over to a standby that lacked transactions, or a restore.",
            ),
            history: [
                registrar.gauge("ppm_history_entries", "Entries of the log of what was published and served."),
                registrar.gauge("ppm_history_signed_entries", "Entries of the newest signed checkpoint of the log."),
                registrar.gauge("ppm_history_waiting_transactions", "Transactions that have no entry in the log yet."),
                registrar.gauge("ppm_history_paused", "1 if the log is paused, so that nothing is appended or signed."),
            ],
            history_cosigned: registrar.gauges(
                "ppm_history_cosigned_timestamp_seconds",
                "Time of the newest known cosignature of a witness since the Unix epoch, in seconds; 0 before the first.",
                &["witness"],
            ),
            tokens: TokenCounters::new(&registrar),
            registry,
        }
    }
}

/// Creates the metrics; the start time of the process is that of the first call.
pub fn init() {
    LazyLock::force(&METRICS);
}

/// Returns all metrics in the text format. Reads files in `/proc`, so it must not be called on an async thread.
pub fn text() -> Vec<u8> {
    let _guard = METRICS.text_lock.lock();
    let stats = process::read();
    let process = &METRICS.process;
    process.cpu.reset();
    process.cpu.inc_by(stats.cpu.as_secs_f64());
    for (gauge, value) in [
        (&process.resident_memory, stats.resident_memory),
        (&process.virtual_memory, stats.virtual_memory),
        (&process.threads, stats.threads),
        (&process.open_fds, stats.open_fds),
        (&process.max_fds, stats.max_fds),
    ] {
        gauge.set(to_gauge_value(value));
    }
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&METRICS.registry.gather(), &mut text) {
        tracing::error!("could not encode the metrics: {error}");
    }
    text
}

fn to_gauge_value(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns the index of a status in [`STATUSES`].
fn status_index(status: u16) -> usize {
    usize::from(status / 100).clamp(1, STATUSES.len()) - 1
}

/// Records a completed request: the sent bytes of its response body, and its duration since the end of its head.
pub fn request_completed(method: &Method, status: u16, bytes: u64, duration: Duration) {
    let method = match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        _ => 3,
    };
    METRICS.requests[method][status_index(status)].inc();
    METRICS.durations[method].observe(duration.as_secs_f64());
    METRICS.response_bytes.inc_by(bytes);
}

/// Sets the numbers of open connections and of requests in progress.
pub fn set_requests_in_progress(connections: usize, requests: usize) {
    METRICS.connections.set(to_gauge_value(connections as u64));
    METRICS.in_flight.set(to_gauge_value(requests as u64));
}

pub fn tokens() -> &'static TokenCounters {
    &METRICS.tokens
}

/// Counts lines that a log has dropped.
pub fn log_lines_dropped(lines: u64) {
    METRICS.dropped_lines.inc_by(lines);
}

/// A gauge that is incremented and decremented; cloning shares it.
#[derive(Clone)]
pub struct GaugeHandle(IntGauge);

impl GaugeHandle {
    pub fn inc(&self) {
        self.0.inc();
    }

    pub fn dec(&self) {
        self.0.dec();
    }
}

/// The gauge of transactions that wait in a queue of a database.
pub fn database_queue(database: &str, queue: &str) -> GaugeHandle {
    GaugeHandle(METRICS.database_queue.with_label_values(&[database, queue]))
}

/// Records the end of a sync; `success` is its time if it succeeded.
pub fn sync_ended(source: &str, success: Option<Timestamp>, duration: Duration) {
    METRICS.sync_runs.with_label_values(&[source]).inc();
    METRICS.sync_duration.with_label_values(&[source]).set(duration.as_secs_f64());
    match success {
        Some(at) => set_last_success(source, at),
        None => METRICS.sync_failures.with_label_values(&[source]).inc(),
    }
}

/// Creates the counters of a source, so that its first failure is an increase, and sets the time of its last success,
/// which may precede the start of the process.
pub fn sync_registered(source: &str, last: Option<Timestamp>) {
    let _ = METRICS.sync_runs.with_label_values(&[source]);
    let _ = METRICS.sync_failures.with_label_values(&[source]);
    if let Some(at) = last {
        set_last_success(source, at);
    }
}

/// Records the time of the last completed backup.
pub fn set_last_backup(at: Timestamp) {
    METRICS.backup_success.set(at.seconds());
}

/// Records the time of the last successful test of a backup.
pub fn set_last_backup_test(at: Timestamp) {
    METRICS.backup_test_success.set(at.seconds());
}

/// Records whether the last `create` or `test` of a backup succeeded.
pub fn set_backup_result(command: &str, success: bool) {
    METRICS.backup_result.with_label_values(&[command]).set(i64::from(success));
}

fn set_last_success(source: &str, at: Timestamp) {
    METRICS.sync_success.with_label_values(&[source]).set(at.seconds());
}

/// Counts a request to a mirror by the status of its response, or as failed.
pub fn upstream_request_ended(status: Option<u16>) {
    METRICS.upstream_requests[status.map_or(STATUSES.len(), status_index)].inc();
}

/// Counts bytes read from mirrors.
pub fn upstream_bytes_read(bytes: usize) {
    METRICS.upstream_bytes.inc_by(bytes as u64);
}

/// Counts a request for a project that is answered with its last known state, because the index does not answer.
pub fn outdated_page() {
    METRICS.outdated_pages.inc();
}

/// Sets the number of running fetches of package files.
pub fn set_fetches(count: usize) {
    METRICS.fetches.set(to_gauge_value(count as u64));
}

/// Sets the number of running jobs.
pub fn set_running_jobs(count: usize) {
    METRICS.jobs.set(to_gauge_value(count as u64));
}

/// Sets the number of builds from git that wait or run.
pub fn set_unfinished_builds(count: i64) {
    METRICS.unfinished_builds.set(count);
}

/// Sets the end of the HTTPS certificate in use; `None` without HTTPS.
pub fn set_certificate_end(at: Option<Timestamp>) {
    METRICS.certificate_end.set(at.map_or(0, Timestamp::seconds));
}

/// Sets size and free space of the file system of a storage directory, in bytes.
pub fn set_storage_space(path: &str, size: u64, free: u64) {
    METRICS.storage_size.with_label_values(&[path]).set(bytes(size));
    METRICS.storage_free.with_label_values(&[path]).set(bytes(free));
}

/// Sets the size of the files in a storage directory, in bytes, and the duration of the scan.
pub fn set_storage_used(path: &str, used: u64, duration: Duration) {
    METRICS.storage_used.with_label_values(&[path]).set(bytes(used));
    METRICS.storage_time.with_label_values(&[path]).set(duration.as_secs_f64());
}

/// Counts bytes read by the scrub.
pub fn add_scrubbed_bytes(bytes: u64) {
    METRICS.scrubbed_bytes.inc_by(bytes);
}

/// Sets the number of damaged and lost objects that were not stored again.
pub fn scrub_bad_objects(count: usize) {
    METRICS.scrub_bad_objects.set(to_gauge_value(count as u64));
}

/// Counts a request for a binary that was answered with one; `fit` is the kind of match of its version of R.
pub fn binary_sent(distro: &str, fit: &str) {
    METRICS.binary_requests_by_match.with_label_values(&[fit]).inc();
    METRICS.binary_requests_by_distro.with_label_values(&[distro, "binary"]).inc();
}

/// Counts a request for a binary that was answered with the source package.
pub fn source_sent_instead(distro: &str, reason: &str) {
    METRICS.source_fallbacks.with_label_values(&[reason]).inc();
    METRICS.binary_requests_by_distro.with_label_values(&[distro, "source"]).inc();
}

/// Counts downloads written to the usage data.
pub fn add_saved_downloads(downloads: u64) {
    METRICS.usage_saved.inc_by(downloads);
}

/// Counts downloads that are missing from the usage data.
pub fn add_lost_downloads(downloads: u64) {
    METRICS.usage_lost.inc_by(downloads);
}

/// Counts a reset of the database to an earlier state.
pub fn database_rewound() {
    METRICS.rewinds.inc();
}

/// Sets the numbers of entries, of signed entries and of transactions without an entry of the log, and whether it is paused.
pub fn set_history(entries: u64, signed: u64, waiting: usize, is_paused: bool) {
    let values = [entries, signed, waiting as u64, u64::from(is_paused)];
    METRICS.history.iter().zip(values).for_each(|(gauge, value)| gauge.set(to_gauge_value(value)));
}

/// Sets the time of the newest cosignature of a witness.
pub fn set_history_cosigned(witness: &str, at: Timestamp) {
    METRICS.history_cosigned.with_label_values(&[witness]).set(at.seconds());
}

/// Sets the number of rows of usage data that wait to be written.
pub fn set_waiting_usage_rows(rows: usize) {
    METRICS.usage_waiting.set(to_gauge_value(rows as u64));
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus has only floats; beyond 9 PB they are not exact")]
fn bytes(count: u64) -> f64 {
    count as f64
}

struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn register<C: Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("names and labels are constants and valid");
        self.0.register(Box::new(metric.clone())).expect("each name is registered once");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(GaugeVec::new(Opts::new(name, help), labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::SECOND;

    fn lines() -> Vec<String> {
        String::from_utf8(text()).expect("text").lines().map(str::to_owned).collect()
    }

    fn value(series: &str) -> f64 {
        let value = lines()
            .into_iter()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').and_then(|rest| rest.parse().ok()));
        value.unwrap_or_else(|| panic!("{series}: {:#?}", lines()))
    }

    #[test]
    fn every_series_has_a_help_and_a_type_and_contiguous_lines() {
        request_completed(&Method::GET, 200, 1, Duration::ZERO);
        let mut names: Vec<String> = Vec::new();
        let mut help_name = String::new();
        for line in lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, sentence) = help.split_once(' ').expect("a sentence");
                assert!(sentence.ends_with('.'), "{help}");
                help_name = name.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert_eq!(name, help_name, "the help precedes the type");
                assert!(!names.contains(&help_name), "{help_name} is repeated");
                names.push(name.to_owned());
            } else {
                assert!(line.starts_with(&help_name), "{line} below {help_name}");
            }
        }
        assert!(names.len() > 15, "{names:?}");
    }

    #[test]
    fn responses_are_counted_by_method_and_class() {
        let before = value("ppm_http_requests_total{method=\"HEAD\",status=\"4xx\"}");
        request_completed(&Method::HEAD, 404, 7, Duration::from_millis(3));
        request_completed(&Method::PATCH, 999, 0, Duration::ZERO);
        assert_eq!(value("ppm_http_requests_total{method=\"HEAD\",status=\"4xx\"}"), before + 1.0);
        assert!(value("ppm_http_requests_total{method=\"other\",status=\"5xx\"}") >= 1.0);
        let bucket =
            |le| value(&format!("ppm_http_request_duration_seconds_bucket{{method=\"HEAD\",le=\"{le}\"}}"));
        assert!(bucket("0.005") >= bucket("0.0025") + 1.0);
    }

    #[test]
    fn the_first_failure_is_an_increase() {
        sync_registered("a", Some(Timestamp(4 * SECOND)));
        assert_eq!(value("ppm_sync_last_success_timestamp_seconds{source=\"a\"}"), 4.0);
        assert_eq!(value("ppm_sync_failures_total{source=\"a\"}"), 0.0);
        sync_ended("a", Some(Timestamp(5 * SECOND)), Duration::from_secs(2));
        sync_ended("a", None, Duration::from_secs(3));
        assert_eq!(value("ppm_sync_failures_total{source=\"a\"}"), 1.0);
        assert_eq!(value("ppm_sync_runs_total{source=\"a\"}"), 2.0);
        assert_eq!(value("ppm_sync_last_success_timestamp_seconds{source=\"a\"}"), 5.0);
        assert_eq!(value("ppm_sync_last_duration_seconds{source=\"a\"}"), 3.0);
    }

    #[test]
    fn special_characters_of_a_path_are_escaped() {
        set_storage_space("/a \"b\"\\\n", 10, 5);
        assert_eq!(value(r#"ppm_storage_free{path="/a \"b\"\\\n"}"#), 5.0);
    }

    #[test]
    fn the_process_has_statistics() {
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_threads",
        ] {
            assert!(value(name) > 0.0, "{name}");
        }
        assert!(value("process_start_time_seconds") > 1.7e9);
    }
}
