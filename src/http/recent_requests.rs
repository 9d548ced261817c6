//! The requests of the last 24 hours, by the hour and by the kind of their address: numbers of responses, errors and
//! durations. Kept in memory since the start of the process; their size does not depend on the number of requests.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use base::model::time::{SECOND, Timestamp};

const HOUR: i64 = 3600 * SECOND;
const HOURS: usize = 24;
/// `1xx` to `5xx`.
const STATUSES: usize = 5;
/// Upper bounds of the classes of durations, in microseconds; one more class has longer ones.
const BOUNDS: [u64; 13] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
];
/// Maximum length of a stored path, in bytes.
const MAX_PATH: usize = 300;

/// The kind of an address, by its path below the root of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// Lists of R packages.
    Lists,
    /// Lists and pages of projects.
    Projects,
    /// Files of packages and binaries.
    Files,
    Pages,
    PublicApi,
    /// The admin API, and the pages of administrators.
    Administration,
    SignIn,
    Uploads,
    /// The log of what was published.
    History,
    HealthChecks,
    Other,
}

impl AddressKind {
    pub const ALL: [AddressKind; 11] = [
        AddressKind::Lists,
        AddressKind::Projects,
        AddressKind::Files,
        AddressKind::Pages,
        AddressKind::PublicApi,
        AddressKind::Administration,
        AddressKind::SignIn,
        AddressKind::Uploads,
        AddressKind::History,
        AddressKind::HealthChecks,
        AddressKind::Other,
    ];

    /// Returns the kind of a path. It is not checked whether there is such an address.
    pub fn of_path(path: &str) -> AddressKind {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        match first {
            "__api__" if rest.starts_with("admin/") => AddressKind::Administration,
            "__ui__" => AddressKind::Administration,
            "__api__" => AddressKind::PublicApi,
            "__login__" | "_" => AddressKind::SignIn,
            "__log__" => AddressKind::History,
            "__ping__" => AddressKind::HealthChecks,
            "upload" => AddressKind::Uploads,
            "" | "client" | "__docs__" => AddressKind::Pages,
            "assets" | "favicon.ico" | "robots.txt" => AddressKind::Other,
            _ => AddressKind::in_repository(rest),
        }
    }

    /// Returns the kind of a path below a repository.
    fn in_repository(rest: &str) -> AddressKind {
        let has = |directory: &str| {
            rest.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
                || rest
                    .match_indices(directory)
                    .any(|(at, _)| rest[..at].ends_with('/') && rest[at + directory.len()..].starts_with('/'))
        };
        let name = rest.rsplit('/').next().unwrap_or(rest);
        let is_list = ["PACKAGES", "packages.rds", "archive.rds", "current.rds"]
            .iter()
            .any(|list| name.starts_with(list));
        if is_list {
            AddressKind::Lists
        } else if has("simple") {
            AddressKind::Projects
        } else if has("web") || name.is_empty() {
            AddressKind::Pages
        } else if has("contrib") || has("packages") {
            AddressKind::Files
        } else {
            AddressKind::Other
        }
    }

    /// Returns what clients request there, with an example of a path.
    pub fn description(self) -> (&'static str, &'static str) {
        match self {
            AddressKind::Lists => ("Lists of R packages", "/prod/latest/src/contrib/PACKAGES.gz"),
            AddressKind::Projects => ("Projects of indexes", "/python/latest/simple/numpy/"),
            AddressKind::Files => ("Package files", "/prod/latest/src/contrib/rlang_1.1.6.tar.gz"),
            AddressKind::Pages => ("Web pages", "/prod/latest/web/packages/rlang/"),
            AddressKind::PublicApi => ("Public API", "/__api__/repos"),
            AddressKind::Administration => ("Administration", "/__api__/admin/v1/status"),
            AddressKind::SignIn => ("Sign-in", "/__login__"),
            AddressKind::Uploads => ("Uploads of Python packages", "/upload/pypi/team"),
            AddressKind::History => ("Log of the history", "/__log__/checkpoint"),
            AddressKind::HealthChecks => ("Health checks", "/__ping__"),
            AddressKind::Other => ("Other addresses", "/assets/"),
        }
    }
}

const KINDS: usize = AddressKind::ALL.len();

/// The slowest request of a kind in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowestRequest {
    pub duration: Duration,
    /// The path without its query, because that of a sign-in contains codes; at most [`MAX_PATH`] bytes.
    pub path: String,
    /// The time of its arrival.
    pub at: Timestamp,
}

/// One hour; zero if it has not been written to.
struct Hour {
    /// The number of the hour since the epoch.
    number: AtomicI64,
    statuses: [AtomicU64; STATUSES],
    kinds: [KindOfHour; KINDS],
}

struct KindOfHour {
    errors: AtomicU64,
    durations: [AtomicU64; BOUNDS.len() + 1],
    /// The duration in `slowest` in microseconds, so that most requests take no lock.
    longest: AtomicU64,
    slowest: Mutex<Option<SlowestRequest>>,
}

pub struct RecentRequests {
    since: Timestamp,
    hours: Box<[Hour; HOURS]>,
    /// Held while an hour is cleared for its next use.
    clearing: Mutex<()>,
}

/// The responses of an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourSummary {
    pub start: Timestamp,
    /// By class of status, `1xx` to `5xx`.
    pub statuses: [u64; STATUSES],
}

/// The requests of a kind in all hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindSummary {
    pub kind: AddressKind,
    pub requests: u64,
    /// The number of responses with a status of `5xx`.
    pub errors: u64,
    /// A duration that half of the requests did not exceed: an upper bound, or that of the slowest one.
    pub half_within: Duration,
    /// A duration that 95 % of the requests did not exceed.
    pub most_within: Duration,
    pub slowest: Option<SlowestRequest>,
}

impl RecentRequests {
    pub fn new(now: Timestamp) -> RecentRequests {
        let zero = || AtomicU64::new(0);
        let kind = || KindOfHour {
            errors: zero(),
            durations: std::array::from_fn(|_| zero()),
            longest: zero(),
            slowest: Mutex::default(),
        };
        let hour = |_| Hour {
            number: AtomicI64::new(i64::MIN),
            statuses: std::array::from_fn(|_| zero()),
            kinds: std::array::from_fn(|_| kind()),
        };
        RecentRequests { since: now, hours: Box::new(std::array::from_fn(hour)), clearing: Mutex::new(()) }
    }

    /// Returns the time from which requests are counted, at most 24 hours before `now`.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        let first_hour = (hour_number(now) - 23) * HOUR;
        self.since.max(Timestamp(first_hour))
    }

    /// Counts a completed request. One that is counted while its hour is cleared may be lost.
    pub fn record(&self, at: Timestamp, kind: AddressKind, status: u16, duration: Duration, path: &str) {
        let hour = self.hour(at);
        let status = usize::from(status / 100).clamp(1, STATUSES) - 1;
        hour.statuses[status].fetch_add(1, Ordering::Relaxed);
        let of_kind = &hour.kinds[kind as usize];
        if status == STATUSES - 1 {
            of_kind.errors.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS.partition_point(|bound| *bound < micros);
        of_kind.durations[class].fetch_add(1, Ordering::Relaxed);
        if micros > of_kind.longest.load(Ordering::Relaxed) {
            let mut slowest = of_kind.slowest.lock();
            if slowest.as_ref().is_none_or(|slowest| slowest.duration < duration) {
                of_kind.longest.store(micros, Ordering::Relaxed);
                let end = path.floor_char_boundary(MAX_PATH);
                *slowest = Some(SlowestRequest { duration, path: path[..end].to_owned(), at });
            }
        }
    }

    /// Returns the entry of the hour of a time, cleared if it was that of a day ago.
    fn hour(&self, at: Timestamp) -> &Hour {
        let number = hour_number(at);
        let index = usize::try_from(number.rem_euclid(24)).unwrap_or(0);
        let hour = &self.hours[index];
        if hour.number.load(Ordering::Relaxed) != number {
            let _guard = self.clearing.lock();
            if hour.number.load(Ordering::Relaxed) != number {
                hour.clear();
                hour.number.store(number, Ordering::Relaxed);
            }
        }
        hour
    }

    /// Returns the responses of each of the last 24 hours, the current one last.
    pub fn hours(&self, now: Timestamp) -> Vec<HourSummary> {
        let current = hour_number(now);
        let summary = |number: i64| {
            let hour = self.current_hour(number);
            let statuses = hour.map(|hour| std::array::from_fn(|at| load(&hour.statuses[at])));
            HourSummary { start: Timestamp(number * HOUR), statuses: statuses.unwrap_or_default() }
        };
        (current - 23..=current).map(summary).collect()
    }

    /// Returns the kinds of addresses that were requested in the last 24 hours, those whose requests took longest first.
    pub fn kinds(&self, now: Timestamp) -> Vec<KindSummary> {
        let current = hour_number(now);
        let hours: Vec<&Hour> =
            (current - 23..=current).filter_map(|number| self.current_hour(number)).collect();
        let mut kinds: Vec<KindSummary> =
            AddressKind::ALL.into_iter().filter_map(|kind| summary(&hours, kind)).collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse((kind.most_within, kind.half_within)));
        kinds
    }

    /// Returns the entry of an hour, if a request was counted in it.
    fn current_hour(&self, number: i64) -> Option<&Hour> {
        let index = usize::try_from(number.rem_euclid(24)).unwrap_or(0);
        Some(&self.hours[index]).filter(|hour| hour.number.load(Ordering::Relaxed) == number)
    }
}

impl Hour {
    fn clear(&self) {
        self.statuses.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        for kind in &self.kinds {
            kind.errors.store(0, Ordering::Relaxed);
            kind.durations.iter().for_each(|count| count.store(0, Ordering::Relaxed));
            let mut slowest = kind.slowest.lock();
            kind.longest.store(0, Ordering::Relaxed);
            *slowest = None;
        }
    }
}

fn hour_number(at: Timestamp) -> i64 {
    at.0.div_euclid(HOUR)
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Returns the requests of a kind in the given hours; `None` if there are none.
fn summary(hours: &[&Hour], kind: AddressKind) -> Option<KindSummary> {
    let of_kind = || hours.iter().map(|hour| &hour.kinds[kind as usize]);
    let mut classes = [0; BOUNDS.len() + 1];
    for hour in of_kind() {
        classes.iter_mut().zip(&hour.durations).for_each(|(sum, count)| *sum += load(count));
    }
    let requests: u64 = classes.iter().sum();
    let slowest =
        of_kind().filter_map(|hour| hour.slowest.lock().clone()).max_by_key(|request| request.duration);
    let longest = slowest.as_ref().map_or(Duration::ZERO, |slowest| slowest.duration);
    let within = |percent: u64| {
        let needed = (requests * percent).div_ceil(100);
        let mut sum = 0;
        let class = classes.iter().position(|count| {
            sum += count;
            sum >= needed
        });
        let bound = class.and_then(|class| BOUNDS.get(class));
        bound.map_or(longest, |bound| Duration::from_micros(*bound).min(longest))
    };
    (requests > 0).then(|| KindSummary {
        kind,
        requests,
        errors: of_kind().map(|hour| load(&hour.errors)).sum(),
        half_within: within(50),
        most_within: within(95),
        slowest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_kind_and_examples_have_theirs() {
        for kind in AddressKind::ALL {
            assert_eq!(AddressKind::of_path(kind.description().1), kind, "{kind:?}");
            assert_eq!(AddressKind::ALL[kind as usize], kind);
        }
        for (path, kind) in [
            ("/", AddressKind::Pages),
            ("", AddressKind::Pages),
            ("/prod/", AddressKind::Pages),
            ("/prod", AddressKind::Pages),
            ("/prod/__linux__/noble/latest/src/contrib/PACKAGES", AddressKind::Lists),
            ("/prod/latest/src/contrib/Meta/archive.rds", AddressKind::Lists),
            ("/prod/latest/bin/windows/contrib/4.4/rlang_1.1.6.zip", AddressKind::Files),
            ("/prod/latest/src/contrib/Archive/rlang/rlang_1.0.0.tar.gz", AddressKind::Files),
            ("/py/latest/packages/ab/cd/a-1-py3-none-any.whl", AddressKind::Files),
            ("/py/simple/a/", AddressKind::Projects),
            ("/prod/latest/web/changes", AddressKind::Pages),
            ("/simple/x", AddressKind::Other),
            ("/__api__/admin", AddressKind::PublicApi),
            ("/prod/é/ü", AddressKind::Other),
            ("/a/webs/simpler", AddressKind::Other),
        ] {
            assert_eq!(AddressKind::of_path(path), kind, "{path}");
        }
    }

    #[test]
    fn requests_are_counted_for_a_day() {
        let at = |hours: i64, minutes: i64| Timestamp(hours * HOUR + minutes * 60 * SECOND);
        let requests = RecentRequests::new(at(100, 30));
        let record = |at: Timestamp, status: u16, millis: u64, path: &str| {
            requests.record(at, AddressKind::Files, status, Duration::from_millis(millis), path);
        };
        for number in 0..19 {
            record(at(100, 31), 200, 2, &format!("/a/{number}"));
        }
        record(at(101, 0), 503, 700, "/slow");
        let now = at(101, 1);
        assert_eq!(requests.since(now), at(100, 30));
        let hours = requests.hours(now);
        assert_eq!((hours.len(), hours[23].start, hours[23].statuses), (24, at(101, 0), [0, 0, 0, 0, 1]));
        assert_eq!((hours[22].statuses, hours[0].statuses), ([0, 19, 0, 0, 0], [0; 5]));
        let kinds = requests.kinds(now);
        assert_eq!(kinds.len(), 1);
        assert_eq!((kinds[0].requests, kinds[0].errors), (20, 1));
        assert_eq!((kinds[0].half_within.as_micros(), kinds[0].most_within.as_micros()), (2_500, 2_500));
        let slowest = kinds[0].slowest.clone().expect("a request");
        assert_eq!(
            (slowest.path.as_str(), slowest.duration.as_millis(), slowest.at),
            ("/slow", 700, at(101, 0))
        );
        // A day later, the entry of the hour is used again.
        record(at(125, 0), 200, 9_000_000, &"é".repeat(200));
        let kinds = requests.kinds(at(125, 2));
        assert_eq!((kinds[0].requests, kinds[0].errors), (1, 0));
        assert_eq!(kinds[0].most_within.as_secs(), 9_000, "longer than the last bound");
        assert_eq!(kinds[0].slowest.as_ref().map(|slowest| slowest.path.len()), Some(300));
        assert_eq!(requests.since(at(125, 2)), at(102, 0));
        assert!(requests.kinds(at(500, 0)).is_empty());
    }
}
