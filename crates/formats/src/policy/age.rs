//! The age of a release: the time from which it is measured.

use base::model::time::{SECOND, Timestamp};

/// Maximum time, in microseconds, from the publication time that upstream claims to the first sync that found the
/// release. If the claimed time is older, the age is measured from that sync.
pub const MAX_CLAIM_LEAD: i64 = 48 * 3600 * SECOND;

/// Returns the time from which the age of a release is measured. This is the publication time that upstream
/// claims, if the first sync of the source (`is_initial`) found the release, or if the claimed time is at most
/// [`MAX_CLAIM_LEAD`] before the first sync that found it. Otherwise, and if the claimed time is later than that
/// sync, it is the time of that sync.
pub fn effective_time(claimed: Option<Timestamp>, discovered_at: Timestamp, is_initial: bool) -> Timestamp {
    match claimed {
        Some(claimed) if claimed > discovered_at => discovered_at,
        Some(claimed) if is_initial => claimed,
        Some(claimed) if discovered_at.0.saturating_sub(claimed.0) <= MAX_CLAIM_LEAD => claimed,
        Some(_) | None => discovered_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400 * SECOND;

    #[test]
    fn the_age_of_a_backdated_release_counts_from_its_first_sync() {
        let seen = Timestamp(1000 * DAY);
        let old = Some(Timestamp(500 * DAY));
        assert_eq!(effective_time(old, seen, false), seen);
        assert_eq!(effective_time(old, seen, true), Timestamp(500 * DAY), "a mirror with years of history");
        let yesterday = Some(Timestamp(999 * DAY));
        assert_eq!(effective_time(yesterday, seen, false), Timestamp(999 * DAY));
        assert_eq!(effective_time(Some(Timestamp(998 * DAY)), seen, false), Timestamp(998 * DAY));
        assert_eq!(effective_time(Some(Timestamp(998 * DAY - 1)), seen, false), seen);
        assert_eq!(effective_time(Some(Timestamp(1001 * DAY)), seen, true), seen, "from the future");
        assert_eq!(effective_time(None, seen, true), seen);
    }
}
