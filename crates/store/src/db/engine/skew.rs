//! Clock skew between a machine and the clock row. No I/O.

use std::time::Duration;

use base::model::ids::SourceId;
use base::model::kind::SourceKind;
use base::model::time::Timestamp;

/// Maximum lead of the clock row over a machine's clock: servers of one database differ by seconds.
pub const TOLERANCE: Duration = Duration::from_secs(300);
/// Maximum lead of a machine's clock over the clock row. A running server closes each day, which moves the row.
pub const MAX_ROW_LEAD: Duration = Duration::from_secs(31 * 86_400);
/// Maximum time for which the machine or its server may have been off without confirmation by an
/// administrator: beyond it, even a synchronized clock may follow a wrong time server.
pub const MAX_OUTAGE: Duration = Duration::from_secs(366 * 86_400);

/// A difference between a machine's clock and the clock row that is too large to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skew {
    /// The machine's clock is behind the clock row: a transaction or a closed day would be in the future.
    #[error(
        "nothing can be published, because this machine's clock shows {now} and the database has transactions or \
         closed days up to {row}"
    )]
    Behind { now: Timestamp, row: Timestamp },
    /// The machine's clock is far ahead of the clock row: it may be wrong, and a publish would move the row.
    #[error(
        "nothing can be published, because this machine's clock shows {now}, over a month after the last publish or \
         closed day ({row})"
    )]
    Ahead { now: Timestamp, row: Timestamp },
    /// The newest state of an index is in the future: it was synced while the machine's clock was ahead.
    #[error(
        "{} cannot be synced, because this machine's clock shows {now} and the newest state of the index is that of {head}",
        index_name(*index)
    )]
    IndexAhead {
        index: SourceId,
        now: Timestamp,
        /// The newest state of the index.
        head: Timestamp,
    },
}

impl Skew {
    /// Returns whether the machine, or its server, may have been off since the last publish.
    pub fn may_have_been_off(&self) -> bool {
        match self {
            Skew::Ahead { now, row } => now.since(*row) <= MAX_OUTAGE,
            Skew::Behind { .. } | Skew::IndexAhead { .. } => false,
        }
    }

    /// Returns the command that accepts the machine's clock.
    pub fn command(&self) -> String {
        let (Skew::Behind { now, .. } | Skew::Ahead { now, .. } | Skew::IndexAhead { now, .. }) = self;
        format!("rspm repair clock --today={}", now.day())
    }
}

/// Returns the difference if it is too large to publish. A row that never moved agrees with every clock.
pub fn between(row: Timestamp, now: Timestamp) -> Option<Skew> {
    if row > now + TOLERANCE {
        Some(Skew::Behind { now, row })
    } else if row.0 > 0 && now > row + MAX_ROW_LEAD {
        Some(Skew::Ahead { now, row })
    } else {
        None
    }
}

/// Returns the difference if the newest state of an index is too far in the future for a sync.
pub fn of_index(index: SourceId, head: Timestamp, now: Timestamp) -> Option<Skew> {
    (head > now + TOLERANCE).then_some(Skew::IndexAhead { index, now, head })
}

/// Returns the name of the built-in source of an index.
pub fn index_name(source: SourceId) -> &'static str {
    SourceKind::of_built_in(source).map_or("the index", SourceKind::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::SECOND;

    const MICROSECOND: Duration = Duration::from_micros(1);

    #[test]
    fn clocks_may_differ_by_minutes_and_pauses_may_last_a_month() {
        let row = Timestamp(1_795_132_800 * SECOND);
        for tolerated in [row, row - TOLERANCE, row + MAX_ROW_LEAD] {
            assert_eq!(between(row, tolerated), None, "{tolerated}");
        }
        let (behind, ahead) = (row - TOLERANCE - MICROSECOND, row + MAX_ROW_LEAD + MICROSECOND);
        assert!(matches!(between(row, behind), Some(Skew::Behind { .. })));
        assert!(matches!(between(row, ahead), Some(Skew::Ahead { .. })));
        assert_eq!(between(Timestamp(0), row), None, "nothing was published yet");
    }

    #[test]
    fn outages_may_last_a_year_and_the_command_has_the_day() {
        let row = Timestamp(1_795_132_800 * SECOND);
        let at = |now: Timestamp| between(row, now).expect("too large");
        for (pause, may_have_been_off) in
            [(MAX_ROW_LEAD + MICROSECOND, true), (MAX_OUTAGE, true), (MAX_OUTAGE + MICROSECOND, false)]
        {
            assert_eq!(at(row + pause).may_have_been_off(), may_have_been_off, "{pause:?}");
        }
        assert!(!at(row - TOLERANCE - MICROSECOND).may_have_been_off());
        let head = row + TOLERANCE;
        assert_eq!(of_index(SourceId::PYPI, head, row), None, "tolerated");
        let skew = of_index(SourceId::PYPI, head + MICROSECOND, row).expect("too large");
        assert!(!skew.may_have_been_off());
        assert_eq!(skew.command(), format!("rspm repair clock --today={}", row.day()));
        assert_eq!(
            at(row + MAX_ROW_LEAD + Duration::from_secs(1)).command(),
            "rspm repair clock --today=2026-12-21"
        );
    }
}
