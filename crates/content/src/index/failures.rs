//! Failures of requests for pages, after which a project, or the whole index, is not requested for some time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::PageError;
use base::model::project_name::ProjectName;
use upstream::UpstreamError;

/// Time without requests for a page that is missing or cannot be used, and the maximum after any other failure.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Time without requests for a page that the index did not deliver, doubled by each further failure; also for
/// all pages while the index does not answer.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Number of projects whose pages fail within [`FIRST_PAUSE`], after which no page is requested for some time.
const FAILED_PROJECTS: usize = 3;
const MAX_PROJECTS: usize = 10_000;
/// Expired failures are removed whenever this many were recorded.
const PURGE_EVERY: usize = 256;

#[derive(Default)]
pub(super) struct Failures {
    projects: HashMap<ProjectName, ProjectFailure>,
    /// The last failures of different projects without a success between.
    in_a_row: Vec<UnansweredProject>,
    index_pause: Option<IndexPause>,
}

/// A failure after which the page of a project is not requested for some time.
struct ProjectFailure {
    at: Instant,
    pause: Duration,
    unanswered: u32,
    /// The newest state of the list of projects when the page was requested.
    list: i64,
    error: PageError,
}

/// Whose last request the index did not answer.
struct UnansweredProject {
    project: ProjectName,
    at: Instant,
    /// The index's `Retry-After`, in seconds.
    retry_after: Option<u64>,
}

struct IndexPause {
    end: Instant,
    error: UpstreamError,
}

impl ProjectFailure {
    /// Returns whether the number of failures in a row does not matter any more.
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= 2 * MAX_PAUSE
    }
}

impl Failures {
    /// Returns the error while the page is not requested yet; `list` is the newest state of the list of projects.
    pub(super) fn current(&self, project: &ProjectName, list: i64, now: Instant) -> Option<PageError> {
        if let Some(pause) = self.index_pause.as_ref().filter(|pause| now < pause.end) {
            return Some(pause.error.clone().into());
        }
        let failure = self.projects.get(project)?;
        let is_paused = now.saturating_duration_since(failure.at) < failure.pause;
        // After a sync, the project may be listed again, and its page may be right again.
        let may_end_with_sync = matches!(
            failure.error,
            PageError::NoPage { .. } | PageError::Upstream(UpstreamError::Refused { .. })
        );
        let is_outdated = failure.list != list && may_end_with_sync;
        (is_paused && !is_outdated).then(|| failure.error.clone())
    }

    pub(super) fn record_success(&mut self, project: &ProjectName) {
        self.projects.remove(project);
        self.in_a_row.clear();
        self.index_pause = None;
    }

    /// Records a failure; `list` is the newest state of the list of projects when the page was requested.
    pub(super) fn record(&mut self, project: &ProjectName, list: i64, error: &PageError, now: Instant) {
        match error {
            PageError::Upstream(error @ UpstreamError::Unavailable { is_of_mirror: true, .. }) => {
                self.index_pause = Some(IndexPause { end: now + FIRST_PAUSE, error: error.clone() });
            }
            PageError::Upstream(unavailable @ UpstreamError::Unavailable { retry_after, .. }) => {
                let previous = self.projects.get(project).filter(|failure| !failure.is_old(now));
                let unanswered = previous.map_or(0, |failure| failure.unanswered).saturating_add(1);
                let pause = pause(unanswered, *retry_after);
                let failure = ProjectFailure { at: now, pause, unanswered, list, error: error.clone() };
                self.insert(project, failure);
                self.record_unanswered(project, *retry_after, unavailable, now);
            }
            PageError::Missing(_)
            | PageError::NoPage { .. }
            | PageError::Unlisted(_)
            | PageError::Upstream(_) => {
                if !matches!(error, PageError::Upstream(_)) {
                    // The index answers.
                    self.in_a_row.clear();
                }
                let failure =
                    ProjectFailure { at: now, pause: MAX_PAUSE, unanswered: 0, list, error: error.clone() };
                self.insert(project, failure);
            }
            // Not failures of the index.
            PageError::Guarded(_) | PageError::ClockRepaired | PageError::Busy | PageError::Failed(_) => {}
        }
    }

    /// Records an unanswered request. One such page does not concern others: a proxy may fail for one project for days.
    fn record_unanswered(
        &mut self,
        project: &ProjectName,
        retry_after: Option<u64>,
        error: &UpstreamError,
        now: Instant,
    ) {
        self.in_a_row.retain(|other| {
            other.project != *project && now.saturating_duration_since(other.at) < FIRST_PAUSE
        });
        self.in_a_row.push(UnansweredProject { project: project.clone(), at: now, retry_after });
        if self.in_a_row.len() < FAILED_PROJECTS {
            return;
        }
        // An index that limits the requests of this server states a time in each response.
        let pauses = self.in_a_row.drain(..).map(|other| pause(1, other.retry_after));
        let end = now + pauses.min().unwrap_or(FIRST_PAUSE);
        self.index_pause = Some(IndexPause { end, error: error.clone() });
    }

    fn insert(&mut self, project: &ProjectName, failure: ProjectFailure) {
        let now = failure.at;
        if self.projects.len() % PURGE_EVERY == PURGE_EVERY - 1 || self.projects.len() >= MAX_PROJECTS {
            self.projects.retain(|_, failure| !failure.is_old(now));
        }
        if self.projects.len() >= MAX_PROJECTS && !self.projects.contains_key(project) {
            let oldest = self.projects.iter().min_by_key(|(_, failure)| failure.at);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.projects.remove(&name);
            }
        }
        self.projects.insert(project.clone(), failure);
    }
}

/// Returns the pause after unanswered requests: at least the index's `Retry-After`, and at most [`MAX_PAUSE`].
fn pause(unanswered: u32, retry_after: Option<u64>) -> Duration {
    let planned = FIRST_PAUSE.saturating_mul(1_u32 << unanswered.saturating_sub(1).min(8));
    planned.max(Duration::from_secs(retry_after.unwrap_or(0))).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProjectName {
        ProjectName::folded(text)
    }

    fn unavailable(retry_after: Option<u64>, is_of_mirror: bool) -> PageError {
        let (url, reason) = ("h".to_owned(), "failed".to_owned());
        UpstreamError::Unavailable { url, reason, retry_after, is_of_mirror }.into()
    }

    /// Returns whether the page of a project is not requested this many seconds after `start`.
    fn is_paused(failures: &Failures, project: &str, start: Instant, seconds: u64) -> bool {
        failures.current(&name(project), 0, start + Duration::from_secs(seconds)).is_some()
    }

    #[test]
    fn a_page_that_fails_pauses_only_its_project() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        for _ in 0..10 {
            failures.record(&name("broken"), 0, &unavailable(None, false), start);
            failures.record(&name("other"), 0, &unavailable(Some(3600), false), start);
        }
        assert!(is_paused(&failures, "broken", start, 59) && is_paused(&failures, "other", start, 59));
        assert!(!is_paused(&failures, "broken", start, 60) && !is_paused(&failures, "other", start, 60));
        assert!(!is_paused(&failures, "two", start, 0));
    }

    #[test]
    fn the_pause_of_a_project_doubles_until_it_is_read() {
        assert_eq!([1, 2, 3, 4, 5, 100].map(|n| pause(n, None).as_secs()), [5, 10, 20, 40, 60, 60]);
        assert_eq!([0, 7, 60, u64::MAX].map(|n| pause(1, Some(n)).as_secs()), [5, 7, 60, 60]);
        let (mut failures, start) = (Failures::default(), Instant::now());
        let error = unavailable(None, false);
        failures.record(&name("one"), 0, &error, start);
        assert!(is_paused(&failures, "one", start, 4) && !is_paused(&failures, "one", start, 5));
        failures.record(&name("one"), 0, &error, start);
        assert!(is_paused(&failures, "one", start, 9) && !is_paused(&failures, "one", start, 10));
        failures.record_success(&name("one"));
        failures.record(&name("one"), 0, &error, start);
        assert!(!is_paused(&failures, "one", start, 5));
    }

    #[test]
    fn no_connection_pauses_the_whole_index() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        failures.record(&name("one"), 0, &unavailable(None, true), start);
        assert!(is_paused(&failures, "two", start, 4) && !is_paused(&failures, "two", start, 5));
        assert!(!is_paused(&failures, "one", start, 5));
        failures.record_success(&name("two"));
        assert!(!is_paused(&failures, "three", start, 0));
    }

    #[test]
    fn failures_of_several_projects_in_a_row_pause_the_whole_index() {
        let start = Instant::now();
        let fail = |failures: &mut Failures, project: &str, retry_after: Option<u64>, seconds: u64| {
            let at = start + Duration::from_secs(seconds);
            failures.record(&name(project), 0, &unavailable(retry_after, false), at);
        };
        let mut failures = Failures::default();
        fail(&mut failures, "one", Some(40), 0);
        fail(&mut failures, "two", Some(30), 1);
        assert!(!is_paused(&failures, "four", start, 1));
        fail(&mut failures, "three", Some(50), 2);
        assert!(is_paused(&failures, "four", start, 31) && !is_paused(&failures, "four", start, 32));

        let mut failures = Failures::default();
        fail(&mut failures, "one", None, 0);
        fail(&mut failures, "two", None, 0);
        failures.record_success(&name("other"));
        fail(&mut failures, "three", None, 0);
        assert!(!is_paused(&failures, "four", start, 0), "a success was between them");
        failures.record(&name("none"), 0, &PageError::Unlisted(name("none")), start);
        fail(&mut failures, "one", None, 1);
        fail(&mut failures, "two", None, 1);
        assert!(!is_paused(&failures, "four", start, 1), "the index answered a request between them");
        fail(&mut failures, "three", None, 6);
        assert!(!is_paused(&failures, "four", start, 6), "they are not within the time");
    }

    #[test]
    fn the_number_of_stored_failures_is_bounded() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        for number in 0..u64::try_from(MAX_PROJECTS).expect("small") + 20 {
            let project = name(&format!("p{number}"));
            let at = start + Duration::from_micros(number);
            failures.record(&project, 0, &PageError::Unlisted(project.clone()), at);
        }
        assert_eq!(failures.projects.len(), MAX_PROJECTS);
        assert!(!is_paused(&failures, "p0", start, 1) && is_paused(&failures, "p20", start, 1));
    }

    #[test]
    fn a_missing_or_refused_page_is_requested_again_after_a_sync() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let url = "https://a.example/simple/one/".to_owned();
        failures.record(&name("one"), 1, &PageError::NoPage { project: name("one"), url }, start);
        failures.record(&name("two"), 1, &PageError::Unlisted(name("two")), start);
        let refused = UpstreamError::Refused { url: "h".to_owned(), reason: "is no page".to_owned() };
        failures.record(&name("three"), 1, &refused.into(), start);
        assert!(failures.current(&name("three"), 1, start).is_some());
        assert!(failures.current(&name("three"), 2, start).is_none());
        assert!(failures.current(&name("one"), 1, start).is_some());
        assert!(failures.current(&name("one"), 2, start).is_none());
        assert!(failures.current(&name("two"), 2, start).is_some());
    }
}
