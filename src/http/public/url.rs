//! `POST /url`: the snapshot at a given time.

use super::lookup::named_repository;
use super::{Answer, Call};
use crate::http::error::Failure;
use crate::http::route::access::read_repository;
use api::public::url::{Snapshot as WireSnapshot, SnapshotQuery};
use base::model::snapshot::Snapshot;
use base::model::time::Day;
use content::serve;

/// Returns the snapshot of the day of the requested time.
pub(super) async fn find(call: Call<'_>, query: SnapshotQuery) -> Answer<WireSnapshot> {
    let Call { app, head, .. } = call;
    let day = day(&query.snapshot).ok_or_else(|| {
        Failure::bad_request("\"snapshot\" must be a time in UTC, such as 2022-01-04T00:00:00Z")
    })?;
    head.principal.require_public(app, read_repository(&query.repo), false)?;
    let catalog = app.state.catalog.get();
    let name = named_repository(&catalog, &query.repo, head.principal)?.name.clone();
    // Fails if there is no snapshot: scripts then request earlier days until one exists.
    serve::point::resolve(&app.repositories, name.as_str(), Snapshot::Date(day)).await?;
    Ok(WireSnapshot { url: format!("{}/{name}/{day}", call.base()), upsi: day.to_string() })
}

fn day(text: &str) -> Option<Day> {
    let (date, time) = text.split_at_checked(10).unwrap_or((text, ""));
    let day = date.parse().ok()?;
    let is_utc = time.is_empty() || text.parse::<jiff::Timestamp>().is_ok() && time.ends_with(['Z', 'z']);
    is_utc.then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_converted_to_its_day_in_utc() {
        let day_of = |text: &str| day(text).map(|day| day.to_string());
        for good in ["2022-01-04", "2022-01-04T00:00:00Z", "2022-01-04T23:59:59.999Z"] {
            assert_eq!(day_of(good).as_deref(), Some("2022-01-04"), "{good}");
        }
        for bad in ["", "2022-01-04T00:00:00+02:00", "2022-13-04", "2022-01-04T", "latest", "2022-01-04Tx"] {
            assert_eq!(day_of(bad), None, "{bad}");
        }
    }
}
