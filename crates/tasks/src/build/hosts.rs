//! The hosts of git servers: the pauses that they requested, and one lock per host, so that polls caused by
//! webhooks run one at a time for each host.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use base::model::time::{Timestamp, microseconds};
use builder::url::GitUrl;
use store::db::git_builder::GitBuilder;

/// Pauses and locks, by host.
#[derive(Default)]
pub(super) struct Hosts {
    /// The time at which the pause of each host ends.
    pauses: Mutex<HashMap<String, Timestamp>>,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Returns the host of a builder's repository, or the path of a local one.
pub(super) fn name(builder: &GitBuilder) -> String {
    GitUrl::parse(&builder.url).map_or_else(
        |_| builder.url.clone(),
        |url| match url.host.as_str() {
            "" => url.path,
            host => host.to_owned(),
        },
    )
}

impl Hosts {
    /// Records that a host requested a pause.
    pub(super) fn pause(&self, host: String, pause: Duration, now: Timestamp) {
        let mut pauses = self.pauses.lock();
        pauses.retain(|_, until| *until > now);
        pauses.insert(host, Timestamp(now.0.saturating_add(microseconds(pause))));
    }

    /// Returns the remaining pause of a host; zero if it has none.
    pub(super) fn remaining_pause(&self, host: &str, now: Timestamp) -> Duration {
        let until = self.pauses.lock().get(host).copied().unwrap_or(now);
        Duration::from_micros(u64::try_from(until.0.saturating_sub(now.0)).unwrap_or(0))
    }

    /// Returns the lock that a poll caused by a webhook holds while it sends requests to the host.
    pub(super) fn host_lock(&self, host: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock();
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(host.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_applies_to_its_host_until_its_end() {
        let hosts = Hosts::default();
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        hosts.pause("a.example".to_owned(), Duration::from_secs(60), at(100));
        assert_eq!(hosts.remaining_pause("a.example", at(130)), Duration::from_secs(30));
        assert_eq!(hosts.remaining_pause("a.example", at(160)), Duration::ZERO);
        assert_eq!(hosts.remaining_pause("a.example", at(200)), Duration::ZERO);
        assert_eq!(hosts.remaining_pause("b.example", at(130)), Duration::ZERO);
        hosts.pause("b.example".to_owned(), Duration::from_secs(1), at(200));
        assert_eq!(hosts.pauses.lock().len(), 1, "ended pauses are removed");
    }

    #[test]
    fn one_webhook_polls_a_host_and_others_poll_other_hosts() {
        let hosts = Hosts::default();
        let first = hosts.host_lock("a.example");
        let held = first.try_lock().unwrap();
        assert!(hosts.host_lock("a.example").try_lock().is_err());
        assert!(hosts.host_lock("b.example").try_lock().is_ok());
        drop(held);
        assert!(hosts.host_lock("a.example").try_lock().is_ok());
        drop(first);
        hosts.host_lock("c.example");
        assert_eq!(hosts.locks.lock().len(), 1, "unused locks are removed");
    }
}
