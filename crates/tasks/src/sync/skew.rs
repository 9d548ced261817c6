//! Checks a clock of this machine that is over a month ahead of the last publish: after a long downtime such a clock is
//! right, and then it agrees with the mirror's clock.

use std::time::{Duration, UNIX_EPOCH};

use super::SyncError;
use base::model::time::Timestamp;
use runtime::publish::edit::apply_edit;
use runtime::state::State;
use store::db::skew::{self, Skew};
use store::db::{self, DbError, clock_repair};
use upstream::Mirror;

/// Maximum difference to the mirror's clock: a cached answer may be several hours old.
const MAX_DIFFERENCE: Duration = Duration::from_secs(86_400);

/// Refuses a sync that could not be published because of the clock. A clock that agrees with the mirror's is accepted.
/// Fails with [`DbError::Skew`] if the mirror does not confirm the clock; other database errors.
pub(super) async fn check_clock(state: &State, mirror: &Mirror, path: &str) -> Result<(), SyncError> {
    let now = (state.clock)();
    let last_publish = state.db.read(db::clock::get).await?.at;
    let Some(skew) = skew::between(last_publish, now) else { return Ok(()) };
    let is_confirmed = match skew {
        Skew::Ahead { .. } => {
            mirror_time(mirror, path).await.is_some_and(|at| at.abs_diff(now) <= MAX_DIFFERENCE)
        }
        Skew::Behind { .. } | Skew::IndexAhead { .. } => false,
    };
    if !is_confirmed {
        return Err(DbError::Skew(skew).into());
    }
    apply_edit(state, move |c| clock_repair::repair(c, now, false)).await?;
    tracing::info!(
        target: "sync",
        "accepted the clock of this machine ({now}), which is far ahead of the last publish or closed day ({last_publish}): \
         the clock of {} agrees with it",
        mirror.address()
    );
    Ok(())
}

/// Returns the mirror's time: the `Date` header of a HEAD request.
async fn mirror_time(mirror: &Mirror, path: &str) -> Option<Timestamp> {
    let headers = mirror.request_headers(path).await.ok()?;
    let date = httpdate::parse_http_date(headers.get("date")?.to_str().ok()?).ok()?;
    let elapsed: Duration = date.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(elapsed.as_micros()).ok().map(Timestamp)
}
